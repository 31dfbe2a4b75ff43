/* SPDX-License-Identifier: Apache-2.0 */
/* resolution.c - follows the registry, compiles what changed, keeps the tables confirmed. */
#include "resolution.h"

#include "userspace/base/log.h"
#include "userspace/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS	       1000 /* ms between confirmations of the tables; rested places return then */
#define RETRY_PER_TICK 64   /* services that did not fit, tried again a tick: bounds the work */

/* What resolution keeps of a service: wm_service.compiled. */
struct compiled {
	struct wm_service *service;
	TAILQ_ENTRY(compiled) entry; /* in `dirty` or in `unfit`, or in none */
	enum { CLEAN, DIRTY, UNFIT } in;
};
TAILQ_HEAD(compiled_list, compiled);

struct wm_resolution {
	struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_timer *tick;
	struct compiled_list dirty, unfit; /* unfit: a table was full */
	struct wm_want_backend *want;	   /* scratch */
	size_t want_cap;
	uint64_t index;
};

/* --- marking ---------------------------------------------------------------------------------- */
static void move(struct wm_resolution *x, struct compiled *c, int to)
{
	if (c->in == DIRTY)
		TAILQ_REMOVE(&x->dirty, c, entry);
	if (c->in == UNFIT)
		TAILQ_REMOVE(&x->unfit, c, entry);
	c->in = to;
	if (to == DIRTY)
		TAILQ_INSERT_TAIL(&x->dirty, c, entry);
	if (to == UNFIT)
		TAILQ_INSERT_TAIL(&x->unfit, c, entry);
}

static void mark(struct wm_resolution *x, struct wm_service *s)
{
	struct compiled *c = s->compiled;

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			wm_error("resolution.memory", "svc=%s", wm_log_q(s->name));
			return;
		}
		c->service = s;
		s->compiled = c;
	}
	if (c->in != DIRTY)
		move(x, c, DIRTY);
}

/* --- wishes ----------------------------------------------------------------------------------- */
static uint32_t state_of(enum wm_status s)
{
	return s == WM_CRITICAL ? WM_STATE_DOWN : WM_STATE_UP;
}

/* A critical instance keeps its weight, so that going down and up moves nothing but its state. */
static uint32_t weight_of(const struct wm_instance *i)
{
	return i->status == WM_WARNING ? i->weight_warning : i->weight_passing;
}

static int fill(struct wm_resolution *x, const struct wm_service *s)
{
	if (s->instances_count > x->want_cap) {
		size_t cap = s->instances_count + s->instances_count / 2;
		struct wm_want_backend *want = realloc(x->want, cap * sizeof(*want));

		if (!want)
			return -ENOMEM;
		x->want = want;
		x->want_cap = cap;
	}
	for (unsigned k = 0; k < s->instances_count; k++) {
		const struct wm_instance *i = s->instances[k];

		x->want[k] = (struct wm_want_backend){.instance = i->hash,
						      .addr4_be = i->addr4.s_addr,
						      .port = i->port,
						      .weight = weight_of(i),
						      .state = state_of(i->status)};
		memcpy(x->want[k].addr6, &i->addr6, 16);
	}
	return 0;
}

static void compile(struct wm_resolution *x, struct compiled *c)
{
	const struct wm_service *s = c->service;
	struct wm_want_set w = {.service = s->name,
				.vip4_be = s->vip4.s_addr,
				.backends_count = s->instances_count};
	struct wm_err e = {0};
	int r = fill(x, s);

	memcpy(w.vip6, &s->vip6, 16);
	w.backends = x->want;
	if (!r)
		r = wm_tables_put(x->tables, &w, NULL, &e);
	if (r)
		wm_warn("resolution.unfit", "svc=%s err=%s text=%s", wm_log_q(s->name),
			wm_err_name(r), wm_log_q(e.text));
	move(x, c, r ? UNFIT : CLEAN);
}

static bool compile_dirty(void *arg)
{
	struct wm_resolution *x = arg;
	struct compiled *c;
	bool any = false;

	while ((c = TAILQ_FIRST(&x->dirty))) {
		compile(x, c);
		any = true;
	}
	x->index = wm_registry_index(x->registry);
	return any;
}

/* --- following -------------------------------------------------------------------------------- */
/* Does the kernel see a difference? Metadata and tags change often, addresses do not. */
static bool same_backend(const struct wm_instance *a, const struct wm_instance *b)
{
	return a->addr4.s_addr == b->addr4.s_addr && memcmp(&a->addr6, &b->addr6, 16) == 0 &&
	       a->port == b->port && weight_of(a) == weight_of(b) && a->status == b->status;
}

static void on_status(struct wm_resolution *x, const struct wm_change *c)
{
	const struct wm_instance *i = c->instance;

	/* at once: a pick after this line avoids what went down */
	bool unknown = wm_tables_state(x->tables, c->service->name, i->hash, state_of(i->status));
	bool weight_moves = i->weight_passing != i->weight_warning && i->status != WM_CRITICAL;

	if (unknown || weight_moves)
		mark(x, c->service);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_resolution *x = arg;
	struct compiled *gone;

	switch (c->kind) {
	case WM_CHANGE_INSTANCE_UPSERT:
		if (!c->old || !same_backend(c->old, c->instance))
			mark(x, c->service);
		break;
	case WM_CHANGE_SERVICE_CREATED:
	case WM_CHANGE_INSTANCE_DELETED:
		mark(x, c->service);
		break;
	case WM_CHANGE_STATUS:
		on_status(x, c);
		break;
	case WM_CHANGE_SERVICE_DELETED:
		wm_tables_del(x->tables, c->service->name);
		gone = c->service->compiled;
		if (gone)
			move(x, gone, CLEAN);
		free(gone);
		c->service->compiled = NULL;
		break;
	case WM_CHANGE_CHECK_REMOVED:
		break;
	}
}

static void on_tick(void *arg)
{
	struct wm_resolution *x = arg;
	struct wm_config *config = wm_tables_memory(x->tables)->config;
	struct compiled *c;

	wm_tables_recycle(x->tables);
	for (int i = 0; i < RETRY_PER_TICK && (c = TAILQ_FIRST(&x->unfit)); i++)
		move(x, c, DIRTY);
	compile_dirty(x);
	__atomic_store_n(&config->confirmed_ns, wm_clock_ns(), __ATOMIC_RELAXED);
	wm_timer_arm(x->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_resolution *wm_resolution_new(struct wm_loop *l, struct wm_registry *r,
					struct wm_tables *t)
{
	struct wm_resolution *x = calloc(1, sizeof(*x));
	struct wm_service *s;
	size_t pos = 0;

	if (!x)
		return NULL;
	x->registry = r;
	x->tables = t;
	TAILQ_INIT(&x->dirty);
	TAILQ_INIT(&x->unfit);
	x->tick = wm_timer_new(l, on_tick, x);
	if (!x->tick || wm_registry_subscribe(r, on_change, x) ||
	    wm_loop_on_turn_end(l, WM_HOOK_COMPILE, compile_dirty, x)) {
		wm_resolution_free(x);
		return NULL;
	}
	while ((s = wm_registry_next_service(r, &pos)))
		mark(x, s);
	compile_dirty(x);
	wm_tables_sweep(t);
	on_tick(x);
	return x;
}

void wm_resolution_free(struct wm_resolution *x)
{
	struct wm_service *s;
	size_t pos = 0;

	if (!x)
		return;
	while ((s = wm_registry_next_service(x->registry, &pos))) {
		free(s->compiled);
		s->compiled = NULL;
	}
	wm_timer_free(x->tick);
	free(x->want);
	free(x);
}

uint64_t wm_resolution_index(const struct wm_resolution *x)
{
	return x->index;
}
