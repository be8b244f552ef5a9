//! Sockets, written as `tcp 127.0.0.2:8008 reuseport select`.

use std::net::{Ipv4Addr, SocketAddr};

use sklookup_policy::reading::quote;

use super::tree::{Node, Read, Wrong};
use crate::case::{Kind, Setup, Socket};

const FORM: &str = "\"tcp|udp|udplite|mptcp ADDRESS:PORT [OPTION...]\", or \"unix stream|datagram|seqpacket\"";
const OPTIONS: [&str; 11] = [
    "reuseport",
    "late-reuseport",
    "v6only",
    "dual-stack",
    "dev",
    "netns",
    "cpu",
    "recverr",
    "unbound",
    "silent",
    "connect",
];

pub(super) fn socket(node: &Node, what: &str) -> Read<Socket> {
    let text = node.text(what, FORM)?;
    let wrong = |message: String, help: &str| Wrong::new(node.line, format!("{what}: {message}"), help);
    let mut words = text.split_whitespace().peekable();
    let kind = match words.next().unwrap_or_default() {
        "tcp" => Kind::Tcp,
        "udp" => Kind::Udp,
        "udplite" => Kind::UdpLite,
        "mptcp" => Kind::Mptcp,
        "unix" => {
            let kind = match words.next().unwrap_or_default() {
                "stream" => Kind::UnixStream,
                "datagram" => Kind::UnixDatagram,
                "seqpacket" => Kind::UnixSeqpacket,
                other => {
                    return Err(wrong(
                        format!("{} is no unix socket", quote(other)),
                        "write unix stream, unix datagram or unix seqpacket",
                    ));
                }
            };
            let mut setup = Setup::default();
            match words.next() {
                None => {}
                Some("unconnected") => setup.unbound = true,
                Some(other) => {
                    return Err(wrong(
                        format!("{} is no option of a unix socket", quote(other)),
                        "it is one of a connected pair, or unconnected",
                    ));
                }
            }
            return Ok(Socket { kind, address: (Ipv4Addr::UNSPECIFIED, 0).into(), setup });
        }
        other => return Err(wrong(format!("{} is no kind of socket", quote(other)), &format!("write {FORM}"))),
    };
    let address = |word: Option<&str>| -> Read<SocketAddr> {
        let word = word.unwrap_or_default();
        word.parse().map_err(|_| {
            wrong(
                format!("{} is not an address with a port", quote(word)),
                "write 127.0.0.1:80 or [fd00::1]:80; port 0 is any",
            )
        })
    };
    let bound = address(words.next())?;
    let mut setup = Setup::default();
    while let Some(word) = words.next() {
        let mut name = || {
            words
                .next()
                .map(str::to_owned)
                .ok_or_else(|| wrong(format!("{word} is the last word"), "its value follows it"))
        };
        match word {
            "reuseport" => {
                setup.reuseport = true;
                setup.reuseport_program = words.next_if(|word| !OPTIONS.contains(word)).map(str::to_owned);
            }
            "late-reuseport" => setup.late_reuseport = true,
            "v6only" => setup.v6only = Some(true),
            "dual-stack" => setup.v6only = Some(false),
            "dev" => setup.device = Some(name()?),
            "netns" => setup.netns = Some(name()?),
            "cpu" => {
                let number = name()?;
                let number = number
                    .parse()
                    .map_err(|_| wrong(format!("{} is no CPU", quote(&number)), "CPUs are numbered from 0"))?;
                setup.cpu = Some(number);
            }
            "recverr" => setup.recverr = true,
            "unbound" => setup.unbound = true,
            "silent" => setup.silent = true,
            "connect" => setup.connect = Some(address(words.next())?),
            other => {
                return Err(wrong(
                    format!("{} is no option", quote(other)),
                    &format!("the options are {}", OPTIONS.join(", ")),
                ));
            }
        }
    }
    Ok(Socket { kind, address: bound, setup })
}
