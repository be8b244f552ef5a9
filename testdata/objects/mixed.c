/* A program of ours beside one of another type, which has a map of a type that no program of ours can use. */
#include "bpf.h"

struct {
	NUMBER(type, QUEUE);
	NUMBER(max_entries, 8);
	TYPE(value, u32);
} queue SEC(".maps");

SEC("xdp")
int trace(void *ctx)
{
	u32 value = 1;

	bpf_map_push_elem(&queue, &value, 0);
	return 2;
}

SEC("sk_lookup")
int port_80(struct bpf_sk_lookup *ctx)
{
	return ctx->local_port == 80 ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
