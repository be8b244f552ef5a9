/* What the programs here need of BPF, written down from the kernel's user-space interface: nothing else has to be installed.
 * Programs of your own may as well include <linux/bpf.h> and libbpf's <bpf/bpf_helpers.h>; the objects come out alike. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define OF_KERNEL(name) __attribute__((section(name)))
#define LICENSE(words) char _license[] SEC("license") = words

/* The fields of a map's definition: numbers travel as lengths of arrays, types as pointers. */
#define NUMBER(field, value) int (*field)[value]
#define TYPE(field, type) type *field
#define VALUES(type) __typeof__(type) *values[]

enum map_type {
	HASH = 1,
	ARRAY = 2,
	PROG_ARRAY = 3,
	PERCPU_ARRAY = 6,
	LPM_TRIE = 11,
	ARRAY_OF_MAPS = 12,
	SOCKMAP = 15,
	SOCKHASH = 18,
	REUSEPORT_SOCKARRAY = 20,
	QUEUE = 22,
	RINGBUF = 27,
};

enum { NO_PREALLOC = 1 };
enum { PIN_BY_NAME = 1 };
enum { SK_DROP = 0, SK_PASS = 1 };
enum { FAMILY_IPV4 = 2, FAMILY_IPV6 = 10 };
enum { TCP = 6, UDP = 17 };

/* The context of an sk_lookup program. Addresses and the remote port are in network order, the local port in host order. */
struct bpf_sk_lookup {
	u64 sk;
	u32 family;
	u32 protocol;
	u32 remote_ip4;
	u32 remote_ip6[4];
	u16 remote_port;
	u16 zero;
	u32 local_ip4;
	u32 local_ip6[4];
	u32 local_port;
	u32 ingress_ifindex;
};

/* The context of an sk_reuseport program. */
struct sk_reuseport_md {
	void *data;
	void *data_end;
	u32 len;
	u32 eth_protocol;
	u32 ip_protocol;
	u32 bind_inany;
	u32 hash;
};

#define HELPER(number, result, name, ...) static result (*const name)(__VA_ARGS__) = (void *)number
HELPER(1, void *, bpf_map_lookup_elem, void *map, const void *key);
HELPER(6, long, bpf_trace_printk, const char *format, u32 length, ...);
HELPER(12, long, bpf_tail_call, void *ctx, void *map, u32 index);
HELPER(82, long, bpf_sk_select_reuseport, struct sk_reuseport_md *ctx, void *map, void *key, u64 flags);
HELPER(86, long, bpf_sk_release, void *sk);
HELPER(87, long, bpf_map_push_elem, void *map, const void *value, u64 flags);
HELPER(93, long, bpf_spin_lock, void *lock);
HELPER(94, long, bpf_spin_unlock, void *lock);
HELPER(124, long, bpf_sk_assign, void *ctx, void *sk, u64 flags);
HELPER(131, void *, bpf_ringbuf_reserve, void *ringbuf, u64 size, u64 flags);
HELPER(132, void, bpf_ringbuf_submit, void *data, u64 flags);
HELPER(164, long, bpf_for_each_map_elem, void *map, void *callback, void *ctx, u64 flags);
HELPER(181, long, bpf_loop, u32 times, void *callback, void *ctx, u64 flags);
HELPER(182, long, bpf_strncmp, const char *text, u32 size, const char *constant);

#define NOINLINE __attribute__((noinline))
