//! The policy applied last, on disk: written after each change, read after a reboot.

use std::time::Duration;

use sklookup_kernel::disk::DiskError;
use sklookup_kernel::{Errno, Netns};
use sklookup_policy::{Entry, parse_file};
use sklookup_steering::history::{Earlier, Fate, HistoryError, Kept, Known, Name};
use sklookup_steering::status::{Finding, Kind};
use sklookup_steering::{Generation, State, Status};

use crate::args::Global;
use crate::context::{history, netns};
use crate::output::{COULD_NOT, Failure, NO, Said};
use crate::typed::{quoted, typed};

/// Keeps what is in effect. That this failed is worth saying, and no failure of a command that has done its work.
pub fn keep(global: &Global, state: &State, known: Option<Known<'_>>) -> Option<Said> {
    match history(global).keep(state, known, &typed()) {
        // Who named a directory expects something in it.
        Ok(Kept::Nameless) if global.state_dir.is_some() => {
            Some(Said::with_help(format!("{}: nothing is kept on disk", nameless(state.netns())), NAMELESS))
        }
        Ok(Kept::Written | Kept::Unchanged | Kept::Nameless) => None,
        Err(error @ HistoryError::Earlier(_)) => Some(Said::with_help(
            format!(
                "the applied policy is in effect and kept, but the one before it is not kept to go back to: {error}"
            ),
            help(&error),
        )),
        Err(error) => Some(Said::with_help(
            format!("the applied policy is in effect, but not kept for after a reboot: {error}"),
            help(&error),
        )),
    }
}

/// A generation as one whose policy is known.
pub fn known(generation: &Generation) -> Known<'_> {
    Known { generation: generation.live.id, policy: &generation.record.policy }
}

/// What is kept of the namespace that was asked for, the last policy first.
pub fn all(global: &Global) -> Result<(Name, Vec<Earlier>), Failure> {
    let name = name(&netns(global)?)?;
    let kept = history(global).all(&name).map_err(|error| failure(&error))?;
    Ok((name, kept))
}

/// The file that was kept, and its bindings.
pub fn last(global: &Global) -> Result<(String, Vec<Entry>), Failure> {
    let netns = netns(global)?;
    let history = history(global);
    let name = name(&netns)?;
    let file = history.file(&name);
    let file = file.display().to_string();
    let nothing = |message: String, help: String| Failure { exit: NO, said: vec![Said::with_help(message, help)] };
    let page = history.last(&name).map_err(|error| failure(&error))?;
    let Some(page) = page else {
        return Err(nothing(
            format!("{file}: there is no such file: nothing was applied in {name} since sklookup keeps that"),
            "`sklookup apply FILE` applies a policy, and from then on it is kept".to_owned(),
        ));
    };
    if page.fate == Fate::TakenAway {
        return Err(nothing(
            format!("{file}: steering was taken away on purpose, at {}, by: {}", page.time, page.command),
            format!("to bring back what was applied before that: sklookup {}apply {}", spelled(global), quoted(&file)),
        ));
    }
    let entries = parse_file(&page.text, &file).map_err(|problems| Failure::problems(COULD_NOT, &problems))?;
    Ok((file, entries))
}

/// What is kept on disk, where that is not what is in effect, or can't be brought back.
pub fn drift(global: &Global, state: Option<&State>, status: &Status) -> Option<Finding> {
    /// A command that has just put another policy into effect may not have written it yet.
    const MOMENT: Duration = Duration::from_millis(100);
    let name = Name::of(&netns(global).ok()?)?;
    let history = history(global);
    let look = || match history.last(&name) {
        Ok(page) => status.against_page(&page?, &history.file(&name)),
        // Who may not look does not keep anything here either.
        Err(HistoryError::Disk(DiskError::Failed(_)) | HistoryError::State(_)) => None,
        Err(error) => Some(Finding {
            kind: Kind::Kept,
            message: format!("what is kept can't be brought back: {error}"),
            help: help(&error),
        }),
    };
    look()?;
    std::thread::sleep(MOMENT);
    // What was in effect a moment ago is not to be compared with what was written since.
    let now = state.and_then(|state| state.live_id().ok().flatten());
    let then = status.in_effect().map(|in_effect| in_effect.generation);
    if now == then { look() } else { None }
}

/// The options without which a command would mean another namespace.
fn spelled(global: &Global) -> String {
    global.netns.as_ref().map(|netns| format!("--netns {} ", quoted(netns))).unwrap_or_default()
}

const NAMELESS: &str = "kept is what is applied where the system booted, and in namespaces that `ip netns` knows by name: \
                        others do not come back after a reboot";

fn name(netns: &Netns) -> Result<Name, Failure> {
    let nameless = || Failure::new(Said::with_help(format!("{}: nothing is kept of it", nameless(netns)), NAMELESS));
    Name::of(netns).ok_or_else(nameless)
}

fn nameless(netns: &Netns) -> String {
    format!("{} (inode {}) has no name that means it after a reboot", netns.describe(), netns.inode())
}

/// What can't be read, and what to do about it.
pub fn failure(error: &HistoryError) -> Failure {
    Failure::new(Said::with_help(error.to_string(), help(error)))
}

fn help(error: &HistoryError) -> String {
    match error {
        HistoryError::Disk(DiskError::Untrusted { .. }) => {
            "sklookup believes only what root or its own user alone could have written: look who made it, then mend owner \
             and mode, or remove it"
        }
        HistoryError::Disk(DiskError::Failed(error)) if matches!(error.errno(), Errno::ACCESS | Errno::PERM) => {
            "run it as root, or name a directory of your own: --state-dir DIR"
        }
        HistoryError::Earlier(_) => "`sklookup rollback` lists those that are; mend that, and the next ones are kept too",
        HistoryError::Disk(DiskError::Failed(_)) => "mend that, then any command that changes something keeps it",
        HistoryError::Disk(_) | HistoryError::NotAPage { .. } => {
            "look at the file; `sklookup apply` takes it by its name if it is a policy"
        }
        HistoryError::State(error) => {
            return error.help().unwrap_or_else(|| "`sklookup status` shows what is in effect".to_owned());
        }
    }
    .to_owned()
}
