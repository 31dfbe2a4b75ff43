/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_foreign_log.c - the log that an agent has of its own objects, for others, and its life. */
#include "foreign_help.h"

TestSuite(foreign_log, .init = make_dir, .fini = rm_dir, .timeout = 300);

/* Another node.name is another node: what is on it comes over with it. */
Test(foreign_log, an_agent_is_renamed)
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
Test(foreign_log, without_a_mesh_nothing_of_it_is_there)
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
Test(foreign_log, own_changes_are_told_in_the_order_of_the_log)
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

/* An agent whose store is of an earlier day says of its objects what is newer than all that it said
 * before, a removal too. */
Test(foreign_log, what_an_older_store_has_is_news_in_a_new_epoch)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	uint64_t stored;
	char copy[300];

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	wm_registry_close(a);
	snprintf(copy, sizeof(copy), "cp -a %s/a %s/old", dir, dir);
	cr_assert_eq(system(copy), 0);
	a = open_as("owner", "a");
	stored = wm_registry_stored_seq(a);
	cr_assert_lt(stored, wm_registry_log_seq(a), "this run says something of its own");
	cr_assert_eq(del(a, "w1"), 0);
	tell_all(a, b, false);
	cr_assert_null(at(b, "owner", "w1"));
	wm_registry_close(a);

	a = open_as("owner", "old");
	cr_assert_eq(wm_registry_stored_seq(a), stored);
	tell(a, "w1", b);
	cr_assert_eq(result.stale, 1);
	(void)wm_registry_new_epoch(a, 0);
	store_statuses(a);
	tell(a, "w1", b);
	cr_assert_eq(result.taken, 1);
	cr_assert_eq(at(b, "owner", "w1")->port, 80);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Others know of the newest number, though it was a removal whose tombstone went: the store must,
 * too, or it would pass for one of an earlier day at the next start. */
Test(foreign_log, the_newest_number_outlives_its_tombstone)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	uint64_t newest;

	put_checked(a, "w1", 80);
	put_checked(b, "x1", 80);
	cr_assert_eq(del(a, "w1"), 0);
	newest = wm_registry_log_seq(a);
	cr_assert_eq(a->history.count, 1);
	a->tombstone_ttl_s = 0;
	tell_all(b, a, false); /* a write that draws no number */
	cr_assert_eq(a->history.count, 0);
	store_statuses(a);
	wm_registry_close(a);
	a = open_as("owner", "a");
	cr_assert_geq(wm_registry_stored_seq(a), newest);
	wm_registry_close(a);
	wm_registry_close(b);
}
