//! What happened in the last ticks, for those things to which anything did.

use std::collections::{HashMap, VecDeque};

/// How many ticks are kept.
pub const TICKS: usize = 60;

/// Rates of the last ticks, by the number of a thing. Most of many never see a packet, and take nothing.
#[derive(Debug, Default)]
pub struct Histories {
    tick: u64,
    /// The tick of the last value, and values up to it, the oldest first.
    of: HashMap<usize, (u64, VecDeque<u64>)>,
}

impl Histories {
    /// Begins a tick.
    pub fn tick(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        self.of.retain(|_, (last, _)| tick - *last < TICKS as u64);
    }

    /// Notes what happened to a thing in this tick.
    pub fn note(&mut self, thing: usize, rate: u64) {
        if rate == 0 {
            return;
        }
        let (last, values) = self.of.entry(thing).or_insert((self.tick - 1, VecDeque::new()));
        values.extend((*last + 1..self.tick).map(|_| 0));
        values.push_back(rate);
        *last = self.tick;
        values.drain(..values.len().saturating_sub(TICKS));
    }

    /// The last so many ticks of a thing, the oldest first.
    pub fn last(&self, thing: usize, ticks: usize) -> Vec<u64> {
        let Some((last, values)) = self.of.get(&thing) else { return vec![0; ticks] };
        let silent = usize::try_from(self.tick - last).unwrap_or(ticks).min(ticks);
        let known = values.iter().skip((values.len() + silent).saturating_sub(ticks)).copied();
        let known: Vec<u64> = known.collect();
        let before = ticks - silent - known.len();
        [vec![0; before], known, vec![0; silent]].concat()
    }

    /// Gives things the numbers that they have now; those without one are forgotten.
    pub fn renumber(&mut self, number: impl Fn(usize) -> Option<usize>) {
        let old = std::mem::take(&mut self.of);
        self.of = old.into_iter().filter_map(|(thing, history)| Some((number(thing)?, history))).collect();
    }
}

/// Eight heights, relative to the highest.
pub fn spark(rates: &[u64]) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = rates.iter().copied().max().unwrap_or(0).max(1);
    // What is not zero can be seen.
    let height = |rate: u64| (u128::from(rate) * 8).div_ceil(u128::from(highest)) as usize;
    rates.iter().map(|&rate| HEIGHTS[height(rate)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_without_anything_are_zero() {
        let mut histories = Histories::default();
        for rate in [0, 5, 0, 0, 7, 0] {
            histories.tick();
            histories.note(3, rate);
        }
        assert_eq!(histories.last(3, 8), [0, 0, 0, 5, 0, 0, 7, 0]);
        assert_eq!(histories.last(3, 3), [0, 7, 0]);
        assert_eq!(histories.last(3, 1), [0]);
        assert_eq!(histories.last(4, 2), [0, 0]);
        histories.renumber(|thing| (thing == 3).then_some(0));
        assert_eq!(histories.last(0, 3), [0, 7, 0]);
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut histories = Histories::default();
        for tick in 0..3 * TICKS as u64 {
            histories.tick();
            histories.note(0, tick % 7);
            histories.note(1, u64::from(tick == 0));
        }
        assert_eq!(histories.of.len(), 1);
        assert!(histories.of[&0].1.len() <= TICKS);
        assert_eq!(histories.last(0, TICKS).len(), TICKS);
    }

    #[test]
    fn a_spark_is_as_high_as_its_share_of_the_highest() {
        assert_eq!(spark(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(spark(&[0, 1, 1_000_000]), " ▁█");
        assert_eq!(spark(&[0, 0]), "  ");
        assert_eq!(spark(&[u64::MAX]), "█");
    }
}
