//! Programs to text for reading and for snapshot tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::insn::{Insn, MapRef, Wide};
use crate::spec::ProgramSpec;
use crate::text::{MAX_MAPS, Named, is_name};

impl ProgramSpec {
    /// The program as text that [`parse`](crate::parse()) reads back: notes as comments, labels where jumps lead, maps
    /// by name.
    ///
    /// `{}` shows no slot numbers, so that a change of one instruction changes few lines: the form for snapshots. `{:#}`
    /// puts the slot in front of each instruction, to be read beside a verifier log.
    ///
    /// ```
    /// use sklookup_bpf::{Builder, ProgramSpec, Reg, abi};
    ///
    /// let mut b = Builder::new();
    /// b.note("nothing is bound");
    /// b.mov(Reg::R0, abi::SK_PASS);
    /// b.exit();
    /// let spec = ProgramSpec::sk_lookup("empty", b.finish().unwrap(), vec![]);
    /// assert_eq!(
    ///     spec.listing().to_string(),
    ///     "; sk_lookup program empty, Dual MIT/GPL, 2 instructions in 2 slots\n\n    ; nothing is bound\n    r0 = 1\n    exit\n"
    /// );
    /// ```
    pub fn listing(&self) -> Listing<'_> {
        Listing { spec: self, labels: labels(&self.insns), named: names_can_be_written(self) }
    }
}

/// A program to be shown; see [`ProgramSpec::listing`].
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    spec: &'a ProgramSpec,
    /// Label of each slot that a jump, a call or a function pointer leads to.
    labels: BTreeMap<usize, String>,
    /// Maps are shown by name.
    named: bool,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        let mut notes = self.spec.notes.iter().peekable();
        let mut slot = 0;
        for insn in &self.spec.insns {
            if let Some(label) = self.labels.get(&slot) {
                writeln!(f, "{label}:")?;
            }
            let after = slot + insn.slots();
            while let Some((_, note)) = notes.next_if(|(at, _)| **at < after) {
                comment(f, "    ", note)?;
            }
            let target = insn.target(slot).and_then(|to| self.labels.get(&to)).map(String::as_str);
            let named = Named { insn, target, map: self.map_name(insn) };
            if f.alternate() {
                writeln!(f, "{slot:>7}: {named}")?;
            } else {
                writeln!(f, "    {named}")?;
            }
            slot = after;
        }
        for (_, note) in notes {
            comment(f, "    ", note)?;
        }
        Ok(())
    }
}

impl Listing<'_> {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = self.spec;
        let kind = spec.kind.name();
        let slots: usize = spec.insns.iter().map(Insn::slots).sum();
        let length = format!("{} instructions in {slots} slots", spec.insns.len());
        comment(f, "", &format!("{kind} program {}, {}, {length}", spec.name, spec.license))?;
        for (index, map) in spec.maps.iter().enumerate() {
            if self.named {
                writeln!(f, ".map {map}")?;
            } else {
                comment(f, "", &format!("map {index}: {map}"))?;
            }
        }
        writeln!(f)
    }

    fn map_name(&self, insn: &Insn) -> Option<&str> {
        map_index(insn).filter(|_| self.named).map(|index| self.spec.maps[index].as_str())
    }
}

/// Labels are numbered by place. What doesn't lead to the start of an instruction gets none and is shown as a distance.
fn labels(insns: &[Insn]) -> BTreeMap<usize, String> {
    let mut starts = BTreeSet::new();
    let mut targets = BTreeSet::new();
    let mut slot = 0;
    for insn in insns {
        starts.insert(slot);
        targets.extend(insn.target(slot));
        slot += insn.slots();
    }
    targets.intersection(&starts).zip(1..).map(|(&slot, number)| (slot, format!("L{number}"))).collect()
}

fn names_can_be_written(spec: &ProgramSpec) -> bool {
    let maps = &spec.maps;
    let distinct: BTreeSet<&String> = maps.iter().collect();
    distinct.len() == maps.len()
        && maps.len() <= MAX_MAPS
        && maps.iter().all(|map| is_name(map))
        && spec.insns.iter().filter_map(map_index).all(|index| index < maps.len())
}

fn map_index(insn: &Insn) -> Option<usize> {
    match insn {
        Insn::LoadWide { value: Wide::Map(map) | Wide::MapValue { map, .. }, .. } => match map {
            MapRef::Index(index) => usize::try_from(*index).ok(),
            MapRef::Fd(_) => None,
        },
        _ => None,
    }
}

/// One line of comment per line of `text`, without control characters, whatever the text holds.
fn comment(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    for line in text.lines() {
        write!(f, "{indent}; ")?;
        for c in line.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Cond, Reg, Size, abi, parse};

    /// Everything a listing can show: maps, notes, labels, a wide load.
    fn program() -> ProgramSpec {
        let mut b = Builder::new();
        let pass = b.label();
        b.load(Size::B4, Reg::R2, Reg::R1, abi::context::LOCAL_PORT);
        b.branch(Cond::Ne, Reg::R2, 7007, pass);
        b.note("web tcp 192.0.2.0/24 7007");
        b.map_value(Reg::R3, 1, 8);
        b.call(abi::helper::SK_ASSIGN);
        b.place(pass);
        b.mov(Reg::R0, abi::SK_PASS);
        b.exit();
        ProgramSpec::sk_lookup("steer", b.finish().unwrap(), vec!["sockets".into(), "counters".into()])
    }

    #[test]
    fn listings_show_notes_labels_and_maps_by_name() {
        let expected = "\
; sk_lookup program steer, Dual MIT/GPL, 6 instructions in 7 slots
.map sockets
.map counters

    r2 = *(u32 *)(r1 +60)
    if r2 != 0x1b5f goto L1
    ; web tcp 192.0.2.0/24 7007
    r3 = map[counters][0]+8 ll
    call bpf_sk_assign#124
L1:
    r0 = 1
    exit
";
        assert_eq!(program().listing().to_string(), expected);
    }

    #[test]
    fn the_alternate_form_has_slot_numbers() {
        let listing = format!("{:#}", program().listing());
        assert!(listing.contains("      2: r3 = map[counters][0]+8 ll\n      4: call"), "{listing}");
    }

    #[test]
    fn both_forms_parse_to_the_program_they_show() {
        let spec = program();
        for text in [format!("{}", spec.listing()), format!("{:#}", spec.listing())] {
            let parsed = parse(&text).unwrap();
            assert_eq!((parsed.insns, parsed.maps), (spec.insns.clone(), spec.maps.clone()), "{text}");
        }
    }

    #[test]
    fn a_jump_into_a_wide_load_or_out_of_the_program_is_shown_as_a_distance() {
        let insns = parse("goto pc+1\nr1 = 1 ll\ngoto pc+7\ngoto pc-9").unwrap().insns;
        let spec = ProgramSpec { insns, ..program() };
        let listing = spec.listing().to_string();
        for distance in ["goto pc+1\n", "goto pc+7\n", "goto pc-9\n"] {
            assert!(listing.contains(distance), "{listing}");
        }
        assert!(!listing.contains("L1"), "{listing}");
    }

    #[test]
    fn maps_whose_names_cannot_be_written_are_shown_by_number() {
        let spec = ProgramSpec { maps: vec!["web site".into(), "b".into()], ..program() };
        let listing = spec.listing().to_string();
        assert!(listing.contains("; map 0: web site\n; map 1: b\n"), "{listing}");
        assert!(listing.contains("map[1][0]+8 ll"), "{listing}");
        assert_eq!(parse(&listing).unwrap().insns, spec.insns);
    }

    #[test]
    fn notes_cannot_break_out_of_their_comment() {
        let mut spec = program();
        spec.notes.insert(0, "first\nexit\r\u{1b}[2J".into());
        let listing = spec.listing().to_string();
        assert!(listing.contains("    ; first\n    ; exit\\r\\u{1b}[2J\n"), "{listing}");
        assert_eq!(parse(&listing).unwrap().insns, spec.insns);
    }
}
