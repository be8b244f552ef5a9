/* Chooses where a request goes whose listener is closed. */
#include "../bpf.h"

SEC("sk_reuseport/migrate")
int migrate(struct sk_reuseport_md *ctx)
{
	return SK_PASS;
}

LICENSE("Dual MIT/GPL");
