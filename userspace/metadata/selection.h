/* SPDX-License-Identifier: Apache-2.0 */
/* selection.h - who a service's policy selects now: redirects are followed, a split gives targets,
 * each has tiers in the order in which they are preferred, each tier its instances. Tables are made
 * from it, and `explain` shows it. Whose turn it is within a tier is not decided here. Threading:
 * loop thread only. Pointers are valid until the turn ends. Spec: docs/architecture.md, "Policies".
 */
#pragma once
#include "tiers.h"
#include "userspace/model/policy.h"
#include "userspace/registry/registry.h"

#define WM_SELECTION_TIERS_MAX 8 /* of a table, of all targets together */
#define WM_SELECTION_HOPS_MAX  8 /* redirects that are followed; more is taken for a loop */

struct wm_selection_tier {
	const char *what; /* "all", "zone", "region", "2ms", "10ms", "50ms" (model/band.h), "rest",
			   * "failover"; static */
	const char *service, *subset,
		*region;		    /* where its instances are from; "" is not asked for */
	unsigned target;		    /* of a split */
	const struct wm_instance **members; /* by node and id */
	unsigned count;
	uint64_t up, all; /* weight of who is usable, and of all */
};

struct wm_selection {
	const char *service, *subset;	/* behind redirects */
	const struct wm_policy *policy; /* of that service; NULL: none */
	const char *hops[WM_SELECTION_HOPS_MAX];
	unsigned hops_count;
	bool loops;	    /* redirects lead in a circle: nobody is selected */
	uint32_t when_none; /* WM_NONE_*: where nobody is usable */
	bool only_passing;  /* as it was asked for */
	struct wm_selection_tier tiers[WM_SELECTION_TIERS_MAX];
	unsigned count;
	uint32_t percent[WM_POLICY_SPLITS_MAX];	       /* of targets, hundredths */
	struct wm_tiers_way way[WM_POLICY_SPLITS_MAX]; /* of targets: as their own policies say */
	unsigned targets;
	unsigned left_out;    /* tiers for which there was no place */
	const char *nearness; /* how it was told who is near: a sentence; "": by region and zone, or
			       * nobody asked. Static */
	char why[256];	      /* a filter is none, or took too long; "" is all well */
};
/** What is done where nobody is usable: as policy @p p says; NULL: none. Of a source's service, @p
 * spec, who is stopping and serves still is asked then, as kube-proxy does. What a policy falls
 * back to cannot be told from what it states. */
static inline uint32_t wm_selection_none(const struct wm_policy *p,
					 const struct wm_service_spec *spec)
{
	uint32_t said = p ? p->when_none : WM_NONE_REFUSE;

	return spec && said == WM_NONE_REFUSE ? WM_NONE_DRAINING : said;
}
/** @param subset "": as the policy says. An unknown service has no instances.
 *  @param only_passing one with a warning takes no connections (dns.only_passing).
 *  @return 0, -ENOMEM. Cost: O(instances) for each tier, and the filters. */
int wm_selection_make(const struct wm_registry *r, const char *service, const char *subset,
		      bool only_passing, struct wm_selection *ret);
/** Does an instance take connections? */
static inline bool wm_selection_takes(const struct wm_selection *c, const struct wm_instance *i)
{
	return wm_instance_usable(i) && !(c->only_passing && i->status == WM_WARNING);
}
void wm_selection_done(struct wm_selection *c);

/** By what rule its tiers share new connections: tiers.h. */
void wm_selection_rule(const struct wm_selection *c, struct wm_tiers_rule *ret);
/** How they share now, each 0 to 1, as the tables do. All 0: nobody is up. */
void wm_selection_shares(const struct wm_selection *c, double share[WM_SELECTION_TIERS_MAX]);

/** Of an instance as its status is. */
unsigned wm_selection_weight(const struct wm_instance *i);
/** "region" or "zone" of a node: its Locality, else its metadata. "" is not told. Borrowed. */
const char *wm_node_place(const struct wm_node *n, const char *key);
/** Region or zone: what the instance says, else its node. "" is not told. Borrowed. */
const char *wm_selection_place(const struct wm_instance *i, const char *key);
