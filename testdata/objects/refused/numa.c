/* A map that asks for the memory of one node. */
#include "../bpf.h"

struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(numa_node, 1);
	TYPE(key, u32);
	TYPE(value, u32);
} array SEC(".maps");

SEC("sk_lookup")
int first(struct bpf_sk_lookup *ctx)
{
	u32 *value = bpf_map_lookup_elem(&array, &(u32){ 0 });

	return value && *value ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
