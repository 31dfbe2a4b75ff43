/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - Consul's /v1/config: entries are parts of a service's policy. A write reads the
 * policy, replaces the part, and is written under the index that it read: who wrote another part
 * meanwhile is not undone, it is tried again. */
#include "decode_config.h"
#include "internal.h"
#include "userspace/metadata/subset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 256 /* of a write that others come before: one of them a turn */

/* --- reading ------------------------------------------------------------------------------------
 */
static bool read_kind(struct wm_call *c, enum wm_policy_view *ret)
{
	if (wm_config_kind(c->params[0], ret))
		return true;
	wm_answer_text(c, 400,
		       "invalid config entry kind: %.64s (service-resolver, service-splitter and "
		       "service-defaults are)",
		       c->params[0]);
	return false;
}

void wm_config_list(struct wm_call *c)
{
	const struct wm_policy **all;
	enum wm_policy_view kind;
	unsigned count = 0;
	struct wm_json j;
	uint64_t index;

	if (!read_kind(c, &kind) || wm_api_wait(c, WM_SCOPE_POLICIES, NULL, &index))
		return;
	all = wm_sorted_policies(c, false, &count);
	if (!all)
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned n = 0; n < count; n++) {
		if (wm_config_has(all[n], kind))
			wm_encode_config(&j, all[n], kind);
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
	free(all);
}

void wm_config_get(struct wm_call *c)
{
	const struct wm_policy *p;
	enum wm_policy_view kind;
	struct wm_json j;
	uint64_t index;

	if (!read_kind(c, &kind) || wm_api_wait(c, WM_SCOPE_POLICIES, NULL, &index))
		return;
	p = wm_registry_policy(c->api->d.registry, c->params[1]);
	if (!wm_config_has(p, kind)) {
		wm_answer_text(c, 404, "Config entry not found for \"%s\" / \"%.64s\"",
			       wm_config_kinds[kind], c->params[1]);
		return;
	}
	wm_answer_begin(c, &j);
	wm_encode_config(&j, p, kind);
	wm_answer_end(c, &j, index);
}

/* --- writing ------------------------------------------------------------------------------------
 */
struct change {
	struct wm_api *api;
	struct wm_write *w;
	struct wm_decoded *mem; /* NULL: it is deleted */
	struct wm_config_body body;
	uint64_t cas;
	bool has_cas;
	unsigned tries;
	char name[WM_SERVICE_NAME_MAX + 1];
};

static void change_end(struct change *x, int code, const char *text)
{
	wm_decoded_free(x->mem);
	wm_write_done(x->w, code, text);
	free(x);
}

/* The answer of a write that was made, or is not for its index. */
static void change_answer(struct change *x, bool made)
{
	bool word = x->mem || x->has_cas;

	x->w->json = strdup(!word ? "{}" : made ? "true" : "false");
	change_end(x, x->w->json ? 0 : -ENOMEM, NULL);
}

static int make(struct change *x, struct wm_err *e);

static void on_written(void *arg, int code, const char *text)
{
	struct change *x = arg;
	struct wm_err e = {0};

	if (code == WM_E_CONFLICT && ++x->tries < TRIES_MAX) {
		code = make(x, &e);
		if (code >= 0)
			return;
		text = e.text;
	}
	if (code)
		change_end(x, code, text);
	else
		change_answer(x, true);
}

/* Nothing is left of it but a name? */
static bool is_empty(const struct wm_policy *p)
{
	struct wm_policy_draft d;

	wm_policy_draft_init(&d, p->service);
	return wm_policy_same(&d.p, p);
}

static int judge_filters(const struct change *x, const struct wm_policy *p, struct wm_err *e)
{
	struct wm_subsets *s = NULL;
	int err = wm_subsets_new(p, wm_registry_datacenter(x->api->d.registry), &s, e);

	wm_subsets_free(s);
	return err;
}

/* Queue the write. @return 0: on_written() comes; 1: there is nothing to write, and the answer is
 * given; or the error. */
static int make(struct change *x, struct wm_err *e)
{
	struct wm_registry *r = x->api->d.registry;
	const struct wm_policy *p = wm_registry_policy(r, x->name);
	uint64_t index = p ? p->modify_index : 0;
	bool has = wm_config_has(p, x->body.kind);
	struct wm_policy_draft d;
	int err = 0;

	if ((x->has_cas && x->cas != (has ? index : 0)) || (!x->mem && !has)) {
		change_answer(x, false);
		return 1;
	}
	if (p)
		wm_policy_draft_of(&d, p);
	else
		wm_policy_draft_init(&d, x->name);
	if (x->mem)
		err = wm_config_apply(x->mem, &x->body, wm_registry_datacenter(r), &d, e);
	else
		wm_config_clear(&d, x->body.kind);
	if (!err)
		err = judge_filters(x, &d.p, e);
	if (err)
		return err;
	if (!x->mem && is_empty(&d.p))
		return wm_registry_policy_delete(r, x->name, &index, on_written, x, e);
	return wm_registry_policy_put(r, &d.p, &index, on_written, x, e);
}

/* Takes @p mem over. */
static void begin(struct wm_call *c, struct wm_decoded *mem, const struct wm_config_body *b)
{
	struct change *x = calloc(1, sizeof(*x));
	struct wm_err e = {0};
	const uint64_t *cas;
	uint64_t index;

	if (!x)
		wm_answer_text(c, 503, "Out of memory; nothing was changed");
	if (!x || !wm_params_cas(c, &index, &cas) || !(x->w = wm_write_keep(c))) {
		wm_decoded_free(mem);
		free(x);
		return;
	}
	x->api = c->api;
	x->mem = mem;
	x->body = *b;
	x->has_cas = cas;
	x->cas = cas ? index : 0;
	snprintf(x->name, sizeof(x->name), "%s", b->name);
	if (make(x, &e) >= 0)
		return;
	wm_write_drop(x->w);
	wm_answer_err(c, &e);
	wm_decoded_free(mem);
	free(x);
}

/* One that is cut would be another's. @return false: answered. */
static bool fits(struct wm_call *c, const char *name)
{
	if (strlen(name) <= WM_SERVICE_NAME_MAX)
		return true;
	wm_answer_text(c, 400, "Name: \"%.64s\" is not allowed: at most %d octets are", name,
		       WM_SERVICE_NAME_MAX);
	return false;
}

void wm_config_put(struct wm_call *c)
{
	struct wm_config_body b;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	const char *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_config(body, len, &mem, &b, &e);
	if (e.code)
		wm_answer_err(c, &e);
	if (e.code || !fits(c, b.name)) {
		wm_decoded_free(mem);
		return;
	}
	begin(c, mem, &b);
}

void wm_config_delete(struct wm_call *c)
{
	struct wm_config_body b = {.name = c->params[1]};

	if (read_kind(c, &b.kind) && fits(c, b.name))
		begin(c, NULL, &b);
}
