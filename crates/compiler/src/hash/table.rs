//! The value of the table map: the buckets of all regions, then the lists.
//!
//! A list is the axis of ports, sources or interfaces cut in pieces: sorted, the first from 0, each with the reference
//! that holds there. An entry is the number where the piece starts, as one word or for IPv6 sources as two, upper
//! half first, then the reference. All words are in host order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cuckoo::{self, BUCKET_WORDS, Seeds};
use super::refs::{Kind, Ref};
use super::resolve::Resolver;
use super::shape::{Key, Shape};
use crate::error::CompileError;
use crate::family::Family;
use crate::rules::{Domain, Rule};

/// The most bytes: the kernel's verifier bounds offsets into a value to 512 MiB.
pub(super) const MAX_BYTES: usize = (512 << 20) - 8;

/// Words before the first bucket: on Linux 6.18 a value starts 56 bytes after the start of a cache line.
const LEAD_WORDS: usize = 1;

/// The table while it is built.
pub(super) struct Table {
    /// What stands before the lists.
    words: Vec<u64>,
    lists: Lists,
    /// The most bytes it may have.
    limit: usize,
}

/// Prefixes of one length, with single ports or with ranges.
pub(super) struct Region {
    length: u8,
    single_ports: bool,
    keys: usize,
    pub(super) shape: Shape,
    pub(super) place: Place,
    /// What lists its keys lead to.
    pub(super) lists: Uses,
}

/// Where a region's references are.
pub(super) enum Place {
    /// It has one key, which all packets have: the prefix of length 0.
    Everywhere(Ref),
    /// In the table.
    Buckets(Buckets),
}

/// Where to find buckets and how.
pub(super) struct Buckets {
    /// Byte offset in the value.
    pub(super) offset: u32,
    pub(super) count: u32,
    pub(super) seeds: Seeds,
}

/// Where lists are in the value.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Byte offset in the value.
    pub(super) lists: u32,
    /// Length in bytes.
    pub(super) lists_bytes: u32,
}

/// Lists, each content once.
pub(super) struct Lists {
    words: Vec<u64>,
    /// Those with this hash.
    known: HashMap<u64, Vec<Ref>>,
    uses: HashMap<Ref, Uses>,
    /// How many words fit.
    room: usize,
}

/// The most entries of the lists of each kind that a reference can lead to; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) ports: u32,
    pub(super) sources: u32,
    pub(super) interfaces: u32,
}

/// There is no room for another list.
#[derive(Debug)]
pub(super) struct Full;

impl Table {
    /// An empty table of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Table {
        let lists = Lists { words: Vec::new(), known: HashMap::new(), uses: HashMap::new(), room: limit / 8 };
        Table { words: vec![0; LEAD_WORDS], lists, limit }
    }

    /// Adds the rules of a domain. The regions are in the order in which they are to be searched.
    pub(super) fn add(&mut self, domain: &Domain) -> Result<Vec<Region>, CompileError> {
        let mut regions = Vec::new();
        for of_length in domain.rules.chunk_by(|a, b| a.destination.length == b.destination.length) {
            let (mut singles, mut ranges) = (Vec::new(), Vec::new());
            for rules in of_length.chunk_by(|a, b| a.destination == b.destination) {
                self.resolve(domain, rules, &mut singles, &mut ranges).map_err(|Full| self.too_big(domain, rules))?;
            }
            for (single_ports, keys) in [(true, singles), (false, ranges)] {
                if !keys.is_empty() {
                    let region = self.region(domain.family, of_length[0].destination.length, single_ports, &keys);
                    regions.push(region.map_err(|Full| self.too_big(domain, of_length))?);
                }
            }
        }
        Ok(regions)
    }

    /// Where the lists are, once everything is added.
    pub(super) fn layout(&self) -> Layout {
        Layout { lists: 8 * self.words.len() as u32, lists_bytes: 8 * self.lists.words.len() as u32 }
    }

    /// The value; empty if nothing is in it.
    pub(super) fn into_value(self) -> Vec<u8> {
        if self.words.len() == LEAD_WORDS && self.lists.words.is_empty() {
            return Vec::new();
        }
        let mut value = Vec::with_capacity(8 * (self.words.len() + self.lists.words.len()));
        for words in [self.words, self.lists.words] {
            value.extend(words.into_iter().flat_map(u64::to_ne_bytes));
        }
        value
    }

    /// Resolves the rules of one destination prefix into keys.
    fn resolve(
        &mut self,
        domain: &Domain,
        rules: &[Rule],
        singles: &mut Vec<(Address, Ref)>,
        ranges: &mut Vec<(Address, Ref)>,
    ) -> Result<(), Full> {
        let address = rules[0].destination.address;
        let (single, range) = rules.split_at(rules.partition_point(|rule| rule.width() == 1));
        let family = domain.family;
        for rules in single.chunk_by(|a, b| a.ports == b.ports) {
            let found = Resolver { family, rules, lists: &mut self.lists }.single_port()?;
            singles.push(((address, rules[0].ports.0), found));
        }
        if !range.is_empty() {
            ranges.push(((address, 0), Resolver { family, rules: range, lists: &mut self.lists }.ports()?));
        }
        Ok(())
    }

    fn region(
        &mut self,
        family: Family,
        length: u8,
        single_ports: bool,
        keys: &[(Address, Ref)],
    ) -> Result<Region, Full> {
        let shape = Shape::new(family, length, single_ports);
        let mut lists = Uses::default();
        for (_, found) in keys {
            lists.join(self.lists.uses(*found));
        }
        let place = if shape.len() == 0 {
            Place::Everywhere(keys[0].1)
        } else {
            let keys: Vec<(Key, Ref)> =
                keys.iter().map(|&((address, port), found)| (shape.key(family, address, port), found)).collect();
            let placed = cuckoo::place(&keys, shape.len());
            let offset = 8 * self.words.len() as u32;
            debug_assert_eq!((self.words.len() - LEAD_WORDS) % BUCKET_WORDS, 0);
            self.lists.room = self.lists.room.checked_sub(placed.words.len()).ok_or(Full)?;
            self.words.extend(placed.words);
            Place::Buckets(Buckets { offset, count: placed.buckets, seeds: placed.seeds })
        };
        // The lead and the lists that are there already.
        if self.lists.words.len() + LEAD_WORDS > self.lists.room {
            return Err(Full);
        }
        Ok(Region { length, single_ports, keys: keys.len(), shape, place, lists })
    }

    fn too_big(&self, domain: &Domain, rules: &[Rule]) -> CompileError {
        let rule = &rules[0];
        let address: IpAddr = match domain.family {
            Family::V4 => Ipv4Addr::from_bits(rule.destination.address as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(rule.destination.address).into(),
        };
        CompileError::TableTooBig {
            limit: self.limit,
            destination: format!("{} {address}/{}", domain.protocol, rule.destination.length),
            bindings: rules.len(),
        }
    }
}

/// An address and, for single ports, the port.
type Address = (u128, u16);

impl Region {
    /// A line for the listing.
    pub(super) fn describe(&self, domain: &Domain) -> String {
        let ports = if self.single_ports { "single ports" } else { "port ranges" };
        format!("{}: prefixes /{} with {ports}: {}", domain.name(), self.length, self.keys)
    }
}

impl Lists {
    /// The list of these pieces: each starts at a number, in ascending order, the first at 0; of two that start at one
    /// number the later counts. What is the same everywhere needs no list.
    pub(super) fn add(&mut self, kind: Kind, family: Family, mut pieces: Vec<(u128, Ref)>) -> Result<Ref, Full> {
        pieces.dedup_by(|later, kept| {
            let same_start = later.0 == kept.0;
            if same_start {
                kept.1 = later.1;
            }
            same_start
        });
        pieces.dedup_by_key(|&mut (_, found)| found);
        if let [(_, only)] = pieces[..] {
            return Ok(only);
        }
        let wide = kind.is_wide(family);
        let mut words = Vec::with_capacity(3 * pieces.len());
        for &(from, found) in &pieces {
            if wide {
                words.push((from >> 64) as u64);
            }
            words.extend([from as u64, found.word()]);
        }
        let mut hasher = DefaultHasher::new();
        (kind, &words).hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.known.entry(hash).or_default();
        let same = known.iter().find(|list| {
            let offset = list.offset_words();
            self.words.get(offset..offset + words.len()) == Some(&words[..]) && list.is(kind)
        });
        if let Some(&same) = same {
            return Ok(same);
        }
        if self.words.len() + words.len() + LEAD_WORDS > self.room {
            return Err(Full);
        }
        let list = Ref::list(kind, self.words.len() as u32, pieces.len() as u32);
        known.push(list);
        self.words.extend(words);
        let mut uses = Uses::default();
        for &(_, found) in &pieces {
            uses.join(self.uses(found));
        }
        *uses.of(kind) = pieces.len() as u32;
        self.uses.insert(list, uses);
        Ok(list)
    }

    fn uses(&self, found: Ref) -> Uses {
        if found.is_list() { self.uses[&found] } else { Uses::default() }
    }
}

impl Kind {
    /// Whether entries have two words of number.
    pub(super) fn is_wide(self, family: Family) -> bool {
        self == Kind::Sources && family == Family::V6
    }
}

impl Uses {
    pub(super) fn is_empty(self) -> bool {
        self == Uses::default()
    }

    /// The entries of the largest list of this kind.
    pub(super) fn of(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Ports => &mut self.ports,
            Kind::Sources => &mut self.sources,
            Kind::Interfaces => &mut self.interfaces,
        }
    }

    fn join(&mut self, other: Uses) {
        self.ports = self.ports.max(other.ports);
        self.sources = self.sources.max(other.sources);
        self.interfaces = self.interfaces.max(other.interfaces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::rules::domains;
    use crate::tests::policy;

    #[test]
    fn a_table_beyond_its_limit_is_refused_with_the_place() {
        // Every port needs a list of its own, of all sources whose range has begun.
        let bindings: Vec<String> =
            (1..=200).map(|n| format!("l tcp 192.0.2.7 {}-65535 from 10.0.{n}.0/24", n * 300)).collect();
        let mut all: Vec<&str> = bindings.iter().map(String::as_str).collect();
        all.push("l tcp 192.0.2.1 80");
        let domains = domains(&policy(&all), &Options::default()).unwrap();
        assert!(Table::new(MAX_BYTES).add(&domains[0]).is_ok());
        let Err(error) = Table::new(100_000).add(&domains[0]) else { panic!("it needs more") };
        assert_eq!(
            error.to_string(),
            "the table would need more than 100000 bytes, the most that a program can address; \
             tcp 192.0.2.7/32 was being added, which has 200 bindings"
        );
    }

    #[test]
    fn lists_of_equal_content_are_stored_once() {
        let domains = domains(&policy(&["l tcp 10.0.0.0/8 1-9", "refuse tcp 10.1.0.0/16,10.2.0.0/16 dev lo"]), &{
            let interfaces = [("lo".parse().unwrap(), 1)].into();
            Options { interfaces, ..Options::default() }
        })
        .unwrap();
        let mut table = Table::new(MAX_BYTES);
        table.add(&domains[0]).unwrap();
        // One of ports; those of interfaces lead to different bindings.
        assert_eq!(table.lists.words.len(), 3 * 2 + 2 * 3 * 2);
        let before = table.lists.words.len();
        table.add(&domains[0]).unwrap();
        assert_eq!(table.lists.words.len(), before);
    }
}
