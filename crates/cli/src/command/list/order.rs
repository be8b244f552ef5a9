//! In which order things are listed.

use std::cmp::Reverse;

use clap::ValueEnum;
use sklookup_steering::Sum;

/// What `--sort` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Most hook runs first
    Hits,
    /// Most without a socket first
    Faults,
    /// By label; rules among them by their name
    Label,
    /// By destination; of a socket, by its own address
    Destination,
}

impl Sort {
    /// Sorts by what `of` says of each: its counts, its label or rule, its address. Equals keep their order.
    pub fn sort<T, A: Ord>(self, items: &mut [T], of: impl Fn(&T) -> (Sum, String, A)) {
        match self {
            Sort::Hits => items.sort_by_cached_key(|item| Reverse(of(item).0.counts.hits)),
            Sort::Faults => items.sort_by_cached_key(|item| Reverse(faults(&of(item).0))),
            Sort::Label => items.sort_by_cached_key(|item| of(item).1),
            Sort::Destination => items.sort_by_cached_key(|item| of(item).2),
        }
    }
}

/// Runs for which a label had no socket.
fn faults(sum: &Sum) -> u64 {
    let counts = sum.counts;
    counts.no_socket + counts.unsupported + counts.wrong_protocol + counts.wrong_family
}
