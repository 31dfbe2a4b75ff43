/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* From policies to tiers, over a real registry, and the tables that come of them. */
#include "node_help.h"
#include "registry_help.h"
#include "userspace/metadata/selection.h"
#include "userspace/resolution/plan.h"
#include "userspace/resolution/resolution.h"

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_policy_draft draft;

static void begin(void)
{
	struct wm_registry_config c = config(NULL);

	c.node_meta = (char *[]){mut("region=eu"), mut("zone=a"), NULL};
	loop = wm_loop_new();
	cr_assert_eq(wm_registry_open(&c, &registry, NULL), 0);
}

static void end(void)
{
	wm_registry_close(registry);
	wm_loop_free(loop);
}
TestSuite(plan, .init = begin, .fini = end, .timeout = 300);

/* @p where "region/zone"; @p version: its metadata. */
static void instance(const char *id, const char *name, const char *region, const char *zone,
		     const char *version)
{
	struct wm_pair meta = {mut("version"), mut(version)};
	struct wm_traits traits = {.region = region, .zone = zone};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = "10.1.0.1",
				      .port = 80,
				      .meta = &meta,
				      .meta_count = 1,
				      .traits = &traits};

	cr_assert_eq(put_draft(registry, &d), 0);
}

static struct wm_policy *policy(const char *service)
{
	wm_policy_draft_init(&draft, service);
	return &draft.p;
}

static void keep(void)
{
	struct answer a = {0};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_policy_put(registry, &draft.p, NULL, answered, &a, &e), 0, "%s",
		     e.text);
	wm_registry_flush(registry);
	cr_assert_eq(a.code, 0, "%s", a.text);
}

/* "a:1 b:2": each instance with its tiers, in the order of their names. */
static int by_id(const void *pa, const void *pb)
{
	return strcmp(*(char *const *)pa, *(char *const *)pb);
}

static const char *planned(const char *service)
{
	static char text[512];
	char *parts[32], part[32][48];
	struct wm_plan plan;
	unsigned n = 0;

	cr_assert_eq(
		wm_plan_make(registry, wm_registry_service(registry, service), "", NULL, &plan), 0);
	for (; n < plan.count; n++) {
		snprintf(part[n], sizeof(part[n]), "%s:%x", plan.planned[n].instance->id,
			 plan.planned[n].tiers);
		parts[n] = part[n];
	}
	wm_plan_done(&plan);
	qsort(parts, n, sizeof(*parts), by_id);
	text[0] = 0;
	for (unsigned i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			 parts[i]);
	return text;
}

static struct wm_want_rule rule_of(const char *service)
{
	struct wm_plan plan;

	cr_assert_eq(
		wm_plan_make(registry, wm_registry_service(registry, service), "", NULL, &plan), 0);
	wm_plan_done(&plan);
	return plan.rule;
}

static void web(void)
{
	instance("w1", "web", "eu", "a", "1");
	instance("w2", "web", "eu", "b", "2");
	instance("w3", "web", "us", "a", "2");
	instance("d1", "db", "eu", "b", "1");
	instance("d2", "db", "us", "c", "2");
}

static void subset(const char *name, const char *filter)
{
	draft.subsets[draft.p.subsets_count++] = (struct wm_policy_subset){name, filter, 0};
}

Test(plan, without_a_policy_all_are_one_tier)
{
	struct wm_plan plan;

	web();
	cr_assert_str_eq(planned("web"), "w1:1 w2:1 w3:1");
	cr_assert_eq(wm_plan_make(registry, wm_registry_service(registry, "web"), "", NULL, &plan),
		     0);
	cr_assert_null(plan.policy);
	wm_plan_done(&plan);
}

Test(plan, who_fails_is_left_out_by_default)
{
	struct wm_table_head h;

	web();
	h = rule_of("web").head;
	cr_assert_eq(h.balance, WM_BALANCE_WEIGHTED);
	cr_assert_eq(h.tiers, 1);
	cr_assert(h.eject_refused == 1 && h.eject_after == 5 && h.eject_base_s == 10);
	cr_assert(h.eject_longest_s == 300 && h.eject_max_pct == 50 && h.eject_least == 2);
	policy("web")->outlier.refused = 0;
	draft.p.outlier.failures = 0;
	keep();
	h = rule_of("web").head;
	cr_assert(!h.eject_refused && !h.eject_after, "switched off");
}

/* A zone is of its region: "a" of another is far. */
Test(plan, the_zone_then_the_region_then_the_rest)
{
	web();
	policy("web")->select = WM_SELECT_NEAREST;
	keep();
	cr_assert_str_eq(planned("web"), "w1:1 w2:2 w3:4");
	cr_assert_eq(rule_of("web").head.tiers, 3);
	cr_assert_eq(rule_of("web").spread.way[0].carries_pct, 140);
	draft.p.nearest.region = "us";
	keep();
	cr_assert_str_eq(planned("web"), "w1:2 w2:2 w3:1", "of a region no zone is asked for");
}

Test(plan, subsets_by_filter_and_the_default_one)
{
	web();
	policy("web");
	subset("v1", "Service.Meta.version == \"1\"");
	subset("v2", "Service.Meta.version == \"2\"");
	draft.p.default_subset = "v2";
	keep();
	cr_assert_str_eq(planned("web"), "w2:1 w3:1");
	draft.p.default_subset = "";
	keep();
	cr_assert_str_eq(planned("web"), "w1:1 w2:1 w3:1");
}

/* With thirty-two long patterns and eight tiers each, a policy kept the agent for seconds. */
Test(plan, a_tier_compiles_its_own_subset_alone)
{
	struct wm_policy *p = policy("web");

	instance("w1", "web", "eu", "a", "1");
	instance("w2", "web", "eu", "a", "2");
	subset("v1", "Service.Meta.version == 1");
	subset("none", "no filter at all");
	p->default_subset = "V1";
	keep();
	cr_assert_str_eq(planned("web"), "w1:1");
	p->default_subset = "none";
	keep();
	cr_assert_str_eq(planned("web"), "");
}

Test(plan, a_split_over_subsets_and_services)
{
	struct wm_want_rule r;

	web();
	policy("web");
	subset("v1", "Service.Meta.version == \"1\"");
	draft.splits[0] = (struct wm_policy_split){9000, "", "v1"};
	draft.splits[1] = (struct wm_policy_split){1000, "db", ""};
	draft.p.splits_count = 2;
	keep();
	cr_assert_str_eq(planned("web"), "d1:2 d2:2 w1:1");
	r = rule_of("web");
	cr_assert_eq(r.head.tiers, 2);
	cr_assert(r.target[0] == 0 && r.target[1] == 1);
	cr_assert(r.spread.percent[0] == 9000 && r.spread.percent[1] == 1000);
}

Test(plan, failover_to_a_subset_a_service_and_a_region)
{
	web();
	policy("web")->select = WM_SELECT_FAILOVER;
	subset("v1", "Service.Meta.version == \"1\"");
	subset("v2", "Service.Meta.version == \"2\"");
	draft.p.default_subset = "v1";
	draft.failover[0] = (struct wm_policy_target){"*", "", "", "us"};
	draft.failover[1] = (struct wm_policy_target){"*", "db", "", ""};
	draft.failover[2] = (struct wm_policy_target){"v2", "db", "", "us"};
	draft.p.failover_count = 3;
	keep();
	/* of the default subset nobody is in the region: that is no tier; what is for another
	 * subset is not for this one */
	cr_assert_str_eq(planned("web"), "d1:2 d2:2 w1:1");
	cr_assert(rule_of("web").spread.way[0].failover);
	draft.p.default_subset = "";
	keep();
	cr_assert_str_eq(planned("web"), "d1:4 d2:4 w1:1 w2:1 w3:3");
}

Test(plan, a_redirect_goes_on_by_the_other_policy)
{
	web();
	instance("x1", "cache", "eu", "a", "1");
	policy("web")->redirect.service = "db";
	keep();
	cr_assert_str_eq(planned("web"), "d1:1 d2:1");
	policy("db");
	subset("two", "Service.Meta.version == \"2\"");
	draft.p.default_subset = "two";
	keep();
	cr_assert_str_eq(planned("web"), "d2:1");
	policy("db")->redirect.service = "cache";
	keep();
	cr_assert_str_eq(planned("web"), "x1:1");
	policy("cache")->redirect.service = "web";
	keep();
	cr_assert_str_eq(planned("web"), "", "a circle leads nowhere");
	cr_assert_eq(rule_of("web").head.tiers, 1);
	policy("cache")->redirect.service = "nobody";
	keep();
	cr_assert_str_eq(planned("web"), "");
}

/* Of a split and of failover, as of who dials: the service's own instances may be gone. */
Test(plan, a_target_is_where_it_redirects_to)
{
	web();
	instance("o1", "old", "eu", "a", "1");
	policy("old")->redirect.service = "db";
	keep();
	policy("web");
	draft.splits[0] = (struct wm_policy_split){9000, "web", ""};
	draft.splits[1] = (struct wm_policy_split){1000, "old", ""};
	draft.p.splits_count = 2;
	keep();
	cr_assert_str_eq(planned("web"), "d1:2 d2:2 w1:1 w2:1 w3:1");
	policy("web")->select = WM_SELECT_FAILOVER;
	draft.failover[0] = (struct wm_policy_target){"*", "old", "", "us"};
	draft.p.failover_count = 1;
	keep();
	cr_assert_str_eq(planned("web"), "d2:2 w1:1 w2:1 w3:1", "there, of the region");
	policy("db")->redirect.service = "old";
	keep();
	cr_assert_str_eq(planned("web"), "w1:1 w2:1 w3:1", "a circle leads nowhere");
}

/* Not that of the service that splits: half of db's weight is down, and all of its part stays. */
Test(plan, a_target_shares_among_its_tiers_as_its_own_policy_says)
{
	struct wm_want_rule r;

	web();
	instance("x1", "cache", "eu", "a", "1");
	policy("db")->select = WM_SELECT_FAILOVER;
	draft.p.nearest.threshold = 50;
	draft.failover[0] = (struct wm_policy_target){"*", "cache", "", ""};
	draft.p.failover_count = 1;
	keep();
	policy("web");
	draft.splits[0] = (struct wm_policy_split){5000, "", ""};
	draft.splits[1] = (struct wm_policy_split){5000, "db", ""};
	draft.p.splits_count = 2;
	keep();
	r = rule_of("web");
	cr_assert_eq(r.head.tiers, 3);
	cr_assert(!r.spread.way[0].failover && !r.spread.way[0].threshold_pct);
	cr_assert(r.spread.way[1].failover && r.spread.way[1].threshold_pct == 50);
	cr_assert_eq(r.spread.way[0].carries_pct, WM_TIERS_CARRY_PCT);
}

/* A split of @p service in parts of a hundred: "90 web 10 db". */
static void split(const char *service, unsigned one, const char *a, unsigned two, const char *b)
{
	policy(service);
	draft.splits[0] = (struct wm_policy_split){one * 100, a, ""};
	draft.splits[1] = (struct wm_policy_split){two * 100, b, ""};
	draft.p.splits_count = two ? 2 : 1;
	keep();
}

/* "50.00 web, 25.00 db": the targets of a selection. */
static const char *targets(const char *service)
{
	static char text[512];
	struct wm_selection c;

	cr_assert_eq(wm_selection_make(registry, service, "", false, &c), 0);
	text[0] = '\0';
	for (unsigned n = 0; n < c.count; n++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u.%02u %s",
			 n ? ", " : "", c.percent[c.tiers[n].target] / 100,
			 c.percent[c.tiers[n].target] % 100, c.tiers[n].service);
	if (*c.why)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ": %s", c.why);
	wm_selection_done(&c);
	return text;
}

/* As a Consul flattens splitters: percents are multiplied. */
Test(plan, a_target_that_splits_is_its_targets)
{
	web();
	instance("x1", "cache", "eu", "a", "1");
	instance("y1", "next", "eu", "a", "1");
	split("db", 50, "db", 50, "cache");
	split("web", 80, "web", 20, "DB");
	cr_assert_str_eq(targets("web"), "80.00 web, 10.00 db, 10.00 cache");
	cr_assert_str_eq(planned("web"), "d1:2 d2:2 w1:1 w2:1 w3:1 x1:4");
	split("cache", 33, "cache", 67, "next");
	cr_assert_str_eq(targets("web"), "80.00 web, 10.00 db, 3.30 cache, 6.70 next",
			 "one behind the other");
	policy("old")->redirect.service = "cache";
	keep();
	split("web", 90, "web", 10, "old");
	cr_assert_str_eq(targets("web"), "90.00 web, 3.30 cache, 6.70 next", "behind a redirect");
	split("web", 99, "web", 1, "db");
	split("db", 99, "db", 1, "cache");
	cr_assert_str_eq(targets("web"), "99.00 web, 0.99 db, 0.00 cache, 0.01 next",
			 "what is rounded adds up to the part");
	policy("web");
	subset("v1", "Service.Meta.version == \"1\"");
	draft.splits[0] = (struct wm_policy_split){5000, "", "v1"};
	draft.splits[1] = (struct wm_policy_split){5000, "cache", "v1"};
	draft.p.splits_count = 2;
	keep();
	cr_assert_str_eq(targets("web"), "50.00 web, 50.00 cache", "a subset splits no further");
}

Test(plan, splits_in_a_circle_end_where_they_began)
{
	web();
	split("db", 50, "db", 50, "web");
	split("web", 80, "web", 20, "db");
	cr_assert_str_eq(targets("web"),
			 "80.00 web, 10.00 db, 10.00 web: splits of targets lead in a circle, or "
			 "over more than 8 services: that target is taken whole");
	split("db", 100, "web", 0, "");
	split("web", 100, "db", 0, "");
	cr_assert_str_eq(planned("web"), "w1:1 w2:1 w3:1");
	cr_assert_str_eq(planned("db"), "d1:1 d2:1");
}

Test(plan, splits_of_targets_are_bounded)
{
	char name[2][16];

	web();
	for (unsigned n = 0; n < 2 * WM_SELECTION_HOPS_MAX; n++) { /* s0 -> s1 -> s2 ... */
		snprintf(name[0], sizeof(name[0]), "s%u", n);
		snprintf(name[1], sizeof(name[1]), "s%u", n + 1);
		instance(name[0], name[0], "eu", "a", "1");
		split(name[0], 100, name[1], 0, "");
	}
	cr_assert_str_eq(planned("s0"), "s8:1", "eight are followed");
	cr_assert_str_eq(targets("s9"), "100.00 s16", "which is not there");
	policy("db");
	for (unsigned n = 0; n < 5; n++)
		draft.splits[n] = (struct wm_policy_split){2000, n ? "web" : "db", ""};
	draft.p.splits_count = 5;
	keep();
	policy("s0");
	for (unsigned n = 0; n < 4; n++)
		draft.splits[n] = (struct wm_policy_split){2500, n ? "db" : "web", ""};
	draft.p.splits_count = 4;
	keep();
	cr_assert_str_eq(targets("s0"),
			 "25.00 web, 5.00 db, 5.00 web, 5.00 web, 5.00 web, 5.00 web, 25.00 db, "
			 "25.00 db: with the splits of its targets it has more than 8: one is "
			 "taken whole");
}

Test(plan, a_redirect_within_a_service_is_to_a_region)
{
	web();
	policy("web")->redirect.region = "us";
	keep();
	cr_assert_str_eq(planned("web"), "w3:1");
}

/* --- by round trips ----------------------------------------------------------------------------
 */
/* An instance on a node of its name, whose band is @p b. */
static void on_node(const char *id, const char *region, enum wm_band b)
{
	struct wm_node *n = node_with_web(registry, id, region);

	if (b)
		cr_assert(wm_registry_set_band(registry, n, b));
}

/* Again, where this node says no place. */
static void begin_nowhere(void)
{
	struct wm_registry_config c = config(NULL);

	wm_registry_close(registry);
	cr_assert_eq(wm_registry_open(&c, &registry, NULL), 0);
}

static struct wm_selection selected(const char *service)
{
	struct wm_selection c;

	cr_assert_eq(wm_selection_make(registry, service, "", false, &c), 0);
	return c;
}

Test(plan, round_trips_tell_who_is_near_where_no_place_is_known)
{
	static const char *const names[] = {"2ms", "10ms", "50ms", "rest"};
	struct wm_selection c;

	begin_nowhere();
	instance("own", "web", "", "", "1");
	on_node("unheard", "", WM_BAND_NONE);
	policy("web")->select = WM_SELECT_NEAREST;
	keep();
	c = selected("web");
	cr_assert_eq(c.count, 1);
	cr_assert(strstr(c.nearness, "all are as near"), "%s", c.nearness);
	wm_selection_done(&c);
	on_node("site", "", WM_BAND_SITE);
	on_node("region", "eu", WM_BAND_REGION);
	on_node("far", "", WM_BAND_CONTINENT);
	on_node("beyond", "", WM_BAND_BEYOND);
	cr_assert_str_eq(planned("web"), "beyond:8 far:4 own:1 region:2 site:1 unheard:8");
	cr_assert_eq(rule_of("web").spread.way[0].carries_pct, 140, "spills over as zones do");
	c = selected("web");
	cr_assert_eq(c.count, 4);
	for (unsigned n = 0; n < 4; n++)
		cr_assert_str_eq(c.tiers[n].what, names[n]);
	cr_assert(strstr(c.nearness, "by round trips"), "%s", c.nearness);
	wm_selection_done(&c);
	draft.p.nearest.region = "eu";
	keep();
	cr_assert_str_eq(planned("web"), "beyond:2 far:2 own:2 region:1 site:2 unheard:2",
			 "near to elsewhere: how far it is from here is no matter");
}

Test(plan, who_says_no_place_is_as_near_as_round_trips_say)
{
	struct wm_selection c;

	web();
	on_node("site", "", WM_BAND_SITE);
	on_node("far", "", WM_BAND_CONTINENT);
	policy("web")->select = WM_SELECT_NEAREST;
	keep();
	cr_assert_str_eq(planned("web"), "far:4 site:1 w1:1 w2:2 w3:8");
	c = selected("web");
	cr_assert_str_eq(c.tiers[0].what, "zone");
	cr_assert_str_eq(c.tiers[2].what, "50ms");
	cr_assert(strstr(c.nearness, "of who says neither by round trips"), "%s", c.nearness);
	wm_selection_done(&c);
	/* bands give way to targets, as zones do */
	draft.p.failover_count = 5;
	for (unsigned i = 0; i < 5; i++)
		draft.failover[i] = (struct wm_policy_target){"*", "db", "", ""};
	keep();
	cr_assert_eq(rule_of("web").head.tiers, 8);
	cr_assert_str_eq(planned("web"), "d1:f8 d2:f8 far:4 site:1 w1:1 w2:2 w3:4");
}

/* A table has eight tiers: nearness is given up before a target is. */
Test(plan, eight_tiers_are_the_most)
{
	web();
	policy("web")->select = WM_SELECT_NEAREST;
	for (unsigned i = 0; i < WM_POLICY_SPLITS_MAX; i++)
		draft.splits[i] = (struct wm_policy_split){1250, "", ""};
	draft.p.splits_count = WM_POLICY_SPLITS_MAX;
	keep();
	cr_assert_eq(rule_of("web").head.tiers, WM_TIERS_MAX);
	cr_assert_str_eq(planned("web"), "w1:ff w2:ff w3:ff");
}
