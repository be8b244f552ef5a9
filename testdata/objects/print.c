/* What developers leave in their programs: lines for the trace of the kernel, which only programs under the GPL may write. */
#include "bpf.h"

static const char format[] = "port %d from %pI4 is %s";

SEC("sk_lookup")
int closed(struct bpf_sk_lookup *ctx)
{
	static const char name[] = "closed";
	u32 from = ctx->remote_ip4;

	if (ctx->local_port != 7007)
		return SK_PASS;
	bpf_trace_printk(format, sizeof(format), ctx->local_port, &from, name);
	return SK_DROP;
}

LICENSE("GPL");
