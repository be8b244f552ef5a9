//! The arguments of `list`.

use clap::Args;
use sklookup_policy::{Label, Protocol};

use crate::command::list::Sort;
use crate::socket_match::SocketMatch;

/// List bindings, sockets or addresses.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a view, one binding a line. --sockets shows each registered socket with its owners and what it gets beyond its \
bind; --addresses what is taken of each destination, prefixes inside others below them. Both put together what differs \
in port or destination alone, so that a thousand bindings of one label are a line. What a more precise binding takes away \
from a wider one is not deducted: `explain` says who gets a packet.

Filters pick bindings, and may be given together; all must hold. Counts are runs of the hook, not connections: some \
packets run it twice, those of a connection that stands never do.

Examples:
  sudo sklookup list
  sudo sklookup list --label web --protocol tcp
  sudo sklookup list --to 192.0.2.0/25 --port 443
  sudo sklookup list --sort hits | head        the bindings with most hook runs
  sudo sklookup list --sockets                 who gets what, as ss for steering
  sudo sklookup list --sockets --pid 4242
  sudo sklookup list --addresses --to 192.0.2.0/24

Exit status: 0 at least one binding (with --sockets: socket), 1 none, 2 could not.")]
pub struct List {
    /// Show each registered socket, who has it, and what it gets beyond its bind
    #[arg(long, conflicts_with = "addresses")]
    pub sockets: bool,
    /// Show what is taken of each destination
    #[arg(long)]
    pub addresses: bool,
    /// The order; left out: as `export` has it, sockets by label
    #[arg(long, value_name = "ORDER")]
    pub sort: Option<Sort>,
    /// Only bindings of this label
    #[arg(long)]
    pub label: Option<Label>,
    /// Only bindings of this protocol
    #[arg(long, value_name = "tcp|udp")]
    pub protocol: Option<Protocol>,
    /// Only bindings whose destination overlaps this prefix
    #[arg(long, value_name = "PREFIX")]
    pub to: Option<String>,
    /// Only bindings that take this port
    #[arg(long)]
    pub port: Option<u16>,
    /// Only bindings whose label has a socket that this process holds
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Only bindings whose label has a socket bound so: `tcp ADDR:PORT`, `tcp :PORT`, `udp ...`
    #[arg(long = "match", short = 'm', value_name = "SOCKET")]
    pub matches: Vec<SocketMatch>,
}

impl List {
    /// Whether it takes a look at sockets.
    pub fn asks_for_sockets(&self) -> bool {
        self.sockets || self.pid.is_some() || !self.matches.is_empty()
    }
}
