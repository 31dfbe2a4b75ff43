/* SPDX-License-Identifier: Apache-2.0 */
/* truth.c - GET /v1/waymark/truth: a look at registry, tables and kernel, and where they differ. */

#include "internal.h"
#include "userspace/base/macros.h"

#include <errno.h>

#define ANSWER_MAX (4u << 20) /* octets: WM_TRUTH_FOUND_MAX of the longest differences */

/* What `waymarkctl register` takes to make an instance of a listener. */
static void put_proposal(struct wm_json *j, const struct wm_truth_found *f)
{
	wm_json_key(j, "proposal");
	if (!*f->service) {
		wm_json_null(j);
		return;
	}
	wm_json_open(j, '{');
	wm_json_ks(j, "Name", f->service);
	if (*f->address)
		wm_json_ks(j, "Address", f->address);
	wm_json_ku(j, "Port", f->port);
	wm_json_close(j, '}');
}

static void put_found(struct wm_json *j, const struct wm_truth_found *f)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "kind", wm_truth_kind_str(f->kind));
	wm_json_ks(j, "what", f->what);
	wm_json_ks(j, "text", f->text);
	put_proposal(j, f);
	wm_json_close(j, '}');
}

static void put_report(struct wm_json *j, const struct wm_truth_report *r)
{
	wm_json_open(j, '{');
	wm_json_kb(j, "agree", !r->found_count && !r->left_out);
	wm_json_ku(j, "looks", r->looks);
	wm_json_ku(j, "took_us", r->took_ns / 1000);
	wm_json_kopen(j, "counts", '{');
	for (unsigned k = 0; k < WM_TRUTH_KIND_COUNT; k++)
		wm_json_ku(j, wm_truth_kind_str((enum wm_truth_kind)k), r->counts[k]);
	wm_json_close(j, '}');
	wm_json_kopen(j, "differences", '[');
	for (unsigned i = 0; i < r->found_count; i++)
		put_found(j, r->found[i]);
	wm_json_close(j, ']');
	wm_json_ku(j, "left_out", r->left_out);
	wm_json_kopen(j, "unseen", '[');
	for (unsigned i = 0; i < r->unseen_count; i++)
		wm_json_string(j, r->unseen[i]);
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

static void on_looked(void *arg, const struct wm_truth_report *r)
{
	struct wm_write *w = arg;
	struct wm_buf body;
	struct wm_json j;

	if (!r) {
		wm_write_done(w, WM_E_BUSY, "This agent stops");
		return;
	}
	wm_buf_init(&body, ANSWER_MAX);
	wm_json_init(&j, &body, false);
	put_report(&j, r);
	wm_json_done(&j);
	wm_buf_putc(&body, '\0');
	if (body.failed) {
		wm_buf_done(&body);
		wm_write_done(w, -ENOMEM, "The answer is too large, or memory ran out");
		return;
	}
	w->json = body.data;
	wm_write_done(w, 0, NULL);
}

void wm_native_truth(struct wm_call *c)
{
	struct wm_err e = {0};
	struct wm_write *w;
	int r;

	if (!c->api->d.truth) {
		wm_answer_text(c, 501, "This agent compares nothing");
		return;
	}
	w = wm_write_keep(c);
	if (!w)
		return;
	r = wm_truth_look(c->api->d.truth, on_looked, w);
	if (!r)
		return;
	wm_write_drop(w);
	wm_err_set(&e, r, "%d requests wait for a look already", WM_TRUTH_ASKERS_MAX);
	wm_answer_err(c, &e);
}
