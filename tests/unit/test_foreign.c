/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_foreign.c - objects of other agents: two registries, of which one is told what the other
 * says. */
#include "registry_help.h"
#include "userspace/registry/internal.h"

#include <limits.h>

TestSuite(foreign, .init = make_dir, .fini = rm_dir, .timeout = 60);

static struct wm_registry *open_as(const char *node, const char *file)
{
	static char path[2][256];
	static unsigned turn;
	struct wm_registry_config c = config(path[turn = !turn]);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	snprintf(path[turn], sizeof(path[turn]), "%s/%s/registry.db", dir, file);
	c.node_name = node;
	c.node_address = "10.0.0.9";
	c.sync = true;
	c.checks_max = 200000;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

static struct wm_foreign_result result;
static unsigned results;

static void on_result(void *arg, const struct wm_foreign_result *r)
{
	(void)arg;
	result = *r;
	results++;
}

/* What a registry says of an object, as another is told it. */
struct told {
	struct wm_foreign_change c;
	char node[64], id[256];
	struct wm_buf object;
};

static void free_told(struct told *t)
{
	wm_buf_done(&t->object);
}

static void take_told(struct wm_registry *from, const struct wm_logged *l, struct told *t)
{
	bool shared = l->version.origin == WM_ORIGIN_SHARED;

	memset(t, 0, sizeof(*t));
	snprintf(t->node, sizeof(t->node), "%s", l->node);
	snprintf(t->id, sizeof(t->id), "%s", l->id);
	wm_buf_init(&t->object, WM_RECORD_MAX);
	t->c = (struct wm_foreign_change){.version = l->version,
					  .node = t->node,
					  .id = t->id,
					  .gone = l->gone,
					  .gone_ms = l->gone_ms};
	t->c.version.writer = l->origin;
	if (!shared)
		t->c.version.origin = WM_ORIGIN_FOREIGN;
	if (l->gone)
		return;
	cr_assert_eq(
		wm_registry_object_encode(from, &l->origin, shared, l->node, l->id, &t->object), 0);
	t->c.object = t->object.data;
	t->c.len = t->object.len;
}

struct all {
	struct wm_registry *from;
	struct told *told;
	unsigned count;
};

static int gather(void *arg, const struct wm_logged *l)
{
	struct all *a = arg;

	a->told = realloc(a->told, (a->count + 1) * sizeof(*a->told));
	take_told(a->from, l, &a->told[a->count++]);
	return 0;
}

/* Everything that @p from has, in this order or from the last to the first. */
static void tell_all(struct wm_registry *from, struct wm_registry *to, bool backwards)
{
	struct all a = {.from = from};
	struct wm_foreign_change *c;

	cr_assert_eq(wm_registry_walk_objects(from, gather, &a), 0);
	c = calloc(a.count + 1, sizeof(*c));
	for (unsigned n = 0; n < a.count; n++) {
		a.told[n].c.node = a.told[n].node; /* they moved */
		a.told[n].c.id = a.told[n].id;
		c[backwards ? a.count - 1 - n : n] = a.told[n].c;
	}
	results = 0;
	cr_assert_eq(wm_registry_foreign(to, c, a.count, on_result, NULL, NULL), 0);
	wm_registry_finish(to);
	cr_assert_eq(results, 1);
	for (unsigned n = 0; n < a.count; n++)
		free_told(&a.told[n]);
	free(a.told);
	free(c);
}

static void tell_one(struct wm_registry *to, const struct wm_foreign_change *c)
{
	results = 0;
	cr_assert_eq(wm_registry_foreign(to, c, 1, on_result, NULL, NULL), 0);
	wm_registry_finish(to);
	cr_assert_eq(results, 1);
}

/* The object @p id of @p from, "" is its node. */
static struct told object(struct wm_registry *from, const char *id)
{
	const struct wm_node *n = wm_registry_node(from);
	const struct wm_instance *i = *id ? wm_node_instance(n, id) : n->holder;
	struct wm_logged l = {.version = i->version, .node = n->folded, .id = id};
	struct told t;
	uint32_t epoch;

	wm_registry_origin(from, &l.origin, &epoch);
	take_told(from, &l, &t);
	return t;
}

static void tell(struct wm_registry *from, const char *id, struct wm_registry *to)
{
	struct told t = object(from, id);

	t.c.node = t.node;
	t.c.id = t.id;
	tell_one(to, &t.c);
	free_told(&t);
}

static const struct wm_node *node_at(const struct wm_registry *r, const char *name)
{
	const struct wm_node *n = wm_registry_node_named(r, name);

	cr_assert_not_null(n, "%s", name);
	return n;
}

static struct wm_instance *at(const struct wm_registry *r, const char *node, const char *id)
{
	return wm_node_instance(node_at(r, node), id);
}

static const struct wm_check *serf(const struct wm_registry *r, const char *node)
{
	const struct wm_check *c = wm_node_check(node_at(r, node), WM_SERF_ID);

	cr_assert_not_null(c);
	return c;
}

static void store_statuses(struct wm_registry *r)
{
	struct answer a = {0};

	cr_assert_eq(wm_registry_sync(r, NULL, answered, &a), 0);
	wm_registry_flush(r);
	cr_assert_eq(a.called, 1);
}

static void put_checked(struct wm_registry *r, const char *id, uint32_t port)
{
	struct wm_check_draft c = {.name = "alive", .kind = WM_CHECK_TTL, .ttl_ms = 60000};
	struct wm_pair meta = {mut("version"), mut("1.2")};
	const char *tags[] = {"a", "b"};
	struct wm_instance_draft d = {.id = id,
				      .name = "Web",
				      .port = port,
				      .checks = &c,
				      .checks_count = 1,
				      .meta = &meta,
				      .meta_count = 1,
				      .tags = tags,
				      .tags_count = 2};

	cr_assert_eq(put_draft(r, &d), 0);
}

/* What is at its owner is the same elsewhere, in whatever order it comes, and after a restart. */
Test(foreign, objects_are_what_they_are_at_their_owner)
{
	for (int backwards = 0; backwards < 2; backwards++) {
		struct wm_registry *a = open_as("owner", backwards ? "a1" : "a0");
		struct wm_registry *b = open_as("other", backwards ? "b1" : "b0");
		const struct wm_instance *i;
		char *before, *after;

		put_checked(a, "w1", 80);
		put_checked(a, "w2", 81);
		cr_assert_eq(wm_registry_set_status(a, wm_registry_check(a, "service:w1"),
						    WM_PASSING, "fine"),
			     1);
		tell_all(a, b, backwards);
		cr_assert_eq(result.taken, 3, "%u %s", result.taken, result.text);
		i = at(b, "owner", "w1");
		cr_assert_not_null(i);
		cr_assert(wm_instance_foreign(i));
		cr_assert_str_eq(i->name, "Web");
		cr_assert_str_eq(i->meta[0].value, "1.2");
		cr_assert_eq(i->tags_count, 2);
		cr_assert_eq(i->status, WM_PASSING);
		cr_assert_str_eq(i->checks[0]->output, "fine");
		cr_assert_eq(i->checks[0]->kind, WM_CHECK_TTL);
		cr_assert_eq(i->checks[0]->ttl_ms, 60000);
		cr_assert_eq(i->version.seq, wm_registry_instance(a, "w1")->version.seq);
		cr_assert_eq(at(b, "owner", "w2")->status, WM_CRITICAL);
		cr_assert_str_eq(node_at(b, "owner")->id, wm_registry_node(a)->id);
		cr_assert_str_eq(node_at(b, "owner")->address, "10.0.0.9");
		cr_assert_eq(i->addr4.s_addr, node_at(b, "owner")->addr4.s_addr);
		cr_assert_eq(wm_registry_service(b, "web")->instances_count, 2);
		before = show(b);
		wm_registry_close(b);
		b = open_as("other", backwards ? "b1" : "b0");
		after = show(b);
		cr_assert_eq(at(b, "owner", "w1")->version.seq,
			     wm_registry_instance(a, "w1")->version.seq);
		cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
		tell_all(a, b, backwards);
		cr_assert_eq(result.stale, 3);
		free(before);
		free(after);
		wm_registry_close(a);
		wm_registry_close(b);
	}
}

/* Who is asked for what another said gives the same octets. */
Test(foreign, objects_are_told_on_as_they_came)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_peer_id id;
	struct wm_buf octets;
	struct told t;
	uint32_t epoch;

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	t = object(a, "w1");
	wm_registry_origin(a, &id, &epoch);
	wm_buf_init(&octets, WM_RECORD_MAX);
	cr_assert_eq(wm_registry_object_encode(b, &id, false, NULL, "w1", &octets), 0);
	cr_assert_eq(octets.len, t.object.len);
	cr_assert_arr_eq(octets.data, t.object.data, octets.len);
	cr_assert_eq(wm_registry_object_encode(b, &id, false, NULL, "none", &octets), WM_E_UNKNOWN);
	cr_assert_eq(wm_registry_object_encode(b, &id, false, NULL, "", &octets), 0);
	wm_buf_done(&octets);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Nobody hears of an object that is the same but for its version, which is kept all the same. */
Test(foreign, what_is_the_same_does_not_flap)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_buf heard;
	struct told t;
	uint64_t index;

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	wm_buf_init(&heard, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(b, record_change, &heard), 0);
	index = wm_registry_index(b);
	for (int n = 0; n < 2; n++) {
		t = object(a, n ? "" : "w1");
		t.c.node = t.node;
		t.c.id = t.id;
		t.c.version.epoch += 7;
		tell_one(b, &t.c);
		cr_assert_eq(result.taken, 1);
		cr_assert_eq(result.unchanged, 1);
		free_told(&t);
	}
	cr_assert_eq(heard.len, 0, "%s", heard.data);
	cr_assert_eq(wm_registry_index(b), index);
	wm_buf_done(&heard);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(at(b, "owner", "w1")->version.epoch,
		     wm_registry_instance(a, "w1")->version.epoch + 7);
	cr_assert_eq(node_at(b, "owner")->holder->version.epoch,
		     wm_registry_instance(a, "w1")->version.epoch + 7);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A status is announced as one, on the object that is there; the last of a batch stands. */
Test(foreign, statuses_are_as_their_owner_states_them)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_foreign_change all[2];
	const struct wm_instance *i;
	struct wm_buf heard;
	struct told t[2];

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	i = at(b, "owner", "w1");
	wm_buf_init(&heard, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(b, record_change, &heard), 0);
	wm_registry_set_status(a, wm_registry_check(a, "service:w1"), WM_PASSING, "up");
	store_statuses(a);
	tell(a, "w1", b);
	cr_assert_eq(result.taken, 1);
	cr_assert_eq(result.unchanged, 1, "no object changed");
	cr_assert_eq(at(b, "owner", "w1"), i);
	cr_assert_eq(i->status, WM_PASSING);
	cr_assert_str_eq(i->checks[0]->output, "up");
	cr_assert_str_eq(heard.data, "status web/w1/service:w1;");
	for (unsigned n = 0; n < 2; n++) {
		wm_registry_set_status(a, wm_registry_check(a, "service:w1"),
				       n ? WM_PASSING : WM_CRITICAL, n ? "again" : "down");
		store_statuses(a);
		t[n] = object(a, "w1");
		t[n].c.node = t[n].node;
		t[n].c.id = t[n].id;
		all[n] = t[n].c;
	}
	cr_assert_eq(wm_registry_foreign(b, all, 2, on_result, NULL, NULL), 0);
	wm_registry_finish(b);
	cr_assert_eq(i->status, WM_PASSING);
	cr_assert_str_eq(i->checks[0]->output, "again");
	all[1] = all[0];
	tell_one(b, all);
	cr_assert_eq(result.stale, 1);
	free_told(&t[0]);
	free_told(&t[1]);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_buf_done(&heard);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A tombstone removes, stays, and keeps what is older from coming back; also of what never was. */
Test(foreign, the_dead_stay_dead)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b"),
			   *c = open_as("third", "c");
	struct told t;

	put_checked(a, "w1", 80);
	t = object(a, "w1");
	t.c.node = t.node;
	t.c.id = t.id;
	tell_all(a, b, false);
	cr_assert_eq(del(a, "w1"), 0);
	tell_all(a, b, false);
	cr_assert_eq(result.taken, 1, "%u %u %s", result.taken, result.stale, result.text);
	cr_assert_null(at(b, "owner", "w1"));
	cr_assert_null(wm_registry_service(b, "web"));
	for (int n = 0; n < 2; n++) { /* also after a restart */
		tell_one(b, &t.c);
		cr_assert_eq(result.stale, 1);
		cr_assert_null(at(b, "owner", "w1"));
		wm_registry_close(b);
		b = open_as("other", "b");
	}
	tell_all(a, c, true); /* from nothing, and before its node is known */
	cr_assert_eq(result.taken, 2);
	for (int n = 0; n < 2; n++) {
		tell_one(c, &t.c);
		cr_assert_eq(result.stale, 1, "%u %s", n, result.text);
		cr_assert_null(at(c, "owner", "w1"));
		wm_registry_close(c);
		c = open_as("third", "c");
	}
	put_checked(a, "w1", 81);
	tell(a, "w1", c);
	cr_assert_eq(result.taken, 1);
	cr_assert_eq(at(c, "owner", "w1")->port, 81);
	cr_assert_eq(c->history.count, 0);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
	wm_registry_close(c);
}

/* --- what is refused -------------------------------------------------------------------------- */
Test(foreign, what_is_this_agents_own_is_nobody_elses)
{
	struct wm_registry *a = open_as("same", "a"), *b = open_as("Same", "b");
	struct told t;
	uint32_t epoch;

	put_checked(a, "w1", 80);
	put_checked(b, "w1", 90);
	tell_all(a, b, false);
	cr_assert_eq(result.refused, 2);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert_not_null(strstr(result.text, "\"Same\" is this agent's"), "%s", result.text);
	cr_assert_eq(wm_registry_instance(b, "w1")->port, 90);
	t = object(a, "w1"); /* of its own log */
	t.c.node = t.node;
	t.c.id = t.id;
	wm_registry_origin(b, &t.c.version.writer, &epoch);
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert_eq(wm_registry_nodes(b), 1);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
}

Test(foreign, a_node_is_of_one_agent)
{
	struct wm_registry *a = open_as("twice", "a"), *c = open_as("twice", "c"),
			   *b = open_as("other", "b");

	put_checked(a, "w1", 80);
	put_checked(c, "w2", 81);
	tell_all(a, b, false);
	tell_all(c, b, false);
	cr_assert_eq(result.refused, 2);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert_not_null(strstr(result.text, "claimed by two agents"), "%s", result.text);
	cr_assert_not_null(strstr(result.text, wm_registry_node(a)->id));
	cr_assert_null(at(b, "twice", "w2"));
	/* a machine that was replaced, whose disk is lost */
	cr_assert_eq(wm_registry_set_alive(b, "twice", false, NULL), 0);
	tell_all(c, b, true);
	cr_assert_eq(result.taken, 2, "%s", result.text);
	cr_assert_null(at(b, "twice", "w1"));
	cr_assert_not_null(at(b, "twice", "w2"));
	cr_assert_str_eq(node_at(b, "twice")->id, wm_registry_node(c)->id);
	cr_assert_eq(serf(b, "twice")->status, WM_PASSING);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_not_null(at(b, "twice", "w2"));
	wm_registry_close(a);
	wm_registry_close(b);
	wm_registry_close(c);
}

/* They come over the network. */
Test(foreign, hostile_records_are_refused)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct told t;

	put_checked(a, "w1", 80);
	t = object(a, "w1");
	t.c.node = t.node;
	t.c.id = t.id;
	for (size_t len = 0; len < t.object.len; len++) {
		t.c.len = len;
		tell_one(b, &t.c);
		cr_assert_eq(result.refused, 1);
		cr_assert_eq(result.code, WM_E_INVALID);
	}
	t.c.len = t.object.len;
	t.object.data[2] = 99;
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_STORE_VERSION);
	t.object.data[2] = 11;
	for (size_t n = 4; n < t.object.len; n++) {
		t.object.data[n] ^= 1;
		tell_one(b, &t.c);
		cr_assert_eq(result.refused, 1);
		t.object.data[n] ^= 1;
	}
	t.c.id = "else";
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_INVALID);
	t.c.id = t.id;
	t.c.version.origin = WM_ORIGIN_SHARED; /* a check that we would have to run, perhaps */
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_INVALID);
	t.c.version.origin = WM_ORIGIN_OWN;
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_INVALID);
	cr_assert_eq(wm_registry_nodes(b), 1);
	t.c.version.origin = WM_ORIGIN_FOREIGN;
	tell_one(b, &t.c);
	cr_assert_eq(result.taken, 1);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* --- liveness --------------------------------------------------------------------------------- */
Test(foreign, a_node_whose_agent_is_dead_leaves_with_all_that_is_on_it)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_buf heard;

	cr_assert_eq(put(a, "w1", "web", 80), 0);
	tell_all(a, b, false);
	cr_assert_str_eq(serf(b, "owner")->name, "Serf Health Status");
	cr_assert_str_eq(serf(b, "owner")->output, "Agent alive and reachable");
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_buf_init(&heard, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(b, record_change, &heard), 0);
	cr_assert_eq(wm_registry_set_alive(b, "Owner", false, NULL), 0);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_CRITICAL, "at once");
	cr_assert_str_eq(serf(b, "owner")->output, "Agent not live or unreachable");
	cr_assert_not_null(strstr(heard.data, "status web/w1;"), "%s", heard.data);
	tell(a, "", b);
	cr_assert_eq(wm_registry_set_alive(b, "owner", false, NULL), 0);
	put_checked(a, "w2", 81);
	tell(a, "w2", b);
	cr_assert_eq(at(b, "owner", "w2")->status, WM_CRITICAL);
	cr_assert_eq(wm_registry_set_alive(b, "owner", true, NULL), 0);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	cr_assert_eq(wm_registry_set_alive(b, "other", false, NULL), WM_E_UNKNOWN);
	cr_assert_eq(wm_registry_set_alive(b, "nobody", false, NULL), WM_E_UNKNOWN);
	wm_registry_set_alive(b, "owner", false, NULL);
	wm_registry_flush(b);
	wm_buf_done(&heard);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(serf(b, "owner")->status, WM_PASSING, "it is not stored");
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A check of the node's survives beside serfHealth, and serfHealth beside it. */
Test(foreign, a_nodes_own_checks_are_its_agents)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_check_draft d = {
		.id = "disk", .name = "disk", .kind = WM_CHECK_TTL, .ttl_ms = 60000};

	cr_assert_eq(put(a, "w1", "web", 80), 0);
	tell_all(a, b, false);
	cr_assert_eq(wm_registry_check_register(a, "", &d, NULL, NULL, NULL), 0);
	d.id = d.name = WM_SERF_ID; /* not its to say */
	d.has_status = true;
	d.status = WM_WARNING;
	cr_assert_eq(wm_registry_check_register(a, "", &d, NULL, NULL, NULL), 0);
	wm_registry_flush(a);
	tell(a, "", b);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	cr_assert_eq(node_at(b, "owner")->holder->checks_count, 2);
	cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_CRITICAL);
	wm_registry_set_status(a, wm_registry_check(a, "disk"), WM_PASSING, NULL);
	store_statuses(a);
	tell(a, "", b);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(node_at(b, "owner")->holder->checks_count, 2);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* --- beside the catalog ----------------------------------------------------------------------- */
static int catalog(struct wm_registry *r, const struct wm_catalog_op *ops, unsigned count,
		   struct answer *a)
{
	const struct wm_catalog_batch b = {.ops = ops, .count = count, .done = answered, .arg = a};
	unsigned failed;

	*a = (struct answer){0};
	cr_assert_eq(wm_registry_catalog(r, &b, &failed, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(a->called, 1);
	return a->code;
}

/* A write through this agent on what another owns is refused, and the owner can be asked for. */
Test(foreign, the_catalog_does_not_change_what_an_agent_owns)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	const struct wm_node_draft facts = {.address = "10.9.9.9"}, nothing = {0};
	const struct wm_check_draft check = {.id = "c", .name = "c", .kind = WM_CHECK_STATED};
	const struct wm_instance_draft web = {.id = "w1", .name = "web", .port = 1};
	const struct wm_instance_draft own = {.id = "x", .name = "web", .port = 1};
	const struct wm_catalog_op bad[] = {
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = "owner", .id = "w1"},
		{.object = WM_OBJECT_SERVICE,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .service = &web},
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "owner"},
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &facts},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_DELETE,
		 .node = "owner",
		 .id = "service:w1"},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .check = &check,
		 .check_service = "w1"},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .check = &check,
		 .check_service = ""},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_DELETE,
		 .node = "owner",
		 .id = WM_SERF_ID},
	};
	const struct wm_catalog_op fine[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &nothing},
		{.object = WM_OBJECT_SERVICE,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .service = &own},
	};
	struct wm_registry_owner owner;
	char *before, *after;
	struct answer answer;

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	before = show(b);
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++) {
		cr_assert_eq(catalog(b, &bad[n], 1, &answer), WM_E_CONFLICT, "%u", n);
		cr_assert(strstr(answer.text, "owner") || strstr(answer.text, "another agent"),
			  "%s", answer.text);
	}
	after = show(b);
	cr_assert_str_eq(before, after);
	cr_assert_eq(wm_registry_owner(b, "OWNER", "w1", &owner), 0);
	cr_assert_eq(owner.origin, WM_ORIGIN_FOREIGN);
	cr_assert_str_eq(owner.agent->id, wm_registry_node(a)->id);
	cr_assert_eq(catalog(b, fine, 2, &answer), 0, "%s", answer.text);
	cr_assert_eq(wm_registry_owner(b, "owner", "x", &owner), 0);
	cr_assert_eq(owner.origin, WM_ORIGIN_SHARED);
	cr_assert_null(owner.agent);
	cr_assert_eq(wm_registry_owner(b, NULL, "", &owner), 0);
	cr_assert_eq(owner.origin, WM_ORIGIN_OWN);
	cr_assert_eq(owner.agent, wm_registry_node(b));
	cr_assert_eq(wm_registry_owner(b, "owner", "none", &owner), WM_E_UNKNOWN);
	free(before);
	free(after);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Shared objects: the newer clock stands, of equal ones the greater writer; in any order. */
Test(foreign, shared_objects_are_taken_with_their_clock_and_writer)
{
	struct wm_registry *a = open_as("one", "a"), *b = open_as("two", "b");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	const struct wm_check_draft check = {.id = "c",
					     .name = "c",
					     .kind = WM_CHECK_STATED,
					     .has_status = true,
					     .status = WM_WARNING};
	struct wm_instance_draft d = {.id = "e1", .name = "ext", .port = 5};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &d},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = "Ext",
		 .check = &check,
		 .check_service = "e1"},
	};
	struct wm_catalog_op gone = {
		.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "ext"};
	struct wm_version v;
	struct answer answer;

	cr_assert_eq(catalog(a, ops, 3, &answer), 0, "%s", answer.text);
	tell_all(a, b, true);
	cr_assert_eq(result.refused, 0, "%s", result.text);
	v = at(a, "ext", "e1")->version;
	cr_assert_eq(memcmp(&at(b, "ext", "e1")->version, &v, sizeof(v)), 0);
	cr_assert(!wm_peer_id_none(&v.writer));
	cr_assert_str_eq(node_at(b, "ext")->name, "Ext");
	cr_assert_eq(at(b, "ext", "e1")->status, WM_WARNING);
	cr_assert_eq(at(b, "ext", "e1")->addr4.s_addr, node_at(b, "ext")->addr4.s_addr);
	wm_registry_close(b);
	b = open_as("two", "b");
	cr_assert_eq(memcmp(&at(b, "ext", "e1")->version, &v, sizeof(v)), 0);
	d.port = 6;
	cr_assert_eq(catalog(b, ops, 2, &answer), 0);
	cr_assert(wm_version_newer(&at(b, "ext", "e1")->version, &v));
	tell_all(a, b, false);
	cr_assert_eq(at(b, "ext", "e1")->port, 6);
	tell_all(b, a, false);
	cr_assert_eq(at(a, "ext", "e1")->port, 6);
	cr_assert_eq(catalog(a, &gone, 1, &answer), 0);
	tell_all(a, b, true);
	cr_assert_null(wm_registry_node_named(b, "ext"));
	cr_assert_null(wm_registry_service(b, "ext"));
	wm_registry_close(b);
	b = open_as("two", "b");
	cr_assert_null(wm_registry_node_named(b, "ext"));
	cr_assert_eq(b->history.count, 2);
	cr_assert_eq(catalog(a, ops, 2, &answer), 0); /* what was removed comes again */
	tell_all(a, b, false);
	cr_assert_eq(at(b, "ext", "e1")->port, 6);
	cr_assert_eq(b->history.count, 0);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Port 5 stands against all others. */
static int five_stands(void *arg, const struct wm_registry_stand *s, struct wm_err *e)
{
	++*(unsigned *)arg;
	cr_assert_str_eq(s->node, "ext");
	return s->here && s->here->port == 5 && s->in->port != 5
		       ? wm_err_set(e, WM_E_CONFLICT, "five stands")
		       : 0;
}

/* Another rule than the clock: what is written here is judged by it before it is stored, within a
 * batch too; what others say was judged. */
Test(foreign, a_rule_judges_shared_objects_before_they_are_stored)
{
	struct wm_registry *a = open_as("one", "a"), *b = open_as("two", "b");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	struct wm_instance_draft five = {.id = "e1", .name = "ext", .port = 5},
				 six = {.id = "e1", .name = "ext", .port = 6};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &five},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &six},
	};
	struct answer answer;
	unsigned asked = 0;

	wm_registry_ask_stands(b, five_stands, &asked);
	cr_assert_eq(catalog(a, ops, 2, &answer), 0);
	ops[2].service = &six;
	cr_assert_eq(catalog(b, ops, 1, &answer), 0);
	cr_assert_eq(catalog(b, ops + 2, 1, &answer), 0, "%s", answer.text);
	cr_assert(wm_version_newer(&at(b, "ext", "e1")->version, &at(a, "ext", "e1")->version));
	tell_all(a, b, false); /* its clock is behind, and the rule said that it stands */
	cr_assert_eq(at(b, "ext", "e1")->port, 5);
	tell_all(a, b, false);
	cr_assert_eq(result.stale, 3, "the same again: %u", result.stale);
	cr_assert_eq(catalog(b, ops + 2, 1, &answer), WM_E_CONFLICT);
	cr_assert_str_eq(answer.text, "five stands");
	cr_assert_eq(at(b, "ext", "e1")->port, 5);
	cr_assert_gt(asked, 0);
	cr_assert_eq(catalog(a, ops + 2, 1, &answer), 0, "without a rule the clock decides");
	wm_registry_close(a);
	wm_registry_close(b);
}

/* What an agent registered stands above what the catalog has under the name, whoever came first. */
Test(foreign, an_agents_word_stands_above_the_catalogs)
{
	struct wm_registry *a = open_as("owner", "a"), *c = open_as("writer", "c");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	const struct wm_instance_draft d = {.id = "w1", .name = "other", .port = 5};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "owner", .service = &d}};
	struct answer answer;
	char *seen[2];

	put_checked(a, "w1", 80);
	cr_assert_eq(catalog(c, ops, 2, &answer), 0);
	for (int n = 0; n < 2; n++) {
		struct wm_registry *b = open_as("other", n ? "b1" : "b0");

		tell_all(n ? a : c, b, n);
		tell_all(n ? c : a, b, n);
		cr_assert_eq(at(b, "owner", "w1")->port, 80);
		cr_assert_str_eq(node_at(b, "owner")->id, wm_registry_node(a)->id);
		cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
		cr_assert_null(wm_registry_service(b, "other"));
		seen[n] = strdup(node_at(b, "owner")->address);
		free(show(b));
		wm_registry_close(b);
		b = open_as("other", n ? "b1" : "b0");
		cr_assert_eq(at(b, "owner", "w1")->port, 80);
		wm_registry_close(b);
	}
	cr_assert_str_eq(seen[0], seen[1]);
	free(seen[0]);
	free(seen[1]);
	tell_all(c, a, false);
	cr_assert_eq(result.refused, 2);
	cr_assert_eq(wm_registry_instance(a, "w1")->port, 80);
	wm_registry_close(a);
	wm_registry_close(c);
}

/* An id of a check goes over to another instance, and the words come in the wrong order. */
Test(foreign, ids_of_checks_are_one_objects)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_check_draft c = {
		.id = "c", .name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 60000, .has_status = true};
	struct wm_instance_draft d = {.id = "w1",
				      .name = "web",
				      .port = 1,
				      .checks = &c,
				      .checks_count = 1,
				      .replace_checks = true};
	char *shown;

	cr_assert_eq(put_draft(a, &d), 0);
	tell_all(a, b, false);
	d.checks_count = 0;
	cr_assert_eq(put_draft(a, &d), 0);
	d.id = "w2";
	d.checks_count = 1;
	cr_assert_eq(put_draft(a, &d), 0);
	tell(a, "w2", b);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	cr_assert_eq(at(b, "owner", "w2")->checks_count, 1);
	cr_assert_eq(at(b, "owner", "w1")->checks_count, 0);
	tell(a, "w1", b);
	cr_assert_eq(result.taken, 1);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_str_eq(wm_node_check(node_at(b, "owner"), "c")->instance->id, "w2");
	shown = show(b);
	free(shown);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* --- an agent goes ---------------------------------------------------------------------------- */
Test(foreign, an_agent_is_forgotten_whole_and_without_a_word)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	const struct wm_instance_draft d = {.id = "x", .name = "web", .port = 1};
	const struct wm_node_draft nothing = {0};
	const struct wm_catalog_op shared[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &nothing},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "owner", .service = &d}};
	struct answer answer = {0};
	struct wm_peer_id id, self;
	char text[32];
	uint32_t epoch;

	for (unsigned n = 0; n < 700; n++) { /* more than leave in one turn */
		snprintf(text, sizeof(text), "w%u", n);
		cr_assert_eq(put(a, text, "many", 1), 0);
	}
	cr_assert_eq(del(a, "w3"), 0);
	tell_all(a, b, true);
	cr_assert_eq(result.taken, 701);
	cr_assert_eq(wm_registry_instances(b), 699);
	wm_registry_origin(a, &id, &epoch);
	wm_registry_origin(b, &self, &epoch);
	cr_assert_eq(wm_registry_forget_origin(b, &self, NULL, NULL, NULL), WM_E_CONFLICT);
	for (int n = 0; n < 2; n++) {
		if (n) {
			tell_all(a, b, false);
			cr_assert_eq(catalog(b, shared, 2, &answer), 0, "%s", answer.text);
		}
		answer.called = 0;
		cr_assert_eq(wm_registry_forget_origin(b, &id, answered, &answer, NULL), 0);
		for (unsigned k = 0; k < 10 && !answer.called; k++)
			wm_registry_finish(b);
		cr_assert_eq(answer.code, 0, "%s", answer.text);
		cr_assert_eq(wm_registry_instances(b), n);
		cr_assert_eq(wm_registry_nodes(b), 1 + n);
		cr_assert_eq(b->history.count, 0, "neither its tombstones nor ours");
		free(show(b));
		wm_registry_close(b);
		b = open_as("other", "b");
		cr_assert_eq(wm_registry_instances(b), n);
		cr_assert_eq(b->history.count, 0);
	}
	cr_assert_eq(wm_registry_checks(b), 0, "nobody is there who could be alive");
	tell_all(a, b, false);
	cr_assert_eq(wm_registry_instances(b), 700);
	cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* It goes without a word, and comes back under the version that it had. */
Test(foreign, what_is_not_wanted_goes_without_a_tombstone)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_foreign_change forget[2] = {{.id = "w1", .forget = true},
					      {.id = "w2", .forget = true}};
	uint32_t epoch;

	put_checked(a, "w1", 80);
	cr_assert_eq(put(a, "w2", "db", 2), 0);
	tell_all(a, b, false);
	for (unsigned n = 0; n < 2; n++) {
		forget[n].version.origin = WM_ORIGIN_FOREIGN;
		wm_registry_origin(a, &forget[n].version.writer, &epoch);
	}
	tell_one(b, &forget[0]);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	cr_assert_null(at(b, "owner", "w1"));
	cr_assert_not_null(at(b, "owner", "w2"));
	tell_one(b, &forget[0]);
	cr_assert_eq(result.stale, 1, "it is not there");
	tell_one(b, &forget[1]);
	cr_assert_eq(wm_registry_nodes(b), 1, "the node went with the last that was on it");
	cr_assert_eq(b->history.count, 0);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(wm_registry_nodes(b), 1);
	cr_assert_eq(wm_registry_instances(b), 0);
	tell_all(a, b, false);
	cr_assert_eq(result.taken, 3);
	cr_assert_eq(at(b, "owner", "w1")->port, 80);
	forget[0].id = "";
	tell_one(b, &forget[0]);
	cr_assert_eq(result.refused, 1);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Another node.name is another node: what is on it comes over with it. */
Test(foreign, an_agent_is_renamed)
{
	struct wm_registry *a = open_as("before", "a"), *b = open_as("other", "b");
	struct wm_peer_id id;
	uint32_t was, epoch;

	put_checked(a, "w1", 80);
	put_checked(a, "w2", 81);
	cr_assert_eq(del(a, "w2"), 0);
	tell_all(a, b, false);
	wm_registry_origin(a, &id, &was);
	wm_registry_close(a);
	a = open_as("after", "a");
	wm_registry_origin(a, &id, &epoch);
	cr_assert_gt(epoch, was, "its log begins anew");
	cr_assert_eq(wm_registry_instance(a, "w1")->version.epoch, epoch);
	tell_all(a, b, true);
	cr_assert_eq(result.refused, 0, "%s", result.text);
	cr_assert_null(wm_registry_node_named(b, "before"));
	cr_assert_eq(at(b, "after", "w1")->port, 80);
	cr_assert_eq(wm_registry_instances(b), 1);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(at(b, "after", "w1")->port, 80);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Without others what they said is forgotten; a node on which the catalog has something stays. */
Test(foreign, without_a_mesh_nothing_of_it_is_there)
{
	struct wm_registry *a = open_as("owner", "a"), *c = open_as("third", "c"),
			   *b = open_as("n1", "state");
	const struct wm_instance_draft d = {.id = "x", .name = "web", .port = 1};
	const struct wm_node_draft nothing = {0};
	const struct wm_catalog_op shared[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &nothing},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "owner", .service = &d}};
	struct answer answer;

	put_checked(a, "w1", 80);
	put_checked(c, "w2", 80);
	tell_all(a, b, false);
	tell_all(c, b, false);
	cr_assert_eq(catalog(b, shared, 2, &answer), 0);
	wm_registry_close(b);
	for (int n = 0; n < 2; n++) {
		b = open_at(db);
		cr_assert_eq(wm_registry_nodes(b), 2);
		cr_assert_eq(wm_registry_instances(b), 1);
		cr_assert_eq(wm_registry_checks(b), 0);
		cr_assert_not_null(at(b, "owner", "x"));
		free(show(b));
		wm_registry_close(b);
	}
	wm_registry_close(a);
	wm_registry_close(c);
}

/* --- outward ---------------------------------------------------------------------------------- */
struct log {
	struct wm_registry *r;
	uint64_t seq, clock;
	unsigned count, gone;
	char last[64];
};

static void on_logged(void *arg, const struct wm_logged *l)
{
	struct log *log = arg;

	if (l->version.origin == WM_ORIGIN_OWN) {
		cr_assert_eq(l->version.seq, log->seq + 1, "in order, without a gap");
		log->seq = l->version.seq;
	} else {
		cr_assert_eq(l->version.origin, WM_ORIGIN_SHARED);
		cr_assert_gt(l->version.seq, log->clock);
		log->clock = l->version.seq;
	}
	if (!l->gone) {
		struct wm_buf b;

		wm_buf_init(&b, WM_RECORD_MAX);
		cr_assert_eq(wm_registry_object_encode(log->r, &l->origin,
						       l->version.origin == WM_ORIGIN_SHARED,
						       l->node, l->id, &b),
			     0);
		wm_buf_done(&b);
	}
	log->count++;
	log->gone += l->gone;
	snprintf(log->last, sizeof(log->last), "%s/%s", l->node, l->id);
}

/* Each change is told once it is stored, in the order of the log; also of writes that share a
 * batch, of what was refused in between, and of statuses. */
Test(foreign, own_changes_are_told_in_the_order_of_the_log)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_check_draft bad = {.id = "c", .name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 1000};
	struct wm_instance_draft d = {.id = "w", .name = "web", .port = 1};
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "ext", .service = &d}};
	struct log log = {.r = a, .seq = a->history.seq};
	struct answer answer;

	wm_registry_on_logged(a, on_logged, &log);
	for (unsigned n = 0; n < 50; n++) {
		d.port = n;
		cr_assert_eq(wm_registry_register(a, &d, NULL, NULL, NULL), 0);
		if (n % 7 == 0)
			cr_assert_eq(wm_registry_check_register(a, "none", &bad, NULL, NULL, NULL),
				     0);
		if (n % 9 == 8)
			cr_assert_eq(wm_registry_deregister(a, "w", NULL, NULL, NULL), 0);
		if (n % 5 == 4)
			wm_registry_flush(a);
	}
	wm_registry_finish(a);
	cr_assert_eq(log.seq, a->history.seq);
	cr_assert_eq(log.count, 55);
	put_checked(a, "w1", 80);
	wm_registry_set_status(a, wm_registry_check(a, "service:w1"), WM_PASSING, NULL);
	store_statuses(a);
	cr_assert_eq(log.count, 57);
	cr_assert_str_eq(log.last, "owner/w1");
	cr_assert_eq(wm_registry_maintenance(a, "", true, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_registry_maintenance(a, "", false, NULL, NULL, NULL, NULL), 0);
	wm_registry_flush(a);
	cr_assert_str_eq(log.last, "owner/");
	cr_assert_eq(log.count, 59);
	cr_assert_eq(catalog(a, ops, 2, &answer), 0);
	cr_assert_eq(log.clock, at(a, "ext", "w")->version.seq);
	cr_assert_str_eq(log.last, "ext/w");
	put_checked(b, "w5", 80);
	tell_all(b, a, false);
	cr_assert_eq(log.count, 61, "what others say is not told as ours");
	wm_registry_close(a);
	a = open_as("owner", "a");
	cr_assert_gt(a->history.seq, log.seq, "no number is given twice: the node's of the start");
	wm_registry_close(a);
	wm_registry_close(b);
}
