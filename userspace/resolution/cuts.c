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
	s->cuts->tiers = r->head.tiers;
	s->cuts->rule = r->spread;
	memcpy(s->cuts->target, r->target, sizeof(r->target));
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

void wm_cuts_now(struct wm_tables *t, struct wm_svc *s)
{
	struct wm_tier tiers[WM_TIERS_MAX] = {{0}};
	uint16_t cut[WM_TIERS_MAX] = {0};
	struct wm_cuts *x = s->cuts;

	if (x) {
		unlist(x);
		for (unsigned i = 0; i < x->tiers; i++)
			tiers[i].target = x->target[i];
		for (uint32_t k = 0; k < s->refs_count; k++) {
			const struct wm_backend *b = &t->mem.backends[s->refs[k].index];
			bool up = (b->state & WM_STATE_MASK) == WM_STATE_UP;

			for (unsigned i = 0; i < x->tiers; i++) {
				if (!(s->refs[k].tiers >> i & 1))
					continue;
				tiers[i].all += b->weight;
				tiers[i].up += up ? b->weight : 0;
			}
		}
		wm_tiers_cut(tiers, x->tiers, &x->rule, cut);
	}
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
