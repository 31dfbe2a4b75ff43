/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_node.c - who lives, and how we show that we do. A node has a key under a short lease, n/,
 * and one under a long lease, m/: when that runs out, whoever sees it first removes what is left of
 * the node, by compare-and-delete. No clock but etcd's judges that. */
#include "etcd_internal.h"
#include "userspace/base/plain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TIDY_SPREAD_MS	5000	/* so that of many who see it one comes first */
#define MEMBER_RENEW_MS 3600000 /* of the long lease */

static const char marker[] = "{\"mode\":\"etcd\",\"format\":1}";

/* --- joining -------------------------------------------------------------------------------------
 */

static void on_marker(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	const struct wm_etcd_kv *kv = a->kvs_count ? a->kvs : NULL;
	char shown[128], why[WM_ERR_TEXT_MAX];

	if (a->code)
		return;
	if (a->succeeded ||
	    (kv && kv->value_len == strlen(marker) && !memcmp(kv->value, marker, kv->value_len))) {
		e->marked = true;
		e->refused = false;
		return;
	}
	snprintf(why, sizeof(why), "%.*s", kv ? (int)kv->value_len : 0, kv ? kv->value : "");
	wm_plain(why, shown, sizeof(shown));
	snprintf(why, sizeof(why),
		 "the prefix %s belongs to agents of another mode or format (%s), this one wants "
		 "%s",
		 e->c.prefix, shown, marker);
	wm_etcd_refuse(e, NULL, why);
}

/* The prefix is ours if nobody has marked it yet, or it bears our mark. */
static void mark(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e);
	const size_t len = strlen(WM_ETCD_MODE);

	wm_buf_puts(b, "{\"compare\":[{");
	wm_etcd_put_key(e, b, "key", WM_ETCD_MODE, len);
	wm_buf_puts(b, ",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"}],"
		       "\"success\":[{\"request_put\":{");
	wm_etcd_put_key(e, b, "key", WM_ETCD_MODE, len);
	wm_buf_puts(b, ",\"value\":\"");
	wm_base64_put(b, marker, strlen(marker), "", 0);
	wm_buf_puts(b, "\"}}],\"failure\":[{\"request_range\":{");
	wm_etcd_put_key(e, b, "key", WM_ETCD_MODE, len);
	wm_buf_puts(b, "}}]}");
	wm_etcd_call(e, SLOT_CONTROL, "kv/txn", on_marker);
}

static uint64_t renew_after(const struct wm_etcd *e, const struct wm_etcd_lease *l, int64_t ttl)
{
	uint64_t third = (uint64_t)ttl * 1000 / 3;

	return l == &e->lease || third < MEMBER_RENEW_MS ? third : MEMBER_RENEW_MS;
}

static void granted(struct wm_etcd *e, struct wm_etcd_lease *l, const struct wm_etcd_answer *a)
{
	uint64_t now = wm_etcd_now(e);

	if (a->code || !a->lease || a->ttl <= 0 || a->ttl > INT32_MAX)
		return;
	l->id = a->lease;
	l->until_ms = now + (uint64_t)a->ttl * 1000;
	l->renew_ms = now + renew_after(e, l, a->ttl);
}

static void on_lease(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	granted(e, &e->lease, a);
}

static void on_member_lease(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	granted(e, &e->member_lease, a);
}

static void on_tomb(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	granted(e, &e->tombs[0], a);
	e->want_tomb[0] = !e->tombs[0].id;
}

static void on_shared_tomb(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	granted(e, &e->tombs[1], a);
	e->want_tomb[1] = !e->tombs[1].id;
}

static void grant(struct wm_etcd *e, unsigned ttl_s, wm_etcd_done done)
{
	wm_buf_printf(wm_etcd_body(e), "{\"TTL\":\"%u\"}", ttl_s);
	wm_etcd_call(e, SLOT_CONTROL, "lease/grant", done);
}

static size_t node_key(const struct wm_etcd *e, enum wm_etcd_key_kind kind,
		       char key[static WM_ETCD_KEY_MAX])
{
	struct wm_etcd_key k = {.kind = kind, .id = e->c.id};

	return wm_etcd_key_write(&k, key);
}

/* Our key is there, and not as we know it. */
static void not_enlisted(struct wm_etcd *e, const struct wm_etcd_kv *kv)
{
	struct wm_etcd_record r = {.name = "unknown", .address = "unknown"};
	uint64_t now = wm_etcd_now(e), lease_ms = (uint64_t)e->c.lease_s * 1000;
	char why[WM_ERR_TEXT_MAX];
	bool same;

	wm_etcd_record_read(kv->value, kv->value_len, &r);
	same = strcmp(r.name, e->c.name) == 0 && strcmp(r.address, e->c.address) == 0;
	if (kv->lease == e->lease.id || same) { /* of a former life */
		e->self_mod = kv->mod_revision;
		return;
	}
	if (!e->clash_ms)
		e->clash_ms = now;
	e->slots[SLOT_CONTROL].not_before_ms = now + lease_ms / 3;
	if (now - e->clash_ms < 2 * lease_ms) /* it may have died */
		return;
	e->stats.clashes++;
	snprintf(why, sizeof(why),
		 "the id of this node is used by the agent of node %s at %s: one of the two needs "
		 "another",
		 r.name, r.address);
	wm_etcd_refuse(e, &e->c.id, why);
}

/* The long lease that our key had before: without it each start would leave one for days. */
static void note_former(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	const struct wm_etcd_part *p = a->parts_count > 1 ? &a->parts[1] : NULL;
	int64_t lease = p && p->kvs_count ? a->kvs[p->kvs].lease : 0;

	e->was_here |= lease != 0;
	if (lease != e->member_lease.id)
		e->former_lease = lease;
}

static void on_revoked(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	(void)a; /* it may have run out, and does in any case */
	e->former_lease = 0;
	e->slots[SLOT_CONTROL].not_before_ms = 0;
}

static void revoke(struct wm_etcd *e)
{
	wm_buf_printf(wm_etcd_body(e), "{\"ID\":\"%" PRId64 "\"}", e->former_lease);
	wm_etcd_call(e, SLOT_CONTROL, "lease/revoke", on_revoked);
}

static void on_enlist(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	if (a->code == WM_ETCD_NOT_FOUND) { /* one of the leases */
		e->lease.id = e->member_lease.id = 0;
		e->slots[SLOT_CONTROL].not_before_ms = 0;
	}
	if (a->code)
		return;
	if (a->succeeded) {
		e->enlisted = true;
		e->refused = false;
		e->clash_ms = 0;
		e->self_mod = a->revision;
		e->told_settled = e->self->record.settled;
		note_former(e, a);
	} else if (a->kvs_count) {
		not_enlisted(e, a->kvs);
	} else {
		e->self_mod = 0;
	}
}

static void put_record(struct wm_etcd *e, struct wm_buf *b, enum wm_etcd_key_kind kind,
		       int64_t lease, const struct wm_buf *record)
{
	char key[WM_ETCD_KEY_MAX];
	size_t len = node_key(e, kind, key);

	wm_buf_puts(b, "{\"request_put\":{");
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, ",\"value\":\"");
	wm_base64_put(b, record->data, record->len, "", 0);
	wm_buf_printf(b, "\",\"lease\":\"%" PRId64 "\",\"prev_kv\":true}}", lease);
}

static void enlist(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e), record;
	char key[WM_ETCD_KEY_MAX];
	size_t len = node_key(e, WM_ETCD_KEY_NODE, key);

	e->self->record.settled = e->settled;
	wm_buf_init(&record, WM_ETCD_RECORD_MAX);
	if (!wm_etcd_record_write(&e->self->record, &record))
		b->failed = true;
	wm_buf_puts(b, "{\"compare\":[{");
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_printf(b,
		      ",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%" PRId64
		      "\"}],\"success\":[",
		      e->self_mod);
	put_record(e, b, WM_ETCD_KEY_NODE, e->lease.id, &record);
	wm_buf_putc(b, ',');
	put_record(e, b, WM_ETCD_KEY_MEMBER, e->member_lease.id, &record);
	wm_buf_puts(b, "],\"failure\":[{\"request_range\":{");
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, "}}]}");
	wm_buf_done(&record);
	wm_etcd_call(e, SLOT_CONTROL, "kv/txn", on_enlist);
}

/* The steps of who may be there. @return false: none is to be made. */
static bool enter(struct wm_etcd *e)
{
	if (!e->lease.id)
		grant(e, e->c.lease_s, on_lease);
	else if (!e->member_lease.id)
		grant(e, e->c.forget_s, on_member_lease);
	else if (!e->enlisted || (e->settled && !e->told_settled))
		enlist(e);
	else if (e->want_tomb[0])
		grant(e, 2 * WM_ETCD_OWN_TOMBSTONE_S, on_tomb);
	else if (e->want_tomb[1])
		grant(e, 2 * WM_ETCD_TOMBSTONE_S, on_shared_tomb);
	else if (e->former_lease)
		revoke(e);
	else
		return false;
	return true;
}

bool wm_etcd_join(struct wm_etcd *e)
{
	if (e->c.user && !e->token)
		wm_etcd_login(e);
	else if (!e->marked)
		mark(e);
	else
		return !e->leaving && enter(e);
	return true;
}

/* --- keeping the leases alive
 * ---------------------------------------------------------------------- */

static void kept(struct wm_etcd *e, struct wm_etcd_lease *l, const struct wm_etcd_answer *a)
{
	uint64_t now = wm_etcd_now(e);

	if (a->code && a->code != WM_ETCD_NOT_FOUND)
		return;
	if (!a->code && a->ttl > 0 && a->ttl <= INT32_MAX) {
		l->until_ms = now + (uint64_t)a->ttl * 1000;
		l->renew_ms = now + renew_after(e, l, a->ttl);
		return;
	}
	e->stats.leases_lost++;
	l->id = 0;
	e->enlisted = false;
	e->slots[SLOT_KEEP].not_before_ms = 0;
}

static void on_kept(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	kept(e, &e->lease, a);
}

static void on_member_kept(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	kept(e, &e->member_lease, a);
}

void wm_etcd_keep(struct wm_etcd *e)
{
	uint64_t now = wm_etcd_now(e);
	bool node = e->lease.id && now >= e->lease.renew_ms;

	if (!node && !(e->member_lease.id && now >= e->member_lease.renew_ms))
		return;
	wm_buf_printf(wm_etcd_body(e), "{\"ID\":\"%" PRId64 "\"}",
		      node ? e->lease.id : e->member_lease.id);
	wm_etcd_call(e, SLOT_KEEP, "lease/keepalive", node ? on_kept : on_member_kept);
}

/* --- others
 * ---------------------------------------------------------------------------------------- */

struct wm_etcd_node *wm_etcd_node(struct wm_etcd *e, const struct wm_peer_id *id)
{
	struct wm_etcd_node *n = wm_map_get(e->nodes, id->octets, sizeof(id->octets));

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->id = *id;
	n->told = -1;
	if (wm_map_put(e->nodes, n->id.octets, sizeof(n->id.octets), n, NULL)) {
		free(n);
		return NULL;
	}
	return n;
}

void wm_etcd_node_settle(struct wm_etcd *e, struct wm_etcd_node *n)
{
	uint64_t now = wm_etcd_now(e);

	if (n == e->self)
		return;
	if (n->told != n->lives) {
		n->told = n->lives;
		e->c.alive(e->c.arg, &n->id, n->record.name, n->lives);
	}
	if (n->lives || n->known) {
		n->tidy_ms = n->since_ms = 0;
		return;
	}
	if (!n->since_ms)
		n->since_ms = now;
	if (n->objects && !n->tidy_ms)
		n->tidy_ms = now + 1 + wm_env_below(e->c.env, TIDY_SPREAD_MS);
	if (n->refs || n == e->tidying)
		return;
	wm_map_del(e->nodes, n->id.octets, sizeof(n->id.octets));
	if (e->c.forgot)
		e->c.forgot(e->c.arg, &n->id);
	free(n);
}

/* Somebody wrote our keys, or they went. */
static void self_event(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv)
{
	bool node = k->kind == WM_ETCD_KEY_NODE;

	if (kv->mod_revision <= e->self_mod)
		return;
	if (kv->deleted) {
		e->enlisted = false;
		e->self_mod = node ? 0 : e->self_mod;
		return;
	}
	if (!node)
		return;
	e->self_mod = kv->mod_revision;
	if (kv->lease == e->lease.id)
		return;
	e->enlisted = false;
	e->stats.clashes++;
	wm_etcd_refuse(e, &e->c.id,
		       "another agent took this node's key: two agents have the same id");
}

void wm_etcd_node_event(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv)
{
	bool node = k->kind == WM_ETCD_KEY_NODE;
	struct wm_etcd_record r;
	struct wm_etcd_node *n;

	if (wm_peer_id_same(&k->id, &e->c.id)) {
		self_event(e, k, kv);
		return;
	}
	if (!kv->deleted && wm_etcd_record_read(kv->value, kv->value_len, &r)) {
		e->stats.malformed++;
		return;
	}
	n = wm_etcd_node(e, &k->id);
	if (!n)
		return; /* the next list finds it */
	*(node ? &n->lives : &n->known) = !kv->deleted;
	*(node ? &n->listed_lives : &n->listed_known) = e->list;
	if (!kv->deleted) {
		bool first = !*n->record.name;

		n->record = r;
		n->record_mod = kv->mod_revision;
		if (first && node && strcasecmp(r.name, e->c.name) == 0)
			wm_etcd_alarm(e, &n->id, "node %s at %s has our name and another id",
				      r.name, r.address);
	}
	if (e->listed) /* else at the end of the list, when both of its keys were seen */
		wm_etcd_node_settle(e, n);
}

void wm_etcd_nodes_listed(struct wm_etcd *e)
{
	struct wm_etcd_node *n;
	size_t pos = 0;

	while ((n = wm_map_next(e->nodes, &pos))) {
		n->lives = n->lives && n->listed_lives == e->list;
		n->known = n->known && n->listed_known == e->list;
		wm_etcd_node_settle(e, n);
	}
}

int wm_etcd_lives(const struct wm_etcd *e, const struct wm_peer_id *id)
{
	const struct wm_etcd_node *n = wm_map_get(e->nodes, id->octets, sizeof(id->octets));

	return !n ? -1 : n == e->self || n->lives;
}

/* --- removing a node for ever
 * ----------------------------------------------------------------------- */

static void on_tidied(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	struct wm_etcd_node *n = e->tidying;

	/* what was removed comes over the watch, and what stood in the way too */
	e->tidying = NULL;
	if (!a->code && a->succeeded && a->parts_count && a->parts[0].deleted)
		e->stats.forgotten++;
	if (n && !n->refs)
		wm_etcd_node_settle(e, n);
}

static void put_absent(struct wm_etcd *e, struct wm_buf *b, enum wm_etcd_key_kind kind,
		       const struct wm_peer_id *id)
{
	struct wm_etcd_key k = {.kind = kind, .id = *id};
	char key[WM_ETCD_KEY_MAX];
	size_t len = wm_etcd_key_write(&k, key);

	wm_buf_putc(b, '{');
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, ",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"}");
}

static void tidy(struct wm_etcd *e, struct wm_etcd_node *n)
{
	struct wm_etcd_key k = {.kind = WM_ETCD_KEY_OWN, .id = n->id};
	struct wm_buf *b = wm_etcd_body(e);
	char key[WM_ETCD_KEY_MAX];
	size_t len = wm_etcd_key_write(&k, key);

	wm_buf_puts(b, "{\"compare\":[");
	put_absent(e, b, WM_ETCD_KEY_NODE, &n->id);
	wm_buf_putc(b, ',');
	put_absent(e, b, WM_ETCD_KEY_MEMBER, &n->id);
	wm_buf_puts(b, "],\"success\":[{\"request_delete_range\":{");
	wm_etcd_put_key(e, b, "key", key, len);
	key[len - 1]++; /* '/' becomes '0': all that begins so */
	wm_buf_putc(b, ',');
	wm_etcd_put_key(e, b, "range_end", key, len);
	wm_buf_puts(b, "}}]}");
	e->tidying = n;
	wm_etcd_call(e, SLOT_TIDY, "kv/txn", on_tidied);
	if (!e->slots[SLOT_TIDY].call)
		e->tidying = NULL;
}

/* Do removals that were held go now? */
static bool may_release(const struct wm_etcd *e, const struct wm_etcd_node *n, uint64_t now)
{
	bool there = n->lives || n->known;

	if (!n->suspect)
		return !there || now >= n->release_ms;
	if (!there) /* neither etcd nor the node tells that they exist */
		return n->since_ms && now - n->since_ms >= (uint64_t)e->c.forget_s * 1000;
	return n->record.settled && (n->record_mod > e->trust_revision || now >= n->release_ms);
}

unsigned wm_etcd_let_go(struct wm_etcd *e, const struct wm_peer_id *node)
{
	uint64_t now = wm_etcd_now(e);
	struct wm_etcd_node *n;
	unsigned count = 0;
	size_t pos = 0;

	while ((n = wm_map_next(e->nodes, &pos))) {
		if (!n->held || (node && !wm_peer_id_same(&n->id, node)))
			continue;
		n->suspect = false;
		n->release_ms = now;
		count += n->held;
	}
	if (!node && e->held > count) { /* shared ones: a list that lacks them is believed now */
		count = e->held;
		e->relist_ms = now + 1;
	}
	return count;
}

void wm_etcd_tidy(struct wm_etcd *e)
{
	uint64_t now = wm_etcd_now(e);
	struct wm_etcd_node *n;
	size_t pos = 0;

	e->tidying = NULL;
	if (now < e->tidy_ms)
		return;
	e->tidy_ms = now + TICK_MS / 2;
	while ((n = wm_map_next(e->nodes, &pos))) {
		if (n->tidy_ms && now >= n->tidy_ms) {
			n->tidy_ms = n->objects ? now + 2 * TIDY_SPREAD_MS : 0;
			if (!n->objects)
				continue;
			tidy(e, n);
			return;
		}
		if (n->held && may_release(e, n, now)) {
			wm_etcd_release(e, n);
			return;
		}
	}
}
