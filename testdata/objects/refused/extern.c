/* A function of another file. */
#include "../bpf.h"

int elsewhere(struct bpf_sk_lookup *ctx);

SEC("sk_lookup")
int here(struct bpf_sk_lookup *ctx)
{
	return elsewhere(ctx);
}

LICENSE("Dual MIT/GPL");
