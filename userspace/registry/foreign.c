/* SPDX-License-Identifier: Apache-2.0 */
/* foreign.c - see foreign.h. Changes come over the network: their octets are decoded as rows are,
 * and then judged by the rules for clients. Each becomes a write of its own (foreign_ops.c). */
#include "foreign_internal.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what became of them ---------------------------------------------------------------------- */
static bool is_refusal(int code)
{
	return code == WM_E_INVALID || code == WM_E_LIMIT || code == WM_E_CONFLICT ||
	       code == WM_E_CAPACITY || code == WM_E_FULL || code == WM_E_STORE_VERSION;
}

static void count(struct wm_foreign_call *c, int code, const char *text)
{
	struct wm_foreign_stats *s = &c->r->foreign_stats;

	if (is_refusal(code)) {
		c->result.refused++;
		s->refused++;
	} else {
		c->result.failed++;
		s->failed++;
	}
	if (c->result.code)
		return;
	c->result.code = code;
	snprintf(c->result.text, sizeof(c->result.text), "%s", text);
}

static void release(struct wm_foreign_call *c)
{
	if (--c->waiting)
		return;
	if (c->done)
		c->done(c->arg, &c->result);
	free(c);
}

void wm_foreign_answer(struct wm_foreign_call *c, int code, const char *text, bool stale,
		       bool changed)
{
	struct wm_foreign_stats *s = &c->r->foreign_stats;

	if (code) {
		count(c, code, text);
	} else if (stale) {
		c->result.stale++;
		s->stale++;
	} else {
		c->result.taken++;
		c->result.unchanged += !changed;
		s->taken++;
		s->unchanged += !changed;
	}
	release(c);
}

static void answered(void *arg, int code, const char *text)
{
	const struct wm_foreign_op *f = arg;

	wm_foreign_answer(f->call, code, text, f->stale, f->op.index);
}

static void answered_policy(void *arg, int code, const char *text)
{
	const struct wm_policy_op *o = arg;

	wm_foreign_answer(o->call, code, text, o->stale, o->op.index);
}

/* --- reading ---------------------------------------------------------------------------------- */
static int invalid(struct wm_err *e, const char *what)
{
	return wm_err_set(e, WM_E_INVALID, "%s", what);
}

/* What is foreign is not run here, so programs are as good as any check. Shared ones may be on this
 * agent's node, which would. */
static int judge_checks(struct wm_record_instance *d, bool shared, struct wm_err *e)
{
	unsigned clients = 0;
	int err = 0;

	for (unsigned n = 0; n < d->d.checks_count && !err; n++) {
		struct wm_check_draft c = d->checks[n];

		clients += c.kind != WM_CHECK_MAINTENANCE;
		if (shared && c.kind != WM_CHECK_STATED)
			return invalid(e, "a check of the catalog is to be run by somebody");
		c.scripts = c.units = WM_SCRIPTS_ALLOWED;
		if (c.kind == WM_CHECK_MAINTENANCE) { /* which needs nothing else */
			c.kind = WM_CHECK_TTL;
			c.ttl_ms = 1;
		}
		err = wm_check_draft_validate(&c, e);
		for (unsigned k = 0; k < n && !err; k++) {
			if (strcmp(c.id, d->checks[k].id) == 0)
				err = invalid(e, "an id of a check is there twice");
		}
	}
	if (!err && (clients > WM_CHECKS_PER_INSTANCE || d->d.checks_count > clients + 1))
		err = wm_err_set(e, WM_E_LIMIT, "too many checks of one instance");
	return err;
}

/* By the rules for clients. */
static int judge(const struct wm_registry *r, const struct wm_foreign_op *f,
		 struct wm_record_instance *d, struct wm_err *e)
{
	bool node = !*f->op.id;
	unsigned checks = d->d.checks_count;
	struct in6_addr a6;
	struct in_addr a4;
	int err = wm_node_name_validate(d->node_name, e);

	if (!err)
		err = judge_checks(d, f->version.origin == WM_ORIGIN_SHARED, e);
	if (!err && node)
		err = wm_node_draft_validate(&d->node, e);
	if (err || node)
		return err;
	d->d.checks_count = 0; /* they were judged */
	err = wm_draft_validate(&d->d, e);
	d->d.checks_count = checks;
	if (err)
		return err;
	wm_address_parse(d->d.address, &a4, &a6);
	if (wm_vip4_inside(&r->space, a4) || wm_vip6_inside(&r->space, &a6))
		return invalid(e, "the address is in the range of virtual addresses");
	return 0;
}

/* It must be what the change says that it is. */
static int judge_names(const struct wm_foreign_change *c, const struct wm_record_instance *d,
		       struct wm_foreign_op *f, struct wm_err *e)
{
	char said[WM_NODE_NAME_MAX + 1], is[WM_NODE_NAME_MAX + 1];

	if (*f->op.id && strcmp(d->d.id, f->op.id) != 0)
		return invalid(e, "the instance has another id");
	if (c->version.origin == WM_ORIGIN_FOREIGN) {
		struct wm_peer_id id;

		if (*f->op.id)
			return 0;
		return wm_peer_id_parse(d->node.id, &id) ||
				       !wm_peer_id_same(&id, &c->version.writer)
			       ? invalid(e, "the node has another id than its agent")
			       : 0;
	}
	wm_node_fold(said, c->node); /* both were judged */
	wm_node_fold(is, d->node_name);
	return strcmp(said, is) == 0 ? 0 : invalid(e, "the object is of another node");
}

static int decode(struct wm_registry *r, const struct wm_foreign_change *c, struct wm_foreign_op *f,
		  struct wm_record_instance *d, struct wm_err *e)
{
	bool node = !*f->op.id;
	enum wm_record_type type = node ? WM_RECORD_CATALOG_NODE : WM_RECORD_CATALOG_INSTANCE;
	const char *why = "";
	char *body;
	size_t len;
	int err;

	if (!c->object || c->len > WM_RECORD_MAX)
		return invalid(e, "the object has no octets, or too many");
	err = wm_record_open(c->object, c->len, 0, type, &why);
	if (err)
		return wm_err_set(e, err == WM_E_STORE_VERSION ? err : WM_E_INVALID,
				  "the object %s", why);
	len = c->len - WM_RECORD_HEAD;
	wm_buf_reset(&r->record);
	if (!wm_buf_put(&r->record, (const char *)c->object + WM_RECORD_HEAD, len))
		return -ENOMEM;
	body = r->record.data;
	err = node ? wm_record_get_catalog_node(body, len, d)
		   : wm_record_get_catalog_instance(body, len, d);
	if (err)
		return invalid(e, "the object cannot be decoded");
	err = judge(r, f, d, e);
	if (!err)
		err = judge_names(c, d, f, e);
	if (err)
		return err;
	f->op.node_name = strdup(d->node_name);
	f->in = wm_record_build(d);
	if (node)
		f->facts = wm_node_new(d->node_name, &d->node);
	if (!f->op.node_name || !f->in || (node && !f->facts))
		return -ENOMEM;
	f->in->version.origin = c->version.origin;
	return 0;
}

static bool is_policy(const struct wm_foreign_change *c)
{
	return c->version.origin == WM_ORIGIN_SHARED && strcmp(c->node, WM_POLICY_NODE) == 0;
}

/* Its octets, in the buffer behind @p d, which holds what they say. */
static int decode_policy(struct wm_registry *r, const struct wm_foreign_change *c,
			 struct wm_policy_draft *d, struct wm_err *e)
{
	const char *why = "";
	int err;

	if (!c->object || c->len > WM_RECORD_MAX)
		return invalid(e, "the object has no octets, or too many");
	err = wm_record_open(c->object, c->len, 0, WM_RECORD_POLICY, &why);
	if (err)
		return wm_err_set(e, err == WM_E_STORE_VERSION ? err : WM_E_INVALID,
				  "the object %s", why);
	wm_buf_reset(&r->record);
	if (!wm_buf_put(&r->record, (const char *)c->object + WM_RECORD_HEAD,
			c->len - WM_RECORD_HEAD))
		return -ENOMEM;
	if (wm_record_get_policy(r->record.data, c->len - WM_RECORD_HEAD, d))
		return invalid(e, "the object cannot be decoded");
	if (strcmp(d->p.service, c->id) != 0)
		return invalid(e, "the policy is of another service");
	return wm_policy_validate(&d->p, e);
}

/* @p ret is set also on failure, when there is one. */
static int read_policy(struct wm_registry *r, const struct wm_foreign_change *c, struct wm_op **ret,
		       struct wm_err *e)
{
	bool gone = c->gone || c->forget;
	struct wm_policy_draft d;
	struct wm_policy *in = NULL;
	struct wm_policy_op *o;
	int err = gone ? 0 : decode_policy(r, c, &d, e);

	if (!err && !gone)
		in = wm_policy_copy(&d.p);
	if (err || (!gone && !in))
		return err ? err : -ENOMEM;
	o = wm_policy_op_new(c->id, gone, in);
	if (!o)
		return -ENOMEM;
	if (!gone && strcmp(in->service, c->id) != 0) {
		wm_op_free(&o->op);
		return invalid(e, "the policy's service is not in lower case");
	}
	o->version = c->version;
	o->forget = c->forget;
	o->mended = c->mended;
	o->op.lazy = !c->mended;
	o->when_s = c->gone_ms / 1000;
	o->op.bytes += 2 * c->len;
	*ret = &o->op;
	return 0;
}

static int judge_change(const struct wm_registry *r, const struct wm_foreign_change *c,
			struct wm_err *e)
{
	struct wm_peer_id self;
	uint32_t epoch;

	wm_registry_origin(r, &self, &epoch);
	if (strnlen(c->id, WM_INSTANCE_ID_MAX + 1) > WM_INSTANCE_ID_MAX)
		return wm_err_set(e, WM_E_LIMIT, "an id is too long (limit: %d characters)",
				  WM_INSTANCE_ID_MAX);
	if ((c->version.origin != WM_ORIGIN_FOREIGN && c->version.origin != WM_ORIGIN_SHARED) ||
	    wm_peer_id_none(&c->version.writer))
		return invalid(e, "a change is of no agent");
	if (c->forget && !*c->id)
		return invalid(e, "a node is not forgotten by itself");
	if (c->source != wm_peer_id_is_source(&c->version.writer) ||
	    (c->source && c->version.origin != WM_ORIGIN_FOREIGN))
		return wm_err_set(e, WM_E_CONFLICT, "it is said to be of a source of this agent");
	if (!c->version.seq && !c->forget)
		return invalid(e, "a change has no number");
	if (c->semver && strnlen(c->semver, WM_META_VALUE_MAX + 1) > WM_META_VALUE_MAX)
		return wm_err_set(e, WM_E_LIMIT, "a version is too long (limit: %d octets)",
				  WM_META_VALUE_MAX);
	if (is_policy(c))
		return wm_policy_key_valid(c->id) ? 0 : invalid(e, "a policy is of no service");
	if (c->version.origin == WM_ORIGIN_SHARED)
		return wm_node_name_validate(c->node, e);
	if (wm_peer_id_same(&self, &c->version.writer))
		return wm_err_set(e, WM_E_CONFLICT, "it is said to be of this agent's log");
	return 0;
}

static int read_change(struct wm_registry *r, const struct wm_foreign_change *c,
		       struct wm_record_instance *d, struct wm_foreign_op **ret, struct wm_err *e)
{
	struct wm_foreign_op *f;

	f = wm_op_new(&wm_op_foreign, sizeof(*f), c->id);
	*ret = f;
	if (!f)
		return -ENOMEM;
	f->version = c->version;
	f->gone = c->gone || c->forget;
	f->forget = c->forget;
	f->mended = c->mended;
	f->source = c->source;
	f->when_s = c->gone_ms / 1000;
	f->op.object = *c->id ? WM_OBJECT_SERVICE : WM_OBJECT_NODE;
	f->op.restore = true;	 /* as it is, whatever there is */
	f->op.lazy = !c->mended; /* which is this agent's */
	f->op.bytes += 2 * c->len;
	if (c->version.origin == WM_ORIGIN_FOREIGN)
		wm_peer_id_format(&c->version.writer, f->origin);
	if (!f->gone)
		return decode(r, c, f, d, e);
	if (c->version.origin == WM_ORIGIN_SHARED) {
		f->op.node_name = strdup(c->node);
		f->semver = c->semver ? strdup(c->semver) : NULL;
		return f->op.node_name && !f->semver == !c->semver ? 0 : -ENOMEM;
	}
	return 0;
}

static int read_op(struct wm_registry *r, struct wm_foreign_call *call,
		   const struct wm_foreign_change *c, struct wm_record_instance *d,
		   struct wm_op **ret, struct wm_err *e)
{
	struct wm_foreign_op *f = NULL;
	int err = judge_change(r, c, e);

	if (!err && is_policy(c)) {
		err = read_policy(r, c, ret, e);
		if (err || !*ret)
			return err;
		((struct wm_policy_op *)*ret)->call = call; /* its first member */
		(*ret)->done = answered_policy;
		return 0;
	}
	if (!err)
		err = read_change(r, c, d, &f, e);
	if (!f)
		return err;
	*ret = &f->op;
	f->call = call;
	f->op.done = answered;
	return err;
}

static void add(struct wm_registry *r, struct wm_foreign_call *call,
		const struct wm_foreign_change *c, struct wm_record_instance *d)
{
	struct wm_op *op = NULL;
	struct wm_err e = {0};
	char text[WM_ERR_TEXT_MAX];
	int err = read_op(r, call, c, d, &op, &e);

	if (op && !err) {
		op->arg = op;
		call->waiting++;
		err = wm_op_submit(r, op, &e); /* frees it on failure */
		call->waiting -= err != 0;
	} else {
		wm_op_free(op);
	}
	if (!err)
		return;
	snprintf(text, sizeof(text), "\"%.64s\": %.300s", c->id,
		 err == -ENOMEM ? "out of memory" : e.text);
	count(call, err, text);
}

int wm_registry_foreign(struct wm_registry *r, const struct wm_foreign_change *changes,
			unsigned count, wm_foreign_done done, void *arg, struct wm_err *e)
{
	struct wm_foreign_call *call;
	struct wm_record_instance *d;
	size_t bytes = 0;

	for (unsigned n = 0; n < count; n++)
		bytes += sizeof(struct wm_foreign_op) + 2 * changes[n].len + WM_INSTANCE_ID_MAX;
	if (r->queued + count > WM_REGISTRY_QUEUE_MAX ||
	    r->queued_bytes + bytes > WM_REGISTRY_QUEUE_BYTES)
		return wm_err_set(e, WM_E_BUSY, "Too many writes are waiting, try again");
	call = calloc(1, sizeof(*call));
	d = malloc(sizeof(*d));
	if (!call || !d) {
		free(call);
		free(d);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	*call = (struct wm_foreign_call){.r = r, .done = done, .arg = arg, .waiting = 1};
	for (unsigned n = 0; n < count; n++)
		add(r, call, &changes[n], d);
	free(d);
	release(call);
	return 0;
}

void wm_registry_foreign_stats(const struct wm_registry *r, struct wm_foreign_stats *ret)
{
	*ret = r->foreign_stats;
}

/* --- an agent is forgotten -------------------------------------------------------------------- */
int wm_registry_forget_origin(struct wm_registry *r, const struct wm_peer_id *id,
			      wm_registry_done done, void *arg, struct wm_err *e)
{
	struct wm_forget_op *f;
	struct wm_peer_id self;
	uint32_t epoch;

	wm_registry_origin(r, &self, &epoch);
	if (wm_peer_id_same(&self, id))
		return wm_err_set(e, WM_E_CONFLICT, "This agent does not forget itself");
	f = wm_op_new(&wm_op_forget, sizeof(*f), "");
	if (!f)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	f->origin = *id;
	f->op.restore = true;
	f->op.done = done;
	f->op.arg = arg;
	return wm_op_submit(r, &f->op, e);
}

/* --- whose it is, and whether it is alive ----------------------------------------------------- */
int wm_registry_owner(const struct wm_registry *r, const char *node, const char *id,
		      struct wm_registry_owner *ret)
{
	const struct wm_node *n = node ? wm_find_node(r, node) : r->self;
	const struct wm_instance *i = !n ? NULL : *id ? wm_node_instance(n, id) : n->holder;

	if (!i)
		return WM_E_UNKNOWN;
	*ret = (struct wm_registry_owner){.origin = i->version.origin, .id = i->version.writer};
	if (i == r->self->holder)
		ret->origin = WM_ORIGIN_OWN;
	if (ret->origin == WM_ORIGIN_OWN)
		(void)wm_peer_id_parse(r->self->id, &ret->id); /* its form was judged */
	if (ret->origin != WM_ORIGIN_SHARED)
		ret->agent = n;
	return 0;
}

int wm_registry_set_alive(struct wm_registry *r, const char *node, bool alive, const char *output)
{
	struct wm_node *n = wm_find_node(r, node);
	struct wm_check *c;

	c = n && wm_instance_foreign(n->holder) ? wm_node_check(n, WM_SERF_ID) : NULL;
	if (!c || !wm_cbox(c)->local)
		return WM_E_UNKNOWN;
	if (!output)
		output = alive ? WM_SERF_ALIVE : WM_SERF_DEAD;
	return wm_registry_set_status(r, c, alive ? WM_PASSING : WM_CRITICAL, output) < 0 ? -ENOMEM
											  : 0;
}

void wm_registry_ask_alive(struct wm_registry *r,
			   bool (*fn)(void *arg, const struct wm_peer_id *id), void *arg)
{
	r->ask_alive = fn;
	r->ask_alive_arg = arg;
}

void wm_registry_ask_stands(struct wm_registry *r,
			    int (*fn)(void *arg, const struct wm_registry_stand *s,
				      struct wm_err *e),
			    void *arg)
{
	r->ask_stands = fn;
	r->ask_stands_arg = arg;
}

void wm_registry_set_priority(struct wm_registry *r, uint32_t priority, bool decides)
{
	r->history.priority = priority;
	r->by_priority = decides;
}

struct wm_check *wm_serf_new(const struct wm_registry *r, const struct wm_peer_id *id)
{
	bool alive = !r->ask_alive || r->ask_alive(r->ask_alive_arg, id);
	const struct wm_check_draft d = {.kind = WM_CHECK_STATED,
					 .output = alive ? WM_SERF_ALIVE : WM_SERF_DEAD,
					 .has_status = true,
					 .status = alive ? WM_PASSING : WM_CRITICAL};
	struct wm_check *c = wm_check_build(&d, WM_SERF_ID, WM_SERF_NAME);

	if (c)
		wm_cbox(c)->local = true;
	return c;
}
