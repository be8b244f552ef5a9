/* A map of maps in the older section, which has no room for what the inner maps look like. */
#include "../bpf.h"

struct {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
} tenants SEC("maps") = { ARRAY_OF_MAPS, 4, 4, 1, 0 };

SEC("sk_lookup")
int first(struct bpf_sk_lookup *ctx)
{
	return bpf_map_lookup_elem(&tenants, &(u32){ 0 }) ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
