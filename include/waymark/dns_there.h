/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_there.h - which names are there, so that the kernel can say of others that they are not: of
 * nodes, and of services and namespaces of a cluster. Each is counted at two places that its hash
 * tells, behind the words of dns_ready.h; where one is 0 nobody has the name. Two that share both
 * cost a question to userspace, no wrong answer. Pure. Tests: tests/unit/test_dns_ready.c,
 * tests/bpf/test_dns_static.c, tests/bpf/test_dns_kube.c. */
#pragma once
#include "dns_form.h"
#include "dns_ready.h"

/* Whether all names of a kind are counted: until then absence tells nothing. */
#define WM_THERE_NODES	 WM_READY_WORDS
#define WM_THERE_CLUSTER (WM_READY_WORDS + 1)
#define WM_THERE_FIRST	 (WM_READY_WORDS + 2)
/* Of 10,000 nodes, each by two names, one in fifteen others is taken to be there. A power of two.
 */
#define WM_THERE_PLACES	 131072
#define WM_READY_ENTRIES (WM_THERE_FIRST + WM_THERE_PLACES)

/** Place @p i, 0 or 1, of a name. */
static __always_inline __u32 wm_there_at(const struct wm_name_key *k, __u32 i)
{
	return WM_THERE_FIRST + ((__u32)k->hash[i & 1] & (WM_THERE_PLACES - 1));
}

enum wm_there {
	WM_THERE_OTHER,	 /* others know */
	WM_THERE_LOOK,	 /* it is not there if the name that it ends with is not */
	WM_THERE_NO_WAY, /* no name of the zone has this form */
};

#define WM_THERE_SVC ((__u64)'s' | (__u64)'v' << 8 | (__u64)'c' << 16)
#define WM_THERE_POD ((__u64)'p' | (__u64)'o' << 8 | (__u64)'d' << 16)
/* "dns-version": its length and as many letters as follow in a word. */
#define WM_THERE_VERSION                                                                           \
	(11 |                                                                                      \
	 (WM_DENY_T4('d', 'n', 's', '-') | (__u64)'v' << 32 | (__u64)'e' << 40 | (__u64)'r' << 48) \
		 << 8)
#define WM_THERE_KUBE_LABELS 5 /* _http._tcp.web.default.svc */

/** What the form of a name of @p len octets tells that ends with a cluster's zone: those of
 *  userspace/dns/kube_names.c. @param ret_at of WM_THERE_LOOK: where the name of its service, or of
 *  its namespace, begins. */
static __always_inline enum wm_there wm_there_in_cluster(const __u8 *name, __u32 len,
							 const struct wm_deny_labels *l,
							 __u32 zone_len, __u32 zone_labels,
							 __u32 *ret_at)
{
	__u32 left = l->count - zone_labels;
	__u64 last;
	int svc;

	if (l->count <= zone_labels || wm_deny_before(l, zone_labels, 0) != len - zone_len)
		return WM_THERE_OTHER; /* the zone itself, or within a label */
	last = wm_deny_word(name, wm_deny_before(l, zone_labels, 1));
	svc = wm_deny_is(last, 3, WM_THERE_SVC);
	if (!svc && !wm_deny_is(last, 3, WM_THERE_POD))
		return left == 1 && (wm_deny_is(last, 2, WM_DENY_NS) || last == WM_THERE_VERSION)
			       ? WM_THERE_OTHER
			       : WM_THERE_NO_WAY;
	if (left > (svc ? WM_THERE_KUBE_LABELS : 3u))
		return WM_THERE_NO_WAY;
	if (left == 1 || (!svc && left == 3))
		return WM_THERE_OTHER; /* of pods the address tells */
	*ret_at = wm_deny_before(l, zone_labels, left == 2 ? 2 : 3);
	return WM_THERE_LOOK;
}
