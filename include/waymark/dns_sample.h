/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_sample.h - one question in so many that programs see, and what they answered, told through
 * the ring buffer `dns_samples`; what finds no room is counted (dns_samples_lost). The gap between
 * two is drawn, as questions come in patterns: of A and AAAA in turn each second one would be of
 * one type. Pure. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WM_DNS_SAMPLES_OCTETS (1u << 18) /* of the ring buffer: 840 samples with their heads */
#define WM_SAMPLE_EVERY_MAX   1000000

/* What answered. X(symbol, name) */
#define WM_SAMPLE_LEVELS(X)                                                                        \
	X(TABLES, "tables")   /* the tables, or the form of the name */                            \
	X(READY, "ready")     /* what userspace made of what no health changes */                  \
	X(HOT, "hot")	      /* what another server said */                                       \
	X(DENIED, "denied")   /* nobody has the name */                                            \
	X(CUT, "cut")	      /* dns.rate_limit: told to use TCP, or to come with a cookie */      \
	X(OFTEN, "often")     /* dns.rate_limit: dropped, as those that follow */                  \
	X(REFUSED, "refused") /* dns.allow */                                                      \
	X(POD, "pod")	      /* dns.pod_limit */
#define WM_SAMPLE_DROPPED WM_SAMPLE_OFTEN /* from here on: nothing was sent */
enum wm_sample_level {
#define X(symbol, name) WM_SAMPLE_##symbol,
	WM_SAMPLE_LEVELS(X)
#undef X
		WM_SAMPLE_LEVEL_COUNT
};
struct wm_dns_sample {
	__u64 time_ns;	     /* CLOCK_BOOTTIME of the answer */
	__u32 took_ns;	     /* from where the question was first looked at */
	__u32 every;	     /* it stands for so many */
	__u32 ifindex;	     /* device that the question came by */
	__be32 client_be[4]; /* v4-mapped if IPv4 */
	__be16 client_port_be;
	__u16 type;
	__u16 octets; /* of the answer, from its header on */
	__u16 answers;
	__u8 rcode;
	__u8 level; /* enum wm_sample_level */
	__u8 name_len;
	__u8 pad;
	__u64 name[32]; /* in wire form, as it was asked; behind it what was left there */
};
_Static_assert(sizeof(struct wm_dns_sample) == 304, "told from kernel to userspace");

/* Which are told: a variable of the programs that userspace writes while they run. */
struct wm_dns_sampling {
	__u32 limit; /* wm_sample_limit() */
	__u32 every; /* 0: none */
};
#define WM_SAMPLE_LIMIT_OFF 0xfffffffeu

/* Each CPU counts down the questions up to the next that is told, that one included; 0: it has not
 * begun. With @p left one less, as it is of the question at hand, `left - 1 >= limit` says whether
 * something is to be done at all: it is told, or the CPU has to begin, or counts by another `every`
 * that was more. */
static inline __u32 wm_sample_limit(__u32 every)
{
	return every ? 2 * every - 2 : WM_SAMPLE_LIMIT_OFF;
}

/** What is to be done then. @p random: any. @return whether the question at hand is told. */
static inline int wm_sample_turn(__u32 *left, __u32 every, __u32 random)
{
	int told = !*left || every == 1;

	*left = every ? 1 + random % (2 * every - 1) : 0xffffffff;
	return told && every;
}
