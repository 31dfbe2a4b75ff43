/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - what an answer's OPT holds: a cookie for who sent one, the client's subnet as it came
 * with a scope of 0 (our names are the same for everybody), and the name of this server. The kernel
 * writes the same octets in the same order (bpf/dns_options.h). Spec: RFC 5001, 6891, 7871, 7873,
 * 9018. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <netinet/in.h>
#include <string.h>

static uint64_t word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* @return false: who asks is not known. */
static bool address_of(const struct sockaddr *from, __be32 ret[4])
{
	struct in6_addr v6;

	if (from && from->sa_family == AF_INET6)
		v6 = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
	else if (from && from->sa_family == AF_INET)
		wm_places_map4(&((const struct sockaddr_in *)(const void *)from)->sin_addr,
			       v6.s6_addr);
	else
		return false;
	memcpy(ret, &v6, sizeof(v6));
	return true;
}

/* The server's part of the cookie that the client is sent. @return what is known of him. */
static enum wm_cookie cookie_of(const struct wm_dns_server *s, const __be32 addr[4],
				const uint8_t *options, const struct wm_options *o, uint64_t ret[2])
{
	const uint8_t *p = options + o->cookie_at;
	struct wm_cookie_ask a = {.client = word(p),
				  .whole = o->cookie_len == WM_COOKIE_WHOLE,
				  .now_s = s->cookies.wall_s +
					   (uint32_t)(wm_clock_ns() / WM_NS_PER_S)};
	__u64 head, hash;
	enum wm_cookie c;

	memcpy(a.addr_be, addr, sizeof(a.addr_be));
	if (a.whole) {
		a.head = word(p + 8);
		a.hash = word(p + 16);
	}
	c = wm_cookie_answer(&s->cookies, &a, &head, &hash);
	ret[0] = head;
	ret[1] = hash;
	return c;
}

static void put_head(struct wm_dns_extra *x, uint16_t code, size_t len)
{
	uint8_t *p = x->octets + x->len;

	p[0] = 0;
	p[1] = (uint8_t)code;
	p[2] = 0;
	p[3] = (uint8_t)len;
	x->len += WM_DNS_OPTION_HEAD;
}

static void put(struct wm_dns_extra *x, const void *data, size_t len)
{
	memcpy(x->octets + x->len, data, len);
	x->len += len;
}

static void put_cookie(struct wm_dns_extra *x, const uint8_t *client, const uint64_t server[2])
{
	put_head(x, WM_DNS_OPTION_COOKIE, WM_COOKIE_WHOLE);
	put(x, client, WM_COOKIE_CLIENT);
	put(x, server, 16);
}

void wm_dns_extra_of(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *options,
		     size_t len, bool own, struct wm_dns_extra *ret)
{
	struct wm_options o;
	uint64_t server[2];
	__be32 addr[4];

	ret->len = 0;
	ret->cookie = WM_COOKIE_NONE;
	ret->has_cookie = false;
	if (!wm_options_read(options, (uint32_t)len, &o))
		return;
	if (o.cookie_at && s->cookies.count && address_of(from, addr)) {
		ret->has_cookie = true;
		ret->cookie = cookie_of(s, addr, options, &o, server);
		put_cookie(ret, options + o.cookie_at, server);
	}
	if (o.subnet_len && own)
		put(ret, options + o.subnet_at, o.subnet_len);
	if (o.nsid && s->nsid_len) {
		put_head(ret, WM_DNS_OPTION_NSID, s->nsid_len);
		put(ret, s->nsid, s->nsid_len);
	}
}

void wm_dns_extra_of_query(struct wm_dns_server *s, const struct sockaddr *from,
			   const uint8_t *query, size_t len, const struct wm_dns_query *q, bool own,
			   struct wm_dns_extra *ret)
{
	size_t at = wm_dns_options_at(q);

	*ret = (struct wm_dns_extra){0};
	if (q->edns && !q->edns_version && len >= at)
		wm_dns_extra_of(s, from, query + at, len - at, own, ret);
}

/* Octets of a name, which may end with a pointer; 0: it does not end. */
static size_t skip_name(const uint8_t *p, size_t left)
{
	for (size_t at = 0; at < left; at += p[at] + 1u) {
		if (!p[at])
			return at + 1;
		if (p[at] >= 0xc0)
			return at + 2 <= left ? at + 2 : 0;
		if (p[at] > WM_DNS_LABEL_MAX)
			return 0;
	}
	return 0;
}

/* Octets of the record at @p p, 0: it does not end. */
static size_t skip_record(const uint8_t *p, size_t left)
{
	size_t n = skip_name(p, left), data;

	if (!n || left - n < WM_DNS_OPT_LEN - 1)
		return 0;
	data = (size_t)p[n + 8] << 8 | p[n + 9];
	n += WM_DNS_OPT_LEN - 1;
	return data <= left - n ? n + data : 0;
}

static unsigned count_at(const uint8_t *msg, size_t at)
{
	return (unsigned)msg[at] << 8 | msg[at + 1];
}

bool wm_dns_opt_of(const uint8_t *msg, size_t len, struct wm_dns_query *ret)
{
	unsigned before = count_at(msg, 6) + count_at(msg, 8), all = before + count_at(msg, 10);
	size_t at = WM_DNS_HEADER_LEN, n;

	*ret = (struct wm_dns_query){0};
	for (unsigned i = count_at(msg, 4); i; i--) {
		n = skip_name(msg + at, len - at);
		if (!n || len - at - n < 4)
			return false;
		at += n + 4;
	}
	for (unsigned i = 0; i < all; i++, at += n) {
		n = skip_record(msg + at, len - at);
		if (!n)
			return false;
		if (i >= before && !msg[at] && count_at(msg, at + 1) == WM_DNS_OPT &&
		    (ret->edns || wm_dns_read_opt(msg + at, (uint32_t)n, ret) != WM_DNS_OK))
			return false; /* one is all that may be: RFC 6891 6.1.1 */
	}
	return ret->edns && at == len;
}

static enum wm_dns_counter cookie_counter(const struct wm_dns_extra *x)
{
	return x->cookie == WM_COOKIE_VALID ? WM_DNS_C_COOKIE_VALID : WM_DNS_C_COOKIE_NEW;
}

void wm_dns_note_cookie(struct wm_dns_server *s, const struct wm_dns_extra *x)
{
	s->counters[cookie_counter(x)] += x->has_cookie;
}

void wm_dns_unnote_cookie(struct wm_dns_server *s, const struct wm_dns_extra *x)
{
	s->counters[cookie_counter(x)] -= x->has_cookie;
}

void wm_put_opt(struct wm_writer *w, uint8_t rcode_high, uint16_t edns_flags,
		const struct wm_dns_extra *x)
{
	size_t len = x ? x->len : 0;
	uint8_t *p = w->out + w->len;

	w->opt_at = w->len;
	wm_dns_put_opt(p, rcode_high, edns_flags);
	p[9] = (uint8_t)(len >> 8);
	p[10] = (uint8_t)len;
	if (len)
		memcpy(p + WM_DNS_OPT_LEN, x->octets, len);
	w->len += WM_DNS_OPT_LEN + len;
}

size_t wm_dns_cookie_alone(struct wm_dns_server *s, const uint8_t *query, size_t len, uint8_t *out,
			   size_t cap)
{
	static const uint8_t counts[8] = {[7] = 1}; /* an OPT, as the query has */
	const size_t at = WM_DNS_HEADER_LEN + WM_DNS_OPT_LEN;
	struct wm_writer *w = &s->reply.w;
	struct wm_dns_query q = {0};
	struct wm_dns_extra x;

	if (memcmp(query + 4, counts, sizeof(counts)) != 0 ||
	    wm_dns_read_opt(query + WM_DNS_HEADER_LEN, (uint32_t)len - WM_DNS_HEADER_LEN, &q) !=
		    WM_DNS_OK ||
	    q.edns_version)
		return 0;
	wm_dns_extra_of(s, s->from, query + at, len - at, false, &x);
	if (!x.has_cookie)
		return 0;
	wm_write_begin(w, out, cap);
	memcpy(out, query, 2);
	out[2] = (uint8_t)(WM_DNS_QR >> 8 | (query[2] & (WM_DNS_RD >> 8)));
	out[3] = 0;
	memcpy(out + 4, counts, sizeof(counts));
	wm_put_opt(w, 0, q.edns_flags, &x);
	wm_dns_note_cookie(s, &x);
	s->counters[WM_DNS_C_NODATA]++;
	return w->len;
}

bool wm_dns_cookie_valid(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
			 size_t len)
{
	struct wm_dns_extra x;
	struct wm_dns_query q;

	if (!s->cookies.count || len < WM_DNS_HEADER_LEN || len > UINT16_MAX ||
	    wm_dns_parse(query, (uint32_t)len, &q) != WM_DNS_OK || !q.edns)
		return false;
	wm_dns_extra_of_query(s, from, query, len, &q, false, &x);
	return x.cookie == WM_COOKIE_VALID;
}
