/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* observe.bpf.c - sees what happens to sockets that no hook of ours is asked about, by tracepoints.
 * sock_state counts the sockets that listen for the instances of this node; when the last of an
 * instance has closed, the kernel knows before any check that it takes no connection, and its state
 * word says so in the same microsecond. It sees how connects that were steered end, too, and which
 * sockets are disconnected; syn_again, that nobody answers one. They go on while no agent runs. The
 * kernel leaves a run of a program out where it interrupts one of the same on its CPU: such a
 * change is not seen. */
#include "outcome.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "waymark/listen.h"
#include "waymark/outlier.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define AF_INET	 2
#define AF_INET6 10
#define TRIES	 16 /* of a compare-and-swap: so many listeners of one address at once */

/* Which of both is done. Set by the loader. */
const volatile bool watch_listeners = false, watch_connects = false;

/* --- who listens --- */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WM_LISTENING_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wm_listener_key);
	__type(value, __u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WM_LISTENING_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wm_listening);
} listening SEC(".maps");

static __always_inline void tell(const struct wm_listener_key *k, const struct sock *sk, __u8 kind,
				 const struct wm_listening_user *u)
{
	struct wm_event *e = event_reserve();

	if (!e)
		return;
	*e = (struct wm_event){.time_ns = bpf_ktime_get_boot_ns(),
			       .cgroup = bpf_get_current_cgroup_id(),
			       .cookie = bpf_get_socket_cookie((void *)sk),
			       .vip_port_be = bpf_htons(k->port),
			       .kind = kind,
			       .backend = u->backend,
			       .stamp = u->stamp & 0xffff};
	for (int i = 0; i < 4; i++)
		e->vip_be[i] = k->addr_be[i];
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int has_listener(__u32 element)
{
	const struct wm_listening *l = bpf_map_lookup_elem(&listening, &element);

	return l && wm_listening_count(WM_READ(l->word));
}

/* From UP to what stands for it while nobody listens, and back. Any other state is userspace's. */
static __always_inline int turn(const struct wm_listening_user *u, int opens)
{
	__u32 index = u->backend, up = u->stamp << 16 | WM_STATE_UP;
	__u32 fell = u->stamp << 16 | WM_STATE_F_FELL | WM_STATE_DOWN;
	struct wm_backend *b = bpf_map_lookup_elem(&backends, &index);

	if (!b)
		return 0;
	return opens ? __sync_val_compare_and_swap(&b->state, fell, up) == fell
		     : __sync_val_compare_and_swap(&b->state, up, fell) == up;
}

/* Connects failed to who listened before. The end is now, for whoever counts to notice. */
static __always_inline void forgive(const struct wm_listening_user *u)
{
	__u32 index = u->backend;
	struct wm_backend_live *live = bpf_map_lookup_elem(&backend_live, &index);
	__u64 now = bpf_ktime_get_boot_ns(), until;

	if (!live || WM_READ(live->stamp) != (u->stamp & 0xffff))
		return;
	WM_WRITE(live->in_row, 0);
	until = WM_READ(live->ejected_until_ns);
	if (until > now)
		(void)__sync_val_compare_and_swap(&live->ejected_until_ns, until,
						  now | WM_EJECTED_COUNTED);
}

static __always_inline void changed(const struct wm_listener_key *k, const struct sock *sk,
				    const struct wm_listening *l, int opens)
{
	for (int i = 0; i < WM_LISTENING_USERS; i++) {
		const struct wm_listening_user u = l->users[i];
		int turned;

		if (!(u.stamp & WM_LISTENING_USED))
			continue;
		if (!opens && (has_listener(u.other[0]) || has_listener(u.other[1])))
			continue;
		turned = turn(&u, opens);
		if (opens)
			forgive(&u);
		if (opens)
			tell(k, sk, WM_EVENT_LISTENER_BACK, &u);
		else if (turned)
			tell(k, sk, WM_EVENT_LISTENER_GONE, &u);
	}
}

/* A port that the kernel chose (bind() to 0) it takes back before it tells that a socket is closed;
 * what the socket shows of itself stays. One that opens may show a port that it had before. */
static __always_inline __u16 port_of(const struct sock *sk, int opens)
{
	__u16 port = sk->__sk_common.skc_num;
	const struct tcp_sock *tp = port || opens ? NULL : bpf_skc_to_tcp_sock((void *)sk);

	return tp ? bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport) : port;
}

static __always_inline int key_of(const struct sock *sk, int opens, struct wm_listener_key *k)
{
	const struct sock_common *c = &sk->__sk_common;

	k->netns = c->skc_net.net->net_cookie;
	k->port = port_of(sk, opens);
	if (c->skc_family == AF_INET) {
		k->addr_be[2] = WM_V4_MAPPED_BE;
		k->addr_be[3] = c->skc_rcv_saddr;
		return 1;
	}
	if (c->skc_family != AF_INET6)
		return 0;
	k->addr_be[0] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[0];
	k->addr_be[1] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[1];
	k->addr_be[2] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[2];
	k->addr_be[3] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
	return 1;
}

static __always_inline void listener_moved(const struct sock *sk, int old, int new)
{
	int opens = old == TCP_CLOSE && new == TCP_LISTEN;
	struct wm_listener_key k = {0};
	struct wm_listening *l;
	__u64 word, next = 0;
	const __u32 *element;

	/* an accepted socket begins as a copy of its listener: from LISTEN to SYN_RECV */
	if (!opens && !(old == TCP_LISTEN && new == TCP_CLOSE))
		return;
	if (sk->sk_protocol != IPPROTO_TCP || !key_of(sk, opens, &k))
		return;
	element = bpf_map_lookup_elem(&listeners, &k);
	l = element ? bpf_map_lookup_elem(&listening, element) : NULL;
	if (!l)
		return;
	word = WM_READ(l->word);
	for (int i = 0; i < TRIES; i++) {
		__u64 seen;

		next = wm_listening_moved(word, opens);
		seen = __sync_val_compare_and_swap(&l->word, word, next);
		if (seen == word)
			break;
		word = seen;
	}
	if (opens ? wm_listening_count(next) == 1 : !wm_listening_count(next))
		changed(&k, sk, l, opens);
}

/* --- how connects end --- */
/** What the socket has been steered to. One without a cookie is nobody's. */
static __always_inline struct wm_connection *steered_to(const struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;

	return cookie ? steered(cookie) : NULL;
}

/* Of two ways to see it one is in use at a time. */
static __always_inline bool is_traced(void)
{
	const struct wm_config *config = config_get();

	return config && WM_READ(config->flags) & WM_CONFIG_F_TRACED;
}

static __always_inline void connect_moved(const struct sock *sk, int old, int new)
{
	struct wm_connection *c = steered_to(sk);
	const struct tcp_sock *tp;

	if (!c || !is_traced())
		return;
	if (old != TCP_SYN_SENT) {
		outcome_ahead(c);
		return;
	}
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp)
		return;
	if (new == TCP_ESTABLISHED)
		outcome_made(c, tp->srtt_us >> 3, tp->total_retrans);
	else
		outcome_failed(c, (__u32)sk->sk_err);
}

/** What the socket of @p cookie was steered to is over, and its entry is free. A global function:
 * it is walked once. */
__noinline int connection_over(__u64 cookie)
{
	struct wm_connection *c = connection_of(cookie);

	if (!c)
		return 0;
	connection_end(c);
	WM_COMPILER_BARRIER();
	WM_WRITE(c->cookie, 0);
	return 0;
}

/* Is the socket disconnected, by connect() to AF_UNSPEC, of which no hook of a cgroup is asked?
 * Then a call has the socket's lock, so that it is not being released, and nothing has failed: what
 * failed keeps its entry, which tells where it had led. */
static __always_inline bool is_disconnected(const struct sock *sk, int state)
{
	return state == TCP_CLOSE && !sk->sk_err && sk->sk_lock.owned && sk->sk_socket;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(sock_state, const struct sock *sk, int old, int new)
{
	if (old != TCP_LISTEN && is_disconnected(sk, new)) {
		__u64 cookie = sk->__sk_common.skc_cookie.counter;

		return cookie ? connection_over(cookie) : 0;
	}
	if (watch_connects && (old == TCP_SYN_SENT || new == TCP_SYN_SENT))
		connect_moved(sk, old, new);
	else if (watch_listeners)
		listener_moved(sk, old, new);
	return 0;
}

/* A segment is to be sent again: a SYN's first time is when nobody has answered for as long as the
 * kernel waits. One that waits still for the neighbour's address is not sent, and counted nowhere;
 * kernels before 6.16 do not tell of it. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(syn_again, const struct sock *sk)
{
	struct wm_connection *c;

	if (sk->__sk_common.skc_state != TCP_SYN_SENT)
		return 0;
	c = steered_to(sk);
	if (c && is_traced())
		failed_silent(c, ETIMEDOUT);
	return 0;
}
