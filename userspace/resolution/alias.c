/* SPDX-License-Identifier: Apache-2.0 */
#include "alias.h"

#include <errno.h>
#include <stdlib.h>

#define KEEP_ALL 0xffffffffu

int wm_alias_build(const uint32_t *backends, const uint32_t *weights, uint32_t n,
		   struct wm_slot *slots)
{
	/* shares are scaled so that the average is `total`: integers, exact at any weight */
	uint64_t total = 0, *share;
	uint32_t *stack, small = 0, large = n, s, l;

	if (!n)
		return 0;
	share = malloc(n * sizeof(*share));
	stack = malloc(n * sizeof(*stack));
	if (!share || !stack) {
		free(share);
		free(stack);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		total += weights[i];
	for (uint32_t i = 0; i < n; i++) {
		share[i] = (uint64_t)weights[i] * n;
		slots[i] = (struct wm_slot){.backend = backends[i],
					    .alias = backends[i],
					    .keep = KEEP_ALL,
					    .weight = (uint16_t)weights[i]};
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
		slots[s].alias = backends[l];
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
