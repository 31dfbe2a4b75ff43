/* SPDX-License-Identifier: Apache-2.0 */
/* rotation.c - a sequence of turns by weight, one slot a turn. */
#include "strategy.h"
#include "turns.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/* Turns of a weight: exact where all of them together fit, else in proportion, at least one. */
struct scale {
	uint64_t total; /* of weights divided by what they have in common */
	uint32_t common, n, most;
};

static struct scale scale_of(const struct wm_member *members, uint32_t n)
{
	struct scale s = {.n = n, .most = 2 * n};

	if (s.most < WM_ROTATION_MAX)
		s.most = WM_ROTATION_MAX;
	if (s.most > WM_TIER_SLOTS_MAX)
		s.most = WM_TIER_SLOTS_MAX;
	for (uint32_t i = 0; i < n; i++)
		s.common = gcd(members[i].weight, s.common);
	for (uint32_t i = 0; i < n; i++)
		s.total += members[i].weight / s.common;
	return s;
}

static uint32_t turns_of(const struct scale *s, uint32_t weight)
{
	uint64_t turns = weight / s->common;

	if (s->total <= s->most)
		return (uint32_t)turns;
	return (uint32_t)(1 + turns * (s->most - s->n) / s->total);
}

static uint32_t size(const struct wm_member *members, uint32_t n)
{
	struct scale s = scale_of(members, n);
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += turns_of(&s, members[i].weight);
	return sum;
}

static int build(const struct wm_member *members, uint32_t n, struct wm_slot *slots, uint32_t count)
{
	struct wm_turns turns = {malloc(n * sizeof(*turns.heap)), n};
	struct scale s = scale_of(members, n);

	if (!turns.heap)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		turns.heap[i].share = turns_of(&s, members[i].weight);
	wm_turns_begin(&turns);
	for (uint32_t i = 0; i < count; i++)
		slots[i] = wm_slot_of(&members[wm_turns_next(&turns)]);
	free(turns.heap);
	return 0;
}
const struct wm_strategy wm_strategy_rotation = {"round_robin", size, build};
