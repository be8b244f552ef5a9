//! Gives each key a place in one of two buckets, so that a lookup touches two cache lines at most.
//!
//! Where both buckets of a key are full, a key that is there moves to its other bucket, and so on. If that does not
//! end, everything starts again with another hash function, then with more buckets. All of it is deterministic.

use super::refs::Ref;
use super::shape::Key;

/// Words of a bucket: one cache line.
pub(super) const BUCKET_WORDS: usize = 8;

/// How full a table is built, in hundredths. Two-slot buckets can't be filled above 0.9, four-slot buckets above 0.98,
/// and near that building takes long.
const LOAD: [(usize, usize); 2] = [(4, 85), (2, 75)];

/// A key is moved at most so often for another to be placed.
const MAX_MOVES: usize = 500;

/// Multipliers of the hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seeds {
    /// For the first word, for the second, and to mix the sum.
    pub(super) multipliers: [u64; 3],
}

/// Buckets with every key in one of its two.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) words: Vec<u64>,
    pub(super) buckets: u32,
    pub(super) seeds: Seeds,
}

impl Seeds {
    fn attempt(attempt: u64) -> Seeds {
        // Odd, so that no bit of a word is lost.
        Seeds { multipliers: [0, 1, 2].map(|index| splitmix(3 * attempt + index) | 1) }
    }

    /// The hash of a key; its halves number the two buckets.
    pub(super) fn hash(&self, key: &Key) -> u64 {
        let [first, second, mix] = self.multipliers;
        let sum = key[0].wrapping_mul(first).wrapping_add(key[1].wrapping_mul(second)).wrapping_add(key[2]);
        (sum ^ (sum >> 32)).wrapping_mul(mix)
    }

    /// The two buckets of a key; they may be one.
    pub(super) fn buckets(&self, key: &Key, buckets: u32) -> [u32; 2] {
        let hash = self.hash(key);
        let within = |half: u64| ((half * u64::from(buckets)) >> 32) as u32;
        [within(hash >> 32), within(hash & u64::from(u32::MAX))]
    }
}

/// How many keys of so many words stand in a bucket, each with its reference.
pub(super) fn slots(key_words: usize) -> usize {
    if key_words == 1 { 4 } else { 2 }
}

/// Places keys of `key_words` words, which are all different.
pub(super) fn place(keys: &[(Key, Ref)], key_words: usize) -> Placed {
    let slots = slots(key_words);
    let (_, load) = LOAD.into_iter().find(|&(of, _)| of == slots).expect("buckets have 4 slots or 2");
    let mut buckets = (keys.len() * 100).div_ceil(slots * load).max(1);
    for attempt in 0.. {
        let seeds = Seeds::attempt(attempt);
        let count = u32::try_from(buckets).expect("a table is smaller than 2^32 buckets");
        if let Some(occupants) = occupants(keys, slots, count, seeds) {
            return Placed { words: words(keys, key_words, &occupants), buckets: count, seeds };
        }
        if attempt % 2 == 1 {
            buckets += buckets / 8 + 1;
        }
    }
    unreachable!("with enough buckets every key finds a place")
}

/// Index + 1 of the key in each slot, 0 for none; `None` if moving did not end.
fn occupants(keys: &[(Key, Ref)], slots: usize, buckets: u32, seeds: Seeds) -> Option<Vec<u32>> {
    let mut occupants = vec![0u32; buckets as usize * slots];
    let mut random = 0u64;
    for index in 0..keys.len() as u32 {
        let mut homeless = index + 1;
        let mut came_from = None;
        let mut moves = 0;
        while homeless != 0 {
            let homes = seeds.buckets(&keys[homeless as usize - 1].0, buckets);
            let free = homes.iter().find_map(|&home| {
                let start = home as usize * slots;
                (start..start + slots).find(|&slot| occupants[slot] == 0)
            });
            if let Some(slot) = free {
                occupants[slot] = homeless;
                break;
            }
            if moves == MAX_MOVES {
                return None;
            }
            moves += 1;
            let home = if came_from == Some(homes[0]) { homes[1] } else { homes[0] };
            random = splitmix(random);
            let slot = home as usize * slots + random as usize % slots;
            std::mem::swap(&mut homeless, &mut occupants[slot]);
            came_from = Some(home);
        }
    }
    Some(occupants)
}

/// The buckets as they stand in the table: each slot has the words of the key, then the reference in its last word.
fn words(keys: &[(Key, Ref)], key_words: usize, occupants: &[u32]) -> Vec<u64> {
    let slot_words = BUCKET_WORDS / slots(key_words);
    let stranger = stranger(keys);
    let mut words = vec![0; occupants.len() * slot_words];
    for (slot, &occupant) in words.chunks_exact_mut(slot_words).zip(occupants) {
        match occupant.checked_sub(1) {
            Some(index) => {
                let (key, found) = &keys[index as usize];
                slot[..key_words].copy_from_slice(&key[..key_words]);
                slot[slot_words - 1] = found.word();
            }
            None => slot[0] = stranger,
        }
    }
    words
}

/// A first word that no key has: it stands in free slots, so that what they match is a miss.
fn stranger(keys: &[(Key, Ref)]) -> u64 {
    // Of more numbers than there are keys one is free.
    let lowest = u64::MAX - keys.len() as u64;
    let mut taken: Vec<u64> = keys.iter().map(|(key, _)| key[0]).filter(|&word| word >= lowest).collect();
    taken.sort_unstable();
    (lowest..=u64::MAX).find(|word| taken.binary_search(word).is_err()).expect("there are fewer keys than numbers")
}

/// Steele, Lea and Flood's SplitMix64: the next number after `state`.
pub(super) fn splitmix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::refs::Kind;

    /// What a lookup of `key` finds.
    fn look(placed: &Placed, key_words: usize, key: &Key) -> u64 {
        let slot_words = BUCKET_WORDS / slots(key_words);
        for bucket in placed.seeds.buckets(key, placed.buckets) {
            let start = bucket as usize * BUCKET_WORDS;
            for slot in placed.words[start..start + BUCKET_WORDS].chunks(slot_words) {
                if slot[..key_words] == key[..key_words] {
                    return slot[slot_words - 1];
                }
            }
        }
        0
    }

    fn numbered(keys: impl Iterator<Item = Key>) -> Vec<(Key, Ref)> {
        keys.zip(1..).map(|(key, number)| (key, Ref::list(Kind::Ports, number, 1))).collect()
    }

    #[test]
    fn every_key_is_found_and_nothing_else() {
        for key_words in 1..=3 {
            for count in [1, 2, 3, 5, 100, 20_000u64] {
                let key = |n: u64| {
                    let mut key = [0; 3];
                    key[key_words - 1] = n << 3;
                    key
                };
                let keys = numbered((0..count).map(key));
                let placed = place(&keys, key_words);
                for (key, found) in &keys {
                    assert_eq!(look(&placed, key_words, key), found.word(), "{key_words} words, {count} keys");
                }
                for n in count..2 * count {
                    assert_eq!(look(&placed, key_words, &key(n)), 0);
                }
            }
        }
    }

    #[test]
    fn a_key_of_all_zeros_or_all_ones_is_not_mistaken_for_a_free_slot() {
        for word in [0, u64::MAX, u64::MAX - 1] {
            let keys = numbered([[word, 0, 0]].into_iter());
            let placed = place(&keys, 1);
            assert_eq!(look(&placed, 1, &[word, 0, 0]), keys[0].1.word());
            for other in [0, 1, u64::MAX, u64::MAX - 1].into_iter().filter(|&other| other != word) {
                assert_eq!(look(&placed, 1, &[other, 0, 0]), 0);
            }
        }
    }

    #[test]
    fn memory_is_proportional_to_the_keys() {
        let keys = numbered((0..100_000).map(|n| [n * 7919, 0, 0]));
        let bytes = place(&keys, 1).words.len() * 8;
        assert!(bytes < 100_000 * 20, "{bytes} bytes");
    }
}
