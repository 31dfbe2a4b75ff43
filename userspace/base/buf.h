/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - a growable buffer with a bound. It fails once and stays failed, so that a writer looks at
 * the end only. Threading: one owner. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct wm_buf {
	char *data;	      /* NUL-terminated whenever non-NULL */
	size_t len, cap, max; /* octets; max: bound given at init */
	bool failed; /* an append did not fit or memory ran out; contents are then incomplete */
};
void wm_buf_init(struct wm_buf *b, size_t max);
void wm_buf_done(struct wm_buf *b);
/** Forget the contents, keep the memory. */
void wm_buf_reset(struct wm_buf *b);
/** Make room for @p more octets behind b->len and a NUL, so that they may be written directly.
 *  @return false and b->failed when over max or out of memory. */
bool wm_buf_reserve(struct wm_buf *b, size_t more);
/** Append; sets b->failed and returns false when over max or out of memory. Cost amortised O(n). */
bool wm_buf_put_slow(struct wm_buf *b, const void *data, size_t len);
static inline bool wm_buf_put(struct wm_buf *b, const void *data, size_t len)
{
	/* records and answers are made of hundreds of small pieces, and there is room for most */
	if (b->failed || !len || len >= b->cap - b->len || len > b->max - b->len)
		return wm_buf_put_slow(b, data, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return true;
}
bool wm_buf_puts(struct wm_buf *b, const char *s);
bool wm_buf_putc(struct wm_buf *b, char c);
bool wm_buf_printf(struct wm_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
