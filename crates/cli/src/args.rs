//! What can be typed. Parsing has no side effects; the parser, `--help` and the completions read this one definition.

mod complete_names;
mod explain;
mod list;
mod metrics;
mod programs;
mod replay;
mod rollback;
#[cfg(feature = "tui")]
mod top;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sklookup_policy::{Label, Protocol};
use sklookup_steering::safety::Hazard;

pub use list::List;
pub use metrics::{Listen, Metrics};
pub use watch::Watch;

/// Where a bpf file system is expected.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";

/// Where the policy applied last is kept.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/sklookup";

/// Put a server on a whole prefix, a port range, or every port: programmable socket lookup for Linux.
#[derive(Debug, Parser)]
#[command(name = "sklookup", version, max_term_width = 110, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "\
Examples:
  sudo sklookup run --bind 'tcp 127.7.0.0/16 80' -- python3 -m http.server 8080
  sklookup check policy.toml --packet 'tcp 198.51.100.9:40000 > 192.0.2.7:80'
  sudo sklookup apply policy.toml
  sudo sklookup register web --pid 4242
  sudo sklookup status

Exit status: 0 done or yes, 1 the answer is no, 2 could not. `run` ends as its command ended.")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The network namespace: a path (has a `/`), a pid (digits) or a name of `ip netns`; left out: this one
    #[arg(long, global = true, value_name = "NETNS")]
    pub netns: Option<String>,
    /// Where the bpf file system with the state is mounted
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_BPFFS)]
    pub bpffs: PathBuf,
    /// Where the policy applied last is kept for after a reboot [default: /var/lib/sklookup]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print one JSON document (docs/json.md), on failure too
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a server and steer traffic to it for as long as it runs
    Run(Run),
    /// A guided tour with real servers, in a namespace of its own
    Demo(Demo),
    /// Say everything that is wrong with a policy, or what it does to a packet
    Check(Check),
    /// Say what applying a policy would change
    Diff(Diff),
    /// Put a policy into effect in place of the applied one
    Apply(Apply),
    /// Add bindings to the applied policy
    Bind(Bind),
    /// Remove bindings from the applied policy
    Unbind(Unbind),
    /// Put sockets of a running process under a label
    Register(Register),
    /// Take sockets out of a label
    Unregister(Unregister),
    /// Show what is in effect: labels, sockets, processes, counters
    Status(Status),
    /// List bindings, what sockets get, or what is taken of addresses
    List(List),
    /// Serve or write counters and gauges for Prometheus
    Metrics(Metrics),
    /// Say which socket gets a packet, and why
    Explain(Explain),
    /// Watch what is steered, on a terminal
    #[cfg(feature = "tui")]
    Top(Top),
    /// Go back to a policy that was in effect before
    Rollback(Rollback),
    /// Say what a policy would do to recorded traffic
    Replay(Replay),
    /// Print a line for each packet that was steered nowhere
    Watch(Watch),
    /// Print the applied policy as a policy file
    #[command(after_help = EXPORT_HELP)]
    Export,
    /// Take steering away from the namespace
    Unload(Unload),
    /// Compile the applied policy anew, by this version of sklookup
    Upgrade(Upgrade),
    /// Attach an sk_lookup program of an object file, beside the policy
    Attach(Attach),
    /// Detach a program
    Detach(Detach),
    /// List the programs on the hook, by anyone, in the order in which they run
    Programs(Programs),
    /// Say whether steering can work here, and what to mend
    Doctor(Doctor),
    /// Run cases that state who gets which packet
    Test(Test),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Print names for a shell to complete
    #[command(hide = true)]
    CompleteNames(CompleteNames),
}

/// Start a server and steer traffic to it.
#[derive(Debug, Args)]
#[command(after_help = "\
The command runs as it would alone; sklookup waits until it (or a process it starts) listens, puts its socket in the \
place that --bind asks for, follows it when it opens its socket again, and removes all of it at the end.

Everything is checked before the command is started. Packets that find no socket of it go to the regular lookup, unless \
the binding says `when-empty refuse`. A command that goes to the background (ends with 0 and leaves a process with the \
socket behind) is served until that one ends; one that ends otherwise is over, and what it leaves behind is named and not ended. \
Signals are passed on. A socket that was open before the command was started, \
such as one passed as standard input, counts only where --match names it. With --netns the command is started in there; \
with --json its standard output goes to standard error.

Examples:
  # Every address of 127.7.0.0/16, ports 8000 to 8999, one unmodified server:
  sudo sklookup run --bind 'tcp 127.7.0.0/16 8000-8999' -- python3 -m http.server 8080
  # Two bindings; the server runs as an ordinary user:
  sudo sklookup run --user www-data --bind 'tcp 192.0.2.0/24 80,443' --bind 'tcp 2001:db8::/64 80,443' -- ./server
  # The server listens on several ports: say which one is meant
  sudo sklookup run --bind 'tcp 127.7.0.0/16 80' --match 'tcp 127.0.0.1:8080' -- ./server

Exit status: that of the command; 125 if sklookup failed, 126 if the command can't be run, 127 if it is not found, \
128+N if it was ended by signal N.")]
pub struct Run {
    /// What the server gets: `tcp|udp|tcp,udp DEST[,DEST] [PORTS] [from SRC] [dev IF] [when-empty pass|refuse]`
    #[arg(long = "bind", short = 'b', value_name = "BINDING", required = true)]
    pub bindings: Vec<String>,
    /// Which of its sockets is meant: `tcp ADDR:PORT`, `tcp :PORT` or `udp ...`
    #[arg(long = "match", short = 'm', value_name = "SOCKET")]
    pub matches: Vec<SocketMatch>,
    /// How long to wait until it listens, in seconds; a year at most
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    pub timeout: u64,
    /// Start it as this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(flatten)]
    pub allow: Allow,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<std::ffi::OsString>,
}

/// A guided tour.
#[derive(Debug, Args)]
#[command(after_help = "\
It makes a network namespace and a bpf file system of its own, starts real servers in it and connects to them. Nothing \
outside is touched and nothing is left behind. It needs root.

Example:
  sudo sklookup demo")]
pub struct Demo {}

/// Say everything that is wrong with a policy.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no rights and no BPF.

Examples:
  sklookup check policy.toml
  sklookup check policy.toml --packet 'tcp 198.51.100.9:40000 > 192.0.2.7:80'
  sklookup check - --packet tcp 198.51.100.9:40000 to 192.0.2.7:80 dev eth0 < policy.toml

Exit status: 0 the policy is right (with --packet: a binding takes the packet), 1 it is wrong (no binding takes it), \
2 it could not be read.")]
pub struct Check {
    /// The policy file; `-` for standard input
    pub file: PathBuf,
    /// Say what the policy does to this packet: `tcp|udp SRC:PORT > DST:PORT [dev IF]`; `to` may stand for `>`
    #[arg(long, value_name = "PACKET", num_args = 1..)]
    pub packet: Vec<String>,
}

/// Say what applying a policy would change.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo sklookup diff policy.toml         against what is applied
  sklookup diff old.toml new.toml        needs no rights

Exit status: 0 nothing would change, 1 something would, 2 could not say.")]
pub struct Diff {
    /// One file: it against the applied policy. Two files: the first is the old one
    #[arg(num_args = 1..=2, required = true, value_name = "[OLD] NEW")]
    pub files: Vec<PathBuf>,
}

/// Put a policy into effect.
#[derive(Debug, Args)]
#[command(after_help = "\
The whole policy changes at once: each packet sees the old one or the new one. Bindings of a `run` that is alive stay. \
Labels without a socket are fine: register sockets before or after.

Examples:
  sudo sklookup apply policy.toml
  sudo sklookup apply policy.toml --dry-run
  sudo sklookup export | sudo sklookup apply -
  sudo sklookup apply --last             after a reboot: what was applied before it

After each change the applied policy is kept on disk (--state-dir), for the namespace in which the system booted and for \
those that `ip netns` knows by name; bindings of a `run` are not. --last brings it back. Where nothing is applied, only \
the catch `ssh` refuses it: it was accepted when it was applied first, and what the others find is said. The sockets are \
to be registered again. After `unload` there is nothing to bring back: the file still has the policy, and `apply FILE` takes it.

Exit status: 0 done, 1 a safety catch refused it (--last: or there is nothing to bring back), 2 it is wrong or could not \
be applied.")]
pub struct Apply {
    /// The policy file; `-` for standard input
    #[arg(required_unless_present = "last", conflicts_with = "last")]
    pub file: Option<PathBuf>,
    /// The policy that was applied last, from disk
    #[arg(long)]
    pub last: bool,
    #[command(flatten)]
    pub edit: EditFlags,
}

/// Add bindings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo sklookup bind web tcp 192.0.2.0/24 80,443,8000-8999
  sudo sklookup bind pass tcp 192.0.2.1 22
  sudo sklookup bind game udp 2001:db8::/64 '*' from 2001:db8:1::/48 dev eth0 when-empty pass

Exit status: 0 done, 1 a safety catch refused it, 2 it is wrong or could not be applied.")]
pub struct Bind {
    /// `LABEL|pass|refuse tcp|udp|tcp,udp DEST[,DEST] [PORTS] [from SRC[,SRC]] [dev IF] [when-empty pass|refuse]`
    #[arg(required = true, value_name = "BINDING", num_args = 1..)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub edit: EditFlags,
}

/// Remove bindings.
#[derive(Debug, Args)]
#[command(after_help = "\
Written as for `bind`; every binding it stands for must be applied.

Example:
  sudo sklookup unbind web tcp 192.0.2.0/24 80,443,8000-8999

Exit status: 0 done, 1 one of them is not applied (nothing was removed), 2 could not.")]
pub struct Unbind {
    /// The bindings, as for `bind`
    #[arg(required = true, value_name = "BINDING", num_args = 1..)]
    pub words: Vec<String>,
    #[command(flatten)]
    pub edit: EditFlags,
}

/// What every command that adds bindings takes.
#[derive(Clone, Debug, Args)]
pub struct EditFlags {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub allow: Allow,
}

/// Overrides of the safety catches.
#[derive(Clone, Debug, Args)]
pub struct Allow {
    /// Override a safety catch: ssh, empty, shrink, not-local, takeover, ephemeral
    #[arg(long, value_name = "CATCH", value_delimiter = ',')]
    pub allow: Vec<Hazard>,
}

/// Put sockets under a label.
#[derive(Debug, Args)]
#[command(after_help = "\
Only TCP listeners and unconnected UDP sockets can be registered. Registering again replaces the sockets of the same \
protocol and family at once. A reuseport group is registered whole.

Examples:
  sudo sklookup register web --pid 4242
  sudo sklookup register web --pid 4242 --match 'tcp 127.0.0.1:8080'

With --listen-fds the sockets whose name (FileDescriptorName=) is the label are taken. Names that systemd chose because no \
unit did (`web.socket`, `unknown`) do not count: if there are no others, all passed sockets are taken. systemd passes \
sockets to ExecStart= only, so registering is a unit of its own beside the service:
  [Unit]
  Requires=web.socket
  After=web.socket
  [Service]
  Type=oneshot
  RemainAfterExit=yes
  Sockets=web.socket
  ExecStart=sklookup register web --listen-fds")]
pub struct Register {
    /// The label
    pub label: Label,
    /// The process whose sockets are meant
    #[arg(long, value_name = "PID", value_parser = pid, required_unless_present = "listen_fds", conflicts_with = "listen_fds")]
    pub pid: Option<u32>,
    /// Take the sockets that systemd passes (LISTEN_FDS); LISTEN_PID and LISTEN_FDNAMES are honoured
    #[arg(long)]
    pub listen_fds: bool,
    /// Which of its sockets are meant: `tcp ADDR:PORT`, `tcp :PORT`, `udp ...`
    #[arg(long = "match", short = 'm', value_name = "SOCKET")]
    pub matches: Vec<SocketMatch>,
}

fn pid(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "a pid is a number; `pgrep NAME` prints those of a program".to_owned())
}

/// Take sockets out of a label.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo sklookup unregister web
  sudo sklookup unregister web --protocol udp

Exit status: 0 done (also if the socket had closed by itself), 1 there is no such label, 2 could not.")]
pub struct Unregister {
    /// The label
    pub label: Label,
    /// Only sockets of this protocol
    #[arg(long, value_name = "tcp|udp")]
    pub protocol: Option<Protocol>,
    /// Only sockets for packets of this family
    #[arg(long, value_name = "ipv4|ipv6")]
    pub family: Option<FamilyArg>,
}

/// An address family.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum FamilyArg {
    Ipv4,
    Ipv6,
}

/// Show what is in effect.
#[derive(Debug, Args)]
#[command(after_help = "\
Counters are runs of the hook, not connections.

What should be so and is not is named, one line each: sockets that died, labels without a socket, interfaces that are others now, \
a program in the place of ours, what is kept on disk for after a reboot and is not what is in effect. With --policy also every \
binding that only the file or only the applied policy has; those of a living `run` are no difference.

Examples:
  sudo sklookup status
  sudo sklookup status --netns blue
  sudo sklookup status --policy policy.toml
  sudo sklookup status --json | jq '.labels[] | {label, counts}'

Exit status: 0 all is well, 1 something is dead, missing or not as it should be, 2 could not say.")]
pub struct Status {
    /// The policy file that should be applied; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Say whether steering can work here.
#[derive(Debug, Args)]
#[command(after_help = "\
It tries things out and leaves nothing behind. What it may not look at it says. With --policy it says whether what is applied is \
what the file has; `status --policy FILE` names each difference.

Examples:
  sudo sklookup doctor
  sudo sklookup doctor --netns blue
  sudo sklookup doctor --policy policy.toml

Exit status: 0 steering can work here, 1 it can't until what is broken is mended, 2 could not say.")]
pub struct Doctor {
    /// The policy file that should be applied; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Take steering away.
#[derive(Debug, Args)]
#[command(after_help = "\
New connections find their sockets by the regular lookup again; established ones go on. Nothing is left in bpffs.

Example:
  sudo sklookup unload --netns blue")]
pub struct Unload {
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Compile the applied policy anew.
#[derive(Debug, Args)]
#[command(after_help = "\
After installing another version: the policy stays as it is, and so do registered sockets, counters and the bindings of each \
`run` that is alive; program and state become those of this version. State that an older version left is read as it is, \
that of a newer one is refused. A `run` that an older version started does not read the new state: what it added goes \
after it has ended, with the next command that changes something.

Examples:
  sudo sklookup upgrade
  sudo sklookup upgrade --dry-run        by which version is it now?

Exit status: 0 done (also where nothing is steered), 2 could not.")]
pub struct Upgrade {
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

const EXPORT_HELP: &str = "\
One line for each binding, sorted: equal policies have equal text. What a living `run` added is not part of it.

Examples:
  sudo sklookup export > policy.toml
  sudo sklookup export | sklookup check - --packet 'tcp 198.51.100.9:40000 > 192.0.2.7:80'

Exit status: 0 done (also where nothing is applied), 2 could not.";

/// Run cases.
#[derive(Debug, Args)]
#[command(after_help = "\
A case is a world of sockets and programs, and packets with who must get each; docs/cases.md has the format. On the kernel \
every case runs in network and mount namespaces of its own, with real sockets and packets: nothing outside is touched and \
nothing is left behind. That needs root. On the engine, which is sk_lookup without a kernel, it needs nothing.

Examples:
  sudo sklookup test cases.toml
  sklookup test testdata/lookup --on engine
  sudo sklookup test testdata/lookup/verdicts.toml --case two-programs/drop/A --json

Exit status: 0 all that ran passed, 1 a case failed, 2 a file is wrong, or no case could run.")]
pub struct Test {
    /// Case files, and directories with such files (`*.toml`)
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// Only the case of this name
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
    /// What runs them; with `both`, the kernel where it can
    #[arg(long, value_name = "engine|kernel|both", default_value = "both")]
    pub on: On,
}

/// What runs cases.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum On {
    Engine,
    Kernel,
    Both,
}

/// Print completions.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sklookup completions bash > /etc/bash_completion.d/sklookup

In bash, zsh and fish labels and network namespaces are completed as well, as far as who types may see them.")]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

pub use self::programs::{Attach, Detach, Programs, SeatArg};
pub use self::replay::Replay;
pub use self::rollback::Rollback;
#[cfg(feature = "tui")]
pub use self::top::Top;
pub use crate::socket_match::SocketMatch;
pub use complete_names::{CompleteNames, NameKind};
pub use explain::{Explain, Target};

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_examples() {
        let mut cli = Cli::command();
        cli.build();
        assert!(cli.get_subcommands().filter(|command| !command.is_hide_set()).count() > 10);
        for command in cli.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("\nExample"), "{help}");
        }
    }

    #[test]
    fn the_commands_of_the_kernel_document_parse() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kernel-document.md");
        let page = std::fs::read_to_string(page).unwrap();
        let commands: Vec<&str> =
            page.split('`').skip(1).step_by(2).filter(|span| span.starts_with("sklookup ")).collect();
        assert!(commands.len() > 50, "only {} commands were found", commands.len());
        for command in commands {
            let words = command.split(' ').map(|word| word.trim_matches('\''));
            assert!(Cli::try_parse_from(words).is_ok(), "{command}");
        }
    }
}
