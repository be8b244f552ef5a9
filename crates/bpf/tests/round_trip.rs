//! Encoding and text lose nothing and make nothing up.

mod every;

use every::{Random, every_instruction, random_instruction};
use sklookup_bpf::{
    AtomicOp, DecodeErrorKind, Insn, Order, Reg, Size, Slot, Width, decode, decode_slots, encode, parse, slots,
};

/// Programs of random instructions are this long.
const RANDOM_LENGTH: usize = 200_000;

fn random_program() -> Vec<Insn> {
    let seed =
        std::env::var("SEED").ok().map_or_else(Random::fresh_seed, |seed| seed.parse().expect("SEED is a number"));
    println!("repeat with SEED={seed}");
    let mut random = Random::new(seed);
    (0..RANDOM_LENGTH).map(|_| random_instruction(&mut random)).collect()
}

#[test]
fn every_instruction_decodes_from_its_bytes() {
    for insn in every_instruction() {
        assert_eq!(decode(&encode(&[insn])), Ok(vec![insn]), "{insn}");
    }
}

#[test]
fn random_programs_decode_from_their_bytes() {
    let program = random_program();
    assert!(decode(&encode(&program)).as_ref() == Ok(&program));
}

#[test]
fn every_instruction_parses_from_its_text() {
    for insn in every_instruction() {
        let text = insn.to_string();
        let parsed = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.insns, [insn], "{text}");
    }
}

#[test]
fn random_programs_parse_from_their_text() {
    let program = random_program();
    let text: String = program.iter().map(|insn| format!("{insn}\n")).collect();
    let parsed = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    for (read, insn) in parsed.insns.iter().zip(&program) {
        assert_eq!(read, insn);
    }
    assert_eq!(parsed.insns.len(), program.len());
}

#[test]
fn two_instructions_never_share_a_text() {
    let mut texts: Vec<String> = every_instruction().iter().map(Insn::to_string).collect();
    let all = texts.len();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), all);
}

/// Each opcode and register byte, with fields at the edges of what some opcode allows: what decodes at all is what the
/// bytes say, and the rest is an error.
#[test]
fn what_decodes_encodes_to_the_same_bytes() {
    let offsets = [0, 1, 2, 8, 16, 32, 64, -1];
    let imms = [0, 1, 2, 8, 16, 32, 64, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe0, 0xe1, 0xf0, 0xf1, 0x100, -1];
    let mut decoded = 0;
    for opcode in 0..=u8::MAX {
        for registers in 0..=u8::MAX {
            for (offset, imm) in offsets.iter().flat_map(|o| imms.iter().map(|i| (*o, *i))) {
                let slot = Slot { opcode, dst: registers & 0xf, src: registers >> 4, offset, imm };
                let upper = Slot { imm, ..Slot::default() };
                for bytes in [&[slot][..], &[slot, upper][..]] {
                    let Ok(insns) = decode_slots(bytes) else { continue };
                    let again: Vec<Slot> = insns.iter().flat_map(slots).collect();
                    assert_eq!(again, bytes);
                    decoded += 1;
                }
            }
        }
    }
    assert!(decoded > 100_000, "{decoded}");
}

/// The types can say a few things that no instruction does: what is made of them is refused, not read as another.
#[test]
fn sizes_that_an_instruction_does_not_have_do_not_decode() {
    let (dst, src, base, offset) = (Reg::R1, Reg::R2, Reg::R3, 0);
    for insn in [
        Insn::MovSigned { width: Width::W32, from: Size::B4, dst, src },
        Insn::MovSigned { width: Width::W32, from: Size::B8, dst, src },
        Insn::MovSigned { width: Width::W64, from: Size::B8, dst, src },
        Insn::LoadSigned { size: Size::B8, dst, base, offset },
        Insn::Swap { order: Order::Big, size: Size::B1, dst },
        Insn::Atomic { size: Size::B1, op: AtomicOp::Xchg, base, offset, src },
        Insn::Atomic { size: Size::B2, op: AtomicOp::Add { fetch: false }, base, offset, src },
    ] {
        assert!(decode(&encode(&[insn])).is_err(), "{insn:?}");
        assert!(parse(&insn.to_string()).is_err(), "{insn}");
    }
}

#[test]
fn the_opcodes_are_those_of_rfc_9669_and_calls_by_register() {
    let alu = [0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x9, 0xa, 0xb, 0xc];
    let conditions = [0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xa, 0xb, 0xc, 0xd];
    let mut expected = vec![
        0x18, // wide load
        0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, // loads, and sign-extending loads
        0x62, 0x6a, 0x72, 0x7a, 0x63, 0x6b, 0x73, 0x7b, // stores
        0xc3, 0xdb, // atomic operations
        0x84, 0x87, 0xd4, 0xdc, 0xd7, // negation and swaps
        0x05, 0x06, 0x85, 0x95, // goto, gotol, call, exit
        0x8d, // callx
    ];
    expected.extend(alu.iter().flat_map(|code| [0x4, 0xc, 0x7, 0xf].map(|low| code << 4 | low)));
    expected.extend(conditions.iter().flat_map(|code| [0x5, 0xd, 0x6, 0xe].map(|low| code << 4 | low)));
    expected.sort_unstable();

    let undefined = |opcode| {
        let slot = Slot { opcode, ..Slot::default() };
        let kind = decode_slots(&[slot, Slot::default()]).map_err(|error| error.kind);
        matches!(kind, Err(DecodeErrorKind::Opcode { opcode: o } | DecodeErrorKind::PacketAccess { opcode: o, .. }) if o == opcode)
    };
    let defined: Vec<u8> = (0..=u8::MAX).filter(|opcode| !undefined(*opcode)).collect();
    assert_eq!(defined, expected);
}

#[test]
fn megabytes_of_noise_are_an_error_in_bounded_time() {
    const SIZE: usize = 100 << 20;
    let start = std::time::Instant::now();
    for unit in ["exit\n", "a", " ", "\n", ";", "/", "#", "(", "é", "r1 = -", "9", "goto a\n", "r1 = map["] {
        let text = unit.repeat(SIZE / unit.len() / 10);
        let result = parse(&text);
        assert!(result.is_err() || matches!(unit, " " | "\n" | ";" | "/" | "#"), "{unit:?}");
    }
    let labels: String = (0..2_000_000).map(|n| format!("l{n}:\n")).collect();
    assert!(parse(&labels).unwrap_err().to_string().contains("too many labels"));
    let mut random = Random::new(1);
    let noise: String = (0..SIZE / 8).map(|_| char::from(b' ' + random.below(95) as u8)).collect();
    assert!(parse(&noise).is_err());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
