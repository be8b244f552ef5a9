//! Instructions to text.

use std::fmt;

use super::symbols::{ALU, CONDS, FETCHING, LOCKED, ORDERS, UNSIGNED, register_name, spelling};
use crate::helpers::helper_name;
use crate::insn::{Callee, Insn, MapRef, Reg, Size, Source, Wide};

/// The instruction as the kernel's verifier log spells it: distances as `pc+N`, maps as `map[N]`.
impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Named { insn: self, target: None, map: None }.fmt(f)
    }
}

/// An instruction to be shown with a label for its target and a name for its map.
pub(crate) struct Named<'a> {
    pub(crate) insn: &'a Insn,
    /// Label that the distance leads to; `None`: show the distance.
    pub(crate) target: Option<&'a str>,
    /// Name of the map; `None`: show its number.
    pub(crate) map: Option<&'a str>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.insn {
            Insn::Alu { width, op, dst, src } => {
                let op = spelling(&ALU, op).expect("every operation has a row");
                write!(f, "{} {op} ", register_name(width, dst))?;
                match src {
                    Source::Reg(src) => write!(f, "{}", register_name(width, src)),
                    Source::Imm(imm) => write!(f, "{imm}"),
                }
            }
            Insn::MovSigned { width, from, dst, src } => {
                write!(f, "{} = (s{}){}", register_name(width, dst), bits(from), register_name(width, src))
            }
            Insn::Neg { width, dst } => write!(f, "{0} = -{0}", register_name(width, dst)),
            Insn::Swap { order, size, dst } => {
                let order = spelling(&ORDERS, order).expect("every order has a row");
                write!(f, "{dst} = {order}{} {dst}", bits(size))
            }
            Insn::Load { size, dst, base, offset } => write!(f, "{dst} = *{}", pointer(size, base, offset)),
            Insn::LoadSigned { size, dst, base, offset } => {
                write!(f, "{dst} = *(s{} *)({base} {offset:+})", bits(size))
            }
            Insn::Store { size, base, offset, src } => {
                write!(f, "*{} = ", pointer(size, base, offset))?;
                match src {
                    Source::Reg(src) => write!(f, "{src}"),
                    Source::Imm(imm) => write!(f, "{imm}"),
                }
            }
            Insn::Atomic { size, op, base, offset, src } => {
                let place = pointer(size, base, offset);
                if let Some(operator) = spelling(&LOCKED, op) {
                    return write!(f, "lock *{place} {operator} {src}");
                }
                let name = spelling(&FETCHING, op).expect("what has no operator has a name");
                let prefix = if size == Size::B8 { "atomic64" } else { "atomic" };
                if name == "cmpxchg" {
                    return write!(f, "r0 = {prefix}_{name}({place}, r0, {src})");
                }
                write!(f, "{src} = {prefix}_{name}({place}, {src})")
            }
            Insn::LoadWide { dst, value } => {
                write!(f, "{dst} = ")?;
                self.wide(f, value)?;
                write!(f, " ll")
            }
            Insn::Jump { offset } => {
                write!(f, "goto ")?;
                self.target(f, offset.into())
            }
            Insn::JumpLong { offset } => {
                write!(f, "gotol ")?;
                self.target(f, offset)
            }
            Insn::Branch { width, cond, dst, src, offset } => {
                let cond = spelling(&CONDS, cond).expect("every condition has a row");
                write!(f, "if {} {cond} ", register_name(width, dst))?;
                match src {
                    Source::Reg(src) => write!(f, "{}", register_name(width, src))?,
                    Source::Imm(imm) => write!(f, "{imm:#x}")?,
                }
                write!(f, " goto ")?;
                self.target(f, offset.into())
            }
            Insn::Call(Callee::Helper(number)) => {
                write!(f, "call {}#{number}", helper_name(number).unwrap_or("unknown"))
            }
            Insn::Call(Callee::Local(distance)) => {
                write!(f, "call ")?;
                self.target(f, distance)
            }
            Insn::Call(Callee::Kfunc { id, module: 0 }) => write!(f, "call kfunc#{id}"),
            Insn::Call(Callee::Kfunc { id, module }) => write!(f, "call kfunc#{id}@{module}"),
            Insn::Call(Callee::Register(reg)) => write!(f, "callx {reg}"),
            Insn::Exit => write!(f, "exit"),
        }
    }
}

impl Named<'_> {
    fn wide(&self, f: &mut fmt::Formatter<'_>, value: Wide) -> fmt::Result {
        match value {
            Wide::Imm(imm) => write!(f, "{imm:#x}"),
            Wide::Map(map) => self.map(f, map),
            Wide::MapValue { map, offset } => {
                self.map(f, map)?;
                write!(f, "[0]+{offset}")
            }
            Wide::Variable(id) => write!(f, "variable[{id}]"),
            Wide::Function(distance) => match self.target {
                Some(label) => write!(f, "subprog[{label}]"),
                None => write!(f, "subprog[{distance:+}]"),
            },
        }
    }

    fn map(&self, f: &mut fmt::Formatter<'_>, map: MapRef) -> fmt::Result {
        match (map, self.map) {
            (MapRef::Index(_), Some(name)) => write!(f, "map[{name}]"),
            (MapRef::Index(index), None) => write!(f, "map[{index}]"),
            (MapRef::Fd(fd), _) => write!(f, "map[fd:{fd}]"),
        }
    }

    fn target(&self, f: &mut fmt::Formatter<'_>, distance: i32) -> fmt::Result {
        match self.target {
            Some(label) => write!(f, "{label}"),
            None => write!(f, "pc{distance:+}"),
        }
    }
}

fn pointer(size: Size, base: Reg, offset: i16) -> String {
    let size = spelling(&UNSIGNED, size).expect("every size has a row");
    format!("({size} *)({base} {offset:+})")
}

fn bits(size: Size) -> usize {
    size.bytes() * 8
}
