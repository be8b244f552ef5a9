/* TCP and UDP to port 7007 goes to the socket in slot 0, to port 7008 to the one in slot 1; without one it is dropped. */
#include "bpf.h"

struct {
	NUMBER(type, SOCKMAP);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	TYPE(value, u64);
} sockets SEC(".maps");

SEC("sk_lookup/assign")
int assign(struct bpf_sk_lookup *ctx)
{
	u32 slot = ctx->local_port - 7007;
	void *socket;
	long failed;

	if (slot > 1)
		return SK_PASS;
	socket = bpf_map_lookup_elem(&sockets, &slot);
	if (!socket)
		return SK_DROP;
	failed = bpf_sk_assign(ctx, socket, 0);
	bpf_sk_release(socket);
	return failed ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
