/* SPDX-License-Identifier: Apache-2.0 */
#include "writer.h"

#include "userspace/base/buf.h"
#include "userspace/base/utf8.h"

#include <stdio.h>
#include <string.h>

#define INDENT "    "

/* As wm_buf_putc(), without a call where there is room. */
static inline void put(struct wm_json *j, char c)
{
	struct wm_buf *b = j->b;

	if (b->failed || b->len + 2 > b->cap) {
		wm_buf_putc(b, c);
		return;
	}
	b->data[b->len++] = c;
	b->data[b->len] = 0;
}

void wm_json_init(struct wm_json *j, struct wm_buf *b, bool pretty)
{
	*j = (struct wm_json){.b = b, .pretty = pretty, .first = true};
}

void wm_json_done(struct wm_json *j)
{
	if (j->pretty)
		put(j, '\n');
}

static void new_line(struct wm_json *j)
{
	put(j, '\n');
	for (unsigned i = 0; i < j->depth; i++)
		wm_buf_put(j->b, INDENT, sizeof(INDENT) - 1);
}

/* What stands before a value or a key. */
static void lead(struct wm_json *j)
{
	if (j->value) {
		j->value = false;
		return;
	}
	if (!j->depth)
		return;
	if (!j->first)
		put(j, ',');
	j->first = false;
	if (j->pretty)
		new_line(j);
}

void wm_json_open(struct wm_json *j, char bracket)
{
	lead(j);
	put(j, bracket);
	j->depth++;
	j->first = true;
}

void wm_json_close(struct wm_json *j, char bracket)
{
	j->depth--;
	if (j->pretty && !j->first)
		new_line(j);
	put(j, bracket);
	j->first = false;
}

/* Does it stand for itself? If not it is escaped, or begins what is not ASCII. */
static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#define EACH(octet) (0x0101010101010101u * (octet))
/* The same of eight octets: is there one below 0x20, with the upper bit, or one of the two? A
 * borrow may blame an octet above one that is to blame, never otherwise. */
static bool plain8(uint64_t x)
{
	uint64_t quote = x ^ EACH('"'), slash = x ^ EACH('\\');

	return !(((x - EACH(0x20)) | (quote - EACH(1)) | (slash - EACH(1)) | x) & EACH(0x80));
}

/* Write an escape of @p c. @return octets. */
static size_t escape(unsigned char c, char *to)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt", hex[] = "0123456789abcdef";

	to[0] = '\\';
	for (size_t i = 0; i < sizeof(shorts) - 1; i += 2) {
		if ((unsigned char)shorts[i] == c) {
			to[1] = shorts[i + 1];
			return 2;
		}
	}
	to[1] = 'u';
	to[2] = to[3] = '0';
	to[4] = hex[c >> 4];
	to[5] = hex[c & 15];
	return 6;
}

/* One character of the @p left octets at @p s. @return octets that were read. */
static size_t put_char(const char *s, size_t left, char **to)
{
	uint32_t c;
	size_t n;

	if (plain((unsigned char)*s)) {
		*(*to)++ = *s;
		return 1;
	}
	if ((unsigned char)*s < 0x80) {
		*to += escape((unsigned char)*s, *to);
		return 1;
	}
	n = wm_utf8_decode(s, left, &c);
	if (!n) {
		memcpy(*to, "\xef\xbf\xbd", 3);
		*to += 3;
		return 1;
	}
	memcpy(*to, s, n);
	*to += n;
	return n;
}

/* An octet becomes six at most, and everything is written into room made at once: @p room is for
 * what comes after it. */
static void put_string(struct wm_json *j, const char *text, size_t len, size_t room)
{
	const char *s = text, *end = s + len;
	uint64_t eight;
	char *to;

	if (!wm_buf_reserve(j->b, 6 * len + 2 + room))
		return;
	to = j->b->data + j->b->len;
	*to++ = '"';
	while (s < end) {
		if (end - s >= (ptrdiff_t)sizeof(eight)) {
			memcpy(&eight, s, sizeof(eight));
			if (plain8(eight)) {
				memcpy(to, &eight, sizeof(eight));
				to += sizeof(eight);
				s += sizeof(eight);
				continue;
			}
		}
		s += put_char(s, (size_t)(end - s), &to);
	}
	*to++ = '"';
	*to = 0;
	j->b->len = (size_t)(to - j->b->data);
}

static void end_key(struct wm_json *j)
{
	put(j, ':');
	if (j->pretty)
		put(j, ' ');
	j->value = true;
}

void wm_json_key_of(struct wm_json *j, const char *key, size_t len)
{
	lead(j);
	put_string(j, key, len, 2);
	end_key(j);
}

void wm_json_key_plain(struct wm_json *j, const char *key, size_t len)
{
	struct wm_buf *b = j->b;
	char *to;

	lead(j);
	if (!wm_buf_reserve(b, len + 4))
		return;
	to = b->data + b->len;
	*to++ = '"';
	memcpy(to, key, len);
	to += len;
	*to++ = '"';
	*to = 0;
	b->len += len + 2;
	end_key(j);
}

void wm_json_string(struct wm_json *j, const char *s)
{
	lead(j);
	put_string(j, s ? s : "", s ? strlen(s) : 0, 1);
}

void wm_json_u64(struct wm_json *j, uint64_t n)
{
	char text[24], *p = text + sizeof(text);

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	lead(j);
	wm_buf_put(j->b, p, (size_t)(text + sizeof(text) - p));
}

void wm_json_double(struct wm_json *j, double d)
{
	lead(j);
	wm_buf_printf(j->b, "%.9g", d);
}

void wm_json_bool(struct wm_json *j, bool v)
{
	lead(j);
	wm_buf_puts(j->b, v ? "true" : "false");
}

void wm_json_null(struct wm_json *j)
{
	lead(j);
	wm_buf_puts(j->b, "null");
}

void wm_json_repeat(struct wm_json *j, size_t at, size_t len)
{
	lead(j);
	if (!wm_buf_reserve(j->b, len))
		return;
	memcpy(j->b->data + j->b->len, j->b->data + at, len);
	j->b->len += len;
	j->b->data[j->b->len] = 0;
}

/* One octet outside of texts. */
static void put_pretty(struct wm_json *j, char c, char next)
{
	switch (c) {
	case '{':
	case '[':
		put(j, c);
		j->depth++;
		if (next != c + 2) /* ']' and '}' stand two behind their brackets */
			new_line(j);
		break;
	case '}':
	case ']':
		j->depth--;
		put(j, c);
		break;
	case ',':
		put(j, c);
		new_line(j);
		break;
	case ':':
		put(j, c);
		put(j, ' ');
		break;
	default:
		put(j, c);
	}
}

void wm_json_raw(struct wm_json *j, const char *text)
{
	bool quoted = false;

	lead(j);
	if (!j->pretty) {
		wm_buf_puts(j->b, text);
		return;
	}
	for (const char *p = text; *p; p++) {
		if (quoted) {
			put(j, *p);
			if (*p == '\\' && p[1])
				put(j, *++p);
			else if (*p == '"')
				quoted = false;
			continue;
		}
		quoted = *p == '"';
		if ((*p == '}' || *p == ']') && p > text && p[-1] != *p - 2) {
			j->depth--;
			new_line(j);
			j->depth++;
		}
		put_pretty(j, *p, p[1]);
	}
}
