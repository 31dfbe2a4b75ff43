/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* A real registry, a real loop; the tables in plain memory. */
#include "node_help.h"
#include "userspace/resolution/grace.h"
#include "userspace/resolution/resolution.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define CAP 256

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_tables *tables;
static struct wm_resolution *resolution;
static struct wm_table_memory memory;
static const uint8_t nobody[WM_RESOLUTION_CLIENT];

static void setup(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = 1000,
				       .services_max = 100,
				       .nodes_max = 10,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};

	memory = (struct wm_table_memory){.sets_cap = CAP,
					  .slots_cap = 4 * CAP,
					  .backends_cap = CAP,
					  .names_cap = 2 * CAP,
					  .frontends_cap = 2 * CAP};
	cr_assert_eq(wm_table_memory_new(&memory), 0);
	inet_pton(AF_INET6, "fd77::", &c.vip6_prefix);
	loop = wm_loop_new();
	cr_assert_eq(wm_registry_open(&c, &registry, NULL), 0);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
	tables = wm_tables_new(&memory, NULL, "mesh.internal", NULL);
	resolution = wm_resolution_new(loop, registry, tables);
	cr_assert(resolution);
}

static void teardown(void)
{
	wm_resolution_free(resolution);
	wm_tables_free(tables);
	wm_registry_close(registry);
	wm_loop_free(loop);
	wm_table_memory_free(&memory);
}
TestSuite(resolution, .init = setup, .fini = teardown, .timeout = 300);

static const char *address = "10.0.0.9";

static void put(const char *id, unsigned port, enum wm_status status, unsigned warning_weight)
{
	struct wm_check_draft check = {
		.kind = WM_CHECK_TTL, .ttl_ms = 60000, .status = status, .has_status = true};
	struct wm_instance_draft d = {.id = id,
				      .name = "web",
				      .address = address,
				      .port = port,
				      .weight_passing = 10,
				      .weight_warning = warning_weight,
				      .has_weights = true,
				      .checks = &check,
				      .checks_count = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
}

static void turn(void)
{
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert_eq(wm_resolution_index(resolution), wm_registry_index(registry));
}

static const struct wm_backend *backend(const char *id)
{
	const struct wm_instance *i = wm_registry_instance(registry, id);

	for (unsigned k = 0; k < CAP; k++)
		if (memory.backends[k].instance == i->hash &&
		    (memory.backends[k].state & WM_STATE_MASK) != WM_STATE_FREE)
			return &memory.backends[k];
	return NULL;
}

static struct wm_table table(void)
{
	struct wm_view view = wm_tables_view(tables);
	struct wm_table t = {0};

	wm_table_load(&view, (uint32_t)wm_tables_set_of(tables, "web"), &t);
	return t;
}

Test(resolution, a_registration_is_in_the_tables_after_its_turn)
{
	put("a", 80, WM_PASSING, 1);
	put("b", 81, WM_CRITICAL, 1);
	cr_assert_lt(wm_tables_set_of(tables, "web"), 0);
	turn();
	cr_assert_eq(table().count, 2, "critical ones keep their slot");
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_UP);
	cr_assert_eq(backend("b")->state & WM_STATE_MASK, WM_STATE_DOWN);
	wm_registry_deregister(registry, "a", NULL, NULL, NULL);
	turn();
	cr_assert_eq(table().count, 1);
	wm_registry_deregister(registry, "b", NULL, NULL, NULL);
	turn();
	cr_assert_lt(wm_tables_set_of(tables, "web"), 0);
}

Test(resolution, a_status_is_stored_before_the_turn_ends)
{
	struct wm_check *c;
	struct wm_table before;

	put("a", 80, WM_PASSING, 10);
	turn();
	before = table();
	c = wm_registry_check(registry, "service:a");
	cr_assert(c);
	cr_assert_eq(wm_registry_set_status(registry, c, WM_CRITICAL, "gone"), 1);
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_DOWN);
	cr_assert_eq(wm_registry_set_status(registry, c, WM_PASSING, "back"), 1);
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_UP);
	turn();
	cr_assert_eq(table().word.generation, before.word.generation, "health republishes nothing");
}

Test(resolution, a_warning_moves_the_weight)
{
	struct wm_check *c;

	put("a", 80, WM_PASSING, 0);
	put("b", 81, WM_PASSING, 0);
	turn();
	c = wm_registry_check(registry, "service:a");
	wm_registry_set_status(registry, c, WM_WARNING, NULL);
	turn();
	cr_assert_eq(table().count, 1, "warning weighs nothing here");
	wm_registry_set_status(registry, c, WM_PASSING, NULL);
	turn();
	cr_assert_eq(table().count, 2);
}

/* Nothing that connect() could write: it is in no slot, and never up, whatever its checks say. */
Test(resolution, a_host_name_is_never_up)
{
	struct wm_check *c;

	address = "db.example.com";
	put("a", 80, WM_PASSING, 1);
	address = "10.0.0.9";
	put("b", 81, WM_PASSING, 1);
	turn();
	cr_assert_eq(table().count, 1);
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_DOWN);
	c = wm_registry_check(registry, "service:a");
	wm_registry_set_status(registry, c, WM_WARNING, NULL);
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_DOWN);
	turn();
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_DOWN);
	put("a", 80, WM_PASSING, 1); /* and with an address it is one as others */
	turn();
	cr_assert_eq(table().count, 2);
	cr_assert_eq(backend("a")->state & WM_STATE_MASK, WM_STATE_UP);
}

Test(resolution, metadata_alone_compiles_nothing)
{
	struct wm_tables_stats a, b;

	put("a", 80, WM_PASSING, 1);
	turn();
	wm_tables_stats(tables, &a);
	put("a", 80, WM_PASSING, 1);
	turn();
	wm_tables_stats(tables, &b);
	cr_assert_eq(a.puts, b.puts);
	put("a", 8080, WM_PASSING, 1);
	turn();
	wm_tables_stats(tables, &b);
	cr_assert_eq(b.puts, a.puts + 1);
	cr_assert_eq(backend("a")->port_be, htons(8080));
}

/* What did not fit is tried again when there is room. */
Test(resolution, what_did_not_fit_comes_when_there_is_room)
{
	char id[8];

	for (unsigned i = 0; i < CAP; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		put(id, 1000 + i, WM_PASSING, 1);
	}
	turn();
	cr_assert_eq(table().count, CAP);
	put("late", 9, WM_PASSING, 1);
	turn();
	cr_assert_eq(table().count, CAP);
	cr_assert_null(backend("late"));
	for (unsigned i = 0; i < 4; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		wm_registry_deregister(registry, id, NULL, NULL, NULL);
	}
	while (!backend("late"))
		cr_assert_eq(wm_loop_turn(loop, 100), 0);
	cr_assert_eq(table().count, CAP - 3);
}

Test(resolution, recovers_what_the_registry_has)
{
	put("a", 80, WM_PASSING, 1);
	turn();
	wm_resolution_free(resolution);
	wm_tables_del(tables, "web");
	resolution = wm_resolution_new(loop, registry, tables);
	cr_assert(resolution);
	cr_assert_eq(table().count, 1);
	cr_assert_gt(memory.config->confirmed_ns, 0);
}

static void put_other(const char *name)
{
	struct wm_instance_draft d = {.name = name, .address = "10.0.0.8", .port = 1};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
}

/* A large set that changes all the time would fill the slots with ranges in quarantine. Its changes
 * are gathered; what is gone or down is avoided at once, and others are not held up. */
Test(resolution, a_large_set_is_paced_and_starves_nobody)
{
	struct wm_tables_stats before, after;
	char id[8];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		put(id, 1000 + i, WM_PASSING, 1);
	}
	turn();
	cr_assert_eq(table().count, 100);
	wm_tables_stats(tables, &before);
	for (unsigned i = 100; i < 150; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		put(id, 1000 + i, WM_PASSING, 1);
		turn();
	}
	wm_tables_stats(tables, &after);
	cr_assert_leq(after.publishes, before.publishes + 1);
	cr_assert_eq(after.full, 0);
	cr_assert_eq(table().count, 100);
	put_other("db");
	wm_registry_deregister(registry, "i7", NULL, NULL, NULL);
	turn();
	cr_assert_geq(wm_tables_set_of(tables, "db"), 0);
	for (unsigned k = 0; k < CAP; k++)
		if (memory.backends[k].port_be == htons(1007))
			cr_assert_eq(memory.backends[k].state & WM_STATE_MASK, WM_STATE_DOWN);
	while (table().count != 149)
		cr_assert_eq(wm_loop_turn(loop, 50), 0);
}

static void count_difference(void *arg, const char *map, const char *text)
{
	(void)map;
	(void)text;
	++*(unsigned *)arg;
}

static unsigned differences(void)
{
	unsigned n = 0;

	cr_assert_eq(wm_resolution_verify(resolution, wm_registry_service(registry, "web"),
					  count_difference, &n),
		     0);
	return n;
}

Test(resolution, what_it_compiled_does_not_differ)
{
	put("a", 80, WM_PASSING, 1);
	put("b", 81, WM_CRITICAL, 7);
	turn();
	cr_assert_eq(differences(), 0);
	put("a", 82, WM_PASSING, 1);
	cr_assert_eq(differences(), 0, "what waits to be compiled is left out");
	turn();
	cr_assert_eq(differences(), 0);
	memory.slots[memory.heads[memory.sets[0].table.head].first].keep ^= 1;
	cr_assert_eq(differences(), 1);
}

/* --- subsets ------------------------------------------------------------------------------------
 */
static void subsets(unsigned n)
{
	static const struct wm_policy_subset all[] = {
		{.name = "Good", .filter = "", .only_passing = 1},
		{.name = "first", .filter = "Service.Port == 80"},
	};
	struct wm_policy_draft d;

	wm_policy_draft_init(&d, "web");
	d.p.subsets = all;
	d.p.subsets_count = n;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	turn();
}

static unsigned slots_of(const char *label)
{
	struct wm_view view = wm_tables_view(tables);
	int64_t set = wm_tables_label_set(tables, "web", label);
	struct wm_table t = {0};

	if (set < 0)
		return 0;
	return wm_table_load(&view, (uint32_t)set, &t) == WM_PICKED ? t.count : 0;
}

Test(resolution, each_subset_of_a_policy_has_a_set)
{
	struct wm_check *c;

	subsets(2);
	put("a", 80, WM_PASSING, 10);
	put("b", 81, WM_PASSING, 10);
	turn();
	cr_assert_eq(slots_of("good"), 2);
	cr_assert_eq(slots_of("first"), 1);
	cr_assert_eq(differences(), 0);
	/* of the same weight as before, so nothing but its status changes */
	c = wm_registry_check(registry, "service:b");
	wm_registry_set_status(registry, c, WM_WARNING, NULL);
	turn();
	cr_assert_eq(slots_of("good"), 1);
	wm_registry_deregister(registry, "a", NULL, NULL, NULL);
	turn();
	cr_assert_eq(slots_of("first"), 0, "nobody is in it");
	cr_assert_geq(wm_tables_label_set(tables, "web", "first"), 0, "and it is refused");
	subsets(1);
	cr_assert_lt(wm_tables_label_set(tables, "web", "first"), 0);
	wm_registry_deregister(registry, "b", NULL, NULL, NULL);
	turn();
	cr_assert_lt(wm_tables_label_set(tables, "web", "good"), 0);
	put("a", 80, WM_PASSING, 10);
	turn();
	cr_assert_eq(slots_of("good"), 1);
}

/* Nobody follows what is freed. */
static uint64_t at_once(void *arg)
{
	(void)arg;
	return 1;
}
static const struct wm_grace no_grace = {.ticket = at_once, .over = at_once};

/* Ten thousand tags that clients ask for leave no set, slot or name behind, whatever becomes of
 * their instances meanwhile: most find no room, some end as their time does, others with the
 * service, or as its instances have other tags. */
Test(resolution, tags_that_are_asked_for_leave_nothing_behind)
{
	struct wm_tables_stats before, after;
	char text[WM_POLICY_LABEL_MAX + 1], id[16];
	const char *tags[1] = {text};
	struct wm_instance_draft d = {.id = id, .name = "web", .address = address, .tags = tags};

	wm_tables_set_grace(tables, &no_grace);
	put("stays", 80, WM_PASSING, 1);
	turn();
	wm_tables_stats(tables, &before);
	for (unsigned i = 0; i < 10000; i++) {
		d.tags_count = 1;
		d.port = (uint16_t)(1 + i % 20);
		snprintf(id, sizeof(id), "i%u", i % 20);
		snprintf(text, sizeof(text), i % 3 ? "t%u" : i % 2 ? "a..%u" : ".%u.", i);
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
		wm_resolution_tag_asked(resolution, "web", text, nobody);
		if (i % 7 == 0)
			turn();
		if (i % 11 == 0)
			wm_registry_deregister(registry, id, NULL, NULL, NULL);
		if (i % 100 == 0)
			wm_resolution_end_tags(resolution, UINT64_MAX);
		wm_tables_recycle(tables);
	}
	wm_resolution_end_tags(resolution, UINT64_MAX);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		wm_registry_deregister(registry, id, NULL, NULL, NULL);
	}
	turn();
	wm_tables_recycle(tables);
	wm_tables_stats(tables, &after);
	cr_assert_eq(after.sets, before.sets);
	cr_assert_eq(after.names, before.names);
	cr_assert_eq(after.slots, before.slots);
	cr_assert_eq(after.backends, before.backends);
	cr_assert_gt(after.puts, before.puts + 1000);
}

/* Services of 16 tags, all of which a client asks for. @return sets that there are more. */
static uint64_t ask_for_tags(unsigned first, unsigned services, uint8_t who)
{
	const uint8_t client[WM_RESOLUTION_CLIENT] = {who};
	struct wm_tables_stats before, after;
	char name[16], text[16][8];
	const char *tags[16];

	wm_tables_stats(tables, &before);
	for (unsigned i = 0; i < 16; i++) {
		snprintf(text[i], sizeof(text[i]), "t%u", i);
		tags[i] = text[i];
	}
	for (unsigned i = first; i < first + services; i++) {
		struct wm_instance_draft d = {.id = name, .name = name, .address = address};

		snprintf(name, sizeof(name), "s%u", i);
		d.port = 80;
		d.tags = tags;
		d.tags_count = 16;
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
		turn();
		for (unsigned k = 0; k < 16; k++)
			wm_resolution_tag_asked(resolution, name, text[k], client);
	}
	turn();
	wm_tables_stats(tables, &after);
	return after.sets - before.sets - services;
}

Test(resolution, no_client_holds_the_places_of_all_tags)
{
	cr_assert_eq(ask_for_tags(0, 10, 1), 128);
	cr_assert_eq(ask_for_tags(10, 2, 1), 0);
	cr_assert_eq(ask_for_tags(12, 2, 2), 32);
	wm_resolution_end_tags(resolution, UINT64_MAX);
	cr_assert_eq(ask_for_tags(14, 1, 1), 16, "their time is over");
}

static void put_tagged(const char *id, const char *tag)
{
	struct wm_instance_draft d = {.id = id,
				      .name = "web",
				      .address = address,
				      .port = 80,
				      .tags = &tag,
				      .tags_count = 1};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	turn();
}

/* Whose addresses were asked for has them for as long as its service is there. */
Test(resolution, a_tag_has_addresses_when_they_are_asked_for)
{
	static const char name[] = "v2.web.virtual.mesh.internal";
	struct in6_addr v6;
	struct in_addr v4;

	put_tagged("a", "v1");
	put_tagged("b", "v2");
	cr_assert_not(wm_resolution_tag_addressed(resolution, "web", "v3"), "nobody has it");
	cr_assert_not(wm_registry_label(registry, "web", "v3", &v4, &v6));
	wm_resolution_tag_asked(resolution, "web", "v2", nobody);
	turn();
	cr_assert_null(wm_tables_name_of(tables, name));
	cr_assert(wm_resolution_tag_addressed(resolution, "web", "v2"));
	cr_assert(wm_registry_label(registry, "web", "v2", &v4, &v6));
	cr_assert_eq(slots_of("v2"), 1, "before the turn has ended");
	cr_assert_eq(wm_tables_name_of(tables, name)->vip4_be, v4.s_addr);
	put_tagged("c", "v2");
	cr_assert_eq(slots_of("v2"), 2);
	cr_assert_eq(differences(), 0);
	wm_resolution_end_tags(resolution, UINT64_MAX);
	cr_assert_eq(slots_of("v2"), 2, "no time ends it");
	for (unsigned i = 0; i < 3; i++)
		wm_registry_deregister(registry, &"a\0b\0c"[2 * i], NULL, NULL, NULL);
	turn();
	cr_assert_null(wm_tables_name_of(tables, name));
	cr_assert_not(wm_registry_label(registry, "web", "v2", &v4, &v6));
}

/* A subset that takes its name has its addresses, and leaves them to it. */
Test(resolution, addresses_of_a_tag_are_a_subsets_of_its_name)
{
	struct in_addr v4, before;
	struct in6_addr v6;

	put_tagged("a", "first");
	put("b", 80, WM_PASSING, 1);
	turn();
	cr_assert(wm_resolution_tag_addressed(resolution, "web", "first"));
	cr_assert(wm_registry_label(registry, "web", "first", &before, &v6));
	cr_assert_eq(slots_of("first"), 1);
	subsets(2);
	cr_assert_eq(slots_of("first"), 2, "of port 80 are both");
	subsets(1);
	cr_assert_eq(slots_of("first"), 1);
	cr_assert(wm_registry_label(registry, "web", "first", &v4, &v6));
	cr_assert_eq(v4.s_addr, before.s_addr);
}

/* --- how far nodes are --------------------------------------------------------------------------
 */
static void add_front(void)
{
	const struct wm_instance_draft d = {.id = "f", .name = "front", .port = 80};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
}

static uint64_t published_after(void)
{
	struct wm_tables_stats before, after;

	wm_tables_stats(tables, &before);
	wm_resolution_moved(resolution);
	turn();
	wm_tables_stats(tables, &after);
	return after.publishes - before.publishes;
}

/* Of the service that is near and of who is sent there by a split, and only where a node is in
 * another band. */
Test(resolution, a_node_that_moves_is_in_another_tier)
{
	struct wm_node *near = node_with_web(registry, "near", NULL);
	struct wm_node *far = node_with_web(registry, "far", NULL);
	struct wm_policy_draft d;

	put("own", 80, WM_PASSING, 1);
	add_front();
	wm_policy_draft_init(&d, "web");
	d.p.select = WM_SELECT_NEAREST;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	wm_policy_draft_init(&d, "front");
	d.splits[0] = (struct wm_policy_split){WM_POLICY_WHOLE, "web", ""};
	d.p.splits_count = 1;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(published_after(), 0);
	cr_assert(wm_registry_set_band(registry, near, WM_BAND_SITE));
	cr_assert(wm_registry_set_band(registry, far, WM_BAND_BEYOND));
	cr_assert_eq(published_after(), 2, "web and front");
	cr_assert_eq(published_after(), 0);
	cr_assert_not(wm_registry_set_band(registry, near, WM_BAND_REGION));
	cr_assert_eq(published_after(), 0, "not for what is said once");
	cr_assert(wm_registry_set_band(registry, near, WM_BAND_REGION));
	cr_assert_eq(published_after(), 2);
}
