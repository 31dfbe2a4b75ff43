/* SPDX-License-Identifier: Apache-2.0 */
/* backends.c - instances and their places in `backends`. A backend belongs to no set: sets hold it,
 * and it is free when the last one lets go. Its health is one word for all of them. */
#include "internal.h"
#include "waymark/choose.h"
#include "waymark/name_hash.h"
#include "waymark/outlier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int wm_backends_init(struct wm_tables *t)
{
	t->buckets = 64;
	while (t->buckets < t->mem.backends_cap)
		t->buckets *= 2;
	t->by_instance = malloc(t->buckets * sizeof(*t->by_instance));
	t->places = calloc(t->mem.backends_cap, sizeof(*t->places));
	if (!t->by_instance || !t->places)
		return -ENOMEM;
	memset(t->by_instance, 0xff, t->buckets * sizeof(*t->by_instance));
	for (uint32_t i = 0; i < t->mem.backends_cap; i++)
		t->places[i].next = t->places[i].hold = WM_NO_INDEX;
	t->holds_free = WM_NO_INDEX;
	return 0;
}

void wm_backends_free(struct wm_tables *t)
{
	free(t->by_instance);
	free(t->places);
	free(t->holds);
}

/* --- by instance ------------------------------------------------------------------------------ */
static uint32_t *bucket_of(const struct wm_tables *t, uint64_t instance)
{
	return &t->by_instance[wm_mix64(instance) & (t->buckets - 1)];
}

/* The first at or behind @p index that is of @p instance. */
static uint32_t from(const struct wm_tables *t, uint32_t index, uint64_t instance)
{
	while (index != WM_NO_INDEX && t->mem.backends[index].instance != instance)
		index = t->places[index].next;
	return index;
}

uint32_t wm_backend_of(const struct wm_tables *t, uint64_t instance)
{
	return from(t, *bucket_of(t, instance), instance);
}

uint32_t wm_backend_next(const struct wm_tables *t, uint32_t index)
{
	return from(t, t->places[index].next, t->mem.backends[index].instance);
}

static void enter(struct wm_tables *t, uint32_t index)
{
	uint32_t *first = bucket_of(t, t->mem.backends[index].instance);

	t->places[index].next = *first;
	*first = index;
}

static void leave(struct wm_tables *t, uint32_t index)
{
	uint32_t *at = bucket_of(t, t->mem.backends[index].instance);

	while (*at != WM_NO_INDEX && *at != index)
		at = &t->places[*at].next;
	if (*at == index)
		*at = t->places[index].next;
	t->places[index].next = WM_NO_INDEX;
}

/* --- addresses -------------------------------------------------------------------------------- */
static uint16_t families_of(const struct wm_want_backend *b)
{
	static const uint8_t none[16];

	return (uint16_t)((b->addr4_be ? WM_FAMILY_4 : 0) |
			  (memcmp(b->addr6, none, 16) != 0 ? WM_FAMILY_6 : 0));
}

/* @return false: no name on the wire can be written, or it is too long. */
static bool target_wire(const char *node, struct wm_target *ret)
{
	uint8_t wire[WM_TARGET_MAX];
	size_t at = 0, len;

	*ret = (struct wm_target){.len = 0};
	for (; node; node = node[len] ? node + len + 1 : NULL) {
		len = strcspn(node, ".");
		if (!len || len > WM_DNS_LABEL_MAX || at + 1 + len > sizeof(wire))
			return false;
		wire[at++] = (uint8_t)len;
		memcpy(wire + at, node, len);
		at += len;
	}
	memcpy(ret->words, wire, at);
	ret->len = (uint8_t)at;
	return true;
}

bool wm_backend_has_target(const struct wm_want_backend *w)
{
	struct wm_target t;

	return target_wire(w->node, &t);
}

bool wm_targets_there(const struct wm_tables *t)
{
	return t->mem.targets || (t->ops && t->ops->target_get);
}

/* Does what stands at @p index lead to where it is wanted? */
static bool leads_to(const struct wm_tables *t, uint32_t index, const struct wm_want_backend *w)
{
	const struct wm_target *have;
	struct wm_target want;

	if (!wm_targets_there(t))
		return true;
	(void)target_wire(w->node, &want);
	have = t->mem.targets ? &t->mem.targets[index] : t->ops->target_get(t->ops->arg, index);
	return have && !memcmp(have, &want, sizeof(want));
}

/* @return WM_BACKEND_F_* that say the same. */
static uint16_t lead_to(struct wm_tables *t, uint32_t index, const struct wm_want_backend *w)
{
	struct wm_target want;

	(void)target_wire(w->node, &want);
	if (t->mem.targets)
		t->mem.targets[index] = want;
	else if (t->ops && t->ops->target_put) /* fails for no index that there is */
		(void)t->ops->target_put(t->ops->arg, index, &want);
	return want.len ? 0 : WM_BACKEND_F_BY_ADDRESS;
}

bool wm_backend_is(const struct wm_backend *have, const struct wm_want_backend *want)
{
	return have->addr4_be == want->addr4_be && memcmp(have->addr6_be, want->addr6, 16) == 0 &&
	       have->port_be == __builtin_bswap16(want->port) &&
	       have->families == families_of(want);
}

uint32_t wm_backend_find(const struct wm_tables *t, const struct wm_want_backend *w)
{
	uint32_t i = wm_backend_of(t, w->instance);

	while (i != WM_NO_INDEX && !(wm_backend_is(&t->mem.backends[i], w) && leads_to(t, i, w)))
		i = wm_backend_next(t, i);
	return i;
}

/* --- how many are up -------------------------------------------------------------------------- */
static void add_up(struct wm_tables *t, uint32_t set, uint32_t families, int n)
{
	struct wm_set_live *l = t->mem.set_live ? &t->mem.set_live[set] : NULL;

	if (l && families & WM_FAMILY_4)
		__atomic_store_n(&l->up4, l->up4 + (uint32_t)n, __ATOMIC_RELAXED);
	if (l && families & WM_FAMILY_6)
		__atomic_store_n(&l->up6, l->up6 + (uint32_t)n, __ATOMIC_RELAXED);
	wm_cuts_mark(t, set);
}

/* What userspace last stored. One that fell is up as far as that goes: it rises by itself, so it is
 * counted, as a count of none is taken at its word. */
static uint32_t stored(uint32_t word)
{
	return word & WM_STATE_F_FELL ? WM_STATE_UP : word & WM_STATE_MASK;
}

static bool is_up(const struct wm_backend *b)
{
	return stored(b->state) == WM_STATE_UP;
}

static void add_up_everywhere(struct wm_tables *t, uint32_t index, int n)
{
	for (uint32_t h = t->places[index].hold; h != WM_NO_INDEX; h = t->holds[h].next)
		add_up(t, t->holds[h].set, t->mem.backends[index].families, n);
}

/* Programs read them meanwhile: not from 0 up, but in one store each. */
void wm_backends_count_up(struct wm_tables *t, const struct wm_svc *s)
{
	struct wm_set_live *l = t->mem.set_live ? &t->mem.set_live[s->set] : NULL;
	uint32_t up4 = 0, up6 = 0;

	for (uint32_t i = 0; i < s->refs_count; i++) {
		const struct wm_backend *b = &t->mem.backends[s->refs[i].index];

		up4 += is_up(b) && b->families & WM_FAMILY_4;
		up6 += is_up(b) && b->families & WM_FAMILY_6;
	}
	if (!l)
		return;
	__atomic_store_n(&l->up4, up4, __ATOMIC_RELAXED);
	__atomic_store_n(&l->up6, up6, __ATOMIC_RELAXED);
}

/* --- how many are ejected --------------------------------------------------------------------- */
/* Programs add to the count as they eject, and take from it when one is back. Whoever of both has
 * noticed an end has noticed it for all. */
void wm_backends_count_ejected(struct wm_tables *t, const struct wm_svc *s, uint64_t now_ns)
{
	struct wm_set_live nobodys = {0}, *l = &t->mem.set_live[s->set];
	uint32_t seen = __atomic_load_n(&l->ejected, __ATOMIC_RELAXED), n;

	do {
		n = 0;
		for (uint32_t i = 0; i < s->refs_count; i++) {
			const struct wm_backend *b = &t->mem.backends[s->refs[i].index];
			struct wm_backend_live *live = &t->mem.live[s->refs[i].index];

			(void)wm_note_return(live, &nobodys, now_ns);
			n += is_up(b) && wm_ejected(live, b->state >> 16, now_ns);
		}
	} while (!__atomic_compare_exchange_n(&l->ejected, &seen, n, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
}

uint32_t wm_tables_ejected(const struct wm_tables *t, const char *service, const char *label)
{
	const struct wm_svc *s = wm_svc_find(t, service, label, 0, 0);

	return s && t->mem.set_live
		       ? __atomic_load_n(&t->mem.set_live[s->set].ejected, __ATOMIC_RELAXED)
		       : 0;
}

bool wm_tables_asks_ejected(const struct wm_tables *t, const char *service, const char *label)
{
	const struct wm_svc *s = wm_svc_find(t, service, label, 0, 0);
	struct wm_view v = wm_tables_view(t);
	struct wm_table table;

	return s && wm_table_load(&v, s->set, &table) == WM_PICKED &&
	       wm_left_out_by_others(&v, &table);
}

bool wm_tables_is_ejected(const struct wm_tables *t, uint64_t instance, uint16_t port,
			  uint64_t now_ns)
{
	uint32_t i = t->mem.live ? wm_backend_of(t, instance) : WM_NO_INDEX;

	for (; i != WM_NO_INDEX; i = wm_backend_next(t, i))
		if (t->mem.backends[i].port_be == __builtin_bswap16(port) &&
		    wm_ejected(&t->mem.live[i], t->mem.backends[i].state >> 16, now_ns))
			return true;
	return false;
}

void wm_tables_count_ejected(struct wm_tables *t, uint32_t index, uint64_t now_ns)
{
	if (!t->mem.live || !t->mem.set_live || index >= t->mem.backends_cap)
		return;
	for (uint32_t h = t->places[index].hold; h != WM_NO_INDEX; h = t->holds[h].next)
		if (t->by_set[t->holds[h].set])
			wm_backends_count_ejected(t, t->by_set[t->holds[h].set], now_ns);
}

const char *wm_tables_service_with(const struct wm_tables *t, uint32_t index)
{
	uint32_t h = index < t->mem.backends_cap ? t->places[index].hold : WM_NO_INDEX;

	for (; h != WM_NO_INDEX; h = t->holds[h].next)
		if (t->mem.sets[t->holds[h].set].service == t->mem.backends[index].service)
			return wm_tables_service_of(t, t->holds[h].set);
	return NULL;
}

/* --- state ------------------------------------------------------------------------------------ */
/* May sockets be connected to it? */
static bool connects(uint32_t state)
{
	return state == WM_STATE_UP || state == WM_STATE_DRAIN;
}

void wm_tables_on_lost(struct wm_tables *t,
		       void (*fn)(void *arg, uint32_t index, uint32_t stamp, bool abort_tcp),
		       void *arg)
{
	t->lost = fn;
	t->lost_arg = arg;
}

void wm_tables_rise(const struct wm_tables *t, uint32_t index)
{
	uint32_t *word = &t->mem.backends[index].state;
	uint32_t fell = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	if (fell & WM_STATE_F_FELL)
		(void)__atomic_compare_exchange_n(word, &fell, (fell & 0xffff0000u) | WM_STATE_UP,
						  false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void wm_tables_rise_all(const struct wm_tables *t)
{
	for (uint32_t i = 0; i < t->mem.backends_cap; i++)
		wm_tables_rise(t, i);
}

void wm_backend_state(struct wm_tables *t, uint32_t index, uint32_t state)
{
	uint32_t *word = &t->mem.backends[index].state;
	uint32_t old = __atomic_load_n(word, __ATOMIC_RELAXED), was = stored(old);

	if (was == state)
		return;
	/* a count of none is taken at its word: it is the last to fall and the first to rise */
	if (state == WM_STATE_UP)
		add_up_everywhere(t, index, 1);
	__atomic_store_n(word, (old & 0xffff0000u) | state, __ATOMIC_RELEASE);
	if (was == WM_STATE_UP)
		add_up_everywhere(t, index, -1);
	t->stats.state_stores++;
	if (t->lost && connects(was) && !connects(state))
		t->lost(t->lost_arg, index, old >> 16, t->places[index].abort_tcp);
}

void wm_backend_update(struct wm_tables *t, uint32_t index, uint32_t service,
		       const struct wm_want_backend *w)
{
	struct wm_backend *b = &t->mem.backends[index];

	if (b->service != (w->service ? w->service : service))
		b->service = w->service ? w->service : service;
	if (b->weight != (uint16_t)w->weight) {
		__atomic_store_n(&b->weight, (uint16_t)w->weight, __ATOMIC_RELAXED);
		for (uint32_t h = t->places[index].hold; h != WM_NO_INDEX; h = t->holds[h].next)
			wm_cuts_mark(t, t->holds[h].set);
	}
	t->places[index].abort_tcp = w->abort_tcp;
	wm_backend_state(t, index, w->state);
}

void wm_backend_occupy(struct wm_tables *t, uint32_t index, uint32_t service,
		       const struct wm_want_backend *w)
{
	struct wm_backend *b = &t->mem.backends[index];
	uint16_t stamp = (uint16_t)((b->state >> 16) + 1);

	__atomic_store_n(&b->state, (uint32_t)stamp << 16 | WM_STATE_FREE, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	b->port_be = __builtin_bswap16(w->port);
	b->families = families_of(w);
	b->addr4_be = w->addr4_be;
	b->weight = (uint16_t)w->weight;
	b->flags = lead_to(t, index, w);
	b->out_until_ns = 0;
	memcpy(b->addr6_be, w->addr6, 16);
	b->instance = w->instance;
	b->service = w->service ? w->service : service;
	if (t->mem.live)
		t->mem.live[index] = (struct wm_backend_live){.stamp = stamp};
	t->places[index].abort_tcp = w->abort_tcp;
	enter(t, index);
	__atomic_store_n(&b->state, (uint32_t)stamp << 16 | w->state, __ATOMIC_RELEASE);
}

void wm_backend_adopt(struct wm_tables *t, uint32_t index)
{
	/* programs of an agent that did not know of it ejected without it */
	if (t->mem.live)
		t->mem.backends[index].out_until_ns = t->mem.live[index].ejected_until_ns;
	wm_index_reserve(t->backends, index);
	enter(t, index);
}

static void vacate(struct wm_tables *t, uint32_t index, bool at_once)
{
	wm_backend_state(t, index, WM_STATE_FREE);
	leave(t, index);
	wm_index_give(t->backends, index, at_once ? 0 : wm_tables_ticket(t));
}

/* --- holds ------------------------------------------------------------------------------------ */
int wm_holds_reserve(struct wm_tables *t, uint32_t n)
{
	uint32_t have = 0, cap = t->holds_cap ? t->holds_cap : 64;
	struct wm_hold *holds;

	for (uint32_t h = t->holds_free; h != WM_NO_INDEX && have < n; h = t->holds[h].next)
		have++;
	if (have >= n)
		return 0;
	while (cap - t->holds_cap < n)
		cap *= 2;
	holds = realloc(t->holds, cap * sizeof(*holds));
	if (!holds)
		return -ENOMEM;
	for (uint32_t h = t->holds_cap; h < cap; h++) {
		holds[h].next = t->holds_free;
		t->holds_free = h;
	}
	t->holds = holds;
	t->holds_cap = cap;
	return 0;
}

void wm_backend_hold(struct wm_tables *t, uint32_t index, uint32_t set)
{
	uint32_t h = t->holds_free;

	t->holds_free = t->holds[h].next;
	t->holds[h] = (struct wm_hold){set, t->places[index].hold};
	t->places[index].hold = h;
	if (is_up(&t->mem.backends[index]))
		add_up(t, set, t->mem.backends[index].families, 1);
}

void wm_backend_drop(struct wm_tables *t, uint32_t index, uint32_t set, bool at_once)
{
	uint32_t *at = &t->places[index].hold, h;

	while (*at != WM_NO_INDEX && t->holds[*at].set != set)
		at = &t->holds[*at].next;
	h = *at;
	if (h == WM_NO_INDEX)
		return;
	if (t->places[index].hold == h && t->holds[h].next == WM_NO_INDEX) {
		wm_traffic_left(t, index, set);
		vacate(t, index, at_once); /* while it is held, so that it is counted down */
	} else if (is_up(&t->mem.backends[index])) {
		add_up(t, set, t->mem.backends[index].families, -1);
	}
	*at = t->holds[h].next;
	t->holds[h].next = t->holds_free;
	t->holds_free = h;
}

unsigned wm_backend_held(const struct wm_tables *t, uint32_t index)
{
	uint32_t h = t->places[index].hold;

	if (h == WM_NO_INDEX)
		return 0;
	return t->holds[h].next == WM_NO_INDEX ? 1 : 2;
}

int wm_backends_sweep(struct wm_tables *t)
{
	int n = 0;

	for (uint32_t i = 0; i < t->mem.backends_cap; i++) {
		bool used = (t->mem.backends[i].state & WM_STATE_MASK) != WM_STATE_FREE;

		if (!used || t->places[i].hold != WM_NO_INDEX)
			continue;
		vacate(t, i, false);
		n++;
	}
	return n;
}
