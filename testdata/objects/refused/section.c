/* A variable in a section of its own name. */
#include "../bpf.h"

volatile u32 port SEC("settings") = 80;

SEC("sk_lookup")
int refuse(struct bpf_sk_lookup *ctx)
{
	return ctx->local_port == port ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
