/* SPDX-License-Identifier: Apache-2.0 */
/* events.c - GET /v1/waymark/events: the registry's change stream as server-sent events. What
 * changes in a turn is written once into a ring and sent at the end of the turn, after the commit
 * and after the kernel shows it. A client that comes back names the last index it has seen and gets
 * what it missed, or a "reset" when the ring holds that no more: then it reads the lists anew.
 * A client that does not keep up is cut off. Spec: WHATWG HTML, server-sent events. */
#include "internal.h"
#include "userspace/base/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RING_EVENTS 4096       /* events kept for those who come back: some 1 MiB */
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
	uint64_t next;			       /* number of the event to send next */
	char service[WM_SERVICE_NAME_MAX + 1]; /* only this one's; "": all */
	TAILQ_ENTRY(stream) entry;
};

struct wm_events {
	struct wm_api *api;
	struct event ring[RING_EVENTS];
	uint64_t first, end; /* numbers of the oldest and behind the newest */
	uint64_t forgotten;  /* index of the newest that the ring has lost */
	TAILQ_HEAD(, stream) streams;
	unsigned count;
	struct wm_timer *alive;
	struct wm_buf text; /* scratch */
};

/* --- the ring --------------------------------------------------------------------------------- */
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
	default:
		return "check-removed";
	}
}

static void render(struct wm_events *ev, const struct wm_change *c)
{
	const struct wm_instance *i = c->instance;
	struct wm_json j;

	wm_buf_reset(&ev->text);
	wm_buf_printf(&ev->text, "event: %s\ndata: ", kind_name(c->kind));
	wm_json_init(&j, &ev->text, false);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "index", c->index);
	if (c->service)
		wm_json_ks(&j, "service", i ? i->name : c->service->shown);
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
	wm_buf_puts(&ev->text, "\n");
}

static void drop_oldest(struct wm_events *ev)
{
	struct event *e = &ev->ring[ev->first++ % RING_EVENTS];

	ev->forgotten = e->index;
	free(e->text);
	e->text = NULL;
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_events *ev = arg;
	const char *service = c->service ? c->service->name : "";
	size_t len = strlen(service) + 1;
	struct event *e;
	char *text;

	if (c->kind == WM_CHANGE_NODE_FOLLOWED) /* nothing that was not told */
		return;
	render(ev, c);
	text = ev->text.failed ? NULL : malloc(ev->text.len + 1 + len);
	if (!text) { /* who comes back to before this must read anew; who listens is told */
		while (ev->first < ev->end)
			drop_oldest(ev);
		ev->forgotten = c->index;
		ev->end++;
		ev->first = ev->end;
		return;
	}
	if (ev->end - ev->first == RING_EVENTS)
		drop_oldest(ev);
	e = &ev->ring[ev->end++ % RING_EVENTS];
	e->index = c->index;
	e->text = memcpy(text, ev->text.data, ev->text.len + 1);
	e->service = memcpy(text + ev->text.len + 1, service, len);
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

/* What the client has not seen, into the scratch buffer. The id stands with the last event of an
 * index, so that a client that lost the connection in between asks for the whole index again. */
static void gather(struct wm_events *ev, struct stream *s)
{
	wm_buf_reset(&ev->text);
	if (s->next < ev->first) {
		put_mark(ev, "reset");
		s->next = ev->end;
		return;
	}
	while (s->next < ev->end) {
		const struct event *e = &ev->ring[s->next % RING_EVENTS];
		bool last = s->next + 1 == ev->end ||
			    ev->ring[(s->next + 1) % RING_EVENTS].index != e->index;
		bool wanted = !*s->service || strcasecmp(s->service, e->service) == 0;

		s->next++;
		if (last && wanted)
			wm_buf_printf(&ev->text, "id: %" PRIu64 "\n", e->index);
		if (wanted)
			wm_buf_printf(&ev->text, "%s\n", e->text);
	}
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
		if (s->next == ev->end)
			continue;
		gather(ev, s);
		if (ev->text.len)
			stream_send(ev, s, ev->text.data, ev->text.len);
	}
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

/* The number of the first event behind @p index; of none the ring still knows: before its first. */
static uint64_t number_after(const struct wm_events *ev, uint64_t index)
{
	uint64_t n = ev->end;

	if (index < ev->forgotten)
		return 0;
	while (n > ev->first && ev->ring[(n - 1) % RING_EVENTS].index > index)
		n--;
	return n;
}

/* @return false: answered with an error. */
static bool read_start(struct wm_call *c, uint64_t *ret_next)
{
	const char *text = wm_http_query(c->req, "index");
	const char *id = wm_http_header(c->req, "Last-Event-ID");
	struct wm_events *ev = c->api->events;
	uint64_t now = wm_registry_index(c->api->d.registry), index;
	char *end;

	*ret_next = ev->end;
	text = id && *id ? id
			 : text; /* a browser that comes back sends both, the header is newer */
	if (!text || !*text)
		return true;
	errno = 0;
	index = strtoull(text, &end, 10);
	if (*end || *text < '0' || *text > '9' || errno) {
		wm_answer_text(c, 400, "Invalid index");
		return false;
	}
	/* an index ahead of ours is of another life of the registry */
	*ret_next = index > now ? 0 : number_after(ev, index);
	return true;
}

void wm_native_events(struct wm_call *c)
{
	struct wm_events *ev = c->api->events;
	const char *service = wm_http_query(c->req, "service");
	struct stream *s;
	uint64_t next;

	if (!read_start(c, &next))
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
	s->next = next;
	snprintf(s->service, sizeof(s->service), "%s", service ? service : "");
	wm_http_set_header(c->req, "Cache-Control", "no-store");
	wm_http_on_abort(c->req, stream_forget, s);
	TAILQ_INSERT_TAIL(&ev->streams, s, entry);
	ev->count++;
	c->api->counters[WM_API_READS]++;
	wm_http_stream_begin(c->req, "text/event-stream");
	if (next == ev->end)
		put_mark(ev, "ready");
	else
		gather(ev, s);
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
	ev->first = ev->end = 1; /* 0: before everything, which no ring holds */
	ev->forgotten = wm_registry_index(a->d.registry);
	TAILQ_INIT(&ev->streams);
	wm_buf_init(&ev->text, BATCH_MAX);
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
	while (ev->first < ev->end)
		drop_oldest(ev);
	wm_timer_free(ev->alive);
	wm_buf_done(&ev->text);
	free(ev);
	a->events = NULL;
}
