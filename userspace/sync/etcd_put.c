/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_put.c - what etcd has not yet: a queue of objects, of each the newest state, put in
 * transactions. Those of our log are put, as nobody else writes them; shared ones are compared and
 * swapped, each in a transaction within, and a newer one of another's stands. */
#include "etcd_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define TXN_LEAST 1024 /* octets: with less every object goes alone */

/* --- objects
 * --------------------------------------------------------------------------------------- */

struct wm_etcd_object *wm_etcd_object(struct wm_etcd *e, const struct wm_etcd_key *k,
				      const char *key, size_t len, bool make)
{
	struct wm_etcd_object *o = wm_map_get(e->objects, key, len);
	struct wm_etcd_node *n = NULL;

	if (o || !make)
		return o;
	if (k->kind == WM_ETCD_KEY_OWN && !(n = wm_etcd_node(e, &k->id)))
		return NULL;
	o = calloc(1, sizeof(*o) + len + 1);
	if (!o)
		return NULL;
	memcpy(o->key, key, len);
	o->key_len = (uint16_t)len;
	o->node = n;
	if (wm_map_put(e->objects, o->key, len, o, NULL)) {
		e->stats.full++;
		free(o);
		return NULL;
	}
	if (n)
		n->refs++;
	return o;
}

static void drop_copy(struct wm_etcd *e, struct wm_etcd_object *o)
{
	e->pending_octets -= o->copy ? o->copy_len : 0;
	free(o->copy);
	o->copy = NULL;
	o->copy_len = 0;
}

void wm_etcd_object_free(struct wm_etcd *e, struct wm_etcd_object *o)
{
	struct wm_etcd_node *n = o->node;

	wm_etcd_unpend(e, o);
	if (o->have.seq && !o->have_gone && n)
		n->objects--;
	wm_etcd_hold(e, o, false);
	wm_map_del(e->objects, o->key, o->key_len);
	if (n)
		n->refs--;
	free(o);
}

void wm_etcd_object_settle(struct wm_etcd *e, struct wm_etcd_object *o)
{
	struct wm_etcd_node *n = o->node;

	if (o->have.seq || o->pending || o->in_flight || (o->local.seq && !o->local_gone))
		return;
	wm_etcd_object_free(e, o);
	if (n && !n->refs)
		wm_etcd_node_settle(e, n);
}

bool wm_etcd_ours(const struct wm_etcd *e, const struct wm_etcd_object *o)
{
	return !o->node || o->node == e->self;
}

void wm_etcd_object_have(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_value *v,
			 int64_t mod)
{
	if (o->node)
		o->node->objects -= o->have.seq && !o->have_gone;
	o->mod = mod;
	o->have = v ? v->version : (struct wm_version){0};
	o->have_gone = v && v->gone;
	if (v)
		o->have_writer = v->writer;
	if (o->node)
		o->node->objects += o->have.seq && !o->have_gone;
	if (v)
		wm_etcd_hold(e, o, false);
}

void wm_etcd_hold(struct wm_etcd *e, struct wm_etcd_object *o, bool held)
{
	if (o->held == held)
		return;
	o->held = held;
	e->held += held ? 1 : -1u;
	if (o->node)
		o->node->held += held ? 1 : -1u;
}

void wm_etcd_pend(struct wm_etcd *e, struct wm_etcd_object *o)
{
	if (o->pending)
		return;
	o->pending = true;
	e->pending_count++;
	TAILQ_INSERT_TAIL(&e->pending, o, entry);
	wm_etcd_wake(e, 1);
}

void wm_etcd_unpend(struct wm_etcd *e, struct wm_etcd_object *o)
{
	drop_copy(e, o);
	if (!o->pending)
		return;
	o->pending = false;
	e->pending_count--;
	TAILQ_REMOVE(&e->pending, o, entry);
}

int wm_etcd_shared_cmp(const struct wm_version *a, const struct wm_peer_id *a_writer,
		       const struct wm_version *b, const struct wm_peer_id *b_writer)
{
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return wm_peer_id_cmp(a_writer, b_writer);
}

/* --- what is our own
 * ---------------------------------------------------------------------------------- */

static int find(struct wm_etcd *e, const struct wm_replica_change *c, struct wm_etcd_object **ret)
{
	struct wm_etcd_key k = {.kind = c->version.origin == WM_ORIGIN_SHARED ? WM_ETCD_KEY_SHARED
									      : WM_ETCD_KEY_OWN,
				.id = c->origin,
				.len = c->key.len};
	char key[WM_ETCD_KEY_MAX];
	size_t len;

	if (c->key.len > sizeof(k.octets) || !c->version.seq)
		return -EINVAL;
	if (k.len)
		memcpy(k.octets, c->key.octets, k.len);
	len = wm_etcd_key_write(&k, key);
	if (!len)
		return -EINVAL;
	*ret = wm_etcd_object(e, &k, key, len, true);
	if (*ret)
		return 0;
	return e->c.objects_max && wm_map_len(e->objects) >= e->c.objects_max ? -ENOSPC : -ENOMEM;
}

bool wm_etcd_has_own(struct wm_etcd *e, const struct wm_replica_key *key)
{
	struct wm_etcd_key k = {.kind = WM_ETCD_KEY_OWN, .id = e->c.id, .len = key->len};
	struct wm_etcd_object *o = NULL;
	char text[WM_ETCD_KEY_MAX];
	size_t len = 0;

	if (key->len <= sizeof(k.octets)) {
		memcpy(k.octets, key->octets, key->len);
		len = wm_etcd_key_write(&k, text);
	}
	if (len)
		o = wm_etcd_object(e, &k, text, len, false);
	return !o || (!o->pending && !o->in_flight); /* what is gone and told is forgotten */
}

static void set_local(struct wm_etcd_object *o, const struct wm_replica_change *c)
{
	o->local = c->version;
	o->local_writer = c->origin;
	o->local_gone = c->gone;
	o->gone_ms = c->gone_ms;
}

int wm_etcd_recover(struct wm_etcd *e, const struct wm_replica_change *c)
{
	struct wm_etcd_object *o;
	int err = find(e, c, &o);

	if (!err)
		set_local(o, c);
	return err;
}

int wm_etcd_own(struct wm_etcd *e, const struct wm_replica_change *c)
{
	struct wm_etcd_object *o;
	int err;

	if (e->left)
		return 0;
	err = find(e, c, &o);
	if (err)
		return err;
	if (!wm_etcd_ours(e, o))
		return -EINVAL;
	set_local(o, c);
	drop_copy(e, o);
	if (c->len > WM_ETCD_OBJECT_MAX) {
		e->stats.too_large++;
		wm_etcd_unpend(e, o);
		wm_etcd_alarm(e, NULL, "an object of %zu octets stays here: etcd takes %u at most",
			      c->len, WM_ETCD_OBJECT_MAX);
		return -EMSGSIZE;
	}
	if (!c->gone && e->pending_octets + c->len <= WM_ETCD_PENDING_MAX) {
		o->copy = malloc(c->len + 1);
		if (o->copy) {
			memcpy(o->copy, c->object, c->len);
			o->copy_len = c->len;
			e->pending_octets += c->len;
		}
	}
	/* what never came to etcd need not go */
	if (c->gone && e->listed && !o->have.seq && !o->in_flight && o->node) {
		wm_etcd_unpend(e, o);
		wm_etcd_object_settle(e, o);
		return 0;
	}
	wm_etcd_pend(e, o);
	return 0;
}

/* --- a transaction
 * -------------------------------------------------------------------------------------- */

/* Take all that was in flight off it. */
static void land(struct wm_etcd *e)
{
	for (unsigned n = 0; n < e->flight_count; n++)
		e->flight[n]->in_flight = false;
}

static bool same_version(const struct wm_version *a, const struct wm_version *b)
{
	return a->epoch == b->epoch && a->seq == b->seq;
}

/* What we sent is in etcd. */
static void arrived(struct wm_etcd *e, struct wm_etcd_object *o, int64_t revision)
{
	struct wm_etcd_value v = {
		.version = o->sent, .gone = o->sent_gone, .writer = o->local_writer};

	e->stats.own++;
	/* else the watch was faster, and may have brought more */
	if (revision > e->revision)
		wm_etcd_object_have(e, o, o->sent.seq ? &v : NULL, o->sent.seq ? revision : 0);
	if (same_version(&o->local, &o->have) && o->local_gone == o->have_gone)
		wm_etcd_unpend(e, o);
	wm_etcd_object_settle(e, o);
}

static void put_refused(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	bool many = a->code == WM_ETCD_INVALID && strstr(a->error, "too many operations");
	bool large = strstr(a->error, "too large") || strstr(a->error, "larger than max");

	land(e);
	if (a->code == WM_ETCD_NOT_FOUND) { /* the lease of tombstones */
		e->tombs[0].id = e->tombs[1].id = 0;
	} else if (!a->code) { /* we are not known any more */
		e->enlisted = false;
		e->member_lease.id = 0;
	} else if (many && e->ops_max > 2) {
		e->ops_max /= 2;
		e->slots[SLOT_PUT].not_before_ms = 0;
	} else if (large && e->flight_count > 1) {
		e->txn_octets = e->txn_octets / 2 > TXN_LEAST ? e->txn_octets / 2 : TXN_LEAST;
		e->slots[SLOT_PUT].not_before_ms = 0;
	} else if (large && e->flight_count) {
		e->stats.too_large++;
		wm_etcd_unpend(e, e->flight[0]);
		wm_etcd_alarm(e, NULL, "an object stays here: etcd refuses it as too large");
	}
	e->flight_count = 0;
}

static void on_put(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	unsigned count = e->flight_count;

	if (a->code || !a->succeeded) {
		put_refused(e, a);
		return;
	}
	e->stats.txns++;
	e->put_revision = a->revision;
	e->put_ms = wm_etcd_now(e);
	for (unsigned n = 0; n < count; n++) {
		const struct wm_etcd_part *p = n < a->parts_count ? &a->parts[n] : NULL;
		struct wm_etcd_object *o = e->flight[n];

		o->in_flight = false;
		if (!p)
			continue;
		if (p->succeeded) {
			arrived(e, o, a->revision);
			continue;
		}
		/* another's write stands in the way: look at it as if the watch had brought it */
		if (p->kvs_count)
			wm_etcd_take(e, &a->kvs[p->kvs], p->kvs_count);
		else
			o->mod = 0;
	}
	e->flight_count = 0;
}

static void put_value(struct wm_buf *b, const struct wm_etcd_object *o, const void *p, size_t len)
{
	struct wm_etcd_value v = {.version = o->local,
				  .writer = o->local_writer,
				  .gone = o->local_gone,
				  .gone_ms = o->local_gone ? o->gone_ms : 0};
	uint8_t head[WM_ETCD_HEADER];

	wm_etcd_value_head(&v, head);
	wm_buf_puts(b, ",\"value\":\"");
	wm_base64_put(b, head, sizeof(head), p, len);
	wm_buf_putc(b, '"');
}

static void put_request(struct wm_etcd *e, struct wm_buf *b, const struct wm_etcd_object *o,
			const void *p, size_t len)
{
	bool forget = !o->local.seq; /* of a former life: nobody asks for its version */

	wm_buf_puts(b, forget ? "{\"request_delete_range\":{" : "{\"request_put\":{");
	wm_etcd_put_key(e, b, "key", o->key, o->key_len);
	if (!forget)
		put_value(b, o, p, len);
	if (!forget && o->local_gone)
		wm_buf_printf(b, ",\"lease\":\"%" PRId64 "\"", e->tombs[!o->node].id);
	wm_buf_puts(b, "}}");
}

static void put_swap(struct wm_etcd *e, struct wm_buf *b, const struct wm_etcd_object *o,
		     const void *p, size_t len)
{
	wm_buf_puts(b, "{\"request_txn\":{\"compare\":[{");
	wm_etcd_put_key(e, b, "key", o->key, o->key_len);
	wm_buf_printf(b,
		      ",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%" PRId64
		      "\"}],\"success\":[",
		      o->mod);
	put_request(e, b, o, p, len);
	wm_buf_puts(b, "],\"failure\":[{\"request_range\":{");
	wm_etcd_put_key(e, b, "key", o->key, o->key_len);
	wm_buf_puts(b, "}}]}}");
}

/* Is there a lease for its tombstone? If not, one is asked for. */
static bool tomb_ready(struct wm_etcd *e, const struct wm_etcd_object *o)
{
	struct wm_etcd_lease *l = &e->tombs[!o->node];
	uint64_t half = 1000ull * (o->node ? WM_ETCD_OWN_TOMBSTONE_S : WM_ETCD_TOMBSTONE_S);

	if (l->id && wm_etcd_now(e) + half < l->until_ms)
		return true;
	e->want_tomb[!o->node] = true;
	wm_etcd_wake(e, 0);
	return false;
}

/* The octets of an object that were not kept. @return false: it is not there (any more). */
static bool read_object(struct wm_etcd *e, const struct wm_etcd_object *o, struct wm_buf *b)
{
	struct wm_etcd_key k;
	struct wm_replica_key key;

	if (wm_etcd_key_read(o->key, o->key_len, &k))
		return false;
	key = (struct wm_replica_key){.octets = k.octets, .len = k.len};
	return !e->c.read(e->c.arg, o->node ? &o->node->id : &o->local_writer, !o->node, &key, b) &&
	       !b->failed && b->len;
}

/* Append one to the transaction. @return its octets; 0: it is not for this one. */
static size_t add(struct wm_etcd *e, struct wm_buf *b, struct wm_etcd_object *o,
		  struct wm_buf *read)
{
	const void *p = o->copy;
	size_t len = o->copy_len;

	if (o->local_gone && o->local.seq && !tomb_ready(e, o))
		return 0;
	if (o->local.seq && !o->local_gone && !p) {
		wm_buf_reset(read);
		if (!read_object(e, o, read)) {
			wm_etcd_unpend(e, o); /* its removal follows, or it comes anew */
			return 0;
		}
		p = read->data;
		len = read->len;
	}
	if (e->flight_count)
		wm_buf_putc(b, ',');
	if (o->node)
		put_request(e, b, o, p, len);
	else
		put_swap(e, b, o, p, len);
	o->sent = o->local;
	o->sent_gone = o->local_gone;
	o->in_flight = true;
	e->flight[e->flight_count++] = o;
	return len + o->key_len + WM_ETCD_HEADER;
}

void wm_etcd_put(struct wm_etcd *e)
{
	struct wm_etcd_key k = {.kind = WM_ETCD_KEY_MEMBER, .id = e->c.id};
	struct wm_buf *b = wm_etcd_body(e), read;
	struct wm_etcd_object *o, *next;
	char key[WM_ETCD_KEY_MAX];
	size_t octets = 0, len = wm_etcd_key_write(&k, key);

	land(e); /* of a call that failed: whether it was heard is not known */
	e->flight_count = 0;
	wm_buf_init(&read, WM_ETCD_OBJECT_MAX);
	wm_buf_puts(b, "{\"compare\":[{");
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, ",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"0\"}],"
		       "\"success\":[");
	/* one within counts beside the whole */
	for (o = TAILQ_FIRST(&e->pending); o && e->flight_count + 1 < e->ops_max; o = next) {
		next = TAILQ_NEXT(o, entry);
		if (octets && octets + o->copy_len > e->txn_octets)
			break;
		octets += add(e, b, o, &read);
		if (octets > e->txn_octets)
			break;
	}
	wm_buf_puts(b, "]}");
	wm_buf_done(&read);
	if (e->flight_count)
		wm_etcd_call(e, SLOT_PUT, "kv/txn", on_put);
}

/* --- leaving for good
 * --------------------------------------------------------------------------------------- */

static void on_left(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	e->left = !a->code;
	if (e->left && e->leave_done)
		e->leave_done(e->leave_arg);
}

static void put_delete(struct wm_etcd *e, struct wm_buf *b, enum wm_etcd_key_kind kind)
{
	struct wm_etcd_key k = {.kind = kind, .id = e->c.id};
	char key[WM_ETCD_KEY_MAX];
	size_t len = wm_etcd_key_write(&k, key);

	wm_buf_puts(b, "{\"request_delete_range\":{");
	wm_etcd_put_key(e, b, "key", key, len);
	if (kind == WM_ETCD_KEY_OWN) {
		key[len - 1]++; /* '/' becomes '0': all that begins so */
		wm_buf_putc(b, ',');
		wm_etcd_put_key(e, b, "range_end", key, len);
	}
	wm_buf_puts(b, "}}");
}

void wm_etcd_put_leave(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e);

	wm_buf_puts(b, "{\"success\":[");
	put_delete(e, b, WM_ETCD_KEY_OWN);
	wm_buf_putc(b, ',');
	put_delete(e, b, WM_ETCD_KEY_NODE);
	wm_buf_putc(b, ',');
	put_delete(e, b, WM_ETCD_KEY_MEMBER);
	wm_buf_puts(b, "]}");
	wm_etcd_call(e, SLOT_CONTROL, "kv/txn", on_left);
}
