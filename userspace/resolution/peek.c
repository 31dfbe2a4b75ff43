/* SPDX-License-Identifier: Apache-2.0 */
/* peek.c - see peek.h. The copy is a table of one set, 0, with backends numbered anew. */
#include "peek.h"

#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/random.h"
#include "waymark/choose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct wm_peek {
	struct wm_set set;
	struct wm_table_head head;
	struct wm_set_live live;
	struct wm_slot *slots;
	struct wm_backend *backends;
	struct wm_backend_live *backend_live;
	uint32_t *indexes; /* of the tables, in order: place i is backend i here */
	uint32_t slots_count, backends_count;
	bool begun;
};

void wm_peek_free(struct wm_peek *p)
{
	if (!p)
		return;
	free(p->slots);
	free(p->backends);
	free(p->backend_live);
	free(p->indexes);
	free(p);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t renumber(const struct wm_peek *p, uint32_t index)
{
	const uint32_t *at = bsearch(&index, p->indexes, p->backends_count, sizeof(index), compare);

	return at ? (uint32_t)(at - p->indexes) : WM_NO_INDEX;
}

static int copy_backends(const struct wm_tables *t, const struct wm_svc *s, struct wm_peek *p)
{
	uint32_t n = s->refs_count;

	p->indexes = calloc(n + 1ul, sizeof(*p->indexes));
	p->backends = calloc(n + 1ul, sizeof(*p->backends));
	p->backend_live = calloc(n + 1ul, sizeof(*p->backend_live));
	if (!p->indexes || !p->backends || !p->backend_live)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		p->indexes[i] = s->refs[i].index;
	qsort(p->indexes, n, sizeof(*p->indexes), compare);
	for (uint32_t i = 0; i < n; i++) {
		p->backends[i] = t->mem.backends[p->indexes[i]];
		if (t->mem.live)
			p->backend_live[i] = t->mem.live[p->indexes[i]];
	}
	p->backends_count = n;
	return 0;
}

static int copy_table(const struct wm_tables *t, const struct wm_svc *s, struct wm_peek *p)
{
	const struct wm_published *of = &s->published;

	p->slots = calloc(of->count + 1ul, sizeof(*p->slots));
	if (!p->slots)
		return -ENOMEM;
	p->slots_count = of->count;
	for (uint32_t i = 0; i < of->count; i++) {
		p->slots[i] = t->mem.slots[of->first + i];
		p->slots[i].backend = renumber(p, p->slots[i].backend);
		p->slots[i].alias = renumber(p, p->slots[i].alias);
	}
	p->head = t->mem.heads[of->word.head];
	p->head.set = p->head.first = 0;
	p->head.flags &= (uint8_t)~WM_HEAD_FEW; /* their numbers are those of the tables */
	p->set.table = (struct wm_set_table){0, of->word.generation};
	if (t->mem.set_live)
		p->live = t->mem.set_live[s->set];
	return 0;
}

int wm_peek_new(const struct wm_tables *t, uint32_t set, struct wm_peek **ret)
{
	const struct wm_svc *s = set < t->mem.sets_cap ? t->by_set[set] : NULL;
	struct wm_peek *p;

	if (!s || !s->published.word.generation || s->damaged)
		return -ENOENT;
	p = calloc(1, sizeof(*p));
	if (!p || copy_backends(t, s, p) || copy_table(t, s, p)) {
		wm_peek_free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

/* No state that is ever asked for. What is counted as up follows. */
static void take_out(struct wm_peek *p, uint32_t i)
{
	struct wm_backend *b = &p->backends[i];

	if ((b->state & WM_STATE_MASK) == WM_STATE_UP) {
		p->live.up4 -= b->families & WM_FAMILY_4 ? 1 : 0;
		p->live.up6 -= b->families & WM_FAMILY_6 ? 1 : 0;
	}
	b->state &= ~(uint32_t)WM_STATE_MASK;
}

void wm_peek_leave_out(struct wm_peek *p, uint64_t instance)
{
	for (uint32_t i = 0; i < p->backends_count; i++)
		if (p->backends[i].instance == instance)
			take_out(p, i);
}

static uint32_t random32(void *arg)
{
	(void)arg;
	return (uint32_t)wm_random64();
}

/* Who is next is asked on the terms of the first: that others were taken out is no outage. */
static void keep_terms(struct wm_peek *p, const struct wm_ask *a)
{
	if (p->begun)
		return;
	p->begun = true;
	p->head.panic_pct = a->states == WM_ASK_ANY && p->head.panic_pct ? 100 : 0;
	if (a->states == WM_ASK_UP) {
		p->head.when_none = WM_NONE_REFUSE;
		p->live.ejected = 0;
	}
}

bool wm_peek_next(struct wm_peek *p, uint64_t key, struct wm_peeked *ret)
{
	const struct wm_view v = {.sets = &p->set,
				  .heads = &p->head,
				  .slots = p->slots,
				  .backends = p->backends,
				  .set_live = &p->live,
				  .sets_cap = 1,
				  .heads_cap = 1,
				  .slots_cap = p->slots_count,
				  .backends_cap = p->backends_count,
				  .live = p->backend_live};
	struct wm_ask a = {
		.now_ns = wm_clock_ns(), .key = key, .families = WM_FAMILY_4 | WM_FAMILY_6};
	struct wm_choice c = {.passed_over = 0};

	if (wm_choose(&v, 0, &a, random32, NULL, &c) != WM_PICKED)
		return false;
	keep_terms(p, &a);
	*ret = (struct wm_peeked){.instance = p->backends[c.backend].instance,
				  .tier = a.tier,
				  .up = (c.state & WM_STATE_MASK) == WM_STATE_UP};
	take_out(p, c.backend);
	return true;
}
