/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
#include "registry_help.h"
#include "userspace/base/buf.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"

#include <stdlib.h>

static struct wm_check_draft ttl(const char *id)
{
	struct wm_check_draft c = {.id = id, .kind = WM_CHECK_TTL, .ttl_ms = 10000};

	return c;
}

Test(registry, registers_with_defaults)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft c = ttl(NULL);
	struct wm_instance_draft d = {.name = "Web", .port = 80, .checks = &c, .checks_count = 1};
	struct wm_instance *i;

	cr_assert_eq(wm_registry_index(r), 1);
	cr_assert_eq(put_draft(r, &d), 0);
	i = wm_registry_instance(r, "Web");
	cr_assert_not_null(i);
	cr_assert_str_eq(i->service->name, "web");
	cr_assert_eq(wm_registry_service(r, "wEB"), i->service);
	cr_assert_eq(i->addr4.s_addr, htonl(0x0a000001));
	cr_assert_eq(i->weight_passing, 1);
	cr_assert_eq(i->weight_warning, 1);
	cr_assert_eq(i->checks_count, 1);
	cr_assert_str_eq(i->checks[0]->id, "service:Web");
	cr_assert_str_eq(i->checks[0]->name, "Service 'Web' check");
	cr_assert_str_eq(i->checks[0]->output, "");
	cr_assert_eq(i->status, WM_CRITICAL);
	cr_assert_eq(wm_registry_index(r), 2);
	cr_assert_eq(i->create_index, 2);
	cr_assert_eq(i->service->index, 2);
	cr_assert_eq(ntohl(i->service->vip4.s_addr) >> 28, 0xf);
	cr_assert_eq(i->service->vip6.s6_addr[0], 0xfd);
	wm_registry_close(r);
}

Test(registry, numbers_the_ids_of_several_checks)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft c[3] = {ttl(NULL), ttl("mine"), ttl("")};
	struct wm_instance_draft d = {.id = "a", .name = "web", .checks = c, .checks_count = 3};

	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_not_null(wm_registry_check(r, "service:a:1"));
	cr_assert_not_null(wm_registry_check(r, "mine"));
	cr_assert_not_null(wm_registry_check(r, "service:a:3"));
	/* a given id that another check gets by default */
	c[1].id = "service:a:3";
	cr_assert_eq(put_draft(r, &d), WM_E_INVALID);
	cr_assert_not_null(wm_registry_check(r, "mine"));
	wm_registry_close(r);
}

Test(registry, announces_in_order)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft c = ttl(NULL);
	struct wm_instance_draft d = {.id = "a", .name = "web", .checks = &c, .checks_count = 1};
	struct wm_buf b;

	wm_buf_init(&b, 65536);
	cr_assert_eq(wm_registry_subscribe(r, record_change, &b), 0);
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_str_eq(b.data, "+svc web;upsert web/a;");
	wm_buf_reset(&b);
	d.port = 81;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_str_eq(b.data, "upsert web/a;old;");
	wm_buf_reset(&b);
	d.name = "api"; /* moves */
	d.replace_checks = true;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_str_eq(b.data, "-check web/a/service:a;delete web/a;-svc web;+svc api;upsert "
				 "api/a;");
	cr_assert_null(wm_registry_service(r, "web"));
	wm_buf_reset(&b);
	cr_assert_eq(del(r, "a"), 0);
	cr_assert_str_eq(b.data, "-check api/a/service:a;delete api/a;-svc api;");
	cr_assert_eq(wm_registry_services(r), 0);
	cr_assert_eq(wm_registry_instances(r), 0);
	cr_assert_null(wm_registry_check(r, "service:a"));
	wm_buf_reset(&b);
	cr_assert_eq(del(r, "a"), WM_E_UNKNOWN);
	cr_assert_eq(b.len, 0);
	wm_buf_done(&b);
	wm_registry_close(r);
}

Test(registry, identical_registration_changes_nothing)
{
	struct wm_registry_stats before, after;
	struct wm_registry *r;
	struct wm_check_draft c = ttl(NULL);
	struct wm_pair meta[2] = {{mut("b"), mut("2")}, {mut("a"), mut("1")}};
	const char *tags[] = {"x", "y", "x"};
	struct wm_instance_draft d = {.id = "a",
				      .name = "web",
				      .port = 1,
				      .tags = tags,
				      .tags_count = 3,
				      .meta = meta,
				      .meta_count = 2,
				      .checks = &c,
				      .checks_count = 1};
	struct wm_instance *i;
	struct wm_buf b;
	uint64_t index;

	make_dir();
	r = open_at(db);
	wm_buf_init(&b, 65536);
	wm_registry_subscribe(r, record_change, &b);
	cr_assert_eq(put_draft(r, &d), 0);
	i = wm_registry_instance(r, "a");
	cr_assert_eq(i->tags_count, 2);
	cr_assert_str_eq(i->meta[0].key, "a");
	cr_assert_eq(wm_registry_set_status(r, i->checks[0], WM_PASSING, "fine"), 1);
	wm_buf_reset(&b);
	index = wm_registry_index(r);
	wm_registry_stats(r, &before);
	for (int n = 0; n < 3; n++)
		cr_assert_eq(put_draft(r, &d), 0);
	wm_registry_stats(r, &after);
	cr_assert_eq(b.len, 0);
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_eq(wm_registry_instance(r, "a"), i);
	cr_assert_eq(i->status, WM_PASSING);
	cr_assert_eq(after.commits, before.commits);
	cr_assert_eq(after.writes, before.writes);
	wm_buf_done(&b);
	wm_registry_close(r);
	rm_dir();
}

Test(registry, keeps_checks_and_their_status)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft two[2] = {ttl("one"), ttl("two")}, one = ttl("one");
	struct wm_instance_draft d = {.id = "a", .name = "web", .checks = two, .checks_count = 2};
	struct wm_check *kept;

	cr_assert_eq(put_draft(r, &d), 0);
	kept = wm_registry_check(r, "two");
	cr_assert_eq(wm_registry_set_status(r, kept, WM_WARNING, "so so"), 1);
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "one"), WM_PASSING, "up"), 1);
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_WARNING);
	/* "two" is not named and stays, "one" is redefined and goes on with its status */
	one.ttl_ms = 20000;
	d.checks = &one;
	d.checks_count = 1;
	d.port = 5;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(wm_registry_check(r, "two"), kept);
	cr_assert_eq(kept->instance, wm_registry_instance(r, "a"));
	cr_assert_eq(wm_registry_check(r, "one")->ttl_ms, 20000);
	cr_assert_eq(wm_registry_check(r, "one")->status, WM_PASSING);
	cr_assert_str_eq(wm_registry_check(r, "one")->output, "up");
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_WARNING);
	d.replace_checks = true;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_null(wm_registry_check(r, "two"));
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_PASSING);
	/* an initial status that is newly given counts, the same one sent again does not */
	one.has_status = true;
	one.status = WM_WARNING;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_WARNING);
	wm_registry_set_status(r, wm_registry_check(r, "one"), WM_CRITICAL, NULL);
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_CRITICAL);
	wm_registry_close(r);
}

Test(registry, refuses_a_check_of_another_instance)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft c = ttl("shared");
	struct wm_instance_draft d = {.id = "a", .name = "web", .checks = &c, .checks_count = 1};
	uint64_t index;

	cr_assert_eq(put_draft(r, &d), 0);
	index = wm_registry_index(r);
	d.id = "b";
	d.name = "other";
	cr_assert_eq(put_draft(r, &d), WM_E_CONFLICT);
	cr_assert_null(wm_registry_instance(r, "b"));
	cr_assert_null(wm_registry_service(r, "other"));
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_str_eq(wm_registry_check(r, "shared")->instance->id, "a");
	wm_registry_close(r);
}

Test(registry, bounds_instances_services_and_checks)
{
	struct wm_registry_config c = config(NULL);
	struct wm_registry *r;
	struct wm_check_draft many[WM_CHECKS_PER_INSTANCE];
	char ids[2][WM_CHECKS_PER_INSTANCE][16];
	struct wm_instance_draft d = {
		.id = "x", .name = "s1", .checks = many, .checks_count = WM_CHECKS_PER_INSTANCE};

	c.instances_max = 3;
	c.services_max = 2;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(put(r, "a", "s1", 1), 0);
	cr_assert_eq(put(r, "b", "s2", 1), 0);
	cr_assert_eq(put(r, "c", "s3", 1), WM_E_CAPACITY);
	cr_assert_eq(put(r, "c", "s1", 1), 0);
	cr_assert_eq(put(r, "d", "s1", 1), WM_E_CAPACITY);
	cr_assert_eq(put(r, "c", "s2", 2), 0, "a change at the limit is allowed");
	cr_assert_eq(del(r, "a"), 0);
	for (int n = 0; n < WM_CHECKS_PER_INSTANCE; n++) {
		snprintf(ids[0][n], 16, "k%d", n);
		snprintf(ids[1][n], 16, "l%d", n);
		many[n] = ttl(ids[0][n]);
	}
	cr_assert_eq(put_draft(r, &d), 0);
	for (int n = 0; n < WM_CHECKS_PER_INSTANCE; n++)
		many[n] = ttl(ids[1][n]);
	cr_assert_eq(put_draft(r, &d), WM_E_LIMIT, "kept and new ones together");
	cr_assert_eq(wm_registry_instance(r, "x")->checks_count, WM_CHECKS_PER_INSTANCE);
	cr_assert_not_null(wm_registry_check(r, "k0"));
	cr_assert_null(wm_registry_check(r, "l0"));
	wm_registry_close(r);
}

static void submit(struct wm_registry *r, const char *id, const char *name, uint32_t port,
		   struct answer *a)
{
	struct wm_instance_draft d = {.id = id, .name = name, .port = port};

	cr_assert_eq(wm_registry_register(r, &d, answered, a, NULL), 0);
}

Test(registry, writes_of_a_batch_see_each_other)
{
	struct wm_registry *r = open_at(NULL);
	struct answer a[7] = {0};
	struct wm_buf b;
	char *text;

	wm_buf_init(&b, 65536);
	wm_registry_subscribe(r, record_change, &b);
	submit(r, "a", "web", 1, &a[0]);
	wm_registry_deregister(r, "a", answered, &a[1], NULL);
	wm_registry_deregister(r, "a", answered, &a[2], NULL);
	submit(r, "a", "web", 2, &a[3]);
	submit(r, "a", "web", 2, &a[4]);
	submit(r, "b", "web", 2, &a[5]);
	submit(r, "a", "db", 3, &a[6]);
	cr_assert_eq(wm_registry_instances(r), 0, "nothing before the flush");
	cr_assert(wm_registry_flush(r));
	for (int n = 0; n < 7; n++) {
		cr_assert_eq(a[n].called, 1);
		cr_assert_eq(a[n].code, n == 2 ? WM_E_UNKNOWN : 0, "%d: %s", n, a[n].text);
	}
	cr_assert_str_eq(a[2].text, "Unknown service ID \"a\". Ensure that the service ID is "
				    "passed, not the service name.");
	cr_assert_str_eq(b.data,
			 "+svc web;upsert web/a;delete web/a;-svc web;+svc web;upsert web/a;"
			 "upsert web/b;delete web/a;+svc db;upsert db/a;");
	cr_assert_eq(wm_registry_index(r), 6);
	cr_assert_not(wm_registry_flush(r));
	text = show(r);
	free(text);
	wm_buf_done(&b);
	wm_registry_close(r);
}

static void submit_again(void *arg, int code, const char *text)
{
	(void)code;
	(void)text;
	wm_registry_deregister(arg, "a", NULL, NULL, NULL);
}

Test(registry, answers_may_submit)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_instance_draft d = {.id = "a", .name = "web"};

	wm_registry_register(r, &d, submit_again, r, NULL);
	wm_registry_flush(r);
	cr_assert_not_null(wm_registry_instance(r, "a"));
	cr_assert(wm_registry_flush(r));
	cr_assert_null(wm_registry_instance(r, "a"));
	wm_registry_close(r);
}

Test(registry, status_is_announced_at_once)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft c[2] = {ttl("one"), ttl("two")};
	struct wm_instance_draft d = {.id = "a", .name = "web", .checks = c, .checks_count = 2};
	struct wm_check *one;
	struct wm_buf b;
	char big[WM_CHECK_OUTPUT_MAX + 100];
	uint64_t index;

	wm_buf_init(&b, 65536);
	cr_assert_eq(put_draft(r, &d), 0);
	wm_registry_subscribe(r, record_change, &b);
	one = wm_registry_check(r, "one");
	cr_assert_eq(wm_registry_set_status(r, one, WM_CRITICAL, "first"), 0);
	cr_assert_str_eq(b.data, "status web/a/one;", "no longer unknown");
	b.len = 0;
	index = wm_registry_index(r);
	cr_assert_eq(wm_registry_set_status(r, one, WM_CRITICAL, "still"), 0);
	cr_assert_str_eq(one->output, "still");
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_eq(b.len, 0);
	cr_assert_eq(wm_registry_set_status(r, one, WM_PASSING, NULL), 1);
	cr_assert_str_eq(one->output, "still");
	cr_assert_str_eq(b.data, "status web/a/one;");
	cr_assert_eq(one->instance->status, WM_CRITICAL, "the other one still is");
	cr_assert_eq(wm_registry_index(r), index + 1);
	cr_assert_eq(one->instance->service->index, index + 1);
	cr_assert_eq(one->modify_index, index + 1);
	memset(big, 'x', sizeof(big));
	memcpy(big + WM_CHECK_OUTPUT_MAX - 1, "\xc3\xa4", 2); /* a letter across the border */
	big[sizeof(big) - 1] = 0;
	wm_registry_set_status(r, one, WM_PASSING, big);
	cr_assert_eq(strlen(one->output), WM_CHECK_OUTPUT_MAX - 1);
	wm_buf_done(&b);
	wm_registry_close(r);
}

Test(registry, refuses_what_does_not_fit_the_queue)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_registry_stats st;
	struct wm_err e = {0};
	int err = 0;
	unsigned n;

	for (n = 0; n < 100000 && !err; n++)
		err = wm_registry_deregister(r, "none", NULL, NULL, &e);
	cr_assert_eq(err, WM_E_BUSY);
	cr_assert_eq(n, 65537);
	cr_assert_str_eq(e.text, "Too many writes are waiting (limits: 65536, and 64 MiB of them), "
				 "try again");
	wm_registry_stats(r, &st);
	cr_assert(st.queue_full == 1 && st.queued == 65536);
	wm_registry_flush(r);
	cr_assert_eq(wm_registry_deregister(r, "none", NULL, NULL, &e), 0);
	wm_registry_close(r);
}

/* What a write brings along counts, its checks as well. */
Test(registry, refuses_what_is_too_much_for_the_queue)
{
	static char body[4096];
	struct wm_check_draft c[WM_CHECKS_PER_INSTANCE];
	struct wm_instance_draft d = {
		.id = "a", .name = "web", .port = 1, .checks = c, .checks_count = 32};
	struct wm_registry *r = open_at(NULL);
	struct wm_err e = {0};
	size_t bytes = 0;
	int err = 0;

	memset(body, 'b', sizeof(body) - 1);
	for (unsigned n = 0; n < WM_CHECKS_PER_INSTANCE; n++)
		c[n] = (struct wm_check_draft){.kind = WM_CHECK_HTTP,
					       .target = "http://127.0.0.1/",
					       .interval_ms = 10000,
					       .body = body};
	while (!err && bytes < 256u << 20) {
		err = wm_registry_register(r, &d, NULL, NULL, &e);
		bytes += err ? 0 : d.checks_count * sizeof(body);
	}
	cr_assert_eq(err, WM_E_BUSY, "%s", e.text);
	cr_assert_leq(bytes, 64u << 20);
	wm_registry_close(r);
}

Test(registry, refuses_an_address_among_virtual_ones)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_instance_draft d = {.id = "a", .name = "web", .address = "240.1.2.3"};

	cr_assert_eq(put_draft(r, &d), WM_E_INVALID);
	d.address = "fd77::1";
	cr_assert_eq(put_draft(r, &d), WM_E_INVALID);
	d.address = "fd78::1";
	cr_assert_eq(put_draft(r, &d), 0);
	d.address = "db.example.org";
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(wm_registry_instance(r, "a")->addr4.s_addr, 0);
	cr_assert(IN6_IS_ADDR_UNSPECIFIED(&wm_registry_instance(r, "a")->addr6));
	wm_registry_close(r);
}

/* A random walk against a plain model: an array of what is registered where. */
Test(registry, random_walk_agrees_with_a_model)
{
	enum { IDS = 24, SERVICES = 6 };
	struct wm_registry *r = open_at(NULL);
	int where[IDS] = {0}; /* 0: not there, else service number */
	uint32_t port[IDS] = {0};
	struct answer a[64];
	int expected[64];
	uint64_t seed = 42, index = 1;

	for (int round = 0; round < 400; round++) {
		unsigned n = 0;

		memset(a, 0, sizeof(a));
		for (seed = seed * 6364136223846793005ull + 1; n < 1 + (seed >> 58) % 40; n++) {
			uint64_t x = wm_hash_stable(&(uint64_t){seed + n}, 8) >> 7;
			int k = (int)(x % IDS), s = 1 + (int)(x / IDS % SERVICES);
			char id[16], name[16];

			snprintf(id, sizeof(id), "i%d", k);
			snprintf(name, sizeof(name), "s%d", s);
			if (x / 1000 % 3 == 0) {
				wm_registry_deregister(r, id, answered, &a[n], NULL);
				expected[n] = where[k] ? 0 : WM_E_UNKNOWN;
				index += where[k] != 0;
				where[k] = 0;
				continue;
			}
			submit(r, id, name, (uint32_t)(x / 5000 % 3), &a[n]);
			expected[n] = 0;
			index += where[k] != s || port[k] != x / 5000 % 3;
			where[k] = s;
			port[k] = (uint32_t)(x / 5000 % 3);
		}
		wm_registry_flush(r);
		for (unsigned q = 0; q < n; q++)
			cr_assert(a[q].called == 1 && a[q].code == expected[q], "%d %u", round, q);
		for (int k = 0; k < IDS; k++) {
			char id[16], name[16];
			struct wm_instance *i;

			snprintf(id, sizeof(id), "i%d", k);
			snprintf(name, sizeof(name), "s%d", where[k]);
			i = wm_registry_instance(r, id);
			cr_assert_eq(i != NULL, where[k] != 0);
			if (i)
				cr_assert(i->port == port[k] &&
					  strcmp(i->service->name, name) == 0);
		}
		cr_assert_eq(wm_registry_index(r), index);
		free(show(r));
	}
	wm_registry_close(r);
}

Test(registry, metadata_of_the_node)
{
	char *good[] = {mut("zone=b4"), mut("a=x=y"), NULL};
	const char *const bad[] = {"zone", "=v", "a b=c"};
	struct wm_registry_config c = config(NULL);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	c.node_meta = good;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	cr_assert_eq(wm_registry_node(r)->meta_count, 2u);
	cr_assert_str_eq(wm_registry_node(r)->meta[0].key, "a");
	cr_assert_str_eq(wm_registry_node(r)->meta[0].value, "x=y");
	cr_assert_str_eq(wm_registry_node(r)->meta[1].value, "b4");
	wm_registry_close(r);
	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
		char *pairs[] = {mut(bad[i]), NULL};

		c.node_meta = pairs;
		cr_assert_eq(wm_registry_open(&c, &r, &e), WM_E_INVALID, "%s", bad[i]);
		cr_assert_eq(strncmp(e.text, "node.meta: ", 11), 0, "%s", e.text);
	}
	good[0] = good[1];
	c.node_meta = good;
	cr_assert_eq(wm_registry_open(&c, &r, &e), WM_E_INVALID);
}

static void far_node(struct wm_registry *r, const char *address)
{
	const struct wm_node_draft facts = {.address = address};
	const struct wm_catalog_op op = {.object = WM_OBJECT_NODE, .node = "far", .facts = &facts};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	struct wm_err e = {0};
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(r, &b, &failed, &e), 0, "%s", e.text);
	wm_registry_flush(r);
}

Test(registry, a_band_is_believed_once_and_changed_twice)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_node *n;
	uint64_t index;
	size_t pos = 0;

	far_node(r, "10.9.0.1");
	do {
		n = wm_registry_next_node(r, &pos);
		cr_assert_not_null(n);
	} while (n->self);
	index = wm_registry_index(r);
	cr_assert_not(wm_registry_has_bands(r));
	cr_assert(wm_registry_set_band(r, n, WM_BAND_REGION));
	cr_assert(wm_registry_has_bands(r));
	cr_assert_not(wm_registry_set_band(r, n, WM_BAND_BEYOND), "one pause");
	cr_assert_not(wm_registry_set_band(r, n, WM_BAND_REGION));
	cr_assert_not(wm_registry_set_band(r, n, WM_BAND_BEYOND), "and another");
	cr_assert_eq(n->band, WM_BAND_REGION);
	cr_assert(wm_registry_set_band(r, n, WM_BAND_BEYOND));
	cr_assert_eq(n->band, WM_BAND_BEYOND);
	cr_assert_eq(wm_registry_index(r), index, "nobody who waits is woken");
	far_node(r, "10.9.0.2");
	cr_assert_eq(n->band, WM_BAND_BEYOND, "what is known of it may change");
	wm_registry_close(r);
}
