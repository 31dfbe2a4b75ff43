/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_cookie.h - server cookies: whoever has one has received an answer at his address, so that he
 * does not forge it. Nothing is kept of clients: a cookie is a hash over what it was made for,
 * under a secret that changes. Spec: RFC 7873, RFC 9018 4. Pure. */
#pragma once
#include "siphash.h"

/* `dns_cookies`, one entry, and what userspace has: nobody prints it. A program that reads it while
 * it is written takes a cookie for none, once. */
struct wm_cookie_keys {
	__u64 key[2][2]; /* the first makes cookies, both are taken */
	__u32 count;	 /* of these; 0: there are no cookies */
	__u32 wall_s;	 /* wall clock when CLOCK_BOOTTIME was 0 */
};
_Static_assert(sizeof(struct wm_cookie_keys) == 40, "no holes");

#define WM_COOKIE_VERSION 1
#define WM_COOKIE_OLD_S	  3600 /* it is taken for so long: RFC 9018 4.3 */
#define WM_COOKIE_AHEAD_S 300  /* our clock, or another node's, may have been set back */
#define WM_COOKIE_RENEW_S 1800 /* older: another one is made */

/* What a cookie is made for. Words hold octets in their order in the message. */
struct wm_cookie_ask {
	__u64 client;	   /* the client's part */
	__u64 head, hash;  /* the server's, if he has one */
	__u32 whole;	   /* 1: he has */
	__u32 now_s;	   /* wall clock */
	__be32 addr_be[4]; /* of the client, v4-mapped if IPv4 */
};

enum wm_cookie {
	WM_COOKIE_NONE, /* of nobody that we know, too old, or without a server's part */
	WM_COOKIE_VALID,
};

/** Version, no flags and time, as they stand in a cookie. */
static __always_inline __u64 wm_cookie_head(__u32 now_s)
{
	return (__u64)__builtin_bswap32(now_s) << 32 | WM_COOKIE_VERSION;
}

static __always_inline __u64 wm_cookie_hash(const __u64 key[2], const struct wm_cookie_ask *a,
					    __u64 head)
{
	const __be32 *ip = a->addr_be;
	struct wm_sip s;

	wm_sip_begin(&s, key);
	wm_sip_word(&s, a->client);
	wm_sip_word(&s, head);
	if (!ip[0] && !ip[1] && ip[2] == __builtin_bswap32(0xffff))
		return wm_sip_end(&s, ip[3], 20);
	wm_sip_word(&s, (__u64)ip[1] << 32 | ip[0]);
	wm_sip_word(&s, (__u64)ip[3] << 32 | ip[2]);
	return wm_sip_end(&s, 0, 32);
}

/** As RFC 1982 has it: below 0 if it is of later. */
static __always_inline __s32 wm_cookie_age_s(const struct wm_cookie_ask *a)
{
	return (__s32)(a->now_s - __builtin_bswap32((__u32)(a->head >> 32)));
}

/** Is it one of this version, and of this hour? */
static __always_inline int wm_cookie_in_time(const struct wm_cookie_ask *a)
{
	__s32 age_s = wm_cookie_age_s(a);

	return (__u8)a->head == WM_COOKIE_VERSION && age_s <= WM_COOKIE_OLD_S &&
	       age_s >= -WM_COOKIE_AHEAD_S;
}

/** What is known of the client, and the server's part that he is sent: his own as long as it is
 *  young and of the first key. @p k has a key at least. */
static __always_inline enum wm_cookie wm_cookie_answer(const struct wm_cookie_keys *k,
						       const struct wm_cookie_ask *a,
						       __u64 *ret_head, __u64 *ret_hash)
{
	enum wm_cookie found = WM_COOKIE_NONE;

	if (a->whole && wm_cookie_in_time(a)) {
		if (wm_cookie_hash(k->key[0], a, a->head) == a->hash) {
			found = WM_COOKIE_VALID;
			if (wm_cookie_age_s(a) <= WM_COOKIE_RENEW_S &&
			    (__u32)a->head == WM_COOKIE_VERSION) {
				*ret_head = a->head;
				*ret_hash = a->hash;
				return found;
			}
		} else if (k->count > 1 && wm_cookie_hash(k->key[1], a, a->head) == a->hash) {
			found = WM_COOKIE_VALID;
		}
	}
	*ret_head = wm_cookie_head(a->now_s);
	*ret_hash = wm_cookie_hash(k->key[0], a, *ret_head);
	return found;
}
