/* SPDX-License-Identifier: Apache-2.0 */
/* seen.h - the questions that were answered last, with who asked, what answered and how long that
 * took; and how many there were and how long they take, by level, type and code. There is one for
 * userspace, which sees each, and one for the kernel, which tells one in so many. Bounded: the
 * oldest is overwritten. Threading: loop thread only. */
#pragma once
#include "waymark/dns_sample.h"
#include "waymark/dns_wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define WM_DNS_SEEN_MAX	    2048 /* questions: 0.6 MiB; a second of a node that is not under load */
#define WM_DNS_TIME_BUCKETS 10

enum wm_dns_level {
	WM_DNS_LEVEL_OWN,      /* the tables and the registry */
	WM_DNS_LEVEL_CACHE,    /* what others said before */
	WM_DNS_LEVEL_STALE,    /* the same, beyond its TTL */
	WM_DNS_LEVEL_UPSTREAM, /* others, now */
	WM_DNS_LEVEL_SECOND,   /* the same, by another server as the first was slow */
#define X(symbol, name) WM_DNS_LEVEL_##symbol, /* the kernel's */
	WM_SAMPLE_LEVELS(X)
#undef X
		WM_DNS_LEVEL_COUNT
};
struct wm_dns_seen_one {
	uint64_t number; /* from 1 on, without gaps */
	uint64_t at_ms;	 /* wm_clock_ms() of the answer */
	uint64_t took_ns;
	uint8_t client[16]; /* v4-mapped if IPv4; zero: this node */
	uint16_t port;	    /* of the client; 0: not known */
	uint16_t type, answers;
	uint32_t stands_for; /* questions: of the kernel's answers only one in so many is here */
	uint32_t ifindex;    /* device that it came by; 0: not known */
	uint32_t octets;     /* of the answer */
	uint8_t rcode, level;
	bool tcp;
	uint8_t name_len;
	uint8_t name[WM_DNS_NAME_MAX + 1]; /* in wire form, as it was asked */
};
/* Types whose answers are counted by themselves. X(name, number) */
#define WM_DNS_SEEN_TYPES(X)                                                                       \
	X(A, 1)                                                                                    \
	X(NS, 2)                                                                                   \
	X(CNAME, 5)                                                                                \
	X(SOA, 6)                                                                                  \
	X(PTR, 12)                                                                                 \
	X(MX, 15)                                                                                  \
	X(TXT, 16)                                                                                 \
	X(AAAA, 28)                                                                                \
	X(SRV, 33)                                                                                 \
	X(HTTPS, 65)                                                                               \
	X(ANY, 255)
enum wm_dns_seen_type {
#define X(name, number) WM_DNS_SEEN_##name,
	WM_DNS_SEEN_TYPES(X)
#undef X
		WM_DNS_SEEN_OTHER, /* all others, and queries without a question */
	WM_DNS_SEEN_TYPE_COUNT
};
/* Answers of a level and a code by how long they took. */
struct wm_dns_times {
	uint64_t count[WM_DNS_TIME_BUCKETS + 1]; /* the last: longer than all bounds */
	uint64_t sum_ns;
};
#define WM_DNS_RCODES 16

struct wm_dns_seen;
/** @p kernel: of what the kernel tells, which takes less. @return NULL: without memory. */
struct wm_dns_seen *wm_dns_seen_new(bool kernel);
/** Upper bounds of the buckets, WM_DNS_TIME_BUCKETS of them. Static. */
const double *wm_dns_seen_bounds(const struct wm_dns_seen *s);
void wm_dns_seen_free(struct wm_dns_seen *s); /* NULL ok */
/* An answer, and what it was made to. All borrowed. */
struct wm_dns_made {
	const struct sockaddr *from; /* NULL: this node */
	bool tcp;
	enum wm_dns_level level;
	const uint8_t *query;
	size_t len;
	const uint8_t *answer;
	size_t answer_len;
	uint64_t took_ns;
};
/** Note an answer. What has no question is counted only. Cost: O(name). */
void wm_dns_seen_put(struct wm_dns_seen *s, const struct wm_dns_made *m);
/** Note a question over UDP that was dropped, one of @p every: why, it says in the level. What has
 *  no question is not noted. */
void wm_dns_seen_drop(struct wm_dns_seen *s, const struct sockaddr *from, const uint8_t *query,
		      size_t len, enum wm_dns_level why, uint32_t every);
/** Note what the kernel told of. */
void wm_dns_seen_sample(struct wm_dns_seen *s, const struct wm_dns_sample *told);
/** Number of the last. */
uint64_t wm_dns_seen_last(const struct wm_dns_seen *s);
/** @return NULL: overwritten, or not there yet. Borrowed until the next is put. */
const struct wm_dns_seen_one *wm_dns_seen_get(const struct wm_dns_seen *s, uint64_t number);
/** WM_DNS_RCODES of them, by code. */
const struct wm_dns_times *wm_dns_seen_times(const struct wm_dns_seen *s, enum wm_dns_level l);
/** How many answers there were to questions of a type: WM_DNS_RCODES of them, by code. */
const uint64_t *wm_dns_seen_answers(const struct wm_dns_seen *s, enum wm_dns_level l,
				    enum wm_dns_seen_type t);
const char *wm_dns_seen_type_str(enum wm_dns_seen_type t);
const char *wm_dns_level_str(enum wm_dns_level l);
