//! What every command starts from: the namespace, the state, the policy file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sklookup_kernel::{Errno, Netns, bpffs};
use sklookup_policy::{Entry, MAX_FILE_BYTES, Policy, parse_file};
use sklookup_steering::history::History;
use sklookup_steering::{Error, State};

use crate::args::{DEFAULT_BPFFS, DEFAULT_STATE_DIR, Global};
use crate::escape::printable;
use crate::output::{COULD_NOT, Failure, Said};
use crate::progress;

/// The namespace that was asked for.
pub fn netns(global: &Global) -> Result<Netns, Failure> {
    Ok(match &global.netns {
        Some(spec) => Netns::open(spec)?,
        None => Netns::current()?,
    })
}

/// The state of the namespace, for a command that only looks. `None` where there is no bpffs that could hold one.
pub fn existing_state(global: &Global) -> Result<Option<State>, Failure> {
    match State::new(&global.bpffs, netns(global)?) {
        Ok(state) => Ok(Some(state.watched(progress::at))),
        Err(Error::NoBpffs { .. }) if global.bpffs == Path::new(DEFAULT_BPFFS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state of the namespace, for a command that changes it. Where the usual place has no bpffs yet, one is mounted.
pub fn state(global: &Global) -> Result<State, Failure> {
    let netns = netns(global)?;
    let path = &global.bpffs;
    let mountable = path == Path::new(DEFAULT_BPFFS);
    if mountable && matches!(bpffs::is_bpffs(path), Ok(false)) {
        match bpffs::mount(path) {
            Ok(()) => progress::say(&Said::new(format!("mounted a bpf file system at {}", path.display()))),
            Err(error) if error.errno() == Errno::PERM => {
                return Err(Failure::new(Said::with_help(
                    format!("{}: no bpf file system is mounted there, and mounting one needs root", path.display()),
                    "run this with sudo, or have root do: mount -t bpf -o mode=0711 bpf /sys/fs/bpf",
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(State::new(path, netns)?.watched(progress::at))
}

/// What was applied last, on disk.
pub fn history(global: &Global) -> History {
    History::at(global.state_dir.as_deref().unwrap_or(Path::new(DEFAULT_STATE_DIR)))
}

/// Reads a policy file; `-` is standard input. Everything wrong with it is said at once, with this exit status.
pub fn read_policy(path: &Path, wrong: u8) -> Result<Vec<Entry>, Failure> {
    progress::at("reading the policy");
    let (name, text) = read_text(path)?;
    let entries = parse_file(&text, &name).map_err(|problems| Failure::problems(wrong, &problems))?;
    progress::at("checking the policy");
    Ok(entries)
}

/// Reads the policy of a file, in which nothing is wrong.
pub fn read_whole(path: &Path) -> Result<Policy, Failure> {
    Policy::new(read_policy(path, COULD_NOT)?).map_err(|problems| Failure::problems(COULD_NOT, &problems))
}

/// What a policy file is called in messages.
pub fn named(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() }
}

fn read_text(path: &Path) -> Result<(String, String), Failure> {
    let name = named(path);
    let failed = |error: std::io::Error| {
        let why = error.to_string();
        let why = why.split(" (os error").next().unwrap_or_default();
        Failure::new(Said::with_help(
            format!("{}: {why}", printable(&name)),
            "name a policy file that can be read, or - for standard input",
        ))
    };
    let mut bytes = Vec::new();
    // One byte more than a policy may have: enough to know that it is too long.
    let limit = MAX_FILE_BYTES as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
            Err(Failure {
                exit: COULD_NOT,
                said: vec![Said {
                    message: format!("{name}:{line}: not UTF-8 text: byte {at} can't be part of a policy file"),
                    help: Some("a policy is a TOML file; see docs/policy.md".to_owned()),
                    place: Some((name, u32::try_from(line).unwrap_or(u32::MAX))),
                }],
            })
        }
    }
}
