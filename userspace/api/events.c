/* SPDX-License-Identifier: Apache-2.0 */
/* events.c - GET /v1/waymark/events: the registry's change stream as server-sent events. What
 * changes in a turn is written once and sent at the end of the turn, after it is stored and after
 * the kernel shows it. A client that comes back names the last index it has seen and gets the
 * newest word on all that changed since, from the registry's history, or a "reset" where that does
 * not reach so far back, or is longer than RESUME_MAX: then it reads the lists anew. A client that
 * does not keep up is cut off. Spec: WHATWG HTML, server-sent events. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/registry/history.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RESUME_MAX  4096       /* words for one who comes back: some 1 MiB, 5 ms */
#define TURN_MAX    65536      /* events of one turn; more is a "reset" for all who listen */
#define STREAMS_MAX 64	       /* clients; more get 429 */
#define BATCH_MAX   (2u << 20) /* octets written to a client at once; more is a "reset" */
#define BACKLOG_MAX (4u << 20) /* octets that wait for a client before it is cut off */
#define ALIVE_MS    15000 /* a comment after so much time: proxies cut silence at 30 s and more */

struct event {
	uint64_t index;
	char *text;    /* whole, with its empty line; without the id */
	char *service; /* its name, behind the text in the same memory; "": none's */
};

struct stream {
	struct wm_events *events;
	struct wm_http_request *req;
	size_t next;			       /* event of this turn to send next */
	char service[WM_SERVICE_NAME_MAX + 1]; /* only this one's; "": all */
	TAILQ_ENTRY(stream) entry;
};

struct wm_events {
	struct wm_api *api;
	struct event *now; /* of this turn */
	size_t count_now, cap_now;
	bool lost; /* some of this turn, for want of memory */
	TAILQ_HEAD(, stream) streams;
	unsigned count;
	struct wm_timer *alive;
	struct wm_buf text, one; /* scratch: for a stream, for an event */
};

/* --- what changes ------------------------------------------------------------------------------
 */
static const char *kind_name(enum wm_change_kind k)
{
	switch ((int)k) {
	case WM_CHANGE_SERVICE_CREATED:
		return "service-created";
	case WM_CHANGE_INSTANCE_UPSERT:
		return "instance";
	case WM_CHANGE_INSTANCE_DELETED:
		return "instance-deleted";
	case WM_CHANGE_STATUS:
		return "status";
	case WM_CHANGE_SERVICE_DELETED:
		return "service-deleted";
	case WM_CHANGE_NODE:
	case WM_CHANGE_NODE_UPSERT:
		return "node";
	case WM_CHANGE_NODE_DELETED:
		return "node-deleted";
	case WM_CHANGE_POLICY:
		return "policy";
	default:
		return "check-removed";
	}
}

static const struct wm_policy *policy_of(const struct wm_change *c)
{
	return c->policy ? c->policy : c->policy_old;
}

static void render(struct wm_buf *b, const struct wm_change *c)
{
	const struct wm_instance *i = c->instance;
	struct wm_json j;

	wm_buf_printf(b, "event: %s\ndata: ", kind_name(c->kind));
	wm_json_init(&j, b, false);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "index", c->index);
	if (c->kind == WM_CHANGE_POLICY)
		wm_json_ks(&j, "service", policy_of(c)->service);
	else if (c->service)
		wm_json_ks(&j, "service", i ? i->name : c->service->shown);
	if (c->kind == WM_CHANGE_POLICY)
		wm_json_kb(&j, "gone", !c->policy);
	if (i)
		wm_json_ks(&j, "node", i->node->name);
	if (i && c->service) {
		wm_json_ks(&j, "instance", i->id);
		wm_json_ks(&j, "address", *i->address ? i->address : i->node->address);
		wm_json_ku(&j, "port", i->port);
		wm_json_ks(&j, "status", wm_status_str(i->status));
		wm_json_ks(&j, "state", wm_lifecycle_str(wm_instance_state(i)));
	}
	if (c->check) {
		wm_json_kopen(&j, "check", '{');
		wm_json_ks(&j, "id", c->check->id);
		wm_json_ks(&j, "status", wm_status_str(c->check->status));
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, '}');
	wm_json_done(&j);
	wm_buf_puts(b, "\n");
}

static void forget(struct wm_events *ev)
{
	struct stream *s;

	for (size_t n = 0; n < ev->count_now; n++)
		free(ev->now[n].text);
	ev->count_now = 0;
	ev->lost = false;
	TAILQ_FOREACH (s, &ev->streams, entry)
		s->next = 0;
}

static struct event *new_event(struct wm_events *ev)
{
	size_t cap = ev->cap_now ? ev->cap_now * 2 : 64;
	struct event *next;

	if (ev->count_now == ev->cap_now) {
		next = ev->count_now < TURN_MAX ? realloc(ev->now, cap * sizeof(*next)) : NULL;
		if (!next)
			return NULL;
		ev->now = next;
		ev->cap_now = cap;
	}
	return &ev->now[ev->count_now];
}

static void on_change(void *arg, const struct wm_change *c)
{
	const char *service = c->kind == WM_CHANGE_POLICY ? policy_of(c)->service
			      : c->service		  ? c->service->name
							  : "";
	struct wm_events *ev = arg;
	size_t len = strlen(service) + 1;
	struct event *e;
	char *text;

	/* of a node that was followed there is nothing that was not told */
	if (TAILQ_EMPTY(&ev->streams) || ev->lost || c->kind == WM_CHANGE_NODE_FOLLOWED ||
	    c->kind == WM_CHANGE_SPEC || *service == WM_QUERY_KEY[0])
		return;
	wm_buf_reset(&ev->one);
	render(&ev->one, c);
	e = new_event(ev);
	text = e && !ev->one.failed ? malloc(ev->one.len + 1 + len) : NULL;
	if (!text) { /* who listens is told */
		ev->lost = true;
		return;
	}
	e->index = c->index;
	e->text = memcpy(text, ev->one.data, ev->one.len + 1);
	e->service = memcpy(text + ev->one.len + 1, service, len);
	ev->count_now++;
}

/* --- streams ---------------------------------------------------------------------------------- */
static void stream_forget(void *arg)
{
	struct stream *s = arg;

	TAILQ_REMOVE(&s->events->streams, s, entry);
	s->events->count--;
	free(s);
}

/* Where the stream stands: "ready" at its beginning, "reset" where something is missing. */
static void put_mark(struct wm_events *ev, const char *event)
{
	uint64_t index = wm_registry_index(ev->api->d.registry);

	wm_buf_reset(&ev->text);
	wm_buf_printf(&ev->text, "id: %" PRIu64 "\nevent: %s\ndata: {\"index\":%" PRIu64 "}\n\n",
		      index, event, index);
}

static bool wanted(const struct stream *s, const char *service)
{
	return !*s->service || strcasecmp(s->service, service) == 0;
}

/* What the client has not seen of this turn, into the scratch buffer. The id stands with the last
 * event of an index, so that a client that lost the connection in between asks for the whole index
 * again. */
static void gather(struct wm_events *ev, struct stream *s)
{
	wm_buf_reset(&ev->text);
	if (ev->lost) {
		put_mark(ev, "reset");
		s->next = ev->count_now;
		return;
	}
	for (; s->next < ev->count_now; s->next++) {
		const struct event *e = &ev->now[s->next];
		bool last = s->next + 1 == ev->count_now || e[1].index != e->index;

		if (!wanted(s, e->service))
			continue;
		if (last)
			wm_buf_printf(&ev->text, "id: %" PRIu64 "\n", e->index);
		wm_buf_printf(&ev->text, "%s\n", e->text);
	}
	if (ev->text.failed)
		put_mark(ev, "reset");
}

/* --- who comes back --------------------------------------------------------------------------- */
static void put_word(struct wm_events *ev, const struct wm_change *c, bool last)
{
	if (last)
		wm_buf_printf(&ev->text, "id: %" PRIu64 "\n", c->index);
	render(&ev->text, c);
	wm_buf_puts(&ev->text, "\n");
}

static void put_gone(struct wm_events *ev, const struct wm_tombstone *t, uint64_t index)
{
	struct wm_json j;

	wm_buf_printf(&ev->text, "id: %" PRIu64 "\nevent: %s\ndata: ", index,
		      *t->id ? "instance-deleted" : "node-deleted");
	wm_json_init(&j, &ev->text, false);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "index", index);
	if (*t->id)
		wm_json_ks(&j, "service", t->service);
	wm_json_ks(&j, "node", t->node);
	if (*t->id)
		wm_json_ks(&j, "instance", t->id);
	wm_json_close(&j, '}');
	wm_json_done(&j);
	wm_buf_puts(&ev->text, "\n\n");
}

static void put_past(struct wm_events *ev, const struct stream *s, struct wm_past *p)
{
	struct wm_change c = {.index = p->index, .instance = wm_past_live(p)};
	const struct wm_tombstone *t = wm_past_tomb(p);

	if (t && *t->id == WM_QUERY_KEY[0])
		return;
	if (t && strcmp(t->node, WM_POLICY_NODE) == 0) {
		const struct wm_policy gone = {.service = t->id};

		c.kind = WM_CHANGE_POLICY;
		c.policy_old = &gone;
		if (wanted(s, gone.service))
			put_word(ev, &c, true);
		return;
	}
	if (t) {
		if (wanted(s, t->service))
			put_gone(ev, t, p->index);
		return;
	}
	c.service = c.instance->service;
	c.kind = c.service ? WM_CHANGE_INSTANCE_UPSERT : WM_CHANGE_NODE_UPSERT;
	if (wanted(s, c.service ? c.service->name : ""))
		put_word(ev, &c, true);
}

/* The newest word on all that changed after @p index. */
static void resume(struct wm_events *ev, const struct stream *s, uint64_t index)
{
	const struct wm_registry *r = ev->api->d.registry;
	struct wm_past *p = wm_registry_after(r, index, RESUME_MAX);

	wm_buf_reset(&ev->text);
	if (index == wm_registry_index(r)) {
		put_mark(ev, "ready");
		return;
	}
	if (!wm_registry_remembers(r, index) || !p) {
		put_mark(ev, "reset");
		return;
	}
	for (; p; p = TAILQ_NEXT(p, entry))
		put_past(ev, s, p);
	if (!ev->text.len) /* nothing of it was wanted */
		put_mark(ev, "ready");
	if (ev->text.failed)
		put_mark(ev, "reset");
}

static void stream_send(struct wm_events *ev, struct stream *s, const char *text, size_t len)
{
	if (wm_http_stream_backlog(s->req) + len <= BACKLOG_MAX &&
	    !wm_http_stream_send(s->req, text, len))
		return;
	ev->api->counters[WM_API_EVENTS_SLOW]++;
	wm_http_stream_drop(s->req); /* frees s */
}

void wm_events_send(struct wm_api *a)
{
	struct wm_events *ev = a->events;
	struct stream *s, *next;

	for (s = TAILQ_FIRST(&ev->streams); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->next == ev->count_now && !ev->lost)
			continue;
		gather(ev, s);
		if (ev->text.len)
			stream_send(ev, s, ev->text.data, ev->text.len);
	}
	forget(ev);
}

static void on_alive(void *arg)
{
	static const char comment[] = ": alive\n\n";
	struct wm_events *ev = arg;
	struct stream *s, *next;

	for (s = TAILQ_FIRST(&ev->streams); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		stream_send(ev, s, comment, sizeof(comment) - 1);
	}
	wm_timer_arm(ev->alive, ALIVE_MS);
}

/* @return false: answered with an error. */
static bool read_start(struct wm_call *c, uint64_t *ret_index)
{
	const char *text = wm_http_query(c->req, "index");
	const char *id = wm_http_header(c->req, "Last-Event-ID");
	char *end;

	*ret_index = wm_registry_index(c->api->d.registry);
	text = id && *id ? id
			 : text; /* a browser that comes back sends both, the header is newer */
	if (!text || !*text)
		return true;
	errno = 0;
	*ret_index = strtoull(text, &end, 10);
	if (*end || *text < '0' || *text > '9' || errno) {
		wm_answer_text(c, 400, "Invalid index");
		return false;
	}
	return true;
}

void wm_native_events(struct wm_call *c)
{
	struct wm_events *ev = c->api->events;
	const char *service = wm_http_query(c->req, "service");
	struct stream *s;
	uint64_t index;

	if (!read_start(c, &index))
		return;
	if (service && strlen(service) > WM_SERVICE_NAME_MAX) {
		wm_answer_text(c, 400, "service: longer than %d octets", WM_SERVICE_NAME_MAX);
		return;
	}
	s = ev->count < STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
	if (!s) {
		c->api->counters[WM_API_EVENTS_FULL] += ev->count >= STREAMS_MAX;
		wm_http_set_header(c->req, "Retry-After", "1");
		wm_answer_text(c, ev->count < STREAMS_MAX ? 503 : 429,
			       ev->count < STREAMS_MAX ? "Out of memory"
						       : "Too many event streams, at most %d",
			       STREAMS_MAX);
		return;
	}
	s->events = ev;
	s->req = c->req;
	s->next = ev->count_now;
	snprintf(s->service, sizeof(s->service), "%s", service ? service : "");
	wm_http_set_header(c->req, "Cache-Control", "no-store");
	wm_http_on_abort(c->req, stream_forget, s);
	TAILQ_INSERT_TAIL(&ev->streams, s, entry);
	ev->count++;
	c->api->counters[WM_API_READS]++;
	wm_http_stream_begin(c->req, "text/event-stream");
	resume(ev, s, index);
	stream_send(ev, s, ev->text.data, ev->text.len);
}

/* --- beginning and end ------------------------------------------------------------------------ */
int wm_events_init(struct wm_api *a)
{
	struct wm_events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return -ENOMEM;
	a->events = ev;
	ev->api = a;
	TAILQ_INIT(&ev->streams);
	wm_buf_init(&ev->text, BATCH_MAX);
	wm_buf_init(&ev->one, BATCH_MAX);
	ev->alive = wm_timer_new(a->d.loop, on_alive, ev);
	if (!ev->alive || wm_timer_arm(ev->alive, ALIVE_MS) ||
	    wm_registry_subscribe(a->d.registry, on_change, ev))
		return -ENOMEM;
	return 0;
}

void wm_events_done(struct wm_api *a)
{
	struct wm_events *ev = a->events;

	if (!ev)
		return;
	forget(ev);
	free(ev->now);
	wm_timer_free(ev->alive);
	wm_buf_done(&ev->text);
	wm_buf_done(&ev->one);
	free(ev);
	a->events = NULL;
}
