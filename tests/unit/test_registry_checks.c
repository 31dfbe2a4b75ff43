/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
/* Writes on single checks: of instances and of the node, among other writes, on a store that fails,
 * and after a restart. */
#include "registry_help.h"
#include "userspace/base/buf.h"
#include "userspace/base/random.h"
#include "userspace/registry/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct wm_check_draft beat(const char *id, uint64_t ttl_ms, enum wm_status s)
{
	return (struct wm_check_draft){.id = id,
				       .name = id,
				       .kind = WM_CHECK_TTL,
				       .ttl_ms = ttl_ms,
				       .has_status = true,
				       .status = s};
}

static void queue_check(struct wm_registry *r, const char *owner, const char *id, enum wm_status s,
			struct answer *a)
{
	struct wm_check_draft d = beat(id, 1000, s);

	cr_assert_eq(wm_registry_check_register(r, owner, &d, answered, a, NULL), 0);
}

/* Everything, the node's checks included. */
static char *show_all(struct wm_registry *r)
{
	const struct wm_instance *node = wm_registry_node_checks(r);
	char *instances = show(r);
	struct wm_buf b;

	wm_buf_init(&b, 1 << 22);
	wm_buf_puts(&b, instances);
	wm_buf_printf(&b, "node %s\n", wm_status_str(node->status));
	for (unsigned n = 0; n < node->checks_count; n++) {
		const struct wm_check *c = node->checks[n];

		wm_buf_printf(&b, "  %s %s %d %s %s %llu %llu\n", c->id, c->name, (int)c->kind,
			      wm_status_str(c->status), c->notes,
			      (unsigned long long)c->create_index,
			      (unsigned long long)c->modify_index);
		cr_assert_eq(c->instance, node);
		cr_assert_eq(wm_registry_check(r, c->id), c);
	}
	free(instances);
	return b.data;
}

Test(registry_checks, writes_of_a_batch_see_each_other)
{
	struct wm_registry *r = open_at(NULL);
	struct answer a[12] = {0};
	struct wm_instance_draft web = {.id = "a", .name = "web"};
	const struct wm_instance *i;
	struct wm_buf b;

	wm_buf_init(&b, 65536);
	wm_registry_subscribe(r, record_change, &b);
	queue_check(r, "a", "early", WM_PASSING, &a[0]);
	wm_registry_register(r, &web, answered, &a[1], NULL);
	queue_check(r, "a", "k", WM_PASSING, &a[2]);
	queue_check(r, "a", "k", WM_PASSING, &a[3]);
	wm_registry_maintenance(r, "a", true, NULL, answered, &a[4], NULL);
	queue_check(r, "", "disk", WM_WARNING, &a[5]);
	wm_registry_maintenance(r, "a", false, NULL, answered, &a[6], NULL);
	wm_registry_check_deregister(r, "k", answered, &a[7], NULL);
	wm_registry_check_deregister(r, "k", answered, &a[8], NULL);
	wm_registry_maintenance(r, "", true, "why", answered, &a[9], NULL);
	wm_registry_maintenance(r, "", true, "why", answered, &a[10], NULL);
	wm_registry_maintenance(r, "none", true, NULL, answered, &a[11], NULL);
	cr_assert(wm_registry_flush(r));
	for (int n = 0; n < 12; n++) {
		cr_assert_eq(a[n].called, 1, "%d", n);
		cr_assert_eq(a[n].code, n == 0 || n == 8 || n == 11 ? WM_E_UNKNOWN : 0, "%d: %s", n,
			     a[n].text);
	}
	cr_assert_str_eq(a[0].text, "ServiceID \"a\" does not exist");
	cr_assert_str_eq(b.data, "+svc web;upsert web/a;" /* then k, maintenance, the node */
				 "upsert web/a;old;upsert web/a;old;node node/;"
				 /* the warning shows when maintenance has ended */
				 "-check web/a/_service_maintenance:a;upsert web/a;old;"
				 "-check web/a/k;upsert web/a;old;"
				 "node node/;status web/a;");
	i = wm_registry_instance(r, "a");
	cr_assert_eq(i->status, WM_CRITICAL);
	cr_assert_eq(i->checks_count, 0);
	cr_assert_eq(wm_registry_node_checks(r)->checks_count, 2);
	cr_assert_eq(i->service->index, wm_registry_index(r), "the node moves every service");
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "disk"), WM_PASSING, ""), 1);
	cr_assert_eq(i->status, WM_CRITICAL, "maintenance stands");
	wm_buf_done(&b);
	wm_registry_close(r);
}

Test(registry_checks, a_status_of_the_node_is_every_instances)
{
	struct wm_registry *r = open_at(NULL);
	struct answer a = {0};
	struct wm_check *c;
	struct wm_buf b;

	wm_buf_init(&b, 65536);
	put(r, "a", "web", 1);
	put(r, "b", "web", 2);
	queue_check(r, "", "disk", WM_PASSING, &a);
	queue_check(r, "b", "own", WM_CRITICAL, &a);
	wm_registry_flush(r);
	wm_registry_subscribe(r, record_change, &b);
	c = wm_registry_check(r, "disk");
	cr_assert_eq(wm_registry_set_status(r, c, WM_CRITICAL, "full"), 1);
	cr_assert_str_eq(b.data, "node node//disk;status web/a;", "b was critical before");
	wm_buf_reset(&b);
	cr_assert_eq(wm_registry_set_status(r, c, WM_WARNING, NULL), 1);
	cr_assert_str_eq(b.data, "node node//disk;status web/a;");
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_WARNING);
	cr_assert_eq(wm_registry_instance(r, "b")->status, WM_CRITICAL);
	cr_assert_str_eq(c->output, "full");
	wm_buf_done(&b);
	wm_registry_close(r);
}

/* Index of a service when its instance was announced. */
static void note_index(void *arg, const struct wm_change *c)
{
	if (c->kind == WM_CHANGE_INSTANCE_UPSERT)
		*(uint64_t *)arg = c->service->index;
}

/* The node is announced when what follows it in the transaction is linked already. */
static void on_first(void *arg, const struct wm_check *c)
{
	cr_assert_str_eq(c->output, "refused");
	++*(unsigned *)arg;
}

Test(registry_checks, a_first_result_that_changes_nothing_is_heard_of)
{
	struct wm_registry *r = open_at(NULL);
	struct answer a = {0};
	unsigned heard = 0;

	wm_registry_on_first_result(r, on_first, &heard);
	queue_check(r, NULL, "down", WM_CRITICAL, &a);
	queue_check(r, NULL, "up", WM_PASSING, &a);
	wm_registry_flush(r);
	cr_assert_eq(a.code, 0);
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "up"), WM_PASSING, "ok"), 0);
	cr_assert_eq(heard, 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "down"), WM_CRITICAL,
						    "refused"),
			     0);
	cr_assert_eq(heard, 1);
	wm_registry_close(r);
}

static void count_statuses(void *arg, const struct wm_change *c)
{
	*(unsigned *)arg += c->kind == WM_CHANGE_STATUS;
}

/* Who blocks on an instance, or follows events, hears of what is shown of it. */
Test(registry_checks, a_derived_state_that_changes_is_announced)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft d = beat("up", 1000, WM_CRITICAL);
	struct answer a = {0};
	struct wm_instance *i;
	unsigned statuses = 0;
	struct wm_check *c;
	uint64_t index;

	put(r, "a", "web", 1);
	d.has_status = false;
	cr_assert_eq(wm_registry_check_register(r, "a", &d, answered, &a, NULL), 0);
	wm_registry_flush(r);
	i = wm_registry_instance(r, "a");
	c = wm_registry_check(r, "up");
	wm_registry_subscribe(r, count_statuses, &statuses);
	cr_assert_eq(wm_instance_state(i), WM_LIFE_UNKNOWN);
	index = wm_registry_index(r);
	cr_assert_eq(wm_registry_set_status(r, c, WM_CRITICAL, "refused"), 0);
	cr_assert_eq(wm_instance_state(i), WM_LIFE_UNHEALTHY);
	cr_assert_eq(statuses, 1);
	cr_assert_eq(wm_registry_index(r), index + 1);
	cr_assert_eq(i->service->index, index + 1);
	cr_assert_eq(wm_registry_set_status(r, c, WM_CRITICAL, "again"), 0);
	cr_assert_eq(statuses, 1);
	wm_registry_close(r);
}

/* --- a large node ----------------------------------------------------------------------------- */
#define CROWD 3000

struct crowd {
	struct wm_registry *r;
	uint64_t turn;
	enum wm_status wanted; /* what all are when the write is answered */
	unsigned announced, wrong, answers;
};

static void wake_nobody(void *arg)
{
	(void)arg; /* who finishes waits for the thread */
}

static uint64_t turn_of(void *arg, bool again)
{
	(void)again;
	return ((struct crowd *)arg)->turn;
}

static void watch_crowd(void *arg, const struct wm_change *c)
{
	struct crowd *x = arg;

	if (c->kind != WM_CHANGE_STATUS || c->check)
		return;
	x->announced++;
	x->wrong += c->index != wm_registry_index(x->r) || c->service->index < c->index;
}

static void crowd_follows(void *arg, int code, const char *text)
{
	struct wm_instance *i;
	struct crowd *x = arg;
	size_t pos = 0;

	cr_assert_eq(code, 0, "%s", text);
	while ((i = wm_registry_next_instance(x->r, &pos)))
		x->wrong += i->status != x->wanted;
	x->answers++;
}

static void turn(struct crowd *x)
{
	x->turn++;
	wm_registry_flush(x->r);
}

/* Over turns; a write is answered when all followed; a change in between is right as well. */
Test(registry_checks, what_is_on_a_large_node_follows_it, .init = make_dir, .fini = rm_dir)
{
	struct wm_registry_config c = config(db);
	struct answer disk = {0}, ends = {0};
	struct crowd x = {.wanted = WM_CRITICAL};
	char id[16];

	c.wake = wake_nobody;
	c.turn = turn_of;
	c.turn_arg = &x;
	c.sync_off = true;
	cr_assert_eq(wm_registry_open(&c, &x.r, NULL), 0);
	for (unsigned n = 0; n < CROWD; n++) {
		struct wm_instance_draft d = {.id = id, .name = "web", .port = 1};

		snprintf(id, sizeof(id), "i%u", n);
		cr_assert_eq(wm_registry_register(x.r, &d, NULL, NULL, NULL), 0);
	}
	wm_registry_finish(x.r);
	cr_assert_eq(wm_registry_instances(x.r), CROWD);
	wm_registry_subscribe(x.r, watch_crowd, &x);
	wm_registry_maintenance(x.r, "", true, NULL, crowd_follows, &x, NULL);
	while (!x.answers)
		turn(&x);
	cr_assert_eq(x.announced, CROWD);
	cr_assert_eq(x.wrong, 0);
	/* it ends, and when some followed a check of the node warns */
	queue_check(x.r, "", "disk", WM_PASSING, &disk);
	wm_registry_finish(x.r);
	x.announced = 0;
	wm_registry_maintenance(x.r, "", false, NULL, answered, &ends, NULL);
	while (!x.announced)
		turn(&x);
	wm_registry_set_status(x.r, wm_registry_check(x.r, "disk"), WM_WARNING, "full");
	while (!ends.called)
		turn(&x);
	wm_registry_finish(x.r);
	x.wanted = WM_WARNING;
	crowd_follows(&x, 0, "");
	cr_assert_eq(x.wrong, 0);
	wm_registry_close(x.r);
}

Test(registry_checks, the_node_moves_no_index_back)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_instance_draft web = {.id = "a", .name = "web", .port = 2};
	struct answer a[2] = {0};
	uint64_t seen = 0;

	put(r, "a", "web", 1);
	wm_registry_subscribe(r, note_index, &seen);
	queue_check(r, "", "disk", WM_CRITICAL, &a[0]);
	wm_registry_register(r, &web, answered, &a[1], NULL);
	wm_registry_flush(r);
	cr_assert_eq(a[0].code | a[1].code, 0);
	cr_assert_eq(seen, wm_registry_index(r));
	cr_assert_eq(wm_registry_instance(r, "a")->status, WM_CRITICAL);
	wm_registry_close(r);
}

/* --- a store that fails, and restarts --------------------------------------------------------- */
/* As a full disk: no octet can be written. */
static void disk(bool full)
{
	static rlim_t before;
	struct rlimit l;

	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	if (!before)
		before = l.rlim_cur;
	l.rlim_cur = full ? 1 : before;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void random_write(struct wm_registry *r, struct answer *a)
{
	char id[16], check[16];
	const char *owner = wm_random_below(3) ? id : "";
	enum wm_status s = (enum wm_status)wm_random_below(3);

	snprintf(id, sizeof(id), "i%u", (unsigned)wm_random_below(3));
	/* of three owners and four checks, so that some are asked for by another owner */
	snprintf(check, sizeof(check), "k%u", (unsigned)wm_random_below(4));
	switch (wm_random_below(6)) {
	case 0: {
		char name[16];
		struct wm_check_draft own = beat(check, 5, s);
		struct wm_instance_draft d = {.id = id,
					      .name = name,
					      .checks = &own,
					      .checks_count = (unsigned)wm_random_below(2),
					      .replace_checks = wm_random_below(2)};

		snprintf(name, sizeof(name), "s%u", (unsigned)wm_random_below(2));
		wm_registry_register(r, &d, answered, a, NULL);
		break;
	}
	case 1:
		wm_registry_deregister(r, id, answered, a, NULL);
		break;
	case 2:
	case 3:
		queue_check(r, owner, check, s, a);
		break;
	case 4:
		wm_registry_check_deregister(r, check, answered, a, NULL);
		break;
	default:
		wm_registry_maintenance(r, owner, wm_random_below(2), NULL, answered, a, NULL);
	}
}

static void must_be(struct wm_registry *r, char *want)
{
	char *have = show_all(r);

	cr_assert_str_eq(have, want);
	free(have);
	free(want);
}

Test(registry_checks, random_writes_on_a_store_that_fails, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_check *c;
	struct wm_buf b;
	unsigned failed = 0, maintained = 0;

	make_dir();
	signal(SIGXFSZ, SIG_IGN);
	r = open_at(db);
	wm_buf_init(&b, 1 << 20);
	wm_registry_subscribe(r, record_change, &b);
	for (int round = 0; round < 600; round++) {
		struct answer a[5] = {0};
		unsigned writes = 1 + (unsigned)wm_random_below(5);
		bool full = wm_random_below(3) == 0;
		char *before = show_all(r);

		wm_buf_reset(&b);
		for (unsigned n = 0; n < writes; n++)
			random_write(r, &a[n]);
		if (full)
			disk(true);
		wm_registry_flush(r);
		disk(false);
		for (unsigned n = 0; n < writes; n++) {
			cr_assert_eq(a[n].called, 1);
			failed += full && a[n].code && a[n].code != WM_E_UNKNOWN &&
				  a[n].code != WM_E_CONFLICT && a[n].code != WM_E_INVALID;
		}
		if (full) {
			cr_assert_eq(b.len, 0, "%s", b.data);
			must_be(r, before);
		} else {
			free(before);
		}
		c = wm_registry_check(r, "k1");
		if (c && wm_random_below(2))
			wm_registry_set_status(r, c, (enum wm_status)wm_random_below(3), NULL);
		maintained += wm_registry_check(r, WM_NODE_MAINTENANCE_ID) != NULL;
		if (wm_random_below(10) == 0) {
			before = show_all(r);
			wm_registry_close(r);
			r = open_at(db);
			must_be(r, before);
			wm_registry_subscribe(r, record_change, &b);
		}
	}
	cr_assert_gt(failed, 50);
	cr_assert_gt(maintained, 50);
	wm_registry_close(r);
	wm_buf_done(&b);
}

/* A check with all headers that it may have, each as long as it may be: some 65 KiB of record. */
static int put_large_check(struct wm_registry *r, unsigned n, struct answer *a)
{
	static char value[WM_CHECK_HEADER_MAX + 1];
	static char names[WM_CHECK_HEADERS_MAX][WM_CHECK_HEADER_MAX + 1];
	struct wm_pair headers[WM_CHECK_HEADERS_MAX];
	struct wm_check_draft d = {.kind = WM_CHECK_HTTP,
				   .target = "http://10.0.0.1/",
				   .interval_ms = 10000,
				   .headers = headers,
				   .headers_count = WM_CHECK_HEADERS_MAX};
	char id[32];
	int err;

	memset(value, 'v', sizeof(value) - 1);
	for (unsigned k = 0; k < WM_CHECK_HEADERS_MAX; k++) {
		memset(names[k], 'n', WM_CHECK_HEADER_MAX);
		headers[k] = (struct wm_pair){names[k], value};
	}
	snprintf(id, sizeof(id), "large-%02u", n);
	d.id = d.name = id;
	*a = (struct answer){0};
	err = wm_registry_check_register(r, "big", &d, answered, a, NULL);
	if (!err)
		wm_registry_flush(r);
	return err ? err : a->code;
}

/* Outputs that grow after the registration: the write of another instance is none of their matter,
 * and what was acknowledged is there after a restart. */
Test(registry_checks, outputs_may_grow_to_their_bound, .fini = rm_dir)
{
	struct wm_registry_stats stats;
	char output[WM_CHECK_OUTPUT_MAX + 1];
	struct wm_registry *r;
	const struct wm_instance *i;
	struct answer a;
	unsigned n = 0;

	make_dir();
	r = open_at(db);
	cr_assert_eq(put(r, "big", "web", 80), 0);
	while (n < WM_CHECKS_PER_INSTANCE && !put_large_check(r, n, &a))
		n++;
	cr_assert_eq(a.code, WM_E_LIMIT, "%u checks", n);
	cr_assert(strstr(a.text, "too large to be stored: at most 2097152 octets"), "%s", a.text);
	cr_assert_gt(n, 20);
	memset(output, 'o', sizeof(output) - 1);
	output[sizeof(output) - 1] = 0;
	i = wm_registry_instance(r, "big");
	cr_assert_eq(i->checks_count, n);
	for (unsigned k = 0; k < n; k++)
		cr_assert_eq(wm_registry_set_status(r, i->checks[k], WM_PASSING, output), 1);
	cr_assert_eq(put(r, "other", "web", 81), 0);
	cr_assert_eq(wm_registry_maintenance(r, "big", true, output, answered, &a, NULL),
		     WM_E_LIMIT);
	output[WM_CHECK_NOTES_MAX] = 0;
	a = (struct answer){0};
	cr_assert_eq(wm_registry_maintenance(r, "big", true, output, answered, &a, NULL), 0);
	wm_registry_flush(r);
	cr_assert_eq(a.code, 0, "%s", a.text);
	wm_registry_stats(r, &stats);
	cr_assert_eq(stats.failed_commits, 0);
	cr_assert_eq(stats.rows_cut, 0);
	wm_registry_close(r);
	r = open_at(db);
	i = wm_registry_instance(r, "big");
	cr_assert_eq(i->checks_count, n + 1);
	cr_assert_eq(strlen(wm_registry_check(r, "large-00")->output), WM_CHECK_OUTPUT_MAX);
	cr_assert_eq(wm_registry_check(r, "large-00")->status, WM_PASSING);
	wm_registry_close(r);
}

/* A row that does not fit, whyever, fails no commit: not another's, and its status is stored. */
Test(registry_checks, a_row_too_large_is_its_own_matter, .fini = rm_dir)
{
	struct wm_check_draft ttl[2] = {beat("k", 10000, WM_CRITICAL),
					beat("l", 10000, WM_CRITICAL)};
	struct wm_instance_draft web = {
		.id = "web", .name = "web", .checks = ttl, .checks_count = 2};
	char output[WM_CHECK_OUTPUT_MAX + 1];
	struct wm_registry_stats stats;
	struct wm_registry *r;

	make_dir();
	r = open_at(db);
	cr_assert_eq(put_draft(r, &web), 0);
	memset(output, 'o', sizeof(output) - 1);
	output[sizeof(output) - 1] = 0;
	wm_registry_set_status(r, wm_registry_check(r, "k"), WM_PASSING, output);
	wm_registry_set_status(r, wm_registry_check(r, "l"), WM_PASSING, output);
	r->record.max = WM_CHECK_OUTPUT_MAX * 3 / 2;
	cr_assert_eq(put(r, "other", "web", 81), 0);
	wm_registry_stats(r, &stats);
	cr_assert_eq(stats.failed_commits, 0);
	cr_assert_eq(stats.rows_cut, 1);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_check(r, "k")->status, WM_PASSING);
	cr_assert_str_empty(wm_registry_check(r, "k")->output);
	wm_registry_close(r);
}

/* A heartbeat waits for its own row and one commit, not for the rows of everybody. */
Test(registry_checks, a_heartbeat_waits_for_its_own_row, .fini = rm_dir)
{
	enum { MANY = 3000 };
	struct wm_registry_stats before, after;
	struct wm_registry *r;
	struct answer a = {0};
	unsigned dirty = 0;
	char id[32];

	make_dir();
	r = open_at(db);
	for (unsigned n = 0; n < MANY; n++) {
		struct wm_check_draft d = beat(id, 10000, WM_CRITICAL);
		struct wm_instance_draft i = {
			.id = id, .name = "web", .checks = &d, .checks_count = 1};

		snprintf(id, sizeof(id), "i%u", n);
		cr_assert_eq(wm_registry_register(r, &i, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(r);
	wm_registry_stats(r, &before);
	for (unsigned n = 0; n < MANY; n++) {
		snprintf(id, sizeof(id), "i%u", n);
		wm_registry_set_status(r, wm_registry_check(r, id), WM_PASSING, NULL);
	}
	/* the last one that changed, behind all others */
	cr_assert_eq(wm_registry_sync(r, wm_registry_check(r, id), answered, &a), 0);
	wm_registry_flush(r);
	cr_assert(a.called && !a.code);
	wm_registry_stats(r, &after);
	cr_assert_eq(after.commits - before.commits, 1);
	for (unsigned n = 0; n < MANY; n++) {
		snprintf(id, sizeof(id), "i%u", n);
		dirty += wm_box(wm_registry_check(r, id)->instance)->dirty;
	}
	cr_assert_eq(dirty, MANY - WM_REGISTRY_DIRTY_RIDE);
	cr_assert(!wm_box(wm_registry_check(r, "i2999")->instance)->dirty);
	/* one that changed nothing waits for no commit at all */
	a.called = 0;
	cr_assert_eq(wm_registry_sync(r, wm_registry_check(r, "i2999"), answered, &a), 0);
	wm_registry_flush(r);
	cr_assert(a.called && !a.code);
	wm_registry_stats(r, &after);
	cr_assert_eq(after.commits - before.commits, 1);
	signal(SIGXFSZ, SIG_IGN);
	/* what the disk refuses is told, and does not keep those behind it from their time */
	disk(true);
	wm_registry_set_status(r, wm_registry_check(r, "i2999"), WM_CRITICAL, NULL);
	a.called = 0;
	cr_assert_eq(wm_registry_sync(r, wm_registry_check(r, "i2999"), answered, &a), 0);
	wm_registry_flush(r);
	disk(false);
	cr_assert(a.called && a.code);
	cr_assert(wm_box(wm_registry_check(r, "i2999")->instance)->dirty);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(wm_registry_check(r, "i2999")->status, WM_CRITICAL);
	cr_assert_eq(wm_registry_check(r, "i0")->status, WM_PASSING);
	wm_registry_close(r);
}

/* What this node sees of connects is shown and announced, and nobody else's. */
Test(registry_checks, passive_is_no_part_of_the_instance)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_instance_draft web = {.id = "a", .name = "web", .address = "10.0.0.1"};
	struct wm_instance *i;
	struct wm_buf b;
	uint64_t index;

	wm_buf_init(&b, 65536);
	cr_assert_eq(put_draft(r, &web), 0);
	i = wm_registry_instance(r, "a");
	wm_registry_subscribe(r, record_change, &b);
	cr_assert_eq(wm_registry_set_passive(r, i, false, "over"), 0, "there is none");
	cr_assert_eq(b.len, 0);
	index = wm_registry_index(r);
	cr_assert_eq(wm_registry_set_passive(r, i, true, "refused"), 0);
	cr_assert_str_eq(b.data, "status web/a/waymark:passive:a;");
	cr_assert_gt(i->service->index, index);
	cr_assert_str_eq(i->passive->output, "refused");
	cr_assert_eq(i->passive->status, WM_CRITICAL);
	cr_assert_eq(i->status, WM_PASSING);
	cr_assert_eq(i->checks_count, 0);
	web.address = "10.0.0.2";
	cr_assert_eq(put_draft(r, &web), 0);
	i = wm_registry_instance(r, "a");
	cr_assert_eq(i->passive->instance, i, "it stays with another registration");
	cr_assert_eq(wm_registry_set_passive(r, i, false, "over"), 0);
	cr_assert_null(i->passive);
	cr_assert_eq(wm_registry_set_passive(r, i, true, "again"), 0);
	wm_buf_done(&b);
	wm_registry_close(r);
}
