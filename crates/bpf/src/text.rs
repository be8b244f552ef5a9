//! The text form of programs, in the syntax of the kernel's verifier log and `bpftool prog dump xlated`.

mod assignment;
mod cursor;
mod memory;
mod operand;
mod print;
mod program;
mod statement;
mod symbols;

use thiserror::Error;

use crate::insn::Insn;

pub(crate) use operand::is_name;
pub(crate) use print::Named;
pub(crate) use program::MAX_MAPS;

/// A program read from text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The instructions.
    pub insns: Vec<Insn>,
    /// Names of the maps that instructions refer to by index; empty if the text numbers them.
    pub maps: Vec<String>,
}

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {what}; {valid}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What would be valid there.
    pub valid: String,
}

/// Reads a program, in the syntax of the kernel's verifier log and `bpftool prog dump xlated`.
///
/// One instruction a line. Labels, map names and comments help when writing by hand:
///
/// ```
/// let program = sklookup_bpf::parse(
///     "
///     .map sockets              ; maps in the order of their numbers; without this, in order of first use
///         r2 = *(u32 *)(r1 +60) ; comments start with ; or // or a # that stands free
///         if r2 != 7007 goto on # a label, or a distance in slots: goto pc+2
///         r1 = map[sockets] ll  // or map[0], map[fd:3], map[sockets][0]+8 for a byte of the value
///         call bpf_sk_assign    ; or by number: call 124, call bpf_sk_assign#124
///         r3 = 0x123456789 ll   ; ll: a wide load of 64 bits
///     on:
///         7: (b7) r0 = 1        ; slot and opcode as in a log are checked
///         exit
///     ",
/// )
/// .unwrap();
/// assert_eq!(program.maps, ["sockets"]);
/// assert_eq!(program.insns[1].to_string(), "if r2 != 0x1b5f goto pc+5");
/// ```
///
/// Registers are `r0` to `r10`, and `w0` to `w10` for 32-bit operations. A 64-bit operation sign-extends its constant, so
/// that 0xffffffff is refused there. Comparisons are the exception: the kernel prints their constants as 32 bits in
/// hexadecimal, and `if r1 == 0xffffffff` compares with -1, here as in its log. The log prints wide
/// loads without `ll`; here it is required, for `r1 = 5` is another instruction.
///
/// Time and memory are bounded by the length of the text, and memory by the kernel's limit of a million
/// instructions.
///
/// # Errors
/// The first line that is no instruction, a label that is missing or placed twice, a jump too far for its field.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    program::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::{MapRef, Reg, Wide};

    fn one(text: &str) -> String {
        let program = parse(text).unwrap();
        assert_eq!(program.insns.len(), 1, "{text}");
        program.insns[0].to_string()
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_spelling_of_a_meaning_prints_as_the_kernel_prints_it() {
        for (written, printed) in [
            ("goto +2", "goto pc+2"),
            ("goto  pc-3", "goto pc-3"),
            ("call 124", "call bpf_sk_assign#124"),
            ("call bpf_sk_assign", "call bpf_sk_assign#124"),
            ("call unknown#124", "call bpf_sk_assign#124"),
            ("call bpf_of_a_later_kernel#5000", "call unknown#5000"),
            ("call +4", "call pc+4"),
            ("if r2 != 7007 goto +2", "if r2 != 0x1b5f goto pc+2"),
            ("if r2 s> -2 goto +2", "if r2 s> 0xfffffffe goto pc+2"),
            ("r0=1", "r0 = 1"),
            ("r2 = *(u32*)(r1+60)", "r2 = *(u32 *)(r1 +60)"),
            ("w1 = 0xffffffff", "w1 = -1"),
            ("r1 = -1 ll", "r1 = 0xffffffffffffffff ll"),
            ("r1 = map[0][0] +8 ll", "r1 = map[0][0]+8 ll"),
        ] {
            assert_eq!(one(written), printed, "{written}");
        }
    }

    #[test]
    fn labels_lead_forward_and_back_and_count_slots() {
        let program = parse("start: r1 = 1 ll\nif r1 > 5 goto end\ngoto start\ngotol end\nend:\nexit").unwrap();
        let printed: Vec<String> = program.insns.iter().map(Insn::to_string).collect();
        assert_eq!(printed, ["r1 = 0x1 ll", "if r1 > 0x5 goto pc+2", "goto pc-4", "gotol pc+0", "exit"]);
    }

    #[test]
    fn subprograms_are_called_and_pointed_to_by_label() {
        let program = parse("r2 = subprog[sub] ll\ncall sub\nexit\nsub: exit").unwrap();
        assert_eq!(program.insns[0].to_string(), "r2 = subprog[+3] ll");
        assert_eq!(program.insns[1].to_string(), "call pc+1");
    }

    #[test]
    fn maps_are_numbered_in_order_of_first_use_or_as_declared() {
        let used = parse("r1 = map[b] ll\nr2 = map[a][0]+4 ll\nr3 = map[b] ll").unwrap();
        assert_eq!(used.maps, ["b", "a"]);
        assert_eq!(used.insns[2], Insn::LoadWide { dst: Reg::R3, value: Wide::Map(MapRef::Index(0)) });
        let declared = parse(".map a\n.map b\nr1 = map[b] ll").unwrap();
        assert_eq!(declared.maps, ["a", "b"]);
        assert_eq!(declared.insns[0], Insn::LoadWide { dst: Reg::R1, value: Wide::Map(MapRef::Index(1)) });
        let numbered = parse("r1 = map[3] ll").unwrap();
        assert_eq!(numbered.maps, [""; 0]);
    }

    #[test]
    fn a_verifier_log_can_be_pasted_and_its_marks_are_checked() {
        let log = "0: (b7) r0 = 1                        ; R0_w=1\n1: (95) exit\n";
        assert_eq!(parse(log).unwrap().insns.len(), 2);
        assert_eq!(error("0: exit\n2: exit"), "line 2, column 1: slot 1 is marked `2`; write 1: or nothing");
        assert_eq!(
            error("(18) r1 = 0x5"),
            "line 1, column 1: opcode 0x18 is given, the text reads as 0xb7; write ll after the value of a wide load"
        );
    }

    #[test]
    fn errors_say_where_what_and_what_would_be_valid() {
        for (text, message) in [
            (
                "exit\n  r11 = 1",
                "line 2, column 3: `r11` is unexpected; expected an instruction: a register, `*(`, lock, if, goto, gotol, call, callx or exit",
            ),
            ("r1 = ", "line 1, column 5: the end of the line is unexpected; expected a register or a constant"),
            ("r1 = w2", "line 1, column 6: both operands are of one width, and the first is r1; write r2"),
            ("w1 = *(u32 *)(r1 +0)", "line 1, column 1: w1 can only be the result of 32-bit arithmetic; write r1"),
            (
                "r1 = 0xffffffff",
                "line 1, column 6: 0xffffffff does not fit a constant that is sign-extended from 32 bits; write -2147483648 to 2147483647, or load it into a register with `ll`",
            ),
            (
                "if r1 == 4294967295 goto +1",
                "line 1, column 10: 4294967295 does not fit a constant that is sign-extended from 32 bits; write -2147483648 to 2147483647, or load it into a register with `ll`",
            ),
            (
                "r2 = *(u32 *)(r1 +40000)",
                "line 1, column 18: 40000 does not fit an offset in bytes; offsets in bytes go from -32768 to 32767",
            ),
            (
                "r2 = *(u32 *)(r1 60)",
                "line 1, column 18: `60` is unexpected; expected an offset in bytes, with its sign",
            ),
            (
                "r2 = *(u24 *)(r1 +0)",
                "line 1, column 8: `u24` is unexpected; expected u8, u16, u32, u64, s8, s16 or s32",
            ),
            (
                "lock *(u16 *)(r1 +0) += r2",
                "line 1, column 7: atomic operations have 32 or 64 bits; write (u32 *) or (u64 *)",
            ),
            (
                "r2 = atomic64_fetch_add((u64 *)(r1 +0), r3)",
                "line 1, column 41: the old value goes to r3, not to r2; write r2",
            ),
            ("r2 = be16 r3", "line 1, column 11: the operand is the register of the result; write r2"),
            ("w1 = (s32)w2", "line 1, column 7: `s32` is unexpected; expected s8 or s16"),
            ("call bpf_sk_release#124", "line 1, column 6: helper 124 is not `bpf_sk_release`; write bpf_sk_assign"),
            ("goto nowhere", "line 1, column 6: label `nowhere` is never placed; write nowhere: where it leads"),
            ("a: exit\na: exit", "line 2, column 1: label `a` is placed twice, first at slot 0; choose another label"),
            ("bpf_loop: exit", "line 1, column 1: `bpf_loop` is the name of a helper; choose another label"),
            ("goto 2", "line 1, column 6: `2` is unexpected; expected pc+N, pc-N or a label"),
            ("exit exit", "line 1, column 6: `exit` is unexpected; expected the end of the line"),
            ("r1 = map[a] ll\nr1 = map[0] ll", "line 2, column 1: maps above have names; name all maps or number all"),
            (
                "r1 = 99999999999999999999 ll",
                "line 1, column 6: `99999999999999999999` is wider than 64 bits; expected a register or a constant",
            ),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn columns_count_characters_and_quotes_are_short_and_plain() {
        assert_eq!(parse("r1 = map[é").unwrap_err().column, 10);
        let noise = parse("\u{1b}[2Jwide and long, on and on and on").unwrap_err();
        assert!(!noise.to_string().contains('\u{1b}'), "{noise}");
        assert!(parse(&"x".repeat(1000)).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn a_goto_further_than_its_field_is_an_error_and_gotol_is_not() {
        let far = format!("goto end\n{}end: exit", "exit\n".repeat(40_000));
        assert_eq!(
            error(&far),
            "line 1, column 6: label `end` is 40000 slots away; goto and if reach -32768 to 32767 slots, gotol further"
        );
        assert!(parse(&far.replacen("goto", "gotol", 1)).is_ok());
    }

    #[test]
    fn a_program_has_at_most_a_million_slots_and_64_maps() {
        let long = "exit\n".repeat(1_000_001);
        assert_eq!(
            error(&long),
            "line 1000001, column 1: the program is too long; a program has at most 1000000 slots"
        );
        let maps: String = (0..65).map(|n| format!(".map m{n}\n")).collect();
        assert!(error(&maps).starts_with("line 65, column 6: `m64` would be map 65"));
    }
}
