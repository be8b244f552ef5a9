//! What a `run` says while it works, on stderr: the server's output is not ours to mix with.

use std::collections::BTreeSet;
use std::ffi::OsString;

use sklookup_compiler::Family;
use sklookup_kernel::spawn::Exit;
use sklookup_steering::find::{Ambiguous, Found, Search};

use crate::args::Run;
use crate::command::register;
use crate::command::run::asked::Asked;
use crate::command::run::child::described;
use crate::command::run::service::{Service, Several};
use crate::command::run::watch::Watch;
use crate::output::Said;

/// Says it now.
pub fn say(said: impl IntoIterator<Item = Said>) {
    let mut stderr = std::io::stderr().lock();
    for said in said {
        // Talk that nobody hears is no failure.
        let _ = said.print(&mut stderr);
    }
}

/// The one line of success.
pub fn steering(bindings: &[String], found: &[Found]) -> Said {
    let bindings: Vec<String> =
        bindings.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    Said::new(format!("steering {} to {}", bindings.join(", "), whose(found)))
}

/// The server has opened a socket again, or one more.
pub fn followed(found: &[Found]) -> Said {
    Said::new(format!("now steering to {}", whose(found)))
}

/// Packets that the bindings name and no socket can take.
pub fn unserved(asked: &Asked, service: &Service) -> Option<Said> {
    let none: Vec<String> = asked
        .kinds
        .iter()
        .filter(|kind| !service.serves(kind))
        .map(|(protocol, family)| format!("{protocol} over {}", if *family == Family::V4 { "IPv4" } else { "IPv6" }))
        .collect();
    (!none.is_empty()).then(|| {
        Said::with_help(
            format!("it has no socket for {}", none.join(" and ")),
            "such packets find no socket here until it opens one; `when-empty` of the binding decides",
        )
    })
}

/// A group has more sockets than a label has slots; nothing is wrong.
pub fn left_out(sockets: usize) -> Said {
    Said::new(format!(
        "{sockets} sockets of the group have no slot of their own; the kernel spreads over the whole group all the same, \
         and they get the slots of those that close"
    ))
}

/// Only the user can say which socket is meant.
pub fn several(several: Several, pid: u32) -> Said {
    register::several(&Ambiguous { candidates: several }, &described(pid))
}

/// The command did not end well, and these live on. A server that was killed leaves its workers so: they are not ours to
/// end, and packets are no longer brought to them.
pub fn left_behind(pids: &[u32]) -> Said {
    const NAMED: usize = 5;
    let mut named: Vec<String> = pids.iter().take(NAMED).map(|pid| described(*pid)).collect();
    if pids.len() > NAMED {
        named.push(format!("{} more", pids.len() - NAMED));
    }
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    Said::with_help(
        format!("the command has ended and left behind {}: nothing is steered to what it left", named.join(", ")),
        format!("to end it: kill {}", pids.join(" ")),
    )
}

/// The steering that was begun is not there any more.
pub fn taken_away() -> Said {
    Said::with_help(
        "the bindings of this run were taken away by another command; its server goes on without them",
        "start it again to have them back",
    )
}

/// It ended before there was anything to steer to.
pub fn never_listened(command: &[OsString], exit: Exit) -> Said {
    let how = match exit {
        Exit::Code(code) => format!("ended with exit status {code}"),
        Exit::Signal(number) => format!("was ended by signal {number}"),
    };
    let name = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Said::new(format!("{name} {how} before it listened; nothing was steered"))
}

/// It runs and does not listen: with each socket there is and why it won't do.
pub fn timed_out(search: &Search, watch: &Watch<'_>, asked: &Asked, args: &Run, pid: u32) -> Said {
    const SHOWN: usize = 10;
    let unsuitable = search.found.iter().map(|found| {
        let member = &found.member;
        let why = watch.uses(member.protocol, found.local, &member.families, member.cookie).err();
        let why = why.unwrap_or_else(|| "would do, but --bind asks for more".to_owned());
        format!("{} {}{}: {why}", member.protocol, found.local, at(found))
    });
    let rejected = search.rejected.iter().map(|rejected| format!("fd {}: {}", rejected.fd, rejected.why));
    let mut seen: Vec<String> = unsuitable.chain(rejected).collect();
    let more = seen.len().saturating_sub(SHOWN);
    seen.truncate(SHOWN);
    if more > 0 {
        seen.push(format!("and {more} more"));
    }
    if seen.is_empty() {
        seen.push("it has no socket at all; a server that needs longer: --timeout SECONDS".to_owned());
    }
    let protocols: Vec<String> = asked.protocols().iter().map(ToString::to_string).collect();
    Said::with_help(
        format!(
            "{}: no {} socket to steer to within {} s; it is ended",
            described(pid),
            protocols.join(" and "),
            args.timeout
        ),
        seen.join("\n"),
    )
}

fn at(found: &Found) -> String {
    found.place.map(|(pid, fd)| format!(" (pid {pid}, fd {fd})")).unwrap_or_default()
}

/// `nginx (pid 7) on tcp 127.0.0.1:8080 and tcp [::1]:8080`.
fn whose(found: &[Found]) -> String {
    let processes: BTreeSet<String> = found.iter().filter_map(|found| Some(described(found.place?.0))).collect();
    let sockets: BTreeSet<String> =
        found.iter().map(|found| format!("{} {}", found.member.protocol, found.local)).collect();
    let list = |items: BTreeSet<String>| items.into_iter().collect::<Vec<_>>().join(" and ");
    format!("{} on {}", list(processes), list(sockets))
}
