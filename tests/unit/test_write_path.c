/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_write_path.c - two batches, with the store on its own thread: one is held at its sync, or
 * fails there, while others are submitted, statuses come, and readers look. */
#include "disk_gate.h"
#include "registry_help.h"
#include "userspace/base/random.h"
#include "userspace/registry/internal.h"

#include <pthread.h>

TestSuite(write_path, .init = make_dir, .fini = rm_dir, .timeout = 300);

static void wake(void *arg)
{
	(void)arg; /* the tests poll */
}

static struct wm_registry *open_threaded(struct wm_registry_config *of)
{
	struct wm_registry_config c = of ? *of : config(db);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	c.path = db;
	c.wake = wake;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

static void submit(struct wm_registry *r, const char *id, const char *name, uint32_t port,
		   struct answer *a)
{
	struct wm_instance_draft d = {.id = id, .name = name, .port = port};

	*a = (struct answer){0};
	cr_assert_eq(wm_registry_register(r, &d, answered, a, NULL), 0);
}

/* What memory has is what a restart finds. */
static void restart_finds_the_same(struct wm_registry *r)
{
	char *before = show(r), *after;

	wm_registry_close(r);
	r = open_threaded(NULL);
	after = show(r);
	cr_assert_str_eq(before, after);
	wm_registry_close(r);
	free(before);
	free(after);
}

/* --- one in flight -----------------------------------------------------------------------------
 */
Test(write_path, nobody_sees_what_is_not_durable)
{
	struct wm_registry *r = open_threaded(NULL);
	struct answer a, b;
	uint64_t index = wm_registry_index(r);

	hold(true);
	submit(r, "a", "web", 1, &a);
	wm_registry_flush(r);
	at_sync();
	for (int n = 0; n < 10; n++) /* it does not wait */
		wm_registry_flush(r);
	cr_assert_null(wm_registry_instance(r, "a"));
	cr_assert_null(wm_registry_service(r, "web"));
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_eq(a.called, 0);
	submit(r, "a", "web", 2, &b);
	wm_registry_flush(r);
	cr_assert_eq(b.called, 0);
	hold(false);
	wm_registry_finish(r);
	cr_assert(a.called == 1 && !a.code && b.called == 1 && !b.code);
	cr_assert_eq(wm_registry_instance(r, "a")->port, 2);
	restart_finds_the_same(r);
}

Test(write_path, conflicts_with_what_is_in_flight_are_judged_behind_it)
{
	struct wm_registry_config c = config(db);
	struct answer a, b, d, e;
	struct wm_registry *r;

	c.instances_max = 2;
	c.services_max = 1;
	r = open_threaded(&c);
	hold(true);
	submit(r, "a", "web", 1, &a);
	wm_registry_flush(r);
	at_sync();
	submit(r, "b", "db", 1, &b);  /* services_max, by what is in flight */
	submit(r, "c", "web", 1, &d); /* the second instance */
	submit(r, "d", "web", 1, &e); /* instances_max */
	hold(false);
	wm_registry_finish(r);
	cr_assert_eq(a.code, 0);
	cr_assert_eq(b.code, WM_E_CAPACITY);
	cr_assert_eq(d.code, 0);
	cr_assert_eq(e.code, WM_E_CAPACITY);
	/* the last of a service goes, and another comes, in one batch and in two */
	hold(true);
	cr_assert_eq(wm_registry_deregister(r, "a", NULL, NULL, NULL), 0);
	wm_registry_flush(r);
	at_sync();
	cr_assert_eq(wm_registry_deregister(r, "c", NULL, NULL, NULL), 0);
	submit(r, "b", "db", 1, &b);
	hold(false);
	wm_registry_finish(r);
	cr_assert_eq(b.code, 0, "%s", b.text);
	cr_assert_null(wm_registry_service(r, "web"));
	cr_assert_eq(wm_registry_services(r), 1);
	restart_finds_the_same(r);
}

static void put_node(struct wm_registry *r, const char *name, struct answer *a)
{
	const struct wm_node_draft facts = {.address = "10.9.0.1"};
	const struct wm_catalog_op op = {.object = WM_OBJECT_NODE, .node = name, .facts = &facts};
	const struct wm_catalog_batch b = {&op, 1, NULL, answered, a};
	unsigned number;

	*a = (struct answer){0};
	cr_assert_eq(wm_registry_catalog(r, &b, &number, NULL), 0);
}

static void drop_node(struct wm_registry *r, const char *name)
{
	const struct wm_catalog_op op = {
		.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = name};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	unsigned number;

	cr_assert_eq(wm_registry_catalog(r, &b, &number, NULL), 0);
}

static void put_check(struct wm_registry *r, const char *id, struct answer *a)
{
	const struct wm_check_draft c = {.name = id, .ttl_ms = 60000};

	*a = (struct answer){0};
	cr_assert_eq(wm_registry_check_register(r, "", &c, answered, a, NULL), 0);
}

/* What is in flight counts: in the same batch, behind it, and no more when it failed. */
Test(write_path, limits_are_reached_by_what_is_in_flight)
{
	struct wm_registry_config c = config(db);
	struct answer a[4];
	struct wm_registry *r;

	c.nodes_max = c.checks_max = 2;
	c.vip4_mask = 0xfffffffc; /* .0 and .3 are nobody's: two services */
	r = open_threaded(&c);
	for (int round = 0; round < 2; round++) {
		break_disk(!round);
		hold(true);
		put_node(r, "x", &a[0]);
		put_check(r, "x", &a[1]);
		submit(r, "x", "x", 1, &a[2]);
		wm_registry_flush(r);
		at_sync();
		put_node(r, "y", &a[0]);
		put_check(r, "y", &a[1]);
		submit(r, "y", "y", 1, &a[2]);
		hold(false);
		if (round)
			wm_registry_finish(r);
		else
			wm_writer_wait(r->writer); /* the second batch is another */
		break_disk(false);
		wm_registry_finish(r);
		for (int n = 0; n < 3; n++)
			cr_assert(a[n].called && !a[n].code, "%d %d: %s", round, n, a[n].text);
		cr_assert_eq(wm_registry_nodes(r), round ? 3 : 2);
		cr_assert_eq(wm_registry_checks(r), round ? 2 : 1);
		cr_assert_eq(wm_registry_services(r), round ? 2 : 1);
	}
	/* one too many, in a batch with what makes room and with what does not */
	hold(true);
	put_node(r, "z", &a[0]);
	put_check(r, "z", &a[1]);
	submit(r, "z", "z", 1, &a[2]);
	wm_registry_flush(r);
	hold(false);
	wm_registry_finish(r);
	cr_assert_eq(a[0].code, WM_E_CAPACITY);
	cr_assert_eq(a[1].code, WM_E_CAPACITY);
	cr_assert_eq(a[2].code, WM_E_FULL);
	drop_node(r, "x");
	cr_assert_eq(wm_registry_check_deregister(r, "x", NULL, NULL, NULL), 0);
	put_node(r, "z", &a[0]);
	put_check(r, "z", &a[1]);
	wm_registry_finish(r);
	cr_assert(!a[0].code && !a[1].code, "%s%s", a[0].text, a[1].text);
	wm_registry_close(r);
}

static void submit_with_sidecar(struct wm_registry *r, const char *id, struct answer *a)
{
	const struct wm_instance_draft sidecar = {0};
	const struct wm_instance_draft d = {
		.id = id, .name = "web", .port = 1, .sidecar = &sidecar};
	struct wm_err e = {0};

	*a = (struct answer){0};
	cr_assert_eq(wm_registry_register(r, &d, answered, a, &e), 0, "%s", e.text);
}

static unsigned sidecar_port(struct wm_registry *r, const char *id)
{
	const struct wm_instance *i = wm_registry_instance(r, id);

	return i ? i->port : 0;
}

/* A sidecar's port is given out while others' are being stored; one that was not stored is free. */
Test(write_path, sidecars_in_flight_have_their_ports)
{
	struct wm_registry *r = open_threaded(NULL);
	struct answer a, b, d;

	hold(true);
	submit_with_sidecar(r, "a", &a);
	wm_registry_flush(r);
	at_sync();
	submit_with_sidecar(r, "b", &b);
	submit_with_sidecar(r, "a", &d); /* again: it keeps its port */
	hold(false);
	wm_registry_finish(r);
	cr_assert(!a.code && !b.code && !d.code, "%s%s%s", a.text, b.text, d.text);
	cr_assert_eq(sidecar_port(r, "a-sidecar-proxy"), 21000);
	cr_assert_eq(sidecar_port(r, "b-sidecar-proxy"), 21001);
	hold(true);
	break_disk(true);
	submit_with_sidecar(r, "c", &a);
	wm_registry_flush(r);
	at_sync();
	/* who goes with a service that is in flight is not known yet */
	cr_assert_eq(wm_registry_deregister(r, "a", NULL, NULL, NULL), 0);
	hold(false);
	wm_writer_wait(r->writer);
	break_disk(false);
	wm_registry_finish(r);
	cr_assert_eq(a.code, WM_E_STORE);
	cr_assert_eq(sidecar_port(r, "c-sidecar-proxy"), 0);
	cr_assert_eq(sidecar_port(r, "a-sidecar-proxy"), 0);
	submit_with_sidecar(r, "c", &a);
	submit_with_sidecar(r, "d", &b);
	hold(true);
	wm_registry_flush(r);
	at_sync();
	cr_assert_eq(wm_registry_deregister(r, "d", NULL, NULL, NULL), 0);
	hold(false);
	wm_registry_finish(r);
	cr_assert_eq(sidecar_port(r, "c-sidecar-proxy"), 21000);
	cr_assert_null(wm_registry_instance(r, "d-sidecar-proxy"));
	cr_assert_eq(wm_registry_instances(r), 4);
	restart_finds_the_same(r);
}

/* A result that comes while its instance is replaced is not lost, and the index only grows. */
Test(write_path, a_status_that_comes_meanwhile_stays)
{
	struct wm_check_draft c[2] = {
		{.id = "kept", .name = "k", .kind = WM_CHECK_TTL, .ttl_ms = 60000},
		{.id = "redefined", .name = "r", .kind = WM_CHECK_TTL, .ttl_ms = 60000}};
	struct wm_instance_draft d = {
		.id = "a", .name = "web", .port = 1, .checks = c, .checks_count = 2};
	struct wm_registry *r = open_threaded(NULL);
	struct answer a = {0};
	uint64_t index;

	cr_assert_eq(wm_registry_register(r, &d, answered, &a, NULL), 0);
	wm_registry_finish(r);
	hold(true);
	d.port = 2;
	c[1].ttl_ms = 70000;
	a.called = 0;
	cr_assert_eq(wm_registry_register(r, &d, answered, &a, NULL), 0);
	wm_registry_flush(r);
	at_sync();
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "kept"), WM_PASSING, "well"),
		     1);
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "redefined"), WM_WARNING, "so"),
		     1);
	index = wm_registry_index(r);
	hold(false);
	wm_registry_finish(r);
	cr_assert(a.called == 1 && a.code == 0);
	cr_assert_eq(wm_registry_instance(r, "a")->port, 2);
	cr_assert_eq(wm_registry_check(r, "kept")->status, WM_PASSING);
	cr_assert_eq(wm_registry_check(r, "redefined")->status, WM_WARNING);
	cr_assert_eq(wm_registry_check(r, "redefined")->ttl_ms, 70000);
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_WARNING);
	cr_assert_gt(wm_registry_index(r), index);
	cr_assert_eq(wm_registry_service(r, "web")->index, wm_registry_index(r));
	restart_finds_the_same(r);
}

/* One batch redefines a check twice while results come for it: what they said last stands, also
 * what was no change, and the check has a number that is above theirs. */
Test(write_path, a_check_redefined_twice_keeps_what_came_meanwhile)
{
	struct wm_check_draft c = {.id = "c", .name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 60000};
	struct wm_instance_draft d = {
		.id = "a", .name = "web", .port = 1, .checks = &c, .checks_count = 1};
	struct wm_registry *r = open_threaded(NULL);
	uint64_t index;

	cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, NULL), 0);
	wm_registry_finish(r);
	hold(true);
	for (int n = 0; n < 2; n++) {
		c.ttl_ms++;
		cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(r);
	at_sync();
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, "up"), 1);
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, "well"), 0);
	index = wm_registry_check(r, "c")->modify_index;
	hold(false);
	wm_registry_finish(r);
	cr_assert_eq(wm_registry_check(r, "c")->ttl_ms, 60002);
	cr_assert_eq(wm_registry_check(r, "c")->status, WM_PASSING);
	cr_assert_str_eq(wm_registry_check(r, "c")->output, "well");
	cr_assert_gt(wm_registry_check(r, "c")->modify_index, index);
	restart_finds_the_same(r);
}

/* Who was refused because of a write of the same batch, which the store then refuses, is told of
 * that: what he was refused for is not so. */
Test(write_path, nobody_is_refused_for_what_was_not_stored)
{
	struct wm_registry *r = open_threaded(NULL);
	struct answer first = {0}, again = {0};

	cr_assert_eq(wm_registry_deregister(r, "a", answered, &first, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(first.code, WM_E_UNKNOWN);
	submit(r, "a", "web", 1, &first);
	wm_registry_finish(r);
	break_disk(true);
	cr_assert_eq(wm_registry_deregister(r, "a", answered, &first, NULL), 0);
	cr_assert_eq(wm_registry_deregister(r, "a", answered, &again, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(first.code, WM_E_STORE);
	cr_assert_eq(again.code, WM_E_STORE, "%d: %s", again.code, again.text);
	cr_assert_not_null(wm_registry_instance(r, "a"));
	break_disk(false);
	wm_registry_close(r);
}

/* A status that is stored beside a write, or is not: its object's version is another when it is. */
Test(write_path, a_version_is_seen_when_it_is_stored)
{
	struct wm_check_draft c = {.id = "c", .name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 60000};
	struct wm_instance_draft d = {
		.id = "a", .name = "web", .port = 1, .checks = &c, .checks_count = 1};
	struct wm_registry *r = open_threaded(NULL);
	struct answer a;
	uint64_t seq;

	cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, NULL), 0);
	wm_registry_finish(r);
	seq = wm_registry_instance(r, "a")->version.seq;
	wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, NULL);
	for (int round = 0; round < 2; round++) {
		break_disk(!round);
		hold(true);
		submit(r, "b", "web", 1, &a);
		wm_registry_flush(r);
		at_sync();
		cr_assert_eq(wm_registry_instance(r, "a")->version.seq, seq);
		hold(false);
		wm_writer_wait(r->writer);
		break_disk(false);
		wm_registry_flush(r);
		cr_assert_eq(!a.code, round);
		if (round)
			cr_assert_gt(wm_registry_instance(r, "a")->version.seq, seq);
		else
			cr_assert_eq(wm_registry_instance(r, "a")->version.seq, seq);
	}
	wm_registry_close(r);
}

Test(write_path, a_close_waits_for_what_is_in_flight)
{
	struct wm_registry *r = open_threaded(NULL);
	struct answer a, b;
	pthread_t other;

	hold(true);
	submit(r, "a", "web", 1, &a);
	wm_registry_flush(r);
	at_sync();
	submit(r, "b", "web", 2, &b);
	cr_assert_eq(pthread_create(&other, NULL,
				    (void *(*)(void *))(void (*)(void))wm_registry_close, r),
		     0);
	hold(false);
	pthread_join(other, NULL);
	cr_assert(a.called == 1 && !a.code && b.called == 1 && !b.code);
	r = open_threaded(NULL);
	cr_assert_eq(wm_registry_instances(r), 2);
	wm_registry_close(r);
}

/* --- any order ---------------------------------------------------------------------------------
 */
#define IDS 4

struct ask {
	struct answer a;
	int id;
	unsigned port; /* 0: deregister */
	bool check;
};

/* Each write is refused or made, in the order of submission: what was made in that order is what is
 * there, in memory and after a restart, whatever came in between. */
static void one_round(void)
{
	static struct ask asks[24];
	struct wm_registry *r = open_threaded(NULL);
	unsigned count = 0, port[IDS] = {0};
	uint64_t last = wm_registry_index(r);

	for (unsigned step = 0; step < 60; step++) {
		unsigned what = (unsigned)wm_random_below(10);
		char id[16], name[16];

		if (what < 5 && count < 24) {
			struct ask *k = &asks[count++];

			*k = (struct ask){.id = (int)wm_random_below(IDS)};
			snprintf(id, sizeof(id), "i%d", k->id);
			snprintf(name, sizeof(name), "s%u", (unsigned)wm_random_below(2));
			k->port = (unsigned)wm_random_below(3);
			if (k->port) {
				struct wm_check_draft c = {.id = id,
							   .name = id,
							   .kind = WM_CHECK_TTL,
							   .ttl_ms = 60000 + wm_random_below(2)};
				struct wm_instance_draft d = {.id = id,
							      .name = name,
							      .port = k->port,
							      .checks = &c,
							      .checks_count = 1};

				cr_assert_eq(wm_registry_register(r, &d, answered, &k->a, NULL), 0);
			} else {
				cr_assert_eq(wm_registry_deregister(r, id, answered, &k->a, NULL),
					     0);
			}
		} else if (what < 7) {
			wm_registry_flush(r);
		} else if (what == 7) {
			struct wm_check *c;

			snprintf(id, sizeof(id), "i%u", (unsigned)wm_random_below(IDS));
			c = wm_registry_check(r, id);
			if (c)
				wm_registry_set_status(r, c, (enum wm_status)wm_random_below(3),
						       NULL);
		} else if (what == 8) {
			hold(!held);
		} else {
			break_disk(wm_random_below(3) == 0);
		}
		cr_assert_geq(wm_registry_index(r), last);
		last = wm_registry_index(r);
	}
	hold(false);
	wm_registry_finish(r);
	break_disk(false);
	wm_registry_finish(r);
	for (unsigned n = 0; n < count; n++) {
		cr_assert_eq(asks[n].a.called, 1);
		if (!asks[n].a.code)
			port[asks[n].id] = asks[n].port;
		else
			cr_assert(asks[n].a.code == WM_E_STORE || !asks[n].port);
	}
	for (int n = 0; n < IDS; n++) {
		const struct wm_instance *i;
		char id[16];

		snprintf(id, sizeof(id), "i%d", n);
		i = wm_registry_instance(r, id);
		cr_assert_eq(i ? i->port : 0, port[n]);
	}
	{ /* what the failing disk refused last is tried again: statuses */
		struct answer a = {0};

		cr_assert_eq(wm_registry_sync(r, NULL, answered, &a), 0);
		wm_registry_finish(r);
		cr_assert(a.called && !a.code);
	}
	restart_finds_the_same(r);
	rm_dir();
	make_dir();
}

Test(write_path, any_order_of_batches_statuses_and_failures)
{
	for (int n = 0; n < 150; n++)
		one_round();
}
