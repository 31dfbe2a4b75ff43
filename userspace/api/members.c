/* SPDX-License-Identifier: Apache-2.0 */
/* members.c - the mesh in the API: Consul's members, join, force-leave and coordinates, and
 * Waymark's own view of members, streams and replica. Without a mesh an agent is the only member.
 */
#include "internal.h"
#include "userspace/net/frames.h"
#include "userspace/sync/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SERVER_PORT   8300		    /* that Consul's servers have; clients only parse it */
#define SERVER_MAX    (WM_ADDRESS_MAX + 16) /* octets of an address with its port and NUL */
#define HEX_OF_DIGEST 33		    /* octets of a digest in text with its NUL */

/* Serf's numbers: 0 none, 1 alive, 2 leaving, 3 left, 4 failed. */
static unsigned serf_status(enum wm_member_state s)
{
	return s == WM_MEMBER_LEFT ? 3 : s == WM_MEMBER_FAILED ? 4 : 1;
}

struct shown {
	const char *name, *id, *version, *address;
	unsigned port, status;
	bool leaf;
};

static void put_member(struct wm_json *j, const char *datacenter, const struct shown *m)
{
	char port[16];

	wm_json_ks(j, "Name", m->name);
	wm_json_ks(j, "Addr", m->address);
	wm_json_ku(j, "Port", m->port);
	wm_json_kopen(j, "Tags", '{');
	wm_json_ks(j, "acls", "0");
	wm_json_ks(j, "build", m->version);
	wm_json_ks(j, "dc", datacenter);
	wm_json_ks(j, "id", m->id);
	if (!m->leaf) {
		snprintf(port, sizeof(port), "%u", m->port ? m->port : SERVER_PORT);
		wm_json_ks(j, "port", port);
	}
	wm_json_ks(j, "role", m->leaf ? "node" : "consul"); /* its clients and servers */
	wm_json_ks(j, "segment", "");
	wm_json_ks(j, "vsn", "2");
	wm_json_ks(j, "vsn_max", "3");
	wm_json_ks(j, "vsn_min", "2");
	wm_json_close(j, '}');
	wm_json_ku(j, "Status", m->status);
	wm_json_ku(j, "ProtocolMin", 1);
	wm_json_ku(j, "ProtocolMax", 5);
	wm_json_ku(j, "ProtocolCur", 2);
	wm_json_ku(j, "DelegateMin", 2);
	wm_json_ku(j, "DelegateMax", 5);
	wm_json_ku(j, "DelegateCur", 4);
}

static bool is_full(const struct wm_sync_node *n)
{
	return !n->member || n->member->role == WM_MEMBER_FULL;
}

static void put_of_mesh(struct wm_json *j, const char *datacenter, const struct wm_sync_node *n)
{
	char id[WM_PEER_ID_TEXT];

	wm_peer_id_format(&n->id, id);
	put_member(j, datacenter,
		   &(struct shown){n->name, id, n->version, n->address, n->port,
				   serf_status(n->state), !is_full(n)});
}

static bool find_self(struct wm_sync *s, struct wm_sync_node *ret)
{
	size_t pos = 0;

	while (s && wm_sync_next_node(s, &pos, ret))
		if (ret->self)
			return true;
	return false;
}

void wm_encode_self_member(struct wm_json *j, const struct wm_call *c)
{
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_sync_node self;

	if (find_self(c->api->d.sync, &self))
		put_of_mesh(j, e.datacenter, &self);
	else
		put_member(j, e.datacenter,
			   &(struct shown){e.node->name, e.node->id, c->api->d.version,
					   e.node->address, WM_SYNC_PORT, 1, false});
}

void wm_agent_members(struct wm_call *c)
{
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_sync *s = c->api->d.sync;
	struct wm_sync_node n;
	struct wm_json j;
	size_t pos = 0;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	if (!s) {
		wm_json_open(&j, '{');
		wm_encode_self_member(&j, c);
		wm_json_close(&j, '}');
	}
	while (s && wm_sync_next_node(s, &pos, &n)) {
		wm_json_open(&j, '{');
		put_of_mesh(&j, e.datacenter, &n);
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}

/* --- status ----------------------------------------------------------------------------------- */
static void format_server(const char *address, unsigned port, char ret[SERVER_MAX])
{
	snprintf(ret, SERVER_MAX, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address,
		 port ? port : SERVER_PORT);
}

/* There is no leader; who wants one, to have something done once, is told the same by all agents
 * that see the same members: of the full ones that are alive the one of the lowest id. */
void wm_status_leader(struct wm_call *c)
{
	const struct wm_node *own = wm_registry_node(c->api->d.registry);
	struct wm_sync *s = c->api->d.sync;
	char address[SERVER_MAX];
	struct wm_sync_node n;
	struct wm_peer_id least;
	bool found = false;
	struct wm_json j;
	size_t pos = 0;

	format_server(own->address, 0, address);
	while (s && wm_sync_next_node(s, &pos, &n)) {
		if (!is_full(&n) || n.state > WM_MEMBER_SUSPECT ||
		    (found && memcmp(&n.id, &least, sizeof(least)) > 0))
			continue;
		found = true;
		least = n.id;
		format_server(n.address, n.port, address);
	}
	wm_answer_begin(c, &j);
	wm_json_string(&j, address);
	wm_answer_end(c, &j, 0);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The full members that did not leave, failed ones too, as Consul's servers are. */
void wm_status_peers(struct wm_call *c)
{
	const struct wm_node *own = wm_registry_node(c->api->d.registry);
	struct wm_sync *s = c->api->d.sync;
	char(*all)[SERVER_MAX];
	struct wm_sync_node n;
	struct wm_json j;
	size_t pos = 0, count = 0;

	while (s && wm_sync_next_node(s, &pos, &n))
		count++;
	all = calloc(count + 1, sizeof(*all));
	if (!all) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	if (!s)
		format_server(own->address, 0, all[0]);
	count = !s;
	pos = 0;
	while (s && wm_sync_next_node(s, &pos, &n))
		if (is_full(&n) && n.state != WM_MEMBER_LEFT)
			format_server(n.address, n.port, all[count++]);
	qsort(all, count, sizeof(*all), by_text);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (size_t i = 0; i < count; i++)
		wm_json_string(&j, all[i]);
	wm_json_close(&j, ']');
	free(all);
	wm_answer_end(c, &j, 0);
}

/* --- join, force-leave ------------------------------------------------------------------------ */
static void on_joined(void *write, unsigned joined, const char *why)
{
	char text[WM_ERR_TEXT_MAX];

	snprintf(text, sizeof(text), "Failed to join: %s", why);
	wm_write_done(write, joined ? 0 : WM_E_INTERNAL, text);
}

void wm_agent_join(struct wm_call *c)
{
	const struct wm_node *n = wm_registry_node(c->api->d.registry);
	const char *to = c->params[0];
	struct wm_err e = {0};
	struct wm_write *w;

	if (strcmp(to, n->address) == 0 || strcasecmp(to, n->name) == 0) {
		wm_answer_empty(c); /* it is a member already */
		return;
	}
	if (!c->api->d.sync) {
		wm_answer_text(c, 500,
			       "Failed to join %s: sync.mode is off, so this agent is a mesh of "
			       "its own",
			       to);
		return;
	}
	w = wm_write_keep(c);
	if (!w || !wm_sync_join(c->api->d.sync, to, on_joined, w, &e))
		return;
	wm_write_drop(w);
	wm_answer_err(c, &e);
}

void wm_agent_force_leave(struct wm_call *c)
{
	const struct wm_node *n = wm_registry_node(c->api->d.registry);
	bool prune = wm_http_query(c->req, "prune") != NULL;
	struct wm_err e = {0};
	int r = WM_E_UNKNOWN;

	if (strcasecmp(c->params[0], n->name) == 0) {
		wm_answer_empty(c); /* it is alive: nothing to remove */
		return;
	}
	if (c->api->d.sync && !wm_sync_members(c->api->d.sync)) {
		wm_answer_text(c, 501,
			       "sync.mode is etcd: a node that is dead is removed after 72 hours");
		return;
	}
	if (c->api->d.sync)
		r = wm_members_remove(wm_sync_members(c->api->d.sync), c->params[0], prune, &e);
	if (!r)
		wm_answer_empty(c);
	else if (r == WM_E_UNKNOWN)
		wm_answer_text(c, 500, "agent: No node found with name '%s'", c->params[0]);
	else
		wm_answer_err(c, &e);
}

/* --- coordinates ------------------------------------------------------------------------------ */
static void put_coordinate(struct wm_json *j, const struct wm_member *m, const char *suffix)
{
	char name[2 * WM_NODE_NAME_MAX + 2];

	snprintf(name, sizeof(name), "%s%s%s", m->name, *suffix ? "." : "", suffix);
	wm_json_open(j, '{');
	wm_json_ks(j, "Node", name);
	wm_json_ks(j, "Segment", "");
	wm_json_kopen(j, "Coord", '{');
	wm_json_kopen(j, "Vec", '[');
	for (unsigned n = 0; n < WM_COORDINATE_DIMS; n++)
		wm_json_double(j, m->coordinate.vec[n]);
	wm_json_close(j, ']');
	wm_json_key(j, "Error");
	wm_json_double(j, m->coordinate.error);
	wm_json_key(j, "Adjustment");
	wm_json_double(j, m->coordinate.adjustment);
	wm_json_key(j, "Height");
	wm_json_double(j, m->coordinate.height);
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

static void put_coordinates(struct wm_json *j, const struct wm_call *c, bool full,
			    const char *suffix)
{
	struct wm_members *ms = c->api->d.sync ? wm_sync_members(c->api->d.sync) : NULL;
	const struct wm_member *m;
	size_t pos = 0;

	wm_json_open(j, '[');
	while (ms && (m = wm_members_next(ms, &pos)))
		if (m->has_coordinate && m->state <= WM_MEMBER_SUSPECT &&
		    (!full || m->role == WM_MEMBER_FULL))
			put_coordinate(j, m, suffix);
	wm_json_close(j, ']');
}

/* Coordinates change all the time: who waits is answered when nodes come or go, or after the wait.
 */
void wm_coordinate_nodes(struct wm_call *c)
{
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_NODES, NULL, &index))
		return;
	wm_answer_begin(c, &j);
	put_coordinates(&j, c, false, "");
	wm_answer_end(c, &j, index);
}

void wm_coordinate_node(struct wm_call *c)
{
	struct wm_members *ms = c->api->d.sync ? wm_sync_members(c->api->d.sync) : NULL;
	const struct wm_member *m;
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_NODES, NULL, &index))
		return;
	m = ms ? wm_members_by_name(ms, c->params[0]) : NULL;
	if (!m || !m->has_coordinate) {
		wm_answer_not_found(c, index);
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	put_coordinate(&j, m, "");
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}

/* Servers as Consul's wide area knows them; a mesh is one datacenter. */
void wm_coordinate_datacenters(struct wm_call *c)
{
	const char *datacenter = wm_registry_datacenter(c->api->d.registry);
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	wm_json_open(&j, '{');
	wm_json_ks(&j, "Datacenter", datacenter);
	wm_json_ks(&j, "AreaID", "wan");
	wm_json_key(&j, "Coordinates");
	put_coordinates(&j, c, true, datacenter);
	wm_json_close(&j, '}');
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}

/* --- Waymark's own ---------------------------------------------------------------------------- */
static void put_digest(struct wm_json *j, const char *key, const uint8_t d[static 16])
{
	char text[HEX_OF_DIGEST];

	for (unsigned n = 0; n < 16; n++)
		snprintf(text + 2 * n, 3, "%02x", d[n]);
	wm_json_ks(j, key, text);
}

static void put_figures(struct wm_json *j, const struct wm_member *m, uint64_t now)
{
	wm_json_ks(j, "role", wm_member_role_str(m->role));
	wm_json_ku(j, "since_ms", now - m->since_ms);
	wm_json_ku(j, "rtt_us", m->rtt_us);
	wm_json_ku(j, "incarnation", m->incarnation);
}

void wm_native_members(struct wm_call *c)
{
	struct wm_sync *s = c->api->d.sync;
	uint64_t now = wm_env_ms(wm_loop_env(c->api->d.loop));
	struct wm_sync_node n;
	struct wm_json j;
	size_t pos = 0;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	while (s && wm_sync_next_node(s, &pos, &n)) {
		char id[WM_PEER_ID_TEXT];

		wm_peer_id_format(&n.id, id);
		wm_json_open(&j, '{');
		wm_json_ks(&j, "name", n.name);
		wm_json_ks(&j, "id", id);
		wm_json_ks(&j, "address", n.address);
		wm_json_ku(&j, "port", n.port);
		wm_json_ks(&j, "state", wm_member_state_str(n.state));
		wm_json_ks(&j, "version", n.version);
		wm_json_kb(&j, "self", n.self);
		if (n.member)
			put_figures(&j, n.member, now);
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}

static void put_ago(struct wm_json *j, const char *key, int64_t ms)
{
	wm_json_key(j, key);
	if (ms < 0)
		wm_json_null(j);
	else
		wm_json_u64(j, (uint64_t)ms);
}

/* How the replica gets on with it. */
static void put_exchange(struct wm_json *j, struct wm_sync *s, const struct wm_peer_id *id)
{
	const struct wm_conflict *k;
	struct wm_replica_peer r;
	unsigned conflicts = 0;
	size_t pos = 0;

	while ((k = wm_conflicts_next(wm_sync_conflicts(s), &pos)))
		conflicts += wm_peer_id_same(&k->stands.writer, id) ||
			     wm_peer_id_same(&k->lost.writer, id);
	wm_replica_peer(wm_sync_replica(s), id, &r);
	wm_json_ku(j, "behind", r.behind);
	wm_json_ku(j, "pulling", r.pulling);
	put_ago(j, "same_ms", r.agreed_ms);
	wm_json_ku(j, "packed_pct", r.plain ? r.packed * 100 / r.plain : 100);
	wm_json_ku(j, "conflicts", conflicts);
	wm_json_ku(j, "repairs", r.repairs);
	put_ago(j, "repair_ms", r.repaired_ms);
}

/* Of a leaf what this agent serves it; of a leaf's home what the leaf has of it. */
static void put_interests(struct wm_json *j, struct wm_sync *s, const struct wm_peer_id *id)
{
	const struct wm_interest *leaf = wm_sync_interest(s);
	struct wm_serve_leaf served = {0};
	struct wm_interest_stats is = {0};

	if (leaf)
		wm_interest_stats(leaf, &is);
	else if (wm_sync_served(s))
		(void)wm_serve_leaf(wm_sync_served(s), id, &served);
	if (leaf && wm_peer_id_same(id, &is.home))
		served = (struct wm_serve_leaf){.services = is.services, .globs = is.globs};
	wm_json_kb(j, "home", leaf && wm_peer_id_same(id, &is.home));
	wm_json_ku(j, "interests", served.services + served.globs);
	wm_json_ku(j, "objects_sent", served.objects);
}

static void put_streams(struct wm_json *j, struct wm_sync *s, uint64_t now)
{
	struct wm_sync_peer p;
	size_t pos = 0;

	wm_json_kopen(j, "streams", '[');
	while (wm_sync_next_peer(s, &pos, &p)) {
		if (!p.member)
			continue;
		wm_json_open(j, '{');
		wm_json_ks(j, "name", p.member->name);
		wm_json_kb(j, "up", p.up);
		wm_json_ku(j, "since_ms", now - p.since_ms);
		wm_json_ku(j, "rtt_us", p.member->rtt_us);
		wm_json_ku(j, "octets_in", p.octets_in);
		wm_json_ku(j, "octets_out", p.octets_out);
		wm_json_ku(j, "frames_in", p.frames_in);
		wm_json_ku(j, "frames_out", p.frames_out);
		put_exchange(j, s, &p.member->id);
		put_interests(j, s, &p.member->id);
		wm_json_ks(j, "last_error", p.why);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

static void put_origins(struct wm_json *j, struct wm_sync *s)
{
	struct wm_replica_origin o;
	size_t pos = 0;

	wm_json_kopen(j, "origins", '[');
	while (wm_replica_next(wm_sync_replica(s), &pos, &o)) {
		const struct wm_member *m = wm_members_by_id(wm_sync_members(s), &o.id);
		char id[WM_PEER_ID_TEXT];

		wm_peer_id_format(&o.id, id);
		wm_json_open(j, '{');
		wm_json_ks(j, "name", m ? m->name : "");
		wm_json_ks(j, "id", id);
		wm_json_ku(j, "epoch", o.epoch);
		wm_json_ku(j, "seq", o.seq);
		wm_json_ku(j, "objects", o.objects);
		wm_json_ku(j, "tombstones", o.tombstones);
		put_digest(j, "digest", o.digest);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

static void put_counters(struct wm_json *j, struct wm_sync *s)
{
	struct wm_member_stats m;
	struct wm_spread_stats p;
	struct wm_replica_stats r;
	const struct wm_frames_stats *f = wm_sync_frames(s);
	struct wm_sync_stats y;

	wm_members_stats(wm_sync_members(s), &m);
	wm_spread_stats(wm_sync_spread(s), &p);
	wm_replica_stats(wm_sync_replica(s), &r);
	wm_sync_stats(s, &y);
	wm_json_kopen(j, "counters", '{');
#define X(name, help) wm_json_ku(j, "member_" #name, m.name);
	WM_MEMBER_COUNTERS(X)
#undef X
#define X(name, help) wm_json_ku(j, "spread_" #name, p.name);
	WM_SPREAD_COUNTERS(X)
#undef X
#define X(name, help) wm_json_ku(j, "replica_" #name, r.name);
	WM_REPLICA_COUNTERS(X)
#undef X
#define X(name, help) wm_json_ku(j, "sync_" #name, y.name);
	WM_SYNC_COUNTERS(X)
#undef X
#define X(name, help) wm_json_ku(j, "frames_" #name, f->name);
	WM_FRAMES_COUNTERS(X)
#undef X
	wm_json_close(j, '}');
	wm_json_kopen(j, "tree", '{');
	wm_json_ku(j, "eager", p.eager);
	wm_json_ku(j, "lazy", p.lazy);
	wm_json_close(j, '}');
	wm_json_ku(j, "awareness", m.awareness);
	wm_json_ku(j, "waiting", y.waiting);
}

/* Of a leaf what it is interested in, of a full member how many it serves. */
static void put_leaf(struct wm_json *j, struct wm_sync *s)
{
	const struct wm_interest *i = wm_sync_interest(s);
	const struct wm_serve *v = wm_sync_served(s);
	struct wm_interest_stats is;
	struct wm_serve_stats vs;
	const struct wm_member *home;

	wm_json_ks(j, "role", i ? "leaf" : "full");
	if (i) {
		wm_interest_stats(i, &is);
		home = wm_members_by_id(wm_sync_members(s), &is.home);
		wm_json_kopen(j, "leaf", '{');
		wm_json_ks(j, "home", home ? home->name : "");
		wm_json_ku(j, "services", is.services);
		wm_json_ku(j, "globs", is.globs);
		wm_json_ku(j, "waiting", is.waiting);
#define X(name, help) wm_json_ku(j, #name, is.name);
		WM_INTEREST_COUNTERS(X)
#undef X
		wm_json_close(j, '}');
	} else if (v) {
		wm_serve_stats(v, &vs);
		wm_json_kopen(j, "served", '{');
		wm_json_ku(j, "leaves", vs.leaves);
		wm_json_ku(j, "subscriptions", vs.subscriptions);
#define X(name, help) wm_json_ku(j, #name, vs.name);
		WM_SERVE_COUNTERS(X)
#undef X
		wm_json_close(j, '}');
	}
}

static void put_peers(struct wm_json *j, const struct wm_api *a)
{
	uint64_t now = wm_env_ms(wm_loop_env(a->d.loop));
	struct wm_sync *s = a->d.sync;
	uint8_t digest[16];

	wm_json_ku(j, "members", wm_members_count(wm_sync_members(s)));
	wm_json_ku(j, "alive", wm_members_alive(wm_sync_members(s)));
	wm_replica_digest(wm_sync_replica(s), digest);
	put_digest(j, "digest", digest);
	wm_json_ku(j, "objects", wm_replica_objects(wm_sync_replica(s)));
	wm_encode_brakes(j, a);
	put_origins(j, s);
	put_streams(j, s, now);
	put_leaf(j, s);
	put_counters(j, s);
}

static void put_etcd(struct wm_json *j, const struct wm_etcd *k)
{
	struct wm_etcd_stats n;
	struct wm_etcd_state t;

	wm_etcd_state(k, &t);
	wm_etcd_stats(k, &n);
	wm_json_ku(j, "members", t.nodes);
	wm_json_ku(j, "alive", t.alive);
	wm_json_ku(j, "objects", t.objects);
	wm_json_kopen(j, "etcd", '{');
	wm_json_ks(j, "phase", wm_etcd_phase_str(t.phase));
	wm_json_ks(j, "endpoint", t.endpoint);
	wm_json_ks(j, "last_error", t.error);
	wm_json_ku(j, "revision", (uint64_t)t.revision);
	wm_json_ku(j, "lease_left_ms", t.lease_left_ms);
	wm_json_ku(j, "pending", t.pending);
	wm_json_ku(j, "pending_octets", t.pending_octets);
	wm_json_ku(j, "held", t.held);
	wm_json_close(j, '}');
	wm_json_kopen(j, "counters", '{');
#define X(name, help) wm_json_ku(j, "etcd_" #name, n.name);
	WM_ETCD_COUNTERS(X)
#undef X
	wm_json_close(j, '}');
}

void wm_native_sync(struct wm_call *c)
{
	struct wm_sync *s = c->api->d.sync;
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "mode", !s ? "off" : wm_sync_etcd(s) ? "etcd" : "peers");
	if (!s) {
		wm_json_ku(&j, "members", 1);
		wm_json_ku(&j, "alive", 1);
	} else if (wm_sync_etcd(s)) {
		put_etcd(&j, wm_sync_etcd(s));
	} else {
		put_peers(&j, c->api);
	}
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}
