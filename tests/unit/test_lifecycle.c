/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata health resolution dataplane lifecycle */
/* The life of an instance: which state follows which, what is derived, what is stored, what the
 * tables say of it, and drains where no kernel counts. */
#include "registry_help.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/lifecycle/drain.h"
#include "userspace/model/object.h"
#include "userspace/resolution/resolution.h"
#include "userspace/store/record.h"

#include <stdlib.h>

#define DEADLINE_MS 90000

TestSuite(lifecycle, .init = make_dir, .fini = rm_dir, .timeout = 300);

static struct answer state(struct wm_registry *r, const char *id, enum wm_lifecycle to, uint64_t ms)
{
	struct answer a = {0};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_lifecycle(r, id, to, ms, answered, &a, &e), 0, "%s", e.text);
	wm_registry_flush(r);
	cr_assert_eq(a.called, 1);
	return a;
}

static enum wm_lifecycle seen(const struct wm_registry *r, const char *id)
{
	return wm_instance_state(wm_registry_instance(r, id));
}

Test(lifecycle, every_transition_is_legal_or_refused_by_name)
{
	static const char table[4][5] = {/* to: starting running stopping stopped */
					 "yyyy", "nyyy", "nyyy", "ynny"};
	struct wm_registry *r = open_at(NULL);
	unsigned refused = 0;

	for (int from = 0; from < 4; from++) {
		for (int to = 0; to < 4; to++) {
			struct wm_instance_draft d = {.id = "a", .name = "web"};
			enum wm_lifecycle f = (enum wm_lifecycle)(WM_LIFE_STARTING + from);
			enum wm_lifecycle t = (enum wm_lifecycle)(WM_LIFE_STARTING + to);
			struct answer a;

			d.lifecycle = f;
			cr_assert_eq(put_draft(r, &d), 0);
			cr_assert_eq(seen(r, "a"), f);
			a = state(r, "a", t, 0);
			cr_assert_eq(a.code, table[from][to] == 'y' ? 0 : WM_E_CONFLICT, "%d %d",
				     from, to);
			cr_assert_eq(wm_lifecycle_legal(f, t), table[from][to] == 'y');
			cr_assert_eq(seen(r, "a"), a.code ? f : t);
			if (a.code) {
				cr_assert(strstr(a.text, wm_lifecycle_str(f)));
				cr_assert(strstr(a.text, wm_lifecycle_str(t)));
				refused++;
			}
			cr_assert_eq(del(r, "a"), 0);
		}
	}
	cr_assert_eq(refused, 4);
	cr_assert_eq(state(r, "a", WM_LIFE_RUNNING, 0).code, WM_E_UNKNOWN);
	wm_registry_close(r);
}

Test(lifecycle, what_cannot_be_stated_is_refused)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_err e = {0};

	cr_assert_eq(put(r, "a", "web", 80), 0);
	cr_assert_eq(wm_registry_lifecycle(r, "a", WM_LIFE_UNHEALTHY, 0, NULL, NULL, &e),
		     WM_E_INVALID);
	cr_assert_eq(wm_registry_lifecycle(r, "a", WM_LIFE_NONE, 0, NULL, NULL, &e), WM_E_INVALID);
	cr_assert_eq(wm_registry_lifecycle(r, "", WM_LIFE_RUNNING, 0, NULL, NULL, &e),
		     WM_E_INVALID);
	cr_assert_eq(wm_registry_lifecycle(r, "a", WM_LIFE_RUNNING, 1, NULL, NULL, &e), WM_E_LIMIT);
	cr_assert_eq(wm_registry_lifecycle(r, "a", WM_LIFE_STOPPING, WM_DRAIN_MAX_MS + 1, NULL,
					   NULL, &e),
		     WM_E_LIMIT);
	cr_assert(strstr(e.text, "deadline"));
	wm_registry_close(r);
}

static void register_checked(struct wm_registry *r, enum wm_check_kind kind, enum wm_lifecycle l)
{
	struct wm_check_draft c = {.id = "c", .name = "c", .kind = kind};
	struct wm_instance_draft d = {
		.id = "a", .name = "web", .checks = &c, .checks_count = 1, .lifecycle = l};

	if (kind == WM_CHECK_TTL) {
		c.ttl_ms = 1000;
	} else {
		c.target = "127.0.0.1:1";
		c.interval_ms = 1000;
	}
	cr_assert_eq(put_draft(r, &d), 0);
}

Test(lifecycle, unhealthy_and_unknown_follow_of_the_checks)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check *c;

	register_checked(r, WM_CHECK_TCP, WM_LIFE_NONE);
	c = wm_registry_check(r, "c");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNKNOWN, "no result yet");
	cr_assert_eq(wm_registry_set_status(r, c, WM_CRITICAL, "refused"), 0);
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY);
	wm_registry_set_status(r, c, WM_WARNING, "slow");
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING, "a warning still takes connections");
	wm_registry_maintenance(r, "a", true, NULL, NULL, NULL, NULL);
	wm_registry_flush(r);
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY, "maintenance is somebody's word");
	cr_assert_eq(state(r, "a", WM_LIFE_STOPPING, 0).code, 0);
	cr_assert_eq(seen(r, "a"), WM_LIFE_STOPPING, "what is stated stands before what follows");
	cr_assert_eq(del(r, "a"), 0);

	register_checked(r, WM_CHECK_TTL, WM_LIFE_NONE);
	c = wm_registry_check(r, "c");
	wm_registry_set_status(r, c, WM_PASSING, "");
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING);
	wm_registry_set_status(r, c, WM_CRITICAL, "TTL expired");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNKNOWN, "the client fell silent");
	wm_registry_set_status(r, c, WM_CRITICAL, "disk full");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY, "the client says so");
	cr_assert_eq(del(r, "a"), 0);

	cr_assert_eq(put(r, "a", "web", 80), 0);
	wm_registry_maintenance(r, NULL, true, NULL, NULL, NULL, NULL);
	wm_registry_flush(r);
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY, "its node is critical");
	wm_registry_close(r);
}

/* A heartbeat has a note or has none. */
Test(lifecycle, a_result_without_a_word_is_a_result)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check *c;

	register_checked(r, WM_CHECK_TTL, WM_LIFE_NONE);
	c = wm_registry_check(r, "c");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNKNOWN, "no result yet");
	wm_registry_set_status(r, c, WM_CRITICAL, "");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY, "the client says so");
	wm_registry_set_status(r, c, WM_CRITICAL, "TTL expired");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNKNOWN);
	wm_registry_set_status(r, c, WM_CRITICAL, "");
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY);
	wm_registry_close(r);
}

Test(lifecycle, a_check_that_is_redefined_has_told_what_it_told_before)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_check_draft c = {
		.id = "c", .name = "c", .ttl_ms = 1000, .has_status = true, .status = WM_CRITICAL};
	struct wm_instance_draft d = {.id = "a", .name = "web", .checks = &c, .checks_count = 1};

	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY, "its client gave the status");
	c.has_status = false;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY, "which it keeps");
	c.ttl_ms = 2000;
	cr_assert_eq(put_draft(r, &d), 0);
	cr_assert_eq(seen(r, "a"), WM_LIFE_UNHEALTHY);
	wm_registry_close(r);
}

Test(lifecycle, the_first_passing_check_makes_it_running_for_good)
{
	struct wm_registry *r = open_at(db);
	struct wm_buf b;

	wm_buf_init(&b, 65536);
	register_checked(r, WM_CHECK_TTL, WM_LIFE_STARTING);
	wm_registry_subscribe(r, record_change, &b);
	cr_assert_eq(seen(r, "a"), WM_LIFE_STARTING);
	cr_assert(!wm_instance_usable(wm_registry_instance(r, "a")));
	wm_registry_set_status(r, wm_registry_check(r, "c"), WM_WARNING, "");
	cr_assert_eq(seen(r, "a"), WM_LIFE_STARTING, "a warning is no pass");
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, ""), 1);
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING);
	wm_registry_set_status(r, wm_registry_check(r, "c"), WM_CRITICAL, "x");
	wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, "");
	cr_assert_str_eq(b.data, "status web/a/c;status web/a/c;status web/a/c;status web/a/c;");
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING, "stored with the status");
	wm_registry_close(r);
	wm_buf_done(&b);
}

Test(lifecycle, a_check_that_passed_already_counts_as_the_first)
{
	struct wm_registry *r = open_at(NULL);

	register_checked(r, WM_CHECK_TTL, WM_LIFE_NONE);
	wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, "");
	cr_assert_eq(state(r, "a", WM_LIFE_STOPPED, 0).code, 0);
	cr_assert_eq(state(r, "a", WM_LIFE_STARTING, 0).code, 0);
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "c"), WM_PASSING, ""), 1,
		     "the status is the same, the state is not");
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING);
	wm_registry_close(r);
}

Test(lifecycle, a_registration_keeps_it_and_begins_anew_what_was_stopped)
{
	struct wm_registry *r = open_at(NULL);

	cr_assert_eq(put(r, "a", "web", 80), 0);
	cr_assert_eq(state(r, "a", WM_LIFE_STOPPING, 60000).code, 0);
	cr_assert_eq(put(r, "a", "web", 81), 0);
	cr_assert_eq(seen(r, "a"), WM_LIFE_STOPPING);
	cr_assert_gt(wm_registry_instance(r, "a")->drain_until_ms, wm_clock_wall_ms());
	cr_assert_eq(put(r, "a", "shop", 81), 0, "also when it moves to another service");
	cr_assert_eq(seen(r, "a"), WM_LIFE_STOPPING);
	cr_assert_eq(state(r, "a", WM_LIFE_STOPPED, 0).code, 0);
	cr_assert_eq(wm_registry_instance(r, "a")->drain_until_ms, 0);
	cr_assert_eq(put(r, "a", "shop", 81), 0,
		     "the same registration, of a program that is back");
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING);
	wm_registry_close(r);
}

Test(lifecycle, it_is_stored_with_its_deadline)
{
	struct wm_registry *r = open_at(db);
	char *before, *after;

	cr_assert_eq(put(r, "a", "web", 80), 0);
	cr_assert_eq(put(r, "b", "web", 81), 0);
	cr_assert_eq(put(r, "c", "web", 82), 0);
	cr_assert_eq(put(r, "d", "web", 83), 0);
	cr_assert_eq(state(r, "a", WM_LIFE_STOPPING, 60000).code, 0);
	cr_assert_eq(state(r, "b", WM_LIFE_STOPPED, 0).code, 0);
	cr_assert_eq(state(r, "c", WM_LIFE_STOPPING, 0).code, 0);
	before = show(r);
	wm_registry_close(r);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(seen(r, "a"), WM_LIFE_STOPPING);
	cr_assert_gt(wm_registry_instance(r, "a")->drain_until_ms, 0);
	cr_assert_eq(seen(r, "b"), WM_LIFE_STOPPED);
	cr_assert_eq(seen(r, "d"), WM_LIFE_RUNNING);
	free(before);
	free(after);
	wm_registry_close(r);
}

Test(lifecycle, stopping_again_keeps_the_deadline_or_gives_it_another)
{
	struct wm_registry *r = open_at(NULL);
	uint64_t first;

	cr_assert_eq(put(r, "a", "web", 80), 0);
	state(r, "a", WM_LIFE_STOPPING, 60000);
	first = wm_registry_instance(r, "a")->drain_until_ms;
	state(r, "a", WM_LIFE_STOPPING, 0);
	cr_assert_eq(wm_registry_instance(r, "a")->drain_until_ms, first);
	state(r, "a", WM_LIFE_STOPPING, 600000);
	cr_assert_gt(wm_registry_instance(r, "a")->drain_until_ms, first);
	wm_registry_close(r);
}

/* Two drains of one millisecond: the model's never end together. */
Test(lifecycle, the_same_end_again_changes_nothing)
{
	struct wm_registry *r = open_at(NULL);
	uint64_t index, end = wm_clock_ms() + DEADLINE_MS;
	bool together = false;

	cr_assert_eq(put(r, "a", "web", 80), 0);
	while (!together && wm_clock_ms() < end) {
		uint64_t until;

		cr_assert_eq(state(r, "a", WM_LIFE_STOPPING, 60000).code, 0);
		until = wm_registry_instance(r, "a")->drain_until_ms;
		index = wm_registry_index(r);
		cr_assert_eq(state(r, "a", WM_LIFE_STOPPING, 60000).code, 0);
		together = wm_registry_instance(r, "a")->drain_until_ms == until;
		cr_assert_eq(wm_registry_index(r) == index, together);
	}
	cr_assert(together);
	wm_registry_close(r);
}

Test(lifecycle, a_drain_that_was_called_off_in_the_same_turn_removes_nothing)
{
	struct wm_registry *r = open_at(NULL);

	cr_assert_eq(put(r, "a", "web", 80), 0);
	state(r, "a", WM_LIFE_STOPPING, 60000);
	cr_assert_eq(wm_registry_lifecycle(r, "a", WM_LIFE_RUNNING, 0, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_registry_drained(r, "a"), 0);
	wm_registry_flush(r);
	cr_assert_eq(seen(r, "a"), WM_LIFE_RUNNING);
	state(r, "a", WM_LIFE_STOPPING, 60000);
	cr_assert_eq(wm_registry_drained(r, "a"), 0);
	wm_registry_flush(r);
	cr_assert_null(wm_registry_instance(r, "a"));
	wm_registry_close(r);
}

Test(lifecycle, a_drain_that_ends_takes_the_sidecar_along)
{
	struct wm_registry *r = open_at(NULL);
	struct wm_instance_draft with = {0}, d = {.id = "a", .name = "web", .sidecar = &with};

	cr_assert_eq(put_draft(r, &d), 0);
	state(r, "a", WM_LIFE_STOPPING, 60000);
	cr_assert_eq(wm_registry_lifecycle(r, "a", WM_LIFE_RUNNING, 0, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_registry_drained(r, "a"), 0);
	wm_registry_flush(r);
	cr_assert(wm_registry_instance(r, "a"));
	cr_assert(wm_registry_instance(r, "a-sidecar-proxy"), "its drain was called off");
	state(r, "a", WM_LIFE_STOPPING, 60000);
	cr_assert_eq(wm_registry_drained(r, "a"), 0);
	wm_registry_flush(r);
	cr_assert_null(wm_registry_instance(r, "a"));
	cr_assert_null(wm_registry_instance(r, "a-sidecar-proxy"));
	wm_registry_close(r);
}

/* --- the tables and drains -------------------------------------------------------------------- */
static struct wm_table_memory memory;

static struct wm_tables *make_tables(void)
{
	struct wm_tables *t;

	memory = (struct wm_table_memory){.sets_cap = 16,
					  .slots_cap = 64,
					  .backends_cap = 32,
					  .names_cap = 32,
					  .frontends_cap = 32};
	cr_assert_eq(wm_table_memory_new(&memory), 0);
	memory.config->seed[0] = 1;
	t = wm_tables_new(&memory, NULL, "mesh.internal", NULL);
	cr_assert(t);
	return t;
}

static uint32_t word_of(const struct wm_registry *r, const struct wm_tables *t, const char *id)
{
	const struct wm_instance *i = wm_registry_instance(r, id);
	uint32_t index;

	cr_assert_eq(wm_tables_backends_of(t, i->hash, &index, 1), 1);
	return memory.backends[index].state & WM_STATE_MASK;
}

Test(lifecycle, the_tables_follow_and_a_drain_without_a_kernel_ends_at_its_deadline)
{
	struct wm_loop *l = wm_loop_new();
	struct wm_registry *r = open_at(NULL);
	struct wm_tables *t = make_tables();
	struct wm_resolution *x = wm_resolution_new(l, r, t);
	struct wm_drains *d = wm_drains_new(l, r, t, NULL, false);
	uint64_t end = wm_clock_ms() + DEADLINE_MS, open;

	cr_assert(l && x && d);
	cr_assert_eq(wm_loop_on_turn_end(l, WM_HOOK_REGISTRY, wm_registry_flush, r), 0);
	cr_assert_eq(put(r, "a", "web", 80), 0);
	cr_assert_eq(put(r, "b", "web", 81), 0);
	wm_loop_turn(l, 1);
	cr_assert_eq(word_of(r, t, "a"), WM_STATE_UP);
	state(r, "a", WM_LIFE_STOPPING, 60000);
	cr_assert_eq(word_of(r, t, "a"), WM_STATE_DRAIN, "before the turn ends");
	cr_assert_eq(word_of(r, t, "b"), WM_STATE_UP);
	cr_assert_eq(wm_drains_active(d), 1);
	cr_assert(!wm_drains_open(d, wm_registry_instance(r, "a"), &open), "nobody counts");
	cr_assert_str_eq(wm_drains_why(d, wm_registry_instance(r, "a")),
			 "the data plane is off: nobody counts connections");
	cr_assert_str_eq(wm_drains_why(d, NULL), wm_drains_why(d, wm_registry_instance(r, "a")));
	state(r, "a", WM_LIFE_RUNNING, 0);
	cr_assert_eq(word_of(r, t, "a"), WM_STATE_UP);
	cr_assert_eq(wm_drains_active(d), 0);
	state(r, "a", WM_LIFE_STOPPED, 0);
	cr_assert_eq(word_of(r, t, "a"), WM_STATE_DOWN);
	state(r, "a", WM_LIFE_STARTING, 0);
	cr_assert_eq(word_of(r, t, "a"), WM_STATE_DOWN);
	state(r, "a", WM_LIFE_STOPPING, 1);
	while (wm_registry_instance(r, "a") && wm_clock_ms() < end)
		cr_assert_eq(wm_loop_turn(l, 50), 0);
	cr_assert_null(wm_registry_instance(r, "a"));
	cr_assert_not_null(wm_registry_instance(r, "b"));
	cr_assert_eq(wm_drains_active(d), 0);
	cr_assert_eq(wm_drains_counters(d)[WM_DRAIN_EXPIRED], 1);
	cr_assert_eq(wm_drains_counters(d)[WM_DRAIN_PROVED], 0);
	wm_drains_free(d);
	wm_resolution_free(x);
	wm_registry_close(r);
	wm_tables_free(t);
	wm_loop_free(l);
	wm_table_memory_free(&memory);
}

/* Version 5 is in use and knows no lifecycle: it must be told of a newer record, not find a damaged
 * one, and read all others. */
Test(lifecycle, only_records_of_what_is_not_running_need_a_version_that_knows_it)
{
	static struct wm_record_instance r;

	for (int n = 0; n < 8; n++) {
		enum wm_lifecycle l = (enum wm_lifecycle)(WM_LIFE_STARTING + n / 2);
		struct wm_instance_draft d = {.name = "web",
					      .enable_tag_override = n % 2,
					      .lifecycle = l,
					      .drain_until_ms =
						      l == WM_LIFE_STOPPING ? 1234567890123 : 0};
		struct wm_instance *i = wm_instance_build(&d);
		struct wm_buf b;

		cr_assert(i);
		wm_box(i)->service_name = "web";
		wm_buf_init(&b, WM_RECORD_MAX);
		cr_assert_eq(wm_record_put_instance(&b, 7, i), 0);
		cr_assert_eq(b.data[2], l == WM_LIFE_RUNNING ? WM_RECORD_VERSION_FIRST : 6, "%d",
			     n);
		cr_assert_eq(
			wm_record_get_instance(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &r),
			0);
		cr_assert_eq(r.d.lifecycle, l == WM_LIFE_RUNNING ? WM_LIFE_NONE : l);
		cr_assert_eq(r.d.drain_until_ms, d.drain_until_ms);
		cr_assert_eq(r.d.enable_tag_override, n % 2);
		wm_buf_done(&b);
		wm_instance_free(i, true);
	}
}
