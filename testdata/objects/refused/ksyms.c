/* A function of the kernel that is no helper. */
#include "../bpf.h"

extern void *bpf_cast_to_kern_ctx(void *ctx) OF_KERNEL(".ksyms");

SEC("sk_lookup")
int cast(struct bpf_sk_lookup *ctx)
{
	return bpf_cast_to_kern_ctx(ctx) ? SK_PASS : SK_DROP;
}

LICENSE("Dual MIT/GPL");
