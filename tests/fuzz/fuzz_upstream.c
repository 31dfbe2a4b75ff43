/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* fuzz_upstream.c - a resolver's message on its way to a client, and into the kernel, which keeps
 * it. Whatever its octets: reading stays inside them, what is written stays within the client's
 * size, and can be read again. */
#include "check.h"
#include "userspace/dns/upstream_internal.h"
#include "waymark/dns_hot.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool shaped(const struct wm_upstream_shape *s, const uint8_t *data, size_t size,
		   uint8_t *out, size_t cap, struct wm_upstream_made *made)
{
	static struct wm_writer w;
	uint8_t *exact = malloc(size ? size : 1); /* a read behind the end is seen */
	bool ok;

	check(exact != NULL);
	memcpy(exact, data, size);
	ok = wm_upstream_answer(&w, s, exact, size, out, cap, made);
	free(exact);
	return ok;
}

/* An entry of any message, and as the kernel reads it: the same records, whose TTLs lie within. */
static void kept(const struct wm_dns_query *q, const uint8_t *data, size_t size)
{
	static const struct wm_hot_key key = {.type = WM_DNS_A};
	static uint8_t folded[WM_NAME_BUF] = "\1a\7example";
	static uint64_t out[WM_HOT_OCTETS / 8];
	static struct wm_hot e;
	uint8_t *exact = size >= WM_DNS_HEADER_LEN ? malloc(size) : NULL;

	if (!exact)
		return;
	memcpy(exact, data, size);
	if (wm_hot_make(exact, (uint32_t)size, q, folded, 1, &e)) {
		wm_hot_seal(&key, &e);
		check(e.head.len <= WM_HOT_OCTETS && e.head.ttls <= WM_HOT_TTLS);
		for (unsigned i = 0; i < e.head.ttls; i++)
			check(e.head.ttl_at[i] + 4u <= e.head.len);
		check(wm_hot_read(&e, &key, &e.head, (__u64 *)out));
		check(memcmp(out, e.octets, e.head.len) == 0);
		e.octets[data[size - 1] % WM_HOT_OCTETS] ^= 1;
		check(!e.head.len || data[size - 1] % WM_HOT_OCTETS >= e.head.len ||
		      !wm_hot_read(&e, &key, &e.head, (__u64 *)out));
	}
	free(exact);
}

static bool ends(void *arg, const uint8_t *folded, size_t len)
{
	unsigned *left = arg;

	check(len <= WM_DNS_NAME_MAX && !folded[len - 1]);
	for (size_t i = 0; i < len; i += folded[i] + 1u)
		check(folded[i] <= WM_DNS_LABEL_MAX);
	return !(*left)--;
}

/* The chain of aliases up to any of them, as what leads to a name of ours. */
static void led(struct wm_upstream_shape s, const uint8_t *data, size_t size, uint8_t *out)
{
	static const uint8_t name[WM_NAME_BUF] = "\1a\7example";
	struct wm_upstream_made made;
	unsigned left = size % 4;
	uint8_t *exact = malloc(size ? size : 1);

	check(exact != NULL);
	memcpy(exact, data, size);
	s.only = wm_upstream_chain(exact, size, name, ends, &left);
	free(exact);
	check(!s.only || size > WM_DNS_HEADER_LEN);
	if (s.only && shaped(&s, data, size, out, WM_DNS_TCP_MAX, &made) && !made.truncated)
		check(made.alias_at && made.put[0] <= s.only && !made.put[1] && !made.put[2]);
}

/* The first octet chooses what the client is like. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[WM_DNS_TCP_MAX], again[WM_DNS_TCP_MAX];
	uint8_t query[] =
		"\0\7\1\0\0\1\0\0\0\0\0\1\1a\7example\0\0\1\0\1\0\0\x29\4\xd0\0\0\0\0\0\0";
	struct wm_upstream_made made, second;
	struct wm_upstream_shape s;
	struct wm_dns_query q;
	size_t cap;

	if (!size)
		return 0;
	query[sizeof(query) - 5] = data[0] & 1 ? 0x80 : 0;
	check(wm_dns_parse(query, sizeof(query) - 1, &q) == WM_DNS_OK);
	kept(&q, data + 1, size - 1);
	s = (struct wm_upstream_shape){.query = query, .q = &q, .secure = data[0] & 2};
	led(s, data + 1, size - 1, out);
	cap = data[0] & 8 ? sizeof(out) : WM_DNS_UDP_MAX;
	if (!shaped(&s, data + 1, size - 1, out, cap, &made))
		return 0;
	check(made.len <= cap && made.len >= WM_DNS_HEADER_LEN);
	kept(&q, out, made.len);
	check(shaped(&s, out, made.len, again, sizeof(again), &second));
	check(second.put[0] == made.put[0]);
	return 0;
}
