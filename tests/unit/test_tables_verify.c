/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* What differs between tables and what is wanted of them is found. */
#include "tables_help.h"

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

/* A subset's set and a port's have tables of their own, and the shares of tiers are no part of a
 * table: each is told by its name. */
Test(tables, shares_subsets_and_ports_that_were_tampered_with_are_found)
{
	const struct wm_want_rule rule = {
		.head = {.tiers = 2}, .spread = {.way[0] = {.carries_pct = WM_TIERS_CARRY_PCT}}};
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;
	const unsigned set = 0; /* the first */

	want(&x, 1, 4);
	x.w.rule = &rule;
	x.w.label = "v2";
	x.w.port = 9090;
	for (unsigned i = 0; i < 4; i++)
		x.b[i].tiers = i < 2 ? 1 : 2;
	x.b[0].state = WM_STATE_DOWN;
	cr_assert_eq(put(t, &x), 0);
	wm_tables_cut(t);
	cr_assert_eq(verify(t, &x).n, 0);
	cr_assert_gt(p->set_live[set].cut[0], 0);
	cr_assert_lt(p->set_live[set].cut[0], 65535);
	p->set_live[set].cut[0]--;
	finds(t, &x, "set_live", "v2.s1:9090: tier 0 is drawn up to");
	p->set_live[set].cut[0]++;
	p->set_live[set].cut[5] = 7;
	finds(t, &x, "set_live", "v2.s1:9090: tier 5 is drawn up to 7 of 65535");
	p->set_live[set].cut[5] = 0;
	p->sets[set].table.generation++;
	finds(t, &x, "sets", "v2.s1:9090: entry 0");
	p->sets[set].table.generation--;
	/* the program that sees a listener go stores its state; the shares follow with the check */
	p->backends[1].state ^= WM_STATE_F_FELL | WM_STATE_UP | WM_STATE_DOWN;
	p->set_live[set].cut[0]--;
	cr_assert_eq(verify(t, &x).n, 0);
	p->set_live[set].cut[0]++;
	p->backends[1].state ^= WM_STATE_F_FELL | WM_STATE_UP | WM_STATE_DOWN;
	cr_assert_eq(verify(t, &x).n, 0);
	wm_tables_free(t);
	free(p);
}

/* --- entries that are read ahead --- */
static struct hash before; /* as they were when they were read */
static int reading;

static void ahead(void *arg, bool on)
{
	reading += on ? 1 : -1;
	before = ((struct plane *)arg)->names;
}

static int next_before(void *arg, bool first, struct wm_name_key *k, struct wm_name *v)
{
	(void)arg;
	return hash_next(&before, first, k, v, sizeof(*v));
}

Test(tables, what_changes_behind_the_reading_is_no_difference)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_verify_walk walk = {0};
	struct found f = {0};
	struct wanted x;

	p->ops.ahead = ahead;
	p->ops.name_next = next_before;
	want(&x, 1, 4);
	cr_assert_eq(put(t, &x), 0);
	cr_assert(wm_tables_verify_rest(t, &walk, 1, find, &f));
	cr_assert_eq(reading, 1);
	cr_assert_eq(wm_tables_del(t, "s1"), 0);
	want(&x, 2, 4);
	cr_assert_eq(put(t, &x), 0);
	while (wm_tables_verify_rest(t, &walk, 1, find, &f))
		;
	cr_assert_eq(f.n, 0, "%s: %s", f.map[0], f.text[0]);
	cr_assert_eq(reading, 0);
	p->names.at[0].v.name.vip4_be++;
	finds(t, &x, "names", "says other than the registry");
	p->names.at[0].v.name.vip4_be--;
	cr_assert(wm_tables_verify_rest(t, &walk, 1, find, &f));
	wm_tables_verify_done(t, &walk);
	cr_assert_eq(reading, 0, "a walk that was given up reads no more");
	cr_assert_eq(verify(t, &x).n, 0);
	wm_tables_free(t);
	free(p);
}

/* With this word nothing is steered or answered, whatever the tables say. */
Test(tables, a_configuration_that_was_tampered_with_is_found)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wm_config want;
	struct found f = {0};

	p->config.flags = WM_CONFIG_F_CONNECT;
	want = p->config;
	p->config.flags |= WM_CONFIG_F_COMPLETE;
	p->config.confirmed_ns = 1;
	wm_tables_verify_config(t, &want, find, &f);
	cr_assert_eq(f.n, 0, "that is the agent's: %s", f.text[0]);
	p->config.flags = WM_CONFIG_F_DNS;
	p->config.seed[1]++;
	p->config.dns_addr4_be[0] = 7;
	wm_tables_verify_config(t, &want, find, &f);
	cr_assert_eq(f.n, 4);
	cr_assert_str_eq(f.map[0], "config");
	cr_assert_str_eq(f.text[0], "connect() is not seen to, and should be");
	cr_assert_str_eq(f.text[1], "questions are seen to, and should not be");
	cr_assert_str_eq(f.text[2], "names are looked for under another seed: none is found");
	cr_assert_str_eq(f.text[3], "says other than the settings where and how DNS is answered");
	wm_tables_free(t);
	free(p);
}
