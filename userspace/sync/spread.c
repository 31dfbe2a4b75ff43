/* SPDX-License-Identifier: Apache-2.0 */
/* spread.c - Plumtree over links chosen by distance. Each link is eager at first; the second copy
 * of a message makes the link that it came over lazy, so what stays is the tree of the first
 * arrivals. Over a lazy link only ids go, some milliseconds later and several at once; whoever does
 * not get the message in time asks for it (graft), and the link is of the tree again. */
#include "spread_internal.h"
#include "userspace/sync/spread.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HAVE_MS	     2	  /* ids for lazy links are gathered so long */
#define HAVE_IDS_MAX 128  /* ids of one message; more are told by the next */
#define GRAFT_MIN_MS 10	  /* least time to wait for a message whose id is known */
#define RELINK_MS    1000 /* how often links are looked at: some may be missing */

/* --- what is known ---------------------------------------------------------------------------- */
static struct wm_said *said_of(const struct wm_spread *s, uint64_t id)
{
	return wm_map_get(s->said, &id, sizeof(id));
}

static void drop_payload(struct wm_spread *s, struct wm_said *m)
{
	if (!m->payload)
		return;
	TAILQ_REMOVE(&s->kept, m, of_kept);
	s->kept_octets -= m->len;
	free(m->payload);
	m->payload = NULL;
}

static void forget(struct wm_spread *s, struct wm_said *m)
{
	drop_payload(s, m);
	wm_env_timer_free(m->timer);
	(void)wm_map_del(s->said, &m->id, sizeof(m->id));
	TAILQ_REMOVE(&s->all, m, of_all);
	free(m);
}

/* A message, known by its id. @return NULL without memory. */
static struct wm_said *remember(struct wm_spread *s, uint64_t id)
{
	struct wm_said *m;

	if (wm_map_len(s->said) >= WM_SPREAD_IDS_MAX)
		forget(s, TAILQ_FIRST(&s->all));
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->s = s;
	m->id = id;
	if (wm_map_put(s->said, &m->id, sizeof(m->id), m, NULL)) {
		free(m);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&s->all, m, of_all);
	return m;
}

/* Keep the octets for who lacks them. */
static void keep(struct wm_spread *s, struct wm_said *m, const void *payload, size_t len)
{
	uint64_t now = wm_env_ms(s->c.env);
	struct wm_said *old;

	while ((old = TAILQ_FIRST(&s->kept)) && (s->kept_octets + len > WM_SPREAD_KEPT_MAX ||
						 now - old->kept_ms > WM_SPREAD_KEPT_MS))
		drop_payload(s, old);
	m->payload = malloc(len ? len : 1);
	if (!m->payload)
		return; /* who asks for it is told that it is gone */
	memcpy(m->payload, payload, len);
	m->len = len;
	m->kept_ms = now;
	s->kept_octets += len;
	TAILQ_INSERT_TAIL(&s->kept, m, of_kept);
}

/* --- messages --------------------------------------------------------------------------------- */
static void send_ids(struct wm_spread *s, struct wm_neighbour *n, Waymark__Spread__Kind kind,
		     const uint64_t *ids, size_t count)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;
	uint64_t copy[HAVE_IDS_MAX]; /* protobuf-c's structures take no const */
	uint8_t packed[HAVE_IDS_MAX * sizeof(uint64_t) + 16];
	size_t len;

	if (count)
		memcpy(copy, ids, count * sizeof(*ids));
	m.kind = kind;
	m.ids = copy;
	m.n_ids = count;
	len = waymark__spread__message__pack(&m, packed);
	s->stats.octets_out += len;
	s->c.send(s->c.arg, &n->id, packed, len);
}

/* A NEWS, packed once for all links. @return NULL without memory. */
static uint8_t *pack_news(struct wm_said *said, const void *payload, size_t len, size_t *ret_len)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;
	void *octets = NULL;
	uint8_t *packed = NULL;

	memcpy(&octets, &payload, sizeof(octets)); /* protobuf-c's structures take no const */
	m.kind = WAYMARK__SPREAD__KIND__NEWS;
	m.ids = &said->id;
	m.n_ids = 1;
	m.payload.data = octets;
	m.payload.len = len;
	packed = malloc(waymark__spread__message__get_packed_size(&m));
	if (packed)
		*ret_len = waymark__spread__message__pack(&m, packed);
	return packed;
}

/* --- lazy links ------------------------------------------------------------------------------- */
static void on_have(void *arg)
{
	struct wm_neighbour *n = arg;
	size_t count = n->have_count;

	n->have_count = 0;
	if (count)
		send_ids(n->s, n, WAYMARK__SPREAD__KIND__HAVE, n->have, count);
}

static void tell_later(struct wm_neighbour *n, uint64_t id)
{
	if (n->have_count == WM_NEIGHBOUR_HAVE)
		on_have(n);
	if (!n->have_count)
		wm_env_timer_arm(n->have_timer, HAVE_MS);
	n->have[n->have_count++] = id;
}

/* To every link but the one that it came over. */
static void pass_on(struct wm_spread *s, struct wm_said *m, const void *payload, size_t len,
		    const struct wm_neighbour *from)
{
	struct wm_neighbour *n;
	uint8_t *packed = NULL;
	size_t packed_len = 0;

	TAILQ_FOREACH (n, &s->up, of_up) {
		if (n == from)
			continue;
		if (!n->eager) {
			tell_later(n, m->id);
			continue;
		}
		if (!packed)
			packed = pack_news(m, payload, len, &packed_len);
		if (!packed)
			return;
		s->stats.octets_out += packed_len;
		s->c.send(s->c.arg, &n->id, packed, packed_len);
	}
	free(packed);
}

int wm_spread_send(struct wm_spread *s, const void *payload, size_t len)
{
	struct wm_said *m;

	if (len > WM_SPREAD_PAYLOAD_MAX)
		return -EMSGSIZE;
	m = remember(s, wm_env_random64(s->c.env));
	if (!m)
		return -ENOMEM;
	m->here = true;
	keep(s, m, payload, len);
	s->stats.sent++;
	pass_on(s, m, payload, len, NULL);
	return 0;
}

/* --- what is missing -------------------------------------------------------------------------- */
static uint64_t graft_ms(const struct wm_spread *s, const struct wm_neighbour *n)
{
	uint64_t ms = s->c.graft_ms;

	if (!ms)
		ms = s->c.distance_us ? 3ull * s->c.distance_us(s->c.arg, &n->id) / 1000 : 0;
	return ms > GRAFT_MIN_MS ? ms : GRAFT_MIN_MS;
}

/* Ask the first neighbour that said it has it; if it does not come, the next. */
static void on_missing(void *arg)
{
	struct wm_said *m = arg;
	struct wm_spread *s = m->s;

	while (m->holders_count) {
		struct wm_neighbour *n = wm_neighbour_find(s, &m->holders[0]);

		m->holders_count--;
		memmove(m->holders, m->holders + 1, m->holders_count * sizeof(m->holders[0]));
		if (!n || !n->is_up)
			continue;
		wm_neighbour_eager(n, true);
		s->stats.grafts++;
		send_ids(s, n, WAYMARK__SPREAD__KIND__GRAFT, &m->id, 1);
		wm_env_timer_arm(m->timer, graft_ms(s, n));
		return;
	}
	s->stats.missed++;
	forget(s, m);
}

static void on_have_id(struct wm_spread *s, struct wm_neighbour *n, uint64_t id)
{
	struct wm_said *m = said_of(s, id);

	if (!m) {
		m = remember(s, id);
		if (!m)
			return;
		m->timer = wm_env_timer_new(s->c.env, on_missing, m);
		if (!m->timer || wm_env_timer_arm(m->timer, graft_ms(s, n))) {
			forget(s, m);
			return;
		}
	}
	if (m->here || m->holders_count == WM_SAID_HOLDERS)
		return;
	m->holders[m->holders_count++] = n->id;
}

static void on_news(struct wm_spread *s, struct wm_neighbour *n, uint64_t id,
		    const Waymark__Spread__Message *msg)
{
	struct wm_said *m = said_of(s, id);

	if (m && m->here) {
		s->stats.duplicates++;
		if (n->eager) {
			wm_neighbour_eager(n, false);
			s->stats.prunes++;
			send_ids(s, n, WAYMARK__SPREAD__KIND__PRUNE, NULL, 0);
		}
		return;
	}
	if (!m)
		m = remember(s, id);
	if (!m)
		return;
	m->here = true;
	wm_env_timer_free(m->timer);
	m->timer = NULL;
	wm_neighbour_eager(n, true);
	keep(s, m, msg->payload.data, msg->payload.len);
	s->stats.delivered++;
	pass_on(s, m, msg->payload.data, msg->payload.len, n);
	s->c.deliver(s->c.arg, &n->id, msg->payload.data, msg->payload.len);
}

static void on_graft(struct wm_spread *s, struct wm_neighbour *n, uint64_t id)
{
	struct wm_said *m = said_of(s, id);
	uint8_t *packed;
	size_t len = 0;

	wm_neighbour_eager(n, true);
	if (!m || !m->payload) {
		send_ids(s, n, WAYMARK__SPREAD__KIND__GONE, &id, 1);
		return;
	}
	packed = pack_news(m, m->payload, m->len, &len);
	if (!packed)
		return;
	s->stats.octets_out += len;
	s->c.send(s->c.arg, &n->id, packed, len);
	free(packed);
}

/* Whom we asked has it no more: ask the next at once. */
static void on_gone(struct wm_spread *s, uint64_t id)
{
	struct wm_said *m = said_of(s, id);

	if (m && !m->here)
		on_missing(m);
}

static bool take(struct wm_spread *s, struct wm_neighbour *n, const Waymark__Spread__Message *m)
{
	bool news = m->kind == WAYMARK__SPREAD__KIND__NEWS;

	if (m->n_ids > HAVE_IDS_MAX || (news && m->n_ids != 1))
		return false;
	for (size_t i = 0; i < m->n_ids; i++) {
		uint64_t id = m->ids[i];

		if (news)
			on_news(s, n, id, m);
		else if (m->kind == WAYMARK__SPREAD__KIND__HAVE)
			on_have_id(s, n, id);
		else if (m->kind == WAYMARK__SPREAD__KIND__GRAFT)
			on_graft(s, n, id);
		else if (m->kind == WAYMARK__SPREAD__KIND__GONE)
			on_gone(s, id);
	}
	if (m->kind == WAYMARK__SPREAD__KIND__PRUNE)
		wm_neighbour_eager(n, false);
	else if (m->kind == WAYMARK__SPREAD__KIND__FULL)
		wm_neighbour_refused(n);
	return true;
}

int wm_spread_receive(struct wm_spread *s, const struct wm_peer_id *from, const void *p, size_t len)
{
	struct wm_neighbour *n = wm_neighbour_find(s, from);
	Waymark__Spread__Message *m;
	bool good;

	if (!n || !n->is_up)
		return 0; /* of a link that is gone */
	s->stats.octets_in += len;
	m = len <= WM_SPREAD_PAYLOAD_MAX + 1024 ? waymark__spread__message__unpack(NULL, len, p)
						: NULL;
	good = m && take(s, n, m);
	waymark__spread__message__free_unpacked(m, NULL);
	if (good)
		return 0;
	s->stats.malformed++;
	return WM_E_INVALID;
}

void wm_spread_full(struct wm_spread *s, struct wm_neighbour *n)
{
	send_ids(s, n, WAYMARK__SPREAD__KIND__FULL, NULL, 0);
}

/* --- life ------------------------------------------------------------------------------------- */
static void on_relink(void *arg)
{
	struct wm_spread *s = arg;

	wm_neighbours_choose(s);
	wm_env_timer_arm(s->relink, RELINK_MS - wm_env_below(s->c.env, RELINK_MS / 4));
}

struct wm_neighbour *wm_neighbour_new(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_neighbour *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->s = s;
	n->id = *id;
	n->have_timer = wm_env_timer_new(s->c.env, on_have, n);
	if (!n->have_timer || wm_map_put(s->neighbours, &n->id, sizeof(n->id), n, NULL)) {
		wm_env_timer_free(n->have_timer);
		free(n);
		return NULL;
	}
	return n;
}

struct wm_spread *wm_spread_new(const struct wm_spread_config *c)
{
	struct wm_spread *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->c = *c;
	if (!s->c.links)
		s->c.links = WM_SPREAD_LINKS;
	if (!s->c.far)
		s->c.far = WM_SPREAD_FAR;
	TAILQ_INIT(&s->all);
	TAILQ_INIT(&s->kept);
	TAILQ_INIT(&s->up);
	s->said = wm_map_new(WM_SPREAD_IDS_MAX + 1);
	s->neighbours = wm_map_new(WM_SPREAD_MEMBERS_MAX);
	s->relink = wm_env_timer_new(c->env, on_relink, s);
	if (!s->said || !s->neighbours || !s->relink ||
	    wm_env_timer_arm(s->relink, wm_env_below(c->env, RELINK_MS))) {
		wm_spread_free(s);
		return NULL;
	}
	return s;
}

void wm_spread_free(struct wm_spread *s)
{
	struct wm_neighbour *n;
	struct wm_said *m;
	size_t pos = 0;

	if (!s)
		return;
	while (s->said && (m = TAILQ_FIRST(&s->all)))
		forget(s, m);
	while (s->neighbours && (n = wm_map_next(s->neighbours, &pos)))
		wm_neighbour_free(n);
	wm_map_free(s->said);
	wm_map_free(s->neighbours);
	wm_env_timer_free(s->relink);
	free(s->members);
	free(s);
}

void wm_spread_stats(const struct wm_spread *s, struct wm_spread_stats *ret)
{
	const struct wm_neighbour *n;

	*ret = s->stats;
	ret->eager = ret->lazy = 0;
	TAILQ_FOREACH (n, &s->up, of_up) {
		ret->eager += n->eager;
		ret->lazy += !n->eager;
	}
}

unsigned wm_spread_linked(const struct wm_spread *s)
{
	return s->up_count;
}
