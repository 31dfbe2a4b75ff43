/* SPDX-License-Identifier: Apache-2.0 */
/* links: base source */
/* fuzz_kube_stream.c - octets of an API server, in pieces: however they are cut, the same objects
 * come out of them, within their bounds; and what jansson takes for a list has the items that it
 * finds. The first octet: 'w' a watch, else a list; the second: octets of a piece. */
#include "check.h"
#include "userspace/source/kube_client_stream.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECT_MAX 100

struct seen {
	uint64_t hash;
	unsigned items, documents, cut;
	bool bad, whole;
};

static void take(struct seen *r, const struct wm_buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		r->hash = (r->hash ^ (uint8_t)b->data[i]) * 0x100000001b3;
	check(!b->data || !b->data[b->len]);
	check(!b->len || strlen(b->data) == b->len);
}

static void one(struct wm_kube_stream *s, struct seen *r, enum wm_kube_piece piece)
{
	check(s->object.len <= OBJECT_MAX && s->envelope.len <= WM_KUBE_ENVELOPE_MAX);
	check(s->depth <= WM_KUBE_DEPTH_MAX);
	if (piece == WM_KUBE_ITEM) {
		check(s->cut ||
		      (s->object.data[0] == '{' && s->object.data[s->object.len - 1] == '}'));
		take(r, &s->object);
		r->items++;
	}
	if (piece == WM_KUBE_DOCUMENT) {
		take(r, &s->object);
		take(r, &s->envelope);
		r->documents++;
	}
	r->cut += piece != WM_KUBE_MORE && s->cut;
}

static struct seen all(const char *p, size_t size, bool watch, size_t every)
{
	struct wm_kube_stream s;
	struct seen r = {0};

	wm_kube_stream_init(&s, watch, OBJECT_MAX);
	while (size && !r.bad) {
		size_t len = every < size ? every : size;
		char *copy = malloc(len);
		const char *at = copy;

		check(copy != NULL);
		memcpy(copy, p, len); /* exact: a read behind the end is seen */
		p += len;
		size -= len;
		while (len && !r.bad) {
			const char *was = at;
			enum wm_kube_piece piece = wm_kube_stream_next(&s, &at, &len);

			check(at > was || s.bad);
			one(&s, &r, piece);
			r.bad = piece == WM_KUBE_BAD;
		}
		free(copy);
	}
	r.whole = wm_kube_stream_whole(&s);
	wm_kube_stream_done(&s);
	return r;
}

/* What jansson says of a list; but for NUL octets, of which it passes over one behind a number. */
static void as_jansson(const char *p, size_t size, const struct seen *r)
{
	json_t *list = json_loadb(p, size, JSON_REJECT_DUPLICATES, NULL), *item;
	json_t *items = json_object_get(list, "items");
	size_t n;

	if (json_is_object(list) && !memchr(p, '\\', size) && !memchr(p, 0, size)) {
		bool objects = true;

		json_array_foreach(items, n, item) objects = objects && json_is_object(item);
		if (!r->bad)
			check(r->documents == 1 && r->whole && r->items == json_array_size(items));
		else /* of what is well formed only this is refused, and what is nested or long */
			check(!objects || size > WM_KUBE_DEPTH_MAX);
	}
	json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data + 2;
	struct seen whole, cut;
	bool watch;

	if (size < 3)
		return 0;
	watch = data[0] == 'w';
	whole = all(p, size - 2, watch, size);
	cut = all(p, size - 2, watch, 1 + data[1] % 16);
	check(whole.bad == cut.bad && whole.items == cut.items);
	check(whole.documents == cut.documents && whole.cut == cut.cut);
	check(whole.hash == cut.hash && whole.whole == cut.whole);
	if (!watch)
		as_jansson(p, size - 2, &whole);
	return 0;
}
