/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.c - take over what an earlier run left in the tables, and drop what nobody claims. An
 * earlier run may have died between any two stores: whatever does not hold together is written
 * anew by the next put, or dropped here. */
#include "internal.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <string.h>

/* The service of a <service>.service.<domain> name; "" if it is none. */
static void service_of(const struct wm_tables *t, const struct wm_name *v,
		       char out[WM_DNS_LABEL_MAX + 1])
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len = v->name[0];

	out[0] = '\0';
	if (v->kind != WM_NAME_SERVICE || len > WM_DNS_LABEL_MAX || len >= v->len)
		return;
	memcpy(out, v->name + 1, len);
	out[len] = '\0';
	for (unsigned i = 0; i < WM_DOMAINS; i++)
		if (t->domains[i].len && strlen(out) == len &&
		    wm_wire_name(&t->domains[i], out, "service", wire) == v->len &&
		    memcmp(wire, v->name, v->len) == 0)
			return;
	out[0] = '\0';
}

/* The names of the map; what cannot be ours is deleted. */
static int adopt_names(struct wm_tables *t)
{
	struct wm_name_key k;
	struct wm_name v;
	bool first = true;
	int r;

	while (!(r = t->ops->name_next(t->ops->arg, first, &k, &v))) {
		char service[WM_DNS_LABEL_MAX + 1];

		first = false;
		r = wm_name_adopt(t, &k, &v);
		if (r == -ENOMEM)
			return r;
		if (r) {
			t->ops->name_del(t->ops->arg, &k);
			continue;
		}
		service_of(t, &v, service);
		if (!*service || t->by_set[v.set] ||
		    wm_map_get(t->services, service, strlen(service)))
			continue; /* its set has a name, or two sets claim it: put decides */
		if (!wm_svc_new(t, service, v.set))
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
	}
	return r == -ENOENT ? 0 : r;
}

/* Do the slots of @p s hold together? */
static bool slots_sound(const struct wm_tables *t, struct wm_set_table w)
{
	if (w.first > t->mem.slots_cap || w.count > t->mem.slots_cap - w.first)
		return false;
	for (uint32_t i = 0; i < w.count; i++) {
		const struct wm_slot *s = &t->mem.slots[w.first + i];

		if (s->generation != w.generation || s->backend >= t->mem.backends_cap ||
		    s->alias >= t->mem.backends_cap)
			return false;
	}
	return true;
}

static int adopt_sets(struct wm_tables *t)
{
	int n = 0;

	for (uint32_t i = 0; i < t->mem.sets_cap; i++) {
		struct wm_set_table w = t->mem.sets[i].table;
		struct wm_svc *s = t->by_set[i];

		if (!s && !w.count)
			continue;
		if (!s && !(s = wm_svc_new(t, "", i))) /* nobody's: the sweep removes it */
			return -ENOMEM;
		wm_index_reserve(t->sets, i);
		s->published = w;
		s->damaged = !slots_sound(t, w) ||
			     (w.count && wm_range_reserve(t->slots, w.first, w.count));
		n++;
	}
	return n;
}

static int adopt_backends(struct wm_tables *t)
{
	for (uint32_t i = 0; i < t->mem.backends_cap; i++) {
		struct wm_backend *b = &t->mem.backends[i];
		struct wm_svc *s;

		if ((b->state & WM_STATE_MASK) == WM_STATE_FREE)
			continue;
		s = b->set < t->mem.sets_cap ? t->by_set[b->set] : NULL;
		if (!s) {
			__atomic_store_n(&b->state, b->state & ~WM_STATE_MASK, __ATOMIC_RELEASE);
			continue;
		}
		wm_index_reserve(t->backends, i);
		if (wm_svc_add_ref(s, b->instance, i))
			return -ENOMEM;
	}
	return 0;
}

int wm_tables_adopt(struct wm_tables *t)
{
	int r, n;

	if (!t->ops)
		return 0;
	r = adopt_names(t);
	if (!r)
		r = adopt_frontends(t);
	if (r)
		return r;
	n = adopt_sets(t);
	if (n < 0)
		return n;
	r = adopt_backends(t);
	for (uint32_t i = 0; i < t->mem.sets_cap; i++)
		if (t->by_set[i])
			wm_refs_sort(t->by_set[i]->refs, t->by_set[i]->refs_count);
	return r ? r : n;
}

int wm_tables_sweep(struct wm_tables *t)
{
	struct wm_front_entry *f;
	struct wm_name_entry *n;
	size_t pos = 0;
	int removed = 0;

	/* names and frontends first: nobody may follow one to a set that is going */
	while ((n = wm_map_next(t->names, &pos)))
		if (!n->claimed) {
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
	return removed;
}
