/* SPDX-License-Identifier: Apache-2.0 */
/* dns_balance.h - nothing is silently dropped: what came in is what was answered or left, by
 * reason, and each answer is noted once. Every test of DNS ends with this. */
#pragma once
#include "userspace/dns/seen.h"
#include "userspace/dns/server.h"
#include "waymark/counters.h"

#include <criterion/criterion.h>
#include <stdint.h>

enum wm_user_counter {
#define X(sym, name, text) USER_##sym,
	WM_DNS_COUNTERS(X)
#undef X
};

/* Answers that were noted, of all levels, types and codes. */
static inline uint64_t user_seen(const struct wm_dns_server *s)
{
	uint64_t n = 0;

	for (unsigned l = 0; l < WM_DNS_LEVEL_COUNT; l++)
		for (unsigned t = 0; t < WM_DNS_SEEN_TYPE_COUNT; t++)
			for (unsigned r = 0; r < WM_DNS_RCODES; r++)
				n += wm_dns_seen_answers(wm_dns_seen_of(s), l, t)[r];
	return n;
}

static __attribute__((unused)) void user_balance(const struct wm_dns_server *s)
{
	const uint64_t *c = wm_dns_counters(s);

	cr_assert_eq(user_seen(s),
		     c[USER_ANSWERED] + c[USER_NODATA] + c[USER_NXDOMAIN] + c[USER_FORMERR] +
			     c[USER_REFUSED] + c[USER_NOTIMP] + c[USER_BADVERS] + c[USER_SERVFAIL],
		     "answers by level are not those by outcome");
	cr_assert_eq(c[USER_UDP_QUERY] + c[USER_TCP_QUERY],
		     c[USER_ANSWERED] + c[USER_NODATA] + c[USER_NXDOMAIN] + c[USER_FORMERR] +
			     c[USER_REFUSED] + c[USER_NOTIMP] + c[USER_BADVERS] + c[USER_SERVFAIL] +
			     c[USER_DROPPED] + c[USER_DENIED] - c[USER_TCP_DENIED] +
			     c[USER_RATE_DROPPED] + c[USER_RATE_CUT] + c[USER_GONE] +
			     wm_dns_waiting(s),
		     "a query of userspace has no outcome");
	cr_assert_eq(c[USER_UNSENT], 0, "%llu answers were not sent",
		     (unsigned long long)c[USER_UNSENT]);
}

/* @p c: the sums of wm_plane_counters(). */
static __attribute__((unused)) void kernel_balance(const uint64_t *c)
{
	uint64_t left = 0;

	for (unsigned i = 0; i < WM_COUNTER_COUNT; i++) {
		static const char *const names[] = {
#define X(sym, name, text) #name,
			WM_COUNTERS(X)
#undef X
		};

		if (strncmp(names[i], "dns_pass_", 9) == 0 ||
		    strncmp(names[i], "dns_drop_", 9) == 0)
			left += c[i];
	}
	cr_assert_eq(c[WM_C_DNS_QUERY], c[WM_C_DNS_ANSWERED] + left,
		     "a query in the kernel has no outcome");
}
