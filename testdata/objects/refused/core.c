/* A field is read wherever the running kernel has it. */
#include "../bpf.h"

struct bpf_sk_lookup_of_the_kernel {
	u16 family;
	u16 protocol;
} __attribute__((preserve_access_index));

SEC("sk_lookup")
int family(struct bpf_sk_lookup_of_the_kernel *ctx)
{
	return ctx->protocol == TCP ? SK_PASS : SK_DROP;
}

LICENSE("Dual MIT/GPL");
