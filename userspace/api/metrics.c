/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - every counter and gauge, for monitoring: in the shape of Consul's metrics, or as text
 * for Prometheus. A metric "dns_answered" is waymark.dns.answered in the one and
 * waymark_dns_answered_total in the other. Counters run from when they were made: the kernel's live
 * as long as its maps, the others as long as the agent; forming a rate is left to who reads them.
 * Spec: Consul HTTP API; Prometheus text exposition format 0.0.4. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/net/frames.h"
#include "userspace/registry/foreign.h"
#include "userspace/source/consul.h"
#include "userspace/sync/sync.h"
#include "waymark/counters.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define X(sym, name, text) +1
enum { DNS_COUNT = 0 WM_DNS_COUNTERS(X) };
#undef X
#define X(name, text) +1
enum {
	SYNC_COUNT = 0 WM_MEMBER_COUNTERS(X) WM_SPREAD_COUNTERS(X) WM_REPLICA_COUNTERS(X)
		WM_SYNC_COUNTERS(X) WM_FRAMES_COUNTERS(X) WM_ETCD_COUNTERS(X) WM_FOREIGN_COUNTERS(X)
			WM_INTEREST_COUNTERS(X) WM_SERVE_COUNTERS(X) WM_CONSUL_COUNTERS(X)
};
#undef X
#define OWN_MAX 128 /* metrics that no table of counters has */
#define METRICS_MAX                                                                                \
	(WM_COUNTER_COUNT + DNS_COUNT + WM_UPSTREAM_COUNTER_COUNT + 6 + WM_HTTP_COUNTER_COUNT +    \
	 WM_API_COUNTER_COUNT + WM_DRAIN_COUNTER_COUNT + WM_ABORT_COUNTER_COUNT + SYNC_COUNT +     \
	 OWN_MAX)
#define NAME_MAX_OCTETS 96

struct metric {
	const char *name, *text;
	uint64_t value;
	bool gauge;
};
struct metrics {
	unsigned count;
	struct metric all[METRICS_MAX];
};
struct row {
	const char *name, *text;
};

static void add(struct metrics *m, bool gauge, const char *name, uint64_t value, const char *text)
{
	if (m->count < METRICS_MAX)
		m->all[m->count++] = (struct metric){name, text, value, gauge};
}

static void add_rows(struct metrics *m, const struct row *rows, const uint64_t *n, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		add(m, false, rows[i].name, n[i], rows[i].text);
}

#define GAUGE(name, value, text)   add(m, true, name, value, text)
#define COUNTER(name, value, text) add(m, false, name, value, text)

static void collect_registry(struct metrics *m, const struct wm_registry *r)
{
	struct wm_registry_stats s;

	wm_registry_stats(r, &s);
	GAUGE("registry_services", wm_registry_services(r), "services");
	GAUGE("registry_instances", wm_registry_instances(r), "instances");
	GAUGE("registry_checks", wm_registry_checks(r), "checks");
	GAUGE("registry_index", wm_registry_index(r), "index of the last change");
	GAUGE("registry_file_bytes", s.file_bytes, "octets of the store's file and its log");
	GAUGE("registry_last_commit_us", s.last_commit_us, "microseconds of the last commit");
	GAUGE("registry_storing_ms", s.storing_ms,
	      "milliseconds that the store is at its present job");
	GAUGE("registry_queued", s.queued, "writes that wait for the batch before them");
	COUNTER("registry_commits", s.commits, "commits of the store");
	COUNTER("registry_writes", s.writes, "writes that were committed");
	COUNTER("registry_failed_commits", s.failed_commits, "commits that failed");
	COUNTER("registry_queue_full", s.queue_full, "writes refused: too many were waiting");
	COUNTER("registry_rows_cut", s.rows_cut, "rows too large, stored without outputs");
}

static void collect_health(struct metrics *m, const struct wm_health *h)
{
	struct wm_health_stats s;

	wm_health_stats(h, &s);
	GAUGE("health_checks", s.checks, "checks that are run");
	GAUGE("health_in_flight", s.in_flight, "probes in flight");
	COUNTER("health_runs", s.runs, "results of checks");
	COUNTER("health_failures", s.failures, "critical results");
	COUNTER("health_transitions", s.transitions, "changes of a status");
	COUNTER("health_late", s.late, "runs left out: the one before still ran, or a standstill");
	COUNTER("health_skipped", s.skipped, "runs without a result for want of resources");
	COUNTER("health_lookups", s.lookups, "names that name servers were asked for");
	COUNTER("health_unstarted", s.unstarted, "checks that are not run for want of memory");
	COUNTER("health_reaped", s.reaped, "instances removed: critical for too long");
	COUNTER("health_expired", s.expired, "TTLs that ran out");
	COUNTER("health_flaps", s.flaps, "checks that began to be held: they changed too often");
	GAUGE("health_held", s.held, "checks held in their worse status until they are steady");
	COUNTER("health_alias_far", s.alias_far, "aliases that reach too far to tell: left as is");
}

static void collect_tables(struct metrics *m, const struct wm_tables *t)
{
	const struct wm_table_memory *mem = wm_tables_memory(t);
	struct wm_tables_stats s;

	wm_tables_stats(t, &s);
	GAUGE("tables_names", s.names, "names in the kernel");
	GAUGE("tables_names_max", mem->names_cap, "names that fit");
	GAUGE("tables_frontends", s.frontends, "virtual addresses in the kernel");
	GAUGE("tables_frontends_max", mem->frontends_cap, "virtual addresses that fit");
	GAUGE("tables_sets", s.sets, "endpoint sets in the kernel");
	GAUGE("tables_sets_max", mem->sets_cap, "endpoint sets that fit");
	GAUGE("tables_slots", s.slots, "slots of sets in the kernel");
	GAUGE("tables_slots_max", mem->slots_cap, "slots that fit");
	GAUGE("tables_backends", s.backends, "backends in the kernel");
	GAUGE("tables_backends_max", mem->backends_cap, "backends that fit");
	GAUGE("tables_frontends_contested", s.fronts_contested,
	      "addresses and ports of a source's services that another service had first");
	GAUGE("tables_frontends_unfit", s.fronts_unfit,
	      "addresses of a source's services that are not taken: of the agent's own range, "
	      "loopback, or external and not allowed");
	COUNTER("tables_publishes", s.publishes, "sets that were published");
	COUNTER("tables_state_stores", s.state_stores, "changes of a backend's state");
	COUNTER("tables_full", s.full, "sets that did not fit");
	COUNTER("tables_collisions", s.collisions, "names whose hash another name has");
}

static void collect_plane(struct metrics *m, const struct wm_api *a)
{
	const struct wm_plane_hook *hooks = NULL;
	uint64_t n[WM_COUNTER_COUNT], attached = 0;
	unsigned count = a->d.plane ? wm_plane_hooks(a->d.plane, &hooks) : 0;
#define X(sym, name, text) {#name, text},
	static const struct row kernel[] = {WM_COUNTERS(X)};
#undef X

	for (unsigned i = 0; i < count; i++)
		attached += !hooks[i].error;
	GAUGE("plane_programs", attached, "programs that are attached in the kernel");
	if (a->d.watch) {
		GAUGE("plane_degraded", wm_plane_watch_state(a->d.watch) == WM_PLANE_DEGRADED,
		      "1: the data plane is wanted and not whole");
		COUNTER("plane_hooks_lost", wm_plane_watch_lost(a->d.watch),
			"hooks that somebody else detached, attached again");
	}
	if (a->d.plane && !wm_plane_counters(a->d.plane, n))
		add_rows(m, kernel, n, WM_ARRAY_LEN(kernel));
}

static void collect_index(struct metrics *m, const struct wm_index *x)
{
	struct wm_index_stats s;

	wm_index_stats(x, &s);
	COUNTER("metadata_cache_hits", s.cache_hits, "filters answered from results that are kept");
	COUNTER("metadata_cache_misses", s.cache_misses, "filters that had to be run");
}

static void collect_loop(struct metrics *m, const struct wm_loop_stats *s)
{
	GAUGE("loop_turn_max_us", s->max_ns / 1000,
	      "microseconds of processor of the longest turn");
	COUNTER("loop_turns_cut", s->cut, "turns that were ended to let others have theirs");
	COUNTER("loop_put_off", s->put_off, "times that work went on in the next turn");
}

/* A leaf's interests; or whom a full member serves. */
static void collect_leaves(struct metrics *m, const struct wm_sync *s)
{
	struct wm_interest_stats interest;
	struct wm_serve_stats serve;

	if (wm_sync_interest(s)) {
		wm_interest_stats(wm_sync_interest(s), &interest);
		GAUGE("leaf_services", interest.services, "services that this leaf holds");
#define X(name, text) COUNTER("leaf_" #name, interest.name, text);
		WM_INTEREST_COUNTERS(X)
#undef X
	} else if (wm_sync_served(s)) {
		wm_serve_stats(wm_sync_served(s), &serve);
		GAUGE("serve_leaves", serve.leaves, "leaves that this full member serves");
		GAUGE("serve_subscriptions", serve.subscriptions, "services that it tells them of");
#define X(name, text) COUNTER("serve_" #name, serve.name, text);
		WM_SERVE_COUNTERS(X)
#undef X
	}
}

static void collect_peers(struct metrics *m, struct wm_sync *s)
{
	struct wm_member_stats members;
	struct wm_spread_stats spread;
	struct wm_replica_stats replica;
	const struct wm_frames_stats *frames = wm_sync_frames(s);
	struct wm_sync_stats sync;

	wm_members_stats(wm_sync_members(s), &members);
	wm_spread_stats(wm_sync_spread(s), &spread);
	wm_replica_stats(wm_sync_replica(s), &replica);
	wm_sync_stats(s, &sync);
	GAUGE("member_count", wm_members_count(wm_sync_members(s)), "members that are known");
	GAUGE("member_alive", wm_members_alive(wm_sync_members(s)), "members that are alive");
	GAUGE("member_awareness", members.awareness, "doubt in our own health; 0: none");
	GAUGE("replica_objects", wm_replica_objects(wm_sync_replica(s)), "objects of all nodes");
	GAUGE("spread_eager", spread.eager, "links of the tree");
	GAUGE("spread_lazy", spread.lazy, "links that only ids go over");
	GAUGE("sync_waiting_octets", sync.waiting, "changes of others that wait for the store");
	if (sync.certificate_days != INT64_MAX)
		GAUGE("sync_certificate_days",
		      sync.certificate_days > 0 ? (uint64_t)sync.certificate_days : 0,
		      "whole days that this agent's certificate is valid");
#define X(name, text) COUNTER("member_" #name, members.name, text);
	WM_MEMBER_COUNTERS(X)
#undef X
#define X(name, text) COUNTER("spread_" #name, spread.name, text);
	WM_SPREAD_COUNTERS(X)
#undef X
#define X(name, text) COUNTER("replica_" #name, replica.name, text);
	WM_REPLICA_COUNTERS(X)
#undef X
#define X(name, text) COUNTER("sync_" #name, sync.name, text);
	WM_SYNC_COUNTERS(X)
#undef X
#define X(name, text) COUNTER("frames_" #name, frames->name, text);
	WM_FRAMES_COUNTERS(X)
#undef X
	collect_leaves(m, s);
}

static void collect_mesh(struct metrics *m, const struct wm_api *a)
{
	const struct wm_conflicts *list = wm_sync_conflicts(a->d.sync);
	struct wm_foreign_stats foreign;
	struct wm_sync_health h;

	wm_registry_foreign_stats(a->d.registry, &foreign);
#define X(name, text) COUNTER("foreign_" #name, foreign.name, text);
	WM_FOREIGN_COUNTERS(X)
#undef X
	COUNTER("sync_conflicts_hlc", wm_conflicts_count(list, wm_merge_hlc.name),
		"concurrent writes of the catalog decided by the clock");
	COUNTER("sync_conflicts_semver", wm_conflicts_count(list, wm_merge_semver.name),
		"concurrent writes of the catalog decided by the higher version");
	COUNTER("sync_conflicts_priority", wm_conflicts_count(list, wm_merge_priority.name),
		"concurrent writes of the catalog decided by the writer's priority");
	wm_sync_health(a->d.sync, &h);
	GAUGE("mesh_behind", h.behind, "logs, or changes for etcd, that are not all here or there");
	GAUGE("mesh_held", h.held, "removals that the brake holds back");
	GAUGE("mesh_reasons", h.reasons_count,
	      "things that are wrong with the mesh, see the status");
}

static void collect_etcd(struct metrics *m, const struct wm_etcd *k)
{
	struct wm_etcd_state t;
	struct wm_etcd_stats n;

	wm_etcd_state(k, &t);
	wm_etcd_stats(k, &n);
	GAUGE("etcd_following", t.phase == WM_ETCD_FOLLOWING, "1: the watch is open");
	GAUGE("etcd_pending", t.pending, "changes that etcd has not yet");
	GAUGE("etcd_objects", t.objects, "objects of all nodes");
	GAUGE("etcd_nodes", t.nodes, "nodes that are known");
	GAUGE("etcd_alive", t.alive, "nodes that live");
	GAUGE("etcd_held", t.held, "removals that are held back");
#define X(name, text) COUNTER("etcd_" #name, n.name, text);
	WM_ETCD_COUNTERS(X)
#undef X
}

static void collect_consul(struct metrics *m, const struct wm_consul *c)
{
	struct wm_consul_stats n;

	wm_consul_stats(c, &n);
	GAUGE("consul_services", n.services, "services of the Consul that are followed");
	GAUGE("consul_in_flight", n.in_flight, "of these, that are asked now");
#define X(name, text) COUNTER("consul_" #name, n.name, text);
	WM_CONSUL_COUNTERS(X)
#undef X
}

static void collect_upstream(struct metrics *m, const struct wm_dns_server *s)
{
	const struct wm_upstream *u = wm_dns_upstream(s);
#define X(sym, name, text) {#name, text},
	static const struct row rows[] = {WM_UPSTREAM_COUNTERS(X)};
#undef X
	uint64_t up = 0, known = 0, late = 0, failures = 0, fastest = 0;
	struct wm_upstream_health h;

	for (; wm_upstream_health(u, (unsigned)known, &h); known++) {
		late += h.late;
		failures += h.failures;
		if (h.state != WM_UPSTREAM_UP)
			continue;
		up++;
		if (!fastest || h.latency_us < fastest)
			fastest = h.latency_us;
	}
	GAUGE("dns_upstream_open", wm_upstream_open(u), "questions to others that are open");
	GAUGE("dns_user_waiting", wm_dns_waiting(s),
	      "queries that wait for what others say, or bring");
	GAUGE("dns_upstream_servers", known, "servers that names which are not ours are asked of");
	GAUGE("dns_upstream_up", up, "of these, that answer");
	GAUGE("dns_upstream_latency_us", fastest, "of the fastest of these, of its probes");
	COUNTER("dns_upstream_probes_late", late, "probes of servers without an answer in time");
	COUNTER("dns_upstream_probes_failed", failures, "probes answered with an error");
	add_rows(m, rows, wm_upstream_counters(u), WM_ARRAY_LEN(rows));
}

static void collect_hot(struct metrics *m, const struct wm_hot_level *h)
{
#define X(sym, name, text) {#name, text},
	static const struct row rows[] = {WM_HOT_COUNTERS(X)};
#undef X

	GAUGE("dns_hot_names", wm_hot_names(h), "names that the kernel answers for others");
	GAUGE("dns_hot_names_max", wm_hot_max(h), "names that fit: dns.kernel_cache");
	add_rows(m, rows, wm_hot_counters(h), WM_ARRAY_LEN(rows));
}

static void collect_ready(struct metrics *m, const struct wm_ready_level *l)
{
#define X(sym, name, text) {#name, text},
	static const struct row rows[] = {WM_READY_COUNTERS(X)};
#undef X

	add_rows(m, rows, wm_ready_counters(l), WM_ARRAY_LEN(rows));
}

static void collect_truth(struct metrics *m, const struct wm_truth_report *r)
{
#define X(sym, name, text) GAUGE("truth_" #name, r->counts[WM_TRUTH_##sym], text);
	WM_TRUTH_KINDS(X)
#undef X
	GAUGE("truth_unseen", r->unseen_count, "things that the last look could not look at");
	GAUGE("truth_took_us", r->took_ns / 1000, "microseconds of processor of the last look");
	GAUGE("truth_lasted_ms", r->lasted_ms,
	      "milliseconds that the last look lasted, with its pauses");
	COUNTER("truth_looks", r->looks, "looks whether registry, tables and kernel agree");
	COUNTER("truth_given_up", r->given_up,
		"looks that were given up, as somebody asked for one");
}

static void collect(struct metrics *m, const struct wm_api *a)
{
#define X(sym, name, text) {#name, text},
	static const struct row dns[] = {WM_DNS_COUNTERS(X)};
	static const struct row http[] = {WM_HTTP_COUNTERS(X)};
	static const struct row api[] = {WM_API_COUNTERS(X)};
	static const struct row drains[] = {WM_DRAIN_COUNTERS(X)};
	static const struct row aborts[] = {WM_ABORT_COUNTERS(X)};
	static const struct row listeners[] = {WM_LISTENER_COUNTERS(X)};
	static const struct row outliers[] = {WM_OUTLIER_COUNTERS(X)};
	static const struct row reconcile[] = {WM_RECONCILE_COUNTERS(X)};
#undef X

	m->count = 0;
	GAUGE("agent_uptime_seconds", (wm_clock_ms() - a->start_ms) / 1000, "since the start");
	collect_loop(m, wm_loop_stats(a->d.loop));
	collect_registry(m, a->d.registry);
	if (a->d.health)
		collect_health(m, a->d.health);
	if (a->d.index)
		collect_index(m, a->d.index);
	if (a->d.tables)
		collect_tables(m, a->d.tables);
	collect_plane(m, a);
	if (a->d.dns)
		add_rows(m, dns, wm_dns_counters(a->d.dns), WM_ARRAY_LEN(dns));
	if (a->d.dns && wm_dns_upstream(a->d.dns))
		collect_upstream(m, a->d.dns);
	if (a->d.dns && wm_dns_hot(a->d.dns))
		collect_hot(m, wm_dns_hot(a->d.dns));
	if (a->d.dns && wm_dns_ready(a->d.dns))
		collect_ready(m, wm_dns_ready(a->d.dns));
	if (a->d.drains) {
		GAUGE("drain_active", wm_drains_active(a->d.drains), "instances that are drained");
		add_rows(m, drains, wm_drains_counters(a->d.drains), WM_ARRAY_LEN(drains));
	}
	if (a->d.aborts)
		add_rows(m, aborts, wm_aborts_counters(a->d.aborts), WM_ARRAY_LEN(aborts));
	if (a->d.listeners) {
		GAUGE("listener_watched", wm_listeners_watched(a->d.listeners),
		      "instances whose listeners are watched");
		add_rows(m, listeners, wm_listeners_counters(a->d.listeners),
			 WM_ARRAY_LEN(listeners));
	}
	if (a->d.outliers) {
		GAUGE("outlier_active", wm_outliers_active(a->d.outliers),
		      "backends that are ejected");
		add_rows(m, outliers, wm_outliers_counters(a->d.outliers), WM_ARRAY_LEN(outliers));
	}
	if (a->d.reconcile)
		add_rows(m, reconcile, wm_reconcile_counters(a->d.reconcile),
			 WM_ARRAY_LEN(reconcile));
	if (a->d.truth)
		collect_truth(m, wm_truth_report(a->d.truth));
	if (a->d.sync)
		collect_mesh(m, a);
	if (a->d.sync && wm_sync_etcd(a->d.sync))
		collect_etcd(m, wm_sync_etcd(a->d.sync));
	if (a->d.consul)
		collect_consul(m, a->d.consul);
	else if (a->d.sync)
		collect_peers(m, a->d.sync);
	if (a->server) {
		GAUGE("http_connections", wm_http_connections(a->server), "open connections");
		add_rows(m, http, wm_http_counters(a->server), WM_ARRAY_LEN(http));
	}
	GAUGE("api_watchers", a->watches, "blocking queries that wait");
	GAUGE("api_rendered_octets", wm_rendered_bytes(a), "answers that are kept");
	add_rows(m, api, a->counters, WM_ARRAY_LEN(api));
}

/* --- shapes ----------------------------------------------------------------------------------- */
/* waymark.<part>.<rest> */
static void put_name(struct wm_json *j, const char *name)
{
	char text[NAME_MAX_OCTETS], *first;

	snprintf(text, sizeof(text), "waymark.%s", name);
	first = strchr(text, '_');
	if (first)
		*first = '.';
	wm_json_ks(j, "Name", text);
}

/* --- of each agent that there is a stream to, the first PEERS_MAX of them -----------------------
 */
#define PEERS_MAX 64 /* a mesh of thousands is not to fill who keeps metrics */

static uint64_t peer_up(const struct wm_sync_peer *p)
{
	return p->up;
}

static uint64_t peer_rtt(const struct wm_sync_peer *p)
{
	return p->member->rtt_us;
}

static uint64_t peer_in(const struct wm_sync_peer *p)
{
	return p->octets_in;
}

static uint64_t peer_out(const struct wm_sync_peer *p)
{
	return p->octets_out;
}

static const struct peer_row {
	const char *name, *text;
	bool gauge;
	uint64_t (*of)(const struct wm_sync_peer *p);
} peer_rows[] = {
	{"peer_up", "1: a stream to the agent stands", true, peer_up},
	{"peer_rtt_us", "microseconds of a round trip to the agent", true, peer_rtt},
	{"peer_octets_in", "octets that came over streams to the agent", false, peer_in},
	{"peer_octets_out", "octets sent over streams to the agent", false, peer_out},
};

/* @return how many; of more than PEERS_MAX the others are left out. */
static unsigned list_peers(const struct wm_api *a, struct wm_sync_peer list[PEERS_MAX])
{
	unsigned count = 0;
	size_t pos = 0;

	while (a->d.sync && count < PEERS_MAX && wm_sync_next_peer(a->d.sync, &pos, &list[count]))
		count += list[count].member != NULL;
	return count;
}

static void put_peers(struct wm_json *j, const struct wm_api *a, bool gauges)
{
	struct wm_sync_peer list[PEERS_MAX];
	unsigned count = list_peers(a, list);

	for (unsigned i = 0; i < WM_ARRAY_LEN(peer_rows) * count; i++) {
		const struct peer_row *row = &peer_rows[i / count];
		const struct wm_sync_peer *p = &list[i % count];
		uint64_t value = row->of(p);

		if (row->gauge != gauges)
			continue;
		wm_json_open(j, '{');
		put_name(j, row->name);
		wm_json_ku(j, gauges ? "Value" : "Count", value);
		if (!gauges) {
			wm_json_ku(j, "Rate", 0);
			wm_json_ku(j, "Sum", value);
			wm_json_ku(j, "Min", value > 0);
			wm_json_ku(j, "Max", value > 0);
			wm_json_ku(j, "Mean", value > 0);
			wm_json_ku(j, "Stddev", 0);
		}
		wm_json_kopen(j, "Labels", '{');
		wm_json_ks(j, "peer", p->member->name);
		wm_json_close(j, '}');
		wm_json_close(j, '}');
	}
}

/* A node's name is a DNS label: nothing of it needs an escape. */
static void print_peers(struct wm_buf *b, const struct wm_api *a)
{
	struct wm_sync_peer list[PEERS_MAX];
	unsigned count = list_peers(a, list);

	for (unsigned i = 0; count && i < WM_ARRAY_LEN(peer_rows); i++) {
		const struct peer_row *row = &peer_rows[i];
		const char *end = row->gauge ? "" : "_total";

		wm_buf_printf(b, "# HELP waymark_%s%s %s\n# TYPE waymark_%s%s %s\n", row->name, end,
			      row->text, row->name, end, row->gauge ? "gauge" : "counter");
		for (unsigned k = 0; k < count; k++)
			wm_buf_printf(b, "waymark_%s%s{peer=\"%s\"} %" PRIu64 "\n", row->name, end,
				      list[k].member->name, row->of(&list[k]));
	}
}

static void put_gauges(struct wm_json *j, const struct wm_api *a, const struct metrics *m)
{
	wm_json_kopen(j, "Gauges", '[');
	for (unsigned i = 0; i < m->count; i++) {
		if (!m->all[i].gauge)
			continue;
		wm_json_open(j, '{');
		put_name(j, m->all[i].name);
		wm_json_ku(j, "Value", m->all[i].value);
		wm_json_kempty(j, "Labels", '{');
		wm_json_close(j, '}');
	}
	put_peers(j, a, true);
	wm_json_close(j, ']');
}

static void put_counters(struct wm_json *j, const struct wm_api *a, const struct metrics *m)
{
	wm_json_kopen(j, "Counters", '[');
	for (unsigned i = 0; i < m->count; i++) {
		const struct metric *x = &m->all[i];

		if (x->gauge)
			continue;
		wm_json_open(j, '{');
		put_name(j, x->name);
		wm_json_ku(j, "Count", x->value);
		wm_json_ku(j, "Rate", 0);
		wm_json_ku(j, "Sum", x->value); /* each counts one */
		wm_json_ku(j, "Min", x->value > 0);
		wm_json_ku(j, "Max", x->value > 0);
		wm_json_ku(j, "Mean", x->value > 0);
		wm_json_ku(j, "Stddev", 0);
		wm_json_kempty(j, "Labels", '{');
		wm_json_close(j, '}');
	}
	put_peers(j, a, false);
	wm_json_close(j, ']');
}

static void put_seconds(struct wm_json *j, const char *key, uint64_t ns)
{
	wm_json_key(j, key);
	wm_json_double(j, (double)ns / WM_NS_PER_S);
}

static uint64_t count_turns(const struct wm_loop_stats *s)
{
	uint64_t count = 0;

	for (unsigned i = 0; i <= WM_LOOP_TURN_BUCKETS; i++)
		count += s->turns[i];
	return count;
}

static void put_samples(struct wm_json *j, const struct wm_loop_stats *s)
{
	uint64_t count = count_turns(s);

	wm_json_kopen(j, "Samples", '[');
	wm_json_open(j, '{');
	put_name(j, "loop_turn_seconds");
	wm_json_ku(j, "Count", count);
	wm_json_ku(j, "Rate", 0);
	put_seconds(j, "Sum", s->sum_ns);
	put_seconds(j, "Min", s->min_ns);
	put_seconds(j, "Max", s->max_ns);
	put_seconds(j, "Mean", count ? s->sum_ns / count : 0);
	wm_json_ku(j, "Stddev", 0);
	wm_json_kempty(j, "Labels", '{');
	wm_json_close(j, '}');
	wm_json_close(j, ']');
}

static void answer_json(struct wm_call *c, const struct metrics *m)
{
	time_t now = time(NULL);
	char text[64] = "";
	struct wm_json j;
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "Timestamp", text);
	put_gauges(&j, c->api, m);
	wm_json_kempty(&j, "Points", '[');
	put_counters(&j, c->api, m);
	put_samples(&j, wm_loop_stats(c->api->d.loop));
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

static void put_turns(struct wm_buf *b, const struct wm_loop_stats *s)
{
	uint64_t count = 0;

	wm_buf_puts(b, "# HELP waymark_loop_turn_seconds processor time of a turn of the loop\n"
		       "# TYPE waymark_loop_turn_seconds histogram\n");
	for (unsigned i = 0; i < WM_LOOP_TURN_BUCKETS; i++) {
		count += s->turns[i];
		wm_buf_printf(b, "waymark_loop_turn_seconds_bucket{le=\"%.3f\"} %" PRIu64 "\n",
			      wm_loop_turn_bounds_ms[i] / 1000.0, count);
	}
	count = count_turns(s);
	wm_buf_printf(b, "waymark_loop_turn_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", count);
	wm_buf_printf(b, "waymark_loop_turn_seconds_sum %.9f\n", (double)s->sum_ns / WM_NS_PER_S);
	wm_buf_printf(b, "waymark_loop_turn_seconds_count %" PRIu64 "\n", count);
}

/* The texts are ours: none has a line end or a backslash to escape. */
static void answer_prometheus(struct wm_call *c, const struct metrics *m)
{
	struct wm_json j;

	wm_answer_begin(c, &j);
	for (unsigned i = 0; i < m->count; i++) {
		const struct metric *x = &m->all[i];
		const char *end = x->gauge ? "" : "_total";

		wm_buf_printf(
			j.b,
			"# HELP waymark_%s%s %s\n# TYPE waymark_%s%s %s\nwaymark_%s%s %" PRIu64
			"\n",
			x->name, end, x->text, x->name, end, x->gauge ? "gauge" : "counter",
			x->name, end, x->value);
	}
	print_peers(j.b, c->api);
	wm_metrics_traffic(j.b, c->api);
	wm_metrics_dns(j.b, c->api);
	wm_metrics_sources(j.b, c->api);
	put_turns(j.b, wm_loop_stats(c->api->d.loop));
	wm_answer_typed(c, "text/plain; version=0.0.4; charset=utf-8", j.b);
}

void wm_agent_metrics(struct wm_call *c)
{
	const char *format = wm_http_query(c->req, "format");
	struct metrics m;

	collect(&m, c->api);
	if (format && strcmp(format, "prometheus") == 0)
		answer_prometheus(c, &m);
	else
		answer_json(c, &m);
}
