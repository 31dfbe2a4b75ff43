/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - see forward.h. */
#include "forward.h"

#include "internal.h"
#include "userspace/sync/forward.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKED_MAX 8192 /* octets of a request or reply: an id, a reason or a sentence */

/* Asked for, and not answered yet. */
struct asked {
	LIST_ENTRY(asked) entry;
	struct wm_forwards *f;
	uint64_t number;
	struct wm_peer_id owner;
	struct wm_env_timer *timer;
	wm_registry_done done;
	void *arg;
};

/* Being done here for another. */
struct doing {
	LIST_ENTRY(doing) entry;
	struct wm_forwards *f; /* NULL: the mesh is gone */
	uint64_t number;
	struct wm_peer_id asker;
};

struct wm_forwards {
	struct wm_sync *s;
	LIST_HEAD(, asked) asked;
	LIST_HEAD(, doing) doing;
	unsigned asked_count, doing_count;
	uint64_t number;
};

struct wm_forwards *wm_forwards_new(struct wm_sync *s)
{
	struct wm_forwards *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->s = s;
	LIST_INIT(&f->asked);
	LIST_INIT(&f->doing);
	f->number = wm_env_random64(s->env); /* answers to a former life are nobody's */
	return f;
}

static void answer(struct asked *a, int code, const char *text)
{
	wm_registry_done done = a->done;
	void *arg = a->arg;

	LIST_REMOVE(a, entry);
	a->f->asked_count--;
	wm_env_timer_free(a->timer);
	free(a);
	done(arg, code, text);
}

void wm_forwards_free(struct wm_forwards *f)
{
	struct asked *a;
	struct doing *d;

	if (!f)
		return;
	while ((a = LIST_FIRST(&f->asked)))
		answer(a, WM_E_BUSY, "This agent stops");
	while ((d = LIST_FIRST(&f->doing))) {
		LIST_REMOVE(d, entry);
		d->f = NULL;
	}
	free(f);
}

/* --- asking ----------------------------------------------------------------------------------- */
static void on_late(void *arg)
{
	answer(arg, WM_E_BUSY,
	       "The node's agent did not answer in time; whether it was done is not known");
}

static int ask(struct wm_forwards *f, const struct wm_member *m, const struct wm_forward *what,
	       struct asked *a, struct wm_err *e)
{
	Waymark__Forward__Request r;
	uint8_t packed[PACKED_MAX];
	char *id = strdup(what->id), *reason = strdup(what->reason ? what->reason : "");
	int err = id && reason ? 0 : -ENOMEM;

	if (!err) {
		waymark__forward__request__init(&r);
		r.number = a->number;
		r.what = what->what;
		r.id = id; /* protobuf-c's structures take no const */
		r.lifecycle = what->to;
		r.drain_ms = what->drain_ms;
		r.on = what->on;
		r.reason = reason;
		if (waymark__forward__request__get_packed_size(&r) > sizeof(packed))
			err = WM_E_LIMIT;
	}
	if (err)
		wm_err_set(e, err, err == -ENOMEM ? "Out of memory" : "The request is too long");
	else
		wm_link_send(f->s->links, &m->id, WM_CHANNEL_REQUEST, packed,
			     waymark__forward__request__pack(&r, packed));
	free(id);
	free(reason);
	return err;
}

int wm_sync_forward(struct wm_sync *s, const char *node, const struct wm_forward *what,
		    wm_registry_done done, void *arg, struct wm_err *e)
{
	const struct wm_member *m = s->members ? wm_members_by_name(s->members, node) : NULL;
	struct wm_forwards *f = s->forwards;
	struct asked *a;
	int r;

	if (!s->members)
		return wm_err_set(e, WM_E_UNSUPPORTED,
				  "sync.mode is etcd: ask the agent of node %.64s itself", node);
	if (!m || m->self)
		return wm_err_set(e, WM_E_UNKNOWN, "No member with name '%.64s'", node);
	if (f->asked_count >= WM_FORWARD_MAX)
		return wm_err_set(e, WM_E_BUSY,
				  "Too many requests to other agents wait (limit: %d), try again",
				  WM_FORWARD_MAX);
	a = calloc(1, sizeof(*a));
	if (!a)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	*a = (struct asked){
		.f = f, .number = ++f->number, .owner = m->id, .done = done, .arg = arg};
	a->timer = wm_env_timer_new(s->env, on_late, a);
	r = a->timer ? wm_env_timer_arm(a->timer, WM_FORWARD_MS) : -ENOMEM;
	r = r ? wm_err_set(e, -ENOMEM, "Out of memory") : ask(f, m, what, a, e);
	if (r) {
		wm_env_timer_free(a->timer);
		free(a);
		return r;
	}
	LIST_INSERT_HEAD(&f->asked, a, entry);
	f->asked_count++;
	return 0;
}

int wm_forwards_reply(struct wm_forwards *f, const struct wm_peer_id *from, const void *p,
		      size_t len)
{
	Waymark__Forward__Reply *r =
		len <= PACKED_MAX ? waymark__forward__reply__unpack(NULL, len, p) : NULL;
	struct asked *a;

	if (!r)
		return WM_E_INVALID;
	LIST_FOREACH (a, &f->asked, entry)
		if (a->number == r->number && wm_peer_id_same(&a->owner, from))
			break;
	if (a)
		answer(a, r->code, r->text);
	waymark__forward__reply__free_unpacked(r, NULL);
	return 0;
}

/* --- doing ------------------------------------------------------------------------------------ */
static void reply(struct wm_forwards *f, const struct wm_peer_id *to, uint64_t number, int code,
		  const char *text)
{
	Waymark__Forward__Reply r;
	uint8_t packed[PACKED_MAX];
	char words[PACKED_MAX / 2];

	snprintf(words, sizeof(words), "%s", text ? text : "");
	waymark__forward__reply__init(&r);
	r.number = number;
	r.code = code;
	r.text = words;
	wm_link_send(f->s->links, to, WM_CHANNEL_REPLY, packed,
		     waymark__forward__reply__pack(&r, packed));
}

static void on_done(void *arg, int code, const char *text)
{
	struct doing *d = arg;

	if (d->f) {
		LIST_REMOVE(d, entry);
		d->f->doing_count--;
		reply(d->f, &d->asker, d->number, code, text);
	}
	free(d);
}

static int begin(struct wm_registry *r, const Waymark__Forward__Request *q, struct doing *d,
		 struct wm_err *e)
{
	switch (q->what) {
	case WM_FORWARD_DEREGISTER:
		return wm_registry_deregister(r, q->id, on_done, d, e);
	case WM_FORWARD_LIFECYCLE:
		return wm_registry_lifecycle(r, q->id, (enum wm_lifecycle)q->lifecycle, q->drain_ms,
					     on_done, d, e);
	case WM_FORWARD_MAINTENANCE:
		return wm_registry_maintenance(r, q->id, q->on, q->reason, on_done, d, e);
	default:
		return wm_err_set(e, WM_E_UNSUPPORTED,
				  "The node's agent is an older one and does not know how");
	}
}

int wm_forwards_request(struct wm_forwards *f, const struct wm_peer_id *from, const void *p,
			size_t len)
{
	Waymark__Forward__Request *q =
		len <= PACKED_MAX ? waymark__forward__request__unpack(NULL, len, p) : NULL;
	struct wm_err e = {0};
	struct doing *d;

	if (!q)
		return WM_E_INVALID;
	d = f->doing_count < WM_FORWARD_MAX ? calloc(1, sizeof(*d)) : NULL;
	if (!d) {
		reply(f, from, q->number, WM_E_BUSY, "The node's agent has too much to do");
	} else {
		*d = (struct doing){.f = f, .number = q->number, .asker = *from};
		LIST_INSERT_HEAD(&f->doing, d, entry);
		f->doing_count++;
		e.code = begin(f->s->c.registry, q, d, &e);
		if (e.code)
			on_done(d, e.code, e.text);
	}
	waymark__forward__request__free_unpacked(q, NULL);
	return 0;
}
