//! The parts of a program that do not depend on how bindings are found.
//!
//! [`packet`] reads the context and lets packets go that no binding can match; [`ending`] is what follows once a strategy has
//! found the binding: [`deliver`] counts and selects the socket, [`observe`] tells what came of that. All parts agree on the registers and stack slots below.

pub(crate) mod deliver;
pub(crate) mod ending;
pub(crate) mod far;
pub(crate) mod observe;
pub(crate) mod packet;

use sklookup_bpf::{AluOp, Builder, Reg, Size, abi};

/// The context, from start to end.
pub(crate) const CTX: Reg = Reg::R6;

/// The number of the binding that won, for [`deliver`].
pub(crate) const BINDING: Reg = Reg::R7;

/// The verdict if no socket is selected, for [`deliver`]: 0 or 1, and the verifier knows it.
pub(crate) const VERDICT: Reg = Reg::R9;

/// Leaves the value as it is and makes the verifier forget it; R0 and R1 are overwritten.
///
/// Without CAP_PERFMON it refuses an addition to a pointer that is reached with offsets of different bounds, such as
/// two constants. The family differs from itself in no bit, but the verifier doesn't know that both are one.
pub(crate) fn hide_constant(b: &mut Builder, reg: Reg) {
    b.load(Size::B4, Reg::R0, CTX, abi::context::FAMILY);
    b.load(Size::B4, Reg::R1, CTX, abi::context::FAMILY);
    b.alu(AluOp::Xor, Reg::R1, Reg::R0);
    b.mov(Reg::R0, Reg::R1);
    b.alu(AluOp::Lsh, Reg::R0, 32);
    b.alu(AluOp::Or, Reg::R1, Reg::R0);
    b.alu(AluOp::Xor, reg, Reg::R1);
}
