//! The groups and versions by which bpf_conformance picks its tests.

use std::fmt;

use sklookup_bpf::{AluOp, Callee, Cond, Insn, Order, Size, Width};

/// A conformance group: those of RFC 9669, section 2.4, without its packet instructions, and the runner's `callx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Group {
    Base32,
    Base64,
    Divmul32,
    Divmul64,
    Atomic32,
    Atomic64,
    Callx,
}

impl Group {
    pub(crate) const ALL: [Group; 7] = [
        Group::Base32,
        Group::Base64,
        Group::Divmul32,
        Group::Divmul64,
        Group::Atomic32,
        Group::Atomic64,
        Group::Callx,
    ];
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Group::Base32 => "base32",
            Group::Base64 => "base64",
            Group::Divmul32 => "divmul32",
            Group::Divmul64 => "divmul64",
            Group::Atomic32 => "atomic32",
            Group::Atomic64 => "atomic64",
            Group::Callx => "callx",
        })
    }
}

/// The group of an instruction and the version, 1 to 4, at which the runner asks for it (its `--cpu_version`).
pub(crate) fn of(insn: &Insn) -> (Group, u8) {
    match *insn {
        Insn::Alu { width, op, .. } => match op {
            AluOp::Mul | AluOp::Div | AluOp::Mod => (by_width(width, Group::Divmul32, Group::Divmul64), 1),
            AluOp::SDiv | AluOp::SMod => (by_width(width, Group::Divmul32, Group::Divmul64), 4),
            _ => (base(width), 1),
        },
        Insn::MovSigned { width, .. } => (base(width), 4),
        Insn::Neg { width, .. } => (base(width), 1),
        Insn::Swap { order, size, .. } => (by_size(size), if order == Order::Swap { 4 } else { 1 }),
        Insn::Load { size, .. } | Insn::Store { size, .. } => (by_size(size), 1),
        Insn::LoadSigned { .. } => (Group::Base32, 4),
        Insn::LoadWide { .. } => (Group::Base64, 1),
        Insn::Atomic { size, .. } => (if size == Size::B8 { Group::Atomic64 } else { Group::Atomic32 }, 3),
        Insn::Jump { .. } | Insn::Exit | Insn::Call(Callee::Helper(_)) => (Group::Base32, 1),
        Insn::JumpLong { .. } => (Group::Base32, 4),
        Insn::Branch { width: Width::W32, .. } => (Group::Base32, 3),
        Insn::Branch { width: Width::W64, cond, .. } => match cond {
            Cond::Lt | Cond::Le | Cond::SLt | Cond::SLe => (Group::Base64, 2),
            _ => (Group::Base64, 1),
        },
        Insn::Call(Callee::Local(_) | Callee::Kfunc { .. }) => (Group::Base32, 3),
        Insn::Call(Callee::Register(_)) => (Group::Callx, 1),
    }
}

/// The groups that a program needs, and the version that it needs.
pub(crate) fn of_all(insns: &[Insn]) -> (Vec<Group>, u8) {
    let mut groups: Vec<Group> = insns.iter().map(|insn| of(insn).0).collect();
    groups.sort_unstable();
    groups.dedup();
    (groups, insns.iter().map(|insn| of(insn).1).max().unwrap_or(1))
}

fn base(width: Width) -> Group {
    by_width(width, Group::Base32, Group::Base64)
}

fn by_width(width: Width, narrow: Group, wide: Group) -> Group {
    if width == Width::W64 { wide } else { narrow }
}

fn by_size(size: Size) -> Group {
    if size == Size::B8 { Group::Base64 } else { Group::Base32 }
}
