/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
#include "registry_help.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/registry/internal.h"
#include "userspace/registry/restore.h"
#include "userspace/store/keep.h"
#include "userspace/store/record.h"
#include "userspace/store/snapshot_format.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

TestSuite(snapshot, .timeout = 300);

/* Checks of every kind, metadata, tags: @p n varies them. */
static int put_any(struct wm_registry *r, unsigned n, unsigned port)
{
	char id[32], name[32], check[32];
	struct wm_pair meta = {mut("zone"), id};
	const char *tags[] = {"blue"};
	struct wm_check_draft c[2] = {
		{.id = check,
		 .kind = WM_CHECK_TTL,
		 .ttl_ms = 1000 + n,
		 .has_status = true,
		 .status = n % 3 ? WM_PASSING : WM_WARNING},
		{.kind = WM_CHECK_HTTP, .target = "http://127.0.0.1:1/", .interval_ms = 60000}};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = "10.3.0.1",
				      .port = port,
				      .tags = tags,
				      .tags_count = n % 2,
				      .meta = &meta,
				      .meta_count = 1,
				      .checks = c,
				      .checks_count = n % 3,
				      .replace_checks = true};

	snprintf(id, sizeof(id), "id-%u", n);
	snprintf(name, sizeof(name), "svc-%u", n % 5);
	snprintf(check, sizeof(check), "check-%u", n);
	return put_draft(r, &d);
}

static int maintain(struct wm_registry *r, const char *id, bool on)
{
	struct answer a = {0};

	cr_assert_eq(wm_registry_maintenance(r, id, on, NULL, answered, &a, NULL), 0);
	wm_registry_flush(r);
	return a.code;
}

static int node_check(struct wm_registry *r, const char *id, const char *of)
{
	struct wm_check_draft c = {.id = id, .name = id, .kind = WM_CHECK_TTL, .ttl_ms = 9};
	struct answer a = {0};

	cr_assert_eq(wm_registry_check_register(r, of, &c, answered, &a, NULL), 0);
	wm_registry_flush(r);
	return a.code;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct wm_instance *const *)a)->id, (*(struct wm_instance *const *)b)->id);
}

static int by_check_id(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void show_checks(struct wm_buf *b, const struct wm_instance *i)
{
	const char *ids[40];

	for (unsigned n = 0; n < i->checks_count; n++)
		ids[n] = i->checks[n]->id;
	qsort(ids, i->checks_count, sizeof(*ids), by_check_id);
	for (unsigned n = 0; n < i->checks_count; n++)
		wm_buf_printf(b, " %s", ids[n]);
	wm_buf_puts(b, "\n");
}

/* What a restore brings back, in an order of its own: not indexes, rows and statuses. */
static char *content(const struct wm_registry *r)
{
	unsigned count = wm_registry_instances(r), n = 0;
	struct wm_instance **all = calloc(count + 1, sizeof(struct wm_instance *)), *i;
	struct wm_buf b;
	size_t pos = 0;

	wm_buf_init(&b, 64u << 20);
	while ((i = wm_registry_next_instance(r, &pos)))
		all[n++] = i;
	qsort(all, n, sizeof(struct wm_instance *), by_id);
	wm_buf_puts(&b, "node");
	show_checks(&b, wm_registry_node_checks(r));
	for (unsigned k = 0; k < n; k++) {
		i = all[k];
		wm_buf_printf(&b, "%s %s %s:%u vip=%08x tags=%u meta=%s", i->id, i->service->name,
			      i->address, i->port, i->service->vip4.s_addr, i->tags_count,
			      i->meta_count ? i->meta[0].value : "-");
		show_checks(&b, i);
		cr_assert_eq(wm_registry_instance(r, i->id), i);
		for (unsigned q = 0; q < i->checks_count; q++) {
			cr_assert_eq(wm_registry_check(r, i->checks[q]->id), i->checks[q]);
			cr_assert_eq(i->checks[q]->instance, i);
		}
	}
	free(all);
	return b.data;
}

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

/* The next part, and wait for it. */
static int save_step(struct wm_registry *r, struct wm_save *s, struct wm_buf *out)
{
	struct step step = {.to = out};

	wm_save_next(s, on_step, &step);
	while (!step.called)
		wm_registry_finish(r);
	return step.more;
}

/* Save to the end; @p between is called after each step. */
static void save(struct wm_registry *r, struct wm_buf *out,
		 void (*between)(struct wm_registry *r, unsigned step))
{
	struct wm_save *s = NULL, *second = NULL, *third = NULL;
	struct wm_writer *w = wm_registry_writer(r);
	struct wm_save_about about;
	struct wm_err e = {0};
	struct wm_buf part;
	int more = 1;

	wm_buf_init(out, 256u << 20);
	wm_buf_init(&part, 256u << 20);
	cr_assert(wm_registry_about(r, &about));
	cr_assert_eq(wm_save_begin(w, &about, &s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_save_begin(w, &about, &second, &e), 0, "%s", e.text);
	cr_assert_eq(wm_save_begin(w, &about, &third, &e), WM_E_BUSY);
	for (unsigned n = 0; more; n++) {
		if (between)
			between(r, n);
		wm_buf_reset(&part);
		more = save_step(r, s, &part);
		cr_assert_geq(more, 0, "%s", e.text);
		wm_buf_put(out, part.data, part.len);
		if (n == 2) { /* given up half-way */
			wm_save_end(second);
			second = NULL;
		} else if (n < 2 && second) {
			wm_buf_reset(&part);
			cr_assert_geq(save_step(r, second, &part), 0);
		}
	}
	wm_save_end(second);
	wm_save_end(s);
	wm_buf_done(&part);
}

static int load(const void *data, size_t len, size_t part, struct wm_snapshot **ret,
		struct wm_err *e)
{
	struct wm_snapshot *s = wm_snapshot_new(true, 1u << 30);
	int err = 0;

	cr_assert_not_null(s);
	for (size_t at = 0; at < len && !err; at += part)
		err = wm_snapshot_feed(s, (const char *)data + at,
				       len - at < part ? len - at : part, e);
	if (!err)
		err = wm_snapshot_end(s, e);
	if (err || !ret) {
		cr_assert(!err || strlen(e->text) > 15);
		wm_snapshot_free(s);
		return err;
	}
	*ret = s;
	return 0;
}

static int restore(struct wm_registry *r, const struct wm_buf *b, size_t part, struct wm_err *e)
{
	struct wm_snapshot *s;
	int err = load(b->data, b->len, part, &s, e);

	if (err)
		return err;
	return wm_registry_restore(r, s, e);
}

static void fill(struct wm_registry *r, unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		cr_assert_eq(put_any(r, n, 1000 + n), 0);
	cr_assert_eq(node_check(r, "disk", NULL), 0);
	cr_assert_eq(maintain(r, "id-3", true), 0);
	cr_assert_eq(maintain(r, NULL, true), 0);
}

/* Changes that must not be seen: of rows that were saved, that were not, and new ones. */
static void churn(struct wm_registry *r, unsigned step)
{
	char id[32];

	for (unsigned n = 0; n < 40; n++) {
		unsigned k = (unsigned)wm_random_below(1500);

		snprintf(id, sizeof(id), "id-%u", k);
		if (n % 4 == 0 && wm_registry_instance(r, id))
			cr_assert_eq(del(r, id), 0);
		else if (n % 4 == 1)
			cr_assert_eq(put_any(r, 5000 + step * 50 + n, 1), 0);
		else
			cr_assert_eq(put_any(r, k, 7), 0);
	}
	maintain(r, "id-3", false);
	node_check(r, "late", NULL);
}

Test(snapshot, is_of_one_moment_and_restores_onto_anything, .fini = rm_dir)
{
	struct wm_registry *r, *fresh;
	char *before, *after;
	struct wm_err e = {0};
	struct wm_buf b;
	uint64_t index;

	make_dir();
	r = open_at(db);
	fill(r, 1500);
	before = content(r);
	save(r, &b, churn);
	after = content(r);
	cr_assert_str_neq(before, after);
	free(after);
	/* onto the registry that went on */
	index = wm_registry_index(r);
	cr_assert_eq(restore(r, &b, 4096, &e), 0, "%s", e.text);
	cr_assert_gt(wm_registry_index(r), index);
	after = content(r);
	cr_assert_str_eq(before, after);
	free(after);
	/* it is stored */
	wm_registry_close(r);
	r = open_at(db);
	after = content(r);
	cr_assert_str_eq(before, after);
	free(after);
	/* and again: nothing to do */
	cr_assert_eq(restore(r, &b, 1, &e), 0, "%s", e.text);
	wm_registry_close(r);
	/* onto an empty one, of memory: the index is above all that the other gave */
	fresh = open_at(NULL);
	cr_assert_eq(restore(fresh, &b, 100, &e), 0, "%s", e.text);
	after = content(fresh);
	cr_assert_str_eq(before, after);
	cr_assert_gt(wm_registry_index(fresh), 1500);
	free(after);
	free(before);
	wm_registry_close(fresh);
	wm_buf_done(&b);
}

/* Ids of checks that change hands, services that move and go: all announced in an order that a
 * listener can follow, all undone when the store refuses. */
Test(snapshot, what_changes_hands_is_announced_or_undone, .fini = rm_dir)
{
	struct wm_registry *r;
	struct rlimit l, none;
	struct wm_err e = {0};
	struct wm_buf b, seen;
	char *was, *before, *after;
	uint64_t index;

	make_dir();
	signal(SIGXFSZ, SIG_IGN);
	r = open_at(db);
	put(r, "a", "web", 1);
	put(r, "b", "web", 2);
	put(r, "c", "db", 3);
	node_check(r, "one", "a");
	node_check(r, "two", "b");
	node_check(r, "three", NULL);
	was = content(r);
	save(r, &b, NULL);
	for (int n = 1; n <= 3; n++) {
		const char *id = n == 1 ? "one" : n == 2 ? "two" : "three";

		wm_registry_check_deregister(r, id, NULL, NULL, NULL);
	}
	wm_registry_flush(r);
	node_check(r, "one", "b");
	node_check(r, "two", NULL);
	node_check(r, "three", "a");
	del(r, "c");
	put(r, "a", "other", 9);
	put(r, "new", "brand-new", 9);
	before = content(r);
	index = wm_registry_index(r);
	wm_buf_init(&seen, 1 << 20);
	wm_registry_subscribe(r, record_change, &seen);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	none = l;
	none.rlim_cur = 1000;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	cr_assert_eq(restore(r, &b, 50, &e), WM_E_STORE);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
	after = content(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_eq(seen.len, 0, "%s", seen.data);
	free(after);
	cr_assert_eq(restore(r, &b, 50, &e), 0, "%s", e.text);
	after = content(r);
	cr_assert_str_eq(was, after);
	cr_assert_eq(wm_registry_index(r), index + 1);
	cr_assert_not_null(strstr(seen.data, "delete brand-new/new;"), "%s", seen.data);
	cr_assert_not_null(strstr(seen.data, "-svc brand-new;"), "%s", seen.data);
	cr_assert_not_null(strstr(seen.data, "+svc db;"), "%s", seen.data);
	free(was);
	free(before);
	free(after);
	wm_buf_done(&b);
	wm_buf_done(&seen);
	wm_registry_close(r);
}

/* --- in slices --- */
#define DIFFERING 900

static struct wm_restore *begin_restore(struct wm_registry *r, const struct wm_buf *b)
{
	const struct wm_restore_source from = {.fd = -1, .data = b->data, .len = b->len};
	struct wm_restore *x = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_restore_begin(r, wm_snapshot_new(true, 1u << 30), &from, &x, &e), 0);
	return x;
}

/* A registry of @p db that differs from the snapshot @p b in all its instances, of which some
 * have the others' checks; what it was in @p was. */
static struct wm_registry *differing(struct wm_buf *b, char **was)
{
	struct wm_registry *r = open_at(db);
	char id[32];

	fill(r, DIFFERING);
	node_check(r, "one", "id-0");
	node_check(r, "two", "id-1");
	*was = content(r);
	save(r, b, NULL);
	wm_registry_check_deregister(r, "one", NULL, NULL, NULL);
	wm_registry_check_deregister(r, "two", NULL, NULL, NULL);
	wm_registry_flush(r);
	for (unsigned n = 0; n < DIFFERING; n++) {
		snprintf(id, sizeof(id), "id-%u", n);
		if (n % 3 == 2)
			cr_assert_eq(del(r, id), 0);
		else
			cr_assert_eq(put_any(r, n, 9), 0);
		if (n % 3 == 2)
			cr_assert_eq(put_any(r, 2000 + n, 1), 0);
	}
	node_check(r, "one", "id-1");
	node_check(r, "two", NULL);
	return r;
}

static unsigned heard;

static void count_change(void *arg, const struct wm_change *c)
{
	(void)arg;
	heard += c->kind == WM_CHANGE_INSTANCE_UPSERT || c->kind == WM_CHANGE_INSTANCE_DELETED;
}

/* So much in a turn and no more; others write meanwhile. */
Test(snapshot, is_restored_in_slices, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_restore *x;
	struct wm_err e = {0};
	unsigned steps = 0, most = 0;
	struct wm_buf b;
	char *was, *now;
	int more = 1;

	make_dir();
	r = differing(&b, &was);
	wm_registry_subscribe(r, count_change, NULL);
	x = begin_restore(r, &b);
	for (; more > 0; steps++) {
		heard = 0;
		more = wm_restore_step(x, &e);
		cr_assert_eq(heard, 0);
		wm_registry_flush(r);
		most = heard > most ? heard : most;
		/* tables are rebuilt under its feet */
		for (unsigned n = 0; n < 200 && steps % 4 == 3; n++)
			cr_assert_eq(put_any(r, 10000 + steps * 200 + n, 1), 0);
		for (unsigned n = 0; n < 200 && steps % 4 == 3; n++) {
			char id[32];

			snprintf(id, sizeof(id), "id-%u", 10000 + steps * 200 + n);
			cr_assert_eq(del(r, id), 0);
		}
	}
	cr_assert_eq(more, 0, "%s", e.text);
	cr_assert_leq(most, 256 + 10);
	cr_assert_gt(steps, 7);
	wm_restore_free(x);
	now = content(r);
	cr_assert_str_eq(was, now);
	free(now);
	free(was);
	wm_registry_close(r);
	wm_buf_done(&b);
}

/* The rest of it, killed after each step: a start finds all, or nothing that was begun. */
Test(snapshot, what_is_cut_off_is_finished_by_the_next_start, .fini = rm_dir)
{
	char *was, *before, *now, file[160], copy[512];
	struct wm_registry *r;
	struct wm_restore *x;
	bool through = false;
	unsigned parts = 0;
	struct wm_buf b;
	pid_t child;
	int status;

	make_dir();
	snprintf(file, sizeof(file), "%s" WM_RESTORE_SUFFIX, db);
	r = differing(&b, &was);
	before = content(r);
	wm_registry_close(r);
	snprintf(copy, sizeof(copy), "cp %s %s/base", db, dir);
	cr_assert_eq(system(copy), 0);
	snprintf(copy, sizeof(copy), "rm -f %s-*; cp %s/base %s", db, dir, db);
	fflush(NULL);
	for (unsigned steps = 1; !through; steps++) {
		bool half;

		cr_assert_eq(system(copy), 0);
		child = fork();
		if (!child) {
			struct wm_err e = {0};
			int more = 1;

			r = open_at(db);
			x = begin_restore(r, &b);
			for (unsigned n = 0; n < steps && more > 0; n++) {
				more = wm_restore_step(x, &e);
				wm_registry_flush(r);
			}
			_exit(more < 0 ? 2 : !more);
		}
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		through = WEXITSTATUS(status) == 1;
		half = access(file, F_OK) == 0;
		parts += half;
		r = open_at(db);
		cr_assert_neq(access(file, F_OK), 0);
		now = content(r);
		/* it was there in an earlier round: by now it is gone because all is made */
		cr_assert_str_eq(half || parts ? was : before, now, "after %u steps", steps);
		free(now);
		wm_registry_close(r);
	}
	free(before);
	free(was);
	wm_buf_done(&b);
	cr_assert_gt(parts, 5);
}

/* Full in the middle: it says so, and goes on when there is room. */
Test(snapshot, what_is_half_is_told_and_made_whole, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_restore *x;
	struct wm_save_about about;
	struct wm_err e = {0};
	struct rlimit l, none;
	unsigned steps = 0;
	struct wm_buf b;
	char *was, *now;
	int more = 1;

	make_dir();
	signal(SIGXFSZ, SIG_IGN);
	r = differing(&b, &was);
	x = begin_restore(r, &b);
	heard = 0;
	wm_registry_subscribe(r, count_change, NULL);
	for (; more > 0 && !heard; steps++) {
		more = wm_restore_step(x, &e);
		wm_registry_flush(r);
	}
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	none = l;
	none.rlim_cur = 1000;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	while (more > 0) {
		more = wm_restore_step(x, &e);
		wm_registry_flush(r);
	}
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
	cr_assert_eq(more, WM_E_STORE);
	cr_assert(wm_restore_half(x) && wm_restore_pending(r));
	cr_assert_null(strstr(e.text, "nothing was changed"), "%s", e.text);
	wm_restore_free(x);
	/* nobody shall take that for a whole */
	cr_assert_not(wm_registry_about(r, &about), "nothing whole");
	cr_assert_eq(wm_restore_again(r, &x, &e), 0, "%s", e.text);
	for (more = 1; more > 0; wm_registry_flush(r))
		more = wm_restore_step(x, &e);
	cr_assert_eq(more, 0, "%s", e.text);
	wm_restore_free(x);
	cr_assert(!wm_restore_pending(r));
	now = content(r);
	cr_assert_str_eq(was, now);
	free(now);
	free(was);
	wm_registry_close(r);
	wm_buf_done(&b);
}

/* Everything but indexes and rows, which a restore gives anew. */
static char *catalog(const struct wm_registry *r)
{
	struct wm_instance *i;
	struct wm_node *n;
	size_t pos = 0, at = 0, total = 0;
	unsigned count = 0;
	static char lines[64][256];
	struct wm_buf b;

	wm_buf_init(&b, 1u << 20);
	while ((n = wm_registry_next_node(r, &pos)))
		snprintf(lines[count++], 256, "N %s %s %u%s", n->name, n->address,
			 n->holder->checks_count,
			 n->holder->checks_count ? n->holder->checks[0]->id : "");
	while ((i = wm_registry_next_instance(r, &at)))
		snprintf(lines[count++], 256, "I %s/%s %s:%u %08x catalog=%d st=%d checks=%u",
			 i->node->name, i->id, i->service->name, i->port, i->addr4.s_addr,
			 wm_instance_shared(i), i->status, i->checks_count);
	qsort(lines, count, sizeof(lines[0]), (int (*)(const void *, const void *))strcmp);
	for (unsigned k = 0; k < count; k++, total++)
		wm_buf_printf(&b, "%s\n", lines[k]);
	return b.data;
}

static void write_catalog(struct wm_registry *r, const char *node, const char *address,
			  const char *id, const char *service, enum wm_status s)
{
	const struct wm_node_draft facts = {.address = address};
	const struct wm_instance_draft i = {.id = id, .name = service, .port = 70};
	const struct wm_check_draft c = {
		.id = "up", .name = "up", .kind = WM_CHECK_STATED, .has_status = true, .status = s};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = node, .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .node = node, .service = &i},
		{.object = WM_OBJECT_CHECK, .node = node, .check = &c, .check_service = id}};
	struct wm_err e = {0};
	unsigned failed, first = address ? 0 : 1;

	cr_assert_eq(wm_registry_catalog(
			     r,
			     &(struct wm_catalog_batch){ops + first, 3 - first, NULL, NULL, NULL},
			     &failed, &e),
		     0, "%s", e.text);
	wm_registry_flush(r);
}

Test(snapshot, holds_the_catalog, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_err e = {0};
	struct wm_buf b;
	char *was, *now;

	make_dir();
	r = open_at(db);
	put(r, "mine", "web", 1);
	write_catalog(r, "shale", "10.8.0.1", "wax", "wax", WM_CRITICAL);
	write_catalog(r, "slate", "10.8.0.2", "wax", "wax", WM_PASSING);
	write_catalog(r, "n1", NULL, "theirs", "tin", WM_WARNING);
	was = catalog(r);
	save(r, &b, NULL);
	/* a node goes, one comes, one moves, an id changes its owner */
	const struct wm_catalog_op gone = {
		.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "slate"};
	const struct wm_catalog_op tin = {
		.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = "n1", .id = "theirs"};
	unsigned failed;
	wm_registry_catalog(r, &(struct wm_catalog_batch){.ops = &gone, .count = 1}, &failed, &e);
	wm_registry_catalog(r, &(struct wm_catalog_batch){.ops = &tin, .count = 1}, &failed, &e);
	wm_registry_flush(r);
	put(r, "theirs", "tin", 9);
	write_catalog(r, "gneiss", "10.8.0.3", "x", "y", WM_PASSING);
	write_catalog(r, "shale", "10.8.9.9", "wax", "wax", WM_PASSING);
	cr_assert_eq(restore(r, &b, 50, &e), 0, "%s", e.text);
	now = catalog(r);
	cr_assert_str_eq(was, now);
	free(now);
	wm_registry_close(r);
	r = open_at(db);
	now = catalog(r);
	cr_assert_str_eq(was, now, "it is stored");
	free(now);
	wm_registry_close(r);
	/* onto an agent that has nothing */
	r = open_at(NULL);
	cr_assert_eq(restore(r, &b, 7, &e), 0, "%s", e.text);
	now = catalog(r);
	cr_assert_str_eq(was, now);
	free(now);
	free(was);
	wm_registry_close(r);
	wm_buf_done(&b);
}

Test(snapshot, every_flipped_octet_is_refused, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_err e = {0};
	struct wm_buf b;

	make_dir();
	r = open_at(db);
	fill(r, 8);
	save(r, &b, NULL);
	cr_assert_eq(load(b.data, b.len, b.len, NULL, &e), 0);
	for (size_t at = 0; at < b.len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			b.data[at] = (char)(b.data[at] ^ (1 << bit));
			cr_assert_neq(load(b.data, b.len, b.len, NULL, &e), 0, "octet %zu bit %d",
				      at, bit);
			b.data[at] = (char)(b.data[at] ^ (1 << bit));
		}
		cr_assert_neq(load(b.data, at, 1000, NULL, &e), 0, "cut at %zu", at);
	}
	wm_buf_putc(&b, 0);
	cr_assert_neq(load(b.data, b.len, 77, NULL, &e), 0, "something behind the end");
	wm_registry_close(r);
	wm_buf_done(&b);
}

/* A stream that somebody made, all of whose checksums are right. */
static void forge_begin(struct wm_buf *b)
{
	uint8_t head[WM_SNAPSHOT_HEAD] = WM_SNAPSHOT_MAGIC;

	wm_snapshot_put64(head + 16, 5);
	wm_buf_reset(b);
	wm_buf_put(b, head, sizeof(head));
}

static void forge(struct wm_buf *b, uint32_t tag, uint64_t row, const struct wm_buf *record)
{
	uint8_t head[WM_SNAPSHOT_FRAME];

	wm_snapshot_put32(head, tag);
	wm_snapshot_put32(head + 4, (uint32_t)record->len);
	wm_snapshot_put64(head + 8, row);
	wm_buf_put(b, head, sizeof(head));
	wm_buf_put(b, record->data, record->len);
}

static void forge_end(struct wm_buf *b, uint64_t frames)
{
	uint8_t head[WM_SNAPSHOT_FRAME], sum[8];

	wm_snapshot_put32(head, WM_SNAPSHOT_LAST);
	wm_snapshot_put32(head + 4, 8);
	wm_snapshot_put64(head + 8, frames);
	wm_buf_put(b, head, sizeof(head));
	wm_snapshot_put64(sum, wm_snapshot_sum(WM_SNAPSHOT_SUM, b->data, b->len));
	wm_buf_put(b, sum, sizeof(sum));
}

static void forge_instance(struct wm_buf *b, struct wm_buf *record, uint64_t row, const char *id,
			   const char *name, const char *address)
{
	struct wm_instance_draft d = {.id = id, .name = name, .address = address, .port = 1};
	struct wm_instance *i = wm_instance_build(&d);

	cr_assert_eq(wm_record_put_instance(record, row, i), 0);
	forge(b, 1 + WM_STORE_INSTANCES, row, record);
	wm_instance_free(i, true);
}

Test(snapshot, what_a_client_may_not_register_is_refused)
{
	static const struct {
		const char *id, *name, *address, *service;
		const char *why; /* NULL: good */
	} all[] = {
		{"i", "web", "10.0.0.1", "web", NULL},
		{"i", "../../etc", "10.0.0.1", "web", "service that is not there"},
		{"i", "we\nb", "10.0.0.1", "web", "may not be registered"},
		{"i", "web", "not an address!", "web", "may not be registered"},
		{"i\n", "web", "10.0.0.1", "web", "may not be registered"},
		{"i", "other", "10.0.0.1", "web", "service that is not there"},
		{"i", "web", "10.0.0.1", "under_score", "service that is not there"},
		{"i", "web", "10.0.0.1", "under\nscore", "cannot be decoded"},
		{"i", "web", "240.0.0.9", "web", "virtual addresses"},
	};
	struct wm_registry *r = open_at(NULL);
	struct wm_record_meta m = {100, "node", 7, NULL};
	struct wm_buf b, record;
	struct wm_err e;

	wm_buf_init(&b, 1 << 20);
	wm_buf_init(&record, 1 << 20);
	put(r, "here", "here", 1);
	for (size_t n = 0; n < WM_ARRAY_LEN(all); n++) {
		struct wm_record_service s = {.name = all[n].service, .create_index = 1};
		uint64_t index = wm_registry_index(r);
		int err;

		memset(&e, 0, sizeof(e));
		forge_begin(&b);
		cr_assert_eq(wm_record_put_meta(&record, &m), 0);
		forge(&b, 1 + WM_STORE_META, 0, &record);
		cr_assert_eq(wm_record_put_service(&record, 1, &s), 0);
		forge(&b, 1 + WM_STORE_SERVICES, 1, &record);
		forge_instance(&b, &record, 1, all[n].id, all[n].name, all[n].address);
		forge_end(&b, 3);
		err = restore(r, &b, 10, &e);
		cr_assert_eq(err != 0, all[n].why != NULL, "%zu: %s", n, e.text);
		if (all[n].why) {
			cr_assert_not_null(strstr(e.text, all[n].why), "%zu: %s", n, e.text);
			cr_assert_eq(wm_registry_index(r), index);
		}
	}
	/* the same id twice, a length of nonsense, no record of the registry, an index out of range
	 */
	forge_begin(&b);
	forge_instance(&b, &record, 1, "i", "web", "");
	forge_instance(&b, &record, 2, "i", "web", "");
	forge_end(&b, 2);
	cr_assert_eq(load(b.data, b.len, 7, NULL, &e), WM_E_INVALID);
	cr_assert_not_null(strstr(e.text, "twice"));
	forge_begin(&b);
	forge_end(&b, 0);
	cr_assert_eq(load(b.data, b.len, 7, NULL, &e), WM_E_INVALID);
	forge_begin(&b);
	wm_buf_put(&b, "\1\0\0\0\377\377\377\377", 8);
	wm_buf_put(&b, "\0\0\0\0\0\0\0\0", 8);
	cr_assert_eq(load(b.data, b.len, 7, NULL, &e), WM_E_INVALID);
	wm_buf_done(&b);
	wm_buf_done(&record);
	wm_registry_close(r);
}

/* This agent probes for its own node only; a check of another's would be one that a forger wants
 * run. */
Test(snapshot, a_probed_check_of_another_node_is_refused)
{
	struct wm_check_draft c = {.id = "up", .name = "up", .interval_ms = 1000};
	struct wm_instance_draft d = {.id = "i", .name = "web", .checks = &c, .checks_count = 1};
	const struct wm_node_draft facts = {.address = "10.0.0.2"};
	struct wm_record_service s = {.name = "web", .create_index = 1};
	struct wm_registry *r = open_at(NULL);
	struct wm_node *other = wm_node_new("n2", &facts);
	struct wm_record_meta m = {100, "node", 7, NULL};
	struct wm_buf b, record;

	wm_buf_init(&b, 1 << 20);
	wm_buf_init(&record, 1 << 20);
	other->row = 2;
	for (unsigned kind = 0; kind < WM_CHECK_KIND_COUNT; kind++) {
		const char *const args[] = {"/bin/true"};
		struct wm_instance *i;
		struct wm_err e = {0};
		int err;

		c.kind = (enum wm_check_kind)kind;
		c.target = kind == WM_CHECK_HTTP ? "http://10.0.0.2/" : "10.0.0.2:80";
		c.args = args;
		c.args_count = kind == WM_CHECK_SCRIPT;
		i = wm_instance_build(&d);
		i->version.origin = WM_ORIGIN_SHARED;
		i->node = other;
		forge_begin(&b);
		cr_assert_eq(wm_record_put_meta(&record, &m), 0);
		forge(&b, 1 + WM_STORE_META, 0, &record);
		cr_assert_eq(wm_record_put_service(&record, 1, &s), 0);
		forge(&b, 1 + WM_STORE_SERVICES, 1, &record);
		cr_assert_eq(wm_record_put_catalog_node(&record, other), 0);
		forge(&b, 1 + WM_STORE_INSTANCES, 2, &record);
		cr_assert_eq(wm_record_put_instance(&record, 3, i), 0);
		forge(&b, 1 + WM_STORE_INSTANCES, 3, &record);
		forge_end(&b, 4);
		err = restore(r, &b, 10, &e);
		cr_assert_eq(err == 0, kind == WM_CHECK_STATED, "kind %u: %d %s", kind, err,
			     e.text);
		if (err)
			cr_assert_not_null(strstr(e.text, "of node \"n2\""), "%s", e.text);
		wm_instance_free(i, true);
	}
	wm_node_free(other);
	wm_buf_done(&b);
	wm_buf_done(&record);
	wm_registry_close(r);
}

Test(snapshot, limits_hold)
{
	struct wm_registry_config c = config(NULL);
	struct wm_registry *r = NULL;
	struct wm_snapshot *s = wm_snapshot_new(true, 100);
	char zeros[200] = WM_SNAPSHOT_MAGIC;
	struct wm_err e = {0};
	struct wm_buf b;

	cr_assert_eq(wm_snapshot_feed(s, zeros, 101, &e), WM_E_LIMIT);
	wm_snapshot_free(s);
	make_dir();
	r = open_at(db);
	fill(r, 30);
	save(r, &b, NULL);
	wm_registry_close(r);
	rm_dir();
	c.instances_max = 10;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0);
	cr_assert_eq(restore(r, &b, 1000, &e), WM_E_CAPACITY);
	cr_assert_eq(wm_registry_instances(r), 0);
	wm_registry_close(r);
	c.instances_max = 1000;
	c.services_max = 2;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0);
	cr_assert_eq(restore(r, &b, 1000, &e), WM_E_CAPACITY, "%s", e.text);
	cr_assert_eq(wm_registry_instances(r), 0);
	cr_assert_eq(put(r, "x", "svc-1", 1), 0);
	wm_registry_close(r);
	c.services_max = 100;
	c.checks_max = 3;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0);
	cr_assert_eq(restore(r, &b, 1000, &e), WM_E_CAPACITY);
	cr_assert_not_null(strstr(e.text, "at most 3 are allowed (checks_max)"), "%s", e.text);
	cr_assert_eq(wm_registry_instances(r), 0);
	wm_registry_close(r);
	wm_buf_done(&b);
}

/* Kept while it is used, in the number that was asked for; restored with no agent running. */
Test(snapshot, the_last_known_good_is_kept_and_restored_offline, .fini = rm_dir)
{
	struct wm_loop *l = wm_loop_new();
	char state[96], path[4096], aside[4096];
	struct wm_keep_config c = {.data_dir = state, .interval_ms = 50, .count = 2};
	struct wm_keep_stats st = {0};
	struct wm_registry *r;
	struct wm_keep *k;
	struct wm_err e = {0};
	char *before, *after;
	uint64_t end, index;
	DIR *d;
	int kept = 0;

	make_dir();
	snprintf(state, sizeof(state), "%s/state", dir);
	r = open_at(db);
	fill(r, 600);
	cr_assert_eq(wm_keep_newest(state, path, NULL), 0);
	c.writer = wm_registry_writer(r);
	c.about = wm_registry_about;
	c.arg = r;
	k = wm_keep_new(l, &c);
	end = wm_clock_ms() + 60000;
	for (unsigned n = 0; st.kept < 4 && wm_clock_ms() < end; n++) {
		uint64_t was = st.kept;

		wm_loop_turn(l, 5);
		wm_registry_flush(r);
		wm_keep_stats(k, &st);
		if (st.kept > was && st.kept < 4) /* without a change none is kept */
			cr_assert_eq(put_any(r, n % 600, 2000 + n % 1000), 0);
	}
	cr_assert_eq(st.kept, 4);
	cr_assert_eq(st.failed, 0, "%s", st.last_error);
	wm_keep_free(k);
	before = content(r);
	index = wm_registry_index(r);
	cr_assert_eq(wm_keep_newest(state, path, NULL), index);
	d = opendir(state);
	for (struct dirent *n; (n = readdir(d));)
		kept += strncmp(n->d_name, "keep", 4) == 0;
	closedir(d);
	cr_assert_eq(kept, 2);
	cr_assert_eq(wm_snapshot_restore_offline(path, state, aside, &e), -EBUSY, "%s", e.text);
	wm_registry_close(r);
	/* the store is lost */
	cr_assert_eq(truncate(db, 3000), 0);
	cr_assert_eq(wm_snapshot_restore_offline(path, state, aside, &e), 0, "%s", e.text);
	cr_assert_eq(access(aside, F_OK), 0, "%s", aside);
	r = open_at(db);
	after = content(r);
	cr_assert_str_eq(before, after);
	cr_assert_gt(wm_registry_index(r), index);
	wm_registry_close(r);
	free(before);
	free(after);
	/* a damaged one changes nothing */
	cr_assert_eq(truncate(path, 3000), 0);
	cr_assert_eq(wm_snapshot_restore_offline(path, state, aside, &e), WM_E_INVALID);
	r = open_at(db);
	cr_assert_eq(wm_registry_instances(r), 600);
	wm_registry_close(r);
	wm_loop_free(l);
}
