/* Maps in a map, filled as the object says: a prefix of ports has a SOCKMAP of its own. */
#include "bpf.h"

struct tenant {
	NUMBER(type, SOCKMAP);
	NUMBER(max_entries, 2);
	NUMBER(key_size, 4);
	NUMBER(value_size, 8);
};

struct tenant red SEC(".maps"), blue SEC(".maps");

struct {
	NUMBER(type, ARRAY_OF_MAPS);
	NUMBER(max_entries, 4);
	NUMBER(key_size, 4);
	VALUES(struct tenant);
} tenants SEC(".maps") = {
	.values = { [0] = &red, [2] = &blue },
};

SEC("sk_lookup")
int tenant_of_port(struct bpf_sk_lookup *ctx)
{
	u32 tenant = (ctx->local_port - 7000) / 100, member = ctx->local_port % 2;
	void *map, *socket;
	long failed;

	map = bpf_map_lookup_elem(&tenants, &tenant);
	if (!map)
		return SK_PASS;
	socket = bpf_map_lookup_elem(map, &member);
	if (!socket)
		return SK_DROP;
	failed = bpf_sk_assign(ctx, socket, 0);
	bpf_sk_release(socket);
	return failed ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
