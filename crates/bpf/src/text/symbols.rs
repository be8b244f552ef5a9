//! The spellings that the printer and the parser share.

use crate::insn::{AluOp, AtomicOp, Cond, Order, Reg, Size, Width};

/// Operators of arithmetic, with the `=` of the assignment.
pub(super) const ALU: [(AluOp, &str); 14] = [
    (AluOp::Add, "+="),
    (AluOp::Sub, "-="),
    (AluOp::Mul, "*="),
    (AluOp::Div, "/="),
    (AluOp::SDiv, "s/="),
    (AluOp::Or, "|="),
    (AluOp::And, "&="),
    (AluOp::Lsh, "<<="),
    (AluOp::Rsh, ">>="),
    (AluOp::Mod, "%="),
    (AluOp::SMod, "s%="),
    (AluOp::Xor, "^="),
    (AluOp::Mov, "="),
    (AluOp::Arsh, "s>>="),
];

/// Comparisons.
pub(super) const CONDS: [(Cond, &str); 11] = [
    (Cond::Eq, "=="),
    (Cond::Ne, "!="),
    (Cond::Gt, ">"),
    (Cond::Ge, ">="),
    (Cond::Lt, "<"),
    (Cond::Le, "<="),
    (Cond::Set, "&"),
    (Cond::SGt, "s>"),
    (Cond::SGe, "s>="),
    (Cond::SLt, "s<"),
    (Cond::SLe, "s<="),
];

/// Types of zero-extended loads, of stores and of atomic operations.
pub(super) const UNSIGNED: [(Size, &str); 4] =
    [(Size::B1, "u8"), (Size::B2, "u16"), (Size::B4, "u32"), (Size::B8, "u64")];

/// Types of what is sign-extended.
pub(super) const SIGNED: [(Size, &str); 3] = [(Size::B1, "s8"), (Size::B2, "s16"), (Size::B4, "s32")];

/// Byte swaps; the number of bits follows.
pub(super) const ORDERS: [(Order, &str); 3] = [(Order::Little, "le"), (Order::Big, "be"), (Order::Swap, "bswap")];

/// Atomic operations without a result, after `lock`.
pub(super) const LOCKED: [(AtomicOp, &str); 4] = [
    (AtomicOp::Add { fetch: false }, "+="),
    (AtomicOp::Or { fetch: false }, "|="),
    (AtomicOp::And { fetch: false }, "&="),
    (AtomicOp::Xor { fetch: false }, "^="),
];

/// Atomic operations with a result, after `atomic_` for 32 bits and `atomic64_` for 64.
pub(super) const FETCHING: [(AtomicOp, &str); 6] = [
    (AtomicOp::Add { fetch: true }, "fetch_add"),
    (AtomicOp::Or { fetch: true }, "fetch_or"),
    (AtomicOp::And { fetch: true }, "fetch_and"),
    (AtomicOp::Xor { fetch: true }, "fetch_xor"),
    (AtomicOp::Xchg, "xchg"),
    (AtomicOp::Cmpxchg, "cmpxchg"),
];

/// The spelling of `meaning` in one of the tables.
pub(super) fn spelling<T: PartialEq>(table: &[(T, &'static str)], meaning: T) -> Option<&'static str> {
    table.iter().find(|row| row.0 == meaning).map(|row| row.1)
}

/// What `text` spells in one of the tables.
pub(super) fn meaning<T: Copy>(table: &[(T, &'static str)], text: &str) -> Option<T> {
    table.iter().find(|row| row.1 == text).map(|row| row.0)
}

/// `r1`, or `w1` for its lower half.
pub(super) fn register_name(width: Width, reg: Reg) -> String {
    let letter = if width == Width::W32 { 'w' } else { 'r' };
    format!("{letter}{}", reg.number())
}
