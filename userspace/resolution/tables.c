/* SPDX-License-Identifier: Apache-2.0 */
/* tables.c - services and their sets, changed by difference. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
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
	t->fronted = wm_map_new(mem->sets_cap);
	t->by_set = calloc(mem->sets_cap, sizeof(struct wm_svc *));
	t->sets = wm_index_pool_new(mem->sets_cap);
	t->heads = wm_index_pool_new(mem->heads_cap);
	t->backends = wm_index_pool_new(mem->backends_cap);
	t->slots = wm_range_pool_new(mem->slots_cap);
	if (!t->services || !t->names || !t->hashes || !t->fronts || !t->fronted || !t->by_set ||
	    wm_backends_init(t) || !t->sets || !t->heads || !t->backends || !t->slots ||
	    wm_wire_domain(domain, &t->domains[0]) ||
	    (alt_domain && wm_wire_domain(alt_domain, &t->domains[1]))) {
		wm_tables_free(t);
		return NULL;
	}
	if (ops) {
		wm_index_pool_on_reach(t->sets, ops->reach, ops->arg, WM_ARRAY_SETS);
		wm_index_pool_on_reach(t->heads, ops->reach, ops->arg, WM_ARRAY_HEADS);
		wm_range_pool_on_reach(t->slots, ops->reach, ops->arg, WM_ARRAY_SLOTS);
		wm_index_pool_on_reach(t->backends, ops->reach, ops->arg, WM_ARRAY_BACKENDS);
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

void wm_tables_set_grace(struct wm_tables *t, const struct wm_grace *g)
{
	t->grace = g;
}

uint64_t wm_tables_ticket(const struct wm_tables *t)
{
	return t->grace ? t->grace->ticket(t->grace->arg) : wm_clock_ns() + WM_RECYCLE_NS;
}

void wm_tables_free(struct wm_tables *t)
{
	size_t pos;
	void *v;

	if (!t)
		return;
	wm_fronts_free(t);
	for (uint32_t i = 0; t->by_set && i < t->mem.sets_cap; i++) {
		if (!t->by_set[i])
			continue;
		wm_cuts_free(t->by_set[i]);
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
	wm_index_pool_free(t->heads);
	wm_index_pool_free(t->backends);
	wm_range_pool_free(t->slots);
	wm_backends_free(t);
	free(t->by_set);
	free(t->slots_new);
	free(t->refs_new);
	free(t->members);
	free(t->order);
	free(t);
}

int wm_table_memory_new(struct wm_table_memory *m)
{
	m->heads_cap = wm_heads_cap(m->sets_cap);
	m->config = calloc(1, sizeof(*m->config));
	m->sets = calloc(m->sets_cap, sizeof(*m->sets));
	m->heads = calloc(m->heads_cap, sizeof(*m->heads));
	m->set_live = calloc(m->sets_cap, sizeof(*m->set_live));
	m->slots = calloc(m->slots_cap, sizeof(*m->slots));
	m->backends = calloc(m->backends_cap, sizeof(*m->backends));
	m->live = calloc(m->backends_cap, sizeof(*m->live));
	m->targets = calloc(m->backends_cap, sizeof(*m->targets));
	if (m->config && m->sets && m->heads && m->set_live && m->slots && m->backends && m->live &&
	    m->targets)
		return 0;
	wm_table_memory_free(m);
	return -ENOMEM;
}

void wm_table_memory_free(struct wm_table_memory *m)
{
	free(m->config);
	free(m->sets);
	free(m->heads);
	free(m->set_live);
	free(m->slots);
	free(m->backends);
	free(m->live);
	free(m->targets);
	m->config = NULL;
	m->sets = NULL;
	m->heads = NULL;
	m->set_live = NULL;
	m->slots = NULL;
	m->backends = NULL;
	m->live = NULL;
	m->targets = NULL;
}

/* --- services --------------------------------------------------------------------------------- */
int wm_svc_key(struct wm_svc_key *ret, const char *service, const char *label, uint16_t port,
	       uint8_t proto)
{
	const char *letter = proto == IPPROTO_TCP ? "t" : proto ? "u" : "";
	size_t n = strlen(service);
	int more;

	label = label ? label : "";
	if (n > WM_SERVICE_NAME_MAX || strlen(label) > WM_TAG_MAX)
		return -EINVAL;
	memcpy(ret->text, service, n + 1);
	ret->len = n;
	if (!*label && !port)
		return 0;
	more = port ? snprintf(ret->text + n + 1, sizeof(ret->text) - n - 1, "%s\2%u%s", label,
			       port, letter)
		    : snprintf(ret->text + n + 1, sizeof(ret->text) - n - 1, "%s", label);
	ret->len += 1 + (size_t)more;
	return 0;
}

/* Room was made for it. */
static void svc_name(struct wm_svc *s, const struct wm_svc_key *k)
{
	size_t n = strlen(k->text);

	memcpy(s->name, k->text, k->len);
	s->name[k->len] = '\0';
	s->len = (uint16_t)k->len;
	s->label = (uint16_t)(n < k->len ? n + 1 : 0);
}

struct wm_svc *wm_svc_new(struct wm_tables *t, const struct wm_svc_key *k, uint32_t set)
{
	struct wm_svc *s = calloc(1, sizeof(*s) + k->len + 1);

	if (!s)
		return NULL;
	svc_name(s, k);
	s->set = set;
	if (k->len && wm_map_put(t->services, s->name, s->len, s, NULL)) {
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
	s->refs[s->refs_count++] =
		(struct wm_ref){.instance = instance, .index = index, .tiers = 1};
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

/* --- put -------------------------------------------------------------------------------------- */
static int grow_scratch(struct wm_tables *t, uint32_t n)
{
	uint32_t cap = t->scratch ? t->scratch : 64;

	if (n <= t->scratch)
		return 0;
	while (cap < n)
		cap *= 2;
	free(t->refs_new);
	free(t->order);
	free(t->members);
	t->refs_new = malloc(cap * sizeof(*t->refs_new));
	t->order = malloc(cap * sizeof(*t->order));
	t->members = malloc(cap * sizeof(*t->members));
	t->scratch = cap;
	if (t->refs_new && t->order && t->members)
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

/* For each wanted backend, in order, the index where it is already; WM_NO_INDEX where it is new. */
static void match(struct wm_tables *t, const struct wm_want_set *w)
{
	for (uint32_t i = 0; i < w->backends_count; i++) {
		const struct wm_want_backend *b = &w->backends[t->order[i]];

		t->refs_new[i] = (struct wm_ref){.instance = b->instance,
						 .index = wm_backend_find(t, b),
						 .tiers = b->tiers ? b->tiers : 1};
	}
}

int wm_tables_match(struct wm_tables *t, const struct wm_want_set *w)
{
	int r = grow_scratch(t, w->backends_count);

	if (r)
		return r;
	order_wants(t, w);
	match(t, w);
	return 0;
}

/* Indexes for the new backends of set @p set, of the first its own: programs look there ahead. All
 * or none. */
static int take_backends(struct wm_tables *t, uint32_t set, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (t->refs_new[i].index != WM_NO_INDEX)
			continue;
		t->refs_new[i].fresh = true;
		if (!wm_index_take_at(t->backends, set, &t->refs_new[i].index))
			continue;
		t->refs_new[i].fresh = false;
		while (i--)
			if (t->refs_new[i].fresh) {
				wm_index_give(t->backends, t->refs_new[i].index, 0);
				t->refs_new[i].index = WM_NO_INDEX;
				t->refs_new[i].fresh = false;
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
		if (t->refs_new[i].index == WM_NO_INDEX)
			continue;
		t->refs_new[kept] = t->refs_new[i];
		t->order[kept++] = t->order[i];
	}
	return kept;
}

/* The new backends into their places, and what changed of the others. */
static void settle(struct wm_tables *t, const struct wm_svc *s, const struct wm_want_set *w,
		   uint32_t n)
{
	uint32_t service = t->mem.sets[s->set].service;

	for (uint32_t i = 0; i < n; i++) {
		const struct wm_want_backend *b = &w->backends[t->order[i]];

		if (t->refs_new[i].fresh)
			wm_backend_occupy(t, t->refs_new[i].index, service, b);
		else
			wm_backend_update(t, t->refs_new[i].index, service, b);
	}
	wm_refs_sort(t->refs_new, n);
}

static int compare_lists(const struct wm_ref *a, uint32_t a_left, const struct wm_ref *b,
			 uint32_t b_left)
{
	if (!a_left || !b_left)
		return a_left ? -1 : 1;
	return compare_refs(a, b);
}

/* Hold what is in t->refs_new and not in the old list; or, @p drop, let go of what is in the old
 * list only. The two are steps with the publication between them: what may be chosen is held. */
static void move_holds(struct wm_tables *t, const struct wm_svc *s, uint32_t n, bool drop)
{
	const struct wm_ref *new = t->refs_new, *old = s->refs;
	uint32_t i = 0, k = 0;

	while (i < n || k < s->refs_count) {
		int c = compare_lists(&new[i], n - i, &old[k], s->refs_count - k);

		if (c < 0 && !drop)
			wm_backend_hold(t, new[i].index, s->set);
		if (c > 0 && drop)
			wm_backend_drop(t, old[k].index, s->set, false);
		i += c <= 0;
		k += c >= 0;
	}
}

/* Nothing was published: back at once. What is published follows the health; what is wanted no
 * more must not be chosen, but others may have it. */
static void roll_back(struct wm_tables *t, const struct wm_svc *s, uint32_t n)
{
	const struct wm_ref *new = t->refs_new, *old = s->refs;
	uint32_t i = 0, k = 0;

	while (i < n || k < s->refs_count) {
		int c = compare_lists(&new[i], n - i, &old[k], s->refs_count - k);

		if (c < 0)
			wm_backend_drop(t, new[i].index, s->set, new[i].fresh);
		if (c > 0 && wm_backend_held(t, old[k].index) == 1)
			wm_backend_state(t, old[k].index, WM_STATE_DOWN);
		i += c <= 0;
		k += c >= 0;
	}
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

/* @return as wm_table_publish(), @p ret_narrow: by weight, as there is no room for what is asked
 * for: what was published may lead to nobody but who has left. */
static int build_and_publish(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
			     uint32_t n, bool *ret_narrow, struct wm_err *e)
{
	int64_t slots = wm_table_build(t, w, n, false);
	int r = slots < 0 ? (int)slots : wm_cuts_set(t, s, w->rule);

	if (!r)
		r = wm_table_publish(t, s, (uint32_t)slots, e);
	*ret_narrow = r == WM_E_FULL && wm_table_is_wide(t->head_new.balance);
	if (!*ret_narrow)
		return r;
	slots = wm_table_build(t, w, n, true);
	return slots < 0 ? (int)slots : wm_table_publish(t, s, (uint32_t)slots, e);
}

/* Backends and table of @p s. On failure what was published goes on, with the health of now. */
static int set_put(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
		   struct wm_err *e)
{
	uint32_t n = w->backends_count;
	bool full = false, narrow, uncounted = s->damaged;
	int r;

	order_wants(t, w);
	match(t, w);
	if (take_backends(t, s->set, n)) {
		/* without the new ones, but also without those that left: that makes room */
		n = keep_matched(t, n);
		full = true;
	}
	settle(t, s, w, n);
	move_holds(t, s, n, false);
	r = build_and_publish(t, s, w, n, &narrow, e);
	if (r) {
		roll_back(t, s, n);
		return r;
	}
	move_holds(t, s, n, true);
	if (n)
		memcpy(s->refs, t->refs_new, n * sizeof(*s->refs));
	s->refs_count = n;
	if (uncounted)
		wm_backends_count_up(t, s);
	if (t->mem.live && t->mem.set_live)
		wm_backends_count_ejected(t, s, wm_clock_ns());
	wm_cuts_now(t, s);
	if (full)
		return wm_err_set(e, WM_E_FULL, "backends: %u are the limit (kernel.backends_max)",
				  t->mem.backends_cap);
	return narrow ? wm_err_set(e, WM_E_FULL,
				   "slots: %u are the limit (kernel.backends_max): until there "
				   "is room it is chosen by weight",
				   t->mem.slots_cap)
		      : 0;
}

/* A service whose name fits no label has no entry in `names`: by its virtual address the set that
 * an earlier run left is known. @return NULL: there is none, or no memory to take it over. */
static struct wm_svc *adopted_for(struct wm_tables *t, const struct wm_want_set *w,
				  const struct wm_svc_key *k)
{
	uint32_t hash = (uint32_t)wm_hash_stable(w->service, strlen(w->service));
	uint32_t set = wm_lookups_adopted(t, w);
	struct wm_svc *was = set == WM_NO_SET ? NULL : t->by_set[set], *s;

	if (!was || *was->name || was->claimed || t->mem.sets[set].service != hash)
		return NULL;
	s = realloc(was, sizeof(*s) + k->len + 1);
	if (!s)
		return NULL;
	t->by_set[set] = s;
	svc_name(s, k);
	if (!wm_map_put(t->services, s->name, s->len, s, NULL))
		return s;
	*s->name = '\0'; /* the sweep removes it */
	s->len = s->label = 0;
	return NULL;
}

static int svc_for(struct wm_tables *t, const struct wm_want_set *w, struct wm_svc **ret,
		   struct wm_err *e)
{
	struct wm_svc_key k;
	uint32_t set;

	if (wm_svc_key(&k, w->service, w->label, w->port, w->proto))
		return wm_err_set(e, WM_E_INVALID, "the name of a set is too long");
	*ret = wm_map_get(t->services, k.text, k.len);
	if (!*ret)
		*ret = adopted_for(t, w, &k);
	if (*ret)
		return 0;
	if (wm_index_take(t->sets, &set))
		return wm_err_set(e, WM_E_FULL, "sets: %u are the limit (kernel.services_max)",
				  t->mem.sets_cap);
	*ret = wm_svc_new(t, &k, set);
	if (!*ret) {
		wm_index_give(t->sets, set, 0);
		return -ENOMEM;
	}
	t->mem.sets[set].service = (uint32_t)wm_hash_stable(w->service, strlen(w->service));
	return 0;
}

int wm_tables_put(struct wm_tables *t, const struct wm_want_set *w, uint32_t *ret_set,
		  struct wm_err *e)
{
	struct wm_svc *s = NULL;
	int r, found;

	t->stats.puts++;
	wm_tables_recycle(t);
	if (w->backends_count > WM_SET_SLOTS_MAX) {
		t->stats.full++;
		return wm_err_set(e, WM_E_FULL, "service %s: %u backends, a set holds at most %d",
				  w->service, w->backends_count, WM_SET_SLOTS_MAX);
	}
	r = svc_for(t, w, &s, e);
	if (!r && s) {
		s->claimed = true;
		r = grow_scratch(t, w->backends_count);
		if (!r)
			r = reserve_refs(s, w->backends_count);
		if (!r)
			r = wm_holds_reserve(t, w->backends_count);
		if (!r)
			r = set_put(t, s, w, e);
		if (ret_set)
			*ret_set = s->set;
		if (r &&
		    !s->published.word.generation) { /* nothing to show: userspace answers alone */
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
	wm_lookups_remove(t, s);
	wm_table_unpublish(t, s);
	t->mem.sets[s->set].service = 0;
	for (uint32_t i = 0; i < s->refs_count; i++)
		wm_backend_drop(t, s->refs[i].index, s->set, false);
	wm_index_give(t->sets, s->set, wm_tables_ticket(t));
	t->by_set[s->set] = NULL;
	if (s->len)
		wm_map_del(t->services, s->name, s->len);
	wm_cuts_free(s);
	free(s->refs);
	free(s);
}

struct wm_svc *wm_svc_find(const struct wm_tables *t, const char *service, const char *label,
			   uint16_t port, uint8_t proto)
{
	struct wm_svc_key k;

	return wm_svc_key(&k, service, label, port, proto) ? NULL
							   : wm_map_get(t->services, k.text, k.len);
}

void wm_tables_part_del(struct wm_tables *t, const char *service, const char *label, uint16_t port,
			uint8_t proto)
{
	struct wm_svc *s = wm_svc_find(t, service, label, port, proto);

	if (s)
		wm_svc_remove(t, s);
}

int wm_tables_del(struct wm_tables *t, const char *service)
{
	wm_tables_part_del(t, service, NULL, 0, 0);
	return 0;
}

int wm_tables_state(struct wm_tables *t, uint64_t instance, uint32_t state)
{
	uint32_t i = wm_backend_of(t, instance);

	if (i == WM_NO_INDEX)
		return -ENOENT;
	/* more than one only while an address changes and slots are full */
	for (; i != WM_NO_INDEX; i = wm_backend_next(t, i))
		wm_backend_state(t, i, state);
	return 0;
}

unsigned wm_tables_backends_of(const struct wm_tables *t, uint64_t instance, uint32_t *ret,
			       unsigned cap)
{
	unsigned n = 0;

	for (uint32_t i = wm_backend_of(t, instance); i != WM_NO_INDEX;
	     i = wm_backend_next(t, i), n++)
		if (n < cap)
			ret[n] = i;
	return n;
}

void wm_tables_recycle(struct wm_tables *t)
{
	uint64_t over = t->grace ? t->grace->over(t->grace->arg) : wm_clock_ns();

	wm_index_recycle(t->sets, over);
	wm_index_recycle(t->heads, over);
	wm_index_recycle(t->backends, over);
	wm_range_recycle(t->slots, over);
}

void wm_tables_rest(struct wm_tables *t)
{
	if (t->ops && t->ops->rest)
		t->ops->rest(t->ops->arg);
}

/* --- reading ---------------------------------------------------------------------------------- */
const struct wm_table_memory *wm_tables_memory(const struct wm_tables *t)
{
	return &t->mem;
}

struct wm_view wm_tables_view(const struct wm_tables *t)
{
	const struct wm_table_memory *m = &t->mem;

	return (struct wm_view){m->sets,	 m->heads,    m->slots,	    m->backends,
				m->set_live,	 m->sets_cap, m->heads_cap, m->slots_cap,
				m->backends_cap, m->live,     NULL};
}

const struct wm_name *wm_tables_name(const struct wm_tables *t, const uint8_t *folded, size_t len)
{
	const struct wm_name_entry *n = wm_map_get(t->names, folded, len);

	return n && n->claimed ? &n->v : NULL;
}

const struct wm_name *wm_tables_name_of(const struct wm_tables *t, const char *text)
{
	struct wm_domain d;

	return wm_wire_domain(text, &d) ? NULL : wm_tables_name(t, d.wire, d.len);
}

const char *wm_tables_service_of(const struct wm_tables *t, uint32_t set)
{
	const struct wm_svc *s = set < t->mem.sets_cap ? t->by_set[set] : NULL;

	return s && *s->name && s != t->refusing ? s->name : NULL;
}

uint16_t wm_tables_part_of(const struct wm_tables *t, uint32_t set, char *label)
{
	const struct wm_svc *s = set < t->mem.sets_cap ? t->by_set[set] : NULL;
	const char *part = s && s->label ? s->name + s->label : "";
	size_t len = strcspn(part, "\2");

	memcpy(label, part, len);
	label[len] = '\0';
	return part[len] ? (uint16_t)strtoul(part + len + 1, NULL, 10) : 0;
}

uint8_t wm_tables_proto_of(const struct wm_tables *t, uint32_t set)
{
	const struct wm_svc *s = set < t->mem.sets_cap ? t->by_set[set] : NULL;
	const char *mark = s && s->label ? strchr(s->name + s->label, '\2') : NULL;
	char letter = mark ? s->name[s->len - 1] : '\0';

	return letter == 't' ? IPPROTO_TCP : letter == 'u' ? IPPROTO_UDP : 0;
}

int64_t wm_tables_label_set(const struct wm_tables *t, const char *service, const char *label)
{
	const struct wm_svc *s = wm_svc_find(t, service, label, 0, 0);

	return s ? (int64_t)s->set : -ENOENT;
}

int64_t wm_tables_port_set(const struct wm_tables *t, const char *service, const char *label,
			   uint16_t port, uint8_t proto)
{
	const struct wm_svc *s = wm_svc_find(t, service, label, port, proto);

	return s ? (int64_t)s->set : -ENOENT;
}

int64_t wm_tables_set_of(const struct wm_tables *t, const char *service)
{
	return wm_tables_label_set(t, service, NULL);
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
