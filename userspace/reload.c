/* SPDX-License-Identifier: Apache-2.0 */
#include "reload.h"

#include "config_dns.h"
#include "notify.h"
#include "userspace/api/rules_file.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/net/aside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS 1 /* between two steps: others have their turns */

/* One that is under way; while `aside` runs it is the thread's. */
struct run {
	struct wm_aside *aside;
	struct wm_settings next;
	struct wm_rules *rules;
	struct wm_policy_dir *policies; /* NULL: none */
	struct wm_statics *fixed;	/* NULL: none */
	char *ledger;			/* of them, to be written down */
	struct wm_application *application;
	int code;
	struct wm_err e;
	void (*done)(void *arg, int code, const char *text); /* NULL: a signal asked for it */
	void *arg;
};

struct wm_reload {
	struct wm_reload_config c;
	struct wm_timer *step;
	struct run *run; /* NULL: none */
	bool again;	 /* a signal came meanwhile: files may have changed since they were read */
};

static void run_free(struct run *x)
{
	if (!x)
		return;
	wm_rules_free(x->rules);
	wm_policy_dir_free(x->policies);
	wm_statics_free(x->fixed);
	free(x->ledger);
	wm_settings_done(&x->next);
	wm_application_free(x->application);
	free(x);
}

static void over(struct wm_reload *l, int code)
{
	struct run *x = l->run;

	l->run = NULL;
	wm_notify("READY=1");
	if (x->done)
		x->done(x->arg, code, x->e.text);
	run_free(x);
	if (l->again)
		wm_reload_signal(l);
}

/* --- what was registered is written down ------------------------------------------------------ */
static void keep(void *reload)
{
	struct wm_reload *l = reload;
	struct run *x = l->run;
	int r = 0;

	if (x->ledger)
		r = wm_policy_ledger_write(l->c.settings->node_data_dir, NULL, x->ledger, &x->e);
	x->code = wm_application_keep(x->application, &x->e);
	x->code = x->code ? x->code : r;
}

static void on_kept(void *reload)
{
	struct wm_reload *l = reload;
	struct run *x = l->run;

	x->aside = NULL;
	l->c.applied(l->c.arg, x->application, x->code, &x->e);
	over(l, 0);
}

static void on_step(void *reload)
{
	struct wm_reload *l = reload;
	struct run *x = l->run;

	if (wm_application_step(x->application, l->c.registry) || l->c.writing(l->c.arg)) {
		wm_timer_arm(l->step, PAUSE_MS);
		return;
	}
	if (wm_aside_start(l->c.loop, keep, on_kept, l, &x->aside)) {
		keep(l); /* no thread: better late than never */
		on_kept(l);
	}
}

/* --- files ------------------------------------------------------------------------------------ */
static void placed(void *err, const struct wm_err *e)
{
	*(struct wm_err *)err = *e;
}

static void read_files(void *reload)
{
	struct wm_reload *l = reload;
	struct wm_settings_where where = {.from = l->c.from, .fn = placed, .arg = &l->run->e};
	struct wm_definitions *d = NULL;
	struct run *x = l->run;
	struct wm_err *e = &x->e, plain;

	x->code = wm_settings_gather(&x->next, l->c.from, e);
	if (!x->code) /* by the rules for programs that are in force: those need a restart */
		x->code = wm_definitions_read(l->c.from, l->c.settings, &d, e);
	if (!x->code && *x->next.registry_rules_file)
		x->code = wm_rules_read(x->next.registry_rules_file, &x->rules, e);
	if (!x->code && *x->next.policy_dir)
		x->code = wm_policy_dir_read(x->next.policy_dir, &x->policies, e);
	if (!x->code)
		x->code = wm_config_statics(&x->next, l->c.settings, &x->fixed, e);
	if (!x->code)
		x->code = wm_definitions_plan(d, l->c.settings->node_data_dir, &x->application, e);
	if (!x->code)
		return;
	wm_definitions_free(d);
	plain = x->e;
	wm_settings_locate(&where, &plain);
}

static void on_read(void *reload)
{
	struct wm_reload *l = reload;
	struct run *x = l->run;

	x->aside = NULL;
	if (x->code) {
		wm_error("agent.reload", "err=%s text=%s", wm_err_name(x->code),
			 wm_log_q(x->e.text));
		over(l, x->code);
		return;
	}
	x->ledger = l->c.take(l->c.arg, &x->next, x->rules, x->policies, x->fixed);
	x->rules = NULL;
	x->fixed = NULL;
	on_step(l);
}

int wm_reload_begin(struct wm_reload *l, void (*done)(void *arg, int code, const char *text),
		    void *arg, struct wm_err *e)
{
	struct run *x;
	int r;

	if (l->run)
		return wm_err_set(e, WM_E_BUSY, "Another reload is under way, try again");
	x = calloc(1, sizeof(*x));
	if (!x)
		return wm_err_set(e, -ENOMEM, "out of memory: reload");
	x->done = done;
	x->arg = arg;
	l->run = x;
	l->again = false;
	r = wm_aside_start(l->c.loop, read_files, on_read, l, &x->aside);
	if (r) {
		l->run = NULL;
		free(x);
		return wm_err_set(e, r, "no thread for the reload: %s", wm_err_str(r));
	}
	wm_notify("RELOADING=1");
	return 0;
}

void wm_reload_signal(struct wm_reload *l)
{
	struct wm_err e = {0};
	int r = wm_reload_begin(l, NULL, NULL, &e);

	if (r == WM_E_BUSY)
		l->again = true;
	else if (r)
		wm_error("agent.reload", "err=%s text=%s", wm_err_name(r), wm_log_q(e.text));
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_reload *wm_reload_new(const struct wm_reload_config *c)
{
	struct wm_reload *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->c = *c;
	l->step = wm_timer_new(c->loop, on_step, l);
	if (l->step)
		return l;
	free(l);
	return NULL;
}

void wm_reload_stop(struct wm_reload *l)
{
	if (!l)
		return;
	wm_timer_free(l->step);
	l->step = NULL;
	if (l->run)
		wm_aside_end(l->run->aside);
}

void wm_reload_free(struct wm_reload *l)
{
	if (l)
		run_free(l->run); /* the ledger has what was and what was to be */
	free(l);
}
