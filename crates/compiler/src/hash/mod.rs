//! The strategy for large policies: hash tables in the value of one frozen map.
//!
//! There are [`Region`]s for each length of destination prefixes, the longest first: one for single ports, where the
//! key is the address and the port, then one for ranges, where it is the address. That is the order of precedence, so
//! the first hit wins, unless conditions on port, source or interface say that it is none.
//!
//! - [`resolve`] decides what a hit is worth: the rules of one key become an outcome or lists to be searched;
//! - [`table`] lays out keys and lists: a [`refs::Ref`] says what to do or where to look next;
//! - [`cuckoo`] gives each key one of two buckets;
//! - [`probe`] and [`search`] write the code that looks into buckets and lists.

mod cuckoo;
mod probe;
mod refs;
mod resolve;
mod search;
mod shape;
mod sweep;
mod table;

use sklookup_bpf::{AluOp, Builder, Cond, MapFlags, MapSpec, Reg};
use sklookup_policy::Policy;

use crate::emit::ending::{Ending, LabelMap};
use crate::emit::far::{Far, FarLabels};
use crate::emit::{BINDING, VERDICT, hide_constant, packet};
use crate::error::CompileError;
use crate::label_map;
use crate::rules::{Action, Domain};
use table::{Layout, Place, Region, Table};

/// What a packet looks like while it is looked up.
mod reg {
    use sklookup_bpf::Reg;

    /// The destination address as a number: IPv4, or the upper half. In lists of sources and interfaces their key.
    pub(super) const HIGH: Reg = Reg::R7;
    /// The lower half of an IPv6 address.
    pub(super) const LOW: Reg = Reg::R8;
    /// The destination port.
    pub(super) const PORT: Reg = Reg::R9;
    /// The reference that was found.
    pub(super) const FOUND: Reg = Reg::R2;
}

/// A program before its jumps are filled in, and the table it reads.
pub(crate) struct Emitted {
    pub(crate) builder: Builder,
    /// `None` if no key has to be looked up.
    pub(crate) table: Option<MapSpec>,
}

/// Where the program's maps stand in its list.
#[derive(Clone, Copy)]
pub(crate) struct MapIndices {
    pub(crate) table: u32,
    pub(crate) labels: u32,
}

/// Builds the table and writes the program.
pub(crate) fn emit(domains: &[Domain], ending: Ending<'_>, maps: MapIndices) -> Result<Emitted, CompileError> {
    let mut table = Table::new(table::MAX_BYTES);
    let regions = domains.iter().map(|domain| table.add(domain)).collect::<Result<Vec<_>, _>>()?;
    let layout = table.layout();

    let mut b = Builder::new();
    let mut far = FarLabels::default();
    let starts: Vec<Far> = domains.iter().map(|_| far.label(&mut b)).collect();
    packet::dispatch(&mut b, &mut far, domains, &starts);
    for ((domain, start), regions) in domains.iter().zip(starts).zip(&regions) {
        far.place(&mut b, start);
        let code = DomainCode { domain, regions, layout, ending, maps };
        code.emit(&mut b, &mut far);
    }
    let value = table.into_value();
    // Without BPF_F_RDONLY_PROG, though it is only read: what the verifier knows to be constant it reads itself and
    // follows as constants, so that a program would be accepted with one table and refused with another.
    let table = MapSpec { flags: MapFlags::NONE, ..MapSpec::table("table", value) };
    Ok(Emitted { builder: b, table: (table.value_size > 0).then_some(table) })
}

/// What the code of one family and protocol is made of.
struct DomainCode<'a> {
    domain: &'a Domain,
    regions: &'a [Region],
    layout: Layout,
    ending: Ending<'a>,
    maps: MapIndices,
}

impl DomainCode<'_> {
    fn emit(&self, b: &mut Builder, far: &mut FarLabels) {
        let outcome = far.label(b);
        // Packets of other ports leave in front of all regions, those that no region knows behind them.
        let pass = far.label(b);
        packet::load_port(b, Reg::R1);
        let filtered = packet::filter_ports(b, self.domain, Reg::R1, |b| far.target(b, pass));
        // Loaded after the filter: a port that is known to be 80 would make constants of hashes, and without
        // CAP_PERFMON the verifier refuses offsets that are constants on some paths only.
        packet::load_port(b, reg::PORT);
        self.load_destination(b);
        let mut falls_through = true;
        for region in self.regions {
            far.relay(b);
            falls_through = self.region(b, far, region, outcome);
        }
        if filtered || falls_through {
            b.note("no binding");
            far.place(b, pass);
            packet::pass(b);
        }
        far.place(b, outcome);
        self.outcome(b);
    }

    /// Looks into one region, and goes on behind it if it has nothing for the packet. Returns whether it can do that.
    fn region(&self, b: &mut Builder, far: &mut FarLabels, region: &Region, outcome: Far) -> bool {
        let outcome = far.target(b, outcome);
        let (found, next, next_clobbered) = (b.label(), b.label(), b.label());
        b.note(region.describe(self.domain));
        match &region.place {
            Place::Everywhere(reference) => {
                b.constant(reg::FOUND, reference.word());
                hide_constant(b, reg::FOUND);
                if reference.is_outcome() {
                    b.jump(outcome);
                    return false;
                }
            }
            Place::Buckets(buckets) => {
                probe::emit(b, &region.shape, buckets, self.maps.table, found);
                b.jump(next);
            }
        }
        b.place(found);
        b.branch(Cond::SLt, reg::FOUND, 0, outcome);
        if !region.lists.is_empty() {
            let clobbers = search::clobbers_destination(region.lists);
            let miss = if clobbers { next_clobbered } else { next };
            search::emit(b, self.domain, region.lists, &self.layout, self.maps.table, outcome, miss);
            if clobbers {
                b.place(next_clobbered);
                self.load_destination(b);
            }
        }
        b.place(next);
        true
    }

    fn load_destination(&self, b: &mut Builder) {
        packet::load_destination(b, self.domain.family, reg::HIGH, reg::LOW, Reg::R1);
    }

    /// Does what the outcome in [`reg::FOUND`] says.
    fn outcome(&self, b: &mut Builder) {
        let only_verdict = b.label();
        let steers = self.domain.rules.iter().any(|rule| matches!(rule.action, Action::Steer { .. }));
        let returns = self.domain.rules.iter().any(|rule| !matches!(rule.action, Action::Steer { .. }));
        b.note(format!("{} has a binding", self.domain.name()));
        b.mov32(BINDING, reg::FOUND);
        b.alu(AluOp::Rsh, reg::FOUND, 32);
        b.mov(Reg::R8, reg::FOUND);
        b.mov(VERDICT, reg::FOUND);
        b.alu32(AluOp::Rsh, VERDICT, refs::VERDICT_BIT - 32);
        b.alu32(AluOp::And, VERDICT, 1);
        self.ending.found(b);
        if !steers {
            self.ending.verdict(b, self.domain);
            return;
        }
        let tail = self.ending.tail(b, self.domain);
        if returns {
            b.branch32(Cond::Set, Reg::R8, 1 << (refs::RETURN_BIT - 32), only_verdict);
        }
        b.alu32(AluOp::And, Reg::R8, refs::LABEL_MASK as i32);
        tail.select(b, LabelMap::InArray(self.maps.labels));
        tail.emit(b);
        if returns {
            b.note("pass and refuse");
            b.place(only_verdict);
            self.ending.verdict(b, self.domain);
        }
    }
}

/// The ARRAY_OF_MAPS over the maps of all labels.
pub(crate) fn labels_map(policy: &Policy) -> MapSpec {
    let labels = u32::try_from(policy.labels().len()).expect("a policy has at most 10,000 labels");
    MapSpec {
        inner: Some(Box::new(label_map::spec("label"))),
        ..MapSpec::new("labels", sklookup_bpf::MapType::ArrayOfMaps, 4, 4, labels)
    }
}
