/* A map of a type that is not supported, in use. */
#include "../bpf.h"

struct {
	NUMBER(type, QUEUE);
	NUMBER(max_entries, 8);
	NUMBER(key_size, 0);
	TYPE(value, u32);
} queue SEC(".maps");

SEC("sk_lookup")
int push(struct bpf_sk_lookup *ctx)
{
	return bpf_map_push_elem(&queue, &(u32){ 1 }, 0) ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
