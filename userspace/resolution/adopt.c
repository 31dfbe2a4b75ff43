/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.c - take over what an earlier run left in the tables, and drop what nobody claims. An
 * earlier run may have died between any two stores: whatever does not hold together is written
 * anew by the next put, or dropped here. */
#include "internal.h"
#include "userspace/base/map.h"
#include "waymark/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The labels of a name before @p end, with dots between. @return place of the last of them in @p
 * out; -1: there is none, or an octet 0 in one. */
static int labels_of(const uint8_t *name, size_t end, char out[WM_DNS_NAME_MAX + 1])
{
	int last = -1;
	size_t at = 0;

	for (; at < end; at += name[at] + 1u) {
		if (at + name[at] + 1u > end || memchr(name + at + 1, 0, name[at]))
			return -1;
		if (at)
			out[at - 1] = '.';
		last = (int)at;
		memcpy(out + at, name + at + 1, name[at]);
	}
	out[at ? at - 1 : 0] = '\0';
	return last;
}

/* Where the scope's label begins of a name that ends with <scope>.ns at @p end; @p end: of another.
 */
static size_t scope_at(const uint8_t *name, size_t end)
{
	static const uint8_t ns[] = {2, 'n', 's'};
	size_t at = 0, before = end;

	while (at < end && at + name[at] + 1u < end) {
		before = at;
		at += name[at] + 1u;
	}
	return end - at == sizeof(ns) && memcmp(name + at, ns, sizeof(ns)) == 0 ? before : end;
}

/* What a [<label>.]<service>.service[.<scope>.ns].<domain> name is of. @return false: it is none.
 */
static bool key_of(const struct wm_tables *t, const struct wm_name *v, struct wm_svc_key *ret)
{
	static const char kind[] = "service";
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	char text[WM_DNS_NAME_MAX + 1], key[2 * WM_DNS_NAME_MAX];
	int last;

	for (unsigned i = 0; v->kind == WM_NAME_SERVICE && i < WM_DOMAINS; i++) {
		const struct wm_domain *d = &t->domains[i];
		size_t all = v->len - d->len, end;

		if (!d->len || v->len <= d->len + sizeof(kind))
			continue;
		end = scope_at(v->name, all);
		last = end > sizeof(kind) ? labels_of(v->name, end - sizeof(kind), text) : -1;
		if (last < 0)
			continue;
		if (last)
			text[last - 1] = '\0';
		snprintf(key, sizeof(key), "%.*s%s%s", end < all ? v->name[end] : 0,
			 (const char *)v->name + end + 1, end < all ? "/" : "", text + last);
		if (wm_wire_name(d, last ? text : "", key, kind, wire) == v->len &&
		    memcmp(wire, v->name, v->len) == 0)
			return !wm_svc_key(ret, key, last ? text : NULL, 0, 0);
	}
	return false;
}

/* The names of the map; what cannot be ours is deleted. */
static int adopt_names(struct wm_tables *t)
{
	struct wm_svc_key service;
	struct wm_name_key k;
	struct wm_name v;
	bool first = true;
	int r;

	while (!(r = t->ops->name_next(t->ops->arg, first, &k, &v))) {
		first = false;
		r = wm_name_adopt(t, &k, &v);
		if (r == -ENOMEM)
			return r;
		if (r) {
			t->ops->name_del(t->ops->arg, &k);
			continue;
		}
		if (!key_of(t, &v, &service) || t->by_set[v.set] ||
		    wm_map_get(t->services, service.text, service.len))
			continue; /* its set has a name, or two sets claim it: put decides */
		if (!wm_svc_new(t, &service, v.set))
			return -ENOMEM;
	}
	return r == -ENOENT ? 0 : r;
}

static int adopt_frontends(struct wm_tables *t)
{
	struct wm_frontend_key k;
	struct wm_frontend v;
	bool first = true;
	int r;

	while (!(r = t->ops->frontend_next(t->ops->arg, first, &k, &v))) {
		first = false;
		r = wm_front_adopt(t, &k, &v);
		if (r == -ENOMEM)
			return r;
		if (r)
			t->ops->frontend_del(t->ops->arg, &k);
		else if (wm_front_hold_set(t, v.set))
			return -ENOMEM;
	}
	return r == -ENOENT ? 0 : r;
}

/* Is this index one of a backend that stands there? */
static bool stands(const struct wm_tables *t, uint32_t index, uint16_t stamp)
{
	uint32_t word = index < t->mem.backends_cap ? t->mem.backends[index].state : WM_STATE_FREE;

	return (word & WM_STATE_MASK) != WM_STATE_FREE && word >> 16 == stamp;
}

/* Does the table of set @p set hold together? */
static bool table_sound(const struct wm_tables *t, uint32_t set, struct wm_set_table w,
			struct wm_published *ret)
{
	const struct wm_table_head *h;
	uint32_t before = 0;

	if (w.head >= t->mem.heads_cap)
		return false;
	h = &t->mem.heads[w.head];
	if (h->generation != w.generation || h->set != set || !h->tiers || h->tiers > WM_TIERS_MAX)
		return false;
	for (unsigned i = 0; i < h->tiers; before = h->end[i++])
		if (h->end[i] < before)
			return false;
	if ((!before && h->when_none != WM_NONE_PASS) || h->first > t->mem.slots_cap ||
	    before > t->mem.slots_cap - h->first)
		return false;
	for (uint32_t i = 0; i < before; i++) {
		const struct wm_slot *s = &t->mem.slots[h->first + i];

		if (!stands(t, s->backend, s->stamp) || !stands(t, s->alias, s->alias_stamp))
			return false;
		if (h->flags & WM_HEAD_FEW &&
		    (h->tiers != 1 || i >= WM_FEW_MAX || h->few.backend[i] != s->backend ||
		     h->few.stamp[i] != s->stamp))
			return false;
	}
	*ret = (struct wm_published){w, h->first, before};
	return true;
}

/* A table that is sound has its places to itself, or it is not adopted. */
static bool reserve(struct wm_tables *t, const struct wm_published *p)
{
	if (wm_index_reserve(t->heads, p->word.head))
		return false;
	if (!p->count || !wm_range_reserve(t->slots, p->first, p->count))
		return true;
	wm_index_give(t->heads, p->word.head, 0);
	return false;
}

/* The backends that the slots of @p s lead to, each once. */
static int adopt_refs(struct wm_tables *t, struct wm_svc *s)
{
	uint32_t kept = 0;
	int r = 0;

	for (uint32_t i = 0; !r && i < s->published.count; i++) {
		uint32_t index = t->mem.slots[s->published.first + i].backend;

		r = wm_svc_add_ref(s, t->mem.backends[index].instance, index);
	}
	wm_refs_sort(s->refs, s->refs_count);
	for (uint32_t i = 0; i < s->refs_count; i++)
		if (!i || s->refs[i].index != s->refs[i - 1].index)
			s->refs[kept++] = s->refs[i];
	s->refs_count = kept;
	if (!r)
		r = wm_holds_reserve(t, kept);
	return r;
}

static int adopt_set(struct wm_tables *t, struct wm_svc *s)
{
	struct wm_set_table w = t->mem.sets[s->set].table;
	int r;

	wm_index_reserve(t->sets, s->set);
	if (!w.generation)
		return 0;
	s->damaged = !table_sound(t, s->set, w, &s->published) || !reserve(t, &s->published);
	if (s->damaged) {
		s->published = (struct wm_published){.word = w};
		return 0;
	}
	r = adopt_refs(t, s);
	for (uint32_t i = 0; !r && i < s->refs_count; i++)
		wm_backend_hold(t, s->refs[i].index, s->set);
	return r;
}

static int adopt_sets(struct wm_tables *t)
{
	static const struct wm_svc_key nobody;
	int n = 0, r;

	for (uint32_t i = 0; i < t->mem.sets_cap; i++) {
		struct wm_svc *s = t->by_set[i];

		if (!s && !t->mem.sets[i].table.generation)
			continue;
		if (!s && !(s = wm_svc_new(t, &nobody, i))) /* nobody's: the sweep removes it */
			return -ENOMEM;
		r = adopt_set(t, s);
		if (r)
			return r;
		n++;
	}
	return n;
}

/* Whoever has them is told by the slots, or by the next put. */
static void adopt_backends(struct wm_tables *t)
{
	for (uint32_t i = 0; i < t->mem.backends_cap; i++)
		if ((t->mem.backends[i].state & WM_STATE_MASK) != WM_STATE_FREE)
			wm_backend_adopt(t, i);
	/* a number that no head has, as far as any reader can have seen */
	for (uint32_t i = 0; i < t->mem.heads_cap; i++)
		if (t->mem.heads[i].generation > t->generation)
			t->generation = t->mem.heads[i].generation;
}

int wm_tables_adopt(struct wm_tables *t)
{
	int r, n;

	if (!t->ops)
		return 0;
	if (t->ops->ahead)
		t->ops->ahead(t->ops->arg, true);
	r = adopt_names(t);
	if (!r)
		r = adopt_frontends(t);
	if (t->ops->ahead)
		t->ops->ahead(t->ops->arg, false);
	if (r)
		return r;
	adopt_backends(t);
	n = adopt_sets(t);
	for (uint32_t i = 0; n >= 0 && i < t->mem.sets_cap; i++)
		if (t->by_set[i] && !t->by_set[i]->damaged)
			wm_backends_count_up(t, t->by_set[i]);
	return n;
}

int wm_tables_sweep(struct wm_tables *t)
{
	struct wm_front_entry *f;
	struct wm_name_entry *n;
	size_t pos = 0;
	int removed = 0;

	/* names and frontends first: nobody may follow one to a set that is going */
	while ((n = wm_map_next(t->names, &pos)))
		if (!n->claimed && !wm_name_elsewhere(t, n)) {
			wm_name_remove(t, n);
			removed++;
		}
	pos = 0;
	while ((f = wm_map_next(t->fronts, &pos)))
		if (!f->claimed) {
			wm_front_remove(t, f);
			removed++;
		}
	for (uint32_t i = 0; i < t->mem.sets_cap; i++)
		if (t->by_set[i] && !t->by_set[i]->claimed) {
			wm_svc_remove(t, t->by_set[i]);
			removed++;
		}
	return removed + wm_backends_sweep(t);
}
