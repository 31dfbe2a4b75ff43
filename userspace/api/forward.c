/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - requests whose ?node= names another agent's node: they are that agent's to answer, by
 * its own rules, so they are sent to it as they came, and its answer is given as it is. Which may
 * be is said in routes.def. What came from another agent is not passed on again. */
#include "userspace/sync/forward.h"

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void on_answer(void *write, const struct wm_forward_answer *a)
{
	struct wm_write *w = write;

	if (!a->code) {
		w->status = a->status;
		w->text_body = !a->type || strcmp(a->type, "application/json") != 0;
		w->json = a->len ? strndup(a->body, a->len) : NULL;
		if (a->len && !w->json) {
			w->status = 503;
			w->text_body = true;
		}
	}
	wm_write_done(w, a->code, a->text);
}

static void forward(struct wm_call *c, const char *node)
{
	const char *query = wm_http_raw_query(c->req), *path = wm_http_path(c->req);
	struct wm_forward f = {.method = wm_http_method_name(c->req)};
	size_t cap = strlen(path) + (query ? strlen(query) : 0) + 2;
	char *target = malloc(cap);
	struct wm_write *w;
	struct wm_err e = {0};

	if (!target) {
		wm_answer_text(c, 503, "Out of memory; nothing was changed");
		return;
	}
	snprintf(target, cap, "%s%s%s", path, query ? "?" : "", query ? query : "");
	f.target = target;
	f.body = wm_http_body(c->req, &f.len);
	w = wm_write_keep(c);
	if (w && wm_sync_forward(c->api->d.sync, node, &f, on_answer, w, &e)) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
	free(target);
}

bool wm_forwarded(struct wm_call *c)
{
	const char *own = wm_registry_node(c->api->d.registry)->name;
	const char *node = wm_http_query(c->req, "node");

	if (wm_http_is_inner(c->req) && !c->route->forwards) {
		wm_answer_text(c, 403, "Permission denied: %s %s is not passed on between agents",
			       wm_http_method_name(c->req), c->route->pattern);
		return true;
	}
	if (!c->route->forwards || !node || !*node || strcasecmp(node, own) == 0)
		return false;
	if (wm_http_is_inner(c->req))
		wm_answer_text(
			c, 404,
			"This is the agent of node \"%.64s\", and the request is for \"%.64s\": it "
			"is not passed on again",
			own, node);
	else if (!c->api->d.sync)
		wm_answer_text(c, 404, "No member with name '%.64s': sync.mode is off", node);
	else
		forward(c, node);
	return true;
}
