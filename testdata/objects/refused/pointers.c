/* A global that holds the addresses of others. */
#include "../bpf.h"

u32 ports[] = { 80, 443 };
u32 *volatile chosen = &ports[1];

SEC("sk_lookup")
int port(struct bpf_sk_lookup *ctx)
{
	return ctx->local_port == *chosen ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
