/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_clock.c - signatures are good from a day to a day, by this node's clock. A node that has
 * lost the time cannot validate anything, nor find by name who would tell it: while its clock says
 * a time that is over for certain, signatures are checked and their dates are not, as dnsmasq's
 * --dnssec-timestamp has it. Of any other wrong clock it is said what it looks like. */
#include "upstream_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"

#include <string.h>

/* 2024-07-18: the newest of the keys that we bring with us, by IANA's list. Boards without a clock
 * begin in 1970, BIOSes without a battery at their own making. */
#define LEAST_S 1721260800
#define QUIET_MS                                                                                   \
	30000		 /* nothing was validated for so long: then it is not a domain's own fault \
			  */
#define REPEAT_MS 600000 /* between two times that it is said */

bool wm_upstream_clock_unset(void)
{
	return wm_clock_wall_s() < LEAST_S;
}

void wm_upstream_clock_look(struct wm_upstream_clock *c)
{
	bool unset = wm_upstream_clock_unset();

	if (unset && !c->unset)
		wm_warn("dns.clock", "wall_s=%lld text=%s", (long long)wm_clock_wall_s(),
			wm_log_q("this node's clock is years behind: until it is set, dates of "
				 "signatures are not looked at, and keys are not followed"));
	else if (c->unset && !unset)
		wm_info("dns.clock", "wall_s=%lld text=%s", (long long)wm_clock_wall_s(),
			wm_log_q("this node's clock is set: dates of signatures count"));
	c->unset = unset;
}

/* Also when an answer has come: a clock that was ahead between two looks has left answers that
 * would stay for as long as it was ahead. */
static void note(struct wm_upstream_clock *c)
{
	c->back |= wm_clock_set_back(&c->ahead_ms);
}

bool wm_upstream_clock_back(struct wm_upstream_clock *c)
{
	bool back;

	note(c);
	back = c->back;
	c->back = false;
	return back;
}

/* libunbound's words for it: val_sigcrypt.c, check_dates() */
static bool is_of_dates(const char *why)
{
	return why && (strstr(why, "signature expired") || strstr(why, "before inception"));
}

void wm_upstream_clock_judge(struct wm_upstream_clock *c, const struct wm_unbound_answer *a)
{
	uint64_t now = wm_clock_ms();

	note(c);
	if (a->secure)
		c->secure_ms = now;
	if (!a->bogus || !is_of_dates(a->why) || (c->secure_ms && now - c->secure_ms < QUIET_MS) ||
	    (c->said_ms && now - c->said_ms < REPEAT_MS))
		return;
	c->said_ms = now;
	wm_warn("dns.clock", "wall_s=%lld text=%s", (long long)wm_clock_wall_s(),
		wm_log_q("signatures of others are of another time, and none has been good "
			 "of late: is this node's clock right?"));
}
