/* SPDX-License-Identifier: Apache-2.0 */
/* subset.c - see subset.h. */
#include "subset.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

struct wm_subsets {
	const struct wm_policy *p;
	const char *datacenter;
	const char *only;	     /* NULL: all are compiled */
	struct wm_filter *filters[]; /* NULL: all */
};

static bool is_compiled(const struct wm_subsets *s, uint32_t n)
{
	return !s->only || strcasecmp(s->p->subsets[n].name, s->only) == 0;
}

static int compile(struct wm_subsets *s, uint32_t n, struct wm_err *e)
{
	const struct wm_policy_subset *of = &s->p->subsets[n];
	struct wm_err why = {0};
	int err = *of->filter ? wm_filter_compile(of->filter, WM_FILTER_HEALTH_SERVICE,
						  &s->filters[n], &why)
			      : 0;

	return err ? wm_err_set(e, err == -ENOMEM ? err : WM_E_INVALID,
				"subsets.%s.filter: \"%.64s\" is not allowed: %.300s", of->name,
				of->filter, why.text)
		   : 0;
}

/* @p only: this one alone; NULL: all. */
static int make(const struct wm_policy *p, const char *datacenter, const char *only,
		struct wm_subsets **ret, struct wm_err *e)
{
	struct wm_subsets *s =
		calloc(1, sizeof(*s) + p->subsets_count * sizeof(struct wm_filter *));
	int err = 0;

	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	s->p = p;
	s->datacenter = datacenter;
	s->only = only;
	for (uint32_t n = 0; n < p->subsets_count && !err; n++)
		if (is_compiled(s, n))
			err = compile(s, n, e);
	if (err)
		wm_subsets_free(s);
	else
		*ret = s;
	return err;
}

int wm_subsets_new(const struct wm_policy *p, const char *datacenter, struct wm_subsets **ret,
		   struct wm_err *e)
{
	return make(p, datacenter, NULL, ret, e);
}

int wm_subsets_one(const struct wm_policy *p, const char *datacenter, const char *name,
		   struct wm_subsets **ret, struct wm_err *e)
{
	return make(p, datacenter, name, ret, e);
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

	if (subset >= s->p->subsets_count || !is_compiled(s, subset) ||
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
