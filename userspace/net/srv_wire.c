/* SPDX-License-Identifier: Apache-2.0 */
/* srv_wire.c - questions for SRV records and what answers say, see srv.h. Pure. Spec: RFC 1035 4.1,
 * RFC 2782. */
#include "srv.h"
#include "waymark/dns_wire.h"

#include <errno.h>
#include <string.h>

#define RECORDS_MAX 256 /* of an answer that are looked at; WM_SRV_OCTETS_MAX hold some 100 */
#define RECORD_HEAD 10	/* octets behind a record's name: type, class, TTL, length */
#define SRV_HEAD    6	/* octets before the target: priority, weight, port */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint8_t *put16(uint8_t *p, unsigned v)
{
	*p++ = (uint8_t)(v >> 8);
	*p++ = (uint8_t)v;
	return p;
}

/* A letter of a host's name in lower case; 0: it is none. */
static char letter(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + 32);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ? (char)c
											: 0;
}

size_t wm_srv_question(const char *name, uint16_t id, uint8_t out[static WM_SRV_OCTETS_MAX])
{
	size_t len = strlen(name);
	uint8_t *p = out, *label;

	if (len && name[len - 1] == '.')
		len--;
	if (!len || len > WM_RESOLVER_NAME_MAX)
		return 0;
	p = put16(p, id);
	p = put16(p, WM_DNS_RD);
	p = put16(p, 1); /* question */
	p = put16(p, 0);
	p = put16(p, 0);
	p = put16(p, 1); /* OPT */
	for (size_t i = 0; i < len; i++) {
		label = p++;
		for (; i < len && name[i] != '.'; i++)
			if (!(*p++ = (uint8_t)letter((uint8_t)name[i])))
				return 0;
		if (p == label + 1 || p - label - 1 > WM_DNS_LABEL_MAX)
			return 0;
		*label = (uint8_t)(p - label - 1);
	}
	*p++ = 0;
	p = put16(p, WM_DNS_SRV);
	p = put16(p, WM_DNS_IN);
	*p++ = 0;
	p = put16(p, WM_DNS_OPT);
	p = put16(p, WM_SRV_OCTETS_MAX);
	memset(p, 0, 6); /* version, flags, no options */
	return (size_t)(p + 6 - out);
}

/* Octets of a name as it stands at @p at, a pointer ends it. 0: it is none. */
static size_t skip_name(const uint8_t *p, size_t len, size_t at)
{
	size_t from = at;

	while (at < len && at - from < WM_DNS_NAME_MAX) {
		if (!p[at])
			return at + 1 - from;
		if (p[at] >= 0xc0)
			return at + 2 <= len ? at + 2 - from : 0;
		if (p[at] > WM_DNS_LABEL_MAX)
			return 0;
		at += p[at] + 1u;
	}
	return 0;
}

/* A name as text. Pointers lead back only, so there is no circle. @return false: it is none, or
 * none of a host. */
static bool read_name(const uint8_t *p, size_t len, size_t at, char ret[WM_RESOLVER_NAME_MAX + 1])
{
	size_t limit = at, n = 0;

	while (at < len && p[at]) {
		if (p[at] >= 0xc0) {
			size_t to = at + 1 < len ? get16(p + at) & 0x3fffu : len;

			if (to >= limit)
				return false;
			limit = at = to;
			continue;
		}
		if (p[at] > WM_DNS_LABEL_MAX || at + 1 + p[at] > len ||
		    n + p[at] + 1 > WM_RESOLVER_NAME_MAX)
			return false;
		if (n)
			ret[n++] = '.';
		for (unsigned i = 1; i <= p[at]; i++)
			if (!(ret[n++] = letter(p[at + i])))
				return false;
		at += p[at] + 1u;
	}
	ret[n] = '\0';
	return n && at < len; /* "." says that there is no such service */
}

static void take(const uint8_t *p, size_t len, size_t data, struct wm_srv_answer *ret)
{
	struct wm_srv *s = &ret->records[ret->count];

	if (ret->count == WM_SRV_MAX || !read_name(p, len, data + SRV_HEAD, s->target))
		return;
	s->priority = get16(p + data);
	s->weight = get16(p + data + 2);
	s->port = get16(p + data + 4);
	ret->count += s->port != 0;
}

/* All records of the answer's first section, whoever they are of: a server follows CNAMEs. */
static void read_records(const uint8_t *p, size_t len, size_t at, unsigned records,
			 struct wm_srv_answer *ret)
{
	for (unsigned n = 0; n < records && n < RECORDS_MAX; n++) {
		size_t name = skip_name(p, len, at), data = at + name + RECORD_HEAD, size;

		if (!name || data > len)
			return;
		size = get16(p + data - 2);
		if (data + size > len)
			return;
		if (get16(p + at + name) == WM_DNS_SRV && get16(p + at + name + 2) == WM_DNS_IN &&
		    size > SRV_HEAD)
			take(p, data + size, data, ret);
		at = data + size;
	}
}

int wm_srv_parse(const uint8_t *q, size_t q_len, const uint8_t *p, size_t len,
		 struct wm_srv_answer *ret)
{
	size_t end = q_len - WM_DNS_OPT_LEN; /* of the question itself */
	uint16_t flags;

	if (len < end || get16(p) != get16(q) || get16(p + 4) != 1)
		return -EPROTO;
	flags = get16(p + 2);
	for (size_t i = WM_DNS_HEADER_LEN; i < end; i++)
		if (p[i] != q[i] && letter(p[i]) != (char)q[i])
			return -EPROTO;
	if (!(flags & WM_DNS_QR))
		return -EPROTO;
	if ((flags & WM_DNS_RCODE) == WM_DNS_NXDOMAIN)
		return -ENXIO;
	if ((flags & WM_DNS_RCODE) != WM_DNS_NOERROR)
		return -ENODATA;
	ret->count = 0;
	read_records(p, len, end, get16(p + 6), ret);
	if (ret->count)
		return 0;
	return flags & WM_DNS_TC ? -ENODATA : -ENXIO;
}

static void swap(struct wm_srv *a, struct wm_srv *b)
{
	struct wm_srv c = *a;

	*a = *b;
	*b = c;
}

/* Draw who of the records from @p at on to @p end stands at @p at, by weight. Who has none has a
 * small chance (RFC 2782, "Weight"): that of a weight of 1 for all of them; the same where none has
 * any. */
static void draw(struct wm_srv *records, unsigned at, unsigned end, uint64_t (*below)(uint64_t n))
{
	unsigned zeros = 0, n = at;
	uint64_t sum = 0, left;

	for (unsigned i = at; i < end; i++) {
		sum += records[i].weight;
		zeros += !records[i].weight;
	}
	left = below(sum + !!zeros);
	if (left == sum) { /* the k-th of those without */
		left = below(zeros) + 1;
		while ((left -= !records[n].weight))
			n++;
	} else {
		while (left >= records[n].weight)
			left -= records[n++].weight;
	}
	swap(&records[at], &records[n]);
}

void wm_srv_order(struct wm_srv_answer *a, uint64_t (*below)(uint64_t n))
{
	struct wm_srv *r = a->records;

	for (unsigned i = 1; i < a->count; i++) /* few: WM_SRV_MAX */
		for (unsigned k = i; k && r[k].priority < r[k - 1].priority; k--)
			swap(&r[k], &r[k - 1]);
	for (unsigned i = 0; i < a->count; i++) {
		unsigned end = i;

		while (end < a->count && r[end].priority == r[i].priority)
			end++;
		draw(r, i, end, below);
	}
}
