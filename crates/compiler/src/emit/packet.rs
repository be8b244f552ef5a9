//! Reads the packet from the context, and lets go what no binding can match.

use sklookup_bpf::{AluOp, Builder, Cond, Label, Order, Reg, Size, abi, abi::context};
use sklookup_policy::Protocol;

use super::CTX;
use super::far::{Far, FarLabels};
use crate::family::Family;
use crate::rules::Domain;

/// Up to so many intervals of ports are compared before the lookup starts.
const FILTERED_INTERVALS: usize = 4;

/// Keeps the context and goes to the code of the packet's family and protocol; packets of no domain pass.
pub(crate) fn dispatch(b: &mut Builder, far: &mut FarLabels, domains: &[Domain], starts: &[Far]) {
    b.mov(CTX, Reg::R1);
    if domains.is_empty() {
        pass(b);
        return;
    }
    let of_family = |family| domains.iter().zip(starts).filter(move |(domain, _)| domain.family == family);
    let not_v4 = b.label();
    b.load(Size::B4, Reg::R1, CTX, context::FAMILY);
    b.load(Size::B4, Reg::R2, CTX, context::PROTOCOL);
    b.branch32(Cond::Ne, Reg::R1, abi::AF_INET, not_v4);
    for family in [Family::V4, Family::V6] {
        if family == Family::V6 {
            // The hook runs for packets of these two families only.
            b.place(not_v4);
        }
        for (domain, &start) in of_family(family) {
            let protocol = match domain.protocol {
                Protocol::Tcp => abi::IPPROTO_TCP,
                Protocol::Udp => abi::IPPROTO_UDP,
            };
            let start = far.target(b, start);
            b.branch32(Cond::Eq, Reg::R2, protocol, start);
        }
        pass(b);
    }
}

/// Returns [`abi::SK_PASS`].
pub(crate) fn pass(b: &mut Builder) {
    b.mov(Reg::R0, abi::SK_PASS);
    b.exit();
}

/// `dst =` the destination port.
pub(crate) fn load_port(b: &mut Builder, dst: Reg) {
    b.load(Size::B4, dst, CTX, context::LOCAL_PORT);
}

/// Goes to `pass` if no rule of the domain takes the port in `port`, where that takes few compares. Returns whether
/// there is such a jump: the kernel refuses code that nothing leads to.
pub(crate) fn filter_ports(b: &mut Builder, domain: &Domain, port: Reg, pass: impl FnOnce(&Builder) -> Label) -> bool {
    let intervals = domain.ports();
    let Some((&(first, last), others)) = intervals.split_last() else { return false };
    if others.len() >= FILTERED_INTERVALS || intervals == [(0, u16::MAX)] {
        return false;
    }
    b.note(format!("ports of {}", domain.name()));
    let (taken, pass) = (b.label(), pass(b));
    for &(first, last) in others {
        // The intervals ascend, and what is below this one was in none before it.
        if first == last {
            b.branch32(Cond::Eq, port, i32::from(first), taken);
        } else {
            b.branch32(Cond::Lt, port, i32::from(first), pass);
            b.branch32(Cond::Le, port, i32::from(last), taken);
        }
    }
    if first == last {
        b.branch32(Cond::Ne, port, i32::from(first), pass);
    } else {
        b.branch32(Cond::Lt, port, i32::from(first), pass);
        b.branch32(Cond::Gt, port, i32::from(last), pass);
    }
    b.place(taken);
    true
}

/// `hi` (IPv4) or `hi` and `lo` (IPv6) `=` the destination address as a number. `scratch` is overwritten.
pub(crate) fn load_destination(b: &mut Builder, family: Family, hi: Reg, lo: Reg, scratch: Reg) {
    load_address(b, family, context::LOCAL_IP4, context::LOCAL_IP6, hi, lo, scratch);
}

/// The same of the source address.
pub(crate) fn load_source(b: &mut Builder, family: Family, hi: Reg, lo: Reg, scratch: Reg) {
    load_address(b, family, context::REMOTE_IP4, context::REMOTE_IP6, hi, lo, scratch);
}

/// `dst =` the index of the interface.
pub(crate) fn load_interface(b: &mut Builder, dst: Reg) {
    b.load(Size::B4, dst, CTX, context::INGRESS_IFINDEX);
}

fn load_address(b: &mut Builder, family: Family, ip4: i16, ip6: i16, hi: Reg, lo: Reg, scratch: Reg) {
    match family {
        Family::V4 => load_word(b, hi, ip4),
        Family::V6 => {
            // The context gives IPv6 addresses by 4 bytes only.
            for (dst, offset) in [(hi, ip6), (lo, ip6 + 8)] {
                load_word(b, dst, offset);
                load_word(b, scratch, offset + 4);
                b.alu(AluOp::Lsh, dst, 32);
                b.alu(AluOp::Or, dst, scratch);
            }
        }
    }
}

fn load_word(b: &mut Builder, dst: Reg, offset: i16) {
    b.load(Size::B4, dst, CTX, offset);
    b.swap(Order::Big, Size::B4, dst);
}
