/* SPDX-License-Identifier: Apache-2.0 */
/* bands.c - how far the nodes of other agents are, for who chooses the nearest: by the round trips
 * of our probes, else by coordinates. In a large mesh each is probed seldom, so mostly these tell.
 */
#include "internal.h"
#include "userspace/registry/registry.h"

#include <stdlib.h>

#define LOOK_MS 5000 /* between looks; two agree before a node moves: news is old by 10 s */
/* A coordinate is believed from when its error is below this: one that has not yet found its place
 * begins with 1.5 (member_coordinate.c). */
#define ERROR_SETTLED 1.0

struct wm_bands {
	struct wm_sync *s;
	struct wm_env_timer *look;
	struct wm_bands_kept *kept; /* NULL: nowhere */
};

static bool is_settled(const struct wm_member *m)
{
	return m->has_coordinate && m->coordinate.error <= ERROR_SETTLED;
}

/* @return 0: not known. */
static uint32_t round_trip_us(const struct wm_sync *s, const struct wm_member *m)
{
	const struct wm_member *self = wm_members_self(s->members);
	double us;

	if (m->median_us)
		return m->median_us;
	if (!is_settled(self) || !is_settled(m))
		return 0;
	us = wm_coordinate_distance(&self->coordinate, &m->coordinate) * 1e6;
	return us < 1 ? 1 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static bool look_at(struct wm_sync *s, struct wm_node *n)
{
	const struct wm_member *m;
	struct wm_peer_id id;
	uint32_t us;

	if (n->self || !n->id || wm_peer_id_parse(n->id, &id))
		return false;
	m = wm_members_by_id(s->members, &id);
	us = m && m->state == WM_MEMBER_ALIVE ? round_trip_us(s, m) : 0;
	return us && wm_registry_set_band(s->c.registry, n, wm_band_of(us, (enum wm_band)n->band));
}

/* Cost: O(nodes). */
static void on_look(void *arg)
{
	struct wm_bands *b = arg;
	bool moved = false;
	struct wm_node *n;
	size_t pos = 0;

	while ((n = wm_registry_next_node(b->s->c.registry, &pos)))
		moved |= look_at(b->s, n);
	if (moved && b->kept)
		wm_bands_keep(b->kept);
	if (moved && b->s->c.moved)
		b->s->c.moved(b->s->c.moved_arg);
	wm_env_timer_arm(b->look, LOOK_MS);
}

struct wm_bands *wm_bands_new(struct wm_sync *s)
{
	struct wm_bands *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->s = s;
	b->look = wm_env_timer_new(s->env, on_look, b);
	b->kept = s->c.data_dir ? wm_bands_kept_new(s) : NULL;
	if (!b->look || (s->c.data_dir && !b->kept)) {
		wm_bands_free(b);
		return NULL;
	}
	on_look(b);
	return b;
}

void wm_bands_free(struct wm_bands *b)
{
	if (!b)
		return;
	wm_env_timer_free(b->look);
	wm_bands_kept_free(b->kept);
	free(b);
}
