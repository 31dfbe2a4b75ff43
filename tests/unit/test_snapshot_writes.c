/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_snapshot_writes.c - snapshots that are saved, kept and restored on the store's thread while
 * batches are stored and fail, and ends of the process in the middle of it. */
#include "disk_gate.h"
#include "registry_help.h"
#include "userspace/base/clock.h"
#include "userspace/base/random.h"
#include "userspace/registry/internal.h"
#include "userspace/registry/restore.h"
#include "userspace/store/keep.h"

#include <signal.h>

#define COUNT 600 /* instances: three steps of a save, three slices of a restore */

static void begin(void)
{
	make_dir();
	instant = true;
}

TestSuite(snapshot_writes, .init = begin, .fini = rm_dir, .timeout = 300);

static void wake(void *arg)
{
	(void)arg; /* the tests poll */
}

static struct wm_registry *open_threaded(void)
{
	struct wm_registry_config c = config(db);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	c.wake = wake;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

/* @p port 0: deregister. */
static void submit(struct wm_registry *r, unsigned n, unsigned port, struct answer *a)
{
	char id[16], name[16];
	const struct wm_instance_draft d = {
		.id = id, .name = name, .address = "10.3.0.1", .port = port};

	snprintf(id, sizeof(id), "id-%05u", n);
	snprintf(name, sizeof(name), "svc-%u", n % 5);
	if (a)
		*a = (struct answer){0};
	if (port)
		cr_assert_eq(wm_registry_register(r, &d, a ? answered : NULL, a, NULL), 0);
	else
		cr_assert_eq(wm_registry_deregister(r, id, a ? answered : NULL, a, NULL), 0);
}

static void fill(struct wm_registry *r, unsigned from, unsigned port)
{
	for (unsigned n = from; n < from + COUNT; n++)
		submit(r, n, port, NULL);
	wm_registry_finish(r);
}

static unsigned port_of(struct wm_registry *r, unsigned n)
{
	const struct wm_instance *i;
	char id[16];

	snprintf(id, sizeof(id), "id-%05u", n);
	i = wm_registry_instance(r, id);
	return i ? i->port : 0;
}

#define IDS (2 * COUNT + 100)

/* Every port, as text. */
static char *text(struct wm_registry *r)
{
	struct wm_buf b;
	unsigned count = 0;

	wm_buf_init(&b, 1u << 20);
	for (unsigned n = 0; n < IDS; n++) {
		count += port_of(r, n) != 0;
		wm_buf_printf(&b, "%u ", port_of(r, n));
	}
	cr_assert_eq(count, wm_registry_instances(r));
	return b.data;
}

static char *text_of(const struct wm_buf *b)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_snapshot *s = wm_snapshot_new(true, 1u << 30);
	struct wm_err e = {0};
	char *ret;

	cr_assert_eq(wm_snapshot_feed(s, b->data, b->len, &e), 0, "%s", e.text);
	cr_assert_eq(wm_snapshot_end(s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_registry_restore(r, s, &e), 0, "%s", e.text);
	ret = text(r);
	wm_registry_close(r);
	return ret;
}

/* What memory has is what a restart finds. */
static void restart_finds_the_same(struct wm_registry *r)
{
	char *before = text(r), *after;

	wm_registry_close(r);
	r = open_threaded();
	after = text(r);
	cr_assert_str_eq(before, after);
	wm_registry_close(r);
	free(before);
	free(after);
}

/* --- saving ------------------------------------------------------------------------------------
 */
struct step {
	struct wm_buf *to;
	bool called;
	int more;
};

static void on_step(void *arg, int more, const struct wm_buf *part, const struct wm_err *e)
{
	struct step *s = arg;

	cr_assert_geq(more, 0, "%s", e->text);
	s->called = true;
	s->more = more;
	wm_buf_put(s->to, part->data, part->len);
}

static struct wm_save *begin_save(struct wm_registry *r)
{
	struct wm_save_about about;
	struct wm_save *s = NULL;
	struct wm_err e = {0};

	cr_assert(wm_registry_about(r, &about));
	cr_assert_eq(wm_save_begin(wm_registry_writer(r), &about, &s, &e), 0, "%s", e.text);
	return s;
}

/* Some writes, of rows that were saved, that were not, and new ones; now and then they fail. */
static void churn(struct wm_registry *r)
{
	for (unsigned n = 0; n < 40; n++)
		submit(r, (unsigned)wm_random_below(IDS), (unsigned)wm_random_below(3), NULL);
	switch (wm_random_below(4)) {
	case 0:
		break_disk(true);
		break;
	case 1:
		fill_disk(true);
		break;
	default:
		break;
	}
	wm_registry_flush(r);
}

static void mend(void)
{
	break_disk(false);
	fill_disk(false);
}

/* A save that began behind a batch in flight has what became of it, and nothing of what came later.
 * @p broken, @p full: it fails. */
static void save_beside(bool broken, bool full_disk)
{
	struct wm_registry *r = open_threaded();
	struct step step = {.more = 1};
	struct wm_save *s, *given_up;
	char *moment, *saved;
	struct answer a;
	struct wm_buf b;

	wm_buf_init(&b, 64u << 20);
	fill(r, 0, 1);
	hold(true);
	submit(r, 3, 0, &a);
	submit(r, 4, 9, NULL);
	submit(r, COUNT, 9, NULL);
	wm_registry_flush(r);
	at_sync();
	s = begin_save(r);
	given_up = begin_save(r);
	break_disk(broken);
	fill_disk(full_disk);
	hold(false);
	wm_writer_wait(r->writer);
	mend();
	wm_registry_finish(r);
	cr_assert_eq(!a.code, !broken && !full_disk);
	moment = text(r);
	while (step.more) {
		churn(r);
		step = (struct step){.to = &b};
		wm_save_next(s, on_step, &step);
		while (!step.called) {
			wm_registry_flush(r);
			wm_writer_wait(r->writer);
		}
		mend();
		wm_save_end(given_up);
		given_up = NULL;
	}
	wm_save_end(s);
	wm_registry_finish(r);
	saved = text_of(&b);
	cr_assert_str_eq(moment, saved);
	free(moment);
	free(saved);
	wm_buf_done(&b);
	restart_finds_the_same(r);
	rm_dir();
	make_dir();
}

Test(snapshot_writes, a_save_is_of_the_moment_behind_what_was_in_flight)
{
	for (int n = 0; n < 5; n++) {
		save_beside(false, false);
		save_beside(true, false);
		save_beside(false, true);
	}
}

/* --- keeping -----------------------------------------------------------------------------------
 */
#define STATES 4000 /* of 2 ms at least: the first is kept after a second */

static char *states[STATES];
static unsigned states_count;

static void kept_is_a_state(const char *path)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_snapshot *s = wm_snapshot_new(true, 1u << 30);
	struct wm_err e = {0};
	unsigned n = 0;
	char *is;

	cr_assert_eq(wm_snapshot_read(s, path, &e), 0, "%s", e.text);
	cr_assert_eq(wm_registry_restore(r, s, &e), 0, "%s", e.text);
	is = text(r);
	while (n < states_count && strcmp(states[n], is) != 0)
		n++;
	cr_assert_lt(n, states_count, "what was kept was never so");
	free(is);
	wm_registry_close(r);
}

/* Each that is kept is the registry of one moment, though batches are stored and fail meanwhile. */
Test(snapshot_writes, what_is_kept_was_so)
{
	struct wm_loop *l = wm_loop_new();
	struct wm_keep_stats st = {0}, now;
	struct wm_registry *r = open_threaded();
	char state[96], path[4096];
	struct wm_keep_config c = {.data_dir = state,
				   .interval_ms = 1,
				   .count = 2,
				   .writer = wm_registry_writer(r),
				   .about = wm_registry_about,
				   .arg = r};
	struct wm_keep *k;

	snprintf(state, sizeof(state), "%s/state", dir);
	fill(r, 0, 1);
	states[states_count++] = text(r);
	k = wm_keep_new(l, &c);
	while (states_count < STATES && st.kept < 8) {
		churn(r);
		wm_loop_turn(l, 2);
		mend();
		wm_registry_finish(r);
		states[states_count++] = text(r);
		wm_keep_stats(k, &now);
		if (now.kept > st.kept) {
			cr_assert_gt(wm_keep_newest(state, path, NULL), 0);
			kept_is_a_state(path);
		}
		st = now;
	}
	cr_assert_geq(st.kept, 2);
	wm_keep_free(k);
	while (states_count)
		free(states[--states_count]);
	restart_finds_the_same(r);
	wm_loop_free(l);
}

/* --- restoring ---------------------------------------------------------------------------------
 */
/* A snapshot of COUNT instances with port 2; the store is gone afterwards. */
static void make_snapshot(struct wm_buf *b)
{
	struct wm_registry *r = open_threaded();
	struct wm_save *s;
	struct step step = {.more = 1};

	wm_buf_init(b, 64u << 20);
	fill(r, COUNT / 2, 2);
	s = begin_save(r);
	while (step.more) {
		step = (struct step){.to = b};
		wm_save_next(s, on_step, &step);
		while (!step.called)
			wm_registry_finish(r);
	}
	wm_save_end(s);
	wm_registry_close(r);
	rm_dir();
	make_dir();
}

static unsigned port_in_snapshot(unsigned n)
{
	return n >= COUNT / 2 && n < COUNT / 2 + COUNT ? 2 : 0;
}

static struct wm_restore *begin_restore(struct wm_registry *r, const struct wm_buf *b)
{
	const struct wm_restore_source from = {.fd = -1, .data = b->data, .len = b->len};
	struct wm_restore *x = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_restore_begin(r, wm_snapshot_new(true, 1u << 30), &from, &x, &e), 0, "%s",
		     e.text);
	return x;
}

/* What failed is tried again, from where it is. */
static struct wm_restore *again(struct wm_registry *r, struct wm_restore *x, const struct wm_buf *b)
{
	struct wm_err e = {0};

	wm_restore_free(x);
	x = NULL;
	if (!wm_restore_pending(r))
		return begin_restore(r, b);
	cr_assert_eq(wm_restore_again(r, &x, &e), 0, "%s", e.text);
	return x;
}

struct other { /* a write of somebody else, one an id at most */
	struct answer a;
	unsigned port;
	bool made;
};

static void write_others(struct wm_registry *r, struct other *others)
{
	for (int n = 0; n < 8; n++) {
		unsigned id = (unsigned)wm_random_below(IDS);

		if (others[id].made)
			continue;
		others[id].made = true;
		others[id].port = 3 * (unsigned)wm_random_below(2);
		submit(r, id, others[id].port, &others[id].a);
	}
}

/* Each instance is as the snapshot has it, or as somebody else wrote it meanwhile. */
static void restore_beside(const struct wm_buf *b, bool fails)
{
	static struct other others[IDS];
	struct wm_registry *r = open_threaded();
	struct wm_restore *x;
	struct wm_err e = {0};
	int more = 1;

	memset(others, 0, sizeof(others));
	fill(r, 0, 1);
	x = begin_restore(r, b);
	while (more) {
		write_others(r, others);
		break_disk(fails && wm_random_below(4) == 0);
		fill_disk(fails && wm_random_below(4) == 0);
		more = wm_restore_step(x, &e);
		wm_registry_flush(r);
		wm_writer_wait(r->writer);
		mend();
		wm_registry_flush(r);
		if (more >= 0)
			continue;
		cr_assert(more == WM_E_STORE || more == -ENOSPC, "%s", e.text);
		x = again(r, x, b);
	}
	wm_restore_free(x);
	wm_registry_finish(r);
	for (unsigned n = 0; n < IDS; n++) {
		unsigned is = port_of(r, n), of_snapshot = port_in_snapshot(n);
		const struct other *o = &others[n];
		bool may = o->made && (!o->a.code || (!o->port && !is));

		cr_assert_eq(o->a.called, o->made);
		cr_assert(is == of_snapshot || (may && is == o->port), "%u: %u, %s %u: %s", n, is,
			  o->made ? "written as" : "not written", o->port, o->a.text);
	}
	restart_finds_the_same(r);
	rm_dir();
	make_dir();
}

Test(snapshot_writes, a_restore_is_before_or_behind_each_write)
{
	struct wm_buf b;

	make_snapshot(&b);
	for (int n = 0; n < 10; n++)
		restore_beside(&b, n > 2);
	wm_buf_done(&b);
}

/* --- the end of the process --------------------------------------------------------------------
 */
/* A registry of other content, with a restore that made @p steps, and a batch in flight. Ends.
 * @return whether the restore had come to its end. */
static bool run_until(const struct wm_buf *b, unsigned steps, bool kill_it)
{
	struct wm_registry *r = open_threaded();
	struct wm_restore *x = begin_restore(r, b);
	struct wm_save *s = begin_save(r);
	struct wm_err e = {0};
	int more = 1;

	for (unsigned n = 0; n < steps && more > 0; n++) {
		more = wm_restore_step(x, &e);
		wm_registry_finish(r);
	}
	cr_assert_geq(more, 0, "%s", e.text);
	submit(r, IDS - 1, 4, NULL);
	hold(true);
	if (more)
		more = wm_restore_step(x, &e);
	wm_registry_flush(r);
	if (kill_it)
		raise(SIGKILL);
	hold(false);
	wm_save_end(s);
	wm_restore_free(x);
	wm_registry_close(r);
	return !more;
}

/* All of the snapshot or none of it is there, and a write that was answered. @p end: the restore
 * was through. */
static void judge_end(bool closed, bool end)
{
	struct wm_registry *r = open_threaded();
	bool made = port_of(r, 0) == 0;

	cr_assert(!end || made);
	for (unsigned n = 0; n < IDS - 1; n++)
		cr_assert_eq(port_of(r, n), made ? port_in_snapshot(n) : n < COUNT, "%u", n);
	if (closed && !made)
		cr_assert_eq(port_of(r, IDS - 1), 4);
	wm_registry_close(r);
}

static bool end_after(const struct wm_buf *b, unsigned steps, bool kill_it)
{
	struct wm_registry *r = open_threaded();
	bool end = false;
	int status;
	pid_t pid;

	fill(r, 0, 1);
	wm_registry_close(r);
	if (!kill_it) {
		end = run_until(b, steps, false);
	} else {
		pid = fork();
		if (!pid) {
			run_until(b, steps, true);
			_exit(1);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	judge_end(!kill_it, end);
	rm_dir();
	make_dir();
	return end;
}

Test(snapshot_writes, an_end_in_the_middle_leaves_all_or_nothing)
{
	unsigned steps = 0;
	struct wm_buf b;

	make_snapshot(&b);
	do {
		(void)end_after(&b, steps, true);
	} while (!end_after(&b, steps++, false));
	cr_assert_gt(steps, 5);
	wm_buf_done(&b);
}
