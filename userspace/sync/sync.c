/* SPDX-License-Identifier: Apache-2.0 */
/* sync.c - the cores of the mesh wired to each other and to what carries them. */
#include "internal.h"
#include "keyring.h"
#include "userspace/base/log.h"
#include "userspace/net/datagram.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/security/seal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATE_MS 21600000 /* how often */
#define PAUSE_OCTETS   (1 + 16 + 8)

/* --- membership ------------------------------------------------------------------------------- */
static void send_datagram(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	struct wm_sync *s = arg;
	uint8_t sealed[WM_MEMBER_PACKET_MAX + WM_SEAL_OVERHEAD];

	if (s->keyring) {
		len = wm_seal(s->keyring, p, len, sealed, sizeof(sealed));
		p = sealed;
	}
	if (len)
		wm_datagram_send(s->socket, to, p, len);
}

/* @return octets; negative: it was counted, and told if it is an agent of another version. */
static ssize_t open_datagram(struct wm_sync *s, const struct wm_peer_addr *from, const void *p,
			     size_t len, void *plain, size_t cap)
{
	ssize_t opened = wm_unseal(s->keyring, p, len, plain, cap);
	char at[WM_PEER_ADDR_TEXT];

	if (opened >= 0)
		return opened;
	if (opened != -EPROTO) {
		s->stats.unsealed++;
		return opened;
	}
	s->stats.other_form++;
	wm_peer_addr_format(from, at, sizeof(at));
	wm_warn("sync.datagram_refused",
		"address=%s text=\"it is not sealed as this version seals: an agent of another "
		"version, or one with sync.insecure\"",
		at);
	return opened;
}

static void on_datagram(void *arg, const struct wm_peer_addr *from, const void *p, size_t len)
{
	struct wm_sync *s = arg;
	uint8_t plain[WM_MEMBER_PACKET_MAX];

	if (s->keyring) {
		ssize_t opened = open_datagram(s, from, p, len, plain, sizeof(plain));

		if (opened < 0)
			return;
		p = plain;
		len = (size_t)opened;
	}
	wm_members_datagram(s->members, from, p, len);
}

static void on_refused(void *arg, const struct wm_peer_addr *to)
{
	struct wm_sync *s = arg;

	wm_members_refused(s->members, to);
}

static void probe_stream(void *arg, const struct wm_member *m, uint32_t number)
{
	struct wm_sync *s = arg;

	wm_link_probe(s->links, m, number);
}

static void log_member(const char *what, const struct wm_member *m)
{
	char at[INET6_ADDRSTRLEN + 8];

	wm_peer_addr_format(&m->at, at, sizeof(at));
	wm_info(what, "node=%s address=%s version=%s", m->name, at, m->version);
}

/* The tree is of full members. */
static int set_role(struct wm_sync *s, const struct wm_member *m)
{
	bool leaf = m->role == WM_MEMBER_LEAF;

	wm_replica_leaf(s->replica, &m->id, leaf);
	return wm_spread_member(s->spread, &m->id,
				!leaf && !wm_sync_is_leaf(s) && m->state <= WM_MEMBER_SUSPECT);
}

static void came(struct wm_sync *s, struct wm_member *m, const char *what)
{
	log_member(what, m);
	if (set_role(s, m))
		wm_warn("sync.memory", "node=%s text=\"out of memory: its news is pulled\"",
			m->name);
	wm_replica_member(s->replica, &m->id, true);
	wm_objects_alive(s->objects, &m->id, m->name, true);
}

static void gone(struct wm_sync *s, struct wm_member *m, const char *what, bool for_good)
{
	log_member(what, m);
	(void)wm_spread_member(s->spread, &m->id, false);
	wm_link_drop(s->links, &m->id);
	wm_forwards_gone(s->forwards, &m->id);
	wm_leaf_down(s->leaf, &m->id);
	wm_objects_alive(s->objects, &m->id, m->name, false);
	if (!for_good)
		return;
	wm_replica_member(s->replica, &m->id, false);
	wm_objects_forget(s->objects, &m->id);
}

static void on_member(void *arg, struct wm_member *m, enum wm_member_event e)
{
	struct wm_sync *s = arg;

	if (m->self)
		return;
	switch (e) {
	case WM_MEMBER_JOINED:
		came(s, m, "member.joined");
		break;
	case WM_MEMBER_RETURNED:
		came(s, m, "member.returned");
		break;
	case WM_MEMBER_RESTARTED:
		wm_objects_alive(s->objects, &m->id, m->name, true);
		break;
	case WM_MEMBER_DIED:
		gone(s, m, "member.failed", false);
		break;
	case WM_MEMBER_WENT:
		gone(s, m, "member.left", true);
		break;
	case WM_MEMBER_REAPED:
		gone(s, m, "member.reaped", true);
		break;
	case WM_MEMBER_UPDATED:
		(void)set_role(s, m);
		break;
	case WM_MEMBER_SUSPECTED:
	case WM_MEMBER_REFUTED:
		break;
	}
	wm_leaf_up(s->leaf, m);
	wm_seeds_changed(s->seeds);
}

static void on_clash(void *arg, const struct wm_member *other)
{
	char at[INET6_ADDRSTRLEN + 8];

	(void)arg;
	wm_peer_addr_format(&other->at, at, sizeof(at));
	wm_error("member.clash",
		 "node=%s address=%s text=\"another agent has this name or id; names and ids are "
		 "one agent's each, give this one another node.name or data directory\"",
		 other->name, at);
}

static size_t on_ride(void *arg, void *p, size_t room)
{
	struct wm_sync *s = arg;

	return wm_replica_summary(s->replica, p, room);
}

static void on_rode(void *arg, struct wm_member *from, const void *p, size_t len)
{
	struct wm_sync *s = arg;

	(void)wm_replica_compare(s->replica, &from->id, p, len);
}

static struct wm_members *members_of(struct wm_sync *s)
{
	const struct wm_sync_config *c = &s->c;
	const struct wm_members_config m = {
		.env = s->env,
		.timers = c->timers,
		.id = s->id,
		.name = c->node_name,
		.version = c->version,
		.at = c->advertise,
		.role = c->role,
		/* above what a former life used: seconds grow faster than it refutes */
		.incarnation = (uint32_t)wm_env_wall_s(s->env),
		.arg = s,
		.send = send_datagram,
		.probe_stream = probe_stream,
		.event = on_member,
		.clash = on_clash,
		.ride = on_ride,
		.rode = on_rode,
	};

	return wm_members_new(&m);
}

/* --- news ------------------------------------------------------------------------------------- */
static void want_stream(void *arg, const struct wm_peer_id *id, bool on)
{
	struct wm_sync *s = arg;

	wm_link_want(s->links, id, on);
}

static void send_spread(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct wm_sync *s = arg;

	wm_link_send(s->links, to, WM_CHANNEL_SPREAD, p, len);
}

static uint64_t get_be64(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned n = 0; n < 8; n++)
		v = v << 8 | p[n];
	return v;
}

void wm_sync_paused(struct wm_sync *s, const uint8_t *p, size_t len, bool tell)
{
	struct wm_peer_id id;
	uint64_t ms;

	if (len != PAUSE_OCTETS - 1)
		return;
	memcpy(id.octets, p, sizeof(id.octets));
	ms = get_be64(p + sizeof(id.octets));
	if (ms > s->c.restart_grace_ms)
		ms = s->c.restart_grace_ms;
	/* of members only: others could name any number */
	if (wm_peer_id_same(&id, &s->id) || !wm_members_by_id(s->members, &id))
		return;
	wm_objects_pause(s->objects, &id, ms);
	if (tell)
		(void)wm_sync_news(s, WM_NEWS_PAUSE, p, len);
}

/* What is not proved here is not passed on: the next one would take us for who forged it. */
static bool on_news(void *arg, const struct wm_peer_id *from, const void *payload, size_t len)
{
	const uint8_t *p = payload;
	struct wm_sync *s = arg;
	struct wm_err e = {0};
	int r;

	if (!len)
		return false;
	if (*p == WM_NEWS_PAUSE)
		wm_sync_paused(s, p + 1, len - 1, false);
	if (*p != WM_NEWS_CHANGES)
		return true;
	r = wm_replica_spread(s->replica, from, p + 1, len - 1, &e);
	if (r < 0)
		wm_warn("sync.refused", "text=%s", wm_log_q(e.text));
	return !r;
}

static uint32_t distance_us(void *arg, const struct wm_peer_id *id)
{
	struct wm_sync *s = arg;
	const struct wm_member *self = wm_members_self(s->members);
	const struct wm_member *m = wm_members_by_id(s->members, id);

	if (!m)
		return 0;
	if (m->rtt_us)
		return m->rtt_us;
	return self->has_coordinate && m->has_coordinate
		       ? (uint32_t)(wm_coordinate_distance(&self->coordinate, &m->coordinate) * 1e6)
		       : 0;
}

static struct wm_spread *spread_of(struct wm_sync *s)
{
	const struct wm_spread_config c = {.env = s->env,
					   .id = s->id,
					   .arg = s,
					   .want = want_stream,
					   .send = send_spread,
					   .admit = on_news,
					   .distance_us = distance_us};

	return wm_spread_new(&c);
}

int wm_sync_news(struct wm_sync *s, enum wm_news kind, const void *p, size_t len)
{
	struct wm_buf b;
	const char first = (char)kind;
	int r;

	if (wm_sync_is_leaf(s))
		return wm_leaf_spread(s->leaf, kind, p, len);
	wm_buf_init(&b, WM_SPREAD_PAYLOAD_MAX);
	wm_buf_put(&b, &first, 1);
	wm_buf_put(&b, p, len);
	r = b.failed ? -EMSGSIZE : wm_spread_send(s->spread, b.data, b.len);
	wm_buf_done(&b);
	return r;
}

/* --- push-pull -------------------------------------------------------------------------------- */
static void on_push_pull(void *arg)
{
	struct wm_sync *s = arg;
	const struct wm_member *m = wm_members_any(s->members);
	struct wm_buf b;

	wm_buf_init(&b, WM_SYNC_STATE_MAX);
	if (m && !wm_members_state(s->members, &b))
		wm_link_send(s->links, &m->id, WM_CHANNEL_STATE, b.data, b.len);
	wm_buf_done(&b);
	wm_seeds_changed(s->seeds); /* when others were last heard is kept, too */
	wm_env_timer_arm(s->push_pull, wm_members_push_pull_ms(s->members, s->c.push_pull_ms));
}

/* --- the certificate's end -------------------------------------------------------------------- */
static void on_certificate(void *arg)
{
	struct wm_sync *s = arg;
	int64_t days = wm_links_days(s->links);

	if (days < 0)
		wm_error("sync.certificate",
			 "days=0 text=\"the certificate is expired: other agents "
			 "refuse new streams; issue another\"");
	else if (days < WM_SYNC_CERTIFICATE_DAYS)
		wm_warn("sync.certificate",
			"days=%lld text=\"the certificate ends soon; issue another\"",
			(long long)days);
	wm_env_timer_arm(s->certificate, CERTIFICATE_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
static int open_socket(struct wm_sync *s, struct wm_err *e)
{
	char at[INET6_ADDRSTRLEN + 8];
	int r = wm_keyrings_new(s, &s->keyrings, e);

	if (r)
		return r;
	wm_peer_addr_format(&s->c.bind, at, sizeof(at));
	r = wm_datagram_new(s->c.loop, &s->c.bind, on_datagram, on_refused, s, &s->socket);
	return r ? wm_err_set(e, r, "sync.bind %s (UDP): %s", at, wm_err_str(r)) : 0;
}

static int make(struct wm_sync *s, struct wm_err *e)
{
	const struct wm_node *node = wm_registry_node(s->c.registry);
	int r;

	if (wm_peer_id_parse(node->id, &s->id))
		return wm_err_set(e, WM_E_INVALID, "the node's id is no UUID: \"%.40s\"", node->id);
	s->conflicts = wm_conflicts_new();
	s->waits = wm_waits_new(s);
	if (!s->conflicts || !s->waits)
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	if (s->c.by_etcd)
		return wm_objects_new(s, &s->objects, e);
	r = open_socket(s, e);
	if (!r)
		r = wm_links_new(s, &s->links, e);
	if (!r)
		r = wm_proofs_new(s, &s->proofs, e);
	if (!r)
		r = wm_seeds_new(s, &s->seeds, e);
	if (r)
		return r;
	s->members = members_of(s);
	s->spread = spread_of(s);
	s->forwards = wm_forwards_new(s);
	s->push_pull = wm_env_timer_new(s->env, on_push_pull, s);
	s->certificate = wm_env_timer_new(s->env, on_certificate, s);
	if (!s->certificate || !s->members || !s->spread || !s->forwards || !s->push_pull)
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	r = wm_objects_new(s, &s->objects, e);
	if (!r)
		r = wm_proofs_kept_new(s, e);
	if (!r)
		r = wm_leaf_new(s, e);
	return r ? r : wm_operate_new(s, e);
}

int wm_sync_new(const struct wm_sync_config *c, struct wm_sync **ret, struct wm_err *e)
{
	struct wm_sync *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	s->c = *c;
	s->env = c->env;
	r = make(s, e);
	if (r) {
		wm_sync_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int wm_sync_start(struct wm_sync *s, struct wm_err *e)
{
	int r;

	if (s->etcd) {
		r = wm_etcd_start(s->etcd);
		return r ? wm_err_set(e, r, "out of memory: mesh") : 0;
	}
	r = wm_links_start(s->links, e);
	if (r)
		return r;
	r = wm_members_start(s->members);
	if (!r)
		r = wm_env_timer_arm(s->push_pull,
				     wm_members_push_pull_ms(s->members, s->c.push_pull_ms));
	if (r)
		return wm_err_set(e, r, "out of memory: mesh");
	on_certificate(s);
	s->started = true;
	wm_seeds_start(s->seeds);
	s->bands = wm_bands_new(s);
	if (!s->bands || wm_strays_start(s))
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	return wm_leaf_start(s->leaf, e);
}

void wm_sync_pause(struct wm_sync *s)
{
	uint8_t p[PAUSE_OCTETS - 1];
	uint64_t ms;

	if (!s || !s->started || s->paused)
		return;
	s->paused = true;
	ms = s->c.restart_grace_ms;
	memcpy(p, s->id.octets, sizeof(s->id.octets));
	for (unsigned n = 0; n < 8; n++)
		p[sizeof(s->id.octets) + n] = (uint8_t)(ms >> (56 - 8 * n));
	/* along the tree, and over every stream: the tree may not reach us yet */
	(void)wm_sync_news(s, WM_NEWS_PAUSE, p, sizeof(p));
	wm_link_send_all(s->links, WM_CHANNEL_PAUSE, p, sizeof(p));
}

void wm_sync_leave(struct wm_sync *s)
{
	s->paused = true; /* it does not come back: nobody is to wait for it */
	if (s->etcd)
		wm_etcd_leave(s->etcd, NULL, NULL);
	else
		wm_members_leave(s->members);
}

void wm_sync_free(struct wm_sync *s)
{
	if (!s)
		return;
	wm_env_timer_free(s->push_pull);
	wm_env_timer_free(s->certificate);
	wm_waits_free(s->waits);
	wm_forwards_free(s->forwards);
	s->forwards = NULL; /* members may go with their streams */
	wm_verify_free(s->verify);
	wm_keyrings_free(s->keyrings);
	wm_leaf_free(s->leaf);
	s->leaf = NULL;
	wm_strays_free(s->strays);
	wm_bands_free(s->bands);
	wm_objects_free(s->objects);
	wm_by_etcd_free(s);
	wm_links_free(s->links);
	wm_seeds_free(s->seeds);
	wm_members_free(s->members);
	wm_spread_free(s->spread);
	wm_proofs_kept_free(s->proofs_kept);
	wm_replica_free(s->replica);
	wm_proofs_free(s->proofs);
	wm_datagram_free(s->socket);
	wm_conflicts_free(s->conflicts);
	wm_keyring_free(s->keyring);
	free(s);
}

int wm_sync_join(struct wm_sync *s, const char *to, wm_sync_joined done, void *arg,
		 struct wm_err *e)
{
	if (s->etcd)
		return wm_err_set(e, WM_E_UNSUPPORTED,
				  "sync.mode is etcd: agents of one prefix are one mesh, there is "
				  "nothing to join");
	return wm_seeds_join(s->seeds, to, done, arg, e);
}

struct wm_members *wm_sync_members(struct wm_sync *s)
{
	return s->members;
}

struct wm_replica *wm_sync_replica(struct wm_sync *s)
{
	return s->replica;
}

struct wm_spread *wm_sync_spread(struct wm_sync *s)
{
	return s->spread;
}

const struct wm_conflicts *wm_sync_conflicts(const struct wm_sync *s)
{
	return s->conflicts;
}

struct wm_etcd *wm_sync_etcd(struct wm_sync *s)
{
	return s->etcd;
}

/* Without port and brackets. */
static void host_of(const struct wm_peer_addr *a, char ret[INET6_ADDRSTRLEN])
{
	bool v4 = wm_peer_addr_v4(a);

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->ip.s6_addr[12] : &a->ip, ret,
		  INET6_ADDRSTRLEN);
}

bool wm_sync_next_node(struct wm_sync *s, size_t *pos, struct wm_sync_node *ret)
{
	const struct wm_member *m;

	if (s->etcd)
		return wm_by_etcd_next(s, pos, ret);
	m = wm_members_next(s->members, pos);
	if (!m)
		return false;
	*ret = (struct wm_sync_node){.id = m->id,
				     .name = m->name,
				     .version = m->version,
				     .port = m->at.port,
				     .state = m->state,
				     .self = m->self,
				     .member = m};
	host_of(&m->at, ret->address);
	return true;
}

bool wm_sync_next_peer(const struct wm_sync *s, size_t *pos, struct wm_sync_peer *ret)
{
	return s->links && wm_links_next(s->links, pos, ret);
}

void wm_sync_stats(const struct wm_sync *s, struct wm_sync_stats *ret)
{
	*ret = s->stats;
	ret->certificate_days = s->links ? wm_links_days(s->links) : INT64_MAX;
}

const struct wm_frames_stats *wm_sync_frames(const struct wm_sync *s)
{
	return s->links ? wm_links_frames(s->links) : NULL;
}
