/* The older way to define a map, which aya still takes: a struct of numbers in the section `maps`, here with the two fields that
 * aya has behind the five of everybody. */
#include "bpf.h"

struct bpf_map_def {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
	u32 id;
	u32 pinning;
};

struct bpf_map_def sockets SEC("maps") = {
	.type = SOCKMAP,
	.key_size = sizeof(u32),
	.value_size = sizeof(u64),
	.max_entries = 1,
};

struct bpf_map_def packets SEC("maps") = {
	.type = ARRAY,
	.key_size = sizeof(u32),
	.value_size = sizeof(u64),
	.max_entries = 1,
	.pinning = PIN_BY_NAME,
};

SEC("sk_lookup/legacy")
int legacy(struct bpf_sk_lookup *ctx)
{
	u32 slot = 0;
	void *socket;
	u64 *count;
	long failed;

	count = bpf_map_lookup_elem(&packets, &slot);
	if (count)
		*count += 1;
	socket = bpf_map_lookup_elem(&sockets, &slot);
	if (!socket)
		return SK_PASS;
	failed = bpf_sk_assign(ctx, socket, 0);
	bpf_sk_release(socket);
	return failed ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
