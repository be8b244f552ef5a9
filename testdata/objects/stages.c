/* Two programs of one section and two more in theirs: the first jumps to the one that its protocol has in `stages`, which is
 * filled as the object says. Functions of all kinds: global and static, in .text and in a program's own section. */
#include "bpf.h"

int tcp(struct bpf_sk_lookup *ctx);
int udp(struct bpf_sk_lookup *ctx);

struct {
	NUMBER(type, SOCKMAP);
	NUMBER(max_entries, 4);
	NUMBER(key_size, 4);
	NUMBER(value_size, 8);
} sockets SEC(".maps");

struct {
	NUMBER(type, PROG_ARRAY);
	NUMBER(max_entries, 18);
	TYPE(key, u32);
	VALUES(int (struct bpf_sk_lookup *));
} stages SEC(".maps") = {
	.values = { [TCP] = &tcp, [UDP] = &udp },
};

/* Static functions: the verifier follows them from their callers. */
static NOINLINE u32 distance(u32 port, u32 from)
{
	return port < from ? ~0u : port - from;
}

static NOINLINE int select(struct bpf_sk_lookup *ctx, u32 slot)
{
	void *socket;
	long failed;

	if (slot > 3)
		return SK_PASS;
	socket = bpf_map_lookup_elem(&sockets, &slot);
	if (!socket)
		return SK_DROP;
	failed = bpf_sk_assign(ctx, socket, 0);
	bpf_sk_release(socket);
	return failed ? SK_DROP : SK_PASS;
}

/* A global function: the verifier looks at it by itself. */
NOINLINE u32 slot_of(u32 port, u32 base)
{
	return distance(port, base);
}

/* A static function in the section of a program. */
SEC("sk_lookup/tcp")
static NOINLINE u32 tcp_base(u32 family)
{
	return family == FAMILY_IPV6 ? 7100 : 7000;
}

SEC("sk_lookup/tcp")
int tcp(struct bpf_sk_lookup *ctx)
{
	return select(ctx, slot_of(ctx->local_port, tcp_base(ctx->family)));
}

SEC("sk_lookup/udp")
int udp(struct bpf_sk_lookup *ctx)
{
	return select(ctx, slot_of(ctx->local_port, 7002));
}

SEC("sk_lookup")
int entry(struct bpf_sk_lookup *ctx)
{
	bpf_tail_call(ctx, &stages, ctx->protocol);
	return SK_DROP;
}

SEC("sk_lookup")
int refuse(struct bpf_sk_lookup *ctx)
{
	return slot_of(ctx->local_port, 7000) < 4 ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
