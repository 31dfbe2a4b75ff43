/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - octets of an answer, never behind the end of the buffer. Spec: RFC 1035 4.1. */
#include "internal.h"
#include "userspace/base/random.h"

#include <string.h>

#define POINTER_MAX WM_DNS_POINTER_MAX
#define JUMPS_MAX   16 /* pointers followed while names are compared */

void wm_put_bytes(struct wm_writer *w, const void *data, size_t len)
{
	if (w->full || len > w->cap - w->len) {
		w->full = true;
		return;
	}
	if (len)
		memcpy(w->out + w->len, data, len);
	w->len += len;
}

void wm_put8(struct wm_writer *w, uint8_t v)
{
	wm_put_bytes(w, &v, 1);
}

void wm_put16(struct wm_writer *w, uint16_t v)
{
	uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	wm_put_bytes(w, b, 2);
}

void wm_put32(struct wm_writer *w, uint32_t v)
{
	wm_put16(w, (uint16_t)(v >> 16));
	wm_put16(w, (uint16_t)v);
}

/* Octets of a well-formed wire name, root label included. */
static size_t wire_len(const uint8_t *wire)
{
	size_t len = 1;

	for (; *wire; wire += *wire + 1u)
		len += *wire + 1u;
	return len;
}

static uint8_t fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/* Is the name that was written at @p at the same as @p wire? Looks at nothing behind what was
 * written: the buffer may hold the message before. */
static bool same_name(const struct wm_writer *w, size_t at, const uint8_t *wire)
{
	for (unsigned jumps = 0; jumps < JUMPS_MAX && at + 1 < w->len;) {
		uint8_t n = w->out[at];

		if (n >= 0xc0) {
			at = (size_t)(n & 0x3f) << 8 | w->out[at + 1];
			jumps++;
			continue;
		}
		if (n != *wire || at + n + 1u >= w->len)
			return false;
		for (uint8_t i = 1; i <= n; i++)
			if (fold(w->out[at + i]) != fold(wire[i]))
				return false;
		at += n + 1u;
		wire += n + 1u;
		if (!*wire)
			return at < w->len && !w->out[at];
	}
	return false;
}

/* --- the table of names ----------------------------------------------------------------------- */
/* A name's labels from the left: where each begins, and the hash of the name from there on. */
struct suffixes {
	const uint8_t *at[WM_DNS_LABELS_MAX];
	uint64_t hash[WM_DNS_LABELS_MAX];
	unsigned n;
};

static void suffixes_of(const struct wm_writer *w, const uint8_t *wire, struct suffixes *ret)
{
	uint64_t h = w->key;

	ret->n = 0;
	for (; *wire && ret->n < WM_DNS_LABELS_MAX; wire += *wire + 1u)
		ret->at[ret->n++] = wire;
	for (unsigned i = ret->n; i-- > 0;) {
		const uint8_t *l = ret->at[i];

		for (unsigned k = 0; k <= *l; k++)
			h = (h ^ fold(l[k])) * 0x100000001b3ull;
		h = wm_mix64(h);
		ret->hash[i] = h;
	}
}

/* Place of the name in the table, or the free one where it belongs. */
static uint32_t *place_of(struct wm_writer *w, const uint8_t *wire, uint64_t hash)
{
	uint32_t *p;

	for (uint64_t i = hash;; i++) {
		p = &w->names[i % WM_DNS_NAME_PLACES];
		if (*p >> 14 != w->message || same_name(w, *p & POINTER_MAX, wire))
			return p;
	}
}

/* Offset of the name in the message, 0: it is not there. */
static size_t find_name(struct wm_writer *w, const uint8_t *wire, uint64_t hash)
{
	uint32_t e = *place_of(w, wire, hash);

	return e >> 14 == w->message ? e & POINTER_MAX : 0;
}

static void note_name(struct wm_writer *w, const uint8_t *wire, uint64_t hash, size_t at)
{
	if (w->full || at > POINTER_MAX || w->names_count == WM_DNS_NAMES_MAX)
		return;
	*place_of(w, wire, hash) = w->message << 14 | (uint32_t)at;
	w->names_count++;
}

void wm_write_begin(struct wm_writer *w, uint8_t *out, size_t cap)
{
	if (!w->message)
		w->key = wm_random64();
	w->message++;
	if (w->message >> 18) { /* the number has 18 bits */
		memset(w->names, 0, sizeof(w->names));
		w->message = 1;
	}
	w->out = out;
	w->len = WM_DNS_HEADER_LEN;
	w->cap = cap;
	w->opt_at = 0;
	w->asked = NULL;
	w->asked_noted = false;
	w->names_count = 0;
	w->full = false;
}

void wm_put_question(struct wm_writer *w, const uint8_t *wire, size_t name_len, uint16_t type,
		     uint16_t class)
{
	w->asked = wire;
	wm_put_bytes(w, wire, name_len);
	wm_put16(w, type);
	wm_put16(w, class);
}

/* The question's name and those that it ends with, when a name is first looked for: of most answers
 * all owners are the question. */
static void note_question(struct wm_writer *w)
{
	struct suffixes s;

	w->asked_noted = true;
	if (!w->asked)
		return;
	suffixes_of(w, w->out + WM_DNS_HEADER_LEN, &s);
	for (unsigned i = 0; i < s.n; i++)
		note_name(w, s.at[i], s.hash[i], (size_t)(s.at[i] - w->out));
}

void wm_put_name(struct wm_writer *w, const uint8_t *wire)
{
	size_t begin = w->len, known = 0;
	struct suffixes s;
	unsigned n;

	if (!w->asked_noted)
		note_question(w);
	suffixes_of(w, wire, &s);
	for (n = 0; n < s.n && !known; n++)
		known = find_name(w, s.at[n], s.hash[n]);
	if (known)
		n--;
	wm_put_bytes(w, wire, n < s.n ? (size_t)(s.at[n] - wire) : wire_len(wire) - 1);
	if (known)
		wm_put16(w, (uint16_t)(0xc000 | known));
	else
		wm_put8(w, 0);
	for (unsigned i = 0; i < n; i++)
		note_name(w, s.at[i], s.hash[i], begin + (size_t)(s.at[i] - wire));
}

void wm_put_name_plain(struct wm_writer *w, const uint8_t *wire)
{
	wm_put_bytes(w, wire, wire_len(wire));
}

/* What is behind an owner; before it a pointer to where that is in the message, unless it is 0:
 * then the owner was written. @return place of the length. */
static size_t put_head(struct wm_writer *w, size_t owner, uint16_t type, uint32_t ttl_s)
{
	const uint8_t head[] = {(uint8_t)(0xc0 | owner >> 8),
				(uint8_t)owner,
				(uint8_t)(type >> 8),
				(uint8_t)type,
				0,
				WM_DNS_IN,
				(uint8_t)(ttl_s >> 24),
				(uint8_t)(ttl_s >> 16),
				(uint8_t)(ttl_s >> 8),
				(uint8_t)ttl_s,
				0,
				0};
	size_t from = owner ? 0 : 2;

	wm_put_bytes(w, head + from, sizeof(head) - from);
	return w->len - 2;
}

size_t wm_rr_begin(struct wm_writer *w, const uint8_t *owner, uint16_t type, uint32_t ttl_s)
{
	bool asked = owner == w->asked && *owner;

	if (!asked)
		wm_put_name(w, owner);
	return put_head(w, asked ? WM_DNS_HEADER_LEN : 0, type, ttl_s);
}

/* Where no pointer leads to. */
static size_t begin_far(struct wm_writer *w, size_t owner, uint16_t type, uint32_t ttl_s)
{
	uint8_t name[WM_DNS_NAME_MAX + 1];

	memcpy(name, w->out + owner, wire_len(w->out + owner));
	return wm_rr_begin(w, name, type, ttl_s);
}

size_t wm_rr_begin_at(struct wm_writer *w, size_t owner, uint16_t type, uint32_t ttl_s)
{
	return owner <= POINTER_MAX ? put_head(w, owner, type, ttl_s)
				    : begin_far(w, owner, type, ttl_s);
}

bool wm_rr_end(struct wm_writer *w, size_t begin, size_t length_at)
{
	size_t len;

	if (!w->full) {
		len = w->len - length_at - 2;
		w->out[length_at] = (uint8_t)(len >> 8);
		w->out[length_at + 1] = (uint8_t)len;
		return true;
	}
	/* what the table says of names in what is taken back is held against what was written, as
	 * everything in it is */
	w->len = begin;
	w->full = false;
	return false;
}

size_t wm_wire_label(uint8_t *wire, size_t at, const char *label, size_t len)
{
	if (!len || len > WM_DNS_LABEL_MAX || at + len + 2 > WM_DNS_NAME_MAX)
		return 0;
	wire[at] = (uint8_t)len;
	memcpy(wire + at + 1, label, len);
	return at + 1 + len;
}
