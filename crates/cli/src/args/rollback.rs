//! `rollback`, as it can be typed.

use clap::Args;
use sklookup_steering::history::EARLIER;

use super::EditFlags;

/// Go back to a policy that was in effect before.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a number it lists the policies that are kept on disk (--state-dir), with time, user, digest and command of each: the \
last one, and up to nine that were in effect before it, 1 the newest. They are history: `status` says what is in effect. Policies \
are kept for the namespace in which the system booted and for those that `ip netns` knows by name; bindings of a `run` are not.

With a number that policy is put into effect as a whole, as `apply` would: the safety catches are what they always are, bindings \
of a living `run` stay, and so do the sockets under every label that both policies have. What was in effect is kept as number 1, so \
that `rollback 1` takes it back again. A file that was changed since it was kept is refused.

Examples:
  sudo sklookup rollback
  sudo sklookup rollback 1 --dry-run
  sudo sklookup rollback 1

Exit status: 0 done (without a number: there is one to go back to), 1 a safety catch refused it or there is none, \
2 could not.")]
pub struct Rollback {
    /// Which one, as `rollback` alone lists them; left out: list them
    #[arg(value_name = "N", value_parser = number)]
    pub number: Option<usize>,
    #[command(flatten)]
    pub edit: EditFlags,
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=EARLIER).contains(number));
    number.ok_or_else(|| format!("the policies before the last one have numbers from 1 to {EARLIER}"))
}
