/* SPDX-License-Identifier: Apache-2.0 */
/* checks.c - writes on checks: one that is registered by itself, of the node or of an instance, its
 * removal, heartbeats, and maintenance. Answered after the commit. */
#include "internal.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <string.h>

/* A write was handed over, or it was not: then say why. */
static void submitted(struct wm_call *c, struct wm_write *w, struct wm_err *e)
{
	if (!e->code)
		return;
	wm_write_drop(w);
	wm_answer_err(c, e);
}

enum wm_scripts wm_api_scripts(const struct wm_call *c)
{
	if (!wm_http_is_local(c->req))
		return WM_SCRIPTS_REMOTE;
	return c->api->d.scripts_local ? WM_SCRIPTS_ALLOWED : WM_SCRIPTS_OFF;
}

enum wm_scripts wm_api_units(const struct wm_call *c)
{
	if (c->api->d.units_any)
		return WM_SCRIPTS_ALLOWED;
	if (!wm_http_is_local(c->req))
		return WM_SCRIPTS_REMOTE;
	return c->api->d.units_local ? WM_SCRIPTS_ALLOWED : WM_SCRIPTS_OFF;
}

void wm_agent_check_register(struct wm_call *c)
{
	struct wm_check_draft draft;
	struct wm_decoded *mem = NULL;
	const char *service_id = "", *body;
	struct wm_err e = {0};
	struct wm_write *w;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_check(body, len, &mem, &draft, &service_id, &e);
	if (e.code) {
		wm_answer_err(c, &e);
		return;
	}
	draft.scripts = wm_api_scripts(c);
	draft.units = wm_api_units(c);
	w = wm_write_keep(c);
	if (w) {
		e.code = wm_registry_check_register(c->api->d.registry, service_id, &draft,
						    wm_write_done, w, &e);
		submitted(c, w, &e);
	}
	wm_decoded_free(mem);
}

void wm_agent_check_deregister(struct wm_call *c)
{
	struct wm_err e = {0};
	struct wm_write *w = wm_write_keep(c);

	if (!w)
		return;
	e.code = wm_registry_check_deregister(c->api->d.registry, c->params[0], wm_write_done, w,
					      &e);
	submitted(c, w, &e);
}

/* --- maintenance ------------------------------------------------------------------------------ */
/* Go's ParseBool. @return 1, 0, -1: neither. */
static int truth(const char *v)
{
	static const char *const words[] = {"0",     "1",    "f",     "t",    "F",     "T",
					    "false", "true", "FALSE", "TRUE", "False", "True"};

	for (unsigned i = 0; i < WM_ARRAY_LEN(words); i++) {
		if (strcmp(v, words[i]) == 0)
			return (int)(i % 2);
	}
	return -1;
}

static void maintain(struct wm_call *c, const char *service_id)
{
	const char *enable = wm_http_query(c->req, "enable");
	const char *reason = wm_http_query(c->req, "reason");
	int on = enable ? truth(enable) : -1;
	struct wm_err e = {0};
	struct wm_write *w;

	if (!enable) {
		wm_answer_text(c, 400, "Missing value for enable");
		return;
	}
	if (on < 0) {
		wm_answer_text(c, 400, "Invalid value for enable: \"%.64s\"", enable);
		return;
	}
	w = wm_write_keep(c);
	if (!w)
		return;
	e.code = wm_registry_maintenance(c->api->d.registry, service_id, on, reason, wm_write_done,
					 w, &e);
	submitted(c, w, &e);
}

void wm_agent_service_maintenance(struct wm_call *c)
{
	maintain(c, c->params[0]);
}

void wm_agent_maintenance(struct wm_call *c)
{
	maintain(c, NULL);
}

/* --- heartbeats ------------------------------------------------------------------------------- */
/* A heartbeat is applied at once; its answer waits for the end of the turn as every write's. */
static void update_check(struct wm_call *c, enum wm_status s, const char *output)
{
	struct wm_err e = {0};
	struct wm_check *check;
	struct wm_write *w;

	if (!c->api->d.health) {
		wm_answer_text(c, 501, "Checks are not run by this agent");
		return;
	}
	w = wm_write_keep(c);
	if (!w)
		return;
	e.code = wm_health_ttl_update(c->api->d.health, c->params[0], s, output, &e);
	if (e.code) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
		return;
	}
	/* a heartbeat that changes nothing waits for no commit, another for its own row's */
	check = wm_registry_check(c->api->d.registry, c->params[0]);
	if (wm_registry_sync(c->api->d.registry, check, wm_write_done, w))
		wm_write_done(w, -ENOMEM, NULL);
}

static void update_noted(struct wm_call *c, enum wm_status s)
{
	const char *note = wm_http_query(c->req, "note");

	update_check(c, s, note ? note : "");
}

void wm_agent_check_pass(struct wm_call *c)
{
	update_noted(c, WM_PASSING);
}

void wm_agent_check_warn(struct wm_call *c)
{
	update_noted(c, WM_WARNING);
}

void wm_agent_check_fail(struct wm_call *c)
{
	update_noted(c, WM_CRITICAL);
}

void wm_agent_check_update(struct wm_call *c)
{
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	enum wm_status status = WM_CRITICAL;
	const char *output = "", *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_check_update(body, len, &mem, &status, &output, &e);
	if (e.code)
		wm_answer_err(c, &e);
	else
		update_check(c, status, output);
	wm_decoded_free(mem);
}
