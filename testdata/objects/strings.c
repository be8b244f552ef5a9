/* Constants that the compiler finds a place for: a string, and a table with an index. */
#include "bpf.h"

static const char digits[] = "0123456789abcdef";

/* TCP to port 7007 is dropped, by its name in hexadecimal. */
SEC("sk_lookup")
int by_name(struct bpf_sk_lookup *ctx)
{
	u32 port = ctx->local_port;
	char name[5] = {};

	for (int place = 3; place >= 0; place--) {
		name[place] = digits[port & 15];
		port >>= 4;
	}
	return bpf_strncmp(name, sizeof(name), "1b5f") ? SK_PASS : SK_DROP;
}

LICENSE("Dual MIT/GPL");
