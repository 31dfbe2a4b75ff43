/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - the growable buffer. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256 /* octets of the first allocation: most answers of one object fit */

void wm_buf_init(struct wm_buf *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	b->max = max;
}

void wm_buf_done(struct wm_buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

void wm_buf_reset(struct wm_buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

bool wm_buf_reserve(struct wm_buf *b, size_t more)
{
	size_t need, cap;
	char *p;

	if (b->failed)
		return false;
	if (more > b->max || b->len > b->max - more) {
		b->failed = true;
		return false;
	}
	need = b->len + more + 1;
	if (need <= b->cap)
		return true;
	cap = b->cap ? b->cap : BUF_FIRST;
	while (cap < need)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->cap = cap;
	return true;
}

bool wm_buf_put_slow(struct wm_buf *b, const void *data, size_t len)
{
	if (!wm_buf_reserve(b, len))
		return false;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return true;
}

bool wm_buf_puts(struct wm_buf *b, const char *s)
{
	return wm_buf_put(b, s, strlen(s));
}

bool wm_buf_putc(struct wm_buf *b, char c)
{
	return wm_buf_put(b, &c, 1);
}

bool wm_buf_printf(struct wm_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !wm_buf_reserve(b, (size_t)n)) {
		b->failed = true;
		va_end(again);
		return false;
	}
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
	return true;
}
