//! What the program counts, and where.
//!
//! Every packet that a binding wins is a hit of it, whatever its outcome. Hits are on the path of every packet, so each
//! CPU counts for itself where memory allows: the kernel keeps 8 bytes per binding for each possible CPU. Beyond
//! 64 MiB CPUs share: at 128 CPUs from 65,000 bindings on. Faults are rare and kept once.

use sklookup_bpf::{MapSpec, MapType};

/// How many hits stand in one value of the per-CPU array of a large policy: 4 KiB. The kernel allocates each value on each
/// CPU apart, which for a value a binding takes most of the time of a load. Up to so many bindings, and so wherever the
/// program is branches, each has a value of its own, which costs the program three instructions less.
pub(crate) const PAGE: u32 = 512;

/// What the hits of one program may cost, in bytes. At a million bindings and 128 CPUs, per-CPU counters would be 1 GB.
pub(crate) const MAX_HITS_BYTES: u64 = 64 << 20;

/// How hits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitsLayout {
    /// PERCPU_ARRAY of one u64 per binding, one or more to a value. [`Counters::decode`] wants the sums over all CPUs.
    PerCpu,
    /// The one value of an ARRAY: so many shards, each with one u64 per binding; CPUs share shards.
    Shards(u32),
}

/// The layout of the counters of a compiled policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// How many bindings are counted. The maps have room for at least one.
    pub bindings: usize,
    /// How hits are kept.
    pub hits: HitsLayout,
}

/// What happened to the packets of one binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that the binding won.
    pub hits: u64,
    /// Of these: the label had no socket for the packet's family and protocol.
    pub no_socket: u64,
    /// Of these: the first socket can't be selected any more, because it was connected or shut down, and no other
    /// could.
    pub unsupported: u64,
    /// Of these: the first socket was of another protocol, and no other could be selected.
    pub wrong_protocol: u64,
    /// Of these: the first socket can't take packets of this family, and no other could.
    pub wrong_family: u64,
    /// Of these: a program attached before ours had selected a socket, which ours left so.
    pub already_selected: u64,
}

/// Why no socket was selected, in the order of the faults map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NoSocket,
    Unsupported,
    WrongProtocol,
    WrongFamily,
    AlreadySelected,
}

/// Counters of faults per binding.
pub(crate) const FAULTS: usize = 5;

impl Counters {
    /// The layout for so many bindings and possible CPUs.
    pub(crate) fn new(bindings: usize, cpus: u32) -> Counters {
        let one_shard = 8 * bindings as u64;
        let cpus = u64::from(cpus.max(1));
        let hits = if one_shard * (cpus + 1) <= MAX_HITS_BYTES {
            HitsLayout::PerCpu
        } else {
            let fit = (MAX_HITS_BYTES / one_shard).clamp(1, cpus.next_power_of_two());
            HitsLayout::Shards(1 << fit.ilog2())
        };
        Counters { bindings, hits }
    }

    /// The counts of each binding, from the values of the two maps as u64s in host order: of the hits map one sum over
    /// all CPUs for each key, or the words of its one value; of the faults map the words of its one value.
    ///
    /// `None` if there are fewer words than the layout has.
    pub fn decode(&self, hits: &[u64], faults: &[u64]) -> Option<Vec<Counts>> {
        let shards = match self.hits {
            HitsLayout::PerCpu => 1,
            HitsLayout::Shards(shards) => shards as usize,
        };
        let hits = hits.get(..shards * self.bindings)?;
        let faults = faults.get(..FAULTS * self.bindings)?;
        let counts = faults.as_chunks().0.iter().enumerate().map(|(binding, faults)| {
            let &[no_socket, unsupported, wrong_protocol, wrong_family, already_selected]: &[u64; FAULTS] = faults;
            Counts {
                hits: hits.iter().skip(binding).step_by(self.bindings).sum(),
                no_socket,
                unsupported,
                wrong_protocol,
                wrong_family,
                already_selected,
            }
        });
        Some(counts.collect())
    }

    /// The map of hits.
    pub(crate) fn hits_map(&self) -> MapSpec {
        let bindings = self.room();
        match self.hits {
            HitsLayout::PerCpu => {
                let each = self.hits_in_a_value();
                MapSpec::new("hits", MapType::PercpuArray, 4, 8 * each, bindings.div_ceil(each))
            }
            HitsLayout::Shards(shards) => MapSpec::new("hits", MapType::Array, 4, 8 * shards * bindings, 1),
        }
    }

    /// The map of faults.
    pub(crate) fn faults_map(&self) -> MapSpec {
        MapSpec::new("faults", MapType::Array, 4, 8 * FAULTS as u32 * self.room(), 1)
    }

    /// How many bindings count in one value, where CPUs count apart: 1 or [`PAGE`].
    pub(crate) fn hits_in_a_value(&self) -> u32 {
        if self.room() > PAGE { PAGE } else { 1 }
    }

    fn room(&self) -> u32 {
        u32::try_from(self.bindings.max(1)).expect("a policy has at most a million bindings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_count_apart_until_that_costs_64_mib() {
        assert_eq!(Counters::new(0, 4).hits, HitsLayout::PerCpu);
        assert_eq!(Counters::new(1_000_000, 2).hits, HitsLayout::PerCpu);
        assert_eq!(Counters::new(65_000, 128).hits, HitsLayout::PerCpu);
        assert_eq!(Counters::new(66_000, 128).hits, HitsLayout::Shards(64));
        assert_eq!(Counters::new(1_000_000, 128).hits, HitsLayout::Shards(8));
        assert_eq!(Counters::new(1_000_000, 8).hits, HitsLayout::Shards(8));
        assert_eq!(Counters::new(1_000_000, 128).hits_map().value_size, 64_000_000);
    }

    #[test]
    fn many_counters_share_the_values_of_a_map() {
        let hits = |bindings| Counters::new(bindings, 4).hits_map();
        assert_eq!((hits(512).max_entries, hits(512).value_size), (512, 8));
        assert_eq!((hits(513).max_entries, hits(513).value_size), (2, 4096));
        assert_eq!((hits(1_000_000).max_entries, hits(1_000_000).value_size), (1954, 4096));
    }

    #[test]
    fn hits_are_summed_over_shards_and_faults_keep_their_names() {
        let counters = Counters { bindings: 2, hits: HitsLayout::Shards(2) };
        let counts = counters.decode(&[1, 2, 10, 20], &[1, 2, 3, 4, 5, 0, 0, 0, 0, 0]).unwrap();
        let first =
            Counts { hits: 11, no_socket: 1, unsupported: 2, wrong_protocol: 3, wrong_family: 4, already_selected: 5 };
        assert_eq!(counts, [first, Counts { hits: 22, ..Counts::default() }]);
    }

    #[test]
    fn values_that_are_too_short_are_not_decoded() {
        let counters = Counters { bindings: 2, hits: HitsLayout::PerCpu };
        assert_eq!(counters.decode(&[1], &[0; 10]), None);
        assert_eq!(counters.decode(&[1, 2], &[0; 9]), None);
    }

    #[test]
    fn a_map_has_room_for_a_binding_though_there_is_none() {
        let counters = Counters::new(0, 4);
        assert_eq!(counters.hits_map().max_entries, 1);
        assert_eq!(counters.faults_map().value_size, 40);
        assert_eq!(counters.decode(&[0], &[0; 5]), Some(vec![]));
    }
}
