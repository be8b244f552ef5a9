//! `register` and `unregister`: sockets of running processes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use serde_json::{Value, json};
use sklookup_compiler::Family;
use sklookup_kernel::listen_fds::{self, ListenFd};
use sklookup_kernel::process::Process;
use sklookup_policy::{Label, Protocol};
use sklookup_steering::find::{Ambiguous, Found, Missed, Rejected, Search, one_service};
use sklookup_steering::{Error, Placement};

use crate::args::{FamilyArg, Global, Register, Unregister};
use crate::context::state;
use crate::counts::many;
use crate::output::{Answer, Failure, NO, Said};
use crate::socket_match::SocketMatch;

pub fn register(global: &Global, args: &Register) -> Result<Answer, Failure> {
    // First of all: what we open would take the numbers of fds that were announced and not passed.
    let passed = args.listen_fds.then(|| passed(&args.label)).transpose()?;
    let state = state(global)?;
    let search = match (args.pid, passed) {
        (Some(pid), _) => Search::process(&Process::open(pid).map_err(Error::from)?, state.netns())?,
        (None, passed) => Search::given(passed.into_iter().flatten(), state.netns())?,
    };
    let whose = args.pid.map_or_else(|| "the passed fds".to_owned(), |pid| format!("pid {pid}"));
    let mut missed = search.missed.clone();
    missed.retain(|missed| is_meant(&args.matches, missed.protocol, missed.local));
    let surplus = search.surplus.iter().filter(|(protocol, local)| is_meant(&args.matches, *protocol, *local)).count();
    let found = choose(search, &args.matches, &whose)?;
    let sockets: Vec<Value> = found.iter().map(described).collect();
    let mut text = String::new();
    for found in &found {
        text.push_str(&format!("{}: {} {}\n", args.label, found.member.protocol, found.local));
    }
    let protocols: BTreeSet<Protocol> = found.iter().map(|found| found.member.protocol).collect();
    let protocols = protocols.iter().map(Protocol::to_string).collect::<Vec<_>>().join(",");
    let members = found.into_iter().map(|found| found.member).collect();
    let placement = Placement { label: args.label.clone(), members };
    let left_out = placement.left_out() + surplus;
    state.register(placement)?;
    // What is done is done, whatever becomes of a look at it.
    let named =
        state.generation().map(|live| live.is_some_and(|live| live.record.policy.labels().contains(&args.label)));
    let unseen =
        named.as_ref().err().map(|error| Said::new(format!("whether a binding names {}: {error}", args.label)));
    let named = named.ok();
    let more = (left_out > 0).then(|| {
        Said::new(format!(
            "label {}: {left_out} sockets of the group have no slot of their own; the kernel spreads over the whole group all \
             the same, until those registered have all closed",
            args.label
        ))
    });
    let unnamed = (named == Some(false)).then(|| {
        Said::with_help(
            format!("no binding names {} yet", args.label),
            format!("sklookup bind {} {protocols} PREFIX PORTS", args.label),
        )
    });
    let json = json!({ "label": args.label.to_string(), "sockets": sockets, "named-by-a-binding": named });
    Ok(Answer::yes(text, json)
        .in_effect(true)
        .saying(more)
        .saying(missed.iter().map(not_taken))
        .saying(unnamed)
        .saying(unseen))
}

pub fn unregister(global: &Global, args: &Unregister) -> Result<Answer, Failure> {
    let state = state(global)?;
    let family = args.family.map(|family| match family {
        FamilyArg::Ipv4 => Family::V4,
        FamilyArg::Ipv6 => Family::V6,
    });
    let emptied = state.unregister(&args.label, &|registered| {
        args.protocol.is_none_or(|protocol| protocol == registered.protocol)
            && family.is_none_or(|family| family == registered.family)
    });
    match emptied {
        Ok(emptied) => {
            let text = match emptied {
                0 => format!("{}: no socket was left\n", args.label),
                slots => format!("{}: {} emptied\n", args.label, many(slots, "slot")),
            };
            let json = json!({ "label": args.label.to_string(), "emptied": emptied });
            Ok(Answer::yes(text, json).in_effect(emptied > 0))
        }
        Err(error @ (Error::NoLabel { .. } | Error::NotLoaded { .. })) => {
            Err(Failure { exit: NO, ..Failure::from(error) })
        }
        Err(error) => Err(error.into()),
    }
}

/// The sockets that a service manager passed to us, with their numbers: those named like the label, or all if no unit
/// gave any a name.
fn passed(label: &Label) -> Result<Vec<(u32, OwnedFd)>, Failure> {
    let fds = listen_fds::passed().map_err(|error| {
        Failure::new(Said::with_help(
            error.to_string(),
            "--listen-fds is for ExecStart= of a unit with Sockets=; `sklookup register --help` shows one",
        ))
    })?;
    let named = |fd: &ListenFd| fd.name == label.as_str();
    let given: BTreeSet<&str> = fds.iter().map(|fd| fd.name.as_str()).filter(|name| !is_default(name)).collect();
    if !given.is_empty() && !fds.iter().any(named) {
        let names = given.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Said::with_help(
            format!("none of the passed sockets is named {label}; their names are {names}"),
            format!("name it in the socket unit, FileDescriptorName={label}, or register under one of these names"),
        )));
    }
    let all = !fds.iter().any(named);
    Ok(fds.into_iter().filter(|fd| all || named(fd)).map(|fd| (fd.number, fd.fd)).collect())
}

/// Whether systemd chose the name because no unit did (`FileDescriptorName=`, sd_listen_fds_with_names(3)).
fn is_default(name: &str) -> bool {
    matches!(name, "" | "unknown" | "stored" | "connection") || name.ends_with(".socket")
}

/// The sockets that are meant: those that match, and one service at that.
pub fn choose(search: Search, matches: &[SocketMatch], whose: &str) -> Result<Vec<Found>, Failure> {
    let meant = |found: &Found| is_meant(matches, found.member.protocol, found.local);
    let (meant, others): (Vec<Found>, Vec<Found>) = search.found.into_iter().partition(meant);
    if meant.is_empty() {
        return Err(Failure::new(nothing_found(&others, &search.rejected, matches, whose)));
    }
    one_service(&meant).map_err(|ambiguous| Failure::new(several(&ambiguous, whose)))?;
    Ok(meant)
}

fn is_meant(matches: &[SocketMatch], protocol: Protocol, local: SocketAddr) -> bool {
    matches.is_empty() || matches.iter().any(|socket| socket.describes(protocol, local))
}

/// A member of the group stays outside: what arrives is refused once those registered have closed, though it listens.
fn not_taken(missed: &Missed) -> Said {
    let Missed { pid, protocol, local, why } = missed;
    let whose = pid.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"));
    Said::with_help(
        format!("{protocol} {local} of {whose} is of the same group and could not be registered: {why}"),
        "it still gets its share, but once those registered have closed, nothing is steered to it",
    )
}

fn nothing_found(others: &[Found], rejected: &[Rejected], matches: &[SocketMatch], whose: &str) -> Said {
    const SHOWN: usize = 10;
    let mut help: Vec<String> = others
        .iter()
        .map(|found| format!("it has {} {}, which --match does not describe", found.member.protocol, found.local))
        .chain(rejected.iter().map(|rejected| format!("fd {}: {}", rejected.fd, rejected.why)))
        .collect();
    let more = help.len().saturating_sub(SHOWN);
    help.truncate(SHOWN);
    if more > 0 {
        help.push(format!("and {more} more"));
    }
    if help.is_empty() {
        help.push("it has no socket at all in this network namespace; for another: --netns".to_owned());
    }
    let wanted = if matches.is_empty() {
        "no TCP listener and no unconnected UDP socket".to_owned()
    } else {
        let matches: Vec<String> = matches.iter().map(|socket| format!("`{socket}`")).collect();
        format!("no socket that matches {}", matches.join(" or "))
    };
    Said::with_help(format!("{whose}: {wanted}"), help.join("\n"))
}

/// Several services: which is meant only the user knows.
pub fn several(ambiguous: &Ambiguous, whose: &str) -> Said {
    let matches: Vec<String> =
        ambiguous.candidates.iter().map(|(protocol, local)| format!("--match '{protocol} {local}'")).collect();
    Said::with_help(
        format!("{whose}: {} sockets could be meant; say which", ambiguous.candidates.len()),
        matches.join("\n"),
    )
}

/// A socket that was found, for machines.
pub fn described(found: &Found) -> Value {
    let families: Vec<&str> = found
        .member
        .families
        .iter()
        .map(|family| match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        })
        .collect();
    let mut fields = json!({
        "protocol": found.member.protocol.to_string(),
        "local": found.local.to_string(),
        "families": families,
        "cookie": found.member.cookie.to_string(),
    });
    if let Some((pid, fd)) = found.place {
        fields["pid"] = json!(pid);
        fields["fd"] = json!(fd);
    }
    fields
}
