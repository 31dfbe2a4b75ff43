/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Checks that follow other checks: of instances, of the node, in chains and in cycles. A change is
 * there for all of them when the turn that it came in is over. */
#include "health_help.h"
#include "userspace/base/map.h"

static void setup(void)
{
	start_registry(NULL);
	start_health();
}

TestSuite(health_alias, .init = setup, .fini = stop_all, .timeout = 300);

static void turn(void)
{
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

static struct wm_check_draft beat(const char *id)
{
	return (struct wm_check_draft){
		.id = id, .name = id, .kind = WM_CHECK_TTL, .ttl_ms = 3600 * 1000};
}

static struct wm_check_draft alias_of(const char *target)
{
	return (struct wm_check_draft){.kind = WM_CHECK_ALIAS, .target = target};
}

static void set(const char *check, enum wm_status s, const char *output)
{
	cr_assert_eq(wm_health_ttl_update(health, check, s, output, NULL), 0);
}

static void add_to_node(struct wm_check_draft d, const char *id)
{
	d.id = d.name = id;
	cr_assert_eq(wm_registry_check_register(registry, NULL, &d, NULL, NULL, NULL), 0);
}

Test(health_alias, follows_within_the_turn)
{
	struct wm_check_draft two[] = {beat("one"), beat("two")};
	struct wm_check *c;

	submit("a", two, 2);
	add("b", alias_of("a"));
	turn();
	c = check_of("b");
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_str_eq(wm_check_kind_str(c->kind), "alias");
	set("one", WM_PASSING, "fine");
	set("two", WM_WARNING, "tired");
	turn();
	cr_assert_eq(c->status, WM_WARNING);
	cr_assert_eq(c->instance->status, WM_WARNING);
	cr_assert_str_eq(c->output, "Aliased check \"two\" failing: tired");
	set("one", WM_CRITICAL, "dead");
	turn();
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_str_eq(c->output, "Aliased check \"one\" failing: dead");
	set("one", WM_PASSING, "");
	set("two", WM_PASSING, "");
	turn();
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_str_eq(c->output, "All checks passing.");
	cr_assert_eq(wm_registry_maintenance(registry, "a", true, "new disk", NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert(strstr(c->output, "Service Maintenance Mode"), "%s", c->output);
}

Test(health_alias, of_what_is_not_there)
{
	struct wm_check *c = add("b", alias_of("a"));

	turn();
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_str_eq(c->output, "Service a could not be found on node n1");
	submit("a", NULL, 0);
	turn();
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_str_eq(c->output, "No checks found.");
	cr_assert_eq(wm_registry_deregister(registry, "a", NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(c->status, WM_CRITICAL);
	/* and it can go itself, with what it followed */
	cr_assert_eq(wm_registry_deregister(registry, "b", NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(stats().checks, 0);
	cr_assert_eq(wm_map_len(health->aliases), 0);
}

Test(health_alias, of_the_node_and_with_the_node)
{
	struct wm_check *of_node = add("b", alias_of("")), *of_a;

	submit("a", NULL, 0);
	of_a = add("c", alias_of("a"));
	turn();
	cr_assert_eq(of_node->status, WM_PASSING);
	cr_assert_str_eq(of_node->output, "All checks passing.");
	add_to_node(beat("disk"), "disk");
	turn();
	cr_assert_eq(of_node->status, WM_CRITICAL);
	cr_assert_eq(of_a->status, WM_CRITICAL, "the node's checks are of every instance");
	set("disk", WM_PASSING, "");
	turn();
	cr_assert_eq(of_node->status, WM_PASSING);
	cr_assert_eq(of_a->status, WM_PASSING);
	cr_assert_eq(wm_registry_check_deregister(registry, "disk", NULL, NULL, NULL), 0);
	turn();
	cr_assert_str_eq(of_a->output, "No checks found.");
	cr_assert_str_eq(of_node->output, "All checks passing.");
}

/* A check of the node that follows an instance makes every instance as bad, this one too. */
Test(health_alias, a_check_of_the_node_may_follow_an_instance_and_recovers)
{
	add("a", beat("a"));
	submit("b", NULL, 0);
	add_to_node(alias_of("a"), "mirror");
	turn();
	cr_assert_eq(wm_registry_node_checks(registry)->status, WM_CRITICAL);
	cr_assert_eq(wm_registry_instance(registry, "b")->status, WM_CRITICAL);
	set("a", WM_PASSING, "");
	turn();
	cr_assert_eq(wm_registry_node_checks(registry)->status, WM_PASSING);
	cr_assert_eq(wm_registry_instance(registry, "b")->status, WM_PASSING);
}

Test(health_alias, a_long_chain_follows_in_one_turn)
{
	enum { LENGTH = 1000 };
	char id[16], before[16];

	add("i0", beat("i0"));
	for (int i = 1; i < LENGTH; i++) {
		snprintf(id, sizeof(id), "i%d", i);
		snprintf(before, sizeof(before), "i%d", i - 1);
		add(id, alias_of(before));
	}
	turn();
	for (int round = 0; round < 3; round++) {
		enum wm_status s = round == 1 ? WM_CRITICAL : WM_PASSING;
		uint64_t transitions = stats().transitions;

		set("i0", s, "");
		turn();
		for (int i = 0; i < LENGTH; i++) {
			snprintf(id, sizeof(id), "i%d", i);
			cr_assert_eq(check_of(id)->status, s, "%s in round %d", id, round);
		}
		cr_assert_eq(stats().transitions, transitions + LENGTH);
	}
	cr_assert_eq(stats().alias_far, 0);
}

/* Each of them is critical only because the next one is: nobody must take that for a reason. */
Test(health_alias, a_cycle_is_as_bad_as_its_checks_and_recovers_with_them)
{
	enum { LENGTH = 7 };
	char id[16], next[16];

	for (int i = 0; i < LENGTH; i++) {
		struct wm_check_draft both[2];
		char own[16];

		snprintf(id, sizeof(id), "i%d", i);
		snprintf(own, sizeof(own), "beat%d", i);
		snprintf(next, sizeof(next), "i%d", (i + 1) % LENGTH);
		both[0] = beat(own);
		both[0].has_status = true;
		both[0].status = WM_PASSING;
		both[1] = alias_of(next);
		both[1].id = id;
		submit(id, both, 2);
	}
	turn();
	for (int round = 0; round < 6; round++) {
		/* worst of two sources, which come and go */
		enum wm_status a = (enum wm_status)(round % 3), b = (enum wm_status)(round / 2);

		set("beat2", a, "");
		set("beat5", b, "");
		turn();
		for (int i = 0; i < LENGTH; i++) {
			enum wm_status worst = a > b ? a : b;

			snprintf(id, sizeof(id), "i%d", i);
			cr_assert_eq(check_of(id)->status, worst, "%s in round %d: %d", id, round,
				     check_of(id)->status);
		}
	}
	/* an instance that follows itself sees its other checks only */
	{
		struct wm_check_draft both[2] = {beat("own"), alias_of("self")};

		both[1].id = "self";
		submit("self", both, 2);
		turn();
		cr_assert_eq(check_of("self")->status, WM_CRITICAL);
		set("own", WM_PASSING, "");
		turn();
		cr_assert_eq(check_of("self")->status, WM_PASSING);
		cr_assert_eq(check_of("self")->instance->status, WM_PASSING);
	}
}

/* Larger than what one turn looks at: bad news on its way round, good news behind it, must both
 * arrive, and then there must be peace. */
Test(health_alias, a_cycle_larger_than_a_turn_comes_to_rest)
{
	enum { LENGTH = 3000 };
	char id[16], next[16];
	uint64_t before;

	add("source", beat("source"));
	set("source", WM_PASSING, "");
	for (int i = 0; i < LENGTH; i++) {
		struct wm_check_draft both[2];
		char other[16];

		snprintf(id, sizeof(id), "i%d", i);
		snprintf(other, sizeof(other), "o%d", i);
		snprintf(next, sizeof(next), "i%d", (i + LENGTH - 1) % LENGTH);
		both[0] = alias_of(next);
		both[0].id = id;
		both[1] = alias_of("source");
		both[1].id = other;
		submit(id, both, i == 0 ? 2 : 1);
	}
	UNTIL(TAILQ_EMPTY(&health->stale) && check_of("i2999") &&
	      check_of("i2999")->status == WM_PASSING && check_of("i0")->status == WM_PASSING);
	set("source", WM_CRITICAL, "");
	turn();
	set("source", WM_PASSING, "");
	UNTIL(TAILQ_EMPTY(&health->stale));
	for (int i = 0; i < LENGTH; i++) {
		snprintf(id, sizeof(id), "i%d", i);
		cr_assert_eq(check_of(id)->status, WM_PASSING, "%s", id);
	}
	before = stats().transitions;
	for (int i = 0; i < 20; i++)
		turn();
	cr_assert_eq(stats().transitions, before);
}

Test(health_alias, redefined_to_another_target_and_back_to_another_kind)
{
	struct wm_check *c;

	add("a", beat("a"));
	set("a", WM_PASSING, "");
	add("c", alias_of("b"));
	turn();
	cr_assert_eq(check_of("c")->status, WM_CRITICAL);
	add("c", alias_of("a"));
	turn();
	cr_assert_eq(check_of("c")->status, WM_PASSING);
	cr_assert_eq(wm_map_len(health->aliases), 1, "b is not followed any more");
	c = add("c", beat("c"));
	cr_assert_eq(wm_map_len(health->aliases), 0);
	set("a", WM_CRITICAL, "");
	turn();
	cr_assert_eq(c->status, WM_PASSING);
}

Test(health_alias, what_is_critical_for_too_long_takes_its_sidecar_along)
{
	struct wm_check_draft c = {.kind = WM_CHECK_TTL, .ttl_ms = 30, .deregister_after_ms = 40};
	struct wm_instance_draft with = {0};
	struct wm_instance_draft d = {
		.name = "gone", .port = 1, .checks = &c, .checks_count = 1, .sidecar = &with};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	wm_registry_flush(registry);
	cr_assert(wm_registry_instance(registry, "gone-sidecar-proxy"));
	UNTIL(!wm_registry_instance(registry, "gone"));
	cr_assert_null(wm_registry_instance(registry, "gone-sidecar-proxy"));
}
