/* SPDX-License-Identifier: Apache-2.0 */
/* dns_compare.h - the answer of a program held against the one of userspace, whatever the order of
 * their records. */
#pragma once
#include "dns_fixture.h"
#include "srv_answer.h"

#define RECORDS 80 /* that fit into 1232 octets, and more */

struct answer {
	unsigned flags, counts[4], n;
	struct {
		unsigned type, ttl;
		uint8_t data[16];
		unsigned len;
	} r[RECORDS];
	uint8_t rest[80]; /* SOA, its serial zero, and OPT */
	size_t rest_len;
};

/* Records of an answer whose owners are all pointers to the question. */
static bool take_apart(const uint8_t *p, size_t len, struct answer *a)
{
	size_t at = 12;
	bool soa = false;

	memset(a, 0, sizeof(*a));
	if (len < 12)
		return false;
	a->flags = (unsigned)p[2] << 8 | p[3];
	for (int i = 0; i < 4; i++)
		a->counts[i] = (unsigned)p[4 + 2 * i] << 8 | p[5 + 2 * i];
	while (p[at])
		at += p[at] + 1u;
	at += 5;
	for (unsigned i = 0; i < a->counts[1] && i < RECORDS; i++, a->n++) {
		unsigned n;

		if (at + 12 > len || p[at] != 0xc0 || p[at + 1] != 12)
			return false;
		n = (unsigned)p[at + 10] << 8 | p[at + 11];
		soa = at16(p + at + 2) == 6;
		if (soa)
			break;
		a->r[i].type = (unsigned)p[at + 2] << 8 | p[at + 3];
		a->r[i].ttl = (unsigned)p[at + 6] << 24 | (unsigned)p[at + 7] << 16 |
			      (unsigned)p[at + 8] << 8 | p[at + 9];
		if (n > 16 || at + 12 + n > len)
			return false;
		a->r[i].len = n;
		memcpy(a->r[i].data, p + at + 12, n);
		at += 12 + n;
	}
	a->rest_len = len - at;
	if (a->rest_len > sizeof(a->rest))
		return false;
	memcpy(a->rest, p + at, a->rest_len);
	if (soa || a->counts[2])
		memset(a->rest + 30, 0, 4);
	return true;
}

static bool holds(const struct answer *a, unsigned i, const struct answer *b)
{
	for (unsigned k = 0; k < b->n; k++)
		if (a->r[i].type == b->r[k].type && a->r[i].ttl == b->r[k].ttl &&
		    a->r[i].len == b->r[k].len &&
		    memcmp(a->r[i].data, b->r[k].data, a->r[i].len) == 0)
			return true;
	return false;
}

/* The same records, in whatever order, and octet for octet the same SOA and OPT. */
static bool equal(const struct answer *k, const struct answer *u)
{
	if (k->flags != u->flags || memcmp(k->counts, u->counts, sizeof(k->counts)) != 0 ||
	    k->n != u->n || k->rest_len != u->rest_len ||
	    memcmp(k->rest, u->rest, k->rest_len) != 0)
		return false;
	for (unsigned i = 0; i < k->n; i++)
		if (!holds(k, i, u) || !holds(u, i, k))
			return false;
	return true;
}

/* Does the frame hold the answer @p out, but for the order of its records? @p ret_authorities: of
 * both, or NULL. */
static __attribute__((unused)) bool agree(const struct frame *f, const uint8_t *out, size_t len,
					  unsigned *ret_authorities)
{
	static struct srv_answer srv_k, srv_u;
	const uint8_t *p = f->at + f->dns, *type = p + 12;
	struct answer k, u;

	while (*type)
		type += *type + 1;
	if (at16(type + 1) == 33)
		return srv_take_apart(p, f->len - f->dns, &srv_k) &&
		       srv_take_apart(out, len, &srv_u) && srv_equal(&srv_k, &srv_u);
	if (!take_apart(p, f->len - f->dns, &k) || !take_apart(out, len, &u))
		return false;
	*ret_authorities = k.counts[2];
	return equal(&k, &u);
}
