/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - one agent: its cores, put together as sync/sync.c does, and who is a member to it: told
 * by the simulator, as late as a membership would, where the scenario does not run that
 * (members.c). */
#include "sim.h"
#include "sim_objects.h"

#include <stdlib.h>
#include <string.h>

#define FOUND_MIN_MS 100 /* until who came, or is reachable again, is a member again */
#define FOUND_MAX_MS 600

int sim_node_of(const struct sim *s, const struct wm_peer_id *id)
{
	unsigned at = (unsigned)id->octets[0] << 16 | (unsigned)id->octets[1] << 8 | id->octets[2];

	return at < (unsigned)s->count ? (int)at : -1;
}

static void want(void *arg, const struct wm_peer_id *id, bool on)
{
	struct sim_node *n = arg;

	sim_want(n->s, n->at, sim_node_of(n->s, id), on);
}

static void send_spread(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct sim_node *n = arg;

	sim_send(n->s, n->at, sim_node_of(n->s, to), SIM_SPREAD, p, len);
}

static void deliver(void *arg, const struct wm_peer_id *from, const void *payload, size_t len)
{
	struct sim_node *n = arg;
	unsigned number;

	if (n->replica) {
		(void)wm_replica_spread(n->replica, from, payload, len, NULL);
		return;
	}
	memcpy(&number, payload, sizeof(number));
	sim_reached(n->s, n->at, number);
}

static uint32_t distance_us(void *arg, const struct wm_peer_id *id)
{
	const struct sim_node *n = arg;

	return 2 * sim_delay_us(n->s, n->at, sim_node_of(n->s, id));
}

/* --- who is there ----------------------------------------------------------------------------- */
static void tell(struct sim *s, int a, int b, bool there)
{
	struct sim_node *n = &s->nodes[a];

	if (!there)
		sim_break(s, a, b);
	(void)wm_spread_member(n->spread, &s->nodes[b].id, there);
	if (n->replica && there)
		wm_replica_member(n->replica, &s->nodes[b].id, true);
}

static void look(struct sim_node *n, bool for_new)
{
	struct sim *s = n->s;

	for (int b = 0; b < s->count; b++) {
		bool *known = &s->member[(size_t)n->at * (size_t)s->count + (size_t)b];
		bool there = s->nodes[b].alive && !sim_cut(s, n->at, b) && !sim_cut(s, b, n->at);

		if (b == n->at || *known == there || there != for_new)
			continue;
		*known = there;
		tell(s, n->at, b, there);
	}
}

static void on_lost(void *arg)
{
	struct sim_node *n = arg;

	if (!n->alive)
		return;
	look(n, false);
	if (n->lost_ns > n->s->ns)
		sim_at(n->s, &n->lost, n->lost_ns);
}

static void on_found(void *arg)
{
	struct sim_node *n = arg;

	if (n->alive)
		look(n, true);
}

void sim_changed(struct sim *s)
{
	if (s->c.member)
		return; /* its core finds out */
	for (int a = 0; a < s->count; a++) {
		struct sim_node *n = &s->nodes[a];
		uint64_t ms = s->c.detect_ms + sim_below(s, s->c.detect_ms / 4 + 1);

		if (!n->alive)
			continue;
		n->lost_ns = s->ns + ms * WM_NS_PER_MS;
		if (n->lost.slot == SIM_IDLE)
			sim_at(s, &n->lost, n->lost_ns);
		ms = FOUND_MIN_MS + sim_below(s, FOUND_MAX_MS - FOUND_MIN_MS);
		if (n->found.slot == SIM_IDLE)
			sim_at(s, &n->found, s->ns + ms * WM_NS_PER_MS);
	}
}

/* A part of all, drawn: what a node of a large mesh may be linked to. */
static void introduce(struct sim *s, int at)
{
	if (s->member || s->c.member)
		return; /* sim_changed() does, or the membership */
	for (unsigned i = 0; i < s->c.view; i++)
		(void)wm_spread_member(s->nodes[at].spread,
				       &s->nodes[sim_below(s, (uint64_t)s->count)].id, true);
}

/* --- life ------------------------------------------------------------------------------------- */
int sim_node_start(struct sim *s, int at)
{
	struct sim_node *n = &s->nodes[at];
	struct wm_spread_config c = {.env = &n->env,
				     .id = n->id,
				     .links = s->c.links,
				     .far = s->c.far,
				     .arg = n,
				     .want = want,
				     .send = send_spread,
				     .deliver = deliver,
				     .distance_us = s->c.knows_distance ? distance_us : NULL};

	sim_event_init(&n->lost, -1, on_lost, n);
	sim_event_init(&n->found, -1, on_found, n);
	n->spread = wm_spread_new(&c);
	if (!n->spread || (s->c.replica && sim_objects_start(n)))
		return -1;
	n->alive = true;
	n->silent = false;
	n->killed = 0;
	n->started_ns = s->ns;
	if (s->c.member && sim_members_start(n))
		return -1;
	if (s->member)
		memset(s->member + (size_t)at * (size_t)s->count, 0, (size_t)s->count);
	introduce(s, at);
	return 0;
}

void sim_node_stop(struct sim *s, int at, bool silent)
{
	struct sim_node *n = &s->nodes[at];

	n->alive = false;
	n->silent = silent;
	n->died_ns = s->ns;
	n->paused_ns = 0;
	sim_members_stop(n);
	sim_cancel(s, &n->lost);
	sim_cancel(s, &n->found);
	sim_break_all(s, at, silent);
	wm_spread_free(n->spread);
	n->spread = NULL;
	if (n->replica)
		sim_objects_stop(n);
}

void sim_say(struct sim *s, int at, unsigned n)
{
	static uint8_t payload[WM_SPREAD_PAYLOAD_MAX];

	if (s->nodes[at].replica) {
		sim_objects_say(&s->nodes[at], n, s->c.payload);
		return;
	}
	memcpy(payload, &n, sizeof(n));
	(void)wm_spread_send(s->nodes[at].spread, payload, s->c.payload);
}
