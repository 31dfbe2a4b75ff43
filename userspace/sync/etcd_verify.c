/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_verify.c - is what this agent has what etcd holds? Everything below the prefix is listed by
 * pages at one revision and compared by version and content; it only looks. What differs is looked
 * at again in a second list a second later, and counts if it is then what it was: what is on its
 * way is no difference. */
#include "etcd_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_WAIT_MS 10000 /* for a page: longer than a call and the next endpoint's */

struct suspect {
	struct wm_etcd_key key;
	struct wm_verify_side here, there;
};
struct pass {
	struct suspect *suspects; /* WM_VERIFY_FOUND_MAX of them */
	unsigned count;
	bool more;
};

struct wm_etcd_verify {
	struct wm_etcd *e;
	struct wm_env_timer *timer; /* ends the pause, or the wait for a page */
	struct wm_verify_member member;
	struct pass passes[2];
	unsigned pass;
	bool pausing;
	int64_t revision;
	char key[WM_ETCD_PREFIX_MAX + WM_ETCD_KEY_MAX + 1]; /* where to go on */
	size_t key_len;
	struct wm_buf object;
	wm_verify_done done;
	void *arg;
};

static void free_verify(struct wm_etcd_verify *v)
{
	if (!v)
		return;
	wm_env_timer_free(v->timer);
	wm_buf_done(&v->object);
	free(v->passes[0].suspects);
	free(v->passes[1].suspects);
	free(v);
}

/* --- what differs ----------------------------------------------------------------------------- */
static bool is_live(const struct wm_verify_side *s)
{
	return s->known && !s->gone;
}

static bool same(const struct wm_verify_side *a, const struct wm_verify_side *b)
{
	return a->known == b->known && a->gone == b->gone && a->epoch == b->epoch &&
	       a->seq == b->seq && a->other == b->other && wm_peer_id_same(&a->writer, &b->writer);
}

static void compare(struct wm_etcd_verify *v, const struct wm_etcd_key *k,
		    const struct wm_verify_side *here, const struct wm_verify_side *there)
{
	struct pass *p = &v->passes[v->pass];

	if ((!is_live(here) && !is_live(there)) || same(here, there))
		return;
	if (p->count == WM_VERIFY_FOUND_MAX)
		p->more = true;
	else
		p->suspects[p->count++] = (struct suspect){*k, *here, *there};
}

/* What the store has; of what is being stored there is nothing to be read yet. */
static struct wm_verify_side side_here(struct wm_etcd_verify *v, const struct wm_etcd_object *o,
				       const struct wm_etcd_key *k)
{
	const struct wm_replica_key key = {.octets = k->octets, .len = k->len};
	bool shared = k->kind == WM_ETCD_KEY_SHARED;
	struct wm_verify_side s = {0};

	wm_buf_reset(&v->object);
	v->object.failed = false;
	if (!o || !o->local.seq)
		return s;
	if (!o->local_gone &&
	    v->e->c.read(v->e->c.arg, shared ? &o->local_writer : &k->id, shared, &key, &v->object))
		return s;
	return (struct wm_verify_side){.known = true,
				       .gone = o->local_gone,
				       .epoch = o->local.epoch,
				       .seq = o->local.seq,
				       .writer = shared ? o->local_writer : s.writer};
}

static void look(struct wm_etcd_verify *v, const struct wm_etcd_kv *kv)
{
	struct wm_etcd *e = v->e;
	const char *key = kv->key + e->prefix_len;
	size_t len = kv->key_len - e->prefix_len;
	struct wm_verify_side here, there = {.known = true, .other = true};
	struct wm_etcd_value value;
	struct wm_etcd_object *o;
	struct wm_etcd_key k;

	if (kv->key_len < e->prefix_len || wm_etcd_key_read(key, len, &k) ||
	    (k.kind != WM_ETCD_KEY_OWN && k.kind != WM_ETCD_KEY_SHARED))
		return; /* no object's */
	o = wm_etcd_object(e, &k, key, len, false);
	if (o)
		o->verified = v->pass + 1;
	here = side_here(v, o, &k);
	if (!wm_etcd_value_read(kv->value, kv->value_len, &value)) {
		there.gone = value.gone;
		there.epoch = value.version.epoch;
		there.seq = value.version.seq;
		if (k.kind == WM_ETCD_KEY_SHARED)
			there.writer = value.writer;
		there.other = is_live(&here) && !value.gone && !v->object.failed &&
			      (value.len != v->object.len ||
			       memcmp(value.object, v->object.data, value.len) != 0);
	}
	compare(v, &k, &here, &there);
}

/* --- the end -----------------------------------------------------------------------------------
 */
static void tell(struct wm_etcd_verify *v, const struct suspect *s, struct wm_verify_found *f)
{
	*f = (struct wm_verify_found){.here = s->here, .there = s->there};
	wm_etcd_found_name(&s->key, f);
	v->member.found++;
}

static void end(struct wm_etcd_verify *v, enum wm_verify_state state)
{
	struct pass *first = &v->passes[0], *second = &v->passes[1];
	struct wm_verify_found *found = calloc(second->count + 1, sizeof(*found));
	struct wm_verify_result r = {&v->member, 1, found, 0};
	unsigned at = 0;

	/* lists are in the order of keys, but for what etcd lacks: few, so each is looked for */
	for (unsigned n = 0; found && n < second->count; n++) {
		const struct suspect *s = &second->suspects[n];

		for (at = 0; at < first->count; at++)
			if (first->suspects[at].key.kind == s->key.kind &&
			    first->suspects[at].key.len == s->key.len &&
			    wm_peer_id_same(&first->suspects[at].key.id, &s->key.id) &&
			    !memcmp(first->suspects[at].key.octets, s->key.octets, s->key.len))
				break;
		if (at < first->count && same(&first->suspects[at].here, &s->here) &&
		    same(&first->suspects[at].there, &s->there))
			tell(v, s, &found[r.found_count++]);
	}
	v->member.more = r.found_count && second->more;
	v->member.state = state != WM_VERIFY_SAME || found == NULL ? WM_VERIFY_SILENT
			  : r.found_count			   ? WM_VERIFY_DIFFERS
								   : WM_VERIFY_SAME;
	v->e->verify = NULL;
	wm_etcd_cancel(v->e, SLOT_VERIFY);
	v->done(v->arg, state == WM_VERIFY_ASKED ? NULL : &r);
	free(found);
	free_verify(v);
}

static void begin_pass(struct wm_etcd_verify *v)
{
	struct wm_etcd_object *o;
	size_t pos = 0;

	v->pausing = false;
	v->revision = 0;
	memcpy(v->key, v->e->c.prefix, v->e->prefix_len);
	v->key_len = v->e->prefix_len;
	v->passes[v->pass].count = 0;
	v->passes[v->pass].more = false;
	while ((o = wm_map_next(v->e->objects, &pos)))
		o->verified = 0;
	wm_env_timer_arm(v->timer, PAGE_WAIT_MS);
	wm_etcd_wake(v->e, 0);
}

/* All was listed: what the list lacked. */
static void end_pass(struct wm_etcd_verify *v)
{
	const struct wm_verify_side none = {0};
	struct wm_etcd_object *o;
	struct wm_etcd_key k;
	size_t pos = 0;

	while ((o = wm_map_next(v->e->objects, &pos))) {
		struct wm_verify_side here;

		if (o->verified || !o->local.seq || o->local_gone ||
		    wm_etcd_key_read(o->key, o->key_len, &k))
			continue;
		here = side_here(v, o, &k);
		compare(v, &k, &here, &none);
	}
	if (v->pass || !v->passes[0].count) {
		end(v, WM_VERIFY_SAME);
		return;
	}
	v->pass = 1;
	v->pausing = true;
	wm_env_timer_arm(v->timer, WM_VERIFY_AGAIN_MS);
}

/* --- the list ----------------------------------------------------------------------------------
 */
static void on_page(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	struct wm_etcd_verify *v = e->verify;
	const struct wm_etcd_kv *last = a->kvs_count ? &a->kvs[a->kvs_count - 1] : NULL;

	if (a->code == WM_ETCD_OUT_OF_RANGE) { /* the revision was compacted */
		begin_pass(v);
		return;
	}
	if (a->code == WM_ETCD_EXHAUSTED && e->page > 1)
		e->page /= 2;
	if (a->code)
		return;
	if (!v->revision)
		v->revision = a->revision;
	for (unsigned n = 0; n < a->kvs_count; n++)
		look(v, &a->kvs[n]);
	if (!a->more || !last) {
		end_pass(v);
		return;
	}
	if (last->key_len >= sizeof(v->key)) {
		end(v, WM_VERIFY_SILENT);
		return;
	}
	memcpy(v->key, last->key, last->key_len); /* and the NUL: the next key there can be */
	v->key[last->key_len] = '\0';
	v->key_len = last->key_len + 1;
	wm_env_timer_arm(v->timer, PAGE_WAIT_MS);
}

void wm_etcd_verify_step(struct wm_etcd *e)
{
	struct wm_etcd_verify *v = e->verify;

	if (v->pausing || !wm_etcd_ready(e, SLOT_VERIFY) || (e->c.user && !e->token))
		return;
	wm_etcd_range_body(e, v->key, v->key_len, v->revision);
	wm_etcd_call(e, SLOT_VERIFY, "kv/range", on_page);
}

static void on_timer(void *arg)
{
	struct wm_etcd_verify *v = arg;

	if (v->pausing)
		begin_pass(v);
	else
		end(v, WM_VERIFY_SILENT);
}

int wm_etcd_compare(struct wm_etcd *e, wm_verify_done done, void *arg)
{
	struct wm_etcd_verify *v;

	if (e->verify)
		return WM_E_BUSY;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->e = e;
	v->done = done;
	v->arg = arg;
	wm_buf_init(&v->object, WM_ETCD_OBJECT_MAX);
	v->timer = wm_env_timer_new(e->c.env, on_timer, v);
	for (unsigned n = 0; n < 2; n++)
		v->passes[n].suspects = calloc(WM_VERIFY_FOUND_MAX, sizeof(struct suspect));
	if (!v->timer || !v->passes[0].suspects || !v->passes[1].suspects) {
		free_verify(v);
		return -ENOMEM;
	}
	e->verify = v;
	begin_pass(v);
	return 0;
}

void wm_etcd_verify_end(struct wm_etcd *e)
{
	if (e->verify)
		end(e->verify, WM_VERIFY_ASKED);
}
