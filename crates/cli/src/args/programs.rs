//! `attach`, `detach` and `programs`, as they can be typed.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use sklookup_steering::attachments::Source;

use crate::socket_match::SocketMatch;

/// Attach an sk_lookup program of an object file.
#[derive(Debug, Args)]
#[command(after_help = "\
The object is what clang (16 and newer, -target bpf -g) or aya makes. The program runs behind all that are attached already, beside \
the policy, and stays until `detach`: its link is pinned under a name. With --replace it takes the place of the one under its name, \
where that runs, at once for every packet. Maps are new unless --map says which one to take: one that is pinned \
(NAME=/sys/fs/bpf/...), one by its id (NAME=id:12), or that of the program it replaces (NAME=kept), with what is in it. Its maps \
are pinned in sklookup's own directory, where servers put sockets in; --socket puts one in before the program is attached. Where an \
object asks for a map to be pinned, that is not done.

Every program on the hook runs. One that runs later can select another socket than an earlier one did, and none can drop what \
another has selected. docs/programs.md has the details.

Examples:
  sudo sklookup attach steer.o
  sudo sklookup attach steer.o --socket 'sockets[0]=4242 tcp :8080'
  sudo sklookup attach steer.o --program steer --name edge --map sockets=/sys/fs/bpf/edge-sockets
  sudo sklookup attach steer-v2.o --name edge --replace --map sockets=kept
  sudo sklookup attach steer.o --dry-run             would the kernel take it?

Exit status: 0 done, 1 another program has the name, 2 could not: nothing has changed.")]
pub struct Attach {
    /// The object file
    #[arg(value_name = "FILE.o")]
    pub file: PathBuf,
    /// Which program of it; needed where it has several
    #[arg(long, value_name = "PROGRAM")]
    pub program: Option<String>,
    /// Under which name; left out: the program's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A map that is there already, in the place of one of the object
    #[arg(long = "map", value_name = "NAME=PATH|id:N|kept", value_parser = map)]
    pub maps: Vec<(String, Source)>,
    /// A socket of a process in a new map of the object: `MAP[KEY]=PID [tcp ADDR:PORT|tcp :PORT|udp ...]`
    #[arg(long = "socket", value_name = "MAP[KEY]=PID")]
    pub sockets: Vec<SeatArg>,
    /// Take the place of the program that is attached under the name
    #[arg(long)]
    pub replace: bool,
    /// Load it, and attach nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Detach a program.
#[derive(Debug, Args)]
#[command(after_help = "\
A program that was attached by `sklookup attach` is taken away with its pins, by its name. With --link any link on the hook is \
detached, whoever made it; it stays pinned where it was. The policy is taken away by `unload` alone.

Examples:
  sudo sklookup detach edge
  sudo sklookup detach --link 31

Exit status: 0 done, 1 there is no such program, 2 could not.")]
pub struct Detach {
    /// The name under which it was attached
    #[arg(value_name = "NAME", required_unless_present = "link", conflicts_with = "link")]
    pub name: Option<String>,
    /// Any link on the hook, by its id: `sklookup programs` lists them
    #[arg(long, value_name = "ID")]
    pub link: Option<u32>,
}

/// List the programs on the hook.
#[derive(Debug, Args)]
#[command(after_help = "\
All of them, in the order in which they run: the policy's, those that were attached by `sklookup attach`, and those of anybody else. \
Runs are counted by the kernel, and only while kernel.bpf_stats_enabled is 1; it does not count verdicts.

Examples:
  sudo sklookup programs
  sudo sklookup programs --netns blue --json | jq '.programs[] | {id, name, whose}'
  sudo sysctl kernel.bpf_stats_enabled=1

Exit status: 0 there is at least one, 1 there is none, 2 could not say.")]
pub struct Programs {}

/// A place in a map, and whose socket is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatArg {
    /// Name of the map.
    pub map: String,
    /// The key.
    pub key: u32,
    /// The process.
    pub pid: u32,
    /// Which of its sockets.
    pub socket: Option<SocketMatch>,
}

impl FromStr for SeatArg {
    type Err = String;

    fn from_str(text: &str) -> Result<SeatArg, String> {
        const FORM: &str = "write MAP[KEY]=PID, such as sockets[0]=4242, or 'sockets[0]=4242 tcp :8080'";
        let (place, whose) = text.split_once('=').ok_or(FORM)?;
        let (map, key) = place.strip_suffix(']').and_then(|place| place.split_once('[')).ok_or(FORM)?;
        let (pid, socket) = whose.split_once(' ').map_or((whose, None), |(pid, socket)| (pid, Some(socket)));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number: {FORM}"));
        let socket = socket.map(str::parse).transpose()?;
        Ok(SeatArg { map: map.to_owned(), key: number(key)?, pid: number(pid)?, socket })
    }
}

/// `NAME=PATH`, `NAME=id:N` or `NAME=kept`.
fn map(text: &str) -> Result<(String, Source), String> {
    let form = "write NAME=/path/of/a/pin, NAME=id:12 or NAME=kept";
    let (name, source) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(form)?;
    let source = match source.strip_prefix("id:") {
        Some(id) => Source::Id(id.parse().map_err(|_| format!("{id:?} is no id of a map: {form}"))?),
        None if source == "kept" => Source::Kept,
        None if source.starts_with('/') => Source::Pinned(source.into()),
        None => return Err(form.to_owned()),
    };
    Ok((name.to_owned(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_taken_from_a_pin_by_its_id_or_from_what_is_replaced() {
        assert_eq!(map("a=/sys/fs/bpf/x=y"), Ok(("a".to_owned(), Source::Pinned("/sys/fs/bpf/x=y".into()))));
        assert_eq!(map("a=id:7"), Ok(("a".to_owned(), Source::Id(7))));
        assert_eq!(map(".rodata=kept"), Ok((".rodata".to_owned(), Source::Kept)));
        for wrong in ["a", "=kept", "a=", "a=id:x", "a=relative/path", "a=id:4294967296"] {
            assert!(map(wrong).unwrap_err().contains("NAME=kept"), "{wrong}");
        }
    }

    #[test]
    fn a_socket_is_a_place_in_a_map_and_a_process() {
        let seat: SeatArg = "sockets[1]=4242 tcp :8080".parse().unwrap();
        assert_eq!((seat.map.as_str(), seat.key, seat.pid), ("sockets", 1, 4242));
        assert_eq!(seat.socket.unwrap().port, Some(8080));
        assert_eq!("s[0]=7".parse::<SeatArg>().unwrap().socket, None);
        for wrong in ["", "s=7", "s[0]", "s[x]=7", "s[0]=x", "s[-1]=7", "s[0=7", "s[0]=7 xyz"] {
            assert!(!wrong.parse::<SeatArg>().unwrap_err().is_empty(), "{wrong}");
        }
    }
}
