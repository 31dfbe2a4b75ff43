/* SPDX-License-Identifier: Apache-2.0 */
/* compare.c - what an operator asks of a mesh: do all members have the same, and if not, which
 * object differs where; what is held back, and to let it go; which conflicts were decided;
 * how the mesh is; to wait until others have what was written. */
#include "internal.h"
#include "userspace/base/duration.h"
#include "userspace/sync/replicated.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (8u << 20) /* octets: each of WM_VERIFY_FOUND_MAX differences has some 4 KB */

/* Of whatever carries. */
static const char *name_of(const struct wm_api *a, const struct wm_peer_id *id)
{
	struct wm_sync_node n;
	size_t pos = 0;

	while (wm_sync_next_node(a->d.sync, &pos, &n))
		if (wm_peer_id_same(&n.id, id))
			return n.name;
	return "";
}

static const char *state_str(enum wm_verify_state s)
{
	return s == WM_VERIFY_SAME ? "same" : s == WM_VERIFY_DIFFERS ? "differs" : "silent";
}

static void put_side(struct wm_json *j, const struct wm_api *a, const char *key,
		     const struct wm_verify_side *s, bool shared)
{
	wm_json_kopen(j, key, '{');
	wm_json_ks(j, "state",
		   !s->known  ? "unknown"
		   : s->gone  ? "gone"
		   : s->other ? "other"
			      : "there");
	wm_json_ku(j, "epoch", s->epoch);
	wm_json_ku(j, "seq", s->seq);
	wm_json_ks(j, "writer", shared && s->known ? name_of(a, &s->writer) : "");
	wm_json_close(j, '}');
}

static const char *member_name(const struct wm_api *a, const struct wm_verify_member *m)
{
	static const struct wm_peer_id nobody;

	return wm_peer_id_same(&m->id, &nobody) ? "etcd" : name_of(a, &m->id);
}

/* Policies are on no node. */
static const char *shown(const char *node)
{
	return strcmp(node, WM_POLICY_NODE) == 0 ? "(policies)" : node;
}

static void put_found(struct wm_json *j, const struct wm_api *a, const struct wm_verify_result *r,
		      const struct wm_verify_found *f)
{
	char owner[WM_PEER_ID_TEXT] = "";

	if (!f->shared)
		wm_peer_id_format(&f->origin, owner);
	wm_json_open(j, '{');
	wm_json_ks(j, "member", member_name(a, &r->members[f->member]));
	wm_json_ks(j, "owner", owner);
	wm_json_ks(j, "node", f->shared ? shown(f->node) : name_of(a, &f->origin));
	wm_json_ks(j, "id", f->id);
	put_side(j, a, "here", &f->here, f->shared);
	put_side(j, a, "there", &f->there, f->shared);
	wm_json_close(j, '}');
}

static bool was_asked(const struct wm_verify_result *r, const struct wm_sync_node *n)
{
	for (unsigned i = 0; i < r->members_count; i++)
		if (wm_peer_id_same(&r->members[i].id, &n->id))
			return true;
	return n->self;
}

/* Who is failed, or a leaf, was not asked. */
static void put_others(struct wm_json *j, const struct wm_api *a, const struct wm_verify_result *r)
{
	struct wm_sync_node n;
	size_t pos = 0;

	wm_json_kopen(j, "not_compared", '[');
	while (wm_sync_next_node(a->d.sync, &pos, &n))
		if (!was_asked(r, &n) && n.state != WM_MEMBER_LEFT)
			wm_json_string(j, n.name);
	wm_json_close(j, ']');
}

static void put_result(struct wm_json *j, const struct wm_api *a, const struct wm_verify_result *r)
{
	bool equal = true;

	for (unsigned i = 0; i < r->members_count; i++)
		equal &= r->members[i].state == WM_VERIFY_SAME;
	wm_json_open(j, '{');
	wm_json_kb(j, "equal", equal);
	wm_json_kopen(j, "members", '[');
	for (unsigned i = 0; i < r->members_count; i++) {
		const struct wm_verify_member *m = &r->members[i];

		wm_json_open(j, '{');
		wm_json_ks(j, "name", member_name(a, m));
		wm_json_ks(j, "state", state_str(m->state));
		wm_json_ku(j, "differences", m->found);
		wm_json_kb(j, "more", m->more);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
	put_others(j, a, r);
	wm_json_kopen(j, "differences", '[');
	for (unsigned i = 0; i < r->found_count; i++)
		put_found(j, a, r, &r->found[i]);
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

static void on_compared(void *arg, const struct wm_verify_result *r)
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
	put_result(&j, w->api, r);
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

void wm_native_verify(struct wm_call *c)
{
	struct wm_err e = {0};
	struct wm_write *w;

	if (!c->api->d.sync) {
		wm_answer_text(c, 501, "sync.mode is off: this agent is a mesh of its own");
		return;
	}
	w = wm_write_keep(c);
	if (!w || !wm_sync_verify(c->api->d.sync, on_compared, w, &e))
		return;
	wm_write_drop(w);
	wm_answer_err(c, &e);
}

/* --- brakes ------------------------------------------------------------------------------------
 */
/* A key as it is shown: of a shared one "node/id"; "" is a node. */
static void put_key(struct wm_json *j, const uint8_t *key, size_t len)
{
	char text[WM_REPLICA_KEY_MAX + 1];

	memcpy(text, key, len);
	for (size_t i = 0; i < len; i++)
		if (!text[i])
			text[i] = '/';
	text[len] = '\0';
	wm_json_string(j, text);
}

static void put_held(struct wm_json *j, const struct wm_api *a, uint64_t now)
{
	const struct wm_replica *r = wm_sync_replica(a->d.sync);
	struct wm_replica_held h;
	size_t pos = 0;

	wm_json_kopen(j, "held", '[');
	while (wm_replica_next_held(r, &pos, &h)) {
		wm_json_open(j, '{');
		wm_json_ks(j, "node", h.shared ? "" : name_of(a, &h.origin));
		wm_json_ks(j, "told_by", name_of(a, &h.from));
		wm_json_ku(j, "removals", h.removals);
		wm_json_ku(j, "since_ms", now - h.since_ms);
		wm_json_kopen(j, "first", '[');
		for (unsigned i = 0; i < h.names_count; i++)
			put_key(j, h.names[i], h.names_len[i]);
		wm_json_close(j, ']');
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

static void put_ahead(struct wm_json *j, const struct wm_api *a, uint64_t now)
{
	const struct wm_replica *r = wm_sync_replica(a->d.sync);
	struct wm_replica_ahead h;
	size_t pos = 0;

	wm_json_kopen(j, "ahead", '[');
	while (wm_replica_next_ahead(r, &pos, &h)) {
		wm_json_open(j, '{');
		wm_json_ks(j, "node", name_of(a, &h.writer));
		wm_json_ku(j, "ahead_ms", h.by_ms);
		wm_json_ku(j, "changes", h.changes);
		wm_json_ku(j, "last_ms", now - h.last_ms);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

void wm_encode_brakes(struct wm_json *j, const struct wm_api *a)
{
	uint64_t now = wm_env_ms(wm_loop_env(a->d.loop));

	put_held(j, a, now);
	put_ahead(j, a, now);
}

void wm_native_release(struct wm_call *c)
{
	const char *node = wm_http_query(c->req, "node");
	struct wm_err e = {0};
	struct wm_json j;
	unsigned count;

	if (!c->api->d.sync) {
		wm_answer_text(c, 501, "sync.mode is off: this agent is a mesh of its own");
		return;
	}
	if (wm_sync_release(c->api->d.sync, node && *node ? node : NULL, &count, &e)) {
		wm_answer_err(c, &e);
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "released", count);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

/* --- conflicts ---------------------------------------------------------------------------------
 */
static void put_conflict_side(struct wm_json *j, const struct wm_api *a, const char *key,
			      const struct wm_conflict_side *s)
{
	char id[WM_PEER_ID_TEXT];

	wm_peer_id_format(&s->writer, id);
	wm_json_kopen(j, key, '{');
	wm_json_ks(j, "writer", name_of(a, &s->writer));
	wm_json_ks(j, "writer_id", id);
	wm_json_ku(j, "clock", s->clock);
	wm_json_ku(j, "written_ms", wm_hlc_ms(s->clock));
	wm_json_kb(j, "removal", s->gone);
	wm_json_ks(j, "version", s->semver);
	wm_json_ku(j, "priority", s->priority);
	wm_json_ks(j, "address", s->address);
	wm_json_ku(j, "port", s->port);
	wm_json_close(j, '}');
}

void wm_native_conflicts(struct wm_call *c)
{
	const struct wm_conflicts *list = c->api->d.sync ? wm_sync_conflicts(c->api->d.sync) : NULL;
	const struct wm_conflict *k;
	struct wm_json j;
	size_t pos = 0;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	while (list && (k = wm_conflicts_next(list, &pos))) {
		wm_json_open(&j, '{');
		wm_json_ku(&j, "time_ms", k->wall_ms);
		wm_json_ks(&j, "rule", k->rule);
		wm_json_ks(&j, "node", shown(k->node));
		wm_json_ks(&j, "id", k->id);
		put_conflict_side(&j, c->api, "stands", &k->stands);
		put_conflict_side(&j, c->api, "lost", &k->lost);
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}

/* --- how it is ---------------------------------------------------------------------------------
 */
void wm_encode_mesh_health(struct wm_json *j, const struct wm_api *a)
{
	struct wm_sync *s = a->d.sync;
	struct wm_sync_health h = {.members = 1, .alive = 1};
	struct wm_sync_stats n = {.certificate_days = INT64_MAX};

	if (s) {
		wm_sync_health(s, &h);
		wm_sync_stats(s, &n);
	}
	wm_json_kopen(j, "mesh", '{');
	wm_json_ks(j, "mode", !s ? "off" : wm_sync_etcd(s) ? "etcd" : "peers");
	wm_json_ku(j, "members", h.members);
	wm_json_ku(j, "alive", h.alive);
	wm_json_ku(j, "failed", h.failed);
	wm_json_ku(j, "behind", h.behind);
	wm_json_ku(j, "held", h.held);
	wm_json_key(j, "certificate_days");
	if (n.certificate_days == INT64_MAX)
		wm_json_null(j);
	else
		wm_json_u64(j, n.certificate_days > 0 ? (uint64_t)n.certificate_days : 0);
	wm_json_kopen(j, "reasons", '[');
	for (unsigned i = 0; i < h.reasons_count; i++) {
		wm_json_open(j, '{');
		wm_json_ks(j, "what", h.reasons[i].what);
		wm_json_ks(j, "text", h.reasons[i].text);
		wm_json_ks(j, "remedy", h.reasons[i].remedy);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

/* --- to wait for others ------------------------------------------------------------------------
 */
static bool wait_params(struct wm_call *c, struct wm_write *w, struct wm_err *e)
{
	const char *replicas = wm_http_query(c->req, "replicas");
	const char *timeout = wm_http_query(c->req, "timeout");
	int64_t ns = WM_REPLICATED_MS * 1000000LL;
	unsigned long n;
	char *end;

	if (timeout &&
	    (wm_duration_parse(timeout, &ns) || ns <= 0 || ns > WM_REPLICATED_MS_MAX * 1000000LL))
		return !wm_err_set(e, WM_E_INVALID,
				   "Invalid timeout: a duration up to %d s is wanted",
				   WM_REPLICATED_MS_MAX / 1000);
	n = replicas ? strtoul(replicas, &end, 10) : 0;
	if (replicas && (!*replicas || *end || !n || n > WM_MEMBERS_MAX))
		return !wm_err_set(e, WM_E_INVALID, "Invalid replicas: a number from 1 is wanted");
	if (!c->api->d.sync)
		return !wm_err_set(e, WM_E_INVALID,
				   "wait=replicated: sync.mode is off, nobody else will have it");
	w->wait_ms = (uint64_t)ns / 1000000;
	w->wait_replicas = (unsigned)n;
	return true;
}

struct wm_write *wm_write_keep_replicated(struct wm_call *c, const char *id)
{
	const char *wait = wm_http_query(c->req, "wait");
	struct wm_write *w = wm_write_keep(c);
	struct wm_err e = {0};
	bool ok;

	if (!w || !wait || strcmp(wait, "replicated") != 0)
		return w;
	ok = wait_params(c, w, &e);
	w->wait_id = ok ? strdup(id) : NULL;
	if (w->wait_id)
		return w;
	if (ok)
		wm_err_set(&e, -ENOMEM, "Out of memory; nothing was changed");
	wm_write_drop(w);
	wm_answer_err(c, &e);
	return NULL;
}

void wm_write_replicated(void *write, int code, const char *text)
{
	struct wm_write *w = write;

	if (code || !w->wait_id || !w->req)
		wm_write_done(w, code, text);
	else
		wm_sync_wait(w->api->d.sync, w->wait_id, w->wait_replicas, w->wait_ms,
			     wm_write_done, w);
}
