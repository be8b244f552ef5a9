//! The text form is the kernel's.

use sklookup_bpf::{Insn, MapRef, Reg, Wide, parse};

/// Lines of a verifier log (log level 2) of Linux 6.18, without slot, opcode and register state. A round trip would not
/// see a spelling that printer and parser both have wrong.
const LOG: &str = "\
r6 = r1
r2 = *(u32 *)(r1 +60)
w3 = w2
w3 += 5
w3 -= -5
r3 = r2
r3 += r2
r3 -= 7
r3 *= r2
r3 /= 3
r3 s/= 3
r3 |= 1
r3 &= -256
r3 <<= 3
r3 >>= 1
r3 s>>= 2
w3 s>>= w2
r3 %= 7
r3 s%= 7
w3 s%= w2
r3 ^= r2
r3 = -r3
w3 = -w3
r3 = be16 r3
r3 = le32 r3
r3 = be64 r3
r3 = bswap16 r3
r3 = bswap32 r3
r3 = bswap64 r3
r4 = (s8)r3
r4 = (s16)r3
r4 = (s32)r3
w4 = (s8)w3
w4 = (s16)w3
*(u64 *)(r10 -8) = 5
*(u32 *)(r10 -16) = -1
*(u16 *)(r10 -12) = r3
*(u8 *)(r10 -10) = 255
*(u64 *)(r10 -24) = r3
r4 = *(u64 *)(r10 -8)
r4 = *(u8 *)(r10 -10)
r4 = *(u16 *)(r10 -12)
r4 = *(s8 *)(r10 -10)
r4 = *(s16 *)(r10 -12)
r4 = *(s32 *)(r10 -24)
r4 = 3
r0 = 0
lock *(u64 *)(r10 -8) += r4
lock *(u64 *)(r10 -8) |= r4
lock *(u64 *)(r10 -8) &= r4
lock *(u64 *)(r10 -8) ^= r4
lock *(u32 *)(r10 -8) += r4
r4 = atomic64_fetch_add((u64 *)(r10 -8), r4)
r4 = atomic64_fetch_or((u64 *)(r10 -8), r4)
r4 = atomic64_fetch_and((u64 *)(r10 -8), r4)
r4 = atomic64_fetch_xor((u64 *)(r10 -8), r4)
r4 = atomic64_xchg((u64 *)(r10 -8), r4)
r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r4)
r4 = atomic_fetch_add((u32 *)(r10 -8), r4)
r4 = atomic_xchg((u32 *)(r10 -8), r4)
r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r4)
r2 = *(u32 *)(r6 +60)
r3 = *(u32 *)(r6 +40)
if r2 == 0x1b5f goto pc+1
r0 = 1
if r2 != r3 goto pc+1
if w2 > 0xffffffff goto pc+1
if r2 >= 0x5 goto pc+1
if r2 < 0x5 goto pc+1
if r2 <= 0x5 goto pc+1
if r2 & 0x1 goto pc+1
if r2 s> 0xfffffffe goto pc+1
if w2 s>= 0xfffffffe goto pc+1
if w2 s< w3 goto pc+1
if w2 s<= 0x3 goto pc+1
call bpf_ktime_get_ns#5
goto pc+0
gotol pc+0
call pc+6
r3 = 0
r4 = 0
exit
call bpf_sk_assign#124
";

#[test]
fn every_line_of_a_verifier_log_parses_and_prints_the_same() {
    for line in LOG.lines() {
        let program = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let printed: Vec<String> = program.insns.iter().map(Insn::to_string).collect();
        assert_eq!(printed, [line]);
    }
}

/// Linux 6.18 took the wide load at slot 97 with a distance of 7 for the address of slot 105: the distance counts from
/// the slot after the first of the two.
#[test]
fn the_distance_of_a_function_pointer_counts_from_the_second_slot() {
    let load = Insn::LoadWide { dst: Reg::R2, value: Wide::Function(7) };
    assert_eq!(load.target(97), Some(105));
    let program = parse("r2 = subprog[sub] ll\nexit\nsub: exit").unwrap();
    assert_eq!(program.insns[0].target(0), Some(3));
}

/// The log shows addresses in place of maps and has no `ll`; with its opcode such a line is refused rather than read as
/// a 32-bit constant.
#[test]
fn wide_loads_are_told_from_constants_by_their_suffix() {
    assert!(parse("61: (18) r5 = 0x5").is_err());
    let program = parse("r5 = 0x5 ll\nr1 = map[fd:3] ll").unwrap();
    assert_eq!(program.insns[0], Insn::LoadWide { dst: Reg::R5, value: Wide::Imm(5) });
    assert_eq!(program.insns[1], Insn::LoadWide { dst: Reg::R1, value: Wide::Map(MapRef::Fd(3)) });
}
