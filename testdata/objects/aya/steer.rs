//! Gives two ports to two sockets, and counts the packets of each, written with aya.

#![no_std]

use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::macros::{map, sk_lookup};
use aya_ebpf::maps::{Array, SockMap};
use aya_ebpf::programs::SkLookupContext;

#[map]
static SERVERS: SockMap = SockMap::with_max_entries(2, 0);

#[map]
static PACKETS: Array<u64> = Array::with_max_entries(2, 0);

/// Who loads it may choose another.
#[unsafe(no_mangle)]
static FIRST_PORT: u32 = 7007;

#[sk_lookup]
pub fn steer(ctx: SkLookupContext) -> u32 {
    // SAFETY: a global of this object, which nothing changes once it is loaded.
    let first_port = unsafe { core::ptr::read_volatile(&FIRST_PORT) };
    // SAFETY: the kernel gives every program a context that is there.
    let local_port = unsafe { (*ctx.lookup).local_port };
    let slot = local_port.wrapping_sub(first_port);
    let Some(packets) = PACKETS.get_ptr_mut(slot) else { return SK_PASS };
    // SAFETY: a value of the map, which stays where it is.
    unsafe { *packets += 1 };
    match SERVERS.redirect_sk_lookup(&ctx, slot, 0) {
        Ok(()) => SK_PASS,
        Err(_) => SK_DROP,
    }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
