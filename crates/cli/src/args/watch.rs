//! The arguments of `watch`.

use clap::{Args, value_parser};

/// Print a line for each packet that was steered nowhere.
#[derive(Debug, Args)]
#[command(after_help = "\
A line tells when, what happened (no socket under the label, a socket that could not be selected, another program that
selected before or after us, a refusal), to which packet, by which binding, and what became of it. The policy may be replaced
meanwhile. Ctrl-C ends it; what was left out is counted. Nothing about the steering program is changed: a program beside it
looks on, and is gone with this command, however that ends.

Examples:
  sudo sklookup watch
  sudo sklookup watch --rate 1000 --json | jq .packet
  sudo sklookup watch --every 100 --count 10

Exit status: 0 done, 2 could not.")]
pub struct Watch {
    /// Most events within a second; what is more is counted and left out
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Tell one event of so many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub every: u32,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}
