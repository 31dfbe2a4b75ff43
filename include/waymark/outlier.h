/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* outlier.h - when a backend that fails is left out, and for how long: decided where the failure is
 * seen, by the program that saw it, and undone by time alone. Spec: outlier detection as Envoy has
 * it (consecutive failures, time that grows with each relapse, a bound on how many). Several
 * programs may note failures of one backend at once; what is lost by that is a failure in a count.
 * Pure but for what it is given. */
#pragma once
#include "layout.h"

#define WM_EJECT_FORGET_NS                                                                         \
	(600 * 1000000000ull)	  /* ns without an ejection after which the next is a first one */
#define WM_EJECT_DOUBLINGS_MAX 16 /* of the base time: more than 18 hours of a second */
#define WM_EJECTED_COUNTED                                                                         \
	1ull /* in ejected_until_ns, whose last ns does not matter: a set counts it as out */

enum wm_failure {
	WM_FAILURE_REFUSED, /* the host answered that nobody listens */
	WM_FAILURE_SILENT,  /* no answer while it was waited for */
};
enum wm_verdict {
	WM_VERDICT_KEPT,    /* too few failures, or it is out already */
	WM_VERDICT_EJECTED, /* out from now on */
	WM_VERDICT_BOUND,   /* so many are out that it stays: counted */
};

/** May one more of @p backends be out when @p ejected are? */
static __always_inline int wm_may_eject(const struct wm_table_head *h, __u32 ejected)
{
	if (h->backends < h->eject_least || h->backends < 2)
		return 0;
	return ((__u64)ejected + 1) * 100 <= (__u64)h->backends * h->eject_max_pct;
}

/** ns that the ejection number @p n, from 0, lasts. */
static __always_inline __u64 wm_eject_ns(const struct wm_table_head *h, __u32 n)
{
	__u64 s = (__u64)h->eject_base_s
		  << (n < WM_EJECT_DOUBLINGS_MAX ? n : WM_EJECT_DOUBLINGS_MAX);

	if (s > h->eject_longest_s)
		s = h->eject_longest_s;
	return s * 1000000000ull;
}

/** Take a backend whose ejection is over from those that @p set counts as out: by whoever notices
 *  first. The count is never below 0, whatever userspace counted meanwhile. @return 1: it was. */
static __always_inline int wm_note_return(struct wm_backend_live *live, struct wm_set_live *set,
					  __u64 now_ns)
{
	__u64 until = *(volatile __u64 *)&live->ejected_until_ns;
	__u32 out;

	if (!(until & WM_EJECTED_COUNTED) || until > now_ns)
		return 0;
	if (__sync_val_compare_and_swap(&live->ejected_until_ns, until,
					until & ~WM_EJECTED_COUNTED) != until)
		return 0;
	out = *(volatile __u32 *)&set->ejected;
	if (out)
		(void)__sync_val_compare_and_swap(&set->ejected, out, out - 1);
	return 1;
}

/** Note that a connection to a backend was made: failures are in a row no more. */
static __always_inline void wm_note_success(struct wm_backend_live *live)
{
	if (*(volatile __u32 *)&live->in_row)
		*(volatile __u32 *)&live->in_row = 0;
}

/** Note a failed connection to the backend of @p live, chosen by a set of head @p h; @p set counts
 *  who is out: first, and back where there were too many, so that several at once keep the bound.
 *  Userspace counts anew, too. @p ret_row: failures in a row with this one. */
static __always_inline enum wm_verdict wm_note_failure(struct wm_backend_live *live,
						       const struct wm_table_head *h,
						       struct wm_set_live *set, __u64 now_ns,
						       enum wm_failure what, __u32 *ret_row)
{
	__u32 limit = what == WM_FAILURE_REFUSED ? h->eject_refused : h->eject_after, row, before;
	__u64 until, next;

	__sync_fetch_and_add(&live->failures, 1);
	*ret_row = row = __sync_fetch_and_add(&live->in_row, 1) + 1;
	*(volatile __u64 *)&live->rtt_at_ns = now_ns; /* what a failure costs ages from here */
	(void)wm_note_return(live, set, now_ns);
	until = *(volatile __u64 *)&live->ejected_until_ns;
	if (!limit || row < limit || until > now_ns)
		return WM_VERDICT_KEPT;
	if (!wm_may_eject(h, __sync_fetch_and_add(&set->ejected, 1))) {
		__sync_fetch_and_add(&set->ejected, -1);
		return WM_VERDICT_BOUND;
	}
	before = until && now_ns - until < WM_EJECT_FORGET_NS ? *(volatile __u32 *)&live->ejections
							      : 0;
	next = (now_ns + wm_eject_ns(h, before)) | WM_EJECTED_COUNTED;
	/* one of those who see it at once; the others find it out */
	if (__sync_val_compare_and_swap(&live->ejected_until_ns, until, next) != until) {
		__sync_fetch_and_add(&set->ejected, -1);
		return WM_VERDICT_KEPT;
	}
	*(volatile __u32 *)&live->ejections = before + 1;
	*(volatile __u32 *)&live->in_row = 0;
	return WM_VERDICT_EJECTED;
}
