/* SPDX-License-Identifier: Apache-2.0 */
/* catalog_write.c - handlers that write into the catalog: one registration, and transactions. Both
 * are batches for the registry. The result of a transaction's operation is the object as that
 * operation left it, so it is written down while the batch is applied, and sent after the commit.
 */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/sync/sync.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESULTS_MAX (64u << 20) /* octets: 128 objects of the greatest size are below it */

/* --- one registration ------------------------------------------------------------------------- */
static bool right_datacenter(struct wm_call *c, const char *dc)
{
	if (!dc || !*dc || strcasecmp(dc, wm_registry_datacenter(c->api->d.registry)) == 0)
		return true;
	wm_answer_text(c, 500, "No path to datacenter");
	return false;
}

static void submit(struct wm_call *c, const struct wm_catalog *cat)
{
	struct wm_catalog_batch b = {.ops = cat->ops, .count = cat->count, .done = wm_write_done};
	unsigned failed;
	struct wm_write *w;
	struct wm_err e = {0};

	if (!right_datacenter(c, cat->datacenter))
		return;
	if (cat->skip_node_update && wm_registry_node_named(c->api->d.registry, b.ops[0].node)) {
		b.ops++;
		b.count--;
	}
	w = wm_write_keep(c);
	if (!w)
		return;
	w->json = strdup("true");
	b.arg = w;
	e.code = w->json ? wm_registry_catalog(c->api->d.registry, &b, &failed, &e) : -ENOMEM;
	if (e.code) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
}

typedef int (*decode_fn)(const char *body, size_t len, struct wm_decoded **ret,
			 struct wm_catalog *ret_catalog, struct wm_err *e);

static void write_one(struct wm_call *c, decode_fn decode)
{
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	struct wm_catalog cat;
	const char *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = decode(body, len, &mem, &cat, &e);
	if (e.code)
		wm_answer_err(c, &e);
	else
		submit(c, &cat);
	wm_decoded_free(mem);
}

void wm_catalog_register(struct wm_call *c)
{
	write_one(c, wm_decode_catalog_register);
}

void wm_catalog_deregister(struct wm_call *c)
{
	write_one(c, wm_decode_catalog_deregister);
}

/* --- transactions ----------------------------------------------------------------------------- */
struct txn {
	struct wm_api *api;
	struct wm_write *w;
	struct wm_buf body;
	struct wm_json j;
	bool reads; /* nothing but */
	unsigned count;
	enum wm_object objects[]; /* what each operation is about */
};

static void txn_free(struct txn *t)
{
	if (t)
		wm_buf_done(&t->body);
	free(t);
}

static struct txn *txn_new(struct wm_api *a, const struct wm_catalog *cat)
{
	struct txn *t = calloc(1, sizeof(*t) + cat->count * sizeof(*t->objects));

	if (!t)
		return NULL;
	t->api = a;
	t->reads = true;
	t->count = cat->count;
	wm_buf_init(&t->body, RESULTS_MAX);
	wm_json_init(&t->j, &t->body, false);
	wm_json_open(&t->j, '{');
	wm_json_kopen(&t->j, "Results", '[');
	for (unsigned n = 0; n < cat->count; n++) {
		t->reads = t->reads && cat->ops[n].verb == WM_VERB_GET;
		t->objects[n] = cat->ops[n].object;
	}
	return t;
}

static void put_result(struct txn *t, enum wm_object object, const struct wm_part *p)
{
	struct wm_encode e = wm_encode_of(t->api);

	if (object != WM_OBJECT_NODE && !p->instance && !p->check)
		return;
	wm_json_open(&t->j, '{');
	if (object == WM_OBJECT_NODE) {
		wm_json_key(&t->j, "Node");
		wm_encode_at(&e, p->node);
		wm_encode_node(&t->j, &e);
	} else if (p->instance) {
		wm_json_key(&t->j, "Service");
		wm_encode_service(&t->j, p->instance);
	} else {
		wm_json_key(&t->j, "Check");
		wm_encode_check(&t->j, &e, p->check);
	}
	wm_json_close(&t->j, '}');
}

/* {"Results":null,"Errors":[{"OpIndex":0,"What":"..."}]} */
static void put_failure(struct wm_buf *b, unsigned number, const char *text)
{
	struct wm_json j;

	wm_buf_reset(b);
	wm_json_init(&j, b, false);
	wm_json_open(&j, '{');
	wm_json_key(&j, "Results");
	wm_json_null(&j);
	wm_json_kopen(&j, "Errors", '[');
	wm_json_open(&j, '{');
	wm_json_ku(&j, "OpIndex", number);
	wm_json_ks(&j, "What", text);
	wm_json_close(&j, '}');
	wm_json_close(&j, ']');
	wm_json_close(&j, '}');
	wm_json_done(&j);
}

static void on_part(void *arg, const struct wm_part *p)
{
	struct txn *t = arg;

	if (p->code) {
		put_failure(&t->body, p->number, p->text);
		t->w->status = 409;
	} else if (p->node) {
		put_result(t, t->objects[p->number], p);
	}
}

static void finish(struct txn *t)
{
	struct wm_sync_contact is;

	wm_contact(t->api, &is);
	wm_json_close(&t->j, ']');
	wm_json_key(&t->j, "Errors");
	wm_json_null(&t->j);
	if (t->reads) {
		/* of what was read; Consul's indexes begin with 1 */
		wm_json_ku(&t->j, "Index", t->count ? wm_registry_index(t->api->d.registry) : 1);
		wm_json_ku(&t->j, "LastContact", is.ms);
		wm_json_kb(&t->j, "KnownLeader", is.known);
		wm_json_ks(&t->j, "ConsistencyLevel", "");
		wm_json_kb(&t->j, "NotModified", false);
		wm_json_ku(&t->j, "Backend", 0);
		wm_json_kb(&t->j, "ResultsFilteredByACLs", false);
	}
	wm_json_close(&t->j, '}');
	wm_json_done(&t->j);
}

static void on_done(void *arg, int code, const char *text)
{
	struct txn *t = arg;
	struct wm_write *w = t->w;

	if (!code)
		finish(t);
	if (code && !w->status) { /* not one operation failed, but the commit */
		wm_write_done(w, code, text);
	} else if (t->body.failed) {
		wm_write_done(w, -ENOMEM,
			      "The transaction was applied, but its answer is too "
			      "large, or memory ran out");
	} else {
		w->json = t->body.data;
		t->body.data = NULL;
		w->known_leader = t->reads;
		wm_write_done(w, 0, NULL);
	}
	txn_free(t);
}

/* An operation that is wrong by itself fails the transaction as one that fails in it. */
static void refuse(struct wm_call *c, unsigned failed, const struct wm_err *e)
{
	static const char prefix[] = "Request decode failed: ";
	const char *text = e->text;
	struct wm_json j;

	if (e->code == WM_E_DECODE && strncmp(text, prefix, sizeof(prefix) - 1) == 0)
		text += sizeof(prefix) - 1;
	if (failed == WM_DECODE_WHOLE && e->code == WM_E_DECODE) {
		wm_answer_text(c, 400, "Failed to parse body: %s", text);
		return;
	}
	if (failed == WM_DECODE_WHOLE || e->code == -ENOMEM || e->code == WM_E_BUSY) {
		wm_answer_err(c, e);
		return;
	}
	wm_answer_begin(c, &j);
	put_failure(j.b, failed, text);
	wm_answer_end_with(c, &j, 0, 409);
}

void wm_txn(struct wm_call *c)
{
	struct wm_decoded *mem = NULL;
	struct txn *t = NULL;
	unsigned failed = WM_DECODE_WHOLE;
	struct wm_err e = {0};
	struct wm_catalog cat;
	const char *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_txn(body, len, &mem, &cat, &failed, &e);
	if (e.code) {
		refuse(c, failed, &e);
		wm_decoded_free(mem);
		return;
	}
	t = txn_new(c->api, &cat);
	if (t)
		t->w = wm_write_keep(c);
	if (!t) {
		wm_answer_text(c, 503, "Out of memory; nothing was changed");
	} else if (t->w) {
		const struct wm_catalog_batch b = {cat.ops, cat.count, on_part, on_done, t};

		e.code = wm_registry_catalog(c->api->d.registry, &b, &failed, &e);
		if (e.code) {
			wm_write_drop(t->w);
			refuse(c, failed, &e);
		}
	}
	if (t && (e.code || !t->w))
		txn_free(t);
	wm_decoded_free(mem);
}
