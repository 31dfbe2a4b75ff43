/* SPDX-License-Identifier: Apache-2.0 */
/* alias.c - a weighted draw in one look: Vose's method on integers. */
#include "strategy.h"

#include <errno.h>
#include <stdlib.h>

#define KEEP_ALL 0xffffffffu

static uint32_t one_each(const struct wm_member *members, uint32_t n)
{
	(void)members;
	return n;
}

static int build(const struct wm_member *members, uint32_t n, struct wm_slot *slots, uint32_t count)
{
	/* shares are scaled so that the average is `total`: integers, exact at any weight */
	uint64_t total = 0, *share = malloc(n * sizeof(*share));
	uint32_t *stack = malloc(n * sizeof(*stack)), small = 0, large = n, s, l;

	(void)count;
	if (!share || !stack) {
		free(share);
		free(stack);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		total += members[i].weight;
	for (uint32_t i = 0; i < n; i++) {
		share[i] = (uint64_t)members[i].weight * n;
		slots[i] = wm_slot_of(&members[i]);
		/* small ones from the left, large ones from the right of one array */
		if (share[i] < total)
			stack[small++] = i;
		else
			stack[--large] = i;
	}
	while (small && large < n) {
		s = stack[--small];
		l = stack[large];
		slots[s].keep = (uint32_t)((unsigned __int128)share[s] * KEEP_ALL / total);
		slots[s].alias = members[l].backend;
		slots[s].alias_stamp = members[l].stamp;
		share[l] -= total - share[s];
		if (share[l] < total) {
			large++;
			stack[small++] = l;
		}
	}
	free(share);
	free(stack);
	return 0;
}
const struct wm_strategy wm_strategy_alias = {"weighted", one_each, build};

static int list(const struct wm_member *members, uint32_t n, struct wm_slot *slots, uint32_t count)
{
	(void)count;
	for (uint32_t i = 0; i < n; i++)
		slots[i] = wm_slot_of(&members[i]);
	return 0;
}
const struct wm_strategy wm_strategy_listed = {"direct", one_each, list};
