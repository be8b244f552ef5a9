/* Helpers that call back: a loop over the members of a service, and a walk over a hash of ports that are closed. */
#include "bpf.h"

struct {
	NUMBER(type, SOCKMAP);
	NUMBER(max_entries, 8);
	TYPE(key, u32);
	TYPE(value, u64);
} members SEC(".maps");

struct {
	NUMBER(type, HASH);
	NUMBER(max_entries, 16);
	TYPE(key, u32);
	TYPE(value, u32);
} closed SEC(".maps");

struct search {
	struct bpf_sk_lookup *ctx;
	int found;
};

static long try_member(u32 slot, struct search *search)
{
	void *socket = bpf_map_lookup_elem(&members, &slot);

	if (!socket)
		return 0;
	search->found = bpf_sk_assign(search->ctx, socket, 0) == 0;
	bpf_sk_release(socket);
	return search->found;
}

struct port {
	u32 port;
	int closed;
};

static long is_closed(void *map, const u32 *from, u32 *to, struct port *asked)
{
	asked->closed = asked->port >= *from && asked->port <= *to;
	return asked->closed;
}

SEC("sk_lookup")
int first_member(struct bpf_sk_lookup *ctx)
{
	struct search search = { .ctx = ctx };
	struct port asked = { .port = ctx->local_port };

	bpf_for_each_map_elem(&closed, is_closed, &asked, 0);
	if (asked.closed)
		return SK_DROP;
	bpf_loop(8, try_member, &search, 0);
	return search.found ? SK_PASS : SK_DROP;
}

LICENSE("Dual MIT/GPL");
