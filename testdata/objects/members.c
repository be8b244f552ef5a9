/* Picks the member of an SO_REUSEPORT group: always the one under key 1. */
#include "bpf.h"

struct {
	NUMBER(type, REUSEPORT_SOCKARRAY);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	TYPE(value, u64);
} group SEC(".maps");

SEC("sk_reuseport/members")
int members(struct sk_reuseport_md *ctx)
{
	u32 key = 1;

	return bpf_sk_select_reuseport(ctx, &group, &key, 0) ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
