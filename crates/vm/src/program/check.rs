//! What can be said of one instruction by itself.

use sklookup_bpf::{AluOp, Callee, Insn, MapRef, MapType, Reg, Source, Wide, Width};

use super::{Instructions, Rules, written};
use crate::errno::Errno;
use crate::map::Map;
use crate::run::{named, refusal};

type Checked = Result<(), (Errno, String)>;

/// Refuses an instruction that no program of this type can have.
pub(super) fn instruction(insn: &Insn, maps: &[Map], rules: &Rules) -> Checked {
    if written(insn) == Some(Reg::R10) {
        return Err((Errno::ACCES, "writes to the frame pointer, which can only be read".to_owned()));
    }
    match *insn {
        Insn::Call(Callee::Helper(number)) => check_helper(number, rules),
        Insn::Call(Callee::Kfunc { .. }) => refuse("calls a kernel function; none is implemented"),
        Insn::LoadWide { value, .. } => check_wide(value, maps),
        _ if rules.instructions == Instructions::Linux => check_as_linux(insn),
        _ => Ok(()),
    }
}

/// What RFC 9669 or a compiler knows and Linux doesn't load.
fn check_as_linux(insn: &Insn) -> Checked {
    match *insn {
        Insn::Alu { op: AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod, src: Source::Imm(0), .. } => {
            refuse("divides by the constant 0")
        }
        Insn::Alu { width, op: AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, src: Source::Imm(by), .. } => {
            let bits = if width == Width::W64 { 64 } else { 32 };
            if (0..bits).contains(&by) {
                return Ok(());
            }
            Err((Errno::INVAL, format!("shifts {bits} bits by the constant {by}")))
        }
        Insn::Call(Callee::Register(_)) => refuse("calls what a register holds: unknown opcode 8d"),
        _ => Ok(()),
    }
}

fn check_helper(number: u32, rules: &Rules) -> Checked {
    if !rules.helpers.contains(&number) {
        return Err((
            Errno::INVAL,
            format!("calls a helper that a program of this type cannot use, {}", named(number)),
        ));
    }
    match refusal(number) {
        None => Ok(()),
        Some(why) => Err((Errno::INVAL, format!("calls {}, which is not implemented: {why}", named(number)))),
    }
}

fn check_wide(value: Wide, maps: &[Map]) -> Checked {
    let map = |map: MapRef| match map {
        MapRef::Index(index) => maps
            .get(index as usize)
            .ok_or_else(|| (Errno::INVAL, format!("names map {index}, and only {} were given", maps.len()))),
        MapRef::Fd(_) => Err((Errno::BADF, "names a map by a file descriptor of another process".to_owned())),
    };
    match value {
        // Whether an instruction begins there is asked of every target.
        Wide::Imm(_) | Wide::Function(_) => Ok(()),
        Wide::Map(of) => map(of).map(drop),
        Wide::MapValue { map: of, offset } => {
            let spec = map(of)?.spec();
            if spec.kind != MapType::Array || spec.max_entries != 1 {
                return refuse("takes the address of a value; only arrays of one element have a fixed one");
            }
            if offset >= spec.value_size {
                return refuse("takes an address behind the end of the value");
            }
            Ok(())
        }
        Wide::Variable(_) => refuse("takes the address of a variable of the kernel; none is implemented"),
    }
}

fn refuse(what: &str) -> Checked {
    Err((Errno::INVAL, what.to_owned()))
}
