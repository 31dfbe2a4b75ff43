/* SPDX-License-Identifier: Apache-2.0 */
/* replica_wire.c - messages as octets: one that says how, 0: as it is, 1: zstd behind the size of
 * what was compressed (32 bits, network order). What a stranger sends is bounded before memory is
 * spent on it: by the size it claims, and by what its unpacking takes. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#define WIRE_PLAIN     0
#define WIRE_ZSTD      1
#define WIRE_ZSTD_HEAD 5   /* octets before the frame */
#define WIRE_COMPRESS  256 /* octets from which it is tried */
#define WIRE_LEVEL     1   /* of zstd: pages are made while others wait */

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
	compress(r);
	if (r->packed.failed)
		return -ENOMEM;
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

/* What was compressed, into r->raw. */
static int decompress(struct wm_replica *r, const uint8_t *p, size_t len, struct wm_err *e)
{
	size_t size = 0, n;

	if (len < WIRE_ZSTD_HEAD)
		return wm_err_set(e, WM_E_INVALID, "a message is cut off");
	for (int i = 0; i < 4; i++)
		size = size << 8 | p[1 + i];
	if (size > MESSAGE_MAX)
		return wm_err_set(e, WM_E_INVALID, "a message claims %zu octets, %u are allowed",
				  size, (unsigned)MESSAGE_MAX);
	wm_buf_reset(&r->raw);
	if (!(r->zd || (r->zd = ZSTD_createDCtx())) || !wm_buf_reserve(&r->raw, size))
		return wm_err_set(e, -ENOMEM, "no memory for a message");
	n = ZSTD_decompressDCtx(r->zd, r->raw.data, size, p + WIRE_ZSTD_HEAD, len - WIRE_ZSTD_HEAD);
	if (ZSTD_isError(n) || n != size)
		return wm_err_set(e, WM_E_INVALID, "a message is not what its frame says");
	r->raw.len = size;
	return 0;
}

Wm__Replica__Message *wire_read(struct wm_replica *r, const void *data, size_t len,
				struct wm_err *e)
{
	size_t left = WIRE_UNPACK_MAX;
	ProtobufCAllocator a = wire_allocator(&left);
	Wm__Replica__Message *m;
	const uint8_t *p = data;

	if (!len || len > MESSAGE_MAX || p[0] > WIRE_ZSTD) {
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
