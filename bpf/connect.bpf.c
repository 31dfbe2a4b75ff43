/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* connect.bpf.c - steers connect() and datagrams to a backend. A destination that is a frontend is
 * replaced by the address and port of a backend that is up; what was dialled and what was chosen
 * stay in `connections` (of single datagrams in the socket's storage), from which recvmsg and
 * getpeername show the virtual address again. A destination that is no frontend costs one lookup,
 * and a look at what the socket remembers. */
#include "cast.h"
#include "connect_config.h"
#include "connections.h"
#include "failed.h"
#include "flow.h"
#include "left_out.h"
#include "likely.h"
#include "waymark/affinity.h"
#include "waymark/choose.h"
#include "waymark/refusal.h"
#define WM_CUSTOM_CALLER 1
#include "custom.h"
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "Dual BSD/GPL";

/* Of one run of the programs, in no layout. The loader makes it as large as sets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wm_refusals);
} refusals SEC(".maps");

#define ALLOW  1
#define REFUSE 0

/* One decision: what was dialled, what is wanted, what was chosen. */
struct dial {
	__be32 vip_be[4];
	__be16 port_be;
	__u8 proto;
	__u8 reason; /* WM_REASON_* */
	__u8 told;   /* enum wm_flow_verdict: what who watches is told */
	__u8 bare;   /* what is_bare() said of the socket, before it was given a cookie */
	__u32 set;
	__u64 cookie; /* the socket's; of datagrams with a destination of their own: not set */
	struct wm_ask ask;
	struct wm_table table;
	struct wm_choice choice;
	union {
		struct wm_order order; /* of a scan */
		struct wm_custom_ask custom;
		struct wm_scores scores; /* of a draw of two */
	};
};

struct scan {
	struct dial *dial;
	__u32 start; /* place of the first in its tier */
	int result;  /* enum wm_pick */
};

/** Take backend @p index of @p stamp if it is what @p d asks for. A global function, as those
 * below: the verifier walks each once by itself and not once for every state of its callers. */
__noinline int take(struct dial *d, __u32 index, __u32 stamp)
{
	struct wm_lead l = {index, stamp};

	if (!d)
		return 0;
	return wm_take_asked(NULL, &l, &d->ask, &d->choice);
}

/** Step @p i of a scan that began at place @p start. Everything is compared in here: in the loop of
 * who calls it, each comparison would double what the verifier has to follow.
 * @return WM_PICK_MORE to go on. */
__noinline int scan_slot(struct dial *d, __u32 start, __u32 i)
{
	__u32 place = start + i;
	int p;

	if (!d || i >= d->ask.count)
		return WM_PICK_NONE;
	if (place >= d->ask.count)
		place -= d->ask.count;
	p = wm_scan_step(NULL, &d->table, d->ask.first + place, &d->ask, &d->order, &d->choice);
	if (p == WM_PICK_TORN)
		return p;
	return wm_scan_ends(&d->table, &d->order, i) ? WM_PICKED : WM_PICK_MORE;
}

static long scan_one(__u64 i, void *arg)
{
	struct scan *s = arg;

	s->result = scan_slot(s->dial, s->start, (__u32)i);
	return s->result != WM_PICK_MORE;
}

/** Look at the slots where few of many are up: the draw is by weight among those. */
static __always_inline int scan_all(struct dial *d)
{
	struct scan s = {.dial = d, .result = WM_PICK_MORE};

	d->order.random = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
	d->order.total = 0;
	s.start = wm_scan_start(&d->table, &d->ask, bpf_get_prandom_u32());
	if (use_bpf_loop) {
		bpf_loop(d->ask.count, scan_one, &s, 0);
	} else {
		for (__u32 i = 0; i < WM_SCAN_BOUNDED; i++)
			if (scan_one(i, &s))
				break;
	}
	if (s.result == WM_PICK_TORN)
		return WM_PICK_TORN;
	return d->order.total ? WM_PICKED : WM_PICK_NONE;
}

/** The operator's function is linked in the place of this one. */
__weak __noinline int wm_custom(struct wm_custom_ask *ask)
{
	return -1;
}

/** Place that the operator's function chooses at try @p i. @return negative: none of the tier's. */
static __always_inline int custom_place(struct dial *d, __u32 i)
{
	int place;

	d->custom = (struct wm_custom_ask){
		.key = d->ask.key,
		.random = bpf_get_prandom_u32(),
		.attempt = i,
		.first = d->table.head.first + d->ask.first,
		.count = d->ask.count,
		.set = d->set,
		.families = d->ask.families & (WM_FAMILY_4 | WM_FAMILY_6),
	};
	place = wm_custom(&d->custom);
	if (place >= 0 && (__u32)place < d->ask.count)
		return place;
	COUNT(counters_get(), connect_custom_none);
	return -1;
}

/** Datagram sockets have turns of their own: the C library connects two of them before a stream, to
 * sort the addresses of a name, and of three backends one would have all streams.
 *  @return negative: the turn is the table's. */
static __always_inline int place_in_turn(struct dial *d)
{
	__u32 set = d->set; /* Linux 6.1 takes a key of the stack's */
	struct wm_refusals *r =
		d->proto == IPPROTO_UDP ? bpf_map_lookup_elem(&refusals, &set) : NULL;

	return r ? (int)(__sync_fetch_and_add(&r->turn, 1) % d->ask.count) : -1;
}

/** Try @p i to choose a backend. @return WM_PICKED with d->choice, WM_PICK_MORE or TORN. */
__noinline int try(struct dial *d, __u32 i)
{
	struct wm_lead l = {0, 0};
	__u64 random = bpf_get_prandom_u32();
	int place = -1;

	if (!d || !d->ask.count)
		return WM_PICK_MORE;
	if (use_custom && d->table.head.balance == WM_BALANCE_CUSTOM)
		place = custom_place(d, i);
	if (d->table.head.balance == WM_BALANCE_ROUND_ROBIN)
		place = place_in_turn(d);
	if (place >= 0) {
		if (wm_draw_at(NULL, &d->table, d->ask.first + place, 0, &l) != WM_PICKED)
			return WM_PICK_TORN;
		return take(d, l.backend, l.stamp) ? WM_PICKED : WM_PICK_MORE;
	}
	if (d->table.head.balance == WM_BALANCE_LEAST_CONNECTIONS ||
	    d->table.head.balance == WM_BALANCE_PEAK_EWMA)
		random |= (__u64)bpf_get_prandom_u32() << 32;
	if (wm_draw_by(NULL, &d->table, &d->ask, i, random, &l, &d->scores) != WM_PICKED)
		return WM_PICK_TORN;
	return take(d, l.backend, l.stamp) ? WM_PICKED : WM_PICK_MORE;
}

/** Choose a backend of tier d->ask.tier. @return WM_PICKED with d->choice, NONE or TORN. */
__noinline int pick_in_tier(struct dial *d)
{
	int p;

	if (!d)
		return WM_PICK_NONE;
	d->reason = WM_REASON_DRAW;
	d->ask.count = wm_tier_slots(&d->table.head, d->ask.tier, &d->ask.first);
	if (!d->ask.count)
		return WM_PICK_NONE;
	for (__u32 i = 0; i < WM_PICK_TRIES; i++) {
		p = try(d, i);
		if (p != WM_PICK_MORE)
			return p;
	}
	if (!wm_ask_scans(NULL, &d->table, &d->ask))
		return WM_PICK_NONE;
	d->reason = WM_REASON_SCAN;
	return scan_all(d);
}

/** Nobody was usable: is there less to ask for? */
__noinline int ask_less(struct dial *d)
{
	return d ? wm_ask_less(NULL, &d->table, &d->ask) : 0;
}

/** Choose a backend of d->set. @return WM_PICKED with d->choice, NONE or TORN. */
__noinline int pick(struct dial *d)
{
	__u32 tiers;
	int p;

	if (!d)
		return WM_PICK_NONE;
	wm_ask_begin(NULL, &d->table, &d->ask);
	tiers = d->table.head.tiers;
	for (int less = 0; less < 2; less++) {
		wm_ask_tier(NULL, &d->table, tiers > 1 ? bpf_get_prandom_u32() : 0, &d->ask);
		for (__u32 k = 0; k < WM_TIERS_MAX; k++) {
			if (k >= tiers)
				break;
			p = pick_in_tier(d);
			if (p != WM_PICK_NONE)
				return p;
			d->ask.tier = d->ask.tier + 1 < tiers ? d->ask.tier + 1 : 0;
		}
		if (!ask_less(d))
			break;
	}
	return WM_PICK_NONE;
}

#include "keep.h"

/** The entry of @p key, twice if it changed while it was read. @return WM_PICKED; WM_PICK_NONE:
 *  there is none; WM_PICK_TORN. */
static __always_inline int
wm_frontend_at(const struct wm_view *v, const struct wm_frontend_key *key, struct wm_frontend *ret)
{
	const struct wm_frontend *e;

	for (int i = 0; i < 2; i++) {
		e = bpf_map_lookup_elem(&frontends, key);
		if (!e)
			return WM_PICK_NONE;
		if (wm_frontend_read(e, key, ret))
			return WM_PICKED;
		COUNT(counters_get(), connect_torn);
	}
	return WM_PICK_TORN;
}

#include "waymark/frontend.h"

static __always_inline bool is_virtual(const struct dial *d)
{
	const struct wm_virtual r = {
		vip4_base_be, vip4_mask_be, {vip6_prefix_be[0], vip6_prefix_be[1]}};

	return wm_is_virtual(&r, d->vip_be);
}

static __always_inline __be16 chosen_port(const struct dial *d)
{
	return d->choice.port_be ? d->choice.port_be : d->port_be;
}

static __always_inline void remember(struct wm_origin *o, const struct dial *d)
{
	__builtin_memcpy(o->vip_be, d->vip_be, sizeof(o->vip_be));
	__builtin_memcpy(o->backend_be, d->choice.addr_be, sizeof(o->backend_be));
	o->vip_port_be = d->port_be;
	o->backend_port_be = chosen_port(d);
	o->backend = d->choice.backend;
	o->state = d->choice.state;
	o->set = d->set;
	o->time_ns = d->ask.now_ns;
}

static __always_inline bool same4(const __be32 a[4], const __be32 b[4])
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

/** What the client is told apart by, as the set says. */
static __always_inline __u64 key_of(struct bpf_sock_addr *ctx, __u32 hash_on)
{
	if (hash_on == WM_HASH_ON_NETNS && use_netns_cookie)
		return bpf_get_netns_cookie(ctx);
	if (hash_on == WM_HASH_ON_CGROUP && use_cgroup_id)
		return bpf_get_current_cgroup_id();
	if (hash_on == WM_HASH_ON_UID)
		return (__u32)bpf_get_current_uid_gid();
	return bpf_get_socket_cookie(ctx);
}

/** Choose a backend of the table, or stay with the client's. */
static __always_inline int pick_kept(struct bpf_sock_addr *ctx, struct dial *d)
{
	__u32 by = d->table.head.flags & WM_HEAD_AFFINITY;
	__u64 client;
	int p;

	if (!by || !d->table.head.affinity_s)
		return pick(d);
	client = key_of(ctx, by - 1);
	if (keep(d, client) == WM_PICKED)
		return WM_PICKED;
	p = pick(d);
	if (p == WM_PICKED)
		keep_for(d, client);
	return p;
}

/** Begin to read what is written to when the first backend of set @p set is taken, as
 * wm_table_load() does of the backend itself. */
static __always_inline void live_ahead(__u32 set)
{
	const struct wm_backend_live *live = wm_at_backend_live(NULL, set);

	if (live)
		(void)WM_READ(live->open);
}

/** Choose, twice if the set was republished meanwhile. Counts. @return WM_PICKED; WM_PICK_NONE;
 *  WM_PICK_MORE: none, and the set lets the call pass; WM_PICK_TORN. */
static __always_inline int choose(struct bpf_sock_addr *ctx, struct dial *d, struct wm_counters *n)
{
	int p = WM_PICK_TORN;

	live_ahead(d->set);
	for (int i = 0; i < 2; i++) {
		p = wm_table_load(NULL, d->set, &d->table);
		if (p == WM_PICKED) {
			if (d->table.head.balance == WM_BALANCE_MAGLEV || use_custom)
				d->ask.key = key_of(ctx, d->table.head.hash_on);
			p = pick_kept(ctx, d);
			if (p == WM_PICK_NONE && d->table.head.when_none == WM_NONE_PASS)
				return WM_PICK_MORE;
		}
		if (p != WM_PICK_TORN)
			return p;
		if (!i)
			COUNT(n, connect_torn);
	}
	return p;
}

/** A loopback address leads a pod to itself. */
static __always_inline __u32 excluded(struct bpf_sock_addr *ctx)
{
	return home_netns && bpf_get_netns_cookie(ctx) != home_netns ? WM_NOT_LOOPBACK : 0;
}

/** A decision begins: nobody else's destination comes here. */
static __always_inline void begin(struct bpf_sock_addr *ctx, struct dial *d)
{
	__u32 families = d->ask.families;

	__builtin_memset(&d->table, 0, sizeof(d->table));
	__builtin_memset(&d->choice, 0, sizeof(d->choice));
	__builtin_memset(&d->custom, 0, sizeof(d->custom)); /* the largest of them */
	d->ask = (struct wm_ask){
		.now_ns = bpf_ktime_get_boot_ns(),
		.families = families | excluded(ctx),
		.states = WM_ASK_UP,
		.prefer6 = true,
	};
}

static __always_inline int refuse(void)
{
	if (use_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return REFUSE; /* EPERM where bpf_set_retval is missing (< 5.18) */
}

/** Count why nobody of the set was taken. A set that is another service's now begins anew. */
__noinline int note_refusal(struct dial *d, __u32 torn)
{
	const struct wm_set_live *l;
	const struct wm_set *s;
	struct wm_refusals *r;
	__u32 set, why;

	if (!d)
		return 0;
	set = d->set;
	s = wm_at_set(NULL, set);
	l = wm_at_set_live(NULL, set);
	r = bpf_map_lookup_elem(&refusals, &set);
	if (!s || !l || !r)
		return 0;
	if (WM_READ(r->service) != WM_READ(s->service)) {
		__builtin_memset(r->count, 0, sizeof(r->count));
		WM_WRITE(r->service, s->service);
	}
	why = torn ? WM_REFUSAL_TORN
		   : wm_refusal_of(d->table.word.generation, d->choice.passed_over, WM_READ(l->up4),
				   WM_READ(l->up6), WM_READ(l->ejected), d->ask.families);
	if (why < WM_REFUSAL_PLACES)
		__sync_fetch_and_add(&r->count[why], 1);
	return 0;
}

/** The protocols that are steered; the type decides between stream and datagram ports. */
static __always_inline bool steered(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP ||
	       ctx->protocol == IPPROTO_MPTCP;
}

static __always_inline struct wm_socket_origin *recorded(void *sk, __u64 flags)
{
	return bpf_sk_storage_get(&socket_origin, sk, NULL, flags);
}

/** The same, to be written to. Indexes into tables that are gone are made void; the addresses stay,
 * for they are still shown. */
static __always_inline struct wm_socket_origin *recorded_now(void *sk)
{
	struct wm_socket_origin *o = recorded(sk, BPF_SK_STORAGE_GET_F_CREATE);

	if (!o || o->tables == tables_id)
		return o;
	for (int i = 0; i <= WM_UDP_RING; i++)
		o->at[i].backend = WM_NO_BACKEND;
	o->tables = tables_id;
	return o;
}

/** Multipath TCP dials by its first subflow, while the application asks the socket that it holds.
 * NULL: not such a socket, or a further subflow, which the kernel dials by itself. */
static __always_inline struct mptcp_sock *held_by(struct bpf_sock_addr *ctx)
{
	struct mptcp_sock *m;

	if (!use_mptcp || ctx->type != SOCK_STREAM)
		return NULL;
	m = bpf_skc_to_mptcp_sock(ctx->sk);
	return m && (void *)m->first == (void *)ctx->sk ? m : NULL;
}

static __always_inline void forget_stored(void *sk)
{
	struct wm_socket_origin *o = recorded(sk, 0);

	if (o)
		o->at[0].time_ns = 0;
}

/** A socket may be connected again, to a backend itself: it then shows that. */
static __always_inline void forget(struct bpf_sock_addr *ctx)
{
	struct mptcp_sock *m = held_by(ctx);
	struct wm_connection *c = NULL;
	int bare = is_bare(ctx);

	if (!(bare & NO_COOKIE))
		c = connection_of(bpf_get_socket_cookie(ctx));
	if (c)
		connection_end(c);
	if (!(bare & KEEPS_NOTHING))
		forget_stored(ctx->sk);
	if (m)
		forget_stored(m);
}

/** The same for single datagrams: an answer is from whom was asked last. */
static __always_inline void forget_datagram(struct bpf_sock_addr *ctx, const struct dial *d)
{
	struct wm_socket_origin *o = is_bare(ctx) & KEEPS_NOTHING ? NULL : recorded(ctx->sk, 0);

	for (int i = 1; o && i <= WM_UDP_RING; i++)
		if (o->at[i].backend_port_be == d->port_be && same4(o->at[i].backend_be, d->vip_be))
			o->at[i].time_ns = 0;
}

/** The same in `connections`. @return false: it cannot be. */
static __always_inline bool remember_here(struct bpf_sock_addr *ctx, const struct dial *d)
{
	struct wm_connection *c = connection_claim(d->cookie, d->bare & NO_COOKIE);

	if (!c)
		return false;
	connection_end(c); /* it may have been connected before */
	__builtin_memcpy(c->vip_be, d->vip_be, sizeof(c->vip_be));
	__builtin_memcpy(c->backend_be, d->choice.addr_be, sizeof(c->backend_be));
	c->vip_port_be = d->port_be;
	c->backend_port_be = chosen_port(d);
	c->backend = d->choice.backend;
	c->stamp = d->choice.state >> 16;
	c->set = d->set;
	c->tier = d->ask.tier;
	c->reason = WM_REASON_BY(d->reason, d->table.head.balance);
	WM_COMPILER_BARRIER();
	WM_WRITE(c->time_ns, d->ask.now_ns & ~WM_CONNECTION_SILENT);
	connection_count(c->backend, c->stamp, 1);
	if (!(d->bare & KEEPS_NOTHING))
		forget_stored(ctx->sk);
	return true;
}

/** The same in socket storage: the subflow's, and that of the socket which the program holds. */
static __always_inline void remember_stored(struct bpf_sock_addr *ctx, const struct dial *d,
					    struct wm_counters *n)
{
	struct wm_socket_origin *o = recorded_now(ctx->sk);
	struct mptcp_sock *m = held_by(ctx);

	if (o)
		remember(&o->at[0], d);
	else
		COUNT(n, connect_no_storage);
	o = m ? recorded_now(m) : NULL;
	if (!o)
		return;
	remember(&o->at[0], d);
	o->at[0].backend = WM_NO_BACKEND; /* the subflow counts as the backend's connection */
}

/** What connect() dialled, where getpeername() will look for it. Of Multipath TCP a subflow is
 *  steered, whose end is not seen. */
static __always_inline void remember_connect(struct bpf_sock_addr *ctx, const struct dial *d,
					     struct wm_counters *n)
{
	const struct wm_config *config = config_get();

	if (!config || !(config->flags & WM_CONFIG_F_RELEASE) || ctx->protocol == IPPROTO_MPTCP ||
	    held_by(ctx)) {
		COUNT(n, connect_stored);
	} else {
		if (remember_here(ctx, d))
			return;
		COUNT(n, connect_no_way);
	}
	remember_stored(ctx, d, n);
}

/** Does the socket refuse IPv4 (IPV6_V6ONLY)? Kernels that do not tell (< 5.9): it does not. */
static __always_inline bool is_v6only(struct bpf_sock_addr *ctx)
{
	struct sock_common *sk;

	if (!use_sock6)
		return false;
	if (ctx->type == SOCK_STREAM)
		sk = (struct sock_common *)bpf_skc_to_tcp6_sock(ctx->sk);
	else
		sk = (struct sock_common *)bpf_skc_to_udp6_sock(ctx->sk);
	return sk && BPF_CORE_READ_BITFIELD(sk, skc_ipv6only);
}

/** The only family that an IPv6 socket reaches for being bound to an address of it; 0: not bound. A
 * datagram socket that is connected is bound thereby. */
static __always_inline __u32 bound_family(struct bpf_sock_addr *ctx)
{
	__be32 a[4] = {ctx->sk->src_ip6[0], ctx->sk->src_ip6[1], ctx->sk->src_ip6[2],
		       ctx->sk->src_ip6[3]};

	if (!(a[0] | a[1] | a[2] | a[3]))
		return 0;
	return wm_is_mapped(a) ? WM_FAMILY_4 : WM_FAMILY_6;
}

/** A backend for connect(): of the family that was dialled, and where none of it is up of the
 * other, if the socket can reach it, which IPv4 sockets cannot. */
static __always_inline int choose_any(struct bpf_sock_addr *ctx, struct dial *d, bool v6,
				      struct wm_counters *n)
{
	__u32 bound = v6 ? bound_family(ctx) : 0;
	int p;

	if (bound)
		d->ask.families = bound | (d->ask.families & WM_NOT_LOOPBACK);
	else if (v6)
		d->ask.next = ~d->ask.families & (WM_FAMILY_4 | WM_FAMILY_6);
	p = choose(ctx, d, n);
	if (p == WM_PICKED || !d->ask.next)
		return p;
	if (!(d->ask.families & WM_FAMILY_6) || !is_v6only(ctx))
		d->ask.families ^= WM_FAMILY_4 | WM_FAMILY_6;
	d->ask.next = 0;
	return choose(ctx, d, n);
}

/** A socket's one destination. @return ALLOW with d->choice filled when @p ret_steer is set. */
static __always_inline int steer_connect(struct bpf_sock_addr *ctx, struct dial *d, bool v6,
					 bool *ret_steer)
{
	struct wm_counters *n = counters_get();
	struct wm_backend_live *live;
	int p;

	likely_address_ahead(d->vip_be);
	p = wm_frontend_find(NULL, d->vip_be, d->port_be, d->proto, &d->set);
	if (p == WM_PICK_NONE) {
		if (is_virtual(d)) {
			COUNT(n, connect_unknown_vip);
			d->told = WM_FLOW_UNKNOWN;
			return refuse();
		}
		COUNT(n, connect_miss);
		forget(ctx);
		return ALLOW;
	}
	begin(ctx, d); /* which asks the clock, and that waits for all that is being read */
	d->bare = is_bare(ctx);
	d->cookie = bpf_get_socket_cookie(ctx);
	connection_ahead(d->cookie);
	if (p == WM_PICKED)
		p = choose_any(ctx, d, v6, n);
	if (d->choice.passed_over)
		COUNT(n, connect_loopback);
	if (p == WM_PICK_MORE) {
		COUNT(n, connect_passed);
		d->told = WM_FLOW_PASSED;
		forget(ctx);
		return ALLOW;
	}
	if (p != WM_PICKED) {
		COUNT(n, connect_refused);
		d->told = WM_FLOW_REFUSED;
		note_refusal(d, p == WM_PICK_TORN);
		return refuse();
	}
	remember_connect(ctx, d, n);
	/* port 0 is the C library looking for a route to sort addresses by, not a connection */
	live = d->port_be ? bpf_map_lookup_elem(&backend_live, &d->choice.backend) : NULL;
	if (live) {
		__sync_fetch_and_add(&live->picks, 1);
		COUNT(n, connect_picked);
		d->told = WM_FLOW_PICKED;
	}
	*ret_steer = true;
	return ALLOW;
}

/** The entry that remembers this destination of single datagrams, or NULL. */
static __always_inline struct wm_origin *recall(struct wm_socket_origin *o, const struct dial *d)
{
	for (int i = 1; i <= WM_UDP_RING; i++) {
		struct wm_origin *at = &o->at[i];

		if (at->time_ns && at->vip_port_be == d->port_be && same4(at->vip_be, d->vip_be))
			return at;
	}
	return NULL;
}

/** The entry that the next new destination takes: they take turns. */
static __always_inline struct wm_origin *next_entry(struct wm_socket_origin *o)
{
	__u32 i = o->next;

	if (i >= WM_UDP_RING)
		i = 0;
	o->next = i + 1;
	return &o->at[1 + i];
}

/** Is the remembered backend the same occupant, up, and still where it was? Then it is taken again.
 */
static __always_inline bool reuse(const struct wm_origin *at, struct dial *d)
{
	if (at->set != d->set || !take(d, at->backend, at->state >> 16))
		return false;
	return d->choice.state == at->state && chosen_port(d) == at->backend_port_be &&
	       same4(d->choice.addr_be, at->backend_be);
}

/** One datagram with a destination of its own: stays with its backend while that is up. */
static __always_inline int steer_datagram(struct bpf_sock_addr *ctx, struct dial *d,
					  bool *ret_steer)
{
	struct wm_counters *n = counters_get();
	struct wm_origin *at = NULL;
	struct wm_backend_live *live;
	struct wm_socket_origin *o;
	int p = wm_frontend_find(NULL, d->vip_be, d->port_be, d->proto, &d->set);

	if (p == WM_PICK_NONE) {
		if (!is_virtual(d)) {
			forget_datagram(ctx, d);
			return ALLOW;
		}
		COUNT(n, connect_unknown_vip);
		d->told = WM_FLOW_UNKNOWN;
		return refuse();
	}
	begin(ctx, d);
	o = p == WM_PICKED ? recorded_now(ctx->sk) : NULL;
	if (o)
		at = recall(o, d);
	if (at && reuse(at, d)) {
		/* two destinations may lead to one backend: the answer is shown as from the last */
		at->time_ns = d->ask.now_ns;
		COUNT(n, udp_reused);
		*ret_steer = true;
		return ALLOW;
	}
	if (p == WM_PICKED)
		p = choose(ctx, d, n);
	if (d->choice.passed_over)
		COUNT(n, connect_loopback);
	if (p == WM_PICK_MORE) {
		COUNT(n, connect_passed);
		d->told = WM_FLOW_PASSED;
		forget_datagram(ctx, d);
		return ALLOW;
	}
	if (p != WM_PICKED) {
		COUNT(n, udp_refused);
		d->told = WM_FLOW_REFUSED;
		note_refusal(d, p == WM_PICK_TORN);
		return refuse();
	}
	if (o && !at)
		at = next_entry(o);
	if (at)
		remember(at, d);
	else
		COUNT(n, connect_no_storage);
	live = bpf_map_lookup_elem(&backend_live, &d->choice.backend);
	if (live)
		__sync_fetch_and_add(&live->udp_picks, 1);
	COUNT(n, udp_picked);
	d->told = WM_FLOW_PICKED;
	*ret_steer = true;
	return ALLOW;
}

/** Is it for us? Where connect() is switched off, or who dials is left alone, what was dialled
 * before is past. */
static __always_inline bool enabled(struct bpf_sock_addr *ctx, bool datagram)
{
	const struct wm_config *c = config_get();
	__u32 levels;

	if (!steered(ctx))
		return false;
	if (c && c->flags & WM_CONFIG_F_CONNECT) {
		levels = c->flags >> WM_CONFIG_LEVELS_SHIFT;
		if (!levels || !is_left_out(levels))
			return true;
	}
	if (!datagram)
		forget(ctx);
	return false;
}

/** What a draw of two went by: who was chosen, then the other. */
static __always_inline void tell_scores(struct wm_flow *f, const struct dial *d)
{
	__u32 second = d->scores.backend[1] == d->choice.backend;

	f->cost[0] = second ? d->scores.cost[1] : d->scores.cost[0];
	f->cost[1] = second ? d->scores.cost[0] : d->scores.cost[1];
	f->weight[0] = second ? d->scores.weight[1] : d->scores.weight[0];
	f->weight[1] = second ? d->scores.weight[0] : d->scores.weight[1];
	f->other = second ? d->scores.backend[0] : d->scores.backend[1];
}

/** Tell who watches what was decided. */
__noinline int tell(struct bpf_sock_addr *ctx, struct dial *d, __u32 datagram)
{
	struct wm_flow *f = d ? flow_begin(ctx) : NULL;

	if (!f)
		return 0;
	__builtin_memcpy(f->vip_be, d->vip_be, sizeof(f->vip_be));
	f->vip_port_be = d->port_be;
	f->verdict = d->told;
	f->proto = d->proto;
	f->datagram = datagram;
	f->set = d->told == WM_FLOW_UNKNOWN ? WM_FLOW_NO_SET : d->set;
	if (d->told == WM_FLOW_PICKED) {
		__builtin_memcpy(f->backend_be, d->choice.addr_be, sizeof(f->backend_be));
		f->backend_port_be = chosen_port(d);
		f->backend = d->choice.backend;
		f->stamp = d->choice.state >> 16;
		f->reason = WM_REASON_BY(d->reason, d->table.head.balance);
		f->tier = d->ask.tier;
		f->generation = d->table.word.generation;
		if (d->reason == WM_REASON_DRAW &&
		    (d->table.head.balance == WM_BALANCE_LEAST_CONNECTIONS ||
		     d->table.head.balance == WM_BALANCE_PEAK_EWMA))
			tell_scores(f, d);
	}
	bpf_ringbuf_submit(f, 0);
	return 1;
}

static __always_inline int steer4(struct bpf_sock_addr *ctx, bool datagram)
{
	struct dial d;
	bool steer = false;
	int verdict;

	if (!enabled(ctx, datagram))
		return ALLOW;
	d.ask.families = WM_FAMILY_4;
	d.vip_be[0] = d.vip_be[1] = 0;
	d.vip_be[2] = WM_V4_MAPPED_BE;
	d.vip_be[3] = ctx->user_ip4;
	d.reason = d.told = 0;
	d.port_be = (__be16)ctx->user_port;
	d.proto = ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	verdict =
		datagram ? steer_datagram(ctx, &d, &steer) : steer_connect(ctx, &d, false, &steer);
	if (d.told && flow_watched())
		tell(ctx, &d, datagram);
	if (steer) {
		ctx->user_ip4 = d.choice.addr_be[3];
		if (d.choice.port_be)
			ctx->user_port = d.choice.port_be;
	}
	return verdict;
}

/* An IPv6 socket reaches IPv4 backends through v4-mapped addresses; a v4-mapped destination is the
 * IPv4 frontend (Java and many others dial everything through one IPv6 socket). */
static __always_inline int steer6(struct bpf_sock_addr *ctx, bool datagram)
{
	struct dial d;
	bool steer = false;
	int verdict;

	if (!enabled(ctx, datagram))
		return ALLOW;
	d.reason = d.told = 0;
	d.vip_be[0] = ctx->user_ip6[0];
	d.vip_be[1] = ctx->user_ip6[1];
	d.vip_be[2] = ctx->user_ip6[2];
	d.vip_be[3] = ctx->user_ip6[3];
	/* a single datagram stays with its family: the kernel refuses one whose IPv6 destination
	 * became a v4-mapped one (ENOTSUPP), and those to v4-mapped ones come by sendmsg4 */
	d.ask.families = wm_is_mapped(d.vip_be) ? WM_FAMILY_4 : WM_FAMILY_6;
	d.port_be = (__be16)ctx->user_port;
	d.proto = ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	verdict = datagram ? steer_datagram(ctx, &d, &steer) : steer_connect(ctx, &d, true, &steer);
	if (d.told && flow_watched())
		tell(ctx, &d, datagram);
	if (steer) {
		ctx->user_ip6[0] = d.choice.addr_be[0];
		ctx->user_ip6[1] = d.choice.addr_be[1];
		ctx->user_ip6[2] = d.choice.addr_be[2];
		ctx->user_ip6[3] = d.choice.addr_be[3];
		if (d.choice.port_be)
			ctx->user_port = d.choice.port_be;
	}
	return verdict;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return steer4(ctx, false);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return steer6(ctx, false);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return steer4(ctx, true);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return steer6(ctx, true);
}

#include "release.h"
#include "shown.h"
