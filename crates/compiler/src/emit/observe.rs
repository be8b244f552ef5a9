//! From the winning binding to an event, where what should have been selected was not.
//!
//! What comes in is what [`super::deliver`] gets. It runs after that program, in one of its own, and does the same: it tries
//! the members of the label, in order, with `bpf_sk_assign`, and so has the same answers. `BPF_SK_LOOKUP_F_REPLACE` keeps what is
//! selected already out of it; at the end nothing is selected, which leaves what the programs before have selected as it is
//! (seen on Linux 6.18). So it has no effect but its events.

use sklookup_bpf::{
    AluOp, AtomicOp, Builder, Cond, Label, MapSpec, Reg, Size, abi, abi::context, abi::errno, abi::helper,
};

use super::ending::{LabelMap, inner_map, stack, stack_address};
use super::{BINDING, CTX, VERDICT, packet};
use crate::event::{EventKind, SELECTED_BIT, left_out, record};
use crate::family::Family;
use crate::label_map::MEMBERS;
use crate::rules::Domain;

/// The index of the ring buffer in the program's list.
const EVENTS_MAP: u32 = 0;
/// The index of the map of what is left out.
const WATCH_MAP: u32 = 1;

/// Nanoseconds in which so many events are written as [`Watching::rate`] says.
const SECOND: i32 = 1_000_000_000;

/// Bytes of the ring buffer of events.
pub const EVENT_BYTES: u32 = 256 << 10;

/// Offsets from the frame pointer.
mod at {
    /// u64: what was selected when the program began, a socket or NULL.
    pub(super) const SELECTED: i16 = -16;
    /// u64: the first error of `bpf_sk_assign`, or 0.
    pub(super) const ERROR: i16 = -24;
    /// The record.
    pub(super) const RECORD: i16 = -96;
}

/// What a watching program writes, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// What each event says of where it comes from.
    pub token: u32,
    /// Of so many events one is written; 1: each.
    pub every: u32,
    /// The most events that are written within a second.
    pub rate: u32,
    /// Whether it tells the socket that was selected from that which should have been: the kernel lets programs compare addresses
    /// where their loader has CAP_PERFMON.
    pub compares: bool,
}

/// Code that all labels of a domain share.
pub(crate) struct Tail {
    /// Looks through the members: R8 the label's map, [`at::ERROR`] 0.
    members: Label,
    /// There are no members to look through.
    none_left: Label,
    first_slot: u32,
    domain: (Family, u8),
}

impl Watching {
    /// The ring buffer.
    pub fn events_map(&self) -> MapSpec {
        MapSpec::ringbuf("events", EVENT_BYTES)
    }
}

/// Looks at a binding that says pass or refuse.
pub(crate) fn refusal(b: &mut Builder, domain: &Domain, watching: &Watching) {
    let pass = b.label();
    b.branch(Cond::Ne, VERDICT, 0, pass);
    b.load(Size::B8, Reg::R1, CTX, context::SK);
    // A selection of others beats our refusal.
    b.branch(Cond::Ne, Reg::R1, 0, pass);
    b.mov(Reg::R8, EventKind::Refused as i32);
    write_event(b, (domain.family, domain.protocol.number()), watching, pass);
    b.place(pass);
    packet::pass(b);
}

/// Looks at a binding that steers to a label.
pub(crate) fn select(b: &mut Builder, map: LabelMap, tail: &Tail) {
    b.store(Size::B8, Reg::R10, at::ERROR, 0);
    match map {
        LabelMap::Named(index) => b.map(Reg::R8, index),
        LabelMap::InArray(outer) => {
            b.store(Size::B4, Reg::R10, stack::LABEL, Reg::R8);
            inner_map(b, outer, tail.none_left);
            b.mov(Reg::R8, Reg::R0);
        }
    }
    b.jump(tail.members);
}

impl Tail {
    pub(crate) fn new(b: &mut Builder, domain: &Domain) -> Tail {
        let first_slot = domain.first_slot();
        Tail { members: b.label(), none_left: b.label(), first_slot, domain: (domain.family, domain.protocol.number()) }
    }

    /// Writes the code that the labels share.
    pub(crate) fn emit(self, b: &mut Builder, watching: &Watching) {
        let (found, event, pass) = (b.label(), b.label(), b.label());
        b.note("the members, as the other program tried them");
        b.place(self.members);
        b.load(Size::B8, Reg::R1, CTX, context::SK);
        b.store(Size::B8, Reg::R10, at::SELECTED, Reg::R1);
        // Unrolled, as there.
        for member in 0..MEMBERS {
            let (next, known) = (b.label(), b.label());
            b.store(Size::B4, Reg::R10, stack::SLOT, (self.first_slot + member) as i32);
            b.mov(Reg::R1, Reg::R8);
            stack_address(b, Reg::R2, stack::SLOT);
            b.call(helper::MAP_LOOKUP_ELEM);
            b.branch(Cond::Eq, Reg::R0, 0, next);
            b.mov(Reg::R9, Reg::R0);
            assign(b, Reg::R9);
            b.branch(Cond::Eq, Reg::R0, 0, found);
            b.load(Size::B8, Reg::R1, Reg::R10, at::ERROR);
            b.branch(Cond::Ne, Reg::R1, 0, known);
            b.store(Size::B8, Reg::R10, at::ERROR, Reg::R0);
            b.place(known);
            b.mov(Reg::R1, Reg::R9);
            b.call(helper::SK_RELEASE);
            b.place(next);
        }

        b.note("no member can be selected: tell why");
        b.place(self.none_left);
        b.load(Size::B8, Reg::R1, Reg::R10, at::ERROR);
        let why = b.label();
        for (error, kind) in [
            (0, EventKind::NoSocket),
            (-errno::EPROTOTYPE, EventKind::WrongProtocol),
            (-errno::EAFNOSUPPORT, EventKind::WrongFamily),
        ] {
            b.mov(Reg::R8, kind as i32);
            b.branch(Cond::Eq, Reg::R1, error, why);
        }
        b.mov(Reg::R8, EventKind::Unsupported as i32);
        b.place(why);
        b.load(Size::B8, Reg::R1, CTX, context::SK);
        b.branch(Cond::Eq, Reg::R1, 0, event);
        b.alu(AluOp::Or, Reg::R8, 1 << SELECTED_BIT);
        b.jump(event);

        b.note("a member could be selected: was it?");
        b.place(found);
        b.mov(Reg::R8, 0);
        if watching.compares {
            let alike = b.label();
            b.load(Size::B8, Reg::R1, Reg::R10, at::SELECTED);
            // Nothing selected: the member came after the other program had run.
            b.branch(Cond::Eq, Reg::R1, 0, alike);
            b.branch(Cond::Eq, Reg::R1, Reg::R9, alike);
            b.mov(Reg::R8, EventKind::AlreadySelected as i32 | 1 << SELECTED_BIT);
            b.place(alike);
        }
        b.mov(Reg::R1, Reg::R9);
        b.call(helper::SK_RELEASE);
        b.mov(Reg::R2, 0);
        assign(b, Reg::R2);
        b.branch(Cond::Eq, Reg::R8, 0, pass);

        b.place(event);
        write_event(b, self.domain, watching, pass);
        b.place(pass);
        packet::pass(b);
    }
}

/// `R0 = bpf_sk_assign(ctx, socket, BPF_SK_LOOKUP_F_REPLACE)`.
fn assign(b: &mut Builder, socket: Reg) {
    b.mov(Reg::R2, socket);
    b.mov(Reg::R1, CTX);
    b.mov(Reg::R3, abi::F_REPLACE);
    b.call(helper::SK_ASSIGN);
}

/// Writes the event in R8, unless it is one too many; then or there goes to `done`, or falls through.
fn write_event(b: &mut Builder, (family, protocol): (Family, u8), watching: &Watching, done: Label) {
    let (sampled, limited, same_second, written) = (b.label(), b.label(), b.label(), b.label());
    b.note("an event");
    b.map_value(Reg::R1, WATCH_MAP, left_out::SEEN);
    b.mov(Reg::R0, 1);
    let fetch = watching.every > 1;
    b.atomic(Size::B8, AtomicOp::Add { fetch }, Reg::R1, 0, Reg::R0);
    if fetch {
        b.alu(AluOp::Mod, Reg::R0, watching.every as i32);
        b.branch(Cond::Ne, Reg::R0, 0, sampled);
    }
    b.call(helper::KTIME_GET_NS);
    b.mov(Reg::R9, Reg::R0);
    b.map_value(Reg::R1, WATCH_MAP, left_out::SECOND);
    b.load(Size::B8, Reg::R2, Reg::R1, 0);
    b.alu(AluOp::Sub, Reg::R0, Reg::R2);
    b.branch(Cond::Lt, Reg::R0, SECOND, same_second);
    b.store(Size::B8, Reg::R1, 0, Reg::R9);
    b.store(Size::B8, Reg::R1, 8, 0);
    b.place(same_second);
    b.mov(Reg::R0, 1);
    b.atomic(Size::B8, AtomicOp::Add { fetch: true }, Reg::R1, 8, Reg::R0);
    b.branch(Cond::Ge, Reg::R0, watching.rate as i32, limited);

    let field = |offset: usize| at::RECORD + offset as i16;
    b.store(Size::B8, Reg::R10, field(record::TIME), Reg::R9);
    b.store(Size::B4, Reg::R10, field(record::BINDING), BINDING);
    b.store(Size::B4, Reg::R10, field(record::KIND), Reg::R8);
    b.store(Size::B4, Reg::R10, field(record::TOKEN), watching.token as i32);
    let family_number = if family == Family::V4 { abi::AF_INET } else { abi::AF_INET6 };
    b.store(Size::B4, Reg::R10, field(record::FAMILY), family_number);
    b.store(Size::B4, Reg::R10, field(record::PROTOCOL), i32::from(protocol));
    let (remote, local, words) = match family {
        Family::V4 => (context::REMOTE_IP4, context::LOCAL_IP4, 1),
        Family::V6 => (context::REMOTE_IP6, context::LOCAL_IP6, 4),
    };
    let mut copy = |size, to: usize, from| {
        b.load(size, Reg::R1, CTX, from);
        b.store(Size::B4, Reg::R10, field(to), Reg::R1);
    };
    copy(Size::B4, record::INTERFACE, context::INGRESS_IFINDEX);
    copy(Size::B4, record::LOCAL_PORT, context::LOCAL_PORT);
    copy(Size::B2, record::REMOTE_PORT, context::REMOTE_PORT);
    for word in 0..words {
        copy(Size::B4, record::REMOTE + 4 * word, remote + 4 * word as i16);
        copy(Size::B4, record::LOCAL + 4 * word, local + 4 * word as i16);
    }
    for word in words..4 {
        b.store(Size::B4, Reg::R10, field(record::REMOTE + 4 * word), 0);
        b.store(Size::B4, Reg::R10, field(record::LOCAL + 4 * word), 0);
    }
    b.map(Reg::R1, EVENTS_MAP);
    stack_address(b, Reg::R2, at::RECORD);
    b.mov(Reg::R3, record::SIZE as i32);
    b.mov(Reg::R4, 0);
    b.call(helper::RINGBUF_OUTPUT);
    b.branch(Cond::Eq, Reg::R0, 0, done);
    b.map_value(Reg::R1, WATCH_MAP, left_out::FULL);
    b.jump(written);
    if fetch {
        b.place(sampled);
        b.map_value(Reg::R1, WATCH_MAP, left_out::SAMPLED);
        b.jump(written);
    }
    b.place(limited);
    b.map_value(Reg::R1, WATCH_MAP, left_out::LIMITED);
    b.place(written);
    b.mov(Reg::R0, 1);
    b.atomic(Size::B8, AtomicOp::Add { fetch: false }, Reg::R1, 0, Reg::R0);
}
