/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog: objects of any node, written in batches that are applied whole or not at all, beside
 * what this agent registered. */
/* links: base model store registry */
#include "registry_help.h"
#include "userspace/base/buf.h"
#include "userspace/registry/internal.h"

#include <stdlib.h>
#include <time.h>

TestSuite(catalog, .init = make_dir, .fini = rm_dir, .timeout = 300);

#define OPS(...)                                                                                   \
	(struct wm_catalog_op[]){__VA_ARGS__},                                                     \
		sizeof((struct wm_catalog_op[]){__VA_ARGS__}) / sizeof(struct wm_catalog_op)

struct batch {
	struct answer a;
	unsigned parts, failed;
	int failed_code;
};

static void part_done(void *arg, const struct wm_part *p)
{
	struct batch *b = arg;

	if (p->code) {
		b->failed = p->number;
		b->failed_code = p->code;
	} else {
		b->parts++;
	}
}

static void batch_done(void *arg, int code, const char *text)
{
	answered(&((struct batch *)arg)->a, code, text);
}

static struct batch submit(struct wm_registry *r, struct wm_catalog_op *ops, unsigned count)
{
	struct batch b = {.failed = 999};
	struct wm_err e = {0};

	for (unsigned n = 0; n < count; n++)
		ops[n].number = n;
	b.a.code = wm_registry_catalog(
		r, &(struct wm_catalog_batch){ops, count, part_done, batch_done, &b}, &b.failed,
		&e);
	if (b.a.code) {
		snprintf(b.a.text, sizeof(b.a.text), "%s", e.text);
		return b;
	}
	wm_registry_flush(r);
	cr_assert_eq(b.a.called, 1);
	return b;
}

static struct wm_catalog_op set_node(const char *node, const struct wm_node_draft *d)
{
	return (struct wm_catalog_op){.object = WM_OBJECT_NODE, .node = node, .facts = d};
}

static struct wm_catalog_op set_service(const char *node, const struct wm_instance_draft *d)
{
	return (struct wm_catalog_op){.object = WM_OBJECT_SERVICE, .node = node, .service = d};
}

static struct wm_catalog_op set_check(const char *node, const char *service,
				      const struct wm_check_draft *d)
{
	return (struct wm_catalog_op){
		.object = WM_OBJECT_CHECK, .node = node, .check = d, .check_service = service};
}

static struct wm_catalog_op drop(enum wm_object object, const char *node, const char *id)
{
	return (struct wm_catalog_op){
		.object = object, .verb = WM_VERB_DELETE, .node = node, .id = id};
}

static const struct wm_node_draft shale = {.address = "10.8.9.9"};
static const struct wm_instance_draft wax = {.id = "wax-1", .name = "wax", .port = 70};
static const struct wm_check_draft passing = {
	.id = "c", .name = "c", .kind = WM_CHECK_STATED, .has_status = true};
static const struct wm_check_draft critical = {
	.id = "c", .name = "c", .kind = WM_CHECK_STATED, .has_status = true, .status = WM_CRITICAL};

static const struct wm_check_draft *typed_as(struct wm_check_draft *d, const char *type)
{
	d->type = type;
	return d;
}

Test(catalog, a_node_with_its_service_and_check_is_there_after_a_restart)
{
	const struct wm_pair meta[] = {{mut("zone"), mut("z9")}};
	const struct wm_node_draft d = {.id = "7d1f0c2e-5a34-4c1b-9b7e-0a3c55d0e911",
					.address = "10.8.9.9",
					.meta = meta,
					.meta_count = 1,
					.region = "eu",
					.zone = "eu-1"};
	struct wm_check_draft typed = critical;
	struct wm_registry *r = open_at(db);
	struct batch b = submit(r, OPS(set_node("Shale-9", &d), set_service("shale-9", &wax),
				       set_check("shale-9", "wax-1", typed_as(&typed, "icmp"))));
	const struct wm_instance *i;
	char *before, *after;

	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(b.parts, 3);
	cr_assert_eq(wm_registry_nodes(r), 2);
	i = wm_node_instance(wm_registry_node_named(r, "SHALE-9"), "wax-1");
	cr_assert_not_null(i);
	cr_assert_str_eq(i->node->name, "Shale-9");
	cr_assert_eq(i->addr4.s_addr, i->node->addr4.s_addr, "it has its node's address");
	cr_assert_eq(i->status, WM_CRITICAL);
	cr_assert_null(wm_registry_instance(r, "wax-1"), "it is not this agent's");
	cr_assert_eq(i->node->create_index, i->create_index, "one batch, one index");
	before = show(r);
	wm_registry_close(r);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(after, before);
	cr_assert_str_eq(wm_registry_node_named(r, "shale-9")->zone, "eu-1");
	cr_assert_str_eq(wm_check_type(wm_node_check(wm_registry_node_named(r, "shale-9"), "c")),
			 "icmp");
	free(before);
	free(after);
	wm_registry_close(r);
}

Test(catalog, nodes_have_their_own_ids)
{
	struct wm_registry *r = open_at(NULL);

	put(r, "wax-1", "wax", 80);
	cr_assert_eq(submit(r, OPS(set_node("a", &shale), set_service("a", &wax))).a.code, 0);
	cr_assert_eq(submit(r, OPS(set_node("b", &shale), set_service("b", &wax))).a.code, 0);
	cr_assert_eq(wm_registry_instances(r), 3);
	cr_assert_eq(wm_registry_service(r, "wax")->instances_count, 3);
	cr_assert_eq(submit(r, OPS(drop(WM_OBJECT_SERVICE, "a", "wax-1"))).a.code, 0);
	cr_assert_eq(wm_registry_instances(r), 2);
	cr_assert_not_null(wm_registry_instance(r, "wax-1"));
	del(r, "wax-1");
	cr_assert_not_null(wm_node_instance(wm_registry_node_named(r, "b"), "wax-1"));
	wm_registry_close(r);
}

Test(catalog, neither_owner_touches_what_is_the_others)
{
	struct wm_registry *r = open_at(NULL);
	const struct wm_instance_draft mine = {.id = "mine", .name = "web", .port = 1};
	struct wm_check_draft ttl = {.id = "c", .name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 10000};
	struct answer a = {0};
	struct batch b;

	put(r, "mine", "web", 80);
	b = submit(r, OPS(set_service("n1", &mine)));
	cr_assert_eq(b.a.code, WM_E_CONFLICT);
	cr_assert_str_eq(b.a.text,
			 "Service ID \"mine\" is registered with this agent: change it there");
	b = submit(r, OPS(drop(WM_OBJECT_SERVICE, "n1", "mine")));
	cr_assert_eq(b.a.code, WM_E_CONFLICT);
	b = submit(r, OPS(drop(WM_OBJECT_NODE, "n1", "")));
	cr_assert_eq(b.a.code, WM_E_CONFLICT);
	b = submit(r, OPS(set_node("n1", &shale)));
	cr_assert_eq(b.a.code, WM_E_CONFLICT);
	/* on this agent's node, but the catalog's */
	b = submit(r, OPS(set_service("n1", &wax), set_check("n1", "mine", &critical)));
	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(wm_registry_instance(r, "mine")->status, WM_CRITICAL);
	cr_assert_eq(del(r, "wax-1"), WM_E_CONFLICT);
	cr_assert_eq(put(r, "wax-1", "wax", 99), WM_E_CONFLICT);
	/* the check outlives a registration of the instance, and is not the agent's to change */
	put(r, "mine", "web", 81);
	cr_assert_eq(wm_registry_instance(r, "mine")->checks_count, 1);
	wm_registry_check_register(r, "mine", &ttl, answered, &a, NULL);
	wm_registry_flush(r);
	cr_assert_eq(a.code, WM_E_CONFLICT, "%s", a.text);
	wm_registry_check_deregister(r, "c", answered, &a, NULL);
	wm_registry_flush(r);
	cr_assert_eq(a.code, WM_E_UNKNOWN);
	b = submit(r, OPS(drop(WM_OBJECT_CHECK, "n1", "c")));
	cr_assert_eq(b.a.code, 0);
	cr_assert_eq(wm_registry_instance(r, "mine")->status, WM_PASSING);
	wm_registry_close(r);
}

Test(catalog, a_batch_that_fails_leaves_no_trace)
{
	struct wm_registry *r = open_at(db);
	struct wm_catalog_op read = {
		.object = WM_OBJECT_SERVICE, .verb = WM_VERB_GET, .node = "a", .id = "none"};
	char *before, *after;
	struct batch b;

	cr_assert_eq(submit(r, OPS(set_node("a", &shale), set_service("a", &wax),
				   set_check("a", "wax-1", &passing)))
			     .a.code,
		     0);
	before = show(r);
	b = submit(r, OPS(set_node("z", &shale), set_service("z", &wax),
			  set_check("a", "wax-1", &critical), set_check("a", "", &passing),
			  drop(WM_OBJECT_NODE, "a", ""), read));
	cr_assert_eq(b.a.code, WM_E_CONFLICT, "the check is an instance's: %s", b.a.text);
	cr_assert_eq(b.failed, 3);
	b = submit(r, OPS(set_node("z", &shale), set_service("z", &wax),
			  set_check("a", "wax-1", &critical), drop(WM_OBJECT_NODE, "a", ""), read));
	cr_assert_eq(b.a.code, WM_E_UNKNOWN);
	cr_assert_str_eq(b.a.text, "service \"none\" on node \"a\" doesn't exist");
	cr_assert_eq(b.failed, 4);
	after = show(r);
	cr_assert_str_eq(after, before);
	free(after);
	wm_registry_close(r);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(after, before);
	free(after);
	free(before);
	wm_registry_close(r);
}

Test(catalog, listeners_hear_the_outcome_of_a_batch_once)
{
	struct wm_instance_draft moved = wax, tin = {.id = "tin-1", .name = "tin", .port = 81};
	struct wm_registry *r = open_at(NULL);
	struct wm_buf seen;

	wm_buf_init(&seen, 1u << 20);
	wm_registry_subscribe(r, record_change, &seen);
	submit(r, OPS(set_node("a", &shale), set_service("a", &wax),
		      set_check("a", "wax-1", &critical), set_check("a", "wax-1", &passing),
		      set_service("a", &tin), drop(WM_OBJECT_SERVICE, "a", "tin-1")));
	cr_assert_str_eq(seen.data, "+node node/;+svc wax;upsert wax/wax-1;");
	wm_buf_reset(&seen);
	/* to another service and back: the same again, with a new check */
	moved.name = "bees";
	submit(r, OPS(set_service("a", &moved), set_service("a", &wax),
		      drop(WM_OBJECT_CHECK, "a", "c")));
	cr_assert_str_eq(seen.data, "-check wax/wax-1/c;upsert wax/wax-1;old;");
	wm_buf_reset(&seen);
	submit(r, OPS(set_service("a", &tin), drop(WM_OBJECT_NODE, "a", "")));
	cr_assert_str_eq(seen.data, "delete wax/wax-1;-svc wax;-node node/;");
	wm_buf_done(&seen);
	wm_registry_close(r);
}

Test(catalog, instances_follow_the_address_of_their_node)
{
	const struct wm_node_draft other = {.address = "10.8.9.10"};
	struct wm_registry *r = open_at(db);
	const struct wm_instance *i;
	uint64_t index;
	char *before, *after;

	submit(r, OPS(set_node("a", &shale), set_service("a", &wax)));
	i = wm_node_instance(wm_registry_node_named(r, "a"), "wax-1");
	index = i->modify_index;
	cr_assert_eq(submit(r, OPS(set_node("a", &other))).a.code, 0);
	cr_assert_eq(wm_node_instance(wm_registry_node_named(r, "a"), "wax-1"), i);
	cr_assert_eq(i->addr4.s_addr, htonl(0x0a08090a));
	cr_assert_eq(i->modify_index, index, "it was not registered anew");
	cr_assert_gt(i->service->index, index, "who watches the service is woken");
	before = show(r);
	wm_registry_close(r);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(after, before);
	free(before);
	free(after);
	wm_registry_close(r);
}

Test(catalog, a_stale_index_is_refused)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_catalog_op cas = set_service("a", &wax), del_cas = cas;
	struct batch b;

	submit(r, OPS(set_node("a", &shale)));
	cas.verb = WM_VERB_CAS;
	b = submit(r, &cas, 1);
	cr_assert_eq(b.a.code, 0, "0: it must not exist yet");
	b = submit(r, &cas, 1);
	cr_assert_eq(b.a.code, WM_E_CONFLICT);
	cr_assert_str_eq(b.a.text, "failed to set service \"wax-1\" on node \"a\", index is stale");
	del_cas.verb = WM_VERB_DELETE_CAS;
	del_cas.id = "wax-1";
	del_cas.index = 1;
	b = submit(r, &del_cas, 1);
	cr_assert_str_eq(b.a.text,
			 "failed to delete service \"wax-1\" on node \"a\", index is stale");
	del_cas.index = wm_node_instance(wm_registry_node_named(r, "a"), "wax-1")->modify_index;
	b = submit(r, &del_cas, 1);
	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(wm_registry_instances(r), 0);
	wm_registry_close(r);
}

Test(catalog, what_is_not_there_can_be_removed)
{
	struct wm_registry *r = open_at(NULL);
	uint64_t index = wm_registry_index(r);

	cr_assert_eq(submit(r, OPS(drop(WM_OBJECT_NODE, "a", ""))).a.code, 0);
	cr_assert_eq(submit(r, OPS(drop(WM_OBJECT_SERVICE, "a", "x"))).a.code, 0);
	cr_assert_eq(submit(r, OPS(drop(WM_OBJECT_CHECK, "a", "x"))).a.code, 0);
	cr_assert_eq(submit(r, OPS(drop(WM_OBJECT_CHECK, "n1", "x"))).a.code, 0);
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_eq(submit(r, OPS(set_service("a", &wax))).a.code, WM_E_UNKNOWN);
	wm_registry_close(r);
}

Test(catalog, nodes_are_bounded_and_named)
{
	char longest[WM_NODE_NAME_MAX + 2];
	struct wm_registry *r = open_at(NULL);
	struct batch b;
	char name[16];

	for (unsigned n = 0; n < 100; n++) {
		snprintf(name, sizeof(name), "node-%u", n);
		cr_assert_eq(submit(r, OPS(set_node(name, &shale))).a.code, 0);
	}
	b = submit(r, OPS(set_node("one-more", &shale)));
	cr_assert_eq(b.a.code, WM_E_CAPACITY);
	cr_assert_str_eq(b.a.text, "Nodes: at most 100 are allowed (nodes_max)");
	cr_assert_eq(wm_registry_nodes(r), 101);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	cr_assert_eq(submit(r, OPS(set_node(longest, &shale))).a.code, WM_E_LIMIT);
	cr_assert_eq(submit(r, OPS(set_node("", &shale))).a.code, WM_E_INVALID);
	wm_registry_close(r);
}

static void shown(const struct wm_registry *r, unsigned checks)
{
	free(show(r)); /* it counts them */
	cr_assert_eq(wm_registry_checks(r), checks);
}

static void queue(struct wm_registry *r, struct batch *b, struct wm_catalog_op *ops, unsigned count)
{
	cr_assert_eq(wm_registry_catalog(
			     r, &(struct wm_catalog_batch){ops, count, part_done, batch_done, b},
			     &b->failed, NULL),
		     0);
}

/* Clients name the node with each service that they write: as long as that changes nothing, their
 * writes share a transaction. What does change it waits for those before. */
/* A node that comes with a check and goes within one batch was never there. */
Test(catalog, a_node_that_comes_and_goes_leaves_no_count)
{
	struct wm_registry *r = open_at(db);
	struct wm_check_draft c = {.id = "c", .name = "c", .kind = WM_CHECK_STATED};
	unsigned checks = wm_registry_checks(r);

	cr_assert_eq(submit(r, OPS(set_node("a", &shale), set_check("a", "", &c),
				   drop(WM_OBJECT_NODE, "a", "")))
			     .a.code,
		     0);
	cr_assert_eq(wm_registry_nodes(r), 1);
	cr_assert_eq(wm_registry_checks(r), checks);
	wm_registry_close(r);
}

Test(catalog, writes_that_name_the_same_node_share_a_commit)
{
	struct wm_registry *r = open_at(db);
	const struct wm_node_draft moved = {.address = "10.8.9.10"};
	struct wm_instance_draft d[3] = {wax, wax, wax};
	struct wm_registry_stats before, after;
	struct batch b[3] = {0};

	d[1].id = "wax-2";
	d[2].id = "wax-3";
	cr_assert_eq(submit(r, OPS(set_node("a", &shale))).a.code, 0);
	wm_registry_stats(r, &before);
	for (unsigned n = 0; n < 3; n++)
		queue(r, &b[n], OPS(set_node("a", &shale), set_service("a", &d[n])));
	wm_registry_flush(r);
	wm_registry_stats(r, &after);
	for (unsigned n = 0; n < 3; n++)
		cr_assert(b[n].a.called == 1 && b[n].a.code == 0, "%s", b[n].a.text);
	cr_assert_eq(after.commits, before.commits + 1);
	before = after;
	d[0].port = d[1].port = 71;
	queue(r, &b[0], OPS(set_node("a", &shale), set_service("a", &d[0])));
	queue(r, &b[1], OPS(set_node("a", &moved), set_service("a", &d[1])));
	queue(r, &b[2], OPS(set_node("a", &moved), set_service("a", &d[2])));
	wm_registry_flush(r);
	wm_registry_stats(r, &after);
	cr_assert_eq(after.commits, before.commits + 1);
	cr_assert_eq(wm_registry_instances(r), 3);
	shown(r, 0);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_instances(r), 3);
	cr_assert_str_eq(wm_registry_node_named(r, "a")->address, "10.8.9.10");
	wm_registry_close(r);
}

Test(catalog, checks_of_all_nodes_are_bounded_together)
{
	struct wm_registry_config c = config(db);
	const struct wm_check_draft ttl = {
		.id = "mine", .name = "mine", .kind = WM_CHECK_TTL, .ttl_ms = 1000};
	struct wm_check_draft more = passing;
	const struct wm_instance_draft web = {
		.id = "web-1", .name = "web", .checks = &ttl, .checks_count = 1};
	struct wm_registry *r;
	struct batch b;

	c.checks_max = 3;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	b = submit(r, OPS(set_node("a", &shale), set_service("a", &wax),
			  set_check("a", "", &passing)));
	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(put_draft(r, &web), 0);
	more.id = "d";
	cr_assert_eq(submit(r, OPS(set_check("a", "wax-1", &more))).a.code, 0);
	shown(r, 3);
	more.id = "e";
	b = submit(r, OPS(set_node("b", &shale), set_check("b", "", &more)));
	cr_assert_eq(b.a.code, WM_E_CAPACITY);
	cr_assert_str_eq(b.a.text, "Checks: at most 3 are allowed (checks_max)");
	shown(r, 3);
	/* what does not make them more is allowed, also in a batch that fails later */
	cr_assert_eq(submit(r, OPS(set_check("a", "", &critical))).a.code, 0);
	b = submit(r, OPS(drop(WM_OBJECT_CHECK, "a", "d"), set_check("a", "", &more),
			  drop(WM_OBJECT_NODE, "a", ""), set_check("a", "", &more)));
	cr_assert_eq(b.a.code, WM_E_UNKNOWN);
	shown(r, 3);
	cr_assert_eq(
		submit(r, OPS(drop(WM_OBJECT_CHECK, "a", "d"), set_check("a", "", &more))).a.code,
		0);
	shown(r, 3);
	wm_registry_close(r);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	shown(r, 3);
	cr_assert_eq(submit(r, OPS(drop(WM_OBJECT_NODE, "a", ""))).a.code, 0);
	shown(r, 1);
	cr_assert_eq(del(r, "web-1"), 0);
	shown(r, 0);
	wm_registry_close(r);
	/* what was stored under a larger bound is kept, there is only no room for more */
	c.checks_max = 1;
	r = open_at(db);
	cr_assert_eq(put_draft(r, &web), 0);
	cr_assert_eq(submit(r, OPS(set_node("a", &shale), set_check("a", "", &more))).a.code, 0);
	wm_registry_close(r);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	shown(r, 2);
	cr_assert_eq(put_draft(r, &web), 0);
	wm_registry_close(r);
}

Test(catalog, an_agent_that_takes_the_name_of_a_node_says_so)
{
	struct wm_registry_config c = config(db);
	struct wm_registry *r = open_at(db), *again = NULL;
	struct wm_err e = {0};

	submit(r, OPS(set_node("shale", &shale), set_service("n1", &wax)));
	wm_registry_close(r);
	c.node_name = "Shale";
	cr_assert_eq(wm_registry_open(&c, &again, &e), WM_E_CONFLICT);
	cr_assert_not_null(strstr(e.text, "node.name: \"shale\" is a node of the catalog"));
	/* under any other name what was written on it is still there */
	c.node_name = "n2";
	cr_assert_eq(wm_registry_open(&c, &again, &e), 0, "%s", e.text);
	cr_assert_str_eq(wm_registry_instance(again, "wax-1")->node->name, "n2");
	wm_registry_close(again);
}

/* --- random batches --------------------------------------------------------------------------- */
#define ROUNDS 3000

static const char *const nodes[] = {"n1", "a", "b"};
static const char *const ids[] = {"i0", "i1", "i2", "i3"};
static const char *const names[] = {"web", "db", "mq"};

static struct wm_catalog_op random_op(unsigned *seed)
{
	static const struct wm_node_draft drafts[] = {{.address = "10.0.0.2"},
						      {.address = "10.0.0.3"}};
	static struct wm_instance_draft services[4][3];
	static struct wm_check_draft checks[4];
	unsigned i = (unsigned)rand_r(seed) % 4, k = (unsigned)rand_r(seed) % 3;
	const char *node = nodes[rand_r(seed) % 3];
	struct wm_catalog_op op;

	for (unsigned a = 0; a < 4; a++) {
		for (unsigned b = 0; b < 3; b++)
			services[a][b] = (struct wm_instance_draft){
				.id = ids[a], .name = names[b], .port = 80 + b};
		checks[a] = (struct wm_check_draft){.id = ids[a],
						    .name = "c",
						    .kind = WM_CHECK_STATED,
						    .has_status = true,
						    .status = (enum wm_status)(a % 3)};
	}
	switch (rand_r(seed) % 8) {
	case 0:
		return set_node(node, &drafts[i % 2]);
	case 1:
		return drop(WM_OBJECT_NODE, node, "");
	case 2:
		return drop(WM_OBJECT_SERVICE, node, ids[i]);
	case 3:
		return drop(WM_OBJECT_CHECK, node, ids[i]);
	case 4:
		checks[i].status = (enum wm_status)k;
		return set_check(node, rand_r(seed) % 4 ? ids[i] : "", &checks[i]);
	case 5:
		op = set_service(node, &services[i][k]);
		op.verb = WM_VERB_CAS;
		return op;
	default:
		return set_service(node, &services[i][k]);
	}
}

/* Whatever batches do and however they fail, the memory is what the store has, every link holds
 * (show() looks), and a batch that failed changed nothing. */
Test(catalog, random_batches_leave_what_is_stored)
{
	unsigned seed = (unsigned)time(NULL), applied = 0, refused = 0;
	struct wm_registry *r = open_at(db);
	const char *given = getenv("WM_SEED");

	if (given)
		seed = (unsigned)strtoul(given, NULL, 0);
	fprintf(stderr, "seed %u\n", seed);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct wm_catalog_op ops[8];
		unsigned count = 1 + (unsigned)rand_r(&seed) % 8;
		char *before = show(r), *after;
		struct batch b;

		for (unsigned n = 0; n < count; n++)
			ops[n] = random_op(&seed);
		b = submit(r, ops, count);
		applied += !b.a.code;
		refused += b.a.code != 0;
		after = show(r);
		if (b.a.code)
			cr_assert_str_eq(after, before, "round %u", round);
		free(before);
		if (round % 50 == 0) {
			wm_registry_close(r);
			r = open_at(db);
			before = show(r);
			cr_assert_str_eq(before, after, "round %u, stored:\n%s\nmemory:\n%s", round,
					 before, after);
			free(before);
		}
		free(after);
		if (rand_r(&seed) % 4 == 0)
			put(r, ids[rand_r(&seed) % 4], names[rand_r(&seed) % 3], 7);
		if (rand_r(&seed) % 4 == 0)
			del(r, ids[rand_r(&seed) % 4]);
	}
	cr_assert_gt(applied, ROUNDS / 20);
	cr_assert_gt(refused, ROUNDS / 20);
	wm_registry_close(r);
}

static void fill_node(struct wm_registry *r, unsigned count)
{
	struct wm_node_draft facts = {.address = "10.0.0.9"};
	struct wm_instance_draft d = {.name = "large", .port = 80};
	struct wm_catalog_op node = set_node("big", &facts);
	char id[32];

	cr_assert_eq(submit(r, &node, 1).a.code, 0);
	for (unsigned n = 0; n < count; n++) {
		struct wm_catalog_op op;

		snprintf(id, sizeof(id), "l%u", n);
		d.id = id;
		op = set_service("big", &d);
		cr_assert_eq(wm_registry_catalog(r,
						 &(struct wm_catalog_batch){.ops = &op, .count = 1},
						 &(unsigned){0}, NULL),
			     0);
	}
	wm_registry_flush(r);
	cr_assert_eq(wm_registry_instances(r), count);
}

/* A node with many instances leaves bit by bit, so that nobody waits for all of it; who asked is
 * answered when it is gone, and a disk that fails on the way leaves what it had not taken. */
Test(catalog, a_large_node_leaves_bit_by_bit)
{
	enum { MANY = 2 * WM_REGISTRY_CLEAR_STEP + 100 };
	struct wm_registry *r = open_at(db);
	struct wm_catalog_op op = drop(WM_OBJECT_NODE, "big", NULL);
	struct batch b = {0};
	const struct wm_catalog_batch one = {&op, 1, part_done, batch_done, &b};
	unsigned steps = 0;

	fill_node(r, MANY);
	cr_assert_eq(wm_registry_catalog(r, &one, &b.failed, NULL), 0);
	while (!b.a.called) {
		unsigned before = wm_registry_instances(r);

		wm_registry_flush(r);
		cr_assert_leq(before - wm_registry_instances(r), WM_REGISTRY_CLEAR_STEP);
		cr_assert_lt(++steps, 5);
	}
	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(steps, 3);
	cr_assert_eq(b.parts, 1);
	cr_assert_eq(wm_registry_instances(r), 0);
	cr_assert_null(wm_registry_node_named(r, "big"));
	/* the end of the registry ends what was begun */
	fill_node(r, MANY);
	b = (struct batch){0};
	cr_assert_eq(wm_registry_catalog(r, &one, &b.failed, NULL), 0);
	wm_registry_flush(r);
	cr_assert_eq(b.a.called, 0);
	cr_assert_eq(wm_registry_instances(r), MANY - WM_REGISTRY_CLEAR_STEP);
	wm_registry_close(r);
	cr_assert_eq(b.a.called, 1);
	r = open_at(db);
	cr_assert_eq(wm_registry_instances(r), 0);
	wm_registry_close(r);
}

/* Among other writes it leaves at once, with all of them or not at all: not if it is large. */
Test(catalog, a_large_node_does_not_leave_among_others)
{
	const struct wm_node_draft facts = {.address = "10.0.0.8"};
	struct wm_registry *r = open_at(db);
	struct batch b;

	fill_node(r, WM_REGISTRY_CLEAR_MAX + 1);
	b = submit(r, OPS(drop(WM_OBJECT_NODE, "big", NULL), set_node("other", &facts)));
	cr_assert_eq(b.a.code, WM_E_LIMIT);
	cr_assert_not_null(strstr(b.a.text, "\"big\": at most 512 services"), "%s", b.a.text);
	cr_assert_eq(wm_registry_instances(r), WM_REGISTRY_CLEAR_MAX + 1);
	cr_assert_null(wm_registry_node_named(r, "other"));
	submit(r, OPS(drop(WM_OBJECT_SERVICE, "big", "l0")));
	b = submit(r, OPS(drop(WM_OBJECT_NODE, "big", NULL), set_node("other", &facts)));
	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(wm_registry_instances(r), 0);
	wm_registry_close(r);
}

/* Who comes with another node's id takes its place: what was on that leaves bit by bit, then the
 * write is made as a whole. */
Test(catalog, a_large_node_that_is_renamed_leaves_bit_by_bit)
{
	enum { MANY = WM_REGISTRY_CLEAR_STEP + 100 };
	const struct wm_node_draft facts = {.id = "7d1f0c2e-5a34-4c1b-9b7e-0a3c55d0e911",
					    .address = "10.0.0.9"};
	struct wm_registry *r = open_at(db);
	struct wm_catalog_op ops[2];
	struct batch b = {0};
	const struct wm_catalog_batch two = {ops, 2, part_done, batch_done, &b};

	fill_node(r, MANY);
	cr_assert_eq(submit(r, OPS(set_node("big", &facts))).a.code, 0);
	ops[0] = set_node("new", &facts);
	ops[1] = set_service("new", &wax);
	cr_assert_eq(wm_registry_catalog(r, &two, &b.failed, NULL), 0);
	wm_registry_flush(r);
	cr_assert_eq(b.a.called, 0);
	cr_assert_eq(wm_registry_instances(r), MANY - WM_REGISTRY_CLEAR_STEP);
	cr_assert_null(wm_registry_node_named(r, "new"));
	wm_registry_flush(r);
	cr_assert_eq(b.a.called, 1);
	cr_assert_eq(b.a.code, 0, "%s", b.a.text);
	cr_assert_eq(b.parts, 2);
	cr_assert_eq(wm_registry_instances(r), 1);
	cr_assert_null(wm_registry_node_named(r, "big"));
	cr_assert_str_eq(wm_registry_node_named(r, "new")->id, facts.id);
	wm_registry_close(r);
}
