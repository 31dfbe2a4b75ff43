/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - see forward.h. */
#include "forward.h"

#include "internal.h"
#include "userspace/sync/forward.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_MIN  200
#define STATUS_MAX  599
#define STATUS_NONE 502 /* of an owner that says none */

/* Asked for, and not answered yet. */
struct asked {
	LIST_ENTRY(asked) entry;
	struct wm_forwards *f;
	uint64_t number;
	struct wm_peer_id owner;
	struct wm_env_timer *timer;
	wm_forward_done done;
	void *arg;
	char name[WM_NODE_NAME_MAX + 1]; /* of the owner */
};

/* Being done here for another. */
struct doing {
	LIST_ENTRY(doing) entry;
	struct wm_forwards *f;
	struct wm_http_request *req;
	uint64_t number;
	struct wm_peer_id asker;
};

struct wm_forwards {
	struct wm_sync *s;
	wm_http_handler fn; /* NULL: there is no API */
	void *arg;
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

static void answer(struct asked *a, const struct wm_forward_answer *is)
{
	wm_forward_done done = a->done;
	void *arg = a->arg;

	LIST_REMOVE(a, entry);
	a->f->asked_count--;
	wm_env_timer_free(a->timer);
	free(a);
	done(arg, is);
}

/* @p why: a sentence's end. */
static void give_up(struct asked *a, const char *why)
{
	char text[WM_ERR_TEXT_MAX];

	snprintf(text, sizeof(text),
		 "The agent of node \"%.64s\" %s: whether it was done is not known", a->name, why);
	answer(a, &(struct wm_forward_answer){.code = WM_E_BUSY, .text = text});
}

void wm_forwards_free(struct wm_forwards *f)
{
	struct asked *a;
	struct doing *d;

	if (!f)
		return;
	while ((a = LIST_FIRST(&f->asked)))
		give_up(a, "had not answered when this one stopped");
	while ((d = LIST_FIRST(&f->doing))) {
		LIST_REMOVE(d, entry);
		wm_http_inner_abort(d->req); /* what it writes goes on */
		free(d);
	}
	free(f);
}

void wm_sync_serve(struct wm_sync *s, wm_http_handler fn, void *arg)
{
	if (!s->forwards)
		return;
	s->forwards->fn = fn;
	s->forwards->arg = arg;
}

/* --- asking ----------------------------------------------------------------------------------- */
static void on_late(void *arg)
{
	char why[64];

	snprintf(why, sizeof(why), "did not answer within %d s", WM_FORWARD_MS / 1000);
	give_up(arg, why);
}

void wm_forwards_gone(struct wm_forwards *f, const struct wm_peer_id *owner)
{
	struct asked *a, *next;

	for (a = f ? LIST_FIRST(&f->asked) : NULL; a; a = next) {
		next = LIST_NEXT(a, entry);
		if (wm_peer_id_same(&a->owner, owner))
			give_up(a, "failed before it answered");
	}
}

static int ask(struct wm_forwards *f, const struct wm_peer_id *to, const struct wm_forward *what,
	       const struct asked *a, struct wm_err *e)
{
	Waymark__Forward__Request r;
	size_t len;
	void *packed;
	char *method, *target;
	int err = 0;

	if (what->len > WM_HTTP_BODY_MAX || strlen(what->target) > WM_HTTP_HEADERS_MAX)
		return wm_err_set(e, WM_E_LIMIT, "The request is too long to be passed on");
	waymark__forward__request__init(&r);
	method = strdup(what->method); /* the library's structures take no const */
	target = strdup(what->target);
	r.number = a->number;
	r.what = WM_FORWARD_HTTP;
	r.method = method;
	r.target = target;
	r.body.data = (uint8_t *)(uintptr_t)what->body;
	r.body.len = what->len;
	packed = method && target ? malloc(waymark__forward__request__get_packed_size(&r)) : NULL;
	if (packed) {
		len = waymark__forward__request__pack(&r, packed);
		wm_link_send(f->s->links, to, WM_CHANNEL_REQUEST, packed, len);
	} else {
		err = wm_err_set(e, -ENOMEM, "Out of memory");
	}
	free(packed);
	free(method);
	free(target);
	return err;
}

/* Who is to be asked. @return NULL: nobody, @p e says why. */
static const struct wm_member *find_owner(const struct wm_sync *s, const char *node,
					  struct wm_err *e)
{
	const struct wm_member *m = s->members ? wm_members_by_name(s->members, node) : NULL;

	if (!s->members)
		wm_err_set(e, WM_E_UNSUPPORTED,
			   "sync.mode is etcd: ask the agent of node %.64s itself", node);
	else if (!m || m->self)
		wm_err_set(e, WM_E_UNKNOWN, "No member with name '%.64s'", node);
	else if (m->state == WM_MEMBER_LEFT)
		wm_err_set(e, WM_E_UNKNOWN, "Node \"%.64s\" has left the mesh", m->name);
	else if (m->state == WM_MEMBER_FAILED)
		wm_err_set(e, WM_E_BUSY, "The agent of node \"%.64s\" has failed: nothing was done",
			   m->name);
	else if (s->forwards->asked_count >= WM_FORWARD_MAX)
		wm_err_set(e, WM_E_BUSY,
			   "Too many requests to other agents wait (limit: %d), try again",
			   WM_FORWARD_MAX);
	return e->code ? NULL : m;
}

int wm_sync_forward(struct wm_sync *s, const char *node, const struct wm_forward *what,
		    wm_forward_done done, void *arg, struct wm_err *e)
{
	struct wm_forwards *f = s->forwards;
	const struct wm_member *m = find_owner(s, node, e);
	struct asked *a;
	int r;

	if (!m)
		return e->code;
	a = calloc(1, sizeof(*a));
	if (!a)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	*a = (struct asked){
		.f = f, .number = ++f->number, .owner = m->id, .done = done, .arg = arg};
	snprintf(a->name, sizeof(a->name), "%s", m->name);
	a->timer = wm_env_timer_new(s->env, on_late, a);
	r = a->timer ? wm_env_timer_arm(a->timer, WM_FORWARD_MS) : -ENOMEM;
	r = r ? wm_err_set(e, -ENOMEM, "Out of memory") : ask(f, &m->id, what, a, e);
	if (r) {
		wm_env_timer_free(a->timer);
		free(a);
		return r;
	}
	LIST_INSERT_HEAD(&f->asked, a, entry);
	f->asked_count++;
	return 0;
}

/* What another says is a stranger's: its status is one, its text ends. */
static void take_reply(struct asked *a, const Waymark__Forward__Reply *r)
{
	struct wm_forward_answer is = {.code = r->code,
				       .text = r->text,
				       .status = STATUS_NONE,
				       .type = *r->type ? r->type : NULL,
				       .body = r->body.data,
				       .len = r->body.len};

	if (r->status >= STATUS_MIN && r->status <= STATUS_MAX)
		is.status = (int)r->status;
	answer(a, &is);
}

int wm_forwards_reply(struct wm_forwards *f, const struct wm_peer_id *from, const void *p,
		      size_t len)
{
	Waymark__Forward__Reply *r =
		len <= WM_SYNC_REQUEST_MAX ? waymark__forward__reply__unpack(NULL, len, p) : NULL;
	struct asked *a;

	if (!r)
		return WM_E_INVALID;
	LIST_FOREACH (a, &f->asked, entry)
		if (a->number == r->number && wm_peer_id_same(&a->owner, from))
			break;
	if (a)
		take_reply(a, r);
	waymark__forward__reply__free_unpacked(r, NULL);
	return 0;
}

/* --- doing ------------------------------------------------------------------------------------ */
static void send_reply(struct wm_forwards *f, const struct wm_peer_id *to,
		       const Waymark__Forward__Reply *r)
{
	uint8_t *packed = malloc(waymark__forward__reply__get_packed_size(r));

	if (packed) /* else its asker waits, and says that it is not known */
		wm_link_send(f->s->links, to, WM_CHANNEL_REPLY, packed,
			     waymark__forward__reply__pack(r, packed));
	free(packed);
}

static void refuse(struct wm_forwards *f, const struct wm_peer_id *to, uint64_t number, int code,
		   const char *text)
{
	Waymark__Forward__Reply r;
	char words[WM_ERR_TEXT_MAX];

	snprintf(words, sizeof(words), "%s", text);
	waymark__forward__reply__init(&r);
	r.number = number;
	r.code = code;
	r.text = words;
	send_reply(f, to, &r);
}

static void on_answer(void *arg, int status, const char *type, const void *body, size_t len)
{
	struct doing *d = arg;
	Waymark__Forward__Reply r;
	char words[64] = "";

	LIST_REMOVE(d, entry);
	d->f->doing_count--;
	snprintf(words, sizeof(words), "%s", type ? type : "");
	waymark__forward__reply__init(&r);
	r.number = d->number;
	r.status = (uint32_t)status;
	r.type = words;
	r.body.data = (uint8_t *)(uintptr_t)body;
	r.body.len = len <= WM_FORWARD_ANSWER_MAX ? len : 0;
	send_reply(d->f, &d->asker, &r);
	free(d);
}

static void begin(struct wm_forwards *f, const struct wm_peer_id *from,
		  const Waymark__Forward__Request *q)
{
	struct doing *d;
	int r;

	if (q->what != WM_FORWARD_HTTP || !f->fn) {
		refuse(f, from, q->number, WM_E_UNSUPPORTED,
		       "The node's agent is of another version and does not know how");
		return;
	}
	d = f->doing_count < WM_FORWARD_MAX ? calloc(1, sizeof(*d)) : NULL;
	if (!d) {
		refuse(f, from, q->number, WM_E_BUSY, "The node's agent has too much to do");
		return;
	}
	*d = (struct doing){.f = f, .number = q->number, .asker = *from};
	r = wm_http_inner_new(q->method, q->target, q->body.data, q->body.len, on_answer, d,
			      &d->req);
	if (r) {
		free(d);
		refuse(f, from, q->number, r == -ENOMEM ? r : WM_E_INVALID,
		       r == -ENOMEM ? "Out of memory" : "The request that was passed on is none");
		return;
	}
	LIST_INSERT_HEAD(&f->doing, d, entry);
	f->doing_count++;
	f->fn(f->arg, d->req); /* may be answered by now */
}

int wm_forwards_request(struct wm_forwards *f, const struct wm_peer_id *from, const void *p,
			size_t len)
{
	Waymark__Forward__Request *q =
		len <= WM_SYNC_REQUEST_MAX ? waymark__forward__request__unpack(NULL, len, p) : NULL;

	if (!q)
		return WM_E_INVALID;
	begin(f, from, q);
	waymark__forward__request__free_unpacked(q, NULL);
	return 0;
}
