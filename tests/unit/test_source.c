/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry source */
/* test_source.c - the door for services that others bring: by difference, some a turn, mark and
 * sweep, quota, brake, identity, and what of it is there after a restart. */
#include "env_virtual.h"
#include "registry_help.h"
#include "userspace/model/node.h"
#include "userspace/model/spec.h"
#include "userspace/source/source.h"

#include <signal.h>
#include <sys/resource.h>

TestSuite(source, .init = make_dir, .fini = rm_dir, .timeout = 300);

static struct virtual_env v;
static struct wm_registry *r;
static struct wm_sources *all;
static struct wm_source *s;
static struct wm_buf changes;

static const struct wm_source_config plain = {.name = "kubernetes", .prefix = "k8s"};

static void begin(const struct wm_source_config *c)
{
	struct wm_registry_config of = config(db);
	struct wm_sources_config sc = {.env = &v.env};
	struct wm_err e = {0};
	static char state[128];

	if (!v.ns)
		virtual_env_init(&v, 1);
	of.env = &v.env;
	cr_assert_eq(wm_registry_open(&of, &r, &e), 0, "%s", e.text);
	snprintf(state, sizeof(state), "%s/state", dir);
	sc.registry = r;
	sc.data_dir = state;
	all = wm_sources_new(&sc);
	cr_assert_eq(wm_source_new(all, c, &s, &e), 0, "%s", e.text);
	wm_sources_settle(all);
	wm_registry_finish(r);
	wm_buf_init(&changes, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(r, record_change, &changes), 0);
}

static void end(void)
{
	wm_sources_free(all);
	wm_registry_close(r);
	wm_buf_done(&changes);
}

static struct wm_source_about about(void)
{
	struct wm_source_about a;

	wm_source_about(s, &a);
	return a;
}

static uint64_t counted(enum wm_source_counter c)
{
	return about().counters[c];
}

/* Until all that was said is in the registry. */
static void settle(void)
{
	for (unsigned n = 0; n < 1000 && about().queued; n++) {
		virtual_env_pass(&v, 1);
		wm_registry_finish(r);
	}
	cr_assert_eq(about().queued, 0);
}

static const char *heard(void)
{
	static char text[4096];

	snprintf(text, sizeof(text), "%s", changes.data ? changes.data : "");
	wm_buf_reset(&changes);
	return text;
}

static int pod(const char *node, const char *id, const char *service, enum wm_status st)
{
	struct wm_instance_draft d = {.id = id, .name = service, .address = "10.2.0.1", .port = 80};

	return wm_source_put(s, node, &d, st, WM_LIFE_RUNNING);
}

static void pods(unsigned from, unsigned to, const char *service)
{
	char id[32], node[32];

	for (unsigned n = from; n < to; n++) {
		snprintf(id, sizeof(id), "pod-%u", n);
		snprintf(node, sizeof(node), "node-%u", n % 3);
		cr_assert_eq(pod(node, id, service, WM_PASSING), 0);
	}
}

static struct wm_instance *there(const char *node, const char *id)
{
	const struct wm_node *n = wm_registry_node_named(r, node);

	return n ? wm_node_instance(n, id) : NULL;
}

Test(source, what_it_says_is_in_the_registry)
{
	struct wm_node_draft facts = {.id = "9b9b9b9b-0000-4000-8000-000000000001",
				      .address = "192.0.2.1",
				      .zone = "a",
				      .region = "eu"};
	const struct wm_node *n;

	begin(&plain);
	cr_assert_eq(wm_source_node(s, "node-1", &facts), 0);
	cr_assert_eq(pod("node-1", "p1", "default/web", WM_PASSING), 0);
	cr_assert_eq(pod("node-2", "p2", "default/web", WM_CRITICAL), 0);
	settle();
	n = wm_registry_node_named(r, "k8s-node-1");
	cr_assert_not_null(n);
	cr_assert_str_eq(n->address, "192.0.2.1");
	cr_assert_str_eq(n->zone, "a");
	cr_assert(wm_instance_of_source(n->holder));
	cr_assert_str_eq(wm_sources_node_owner(all, &n->holder->version.writer, n->name),
			 "kubernetes");
	cr_assert_eq(there("k8s-node-1", "p1")->status, WM_PASSING);
	cr_assert_eq(there("k8s-node-1", "p1")->checks_count, 0);
	cr_assert_eq(there("k8s-node-2", "p2")->status, WM_CRITICAL);
	cr_assert_str_eq(there("k8s-node-2", "p2")->checks[0]->id, "service:p2");
	cr_assert_eq(wm_registry_service(r, "default/web")->instances_count, 2);
	cr_assert_eq(about().instances, 2);
	cr_assert_eq(about().nodes, 2);
	cr_assert_eq(about().services, 1);
	end();
}

Test(source, what_is_the_same_is_told_to_nobody)
{
	begin(&plain);
	cr_assert_eq(pod("node-1", "p1", "web", WM_PASSING), 0);
	settle();
	(void)heard();
	cr_assert_eq(pod("node-1", "p1", "web", WM_PASSING), 0);
	cr_assert_eq(about().queued, 0);
	cr_assert_eq(counted(WM_SOURCE_COUNT_unchanged), 1);
	cr_assert_eq(pod("node-1", "p1", "web", WM_CRITICAL), 0);
	cr_assert_eq(about().queued, 1);
	/* as before, before it was written */
	cr_assert_eq(pod("node-1", "p1", "web", WM_CRITICAL), 0);
	cr_assert_eq(counted(WM_SOURCE_COUNT_unchanged), 2);
	settle();
	cr_assert_eq(there("k8s-node-1", "p1")->status, WM_CRITICAL);
	(void)heard();
	/* gone and there again within a turn */
	cr_assert_eq(wm_source_gone(s, "node-1", "p1"), 0);
	cr_assert_eq(pod("node-1", "p1", "web", WM_CRITICAL), 0);
	settle();
	cr_assert_str_eq(heard(), "");
	end();
}

Test(source, what_goes_is_gone_with_its_node)
{
	begin(&plain);
	pods(0, 6, "web");
	settle();
	cr_assert_eq(wm_source_gone(s, "node-0", "pod-0"), 0);
	cr_assert_eq(wm_source_gone(s, "node-0", "pod-0"), WM_E_UNKNOWN);
	cr_assert_eq(wm_source_node_gone(s, "node-1"), 0);
	cr_assert_eq(wm_source_gone(s, "node-9", "pod-0"), WM_E_UNKNOWN);
	settle();
	cr_assert_null(there("k8s-node-0", "pod-0"));
	cr_assert_not_null(there("k8s-node-0", "pod-3"));
	cr_assert_null(wm_registry_node_named(r, "k8s-node-1"));
	cr_assert_eq(about().instances, 3);
	/* it comes back while it goes */
	cr_assert_eq(wm_source_gone(s, "node-2", "pod-2"), 0);
	virtual_env_pass(&v, 0); /* it is with the registry */
	pods(2, 3, "web");
	settle();
	cr_assert_not_null(there("k8s-node-2", "pod-2"));
	cr_assert_eq(about().instances, 3);
	end();
}

Test(source, an_instance_changes_its_service)
{
	begin(&plain);
	pods(0, 1, "web");
	settle();
	pods(0, 1, "Api");
	settle();
	cr_assert_null(wm_registry_service(r, "web"));
	cr_assert_eq(wm_registry_service(r, "api")->instances_count, 1);
	cr_assert_eq(about().services, 1);
	end();
}

Test(source, who_is_not_said_between_begin_and_end_goes)
{
	begin(&plain);
	wm_source_list_begin(s);
	pods(0, 8, "web");
	wm_source_list_end(s);
	settle();
	wm_source_list_begin(s);
	pods(2, 5, "web");
	wm_source_list_begin(s); /* broken off: from the beginning */
	pods(0, 6, "web");
	wm_source_list_end(s);
	settle();
	cr_assert_eq(about().instances, 6);
	cr_assert_null(there("k8s-node-0", "pod-6"));
	cr_assert_not_null(there("k8s-node-2", "pod-5"));
	end();
}

Test(source, it_is_there_after_a_restart_and_swept_by_the_next_list)
{
	char *before, *after;

	begin(&plain);
	pods(0, 9, "default/web");
	settle();
	before = show(r);
	end();
	begin(&plain);
	after = show(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(about().instances, 9);
	cr_assert_str_eq(wm_sources_scope_owner(all, "Default", 7), "kubernetes");
	(void)heard();
	wm_source_list_begin(s);
	pods(0, 7, "default/web");
	cr_assert_eq(counted(WM_SOURCE_COUNT_unchanged), 7);
	wm_source_list_end(s);
	settle();
	cr_assert_eq(counted(WM_SOURCE_COUNT_written), 2, "the removals");
	cr_assert_eq(wm_registry_service(r, "default/web")->instances_count, 7);
	free(before);
	free(after);
	end();
}

Test(source, a_source_that_is_not_configured_any_more_leaves_nothing)
{
	static const struct wm_source_config other = {.name = "consul", .prefix = "consul"};

	begin(&plain);
	pods(0, 9, "web");
	settle();
	end();
	begin(&other);
	cr_assert_eq(wm_registry_instances(r), 0);
	cr_assert_eq(wm_registry_nodes(r), 1);
	end();
}

Test(source, it_has_a_quota)
{
	struct wm_source_config c = plain;

	c.instances_max = 3;
	c.services_max = 2;
	begin(&c);
	pods(0, 3, "web");
	cr_assert_eq(pod("node-0", "pod-9", "web", WM_PASSING), WM_E_CAPACITY);
	pods(0, 3, "web"); /* those that are there may change */
	cr_assert_eq(counted(WM_SOURCE_COUNT_over_quota), 1);
	settle();
	cr_assert_eq(wm_source_gone(s, "node-0", "pod-0"), 0);
	settle();
	cr_assert_eq(pod("node-0", "a1", "api", WM_PASSING), 0);
	cr_assert_eq(wm_source_gone(s, "node-0", "a1"), 0);
	cr_assert_eq(pod("node-0", "a1", "api", WM_PASSING), 0);
	settle();
	cr_assert_eq(wm_source_gone(s, "node-1", "pod-1"), 0);
	settle();
	cr_assert_eq(pod("node-0", "b1", "other", WM_PASSING), WM_E_CAPACITY);
	cr_assert_eq(counted(WM_SOURCE_COUNT_over_quota), 2);
	cr_assert_null(there("k8s-node-0", "b1"));
	end();
}

Test(source, what_breaks_the_rules_is_refused_and_counted)
{
	struct wm_instance_draft d = {.id = "x", .name = "we\nb", .port = 80};
	struct wm_check_draft c = {.name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 1000};

	begin(&plain);
	cr_assert_eq(wm_source_put(s, "n", &d, WM_PASSING, WM_LIFE_RUNNING), WM_E_INVALID);
	d.name = "web";
	d.checks = &c;
	d.checks_count = 1;
	cr_assert_eq(wm_source_put(s, "n", &d, WM_PASSING, WM_LIFE_RUNNING), WM_E_INVALID);
	d.checks_count = 0;
	d.id = NULL;
	cr_assert_eq(wm_source_put(s, "n", &d, WM_PASSING, WM_LIFE_RUNNING), WM_E_INVALID);
	d.id = "x";
	d.address = "240.0.0.1"; /* which the registry alone knows */
	cr_assert_eq(wm_source_put(s, "n", &d, WM_PASSING, WM_LIFE_RUNNING), 0);
	settle();
	cr_assert_eq(counted(WM_SOURCE_COUNT_refused), 4);
	cr_assert_eq(about().instances, 0);
	cr_assert_eq(about().nodes, 0);
	end();
}

Test(source, names_of_agents_are_refused_to_it)
{
	static const struct wm_source_config c = {.name = "x", .prefix = "n1"};

	begin(&c);
	cr_assert_eq(wm_registry_register(r, &(struct wm_instance_draft){.name = "mine"}, NULL,
					  NULL, NULL),
		     0);
	wm_registry_finish(r);
	cr_assert_eq(pod("a", "p", "web", WM_PASSING), 0); /* n1-a */
	settle();
	cr_assert_eq(counted(WM_SOURCE_COUNT_refused), 0);
	cr_assert_not_null(there("n1-a", "p"));
	end();
}

Test(source, many_are_written_some_a_turn)
{
	begin(&plain);
	pods(0, 1000, "web");
	cr_assert_not(wm_source_is_full(s));
	virtual_env_pass(&v, 0);
	cr_assert_lt(about().queued, 1003 + 1);
	settle();
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 1000);
	cr_assert_eq(counted(WM_SOURCE_COUNT_written), 1000);
	pods(1000, 6000, "api");
	cr_assert(wm_source_is_full(s));
	settle();
	cr_assert_eq(wm_registry_service(r, "api")->instances_count, 5000);
	end();
}

static void roll(unsigned from, unsigned count)
{
	char id[32], node[32];

	for (unsigned n = from; n < from + count; n++) {
		snprintf(id, sizeof(id), "pod-%u", n);
		snprintf(node, sizeof(node), "node-%u", n % 3);
		(void)wm_source_gone(s, node, id);
	}
}

Test(source, the_brake_holds_until_time_passed)
{
	begin(&plain);
	pods(0, 100, "web");
	settle();
	virtual_env_pass(&v, 120000);
	roll(0, 30);
	settle();
	cr_assert_eq(about().holding, 0);
	roll(30, 20);
	settle();
	cr_assert_gt(about().holding, 0);
	cr_assert(strstr(about().alarm, "waymarkctl sources release kubernetes"), "%s",
		  about().alarm);
	cr_assert_eq(about().holding, 20);
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 70);
	virtual_env_pass(&v, 9 * 60000);
	cr_assert_eq(about().holding, 20);
	virtual_env_pass(&v, 2 * 60000);
	settle();
	cr_assert_eq(about().holding, 0);
	cr_assert_str_eq(about().alarm, "");
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 50);
	cr_assert_eq(counted(WM_SOURCE_COUNT_held), 20);
	cr_assert_eq(counted(WM_SOURCE_COUNT_released), 20);
	end();
}

Test(source, the_brake_ends_when_what_vanished_is_back_or_an_operator_says_so)
{
	begin(&plain);
	pods(0, 100, "web");
	settle();
	virtual_env_pass(&v, 120000);
	wm_source_list_begin(s);
	pods(0, 40, "web");
	wm_source_list_end(s);
	settle();
	cr_assert_eq(about().holding, 60);
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 100);
	pods(40, 100, "web");
	cr_assert_eq(about().holding, 0);
	cr_assert_str_eq(about().alarm, "");
	settle();
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 100);
	wm_source_list_begin(s);
	wm_source_list_end(s);
	settle();
	cr_assert_eq(about().holding, 100);
	cr_assert_eq(wm_source_release(s), 100);
	settle();
	cr_assert_null(wm_registry_service(r, "web"));
	cr_assert_eq(about().instances, 0);
	cr_assert_eq(about().nodes, 0);
	end();
}

/* A rollout takes what is not ready any more, or brings as much as goes. */
Test(source, a_rollout_is_no_loss)
{
	char id[32], node[32];

	begin(&plain);
	pods(0, 40, "web");
	settle();
	virtual_env_pass(&v, 120000);
	for (unsigned n = 0; n < 40; n++) { /* terminating, then gone */
		snprintf(id, sizeof(id), "pod-%u", n);
		snprintf(node, sizeof(node), "node-%u", n % 3);
		cr_assert_eq(pod(node, id, "web", WM_CRITICAL), 0);
	}
	roll(0, 40);
	settle();
	cr_assert_eq(about().holding, 0);
	pods(100, 200, "web");
	settle();
	virtual_env_pass(&v, 120000);
	pods(200, 300, "web");
	roll(100, 100);
	settle();
	cr_assert_eq(about().holding, 0);
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 100);
	end();
}

static int say(const char *service, bool passed)
{
	struct wm_spec_address a = {.kind = WM_SPEC_CLUSTER};
	struct wm_spec_port p = {
		.name = "http", .port = 80, .proto = IPPROTO_TCP, .endpoint = "http"};
	struct wm_service_spec x = {.service = service,
				    .source = "forged",
				    .addresses = &a,
				    .addresses_count = 1,
				    .ports = &p,
				    .ports_count = 1,
				    .passed = passed,
				    .affinity_s = 60,
				    .prefer = WM_SPEC_SAME_ZONE};

	a.a4.s_addr = htonl(0x0a600001);
	return wm_source_spec(s, &x);
}

static int spec(const char *service)
{
	return say(service, false);
}

Test(source, specs_outlive_a_restart)
{
	const struct wm_service_spec *x;

	begin(&plain);
	cr_assert_eq(spec("default/web"), 0);
	cr_assert_eq(spec("default/web"), 0);
	cr_assert_eq(counted(WM_SOURCE_COUNT_unchanged), 1);
	cr_assert_eq(wm_source_identity(s, "cluster-1"), 0);
	virtual_env_pass(&v, 10000);
	cr_assert_eq(spec("default/api"), 0); /* is kept at the end */
	end();
	begin(&plain);
	cr_assert_eq(about().specs, 2);
	cr_assert_str_eq(about().identity, "cluster-1");
	x = wm_registry_spec(r, "default/web");
	cr_assert_not_null(x);
	cr_assert_str_eq(x->source, "kubernetes");
	cr_assert_eq(x->addresses[0].a4.s_addr, htonl(0x0a600001));
	cr_assert_eq(x->ports[0].port, 80);
	cr_assert_str_eq(x->ports[0].endpoint, "http");
	cr_assert_eq(x->affinity_s, 60);
	cr_assert_eq(x->prefer, WM_SPEC_SAME_ZONE);
	wm_source_list_begin(s);
	cr_assert_eq(spec("default/web"), 0);
	wm_source_list_end(s);
	cr_assert_null(wm_registry_spec(r, "default/api"));
	cr_assert_eq(wm_source_spec_gone(s, "default/web"), 0);
	cr_assert_eq(about().specs, 0);
	cr_assert_null(wm_sources_scope_owner(all, "default", 7));
	end();
}

static bool left_alone(const char *service)
{
	return wm_registry_spec(r, service)->passed;
}

Test(source, a_new_service_is_left_alone_until_the_first_list_is_stored)
{
	begin(&plain);
	wm_source_list_begin(s);
	cr_assert_eq(spec("default/web"), 0);
	cr_assert(left_alone("default/web"));
	cr_assert_eq(spec("default/web"), 0);
	cr_assert(left_alone("default/web"));
	cr_assert_eq(pod("n1", "web-1", "default/web", WM_PASSING), 0);
	wm_source_list_end(s);
	cr_assert(left_alone("default/web"), "its instance is not stored yet");
	settle();
	cr_assert_not(left_alone("default/web"));
	cr_assert_eq(spec("default/api"), 0);
	cr_assert_not(left_alone("default/api"), "one that comes later");
	end();
	begin(&plain);
	wm_source_list_begin(s);
	cr_assert_eq(spec("default/web"), 0);
	cr_assert_not(left_alone("default/web"), "one that an earlier run had");
	end();
}

/* The earlier run was killed while it stored its first list: what it kept says the same. */
Test(source, a_service_that_was_not_taken_over_is_left_alone_by_the_next_run)
{
	begin(&plain);
	wm_source_list_begin(s);
	cr_assert_eq(spec("default/web"), 0);
	end();
	begin(&plain);
	cr_assert(left_alone("default/web"));
	wm_source_list_begin(s);
	cr_assert_eq(spec("default/web"), 0);
	cr_assert(left_alone("default/web"), "none of its instances is stored");
	cr_assert_eq(pod("n1", "web-1", "default/web", WM_PASSING), 0);
	wm_source_list_end(s);
	settle();
	cr_assert_not(left_alone("default/web"));
	end();
}

/* What is left to another, by its annotation, and is not any more, is taken over as a new one. */
Test(source, a_service_that_was_passed_is_taken_over_with_its_instances)
{
	begin(&plain);
	wm_source_list_begin(s);
	cr_assert_eq(say("default/web", true), 0);
	cr_assert(left_alone("default/web"));
	cr_assert_eq(spec("default/web"), 0);
	cr_assert(left_alone("default/web"), "none of its instances is stored");
	cr_assert_eq(say("default/web", true), 0);
	wm_source_list_end(s);
	settle();
	cr_assert(left_alone("default/web"));
	cr_assert_eq(spec("default/web"), 0);
	cr_assert_not(left_alone("default/web"));
	end();
}

static void disk(bool full)
{
	struct rlimit l;

	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = full ? 1 : l.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* Whose instances are stored is taken over all the same, after a while. */
Test(source, a_service_that_the_store_refuses_keeps_no_other_waiting)
{
	signal(SIGXFSZ, SIG_IGN);
	begin(&plain);
	wm_source_list_begin(s);
	cr_assert_eq(spec("default/web"), 0);
	cr_assert_eq(pod("n1", "web-1", "default/web", WM_PASSING), 0);
	settle();
	disk(true);
	cr_assert_eq(spec("default/db"), 0);
	cr_assert_eq(pod("n1", "db-1", "default/db", WM_PASSING), 0);
	wm_source_list_end(s);
	for (unsigned n = 0; n < 100; n++) {
		virtual_env_pass(&v, WM_SOURCE_PATIENCE_MS / 200);
		wm_registry_finish(r);
	}
	cr_assert_geq(counted(WM_SOURCE_COUNT_failed), 1);
	cr_assert(left_alone("default/web"), "it may be over in a moment");
	cr_assert_eq(about().waiting, 2);
	cr_assert_str_eq(about().alarm, "");
	for (unsigned n = 0; n < 200; n++) {
		virtual_env_pass(&v, WM_SOURCE_PATIENCE_MS / 200);
		wm_registry_finish(r);
	}
	cr_assert_not(left_alone("default/web"));
	cr_assert(left_alone("default/db"));
	cr_assert_eq(about().waiting, 1);
	cr_assert(strstr(about().alarm, "store"));
	cr_assert_not(wm_source_ready(s));
	disk(false);
	virtual_env_pass(&v, 1000);
	settle();
	cr_assert_not(left_alone("default/db"));
	cr_assert_eq(about().waiting, 0);
	cr_assert_str_eq(about().alarm, "");
	cr_assert(wm_source_ready(s));
	end();
}

Test(source, specs_are_held_as_well)
{
	char name[32];

	begin(&plain);
	for (unsigned n = 0; n < 40; n++) {
		snprintf(name, sizeof(name), "a/s%u", n);
		cr_assert_eq(spec(name), 0);
	}
	virtual_env_pass(&v, 120000);
	wm_source_list_begin(s);
	wm_source_list_end(s);
	cr_assert_eq(about().holding, 40);
	cr_assert_eq(wm_registry_specs(r), 40);
	cr_assert_eq(spec("a/s1"), 0);
	cr_assert_eq(about().holding, 39);
	cr_assert_eq(wm_source_release(s), 39);
	cr_assert_eq(wm_registry_specs(r), 1);
	end();
}

Test(source, another_cluster_is_refused_until_it_is_released)
{
	begin(&plain);
	cr_assert_eq(wm_source_identity(s, "cluster-1"), 0);
	pods(0, 50, "web");
	settle();
	end();
	begin(&plain);
	cr_assert_eq(wm_source_identity(s, "cluster-2"), WM_E_CONFLICT);
	cr_assert_eq(about().state, WM_SOURCE_REFUSED);
	cr_assert(strstr(about().alarm, "cluster-2"));
	cr_assert_eq(pod("node-1", "p", "web", WM_PASSING), WM_E_CONFLICT);
	wm_source_list_begin(s);
	wm_source_list_end(s);
	settle();
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 50);
	cr_assert_eq(wm_source_identity(s, "cluster-1"), 0); /* it is back */
	cr_assert_str_eq(about().alarm, "");
	cr_assert_eq(wm_source_identity(s, "cluster-2"), WM_E_CONFLICT);
	cr_assert_eq(wm_source_release(s), 0);
	cr_assert_eq(wm_source_identity(s, "cluster-2"), 0);
	wm_source_list_begin(s);
	cr_assert_eq(pod("node-1", "p", "web", WM_PASSING), 0);
	wm_source_list_end(s);
	settle();
	cr_assert_eq(wm_registry_service(r, "web")->instances_count, 1);
	end();
}

static unsigned rooms;
static void on_room(void *arg)
{
	(void)arg;
	rooms++;
}

Test(source, who_waits_for_room_is_told)
{
	begin(&plain);
	wm_source_on_room(s, on_room, NULL);
	pods(0, 5000, "web");
	cr_assert(wm_source_is_full(s));
	cr_assert_eq(rooms, 0);
	settle();
	cr_assert_gt(rooms, 0);
	end();
}

Test(source, scopes_are_its_own)
{
	begin(&plain);
	cr_assert_eq(wm_source_scope(s, "kube-system", true), 0);
	cr_assert_eq(wm_source_scope(s, "a.b", true), WM_E_INVALID);
	cr_assert_str_eq(wm_sources_scope_owner(all, "kube-system", 11), "kubernetes");
	cr_assert_null(wm_sources_scope_owner(all, "kube", 4));
	cr_assert_null(wm_sources_scope_owner(all, "", 0));
	cr_assert_null(wm_sources_scope_owner(NULL, "kube-system", 11));
	wm_source_list_begin(s);
	cr_assert_eq(pod("n", "p", "team/web", WM_PASSING), 0);
	wm_source_list_end(s);
	cr_assert_null(wm_sources_scope_owner(all, "kube-system", 11));
	cr_assert_str_eq(wm_sources_scope_owner(all, "team", 4), "kubernetes");
	end();
}

static int hold(void *arg, const struct wm_instance_draft *d, struct wm_err *e)
{
	(void)arg;
	return wm_sources_judge(all, d, e);
}

Test(source, clients_register_nothing_in_its_scopes)
{
	struct wm_instance_draft d = {.name = "Team/web", .port = 80};
	struct wm_err e = {0};

	begin(&plain);
	wm_registry_set_judge(r, hold, NULL);
	cr_assert_eq(pod("n", "p", "team/api", WM_PASSING), 0);
	settle();
	cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, &e), WM_E_INVALID);
	cr_assert(strstr(e.text, "kubernetes"), "%s", e.text);
	d.name = "teams/web";
	cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, &e), 0);
	d.name = "web";
	cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, &e), 0);
	wm_registry_finish(r);
	end();
}

Test(source, ready_waits_for_a_list)
{
	begin(&plain);
	virtual_env_pass(&v, 10 * WM_SOURCE_PATIENCE_MS);
	cr_expect_not(wm_source_ready(s), "there is nothing to serve");
	wm_source_list_begin(s);
	pods(0, 3, "default/web");
	cr_expect_not(wm_source_ready(s));
	wm_source_list_end(s);
	cr_expect_not(wm_source_ready(s), "the registry was given nothing yet");
	settle();
	cr_expect(wm_source_ready(s));
	end();
	/* what it left is enough, after a while */
	begin(&plain);
	cr_expect_not(wm_source_ready(s));
	virtual_env_pass(&v, WM_SOURCE_PATIENCE_MS);
	cr_expect(wm_source_ready(s));
	end();
}

Test(source, a_list_of_the_same_is_ready_at_once)
{
	begin(&plain);
	wm_source_list_begin(s);
	pods(0, 3, "default/web");
	wm_source_list_end(s);
	settle();
	end();
	begin(&plain);
	wm_source_list_begin(s);
	pods(0, 3, "default/web");
	wm_source_list_end(s);
	cr_expect(wm_source_ready(s));
	end();
}

Test(source, a_scope_that_no_list_has_is_free)
{
	begin(&plain);
	wm_source_scopes_begin(s);
	cr_assert_eq(wm_source_scope(s, "default", true), 0);
	cr_assert_eq(wm_source_scope(s, "team", true), 0);
	cr_assert_eq(wm_source_scope(s, "busy", true), 0);
	wm_source_scopes_end(s);
	cr_assert_eq(pod("node-1", "p1", "busy/web", WM_PASSING), 0);
	wm_source_scopes_begin(s);
	cr_assert_eq(wm_source_scope(s, "default", true), 0);
	wm_source_scopes_end(s);
	cr_expect_str_eq(wm_sources_scope_owner(all, "default", 7), "kubernetes");
	cr_expect_null(wm_sources_scope_owner(all, "team", 4));
	cr_expect_str_eq(wm_sources_scope_owner(all, "busy", 4), "kubernetes", "of its service");
	settle();
	end();
}

Test(source, an_identity_may_say_more_behind_a_space)
{
	begin(&plain);
	cr_assert_eq(wm_source_identity(s, "dc=quay"), 0);
	cr_assert_eq(wm_source_identity(s, "dc=quay-2"), WM_E_CONFLICT);
	cr_assert_eq(wm_source_identity(s, "dc=quay cluster=a"), 0);
	cr_assert_str_eq(about().identity, "dc=quay cluster=a");
	cr_assert_eq(wm_source_identity(s, "dc=quay"), 0, "it does not always say all of it");
	cr_assert_str_eq(about().identity, "dc=quay cluster=a");
	cr_assert_eq(wm_source_identity(s, "dc=quay cluster=b"), WM_E_CONFLICT);
	cr_assert_eq(wm_source_identity(s, "dc=quay cluster=ab"), WM_E_CONFLICT);
	end();
}
