/* SPDX-License-Identifier: Apache-2.0 */
/* cuts.c - how new connections are shared among the tiers of a set: recomputed when health has
 * changed, once a turn of the loop, and stored where programs read it. Nothing is published. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void unlist(struct wm_cuts *x)
{
	if (x->listed)
		LIST_REMOVE(x, entry);
	x->listed = false;
}

void wm_cuts_free(struct wm_svc *s)
{
	if (!s->cuts)
		return;
	unlist(s->cuts);
	free(s->cuts);
	s->cuts = NULL;
}

int wm_cuts_set(struct wm_tables *t, struct wm_svc *s, const struct wm_want_rule *r)
{
	(void)t;
	if (!r || r->head.tiers < 2) {
		wm_cuts_free(s);
		return 0;
	}
	if (!s->cuts)
		s->cuts = calloc(1, sizeof(*s->cuts));
	if (!s->cuts)
		return -ENOMEM;
	s->cuts->svc = s;
	s->cuts->rule = *r;
	return 0;
}

void wm_cuts_mark(struct wm_tables *t, uint32_t set)
{
	struct wm_cuts *x = t->by_set[set] ? t->by_set[set]->cuts : NULL;

	if (!x || x->listed)
		return;
	LIST_INSERT_HEAD(&t->uncut, x, entry);
	x->listed = true;
}

void wm_cuts_of(const struct wm_tables *t, const struct wm_ref *refs, uint32_t n,
		const struct wm_want_rule *r, uint16_t ret[WM_TIERS_MAX])
{
	struct wm_tier tiers[WM_TIERS_MAX] = {{0}};

	memset(ret, 0, WM_TIERS_MAX * sizeof(*ret));
	if (!r || r->head.tiers < 2)
		return;
	for (unsigned i = 0; i < r->head.tiers; i++)
		tiers[i].target = r->target[i];
	for (uint32_t k = 0; k < n; k++) {
		const struct wm_backend *b = &t->mem.backends[refs[k].index];
		bool up = (b->state & WM_STATE_MASK) == WM_STATE_UP;

		for (unsigned i = 0; i < r->head.tiers; i++) {
			if (!(refs[k].tiers >> i & 1))
				continue;
			tiers[i].all += b->weight;
			tiers[i].up += up ? b->weight : 0;
		}
	}
	wm_tiers_cut(tiers, r->head.tiers, &r->spread, ret);
}

void wm_cuts_now(struct wm_tables *t, struct wm_svc *s)
{
	uint16_t cut[WM_TIERS_MAX];

	if (s->cuts)
		unlist(s->cuts);
	wm_cuts_of(t, s->refs, s->refs_count, s->cuts ? &s->cuts->rule : NULL, cut);
	/* a program between two stores draws by a mixture once; an empty tier leads to the next */
	for (unsigned i = 0; t->mem.set_live && i < WM_TIERS_MAX; i++)
		__atomic_store_n(&t->mem.set_live[s->set].cut[i], cut[i], __ATOMIC_RELAXED);
}

void wm_tables_cut(struct wm_tables *t)
{
	struct wm_cuts *x;

	while ((x = LIST_FIRST(&t->uncut)))
		wm_cuts_now(t, x->svc);
}
