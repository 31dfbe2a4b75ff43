/* SPDX-License-Identifier: Apache-2.0 */
/* drain.c - see drain.h. */
#include "drain.h"

#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS 250 /* between counts: a client that closes is noticed in half a second */
#define PROOF_PASSES                                                                               \
	2		 /* counts of none in a row: one may miss a socket, see plane.h; and a     \
			  * connect() that chose just before the drain has its socket by then */
#define RETRY_MS    1000 /* until a removal that failed is tried again */
#define BACKENDS_OF 4	 /* backends of an instance: two, while its address changes */
#define DRAINS_MAX  (1u << 24) /* the registry's bound of instances is met first */

struct drain {
	TAILQ_ENTRY(drain) entry;
	uint64_t until_ms; /* as stored */
	uint64_t due_ms;   /* the same on the loop's clock */
	uint64_t open;	   /* as last counted */
	bool counted;
	bool blind;	/* its sockets cannot be told: only the deadline ends it */
	unsigned proof; /* counts of none in a row */
	char id[];
};

struct wm_drains {
	struct wm_registry *registry;
	const struct wm_tables *tables;
	struct wm_plane *plane;
	struct wm_timer *timer;
	struct wm_map *by_id;
	TAILQ_HEAD(, drain) list;
	struct drain **owner; /* by backend; only while something drains */
	uint64_t counters[WM_DRAIN_COUNTER_COUNT];
};

/* --- following -------------------------------------------------------------------------------- */
static void forget(struct wm_drains *d, struct drain *x)
{
	TAILQ_REMOVE(&d->list, x, entry);
	wm_map_del(d->by_id, x->id, strlen(x->id));
	free(x);
	if (TAILQ_EMPTY(&d->list)) {
		free(d->owner);
		d->owner = NULL;
	}
}

static struct drain *begin(struct wm_drains *d, const char *id)
{
	size_t n = strlen(id) + 1;
	struct drain *x = calloc(1, sizeof(*x) + n);

	if (!x)
		return NULL;
	memcpy(x->id, id, n);
	if (wm_map_put(d->by_id, x->id, n - 1, x, NULL)) {
		free(x);
		return NULL;
	}
	if (TAILQ_EMPTY(&d->list))
		wm_timer_arm(d->timer, TICK_MS);
	TAILQ_INSERT_TAIL(&d->list, x, entry);
	return x;
}

static void follow(struct wm_drains *d, const struct wm_instance *i)
{
	struct drain *x = wm_map_get(d->by_id, i->id, strlen(i->id));
	uint64_t wall = wm_clock_wall_ms(), left;

	if (i->lifecycle != WM_LIFE_STOPPING || !i->drain_until_ms) {
		if (x)
			forget(d, x);
		return;
	}
	if (x && x->until_ms == i->drain_until_ms)
		return;
	if (!x)
		x = begin(d, i->id);
	if (!x) {
		wm_error("drain.memory", "id=%s", wm_log_q(i->id));
		return;
	}
	/* the wall clock may have been set since; no drain takes longer than any may */
	left = i->drain_until_ms > wall ? i->drain_until_ms - wall : 0;
	x->until_ms = i->drain_until_ms;
	x->due_ms = wm_clock_ms() + (left < WM_DRAIN_MAX_MS ? left : WM_DRAIN_MAX_MS);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_drains *d = arg;
	struct drain *x;

	if (!c->instance || !c->instance->node->self)
		return;
	if (c->kind == WM_CHANGE_INSTANCE_UPSERT)
		follow(d, c->instance);
	if (c->kind != WM_CHANGE_INSTANCE_DELETED)
		return;
	x = wm_map_get(d->by_id, c->instance->id, strlen(c->instance->id));
	if (x)
		forget(d, x);
}

/* --- counting --------------------------------------------------------------------------------- */
static void count_one(void *arg, uint32_t backend)
{
	struct wm_drains *d = arg;

	if (backend < wm_tables_memory(d->tables)->backends_cap && d->owner[backend])
		d->owner[backend]->open++;
}

/* Whose backends are which; @p on false: nobody's again. */
static void mark(struct wm_drains *d, bool on)
{
	uint32_t index[BACKENDS_OF];
	const struct wm_instance *i;
	struct drain *x;
	unsigned n;

	TAILQ_FOREACH (x, &d->list, entry) {
		i = wm_registry_instance(d->registry, x->id);
		n = i ? wm_tables_backends_of(d->tables, i->service->name, i->hash, index,
					      BACKENDS_OF)
		      : 0;
		/* what stands in no table was steered to by nobody, as far as is known now */
		x->counted = n && n <= BACKENDS_OF && !x->blind;
		x->open = on ? 0 : x->open;
		for (unsigned k = 0; x->counted && k < n; k++)
			d->owner[index[k]] = on ? x : NULL;
	}
}

static void count(struct wm_drains *d)
{
	struct drain *x;
	int64_t r = -ENOMEM;

	if (!d->plane)
		return;
	if (!d->owner)
		d->owner =
			calloc(wm_tables_memory(d->tables)->backends_cap, sizeof(struct drain *));
	if (d->owner) {
		mark(d, true);
		r = wm_plane_open_sockets(d->plane, count_one, d);
		mark(d, false);
	}
	d->counters[r < 0 ? WM_DRAIN_FAILED : WM_DRAIN_PASSES]++;
	TAILQ_FOREACH (x, &d->list, entry) {
		x->counted = x->counted && r >= 0;
		x->proof = x->counted && !x->open ? x->proof + 1 : 0;
	}
}

static void leave(struct wm_drains *d, struct drain *x, uint64_t now)
{
	bool proved = x->proof >= PROOF_PASSES;

	if (wm_registry_drained(d->registry, x->id))
		return; /* the next tick tries again */
	wm_info("drain.end", "id=%s by=%s open=%llu", wm_log_q(x->id),
		proved ? "proof" : "deadline", (unsigned long long)x->open);
	d->counters[proved ? WM_DRAIN_PROVED : WM_DRAIN_EXPIRED]++;
	/* it is forgotten when it has gone; the commit may fail */
	x->proof = 0;
	x->due_ms = now + RETRY_MS;
}

static void on_tick(void *arg)
{
	struct wm_drains *d = arg;
	uint64_t now = wm_clock_ms();
	struct drain *x;

	if (TAILQ_EMPTY(&d->list))
		return;
	count(d);
	TAILQ_FOREACH (x, &d->list, entry) {
		if (x->proof >= PROOF_PASSES || now >= x->due_ms)
			leave(d, x, now);
	}
	if (!TAILQ_EMPTY(&d->list))
		wm_timer_arm(d->timer, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_drains *wm_drains_new(struct wm_loop *l, struct wm_registry *r, const struct wm_tables *t,
				struct wm_plane *plane, bool adopted)
{
	struct wm_drains *d = calloc(1, sizeof(*d));
	const struct wm_instance *i;
	struct drain *x;
	size_t pos = 0;

	if (!d)
		return NULL;
	d->registry = r;
	d->tables = t;
	d->plane = plane;
	TAILQ_INIT(&d->list);
	d->by_id = wm_map_new(DRAINS_MAX);
	d->timer = wm_timer_new(l, on_tick, d);
	if (!d->by_id || !d->timer || wm_registry_subscribe(r, on_change, d)) {
		wm_drains_free(d);
		return NULL;
	}
	while ((i = wm_node_next_instance(wm_registry_node(r), &pos)))
		follow(d, i);
	TAILQ_FOREACH (x, &d->list, entry)
		x->blind = !adopted;
	return d;
}

void wm_drains_free(struct wm_drains *d)
{
	struct drain *x;

	if (!d)
		return;
	while ((x = TAILQ_FIRST(&d->list)))
		forget(d, x);
	wm_map_free(d->by_id);
	wm_timer_free(d->timer);
	free(d);
}

bool wm_drains_open(const struct wm_drains *d, const char *id, uint64_t *ret_open)
{
	const struct drain *x = wm_map_get(d->by_id, id, strlen(id));

	if (!x || !x->counted)
		return false;
	*ret_open = x->open;
	return true;
}

unsigned wm_drains_active(const struct wm_drains *d)
{
	return (unsigned)wm_map_len(d->by_id);
}

const uint64_t *wm_drains_counters(const struct wm_drains *d)
{
	return d->counters;
}
