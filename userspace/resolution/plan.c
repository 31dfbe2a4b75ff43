/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "userspace/metadata/selection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* --- what a source says -------------------------------------------------------------------------
 */
bool wm_plan_is_here(const struct wm_node *n)
{
	for (unsigned k = 0; !n->self && k < n->meta_count; k++)
		if (strcmp(n->meta[k].key, WM_META_LOCAL) == 0)
			return strcmp(n->meta[k].value, "true") == 0;
	return n->self;
}

/* Zone of this machine: as configured, else as the source says. */
static const char *zone_here(const struct wm_registry *r, const struct wm_plan_here *here)
{
	const char *zone = wm_node_place(wm_registry_node(r), "zone");
	const struct wm_node *n = NULL;

	if (!*zone && here && *here->node)
		n = wm_registry_node_named(r, here->node);
	return n ? wm_node_place(n, "zone") : zone;
}

static void keep_local(struct wm_plan *ret)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ret->count; i++)
		if (wm_plan_is_here(ret->planned[i].instance->node))
			ret->planned[kept++] = ret->planned[i];
	ret->count = kept;
}

/* 0: of this machine, where that is asked for; 1: of its zone; 2: neither. */
static unsigned distance(const struct wm_instance *i, const char *zone, bool node)
{
	if (node && wm_plan_is_here(i->node))
		return 0;
	return *zone && strcasecmp(wm_selection_place(i, "zone"), zone) == 0 ? 1 : 2;
}

/* All go to the nearest tier that has somebody up, as kube-proxy does: nothing spills over. One
 * that is empty is none. */
static void prefer_near(const struct wm_registry *r, const struct wm_service_spec *s,
			const struct wm_plan_here *here, struct wm_plan *ret)
{
	bool node = s->prefer == WM_SPEC_SAME_NODE;
	const char *zone = zone_here(r, here);
	unsigned number[3] = {0}, tiers = 0;

	for (uint32_t i = 0; i < ret->count; i++)
		number[distance(ret->planned[i].instance, zone, node)] = 1;
	for (unsigned d = 0; d < 3; d++)
		number[d] = number[d] ? tiers++ : 0;
	for (uint32_t i = 0; i < ret->count; i++) {
		struct wm_planned *p = &ret->planned[i];

		p->tiers = (uint8_t)(1u << number[distance(p->instance, zone, node)]);
	}
	ret->rule.head.tiers = (uint8_t)(tiers ? tiers : 1);
	ret->rule.spread = (struct wm_tiers_rule){
		.way[0] = {true, .threshold_pct = 1, .carries_pct = WM_TIERS_CARRY_PCT}};
}

/* A pod is a network namespace. */
static void keep_affinity(const struct wm_service_spec *s, struct wm_table_head *h)
{
	if (!s->affinity_s || h->flags & WM_HEAD_AFFINITY)
		return;
	h->affinity_s = (uint16_t)(s->affinity_s < UINT16_MAX ? s->affinity_s : UINT16_MAX);
	h->flags |= 1 + WM_HASH_ON_NETNS;
}

static void apply_spec(const struct wm_registry *r, const struct wm_service_spec *s,
		       const struct wm_plan_here *here, bool outside, struct wm_plan *ret)
{
	bool chosen =
		ret->rule.head.tiers > 1 || (ret->policy && ret->policy->select != WM_SELECT_ALL);

	if (s->local_only && !outside) /* all alike, as kube-proxy has it: none of them is nearer */
		keep_local(ret);
	else if (s->prefer != WM_SPEC_ANYWHERE && !chosen)
		prefer_near(r, s, here, ret);
	keep_affinity(s, &ret->rule.head);
	ret->rule.head.when_none = (__u8)wm_selection_none(ret->policy, s);
}

/* --- all of it ----------------------------------------------------------------------------------
 */
static int plan_policy(const struct wm_registry *r, const struct wm_service *s, const char *subset,
		       struct wm_plan *ret)
{
	struct wm_selection c;
	int err = wm_selection_make(r, s->name, subset, false, &c);

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

int wm_plan_make(const struct wm_registry *r, const struct wm_service *s, const char *subset,
		 const struct wm_plan_here *here, struct wm_plan *ret)
{
	const struct wm_service_spec *spec =
		wm_registry_specs(r) ? wm_registry_spec(r, s->name) : NULL;
	bool outside = strcmp(subset, WM_LABEL_OUTSIDE) == 0;
	int err;

	*ret = (struct wm_plan){.policy = wm_registry_policy(r, s->name)};
	ret->rule.head = *head_of_none();
	err = ret->policy ? plan_policy(r, s, outside ? "" : subset, ret) : plan_all(s, ret);
	if (!err && spec)
		apply_spec(r, spec, here, outside, ret);
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
