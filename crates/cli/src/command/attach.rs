//! `attach` and `detach`: programs of others, beside the policy.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use serde_json::{Value, json};
use sklookup_bpf::object::{MAX_BYTES, Object};
use sklookup_bpf::{ProgramSpec, ProgramType};
use sklookup_kernel::process::Process;
use sklookup_kernel::{Errno, Link, Netns};
use sklookup_steering::Error;
use sklookup_steering::attachments::{About, Attachments, Seat, Source, Wanted};
use sklookup_steering::find::{Ambiguous, Found, Search};

use crate::args::{Attach, Detach, Global, SeatArg};
use crate::command::programs::{chain, overrides};
use crate::command::register::{choose as choose_sockets, several};
use crate::context::{existing_state, named, netns, state};
use crate::escape::printable;
use crate::output::{Answer, Failure, NO, Said};
use crate::verifier_log;

pub fn attach(global: &Global, args: &Attach) -> Result<Answer, Failure> {
    let (bytes, object) = read(args)?;
    let file = named(&args.file);
    let program = choose(&object, args.program.as_deref(), &file)?;
    for (map, _) in &args.maps {
        if object.map(map).is_none() {
            let maps: Vec<&str> = object.maps.iter().map(|map| map.name.as_str()).collect();
            return Err(Failure::new(Said::with_help(
                format!("--map {map}: {file} has no map of this name"),
                format!("its maps are: {}", maps.join(", ")),
            )));
        }
    }
    let name = args.name.as_deref().unwrap_or(&program.name);
    let netns = state(global)?.into_netns(); // and mounts a bpffs where there is none
    let found = args.sockets.iter().map(|seat| socket(seat, &netns)).collect::<Result<Vec<Found>, Failure>>()?;
    let seats: Vec<Seat<'_>> = args
        .sockets
        .iter()
        .zip(&found)
        .map(|(seat, found)| Seat { map: &seat.map, key: seat.key, socket: found.member.fd.as_fd() })
        .collect();
    let wanted = Wanted {
        name,
        object: &object,
        program: &program.name,
        about: About::now(&file, &bytes, &object, &program.name, &args.maps),
        seats: &seats,
        replace: args.replace,
    };
    let attachments = Attachments::new(&global.bpffs, netns)?;
    let left_out = object.left_out.iter().map(|left_out| Said::new(format!("{file}: {left_out}")));
    if args.dry_run {
        attachments.rehearse(&wanted).map_err(failure)?;
        let text = format!(
            "the kernel takes program {} of {}; nothing was changed (--dry-run)\n",
            program.name,
            printable(&file)
        );
        let mut json = document(&wanted, None, None, None);
        json["maps-pinned"] = Value::Null;
        return Ok(Answer::yes(text, json).saying(left_out));
    }
    let attached = attachments.attach(&wanted).map_err(failure)?;
    // What is done is done, whatever becomes of a look at it.
    let chain = chain(global);
    let after = chain.as_ref().map(|chain| overrides(chain, Some(attached.program)));
    let (overrides, unseen) = match after {
        Ok(overrides) => (overrides, None),
        Err(_) => (Vec::new(), Some(Said::new("the programs beside it could not be looked at"))),
    };
    let (program, link) = (attached.program, attached.link);
    let done = match attached.replaced {
        Some(old) => format!("program {program} takes the place of program {old}, under link {link}"),
        None => format!("program {program} is attached, under link {link}"),
    };
    let maps = match wanted.about.maps.is_empty() {
        true => String::new(),
        false => format!("its maps are pinned in {}\n", attached.maps.display()),
    };
    let text = format!("{}: {done}\n{maps}", printable(name));
    let mut json = document(&wanted, Some(program), Some(link), attached.replaced);
    json["maps-pinned"] = json!(attached.maps.display().to_string());
    Ok(Answer::yes(text, json).in_effect(true).saying(left_out).saying(overrides).saying(unseen))
}

pub fn detach(global: &Global, args: &Detach) -> Result<Answer, Failure> {
    let (program, what) = match (&args.name, args.link) {
        (Some(name), _) => {
            let attachments = match Attachments::new(&global.bpffs, netns(global)?) {
                // Without a bpffs nothing was attached by us.
                Err(Error::NoBpffs { .. }) => {
                    return Err(failure(Error::NotAttached {
                        netns: netns(global)?.describe().to_owned(),
                        name: name.clone(),
                    }));
                }
                attachments => attachments?,
            };
            (attachments.detach(name).map_err(failure)?, printable(name))
        }
        (None, Some(id)) => (detach_link(global, id)?, format!("link {id}")),
        (None, None) => unreachable!("one of the two is required"),
    };
    let text = format!("{what}: program {program} is detached\n");
    Ok(Answer::yes(text, json!({ "program": program, "name": args.name, "link": args.link })).in_effect(true))
}

/// Detaches a link that anybody may have made, if it is on the hook of the namespace and not the policy's.
fn detach_link(global: &Global, id: u32) -> Result<u32, Failure> {
    let netns = netns(global)?;
    let none = || Failure {
        exit: NO,
        said: vec![Said::with_help(
            format!("link {id}: there is none of this id on the hook of {}", netns.describe()),
            "`sklookup programs` lists the links",
        )],
    };
    let link = match Link::by_id(id) {
        Err(error) if error.errno() == Errno::NOENT => return Err(none()),
        Err(error) if error.errno() == Errno::PERM => {
            return Err(Failure::new(Said::with_help(
                format!("{error}: looking at the links of others takes CAP_SYS_ADMIN"),
                "run this as root: sudo",
            )));
        }
        link => link?,
    };
    let info = link.info().map_err(|_| none())?;
    if !info.is_alive_on(netns.inode()) {
        return Err(none());
    }
    let of_policy =
        existing_state(global)?.is_some_and(|state| state.live_id().is_ok_and(|live| live == Some(info.program_id)));
    if of_policy {
        return Err(Failure::new(Said::with_help(
            format!("link {id} holds the policy"),
            "`sklookup unload` takes the policy away, and what belongs to it",
        )));
    }
    link.detach()?;
    Ok(info.program_id)
}

/// The one socket of a process that is meant.
fn socket(seat: &SeatArg, netns: &Netns) -> Result<Found, Failure> {
    let search = Search::process(&Process::open(seat.pid).map_err(Error::from)?, netns)?;
    let whose = format!("--socket {}[{}]: pid {}", seat.map, seat.key, seat.pid);
    let mut found = choose_sockets(search, seat.socket.as_slice(), &whose)?;
    let candidates = found.iter().map(|found| (found.member.protocol, found.local)).collect::<BTreeSet<_>>();
    if candidates.len() > 1 {
        return Err(Failure::new(several(&Ambiguous { candidates }, &whose)));
    }
    // Of a reuseport group any will do: the kernel spreads over all of it.
    Ok(found.swap_remove(0))
}

/// The object file, bounded by what an object may have.
fn read(args: &Attach) -> Result<(Vec<u8>, Object), Failure> {
    let name = printable(&named(&args.file));
    let failed = |error: std::io::Error| {
        let why = error.to_string();
        Failure::new(Said::with_help(
            format!("{name}: {}", why.split(" (os error").next().unwrap_or_default()),
            "name an object file that can be read, as `clang -target bpf -g -O2 -c` makes it",
        ))
    };
    let mut bytes = Vec::new();
    let file = File::open(&args.file).map_err(failed)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let object = Object::parse(&bytes).map_err(|error| Failure::new(Said::new(format!("{name}: {error}"))))?;
    Ok((bytes, object))
}

/// The program that is meant.
fn choose<'a>(object: &'a Object, name: Option<&str>, file: &str) -> Result<&'a ProgramSpec, Failure> {
    let programs: Vec<&ProgramSpec> =
        object.programs.iter().filter(|program| program.kind == ProgramType::SkLookup).collect();
    let names: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
    let refuse = |message: String| {
        let help = match names[..] {
            [] => "an sk_lookup program is a function in a section named sk_lookup".to_owned(),
            _ => format!("its sk_lookup programs are: {}; choose one with --program", names.join(", ")),
        };
        Failure::new(Said::with_help(message, help))
    };
    match (name, &programs[..]) {
        (Some(name), _) => {
            let found = programs.iter().find(|program| program.name == name).copied();
            found.ok_or_else(|| refuse(format!("{file} has no sk_lookup program {name}")))
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(refuse(format!("{file} has no sk_lookup program"))),
        (None, several) => Err(refuse(format!("{file} has {} sk_lookup programs", several.len()))),
    }
}

fn document(wanted: &Wanted<'_>, program: Option<u32>, link: Option<u32>, replaced: Option<u32>) -> Value {
    let mut document = about(&wanted.about);
    document["name"] = json!(wanted.name);
    document["program"] = json!(program);
    document["link"] = json!(link);
    document["replaced"] = json!(replaced);
    document["dry-run"] = json!(program.is_none());
    document
}

/// Which object a program is of, for machines.
pub fn about(about: &About) -> Value {
    let maps: Vec<Value> = about
        .maps
        .iter()
        .map(|(name, source)| {
            let from = match source {
                Source::Own => "own".to_owned(),
                Source::Kept => "kept".to_owned(),
                Source::Id(id) => format!("id:{id}"),
                Source::Pinned(path) => path.display().to_string(),
            };
            json!({ "name": name, "from": from })
        })
        .collect();
    json!({ "object": { "file": about.file, "sha256": about.sha256, "program": about.program, "maps": maps } })
}

fn failure(error: Error) -> Failure {
    match &error {
        Error::Load(load) if verifier_log::is_refusal(load) => Failure::new(verifier_log::refusal_of_others(load)),
        Error::Occupied { .. } | Error::NotAttached { .. } => Failure { exit: NO, ..Failure::from(error) },
        _ => error.into(),
    }
}
