/* SPDX-License-Identifier: Apache-2.0 */
/* link.c - streams to other agents. Each begins with a hello from both sides; who says another
 * datacenter or node than its certificate is refused. Two agents may open one to each other at the
 * same time: then each sends over the newest that it knows, and the other ends with idleness. */
#include "internal.h"
#include "keyring.h"
#include "userspace/base/log.h"
#include "userspace/net/frames.h"
#include "userspace/sync/link.pb-c.h"
#include "verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELLO_VERSION 1
#define WAITING_MAX   (1u << 20) /* octets that wait for a stream to be opened */
#define IDLE_MS	      60000	 /* a stream that nobody wants is ended after it */
#define SWEEP_MS      5000	 /* how often that is looked at */
#define RETRY_MIN_MS  50	 /* pause before a wanted stream is opened again, doubled up to */
#define RETRY_MAX_MS  5000
#define HELLO_MS      5000 /* from the connection to the hello */
#define TELL_MS	      1000 /* between two lines about callers that were refused */

struct peer;
/* What a connection was opened for. */
enum purpose { FOR_PEER, FOR_PROBE, FOR_GREETING, ACCEPTED };
struct link {
	LIST_ENTRY(link) of_peer;
	TAILQ_ENTRY(link) of_all;
	struct wm_links *l;
	struct wm_frames_conn *conn;
	enum purpose purpose;
	struct peer *peer; /* once the other said who it is; of FOR_PEER from the beginning */
	bool greeted;
	uint32_t probe;					   /* number of a probe */
	void (*done)(void *arg, int err, const char *why); /* of a greeting, until it was called */
	void *done_arg;
	uint64_t used_ms;
};

struct peer {
	struct wm_peer_id id;
	LIST_HEAD(, link) links; /* greeted, and the one that is being opened */
	struct link *use;	 /* over which is sent; NULL: none stands */
	struct link *opening;	 /* NULL: none */
	bool wanted, tree;	 /* by ourselves; by either, told to the core */
	struct wm_buf waiting;	 /* frames for when a stream stands: length, channel, octets */
	struct wm_env_timer *retry;
	unsigned retry_ms;
	uint64_t since_ms;
	uint64_t octets_in, octets_out, frames_in, frames_out;
	char why[128];
	struct wm_links *l;
};

struct wm_links {
	struct wm_sync *s;
	struct wm_frames *frames;
	struct wm_tls *tls; /* NULL: insecure */
	struct wm_map *peers;
	TAILQ_HEAD(, link) all;
	struct wm_env_timer *sweep;
	struct wm_buf frame; /* scratch */
	uint64_t told_ms;
};

static uint64_t now_ms(const struct wm_links *l)
{
	return wm_env_ms(l->s->env);
}

static struct peer *find(const struct wm_links *l, const struct wm_peer_id *id)
{
	return wm_map_get(l->peers, id, sizeof(*id));
}

static void open_stream(struct peer *p);

static void on_retry(void *arg)
{
	struct peer *p = arg;

	if (!p->use && !p->opening && (p->wanted || p->waiting.len))
		open_stream(p);
}

/* @return NULL without memory. */
static struct peer *peer_of(struct wm_links *l, const struct wm_peer_id *id)
{
	struct peer *p = find(l, id);

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->id = *id;
	p->l = l;
	LIST_INIT(&p->links);
	wm_buf_init(&p->waiting, WAITING_MAX);
	p->retry = wm_env_timer_new(l->s->env, on_retry, p);
	p->since_ms = now_ms(l);
	if (!p->retry || wm_map_put(l->peers, &p->id, sizeof(p->id), p, NULL)) {
		wm_env_timer_free(p->retry);
		free(p);
		return NULL;
	}
	return p;
}

static void free_peer(struct peer *p)
{
	(void)wm_map_del(p->l->peers, &p->id, sizeof(p->id));
	wm_env_timer_free(p->retry);
	wm_buf_done(&p->waiting);
	free(p);
}

/* --- sending ---------------------------------------------------------------------------------- */
static int send_frame(struct link *k, enum wm_channel ch, const void *data, size_t len)
{
	struct wm_buf *b = &k->l->frame;
	const char first = (char)ch;
	int r;

	wm_buf_reset(b);
	wm_buf_put(b, &first, 1);
	wm_buf_put(b, data, len);
	r = b->failed ? -EMSGSIZE : wm_frames_send(k->conn, b->data, b->len);
	if (r) {
		k->l->s->stats.frames_dropped++;
		return r;
	}
	k->used_ms = now_ms(k->l);
	if (k->peer) {
		k->peer->frames_out++;
		k->peer->octets_out += b->len;
	}
	return 0;
}

static int send_hello(struct link *k)
{
	const struct wm_sync_config *c = &k->l->s->c;
	Waymark__Link__Hello h;
	uint8_t packed[WM_SYNC_HELLO_MAX];
	struct wm_peer_id id = k->l->s->id;
	struct in6_addr ip = c->advertise.ip;
	/* protobuf-c's structures take no const */
	char *dc = strdup(c->datacenter), *name = strdup(c->node_name), *agent = strdup(c->version);
	int r = -ENOMEM;

	if (dc && name && agent) {
		waymark__link__hello__init(&h);
		h.version = HELLO_VERSION;
		h.datacenter = dc;
		h.name = name;
		h.agent = agent;
		h.id.data = id.octets;
		h.id.len = sizeof(id.octets);
		h.address.data = ip.s6_addr;
		h.address.len = sizeof(ip.s6_addr);
		h.port = c->advertise.port;
		h.purpose = k->purpose;
		r = waymark__link__hello__get_packed_size(&h) > sizeof(packed)
			    ? -EMSGSIZE
			    : send_frame(k, WM_CHANNEL_HELLO, packed,
					 waymark__link__hello__pack(&h, packed));
	}
	free(dc);
	free(name);
	free(agent);
	return r;
}

/* What waited for a stream: kept as length, channel, octets. */
static void send_waiting(struct peer *p)
{
	const char *at = p->waiting.data, *end;

	if (!p->waiting.len)
		return;
	end = at + p->waiting.len;
	while (p->use && at < end) {
		uint32_t len;

		memcpy(&len, at, sizeof(len));
		(void)send_frame(p->use, (enum wm_channel)at[sizeof(len)], at + sizeof(len) + 1,
				 len);
		at += sizeof(len) + 1 + len;
	}
	wm_buf_done(&p->waiting);
	wm_buf_init(&p->waiting, WAITING_MAX);
}

static void keep_waiting(struct peer *p, enum wm_channel ch, const void *data, size_t len)
{
	const uint32_t n = (uint32_t)len;
	const char first = (char)ch;

	if (p->waiting.len + sizeof(n) + 1 + len > WAITING_MAX ||
	    !wm_buf_reserve(&p->waiting, sizeof(n) + 1 + len)) {
		p->waiting.failed = false; /* what is there stays good */
		p->l->s->stats.frames_dropped++;
		return;
	}
	wm_buf_put(&p->waiting, &n, sizeof(n));
	wm_buf_put(&p->waiting, &first, 1);
	wm_buf_put(&p->waiting, data, len);
}

void wm_link_send(struct wm_links *l, const struct wm_peer_id *to, enum wm_channel ch,
		  const void *p, size_t len)
{
	struct peer *peer = peer_of(l, to);

	if (!peer) {
		l->s->stats.frames_dropped++;
		return;
	}
	if (peer->use) {
		(void)send_frame(peer->use, ch, p, len);
		return;
	}
	keep_waiting(peer, ch, p, len);
	if (!peer->opening && !peer->retry_ms)
		open_stream(peer);
}

/* --- a stream's life -------------------------------------------------------------------------- */
static struct link *new_link(struct wm_links *l, enum purpose purpose)
{
	struct link *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->l = l;
	k->purpose = purpose;
	k->used_ms = now_ms(l);
	TAILQ_INSERT_TAIL(&l->all, k, of_all);
	return k;
}

/* The connection is gone, or is ended by the caller. */
static void free_link(struct link *k)
{
	TAILQ_REMOVE(&k->l->all, k, of_all);
	if (k->peer)
		LIST_REMOVE(k, of_peer);
	free(k);
}

static void tell_done(struct link *k, int err, const char *why)
{
	void (*done)(void *arg, int err, const char *why) = k->done;

	k->done = NULL;
	if (done)
		done(k->done_arg, err, why);
	if (k->purpose == FOR_PROBE && !k->greeted)
		wm_members_stream_probed(k->l->s->members, k->probe, err);
}

static void retry_later(struct peer *p)
{
	p->retry_ms = p->retry_ms ? p->retry_ms * 2 : RETRY_MIN_MS;
	if (p->retry_ms > RETRY_MAX_MS)
		p->retry_ms = RETRY_MAX_MS;
	wm_env_timer_arm(p->retry, p->retry_ms / 2 + wm_env_below(p->l->s->env, p->retry_ms));
}

static void set_tree(struct peer *p, bool on)
{
	if (p->tree == on)
		return;
	p->tree = on;
	if (on)
		wm_spread_up(p->l->s->spread, &p->id);
	else
		wm_spread_down(p->l->s->spread, &p->id);
}

/* A stream that stood is gone: use another, or none. */
static void lost(struct peer *p, struct link *k)
{
	struct link *other = NULL, *n;

	if (p->use != k)
		return;
	LIST_FOREACH (n, &p->links, of_peer)
		if (n != k && n->greeted)
			other = n;
	p->use = other;
	p->since_ms = now_ms(p->l);
	if (other)
		return;
	set_tree(p, false);
	wm_members_doubt(p->l->s->members, &p->id); /* rather now than when its turn comes */
	wm_replica_down(p->l->s->replica, &p->id);
	wm_leaf_down(p->l->s->leaf, &p->id);
}

static void on_down(void *arg, struct wm_frames_conn *conn, int err, const char *why)
{
	struct link *k = wm_frames_user(conn);
	struct peer *p;

	(void)arg;
	if (!k)
		return;
	p = k->peer;
	tell_done(k, err ? err : -ECONNRESET, why);
	if (p) {
		bool opening = p->opening == k;

		snprintf(p->why, sizeof(p->why), "%s", why);
		if (opening) {
			p->opening = NULL;
			p->l->s->stats.streams_failed++;
		}
		lost(p, k);
		free_link(k);
		if (!p->use && (p->wanted || (opening && p->waiting.len)))
			retry_later(p);
		return;
	}
	free_link(k);
}

static void end_link(struct link *k, const char *why)
{
	struct peer *p = k->peer;

	wm_frames_set_user(k->conn, NULL);
	wm_frames_close(k->conn);
	tell_done(k, -ECONNABORTED, why);
	if (p) {
		if (p->opening == k)
			p->opening = NULL;
		lost(p, k);
	}
	free_link(k);
}

static int connect_link(struct link *k, const struct wm_peer_addr *to, const char *node)
{
	int r = wm_frames_connect(k->l->frames, to, node, k, &k->conn);

	if (r) {
		k->l->s->stats.streams_failed++;
		return r;
	}
	k->l->s->stats.streams_out++;
	return 0;
}

static void open_stream(struct peer *p)
{
	const struct wm_member *m = wm_members_by_id(p->l->s->members, &p->id);
	struct link *k = m ? new_link(p->l, FOR_PEER) : NULL;

	if (!k) {
		wm_buf_reset(&p->waiting);
		return;
	}
	k->peer = p;
	LIST_INSERT_HEAD(&p->links, k, of_peer);
	p->opening = k;
	if (connect_link(k, &m->at, m->name)) {
		p->opening = NULL;
		free_link(k);
		retry_later(p);
	}
}

/* --- hello ------------------------------------------------------------------------------------ */
/* Whether the certificate, of our datacenter as all that come this far, names this very node. */
static bool identity_fits(const struct wm_sync *s, const struct wm_identity *identity,
			  const char *name)
{
	return identity ? strcasecmp(identity->node, name) == 0 : s->c.insecure;
}

/* A certificate names a node and no id: who is there under another name has the id. A node that was
 * renamed has it once its former name failed. */
static bool id_is_anothers(const struct wm_sync *s, const Waymark__Link__Hello *h)
{
	struct wm_peer_id id;
	const struct wm_member *m;

	memcpy(id.octets, h->id.data, sizeof(id.octets));
	m = wm_members_by_id(s->members, &id);
	return m && !m->self && m->state <= WM_MEMBER_SUSPECT && strcasecmp(m->name, h->name) != 0;
}

static const char *judge_hello(const struct wm_sync *s, const struct link *k,
			       const Waymark__Link__Hello *h)
{
	const struct wm_peer_id *known = k->peer ? &k->peer->id : NULL;

	if (h->version != HELLO_VERSION)
		return "it speaks another version";
	if (h->id.len != sizeof(struct wm_peer_id) || strlen(h->name) > WM_NODE_NAME_MAX)
		return "its hello names no node";
	if (strcmp(h->datacenter, s->c.datacenter) != 0)
		return "it is of another datacenter";
	if (!identity_fits(s, wm_frames_identity(k->conn), h->name))
		return "its certificate names another node";
	if (!memcmp(h->id.data, s->id.octets, sizeof(s->id.octets)) && k->purpose != ACCEPTED)
		return "it is this agent itself";
	if (id_is_anothers(s, h))
		return "its id is that of another node, which is there";
	if (known && memcmp(h->id.data, known->octets, sizeof(known->octets)) != 0)
		return "another agent answers at its address";
	return NULL;
}

static void adopt(struct link *k, struct peer *p)
{
	struct wm_sync *s = k->l->s;
	bool first = !p->use;

	if (p->opening == k)
		p->opening = NULL;
	p->use = k;
	p->retry_ms = 0;
	wm_env_timer_disarm(p->retry);
	if (!first)
		return;
	p->since_ms = now_ms(k->l);
	p->why[0] = '\0';
	if (p->wanted) {
		(void)send_frame(k, WM_CHANNEL_TREE, NULL, 0);
		set_tree(p, true);
	}
	wm_replica_up(s->replica, &p->id);
	send_waiting(p);
}

static void send_state(struct link *k, enum wm_channel ch)
{
	struct wm_buf b;

	wm_buf_init(&b, WM_SYNC_STATE_MAX);
	if (!wm_members_state(k->l->s->members, &b))
		(void)send_frame(k, ch, b.data, b.len);
	wm_buf_done(&b);
}

static bool refuse(struct link *k, const char *why)
{
	struct wm_sync *s = k->l->s;

	char at[WM_PEER_ADDR_TEXT];

	s->stats.streams_refused++;
	wm_peer_addr_format(wm_frames_address(k->conn), at, sizeof(at));
	wm_warn("sync.stream_refused", "address=%s text=%s", at, wm_log_q(why));
	end_link(k, why);
	return false;
}

/* @return false: the stream was ended. */
static bool on_hello(struct link *k, const uint8_t *data, size_t len)
{
	Waymark__Link__Hello *h =
		len <= WM_SYNC_HELLO_MAX ? waymark__link__hello__unpack(NULL, len, data) : NULL;
	const char *why = h ? judge_hello(k->l->s, k, h) : "its hello cannot be read";
	struct wm_peer_id id;
	bool greets, probes;

	if (why) {
		waymark__link__hello__free_unpacked(h, NULL);
		return refuse(k, why);
	}
	memcpy(id.octets, h->id.data, sizeof(id.octets));
	/* it may not know us yet: what is said waits until both states were exchanged */
	greets = k->purpose == ACCEPTED && h->purpose == FOR_GREETING;
	/* it ends with our hello, and would take with it what was sent over it */
	probes = k->purpose == ACCEPTED && h->purpose == FOR_PROBE;
	waymark__link__hello__free_unpacked(h, NULL);
	k->greeted = true;
	if (k->purpose == ACCEPTED)
		(void)send_hello(k);
	if (k->purpose == FOR_PROBE) {
		wm_members_stream_probed(k->l->s->members, k->probe, 0);
		end_link(k, "");
		return false;
	}
	if (!k->peer) {
		k->peer = peer_of(k->l, &id);
		if (!k->peer)
			return refuse(k, "out of memory");
		LIST_INSERT_HEAD(&k->peer->links, k, of_peer);
	}
	if (k->purpose == FOR_GREETING)
		send_state(k, WM_CHANNEL_STATE);
	else if (!greets && !probes && wm_members_by_id(k->l->s->members, &id))
		adopt(k, k->peer);
	return true;
}

/* --- frames ----------------------------------------------------------------------------------- */
/* @return what is wrong; NULL: nothing. @p e holds the text. */
static const char *take_state(struct link *k, enum wm_channel ch, const void *data, size_t len,
			      struct wm_err *e)
{
	if (wm_members_merge(k->l->s->members, data, len, e))
		return e->text;
	if (ch == WM_CHANNEL_STATE)
		send_state(k, WM_CHANNEL_STATE_REPLY);
	else
		tell_done(k, 0, "");
	/* who was a stranger at the hello is a member now */
	if (wm_members_by_id(k->l->s->members, &k->peer->id) && k->peer->use != k)
		adopt(k, k->peer);
	return NULL;
}

static const char *take(struct link *k, enum wm_channel ch, const void *data, size_t len,
			struct wm_err *e)
{
	struct peer *p = k->peer;
	struct wm_sync *s = k->l->s;

	if (ch == WM_CHANNEL_STATE || ch == WM_CHANNEL_STATE_REPLY)
		return take_state(k, ch, data, len, e);
	switch (ch) {
	case WM_CHANNEL_TREE:
		set_tree(p, true);
		return NULL;
	case WM_CHANNEL_UNTREE:
		set_tree(p, false);
		return NULL;
	case WM_CHANNEL_SPREAD:
		if (!p->tree) /* its TREE crossed our UNTREE: harmless */
			return NULL;
		return wm_spread_receive(s->spread, &p->id, data, len)
			       ? "a message of its tree cannot be read"
			       : NULL;
	case WM_CHANNEL_PAUSE:
		if (len < sizeof(p->id.octets) ||
		    memcmp(data, p->id.octets, sizeof(p->id.octets)) != 0)
			return "it speaks of another agent's stop";
		wm_sync_paused(s, data, len, true);
		return NULL;
	case WM_CHANNEL_REPLICA:
		return wm_replica_receive(s->replica, &p->id, data, len, e) ? e->text : NULL;
	case WM_CHANNEL_REQUEST:
		return wm_forwards_request(s->forwards, &p->id, data, len)
			       ? "a request cannot be read"
			       : NULL;
	case WM_CHANNEL_REPLY:
		return wm_forwards_reply(s->forwards, &p->id, data, len) ? "a reply cannot be read"
									 : NULL;
	case WM_CHANNEL_VERIFY:
		return wm_verify_asked(s->verify, &p->id, data, len) ? "a comparison cannot be read"
								     : NULL;
	case WM_CHANNEL_VERIFY_REPLY:
		return wm_verify_answered(s->verify, &p->id, data, len)
			       ? "what it has cannot be read"
			       : NULL;
	case WM_CHANNEL_KEYRING:
		return wm_keyrings_asked(s->keyrings, &p->id, data, len);
	case WM_CHANNEL_KEYRING_REPLY:
		return wm_keyrings_answered(s->keyrings, &p->id, data, len);
	case WM_CHANNEL_NEWS:
		return wm_leaf_news(s->leaf, &p->id, data, len);
	case WM_CHANNEL_INTEREST:
		return wm_leaf_asked(s->leaf, &p->id, data, len);
	case WM_CHANNEL_NEWS_OF:
		return wm_leaf_told(s->leaf, &p->id, data, len);
	case WM_CHANNEL_HELLO:
		return "a second hello";
	case WM_CHANNEL_STATE:
	case WM_CHANNEL_STATE_REPLY:
		break;
	}
	return NULL; /* of a newer agent */
}

static void on_frame(void *arg, struct wm_frames_conn *conn, const void *data, size_t len)
{
	struct link *k = wm_frames_user(conn);
	const uint8_t *p = data;
	struct wm_err e = {0};
	const char *why;

	(void)arg;
	if (!k)
		return;
	if (!len) {
		(void)refuse(k, "an empty frame");
		return;
	}
	if (wm_sync_frame_check(*p, len - 1, &e)) {
		(void)refuse(k, e.text);
		return;
	}
	k->used_ms = now_ms(k->l);
	if (!k->greeted) {
		if (*p != WM_CHANNEL_HELLO)
			(void)refuse(k, "its first frame is no hello");
		else
			(void)on_hello(k, p + 1, len - 1);
		return;
	}
	if (*p > WM_CHANNEL_STATE_REPLY && !wm_members_by_id(k->l->s->members, &k->peer->id)) {
		/* it knows us, and we have not heard of it yet: it tries again */
		end_link(k, "it is no member yet");
		return;
	}
	/* it was a stranger at the hello; now it is a member, and speaks to us as one */
	if (*p > WM_CHANNEL_STATE_REPLY && !k->peer->use)
		adopt(k, k->peer);
	k->peer->frames_in++;
	k->peer->octets_in += len;
	why = take(k, (enum wm_channel) * p, p + 1, len - 1, &e);
	if (why)
		(void)refuse(k, *why ? why : "a message that cannot be read");
}

static void on_up(void *arg, struct wm_frames_conn *conn)
{
	struct wm_links *l = arg;
	struct link *k = wm_frames_user(conn);

	if (!k) { /* accepted: the other speaks first */
		k = new_link(l, ACCEPTED);
		if (!k) {
			wm_frames_close(conn);
			return;
		}
		k->conn = conn;
		wm_frames_set_user(conn, k);
		l->s->stats.streams_in++;
		return;
	}
	k->conn = conn;
	if (send_hello(k))
		end_link(k, "the hello does not fit");
}

void wm_link_send_all(struct wm_links *l, enum wm_channel ch, const void *p, size_t len)
{
	struct peer *peer;
	size_t pos = 0;

	while ((peer = wm_map_next(l->peers, &pos)))
		if (peer->use)
			(void)send_frame(peer->use, ch, p, len);
}

/* --- what others ask for ---------------------------------------------------------------------- */
void wm_link_want(struct wm_links *l, const struct wm_peer_id *id, bool on)
{
	struct peer *p = on ? peer_of(l, id) : find(l, id);

	if (!p || p->wanted == on)
		return;
	p->wanted = on;
	if (p->use) {
		(void)send_frame(p->use, on ? WM_CHANNEL_TREE : WM_CHANNEL_UNTREE, NULL, 0);
		set_tree(p, on);
	} else if (on && !p->opening) {
		open_stream(p);
	}
}

void wm_link_probe(struct wm_links *l, const struct wm_member *m, uint32_t number)
{
	struct link *k = new_link(l, FOR_PROBE);
	int r = k ? 0 : -ENOMEM;

	if (k) {
		k->probe = number;
		r = connect_link(k, &m->at, m->name);
	}
	if (r) {
		if (k)
			free_link(k);
		wm_members_stream_probed(l->s->members, number, r);
	}
}

int wm_link_greet(struct wm_links *l, const struct wm_peer_addr *to,
		  void (*done)(void *arg, int err, const char *why), void *arg)
{
	struct link *k = new_link(l, FOR_GREETING);
	int r;

	if (!k)
		return -ENOMEM;
	r = connect_link(k, to, NULL);
	if (r) {
		free_link(k);
		return r;
	}
	k->done = done;
	k->done_arg = arg;
	return 0;
}

void wm_link_drop(struct wm_links *l, const struct wm_peer_id *id)
{
	struct peer *p = find(l, id);
	struct link *k;

	if (!p)
		return;
	p->wanted = false;
	wm_buf_reset(&p->waiting);
	wm_env_timer_disarm(p->retry);
	while ((k = LIST_FIRST(&p->links)))
		end_link(k, "the member is gone");
	free_peer(p);
}

static void on_sweep(void *arg)
{
	struct wm_links *l = arg;
	uint64_t now = now_ms(l);
	struct link *k, *next;
	struct peer *p;
	size_t pos = 0;

	for (k = TAILQ_FIRST(&l->all); k; k = next) {
		next = TAILQ_NEXT(k, of_all);
		if (!k->greeted && now - k->used_ms > HELLO_MS)
			end_link(k, "no hello in time");
		else if (k->greeted && now - k->used_ms > IDLE_MS && k->peer &&
			 (!k->peer->tree || k->peer->use != k))
			end_link(k, "");
	}
	while ((p = wm_map_next(l->peers, &pos)))
		if (LIST_EMPTY(&p->links) && !p->wanted && !wm_members_by_id(l->s->members, &p->id))
			free_peer(p);
	wm_env_timer_arm(l->sweep, SWEEP_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
static void on_refused(void *arg, const struct wm_peer_addr *from, int err, const char *sentence)
{
	struct wm_links *l = arg;
	uint64_t now = now_ms(l);
	char at[WM_PEER_ADDR_TEXT];

	(void)err;
	l->s->stats.streams_refused++;
	if (now - l->told_ms < TELL_MS)
		return;
	l->told_ms = now;
	wm_peer_addr_format(from, at, sizeof(at));
	wm_warn("sync.stream_refused", "address=%s text=%s", at, wm_log_q(sentence));
}

/* Another node's would be refused by all others. */
static int judge_certificate(void *arg, const struct wm_identity *us, struct wm_err *e)
{
	const struct wm_links *l = arg;
	const struct wm_sync_config *c = &l->s->c;

	return wm_sync_identity_check(us, c->node_name, c->datacenter, e);
}

static void on_certificate(void *arg, int err, const char *sentence)
{
	struct wm_links *l = arg;

	if (err)
		wm_error("sync.certificate", "text=%s", wm_log_q(sentence));
	else
		wm_info("sync.certificate", "days=%lld text=\"a new certificate serves\"",
			(long long)wm_links_days(l));
}

int wm_sync_identity_check(const struct wm_identity *us, const char *node, const char *datacenter,
			   struct wm_err *e)
{
	if (strcasecmp(us->node, node) == 0 && strcasecmp(us->datacenter, datacenter) == 0)
		return 0;
	return wm_err_set(e, WM_E_INVALID,
			  "sync.cert_file: the certificate names %.64s in %.64s, and this is node "
			  "%.64s in %.64s",
			  us->node, us->datacenter, node, datacenter);
}

struct wm_tls *wm_links_tls(const struct wm_links *l)
{
	return l ? l->tls : NULL;
}

int64_t wm_links_days(const struct wm_links *l)
{
	struct wm_cert_validity v;

	if (!l->tls)
		return INT64_MAX;
	v = wm_tls_validity(l->tls);
	return wm_cert_days_left(&v, wm_env_wall_s(l->s->env));
}

static int open_tls(struct wm_links *l, struct wm_err *e)
{
	const struct wm_sync_config *c = &l->s->c;
	const struct wm_tls_config t = {.files = {c->ca_file, c->cert_file, c->key_file},
					.arg = l,
					.judge = judge_certificate,
					.changed = on_certificate};

	return wm_tls_new(c->loop, &t, &l->tls, e);
}

int wm_links_new(struct wm_sync *s, struct wm_links **ret, struct wm_err *e)
{
	struct wm_links *l = calloc(1, sizeof(*l));
	struct wm_frames_config c = {
		.arg = l, .up = on_up, .frame = on_frame, .down = on_down, .refused = on_refused};
	int r = 0;

	if (!l)
		return wm_err_set(e, -ENOMEM, "out of memory: streams");
	*ret = l;
	l->s = s;
	TAILQ_INIT(&l->all);
	wm_buf_init(&l->frame, WM_FRAME_MAX);
	l->peers = wm_map_new(2 * WM_MEMBERS_MAX);
	l->sweep = wm_env_timer_new(s->env, on_sweep, l);
	if (!s->c.insecure)
		r = open_tls(l, e);
	if (r)
		return r;
	c.tls = l->tls;
	l->frames = wm_frames_new(s->c.loop, &c);
	return l->peers && l->sweep && l->frames ? 0
						 : wm_err_set(e, -ENOMEM, "out of memory: streams");
}

int wm_links_start(struct wm_links *l, struct wm_err *e)
{
	char at[WM_PEER_ADDR_TEXT];
	struct wm_err why = {0};
	int r = wm_frames_listen(l->frames, &l->s->c.bind, NULL, &why);

	wm_peer_addr_format(&l->s->c.bind, at, sizeof(at));
	if (r)
		return wm_err_set(e, r, "sync.bind (TCP): %s", why.text);
	wm_info("sync.listening", "address=%s tls=%s", at, l->tls ? "yes" : "no");
	return wm_env_timer_arm(l->sweep, SWEEP_MS);
}

void wm_links_free(struct wm_links *l)
{
	struct link *k;
	struct peer *p;
	size_t pos = 0;

	if (!l)
		return;
	while ((k = TAILQ_FIRST(&l->all))) {
		if (k->conn) {
			wm_frames_set_user(k->conn, NULL);
			wm_frames_close(k->conn);
		}
		free_link(k);
	}
	while (l->peers && (p = wm_map_next(l->peers, &pos)))
		free_peer(p);
	wm_map_free(l->peers);
	wm_env_timer_free(l->sweep);
	wm_frames_free(l->frames);
	wm_tls_free(l->tls);
	wm_buf_done(&l->frame);
	free(l);
}

const struct wm_frames_stats *wm_links_frames(const struct wm_links *l)
{
	return wm_frames_stats(l->frames);
}

bool wm_links_next(const struct wm_links *l, size_t *pos, struct wm_sync_peer *ret)
{
	const struct peer *p = wm_map_next(l->peers, pos);

	if (!p)
		return false;
	*ret = (struct wm_sync_peer){.member = wm_members_by_id(l->s->members, &p->id),
				     .up = p->use,
				     .since_ms = p->since_ms,
				     .octets_in = p->octets_in,
				     .octets_out = p->octets_out,
				     .frames_in = p->frames_in,
				     .frames_out = p->frames_out,
				     .why = p->why};
	return true;
}
