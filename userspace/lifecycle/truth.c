/* SPDX-License-Identifier: Apache-2.0 */
/* truth.c - see truth.h. */
#include "truth.h"

#include "truth_find.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_NS	       1000000ull /* of processor a step */
#define PAUSE_ASKED_MS 1	  /* between steps, while somebody waits */

struct list {
	struct wm_truth_found *all[WM_TRUTH_FOUND_MAX];
	unsigned count, left_out;
	unsigned counts[WM_TRUTH_KIND_COUNT];
};
struct asker {
	void (*done)(void *arg, const struct wm_truth_report *r);
	void *arg;
	bool looked_for; /* the look that runs is for it */
};
struct wm_truth {
	struct wm_truth_config c;
	struct wm_timer *due, *step;
	bool looking;
	bool asked;		    /* for somebody */
	bool over;		    /* the pass, but for the pause behind its last step */
	bool again;		    /* the second pass of a look */
	struct wm_truth_pass *pass; /* NULL: between passes, or without memory for one */
	uint64_t spent_ns, began_ms;
	struct list now, first, told; /* of this pass, the one before it, the report */
	struct wm_truth_report report, next;
	struct asker askers[WM_TRUTH_ASKERS_MAX];
	unsigned askers_count;
};

const char *wm_truth_kind_str(enum wm_truth_kind k)
{
	static const char *const names[] = {
#define X(sym, name, text) #name,
		WM_TRUTH_KINDS(X)
#undef X
	};

	return k < WM_ARRAY_LEN(names) ? names[k] : "";
}

/* --- lists ------------------------------------------------------------------------------------ */
static void clear(struct list *l)
{
	while (l->count)
		free(l->all[--l->count]);
	memset(l->counts, 0, sizeof(l->counts));
	l->left_out = 0;
}

static const struct wm_truth_found *find(const struct list *l, uint64_t key)
{
	for (unsigned i = 0; i < l->count; i++)
		if (l->all[i]->key == key)
			return l->all[i];
	return NULL;
}

static char *put_text(char **at, const char *text)
{
	size_t len = strlen(text) + 1;
	char *here = memcpy(*at, text, len);

	*at += len;
	return here;
}

/* One piece of memory, its texts behind it. */
static struct wm_truth_found *copy_of(const struct wm_truth_found *f)
{
	size_t len =
		strlen(f->what) + strlen(f->text) + strlen(f->service) + strlen(f->address) + 4;
	struct wm_truth_found *c = malloc(sizeof(*c) + len);
	char *at;

	if (!c)
		return NULL;
	at = (char *)(c + 1);
	*c = *f;
	c->key = wm_hash_stable(f->text, strlen(f->text)) + f->kind;
	c->what = put_text(&at, f->what);
	c->text = put_text(&at, f->text);
	c->service = put_text(&at, f->service);
	c->address = put_text(&at, f->address);
	return c;
}

static void on_found(void *arg, const struct wm_truth_found *f)
{
	struct wm_truth *t = arg;
	struct list *l = &t->now;
	struct wm_truth_found *c = l->count < WM_TRUTH_FOUND_MAX ? copy_of(f) : NULL;

	if (c && find(l, c->key)) { /* a walk may meet an entry twice */
		free(c);
		return;
	}
	l->counts[f->kind]++;
	if (c)
		l->all[l->count++] = c;
	else
		l->left_out++;
}

static void on_unseen(void *arg, const char *text)
{
	struct wm_truth *t = arg;

	if (t->next.unseen_count < WM_TRUTH_UNSEEN_MAX)
		snprintf(t->next.unseen[t->next.unseen_count++], sizeof(t->next.unseen[0]), "%s",
			 text);
}

/* Only what was found in the first pass, too. */
static void confirm(struct wm_truth *t)
{
	struct list *l = &t->now;
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		if (find(&t->first, l->all[i]->key)) {
			l->all[kept++] = l->all[i];
			continue;
		}
		l->counts[l->all[i]->kind]--;
		free(l->all[i]);
	}
	l->count = kept;
}

/* --- the report ------------------------------------------------------------------------------- */
static void log_changes(const struct wm_truth *t)
{
	for (unsigned i = 0; i < t->now.count; i++)
		if (!find(&t->told, t->now.all[i]->key))
			wm_warn("truth.differs", "kind=%s text=%s",
				wm_truth_kind_str(t->now.all[i]->kind),
				wm_log_q(t->now.all[i]->text));
	for (unsigned i = 0; i < t->told.count; i++)
		if (!find(&t->now, t->told.all[i]->key))
			wm_info("truth.agrees", "kind=%s text=%s",
				wm_truth_kind_str(t->told.all[i]->kind),
				wm_log_q(t->told.all[i]->text));
}

static void tell_askers(struct wm_truth *t)
{
	struct asker all[WM_TRUTH_ASKERS_MAX];
	unsigned n = 0, kept = 0;

	for (unsigned i = 0; i < t->askers_count; i++) {
		if (t->askers[i].looked_for)
			all[n++] = t->askers[i];
		else
			t->askers[kept++] = t->askers[i];
	}
	t->askers_count = kept;
	for (unsigned i = 0; i < n; i++)
		all[i].done(all[i].arg, &t->report);
}

static void publish(struct wm_truth *t)
{
	log_changes(t);
	clear(&t->told);
	t->told = t->now;
	t->now = (struct list){0};
	clear(&t->first);
	t->next.looks = t->report.looks + 1;
	t->next.given_up = t->report.given_up;
	t->next.at_ms = wm_clock_ms();
	t->next.took_ns = t->spent_ns;
	t->next.lasted_ms = t->next.at_ms - t->began_ms;
	memcpy(t->next.counts, t->told.counts, sizeof(t->next.counts));
	t->next.found = (const struct wm_truth_found *const *)t->told.all;
	t->next.found_count = t->told.count;
	t->next.left_out = t->told.left_out;
	t->report = t->next;
	tell_askers(t);
}

/* --- looking ---------------------------------------------------------------------------------- */
static void begin_pass(struct wm_truth *t)
{
	t->pass = wm_truth_pass_new(&t->c, on_found, on_unseen, t);
	t->next.unseen_count = 0;
	if (!t->pass)
		on_unseen(t, "anything: out of memory");
	wm_timer_arm(t->step, 0);
}

static void begin_look(struct wm_truth *t)
{
	for (unsigned i = 0; i < t->askers_count; i++)
		t->askers[i].looked_for = true;
	t->looking = true;
	t->asked = t->askers_count;
	t->again = false;
	t->spent_ns = 0;
	t->began_ms = wm_clock_ms();
	begin_pass(t);
}

static void give_up(struct wm_truth *t)
{
	wm_timer_disarm(t->step);
	wm_truth_pass_free(t->pass);
	t->pass = NULL;
	clear(&t->now);
	clear(&t->first);
	t->looking = t->over = false;
	t->report.given_up++;
}

static bool all_known(const struct wm_truth *t)
{
	for (unsigned i = 0; i < t->now.count; i++)
		if (!find(&t->told, t->now.all[i]->key))
			return false;
	return true;
}

/* What was not known is looked for once more, at once. */
static void end_pass(struct wm_truth *t)
{
	wm_truth_pass_free(t->pass);
	t->pass = NULL;
	if (!t->again && !all_known(t)) {
		t->again = true;
		t->first = t->now;
		t->now = (struct list){0};
		begin_pass(t);
		return;
	}
	if (t->again)
		confirm(t);
	t->looking = false;
	publish(t);
	if (t->askers_count)
		begin_look(t);
	else if (t->c.interval_ms)
		wm_timer_arm(t->due, t->c.interval_ms);
}

/* Behind a step of @p spent_ns: what is left of the time of which that is the share. */
static uint64_t pause_ms(const struct wm_truth *t, uint64_t spent_ns)
{
	if (t->asked)
		return PAUSE_ASKED_MS;
	return spent_ns * (1000 - t->c.permille) / t->c.permille / WM_NS_PER_MS + 1;
}

static void on_step(void *arg)
{
	struct wm_truth *t = arg;
	uint64_t began = wm_clock_cpu_ns(), now = began;
	bool more = t->pass && !t->over;

	while (more && now - began < STEP_NS) {
		more = wm_truth_pass_step(t->pass);
		now = wm_clock_cpu_ns();
	}
	t->spent_ns += now - began;
	if (more || (!t->over && !t->asked)) {
		t->over = !more;
		wm_timer_arm(t->step, pause_ms(t, now - began));
		return;
	}
	t->over = false;
	end_pass(t);
}

static void on_due(void *arg)
{
	struct wm_truth *t = arg;

	if (!t->looking)
		begin_look(t);
}

int wm_truth_look(struct wm_truth *t, void (*done)(void *arg, const struct wm_truth_report *r),
		  void *arg)
{
	if (t->askers_count == WM_TRUTH_ASKERS_MAX)
		return WM_E_BUSY;
	t->askers[t->askers_count++] = (struct asker){.done = done, .arg = arg};
	if (t->looking && !t->asked)
		give_up(t);
	if (!t->looking)
		wm_timer_arm(t->due, 0);
	return 0;
}

const struct wm_truth_report *wm_truth_report(const struct wm_truth *t)
{
	return &t->report;
}

void wm_truth_set_interval(struct wm_truth *t, uint64_t interval_ms)
{
	t->c.interval_ms = interval_ms;
	if (t->looking || t->askers_count)
		return; /* at its end */
	wm_timer_disarm(t->due);
	if (interval_ms)
		wm_timer_arm(t->due, interval_ms);
}

void wm_truth_set_permille(struct wm_truth *t, unsigned permille)
{
	t->c.permille = permille;
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_truth *wm_truth_new(const struct wm_truth_config *c)
{
	struct wm_truth *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->c = *c;
	t->due = wm_timer_new(c->loop, on_due, t);
	t->step = wm_timer_new(c->loop, on_step, t);
	if (!t->due || !t->step) {
		wm_truth_free(t);
		return NULL;
	}
	wm_truth_set_interval(t, c->interval_ms);
	return t;
}

void wm_truth_free(struct wm_truth *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->askers_count; i++)
		t->askers[i].done(t->askers[i].arg, NULL);
	wm_truth_pass_free(t->pass);
	wm_timer_free(t->due);
	wm_timer_free(t->step);
	clear(&t->now);
	clear(&t->first);
	clear(&t->told);
	free(t);
}
