//! Arithmetic and comparisons, as RFC 9669 sections 4.1 to 4.3 define them.

use sklookup_bpf::{AluOp, Cond, Order, Size, Width};

use crate::fault::Did;
use crate::value::{Pointer, Value};

/// `dst op src` of numbers.
#[inline]
pub(super) fn numbers(width: Width, op: AluOp, dst: u64, src: u64) -> u64 {
    match width {
        Width::W64 => numbers64(op, dst, src),
        Width::W32 => u64::from(numbers32(op, dst as u32, src as u32)),
    }
}

/// `dst op src` where one is a pointer, or both.
pub(super) fn with_pointers(width: Width, op: AluOp, dst: Value, src: Value) -> Did<Value> {
    match (dst, src) {
        (Value::Pointer(pointer), Value::Scalar(bytes)) | (Value::Scalar(bytes), Value::Pointer(pointer))
            if op == AluOp::Add && width == Width::W64 =>
        {
            Ok(Value::Pointer(pointer.plus(bytes)))
        }
        (Value::Pointer(pointer), Value::Scalar(bytes)) if op == AluOp::Sub && width == Width::W64 => {
            Ok(Value::Pointer(pointer.plus(bytes.wrapping_neg())))
        }
        (Value::Pointer(dst), Value::Pointer(src))
            if op == AluOp::Sub && width == Width::W64 && dst.region == src.region =>
        {
            Ok(Value::Scalar(dst.offset.wrapping_sub(src.offset) as u64))
        }
        _ => Err(format!("calculates with {dst} and {src}; numbers can be added to a pointer, and nothing else")),
    }
}

#[inline]
fn numbers64(op: AluOp, dst: u64, src: u64) -> u64 {
    let shift = (src & 63) as u32;
    match op {
        AluOp::Add => dst.wrapping_add(src),
        AluOp::Sub => dst.wrapping_sub(src),
        AluOp::Mul => dst.wrapping_mul(src),
        AluOp::Div => dst.checked_div(src).unwrap_or(0),
        AluOp::SDiv if src == 0 => 0,
        AluOp::SDiv => (dst as i64).wrapping_div(src as i64) as u64,
        AluOp::Or => dst | src,
        AluOp::And => dst & src,
        AluOp::Lsh => dst << shift,
        AluOp::Rsh => dst >> shift,
        AluOp::Mod => dst.checked_rem(src).unwrap_or(dst),
        AluOp::SMod if src == 0 => dst,
        AluOp::SMod => (dst as i64).wrapping_rem(src as i64) as u64,
        AluOp::Xor => dst ^ src,
        AluOp::Mov => src,
        AluOp::Arsh => ((dst as i64) >> shift) as u64,
    }
}

#[inline]
fn numbers32(op: AluOp, dst: u32, src: u32) -> u32 {
    let shift = src & 31;
    match op {
        AluOp::Add => dst.wrapping_add(src),
        AluOp::Sub => dst.wrapping_sub(src),
        AluOp::Mul => dst.wrapping_mul(src),
        AluOp::Div => dst.checked_div(src).unwrap_or(0),
        AluOp::SDiv if src == 0 => 0,
        AluOp::SDiv => (dst as i32).wrapping_div(src as i32) as u32,
        AluOp::Or => dst | src,
        AluOp::And => dst & src,
        AluOp::Lsh => dst << shift,
        AluOp::Rsh => dst >> shift,
        AluOp::Mod => dst.checked_rem(src).unwrap_or(dst),
        AluOp::SMod if src == 0 => dst,
        AluOp::SMod => (dst as i32).wrapping_rem(src as i32) as u32,
        AluOp::Xor => dst ^ src,
        AluOp::Mov => src,
        AluOp::Arsh => ((dst as i32) >> shift) as u32,
    }
}

/// The lower bytes of `value`, sign-extended.
pub(super) fn sign_extend(value: u64, from: Size) -> u64 {
    match from {
        Size::B1 => value as i8 as u64,
        Size::B2 => value as i16 as u64,
        Size::B4 => value as i32 as u64,
        Size::B8 => value,
    }
}

/// The lower bytes of `value` in another order; the rest is cleared.
pub(super) fn swap(order: Order, size: Size, value: u64) -> u64 {
    let same = match order {
        Order::Little => cfg!(target_endian = "little"),
        Order::Big => cfg!(target_endian = "big"),
        Order::Swap => false,
    };
    match (size, same) {
        (Size::B1, _) => value & 0xff,
        (Size::B2, true) => u64::from(value as u16),
        (Size::B2, false) => u64::from((value as u16).swap_bytes()),
        (Size::B4, true) => u64::from(value as u32),
        (Size::B4, false) => u64::from((value as u32).swap_bytes()),
        (Size::B8, true) => value,
        (Size::B8, false) => value.swap_bytes(),
    }
}

/// `dst cond src` of numbers.
#[inline]
pub(super) fn compare(width: Width, cond: Cond, dst: u64, src: u64) -> bool {
    match width {
        Width::W64 => holds(cond, (dst, src), (dst as i64, src as i64), dst & src != 0),
        Width::W32 => {
            let (dst, src) = (dst as u32, src as u32);
            holds(cond, (dst, src), (dst as i32, src as i32), dst & src != 0)
        }
    }
}

/// `dst cond src` where one is a pointer, or both.
pub(super) fn compare_pointers(width: Width, cond: Cond, dst: Value, src: Value) -> Did<bool> {
    match (dst, src) {
        // No address is 0.
        (Value::Pointer(_), Value::NULL) | (Value::NULL, Value::Pointer(_)) if width == Width::W64 => match cond {
            Cond::Eq => Ok(false),
            Cond::Ne => Ok(true),
            _ => Err(format!("compares {dst} with {src}, which are equal or not and nothing else")),
        },
        (Value::Pointer(one), Value::Pointer(other)) if width == Width::W64 => compare_places(cond, one, other),
        _ => Err(format!("compares {dst} with {src}")),
    }
}

fn compare_places(cond: Cond, dst: Pointer, src: Pointer) -> Did<bool> {
    match cond {
        Cond::Eq => Ok(dst == src),
        Cond::Ne => Ok(dst != src),
        Cond::Set => Err("looks for common bits of two pointers".to_owned()),
        _ if dst.region != src.region => {
            Err(format!("orders {} and {}, which are apart", Value::Pointer(dst), Value::Pointer(src)))
        }
        _ => Ok(holds(cond, (dst.offset, src.offset), (dst.offset, src.offset), false)),
    }
}

fn holds<U: Ord, S: Ord>(cond: Cond, (dst, src): (U, U), (signed_dst, signed_src): (S, S), common: bool) -> bool {
    match cond {
        Cond::Eq => dst == src,
        Cond::Ne => dst != src,
        Cond::Gt => dst > src,
        Cond::Ge => dst >= src,
        Cond::Lt => dst < src,
        Cond::Le => dst <= src,
        Cond::Set => common,
        Cond::SGt => signed_dst > signed_src,
        Cond::SGe => signed_dst >= signed_src,
        Cond::SLt => signed_dst < signed_src,
        Cond::SLe => signed_dst <= signed_src,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Region;

    #[test]
    fn dividing_by_zero_gives_zero_and_modulo_zero_leaves_the_number() {
        for (width, all) in [(Width::W64, u64::MAX), (Width::W32, u64::from(u32::MAX))] {
            for op in [AluOp::Div, AluOp::SDiv] {
                assert_eq!(numbers(width, op, u64::MAX, 0), 0, "{op:?}");
            }
            for op in [AluOp::Mod, AluOp::SMod] {
                assert_eq!(numbers(width, op, u64::MAX, 0), all, "{op:?}");
            }
        }
    }

    #[test]
    fn the_least_number_divided_by_minus_one_wraps() {
        assert_eq!(numbers(Width::W64, AluOp::SDiv, 1 << 63, u64::MAX), 1 << 63);
        assert_eq!(numbers(Width::W64, AluOp::SMod, 1 << 63, u64::MAX), 0);
        assert_eq!(numbers(Width::W32, AluOp::SDiv, 1 << 31, u64::from(u32::MAX)), 1 << 31);
    }

    #[test]
    fn a_32_bit_result_clears_the_upper_half_and_shifts_are_masked() {
        assert_eq!(numbers(Width::W32, AluOp::Add, 0xffff_ffff_ffff_ffff, 1), 0);
        assert_eq!(numbers(Width::W32, AluOp::Mov, 0, u64::MAX), 0xffff_ffff);
        assert_eq!(numbers(Width::W64, AluOp::Lsh, 1, 65), 2);
        assert_eq!(numbers(Width::W32, AluOp::Arsh, 0x8000_0000, 31), 0xffff_ffff);
    }

    #[test]
    fn only_numbers_are_added_to_pointers() {
        let pointer = Value::start_of(Region::Context);
        let next = with_pointers(Width::W64, AluOp::Add, pointer, Value::Scalar(u64::MAX)).unwrap();
        assert_eq!(next, Value::Pointer(Pointer { region: Region::Context, offset: -1 }));
        assert_eq!(with_pointers(Width::W64, AluOp::Sub, next, pointer), Ok(Value::Scalar(u64::MAX)));
        for (width, op) in [(Width::W64, AluOp::Or), (Width::W32, AluOp::Add)] {
            assert!(with_pointers(width, op, pointer, pointer).is_err(), "{op:?}");
        }
    }

    #[test]
    fn a_pointer_is_not_null_and_has_no_other_number() {
        let pointer = Value::start_of(Region::Context);
        assert_eq!(compare_pointers(Width::W64, Cond::Eq, pointer, Value::NULL), Ok(false));
        assert_eq!(compare_pointers(Width::W64, Cond::Ne, Value::NULL, pointer), Ok(true));
        assert!(compare_pointers(Width::W64, Cond::Gt, pointer, Value::NULL).is_err());
        assert!(compare_pointers(Width::W64, Cond::Eq, pointer, Value::Scalar(1)).is_err());
        assert!(compare_pointers(Width::W32, Cond::Eq, pointer, Value::NULL).is_err());
    }

    #[test]
    fn comparisons_are_signed_where_they_say_so() {
        assert!(compare(Width::W64, Cond::Gt, u64::MAX, 1));
        assert!(!compare(Width::W64, Cond::SGt, u64::MAX, 1));
        assert!(compare(Width::W32, Cond::SLt, 0xffff_ffff, 1));
        assert!(!compare(Width::W64, Cond::SLt, 0xffff_ffff, 1));
    }

    #[test]
    fn swaps_clear_what_they_do_not_swap() {
        assert_eq!(swap(Order::Swap, Size::B2, 0x0102_0304), 0x0403);
        assert_eq!(swap(Order::Swap, Size::B4, 0xff_0102_0304), 0x0403_0201);
        assert_eq!(swap(Order::Big, Size::B4, u64::from(1u32.to_be())), 1);
    }
}
