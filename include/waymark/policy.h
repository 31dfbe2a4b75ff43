/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* policy.h - how a service's backends are chosen, as numbers that tables carry and programs read.
 * New ones are appended: tables that are pinned, and policies that are stored, keep theirs. What an
 * operator writes are the names behind them, userspace/model/policy.h. Pure. */
#pragma once

/* Who may be chosen at all: what userspace makes tiers from. */
enum wm_select {
	WM_SELECT_ALL,	    /* one tier */
	WM_SELECT_NEAREST,  /* zone, region, rest; spills over where a tier has too few that are up
			     */
	WM_SELECT_FAILOVER, /* targets in their order: the first that has enough that are up */
	WM_SELECT_COUNT
};

/* How one of a tier is: wm_table_head.balance. 0 is what a service without a policy has. */
enum wm_balance {
	WM_BALANCE_WEIGHTED,	      /* at random, by weight */
	WM_BALANCE_RANDOM,	      /* at random, each as likely as any other */
	WM_BALANCE_ROUND_ROBIN,	      /* in turn */
	WM_BALANCE_LEAST_CONNECTIONS, /* of two at random the one with fewer connections a weight */
	WM_BALANCE_PEAK_EWMA,	      /* likewise with latency times connections */
	WM_BALANCE_MAGLEV,	      /* by consistent hashing of what wm_hash_on says */
	WM_BALANCE_DIRECT,	      /* the first that is usable, in the order of the table */
	WM_BALANCE_CUSTOM,	      /* by a function that was loaded */
	WM_BALANCE_COUNT
};

/* What the client is told apart by, for consistent hashing and affinity: what is known at
 * connect().
 */
enum wm_hash_on {
	WM_HASH_ON_SOCKET, /* cookie: each connection alone */
	WM_HASH_ON_NETNS,  /* cookie of the network namespace: a pod */
	WM_HASH_ON_CGROUP, /* id */
	WM_HASH_ON_UID,
	WM_HASH_ON_COUNT
};

/* What happens where nobody is usable: wm_table_head.when_none. */
enum wm_when_none {
	WM_NONE_REFUSE,	  /* ECONNREFUSED, no address in DNS */
	WM_NONE_DRAINING, /* those that are stopping are taken, else refused */
	WM_NONE_ANY,	  /* whoever is registered, be it down */
	WM_NONE_PASS,	  /* the call goes on as if no service had the address */
	WM_NONE_COUNT
};
