/* SPDX-License-Identifier: Apache-2.0 */
/* specs.h - what a source's spec makes of a service for the tables: which ports have sets, which
 * addresses lead there, and which are not taken from a source. Pure. */
#pragma once
#include "tables.h"
#include "userspace/model/spec.h"
#include "userspace/registry/registry.h"

/* Each address with its ports and the entry for all others, and the ports of both virtual ones. */
#define WM_SPEC_FRONTS_MAX (WM_SPEC_ADDRESSES_MAX * (1 + WM_SPEC_PORTS_MAX) + 2 * WM_SPEC_PORTS_MAX)

/** Has it ports that are steered? A headless one has none, nor has one that is a name, or another
 *  proxy's. NULL ok. */
bool wm_spec_steered(const struct wm_service_spec *s);
/** Has it addresses for them, so that it is refused where it has no instance? */
bool wm_spec_addressed(const struct wm_service_spec *s);
/** Are its addresses but the cluster's led to others than its own are? */
bool wm_spec_has_outside(const struct wm_service_spec *s);
/** The endpoint that a port leads to: as the policy @p p says of its number, if it does. NULL:
 *  wm_instance.port. */
const char *wm_spec_endpoint(const struct wm_service_spec *s, unsigned port,
			     const struct wm_policy *p);
/** Has the spec a port of this number, by any protocol? NULL ok. */
bool wm_spec_has_port(const struct wm_service_spec *s, uint32_t port);

/** As keys of frontends have it. */
void wm_spec_address_be(const struct wm_spec_address *a, __be32 ret[4]);

struct wm_spec_rules {
	const struct wm_vip_space *space; /* addresses of it are the agent's own to give */
	bool external;			  /* EXTERNAL addresses are taken */
	const struct wm_config *dns;	  /* where this agent's DNS is asked; NULL: nowhere */
};
extern const char wm_spec_own_dns[]; /* one that is as the settings say: nobody needs to be told */
/** Why address @p a4 or, where that is 0.0.0.0, @p a6 is not taken; NULL: it is. Static. */
const char *wm_spec_address_unfit(const struct wm_spec_rules *rules, uint8_t kind,
				  struct in_addr a4, const struct in6_addr *a6);
/* Of each of its ports. */
struct wm_spec_sets {
	uint32_t own[WM_SPEC_PORTS_MAX];     /* that its cluster and virtual addresses lead to */
	uint32_t outside[WM_SPEC_PORTS_MAX]; /* and all others */
};
/** All that is to lead to the sets of @p s. @param of has the virtual addresses. @return how many.
 */
unsigned wm_spec_fronts(const struct wm_service_spec *s, const struct wm_spec_rules *rules,
			const struct wm_spec_sets *sets, const struct wm_service *of,
			struct wm_want_front ret[WM_SPEC_FRONTS_MAX]);
