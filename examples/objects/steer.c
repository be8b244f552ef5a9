/* Every TCP port of a prefix goes to one server, but for port 22. Compile with
 *
 *     clang -target bpf -O2 -g -c steer.c -o steer.o
 *
 * Nothing is included, so that nothing has to be installed. With <linux/bpf.h> and libbpf's <bpf/bpf_helpers.h> the first part
 * goes away, and the maps are written with __uint and __type. */

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))

struct bpf_sk_lookup {
	u64 sk;
	u32 family;
	u32 protocol;
	u32 remote_ip4; /* network order */
	u32 remote_ip6[4];
	u16 remote_port; /* network order */
	u16 zero;
	u32 local_ip4; /* network order */
	u32 local_ip6[4];
	u32 local_port; /* host order */
	u32 ingress_ifindex;
};

enum { SOCKMAP = 15, SK_DROP = 0, SK_PASS = 1, IPV4 = 2, TCP = 6 };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_sk_release)(void *socket) = (void *)86;
static long (*const bpf_sk_assign)(void *ctx, void *socket, u64 flags) = (void *)124;

/* The program. */

struct {
	int (*type)[SOCKMAP];
	int (*max_entries)[1];
	u32 *key;
	u64 *value;
} server SEC(".maps");

/* 192.0.2.0/24 unless whoever loads it says otherwise; in host order. */
const volatile u32 prefix = 0xc0000200;
const volatile u32 mask = 0xffffff00;

u64 refused;

SEC("sk_lookup/steer")
int steer(struct bpf_sk_lookup *ctx)
{
	u32 first = 0;
	void *socket;
	long failed;

	if (ctx->family != IPV4 || ctx->protocol != TCP || ctx->local_port == 22)
		return SK_PASS;
	if ((__builtin_bswap32(ctx->local_ip4) & mask) != prefix)
		return SK_PASS;
	socket = bpf_map_lookup_elem(&server, &first);
	if (!socket) {
		/* Nobody may get what is meant for the server. */
		__sync_fetch_and_add(&refused, 1);
		return SK_DROP;
	}
	failed = bpf_sk_assign(ctx, socket, 0);
	bpf_sk_release(socket);
	return failed ? SK_DROP : SK_PASS;
}

char license_of_all[] SEC("license") = "Dual MIT/GPL";
