//! Helpers that print: `bpf_trace_printk` and `bpf_trace_vprintk`.
//!
//! Which conversions there are, what is EINVAL and how wide a field is are Linux's. An address is printed as what it leads to:
//! there is no number that it would be.

use std::net::{Ipv4Addr, Ipv6Addr};

use sklookup_bpf::{Reg, Size};

use super::status;
use crate::errno::Errno;
use crate::fault::Did;
use crate::host::Host;
use crate::run::Run;
use crate::value::Value;

/// Arguments that `bpf_trace_vprintk` takes.
const MAX_ARGUMENTS: usize = 12;
/// Bytes of a line that are printed; the length that is answered counts all.
const MAX_LINE: usize = 1023;
/// Bytes of a string that are looked at, so that one without an end has one.
const MAX_STRING: u64 = 1024;

/// A piece of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'f> {
    Text(&'f [u8]),
    Field(Field),
}

/// A conversion, and how wide what it gives has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    left: bool,
    zeros: bool,
    /// What stands before a number that has no minus.
    sign: Option<u8>,
    width: usize,
    conversion: Conversion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    Signed {
        wide: bool,
    },
    Unsigned {
        wide: bool,
    },
    Hex {
        wide: bool,
        upper: bool,
    },
    Character,
    Text,
    /// `%p`, `%px` and `%pK`: 16 digits.
    Address,
    /// `%ps`, `%pS` and `%pB`: a number that is no function's is printed plainly.
    Symbol,
    /// `%pi4`, `%pI4`, `%pi6` and `%pI6`: the lower case fills up with zeros and leaves colons out.
    Internet {
        bytes: usize,
        full: bool,
    },
}

impl<H: Host> Run<'_, H> {
    /// `bpf_trace_printk(format, length, ...)`.
    pub(super) fn trace_printk(&mut self) -> Did<Value> {
        let format = self.bytes(Reg::R1, Reg::R2)?;
        // Those that the format doesn't name need not have been written.
        let arguments = [Reg::R3, Reg::R4, Reg::R5].map(|reg| self.register(reg));
        self.print(&format, 3, |at| arguments[at].clone())
    }

    /// `bpf_trace_vprintk(format, length, arguments, bytes)`.
    pub(super) fn trace_vprintk(&mut self) -> Did<Value> {
        let format = self.bytes(Reg::R1, Reg::R2)?;
        let (from, bytes) = (self.register(Reg::R3)?, self.number(Reg::R4)?);
        if bytes % 8 != 0 || bytes > 8 * MAX_ARGUMENTS as u64 || bytes > 0 && from == Value::NULL {
            return Ok(status(Err(Errno::INVAL)));
        }
        let count = bytes as usize / 8;
        let mut arguments = Vec::with_capacity(count);
        for at in 0..bytes / 8 {
            arguments.push(self.load(self.pointer(Reg::R3)?.plus(8 * at), Size::B8)?);
        }
        self.print(&format, count, |at| Ok(arguments[at]))
    }

    fn print(&mut self, format: &[u8], count: usize, argument: impl Fn(usize) -> Did<Value>) -> Did<Value> {
        let end = format.iter().position(|byte| *byte == 0);
        let Some(pieces) = end.and_then(|end| pieces(&format[..end])) else {
            return Ok(status(Err(Errno::INVAL)));
        };
        if pieces.iter().filter(|piece| matches!(piece, Piece::Field(_))).count() > count {
            return Ok(status(Err(Errno::INVAL)));
        }
        let (mut line, mut length, mut next) = (Vec::new(), 0, 0);
        for piece in pieces {
            let written = match piece {
                Piece::Text(text) => text.to_vec(),
                Piece::Field(field) => {
                    next += 1;
                    field.padded(self.converted(field, argument(next - 1)?)?)
                }
            };
            length += written.len();
            let room = MAX_LINE - line.len();
            line.extend(written.into_iter().take(room));
        }
        self.host.print(&line);
        Ok(Value::Scalar(length as u64))
    }

    /// What a conversion makes of a value.
    fn converted(&self, field: Field, value: Value) -> Did<Vec<u8>> {
        let number = match value {
            Value::Scalar(number) => number,
            Value::Pointer(_) => 0,
        };
        let narrow = |wide: bool| if wide { number } else { u64::from(number as u32) };
        Ok(match field.conversion {
            Conversion::Text => self.string(value)?,
            Conversion::Internet { bytes, full } => self.address_at(value, bytes, full)?,
            _ if matches!(value, Value::Pointer(_)) => format!("({value})").into_bytes(),
            Conversion::Signed { wide } => {
                let signed = if wide { number as i64 } else { i64::from(number as i32) };
                match field.sign.filter(|_| signed >= 0) {
                    Some(sign) => format!("{}{signed}", char::from(sign)).into_bytes(),
                    None => signed.to_string().into_bytes(),
                }
            }
            Conversion::Unsigned { wide } => narrow(wide).to_string().into_bytes(),
            Conversion::Hex { wide, upper: false } => format!("{:x}", narrow(wide)).into_bytes(),
            Conversion::Hex { wide, upper: true } => format!("{:X}", narrow(wide)).into_bytes(),
            Conversion::Character => vec![number as u8],
            Conversion::Address => format!("{number:016x}").into_bytes(),
            Conversion::Symbol => format!("{number:#x}").into_bytes(),
        })
    }

    /// The bytes up to a zero; none where nothing can be read, as in the kernel.
    fn string(&self, at: Value) -> Did<Vec<u8>> {
        let Value::Pointer(at) = at else { return Ok(Vec::new()) };
        let mut text = Vec::new();
        for offset in 0..MAX_STRING {
            let mut byte = [0];
            self.read(at.plus(offset), &mut byte)?;
            if byte == [0] {
                break;
            }
            text.extend(byte);
        }
        Ok(text)
    }

    fn address_at(&self, at: Value, bytes: usize, full: bool) -> Did<Vec<u8>> {
        let mut address = [0; 16];
        if let Value::Pointer(at) = at {
            self.read(at, &mut address[..bytes])?;
        }
        let [a, b, c, d, ..] = address;
        let words = Ipv6Addr::from(address).segments();
        let text = match (bytes, full) {
            (4, false) => Ipv4Addr::new(a, b, c, d).to_string(),
            (4, true) => format!("{a:03}.{b:03}.{c:03}.{d:03}"),
            (_, false) => words.map(|word| format!("{word:04x}")).join(":"),
            (_, true) => words.map(|word| format!("{word:04x}")).concat(),
        };
        Ok(text.into_bytes())
    }
}

impl Field {
    fn padded(self, mut text: Vec<u8>) -> Vec<u8> {
        let missing = self.width.saturating_sub(text.len());
        match (self.left, self.zeros) {
            (true, _) => text.extend(vec![b' '; missing]),
            (false, false) => text.splice(..0, vec![b' '; missing]).for_each(drop),
            (false, true) => {
                let sign = usize::from(matches!(text.first(), Some(b'-' | b'+' | b' ')));
                text.splice(sign..sign, vec![b'0'; missing]).for_each(drop);
            }
        }
        text
    }
}

/// The pieces of a format; `None` for what Linux refuses.
fn pieces(format: &[u8]) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(first) = rest.first() {
        if *first != b'%' {
            let text = rest.split(|byte| *byte == b'%').next().unwrap_or(rest);
            let printable = |byte: &u8| matches!(byte, 9..=13 | b' '..=b'~' | 0x80..);
            if !text.iter().all(printable) {
                return None;
            }
            pieces.push(Piece::Text(text));
            rest = &rest[text.len()..];
        } else if rest.get(1) == Some(&b'%') {
            pieces.push(Piece::Text(b"%"));
            rest = &rest[2..];
        } else {
            let (field, behind) = field(&rest[1..])?;
            pieces.push(Piece::Field(field));
            rest = behind;
        }
    }
    Some(pieces)
}

/// The conversion that begins behind a `%`, and what follows it.
fn field(rest: &[u8]) -> Option<(Field, &[u8])> {
    let flags = rest.iter().take_while(|byte| b"0+- ".contains(byte)).count();
    let has = |flag: u8| rest[..flags].contains(&flag);
    let (left, zeros) = (has(b'-'), has(b'0') && !has(b'-'));
    let sign = [b'+', b' '].into_iter().find(|sign| has(*sign));
    let digits = rest[flags..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (width, rest) = rest[flags..].split_at(digits);
    // As long as it stays short: a width beyond a line can't be seen.
    let width =
        width.iter().fold(0usize, |width, digit| (width * 10 + usize::from(digit - b'0')).min(i16::MAX as usize));
    let (conversion, rest) = conversion(rest)?;
    Some((Field { left, zeros, sign, width, conversion }, rest))
}

fn conversion(rest: &[u8]) -> Option<(Conversion, &[u8])> {
    let longs = rest.iter().take_while(|byte| **byte == b'l').take(2).count();
    let wide = longs > 0;
    let (conversion, length) = match rest.get(longs)? {
        b'd' | b'i' => (Conversion::Signed { wide }, 1),
        b'u' => (Conversion::Unsigned { wide }, 1),
        b'x' => (Conversion::Hex { wide, upper: false }, 1),
        b'X' => (Conversion::Hex { wide, upper: true }, 1),
        _ if wide => return None,
        b'c' => (Conversion::Character, 1),
        b's' => (Conversion::Text, 1),
        b'p' => match rest.get(1..).unwrap_or_default() {
            [b'k' | b'u', b's', ..] => (Conversion::Text, 3),
            [b'x' | b'K', ..] => (Conversion::Address, 2),
            [b's' | b'S' | b'B', ..] => (Conversion::Symbol, 2),
            [case @ (b'i' | b'I'), b'4', ..] => (Conversion::Internet { bytes: 4, full: *case == b'i' }, 3),
            [case @ (b'i' | b'I'), b'6', ..] => (Conversion::Internet { bytes: 16, full: *case == b'i' }, 3),
            [letter, ..] if letter.is_ascii_alphanumeric() => return None,
            _ => (Conversion::Address, 1),
        },
        _ => return None,
    };
    Some((conversion, &rest[longs + length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_refuses_is_refused() {
        for format in [
            "%#x", "%hd", "%hhd", "%o", "%lc", "%pX", "%pd", "%.3d", "%zu", "%n", "%", "%d%", "a\x01b", "%l", "%e",
            "%b", "%D", "%*d", "%5%", "% %", "%pI", "%p4", "%pIS", "%ptx", "%llls",
        ] {
            assert_eq!(pieces(format.as_bytes()), None, "{format}");
        }
    }

    #[test]
    fn a_field_has_flags_width_and_conversion() {
        let only = |format: &'static str| match pieces(format.as_bytes()).unwrap()[..] {
            [Piece::Field(field)] => field,
            ref other => panic!("{other:?}"),
        };
        let plain =
            Field { left: false, zeros: false, sign: None, width: 0, conversion: Conversion::Signed { wide: false } };
        assert_eq!(only("%d"), plain);
        assert_eq!(only("%05i"), Field { zeros: true, width: 5, ..plain });
        assert_eq!(only("%-05d"), Field { left: true, width: 5, ..plain });
        assert_eq!(only("%+lld"), Field { sign: Some(b'+'), conversion: Conversion::Signed { wide: true }, ..plain });
        assert_eq!(only("%pI6"), Field { conversion: Conversion::Internet { bytes: 16, full: false }, ..plain });
        assert_eq!(pieces(b"a\t%%\xc3").unwrap(), [&b"a\t"[..], b"%", b"\xc3"].map(Piece::Text));
    }
}
