/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* The compiled tables in plain memory, with a small hash map that counts writes. */
#include "userspace/base/random.h"
#include "userspace/resolution/verify.h"
#include "waymark/dns_answer.h"
#include "waymark/listen.h"
#include "waymark/name_hash.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP	  64
#define INSTANCES 12

/* --- a hash map for names and frontends, as the kernel's: bounded, exact
 * ---------------------------------- */
struct hash_entry {
	uint8_t key[20];
	union {
		struct wm_name name;
		struct wm_frontend front;
	} v;
};
struct hash {
	struct hash_entry at[CAP];
	unsigned n, max, walk, key_len;
	uint64_t writes;
};
struct plane {
	struct hash names, fronts;
	struct wm_plane_ops ops;
	struct wm_config config;
	struct wm_set sets[CAP];
	struct wm_table_head heads[2 * CAP];
	struct wm_slot slots[256];
	struct wm_backend backends[CAP];
	struct wm_set_live set_live[CAP];
	struct wm_backend_live live[CAP];
	struct wm_table_memory mem;
};

static int hash_put(struct hash *d, const void *key, const void *v, size_t len)
{
	unsigned i;

	for (i = 0; i < d->n && memcmp(d->at[i].key, key, d->key_len) != 0; i++)
		;
	if (i == d->n && d->n == d->max)
		return -E2BIG;
	d->n += i == d->n;
	memset(&d->at[i], 0, sizeof(d->at[i]));
	memcpy(d->at[i].key, key, d->key_len);
	memcpy(&d->at[i].v, v, len);
	d->writes++;
	return 0;
}

static int hash_del(struct hash *d, const void *key)
{
	for (unsigned i = 0; i < d->n; i++)
		if (memcmp(d->at[i].key, key, d->key_len) == 0) {
			d->at[i] = d->at[--d->n];
			d->walk = d->walk ? d->walk - 1 : 0;
			d->writes++;
			return 0;
		}
	return -ENOENT;
}

static int hash_next(struct hash *d, bool first, void *key, void *v, size_t len)
{
	if (first)
		d->walk = 0;
	if (d->walk == d->n)
		return -ENOENT;
	memcpy(key, d->at[d->walk].key, d->key_len);
	memcpy(v, &d->at[d->walk].v, len);
	d->walk++;
	return 0;
}

static int hash_get(const struct hash *d, const void *key, void *v, size_t len)
{
	for (unsigned i = 0; i < d->n; i++)
		if (memcmp(d->at[i].key, key, d->key_len) == 0) {
			memcpy(v, &d->at[i].v, len);
			return 0;
		}
	return -ENOENT;
}

static int name_put(void *arg, const struct wm_name_key *k, const struct wm_name *v)
{
	return hash_put(&((struct plane *)arg)->names, k, v, sizeof(*v));
}
static int name_del(void *arg, const struct wm_name_key *k)
{
	return hash_del(&((struct plane *)arg)->names, k);
}
static int name_next(void *arg, bool first, struct wm_name_key *k, struct wm_name *v)
{
	return hash_next(&((struct plane *)arg)->names, first, k, v, sizeof(*v));
}
static int front_put(void *arg, const struct wm_frontend_key *k, const struct wm_frontend *v)
{
	return hash_put(&((struct plane *)arg)->fronts, k, v, sizeof(*v));
}
static int front_del(void *arg, const struct wm_frontend_key *k)
{
	return hash_del(&((struct plane *)arg)->fronts, k);
}
static int front_next(void *arg, bool first, struct wm_frontend_key *k, struct wm_frontend *v)
{
	return hash_next(&((struct plane *)arg)->fronts, first, k, v, sizeof(*v));
}

static int name_get(void *arg, const struct wm_name_key *k, struct wm_name *v)
{
	return hash_get(&((struct plane *)arg)->names, k, v, sizeof(*v));
}
static int front_get(void *arg, const struct wm_frontend_key *k, struct wm_frontend *v)
{
	return hash_get(&((struct plane *)arg)->fronts, k, v, sizeof(*v));
}

static struct plane *plane_new(void)
{
	struct plane *p = calloc(1, sizeof(*p));

	cr_assert(p);
	p->names.max = p->fronts.max = CAP;
	p->names.key_len = sizeof(struct wm_name_key);
	p->fronts.key_len = sizeof(struct wm_frontend_key);
	p->config.seed[0] = 7;
	p->config.seed[1] = 11;
	p->ops = (struct wm_plane_ops){p,	  name_put,   name_del, front_put, front_del,
				       name_next, front_next, name_get, front_get};
	p->mem = (struct wm_table_memory){.config = &p->config,
					  .sets = p->sets,
					  .slots = p->slots,
					  .backends = p->backends,
					  .heads = p->heads,
					  .set_live = p->set_live,
					  .live = p->live,
					  .sets_cap = CAP,
					  .heads_cap = 2 * CAP,
					  .slots_cap = 256,
					  .backends_cap = CAP,
					  .names_cap = CAP,
					  .frontends_cap = CAP};
	return p;
}

static struct wm_tables *tables_new(struct plane *p)
{
	struct wm_tables *t = wm_tables_new(&p->mem, &p->ops, "mesh.internal", NULL);

	cr_assert(t);
	return t;
}

/* --- what is wanted
 * ---------------------------------------------------------------------------------- */
struct wanted {
	char name[16];
	struct wm_want_backend b[INSTANCES];
	struct wm_want_set w;
};

static void want(struct wanted *x, unsigned service, unsigned count)
{
	memset(x, 0, sizeof(*x));
	snprintf(x->name, sizeof(x->name), "s%u", service);
	x->w.service = x->name;
	x->w.vip4_be = __builtin_bswap32(0xf0000000u + service);
	x->w.vip6[0] = 0xfd;
	x->w.vip6[15] = (uint8_t)service;
	x->w.backends = x->b;
	x->w.backends_count = count;
	for (unsigned i = 0; i < count; i++) {
		x->b[i].instance = service * 1000ull + (i * 7919u) % 997;
		x->b[i].addr4_be = __builtin_bswap32(0x0a000000u + service * 256 + i);
		x->b[i].port = (uint16_t)(8000 + i);
		x->b[i].weight = 1 + i % 3;
		x->b[i].state = WM_STATE_UP;
	}
}

static int put(struct wm_tables *t, struct wanted *x)
{
	struct wm_err e = {0};

	return wm_tables_put(t, &x->w, NULL, &e);
}

/* Does what the reader's side finds agree with @p x, backend by backend? */
static void agree(struct plane *p, struct wm_tables *t, const struct wanted *x)
{
	uint8_t wire[WM_NAME_BUF] = {0};
	size_t n = strlen(x->name), len;
	const uint8_t *domain = wm_tables_domain(t, false, &len);
	const struct wm_name *name;
	struct wm_view view = wm_tables_view(t);
	struct wm_table table = {0};
	unsigned expect = 0, up4 = 0;

	wire[0] = (uint8_t)n;
	memcpy(wire + 1, x->name, n);
	memcpy(wire + 1 + n, "\7service", 8);
	memcpy(wire + 9 + n, domain, len);
	name = wm_tables_name(t, wire, 9 + n + len);
	cr_assert(name, "%s", x->name);
	for (unsigned i = 0; i < x->w.backends_count; i++) {
		expect += x->b[i].weight > 0;
		up4 += x->b[i].state == WM_STATE_UP;
	}
	cr_assert_eq(wm_table_load(&view, name->set, &table), expect ? WM_PICKED : WM_PICK_NONE);
	cr_assert_eq(table.count, expect);
	cr_assert_eq(table.head.backends, expect);
	cr_assert_eq(p->set_live[name->set].up4, up4);
	cr_assert_eq(p->set_live[name->set].up6, 0);
	for (unsigned k = 0; k < table.count; k++) {
		const struct wm_slot *s = &p->slots[table.head.first + k];
		const struct wm_backend *b = &p->backends[s->backend];
		unsigned i;

		cr_assert_eq(s->stamp, b->state >> 16);
		for (i = 0; i < x->w.backends_count && x->b[i].instance != b->instance; i++)
			;
		cr_assert_lt(i, x->w.backends_count);
		cr_assert_eq(b->addr4_be, x->b[i].addr4_be);
		cr_assert_eq(b->port_be, __builtin_bswap16(x->b[i].port));
		cr_assert_eq(b->state & WM_STATE_MASK, x->b[i].state);
		cr_assert_eq(b->weight, x->b[i].weight);
		cr_assert_eq(b->service, p->sets[name->set].service);
	}
}

Test(tables, shows_what_is_put)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	want(&x, 1, 5);
	cr_assert_eq(put(t, &x), 0);
	agree(p, t, &x);
	cr_assert_str_eq(wm_tables_service_of(t, (uint32_t)wm_tables_set_of(t, "s1")), "s1");
	cr_assert_null(wm_tables_service_of(t, UINT32_MAX));
	cr_assert_eq(wm_tables_name_of(t, "S1.virtual.mesh.internal.")->kind, WM_NAME_VIRTUAL);
	cr_assert_null(wm_tables_name_of(t, "s2.virtual.mesh.internal"));
	cr_assert_null(wm_tables_name_of(t, "s1..mesh"));
	cr_assert_eq(p->names.n, 2);
	cr_assert_eq(p->fronts.n, 2);
	x.b[2].weight = 0;
	x.b[1].state = WM_STATE_DOWN;
	cr_assert_eq(put(t, &x), 0);
	agree(p, t, &x);
	wm_tables_del(t, "s1");
	cr_assert_eq(p->names.n + p->fronts.n, 0);
	cr_assert_eq(wm_tables_set_of(t, "s1"), -ENOENT);
	cr_assert_eq(wm_tables_del(t, "never"), 0);
	wm_tables_free(t);
	free(p);
}

Test(tables, an_equal_put_writes_nothing)
{
	struct plane *p = plane_new(), *before = malloc(sizeof(*before));
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	want(&x, 3, 9);
	cr_assert_eq(put(t, &x), 0);
	memcpy(before, p, sizeof(*p));
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(memcmp(before, p, sizeof(*p)), 0);
	wm_tables_free(t);
	free(before);
	free(p);
}

static void count_kind(void *arg, uint8_t kind, unsigned expect)
{
	struct plane *p = arg;
	struct wm_name_key k;
	struct wm_name v;
	unsigned n = 0;

	for (bool first = true; !name_next(p, first, &k, &v); first = false)
		n += v.kind == kind;
	cr_assert_eq(n, expect, "%u names of kind %u", n, kind);
}

/* Where nothing is steered, virtual names are answered with endpoints: in the kernel's map too, for
 * what is put before, after, and when it is steered again. */
Test(tables, virtual_names_may_stand_for_endpoints)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted a, b;

	want(&a, 1, 2);
	want(&b, 2, 2);
	cr_assert(wm_tables_virtual(t));
	cr_assert_eq(put(t, &a), 0);
	count_kind(p, WM_NAME_VIRTUAL, 1);
	wm_tables_set_virtual(t, false);
	cr_assert(!wm_tables_virtual(t));
	cr_assert_eq(put(t, &b), 0);
	count_kind(p, WM_NAME_VIRTUAL, 0);
	count_kind(p, WM_NAME_SERVICE, 4);
	wm_tables_free(t);
	/* the next run is steered, and finds what this one left */
	t = tables_new(p);
	cr_assert_eq(wm_tables_adopt(t), 2);
	cr_assert_eq(put(t, &a), 0);
	cr_assert_eq(put(t, &b), 0);
	cr_assert_eq(wm_tables_sweep(t), 0);
	count_kind(p, WM_NAME_VIRTUAL, 2);
	wm_tables_set_virtual(t, false);
	count_kind(p, WM_NAME_VIRTUAL, 0);
	wm_tables_set_virtual(t, true);
	count_kind(p, WM_NAME_VIRTUAL, 2);
	count_kind(p, WM_NAME_SERVICE, 2);
	agree(p, t, &a);
	wm_tables_free(t);
	free(p);
}

/* The set that [label.]service.kind.domain leads to; -1: there is no such name. */
static int64_t led_to(const struct wm_tables *t, const char *wire)
{
	const struct wm_name *n = wm_tables_name(t, (const uint8_t *)wire, strlen(wire) + 1);

	return n ? (int64_t)n->set : -1;
}

/* A part of a service has a set, names and an address of its own, of the same backends; the next
 * run knows them. */
Test(tables, a_part_of_a_service_has_names_of_its_own)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted all, part;
	int64_t set, of_all;
	char label[WM_TAG_MAX + 1];

	want(&all, 1, 3);
	want(&part, 1, 2);
	part.w.label = "v2.eu";
	part.w.vip4_be = __builtin_bswap32(0xf0000099u);
	part.w.vip6[15] = 0x99;
	cr_assert_eq(put(t, &all) + put(t, &part), 0);
	set = wm_tables_label_set(t, "s1", "v2.eu");
	of_all = wm_tables_set_of(t, "s1");
	cr_assert(set >= 0 && set != of_all);
	cr_assert_eq(wm_tables_part_of(t, (uint32_t)set, label), 0);
	cr_assert_str_eq(label, "v2.eu");
	cr_assert_str_eq(wm_tables_service_of(t, (uint32_t)set), "s1");
	cr_assert_eq(wm_tables_part_of(t, (uint32_t)of_all, label), 0);
	cr_assert_str_eq(label, "");
	cr_assert_eq(led_to(t, "\2v2\2eu\2s1\7service\4mesh\10internal"), set);
	cr_assert_eq(led_to(t, "\2v2\2eu\2s1\7virtual\4mesh\10internal"), set);
	cr_assert_eq(led_to(t, "\2s1\7service\4mesh\10internal"), of_all);
	cr_assert_eq(p->names.n, 4);
	cr_assert_eq(p->fronts.n, 4);
	cr_assert_eq(p->sets[set].service, p->sets[of_all].service);
	wm_tables_free(t);
	t = tables_new(p);
	p->names.writes = p->fronts.writes = 0;
	cr_assert_eq(wm_tables_adopt(t), 2);
	cr_assert_eq(put(t, &part) + put(t, &all), 0);
	cr_assert_eq(wm_tables_sweep(t), 0);
	cr_assert_eq(wm_tables_label_set(t, "s1", "v2.eu"), set);
	cr_assert_eq(p->names.writes + p->fronts.writes, 0);
	wm_tables_part_del(t, "s1", "v2.eu", 0);
	cr_assert_eq(led_to(t, "\2v2\2eu\2s1\7virtual\4mesh\10internal"), -1);
	cr_assert_eq(p->names.n, 2);
	cr_assert_eq(p->fronts.n, 2);
	agree(p, t, &all);
	wm_tables_free(t);
	free(p);
}

/* A port has a set of its own at the service's addresses, and the service says that it has. The
 * same instance is another backend there; its health is one. */
Test(tables, a_port_has_a_set_of_its_own)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted all, port;
	uint32_t of_all, of_port, at[WM_BACKENDS_OF_MAX];

	want(&all, 1, 2);
	want(&port, 1, 2);
	all.w.ports = true;
	port.w.port = 9090;
	port.b[0].port = port.b[1].port = 9100;
	cr_assert_eq(wm_tables_put(t, &all.w, &of_all, NULL), 0);
	cr_assert_eq(wm_tables_put(t, &port.w, &of_port, NULL), 0);
	cr_assert_neq(of_all, of_port);
	cr_assert_eq(p->names.n, 2);
	cr_assert_eq(p->fronts.n, 2 + 4);
	for (unsigned i = 0; i < p->fronts.n; i++) {
		struct wm_frontend_key k;

		memcpy(&k, p->fronts.at[i].key, sizeof(k));
		cr_assert_eq(p->fronts.at[i].v.front.set, k.port_be ? of_port : of_all);
		cr_assert_eq(p->fronts.at[i].v.front.flags, k.port_be ? 0 : WM_FRONTEND_F_EXACT);
	}
	cr_assert_eq(wm_tables_backends_of(t, all.b[0].instance, at, WM_BACKENDS_OF_MAX), 2);
	wm_tables_state(t, all.b[0].instance, WM_STATE_DOWN);
	cr_assert_eq(p->set_live[of_all].up4, 1);
	cr_assert_eq(p->set_live[of_port].up4, 1);
	wm_tables_state(t, all.b[0].instance, WM_STATE_UP);
	wm_tables_free(t);
	t = tables_new(p);
	p->names.writes = p->fronts.writes = 0;
	cr_assert_eq(wm_tables_adopt(t), 2);
	cr_assert_eq(put(t, &port) + put(t, &all), 0);
	cr_assert_eq(wm_tables_sweep(t), 0);
	cr_assert_eq(p->names.writes + p->fronts.writes, 0);
	wm_tables_part_del(t, "s1", NULL, 9090);
	cr_assert_eq(p->fronts.n, 2);
	wm_tables_free(t);
	free(p);
}

/* A name that fits no label of DNS is in no `names`, and still has its address; the next run knows
 * the set by it, so that what sockets remember stays true. */
Test(tables, a_name_longer_than_a_label_has_a_frontend_and_is_adopted)
{
	struct plane *p = plane_new(), *before = malloc(sizeof(*before));
	struct wm_tables *t = tables_new(p);
	struct wanted x, other;
	char name[256];
	int set;

	memset(name, 'n', 255);
	name[255] = '\0';
	want(&x, 1, 3);
	want(&other, 2, 2);
	x.w.service = name;
	cr_assert_eq(put(t, &other) + put(t, &x), 0);
	cr_assert_eq(p->names.n, 2);
	cr_assert_eq(p->fronts.n, 4);
	set = wm_tables_set_of(t, name);
	cr_assert_geq(set, 0);
	memcpy(before, p, sizeof(*p));
	wm_tables_free(t);
	t = tables_new(p);
	cr_assert_eq(wm_tables_adopt(t), 2);
	cr_assert_eq(put(t, &x) + put(t, &other), 0);
	cr_assert_eq(wm_tables_set_of(t, name), set);
	cr_assert_eq(wm_tables_sweep(t), 0);
	cr_assert_eq(memcmp(before->sets, p->sets, sizeof(p->sets)), 0);
	cr_assert_eq(memcmp(before->backends, p->backends, sizeof(p->backends)), 0);
	wm_tables_free(t);
	/* another service at that address is not taken for it */
	t = tables_new(p);
	cr_assert_eq(wm_tables_adopt(t), 2);
	name[0] = 'm';
	cr_assert_eq(put(t, &x) + put(t, &other), 0);
	cr_assert_neq(wm_tables_set_of(t, name), set);
	cr_assert_eq(wm_tables_sweep(t), 1);
	wm_tables_del(t, name);
	cr_assert_eq(p->fronts.n, 2);
	wm_tables_free(t);
	free(before);
	free(p);
}

Test(tables, a_state_is_one_word)
{
	struct plane *p = plane_new(), *before = malloc(sizeof(*before));
	struct wm_tables *t = tables_new(p);
	unsigned changed = 0;
	struct wanted x;

	want(&x, 3, 9);
	cr_assert_eq(put(t, &x), 0);
	memcpy(before, p, sizeof(*p));
	cr_assert_eq(wm_tables_state(t, x.b[4].instance, WM_STATE_DOWN), 0);
	for (size_t i = 0; i < sizeof(*p) / 4; i++)
		changed += ((uint32_t *)p)[i] != ((uint32_t *)before)[i];
	cr_assert_eq(changed, 2, "and how many are up");
	x.b[4].state = WM_STATE_DOWN;
	agree(p, t, &x);
	cr_assert_eq(wm_tables_state(t, 12345, WM_STATE_DOWN), -ENOENT);
	wm_tables_free(t);
	free(before);
	free(p);
}

Test(tables, a_new_address_is_a_new_backend_with_another_stamp)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_tables_stats st;
	struct wanted x;
	uint32_t old = 0;

	want(&x, 1, 2);
	cr_assert_eq(put(t, &x), 0);
	for (uint32_t i = 0; i < CAP; i++)
		if (p->backends[i].instance == x.b[0].instance)
			old = i;
	x.b[0].port = 9999;
	cr_assert_eq(put(t, &x), 0);
	agree(p, t, &x);
	cr_assert_eq(p->backends[old].state & WM_STATE_MASK, WM_STATE_FREE);
	wm_tables_stats(t, &st);
	cr_assert_eq(st.backends, 3); /* the old one is in quarantine */
	cr_assert_eq(st.backends_quarantined, 1);
	wm_tables_free(t);
	free(p);
}

/* An instance that two sets want is one backend, with one state word and two that know of it; it
 * is free when the second lets go. */
Test(tables, sets_share_their_backends)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_tables_stats st;
	struct wanted x, y;
	uint32_t at[2];

	want(&x, 1, 3);
	want(&y, 2, 2);
	y.b[0] = x.b[0];
	cr_assert_eq(put(t, &x) + put(t, &y), 0);
	wm_tables_stats(t, &st);
	cr_assert_eq(st.backends, 4);
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, at, 2), 1);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_DOWN), 0);
	cr_assert_eq(p->set_live[wm_tables_set_of(t, "s1")].up4, 2);
	cr_assert_eq(p->set_live[wm_tables_set_of(t, "s2")].up4, 1);
	wm_tables_free(t);
	t = tables_new(p);
	cr_assert_eq(wm_tables_adopt(t), 2);
	x.b[0].state = y.b[0].state = WM_STATE_DOWN;
	cr_assert_eq(put(t, &x) + put(t, &y), 0);
	cr_assert_eq(wm_tables_sweep(t), 0);
	wm_tables_del(t, "s1");
	cr_assert_eq(p->backends[at[0]].state & WM_STATE_MASK, WM_STATE_DOWN, "s2 has it");
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_UP), 0);
	cr_assert_eq(p->set_live[wm_tables_set_of(t, "s2")].up4, 2);
	wm_tables_del(t, "s2");
	cr_assert_eq(p->backends[at[0]].state & WM_STATE_MASK, WM_STATE_FREE);
	wm_tables_free(t);
	free(p);
}

/* Counted in every set that has it, among those that are up, until its time is over. */
Test(tables, who_is_ejected_is_counted)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	uint32_t at, *out1, *out2;
	struct wanted x, y;

	want(&x, 1, 3);
	want(&y, 2, 2);
	y.b[0] = x.b[0];
	cr_assert_eq(put(t, &x) + put(t, &y), 0);
	out1 = &p->set_live[wm_tables_set_of(t, "s1")].ejected;
	out2 = &p->set_live[wm_tables_set_of(t, "s2")].ejected;
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, &at, 1), 1);
	p->live[at].ejected_until_ns = UINT64_MAX;
	*out1 = 7; /* as programs left it */
	wm_tables_count_ejected(t, at, 1000);
	cr_assert(*out1 == 1 && *out2 == 1);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_DOWN), 0);
	wm_tables_count_ejected(t, at, 1000);
	cr_assert(*out1 == 0 && *out2 == 0, "it is down all the same");
	x.b[0].state = y.b[0].state = WM_STATE_UP;
	cr_assert_eq(put(t, &x) + put(t, &y), 0);
	cr_assert(*out1 == 1 && *out2 == 1, "a publication counts, too");
	p->live[at].ejected_until_ns = 999;
	wm_tables_count_ejected(t, at, 1000);
	cr_assert(*out1 == 0 && *out2 == 0);
	cr_assert_eq(p->live[at].ejected_until_ns, 998, "no program takes it off again");
	wm_tables_free(t);
	free(p);
}

struct heard {
	unsigned n;
	uint32_t index, stamp;
	bool abort_tcp;
};

static void hear_lost(void *arg, uint32_t index, uint32_t stamp, bool abort_tcp)
{
	struct heard *h = arg;

	*h = (struct heard){h->n + 1, index, stamp, abort_tcp};
}

/* Down or gone is told once, with the occupant that sockets remember; up and draining is not. */
Test(tables, a_backend_that_is_gone_is_told)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct heard h = {0};
	uint32_t at[1], word;
	struct wanted x;

	wm_tables_on_lost(t, hear_lost, &h);
	want(&x, 1, 2);
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, at, 1), 1);
	word = p->backends[at[0]].state;
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_DRAIN), 0);
	cr_assert_eq(h.n, 0);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_DOWN), 0);
	cr_assert(h.n == 1 && h.index == at[0] && h.stamp == word >> 16 && !h.abort_tcp);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_UP), 0);
	x.b[0].abort_tcp = true;
	cr_assert_eq(put(t, &x), 0);
	x.b[0].port = 9999; /* its old address is left */
	cr_assert_eq(put(t, &x), 0);
	cr_assert(h.n == 2 && h.index == at[0] && h.stamp == word >> 16 && h.abort_tcp);
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, at, 1), 1);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_DOWN), 0);
	cr_assert_eq(h.n, 3);
	cr_assert_eq(wm_tables_del(t, "s1"), 0);
	cr_assert_eq(h.n, 4, "the other one; the first was down already");
	wm_tables_free(t);
	free(p);
}

/* A program takes a backend down and up again by itself: that it is up stays counted, since a count
 * of none is taken at its word; a put of the same does not raise it, and a state of ours stands
 * alone. */
Test(tables, a_backend_that_fell_rises_by_itself)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct heard h = {0};
	uint32_t at[1], set, up, fell, *word;
	struct wanted x;

	wm_tables_on_lost(t, hear_lost, &h);
	want(&x, 1, 1);
	cr_assert_eq(put(t, &x), 0);
	set = (uint32_t)wm_tables_set_of(t, "s1");
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, at, 1), 1);
	word = &p->backends[at[0]].state;
	up = *word;
	fell = (up & ~WM_STATE_MASK) | WM_STATE_F_FELL | WM_STATE_DOWN;
	cr_assert_eq(p->set_live[set].up4, 1);
	*word = fell;
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_UP), 0);
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(*word, fell, "userspace said up before");
	cr_assert_eq(p->set_live[set].up4, 1);
	cr_assert_eq(h.n, 0);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_DOWN), 0);
	cr_assert_eq(*word, (up & ~WM_STATE_MASK) | WM_STATE_DOWN);
	cr_assert_eq(p->set_live[set].up4, 0);
	cr_assert_eq(h.n, 1);
	cr_assert_eq(wm_tables_state(t, x.b[0].instance, WM_STATE_UP), 0);
	cr_assert_eq(*word, up);
	cr_assert_eq(p->set_live[set].up4, 1);
	*word = fell;
	cr_assert_eq(wm_tables_del(t, "s1"), 0);
	cr_assert_eq(*word & ~0xffff0000u, WM_STATE_FREE);
	cr_assert_eq(p->set_live[set].up4, 0);
	wm_tables_free(t);
	free(p);
}

Test(tables, full_backends_keep_what_was_published)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x[6], grown, late;
	struct wm_tables_stats st;

	for (unsigned i = 0; i < 5; i++) {
		want(&x[i], i, INSTANCES);
		cr_assert_eq(put(t, &x[i]), 0);
	}
	want(&late, 9, INSTANCES); /* 60 of 64 are used */
	cr_assert_eq(put(t, &late), WM_E_FULL);
	cr_assert_eq(p->fronts.n, 10); /* no way to an empty set */
	for (unsigned i = 0; i < 5; i++)
		agree(p, t, &x[i]);
	want(&grown, 1, INSTANCES);
	for (unsigned i = 0; i < INSTANCES; i++)
		grown.b[i].port = 1; /* twelve new backends */
	grown.b[0] = x[1].b[0];
	cr_assert_eq(put(t, &grown), WM_E_FULL);
	wm_tables_stats(t, &st);
	cr_assert_eq(st.full, 2);
	/* what is gone by the registry is not picked any more, the rest is */
	for (uint32_t i = 0; i < CAP; i++)
		if (p->backends[i].service == p->sets[1].service)
			cr_assert_neq(p->backends[i].port_be, __builtin_bswap16(1));
	cr_assert_eq(wm_tables_state(t, x[1].b[0].instance, WM_STATE_DOWN), 0);
	wm_tables_free(t);
	free(p);
}

Test(tables, full_slots_roll_back)
{
	struct plane *p = plane_new();
	struct wm_tables_stats a, b;
	struct wm_tables *t;
	struct wanted x, y;

	p->mem.slots_cap = 16;
	t = tables_new(p);
	want(&x, 1, 8);
	want(&y, 2, INSTANCES);
	cr_assert_eq(put(t, &x), 0);
	wm_tables_stats(t, &a);
	cr_assert_eq(put(t, &y), WM_E_FULL);
	wm_tables_stats(t, &b);
	cr_assert_eq(a.backends, b.backends);
	agree(p, t, &x);
	x.w.backends_count = 7; /* fits beside the old range */
	cr_assert_eq(put(t, &x), 0);
	agree(p, t, &x);
	wm_tables_free(t);
	free(p);
}

Test(tables, full_names_are_told_and_tried_again)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x[3];

	p->names.max = 3;
	for (unsigned i = 0; i < 2; i++) {
		want(&x[i], i, 2);
		cr_assert_eq(put(t, &x[i]), i ? WM_E_FULL : 0);
		agree(p, t, &x[i]); /* userspace knows the name all the same */
	}
	p->names.max = 4;
	cr_assert_eq(put(t, &x[1]), 0);
	cr_assert_eq(p->names.n, 4);
	wm_tables_free(t);
	free(p);
}

Test(tables, longest_set_and_too_long)
{
	static struct wm_want_backend b[WM_SET_SLOTS_MAX + 1];
	struct wm_want_set w = {.service = "big",
				.vip4_be = 1,
				.backends = b,
				.backends_count = WM_SET_SLOTS_MAX + 1};
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_err e;

	cr_assert_eq(wm_tables_put(t, &w, NULL, &e), WM_E_FULL);
	cr_assert(strstr(e.text, "65536"), "%s", e.text);
	wm_tables_free(t);
	free(p);
}

/* Put, delete, change and die at random; after each death the next run adopts, and one that wants
 * the same must not write at all. */
static void random_step(struct wm_tables *t, struct wanted *x, bool *live, uint64_t *seed)
{
	unsigned i, k;

	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	i = (unsigned)(*seed >> 33) % 4;
	k = (unsigned)(*seed >> 40) % INSTANCES;
	switch ((*seed >> 50) % 5) {
	case 0:
		want(x + i, i, k);
		cr_assert_leq(put(t, x + i), 0);
		live[i] = put(t, x + i) == 0;
		break;
	case 1:
		wm_tables_del(t, x[i].name);
		live[i] = false;
		break;
	case 2:
		if (!live[i] || k >= x[i].w.backends_count)
			break;
		x[i].b[k].state = 1 + (*seed >> 20) % 3;
		cr_assert_eq(wm_tables_state(t, x[i].b[k].instance, x[i].b[k].state), 0);
		break;
	case 3:
		if (!live[i] || k >= x[i].w.backends_count)
			break;
		x[i].b[k].port++;
		live[i] = put(t, x + i) == 0;
		break;
	default:
		if (!live[i] || k >= x[i].w.backends_count)
			break;
		x[i].b[k].weight = (*seed >> 20) % 4;
		live[i] = put(t, x + i) == 0;
	}
}

Test(tables, random_lives_and_adoptions)
{
	struct plane *p = plane_new(), *before = malloc(sizeof(*before));
	struct wm_tables *t = tables_new(p);
	uint64_t seed = wm_random64(), first = seed;
	struct wanted x[4];
	bool live[4] = {0};

	for (unsigned i = 0; i < 4; i++)
		want(&x[i], i, 0);
	for (unsigned life = 0; life < 200; life++) {
		for (unsigned n = 0; n < 20; n++)
			random_step(t, x, live, &seed);
		for (unsigned i = 0; i < 4; i++)
			if (live[i])
				agree(p, t, &x[i]);
		wm_tables_free(t); /* the process dies; memory and maps stay */
		t = tables_new(p);
		cr_assert_geq(wm_tables_adopt(t), 0, "seed %llu", (unsigned long long)first);
		memcpy(before, p, sizeof(*p));
		for (unsigned i = 0; i < 4; i++)
			if (live[i])
				cr_assert_eq(put(t, &x[i]), 0, "seed %llu",
					     (unsigned long long)first);
		cr_assert_eq(memcmp(before->sets, p->sets, sizeof(p->sets)), 0);
		cr_assert_eq(memcmp(before->heads, p->heads, sizeof(p->heads)), 0);
		cr_assert_eq(memcmp(before->slots, p->slots, sizeof(p->slots)), 0);
		cr_assert_eq(memcmp(before->backends, p->backends, sizeof(p->backends)), 0);
		cr_assert_eq(before->names.writes, p->names.writes);
		cr_assert_eq(before->fronts.writes, p->fronts.writes);
		wm_tables_sweep(t);
	}
	wm_tables_free(t);
	free(before);
	free(p);
}

/* A run that died at any store leaves rubbish at the worst; the next one must cope with any. */
Test(tables, adopts_rubbish)
{
	uint64_t seed = wm_random64(), first = seed;

	for (unsigned round = 0; round < 300; round++) {
		struct plane *p = plane_new();
		struct wm_tables *t = tables_new(p);
		struct wanted x[3];
		uint8_t *bytes = (uint8_t *)p->sets;
		size_t span =
			sizeof(p->sets) + sizeof(p->heads) + sizeof(p->slots) + sizeof(p->backends);

		for (unsigned i = 0; i < 3; i++) {
			want(&x[i], i, 3 + i);
			cr_assert_eq(put(t, &x[i]), 0);
		}
		wm_tables_free(t);
		for (unsigned n = 0; n < 30; n++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			bytes[(seed >> 33) % span] ^= (uint8_t)(seed >> 24);
			if (n % 10 == 0 && p->names.n)
				((uint8_t *)
					 p->names.at)[(seed >> 30) %
						      (p->names.n * sizeof(struct hash_entry))] ^=
					(uint8_t)(seed >> 20);
		}
		t = tables_new(p);
		cr_assert_geq(wm_tables_adopt(t), 0, "seed %llu", (unsigned long long)first);
		for (unsigned i = 0; i < 3; i++) {
			int r = put(t, &x[i]);

			cr_assert(r == 0 || r == WM_E_FULL);
			if (!r)
				agree(p, t, &x[i]);
		}
		wm_tables_sweep(t);
		wm_tables_free(t);
		free(p);
	}
}

/* A count that was taken from outside leaves the changes; a socket that was never counted takes
 * none away. */
Test(tables, listeners_are_counted)
{
	uint64_t w = wm_listening_moved(0, 1), before = w;

	cr_assert_eq(wm_listening_count(w), 1);
	w = wm_listening_moved(w, 0);
	cr_assert_eq(wm_listening_count(w), 0);
	cr_assert_neq(w, 0, "what was counted meanwhile is seen to be old");
	w = wm_listening_moved(w, 0);
	cr_assert_eq(wm_listening_count(w), 0);
	cr_assert_eq(wm_listening_count(wm_listening_counted(w, 7)), 7);
	cr_assert_eq(wm_listening_counted(w, 7) >> 32, w >> 32);
	cr_assert_eq(wm_listening_counted(before, 1), before);
}

/* --- are they what they should be? ------------------------------------------------------------ */
struct found {
	unsigned n;
	char map[8][16], text[8][400];
};

static void find(void *arg, const char *map, const char *text)
{
	struct found *f = arg;

	if (f->n < 8) {
		snprintf(f->map[f->n], sizeof(f->map[0]), "%s", map);
		snprintf(f->text[f->n], sizeof(f->text[0]), "%s", text);
	}
	f->n++;
}

/* All that there is to find, a few entries at a time. */
static struct found verify(struct wm_tables *t, const struct wanted *x)
{
	struct wm_verify_walk walk = {0};
	struct found f = {0};

	cr_assert_eq(wm_tables_verify(t, &x->w, find, &f), 0);
	while (wm_tables_verify_rest(t, &walk, 3, find, &f))
		;
	return f;
}

static void finds(struct wm_tables *t, const struct wanted *x, const char *map, const char *text)
{
	struct found f = verify(t, x);

	cr_assert_eq(f.n, 1, "%u differences, wanted: %s; %s: %s; %s", f.n, text, f.map[0],
		     f.text[0], f.text[1]);
	cr_assert_str_eq(f.map[0], map);
	cr_assert(strstr(f.text[0], text), "'%s' is not '%s'", f.text[0], text);
}

Test(tables, what_was_tampered_with_is_found)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_frontend front;
	struct wm_slot slot;
	struct wm_backend backend;
	struct wm_set set;
	uint32_t state;
	struct wanted x;

	want(&x, 1, 4);
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(verify(t, &x).n, 0);
	/* one thing after the other, and back */
	state = p->backends[0].state;
	p->backends[0].state = (state & 0xffff0000u) | WM_STATE_DRAIN;
	cr_assert_gt(verify(t, &x).n, 0); /* it is counted as up, too */
	p->backends[0].state = (state & 0xffff0000u) | WM_STATE_F_FELL | WM_STATE_DOWN;
	cr_assert_eq(verify(t, &x).n, 0, "that nobody listens is no difference");
	p->backends[0].state = state;
	backend = p->backends[0];
	p->backends[0].port_be ^= 1;
	finds(t, &x, "backends", "is in no entry");
	p->backends[0] = backend;
	p->backends[0].weight += 5;
	finds(t, &x, "backends", "has weight");
	p->backends[0] = backend;
	p->live[0].stamp++;
	finds(t, &x, "backend_live", "another occupant's");
	p->live[0].stamp--;
	slot = p->slots[0];
	p->slots[0].keep ^= 1;
	finds(t, &x, "slots", "are not those of the registry");
	p->slots[0] = slot;
	set = p->sets[0];
	p->sets[0].table.generation++;
	finds(t, &x, "sets", "was published");
	p->sets[0] = set;
	p->heads[set.table.head].balance ^= 1;
	finds(t, &x, "heads", "says other than the registry");
	p->heads[set.table.head].balance ^= 1;
	p->set_live[0].up4++;
	finds(t, &x, "set_live", "counts");
	p->set_live[0].up4--;
	front = p->fronts.at[0].v.front;
	p->fronts.at[0].v.front.set++;
	finds(t, &x, "frontends", "says other than the registry");
	p->fronts.at[0].v.front = front;
	p->names.at[0].v.name.vip4_be++;
	finds(t, &x, "names", "says other than the registry");
	p->names.at[0].v.name.vip4_be--;
	cr_assert_eq(verify(t, &x).n, 0);
	wm_tables_free(t);
	free(p);
}

Test(tables, what_is_missing_or_too_much_is_found)
{
	static const struct wm_frontend nobody;
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_frontend_key k = {{0, 0, 0xffff0000u, 1}, 0, 0, 0};
	struct wanted x, more;
	struct hash names;

	want(&x, 1, 4);
	want(&more, 1, 5);
	cr_assert_eq(put(t, &x), 0);
	finds(t, &more, "backends", "is in no entry");
	want(&more, 2, 1);
	finds(t, &more, "sets", "s2: has no entry");
	names = p->names;
	p->names.n--;
	finds(t, &x, "names", "s1.virtual.mesh.internal is not there");
	p->names = names;
	cr_assert_eq(hash_put(&p->fronts, &k, &nobody, sizeof(nobody)), 0);
	finds(t, &x, "frontends", "no service has it");
	cr_assert_eq(hash_del(&p->fronts, &k), 0);
	p->backends[9].state = WM_STATE_UP;
	finds(t, &x, "backends", "entry 9");
	p->backends[9].state = 0;
	p->sets[7].table.generation = 3;
	finds(t, &x, "sets", "entry 7 has a table");
	p->sets[7].table.generation = 0;
	cr_assert_eq(verify(t, &x).n, 0);
	wm_tables_free(t);
	free(p);
}
