/* SPDX-License-Identifier: Apache-2.0 */
/* replica_wire.c - messages as octets: one that says how, 0: as it is, 1: zstd behind the size of
 * what was compressed (32 bits, network order), 2: news of the tree, zstd with a dictionary, whose
 * number comes first; the frame says the size. What is said to one member has no dictionary, so
 * that what one cannot read it gets by asking. What a stranger sends is bounded before memory is
 * spent on it: by the size it claims, and by what its unpacking takes. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#define WIRE_PLAIN	     0
#define WIRE_ZSTD	     1
#define WIRE_DICTIONARY	     2
#define WIRE_ZSTD_HEAD	     5	 /* octets before the frame */
#define WIRE_DICTIONARY_HEAD 2	 /* the same with a dictionary */
#define WIRE_COMPRESS	     256 /* octets from which it is tried; with a dictionary always */
#define WIRE_LEVEL	     1	 /* of zstd: pages are made while others wait */

static bool compress_news(struct wm_replica *r)
{
	struct wm_buf *b = &r->packed;
	size_t len = r->raw.len, room = ZSTD_compressBound(len), n;
	ZSTD_CDict *d = wire_dictionary_out();

	wm_buf_reset(b);
	if (!d || !(r->zc || (r->zc = ZSTD_createCCtx())) ||
	    !wm_buf_reserve(b, WIRE_DICTIONARY_HEAD + room))
		return false;
	n = ZSTD_CCtx_reset(r->zc, ZSTD_reset_session_and_parameters);
	if (!ZSTD_isError(n))
		n = ZSTD_CCtx_setParameter(r->zc, ZSTD_c_dictIDFlag, 0);
	if (!ZSTD_isError(n))
		n = ZSTD_CCtx_refCDict(r->zc, d);
	if (!ZSTD_isError(n))
		n = ZSTD_compress2(r->zc, b->data + WIRE_DICTIONARY_HEAD, room, r->raw.data, len);
	if (ZSTD_isError(n) || n + WIRE_DICTIONARY_HEAD > len)
		return false;
	b->data[0] = WIRE_DICTIONARY;
	b->data[1] = WIRE_DICTIONARY_NUMBER;
	b->len = WIRE_DICTIONARY_HEAD + n;
	return true;
}

static void compress(struct wm_replica *r)
{
	struct wm_buf *b = &r->packed;
	size_t len = r->raw.len, room = ZSTD_compressBound(len), n;

	wm_buf_reset(b);
	if (len >= WIRE_COMPRESS && (r->zc || (r->zc = ZSTD_createCCtx())) &&
	    wm_buf_reserve(b, WIRE_ZSTD_HEAD + room)) {
		n = ZSTD_compressCCtx(r->zc, b->data + WIRE_ZSTD_HEAD, room, r->raw.data, len,
				      WIRE_LEVEL);
		if (!ZSTD_isError(n) && n + WIRE_ZSTD_HEAD < len) {
			b->data[0] = WIRE_ZSTD;
			for (int i = 0; i < 4; i++)
				b->data[1 + i] = (char)(len >> (24 - 8 * i));
			b->len = WIRE_ZSTD_HEAD + n;
			return;
		}
	}
	wm_buf_reset(b);
	wm_buf_putc(b, WIRE_PLAIN);
	wm_buf_put(b, r->raw.data, len);
}

int wire_send(struct wm_replica *r, struct peer *to, Wm__Replica__Message *m)
{
	size_t len = wm__replica__message__get_packed_size(m);

	wm_buf_reset(&r->raw);
	if (!wm_buf_reserve(&r->raw, len))
		return -ENOMEM;
	r->raw.len = wm__replica__message__pack(m, (uint8_t *)r->raw.data);
	if (to || !compress_news(r))
		compress(r);
	if (r->packed.failed)
		return -ENOMEM;
	if (to) {
		to->plain += len;
		to->packed += r->packed.len;
	}
	if (to)
		r->c.send(r->c.arg, &to->id, r->packed.data, r->packed.len);
	else
		r->c.spread(r->c.arg, r->packed.data, r->packed.len);
	return 0;
}

static void *budget_alloc(void *arg, size_t n)
{
	size_t *left = arg;

	if (n > *left)
		return NULL;
	*left -= n;
	return malloc(n);
}

static void budget_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

ProtobufCAllocator wire_allocator(size_t *left)
{
	return (ProtobufCAllocator){budget_alloc, budget_free, left};
}

/* The size that the head of a message says. @return SIZE_MAX: none. */
static size_t size_of(const uint8_t *p, size_t len)
{
	unsigned long long content;
	size_t size = 0;

	if (p[0] == WIRE_DICTIONARY) {
		content = len < WIRE_DICTIONARY_HEAD
				  ? ZSTD_CONTENTSIZE_ERROR
				  : ZSTD_getFrameContentSize(p + WIRE_DICTIONARY_HEAD,
							     len - WIRE_DICTIONARY_HEAD);
		return content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN
			       ? SIZE_MAX
			       : (size_t)content;
	}
	if (len < WIRE_ZSTD_HEAD)
		return SIZE_MAX;
	for (int i = 0; i < 4; i++)
		size = size << 8 | p[1 + i];
	return size;
}

/* What was compressed, into r->raw. */
static int decompress(struct wm_replica *r, const uint8_t *p, size_t len, struct wm_err *e)
{
	size_t size = size_of(p, len), head = WIRE_ZSTD_HEAD, n;
	const ZSTD_DDict *d = NULL;

	if (size == SIZE_MAX)
		return wm_err_set(e, WM_E_INVALID, "a message is cut off");
	if (size > MESSAGE_MAX)
		return wm_err_set(e, WM_E_INVALID, "a message claims %zu octets, %u are allowed",
				  size, (unsigned)MESSAGE_MAX);
	if (p[0] == WIRE_DICTIONARY) {
		if (p[1] != WIRE_DICTIONARY_NUMBER)
			return wm_err_set(e, WM_E_INVALID, "a message has dictionary %u, not %u",
					  p[1], WIRE_DICTIONARY_NUMBER);
		head = WIRE_DICTIONARY_HEAD;
		d = wire_dictionary_in();
	}
	wm_buf_reset(&r->raw);
	if (!(r->zd || (r->zd = ZSTD_createDCtx())) || !wm_buf_reserve(&r->raw, size) ||
	    (head == WIRE_DICTIONARY_HEAD && !d))
		return wm_err_set(e, -ENOMEM, "no memory for a message");
	n = d ? ZSTD_decompress_usingDDict(r->zd, r->raw.data, size, p + head, len - head, d)
	      : ZSTD_decompressDCtx(r->zd, r->raw.data, size, p + head, len - head);
	if (ZSTD_isError(n) || n != size)
		return wm_err_set(e, WM_E_INVALID, "a message is not what its frame says");
	r->raw.len = size;
	return 0;
}

bool wire_strange(const void *data, size_t len)
{
	const uint8_t *p = data;

	return len >= WIRE_DICTIONARY_HEAD && p[0] == WIRE_DICTIONARY &&
	       p[1] != WIRE_DICTIONARY_NUMBER;
}

Wm__Replica__Message *wire_read(struct wm_replica *r, const void *data, size_t len,
				struct wm_err *e)
{
	size_t left = WIRE_UNPACK_MAX;
	ProtobufCAllocator a = wire_allocator(&left);
	Wm__Replica__Message *m;
	const uint8_t *p = data;

	if (!len || len > MESSAGE_MAX || p[0] > WIRE_DICTIONARY) {
		wm_err_set(e, WM_E_INVALID, "a message of %zu octets is none of this version", len);
		return NULL;
	}
	if (p[0] == WIRE_PLAIN) {
		m = wm__replica__message__unpack(&a, len - 1, p + 1);
	} else {
		if (decompress(r, p, len, e))
			return NULL;
		m = wm__replica__message__unpack(&a, r->raw.len, (const uint8_t *)r->raw.data);
	}
	if (!m)
		wm_err_set(e, WM_E_INVALID, "a message cannot be read");
	return m;
}

void wire_free(Wm__Replica__Message *m)
{
	ProtobufCAllocator a = wire_allocator(NULL);

	wm__replica__message__free_unpacked(m, &a);
}
