/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* The compiled tables in plain memory, with a small hash map that counts writes. */
#include "tables_help.h"

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
	wm_tables_part_del(t, "s1", "v2.eu", 0, 0);
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
	wm_tables_part_del(t, "s1", NULL, 9090, 0);
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

/* Of thousands that are ejected at once each is found without a walk over all services. */
Test(tables, whose_a_backend_is_its_sets_tell)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x, y;
	uint32_t at;

	want(&x, 1, 3);
	want(&y, 2, 2);
	y.b[0] = x.b[0];
	y.b[0].service = (uint32_t)wm_hash_stable("s1", 2); /* a policy of s2 leads to it */
	cr_assert_eq(put(t, &x) + put(t, &y), 0);
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, &at, 1), 1);
	cr_assert_str_eq(wm_tables_service_with(t, at), "s1");
	wm_tables_del(t, "s1");
	cr_assert_null(wm_tables_service_with(t, at), "no set of its own has it");
	cr_assert_eq(wm_tables_backends_of(t, y.b[1].instance, &at, 1), 1);
	cr_assert_str_eq(wm_tables_service_with(t, at), "s2");
	cr_assert_null(wm_tables_service_with(t, CAP));
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
	/* as programs leave it that do not know of backends' own word */
	p->live[at].ejected_until_ns = UINT64_MAX;
	wm_tables_free(t);
	t = tables_new(p);
	cr_assert_eq(wm_tables_adopt(t), 2);
	cr_assert_eq(p->backends[at].out_until_ns, UINT64_MAX);
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
	wm_tables_rise(t, at[0]);
	cr_assert_eq(*word, up);
	*word = fell;
	wm_tables_rise(t, at[0]);
	cr_assert_eq(*word, up, "nobody looks who listens");
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

/* Of 256 slots, where consistent hashing wants 65,537. What was published must not stay either, as
 * who is in it may have left. */
Test(tables, what_has_no_room_for_its_way_is_chosen_by_weight)
{
	const struct wm_want_rule rule = {.head = {.tiers = 1, .balance = WM_BALANCE_MAGLEV}};
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_err e = {0};
	struct wm_table table;
	struct wanted x;
	struct wm_view v;

	want(&x, 1, 3);
	cr_assert_eq(put(t, &x), 0);
	x.w.rule = &rule;
	x.b[0].instance = 77; /* another one in its place */
	cr_assert_eq(wm_tables_put(t, &x.w, NULL, &e), WM_E_FULL);
	cr_assert_str_eq(e.text, "slots: 256 are the limit (kernel.backends_max): until there is "
				 "room it is chosen by weight");
	agree(p, t, &x);
	v = wm_tables_view(t);
	cr_assert_eq(wm_table_load(&v, 0, &table), WM_PICKED);
	cr_assert_eq(table.head.balance, WM_BALANCE_WEIGHTED);
	x.w.backends_count = 2;
	cr_assert_eq(put(t, &x), WM_E_FULL);
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

/* A virtual address moves while memory is short: the name goes on to none, and goes with it. */
Test(tables, a_name_that_cannot_be_replaced_is_not_left_behind)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	want(&x, 1, 2);
	cr_assert_eq(put(t, &x), 0);
	p->config.flags = WM_CONFIG_F_COMPLETE;
	p->names.no_memory = true;
	x.w.vip4_be = __builtin_bswap32(0xf0000009u);
	cr_assert_eq(put(t, &x), WM_E_FULL);
	for (unsigned i = 0; i < p->names.n; i++)
		cr_assert_neq(p->names.at[i].v.name.vip4_be, __builtin_bswap32(0xf0000001u));
	cr_assert_eq(p->config.flags & WM_CONFIG_F_COMPLETE, 0, "it is not denied meanwhile");
	wm_tables_del(t, x.name);
	cr_assert_eq(p->names.n, 0);
	cr_assert_eq(p->fronts.n, 0);
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

/* --- what SRV is told by ---------------------------------------------------------------------- */
static bool tells_srv(const struct plane *p, const struct wm_tables *t)
{
	int64_t set = wm_tables_set_of(t, "s1");

	cr_assert_geq(set, 0);
	return p->heads[p->sets[set].table.head].flags & WM_HEAD_SRV;
}

static bool tells_srv_of_many(const struct plane *p, const struct wm_tables *t)
{
	int64_t set = wm_tables_set_of(t, "s1");

	cr_assert_geq(set, 0);
	return p->heads[p->sets[set].table.head].flags & WM_HEAD_SRV_MANY;
}

/* In another flag: programs that look into one tier, and at each slot once, know the old alone. */
Test(tables, srv_of_tiers_and_turns_is_told_apart)
{
	struct wm_want_rule rule = {.head = {.tiers = 1, .balance = WM_BALANCE_ROUND_ROBIN}};
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	want(&x, 1, 2);
	x.w.srv = true;
	x.w.rule = &rule;
	cr_assert_eq(put(t, &x), 0);
	cr_assert(!tells_srv(p, t) && tells_srv_of_many(p, t));
	rule.head = (struct wm_table_head){.tiers = 2};
	cr_assert_eq(put(t, &x), 0);
	cr_assert(!tells_srv(p, t) && tells_srv_of_many(p, t));
	rule.head.tiers = 1;
	cr_assert_eq(put(t, &x), 0);
	cr_assert(tells_srv(p, t) && !tells_srv_of_many(p, t));
	wm_tables_free(t);
	free(p);
}

Test(tables, srv_is_told_where_all_whom_it_may_name_are_in_slots)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	uint32_t at = 0, other = 0, was;
	struct wanted x;

	want(&x, 1, 2);
	cr_assert_eq(put(t, &x), 0);
	cr_assert(!tells_srv(p, t), "nobody said that it may be");
	x.w.srv = true;
	x.b[0].node = "N1.rack";
	cr_assert_eq(put(t, &x), 0);
	cr_assert(tells_srv(p, t));
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, &at, 1), 1);
	cr_assert_eq(p->targets[at].len, 8);
	cr_assert(!(p->backends[at].flags & WM_BACKEND_F_BY_ADDRESS));
	cr_assert_eq(memcmp(p->targets[at].words, "\2N1\4rack\0\0\0\0\0\0\0\0", 16), 0);
	was = p->backends[at].state >> 16;
	cr_assert_eq(wm_tables_backends_of(t, x.b[1].instance, &other, 1), 1);
	cr_assert(p->backends[other].flags & WM_BACKEND_F_BY_ADDRESS);

	x.b[0].node = "n2";
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(wm_tables_backends_of(t, x.b[0].instance, &at, 1), 1);
	cr_assert_eq(memcmp(p->targets[at].words, "\2n2\0\0\0\0\0", 8), 0,
		     "one that is read is not changed: it is another occupant's");
	cr_assert(p->targets[at].len == 3 && (at || p->backends[at].state >> 16 != was));

	x.b[0].node = "a-label..empty";
	cr_assert_eq(put(t, &x), 0);
	cr_assert(!tells_srv(p, t), "a name that cannot be written");
	x.b[0].node = NULL;
	x.b[1].weight = 0;
	cr_assert_eq(put(t, &x), 0);
	cr_assert(!tells_srv(p, t), "who has no weight is in no slot");
	x.b[1].weight = 1;
	cr_assert_eq(put(t, &x), 0);
	cr_assert(tells_srv(p, t));
	wm_tables_free(t);
	free(p);
}

/* --- few slots, in the head ------------------------------------------------------------------- */
static struct wm_table loaded(const struct wm_tables *t)
{
	struct wm_view v = wm_tables_view(t);
	struct wm_table table = {0};

	cr_assert_eq(wm_table_load(&v, (uint32_t)wm_tables_set_of(t, "s1"), &table), WM_PICKED);
	return table;
}

/* What a reader of the head's copy gets is what it would get of the slots. */
static void same_slots(const struct plane *p, const struct wm_tables *t)
{
	struct wm_table table = loaded(t);
	struct wm_view v = wm_tables_view(t);
	struct wm_slot s;

	for (uint32_t i = 0; i < table.count; i++) {
		const struct wm_slot *at = &p->slots[table.head.first + i];

		cr_assert_eq(wm_slot_read(&v, &table, i, &s), WM_PICKED);
		cr_assert_eq(s.backend, at->backend);
		cr_assert_eq(s.stamp, at->stamp);
		cr_assert_eq(s.keep, at->keep);
	}
}

Test(tables, few_slots_of_one_backend_each_stand_in_the_head)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	for (unsigned n = 1; n <= WM_FEW_MAX + 1; n++) {
		want(&x, 1, n);
		for (unsigned i = 0; i < n; i++)
			x.b[i].weight = 7;
		cr_assert_eq(put(t, &x), 0);
		cr_assert_eq(!!(loaded(t).head.flags & WM_HEAD_FEW), n <= WM_FEW_MAX, "%u", n);
		same_slots(p, t);
	}
	want(&x, 1, 2); /* whose slots have an alias */
	cr_assert_eq(put(t, &x), 0);
	cr_assert(!(loaded(t).head.flags & WM_HEAD_FEW));
	same_slots(p, t);
	wm_tables_free(t);
	free(p);
}

/* A walk over all places of a head ends with the places that there are. */
Test(tables, few_slots_are_few_whatever_their_head_says)
{
	struct wm_table table = {.head.flags = WM_HEAD_FEW, .count = UINT32_MAX};
	struct wm_view v = {0};
	struct wm_slot s;

	cr_assert_eq(wm_slot_read(&v, &table, WM_FEW_MAX - 1, &s), WM_PICKED);
	cr_assert_eq(wm_slot_read(&v, &table, WM_FEW_MAX, &s), WM_PICK_TORN);
	cr_assert_eq(wm_slot_read(&v, &table, UINT32_MAX, &s), WM_PICK_TORN);
}

/* Programs look ahead there. */
Test(tables, the_first_backend_is_where_its_set_is_if_that_is_free)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	want(&x, 1, 0);
	cr_assert_eq(put(t, &x), 0);
	want(&x, 2, 1);
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(p->backends[1].service, p->sets[1].service, "0 is free, and not its own");
	want(&x, 3, 2); /* the second goes where there is room */
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(p->backends[2].service, p->sets[2].service);
	cr_assert_eq(p->backends[0].service, p->sets[2].service);
	want(&x, 1, 1); /* whose place that was */
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(p->backends[3].service, p->sets[0].service);
	wm_tables_free(t);
	free(p);
}

/* Programs look ahead there; only one that rests keeps its set from it. */
Test(tables, a_head_is_where_its_set_is_if_that_is_free)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;

	for (unsigned s = 1; s <= 3; s++) {
		want(&x, s, 1);
		cr_assert_eq(put(t, &x), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(p->sets[i].table.head, i);
	want(&x, 1, 2);
	cr_assert_eq(put(t, &x), 0);
	cr_assert_neq(p->sets[0].table.head, 0, "which a reader may hold");
	wm_tables_free(t);
	free(p);
}
