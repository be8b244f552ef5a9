//! What an explanation says, in sentences: the same for people and in documents.

use std::fmt::{self, Write};
use std::net::IpAddr;

use sklookup_explain::{Alone, Around, Arrival, Astray, Fate, How, Limit, Others, Tried};
use sklookup_policy::{Packet, Protocol};

use super::sockets::{self, Sockets};
use crate::counts::many;
use crate::escape::printable;

/// Why no socket is looked for.
pub fn astray(astray: Astray, packet: &Packet) -> String {
    let (source, destination) = (packet.source.ip(), packet.destination.ip());
    match astray {
        Astray::Dropped if !destination.is_multicast() => {
            format!("routing drops a packet from {source} that comes in there, before any socket is looked for")
        }
        astray => astray_to(astray, destination),
    }
}

/// Why no socket is looked for, whoever sends to this destination.
pub fn astray_to(astray: Astray, destination: IpAddr) -> String {
    match astray {
        Astray::NotLocal => format!(
            "{destination} is no address of this host: the packet is forwarded or dropped before any socket is looked for"
        ),
        Astray::Dropped => format!("TCP to {destination}, which is many, is dropped"),
        Astray::Copied => {
            format!("datagrams to {destination} are copied to every socket that takes them; no program is asked")
        }
    }
}

/// What keeps an answer about many packets from being all that there is to say, for people.
pub fn reservation(text: &mut String, around: &Around) -> fmt::Result {
    if !around.readable {
        writeln!(text, "what is steered may not be read: this is what the regular lookup would find")?;
    }
    match &around.programs {
        None => writeln!(text, "programs on the hook can't be listed: another one could take any of this"),
        Some(programs) => match programs.iter().filter(|program| !program.ours).count() {
            0 => Ok(()),
            others => writeln!(text, "{} not ours on the hook could take any of this", many(others, "program")),
        },
    }
}

/// What could not be seen, for people.
pub fn unseen(text: &mut String, around: &Around) -> fmt::Result {
    around.unseen.iter().try_for_each(|unseen| writeln!(text, "not seen: {}: {}", unseen.what, printable(&unseen.why)))
}

/// An interface by its name, or its number where it has gone.
pub fn interface(around: &Around, index: u32) -> String {
    around.interfaces.get(&index).cloned().unwrap_or_else(|| format!("interface {index}"))
}

/// How the interface was found.
pub fn how(arrival: &Arrival, packet: &Packet) -> String {
    match arrival.how {
        How::Named => "as the question says".to_owned(),
        How::HostLocal => {
            format!("which owns {}: traffic of this host to itself seems to come in there", packet.destination.ip())
        }
        How::RouteBack => format!("where the route to {} leads", packet.source.ip()),
        How::Any => format!("any that is up, for no route leads to {}", packet.source.ip()),
    }
}

/// What becomes of a packet that no socket gets.
pub fn refused(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "nobody: a TCP reset",
        Protocol::Udp => "nobody: ICMP port unreachable",
    }
}

/// What is known of programs that are not ours.
pub fn others(others: Others) -> &'static str {
    match others {
        Others::None => "none",
        Others::NotAsked => "not asked: a connected socket gets it",
        Others::NothingChanged => "whatever it returns, who gets the packet is the same without it",
        Others::Selected => "it, or another program that is not ours, selects the socket",
        Others::Dropped => "it, or another program that is not ours, drops the packet",
        Others::Unknown => "what it returns is not known",
    }
}

/// What a program that is not ours did when it was run alone.
pub fn alone(alone: &Alone, sockets: &Sockets) -> String {
    let did = match alone {
        Alone::Passed => "SK_PASS, selected nothing".to_owned(),
        Alone::Dropped => "SK_DROP".to_owned(),
        Alone::Selected(cookie) => format!("SK_PASS, selected {}", sockets::named(sockets, *cookie)),
        Alone::SelectedOfGroup => OF_GROUP.to_owned(),
        Alone::NotRun(error) => return format!("could not be run: {}", not_run(error)),
        Alone::Spared => return SPARED.to_owned(),
    };
    format!("run alone (no interface, nothing selected before it): {did}")
}

/// Why it is not told what the program did.
pub fn untold(alone: &Alone) -> Option<String> {
    match alone {
        Alone::Passed | Alone::Dropped | Alone::Selected(_) => None,
        Alone::SelectedOfGroup => Some(OF_GROUP.to_owned()),
        Alone::NotRun(error) => Some(not_run(error)),
        Alone::Spared => Some(SPARED.to_owned()),
    }
}

const OF_GROUP: &str = "EOPNOTSUPP (it selected a socket of a reuseport group)";
const SPARED: &str = "not run: `sklookup watch` would tell of a packet that never came";

fn not_run(error: &sklookup_kernel::Error) -> String {
    use sklookup_kernel::Errno;
    match (error.call(), error.errno()) {
        ("BPF_PROG_GET_FD_BY_ID", Errno::PERM) => "EPERM (needs CAP_SYS_ADMIN)".to_owned(),
        ("BPF_PROG_GET_FD_BY_ID", Errno::NOENT) => "ENOENT (it is gone)".to_owned(),
        _ => error.to_string(),
    }
}

/// How to learn more of programs that are not ours.
pub const RUN_OTHERS: &str =
    "--run-others runs each program that is not ours once, alone, and shows what it does; that has its side effects";

/// Why a program could not select a socket.
pub fn tried(tried: &Tried) -> Option<&'static str> {
    use sklookup_explain::Errno;
    Some(match tried.refused? {
        Errno::SOCKTNOSUPPORT => "it does not listen, or is connected",
        Errno::PROTOTYPE => "it speaks another protocol",
        Errno::AFNOSUPPORT => "it takes no packets of this family",
        Errno::EXIST => "another program has selected one",
        _ => "the kernel refuses it",
    })
}

/// What an answer leaves open.
pub fn limit(limit: Limit) -> String {
    match limit {
        Limit::Counted(asked) => {
            format!("the kernel was asked {}, and the programs on the hook counted it as packets", times(asked))
        }
        Limit::ReuseportProgram { shares: true } => {
            "the socket shares its port (SO_REUSEPORT): a program of its group, if \
            it has one, would choose the member, or refuse; without a packet it is not run"
                .to_owned()
        }
        Limit::ReuseportProgram { shares: false } => {
            "whether the socket shares its port (SO_REUSEPORT) can't be seen: a \
            program of its group, if it has one, would choose the member, or refuse; without a packet it is not run"
                .to_owned()
        }
        Limit::RanAlone(ran) => {
            format!("{} not ours ran once more, alone, with all side effects", many(ran, "program"))
        }
        Limit::NoneRun => "no program is asked about such a packet, so none was run".to_owned(),
        Limit::DoesNotAddUp => {
            "the answer does not follow from what was done alone: on the hook a program sees the interface and what was \
            selected before it, and its maps, or the sockets, may have changed meanwhile"
                .to_owned()
        }
    }
}

/// What becomes of the packet, in a word.
pub fn kind(fate: &Fate) -> &'static str {
    match fate {
        Fate::Socket(_) => "socket",
        Fate::Refused => "refused",
        Fate::Astray(Astray::NotLocal) => "not-local",
        Fate::Astray(Astray::Dropped) => "dropped",
        Fate::Astray(Astray::Copied) => "copied",
        Fate::Unknown(_) => "unknown",
    }
}

fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        number => many(number, "time"),
    }
}
