//! Walks along an axis on which rules have intervals, and tells for each piece which rules matter there.
//!
//! Of rules with equal conditions only the best matters, so a piece costs as much as there are different conditions on
//! it, not as there are rules: a hundred thousand overlapping ranges are no hundred thousand candidates.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::cuckoo::splitmix;

/// Where a rule holds, both ends included, and what else it demands.
pub(super) struct Interval<C> {
    pub(super) first: u128,
    pub(super) last: u128,
    pub(super) condition: C,
}

/// Which intervals matter on a piece, by their places in the list.
#[derive(Default)]
pub(super) struct Best {
    /// Ascending, and of each condition only the first.
    places: BTreeSet<u32>,
    /// The sum of a number for each.
    identity: u128,
}

impl Best {
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.places.iter().copied()
    }

    /// What tells one set from another without a look at its members: thousands of pieces may have one set of thousands.
    ///
    /// Two sets with one sum of 128-bit numbers that have nothing to do with each other are not to be feared.
    pub(super) fn identity(&self) -> u128 {
        self.identity
    }

    fn insert(&mut self, place: u32) {
        self.places.insert(place);
        self.identity = self.identity.wrapping_add(number(place));
    }

    fn remove(&mut self, place: u32) {
        self.places.remove(&place);
        self.identity = self.identity.wrapping_sub(number(place));
    }
}

/// The number that stands for a place in sums.
fn number(place: u32) -> u128 {
    let half = |which: u64| u128::from(splitmix(splitmix(u64::from(place) << 1 | which)));
    half(0) << 64 | half(1)
}

/// Calls `visit` with the start of each piece, in ascending order from 0, and the intervals that matter on it.
pub(super) fn sweep<C: Copy + Eq + Hash, E>(
    intervals: &[Interval<C>],
    mut visit: impl FnMut(u128, &Best) -> Result<(), E>,
) -> Result<(), E> {
    let mut active = Active::new(intervals);
    // An interval that ends with the axis ends nowhere: the largest number has no successor.
    let starts = intervals.iter().zip(0..).map(|(interval, index)| (interval.first, Change::Start, index));
    let ends = intervals
        .iter()
        .zip(0..)
        .filter_map(|(interval, index)| Some((interval.last.checked_add(1)?, Change::End, index)));
    let mut changes: Vec<(u128, Change, u32)> = starts.chain(ends).collect();
    changes.sort_unstable();

    if changes.first().is_none_or(|&(at, ..)| at > 0) {
        visit(0, &active.best)?;
    }
    for piece in changes.chunk_by(|(a, ..), (b, ..)| a == b) {
        for &(_, change, index) in piece {
            active.apply(change, index);
        }
        visit(piece[0].0, &active.best)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Start,
    End,
}

/// The intervals at the current place.
struct Active {
    /// Number of the condition of each interval.
    conditions: Vec<usize>,
    /// Intervals by condition.
    all: Vec<BTreeSet<u32>>,
    /// The first of each condition.
    best: Best,
}

impl Active {
    fn new<C: Copy + Eq + Hash>(intervals: &[Interval<C>]) -> Active {
        let mut numbers = HashMap::new();
        let conditions = intervals.iter().map(|interval| {
            let next = numbers.len();
            *numbers.entry(interval.condition).or_insert(next)
        });
        let conditions = conditions.collect();
        Active { conditions, all: vec![BTreeSet::new(); numbers.len()], best: Best::default() }
    }

    fn apply(&mut self, change: Change, index: u32) {
        let of_condition = &mut self.all[self.conditions[index as usize]];
        let before = of_condition.first().copied();
        match change {
            Change::Start => of_condition.insert(index),
            Change::End => of_condition.remove(&index),
        };
        let after = of_condition.first().copied();
        if before != after {
            before.into_iter().for_each(|before| self.best.remove(before));
            after.into_iter().for_each(|after| self.best.insert(after));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(intervals: &[(u128, u128, char)]) -> Vec<(u128, Vec<u32>)> {
        let intervals: Vec<_> =
            intervals.iter().map(|&(first, last, condition)| Interval { first, last, condition }).collect();
        let mut pieces = Vec::new();
        let done: Result<(), ()> = sweep(&intervals, |from, best| {
            pieces.push((from, best.iter().collect()));
            Ok(())
        });
        assert_eq!(done, Ok(()));
        pieces
    }

    #[test]
    fn pieces_begin_where_intervals_begin_and_after_they_end() {
        assert_eq!(
            pieces(&[(5, 9, 'a'), (3, 6, 'b')]),
            [(0, vec![]), (3, vec![1]), (5, vec![0, 1]), (7, vec![0]), (10, vec![])]
        );
        assert_eq!(pieces(&[(0, u128::MAX, 'a')]), [(0, vec![0])]);
        assert_eq!(pieces(&[]), [(0, vec![])]);
    }

    #[test]
    fn of_equal_conditions_only_the_first_matters() {
        assert_eq!(
            pieces(&[(5, 6, 'a'), (3, 8, 'a'), (0, 9, 'b')]),
            [(0, vec![2]), (3, vec![1, 2]), (5, vec![0, 2]), (7, vec![1, 2]), (9, vec![2]), (10, vec![])]
        );
    }

    #[test]
    fn pieces_with_one_set_are_known_by_it() {
        let intervals: Vec<Interval<u32>> =
            (0..40).map(|n| Interval { first: u128::from(n % 7), last: u128::from(9 + n % 5), condition: n }).collect();
        let mut known: HashMap<u128, Vec<u32>> = HashMap::new();
        let done: Result<(), ()> = sweep(&intervals, |_, best| {
            let places: Vec<u32> = best.iter().collect();
            assert_eq!(known.entry(best.identity()).or_insert_with(|| places.clone()), &places);
            Ok(())
        });
        assert_eq!(done, Ok(()));
        // What comes and goes leaves what was there before: here nothing, after the last has ended.
        assert_eq!((known.len(), known[&0].len()), (12, 0));
    }
}
