/* SPDX-License-Identifier: Apache-2.0 */
#include "outliers.h"

#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"
#include "waymark/choose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASTEN_MS  1000	      /* between probes of an instance that are hastened */
#define TEXT_MAX   256	      /* octets of a check's output, NUL included */
#define OUT_MAX	   (1u << 24) /* entries of the map: as many backends as there may be */
#define LOOK_AGAIN 1	      /* ms behind the end of an ejection */

/* A backend that is ejected. */
struct out {
	uint32_t backend, stamp;
	uint32_t service; /* as struct wm_backend has it and the next */
	uint64_t instance;
	uint64_t until_ns;
};
struct wm_outliers {
	struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_plane_events *events;
	struct wm_health *health;
	struct wm_timer *timer; /* at the next end */
	struct wm_map *out;	/* by backend */
	uint32_t *hastened_ms;	/* by backend: when its probes were, low half of the clock */
	uint64_t counters[WM_OUTLIER_COUNTER_COUNT];
};

/* --- whose it is ------------------------------------------------------------------------------ */
static struct wm_instance *among(const struct wm_service *s, uint64_t hash)
{
	for (unsigned i = 0; i < s->instances_count; i++)
		if (s->instances[i]->hash == hash)
			return s->instances[i];
	return NULL;
}

/* Of the backend that is, or was, at @p index. Cost: of one that is there a look-up, else the names
 * of all services. */
static struct wm_instance *find(const struct wm_outliers *x, uint32_t index, uint32_t service,
				uint64_t instance)
{
	const struct wm_backend *b = &wm_tables_memory(x->tables)->backends[index];
	const char *name = b->service == service && b->instance == instance
				   ? wm_tables_service_with(x->tables, index)
				   : NULL;
	struct wm_service *s = name ? wm_registry_service(x->registry, name) : NULL;
	struct wm_instance *found = s ? among(s, instance) : NULL;
	size_t pos = 0;

	if (found)
		return found;
	while ((s = wm_registry_next_service(x->registry, &pos))) {
		struct wm_instance *i =
			(uint32_t)wm_hash_stable(s->name, strlen(s->name)) == service
				? among(s, instance)
				: NULL;

		if (i)
			return i;
	}
	return NULL;
}

/* The instance whose backend it is. */
static struct wm_instance *instance_of(const struct wm_outliers *x, uint32_t backend,
				       uint32_t stamp)
{
	const struct wm_backend *b = &wm_tables_memory(x->tables)->backends[backend];

	return b->state >> 16 == stamp ? find(x, backend, b->service, b->instance) : NULL;
}

static const struct wm_backend_live *live_of(const struct wm_outliers *x, uint32_t backend)
{
	return &wm_tables_memory(x->tables)->live[backend];
}

/* --- the check -------------------------------------------------------------------------------- */
static const char *reason_of(const struct wm_event *e)
{
	switch (e->reason) {
	case ECONNREFUSED:
		return "refused";
	case ETIMEDOUT:
		return "not answered";
	case 0:
		return "failed";
	default:
		return strerrordesc_np(e->reason) ? strerrordesc_np(e->reason) : "failed";
	}
}

static void tell_out(struct wm_outliers *x, struct wm_instance *i, const struct out *o,
		     const char *reason)
{
	const struct wm_backend_live *live = live_of(x, o->backend);
	uint64_t now = wm_clock_ns(), left = o->until_ns > now ? o->until_ns - now : 0;
	uint64_t s = (left + WM_NS_PER_S / 2) / WM_NS_PER_S;
	char text[TEXT_MAX];

	snprintf(text, sizeof(text),
		 "Connects from this node were %s: it is left out for %llu s, %s time", reason,
		 (unsigned long long)s,
		 live->ejections > 1 ? "and not for the first" : "the first");
	if (wm_registry_set_passive(x->registry, i, true, text))
		wm_warn("outlier.memory", "id=%s", wm_log_q(i->id));
	wm_info("outlier.ejected", "svc=%s id=%s node=%s reason=%s s=%llu times=%u",
		wm_log_q(i->service->name), wm_log_q(i->id), wm_log_q(i->node->name),
		wm_log_q(reason), (unsigned long long)s, live->ejections);
}

static void hasten(struct wm_outliers *x, uint32_t backend, const struct wm_instance *i)
{
	uint32_t now = (uint32_t)wm_clock_ms(), *at = &x->hastened_ms[backend];

	if (*at && now - *at < HASTEN_MS)
		return;
	*at = now ? now : 1;
	x->counters[WM_OUTLIER_HASTENED] += wm_health_hasten(x->health, i);
}

/* --- ends ------------------------------------------------------------------------------------- */
static void arm(struct wm_outliers *x)
{
	uint64_t now = wm_clock_ns(), next = UINT64_MAX;
	const struct out *o;
	size_t pos = 0;

	while ((o = wm_map_next(x->out, &pos)))
		next = o->until_ns < next ? o->until_ns : next;
	if (next == UINT64_MAX)
		wm_timer_disarm(x->timer);
	else
		wm_timer_arm(x->timer,
			     next > now ? (next - now) / WM_NS_PER_MS + LOOK_AGAIN : LOOK_AGAIN);
}

static void returned(struct wm_outliers *x, const struct wm_instance *i)
{
	x->counters[WM_OUTLIER_RETURNED]++;
	wm_info("outlier.returned", "svc=%s id=%s node=%s", wm_log_q(i->service->name),
		wm_log_q(i->id), wm_log_q(i->node->name));
}

/* Is another of the instance's backends out? It has one for each of its endpoints that `ports`
 * leads to. Cost: those that are out. */
static bool is_out_elsewhere(const struct wm_outliers *x, const struct out *o)
{
	const struct out *other;
	size_t pos = 0;

	while ((other = wm_map_next(x->out, &pos)))
		if (other != o && other->instance == o->instance && other->service == o->service)
			return true;
	return false;
}

static void end(struct wm_outliers *x, struct out *o)
{
	struct wm_instance *i = find(x, o->backend, o->service, o->instance);

	wm_tables_count_ejected(x->tables, o->backend, wm_clock_ns());
	wm_map_del(x->out, &o->backend, sizeof(o->backend));
	if (i) {
		returned(x, i);
		if (!is_out_elsewhere(x, o))
			(void)wm_registry_set_passive(x->registry, i, false, "Its time is over");
	}
	free(o);
}

/* Is it as the kernel has it? It may have been ejected again, or be another's. */
static void settle(struct wm_outliers *x, struct out *o)
{
	const struct wm_backend_live *live = live_of(x, o->backend);

	o->until_ns = __atomic_load_n(&live->ejected_until_ns, __ATOMIC_RELAXED);
	if (live->stamp != o->stamp || o->until_ns <= wm_clock_ns())
		end(x, o);
}

static void on_timer(void *arg)
{
	struct wm_outliers *x = arg;
	struct out *o;
	size_t pos = 0;

	while ((o = wm_map_next(x->out, &pos)))
		settle(x, o);
	arm(x);
}

/* --- news ------------------------------------------------------------------------------------- */
static void begin(struct wm_outliers *x, const struct wm_event *e)
{
	struct wm_instance *i = instance_of(x, e->backend, e->stamp);
	struct out *o = wm_map_get(x->out, &e->backend, sizeof(e->backend));

	wm_tables_count_ejected(x->tables, e->backend, wm_clock_ns());
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (o)
			o->backend = e->backend;
		if (!o || wm_map_put(x->out, &o->backend, sizeof(o->backend), o, NULL)) {
			wm_warn("outlier.memory", "backend=%u", e->backend);
			free(o);
			return;
		}
	}
	if (i && o->until_ns && o->until_ns <= e->time_ns)
		returned(x, i); /* and failed before we looked */
	o->stamp = e->stamp;
	o->service = wm_tables_memory(x->tables)->backends[e->backend].service;
	o->instance = wm_tables_memory(x->tables)->backends[e->backend].instance;
	o->until_ns = e->value;
	if (i) {
		tell_out(x, i, o, reason_of(e));
		hasten(x, e->backend, i);
	}
	arm(x);
}

static void on_event(void *arg, const struct wm_event *e)
{
	struct wm_outliers *x = arg;
	struct wm_instance *i;
	struct out *o;

	if (e->backend >= wm_tables_memory(x->tables)->backends_cap)
		return;
	if (e->kind == WM_EVENT_EJECTED) {
		x->counters[WM_OUTLIER_EJECTED]++;
		begin(x, e);
	} else if (e->kind == WM_EVENT_FAILED) {
		x->counters[WM_OUTLIER_FAILED]++;
		if ((uint32_t)wm_clock_ms() - x->hastened_ms[e->backend] < HASTEN_MS)
			return;
		i = instance_of(x, e->backend, e->stamp);
		if (i)
			hasten(x, e->backend, i);
	} else { /* somebody listens again, which ends it */
		o = wm_map_get(x->out, &e->backend, sizeof(e->backend));
		if (o)
			settle(x, o);
		arm(x);
	}
}

/* --- life ------------------------------------------------------------------------------------- */
/* Who was ejected while no agent ran, or by an earlier one's programs. */
static void adopt(struct wm_outliers *x)
{
	const struct wm_table_memory *m = wm_tables_memory(x->tables);
	uint64_t now = wm_clock_ns();

	for (uint32_t i = 0; m->live && i < m->backends_cap; i++) {
		const struct wm_backend_live *live = &m->live[i];
		const struct wm_event e = {.backend = i,
					   .stamp = live->stamp,
					   .value = live->ejected_until_ns,
					   .reason = 0};

		if (m->backends[i].state & WM_STATE_MASK && wm_ejected(live, live->stamp, now))
			begin(x, &e);
	}
}

struct wm_outliers *wm_outliers_new(struct wm_loop *l, struct wm_registry *r, struct wm_tables *t,
				    struct wm_plane_events *events, struct wm_health *health)
{
	const uint64_t kinds =
		WM_EVENT_BIT(EJECTED) | WM_EVENT_BIT(FAILED) | WM_EVENT_BIT(LISTENER_BACK);
	struct wm_outliers *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->registry = r;
	x->tables = t;
	x->health = health;
	x->timer = wm_timer_new(l, on_timer, x);
	x->out = wm_map_new(OUT_MAX);
	x->hastened_ms = calloc(wm_tables_memory(t)->backends_cap, sizeof(*x->hastened_ms));
	if (!x->timer || !x->out || !x->hastened_ms ||
	    wm_plane_events_subscribe(events, kinds, on_event, x)) {
		wm_outliers_free(x);
		return NULL;
	}
	x->events = events;
	adopt(x);
	return x;
}

void wm_outliers_free(struct wm_outliers *x)
{
	struct out *o;
	size_t pos = 0;

	if (!x)
		return;
	wm_plane_events_unsubscribe(x->events, x);
	while (x->out && (o = wm_map_next(x->out, &pos))) {
		wm_map_del(x->out, &o->backend, sizeof(o->backend));
		free(o);
	}
	wm_map_free(x->out);
	wm_timer_free(x->timer);
	free(x->hastened_ms);
	free(x);
}

unsigned wm_outliers_active(const struct wm_outliers *x)
{
	return (unsigned)wm_map_len(x->out);
}

const uint64_t *wm_outliers_counters(const struct wm_outliers *x)
{
	return x->counters;
}
