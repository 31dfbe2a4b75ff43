/* SPDX-License-Identifier: Apache-2.0 */
/* lifecycle.c - PUT /v1/waymark/instances/:id/lifecycle and /drain: what is stated of an instance.
 * Answered after the commit, when neither DNS nor connect() choose what takes no more. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/duration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_drain(struct wm_json *j, const struct wm_api *a, const struct wm_instance *i)
{
	struct wm_drains *d = a->d.drains;
	const char *why = d ? wm_drains_why(d, i) : "nobody counts connections";
	uint64_t open;

	wm_json_open(j, '{');
	wm_json_ku(j, "UntilMs", i->drain_until_ms);
	wm_json_key(j, "Open");
	if (d && wm_drains_open(d, i, &open))
		wm_json_u64(j, open);
	else
		wm_json_null(j);
	wm_json_key(j, "OnlyDeadline");
	if (why)
		wm_json_string(j, why);
	else
		wm_json_null(j);
	wm_json_close(j, '}');
}

/* --- requests --- */
struct drain_request {
	struct wm_write *write;
	char id[WM_INSTANCE_ID_MAX + 1];
};

/* The answer tells whether the last connection can end the drain. Without memory for it: nothing.
 */
static void drain_done(void *arg, int code, const char *text)
{
	struct drain_request *d = arg;
	const struct wm_api *a = d->write->api;
	const struct wm_instance *i = code ? NULL : wm_registry_instance(a->d.registry, d->id);
	struct wm_buf b;
	struct wm_json j;

	if (i && i->drain_until_ms) {
		wm_buf_init(&b, WM_API_ANSWER_MAX);
		wm_json_init(&j, &b, false);
		put_drain(&j, a, i);
		wm_json_done(&j);
		d->write->json = b.failed ? NULL : strndup(b.data, b.len);
		wm_buf_done(&b);
	}
	wm_write_done(d->write, code, text);
	free(d);
}

static void change(struct wm_call *c, enum wm_lifecycle to, uint64_t drain_ms)
{
	struct drain_request *d;
	struct wm_err e = {0};
	struct wm_write *w;

	d = drain_ms ? calloc(1, sizeof(*d)) : NULL;
	w = wm_write_keep(c);
	if (!w || (drain_ms && !d)) {
		free(d);
		if (w)
			wm_write_drop(w);
		if (w)
			wm_answer_text(c, 503, "Out of memory; nothing was changed");
		return;
	}
	if (d) {
		d->write = w;
		snprintf(d->id, sizeof(d->id), "%.*s", WM_INSTANCE_ID_MAX, c->params[0]);
	}
	e.code = wm_registry_lifecycle(c->api->d.registry, c->params[0], to, drain_ms,
				       d ? drain_done : wm_write_done, d ? (void *)d : w, &e);
	if (e.code) {
		free(d);
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
}

void wm_native_lifecycle(struct wm_call *c)
{
	const char *state = wm_http_query(c->req, "state");
	enum wm_lifecycle to = WM_LIFE_NONE;

	if (!state || !*state) {
		wm_answer_text(c, 400,
			       "Missing value for state: starting, running, stopping or stopped");
		return;
	}
	if (wm_lifecycle_parse(state, &to)) {
		wm_answer_text(c, 400,
			       "Invalid value for state: \"%.64s\"; it is starting, running, "
			       "stopping or stopped",
			       state);
		return;
	}
	change(c, to, 0);
}

/* Of a drain that names none: the policy of the instance's service says. */
static int64_t default_deadline(const struct wm_registry *r, const char *id)
{
	const struct wm_instance *i = wm_registry_instance(r, id);
	const struct wm_policy *p = i ? wm_registry_policy(r, i->service->name) : NULL;

	return p && p->drain_s ? (int64_t)(p->drain_s * WM_NS_PER_S)
			       : (int64_t)(WM_DRAIN_DEFAULT_MS * WM_NS_PER_MS);
}

void wm_native_drain(struct wm_call *c)
{
	const char *deadline = wm_http_query(c->req, "deadline");
	int64_t ns = default_deadline(c->api->d.registry, c->params[0]);

	if (deadline && *deadline && wm_duration_parse(deadline, &ns))
		ns = 0;
	if (ns < (int64_t)WM_NS_PER_MS || (uint64_t)ns > WM_DRAIN_MAX_MS * WM_NS_PER_MS) {
		wm_answer_text(c, 400,
			       "Invalid value for deadline: \"%.64s\"; it is a duration such as "
			       "30s, from 1ms to %lluh",
			       deadline, WM_DRAIN_MAX_MS / 3600000);
		return;
	}
	change(c, WM_LIFE_STOPPING, (uint64_t)ns / WM_NS_PER_MS);
}

void wm_encode_life(struct wm_json *j, const struct wm_api *a, const struct wm_instance *i)
{
	wm_json_ks(j, "Lifecycle", wm_lifecycle_str(i->lifecycle));
	wm_json_ks(j, "State", wm_lifecycle_str(wm_instance_state(i)));
	wm_json_key(j, "Drain");
	if (i->drain_until_ms)
		put_drain(j, a, i);
	else
		wm_json_null(j);
}
