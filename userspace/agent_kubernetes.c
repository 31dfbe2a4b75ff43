/* SPDX-License-Identifier: Apache-2.0 */
/* agent_kubernetes.c - see agent_kubernetes.h. */
#include "agent_kubernetes.h"

#include "config_kubernetes.h"
#include "userspace/api/policy_dir.h"
#include "userspace/base/log.h"
#include "userspace/net/aside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEDGER "policies-kubernetes.json" /* in the data directory, of what the cluster stated */

struct wm_agent_kubernetes {
	struct wm_loop *loop;
	const char *data_dir;
	struct wm_kubernetes *kubernetes;
	struct wm_policy_files *policies;
	struct wm_guard_prefix external[WM_CONFIG_EXTERNAL_MAX];
	struct wm_aside *aside; /* writes `writing` */
	char *writing, *waiting, *written;
	int failed;
	struct wm_err why;
};

/* --- what was stated is written down -----------------------------------------------------------
 */
static void write_ledger(void *arg)
{
	struct wm_agent_kubernetes *a = arg;

	a->failed = wm_policy_ledger_write(a->data_dir, LEDGER, a->writing, &a->why);
}

static void write_next(struct wm_agent_kubernetes *a);

static void on_written(void *arg)
{
	struct wm_agent_kubernetes *a = arg;

	a->aside = NULL;
	if (a->failed)
		wm_error("policy.ledger", "text=%s", wm_log_q(a->why.text));
	free(a->written);
	a->written = a->writing;
	a->writing = NULL;
	write_next(a);
}

static void write_next(struct wm_agent_kubernetes *a)
{
	if (a->writing || !a->waiting)
		return;
	a->writing = a->waiting;
	a->waiting = NULL;
	if (wm_aside_start(a->loop, write_ledger, on_written, a, &a->aside)) {
		write_ledger(a); /* no thread: better late than never */
		on_written(a);
	}
}

static void keep(struct wm_agent_kubernetes *a, char *ledger)
{
	const char *last = a->waiting ? a->waiting : a->writing ? a->writing : a->written;

	if (!ledger || (last && strcmp(last, ledger) == 0)) {
		free(ledger);
		return;
	}
	free(a->waiting);
	a->waiting = ledger;
	write_next(a);
}

/* --- policies ----------------------------------------------------------------------------------
 */
static void on_bad_policy(void *arg, const char *service, const struct wm_err *why)
{
	struct wm_agent_kubernetes *a = arg;

	if (a && a->kubernetes)
		wm_kubernetes_refuse(a->kubernetes, service, why);
	wm_error("policy.refused", "source=" WM_KUBERNETES " service=%s text=%s", wm_log_q(service),
		 wm_log_q(why->text));
}

static void on_said(void *arg, const struct wm_kube_said *said, unsigned count)
{
	struct wm_policy_dir *d = wm_policy_dir_new();
	struct wm_agent_kubernetes *a = arg;
	struct wm_policy_files_outcome o;
	struct wm_err e = {0};
	int r = d ? 0 : -ENOMEM;

	for (unsigned n = 0; !r && n < count; n++) {
		r = wm_policy_dir_add(d, said[n].service, said[n].json);
		if (r == -ENOSPC) {
			wm_err_set(&e, WM_E_CAPACITY, "there are too many policies");
			on_bad_policy(a, said[n].service, &e);
			r = 0;
			break;
		}
	}
	if (!r) {
		wm_policy_files_take(a->policies, d, &o);
		if (o.written || o.removed || o.bad)
			wm_info("policy.read",
				"source=" WM_KUBERNETES " policies=%u written=%u removed=%u bad=%u",
				o.policies, o.written, o.removed, o.bad);
		keep(a, wm_policy_files_ledger(a->policies));
	}
	wm_policy_dir_free(d);
}

/* It was switched off: what it stated goes, as its services do. */
static void forget(const char *data_dir, struct wm_registry *r)
{
	struct wm_policy_files *f = wm_policy_files_new(r, LEDGER, on_bad_policy, NULL);
	struct wm_policy_files_outcome o;
	struct wm_err e = {0};

	if (!f)
		return; /* at the next start, then */
	wm_policy_files_recall(f, data_dir);
	wm_policy_files_take(f, NULL, &o);
	if (o.removed)
		wm_info("policy.read", "source=" WM_KUBERNETES " policies=0 removed=%u", o.removed);
	if (wm_policy_ledger_write(data_dir, LEDGER, "{}", &e))
		wm_error("policy.ledger", "text=%s", wm_log_q(e.text));
	wm_policy_files_free(f);
}

/* --- begin and end ------------------------------------------------------------------------------
 */
int wm_agent_kubernetes_new(const struct wm_settings *s, struct wm_loop *l, struct wm_registry *r,
			    struct wm_sources *sources, const char *node,
			    struct wm_agent_kubernetes **ret, struct wm_err *e)
{
	struct wm_kubernetes_config c = {.loop = l, .sources = sources, .said = on_said};
	struct wm_agent_kubernetes *a;
	int err;

	*ret = NULL;
	if (!s->source_kubernetes_enabled) {
		forget(s->node_data_dir, r);
		return 0;
	}
	a = calloc(1, sizeof(*a));
	if (a)
		a->policies = wm_policy_files_new(r, LEDGER, on_bad_policy, a);
	if (!a || !a->policies) {
		wm_agent_kubernetes_free(a);
		return wm_err_set(e, -ENOMEM, "out of memory: Kubernetes");
	}
	a->loop = l;
	a->data_dir = s->node_data_dir;
	c.arg = a;
	wm_policy_files_recall(a->policies, a->data_dir);
	err = wm_config_kubernetes(s, node, a->external, &c, e);
	if (!err)
		err = wm_kubernetes_new(&c, &a->kubernetes, e);
	if (err) {
		wm_agent_kubernetes_free(a);
		return err;
	}
	*ret = a;
	return 0;
}

void wm_agent_kubernetes_free(struct wm_agent_kubernetes *a)
{
	if (!a)
		return;
	wm_kubernetes_free(a->kubernetes);
	wm_aside_end(a->aside);
	if (a->waiting) { /* the last word */
		free(a->writing);
		a->writing = a->waiting;
		write_ledger(a);
	}
	free(a->writing);
	free(a->written);
	wm_policy_files_free(a->policies);
	free(a);
}

const struct wm_kube_pod_table *wm_agent_kubernetes_pods(const struct wm_agent_kubernetes *a)
{
	return a ? wm_kubernetes_pods(a->kubernetes) : NULL;
}
