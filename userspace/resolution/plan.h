/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - what a service's policy makes of it for the tables: which instances, of this and of
 * other services, are in which tier of its set, and by what rule one is chosen. What a source says
 * of it holds where the policy does not say otherwise; only what it keeps to its own node (local)
 * no policy widens, where it is dialled at its own addresses. Threading: loop thread only. */
#pragma once
#include "tables.h"
#include "userspace/registry/registry.h"

struct wm_planned {
	const struct wm_instance *instance;
	uint8_t tiers; /* bit i: it is in tier i */
};
struct wm_plan {
	const struct wm_policy *policy; /* that it goes by; NULL: none */
	struct wm_want_rule rule;
	struct wm_planned *planned; /* each instance once */
	uint32_t count;
};
/* Metadata of a source's node, "true": it is this machine, under the name that the source has for
 * it. */
#define WM_META_LOCAL "local"

/* Where this agent is in the eyes of sources. */
struct wm_plan_here {
	char node[WM_NODE_NAME_MAX + 1]; /* name of such a node; "": none. For its zone */
};
/* In the place of a subset: all of the service, for who dials it at an address of a node, a load
 * balancer's or an external one. As kube-proxy does for who dials from within the cluster: local
 * does not hold there, whatever the external traffic policy. No subset or tag of a port has it. */
#define WM_LABEL_OUTSIDE "(outside)"
/** Is @p n this machine? Cost O(pairs). */
bool wm_plan_is_here(const struct wm_node *n);
/** @param here NULL: as with no name. @param subset "": all of the service, as its policy says;
 * WM_LABEL_OUTSIDE.
 * @return 0, -ENOMEM. Cost: the instances of the services that are in it, times their filters. */
int wm_plan_make(const struct wm_registry *r, const struct wm_service *s, const char *subset,
		 const struct wm_plan_here *here, struct wm_plan *ret);
/** The instances of @p s that have tag @p tag, as no policy chooses. @return 0, -ENOMEM. */
int wm_plan_tagged(const struct wm_service *s, const char *tag, struct wm_plan *ret);
void wm_plan_done(struct wm_plan *p);
