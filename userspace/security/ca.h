/* SPDX-License-Identifier: Apache-2.0 */
/* ca.h - an authority for the agents' certificates, and certificates by it, as files. For who has
 * no authority of his own; what another one issues serves as well, if it says the same (cert.h).
 * Keys are ECDSA on P-256. Nothing that is there is overwritten. Threading: none. */
#pragma once
#include "userspace/base/err.h"

#define WM_CA_DAYS	    3650 /* days that an authority is valid, if not said otherwise */
#define WM_CA_ISSUED	    365	 /* the same of a certificate */
#define WM_CA_DAYS_MAX	    36500
#define WM_CA_ADDRESSES_MAX 16

/** Make DIR (mode 0700), ca.pem and ca-key.pem (0600) in it, for @p datacenter.
 *  @return 0, -EEXIST, WM_E_INVALID, negative errno; @p e names what is wrong. */
int wm_ca_init(const char *dir, const char *datacenter, unsigned days, struct wm_err *e);
/** Issue NODE.pem and NODE-key.pem (0600) in DIR: "NODE.DATACENTER.waymark", for clients and
 * servers, with @p addresses (IPv4 or IPv6, NULL at the end; NULL: none) beside. Not longer than
 * the authority.
 *  @return as above. */
int wm_ca_issue(const char *dir, const char *node, const char *const *addresses, unsigned days,
		struct wm_err *e);

/* What a file says of its first certificate. */
struct wm_ca_shown {
	char identity[256]; /* the name; "authority of ..." */
	long days_left;	    /* negative: expired */
};
int wm_ca_show(const char *path, struct wm_ca_shown *ret, struct wm_err *e);
