/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_stream.c - see kube_client_stream.h. */
#include "kube_client_stream.h"

#include <string.h>

#define OBJECT_KEEP (256u << 10) /* octets of memory that stay with a stream between objects */

enum items {
	ITEMS_NONE,  /* not in the list's array */
	ITEMS_FIRST, /* behind its bracket */
	ITEMS_AFTER, /* behind an element */
	ITEMS_COMMA  /* an element must follow */
};

void wm_kube_stream_init(struct wm_kube_stream *s, bool watch, size_t object_max)
{
	memset(s, 0, sizeof(*s));
	s->watch = watch;
	s->object_max = object_max;
	wm_buf_init(&s->object, object_max);
	wm_buf_init(&s->envelope, WM_KUBE_ENVELOPE_MAX);
}

void wm_kube_stream_done(struct wm_kube_stream *s)
{
	wm_buf_done(&s->object);
	wm_buf_done(&s->envelope);
}

void wm_kube_stream_reset(struct wm_kube_stream *s, bool watch)
{
	size_t object_max = s->object_max;

	wm_kube_stream_done(s);
	wm_kube_stream_init(s, watch, object_max);
}

bool wm_kube_stream_whole(const struct wm_kube_stream *s)
{
	return !s->bad && !s->depth;
}

static enum wm_kube_piece bad(struct wm_kube_stream *s, const char *why)
{
	s->bad = why;
	return WM_KUBE_BAD;
}

/* --- what is kept ---------------------------------------------------------------------------- */

static void keep(struct wm_kube_stream *s, const char *data, size_t len)
{
	size_t most = s->object_max < WM_KUBE_CUT ? s->object_max : WM_KUBE_CUT;

	s->object_len += len;
	if (s->cut)
		return;
	if (s->object_len <= s->object_max && wm_buf_put(&s->object, data, len))
		return;
	s->cut = true;
	s->object.failed = false;
	if (s->object.len > most) {
		s->object.len = most;
		s->object.data[most] = '\0';
	} else {
		most -= s->object.len;
		wm_buf_put(&s->object, data, len < most ? len : most);
		s->object.failed = false;
	}
}

static void forget_object(struct wm_kube_stream *s)
{
	if (s->object.cap > OBJECT_KEEP)
		wm_buf_done(&s->object);
	wm_buf_reset(&s->object);
	s->object_len = 0;
	s->cut = false;
}

static bool key_is(const struct wm_kube_stream *s, const char *name)
{
	return !s->want_key && s->key_len == strlen(name) && !memcmp(s->key, name, s->key_len);
}

static void keep_key(struct wm_kube_stream *s, const char *p, size_t len)
{
	if (len <= sizeof(s->key) - s->key_len)
		memcpy(s->key + s->key_len, p, len);
	else
		len = sizeof(s->key) - s->key_len; /* none that is looked for */
	s->key_len += len;
}

/* --- octets ---------------------------------------------------------------------------------- */

static bool among_items(const struct wm_kube_stream *s)
{
	return s->items && s->depth == 2 && !s->object_depth;
}

/* A value of the top object begins with a bracket, which may be what is looked for. */
static enum wm_kube_piece open_member(struct wm_kube_stream *s, char c)
{
	if (!s->watch && c == '[' && key_is(s, "items")) {
		s->items = ITEMS_FIRST;
	} else if (s->watch && c == '{' && key_is(s, "object")) {
		if (s->object_len)
			return bad(s, "an event has two objects");
		s->object_depth = 1;
		wm_buf_puts(&s->envelope, "null");
	}
	return WM_KUBE_MORE;
}

static enum wm_kube_piece open_bracket(struct wm_kube_stream *s, char c)
{
	uint64_t bit = 1ull << s->depth % 64;
	uint64_t *arrays = &s->arrays[s->depth / 64];

	if (s->depth == WM_KUBE_DEPTH_MAX)
		return bad(s, "brackets are nested too deep");
	if (!s->depth) {
		if (c == '[' || (!s->watch && s->ended))
			return bad(s, c == '[' ? "no object" : "more than one object");
		s->want_key = true;
		s->key_len = 0;
	} else if (among_items(s)) {
		if (c == '[' || s->items == ITEMS_AFTER)
			return bad(s, c == '[' ? "an item is no object" : "items without a comma");
		s->object_depth = 2;
	} else if (s->depth == 1 && open_member(s, c)) {
		return WM_KUBE_BAD;
	}
	*arrays = c == '[' ? *arrays | bit : *arrays & ~bit;
	s->depth++;
	if (!s->object_depth)
		wm_buf_putc(&s->envelope, c);
	return WM_KUBE_MORE;
}

static enum wm_kube_piece close_bracket(struct wm_kube_stream *s, char c)
{
	bool items = among_items(s), object = s->object_depth;

	if (!s->depth)
		return bad(s, "brackets do not pair");
	s->depth--;
	if ((s->arrays[s->depth / 64] >> s->depth % 64 & 1) != (c == ']'))
		return bad(s, "brackets do not pair");
	if (items) {
		if (s->items == ITEMS_COMMA)
			return bad(s, "a comma behind the last item");
		s->items = ITEMS_NONE;
		s->key_len = 0;
	}
	if (!object)
		wm_buf_putc(&s->envelope, c);
	if (object && s->depth == s->object_depth) {
		s->object_depth = 0;
		if (s->watch)
			return WM_KUBE_MORE;
		s->items = ITEMS_AFTER;
		return WM_KUBE_ITEM;
	}
	s->ended |= !s->depth;
	return s->depth ? WM_KUBE_MORE : WM_KUBE_DOCUMENT;
}

static enum wm_kube_piece comma(struct wm_kube_stream *s)
{
	if (among_items(s)) {
		if (s->items != ITEMS_AFTER)
			return bad(s, "a comma without an item");
		s->items = ITEMS_COMMA;
		return WM_KUBE_MORE;
	}
	if (s->depth == 1)
		s->want_key = true;
	return WM_KUBE_MORE;
}

/* Of numbers and words; the rest is for whoever reads the values. */
static bool plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '-' ||
	       c == '+' || c == '.';
}

/* An octet outside of strings. */
static enum wm_kube_piece step(struct wm_kube_stream *s, char c)
{
	bool element = among_items(s);

	if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
		return WM_KUBE_MORE;
	if (c == '{' || c == '[')
		return open_bracket(s, c);
	if (c == '}' || c == ']')
		return close_bracket(s, c);
	if (!s->depth)
		return bad(s, "no JSON");
	if (c == ',' && comma(s))
		return WM_KUBE_BAD;
	if (c == ',' && element)
		return WM_KUBE_MORE;
	if (element)
		return bad(s, "an item is no object");
	if (c == ':' && s->depth == 1) {
		s->want_key = false;
	} else if (c == '"') {
		s->string = true;
		s->in_key = s->depth == 1 && s->want_key;
		s->key_len = s->in_key ? 0 : s->key_len;
	} else if (c != ',' && c != ':' && !plain(c)) {
		return bad(s, "no JSON");
	}
	if (!s->object_depth)
		wm_buf_putc(&s->envelope, c);
	return WM_KUBE_MORE;
}

/* On within a string, to its end or to @p end. */
static const char *string(struct wm_kube_stream *s, const char *p, const char *end)
{
	const char *from = p;

	for (; p < end && s->string; p++) {
		if ((unsigned char)*p < ' ') {
			bad(s, "no JSON: a string has a control character");
			return p;
		}
		if (s->escape)
			s->escape = false;
		else if (*p == '\\')
			s->escape = true;
		else if (*p == '"')
			s->string = false;
	}
	if (!s->object_depth)
		wm_buf_put(&s->envelope, from, (size_t)(p - from));
	if (s->in_key)
		keep_key(s, from, (size_t)(p - from) - !s->string);
	s->in_key = s->in_key && s->string;
	return p;
}

/* What the last piece was is not needed any more. */
static void begin(struct wm_kube_stream *s)
{
	if (s->last == WM_KUBE_ITEM || s->last == WM_KUBE_DOCUMENT)
		forget_object(s);
	if (s->last == WM_KUBE_DOCUMENT && s->watch) /* a list has one, which is read at its end */
		wm_buf_reset(&s->envelope);
	s->last = WM_KUBE_MORE;
}

enum wm_kube_piece wm_kube_stream_next(struct wm_kube_stream *s, const char **data, size_t *len)
{
	const char *p = *data, *end = p + *len, *from = NULL;
	enum wm_kube_piece piece = WM_KUBE_MORE;

	if (s->bad)
		return WM_KUBE_BAD;
	begin(s);
	if (s->object_depth)
		from = p;
	while (p < end && piece == WM_KUBE_MORE && !s->bad) {
		if (s->string) {
			p = string(s, p, end);
			continue;
		}
		piece = step(s, *p++);
		if (!from && s->object_depth)
			from = p - 1;
		if (from && !s->object_depth) {
			keep(s, from, (size_t)(p - from));
			from = NULL;
		}
	}
	if (from)
		keep(s, from, (size_t)(p - from));
	*len -= (size_t)(p - *data);
	*data = p;
	if (!s->bad && s->envelope.failed)
		bad(s, "there is too much beside the objects");
	return s->last = s->bad ? WM_KUBE_BAD : piece;
}
