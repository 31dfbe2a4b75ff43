/* SPDX-License-Identifier: Apache-2.0 */
/* drain.c - see drain.h. */
#include "drain.h"

#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS 250 /* between counts: a client that closes is noticed in half a second */
#define POLL_MS 10  /* between looks whether a count has ended */
#define IDLE_OF 10  /* times what a count took until the next: a tenth of a processor at most */
#define PROOF_PASSES                                                                               \
	2		 /* counts of none in a row: one may miss a socket, see plane.h; and a     \
			  * connect() that chose just before the drain has its socket by then */
#define RETRY_MS    1000 /* until a removal that failed is tried again */
#define BACKENDS_OF WM_BACKENDS_OF_MAX
#define DRAINS_MAX  (1u << 24) /* the registry's bound of instances is met first */

struct drain {
	TAILQ_ENTRY(drain) entry;
	uint64_t until_ms; /* as stored */
	uint64_t due_ms;   /* the same on the loop's clock */
	uint64_t open;	   /* as last counted */
	bool counted;
	bool blind;			/* its sockets cannot be told: only the deadline ends it */
	bool told;			/* the log says that only the deadline ends it */
	unsigned proof;			/* counts of none in a row */
	uint32_t backends[BACKENDS_OF]; /* when the count that runs began */
	unsigned backends_count;	/* 0: it is not counted */
	const char *id;			/* behind its node in the key */
	size_t len;
	char key[]; /* the node's name in lower case, NUL, id */
};

struct wm_drains {
	struct wm_registry *registry;
	const struct wm_tables *tables;
	struct wm_plane *plane;
	struct wm_timer *timer;
	struct wm_map *by_id;
	TAILQ_HEAD(, drain) list;
	struct wm_pass *pass; /* the count that runs; NULL: none */
	uint64_t next_ms;     /* when the next may begin */
	char why[192];	      /* the last count saw not everything; "": it did */
	char text[192];	      /* of wm_drains_why() */
	uint64_t counters[WM_DRAIN_COUNTER_COUNT];
};

/* --- why only the deadline -------------------------------------------------------------------- */
static const char *errno_name(int r)
{
	const char *name = strerrorname_np(-r);

	return name ? name : "an unknown error";
}

static const char *why_any(struct wm_drains *d)
{
	bool everywhere;
	int r = d->plane ? wm_pass_possible(d->plane, WM_PASS_COUNT, &everywhere) : -ENOTCONN;

	if (!d->plane)
		return "the data plane is off: nobody counts connections";
	if (r == -ENOTCONN)
		return "connect() is not steered: nobody counts connections";
	if (r) {
		snprintf(d->text, sizeof(d->text), "the kernel refuses to list sockets: %s",
			 errno_name(r));
		return d->text;
	}
	return *d->why ? d->why : NULL;
}

static unsigned backends_of(const struct wm_drains *d, const struct drain *x,
			    uint32_t ret[BACKENDS_OF])
{
	const struct wm_instance *i = wm_registry_instance(d->registry, x->id);
	unsigned n = i ? wm_tables_backends_of(d->tables, i->hash, ret, BACKENDS_OF) : 0;

	return n <= BACKENDS_OF ? n : 0;
}

static const char *why_this(struct wm_drains *d, const struct drain *x)
{
	uint32_t index[BACKENDS_OF];

	if (x->blind)
		return "its connections were opened before the kernel's tables were made anew";
	/* what stands in no table was steered to by nobody, as far as is known now */
	return backends_of(d, x, index) ? why_any(d) : "it stands in no table of the kernel";
}

static void tell(struct wm_drains *d, struct drain *x)
{
	const char *why = x->told ? NULL : why_this(d, x);

	if (!why)
		return;
	x->told = true;
	wm_warn("drain.deadline_only", "id=%s text=%s", wm_log_q(x->id), wm_log_q(why));
}

/* --- following -------------------------------------------------------------------------------- */
static void forget(struct wm_drains *d, struct drain *x)
{
	TAILQ_REMOVE(&d->list, x, entry);
	wm_map_del(d->by_id, x->key, x->len);
	free(x);
}

static struct drain *find(const struct wm_drains *d, const struct wm_instance *i)
{
	char key[WM_NODE_NAME_MAX + WM_INSTANCE_ID_MAX + 2];
	size_t n = strlen(i->node->folded) + 1, len = strlen(i->id);

	memcpy(key, i->node->folded, n);
	memcpy(key + n, i->id, len);
	return wm_map_get(d->by_id, key, n + len);
}

static struct drain *begin(struct wm_drains *d, const struct wm_instance *i)
{
	size_t n = strlen(i->node->folded) + 1, len = strlen(i->id);
	struct drain *x = calloc(1, sizeof(*x) + n + len + 1);

	if (!x)
		return NULL;
	memcpy(x->key, i->node->folded, n);
	x->id = memcpy(x->key + n, i->id, len + 1);
	x->len = n + len;
	if (wm_map_put(d->by_id, x->key, x->len, x, NULL)) {
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
	struct drain *x = TAILQ_EMPTY(&d->list) ? NULL : find(d, i);
	uint64_t wall, left;

	if (i->lifecycle != WM_LIFE_STOPPING || !i->drain_until_ms) {
		if (x)
			forget(d, x);
		return;
	}
	if (x && x->until_ms == i->drain_until_ms)
		return;
	if (!x)
		x = begin(d, i);
	if (!x) {
		wm_error("drain.memory", "id=%s", wm_log_q(i->id));
		return;
	}
	wall = wm_clock_wall_ms();
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
	x = find(d, c->instance);
	if (x)
		forget(d, x);
}

/* --- counting --------------------------------------------------------------------------------- */
static void begin_count(struct wm_drains *d)
{
	struct drain *x;
	int r = d->plane ? wm_pass_start(d->plane, WM_PASS_COUNT, &d->pass) : -ENOTCONN;

	if (r && d->plane)
		d->counters[WM_DRAIN_FAILED]++;
	TAILQ_FOREACH (x, &d->list, entry) {
		x->backends_count = r || x->blind ? 0 : backends_of(d, x, x->backends);
		if (r)
			x->proof = x->counted = 0;
	}
	d->next_ms = wm_clock_ms() + TICK_MS;
}

/* What other namespaces hold is not seen: none is then no proof. */
static void judge(struct wm_drains *d, const struct wm_pass_result *res)
{
	if (res->unseen)
		snprintf(d->why, sizeof(d->why),
			 "connections in %u network namespaces are not seen: %s", res->unseen,
			 errno_name(res->unseen_error));
	else if (res->unseen_error == -EXDEV)
		snprintf(d->why, sizeof(d->why),
			 "connections in network namespaces outside of the agent's pid namespace "
			 "are not seen");
	else if (res->unseen_error)
		snprintf(d->why, sizeof(d->why),
			 "connections in other network namespaces are not seen: %s",
			 errno_name(res->unseen_error));
	else
		*d->why = '\0';
}

/* A count tells of those that were there, with the same backends, when it began. */
static void take_count(struct wm_drains *d, struct drain *x, const struct wm_pass_result *res)
{
	uint32_t now[BACKENDS_OF];
	uint64_t open = 0;

	x->counted = !res->error && x->backends_count &&
		     backends_of(d, x, now) == x->backends_count &&
		     memcmp(now, x->backends, x->backends_count * sizeof(*now)) == 0;
	for (unsigned i = 0; x->counted && i < x->backends_count; i++)
		open += res->open[x->backends[i]];
	x->open = open;
	x->proof = x->counted && !open && !*d->why ? x->proof + 1 : 0;
}

/* @return false while it runs. */
static bool end_count(struct wm_drains *d)
{
	const struct wm_pass_result *res = wm_pass_result(d->pass);
	uint64_t idle_ms;
	struct drain *x;

	if (!res)
		return false;
	judge(d, res);
	d->counters[res->error ? WM_DRAIN_FAILED : WM_DRAIN_PASSES]++;
	TAILQ_FOREACH (x, &d->list, entry) {
		take_count(d, x, res);
		tell(d, x);
	}
	idle_ms = res->took_ns * IDLE_OF / WM_NS_PER_MS;
	d->next_ms = wm_clock_ms() + (idle_ms > TICK_MS ? idle_ms : TICK_MS);
	wm_pass_free(d->pass);
	d->pass = NULL;
	return true;
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

	if (d->pass)
		end_count(d);
	if (!d->pass && now >= d->next_ms && !TAILQ_EMPTY(&d->list))
		begin_count(d);
	TAILQ_FOREACH (x, &d->list, entry) {
		tell(d, x);
		if (x->proof >= PROOF_PASSES || now >= x->due_ms)
			leave(d, x, now);
	}
	if (d->pass)
		wm_timer_arm(d->timer, POLL_MS);
	else if (!TAILQ_EMPTY(&d->list))
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
	wm_pass_free(d->pass);
	wm_map_free(d->by_id);
	wm_timer_free(d->timer);
	free(d);
}

bool wm_drains_open(const struct wm_drains *d, const struct wm_instance *i, uint64_t *ret_open)
{
	const struct drain *x = find(d, i);

	if (!x || !x->counted)
		return false;
	*ret_open = x->open;
	return true;
}

const char *wm_drains_why(struct wm_drains *d, const struct wm_instance *i)
{
	const struct drain *x = i ? find(d, i) : NULL;

	return x ? why_this(d, x) : why_any(d);
}

unsigned wm_drains_active(const struct wm_drains *d)
{
	return (unsigned)wm_map_len(d->by_id);
}

const uint64_t *wm_drains_counters(const struct wm_drains *d)
{
	return d->counters;
}
