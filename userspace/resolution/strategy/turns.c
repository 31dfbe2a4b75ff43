/* SPDX-License-Identifier: Apache-2.0 */
#include "turns.h"

/* Is @p a due before @p b? The dates are fractions; shares and turns are below 2^31. */
static int before(const struct wm_turn *a, const struct wm_turn *b)
{
	uint64_t x = (2ull * a->done + 1) * b->share, y = (2ull * b->done + 1) * a->share;

	return x != y ? x < y : a->member < b->member;
}

static void sink(struct wm_turns *t, uint32_t i)
{
	for (;;) {
		uint32_t child = 2 * i + 1;
		struct wm_turn swap;

		if (child >= t->n)
			return;
		if (child + 1 < t->n && before(&t->heap[child + 1], &t->heap[child]))
			child++;
		if (!before(&t->heap[child], &t->heap[i]))
			return;
		swap = t->heap[i];
		t->heap[i] = t->heap[child];
		t->heap[child] = swap;
		i = child;
	}
}

void wm_turns_begin(struct wm_turns *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		t->heap[i].member = i;
		t->heap[i].done = 0;
	}
	for (uint32_t i = t->n / 2; i-- > 0;)
		sink(t, i);
}

uint32_t wm_turns_next(struct wm_turns *t)
{
	uint32_t member = t->heap[0].member;

	t->heap[0].done++;
	sink(t, 0);
	return member;
}
