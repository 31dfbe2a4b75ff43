/* SPDX-License-Identifier: Apache-2.0 */
/* native.c - handlers of /v1/waymark: what this agent and its kernel side do at the moment. Keys
 * are lower case with underscores; numbers are numbers; what does not exist is null. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "userspace/base/prefix.h"
#include "userspace/metadata/shares.h"
#include "waymark/counters.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- status ------------------------------------------------------------------------------------
 */

static void put_counters(struct wm_json *j, const char *const *names, const uint64_t *n,
			 unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		wm_json_ku(j, names[i], n[i]);
}

static void put_registry(struct wm_json *j, const struct wm_registry *r)
{
	struct wm_registry_stats s;

	wm_registry_stats(r, &s);
	wm_json_kopen(j, "registry", '{');
	wm_json_ku(j, "index", wm_registry_index(r));
	wm_json_ku(j, "services", wm_registry_services(r));
	wm_json_ku(j, "instances", wm_registry_instances(r));
	wm_json_ku(j, "checks", wm_registry_checks(r));
	wm_json_ku(j, "commits", s.commits);
	wm_json_ku(j, "writes", s.writes);
	wm_json_ku(j, "failed_commits", s.failed_commits);
	wm_json_ku(j, "last_commit_us", s.last_commit_us);
	wm_json_ku(j, "storing_ms", s.storing_ms);
	wm_json_ku(j, "queued", s.queued);
	wm_json_ku(j, "queue_full", s.queue_full);
	wm_json_ku(j, "file_bytes", s.file_bytes);
	wm_json_ku(j, "log_bytes", s.store.log_bytes);
	wm_json_ku(j, "checkpoints", s.store.checkpoints);
	wm_json_ku(j, "failed_checkpoints", s.store.failed_checkpoints);
	wm_json_ku(j, "heals", s.store.heals);
	wm_json_ku(j, "rewrites", s.store.rewrites);
	wm_json_kb(j, "store_failed", s.store.failed || s.unstored);
	wm_json_ks(j, "last_error", s.last_error);
	wm_json_close(j, '}');
}

static void put_health(struct wm_json *j, const struct wm_health *h)
{
	struct wm_health_stats s = {0};

	if (h)
		wm_health_stats(h, &s);
	wm_json_kopen(j, "health", '{');
	wm_json_ku(j, "checks", s.checks);
	wm_json_ku(j, "in_flight", s.in_flight);
	wm_json_ku(j, "runs", s.runs);
	wm_json_ku(j, "failures", s.failures);
	wm_json_ku(j, "transitions", s.transitions);
	wm_json_ku(j, "late", s.late);
	wm_json_ku(j, "skipped", s.skipped);
	wm_json_ku(j, "unstarted", s.unstarted);
	wm_json_ku(j, "reaped", s.reaped);
	wm_json_ku(j, "expired", s.expired);
	wm_json_close(j, '}');
}

static void put_table(struct wm_json *j, const char *name, uint64_t used, uint64_t cap)
{
	wm_json_kopen(j, name, '{');
	wm_json_ku(j, "used", used);
	wm_json_ku(j, "cap", cap);
	wm_json_close(j, '}');
}

static void put_tables(struct wm_json *j, const struct wm_tables *t)
{
	const struct wm_table_memory *m = t ? wm_tables_memory(t) : NULL;
	struct wm_tables_stats s;

	wm_json_key(j, "tables");
	if (!m) {
		wm_json_null(j);
		return;
	}
	wm_tables_stats(t, &s);
	wm_json_open(j, '{');
	put_table(j, "names", s.names, m->names_cap);
	put_table(j, "frontends", s.frontends, m->frontends_cap);
	put_table(j, "sets", s.sets, m->sets_cap);
	put_table(j, "slots", s.slots, m->slots_cap);
	put_table(j, "backends", s.backends, m->backends_cap);
	wm_json_ku(j, "slots_quarantined", s.slots_quarantined);
	wm_json_ku(j, "backends_quarantined", s.backends_quarantined);
	wm_json_ku(j, "puts", s.puts);
	wm_json_ku(j, "publishes", s.publishes);
	wm_json_ku(j, "state_stores", s.state_stores);
	wm_json_ku(j, "full", s.full);
	wm_json_ku(j, "frontends_contested", s.fronts_contested);
	wm_json_ku(j, "frontends_unfit", s.fronts_unfit);
	wm_json_ku(j, "collisions", s.collisions);
	wm_json_close(j, '}');
}

static void put_index(struct wm_json *j, const struct wm_index *x)
{
	struct wm_index_stats s;

	wm_index_stats(x, &s);
	wm_json_kopen(j, "metadata", '{');
	wm_json_ku(j, "instances", s.instances);
	wm_json_ku(j, "values", s.entries);
	wm_json_ku(j, "lost", s.lost);
	wm_json_ku(j, "cache_hits", s.cache_hits);
	wm_json_ku(j, "cache_misses", s.cache_misses);
	wm_json_ku(j, "cache_entries", s.cache_entries);
	wm_json_ku(j, "cache_bytes", s.cache_bytes);
	wm_json_kb(j, "complete", wm_index_complete(x));
	wm_json_ku(j, "built", s.built);
	wm_json_close(j, '}');
}

static void put_hooks(struct wm_json *j, const struct wm_plane *p, unsigned *ret_attached)
{
	const struct wm_plane_hook *h = NULL;
	unsigned n = p ? wm_plane_hooks(p, &h) : 0;

	*ret_attached = 0;
	wm_json_kopen(j, "hooks", '[');
	for (unsigned i = 0; i < n; i++) {
		wm_json_open(j, '{');
		wm_json_ks(j, "name", h[i].name);
		wm_json_ks(j, "where", h[i].where);
		wm_json_ks(j, "how", h[i].how);
		wm_json_kb(j, "attached", !h[i].error);
		wm_json_ku(j, "prog_id", h[i].prog_id);
		wm_json_ku(j, "link_id", h[i].link_id);
		wm_json_ku(j, "verified_insns", h[i].verified_insns);
		wm_json_ks(j, "error", h[i].error ? h[i].text : "");
		wm_json_close(j, '}');
		*ret_attached += !h[i].error;
	}
	wm_json_close(j, ']');
}

/* Is it whole, and if not, why. */
static void put_plane_state(struct wm_json *j, const struct wm_api *a)
{
	enum wm_plane_state s = a->d.watch ? wm_plane_watch_state(a->d.watch) : WM_PLANE_OFF;
	const char *const *reasons = NULL;
	unsigned n = a->d.watch ? wm_plane_watch_reasons(a->d.watch, &reasons) : 0;

	wm_json_ks(j, "state", wm_plane_state_str(s));
	wm_json_kopen(j, "reasons", '[');
	for (unsigned i = 0; i < n; i++)
		wm_json_string(j, reasons[i]);
	wm_json_close(j, ']');
	wm_json_ks(j, "pin_dir", a->d.plane ? wm_plane_pin_dir(a->d.plane) : "");
	wm_json_kb(j, "virtual_addresses", a->d.tables && wm_tables_virtual(a->d.tables));
}

static void put_plane(struct wm_json *j, const struct wm_api *a)
{
	static const char *const names[] = {
#define X(sym, name, text) #name,
		WM_COUNTERS(X)
#undef X
	};
	uint64_t n[WM_COUNTER_COUNT];
	const char *why = a->d.plane_error;
	unsigned attached;

	wm_json_kopen(j, "plane", '{');
	put_plane_state(j, a);
	put_hooks(j, a->d.plane, &attached);
	wm_json_kb(j, "attached", attached > 0);
	if (!attached && (!why || !*why))
		why = a->d.plane ? "no program is attached" : "the data plane is switched off";
	wm_json_ks(j, "error", why);
	wm_json_key(j, "counters");
	if (a->d.plane && !wm_plane_counters(a->d.plane, n)) {
		wm_json_open(j, '{');
		put_counters(j, names, n, WM_COUNTER_COUNT);
		wm_json_close(j, '}');
	} else {
		wm_json_null(j);
	}
	wm_json_close(j, '}');
}

static void put_drains(struct wm_json *j, const struct wm_api *a)
{
	static const char *const names[] = {
#define X(sym, name, text) #name,
		WM_DRAIN_COUNTERS(X)
#undef X
	};

	wm_json_kopen(j, "drains", '{');
	if (a->d.drains) {
		wm_json_ku(j, "active", wm_drains_active(a->d.drains));
		put_counters(j, names, wm_drains_counters(a->d.drains), WM_ARRAY_LEN(names));
	}
	wm_json_close(j, '}');
}

static void put_aborts(struct wm_json *j, const struct wm_api *a)
{
	static const char *const names[] = {
#define X(sym, name, text) #name,
		WM_ABORT_COUNTERS(X)
#undef X
	};

	wm_json_kopen(j, "aborts", '{');
	if (a->d.aborts)
		put_counters(j, names, wm_aborts_counters(a->d.aborts), WM_ARRAY_LEN(names));
	wm_json_close(j, '}');
}

static void put_servers(struct wm_json *j, const struct wm_api *a)
{
#define X(sym, name, text) #name,
	static const char *const dns[] = {WM_DNS_COUNTERS(X)};
	static const char *const http[] = {WM_HTTP_COUNTERS(X)};
	static const char *const api[] = {WM_API_COUNTERS(X)};
#undef X

	wm_json_kopen(j, "dns", '{');
	if (a->d.dns)
		put_counters(j, dns, wm_dns_counters(a->d.dns), WM_ARRAY_LEN(dns));
	wm_json_close(j, '}');
	wm_json_kopen(j, "http", '{');
	if (a->server) {
		wm_json_ku(j, "connections", wm_http_connections(a->server));
		put_counters(j, http, wm_http_counters(a->server), WM_ARRAY_LEN(http));
	}
	wm_json_close(j, '}');
	wm_json_kopen(j, "api", '{');
	wm_json_ku(j, "watchers", a->watches);
	wm_json_ku(j, "watchers_max", a->d.watchers_max);
	wm_json_ku(j, "rendered_octets", wm_rendered_bytes(a));
	wm_json_ku(j, "rendered_octets_max", a->d.rendered_max);
	put_counters(j, api, a->counters, WM_ARRAY_LEN(api));
	wm_json_close(j, '}');
}

/* "127.0.0.1:8600", "[::1]:8600" */
static void put_addresses(struct wm_json *j, char *const *list, uint64_t port)
{
	char text[64];

	for (; port && *list; list++) {
		snprintf(text, sizeof(text), strchr(*list, ':') ? "[%s]:%u" : "%s:%u", *list,
			 (unsigned)port);
		wm_json_string(j, text);
	}
}

static void put_listening(struct wm_json *j, const struct wm_settings *s)
{
	char text[128];

	wm_json_kopen(j, "listening", '{');
	wm_json_kopen(j, "http", '[');
	if (s) {
		put_addresses(j, s->http_addresses, s->http_port);
		snprintf(text, sizeof(text), "unix:%s", s->http_socket);
		if (*s->http_socket)
			wm_json_string(j, text);
	}
	wm_json_close(j, ']');
	wm_json_kopen(j, "dns", '[');
	if (s) {
		put_addresses(j, s->dns_addresses, s->dns_port);
		put_addresses(j, s->dns_port53_addresses, 53);
	}
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

/* What DNS answers for: domains, then the reverse ranges. */
static void put_zones(struct wm_json *j, const struct wm_api *a)
{
	const char *const domains[] = {a->d.domain,
				       a->d.settings ? a->d.settings->node_alt_domain : "",
				       a->d.dns ? wm_dns_cluster_domain(a->d.dns) : ""};
	struct wm_guard_prefix ranges[WM_SETTINGS_LIST_MAX];
	unsigned count =
		a->d.settings ? wm_prefix_list(a->d.settings->dns_reverse_ranges, ranges) : 0;
	char zone[WM_PREFIX_ZONE_SIZE];

	wm_json_kopen(j, "zones", '[');
	for (unsigned i = 0; i < WM_ARRAY_LEN(domains); i++)
		if (*domains[i])
			wm_json_string(j, domains[i]);
	for (unsigned i = 0; wm_vip_zone(wm_registry_vip_space(a->d.registry), i, zone); i++)
		wm_json_string(j, zone);
	for (unsigned i = 0; i < count; i++)
		for (unsigned n = 0; wm_prefix_zone(&ranges[i], n, zone); n++)
			wm_json_string(j, zone);
	wm_json_close(j, ']');
}

/* Why the node is out of service; null: it is not. */
static void put_maintenance(struct wm_json *j, const struct wm_registry *r)
{
	const struct wm_instance *node = wm_registry_node_checks(r);
	const char *why = NULL;

	for (unsigned n = 0; n < node->checks_count; n++) {
		if (node->checks[n]->kind == WM_CHECK_MAINTENANCE)
			why = node->checks[n]->notes;
	}
	wm_json_key(j, "maintenance");
	if (why)
		wm_json_string(j, why);
	else
		wm_json_null(j);
}

static void put_definitions(struct wm_json *j, const struct wm_definitions_outcome *o)
{
	wm_json_kopen(j, "definitions", '{');
	wm_json_ku(j, "services", o ? o->services : 0);
	wm_json_ku(j, "checks", o ? o->checks : 0);
	wm_json_ku(j, "failed", o ? o->failed : 0);
	wm_json_ks(j, "first_failure", o ? o->first : "");
	wm_json_close(j, '}');
}

void wm_native_status(struct wm_call *c)
{
	const struct wm_api *a = c->api;
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "version", a->d.version);
	wm_json_ks(&j, "node", wm_registry_node(a->d.registry)->name);
	wm_json_ks(&j, "datacenter", wm_registry_datacenter(a->d.registry));
	wm_json_ks(&j, "domain", a->d.domain);
	wm_json_ks(&j, "alt_domain", a->d.settings ? a->d.settings->node_alt_domain : "");
	wm_json_ks(&j, "cluster_domain", a->d.dns ? wm_dns_cluster_domain(a->d.dns) : "");
	put_zones(&j, a);
	wm_json_ku(&j, "uptime_ms", wm_clock_ms() - a->start_ms);
	wm_json_ks(&j, "needs_restart", a->d.needs_restart ? a->d.needs_restart : "");
	put_listening(&j, a->d.settings);
	put_maintenance(&j, a->d.registry);
	put_definitions(&j, a->d.definitions);
	wm_json_ku(&j, "tables_index", a->d.resolution ? wm_resolution_index(a->d.resolution) : 0);
	put_registry(&j, a->d.registry);
	wm_snapshots_status(&j, a);
	put_health(&j, a->d.health);
	put_index(&j, a->d.index);
	put_tables(&j, a->d.tables);
	put_plane(&j, a);
	wm_encode_mesh_health(&j, a);
	put_drains(&j, a);
	put_aborts(&j, a);
	put_servers(&j, a);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

/* --- services and what the tables make of them --------------------------------------------------
 */

static const char *state_str(uint32_t state)
{
	switch (state & WM_STATE_MASK) {
	case WM_STATE_UP:
		return "up";
	case WM_STATE_DOWN:
		return "down";
	case WM_STATE_DRAIN:
		return "drain";
	default:
		return "none";
	}
}

/* A service and what the tables have of it. */
struct shown {
	const struct wm_service *service;
	const struct wm_tables *tables; /* NULL: none */
	struct wm_table table;
	bool in_tables;
	double *shares; /* NULL: they are not shown */
	bool detail;
};

static struct shown show(const struct wm_api *a, const struct wm_service *s)
{
	struct shown v = {.service = s, .tables = a->d.tables};
	int64_t set = v.tables ? wm_tables_set_of(v.tables, s->name) : -1;

	struct wm_view view;

	v.in_tables = set >= 0;
	if (!v.in_tables)
		return v;
	view = wm_tables_view(v.tables);
	if (wm_table_load(&view, (uint32_t)set, &v.table) != WM_PICKED)
		v.table.count = 0;
	return v;
}

/* The backend of its own port, not of an endpoint's. */
static bool find_backend(const struct wm_tables *t, const struct wm_instance *i, uint32_t *ret)
{
	uint32_t at[WM_BACKENDS_OF_MAX];
	unsigned n = wm_tables_backends_of(t, i->hash, at, WM_ARRAY_LEN(at));

	for (unsigned k = 0; k < n && k < WM_ARRAY_LEN(at); k++) {
		*ret = at[k];
		if (wm_tables_memory(t)->backends[at[k]].port_be == htons((uint16_t)i->port))
			return true;
	}
	return n;
}

/* Shares of new connections by the backends' indexes, as the service's policy has them. The caller
 * frees them. @return NULL: without memory. */
static double *shares_of(const struct wm_api *a, const struct wm_service *s)
{
	double *share = calloc(wm_tables_memory(a->d.tables)->backends_cap, sizeof(*share));
	struct wm_selection c;
	struct wm_outcome outcome;
	uint32_t at = 0;

	if (!share || wm_selection_make(a->d.registry, s->name, "", wm_only_passing(a), &c)) {
		free(share);
		return NULL;
	}
	wm_outcome_of(&c, &outcome);
	for (unsigned t = 0; t < c.count; t++) {
		struct wm_shares o = wm_shares_begin(&c, t, &outcome);

		for (unsigned n = 0; n < c.tiers[t].count; n++) {
			double of = wm_shares_next(&o, c.tiers[t].members[n]);

			if (find_backend(a->d.tables, c.tiers[t].members[n], &at))
				share[at] += of;
		}
	}
	wm_selection_done(&c);
	return share;
}

static void put_backend(struct wm_json *j, const struct shown *v, const struct wm_instance *i)
{
	const struct wm_table_memory *m = v->tables ? wm_tables_memory(v->tables) : NULL;
	/* a host name keeps its index and is in no slot */
	bool addressed = i->addr4.s_addr || !IN6_IS_ADDR_UNSPECIFIED(&i->addr6);
	uint32_t at = 0;
	bool is = m && v->in_tables && addressed && find_backend(v->tables, i, &at);

	wm_json_open(j, '{');
	wm_json_ks(j, "id", i->id);
	wm_json_ks(j, "node", i->node->name);
	wm_encode_address(j, "address", AF_INET, &i->addr4);
	wm_encode_address(j, "address6", AF_INET6, &i->addr6);
	wm_encode_host(j, i);
	wm_json_ku(j, "port", i->port);
	wm_json_ku(j, "weight", i->status == WM_WARNING ? i->weight_warning : i->weight_passing);
	wm_json_ks(j, "status", wm_status_str(i->status));
	wm_json_ks(j, "lifecycle", wm_lifecycle_str(wm_instance_state(i)));
	wm_json_ks(j, "state", is ? state_str(m->backends[at].state) : "none");
	wm_json_key(j, "backend");
	if (is)
		wm_json_u64(j, at);
	else
		wm_json_null(j);
	if (v->detail) {
		wm_json_key(j, "share");
		wm_json_double(j, is && v->shares ? v->shares[at] : 0);
		wm_json_ku(j, "picks", is ? m->live[at].picks : 0);
		wm_json_ku(j, "udp_picks", is ? m->live[at].udp_picks : 0);
	}
	wm_json_close(j, '}');
}

/* An element is as many rows as the service has instances, and one on either side, for it may be
 * longer than a turn. What they are made of: */
static uint64_t head_hash(const struct shown *v)
{
	const uint64_t of[] = {(uintptr_t)v->service, v->in_tables,
			       wm_hash(v->service->shown, strlen(v->service->shown))};

	return wm_hash(of, sizeof(of));
}

static uint64_t foot_hash(const struct shown *v)
{
	const uint64_t of[] = {(uintptr_t)v->service, v->service->index, v->table.word.generation};

	return wm_hash(of, sizeof(of));
}

static void put_head(struct wm_json *j, const struct wm_call *c, const struct shown *v)
{
	static const char *const kinds[] = {"service", "virtual"};
	const struct wm_service *s = v->service;
	char label[WM_DNS_TEXT_MAX], name[WM_DNS_TEXT_MAX + WM_DNS_NAME_MAX];
	bool fits = strlen(s->name) <= WM_DNS_LABEL_MAX;

	wm_json_open(j, '{');
	if (v->detail) {
		wm_dns_label_text(s->name, strlen(s->name), label, sizeof(label));
		wm_json_kopen(j, "names", '[');
		for (unsigned i = 0; i < WM_ARRAY_LEN(kinds) && fits; i++) {
			snprintf(name, sizeof(name), "%s.%s.%s", label, kinds[i], c->api->d.domain);
			wm_json_string(j, name);
		}
		wm_json_close(j, ']');
	}
	wm_json_ks(j, "name", s->shown);
	wm_encode_address(j, "vip4", AF_INET, &s->vip4);
	wm_encode_address(j, "vip6", AF_INET6, &s->vip6);
	wm_json_kb(j, "in_tables", v->in_tables);
	wm_json_kopen(j, "backends", '[');
}

/* @return false: answered, without memory. */
static bool put_service(struct wm_call *c, struct wm_json *j, const struct shown *v)
{
	_cleanup_free_ const struct wm_instance **all = NULL;
	const struct wm_service *s = v->service;
	struct wm_encode e = wm_encode_of(c->api);

	if (!wm_instances_near(c, s, NULL, &all))
		return false;
	if (wm_row_wanted_of(c, j, head_hash(v)))
		put_head(j, c, v);
	for (unsigned i = 0; i < s->instances_count && !wm_rows_stopped(c); i++) {
		struct wm_filter_row row = wm_filter_row_of(&e, all[i]);

		if (wm_row_wanted(c, j, &row))
			put_backend(j, v, all[i]);
	}
	if (!wm_row_wanted_of(c, j, foot_hash(v)))
		return true;
	wm_json_close(j, ']');
	wm_json_ku(j, "index", s->index);
	if (v->detail)
		wm_json_ku(j, "generation", v->table.word.generation);
	wm_json_close(j, '}');
	return true;
}

void wm_native_services(struct wm_call *c)
{
	_cleanup_free_ const struct wm_service **all = NULL;
	struct wm_json j;
	unsigned count;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_CHECKS, NULL, &index))
		return;
	all = wm_sorted_services(c->api, &count);
	if (!all && wm_registry_services(c->api->d.registry)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; all && i < count && !wm_rows_stopped(c); i++) {
		struct shown v = show(c->api, all[i]);

		if (!wm_rows_stand(c, &j, all[i]->instances_count + 2ul, head_hash(&v),
				   foot_hash(&v)) &&
		    !put_service(c, &j, &v))
			return;
	}
	wm_json_close(&j, ']');
	wm_answer_rows(c, &j, index, 200);
}

void wm_native_resolve(struct wm_call *c)
{
	const struct wm_service *s;
	struct shown v;
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_SERVICE, c->params[0], &index))
		return;
	s = wm_registry_service(c->api->d.registry, c->params[0]);
	if (!s) {
		wm_answer_text(c, 404, "unknown service: %s", c->params[0]);
		return;
	}
	v = show(c->api, s);
	v.detail = true;
	v.shares = v.in_tables ? shares_of(c->api, s) : NULL;
	wm_answer_begin(c, &j);
	if (v.in_tables && !v.shares)
		wm_answer_text(c, 503, "Out of memory");
	else if (put_service(c, &j, &v))
		wm_answer_rows(c, &j, index, 200);
	free(v.shares);
}

/* --- maps --------------------------------------------------------------------------------------
 */

static void put_map(struct wm_json *j, const struct wm_plane_map *map,
		    const struct wm_tables_stats *s)
{
	const struct {
		const char *name;
		uint32_t used;
	} used[] = {{"names", s->names},
		    {"frontends", s->frontends},
		    {"sets", s->sets},
		    {"slots", s->slots},
		    {"backends", s->backends}};

	wm_json_open(j, '{');
	wm_json_ks(j, "name", map->name);
	wm_json_ku(j, "id", map->id);
	wm_json_ku(j, "max_entries", map->max_entries);
	wm_json_ku(j, "bytes", map->bytes);
	wm_json_key(j, "used");
	for (unsigned i = 0; i < WM_ARRAY_LEN(used); i++) {
		if (strcmp(used[i].name, map->name) == 0) {
			wm_json_u64(j, used[i].used);
			wm_json_close(j, '}');
			return;
		}
	}
	wm_json_null(j);
	wm_json_close(j, '}');
}

void wm_native_maps(struct wm_call *c)
{
	const struct wm_api *a = c->api;
	struct wm_tables_stats s = {0};
	const struct wm_plane_map *maps = NULL;
	unsigned n = a->d.plane ? wm_plane_maps(a->d.plane, &maps) : 0, attached;
	uint64_t bytes = 0;
	struct wm_json j;

	if (a->d.tables)
		wm_tables_stats(a->d.tables, &s);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_kopen(&j, "maps", '[');
	for (unsigned i = 0; i < n; i++) {
		put_map(&j, &maps[i], &s);
		bytes += maps[i].bytes;
	}
	wm_json_close(&j, ']');
	wm_json_ku(&j, "bytes", bytes);
	put_hooks(&j, a->d.plane, &attached);
	wm_json_kb(&j, "attached", attached > 0);
	wm_json_ks(&j, "error", attached ? "" : a->d.plane_error);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

void wm_native_routes(struct wm_call *c)
{
	static const struct {
		enum wm_http_method method;
		const char *name;
	} names[] = {{WM_GET, "GET"}, {WM_PUT, "PUT"}, {WM_POST, "POST"}, {WM_DELETE, "DELETE"}};
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; i < wm_routes_count; i++) {
		wm_json_open(&j, '{');
		for (unsigned m = 0; m < WM_ARRAY_LEN(names); m++) {
			if (names[m].method == wm_routes[i].method)
				wm_json_ks(&j, "method", names[m].name);
		}
		wm_json_ks(&j, "path", wm_routes[i].pattern);
		wm_json_ks(&j, "text", wm_routes[i].text);
		wm_json_kb(&j, "operator", wm_routes[i].operator_only);
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}
