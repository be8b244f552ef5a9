/* A value with a spin lock, which the kernel finds by the type of the value, and a map that asks to be pinned. */
#include "bpf.h"

struct bpf_spin_lock {
	u32 val;
};

struct counted {
	struct bpf_spin_lock lock;
	u32 packets;
};

struct {
	NUMBER(type, ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(pinning, PIN_BY_NAME);
	TYPE(key, u32);
	TYPE(value, struct counted);
} counts SEC(".maps");

SEC("sk_lookup")
int every_other(struct bpf_sk_lookup *ctx)
{
	struct counted *count;
	u32 zero = 0, packets;

	count = bpf_map_lookup_elem(&counts, &zero);
	if (!count)
		return SK_PASS;
	bpf_spin_lock(&count->lock);
	packets = ++count->packets;
	bpf_spin_unlock(&count->lock);
	return packets % 2 ? SK_PASS : SK_DROP;
}

LICENSE("Dual MIT/GPL");
