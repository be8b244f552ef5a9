//! That no instruction is without a vector.

use std::collections::HashSet;

use sklookup_bpf::{Callee, Insn, MapRef, Reg, Slot, Source, Wide, decode_slots};

use super::conformance::{Group, of};
use super::file::{counts, stored};
use super::forms::{Memory, program};
use super::replay::load_plain;

pub(crate) fn every_shape() {
    let missing: Vec<String> = runnable().difference(&shown()).map(|shape| format!("{shape:?}")).collect();
    assert!(missing.is_empty(), "no vector has {}", missing.join("\nor "));
}

/// What bpf_conformance runs at a version are the vectors up to it.
pub(crate) fn every_group() {
    let known: HashSet<(Group, u8)> = runnable().iter().map(of).collect();
    let found: HashSet<(Group, u8)> = shown().iter().map(of).collect();
    assert!(found.is_superset(&known), "{known:?} {found:?}");
    for group in Group::ALL {
        assert!(found.iter().any(|(of, _)| *of == group), "{group}");
    }
    for line in counts(&stored()) {
        println!("{line}");
    }
}

/// Packet access is refused when it is decoded; some instructions of Linux, and maps by another process's fds, when a
/// program is loaded.
pub(crate) fn the_rest_is_refused() {
    for (mode, name) in [(0x20, "ABS"), (0x40, "IND")] {
        for size in [0x00, 0x08, 0x10] {
            let error = decode_slots(&[Slot { opcode: mode | size, ..Slot::default() }]).unwrap_err().to_string();
            assert!(error.contains(&format!("is LD {name}, legacy packet access")), "{error}");
        }
    }
    let unrunnable: Vec<Insn> = decodable().difference(&runnable()).copied().collect();
    for insn in &unrunnable {
        let refused = load_plain(&format!("{insn}\nexit")).unwrap_err().to_string();
        let told = ["kernel function", "variable of the kernel", "file descriptor of another process"];
        assert!(told.iter().any(|told| refused.contains(told)), "{refused}");
    }
    assert_eq!(unrunnable.len(), 4, "{unrunnable:?}");
}

/// What the programs of the vectors have, the instructions around the forms with them.
fn shown() -> HashSet<Insn> {
    stored()
        .iter()
        .flat_map(|recorded| [Memory::MapValue, Memory::Stack].map(|memory| program(&recorded.form.code, memory)))
        .flat_map(|parsed| parsed.insns)
        .map(shape)
        .collect()
}

fn runnable() -> HashSet<Insn> {
    let runs = |insn: &Insn| match insn {
        Insn::Call(Callee::Kfunc { .. }) => false,
        Insn::LoadWide { value, .. } => {
            !matches!(value, Wide::Variable(_) | Wide::Map(MapRef::Fd(_)) | Wide::MapValue { map: MapRef::Fd(_), .. })
        }
        _ => true,
    };
    decodable().into_iter().filter(runs).collect()
}

/// The shape of everything that decodes: each opcode, with fields that say which operation it is.
fn decodable() -> HashSet<Insn> {
    let imms = [0, 1, 16, 32, 64, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1];
    let mut shapes = HashSet::new();
    for opcode in 0..=u8::MAX {
        for src in 0..8 {
            for (offset, imm) in [0, 1, 8, 16, 32].into_iter().flat_map(|offset| imms.map(|imm| (offset, imm))) {
                let slot = Slot { opcode, dst: 0, src, offset, imm };
                let decoded = decode_slots(&[slot]).or_else(|_| decode_slots(&[slot, Slot::default()]));
                shapes.extend(decoded.ok().map(|insns| shape(insns[0])));
            }
        }
    }
    shapes
}

/// The instruction with everything zero that doesn't say which one it is.
fn shape(insn: Insn) -> Insn {
    let (reg, offset) = (Reg::R0, 0);
    let operand = |source| match source {
        Source::Reg(_) => Source::Reg(reg),
        Source::Imm(_) => Source::Imm(0),
    };
    let map = |map| match map {
        MapRef::Index(_) => MapRef::Index(0),
        MapRef::Fd(_) => MapRef::Fd(0),
    };
    match insn {
        Insn::Alu { width, op, src, .. } => Insn::Alu { width, op, dst: reg, src: operand(src) },
        Insn::MovSigned { width, from, .. } => Insn::MovSigned { width, from, dst: reg, src: reg },
        Insn::Neg { width, .. } => Insn::Neg { width, dst: reg },
        Insn::Swap { order, size, .. } => Insn::Swap { order, size, dst: reg },
        Insn::Load { size, .. } => Insn::Load { size, dst: reg, base: reg, offset },
        Insn::LoadSigned { size, .. } => Insn::LoadSigned { size, dst: reg, base: reg, offset },
        Insn::Store { size, src, .. } => Insn::Store { size, base: reg, offset, src: operand(src) },
        Insn::Atomic { size, op, .. } => Insn::Atomic { size, op, base: reg, offset, src: reg },
        Insn::LoadWide { value, .. } => Insn::LoadWide {
            dst: reg,
            value: match value {
                Wide::Imm(_) => Wide::Imm(0),
                Wide::Map(of) => Wide::Map(map(of)),
                Wide::MapValue { map: of, .. } => Wide::MapValue { map: map(of), offset: 0 },
                Wide::Variable(_) => Wide::Variable(0),
                Wide::Function(_) => Wide::Function(0),
            },
        },
        Insn::Jump { .. } => Insn::Jump { offset },
        Insn::JumpLong { .. } => Insn::JumpLong { offset: 0 },
        Insn::Branch { width, cond, src, .. } => Insn::Branch { width, cond, dst: reg, src: operand(src), offset },
        Insn::Call(callee) => Insn::Call(match callee {
            Callee::Helper(_) => Callee::Helper(0),
            Callee::Local(_) => Callee::Local(0),
            Callee::Kfunc { .. } => Callee::Kfunc { id: 0, module: 0 },
            Callee::Register(_) => Callee::Register(reg),
        }),
        Insn::Exit => Insn::Exit,
    }
}
