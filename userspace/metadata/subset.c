/* SPDX-License-Identifier: Apache-2.0 */
/* subset.c - see subset.h. */
#include "subset.h"

#include <errno.h>
#include <stdlib.h>

struct wm_subsets {
	const struct wm_policy *p;
	const char *datacenter;
	struct wm_filter *filters[]; /* NULL: all */
};

int wm_subsets_new(const struct wm_policy *p, const char *datacenter, struct wm_subsets **ret,
		   struct wm_err *e)
{
	struct wm_subsets *s =
		calloc(1, sizeof(*s) + p->subsets_count * sizeof(struct wm_filter *));
	struct wm_err why = {0};

	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	s->p = p;
	s->datacenter = datacenter;
	for (uint32_t n = 0; n < p->subsets_count; n++) {
		int err = *p->subsets[n].filter ? wm_filter_compile(p->subsets[n].filter,
								    WM_FILTER_HEALTH_SERVICE,
								    &s->filters[n], &why)
						: 0;

		if (!err)
			continue;
		wm_subsets_free(s);
		return wm_err_set(e, err == -ENOMEM ? err : WM_E_INVALID,
				  "subsets.%s.filter: \"%.64s\" is not allowed: %.300s",
				  p->subsets[n].name, p->subsets[n].filter, why.text);
	}
	*ret = s;
	return 0;
}

void wm_subsets_free(struct wm_subsets *s)
{
	for (uint32_t n = 0; s && n < s->p->subsets_count; n++)
		wm_filter_free(s->filters[n]);
	free(s);
}

bool wm_subsets_has(struct wm_subsets *s, unsigned subset, const struct wm_instance *i)
{
	const struct wm_filter_row row = {.datacenter = s->datacenter,
					  .node = i->node,
					  .instance = i,
					  .holder = i->node->holder};

	if (subset >= s->p->subsets_count ||
	    (s->p->subsets[subset].only_passing && i->status != WM_PASSING))
		return false;
	return !s->filters[subset] || wm_filter_match(s->filters[subset], &row);
}

bool wm_subsets_has_named(struct wm_subsets *s, const char *subset, const struct wm_instance *i)
{
	const struct wm_policy_subset *found;

	if (!*subset)
		return true;
	found = wm_policy_subset(s->p, subset);
	return found && wm_subsets_has(s, (unsigned)(found - s->p->subsets), i);
}

void wm_subsets_begin(struct wm_subsets *s)
{
	for (uint32_t n = 0; n < s->p->subsets_count; n++)
		wm_filter_renew(s->filters[n]);
}

const char *wm_subsets_spent(const struct wm_subsets *s)
{
	for (uint32_t n = 0; n < s->p->subsets_count; n++) {
		if (wm_filter_stopped(s->filters[n]))
			return s->p->subsets[n].name;
	}
	return NULL;
}
