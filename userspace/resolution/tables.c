/* SPDX-License-Identifier: Apache-2.0 */
/* tables.c - sets, slots and backends, changed by difference. */
#include "alias.h"
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- life ------------------------------------------------------------------------------------- */
struct wm_tables *wm_tables_new(const struct wm_table_memory *mem, const struct wm_plane_ops *ops,
				const char *domain, const char *alt_domain)
{
	struct wm_tables *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->mem = *mem;
	t->ops = ops;
	t->services = wm_map_new(mem->sets_cap);
	t->names = wm_map_new(mem->names_cap);
	t->hashes = wm_map_new(mem->names_cap);
	t->fronts = wm_map_new(mem->frontends_cap);
	t->by_set = calloc(mem->sets_cap, sizeof(struct wm_svc *));
	t->abort_tcp = calloc(mem->backends_cap, sizeof(*t->abort_tcp));
	t->sets = wm_index_pool_new(mem->sets_cap);
	t->backends = wm_index_pool_new(mem->backends_cap);
	t->slots = wm_range_pool_new(mem->slots_cap);
	if (!t->services || !t->names || !t->hashes || !t->fronts || !t->by_set || !t->abort_tcp ||
	    !t->sets || !t->backends || !t->slots || wm_wire_domain(domain, &t->domains[0]) ||
	    (alt_domain && wm_wire_domain(alt_domain, &t->domains[1]))) {
		wm_tables_free(t);
		return NULL;
	}
	return t;
}

void wm_tables_set_policy(struct wm_tables *t, const struct wm_tables_policy *p)
{
	t->policy = *p;
}

const struct wm_tables_policy *wm_tables_policy(const struct wm_tables *t)
{
	return &t->policy;
}

void wm_tables_free(struct wm_tables *t)
{
	size_t pos;
	void *v;

	if (!t)
		return;
	for (uint32_t i = 0; t->by_set && i < t->mem.sets_cap; i++) {
		if (!t->by_set[i])
			continue;
		free(t->by_set[i]->refs);
		free(t->by_set[i]);
	}
	for (pos = 0; t->names && (v = wm_map_next(t->names, &pos));)
		free(v);
	for (pos = 0; t->fronts && (v = wm_map_next(t->fronts, &pos));)
		free(v);
	wm_map_free(t->services);
	wm_map_free(t->names);
	wm_map_free(t->hashes);
	wm_map_free(t->fronts);
	wm_index_pool_free(t->sets);
	wm_index_pool_free(t->backends);
	wm_range_pool_free(t->slots);
	free(t->by_set);
	free(t->abort_tcp);
	free(t->slots_new);
	free(t->refs_new);
	free(t->order);
	free(t->picked);
	free(t->weights);
	free(t);
}

/* --- services --------------------------------------------------------------------------------- */
struct wm_svc *wm_svc_new(struct wm_tables *t, const char *name, uint32_t set)
{
	size_t len = strlen(name) + 1;
	struct wm_svc *s = calloc(1, sizeof(*s) + len);

	if (!s)
		return NULL;
	memcpy(s->name, name, len);
	s->set = set;
	if (*name && wm_map_put(t->services, s->name, strlen(s->name), s, NULL)) {
		free(s);
		return NULL;
	}
	t->by_set[set] = s;
	return s;
}

int wm_svc_add_ref(struct wm_svc *s, uint64_t instance, uint32_t index)
{
	if (s->refs_count == s->refs_cap) {
		uint32_t cap = s->refs_cap ? s->refs_cap * 2 : 4;
		struct wm_ref *refs = realloc(s->refs, cap * sizeof(*refs));

		if (!refs)
			return -ENOMEM;
		s->refs = refs;
		s->refs_cap = cap;
	}
	s->refs[s->refs_count++] = (struct wm_ref){instance, index};
	return 0;
}

static int compare_refs(const void *pa, const void *pb)
{
	const struct wm_ref *a = pa, *b = pb;

	if (a->instance != b->instance)
		return a->instance < b->instance ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

void wm_refs_sort(struct wm_ref *refs, uint32_t n)
{
	if (n > 1)
		qsort(refs, n, sizeof(*refs), compare_refs);
}

/* First reference of @p instance, or where it would stand. Cost O(log n). */
static uint32_t find_ref(const struct wm_svc *s, uint64_t instance)
{
	uint32_t low = 0, high = s->refs_count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->refs[mid].instance < instance)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* --- backends --------------------------------------------------------------------------------- */
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

/* The stamp stays: it tells occupants of the index apart. */
static void store_state(struct wm_tables *t, uint32_t index, uint32_t state)
{
	uint32_t *word = &t->mem.backends[index].state;
	uint32_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

	if ((old & WM_STATE_MASK) == state)
		return;
	__atomic_store_n(word, (old & ~WM_STATE_MASK) | state, __ATOMIC_RELEASE);
	t->stats.state_stores++;
	if (t->lost && connects(old & WM_STATE_MASK) && !connects(state))
		t->lost(t->lost_arg, index, old >> 16, t->abort_tcp[index]);
}

static uint16_t families_of(const struct wm_want_backend *b)
{
	static const uint8_t none[16];

	return (uint16_t)((b->addr4_be ? WM_FAMILY_4 : 0) |
			  (memcmp(b->addr6, none, 16) != 0 ? WM_FAMILY_6 : 0));
}

static bool same_address(const struct wm_backend *have, const struct wm_want_backend *want)
{
	return have->addr4_be == want->addr4_be && memcmp(have->addr6_be, want->addr6, 16) == 0 &&
	       have->port_be == __builtin_bswap16(want->port) &&
	       have->families == families_of(want);
}

/* A new occupant of @p index: address first, the state with its new stamp last. */
static void occupy(struct wm_tables *t, uint32_t index, uint32_t set,
		   const struct wm_want_backend *w)
{
	struct wm_backend *b = &t->mem.backends[index];
	uint32_t stamp = (b->state >> 16) + 1;

	__atomic_store_n(&b->state, stamp << 16 | WM_STATE_FREE, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	b->port_be = __builtin_bswap16(w->port);
	b->families = families_of(w);
	b->addr4_be = w->addr4_be;
	b->set = set;
	memcpy(b->addr6_be, w->addr6, 16);
	b->instance = w->instance;
	if (t->mem.stats)
		memset(&t->mem.stats[index], 0, sizeof(t->mem.stats[index]));
	__atomic_store_n(&b->state, stamp << 16 | w->state, __ATOMIC_RELEASE);
}

static void vacate(struct wm_tables *t, uint32_t index, uint64_t now_ns)
{
	store_state(t, index, WM_STATE_FREE);
	wm_index_give(t->backends, index, now_ns);
}

/* --- put -------------------------------------------------------------------------------------- */
static int grow_scratch(struct wm_tables *t, uint32_t n)
{
	uint32_t cap = t->scratch ? t->scratch : 64;

	if (n <= t->scratch)
		return 0;
	while (cap < n)
		cap *= 2;
	free(t->slots_new);
	free(t->refs_new);
	free(t->order);
	free(t->picked);
	free(t->weights);
	t->slots_new = malloc(cap * sizeof(*t->slots_new));
	t->refs_new = malloc(cap * sizeof(*t->refs_new));
	t->order = malloc(cap * sizeof(*t->order));
	t->picked = malloc(cap * sizeof(*t->picked));
	t->weights = malloc(cap * sizeof(*t->weights));
	t->scratch = cap;
	if (t->slots_new && t->refs_new && t->order && t->picked && t->weights)
		return 0;
	t->scratch = 0;
	return -ENOMEM;
}

static int compare_order(const void *pa, const void *pb, void *arg)
{
	const struct wm_want_backend *all = arg;
	uint64_t a = all[*(const uint32_t *)pa].instance, b = all[*(const uint32_t *)pb].instance;

	return a < b ? -1 : a > b;
}

/* The order of instances decides the slots: the same wanted, the same tables, on every node and
 * start. */
static void order_wants(struct wm_tables *t, const struct wm_want_set *w)
{
	bool sorted = true;

	for (uint32_t i = 0; i < w->backends_count; i++) {
		t->order[i] = i;
		if (i && w->backends[i].instance < w->backends[i - 1].instance)
			sorted = false;
	}
	if (!sorted)
		qsort_r(t->order, w->backends_count, sizeof(*t->order), compare_order,
			(void *)(uintptr_t)w->backends);
}

#define NEW_BACKEND 0xffffffffu

/* For each wanted backend, in order, the backend that is there already; NEW_BACKEND where none is.
 * @return how many are new. */
static uint32_t match(struct wm_tables *t, const struct wm_svc *s, const struct wm_want_set *w)
{
	uint32_t at = 0, fresh = 0;

	for (uint32_t i = 0; i < w->backends_count; i++) {
		const struct wm_want_backend *b = &w->backends[t->order[i]];

		t->refs_new[i] = (struct wm_ref){b->instance, NEW_BACKEND};
		while (at < s->refs_count && s->refs[at].instance < b->instance)
			at++;
		for (uint32_t k = at; k < s->refs_count && s->refs[k].instance == b->instance; k++)
			if (same_address(&t->mem.backends[s->refs[k].index], b)) {
				t->refs_new[i].index = s->refs[k].index;
				break;
			}
		fresh += t->refs_new[i].index == NEW_BACKEND;
	}
	return fresh;
}

/* Indexes for the new backends. All or none. */
static int take_backends(struct wm_tables *t, const struct wm_want_set *w)
{
	for (uint32_t i = 0; i < w->backends_count; i++) {
		if (t->refs_new[i].index != NEW_BACKEND) {
			t->picked[i] = 0;
			continue;
		}
		t->picked[i] = 1;
		if (!wm_index_take(t->backends, &t->refs_new[i].index))
			continue;
		while (i--)
			if (t->picked[i]) {
				wm_index_give(t->backends, t->refs_new[i].index, 0);
				t->refs_new[i].index = NEW_BACKEND;
			}
		return -ENOSPC;
	}
	return 0;
}

/* There is no room for the new ones: go on with those that are there. @return how many. */
static uint32_t keep_matched(struct wm_tables *t, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (t->refs_new[i].index == NEW_BACKEND)
			continue;
		t->refs_new[kept] = t->refs_new[i];
		t->order[kept++] = t->order[i];
	}
	return kept;
}

/* What is published stays; only the health of it follows. */
static void apply_states(struct wm_tables *t, const struct wm_svc *s, const struct wm_want_set *w,
			 uint32_t n)
{
	uint32_t i = 0;

	for (uint32_t k = 0; k < s->refs_count; k++) {
		const struct wm_want_backend *b = NULL;

		while (i < n && w->backends[t->order[i]].instance < s->refs[k].instance)
			i++;
		if (i < n && w->backends[t->order[i]].instance == s->refs[k].instance)
			b = &w->backends[t->order[i]];
		if (b && same_address(&t->mem.backends[s->refs[k].index], b))
			store_state(t, s->refs[k].index, b->state);
		else
			store_state(t, s->refs[k].index, WM_STATE_DOWN);
	}
}

/* The slots that the wanted set asks for, in t->slots_new. @return count or -ENOMEM. */
static int64_t build_slots(struct wm_tables *t, const struct wm_want_set *w, uint32_t n)
{
	uint32_t used = 0;
	int r;

	for (uint32_t i = 0; i < n; i++) {
		if (!w->backends[t->order[i]].weight)
			continue;
		t->picked[used] = t->refs_new[i].index;
		t->weights[used++] = w->backends[t->order[i]].weight;
	}
	r = wm_alias_build(t->picked, t->weights, used, t->slots_new);
	return r ? r : (int64_t)used;
}

static bool same_slots(const struct wm_tables *t, const struct wm_svc *s, uint32_t n)
{
	const struct wm_slot *have = t->mem.slots + s->published.first, *want = t->slots_new;

	if (s->damaged || n != s->published.count)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (have[i].backend != want[i].backend || have[i].alias != want[i].alias ||
		    have[i].keep != want[i].keep || have[i].weight != want[i].weight)
			return false;
	return true;
}

static int publish(struct wm_tables *t, struct wm_svc *s, uint32_t n, uint64_t now_ns)
{
	struct wm_set_table next = {.count = (uint16_t)n,
				    .generation = wm_next_generation(s->published.generation)};

	if (n && wm_range_take(t->slots, n, &next.first))
		return -ENOSPC;
	for (uint32_t i = 0; i < n; i++)
		t->slots_new[i].generation = next.generation;
	if (n)
		memcpy(t->mem.slots + next.first, t->slots_new, n * sizeof(*t->slots_new));
	wm_set_publish(&t->mem.sets[s->set], next);
	if (s->published.count && !s->damaged)
		wm_range_give(t->slots, s->published.first, s->published.count, now_ns);
	s->published = next;
	s->damaged = false;
	t->stats.publishes++;
	return 0;
}

/* The references change to t->refs_new; backends that are in the old list only are vacated. */
static void swap_refs(struct wm_tables *t, struct wm_svc *s, uint32_t n, uint64_t now_ns)
{
	uint32_t i = 0;

	wm_refs_sort(t->refs_new, n);
	for (uint32_t k = 0; k < s->refs_count; k++) {
		while (i < n && compare_refs(&t->refs_new[i], &s->refs[k]) < 0)
			i++;
		if (i == n || compare_refs(&t->refs_new[i], &s->refs[k]) != 0)
			vacate(t, s->refs[k].index, now_ns);
	}
	if (n)
		memcpy(s->refs, t->refs_new, n * sizeof(*s->refs));
	s->refs_count = n;
}

static int reserve_refs(struct wm_svc *s, uint32_t n)
{
	struct wm_ref *refs;

	if (n <= s->refs_cap)
		return 0;
	refs = realloc(s->refs, n * sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	s->refs = refs;
	s->refs_cap = n;
	return 0;
}

/* Is @p r one of the backends that @p s has? */
static bool has_ref(const struct wm_svc *s, struct wm_ref r)
{
	for (uint32_t k = find_ref(s, r.instance);
	     k < s->refs_count && s->refs[k].instance == r.instance; k++)
		if (s->refs[k].index == r.index)
			return true;
	return false;
}

/* The new backends were never published: back at once. What is published follows the health. */
static void roll_back(struct wm_tables *t, const struct wm_svc *s, const struct wm_want_set *w,
		      uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (has_ref(s, t->refs_new[i]))
			continue;
		store_state(t, t->refs_new[i].index, WM_STATE_FREE);
		wm_index_give(t->backends, t->refs_new[i].index, 0);
	}
	apply_states(t, s, w, n);
}

static uint32_t families_among(const struct wm_tables *t, const struct wm_ref *refs, uint32_t n)
{
	uint32_t families = 0;

	for (uint32_t i = 0; i < n; i++)
		families |= t->mem.backends[refs[i].index].families;
	return families;
}

/* Backends and slots of @p s. On failure what was published goes on, with the health of now. */
static int set_put(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
		   struct wm_err *e)
{
	uint64_t now = wm_clock_ns();
	uint32_t n = w->backends_count;
	uint32_t families, *shown = &t->mem.sets[s->set].families;
	bool full = false;
	int64_t slots;

	order_wants(t, w);
	if (match(t, s, w) && take_backends(t, w)) {
		/* without the new ones, but also without those that left: that makes room */
		n = keep_matched(t, n);
		full = true;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct wm_want_backend *b = &w->backends[t->order[i]];

		if (has_ref(s, t->refs_new[i]))
			store_state(t, t->refs_new[i].index, b->state);
		else
			occupy(t, t->refs_new[i].index, s->set, b);
		t->abort_tcp[t->refs_new[i].index] = b->abort_tcp;
	}
	/* while readers may hold the old slots and the new, those of both */
	families = families_among(t, t->refs_new, n);
	__atomic_store_n(shown, families | families_among(t, s->refs, s->refs_count),
			 __ATOMIC_RELEASE);
	slots = build_slots(t, w, n);
	if (slots < 0 ||
	    (!same_slots(t, s, (uint32_t)slots) && publish(t, s, (uint32_t)slots, now))) {
		roll_back(t, s, w, n);
		return slots < 0 ? (int)slots
				 : wm_err_set(e, WM_E_FULL, "slots: %u are the limit",
					      t->mem.slots_cap);
	}
	swap_refs(t, s, n, now);
	__atomic_store_n(shown, families, __ATOMIC_RELEASE);
	return full ? wm_err_set(e, WM_E_FULL, "backends: %u are the limit", t->mem.backends_cap)
		    : 0;
}

/* A service whose name fits no label has no entry in `names`: by its virtual address the set that
 * an earlier run left is known. @return NULL: there is none, or no memory to take it over. */
static struct wm_svc *adopted_for(struct wm_tables *t, const struct wm_want_set *w)
{
	uint32_t hash = (uint32_t)wm_hash_stable(w->service, strlen(w->service));
	size_t len = strlen(w->service);
	uint32_t set = wm_lookups_adopted(t, w);
	struct wm_svc *was = set == WM_NO_SET ? NULL : t->by_set[set], *s;

	if (!was || *was->name || was->claimed || t->mem.sets[set].service != hash)
		return NULL;
	s = realloc(was, sizeof(*s) + len + 1);
	if (!s)
		return NULL;
	t->by_set[set] = s;
	memcpy(s->name, w->service, len + 1);
	if (!wm_map_put(t->services, s->name, len, s, NULL))
		return s;
	*s->name = '\0'; /* the sweep removes it */
	return NULL;
}

static int svc_for(struct wm_tables *t, const struct wm_want_set *w, struct wm_svc **ret,
		   struct wm_err *e)
{
	const char *name = w->service;
	uint32_t set;

	*ret = wm_map_get(t->services, name, strlen(name));
	if (!*ret)
		*ret = adopted_for(t, w);
	if (*ret)
		return 0;
	if (wm_index_take(t->sets, &set))
		return wm_err_set(e, WM_E_FULL, "sets: %u are the limit", t->mem.sets_cap);
	*ret = wm_svc_new(t, name, set);
	if (!*ret) {
		wm_index_give(t->sets, set, 0);
		return -ENOMEM;
	}
	(*ret)->published.generation = t->mem.sets[set].table.generation;
	t->mem.sets[set].service = (uint32_t)wm_hash_stable(name, strlen(name));
	t->mem.sets[set].families = 0;
	return 0;
}

int wm_tables_put(struct wm_tables *t, const struct wm_want_set *w, uint32_t *ret_set,
		  struct wm_err *e)
{
	struct wm_svc *s;
	int r, found;

	t->stats.puts++;
	if (w->backends_count > WM_SET_SLOTS_MAX) {
		t->stats.full++;
		return wm_err_set(e, WM_E_FULL, "service %s: %u backends, a set holds at most %d",
				  w->service, w->backends_count, WM_SET_SLOTS_MAX);
	}
	r = svc_for(t, w, &s, e);
	if (!r) {
		s->claimed = true;
		r = grow_scratch(t, w->backends_count);
		if (!r)
			r = reserve_refs(s, w->backends_count);
		if (!r)
			r = set_put(t, s, w, e);
		if (ret_set)
			*ret_set = s->set;
		if (r && !s->published.count) { /* nothing to show: userspace answers alone */
			wm_lookups_remove(t, s);
		} else {
			found = wm_lookups_put(t, s, w, e);
			r = r ? r : found;
		}
	}
	t->stats.full += r == WM_E_FULL;
	return r;
}

/* --- del, state ------------------------------------------------------------------------------- */
void wm_svc_remove(struct wm_tables *t, struct wm_svc *s)
{
	uint64_t now = wm_clock_ns();
	struct wm_set_table empty = {.generation = wm_next_generation(s->published.generation)};

	wm_lookups_remove(t, s);
	wm_set_publish(&t->mem.sets[s->set], empty);
	t->mem.sets[s->set].service = 0;
	if (s->published.count && !s->damaged)
		wm_range_give(t->slots, s->published.first, s->published.count, now);
	for (uint32_t i = 0; i < s->refs_count; i++)
		vacate(t, s->refs[i].index, now);
	wm_index_give(t->sets, s->set, now);
	t->by_set[s->set] = NULL;
	if (*s->name)
		wm_map_del(t->services, s->name, strlen(s->name));
	free(s->refs);
	free(s);
}

int wm_tables_del(struct wm_tables *t, const char *service)
{
	struct wm_svc *s = wm_map_get(t->services, service, strlen(service));

	if (s)
		wm_svc_remove(t, s);
	return 0;
}

int wm_tables_state(struct wm_tables *t, const char *service, uint64_t instance, uint32_t state)
{
	const struct wm_svc *s = wm_map_get(t->services, service, strlen(service));
	uint32_t k;

	if (!s)
		return -ENOENT;
	k = find_ref(s, instance);
	if (k == s->refs_count || s->refs[k].instance != instance)
		return -ENOENT;
	/* more than one only while an address changes and slots are full */
	for (; k < s->refs_count && s->refs[k].instance == instance; k++)
		store_state(t, s->refs[k].index, state);
	return 0;
}

unsigned wm_tables_backends_of(const struct wm_tables *t, const char *service, uint64_t instance,
			       uint32_t *ret, unsigned cap)
{
	const struct wm_svc *s = wm_map_get(t->services, service, strlen(service));
	unsigned n = 0;

	for (uint32_t k = s ? find_ref(s, instance) : 0; s && k < s->refs_count; k++, n++) {
		if (s->refs[k].instance != instance)
			break;
		if (n < cap)
			ret[n] = s->refs[k].index;
	}
	return n;
}

void wm_tables_recycle(struct wm_tables *t)
{
	uint64_t now = wm_clock_ns();

	wm_index_recycle(t->sets, now);
	wm_index_recycle(t->backends, now);
	wm_range_recycle(t->slots, now);
}

/* --- reading ---------------------------------------------------------------------------------- */
const struct wm_table_memory *wm_tables_memory(const struct wm_tables *t)
{
	return &t->mem;
}

const struct wm_name *wm_tables_name(const struct wm_tables *t, const uint8_t *folded, size_t len)
{
	const struct wm_name_entry *n = wm_map_get(t->names, folded, len);

	return n && n->claimed ? &n->v : NULL;
}

int64_t wm_tables_set_of(const struct wm_tables *t, const char *service)
{
	const struct wm_svc *s = wm_map_get(t->services, service, strlen(service));

	return s ? (int64_t)s->set : -ENOENT;
}

const uint8_t *wm_tables_domain(const struct wm_tables *t, bool alt, size_t *ret_len)
{
	const struct wm_domain *d = &t->domains[alt];

	*ret_len = d->len;
	return d->len ? d->wire : NULL;
}

void wm_tables_stats(const struct wm_tables *t, struct wm_tables_stats *ret)
{
	*ret = t->stats;
	ret->names = (uint32_t)wm_map_len(t->names);
	ret->frontends = (uint32_t)wm_map_len(t->fronts);
	ret->sets = wm_index_used(t->sets);
	ret->slots = wm_range_used(t->slots);
	ret->backends = wm_index_used(t->backends);
	ret->slots_quarantined = wm_range_resting(t->slots);
	ret->backends_quarantined = wm_index_resting(t->backends);
}
