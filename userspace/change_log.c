/* SPDX-License-Identifier: Apache-2.0 */
/* change_log.c - changes of the registry as lines of the log. */
#include "change_log.h"

#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/model/scope.h"
#include "userspace/model/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE_MAX 160 /* octets of a check's output that are shown */

enum event {
	EVENT_REGISTERED,
	EVENT_DEREGISTERED,
	EVENT_CRITICAL,
	EVENT_WARNING,
	EVENT_PASSING,
	EVENT_NODE_REGISTERED,
	EVENT_NODE_DEREGISTERED,
	EVENT_SERVICE_MAINTENANCE,
	EVENT_NODE_MAINTENANCE,
	EVENT_STATE,
	EVENT_DRAIN,
	EVENT_UNDRAIN,
	EVENT_COUNT
};
static const char *const event_names[EVENT_COUNT] = {
	"service.registered", "service.deregistered", "check.critical",	   "check.warning",
	"check.passing",      "node.registered",      "node.deregistered", "service.maintenance",
	"node.maintenance",   "service.state",	      "drain.begin",	   "drain.called_off",
};

/* Subjects share a place when their hashes do: then they share its lines too. */
struct subject {
	uint64_t hash;
	unsigned lines;
};

struct wm_change_log {
	struct wm_timer *window;
	bool open;	  /* the window's end is armed */
	bool maintenance; /* of this agent's node */
	unsigned lines[EVENT_COUNT], left_out[EVENT_COUNT];
	struct subject subjects[WM_CHANGE_LOG_SUBJECTS];
};

static void on_window_end(void *arg)
{
	struct wm_change_log *c = arg;

	for (unsigned i = 0; i < EVENT_COUNT; i++)
		if (c->left_out[i])
			wm_log_line(WM_LOG_INFO, event_names[i], "left_out=%u window_ms=%u",
				    c->left_out[i], WM_CHANGE_LOG_WINDOW_MS);
	memset(c->lines, 0, sizeof(c->lines));
	memset(c->left_out, 0, sizeof(c->left_out));
	memset(c->subjects, 0, sizeof(c->subjects));
	c->open = false;
}

/* Is there room for a line on what the strings name? */
static bool admit(struct wm_change_log *c, enum event e, const char *node, const char *id)
{
	uint64_t hash = wm_hash(node, strlen(node)) * 31 + wm_hash(id, strlen(id));
	struct subject *s = &c->subjects[hash % WM_CHANGE_LOG_SUBJECTS];

	if (!wm_log_enabled(WM_LOG_INFO))
		return false;
	if (!c->open)
		c->open = !wm_timer_arm(c->window, WM_CHANGE_LOG_WINDOW_MS);
	if (s->hash != hash) {
		s->hash = hash;
		s->lines = 0;
	}
	if (s->lines >= WM_CHANGE_LOG_SUBJECT || c->lines[e] >= WM_CHANGE_LOG_EVENT) {
		c->left_out[e]++;
		return false;
	}
	s->lines++;
	c->lines[e]++;
	return true;
}

static void tell_instance(struct wm_change_log *c, enum event e, const struct wm_instance *i)
{
	if (!admit(c, e, i->node->name, i->id))
		return;
	if (e == EVENT_REGISTERED && !wm_label_valid(wm_scope_bare(i->name)))
		wm_log_line(WM_LOG_WARN, "service.name", "svc=%s id=%s text=%s", wm_log_q(i->name),
			    wm_log_q(i->id),
			    wm_log_q(strlen(wm_scope_bare(i->name)) > WM_DNS_LABEL_MAX
					     ? "is longer than the 63 octets of a label: no DNS "
					       "name has it, the virtual address works"
					     : "is no host name's label of letters, digits and "
					       "dashes: DNS answers only who asks for exactly "
					       "this label"));
	if (e == EVENT_REGISTERED)
		wm_log_line(WM_LOG_INFO, event_names[e], "svc=%s id=%s node=%s address=%s port=%u",
			    wm_log_q(i->service->name), wm_log_q(i->id), wm_log_q(i->node->name),
			    wm_log_q(*i->address ? i->address : i->node->address), i->port);
	else
		wm_log_line(WM_LOG_INFO, event_names[e], "svc=%s id=%s node=%s",
			    wm_log_q(i->service->name), wm_log_q(i->id), wm_log_q(i->node->name));
}

static void tell_check(struct wm_change_log *c, const struct wm_check *k)
{
	static const enum event events[] = {[WM_PASSING] = EVENT_PASSING,
					    [WM_WARNING] = EVENT_WARNING,
					    [WM_CRITICAL] = EVENT_CRITICAL};
	const struct wm_instance *i = k->instance;
	enum event e = events[k->status];
	char line[FIRST_LINE_MAX + 1];
	size_t len = strcspn(k->output, "\r\n");

	if (!admit(c, e, i->node->name, k->id))
		return;
	snprintf(line, sizeof(line), "%.*s", (int)(len < FIRST_LINE_MAX ? len : FIRST_LINE_MAX),
		 k->output);
	wm_log_line(k->status == WM_PASSING ? WM_LOG_INFO : WM_LOG_WARN, event_names[e],
		    "check=%s svc=%s id=%s node=%s output=%s", wm_log_q(k->id),
		    wm_log_q(i->service ? i->service->name : NULL),
		    wm_log_q(i->service ? i->id : NULL), wm_log_q(i->node->name), wm_log_q(line));
}

static void tell_node(struct wm_change_log *c, enum event e, const struct wm_node *n)
{
	if (admit(c, e, n->name, ""))
		wm_log_line(WM_LOG_INFO, event_names[e], "node=%s address=%s", wm_log_q(n->name),
			    wm_log_q(n->address));
}

/* --- what a write changed of an instance --- */
/* Its maintenance, NULL: there is none. Of no instance too. */
static const struct wm_check *maintenance_of(const struct wm_instance *i)
{
	for (unsigned n = 0; i && n < i->checks_count; n++)
		if (i->checks[n]->kind == WM_CHECK_MAINTENANCE)
			return i->checks[n];
	return NULL;
}

static void tell_maintenance(struct wm_change_log *c, const struct wm_instance *old,
			     const struct wm_instance *i)
{
	const struct wm_check *on = maintenance_of(i);

	if (!on == !maintenance_of(old) ||
	    !admit(c, EVENT_SERVICE_MAINTENANCE, i->node->name, i->id))
		return;
	wm_log_line(WM_LOG_INFO, event_names[EVENT_SERVICE_MAINTENANCE],
		    "on=%s svc=%s id=%s node=%s reason=%s", on ? "true" : "false",
		    wm_log_q(i->service->name), wm_log_q(i->id), wm_log_q(i->node->name),
		    wm_log_q(on ? on->notes : NULL));
}

/* Statuses that came with the write: of the catalog's checks, and given anew by a client. */
static void tell_written(struct wm_change_log *c, const struct wm_instance *old,
			 const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->checks_count; n++) {
		const struct wm_check *k = i->checks[n], *was = NULL;

		for (unsigned m = 0; old && m < old->checks_count && !was; m++)
			if (strcmp(old->checks[m]->id, k->id) == 0)
				was = old->checks[m];
		if (was ? was->status != k->status
			: k->kind == WM_CHECK_STATED && k->status == WM_CRITICAL)
			tell_check(c, k);
	}
}

/* A drain that is over is the drains' to tell: they know by what. */
static void tell_state(struct wm_change_log *c, const struct wm_instance *old,
		       const struct wm_instance *i)
{
	bool drains = i->drain_until_ms && i->drain_until_ms != old->drain_until_ms;
	bool called_off = old->drain_until_ms && !i->drain_until_ms;
	enum event e = drains ? EVENT_DRAIN : called_off ? EVENT_UNDRAIN : EVENT_STATE;
	uint64_t now = wm_clock_wall_ms();

	if (e == EVENT_STATE && old->lifecycle == i->lifecycle)
		return;
	if (!admit(c, e, i->node->name, i->id))
		return;
	if (e == EVENT_DRAIN)
		wm_log_line(WM_LOG_INFO, event_names[e], "svc=%s id=%s node=%s deadline_ms=%llu",
			    wm_log_q(i->service->name), wm_log_q(i->id), wm_log_q(i->node->name),
			    (unsigned long long)(i->drain_until_ms > now ? i->drain_until_ms - now
									 : 0));
	else
		wm_log_line(WM_LOG_INFO, event_names[e], "svc=%s id=%s node=%s from=%s to=%s",
			    wm_log_q(i->service->name), wm_log_q(i->id), wm_log_q(i->node->name),
			    wm_lifecycle_str(old->lifecycle), wm_lifecycle_str(i->lifecycle));
}

/* The node's checks are announced as changed, not how. */
static void tell_node_maintenance(struct wm_change_log *c, const struct wm_instance *holder)
{
	const struct wm_check *on = maintenance_of(holder);

	if (!holder->node->self || c->maintenance == (on != NULL))
		return;
	c->maintenance = on;
	if (admit(c, EVENT_NODE_MAINTENANCE, holder->node->name, ""))
		wm_log_line(WM_LOG_INFO, event_names[EVENT_NODE_MAINTENANCE],
			    "on=%s node=%s reason=%s", on ? "true" : "false",
			    wm_log_q(holder->node->name), wm_log_q(on ? on->notes : NULL));
}

static void on_first_result(void *arg, const struct wm_check *k)
{
	tell_check(arg, k);
}

static void on_change(void *arg, const struct wm_change *change)
{
	struct wm_change_log *c = arg;

	switch (change->kind) {
	case WM_CHANGE_INSTANCE_UPSERT:
		if (!change->old) /* the same again is no news */
			tell_instance(c, EVENT_REGISTERED, change->instance);
		else
			tell_state(c, change->old, change->instance);
		tell_maintenance(c, change->old, change->instance);
		tell_written(c, change->old, change->instance);
		break;
	case WM_CHANGE_INSTANCE_DELETED:
		tell_instance(c, EVENT_DEREGISTERED, change->instance);
		break;
	case WM_CHANGE_NODE:
		tell_node_maintenance(c, change->instance);
		if (change->check)
			tell_check(c, change->check);
		break;
	case WM_CHANGE_STATUS:
		if (change->check)
			tell_check(c, change->check);
		break;
	case WM_CHANGE_NODE_UPSERT:
		tell_node(c, EVENT_NODE_REGISTERED, change->instance->node);
		break;
	case WM_CHANGE_NODE_DELETED:
		tell_node(c, EVENT_NODE_DEREGISTERED, change->instance->node);
		break;
	case WM_CHANGE_SERVICE_CREATED:
	case WM_CHANGE_SERVICE_DELETED:
	case WM_CHANGE_CHECK_REMOVED:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_SPEC:
	case WM_CHANGE_POLICY:
	default:
		break;
	}
}

struct wm_change_log *wm_change_log_new(struct wm_loop *l, struct wm_registry *r)
{
	struct wm_change_log *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->window = wm_timer_new(l, on_window_end, c);
	if (!c->window || wm_registry_subscribe(r, on_change, c)) {
		wm_timer_free(c->window);
		free(c);
		return NULL;
	}
	c->maintenance = maintenance_of(wm_registry_node_checks(r));
	wm_registry_on_first_result(r, on_first_result, c);
	return c;
}

void wm_change_log_free(struct wm_change_log *c)
{
	if (!c)
		return;
	on_window_end(c);
	wm_timer_free(c->window);
	free(c);
}
