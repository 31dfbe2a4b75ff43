/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_tail.h - the programs that go on where the DNS programs leave off: places in `dns_tails`. */
#pragma once

enum wm_dns_tail {
	WM_DNS_TAIL_SRV,     /* dns_srv: SRV of services */
	WM_DNS_TAIL_HOT,     /* dns_hot: answers of other servers */
	WM_DNS_TAIL_REST,    /* dns_rest: names of ours whose form says what they have */
	WM_DNS_TAIL_PLAIN,   /* dns_plain: services by another name than in the tables */
	WM_DNS_TAIL_READY,   /* dns_ready: what userspace made of what no health changes */
	WM_DNS_TAIL_VETH,    /* dns_veth: what dns_link lets through */
	WM_DNS_TAIL_LIMIT,   /* dns_limit: writes what a client of a link may be told */
	WM_DNS_TAIL_OPTIONS, /* dns_options: ends answers to queries with options */
	WM_DNS_TAIL_ABSENT,  /* dns_absent: names that nobody has */
	WM_DNS_TAIL_TELL,    /* dns_tell: tells userspace of an answer, and sends it */
	WM_DNS_TAILS
};
