//! The strategy for small policies: compares and branches, no table.
//!
//! [`dag`] turns the rules of a family and protocol into a decision graph over destination, port, source and
//! interface; this file writes it as code. Each label's map is named in the program.

mod dag;

use sklookup_bpf::{Builder, Cond, Label, Reg};
use sklookup_policy::{Policy, WhenEmpty};

use crate::counters::HitsLayout;
use crate::emit::ending::{Ending, LabelMap};
use crate::emit::far::FarLabels;
use crate::emit::{BINDING, VERDICT, packet};
use crate::error::CompileError;
use crate::family::Family;
use crate::rules::{Action, Domain, Rule};
use dag::{Dag, Dimension, Node};

/// The most labels whose maps are named in the program: the kernel takes 64 maps, and there are others.
pub(crate) const MAX_LABELS: usize = 32;

/// The most slots, well below what a jump spans. A program of this length has long lost to a table.
const MAX_SLOTS: usize = 8192;

/// The first label map in the program's list, after the two that an ending has.
const FIRST_LABEL_MAP: u32 = 2;

/// The value of the dimension being looked at, and its lower half where it has 128 bits.
const VALUE: Reg = Reg::R2;
const VALUE_LOW: Reg = Reg::R3;
const SCRATCH: Reg = Reg::R0;

/// Writes the program.
pub(crate) fn emit(policy: &Policy, domains: &[Domain], ending: Ending<'_>) -> Result<Builder, CompileError> {
    let too_much = |why: String| Err(CompileError::Branches { why });
    if policy.labels().len() > MAX_LABELS {
        return too_much(format!("{} labels, at most {MAX_LABELS} fit", policy.labels().len()));
    }
    if let Ending::Deliver(counters) = ending
        && (counters.hits != HitsLayout::PerCpu || counters.hits_in_a_value() > 1)
    {
        return too_much(format!("{} bindings are too many to count on each CPU apart", counters.bindings));
    }
    let mut b = Builder::new();
    let mut far = FarLabels::default();
    let starts: Vec<_> = domains.iter().map(|_| far.label(&mut b)).collect();
    packet::dispatch(&mut b, &mut far, domains, &starts);
    for (domain, start) in domains.iter().zip(starts) {
        let Some(dag) = Dag::new(domain) else {
            return too_much(format!("the overlaps of {} make too many cases", domain.name()));
        };
        far.place(&mut b, start);
        emit_domain(&mut b, policy, domain, &dag, ending);
        if b.slot() > MAX_SLOTS {
            return too_much(format!("more than {MAX_SLOTS} instruction slots"));
        }
    }
    Ok(b)
}

fn emit_domain(b: &mut Builder, policy: &Policy, domain: &Domain, dag: &Dag, ending: Ending<'_>) {
    let pass = b.label();
    packet::load_port(b, VALUE);
    let filtered = packet::filter_ports(b, domain, VALUE, |_| pass);

    let labels: Vec<Label> = dag.nodes().iter().map(|_| b.label()).collect();
    let tail = ending.tail(b, domain);
    // One block for each label that a winner steers to, and one for pass and refuse.
    let mut deliveries: Vec<(Option<u32>, Label)> = Vec::new();
    for (index, node) in dag.nodes().iter().enumerate() {
        b.place(labels[index]);
        match node {
            Node::Split { dimension, cuts } => {
                b.note(format!("{} by {dimension}", domain.name()));
                load(b, domain.family, *dimension);
                let cuts: Vec<_> = cuts.iter().map(|&(from, node)| (from, labels[node])).collect();
                emit_tree(b, dimension.is_wide(domain.family), &cuts);
            }
            Node::Leaf(None) => {
                b.note("no binding");
                b.place(pass);
                packet::pass(b);
            }
            Node::Leaf(Some(rule)) => emit_leaf(b, policy, &domain.rules[*rule as usize], &mut deliveries),
        }
    }
    if filtered && !dag.nodes().contains(&Node::Leaf(None)) {
        b.place(pass);
        packet::pass(b);
    }

    let steers = deliveries.iter().any(|(label, _)| label.is_some());
    for (label, place) in deliveries {
        match label {
            Some(label) => {
                b.note(format!("label {}, {}", policy.labels()[label as usize], domain.name()));
                b.place(place);
                ending.found(b);
                tail.select(b, LabelMap::Named(FIRST_LABEL_MAP + label));
            }
            None => {
                b.note(format!("pass and refuse, {}", domain.name()));
                b.place(place);
                ending.found(b);
                ending.verdict(b, domain);
            }
        }
    }
    if steers {
        tail.emit(b);
    }
}

fn emit_leaf(b: &mut Builder, policy: &Policy, rule: &Rule, deliveries: &mut Vec<(Option<u32>, Label)>) {
    let (label, verdict) = match rule.action {
        Action::Steer { label, when_empty: WhenEmpty::Pass } => (Some(label), 1),
        Action::Steer { label, when_empty: WhenEmpty::Refuse } => (Some(label), 0),
        Action::Pass => (None, 1),
        Action::Refuse => (None, 0),
    };
    let delivery = match deliveries.iter().find(|(known, _)| *known == label) {
        Some(&(_, place)) => place,
        None => {
            let place = b.label();
            deliveries.push((label, place));
            place
        }
    };
    b.note(format!("binding {}: {}", rule.number, policy.entries()[rule.number as usize].binding));
    b.mov(BINDING, rule.number as i32);
    b.mov(VERDICT, verdict);
    b.jump(delivery);
}

fn load(b: &mut Builder, family: Family, dimension: Dimension) {
    match dimension {
        Dimension::Destination => packet::load_destination(b, family, VALUE, VALUE_LOW, SCRATCH),
        Dimension::Port => packet::load_port(b, VALUE),
        Dimension::Source => packet::load_source(b, family, VALUE, VALUE_LOW, SCRATCH),
        Dimension::Interface => packet::load_interface(b, VALUE),
    }
}

/// Goes to the label of the last cut that is not above the value.
fn emit_tree(b: &mut Builder, wide: bool, cuts: &[(u128, Label)]) {
    let (left, right) = cuts.split_at(cuts.len() / 2);
    match (left, right) {
        ([], [(_, only)]) => b.jump(*only),
        ([(_, left)], [(from, _), ..]) => {
            branch(b, wide, Cond::Lt, *from, *left);
            emit_tree(b, wide, right);
        }
        (_, [(from, _), ..]) => {
            let above = b.label();
            branch(b, wide, Cond::Ge, *from, above);
            emit_tree(b, wide, left);
            b.place(above);
            emit_tree(b, wide, right);
        }
        (_, []) => unreachable!("the right half is the larger one, and there is a cut at 0"),
    }
}

/// Goes to `to` if the value is below `bound` or not, as `cond` says.
fn branch(b: &mut Builder, wide: bool, cond: Cond, bound: u128, to: Label) {
    if !wide {
        b.branch32(cond, VALUE, bound as u32 as i32, to);
        return;
    }
    let (high, low) = ((bound >> 64) as u64, bound as u64);
    b.constant(SCRATCH, high);
    if low == 0 {
        b.branch(cond, VALUE, SCRATCH, to);
        return;
    }
    let strictly = if cond == Cond::Lt { Cond::Lt } else { Cond::Gt };
    let decided = b.label();
    b.branch(strictly, VALUE, SCRATCH, to);
    b.branch(Cond::Ne, VALUE, SCRATCH, decided);
    b.constant(SCRATCH, low);
    b.branch(cond, VALUE_LOW, SCRATCH, to);
    b.place(decided);
}
