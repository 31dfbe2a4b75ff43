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

/* Ids for lazy links are gathered so long; by the end of the higher id longer, so that nearly
 * always one of both tells, and not each the other. */
#define HAVE_MS	     10
#define HAVE_LATE_MS 20
/* Where ids went over the link not long ago, either way, more will come: they are gathered for
 * longer, or each change costs a frame a link, whose TLS record costs more than what it says. */
#define HAVE_BUSY_MS 200
#define HAVE_BUSY    3	  /* times as long */
#define OTHERS_MAX   4	  /* members that one that is refused is told of */
#define HAVE_IDS_MAX 128  /* ids of one message; more are told by the next */
#define GRAFT_MIN_MS 10	  /* least time to wait for a message whose id is known */
#define RECENT_MS    2000 /* whoever is linked is told of what came in so long before */

/* --- what is known ---------------------------------------------------------------------------- */
static struct wm_said *said_of(const struct wm_spread *s, uint64_t id)
{
	return wm_map_get(s->said, &id, sizeof(id));
}

/* It is not missing any more, or is given up. */
static void found(struct wm_spread *s, struct wm_said *m)
{
	if (!m->timer)
		return;
	wm_env_timer_free(m->timer);
	m->timer = NULL;
	s->missing--;
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
	found(s, m);
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

void wm_spread_expire(struct wm_spread *s, size_t room)
{
	uint64_t now = wm_env_ms(s->c.env);
	struct wm_said *old;

	while ((old = TAILQ_FIRST(&s->kept)) && (s->kept_octets + room > WM_SPREAD_KEPT_MAX ||
						 now - old->kept_ms > WM_SPREAD_KEPT_MS))
		drop_payload(s, old);
}

/* Keep the octets for who lacks them. */
static void keep(struct wm_spread *s, struct wm_said *m, const void *payload, size_t len)
{
	wm_spread_expire(s, len);
	m->payload = malloc(len ? len : 1);
	if (!m->payload)
		return; /* who asks for it is told that it is gone */
	if (len)
		memcpy(m->payload, payload, len);
	m->len = len;
	m->kept_ms = wm_env_ms(s->c.env);
	s->kept_octets += len;
	TAILQ_INSERT_TAIL(&s->kept, m, of_kept);
}

/* --- messages --------------------------------------------------------------------------------- */
static void send_small(struct wm_spread *s, struct wm_neighbour *n,
		       const Waymark__Spread__Message *m)
{
	uint8_t packed[HAVE_IDS_MAX * sizeof(uint64_t) + 16];
	size_t len = waymark__spread__message__pack(m, packed);

	s->stats.octets_out += len;
	s->c.send(s->c.arg, &n->id, packed, len);
}

static void send_have(struct wm_neighbour *n, uint64_t *ids, size_t count)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;

	m.have = ids;
	m.n_have = count;
	send_small(n->s, n, &m);
}

static void send_graft(struct wm_spread *s, struct wm_neighbour *n, uint64_t id)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;

	m.graft = &id;
	m.n_graft = 1;
	send_small(s, n, &m);
}

static void send_gone(struct wm_spread *s, struct wm_neighbour *n, uint64_t id)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;

	m.gone = &id;
	m.n_gone = 1;
	send_small(s, n, &m);
}

static void send_prune(struct wm_spread *s, struct wm_neighbour *n)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;

	m.prune = true;
	send_small(s, n, &m);
}

/* News, packed once for all links. @return NULL without memory. */
static uint8_t *pack_news(struct wm_said *said, const void *payload, size_t len, size_t *ret_len)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;
	void *octets = NULL;
	uint8_t *packed = NULL;

	memcpy(&octets, &payload, sizeof(octets)); /* protobuf-c's structures take no const */
	m.id = said->id;
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
	if (!count)
		return;
	n->ids_ms = wm_env_ms(n->s->c.env);
	send_have(n, n->have, count);
}

/* It has it, as it says. */
static void tell_no_more(struct wm_neighbour *n, uint64_t id)
{
	for (unsigned i = 0; i < n->have_count; i++) {
		if (n->have[i] == id) {
			n->have[i] = n->have[--n->have_count];
			return;
		}
	}
}

static void tell_later(struct wm_neighbour *n, uint64_t id)
{
	unsigned ms = memcmp(&n->id, &n->s->c.id, sizeof(n->id)) < 0 ? HAVE_LATE_MS : HAVE_MS;

	if (n->have_count == WM_NEIGHBOUR_HAVE)
		on_have(n);
	if (n->ids_ms && wm_env_ms(n->s->c.env) - n->ids_ms < HAVE_BUSY_MS)
		ms *= HAVE_BUSY;
	if (!n->have_count)
		wm_env_timer_arm(n->have_timer, ms);
	n->have[n->have_count++] = id;
}

/* It said itself that it has it. */
static bool has(const struct wm_said *m, const struct wm_neighbour *n)
{
	for (unsigned i = 0; i < m->holders_count; i++)
		if (wm_peer_id_same(&m->holders[i], &n->id))
			return true;
	return false;
}

/* A link that just came up: what came while it did may have passed it by. */
void wm_spread_tell_recent(struct wm_spread *s, struct wm_neighbour *n)
{
	uint64_t now = wm_env_ms(s->c.env);
	struct wm_said *m;

	TAILQ_FOREACH_REVERSE (m, &s->kept, wm_said_list, of_kept) {
		if (now - m->kept_ms > RECENT_MS)
			return;
		tell_later(n, m->id);
	}
}

/* To every link but the one that it came over. */
static void pass_on(struct wm_spread *s, struct wm_said *m, const void *payload, size_t len,
		    const struct wm_neighbour *from)
{
	struct wm_neighbour *n;
	uint8_t *packed = NULL;
	size_t packed_len = 0;

	TAILQ_FOREACH (n, &s->up, of_up) {
		if (n == from || n->refused)
			continue;
		if (!n->eager) {
			if (!has(m, n))
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
	m = remember(s, wm_env_random64(s->c.env) | 1);
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
		ms = s->c.distance_us ? 3ull * s->c.distance_us(s->c.arg, &n->id) / 2000 : 0;
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
		n->eager = true;
		s->stats.grafts++;
		send_graft(s, n, m->id);
		wm_env_timer_arm(m->timer, graft_ms(s, n));
		return;
	}
	s->stats.missed++;
	forget(s, m);
}

static void on_have_id(struct wm_spread *s, struct wm_neighbour *n, uint64_t id)
{
	struct wm_said *m = said_of(s, id);

	n->ids_ms = wm_env_ms(s->c.env);
	if (m && m->here) {
		tell_no_more(n, id);
		return;
	}
	if (!m) {
		m = s->missing < WM_SPREAD_MISSING_MAX ? remember(s, id) : NULL;
		if (!m) {
			s->stats.missed++;
			return;
		}
		m->timer = wm_env_timer_new(s->c.env, on_missing, m);
		s->missing += m->timer != NULL;
		if (!m->timer || wm_env_timer_arm(m->timer, graft_ms(s, n))) {
			forget(s, m);
			return;
		}
	}
	if (m->holders_count == WM_SAID_HOLDERS || has(m, n))
		return;
	m->holders[m->holders_count++] = n->id;
}

static void on_news(struct wm_spread *s, struct wm_neighbour *n, uint64_t id,
		    const Waymark__Spread__Message *msg)
{
	struct wm_said *m = said_of(s, id);

	if (m && m->here) {
		s->stats.duplicates++;
		/* also if it is lazy here: then it is not there */
		s->stats.prunes += n->eager;
		n->eager = false;
		send_prune(s, n);
		return;
	}
	if (!m)
		m = remember(s, id);
	if (!m)
		return;
	found(s, m);
	m->here = true;
	n->eager = true;
	s->stats.delivered++;
	if (s->c.admit) {
		if (!s->c.admit(s->c.arg, &n->id, msg->payload.data, msg->payload.len))
			return;
		m = said_of(s, id); /* another may have been sent */
		if (!m)
			return;
	}
	keep(s, m, msg->payload.data, msg->payload.len);
	pass_on(s, m, msg->payload.data, msg->payload.len, n);
	if (!s->c.admit)
		s->c.deliver(s->c.arg, &n->id, msg->payload.data, msg->payload.len);
}

static void on_graft(struct wm_spread *s, struct wm_neighbour *n, uint64_t id)
{
	struct wm_said *m = said_of(s, id);
	uint8_t *packed;
	size_t len = 0;

	n->eager = true;
	if (!m || !m->payload) {
		send_gone(s, n, id);
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

/* Tell it that there are too many, and of some of these. */
void wm_spread_full(struct wm_spread *s, struct wm_neighbour *n)
{
	Waymark__Spread__Message m = WAYMARK__SPREAD__MESSAGE__INIT;
	uint8_t packed[OTHERS_MAX * (sizeof(n->id) + 2) + 16];
	ProtobufCBinaryData others[OTHERS_MAX];
	struct wm_neighbour *other;
	size_t len;

	TAILQ_FOREACH (other, &s->up, of_up) {
		if (other == n || m.n_others == OTHERS_MAX)
			continue;
		others[m.n_others].data = other->id.octets;
		others[m.n_others++].len = sizeof(other->id.octets);
	}
	m.full = true;
	m.others = others;
	len = waymark__spread__message__pack(&m, packed);
	s->stats.octets_out += len;
	s->c.send(s->c.arg, &n->id, packed, len);
}

static bool on_full(struct wm_spread *s, struct wm_neighbour *n, const Waymark__Spread__Message *m)
{
	struct wm_peer_id others[OTHERS_MAX];

	if (m->n_others > OTHERS_MAX)
		return false;
	for (size_t i = 0; i < m->n_others; i++) {
		if (m->others[i].len != sizeof(others[i].octets))
			return false;
		memcpy(others[i].octets, m->others[i].data, sizeof(others[i].octets));
	}
	if (n->wanted)
		wm_neighbour_refused(s, n, others, (unsigned)m->n_others);
	return true;
}

static bool take(struct wm_spread *s, struct wm_neighbour *n, const Waymark__Spread__Message *m)
{
	if (m->n_have > HAVE_IDS_MAX || m->n_graft > HAVE_IDS_MAX || m->n_gone > HAVE_IDS_MAX ||
	    m->payload.len > WM_SPREAD_PAYLOAD_MAX || (m->payload.len && !m->id))
		return false;
	for (size_t i = 0; i < m->n_have; i++)
		on_have_id(s, n, m->have[i]);
	for (size_t i = 0; i < m->n_graft; i++)
		on_graft(s, n, m->graft[i]);
	for (size_t i = 0; i < m->n_gone; i++)
		on_gone(s, m->gone[i]);
	if (m->prune)
		n->eager = false;
	if (m->id)
		on_news(s, n, m->id, m);
	/* the last, for it may end the link */
	return !m->full || on_full(s, n, m);
}

int wm_spread_receive(struct wm_spread *s, const struct wm_peer_id *from, const void *p, size_t len)
{
	struct wm_neighbour *n = wm_neighbour_find(s, from);
	Waymark__Spread__Message *m;
	bool good;

	if (!n || !n->is_up)
		return 0; /* of a link that is gone */
	s->stats.octets_in += len;
	m = len <= WM_SPREAD_FRAME_MAX ? waymark__spread__message__unpack(NULL, len, p) : NULL;
	good = m && take(s, n, m);
	waymark__spread__message__free_unpacked(m, NULL);
	if (good)
		return 0;
	s->stats.malformed++;
	return WM_E_INVALID;
}

/* --- life ------------------------------------------------------------------------------------- */
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
	TAILQ_INSERT_TAIL(&s->linked, n, of_linked);
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
	TAILQ_INIT(&s->linked);
	TAILQ_INIT(&s->up);
	s->said = wm_map_new(WM_SPREAD_IDS_MAX + 1);
	s->neighbours = wm_map_new(WM_SPREAD_MEMBERS_MAX);
	s->members = wm_map_new(WM_SPREAD_MEMBERS_MAX);
	if (!s->said || !s->neighbours || !s->members || wm_neighbours_start(s)) {
		wm_spread_free(s);
		return NULL;
	}
	return s;
}

void wm_spread_free(struct wm_spread *s)
{
	struct wm_neighbour *n;
	struct wm_said *m;

	if (!s)
		return;
	while (s->said && (m = TAILQ_FIRST(&s->all)))
		forget(s, m);
	while (s->neighbours && (n = TAILQ_FIRST(&s->linked)))
		wm_neighbour_free(n);
	wm_map_free(s->said);
	wm_map_free(s->neighbours);
	wm_env_timer_free(s->relink);
	wm_map_free(s->members);
	for (unsigned i = 0; i < s->list_count; i++)
		free(s->list[i]);
	free(s->list);
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
	const struct wm_neighbour *n;
	unsigned count = 0;

	TAILQ_FOREACH (n, &s->up, of_up)
		count += !n->refused;
	return count;
}
