/* SPDX-License-Identifier: Apache-2.0 */
/* flows.c - GET /v1/waymark/flows: decisions of connect() and of datagrams as server-sent events,
 * as they are made. The kernel tells them while anybody listens. Of one who does not keep up
 * decisions are dropped, and it is told how many. Spec: WHATWG HTML, server-sent events. */
#include "userspace/dataplane/flows.h"

#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/metadata/selection.h"
#include "waymark/counters.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WATCHERS_MAX 16		/* clients; more get 429 */
#define BACKLOG_MAX  (1u << 20) /* octets that wait for a client: some 2,500 decisions */
#define TICK_MS	     1000	/* what the kernel dropped is looked at */
#define ALIVE_TICKS  15		/* a comment after so many: proxies cut silence at 30 s and more */
#define KNOWN	     256	/* backends, and cgroups, whose names are kept; a power of two */
#define CGROUP_MAX   511	/* octets of a cgroup's path: of pods they are long */

static const char *const verdicts[WM_FLOW_COUNT] = {[WM_FLOW_PICKED] = "picked",
						    [WM_FLOW_REFUSED] = "refused",
						    [WM_FLOW_PASSED] = "passed",
						    [WM_FLOW_UNKNOWN] = "unknown"};

struct known_backend {
	uint32_t backend, stamp;
	bool used;
	char id[WM_INSTANCE_ID_MAX + 1], node[WM_NODE_NAME_MAX + 1];
	char region[WM_LOCALITY_MAX + 1], zone[WM_LOCALITY_MAX + 1];
};
struct known_cgroup {
	uint64_t id;
	char path[CGROUP_MAX + 1];
};

struct watcher {
	struct wm_flow_streams *streams;
	struct wm_http_request *req;
	struct wm_buf text;		       /* of this turn */
	uint64_t dropped;		       /* since it was told */
	char service[WM_SERVICE_NAME_MAX + 1]; /* "": all */
	char cgroup[CGROUP_MAX + 1];	       /* it and what is below; "": all */
	unsigned verdict;		       /* 0: all */
	TAILQ_ENTRY(watcher) entry;
};

struct wm_flow_streams {
	struct wm_api *api;
	struct wm_flows *flows; /* NULL: nobody watches */
	struct wm_timer *tick;
	unsigned ticks, count;
	uint64_t lost; /* by the kernel, when it was looked at last */
	struct known_backend *backends;
	struct known_cgroup *cgroups;
	struct wm_buf one; /* scratch */
	TAILQ_HEAD(, watcher) watchers;
};

/* --- names --------------------------------------------------------------------------------------
 */
/* Of a backend that a set of @p service has. Its own service is known by the sets that have it; a
 * selection is made where none of its own does. */
static const struct wm_instance *find(const struct wm_api *a, uint32_t backend, const char *service)
{
	const struct wm_registry *r = a->d.registry;
	uint64_t hash = wm_tables_memory(a->d.tables)->backends[backend].instance;
	const char *own = wm_tables_service_with(a->d.tables, backend);
	const struct wm_service *s = own ? wm_registry_service(r, own) : NULL;
	const struct wm_instance *found = NULL;
	struct wm_selection c;

	for (unsigned n = 0; s && n < s->instances_count; n++)
		if (s->instances[n]->hash == hash)
			return s->instances[n];
	if (!service || wm_selection_make(r, service, "", false, &c))
		return NULL;
	for (unsigned t = 0; t < c.count; t++)
		for (unsigned n = 0; n < c.tiers[t].count && !found; n++)
			if (c.tiers[t].members[n]->hash == hash)
				found = c.tiers[t].members[n];
	wm_selection_done(&c);
	return found;
}

static const struct known_backend *backend_of(struct wm_flow_streams *x, uint32_t backend,
					      uint32_t stamp, const char *service)
{
	const struct wm_table_memory *m = wm_tables_memory(x->api->d.tables);
	struct known_backend *k = &x->backends[backend & (KNOWN - 1)];
	const struct wm_instance *i = NULL;

	if (k->used && k->backend == backend && k->stamp == stamp)
		return k;
	*k = (struct known_backend){.backend = backend, .stamp = stamp};
	if (backend < m->backends_cap && m->backends[backend].state >> 16 == stamp)
		i = find(x->api, backend, service);
	k->used = i != NULL;
	snprintf(k->region, sizeof(k->region), "%s", i ? wm_selection_place(i, "region") : "");
	snprintf(k->zone, sizeof(k->zone), "%s", i ? wm_selection_place(i, "zone") : "");
	snprintf(k->id, sizeof(k->id), "%s", i ? i->id : "");
	snprintf(k->node, sizeof(k->node), "%s", i ? i->node->name : "");
	return k;
}

/* Ids of cgroups are not given twice. */
static const char *cgroup_of(struct wm_flow_streams *x, uint64_t id)
{
	struct known_cgroup *k = &x->cgroups[wm_hash(&id, sizeof(id)) & (KNOWN - 1)];

	if (k->id == id)
		return k->path;
	k->id = id;
	if (wm_flows_cgroup(id, k->path, sizeof(k->path)))
		*k->path = '\0';
	return k->path;
}

/* --- one decision -------------------------------------------------------------------------------
 */
static void put_place(struct wm_json *j, const char *key, const __be32 addr_be[4], __be16 port_be)
{
	char text[INET6_ADDRSTRLEN], both[INET6_ADDRSTRLEN + 16];
	struct in6_addr a;

	memcpy(&a, addr_be, sizeof(a));
	if (IN6_IS_ADDR_V4MAPPED(&a))
		inet_ntop(AF_INET, &a.s6_addr[12], text, sizeof(text));
	else
		inet_ntop(AF_INET6, &a, text, sizeof(text));
	snprintf(both, sizeof(both), strchr(text, ':') ? "[%s]:%u" : "%s:%u", text,
		 (unsigned)ntohs(port_be));
	wm_json_ks(j, key, both);
}

/* Of a choice of two: what each costs for its weight, and who was not chosen. Its occupant is the
 * index's of now, as the kernel tells no stamp of it. */
static void put_scores(struct wm_json *j, struct wm_flow_streams *x, const struct wm_flow *f,
		       const char *service)
{
	const struct wm_table_memory *m = wm_tables_memory(x->api->d.tables);
	uint32_t stamp = f->other < m->backends_cap ? m->backends[f->other].state >> 16 : 0;

	if (!f->weight[0])
		return;
	wm_json_key(j, "score");
	wm_json_double(j, (double)f->cost[0] / f->weight[0]);
	if (!f->weight[1] || f->other == f->backend) /* drawn twice */
		return;
	wm_json_ks(j, "other", backend_of(x, f->other, stamp, service)->id);
	wm_json_key(j, "other_score");
	wm_json_double(j, (double)f->cost[1] / f->weight[1]);
}

static void put_choice(struct wm_json *j, struct wm_flow_streams *x, const struct wm_flow *f,
		       const char *service)
{
	const struct known_backend *k = backend_of(x, f->backend, f->stamp, service);

	wm_json_ks(j, "instance", k->id);
	wm_json_ks(j, "node", k->node);
	put_place(j, "address", f->backend_be, f->backend_port_be);
	wm_json_ks(j, "region", k->region);
	wm_json_ks(j, "zone", k->zone);
	wm_json_ku(j, "tier", f->tier);
	wm_json_ks(j, "balance", wm_reason_balance(f->reason));
	wm_json_ks(j, "why", wm_reason_text(f->reason));
	put_scores(j, x, f, service);
	wm_json_ku(j, "generation", f->generation);
}

static void render(struct wm_flow_streams *x, const struct wm_flow *f, const char *service,
		   const char *cgroup)
{
	uint64_t now = wm_clock_ns(), ago = now > f->time_ns ? (now - f->time_ns) / 1000000 : 0;
	char comm[sizeof(f->comm) + 1] = "", subset[WM_TAG_MAX + 1];
	struct wm_json j;

	memcpy(comm, f->comm, sizeof(f->comm));
	wm_buf_reset(&x->one);
	wm_buf_puts(&x->one, "event: flow\ndata: ");
	wm_json_init(&j, &x->one, false);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "time_ms", wm_clock_wall_ms() - ago);
	wm_json_ks(&j, "verdict", verdicts[f->verdict]);
	wm_json_ks(&j, "protocol", f->proto == IPPROTO_TCP ? "tcp" : "udp");
	wm_json_kb(&j, "datagram", f->datagram);
	put_place(&j, "virtual", f->vip_be, f->vip_port_be);
	wm_json_ks(&j, "service", service);
	(void)wm_tables_part_of(x->api->d.tables, f->set, subset);
	wm_json_ks(&j, "subset", subset);
	if (f->verdict == WM_FLOW_PICKED)
		put_choice(&j, x, f, service);
	wm_json_ks(&j, "process", comm);
	wm_json_ku(&j, "pid", f->pid);
	wm_json_ku(&j, "uid", f->uid);
	wm_json_ks(&j, "cgroup", cgroup);
	wm_api_put_pod(&j, x->api, cgroup, NULL);
	wm_json_ku(&j, "cookie", f->cookie);
	wm_json_close(&j, '}');
	wm_json_done(&j);
	wm_buf_puts(&x->one, "\n\n");
}

static bool below(const char *path, const char *above)
{
	size_t len = strlen(above);

	return !len || (!strncmp(path, above, len) && (!path[len] || path[len] == '/'));
}

static bool is_wanted(const struct watcher *w, const struct wm_flow *f, const char *service,
		      const char *cgroup)
{
	return (!w->verdict || w->verdict == f->verdict) &&
	       (!*w->service || strcasecmp(w->service, service ? service : "") == 0) &&
	       below(cgroup, w->cgroup);
}

static void drop(struct watcher *w, uint64_t n)
{
	w->dropped += n;
	w->streams->api->counters[WM_API_FLOWS_DROPPED] += n;
}

static void on_flow(void *arg, const struct wm_flow *f)
{
	struct wm_flow_streams *x = arg;
	const char *service = wm_tables_service_of(x->api->d.tables, f->set);
	const char *cgroup = cgroup_of(x, f->cgroup);
	bool rendered = false;
	struct watcher *w;

	if (f->verdict == WM_FLOW_NONE || f->verdict >= WM_FLOW_COUNT)
		return;
	if (!service && f->verdict == WM_FLOW_REFUSED) /* a port that the service has not */
		service = wm_tables_front_owner(x->api->d.tables, f->vip_be);
	TAILQ_FOREACH (w, &x->watchers, entry) {
		if (!is_wanted(w, f, service, cgroup))
			continue;
		if (!rendered)
			render(x, f, service, cgroup);
		rendered = true;
		if (x->one.failed || w->text.len + wm_http_stream_backlog(w->req) > BACKLOG_MAX)
			drop(w, 1);
		else
			wm_buf_put(&w->text, x->one.data, x->one.len);
	}
}

/* --- streams ------------------------------------------------------------------------------------
 */
static void stop(struct wm_flow_streams *x)
{
	wm_flows_free(x->flows);
	x->flows = NULL;
	wm_timer_disarm(x->tick);
	free(x->backends);
	free(x->cgroups);
	x->backends = NULL;
	x->cgroups = NULL;
}

static void forget(void *arg)
{
	struct watcher *w = arg;
	struct wm_flow_streams *x = w->streams;

	TAILQ_REMOVE(&x->watchers, w, entry);
	wm_buf_done(&w->text);
	free(w);
	if (!--x->count)
		stop(x);
}

static void put_dropped(struct watcher *w, const char *where, uint64_t n)
{
	wm_buf_printf(&w->text,
		      "event: dropped\ndata: {\"where\":\"%s\",\"dropped\":%" PRIu64 "}\n\n", where,
		      n);
}

/* What was gathered in this turn; a client that takes nothing more is told later what it missed. */
static void send_text(struct watcher *w)
{
	size_t room = wm_http_stream_backlog(w->req) + w->text.len;

	if (w->dropped && room < BACKLOG_MAX / 2) {
		put_dropped(w, "stream", w->dropped);
		w->dropped = 0;
	}
	if (!w->text.len)
		return;
	if (!wm_http_stream_send(w->req, w->text.data, w->text.len))
		wm_buf_reset(&w->text);
	else
		wm_http_stream_drop(w->req); /* frees w */
}

void wm_flow_streams_send(struct wm_api *a)
{
	struct watcher *w, *next;

	for (w = TAILQ_FIRST(&a->flows->watchers); w; w = next) {
		next = TAILQ_NEXT(w, entry);
		send_text(w);
	}
}

static uint64_t lost_by_kernel(const struct wm_flow_streams *x)
{
	uint64_t n[WM_COUNTER_COUNT];

	return x->api->d.plane && !wm_plane_counters(x->api->d.plane, n) ? n[WM_C_FLOWS_LOST] : 0;
}

static void on_tick(void *arg)
{
	struct wm_flow_streams *x = arg;
	uint64_t lost = lost_by_kernel(x);
	struct watcher *w;

	x->ticks++;
	TAILQ_FOREACH (w, &x->watchers, entry) {
		if (lost > x->lost)
			put_dropped(w, "kernel", lost - x->lost);
		if (x->ticks % ALIVE_TICKS == 0)
			wm_buf_puts(&w->text, ": alive\n\n");
	}
	x->lost = lost;
	wm_timer_arm(x->tick, TICK_MS);
}

/* @return 0, or why decisions cannot be told. */
static int start(struct wm_flow_streams *x)
{
	int r = -EOPNOTSUPP;

	if (x->flows)
		return 0;
	x->backends = calloc(KNOWN, sizeof(*x->backends));
	x->cgroups = calloc(KNOWN, sizeof(*x->cgroups));
	if (!x->backends || !x->cgroups)
		r = -ENOMEM;
	else if (x->api->d.plane && x->api->d.tables)
		r = wm_flows_new(x->api->d.loop, x->api->d.plane, on_flow, x, &x->flows);
	x->lost = lost_by_kernel(x);
	if (!r)
		r = wm_timer_arm(x->tick, TICK_MS);
	if (r)
		stop(x);
	return r;
}

/* @return false: it is longer than any is, and answered. */
static bool read_text(struct wm_call *c, const char *key, char *to, size_t cap)
{
	const char *text = wm_http_query(c->req, key);

	if ((size_t)snprintf(to, cap, "%s", text ? text : "") < cap)
		return true;
	wm_answer_text(c, 400, "%s: at most %zu octets", key, cap - 1);
	return false;
}

static bool read_filter(struct wm_call *c, struct watcher *w)
{
	const char *verdict = wm_http_query(c->req, "verdict");

	if (!read_text(c, "service", w->service, sizeof(w->service)) ||
	    !read_text(c, "cgroup", w->cgroup, sizeof(w->cgroup)))
		return false;
	for (size_t n = strlen(w->cgroup); n > 1 && w->cgroup[n - 1] == '/'; n--)
		w->cgroup[n - 1] = '\0';
	for (unsigned v = 1; verdict && *verdict && v < WM_FLOW_COUNT; v++)
		if (strcmp(verdict, verdicts[v]) == 0)
			w->verdict = v;
	if (!verdict || !*verdict || w->verdict)
		return true;
	wm_answer_text(c, 400, "verdict: picked, refused, passed or unknown, not \"%.32s\"",
		       verdict);
	return false;
}

static void refuse(struct wm_call *c, int why)
{
	if (why == -EAGAIN) {
		c->api->counters[WM_API_FLOWS_FULL]++;
		wm_http_set_header(c->req, "Retry-After", "1");
		wm_answer_text(c, 429, "Too many streams of decisions, at most %d", WATCHERS_MAX);
	} else if (why == -EOPNOTSUPP) {
		wm_answer_text(c, 501, "no decisions are told: %s",
			       c->api->d.plane ? "the kernel has no ring buffers (< 5.8), or the "
						 "programs of connect() are not loaded"
					       : "there is no data plane");
	} else {
		wm_answer_text(c, 503, "%s", strerror(-why));
	}
}

void wm_native_flows(struct wm_call *c)
{
	struct wm_flow_streams *x = c->api->flows;
	struct watcher *w = calloc(1, sizeof(*w));
	int r = !w ? -ENOMEM : x->count == WATCHERS_MAX ? -EAGAIN : 0;

	if (!r && !read_filter(c, w)) {
		free(w);
		return;
	}
	if (!r)
		r = start(x);
	if (r) {
		free(w);
		refuse(c, r);
		return;
	}
	w->streams = x;
	w->req = c->req;
	wm_buf_init(&w->text, 2 * BACKLOG_MAX);
	wm_http_set_header(c->req, "Cache-Control", "no-store");
	wm_http_on_abort(c->req, forget, w);
	TAILQ_INSERT_TAIL(&x->watchers, w, entry);
	x->count++;
	c->api->counters[WM_API_READS]++;
	wm_http_stream_begin(c->req, "text/event-stream");
	wm_buf_puts(&w->text, "event: ready\ndata: {}\n\n");
}

/* --- beginning and end --------------------------------------------------------------------------
 */
int wm_flow_streams_init(struct wm_api *a)
{
	struct wm_flow_streams *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	a->flows = x;
	x->api = a;
	TAILQ_INIT(&x->watchers);
	wm_buf_init(&x->one, BACKLOG_MAX);
	x->tick = wm_timer_new(a->d.loop, on_tick, x);
	return x->tick ? 0 : -ENOMEM;
}

void wm_flow_streams_done(struct wm_api *a)
{
	struct wm_flow_streams *x = a->flows;

	if (!x)
		return;
	stop(x);
	wm_timer_free(x->tick);
	wm_buf_done(&x->one);
	free(x);
	a->flows = NULL;
}
