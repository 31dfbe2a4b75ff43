/* SPDX-License-Identifier: Apache-2.0 */
/* rate.c - response-rate limit (waymark/rate.h) of what userspace answers. The same question from
 * one network (/24, /64) is answered so often a second; of what is more each second one is told to
 * come by TCP, which shows that it is there, and the rest is dropped. This node's own are not
 * counted: they reach nobody else. Of what is not there all is the same, by domain of ours: names
 * that are made up anew each time are questions of their own. A table of fixed size: who has the
 * place of another begins anew, so that it limits too little, and nobody else's. */
#include "waymark/rate.h"

#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/random.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Times dns.rate_limit that what is not there is said to a network: it may be that of a node's
 * pods, whose search lists make some ten questions of each look-up. */
#define NEGATIVE_SHARE 16

struct wm_dns_rate_place {
	struct wm_rate rate;
	uint32_t of;
};

/* Octets of the question, 0: there is none that can be read. */
static size_t question_len(const uint8_t *query, size_t len)
{
	size_t at = WM_DNS_HEADER_LEN;

	if (len < at || query[2] & ((WM_DNS_QR | WM_DNS_OPCODE) >> 8) || query[4] || query[5] != 1)
		return 0;
	while (at < len && query[at]) {
		if (query[at] > WM_DNS_LABEL_MAX || at > WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX)
			return 0;
		at += query[at] + 1u;
	}
	return at + 5 <= len ? at + 5 - WM_DNS_HEADER_LEN : 0;
}

/* A query without a question has a cookie for its answer, and perhaps more: RFC 7873 5.4. */
static bool asks_nothing(const uint8_t *query, size_t len)
{
	return len >= WM_DNS_HEADER_LEN && !query[4] && !query[5];
}

/* Of its network and the question, whatever the case of its letters. */
static uint64_t hash_of(const struct wm_dns_rate *r, const uint8_t client[WM_DNS_CLIENT_LEN],
			bool v4, const uint8_t *question, size_t len)
{
	uint64_t h = r->key;

	for (unsigned i = 0; i < (v4 ? 15 : 8); i++)
		h = (h ^ client[i]) * 0x100000001b3ull;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = question[i];

		h = (h ^ (c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c)) * 0x100000001b3ull;
	}
	return wm_mix64(h);
}

/* @p what, of @p len octets, is said once more to the client's network, each @p every_ns at most.
 */
static enum wm_rated take(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *what,
			  size_t len, uint64_t every_ns)
{
	struct wm_dns_rate *r = &s->rate;
	struct wm_dns_rate_place *p;
	uint8_t client[WM_DNS_CLIENT_LEN];
	enum wm_rated rated;
	uint64_t h;

	wm_dns_client_of((const struct sockaddr_storage *)from, client);
	h = hash_of(r, client, from->sa_family == AF_INET, what, len);
	p = &r->at[h % WM_RATE_PLACES];
	if (p->of != h >> 32)
		*p = (struct wm_dns_rate_place){.of = (uint32_t)(h >> 32)};
	rated = wm_rate_take(&p->rate, wm_clock_ns(), every_ns);
	if (!len && rated == WM_RATED_CUT)
		rated = WM_RATED_DROP; /* there is nothing that could come by TCP */
	s->counters[WM_DNS_C_RATE_DROPPED] += rated == WM_RATED_DROP;
	s->counters[WM_DNS_C_RATE_CUT] += rated == WM_RATED_CUT;
	return rated;
}

enum wm_rated wm_dns_rate(struct wm_dns_server *s, const struct sockaddr *from,
			  const uint8_t *query, size_t len)
{
	size_t question;

	if (!s->rate.every_ns || wm_dns_is_local(s, from))
		return WM_RATED_ANSWER;
	question = question_len(query, len);
	if (!question && !asks_nothing(query, len))
		return WM_RATED_ANSWER; /* an error is shorter than what it is about */
	if (wm_dns_cookie_valid(s, from, query, len))
		return WM_RATED_ANSWER;
	return take(s, from, query + WM_DNS_HEADER_LEN, question, s->rate.every_ns);
}

/* Is it NOERROR or NXDOMAIN, whole and without an answer? */
static bool is_negative(const uint8_t *made)
{
	uint8_t rcode = made[3] & WM_DNS_RCODE;

	return (rcode == WM_DNS_NOERROR || rcode == WM_DNS_NXDOMAIN) && !made[6] && !made[7] &&
	       !(made[2] & WM_DNS_TC >> 8);
}

enum wm_rated wm_dns_rate_made(struct wm_dns_server *s, const struct sockaddr *from,
			       const uint8_t *query, size_t len, const uint8_t *made)
{
	const struct wm_dns_ask *ask = &s->reply.ask;
	enum wm_rated rated;
	/* which of our domains: shorter than any question */
	const uint8_t what = ask->kind == WM_ASK_KUBE	   ? 2
			     : ask->kind == WM_ASK_REVERSE ? 3
							   : ask->alt;

	if (!s->rate.every_ns || !is_negative(made) || !question_len(query, len) ||
	    wm_dns_is_local(s, from) || wm_dns_cookie_valid(s, from, query, len))
		return WM_RATED_ANSWER;
	rated = take(s, from, &what, sizeof(what), s->rate.every_ns / NEGATIVE_SHARE);
	if (rated != WM_RATED_ANSWER)
		wm_dns_unsay(s);
	return rated;
}

/* @return false: the client has no cookie, and does not know of them. */
static bool bad_cookie(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		       size_t len, struct wm_dns_extra *ret)
{
	struct wm_dns_query q;

	if (len > UINT16_MAX || wm_dns_parse(query, (uint32_t)len, &q) != WM_DNS_OK)
		return false;
	wm_dns_extra_of_query(s, from, query, len, &q, false, ret);
	return ret->has_cookie;
}

size_t wm_dns_rate_cut(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		       size_t len, uint8_t *out)
{
	size_t question = question_len(query, len);
	struct wm_writer *w = &s->reply.w;
	struct wm_dns_extra x;

	memset(out, 0, WM_DNS_HEADER_LEN);
	memcpy(out, query, 2);
	out[2] = (uint8_t)((WM_DNS_QR | WM_DNS_TC) >> 8 | (query[2] & (WM_DNS_RD >> 8)));
	out[5] = 1;
	memcpy(out + WM_DNS_HEADER_LEN, query + WM_DNS_HEADER_LEN, question);
	if (!bad_cookie(s, from, query, len, &x))
		return WM_DNS_HEADER_LEN + question;
	wm_write_begin(w, out, WM_DNS_EDNS_MAX);
	w->len += question;
	out[2] &= (uint8_t) ~(WM_DNS_TC >> 8); /* he need not come by TCP: RFC 7873 5.2.3 */
	out[3] = WM_DNS_BADCOOKIE & WM_DNS_RCODE;
	out[11] = 1;
	wm_put_opt(w, WM_DNS_BADCOOKIE >> 4, 0, &x);
	wm_dns_note_cookie(s, &x);
	s->counters[WM_DNS_C_BADCOOKIE]++;
	return w->len;
}

int wm_dns_server_rate(struct wm_dns_server *s, unsigned per_s)
{
	struct wm_dns_rate *r = &s->rate;

	r->every_ns = 0;
	if (per_s && !r->at) {
		r->at = calloc(WM_RATE_PLACES, sizeof(*r->at));
		r->key = wm_random64();
	}
	if (per_s && !r->at)
		return -ENOMEM;
	r->every_ns = per_s ? WM_NS_PER_S / per_s : 0;
	return 0;
}

void wm_dns_rate_done(struct wm_dns_rate *r)
{
	free(r->at);
}
