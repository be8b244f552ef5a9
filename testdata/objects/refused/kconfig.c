/* A setting of the kernel that the program is loaded into. */
#include "../bpf.h"

extern u32 CONFIG_HZ OF_KERNEL(".kconfig");

SEC("sk_lookup")
int hz(struct bpf_sk_lookup *ctx)
{
	return ctx->local_port == CONFIG_HZ ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
