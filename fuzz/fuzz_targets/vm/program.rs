//! Any bytes as a program that can be loaded, so that few inputs end at the decoder.

use sklookup_bpf::{AluOp, Callee, Insn, MapRef, Reg, Slot, Source, Wide, Width, decode_slots, helper_name};

/// Helpers have numbers up to this one.
const LAST_HELPER: u32 = 211;

/// The program nearest to these bytes: a slot that is an instruction stays as it is, another one becomes the next best; what
/// jumps leads to an instruction, what names a map names one of `maps`, what calls a helper calls one that there is.
pub fn nearest(bytes: &[u8], maps: usize) -> Vec<Insn> {
    let (chunks, _) = bytes.as_chunks::<8>();
    let slots: Vec<Slot> = chunks.iter().map(|chunk| Slot::from_bytes(*chunk)).collect();
    let mut insns = Vec::with_capacity(slots.len());
    let mut at = 0;
    while let Some(&slot) = slots.get(at) {
        let insn = instruction(slot, slots.get(at + 1).copied().unwrap_or_default());
        at += insn.slots();
        insns.push(insn);
    }
    if insns.last() != Some(&Insn::Exit) {
        let pass = Insn::Alu { width: Width::W64, op: AluOp::Mov, dst: Reg::R0, src: Source::Imm(1) };
        insns.extend([pass, Insn::Exit]);
    }
    let starts: Vec<usize> = insns
        .iter()
        .scan(0, |slot, insn| {
            let start = *slot;
            *slot += insn.slots();
            Some(start)
        })
        .collect();
    for (insn, &slot) in insns.iter_mut().zip(&starts) {
        lead(insn, slot, &starts);
        name(insn, maps);
    }
    insns
}

/// The instruction whose fields differ least from those of the slot.
fn instruction(slot: Slot, next: Slot) -> Insn {
    let whole = |slot: Slot| {
        let second = Slot { imm: next.imm, ..Slot::default() };
        let decoded = decode_slots(&[slot]).or_else(|_| decode_slots(&[slot, second]));
        decoded.ok().filter(|insns| insns.len() == 1).map(|insns| insns[0])
    };
    let near = |slot: Slot| {
        let registers = Slot { dst: slot.dst % 11, src: slot.src % 11, ..slot };
        let offsets = [slot.offset, 0, 8].map(|offset| Slot { offset, ..registers });
        let imms = offsets.into_iter().flat_map(|slot| [slot.imm, 0, 32, 0xe1].map(|imm| Slot { imm, ..slot }));
        let sources = imms.flat_map(|slot| [slot.src, 0].map(|src| Slot { src, ..slot }));
        let mut all = sources.flat_map(|slot| [slot.dst, 0].map(|dst| Slot { dst, ..slot }));
        all.find_map(whole)
    };
    let opcodes = (0..=u8::MAX).map(|more| Slot { opcode: slot.opcode.wrapping_add(more), ..slot });
    opcodes.into_iter().find_map(near).expect("there are opcodes that are instructions")
}

/// Where a jump leads to no instruction, it leads to another one.
fn lead(insn: &mut Insn, slot: usize, starts: &[usize]) {
    let Some(distance) = distance(insn) else { return };
    if insn.target(slot).is_some_and(|to| starts.binary_search(&to).is_ok()) {
        return;
    }
    let to = starts[distance.unsigned_abs() as usize % starts.len()];
    let near = to as i64 - (slot as i64 + 1);
    match insn {
        Insn::Jump { offset } | Insn::Branch { offset, .. } => *offset = i16::try_from(near).unwrap_or(-1),
        Insn::JumpLong { offset: far }
        | Insn::Call(Callee::Local(far))
        | Insn::LoadWide { value: Wide::Function(far), .. } => *far = near as i32,
        _ => unreachable!("it has no distance"),
    }
}

fn distance(insn: &Insn) -> Option<i32> {
    match *insn {
        Insn::Jump { offset } | Insn::Branch { offset, .. } => Some(offset.into()),
        Insn::JumpLong { offset: far }
        | Insn::Call(Callee::Local(far))
        | Insn::LoadWide { value: Wide::Function(far), .. } => Some(far),
        _ => None,
    }
}

fn name(insn: &mut Insn, maps: usize) {
    let named = |map: &mut MapRef| {
        let number = match *map {
            MapRef::Index(number) => number,
            MapRef::Fd(number) => number.unsigned_abs(),
        };
        *map = MapRef::Index(number % maps as u32);
    };
    match insn {
        Insn::LoadWide { value: Wide::Map(map) | Wide::MapValue { map, .. }, .. } => named(map),
        Insn::Call(Callee::Helper(number)) if helper_name(*number).is_none() => {
            let known: Vec<u32> = (0..=LAST_HELPER).filter(|number| helper_name(*number).is_some()).collect();
            *number = known[*number as usize % known.len()];
        }
        _ => {}
    }
}
