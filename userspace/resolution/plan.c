/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "userspace/metadata/selection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(WM_SELECTION_TIERS_MAX == WM_TIERS_MAX, "a selection fits a table");

static struct wm_table_head head_of(const struct wm_policy *p)
{
	return (struct wm_table_head){
		.balance = (__u8)p->balance,
		.when_none = (__u8)p->when_none,
		.hash_on = (__u8)p->hash_on,
		.panic_pct = (__u8)p->panic_threshold,
		.eject_max_pct = (__u8)p->outlier.most_percent,
		.eject_after = (__u8)p->outlier.failures,
		.eject_refused = (__u8)p->outlier.refused,
		.eject_least = (__u8)p->outlier.least_hosts,
		.eject_base_s = (__u16)p->outlier.base,
		.eject_longest_s = (__u16)p->outlier.longest,
		.affinity_s = p->affinity.key ? (__u16)p->affinity.timeout : 0,
		.flags = (__u8)(p->affinity.key & WM_HEAD_AFFINITY),
	};
}

/* Of a service without a policy: what a policy falls back to that says nothing. */
static const struct wm_table_head *head_of_none(void)
{
	static struct wm_table_head head;
	struct wm_policy_draft d;

	if (!head.tiers) {
		wm_policy_draft_init(&d, "");
		head = head_of(&d.p);
		head.tiers = 1;
	}
	return &head;
}

static int by_instance(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct wm_planned *)a)->instance,
		  y = (uintptr_t)((const struct wm_planned *)b)->instance;

	return x < y ? -1 : x > y;
}

/* The members of all tiers, each once. */
static int gather(const struct wm_selection *c, struct wm_plan *ret)
{
	uint32_t n = 0, kept = 0;

	for (unsigned t = 0; t < c->count; t++)
		n += c->tiers[t].count;
	ret->planned = calloc(n + 1, sizeof(*ret->planned));
	if (!ret->planned)
		return -ENOMEM;
	n = 0;
	for (unsigned t = 0; t < c->count; t++)
		for (unsigned k = 0; k < c->tiers[t].count; k++)
			ret->planned[n++] =
				(struct wm_planned){c->tiers[t].members[k], (uint8_t)(1u << t)};
	qsort(ret->planned, n, sizeof(*ret->planned), by_instance);
	for (uint32_t i = 0; i < n; i++) {
		if (kept && ret->planned[kept - 1].instance == ret->planned[i].instance)
			ret->planned[kept - 1].tiers |= ret->planned[i].tiers;
		else
			ret->planned[kept++] = ret->planned[i];
	}
	ret->count = kept;
	return 0;
}

static int plan_all(const struct wm_service *s, struct wm_plan *ret)
{
	ret->planned = calloc(s->instances_count + 1ul, sizeof(*ret->planned));
	if (!ret->planned)
		return -ENOMEM;
	for (unsigned i = 0; i < s->instances_count; i++)
		ret->planned[i] = (struct wm_planned){s->instances[i], 1};
	ret->count = s->instances_count;
	return 0;
}

int wm_plan_make(const struct wm_registry *r, const struct wm_service *s, const char *subset,
		 struct wm_plan *ret)
{
	struct wm_selection c;
	int err;

	*ret = (struct wm_plan){.policy = wm_registry_policy(r, s->name)};
	ret->rule.head = *head_of_none();
	if (!ret->policy)
		return plan_all(s, ret);
	err = wm_selection_make(r, s->name, subset, false, &c);
	if (err)
		return err;
	if (c.policy) /* behind redirects the last decides; without one, who sent there */
		ret->policy = c.policy;
	ret->rule.head = head_of(ret->policy);
	ret->rule.head.tiers = (__u8)(c.count ? c.count : 1);
	wm_selection_rule(&c, &ret->rule.spread);
	for (unsigned t = 0; t < c.count; t++)
		ret->rule.target[t] = (uint16_t)c.tiers[t].target;
	err = gather(&c, ret);
	wm_selection_done(&c);
	return err;
}

int wm_plan_tagged(const struct wm_service *s, const char *tag, struct wm_plan *ret)
{
	*ret = (struct wm_plan){.rule.head = *head_of_none()};
	ret->planned = calloc(s->instances_count + 1ul, sizeof(*ret->planned));
	if (!ret->planned)
		return -ENOMEM;
	for (unsigned i = 0; i < s->instances_count; i++)
		if (wm_instance_has_tag(s->instances[i], tag))
			ret->planned[ret->count++] = (struct wm_planned){s->instances[i], 1};
	return 0;
}

void wm_plan_done(struct wm_plan *p)
{
	free(p->planned);
	p->planned = NULL;
}
