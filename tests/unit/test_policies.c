/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
/* test_policies.c - policies in the registry: written, stored, told to others, restored. */
#include "foreign_help.h"
#include "userspace/registry/restore.h"
#include "userspace/store/snapshot.h"

TestSuite(policies, .init = make_dir, .fini = rm_dir, .timeout = 300);

static struct wm_policy_draft d;

static int write_policy(struct wm_registry *r, const char *service, uint32_t panic,
			const uint64_t *cas)
{
	struct answer a = {0};
	struct wm_err e = {0};

	wm_policy_draft_init(&d, service);
	d.p.panic_threshold = panic;
	cr_assert_eq(wm_registry_policy_put(r, &d.p, cas, answered, &a, &e), 0, "%s", e.text);
	cr_assert_eq(a.called, 0);
	wm_registry_finish(r);
	cr_assert_eq(a.called, 1);
	return a.code;
}

static int delete_policy(struct wm_registry *r, const char *service, const uint64_t *cas)
{
	struct answer a = {0};

	cr_assert_eq(wm_registry_policy_delete(r, service, cas, answered, &a, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(a.called, 1);
	return a.code;
}

/* --- what was announced ------------------------------------------------------------------------
 */
static unsigned changes;
static uint32_t before, after; /* 1 + panic_threshold; 0: none */
static const struct wm_service *of;

static void on_change(void *arg, const struct wm_change *c)
{
	(void)arg;
	if (c->kind != WM_CHANGE_POLICY)
		return;
	changes++;
	of = c->service;
	before = c->policy_old ? 1 + c->policy_old->panic_threshold : 0;
	after = c->policy ? 1 + c->policy->panic_threshold : 0;
}

Test(policies, are_written_read_and_announced)
{
	struct wm_registry *r = open_at(db);
	const uint64_t none = 0, stale = 1;
	const struct wm_policy *p;
	uint64_t index;

	cr_assert_eq(wm_registry_subscribe(r, on_change, NULL), 0);
	cr_assert_eq(write_policy(r, "Web", 50, &none), 0);
	p = wm_registry_policy(r, "wEB");
	cr_assert_not_null(p);
	cr_assert_eq(p->panic_threshold, 50);
	cr_assert_eq(p->create_index, p->modify_index);
	cr_assert_eq(p->modify_index, wm_registry_policies_index(r));
	cr_assert(changes == 1 && !before && after == 51 && !of);
	index = p->modify_index;
	cr_assert_eq(write_policy(r, "web", 50, NULL), 0, "the same again");
	cr_assert_eq(changes, 1);
	cr_assert_eq(wm_registry_policies_index(r), index);
	cr_assert_eq(write_policy(r, "web", 60, &none), WM_E_CONFLICT);
	cr_assert_eq(write_policy(r, "web", 60, &stale), WM_E_CONFLICT);
	cr_assert_eq(put(r, "w1", "WEB", 80), 0);
	cr_assert_eq(write_policy(r, "web", 60, &index), 0);
	p = wm_registry_policy(r, "web");
	cr_assert(p->modify_index > index && p->create_index == index);
	cr_assert(changes == 2 && before == 51 && after == 61);
	cr_assert_eq(of, wm_registry_service(r, "web"));
	cr_assert_eq(delete_policy(r, "web", &index), WM_E_CONFLICT);
	cr_assert_eq(delete_policy(r, "db", NULL), WM_E_UNKNOWN);
	cr_assert_eq(delete_policy(r, "WEB", NULL), 0);
	cr_assert(changes == 3 && before == 61 && !after);
	cr_assert_null(wm_registry_policy(r, "web"));
	cr_assert_eq(wm_registry_policies(r), 0);
	wm_registry_close(r);
}

Test(policies, one_that_may_not_be_is_refused_before_it_waits)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_err e = {0};

	wm_policy_draft_init(&d, "web");
	d.p.panic_threshold = 200;
	cr_assert_eq(wm_registry_policy_put(r, &d.p, NULL, NULL, NULL, &e), WM_E_INVALID);
	cr_assert_str_eq(e.text, "panic_threshold: \"200\" is not allowed: 0 to 100");
	wm_registry_close(r);
}

static int query(struct wm_registry *r, char last, const char *name, struct answer *a)
{
	char key[] = WM_QUERY_KEY "00000000-0000-4000-8000-000000000000";

	key[sizeof(key) - 2] = last;
	wm_policy_draft_init(&d, key);
	d.p.query.id = key + 1;
	d.p.query.name = name;
	d.p.query.service = "web";
	return wm_registry_policy_put(r, &d.p, NULL, answered, a, NULL);
}

/* Who asks at the same time as another is in one batch with it, or behind it. */
Test(policies, of_two_queries_of_one_name_the_second_is_refused)
{
	static const struct {
		char last;
		const char *name;
		int code;
	} all[] = {{'1', "a", 0},
		   {'2', "A", WM_E_INVALID},
		   {'1', "b", 0},
		   {'2', "A", 0},
		   {'3', "a", WM_E_INVALID},
		   {'2', "a", 0},
		   {'4', "", 0},
		   {'5', "", 0}};
	struct wm_registry *r = open_at(db);
	struct answer a[sizeof(all) / sizeof(*all)] = {0};

	for (unsigned n = 0; n < sizeof(all) / sizeof(*all); n++)
		cr_assert_eq(query(r, all[n].last, all[n].name, &a[n]), 0);
	wm_registry_finish(r);
	for (unsigned n = 0; n < sizeof(all) / sizeof(*all); n++)
		cr_expect_eq(a[n].code, all[n].code, "%u: %s", n, a[n].text);
	cr_assert_eq(query(r, '6', "B", &a[0]), 0);
	wm_registry_finish(r);
	cr_assert_eq(a[0].code, WM_E_INVALID);
	cr_assert_str_eq(a[0].text, "Name: \"b\" is not allowed: it is that of the query "
				    "00000000-0000-4000-8000-000000000001");
	wm_registry_close(r);
}

/* What goes in a batch makes room in it; what others of it write takes none. */
Test(policies, room_is_what_the_batch_leaves)
{
	static const struct {
		const char *service;
		bool drops;
		int code;
	} all[] = {{"a", false, 0},
		   {"b", false, 0},
		   {"b", false, 0},
		   {"a", false, 0},
		   {"c", false, WM_E_CAPACITY},
		   {"a", true, 0},
		   {"c", false, 0},
		   {"d", false, WM_E_CAPACITY},
		   {"b", true, 0},
		   {"c", true, 0},
		   {"d", false, 0},
		   {"e", false, 0}};
	struct wm_registry_config c = config(db);
	struct answer a[sizeof(all) / sizeof(*all)] = {0};
	struct wm_registry *r;

	c.services_max = 2;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	for (unsigned n = 0; n < sizeof(all) / sizeof(*all); n++) {
		wm_policy_draft_init(&d, all[n].service);
		d.p.panic_threshold = n;
		cr_assert_eq(all[n].drops
				     ? wm_registry_policy_delete(r, all[n].service, NULL, answered,
								 &a[n], NULL)
				     : wm_registry_policy_put(r, &d.p, NULL, answered, &a[n], NULL),
			     0);
	}
	wm_registry_finish(r);
	for (unsigned n = 0; n < sizeof(all) / sizeof(*all); n++)
		cr_expect_eq(a[n].code, all[n].code, "%u: %s", n, a[n].text);
	cr_assert_eq(wm_registry_policies(r), 2);
	wm_registry_close(r);
}

/* Writes of one batch see each other. */
Test(policies, a_batch_is_in_its_order)
{
	struct wm_registry *r = open_at(db);
	struct answer a[4] = {0};

	wm_policy_draft_init(&d, "web");
	for (int n = 0; n < 4; n++) {
		const uint64_t none = 0;
		int err;

		d.p.panic_threshold = (uint32_t)n;
		err = n == 2 ? wm_registry_policy_delete(r, "web", NULL, answered, &a[n], NULL)
			     : wm_registry_policy_put(r, &d.p, &none, answered, &a[n], NULL);
		cr_assert_eq(err, 0);
	}
	wm_registry_finish(r);
	cr_assert_eq(a[0].code, 0);
	cr_assert_eq(a[1].code, WM_E_CONFLICT, "it was there");
	cr_assert_eq(a[2].code, 0);
	cr_assert_eq(a[3].code, 0, "it was gone");
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_policy(r, "web")->panic_threshold, 3);
	cr_assert_null(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, WM_POLICY_NODE, "web"));
	wm_registry_close(r);
}

Test(policies, outlive_a_restart_and_so_does_a_removal)
{
	struct wm_registry *r = open_at(db);
	uint64_t created, modified;

	cr_assert_eq(write_policy(r, "web", 50, NULL), 0);
	cr_assert_eq(write_policy(r, "web", 51, NULL), 0);
	cr_assert_eq(write_policy(r, "db", 1, NULL), 0);
	cr_assert_eq(delete_policy(r, "db", NULL), 0);
	created = wm_registry_policy(r, "web")->create_index;
	modified = wm_registry_policy(r, "web")->modify_index;
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_policies(r), 1);
	cr_assert_eq(wm_registry_policy(r, "web")->panic_threshold, 51);
	cr_assert_eq(wm_registry_policy(r, "web")->create_index, created);
	cr_assert_eq(wm_registry_policy(r, "web")->modify_index, modified);
	cr_assert(wm_registry_policies_index(r) >= modified);
	cr_assert_not_null(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, WM_POLICY_NODE, "db"));
	/* and one that is there again takes the tombstone's place */
	cr_assert_eq(write_policy(r, "db", 2, NULL), 0);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_policies(r), 2);
	cr_assert_null(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, WM_POLICY_NODE, "db"));
	wm_registry_close(r);
}

/* --- others -------------------------------------------------------------------------------------
 */
Test(policies, are_at_others_as_they_were_written)
{
	struct wm_registry *a = open_as("a", "a"), *b = open_as("b", "b");
	uint64_t clock;

	cr_assert_eq(wm_registry_subscribe(b, on_change, NULL), 0);
	cr_assert_eq(write_policy(a, "web", 50, NULL), 0);
	tell_all(a, b, false);
	cr_assert_eq(result.refused + result.failed, 0, "%s", result.text);
	cr_assert_eq(wm_registry_policy(b, "web")->panic_threshold, 50);
	cr_assert_eq(changes, 1);
	clock = wm_registry_policy(a, "web")->version.seq;
	cr_assert_eq(wm_registry_policy(b, "web")->version.seq, clock);
	tell_all(a, b, true);
	cr_assert_eq(result.taken, 0, "nothing was new");
	/* b writes it: it is newer than a's, wherever it is told */
	cr_assert_eq(write_policy(b, "web", 70, NULL), 0);
	cr_assert(wm_registry_policy(b, "web")->version.seq > clock);
	tell_all(a, b, false);
	cr_assert_eq(wm_registry_policy(b, "web")->panic_threshold, 70);
	tell_all(b, a, false);
	cr_assert_eq(wm_registry_policy(a, "web")->panic_threshold, 70);
	/* the same words with a newer clock are no news */
	changes = 0;
	cr_assert_eq(write_policy(a, "web", 71, NULL), 0);
	cr_assert_eq(write_policy(a, "web", 70, NULL), 0);
	tell_all(a, b, false);
	cr_assert(result.taken && changes == 0);
	/* a removal is told, and stands against what is older */
	cr_assert_eq(delete_policy(a, "web", NULL), 0);
	tell_all(b, a, false);
	cr_assert_null(wm_registry_policy(a, "web"));
	tell_all(a, b, false);
	cr_assert_null(wm_registry_policy(b, "web"));
	cr_assert_eq(changes, 1);
	wm_registry_close(b);
	b = open_as("b", "b");
	cr_assert_null(wm_registry_policy(b, "web"));
	wm_registry_close(a);
	wm_registry_close(b);
}

Test(policies, what_others_say_is_held_to_the_rules)
{
	struct wm_registry *a = open_as("a", "a");
	struct wm_foreign_change c = {.version = {.origin = WM_ORIGIN_SHARED, .seq = 9 << 16},
				      .node = WM_POLICY_NODE,
				      .id = "web"};
	struct wm_buf b;

	memset(c.version.writer.octets, 7, sizeof(c.version.writer.octets));
	wm_buf_init(&b, WM_RECORD_MAX);
	wm_policy_draft_init(&d, "web");
	d.p.panic_threshold = 101; /* no client may */
	cr_assert_eq(wm_record_put_policy(&b, &d.p, true), 0);
	c.object = b.data;
	c.len = b.len;
	tell_one(a, &c);
	cr_assert_eq(result.refused, 1);
	d.p.panic_threshold = 1;
	cr_assert_eq(wm_record_put_policy(&b, &d.p, true), 0);
	c.object = b.data;
	c.len = b.len;
	c.id = "db"; /* another's */
	tell_one(a, &c);
	cr_assert_eq(result.refused, 1, "%s", result.text);
	c.id = "web";
	c.len--;
	tell_one(a, &c);
	cr_assert_eq(result.refused, 1);
	cr_assert_null(wm_registry_policy(a, "web"));
	c.len++;
	tell_one(a, &c);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	c.forget = true; /* a leaf that does not want it any more */
	tell_one(a, &c);
	cr_assert_null(wm_registry_policy(a, "web"));
	c.forget = false;
	tell_one(a, &c);
	cr_assert_not_null(wm_registry_policy(a, "web"), "it comes back as it was");
	c.gone = true; /* its home says so, under the version that went */
	tell_one(a, &c);
	cr_assert_null(wm_registry_policy(a, "web"));
	wm_buf_done(&b);
	wm_registry_close(a);
}

/* --- snapshots -----------------------------------------------------------------------------------
 */
static struct wm_buf saved;
static bool more;

static void on_part(void *arg, int rest, const struct wm_buf *part, const struct wm_err *e)
{
	(void)arg;
	cr_assert(rest >= 0, "%s", e ? e->text : "");
	more = rest > 0;
	wm_buf_put(&saved, part->data, part->len);
}

static void save(struct wm_registry *r)
{
	struct wm_save_about about;
	struct wm_save *s = NULL;

	wm_buf_init(&saved, 1u << 20);
	cr_assert(wm_registry_about(r, &about));
	cr_assert_eq(wm_save_begin(wm_registry_writer(r), &about, &s, NULL), 0);
	for (more = true; more; wm_writer_wait(wm_registry_writer(r))) {
		wm_save_next(s, on_part, NULL);
		wm_registry_finish(r);
	}
	wm_save_end(s);
	wm_registry_finish(r);
}

Test(policies, are_in_a_snapshot_and_come_back_with_it)
{
	struct wm_registry *r = open_at(db);
	struct wm_snapshot *s = wm_snapshot_new(true, 1u << 20);
	struct wm_err e = {0};

	cr_assert_eq(write_policy(r, "web", 50, NULL), 0);
	cr_assert_eq(write_policy(r, "gone", 1, NULL), 0);
	save(r);
	cr_assert_eq(write_policy(r, "web", 60, NULL), 0);
	cr_assert_eq(write_policy(r, "later", 2, NULL), 0);
	cr_assert_eq(delete_policy(r, "gone", NULL), 0);
	cr_assert_eq(wm_snapshot_feed(s, saved.data, saved.len, &e), 0, "%s", e.text);
	cr_assert_eq(wm_snapshot_end(s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_registry_restore(r, s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_registry_policies(r), 2);
	cr_assert_eq(wm_registry_policy(r, "web")->panic_threshold, 50);
	cr_assert_not_null(wm_registry_policy(r, "gone"));
	cr_assert_null(wm_registry_policy(r, "later"));
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_policies(r), 2);
	cr_assert_eq(wm_registry_policy(r, "web")->panic_threshold, 50);
	wm_registry_close(r);
	wm_buf_done(&saved);
}

Test(policies, one_of_a_node_of_higher_priority_is_not_overwritten)
{
	struct wm_registry *a = open_as("one", "a"), *b = open_as("two", "b");

	wm_registry_set_priority(a, 2, true);
	wm_registry_set_priority(b, 1, true);
	cr_assert_eq(write_policy(a, "web", 10, NULL), 0);
	tell_all(a, b, false);
	cr_assert_eq(write_policy(b, "web", 20, NULL), WM_E_CONFLICT);
	cr_assert_eq(delete_policy(b, "web", NULL), WM_E_CONFLICT);
	wm_registry_close(b);
	b = open_as("two", "b");
	wm_registry_set_priority(b, 1, true);
	cr_assert_eq(delete_policy(b, "web", NULL), WM_E_CONFLICT, "after a restart");
	cr_assert_eq(delete_policy(a, "web", NULL), 0);
	tell_all(a, b, false);
	cr_assert_eq(write_policy(b, "web", 20, NULL), WM_E_CONFLICT, "it was removed there");
	wm_registry_set_priority(b, 2, true);
	cr_assert_eq(write_policy(b, "web", 20, NULL), 0);
	wm_registry_close(a);
	wm_registry_close(b);
}
