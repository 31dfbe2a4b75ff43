/* SPDX-License-Identifier: Apache-2.0 */
/* maglev.c - a table of consistent hashing. Every member walks the places by a permutation of its
 * own, which only its identity decides, and takes the first free one at each of its turns. Who
 * leaves gives its places to the others, who keep nearly all of theirs. */
#include "strategy.h"
#include "turns.h"
#include "waymark/name_hash.h"

#include <errno.h>
#include <stdlib.h>

#define FREE 0xffffffffu

/* Where a member looks next: offset + k * skip, modulo the places. */
struct walk {
	uint32_t at, skip;
};

static uint32_t size(const struct wm_member *members, uint32_t n)
{
	(void)members;
	(void)n;
	return WM_MAGLEV_SLOTS;
}

/* The places are a prime, so every skip meets each of them once. */
static struct walk walk_of(const struct wm_member *m, uint32_t places)
{
	uint64_t a = wm_mix64(m->instance ^ 0x6d61676c65762d61ull),
		 b = wm_mix64(m->instance ^ 0x6d61676c65762d62ull);

	return (struct walk){(uint32_t)(a % places), (uint32_t)(b % (places - 1)) + 1};
}

/* The next free place of @p w's permutation; there is one. */
static uint32_t claim(struct walk *w, const uint32_t *owner, uint32_t places)
{
	uint32_t place = w->at;

	while (owner[place] != FREE)
		place = (place + w->skip) % places;
	w->at = (place + w->skip) % places;
	return place;
}

static int build(const struct wm_member *members, uint32_t n, struct wm_slot *slots, uint32_t count)
{
	struct wm_turns turns = {malloc(n * sizeof(*turns.heap)), n};
	struct walk *walks = calloc(n, sizeof(*walks));
	uint32_t *owner = malloc(count * sizeof(*owner));

	if (!turns.heap || !walks || !owner) {
		free(turns.heap);
		free(walks);
		free(owner);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		walks[i] = walk_of(&members[i], count);
		turns.heap[i].share = members[i].weight;
	}
	for (uint32_t i = 0; i < count; i++)
		owner[i] = FREE;
	wm_turns_begin(&turns);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t m = wm_turns_next(&turns);

		owner[claim(&walks[m], owner, count)] = m;
	}
	for (uint32_t i = 0; i < count; i++)
		slots[i] = wm_slot_of(&members[owner[i]]);
	free(turns.heap);
	free(walks);
	free(owner);
	return 0;
}
const struct wm_strategy wm_strategy_maglev = {"maglev", size, build};
