/* SPDX-License-Identifier: Apache-2.0 */
/* vip.h - virtual addresses of services. An address pair is derived from the service's name by a
 * fixed hash, with linear probing where two names collide, so a name nearly always gets the same
 * pair on every node; what was given is kept as a lease in the store, so it never changes on this
 * one. A lease outlives its service: clients may hold the address. Retired leases are bounded; the
 * one that retired first is given up first. Threading: loop thread only. */
#pragma once
#include "userspace/base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct wm_vip_space {
	uint32_t base, mask;	/* host order */
	struct in6_addr prefix; /* 64 bits of it count */
};

struct wm_lease {
	struct in_addr vip4;
	struct in6_addr vip6;
	uint64_t row;	       /* store's */
	uint64_t create_index; /* of the service that holds it, or held it last */
	bool retired;
	bool unsaved;		     /* its row must be written again */
	bool planned;		     /* given by a write that is not stored yet */
	unsigned wanted;	     /* by writes that are not applied yet: it stays */
	TAILQ_ENTRY(wm_lease) entry; /* while retired */
	char name[];
};

struct wm_vips;
/** @return NULL without memory. */
struct wm_vips *wm_vips_new(const struct wm_vip_space *s);
void wm_vips_free(struct wm_vips *v); /* with all leases; NULL ok */
unsigned wm_vips_count(const struct wm_vips *v);
/** Borrow the lease of a lower-case name, retired or not. NULL: none. */
struct wm_lease *wm_vips_find(const struct wm_vips *v, const char *name);
/** Borrow the lease of an address, retired or not. NULL: none. */
struct wm_lease *wm_vips_at4(const struct wm_vips *v, struct in_addr a);
struct wm_lease *wm_vips_at6(const struct wm_vips *v, const struct in6_addr *a);
/** Make a lease with free addresses. @return 0, -ENOMEM, WM_E_FULL (no address is left). */
int wm_vips_give(struct wm_vips *v, const char *name, struct wm_lease **ret);
/** Take up a stored lease. @return 0, -ENOMEM, WM_E_CONFLICT (name or address given already),
 *  WM_E_INVALID (outside the space: the configuration changed). */
int wm_vips_restore(struct wm_vips *v, const char *name, struct in_addr v4, struct in6_addr v6,
		    struct wm_lease **ret);
/** Mark as unused, or as used again. Never fails. */
void wm_lease_retire(struct wm_vips *v, struct wm_lease *l);
void wm_lease_revive(struct wm_vips *v, struct wm_lease *l);
/** Remove from the tables without freeing; put back what was removed (-ENOMEM): what is retired as
 * the oldest, which it was. */
void wm_lease_detach(struct wm_vips *v, struct wm_lease *l);
int wm_lease_attach(struct wm_vips *v, struct wm_lease *l);
void wm_lease_free(struct wm_lease *l);
/** Walk all leases: start with *pos = 0; NULL ends. */
struct wm_lease *wm_vips_next(const struct wm_vips *v, size_t *pos);
/** The lease that retired first of those that nobody wants; NULL when there is none. */
struct wm_lease *wm_vips_oldest(const struct wm_vips *v);
/** True for an address that a lease may have. */
bool wm_vip4_inside(const struct wm_vip_space *s, struct in_addr a);
bool wm_vip6_inside(const struct wm_vip_space *s, const struct in6_addr *a);

#define WM_VIP_ZONE_SIZE sizeof("0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa")
/** The @p i-th reverse zone of the ranges, as text without a dot at its end: those of IPv4 (a range
 *  that ends within an octet has one for each octet that it holds, 128 at most), then the one of
 *  IPv6. @return false: there are not so many. Spec: RFC 1035 3.5, RFC 3596 2.5. */
bool wm_vip_zone(const struct wm_vip_space *s, unsigned i, char ret[WM_VIP_ZONE_SIZE]);
