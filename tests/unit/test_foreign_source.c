/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_foreign_source.c - objects of a source's nodes: there without a mesh, told to nobody, and
 * nobody else's to say. */
#include "foreign_help.h"

TestSuite(foreign_source, .init = make_dir, .fini = rm_dir, .timeout = 300);

static struct wm_registry *open_alone(const char *node)
{
	struct wm_registry_config c = config(db);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	c.node_name = node;
	c.sync = false;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

/* What @p from says of @p id, as if it were of a source's node @p node. */
static struct told of_source(struct wm_registry *from, const char *id, const char *node,
			     uint64_t seq)
{
	struct told t = {0};
	struct wm_node *n;
	char text[WM_PEER_ID_TEXT];
	struct wm_instance *i = wm_registry_instance(from, id), *copy = NULL;
	struct wm_buf record;

	t.c = (struct wm_foreign_change){
		.version = {.origin = WM_ORIGIN_FOREIGN, .epoch = 1, .seq = seq}, .source = true};
	wm_peer_id_source("kubernetes", node, &t.c.version.writer);
	wm_peer_id_format(&t.c.version.writer, text);
	n = wm_node_new(node, &(struct wm_node_draft){.id = text, .address = "10.0.0.7"});
	wm_buf_init(&t.object, WM_RECORD_MAX);
	wm_buf_init(&record, WM_RECORD_MAX);
	if (i) {
		copy = wm_instance_clone(i);
		copy->node = n;
	}
	cr_assert_eq(wm_record_put_told(&record, copy ? copy : n->holder), 0);
	wm_buf_put(&t.object, record.data, record.len);
	snprintf(t.id, sizeof(t.id), "%s", id);
	t.c.object = t.object.data;
	t.c.len = t.object.len;
	wm_buf_done(&record);
	wm_instance_free(copy, false);
	wm_node_free(n);
	return t;
}

static void say(struct wm_registry *to, struct told *t)
{
	t->c.id = t->id;
	tell_one(to, &t->c);
}

static void bring(struct wm_registry *from, struct wm_registry *to, const char *id, uint64_t seq)
{
	struct told t = of_source(from, id, "k8s-a", seq);

	say(to, &t);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	free_told(&t);
}

static int count_object(void *arg, const struct wm_logged *l)
{
	(void)l;
	++*(unsigned *)arg;
	return 0;
}

Test(foreign_source, it_outlives_a_start_without_a_mesh)
{
	struct wm_registry *a = open_as("owner", "a"), *r = open_alone("n1");
	char *before, *after;

	put_checked(a, "w1", 80);
	put_checked(a, "w2", 81);
	bring(a, r, "", 1);
	bring(a, r, "w1", 2);
	bring(a, r, "w2", 3);
	cr_assert_null(wm_node_check(node_at(r, "k8s-a"), WM_SERF_ID), "no agent is there");
	before = show(r);
	wm_registry_close(r);
	r = open_alone("n1");
	after = show(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(at(r, "k8s-a", "w1")->version.seq, 2);
	cr_assert(wm_instance_of_source(at(r, "k8s-a", "w1")));
	free(before);
	free(after);
	wm_registry_close(a);
	wm_registry_close(r);
}

Test(foreign_source, it_is_told_to_nobody)
{
	struct wm_registry *a = open_as("owner", "a"), *r = open_as("other", "b");
	unsigned count = 0, later = 0;
	struct wm_buf b;

	put(r, "own", "mine", 1);
	cr_assert_eq(wm_registry_walk_objects(r, count_object, &count), 0);
	put_checked(a, "w1", 80);
	bring(a, r, "", 1);
	bring(a, r, "w1", 2);
	cr_assert_eq(wm_registry_walk_objects(r, count_object, &later), 0);
	cr_assert_eq(later, count);
	wm_buf_init(&b, WM_RECORD_MAX);
	cr_assert_eq(wm_registry_object_encode(r, &at(r, "k8s-a", "w1")->version.writer, false,
					       NULL, "w1", &b),
		     WM_E_UNKNOWN);
	wm_buf_done(&b);
	wm_registry_close(a);
	wm_registry_close(r);
}

Test(foreign_source, no_agent_may_say_that_it_is_one)
{
	struct wm_registry *a = open_as("owner", "a"), *r = open_as("other", "b");
	struct told t;

	put_checked(a, "w1", 80);
	bring(a, r, "", 1);
	bring(a, r, "w1", 2);
	t = of_source(a, "w1", "k8s-a", 9);
	t.c.source = false; /* as it comes from the wire */
	say(r, &t);
	cr_assert_eq(result.refused, 1);
	cr_assert_eq(result.code, WM_E_CONFLICT, "%s", result.text);
	t.c.object = NULL;
	t.c.len = 0;
	t.c.gone = true;
	say(r, &t);
	cr_assert_eq(result.refused, 1);
	t.c.version.origin = WM_ORIGIN_SHARED;
	t.c.node = "elsewhere";
	say(r, &t);
	cr_assert_eq(result.refused, 1);
	cr_assert_not_null(at(r, "k8s-a", "w1"));
	free_told(&t);
	t = object(a, "w1"); /* and a source says nothing of an agent's */
	t.c.source = true;
	say(r, &t);
	cr_assert_eq(result.refused, 1);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(r);
}

Test(foreign_source, names_of_nodes_are_not_taken_from_agents_nor_by_them)
{
	struct wm_registry *a = open_as("k8s-a", "a"), *r = open_as("other", "b");
	struct told t;

	put_checked(a, "w1", 80);
	tell(a, "", r);
	cr_assert_eq(result.taken, 1);
	cr_assert_eq(wm_registry_set_alive(r, "k8s-a", false, NULL), 0);
	t = of_source(a, "", "k8s-a", 1); /* not even of one that is dead */
	say(r, &t);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert(strstr(result.text, "k8s-a"), "%s", result.text);
	free_told(&t);
	t = of_source(a, "w1", "other", 1);
	say(r, &t);
	cr_assert_eq(result.code, WM_E_CONFLICT, "this agent's own name");
	free_told(&t);
	wm_registry_close(r);
	r = open_as("third", "c");
	bring(a, r, "", 1);
	tell(a, "", r); /* the agent comes later */
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert(strstr(result.text, "source"), "%s", result.text);
	cr_assert_eq(wm_registry_set_alive(r, "k8s-a", false, NULL), WM_E_UNKNOWN);
	wm_registry_close(a);
	wm_registry_close(r);
}

static int count_gone(void *arg, const struct wm_logged *l)
{
	*(unsigned *)arg += l->gone;
	return 0;
}

Test(foreign_source, what_goes_leaves_no_tombstone)
{
	struct wm_registry *a = open_as("owner", "a"), *r = open_as("other", "b");
	unsigned gone = 0;
	struct told t;

	put_checked(a, "w1", 80);
	bring(a, r, "", 1);
	bring(a, r, "w1", 2);
	for (unsigned n = 0; n < 2; n++) {
		t = of_source(a, n ? "" : "w1", "k8s-a", 3 + n);
		t.c.object = NULL;
		t.c.len = 0;
		t.c.gone = true;
		say(r, &t);
		cr_assert_eq(result.taken, 1, "%s", result.text);
		free_told(&t);
	}
	cr_assert_null(wm_registry_node_named(r, "k8s-a"));
	cr_assert_eq(wm_registry_walk_objects(r, count_gone, &gone), 0);
	cr_assert_eq(gone, 0);
	bring(a, r, "w1", 1); /* an older number is as good: nothing is remembered */
	wm_registry_close(a);
	wm_registry_close(r);
}
