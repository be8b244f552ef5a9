//! Keys and values of maps, as cases write them.

use std::fmt;

/// A number of a width that the place decides, or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// A number, in host order as wide as the key or value it stands for.
    Number(i64),
    /// These bytes, as they are.
    Raw(Vec<u8>),
}

impl Bytes {
    /// Reads `hex:00ff`, or `u8:`, `u16:`, `u32:`, `u64:` with a number in host order, or `be16:`, `be32:` in network
    /// order.
    pub fn parse(text: &str) -> Option<Bytes> {
        let (form, value) = text.split_once(':')?;
        let number = || match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse::<u64>().ok(),
        };
        let raw = match form {
            "hex" => from_hex(value)?,
            "u8" => vec![u8::try_from(number()?).ok()?],
            "u16" => u16::try_from(number()?).ok()?.to_ne_bytes().to_vec(),
            "u32" => u32::try_from(number()?).ok()?.to_ne_bytes().to_vec(),
            "u64" => number()?.to_ne_bytes().to_vec(),
            "be16" => u16::try_from(number()?).ok()?.to_be_bytes().to_vec(),
            "be32" => u32::try_from(number()?).ok()?.to_be_bytes().to_vec(),
            _ => return None,
        };
        Some(Bytes::Raw(raw))
    }

    /// The bytes of a key or value that is `width` bytes wide; a number that is narrower than the place is extended
    /// with its sign, and bytes stay as many as they are.
    pub fn of_width(&self, width: usize) -> Vec<u8> {
        match self {
            Bytes::Raw(bytes) => bytes.clone(),
            Bytes::Number(number) => {
                let fill = if *number < 0 { 0xff } else { 0 };
                let mut bytes: Vec<u8> =
                    number.to_le_bytes().into_iter().chain(std::iter::repeat(fill)).take(width).collect();
                if cfg!(target_endian = "big") {
                    bytes.reverse();
                }
                bytes
            }
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bytes::Number(number) => number.fmt(f),
            Bytes::Raw(bytes) => f.write_str(&shown(bytes)),
        }
    }
}

/// Bytes for people: as a number too where they can be one.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match *bytes {
        [a] => format!("{a} (hex:{hex})"),
        [a, b, c, d] => format!("{} (hex:{hex})", i32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, g, h, i] => format!("{} (hex:{hex})", i64::from_ne_bytes([a, b, c, d, e, g, h, i])),
        _ => format!("hex:{hex}"),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_wide_as_its_place() {
        assert_eq!(Bytes::Number(1).of_width(4), 1u32.to_ne_bytes());
        assert_eq!(Bytes::Number(-94).of_width(8), (-94i64).to_ne_bytes());
        assert_eq!(Bytes::Number(-1).of_width(12), [0xff; 12]);
        assert_eq!(Bytes::Raw(vec![1]).of_width(4), [1]);
    }

    #[test]
    fn bytes_are_written_with_their_form() {
        assert_eq!(Bytes::parse("hex:00fF"), Some(Bytes::Raw(vec![0, 255])));
        assert_eq!(Bytes::parse("be16:8008"), Some(Bytes::Raw(8008u16.to_be_bytes().to_vec())));
        assert_eq!(Bytes::parse("u32:0x10002"), Some(Bytes::Raw(0x10002u32.to_ne_bytes().to_vec())));
        for wrong in ["", "hex:0", "hex:zz", "u8:256", "u16", "le16:1", "be16:-1"] {
            assert_eq!(Bytes::parse(wrong), None, "{wrong}");
        }
    }
}
