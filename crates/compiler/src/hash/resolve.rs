//! From the rules of one key to what its reference says.
//!
//! Conditions are looked at in the order ports, sources, interfaces. Each kind that matters becomes a list of
//! intervals, and each interval leads to what is left of the rules: in order, cut at the first that takes whatever comes.

use std::collections::HashMap;

use super::refs::{Kind, Ref};
use super::sweep::{Best, Interval, sweep};
use super::table::{Full, Lists};
use crate::family::Family;
use crate::rules::Rule;

/// Resolves rules of one destination prefix, in order of precedence.
pub(super) struct Resolver<'a> {
    pub(super) family: Family,
    pub(super) rules: &'a [Rule],
    pub(super) lists: &'a mut Lists,
}

impl Resolver<'_> {
    /// What a packet gets whose port is known to match every rule.
    pub(super) fn single_port(&mut self) -> Result<Ref, Full> {
        let mut left: Vec<u32> = (0..self.rules.len() as u32).collect();
        if let Some(first) = self.rules.iter().position(Rule::takes_anyone) {
            left.truncate(first + 1);
        }
        self.sources(&left)
    }

    /// What a packet gets by its port.
    pub(super) fn ports(&mut self) -> Result<Ref, Full> {
        let rules = self.rules;
        if let [first, ..] = rules
            && first.takes_anyone()
            && first.ports == (0, u16::MAX)
        {
            return Ok(Ref::outcome(first));
        }
        let intervals: Vec<_> = rules
            .iter()
            .map(|rule| Interval {
                first: rule.ports.0.into(),
                last: rule.ports.1.into(),
                condition: (rule.source, rule.interface),
            })
            .collect();
        // By all that matter on a piece, and by those of them that are left.
        let mut known_sets: HashMap<u128, Ref> = HashMap::new();
        let mut known: HashMap<Vec<u32>, Ref> = HashMap::new();
        let mut pieces = Vec::new();
        sweep(&intervals, |from, best| {
            if from > u16::MAX.into() {
                return Ok(());
            }
            if let Some(&found) = known_sets.get(&best.identity()) {
                pieces.push((from, found));
                return Ok(());
            }
            let left = cut(best, |index| rules[index as usize].takes_anyone());
            let found = match known.get(&left) {
                Some(&found) => found,
                None => {
                    let found = self.sources(&left)?;
                    known.insert(left, found);
                    found
                }
            };
            known_sets.insert(best.identity(), found);
            pieces.push((from, found));
            Ok(())
        })?;
        self.lists.add(Kind::Ports, self.family, pieces)
    }

    fn sources(&mut self, left: &[u32]) -> Result<Ref, Full> {
        let rules = self.rules;
        let rule = |index: u32| &rules[index as usize];
        if left.iter().all(|&index| rule(index).source.is_none()) {
            return self.interfaces(left);
        }
        let bits = self.family.bits();
        let end = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
        let intervals: Vec<_> = left
            .iter()
            .map(|&index| {
                let (first, last) = rule(index).source.map_or((0, end), |source| source.range(bits));
                Interval { first, last, condition: rule(index).interface }
            })
            .collect();
        let mut pieces = Vec::new();
        sweep(&intervals, |from, best| {
            if from > end {
                return Ok(());
            }
            let mut rest = cut(best, |place| rule(left[place as usize]).interface.is_none());
            rest.iter_mut().for_each(|place| *place = left[*place as usize]);
            pieces.push((from, self.interfaces(&rest)?));
            Ok(())
        })?;
        self.lists.add(Kind::Sources, self.family, pieces)
    }

    fn interfaces(&mut self, left: &[u32]) -> Result<Ref, Full> {
        let mut by_interface = HashMap::new();
        let mut any = Ref::MISS;
        for rule in left.iter().map(|&index| &self.rules[index as usize]) {
            match rule.interface {
                Some(interface) => {
                    by_interface.entry(interface).or_insert(Ref::outcome(rule));
                }
                None => {
                    any = Ref::outcome(rule);
                    break;
                }
            }
        }
        let mut named: Vec<_> = by_interface.into_iter().collect();
        named.sort_unstable_by_key(|&(interface, _)| interface);
        let mut pieces = vec![(0, any)];
        for (interface, found) in named {
            // The piece before may start where this one does; the later one counts.
            pieces.push((interface.into(), found));
            pieces.push((u128::from(interface) + 1, any));
        }
        self.lists.add(Kind::Interfaces, self.family, pieces)
    }
}

/// The rules up to the first that takes everything.
fn cut(best: &Best, takes_all: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut left = Vec::new();
    for index in best.iter() {
        left.push(index);
        if takes_all(index) {
            break;
        }
    }
    left
}
