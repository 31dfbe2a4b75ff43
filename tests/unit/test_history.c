/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_history.c - versions of objects, the order of the history, tombstones; across restarts. */
#include "registry_help.h"
#include "userspace/registry/internal.h"
#include "userspace/store/record.h"

#include <signal.h>
#include <sys/resource.h>

TestSuite(history, .init = make_dir, .fini = rm_dir, .timeout = 300);

static const struct wm_version *version_of(const struct wm_registry *r, const char *id)
{
	return &wm_registry_instance(r, id)->version;
}

/* The own log is in the order of numbers, which are unique; the whole is in the order of indexes,
 * and has each object and each tombstone once. */
static void check(const struct wm_registry *r)
{
	const struct wm_history *h = &r->history;
	struct wm_past *p;
	uint64_t last = 0;
	unsigned live = 0, gone = 0;

	TAILQ_FOREACH (p, &h->all, entry) {
		cr_assert_geq(p->index, last);
		last = p->index;
		live += !p->gone && *wm_past_live(p)->name;
		gone += p->gone;
	}
	cr_assert_leq(last, wm_registry_index(r));
	cr_assert_eq(live, wm_registry_instances(r));
	cr_assert_eq(gone, h->count);
	last = 0;
	TAILQ_FOREACH (p, &h->log, log_entry) {
		cr_assert_eq(wm_past_version(p)->origin, WM_ORIGIN_OWN);
		cr_assert_gt(wm_past_version(p)->seq, last);
		last = wm_past_version(p)->seq;
	}
	cr_assert_leq(last, h->seq);
}

Test(history, every_object_has_a_version_that_is_stored)
{
	struct wm_registry *r = open_at(db);
	uint64_t seq;
	uint32_t epoch;

	cr_assert_eq(put(r, "a", "web", 1), 0);
	cr_assert_eq(put(r, "b", "web", 2), 0);
	cr_assert_eq(version_of(r, "b")->seq, version_of(r, "a")->seq + 1);
	cr_assert_eq(put(r, "a", "web", 1), 0);
	cr_assert_eq(version_of(r, "a")->seq + 1, version_of(r, "b")->seq,
		     "the same again is none");
	cr_assert_eq(put(r, "a", "web", 3), 0);
	seq = version_of(r, "a")->seq;
	epoch = version_of(r, "a")->epoch;
	cr_assert_eq(seq, version_of(r, "b")->seq + 1);
	cr_assert_neq(epoch, 0);
	check(r);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(version_of(r, "a")->seq, seq);
	cr_assert_eq(version_of(r, "a")->epoch, epoch);
	cr_assert_eq(put(r, "c", "web", 4), 0);
	cr_assert_gt(version_of(r, "c")->seq, seq);
	cr_assert_eq(version_of(r, "c")->epoch, epoch);
	check(r);
	wm_registry_close(r);
}

/* Others know the numbers that it gave before: given again they would be taken for those. */
Test(history, a_store_of_an_earlier_day_gives_no_number_again)
{
	struct wm_registry *r = open_at(db);
	char old[160], command[400];
	uint64_t seq;

	snprintf(old, sizeof(old), "%s.old", db);
	snprintf(command, sizeof(command), "cp %s %s", db, old);
	put(r, "a", "web", 1);
	wm_registry_close(r);
	cr_assert_eq(system(command), 0);
	r = open_at(db);
	for (unsigned port = 1; port < 50; port++)
		put(r, "a", "web", (uint16_t)port + 1);
	seq = version_of(r, "a")->seq;
	wm_registry_close(r);
	cr_assert_eq(rename(old, db), 0);
	r = open_at(db);
	cr_assert_lt(version_of(r, "a")->seq, seq);
	put(r, "a", "web", 99);
	cr_assert_gt(version_of(r, "a")->seq, seq);
	check(r);
	wm_registry_close(r);
}

Test(history, what_is_gone_leaves_a_tombstone_until_it_is_there_again)
{
	struct wm_registry *r = open_at(db);
	const struct wm_tombstone *t;
	uint64_t index, seq;

	put(r, "a", "web", 1);
	put(r, "b", "web", 1);
	index = wm_registry_index(r);
	seq = version_of(r, "b")->seq;
	cr_assert_eq(del(r, "a"), 0);
	t = wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a");
	cr_assert_not_null(t);
	cr_assert_str_eq(t->service, "web");
	cr_assert_eq(t->version.seq, seq + 1);
	cr_assert_eq(t->past.index, wm_registry_index(r));
	cr_assert_eq(wm_past_tomb(wm_registry_after(r, index, 10)), t);
	check(r);
	wm_registry_close(r);
	r = open_at(db);
	t = wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a");
	cr_assert_not_null(t);
	cr_assert_eq(t->version.seq, seq + 1);
	cr_assert_eq(r->history.seq, seq + 1, "its number is not given again");
	put(r, "a", "web", 1);
	cr_assert_null(wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a"));
	cr_assert_gt(version_of(r, "a")->seq, seq + 1);
	check(r);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_null(wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a"));
	check(r);
	wm_registry_close(r);
}

static void catalog_service(struct wm_registry *r, const char *id, enum wm_verb verb)
{
	const struct wm_instance_draft d = {.id = id, .name = "web", .port = 1};
	const struct wm_catalog_op op = {
		.object = WM_OBJECT_SERVICE, .verb = verb, .node = "n1", .id = id, .service = &d};
	struct answer a = {0};
	const struct wm_catalog_batch b = {&op, 1, NULL, answered, &a};
	unsigned number;

	cr_assert_eq(wm_registry_catalog(r, &b, &number, NULL), 0);
	wm_registry_flush(r);
	cr_assert(a.called && !a.code, "%s", a.text);
}

/* Who follows this agent's log hears that its instance went, whatever the catalog writes under the
 * name since. */
Test(history, a_name_that_changes_hands_leaves_a_tombstone)
{
	struct wm_registry *r = open_at(db);
	uint64_t seq;

	put(r, "a", "web", 1);
	cr_assert_eq(del(r, "a"), 0);
	seq = r->history.seq;
	catalog_service(r, "a", WM_VERB_SET);
	for (int n = 0; n < 2; n++) {
		const struct wm_tombstone *t =
			wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a");

		cr_assert_not_null(t);
		cr_assert_eq(t->version.seq, seq);
		cr_assert(wm_instance_shared(wm_registry_instance(r, "a")));
		check(r);
		wm_registry_close(r);
		r = open_at(db);
	}
	catalog_service(r, "a", WM_VERB_DELETE);
	put(r, "a", "web", 1);
	for (int n = 0; n < 2; n++) {
		cr_assert_null(wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a"));
		cr_assert_not_null(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, "n1", "a"));
		check(r);
		wm_registry_close(r);
		r = open_at(db);
	}
	wm_registry_close(r);
}

/* What is written into the catalog has a clock, which grows whatever the system's does. */
Test(history, shared_objects_have_a_hybrid_clock)
{
	struct wm_registry *r = open_at(db);
	const struct wm_node_draft facts = {.address = "10.2.0.1"};
	const struct wm_instance_draft d = {.id = "x", .name = "cat", .port = 1};
	struct wm_catalog_op ops[2] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "a", .facts = &facts},
		{.object = WM_OBJECT_SERVICE,
		 .verb = WM_VERB_SET,
		 .node = "a",
		 .service = &d,
		 .number = 1}};
	const struct wm_catalog_batch b = {.ops = ops, .count = 2};
	const struct wm_instance *i;
	unsigned failed;
	uint64_t clock;

	cr_assert_eq(wm_registry_catalog(r, &b, &failed, NULL), 0);
	wm_registry_flush(r);
	i = wm_node_instance(wm_registry_node_named(r, "a"), "x");
	cr_assert_eq(i->version.origin, WM_ORIGIN_SHARED);
	clock = i->version.seq;
	cr_assert_gt(clock, i->node->holder->version.seq);
	cr_assert_gt(clock >> 16, 1700000000000ull);
	r->history.clock += 3600ull * 1000 << 16; /* another's, an hour ahead */
	ops[0] = (struct wm_catalog_op){
		.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "a"};
	cr_assert_eq(wm_registry_catalog(r, &(struct wm_catalog_batch){.ops = ops, .count = 1},
					 &failed, NULL),
		     0);
	wm_registry_flush(r);
	cr_assert_gt(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, "a", "x")->version.seq,
		     clock + (3600ull * 1000 << 16));
	cr_assert_not_null(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, "a", ""));
	check(r);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_not_null(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, "a", ""));
	check(r);
	wm_registry_close(r);
}

static void disk(bool full)
{
	struct rlimit l;

	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = full ? 1000 : l.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* Numbers of the log have no gap: one that was not stored is given to the next. */
Test(history, what_is_not_stored_uses_no_number)
{
	struct wm_registry *r = open_at(db);
	struct wm_check_draft c = {.id = "t", .name = "t", .kind = WM_CHECK_TTL, .ttl_ms = 60000};
	struct wm_instance_draft d = {
		.id = "a", .name = "web", .port = 1, .checks = &c, .checks_count = 1};
	uint64_t seq;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(put_draft(r, &d), 0);
	seq = version_of(r, "a")->seq;
	disk(true);
	cr_assert_neq(put(r, "b", "web", 1), 0);
	cr_assert_neq(del(r, "a"), 0);
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "t"), WM_PASSING, NULL), 1);
	cr_assert_neq(put(r, "b", "web", 1), 0);
	disk(false);
	cr_assert_eq(version_of(r, "a")->seq, seq);
	cr_assert_eq(r->history.seq, seq);
	cr_assert_null(wm_history_tomb(&r->history, WM_ORIGIN_OWN, "n1", "a"));
	check(r);
	cr_assert_eq(put(r, "b", "web", 1), 0);
	cr_assert_eq(r->history.seq, seq + 2, "b, and the status of a, which rode along");
	check(r);
	wm_registry_close(r);
}

/* A store of before there were versions gets them in one step. */
Test(history, rows_without_a_version_get_one)
{
	enum { ROWS = 20 };
	struct wm_registry *r = open_at(db);
	struct wm_store *s = NULL;
	struct wm_buf rows[ROWS];
	uint64_t numbers[ROWS];
	struct wm_err e = {0};
	char text[400], *before, *after;

	for (unsigned n = 0; n < ROWS; n++) {
		snprintf(text, sizeof(text), "i%u", n);
		cr_assert_eq(put(r, text, "web", n), 0);
	}
	before = show(r);
	for (unsigned n = 0; n < ROWS; n++) { /* as an older agent wrote them */
		struct wm_instance *i;

		snprintf(text, sizeof(text), "i%u", n);
		i = wm_registry_instance(r, text);
		i->version.seq = 0;
		numbers[n] = i->row;
		wm_buf_init(&rows[n], WM_RECORD_MAX);
		cr_assert_eq(wm_record_put_instance(&rows[n], i->row, i), 0);
		cr_assert_lt(rows[n].data[2], WM_RECORD_VERSION_ORIGIN);
	}
	wm_registry_close(r);
	cr_assert_eq(wm_store_open(db, false, &s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_store_ready(s, &e), 0);
	for (unsigned n = 0; n < ROWS; n++)
		cr_assert_eq(wm_store_put(s, WM_STORE_INSTANCES, numbers[n], rows[n].data,
					  rows[n].len, &e),
			     0);
	cr_assert_eq(wm_store_commit(s, &e), 0);
	wm_store_close(s);
	snprintf(text, sizeof(text),
		 "sqlite3 %s \"DROP TABLE tombstones; UPDATE meta SET value=1 WHERE key='schema'\"",
		 db);
	cr_assert_eq(system(text), 0);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	for (unsigned n = 0; n < ROWS; n++) {
		snprintf(text, sizeof(text), "i%u", n);
		numbers[n] = version_of(r, text)->seq;
		cr_assert_neq(numbers[n], 0);
		wm_buf_done(&rows[n]);
	}
	check(r);
	wm_registry_close(r);
	r = open_at(db);
	for (unsigned n = 0; n < ROWS; n++) {
		snprintf(text, sizeof(text), "i%u", n);
		cr_assert_eq(version_of(r, text)->seq, numbers[n], "they stay");
	}
	cr_assert_eq(del(r, "i3"), 0);
	check(r);
	wm_registry_close(r);
	free(before);
	free(after);
}
