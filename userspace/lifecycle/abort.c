/* SPDX-License-Identifier: Apache-2.0 */
/* abort.c - see abort.h. */
#include "abort.h"

#include "userspace/base/clock.h"
#include "userspace/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GATHER_MS 10  /* from the first backend that is gone to a pass: others go with it */
#define TICK_MS	  250 /* between passes */
#define POLL_MS	  10  /* between looks whether a pass has ended */
#define IDLE_OF	  10  /* times what a pass took until the next: a tenth of a processor at most */
#define PASSES                                                                                     \
	2 /* over a backend's sockets: one may miss a socket while others come and go,             \
	   * and a connect() that had chosen before has its socket by the second */

struct wm_aborts {
	struct wm_tables *tables;
	struct wm_plane *plane;
	struct wm_timer *timer;
	bool able;	      /* the kernel ends sockets */
	bool pressing;	      /* of some backend a socket may be connected */
	bool tcp;	      /* of some backend TCP connections are to be ended */
	bool told;	      /* that not all namespaces are entered */
	struct wm_pass *pass; /* NULL: none runs */
	uint64_t next_ms;     /* when the next may begin */
	/* gone backends: their indexes, and of each index how many passes are still to begin, plus
	 * 1 while it is in the list */
	uint32_t *list, count;
	uint8_t *left;
	uint64_t counters[WM_ABORT_COUNTER_COUNT];
};

static void add(struct wm_aborts *a, uint32_t index, uint32_t stamp, bool tcp)
{
	wm_plane_lost(a->plane, index, stamp, WM_LOST_UDP | (tcp ? WM_LOST_TCP : 0));
	if (!a->left[index])
		a->list[a->count++] = index;
	a->left[index] = PASSES + 1;
	a->tcp = a->tcp || tcp;
}

/* A new pass as soon as may be. While one runs it is looked at all the time. */
static void arm(struct wm_aborts *a, uint64_t least_ms)
{
	uint64_t now = wm_clock_ms(), wait = a->next_ms > now ? a->next_ms - now : 0;

	if (!a->pass)
		wm_timer_arm(a->timer, wait > least_ms ? wait : least_ms);
}

static void on_lost(void *arg, uint32_t index, uint32_t stamp, bool abort_tcp)
{
	struct wm_aborts *a = arg;

	a->counters[WM_ABORT_BACKENDS]++;
	if (!a->able) {
		a->counters[WM_ABORT_SKIPPED]++;
		return;
	}
	if (!a->count || !a->pressing)
		arm(a, GATHER_MS);
	a->pressing = true;
	add(a, index, stamp, abort_tcp);
}

/* Those that had their passes are looked after no more. */
static void forget_done(struct wm_aborts *a)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < a->count; i++) {
		uint32_t index = a->list[i];

		if (a->left[index] > 1) {
			a->list[kept++] = index;
			continue;
		}
		a->left[index] = 0;
		wm_plane_lost(a->plane, index, 0, 0);
	}
	a->count = kept;
	a->tcp = a->tcp && kept;
}

/* Each network namespace is entered, of which there may be many: not for what nobody has. */
static void begin_pass(struct wm_aborts *a)
{
	enum wm_pass_kind kind = a->tcp ? WM_PASS_ABORT_TCP : WM_PASS_ABORT;

	if (wm_plane_none_connected(a->plane, a->list, a->count)) {
		a->counters[WM_ABORT_NOT_NEEDED]++;
		a->next_ms = wm_clock_ms() + TICK_MS;
		a->pressing = false;
	} else if (wm_pass_start(a->plane, kind, &a->pass)) {
		a->counters[WM_ABORT_FAILED]++;
		a->next_ms = wm_clock_ms() + TICK_MS;
		return;
	}
	for (uint32_t i = 0; i < a->count; i++)
		a->left[a->list[i]]--;
	if (!a->pass)
		forget_done(a);
}

static void tell(struct wm_aborts *a, const struct wm_pass_result *r)
{
	bool partial = r->unseen || r->unseen_error;

	a->counters[WM_ABORT_UDP] += r->udp;
	a->counters[WM_ABORT_TCP] += r->tcp;
	a->counters[r->error ? WM_ABORT_FAILED : WM_ABORT_PASSES]++;
	a->counters[WM_ABORT_PARTIAL] += partial;
	if (r->udp || r->tcp)
		wm_info("abort.sockets", "udp=%llu tcp=%llu namespaces=%u",
			(unsigned long long)r->udp, (unsigned long long)r->tcp, r->namespaces);
	if (partial && !a->told)
		wm_warn("abort.partial",
			"unseen=%u err=%s text=\"sockets in network namespaces that cannot be "
			"entered stay with backends that are gone\"",
			r->unseen, r->unseen_error ? strerrorname_np(-r->unseen_error) : "none");
	a->told = partial;
}

static void on_tick(void *arg)
{
	struct wm_aborts *a = arg;
	const struct wm_pass_result *r = a->pass ? wm_pass_result(a->pass) : NULL;
	uint64_t now = wm_clock_ms(), idle_ms;

	if (r) {
		tell(a, r);
		idle_ms = r->took_ns * IDLE_OF / WM_NS_PER_MS;
		a->next_ms = now + (idle_ms > TICK_MS ? idle_ms : TICK_MS);
		wm_pass_free(a->pass);
		a->pass = NULL;
		forget_done(a);
	}
	if (!a->pass && a->count && now >= a->next_ms)
		begin_pass(a);
	if (a->pass)
		wm_timer_arm(a->timer, POLL_MS);
	else if (a->count && !a->pressing) /* with the other ticks, not before next_ms */
		wm_timer_tick(a->timer, 2 * TICK_MS);
	else if (a->count)
		arm(a, 1);
}

/* An earlier run may have been killed between the change and the pass. */
static void add_gone(struct wm_aborts *a)
{
	const struct wm_table_memory *m = wm_tables_memory(a->tables);

	for (uint32_t i = 0; i < m->backends_cap; i++) {
		uint32_t word = __atomic_load_n(&m->backends[i].state, __ATOMIC_RELAXED);
		uint32_t state = word & WM_STATE_MASK;

		if (word >> 16 && (state == WM_STATE_DOWN || state == WM_STATE_FREE))
			add(a, i, word >> 16, false);
	}
	a->pressing = true;
	if (a->count)
		arm(a, GATHER_MS);
}

struct wm_aborts *wm_aborts_new(struct wm_loop *l, struct wm_tables *t, struct wm_plane *plane)
{
	struct wm_aborts *a = calloc(1, sizeof(*a));
	uint32_t cap = wm_tables_memory(t)->backends_cap;
	bool everywhere;
	int r;

	if (!a)
		return NULL;
	a->tables = t;
	a->plane = plane;
	a->timer = wm_timer_new(l, on_tick, a);
	a->list = calloc(cap, sizeof(*a->list));
	a->left = calloc(cap, sizeof(*a->left));
	if (!a->timer || !a->list || !a->left) {
		wm_aborts_free(a);
		return NULL;
	}
	r = plane ? wm_pass_possible(plane, WM_PASS_ABORT_TCP, &everywhere) : -EOPNOTSUPP;
	a->able = !r;
	if (plane && r)
		wm_warn("abort.off",
			"err=%s text=\"the kernel ends no sockets (bpf_sock_destroy(), Linux 6.5): "
			"connected UDP sockets stay with a backend that is gone\"",
			strerrorname_np(-r) ? strerrorname_np(-r) : "unknown");
	if (a->able)
		add_gone(a);
	wm_tables_on_lost(t, on_lost, a);
	return a;
}

void wm_aborts_free(struct wm_aborts *a)
{
	if (!a)
		return;
	wm_tables_on_lost(a->tables, NULL, NULL);
	wm_pass_free(a->pass);
	wm_timer_free(a->timer);
	free(a->list);
	free(a->left);
	free(a);
}

const uint64_t *wm_aborts_counters(const struct wm_aborts *a)
{
	return a->counters;
}
