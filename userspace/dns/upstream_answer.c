/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_answer.c - libunbound's message becomes the answer to a client. It is written anew,
 * record by record, since what is left out would break the pointers behind it; names are compressed
 * again where RFC 3597 4 allows it. Never reads behind the message (fuzz_upstream). Spec:
 * RFC 1035 4.1, 2181 9 (TC), 3225 and 4035 3.2.1 (DO), 6840 5.7 (AD), 6891. */
#include "upstream_internal.h"

#include <string.h>

#define AD	   0x0020
#define RR_FIXED   10 /* octets between a record's name and its data */
#define TYPE_DS	   43
#define TYPE_RRSIG 46
#define TYPE_NSEC  47
#define TYPE_NSEC3 50
#define SECTIONS   3

struct reader {
	const uint8_t *msg;
	size_t len, at;
};

struct record {
	uint8_t owner[WM_DNS_NAME_MAX + 1];
	uint16_t type, class, data_len;
	uint32_t ttl_s;
	size_t data; /* offset in the message */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* A name that may have pointers, in plain form. Each pointer leads back, so it ends.
 * @return offset behind it, 0: it is malformed. */
static size_t read_name(const uint8_t *msg, size_t len, size_t at, uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t n = 0, end = 0, floor = at;

	while (at < len) {
		uint8_t c = msg[at];

		if (c >= 0xc0) {
			if (at + 1 >= len)
				return 0;
			if (!end)
				end = at + 2;
			at = (size_t)(c & 0x3f) << 8 | msg[at + 1];
			if (at >= floor)
				return 0;
			floor = at;
			continue;
		}
		if (c > WM_DNS_LABEL_MAX || at + 1 + c > len || n + 1 + c > WM_DNS_NAME_MAX)
			return 0;
		memcpy(out + n, msg + at, 1u + c);
		n += 1u + c;
		at += 1u + c;
		if (!c)
			return end ? end : at;
	}
	return 0;
}

static bool read_record(struct reader *r, struct record *ret)
{
	size_t at = read_name(r->msg, r->len, r->at, ret->owner);
	const uint8_t *p = r->msg + at;

	if (!at || r->len - at < RR_FIXED)
		return false;
	ret->type = get16(p);
	ret->class = get16(p + 2);
	ret->ttl_s = (uint32_t)get16(p + 4) << 16 | get16(p + 6);
	ret->data_len = get16(p + 8);
	ret->data = at + RR_FIXED;
	if (r->len - ret->data < ret->data_len)
		return false;
	r->at = ret->data + ret->data_len;
	return true;
}

/* Names that may be compressed in the data of a type of RFC 1035, and the octets before them. */
static unsigned names_in(uint16_t type, size_t *ret_before)
{
	*ret_before = 0;
	switch (type) {
	case WM_DNS_NS:
	case 3: /* MD */
	case 4: /* MF */
	case WM_DNS_CNAME:
	case 7: /* MB */
	case 8: /* MG */
	case 9: /* MR */
	case WM_DNS_PTR:
		return 1;
	case WM_DNS_SOA:
	case 14: /* MINFO */
		return 2;
	case 15: /* MX */
		*ret_before = 2;
		return 1;
	default:
		return 0;
	}
}

/* Octets that the data of an address has; 0: it is of another type. */
static unsigned address_len(uint16_t type)
{
	return type == WM_DNS_A ? 4 : type == WM_DNS_AAAA ? 16 : 0;
}

/* @return false: the data is malformed. */
static bool put_data(struct wm_writer *w, const struct reader *r, const struct record *rr)
{
	uint8_t name[WM_DNS_NAME_MAX + 1];
	size_t before, at = rr->data, end = rr->data + rr->data_len;
	unsigned names = names_in(rr->type, &before);

	if ((names && rr->data_len < before) ||
	    (address_len(rr->type) && rr->data_len != address_len(rr->type)))
		return false;
	if (names) {
		wm_put_bytes(w, r->msg + at, before);
		at += before;
	}
	for (; names; names--) {
		at = read_name(r->msg, end, at, name);
		if (!at)
			return false;
		wm_put_name(w, name);
	}
	wm_put_bytes(w, r->msg + at, end - at);
	return true;
}

/* Is it there only for who validates? */
static bool is_proof(const struct record *rr, const struct wm_dns_query *q, int section)
{
	if (rr->type == q->type || q->edns_flags & WM_DNS_DO ||
	    (q->type == WM_DNS_ANY && section == 0))
		return false;
	return rr->type == TYPE_RRSIG || rr->type == TYPE_NSEC || rr->type == TYPE_NSEC3 ||
	       (rr->type == TYPE_DS && section == 1);
}

/* @return 1 written, 0 it did not fit, -1 malformed. @p ret_data: where its data stands. */
static int put_record(struct wm_writer *w, const struct reader *r, const struct record *rr,
		      size_t *ret_data)
{
	size_t begin = w->len, length_at;
	bool whole;

	wm_put_name(w, rr->owner);
	wm_put16(w, rr->type);
	wm_put16(w, rr->class);
	wm_put32(w, rr->ttl_s);
	wm_put16(w, 0);
	length_at = w->len - 2;
	*ret_data = w->len;
	whole = put_data(w, r, rr);
	if (!wm_rr_end(w, begin, length_at))
		return whole ? 0 : -1;
	return whole ? 1 : -1;
}

/* @return false: malformed. */
static bool copy_sections(struct wm_writer *w, struct reader *r,
			  const struct wm_upstream_shape *shape, const uint16_t have[SECTIONS],
			  struct wm_upstream_made *ret)
{
	struct record rr;
	size_t data;

	for (int s = 0; s < SECTIONS; s++) {
		for (unsigned i = 0; i < have[s]; i++) {
			int n = 0;

			if (!read_record(r, &rr))
				return false;
			if (rr.class != WM_DNS_IN || rr.type == WM_DNS_OPT ||
			    is_proof(&rr, shape->q, s))
				continue;
			if (rr.ttl_s == WM_UPSTREAM_STALE_MARK_S) {
				rr.ttl_s = WM_UPSTREAM_STALE_TTL_S;
				ret->aged = true;
			}
			if (!ret->truncated)
				n = put_record(w, r, &rr, &data);
			if (n < 0)
				return false;
			ret->put[s] += (uint16_t)n;
			if (n && rr.type == WM_DNS_CNAME)
				ret->alias_at = data;
			/* what is additional may be missing without anybody missing it */
			ret->truncated |= !n && s < 2;
		}
	}
	return true;
}

static void put_header(uint8_t *out, const struct wm_upstream_shape *shape,
		       const struct wm_upstream_made *made)
{
	const struct wm_dns_query *q = shape->q;
	uint16_t flags = (uint16_t)(WM_DNS_QR | WM_DNS_RA | (q->flags & (WM_DNS_RD | WM_DNS_CD)) |
				    made->rcode);
	uint16_t words[5];

	if (made->truncated)
		flags |= WM_DNS_TC;
	if (shape->secure && (q->flags & AD || q->edns_flags & WM_DNS_DO))
		flags |= AD;
	words[0] = flags;
	words[1] = 1;
	words[2] = made->put[0];
	words[3] = made->put[1];
	words[4] = (uint16_t)(made->put[2] + q->edns);
	memcpy(out, shape->query, 2);
	for (int i = 0; i < 5; i++) {
		out[2 + 2 * i] = (uint8_t)(words[i] >> 8);
		out[3 + 2 * i] = (uint8_t)words[i];
	}
}

static void begin(struct wm_writer *w, const struct wm_upstream_shape *shape, uint8_t *out,
		  size_t cap)
{
	const struct wm_dns_query *q = shape->q;
	size_t extra = shape->extra ? shape->extra->len : 0;

	wm_write_begin(w, out, cap - (q->edns ? WM_DNS_OPT_LEN + extra : 0));
	wm_put_question(w, shape->query + WM_DNS_HEADER_LEN, q->name_len, q->type, q->class);
}

/* Read how many records the sections have, and come to the first. */
static bool read_counts(struct reader *r, uint16_t have[SECTIONS])
{
	uint8_t name[WM_DNS_NAME_MAX + 1];

	if (r->len < WM_DNS_HEADER_LEN)
		return false;
	for (int s = 0; s < SECTIONS; s++)
		have[s] = get16(r->msg + 6 + 2 * s);
	r->at = WM_DNS_HEADER_LEN;
	for (unsigned i = get16(r->msg + 4); i; i--) {
		r->at = read_name(r->msg, r->len, r->at, name);
		if (!r->at || r->len - r->at < 4)
			return false;
		r->at += 4;
	}
	return true;
}

bool wm_upstream_begin(struct wm_writer *w, const struct wm_upstream_shape *shape,
		       const uint8_t *packet, size_t len, uint8_t *out, size_t cap,
		       struct wm_upstream_made *ret)
{
	struct reader r = {packet, len, 0};
	uint16_t have[SECTIONS];

	*ret = (struct wm_upstream_made){0};
	if (!read_counts(&r, have))
		return false;
	if (shape->only) {
		have[0] = shape->only < have[0] ? shape->only : have[0];
		have[1] = have[2] = 0;
	}
	begin(w, shape, out, cap);
	wm_put_bytes(w, shape->before, shape->before_len);
	ret->put[0] = shape->before_count;
	ret->rcode = packet[3] & WM_DNS_RCODE;
	return copy_sections(w, &r, shape, have, ret);
}

void wm_upstream_finish(struct wm_writer *w, const struct wm_upstream_shape *shape,
			struct wm_upstream_made *made)
{
	if (shape->q->edns)
		wm_put_opt(w, 0, shape->q->edns_flags, shape->extra);
	put_header(w->out, shape, made);
	made->len = w->len;
}

bool wm_upstream_answer(struct wm_writer *w, const struct wm_upstream_shape *shape,
			const uint8_t *packet, size_t len, uint8_t *out, size_t cap,
			struct wm_upstream_made *ret)
{
	if (!wm_upstream_begin(w, shape, packet, len, out, cap, ret))
		return false;
	wm_upstream_finish(w, shape, ret);
	return true;
}

void wm_upstream_error(struct wm_writer *w, const struct wm_upstream_shape *shape, uint16_t rcode,
		       uint8_t *out, size_t cap, struct wm_upstream_made *ret)
{
	*ret = (struct wm_upstream_made){.rcode = rcode};
	begin(w, shape, out, cap);
	wm_upstream_finish(w, shape, ret);
}

/* --- where aliases lead ------------------------------------------------------------------------
 */
static size_t fold(uint8_t *name)
{
	size_t len = 0;

	for (; name[len]; len += name[len] + 1u)
		for (unsigned i = 1; i <= name[len]; i++)
			if (name[len + i] >= 'A' && name[len + i] <= 'Z')
				name[len + i] |= 0x20;
	return len + 1;
}

/* Is its owner the name, which is folded? Folds it. */
static bool is_of(struct record *rr, const uint8_t *name)
{
	size_t len = fold(rr->owner);

	return memcmp(rr->owner, name, len) == 0;
}

uint16_t wm_upstream_chain(const uint8_t *packet, size_t len, const uint8_t name[WM_NAME_BUF],
			   bool (*ends)(void *arg, const uint8_t *folded, size_t len), void *arg)
{
	uint8_t at[WM_NAME_BUF] = {0}, next[WM_NAME_BUF];
	struct reader r = {packet, len, 0};
	uint16_t have[SECTIONS], n = 0;
	struct record rr;

	if (!read_counts(&r, have))
		return 0;
	for (memcpy(at, name, WM_NAME_BUF); n < have[0] && read_record(&r, &rr); n++) {
		if (rr.type != WM_DNS_CNAME || rr.class != WM_DNS_IN || !is_of(&rr, at))
			continue;
		memset(next, 0, sizeof(next));
		if (!read_name(packet, rr.data + rr.data_len, rr.data, next))
			return 0;
		if (ends(arg, next, fold(next))) {
			/* with what signs it */
			for (n++; n < have[0] && read_record(&r, &rr) && rr.type == TYPE_RRSIG &&
				  is_of(&rr, at);)
				n++;
			return n;
		}
		memcpy(at, next, sizeof(at));
	}
	return 0;
}
