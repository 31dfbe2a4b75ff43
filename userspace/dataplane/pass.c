/* SPDX-License-Identifier: Apache-2.0 */
/* pass.c - one pass over the machine's sockets by the iterators of bpf/, in a thread of its own:
 * a pass takes as long as there are sockets, and the iterators over TCP and UDP sockets see the
 * network namespace in which they are opened, so the thread enters each in turn and ends with it.
 */
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "waymark/counters.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_INDEXES 4096 /* of a read: 16 KiB of the stack; the kernel gives 32 KiB at most */
#define AGAIN_MAX    1000 /* reads without a result: the kernel breaks off after a million sockets */
#define STACK_SIZE   (256u << 10) /* octets; the sanitizers multiply what a frame takes */
#define WALKS_MAX    2

struct wm_pass {
	enum wm_pass_kind kind;
	pthread_t thread;
	bool running;	      /* not joined yet */
	bool finished;	      /* written by the thread last, with release order */
	int links[WALKS_MAX]; /* borrowed from the plane; -1: none */
	bool everywhere;      /* the iterator sees all network namespaces */
	int task_link;
	uint32_t backends;		    /* of HELD: connections */
	const struct wm_backend *table;	    /* of COUNT: what is draining, */
	const struct wm_backend_live *live; /* and what is open */
	struct wm_pass_result result;
	uint32_t *open;
};

/* --- the iterators' links --- */
static int link_of(struct wm_plane *p, unsigned prog)
{
	union bpf_iter_link_info info = {.map.map_fd = (uint32_t)p->map_fd[WM_MAP_SOCKET_ORIGIN]};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int *fd = &p->iterators[prog - WM_PROG_OPEN_SOCKETS];

	if (p->progs[prog].fd < 0)
		return p->progs[prog].refused ? p->progs[prog].refused : -EOPNOTSUPP;
	if (*fd < 0)
		*fd = bpf_link_create(p->progs[prog].fd, 0, BPF_TRACE_ITER,
				      prog == WM_PROG_OPEN_SOCKETS ? &opts : NULL);
	return *fd;
}

int wm_task_link(struct wm_plane *p)
{
	return link_of(p, WM_PROG_TASK_NETNS);
}

/* Who is not steered leaves no trace to count: none would then mean nothing. */
static bool steers(const struct wm_plane *p)
{
	unsigned attached = 0;

	for (unsigned i = 0; i < p->hooks_count; i++)
		attached += !p->hooks[i].error &&
			    strncmp(p->hooks[i].name, "connect", strlen("connect")) == 0;
	return attached == 2; /* IPv4 and IPv6 */
}

/* Does `connections` have all that was steered since the tables were made? */
static bool nothing_stored(struct wm_plane *p)
{
	const struct wm_config *k = p->mem[WM_MAP_CONFIG];
	uint64_t n[WM_COUNTER_COUNT];

	return k->flags & WM_CONFIG_F_RELEASE && !wm_plane_counters(p, n) &&
	       !n[WM_C_CONNECT_NO_WAY] && !n[WM_C_CONNECT_STORED];
}

/* Which iterators answer for @p kind. @return 0 or why none can. */
static int choose(struct wm_plane *p, struct wm_pass *x)
{
	bool count = x->kind == WM_PASS_COUNT;

	x->links[0] = x->links[1] = -1;
	x->task_link = wm_task_link(p);
	if (x->kind == WM_PASS_HELD) {
		x->links[0] = link_of(p, WM_PROG_HELD_UDP);
		x->links[1] = link_of(p, WM_PROG_HELD_TCP);
		return x->links[0] < 0 ? x->links[0] : x->links[1] < 0 ? x->links[1] : 0;
	}
	if (count && !steers(p))
		return -ENOTCONN;
	if (count && nothing_stored(p)) {
		x->everywhere = true;
		return 0;
	}
	if (count) {
		x->links[0] = link_of(p, WM_PROG_OPEN_SOCKETS);
		x->everywhere = x->links[0] >= 0;
	}
	if (!x->everywhere) {
		x->links[0] = link_of(p, count ? WM_PROG_OPEN_UDP : WM_PROG_ABORT_UDP);
		if (x->kind != WM_PASS_ABORT)
			x->links[1] = link_of(p, count ? WM_PROG_OPEN_TCP : WM_PROG_ABORT_TCP);
	}
	if (x->links[0] < 0)
		return x->links[0];
	if (!count && !p->lost)
		return -ENOMEM;
	return x->everywhere || x->kind == WM_PASS_ABORT || x->links[1] >= 0 ? 0 : x->links[1];
}

int wm_pass_possible(struct wm_plane *p, enum wm_pass_kind kind, bool *ret_everywhere)
{
	struct wm_pass x = {.kind = kind};
	int r = choose(p, &x);

	*ret_everywhere = x.everywhere;
	return r;
}

/* --- in the thread ---------------------------------------------------------------------------- */
static int read_all(struct wm_pass *x, int fd, uint64_t *found)
{
	uint32_t index[READ_INDEXES];
	unsigned again = 0;

	for (;;) {
		ssize_t n = read(fd, index, sizeof(index));

		if (n < 0 && (errno == EAGAIN || errno == EINTR) && ++again < AGAIN_MAX)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		/* the kernel writes four octets at a time, and the buffer is a multiple of that */
		for (ssize_t i = 0; i < n / 4; i++)
			if (index[i] < x->backends)
				x->open[index[i]]++;
		*found += (uint64_t)n / 4;
	}
}

/* The namespace in which the thread is now. */
static int walk(struct wm_pass *x)
{
	int r = 0;

	x->result.namespaces++;
	for (unsigned i = 0; i < WALKS_MAX && !r; i++) {
		_cleanup_close_ int fd = x->links[i] < 0 ? -1 : bpf_iter_create(x->links[i]);

		if (x->links[i] >= 0)
			r = fd < 0 ? fd : read_all(x, fd, i ? &x->result.tcp : &x->result.udp);
	}
	return r;
}

static void walk_others(struct wm_pass *x)
{
	struct wm_pass_result *res = &x->result;
	struct wm_netns_list l;

	wm_netns_list(&l, x->task_link);
	for (unsigned i = 0; i < l.count && !res->error; i++) {
		if (setns(l.all[i].fd, CLONE_NEWNET)) {
			l.unseen++;
			l.unseen_error = -errno;
		} else {
			res->error = walk(x);
		}
	}
	res->unseen = l.unseen;
	res->unseen_error = l.unseen_error ? l.unseen_error : l.error;
	wm_netns_list_free(&l);
}

/* Sockets that are not in storage are counted by their programs. */
static void add_open(struct wm_pass *x)
{
	for (uint32_t i = 0; i < x->backends; i++) {
		uint32_t word = __atomic_load_n(&x->table[i].state, __ATOMIC_ACQUIRE);

		if ((word & WM_STATE_MASK) == WM_STATE_DRAIN && x->live[i].stamp == word >> 16)
			x->open[i] += __atomic_load_n(&x->live[i].open, __ATOMIC_ACQUIRE);
	}
}

static void *run(void *arg)
{
	struct wm_pass *x = arg;
	uint64_t began = wm_clock_ns();

	x->result.error = walk(x);
	if (!x->result.error && !x->everywhere)
		walk_others(x);
	if (x->kind == WM_PASS_COUNT)
		add_open(x);
	x->result.took_ns = wm_clock_ns() - began;
	__atomic_store_n(&x->finished, true, __ATOMIC_RELEASE);
	return NULL;
}

/* --- in the loop ------------------------------------------------------------------------------ */
/* Signals are the loop's: none may be delivered to the thread. */
static int start_thread(struct wm_pass *x)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&x->thread, &attr, run, x);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	x->running = !r;
	return -r;
}

int wm_pass_start(struct wm_plane *p, enum wm_pass_kind kind, struct wm_pass **ret)
{
	struct wm_pass *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	x->kind = kind;
	x->backends = kind == WM_PASS_HELD ? wm_connections_cap(&p->c) : p->c.backends;
	x->table = p->mem[WM_MAP_BACKENDS];
	x->live = p->mem[WM_MAP_BACKEND_LIVE];
	x->open = calloc(x->backends, sizeof(*x->open));
	r = x->open ? choose(p, x) : -ENOMEM;
	if (!r)
		r = start_thread(x);
	if (r) {
		wm_pass_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

const struct wm_pass_result *wm_pass_result(struct wm_pass *x)
{
	if (!__atomic_load_n(&x->finished, __ATOMIC_ACQUIRE))
		return NULL;
	x->result.open = x->open;
	return &x->result;
}

void wm_pass_free(struct wm_pass *x)
{
	if (!x)
		return;
	if (x->running)
		pthread_join(x->thread, NULL);
	free(x->open);
	free(x);
}

void wm_plane_lost(struct wm_plane *p, uint32_t index, uint32_t stamp, uint32_t protocols)
{
	wm_lost_word word = protocols ? (wm_lost_word)stamp << 32 | protocols : 0;

	if (p->lost && index < p->c.backends)
		__atomic_store_n(&p->lost[index], word, __ATOMIC_RELEASE);
}

bool wm_plane_none_connected(struct wm_plane *p, const uint32_t *list, uint32_t count)
{
	const struct wm_backend_live *live = p->mem[WM_MAP_BACKEND_LIVE];

	if (!p->lost || !nothing_stored(p))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct wm_backend_live *l = &live[list[i]];
		uint32_t stamp = (uint32_t)(p->lost[list[i]] >> 32);

		/* of an index that has another occupant by now nobody knows */
		if (__atomic_load_n(&l->open, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&l->stamp, __ATOMIC_RELAXED) != stamp)
			return false;
	}
	return true;
}

/* Who takes the time counts: the socket may be there nevertheless, and be closed now. */
static bool free_entry(struct wm_connection *e, struct wm_backend_live *live, uint32_t backends,
		       const struct wm_connection *was)
{
	uint64_t time = was->time_ns, cookie = was->cookie;

	if (!__atomic_compare_exchange_n(&e->time_ns, &time, 0, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		return false;
	if (was->backend < backends && live[was->backend].stamp == was->stamp)
		__atomic_sub_fetch(&live[was->backend].open, 1, __ATOMIC_SEQ_CST);
	(void)__atomic_compare_exchange_n(&e->cookie, &cookie, 0, false, __ATOMIC_SEQ_CST,
					  __ATOMIC_RELAXED);
	return true;
}

/* Is @p e one of a socket that connected before @p before_ns? */
static bool is_from_before(const struct wm_connection *e, uint64_t before_ns)
{
	return e->cookie && e->time_ns && e->time_ns < before_ns;
}

bool wm_plane_connected_before(struct wm_plane *p, uint64_t before_ns)
{
	uint32_t cap = 0;
	const struct wm_connection *all = wm_plane_connections(p, &cap);
	bool any = !all;

	for (uint32_t i = 0; i < cap && !any; i++)
		any = is_from_before(&all[i], before_ns);
	if (all)
		wm_plane_connections_done(p);
	return any;
}

unsigned wm_plane_free_unheld(struct wm_plane *p, const uint32_t *first, const uint32_t *second,
			      uint64_t before_ns)
{
	uint32_t cap, backends = (uint32_t)wm_maps_reached(p, WM_MAP_BACKEND_LIVE);
	struct wm_connection *all;
	unsigned freed = 0;

	if (!wm_plane_connections(p, &cap))
		return 0; /* with the next round */
	all = p->mem[WM_MAP_CONNECTIONS];
	for (uint32_t i = 0; i < cap; i++) {
		struct wm_connection e = all[i];

		if (is_from_before(&e, before_ns) && !first[i] && !second[i])
			freed += free_entry(&all[i], p->mem[WM_MAP_BACKEND_LIVE], backends, &e);
	}
	wm_plane_connections_done(p);
	return freed;
}
