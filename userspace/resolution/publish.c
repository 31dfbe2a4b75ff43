/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c - what a set's table is, and how a new one takes the place of the old: slots into a
 * free range, a free head that tells of them, then one store of the set's word. */
#include "internal.h"
#include "waymark/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- building --------------------------------------------------------------------------------- */
static int grow_slots(struct wm_tables *t, uint32_t n)
{
	uint32_t cap = t->slots_scratch ? t->slots_scratch : 64;

	if (n <= t->slots_scratch)
		return 0;
	while (cap < n)
		cap *= 2;
	free(t->slots_new);
	t->slots_new = malloc(cap * sizeof(*t->slots_new));
	t->slots_scratch = t->slots_new ? cap : 0;
	return t->slots_new ? 0 : -ENOMEM;
}

/* Those of tier @p tier that take picks, in the order of their instances. */
static uint32_t gather(struct wm_tables *t, const struct wm_want_set *w, uint32_t n, unsigned tier)
{
	bool even = t->head_new.balance == WM_BALANCE_RANDOM;
	uint32_t used = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct wm_want_backend *b = &w->backends[t->order[i]];
		uint32_t index = t->refs_new[i].index;

		if (!b->weight || !((b->tiers ? b->tiers : 1) >> tier & 1))
			continue;
		t->members[used++] =
			(struct wm_member){.instance = b->instance,
					   .backend = index,
					   .stamp = (uint16_t)(t->mem.backends[index].state >> 16),
					   .weight = even ? 1 : (uint16_t)b->weight};
	}
	return used;
}

static const struct wm_strategy *strategy_of(uint8_t balance)
{
	switch (balance) {
	case WM_BALANCE_ROUND_ROBIN:
		return &wm_strategy_rotation;
	case WM_BALANCE_MAGLEV:
		return &wm_strategy_maglev;
	case WM_BALANCE_DIRECT:
		return &wm_strategy_listed;
	default: /* a draw by weight, or two */
		return &wm_strategy_alias;
	}
}

/* Backends that are in some tier. */
static uint32_t distinct(const struct wm_want_set *w, const uint32_t *order, uint32_t n)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < n; i++)
		used += w->backends[order[i]].weight != 0;
	return used;
}

/* Are all whom SRV may name in slots, each with its target? One without weight is in none, and @p n
 * are fewer than are wanted where not all fit. @return WM_HEAD_SRV*, 0: they are not. */
static uint8_t tells_srv(const struct wm_tables *t, const struct wm_want_set *w, uint32_t n)
{
	bool whole = w->srv && wm_targets_there(t) && n == w->backends_count;
	const struct wm_strategy *s = strategy_of(t->head_new.balance);

	for (uint32_t i = 0; whole && i < n; i++)
		whole = w->backends[i].weight && wm_backend_has_target(&w->backends[i]);
	if (!whole)
		return 0;
	return t->head_new.tiers == 1 && s == &wm_strategy_alias ? WM_HEAD_SRV : WM_HEAD_SRV_MANY;
}

/* Few slots that lead to one backend each stand in the head, too. */
static void tell_few(struct wm_table_head *h, const struct wm_slot *slots, uint32_t count)
{
	if (h->tiers != 1 || !count || count > WM_FEW_MAX)
		return;
	for (uint32_t i = 0; i < count; i++)
		if (slots[i].keep != UINT32_MAX)
			return;
	for (uint32_t i = 0; i < count; i++) {
		h->few.backend[i] = slots[i].backend;
		h->few.stamp[i] = slots[i].stamp;
	}
	h->flags |= WM_HEAD_FEW;
}

bool wm_table_is_wide(uint8_t balance)
{
	const struct wm_strategy *s = strategy_of(balance);

	return s == &wm_strategy_rotation || s == &wm_strategy_maglev;
}

int64_t wm_table_build(struct wm_tables *t, const struct wm_want_set *w, uint32_t n, bool narrow)
{
	struct wm_table_head *h = &t->head_new;
	const struct wm_strategy *s;
	uint32_t count = 0, used;
	int r = 0;

	*h = w->rule ? w->rule->head : (struct wm_table_head){.tiers = 1};
	if (narrow)
		h->balance = WM_BALANCE_WEIGHTED;
	h->generation = h->set = h->first = 0;
	memset(h->end, 0, sizeof(h->end));
	h->backends = distinct(w, t->order, n);
	h->flags |= tells_srv(t, w, n);
	s = strategy_of(h->balance);
	for (unsigned i = 0; i < h->tiers; i++) {
		used = gather(t, w, n, i);
		count += used ? s->size(t->members, used) : 0;
		h->end[i] = count;
	}
	r = grow_slots(t, count);
	for (unsigned i = 0; !r && i < h->tiers; i++) {
		uint32_t begin = i ? h->end[i - 1] : 0;

		used = gather(t, w, n, i);
		if (used)
			r = s->build(t->members, used, t->slots_new + begin, h->end[i] - begin);
	}
	if (!r)
		tell_few(h, t->slots_new, count);
	return r ? r : (int64_t)count;
}

/* --- publishing ------------------------------------------------------------------------------- */
/* Publish @p word: one release store; what it points to is visible before it. */
static void store_word(struct wm_set *set, struct wm_set_table word)
{
	wm_table_word w;

	__builtin_memcpy(&w, &word, sizeof(w));
	__atomic_store_n((wm_table_word *)&set->table, w, __ATOMIC_RELEASE);
}

static uint32_t next_generation(struct wm_tables *t)
{
	t->generation++;
	if (!t->generation)
		t->generation = 1;
	return t->generation;
}

/* Does a set without a slot have something to say? */
static bool shown_empty(const struct wm_tables *t)
{
	return t->head_new.when_none == WM_NONE_PASS;
}

static bool same_table(const struct wm_tables *t, const struct wm_svc *s, uint32_t count)
{
	const struct wm_published *p = &s->published;
	struct wm_table_head have;

	if (s->damaged || count != p->count)
		return false;
	if (!p->word.generation)
		return !count && !shown_empty(t);
	if (!count && !shown_empty(t))
		return false;
	have = t->mem.heads[p->word.head];
	have.generation = have.set = have.first = 0;
	return !memcmp(&have, &t->head_new, sizeof(have)) &&
	       !memcmp(t->mem.slots + p->first, t->slots_new, count * sizeof(*t->slots_new));
}

/* A reader that holds this head from before finds another generation, whatever it has read. */
static void write_head(struct wm_tables *t, uint32_t index, const struct wm_table_head *h)
{
	struct wm_table_head *at = &t->mem.heads[index];
	size_t skip = sizeof(at->generation);

	__atomic_store_n(&at->generation, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy((uint8_t *)at + skip, (const uint8_t *)h + skip, sizeof(*at) - skip);
	__atomic_store_n(&at->generation, h->generation, __ATOMIC_RELEASE);
}

/* Behind the store that took it out of reach. */
static void give_back(struct wm_tables *t, struct wm_svc *s)
{
	const struct wm_published *p = &s->published;
	uint64_t ticket = wm_tables_ticket(t);

	if (!s->damaged && p->word.generation) {
		if (p->count)
			wm_range_give(t->slots, p->first, p->count, ticket);
		wm_index_give(t->heads, p->word.head, ticket);
	}
	s->published = (struct wm_published){0};
	s->damaged = false;
}

void wm_table_unpublish(struct wm_tables *t, struct wm_svc *s)
{
	store_word(&t->mem.sets[s->set], (struct wm_set_table){0});
	give_back(t, s);
}

int wm_table_publish(struct wm_tables *t, struct wm_svc *s, uint32_t count, struct wm_err *e)
{
	struct wm_published next = {.count = count};

	if (same_table(t, s, count))
		return 0;
	if (!count && !shown_empty(t)) {
		wm_table_unpublish(t, s);
		t->stats.publishes++;
		return 0;
	}
	if (count && wm_range_take(t->slots, count, &next.first))
		return wm_err_set(e, WM_E_FULL, "slots: %u are the limit (kernel.backends_max)",
				  t->mem.slots_cap);
	/* where programs look ahead, while the set's word is on its way to them */
	if (wm_index_take_at(t->heads, s->set, &next.word.head)) {
		if (count)
			wm_range_give(t->slots, next.first, count, 0);
		return wm_err_set(e, WM_E_FULL, "heads: %u are the limit (kernel.services_max)",
				  t->mem.heads_cap);
	}
	next.word.generation = next_generation(t);
	if (count)
		memcpy(t->mem.slots + next.first, t->slots_new, count * sizeof(*t->slots_new));
	t->head_new.generation = next.word.generation;
	t->head_new.set = s->set;
	t->head_new.first = next.first;
	write_head(t, next.word.head, &t->head_new);
	store_word(&t->mem.sets[s->set], next.word);
	give_back(t, s);
	s->published = next;
	t->stats.publishes++;
	return 0;
}
