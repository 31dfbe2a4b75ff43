/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - octets of an answer, never behind the end of the buffer. Spec: RFC 1035 4.1. */
#include "internal.h"

#include <string.h>

#define POINTER_MAX 0x3fff /* a pointer has 14 bits: RFC 1035 4.1.4 */
#define JUMPS_MAX   16	   /* pointers followed while names are compared */

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

static uint8_t fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/* Is the name that was written at @p at the same as @p wire? */
static bool same_name(const struct wm_writer *w, size_t at, const uint8_t *wire)
{
	for (unsigned jumps = 0; jumps < JUMPS_MAX;) {
		uint8_t n = w->out[at];

		if (n >= 0xc0) {
			at = (size_t)(n & 0x3f) << 8 | w->out[at + 1];
			jumps++;
			continue;
		}
		if (n != *wire)
			return false;
		if (!n)
			return true;
		for (uint8_t i = 1; i <= n; i++)
			if (fold(w->out[at + i]) != fold(wire[i]))
				return false;
		at += n + 1u;
		wire += n + 1u;
	}
	return false;
}

void wm_put_name(struct wm_writer *w, const uint8_t *wire)
{
	for (; *wire; wire += *wire + 1u) {
		for (unsigned i = 0; i < w->names_count; i++)
			if (same_name(w, w->names[i], wire)) {
				wm_put16(w, (uint16_t)(0xc000 | w->names[i]));
				return;
			}
		if (w->len <= POINTER_MAX && w->names_count < WM_DNS_NAMES_MAX && !w->full)
			w->names[w->names_count++] = (uint16_t)w->len;
		wm_put_bytes(w, wire, *wire + 1u);
	}
	wm_put8(w, 0);
}

void wm_put_name_plain(struct wm_writer *w, const uint8_t *wire)
{
	size_t len = 1;

	for (const uint8_t *l = wire; *l; l += *l + 1u)
		len += *l + 1u;
	if (w->len <= POINTER_MAX && w->names_count < WM_DNS_NAMES_MAX && !w->full)
		w->names[w->names_count++] = (uint16_t)w->len;
	wm_put_bytes(w, wire, len);
}

size_t wm_rr_begin(struct wm_writer *w, const uint8_t *owner, uint16_t type, uint32_t ttl_s)
{
	wm_put_name(w, owner);
	wm_put16(w, type);
	wm_put16(w, WM_DNS_IN);
	wm_put32(w, ttl_s);
	wm_put16(w, 0);
	return w->len - 2;
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
	/* names inside what is taken back must not be pointed to */
	while (w->names_count && w->names[w->names_count - 1] >= begin)
		w->names_count--;
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
