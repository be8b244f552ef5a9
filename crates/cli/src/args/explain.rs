//! What `explain` takes.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use sklookup_policy::Label;

use crate::socket_match::SocketMatch;

/// Say which socket gets a packet, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
The kernel is asked who gets the packet: it runs its whole lookup, every program on the hook included. Beside it stands our \
own account of why, made of the applied policy, the sockets under its labels and those of the namespace. Where the two \
differ, that is said first. Asking the kernel takes no rights; what steers may be read by the owner of the state alone.

Without `dev` the interface is found as the kernel would find it: traffic of this host to itself comes in where the owner \
of the destination is, all other where the route to its source leads. There is no packet in a question: programs count it \
as one, a program of a reuseport group is not run, and what netfilter or tc do before is not seen.

Of a program that is not ours it is said what follows from the kernel's answer. --run-others runs each of them once more, by \
itself, and shows what it does: its verdict and the socket it selects. You have to ask for this because of its side \
effects: what the program counts, limits or reports, it counts, limits or reports once more. Alone it sees no interface \
and nothing selected before it, so it may do something else on the hook: the answer stays the kernel's. It takes \
CAP_SYS_ADMIN.

--ports and --to speak of more packets than the kernel could be asked about: they are our account alone, and where a \
program that is not ours is on the hook they say so and end with 2.

Examples:
  sudo sklookup explain 'tcp 198.51.100.9:40000 > 192.0.2.7:80'
  sudo sklookup explain udp 198.51.100.9:40000 to 192.0.2.53:53 dev eth0 --netns blue
  sudo sklookup explain 'tcp 198.51.100.9:40000 > 192.0.2.7:80' --run-others
  sudo sklookup explain --ports 192.0.2.7
  sudo sklookup explain --ports 192.0.2.7 tcp from 198.51.100.0/24 dev eth0
  sudo sklookup explain --to web
  sudo sklookup explain --to tcp 127.0.0.1:8080
  sudo sklookup explain --to pid 4242
  sklookup explain tcp 198.51.100.9:40000 to 192.0.2.7:80 --policy policy.toml

Exit status: 0 a socket gets it, or some of it (with --policy: a label), 1 none does, 2 could not tell.")]
pub struct Explain {
    /// `tcp|udp SRC:PORT > DST:PORT [dev IF]`; `to` may stand for `>`
    #[arg(required_unless_present_any = ["to", "ports"], value_name = "PACKET", num_args = 1..)]
    pub packet: Vec<String>,
    /// Say who sends to a label, or to sockets: `LABEL`, `tcp ADDR:PORT`, `tcp :PORT`, `udp ...` or `pid N`
    #[arg(long, value_name = "LABEL|SOCKET", num_args = 1..=2, conflicts_with = "packet")]
    pub to: Vec<String>,
    /// Say what every port of an address does: `ADDRESS [tcp|udp] [from SRC] [dev IF]`
    #[arg(long, value_name = "ADDRESS", num_args = 1.., conflicts_with_all = ["packet", "to"])]
    pub ports: Vec<String>,
    /// Also run each program that is not ours once, alone, and show what it does; this has its side effects
    #[arg(long, conflicts_with_all = ["policy", "to", "ports"])]
    pub run_others: bool,
    /// Say what this policy file decides, whatever is applied; needs no rights. `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// To whom packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// What is under a label.
    Label(Label),
    /// The receiving sockets of a process.
    Pid(u32),
    /// Receiving sockets by what they are bound to.
    Sockets(SocketMatch),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            // No label has these names.
            ["tcp" | "udp", ..] => text.parse().map(Target::Sockets),
            ["pid", pid] => {
                let pid = pid.parse().map_err(|_| format!("{pid:?} is no pid: write a number, as in: pid 4242"))?;
                Ok(Target::Pid(pid))
            }
            [label] => {
                label.parse().map(Target::Label).map_err(|problem: sklookup_policy::Problem| problem.to_string())
            }
            _ => Err(format!(
                "{text:?} is neither a label nor a socket; write LABEL, `tcp ADDR:PORT`, `tcp :PORT`, `udp ...` or `pid N`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_pids_and_sockets_are_told_apart() {
        let read = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(read("web"), Target::Label("web".parse().unwrap()));
        assert_eq!(read("pid"), Target::Label("pid".parse().unwrap()));
        assert_eq!(read("pid 42"), Target::Pid(42));
        assert_eq!(read("tcp :80"), Target::Sockets("tcp :80".parse().unwrap()));
        assert_eq!(read("udp"), Target::Sockets("udp".parse().unwrap()));
        for (text, what) in
            [("", "neither"), ("web 80", "neither"), ("pid x", "no pid"), ("tcp x", "no address"), ("-", "label")]
        {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
