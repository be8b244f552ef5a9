//! What `top` takes.

use std::time::Duration;

use clap::Args;

/// Watch what is steered, on a terminal.
#[derive(Debug, Args)]
#[command(after_help = "\
It changes nothing, and counts nothing itself. Rates are runs of the hook per second, not connections. It follows what is in \
effect across every change, and waits where nothing is steered.

Keys: q leaves, ? shows all of them, Tab goes from bindings to labels to sockets, / filters, s or r e t n sort, Enter says \
more of the line.

Examples:
  sudo sklookup top
  sudo sklookup top --netns blue --interval 5

Exit status: 0 left with q, 2 could not; ended by signal N: 128+N.")]
pub struct Top {
    /// Seconds between two looks, from 0.1 to 3600; more of them for a slow link
    #[arg(long, short = 'i', value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, from 0.1 to 3600".to_owned())
}
