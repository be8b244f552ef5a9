//! Helpers of text.

use sklookup_bpf::Reg;

use super::status;
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::run::Run;
use crate::value::Value;

/// In the flags of `bpf_strtol`: the base, 0 to tell it from how the number begins.
const BASE: u64 = 0x1f;
/// The most characters of a number that are looked at, its sign not counted.
const LONGEST: usize = 63;

/// A number and how many characters it took, blanks and sign included.
type Parsed = Result<(u64, usize), Errno>;

impl<H: Host> Run<'_, H> {
    /// `bpf_strtol(text, length, flags, result)`.
    pub(super) fn strtol(&mut self) -> Did<Value> {
        self.parse(|text, flags| {
            let (negative, magnitude, taken) = unsigned(text, flags)?;
            let fits = magnitude <= i64::MAX as u64 || negative && magnitude == 1 << 63;
            let number = if negative { magnitude.wrapping_neg() } else { magnitude };
            if fits { Ok((number, taken)) } else { Err(Errno::RANGE) }
        })
    }

    /// `bpf_strtoul(text, length, flags, result)`.
    pub(super) fn strtoul(&mut self) -> Did<Value> {
        self.parse(|text, flags| match unsigned(text, flags)? {
            (true, ..) => Err(Errno::INVAL),
            (false, number, taken) => Ok((number, taken)),
        })
    }

    fn parse(&mut self, parse: impl FnOnce(&[u8], u64) -> Parsed) -> Did<Value> {
        let text = self.bytes(Reg::R1, Reg::R2)?;
        let (flags, result) = (self.number(Reg::R3)?, self.pointer(Reg::R4)?);
        let parsed = parse(&text, flags);
        let number = parsed.map_or(0, |(number, _)| number);
        self.write_bytes(result, &number.to_ne_bytes())?;
        Ok(parsed.map_or_else(|errno| status(Err(errno)), |(_, taken)| Value::Scalar(taken as u64)))
    }

    /// `bpf_strncmp(text, length, other)`, of which the other ends in zero.
    pub(super) fn strncmp(&mut self) -> Did<Value> {
        let text = self.bytes(Reg::R1, Reg::R2)?;
        let other = self.pointer(Reg::R3)?;
        for (at, one) in (0..).zip(text) {
            let mut byte = [0];
            self.read(other.plus(at), &mut byte)?;
            match one.cmp(&byte[0]) {
                std::cmp::Ordering::Less => return Ok(Value::Scalar(u64::MAX)),
                std::cmp::Ordering::Greater => return Ok(Value::Scalar(1)),
                std::cmp::Ordering::Equal if one == 0 => break,
                std::cmp::Ordering::Equal => {}
            }
        }
        Ok(Value::Scalar(0))
    }
}

/// Whether there is a minus, the number behind it, and how many characters both took with the blanks before them.
fn unsigned(text: &[u8], flags: u64) -> Result<(bool, u64, usize), Errno> {
    let base = flags & BASE;
    if text.is_empty() || ![0, 8, 10, 16].contains(&base) || flags & !BASE != 0 {
        return Err(Errno::INVAL);
    }
    // As the kernel: blanks are those of ASCII, and the one of Latin 1.
    let blanks = text.iter().take_while(|byte| matches!(byte, 9..=13 | b' ' | 0xa0)).count();
    let negative = text.get(blanks) == Some(&b'-');
    let before = blanks + usize::from(negative);
    let rest = &text[before..];
    let rest = &rest[..rest.len().min(LONGEST)];
    let is_hex = |at: usize| rest.get(at).is_some_and(u8::is_ascii_hexdigit);
    let begins_hex = rest.first() == Some(&b'0') && matches!(rest.get(1), Some(b'x' | b'X'));
    let base = match (base, rest.first()) {
        (0, Some(b'0')) if begins_hex && is_hex(2) => 16,
        (0, Some(b'0')) => 8,
        (0, _) => 10,
        (base, _) => base,
    };
    let prefix = if base == 16 && begins_hex { 2 } else { 0 };
    let mut number = 0u64;
    let mut digits = 0;
    let mut too_large = false;
    for byte in &rest[prefix..] {
        let Some(digit) = char::from(*byte).to_digit(base as u32) else { break };
        digits += 1;
        match number.checked_mul(base).and_then(|number| number.checked_add(u64::from(digit))) {
            Some(larger) => number = larger,
            None => too_large = true,
        }
    }
    match digits {
        0 => Err(Errno::INVAL),
        _ if too_large => Err(Errno::RANGE),
        _ => Ok((negative, number, before + prefix + digits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        for (text, flags, expected) in [
            ("12", 0, Ok((false, 12, 2))),
            ("  -7,", 10, Ok((true, 7, 4))),
            ("0x1fz", 0, Ok((false, 0x1f, 4))),
            ("1F", 16, Ok((false, 0x1f, 2))),
            ("0x1f", 16, Ok((false, 0x1f, 4))),
            ("0xg", 0, Ok((false, 0, 1))),
            ("017", 0, Ok((false, 0o17, 3))),
            ("18446744073709551615", 10, Ok((false, u64::MAX, 20))),
            ("18446744073709551616", 10, Err(Errno::RANGE)),
            ("0xg", 16, Err(Errno::INVAL)),
            ("-", 10, Err(Errno::INVAL)),
            ("+1", 10, Err(Errno::INVAL)),
            ("", 10, Err(Errno::INVAL)),
            ("1", 2, Err(Errno::INVAL)),
            ("1", 32, Err(Errno::INVAL)),
        ] {
            assert_eq!(unsigned(text.as_bytes(), flags), expected, "{text:?} {flags}");
        }
    }
}
