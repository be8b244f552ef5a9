//! Which boxes are hidden behind others.

use super::region::{Budget, Region};
use super::sweep;

/// An address prefix of either family, as its leading bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Net {
    pub(super) bits: u128,
    pub(super) length: u8,
}

/// The box of a binding. Of two with one destination the lower rank is in front; of two whose destinations contain
/// one another, the one with the longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) destination: Net,
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) source: Net,
    pub(super) rank: usize,
}

impl Net {
    /// Every address.
    pub(super) const ALL: Self = Self { bits: 0, length: 0 };

    pub(super) fn contains(self, other: Self) -> bool {
        self.length <= other.length && common_bits(self.bits, other.bits) >= self.length
    }

    /// Whether the bit after the first `length` is set.
    pub(super) fn bit(self, length: u8) -> bool {
        self.bits << length >> 127 == 1
    }

    /// The longest prefix that holds both.
    pub(super) fn join(self, other: Self) -> Self {
        let length = common_bits(self.bits, other.bits).min(self.length).min(other.length);
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Self { bits: self.bits & mask, length }
    }
}

impl Block {
    /// The part that matches packets which `bounds` matches too; a destination within that of `bounds` stays as it is.
    pub(super) fn clipped_to(mut self, bounds: &Self) -> Option<Self> {
        self.first = self.first.max(bounds.first);
        self.last = self.last.min(bounds.last);
        if bounds.source.contains(self.source) {
            // Smaller already.
        } else if self.source.contains(bounds.source) {
            self.source = bounds.source;
        } else {
            return None;
        }
        (self.first <= self.last).then_some(self)
    }
}

/// The ranks of those `judged` that are hidden behind other `judged` ones and `others`, ascending where ranks are.
///
/// Both lists are sorted by destination and rank.
pub(super) fn hidden(judged: &[Block], others: &[Block]) -> Vec<usize> {
    let blocks = Blocks { judged, others };
    let mut search = Search::default();
    if let Some(top) = blocks.top() {
        search.visit(blocks, top.length, false);
    }
    search.hidden.sort_unstable();
    search.hidden
}

#[derive(Default)]
struct Search {
    hidden: Vec<usize>,
    budget: Budget,
}

/// Boxes whose destinations lie in one prefix.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    judged: &'a [Block],
    others: &'a [Block],
}

impl<'a> Blocks<'a> {
    /// The longest prefix that holds all destinations.
    fn top(self) -> Option<Net> {
        let ends = [self.judged, self.others].into_iter().flat_map(|blocks| [blocks.first(), blocks.last()]);
        ends.flatten().map(|block| block.destination).reduce(Net::join)
    }

    fn split(self, at: impl Fn(&[Block]) -> usize) -> (Self, Self) {
        let (judged, more_judged) = self.judged.split_at(at(self.judged));
        let (others, more_others) = self.others.split_at(at(self.others));
        (Self { judged, others }, Self { judged: more_judged, others: more_others })
    }
}

impl Search {
    /// Judges all in a prefix of `length` bits. If `wanted`, returns the ports and sources that are taken whatever the
    /// destination in this prefix.
    ///
    /// Ports and sources are taken everywhere in a prefix if a box takes them whose destination is the whole prefix, or if
    /// they are taken everywhere in both its halves.
    fn visit(&mut self, blocks: Blocks<'_>, length: u8, wanted: bool) -> Region {
        if blocks.judged.is_empty() && !wanted {
            return Region::default();
        }
        // Sorted: the whole prefix comes first, then its halves.
        let (own, rest) = blocks.split(|blocks| blocks.partition_point(|block| block.destination.length == length));
        let (low, high) = rest.split(|blocks| blocks.partition_point(|block| !block.destination.bit(length)));
        let halves_are_whole = [low, high].iter().all(|half| half.top().is_some_and(|top| top.length == length + 1));
        let asked = halves_are_whole && (wanted || !own.judged.is_empty());
        let in_low = self.visit_half(low, asked);
        let in_high = self.visit_half(high, asked && !in_low.is_empty());
        let below = in_low.intersection(&in_high, &mut self.budget);

        if own.judged.is_empty() && own.others.is_empty() {
            return below;
        }
        let mut own_blocks = [own.judged, own.others].concat();
        own_blocks.sort_unstable_by_key(|block| block.rank);
        if !own.judged.is_empty() {
            let seen = sweep::visible(&below, &own_blocks);
            let judged = |block: &Block| own.judged.binary_search_by_key(&block.rank, |judged| judged.rank).is_ok();
            let unseen = own_blocks.iter().zip(seen).filter(|&(block, seen)| !seen && judged(block));
            self.hidden.extend(unseen.map(|(block, _)| block.rank));
        }
        if wanted { below.union(&own_blocks, &mut self.budget) } else { Region::default() }
    }

    fn visit_half(&mut self, blocks: Blocks<'_>, wanted: bool) -> Region {
        match blocks.top() {
            Some(top) => self.visit(blocks, top.length, wanted),
            None => Region::default(),
        }
    }
}

fn common_bits(a: u128, b: u128) -> u8 {
    (a ^ b).leading_zeros() as u8
}
