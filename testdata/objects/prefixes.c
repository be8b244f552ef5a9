/* The longest prefix of the destination says which service it is, a hash has the socket of the service, and each packet that
 * is steered leaves a record in a ring buffer. What can be set before loading is in globals. */
#include "bpf.h"

struct prefix {
	u32 length; /* bits */
	u8 address[4];
};

struct {
	NUMBER(type, LPM_TRIE);
	NUMBER(max_entries, 64);
	NUMBER(map_flags, NO_PREALLOC);
	TYPE(key, struct prefix);
	TYPE(value, u32);
} services SEC(".maps");

struct {
	NUMBER(type, SOCKHASH);
	NUMBER(max_entries, 64);
	NUMBER(key_size, sizeof(u32));
	NUMBER(value_size, sizeof(u64));
} sockets SEC(".maps");

struct record {
	u32 service;
	u32 local_port;
};

struct {
	NUMBER(type, RINGBUF);
	NUMBER(max_entries, 4096);
} records SEC(".maps");

/* Set before the program is loaded; constant for the verifier. */
const volatile u16 first_port = 1;
const volatile u16 last_port = 65535;

/* Read and written while it runs. */
u64 steered;
u64 left[2];
u32 default_service = 1;

SEC("sk_lookup")
int prefixes(struct bpf_sk_lookup *ctx)
{
	struct prefix to = { .length = 32 };
	struct record *record;
	u32 service, *found;
	void *socket;
	long failed;

	if (ctx->family != FAMILY_IPV4 || ctx->local_port < first_port || ctx->local_port > last_port) {
		left[ctx->protocol == UDP] += 1;
		return SK_PASS;
	}
	*(u32 *)to.address = ctx->local_ip4;
	found = bpf_map_lookup_elem(&services, &to);
	service = found ? *found : default_service;
	socket = bpf_map_lookup_elem(&sockets, &service);
	if (!socket)
		return SK_DROP;
	failed = bpf_sk_assign(ctx, socket, 0);
	bpf_sk_release(socket);
	if (failed)
		return SK_DROP;
	__sync_fetch_and_add(&steered, 1);
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (record) {
		record->service = service;
		record->local_port = ctx->local_port;
		bpf_ringbuf_submit(record, 0);
	}
	return SK_PASS;
}

LICENSE("Dual MIT/GPL");
