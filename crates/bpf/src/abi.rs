//! What the kernel and an sk_lookup program agree on: context layout, verdicts, helpers.
//!
//! Source: uapi `linux/bpf.h`. Fields are only ever added at the end.

/// Verdict: drop the packet, unless some program selected a socket.
pub const SK_DROP: i32 = 0;
/// Verdict: deliver to the selected socket, or go on to the regular lookup.
pub const SK_PASS: i32 = 1;

/// Flag of `bpf_sk_assign`: another socket that was selected is no error (`BPF_SK_LOOKUP_F_REPLACE`).
pub const F_REPLACE: i32 = 1;

/// `family` of an IPv4 packet.
pub const AF_INET: i32 = 2;
/// `family` of an IPv6 packet.
pub const AF_INET6: i32 = 10;

/// `protocol` of TCP.
pub const IPPROTO_TCP: i32 = 6;
/// `protocol` of UDP.
pub const IPPROTO_UDP: i32 = 17;

/// Helpers by number.
pub mod helper {
    /// `bpf_map_lookup_elem(map, key)`: a value or NULL; from a SOCKMAP a socket that must be released.
    pub const MAP_LOOKUP_ELEM: u32 = 1;
    /// `bpf_map_update_elem(map, key, value, flags)`.
    pub const MAP_UPDATE_ELEM: u32 = 2;
    /// `bpf_map_delete_elem(map, key)`.
    pub const MAP_DELETE_ELEM: u32 = 3;
    /// `bpf_ktime_get_ns()`.
    pub const KTIME_GET_NS: u32 = 5;
    /// `bpf_trace_printk(format, length, ...)`: characters written. For programs under the GPL.
    pub const TRACE_PRINTK: u32 = 6;
    /// `bpf_get_prandom_u32()`.
    pub const GET_PRANDOM_U32: u32 = 7;
    /// `bpf_get_smp_processor_id()`.
    pub const GET_SMP_PROCESSOR_ID: u32 = 8;
    /// `bpf_tail_call(ctx, map, index)`.
    pub const TAIL_CALL: u32 = 12;
    /// `bpf_get_numa_node_id()`.
    pub const GET_NUMA_NODE_ID: u32 = 42;
    /// `bpf_strtol(text, length, flags, result)`: characters taken. Since 5.2.
    pub const STRTOL: u32 = 105;
    /// `bpf_strtoul(text, length, flags, result)`: characters taken. Since 5.2.
    pub const STRTOUL: u32 = 106;
    /// `bpf_jiffies64()`.
    pub const JIFFIES64: u32 = 118;
    /// `bpf_ktime_get_boot_ns()`.
    pub const KTIME_GET_BOOT_NS: u32 = 125;
    /// `bpf_ringbuf_output(map, data, size, flags)`: 0, or EAGAIN when there is no room.
    pub const RINGBUF_OUTPUT: u32 = 130;
    /// `bpf_ringbuf_reserve(map, size, flags)`: a record or NULL, to be submitted or discarded.
    pub const RINGBUF_RESERVE: u32 = 131;
    /// `bpf_ringbuf_submit(record, flags)`.
    pub const RINGBUF_SUBMIT: u32 = 132;
    /// `bpf_ringbuf_discard(record, flags)`.
    pub const RINGBUF_DISCARD: u32 = 133;
    /// `bpf_ringbuf_query(map, what)`: 0 bytes to be read, 1 size, 2 position of the reader, 3 of the writers.
    pub const RINGBUF_QUERY: u32 = 134;
    /// `bpf_ktime_get_coarse_ns()`.
    pub const KTIME_GET_COARSE_NS: u32 = 160;
    /// `bpf_for_each_map_elem(map, callback, ctx, flags)`: entries visited. Since 5.13.
    pub const FOR_EACH_MAP_ELEM: u32 = 164;
    /// `bpf_trace_vprintk(format, length, arguments, bytes)`: characters written. For programs under the GPL. Since 5.16.
    pub const TRACE_VPRINTK: u32 = 177;
    /// `bpf_loop(count, callback, ctx, flags)`: calls made. Since 5.17.
    pub const LOOP: u32 = 181;
    /// `bpf_strncmp(text, length, other)`: -1, 0 or 1. Since 5.17.
    pub const STRNCMP: u32 = 182;
    /// `bpf_map_lookup_percpu_elem(map, key, cpu)`: the value that a CPU has. Since 5.19.
    pub const MAP_LOOKUP_PERCPU_ELEM: u32 = 195;
    /// `bpf_ktime_get_tai_ns()`.
    pub const KTIME_GET_TAI_NS: u32 = 208;
    /// `bpf_sk_select_reuseport(ctx, map, key, flags)`, of sk_reuseport programs.
    pub const SK_SELECT_REUSEPORT: u32 = 82;
    /// `bpf_sk_release(sk)`.
    pub const SK_RELEASE: u32 = 86;
    /// `bpf_sk_assign(ctx, sk, flags)`.
    pub const SK_ASSIGN: u32 = 124;
}

/// Errors that `bpf_sk_assign` answers, as positive numbers, in the order in which it checks.
pub mod errno {
    /// The socket can't be selected: connected, shut down, or never in the lookup tables.
    pub const ESOCKTNOSUPPORT: i32 = 94;
    /// The socket is of another protocol than the packet.
    pub const EPROTOTYPE: i32 = 91;
    /// The socket's family can't take the packet.
    pub const EAFNOSUPPORT: i32 = 97;
    /// A socket is already selected.
    pub const EEXIST: i32 = 17;
}

/// `struct bpf_sk_lookup`: byte offsets into the context.
///
/// Local is the packet's destination, remote its source.
pub mod context {
    /// Size in bytes (since 5.17; 64 before).
    pub const SIZE: usize = 72;
    /// Selected socket or NULL; in a test run's output its cookie. 8 bytes.
    pub const SK: i16 = 0;
    /// [`super::AF_INET`] or [`super::AF_INET6`], host order, 4 bytes.
    pub const FAMILY: i16 = 8;
    /// [`super::IPPROTO_TCP`] or [`super::IPPROTO_UDP`], host order, 4 bytes.
    pub const PROTOCOL: i16 = 12;
    /// Source address, network order, 4 bytes; 0 for IPv6.
    pub const REMOTE_IP4: i16 = 16;
    /// Source address, network order, 4 words of 4 bytes; 0 for IPv4.
    pub const REMOTE_IP6: i16 = 20;
    /// Source port, **network order**, 2 bytes.
    pub const REMOTE_PORT: i16 = 36;
    /// Destination address, network order, 4 bytes; 0 for IPv6.
    pub const LOCAL_IP4: i16 = 40;
    /// Destination address, network order, 4 words of 4 bytes; 0 for IPv4.
    pub const LOCAL_IP6: i16 = 44;
    /// Destination port, **host order**: the odd one out. 4 bytes.
    pub const LOCAL_PORT: i16 = 60;
    /// Index of the interface the lookup is for. 4 bytes. Since 5.17.
    pub const INGRESS_IFINDEX: i16 = 64;

    /// The C struct, to pin the offsets: its fields in its order.
    #[repr(C)]
    struct SkLookup {
        sk: u64,
        family: u32,
        protocol: u32,
        remote_ip4: u32,
        remote_ip6: [u32; 4],
        remote_port: u16,
        _unused: u16,
        local_ip4: u32,
        local_ip6: [u32; 4],
        local_port: u32,
        ingress_ifindex: u32,
    }

    const _: () = {
        use std::mem::offset_of;

        assert!(size_of::<SkLookup>() == SIZE);
        assert!(offset_of!(SkLookup, sk) == SK as usize);
        assert!(offset_of!(SkLookup, family) == FAMILY as usize);
        assert!(offset_of!(SkLookup, protocol) == PROTOCOL as usize);
        assert!(offset_of!(SkLookup, remote_ip4) == REMOTE_IP4 as usize);
        assert!(offset_of!(SkLookup, remote_ip6) == REMOTE_IP6 as usize);
        assert!(offset_of!(SkLookup, remote_port) == REMOTE_PORT as usize);
        assert!(offset_of!(SkLookup, local_ip4) == LOCAL_IP4 as usize);
        assert!(offset_of!(SkLookup, local_ip6) == LOCAL_IP6 as usize);
        assert!(offset_of!(SkLookup, local_port) == LOCAL_PORT as usize);
        assert!(offset_of!(SkLookup, ingress_ifindex) == INGRESS_IFINDEX as usize);
    };
}
