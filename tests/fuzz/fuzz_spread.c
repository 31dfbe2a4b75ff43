/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_spread.c - a node of the tree among neighbours who send what they like. The first octet of a
 * step is what happens (three bits) and to whom (three more); then, of a frame, its length and its
 * octets. Whatever comes: nothing crashes, links and memory stay within their bounds, what cannot
 * be read is said so, and a message of our own still goes to whoever is linked. */
#include "check.h"
#include "tests/unit/env_virtual.h"
#include "userspace/base/err.h"
#include "userspace/sync/spread_internal.h"

#include <stdio.h>
#include <string.h>

#define PEERS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long sent;

static void want(void *arg, const struct wm_peer_id *id, bool on)
{
	(void)arg;
	(void)id;
	(void)on;
}

static void send_frame(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	static volatile uint8_t sum;

	(void)arg;
	(void)to;
	check(len <= WM_SPREAD_FRAME_MAX);
	for (size_t i = 0; i < len; i++)
		sum ^= ((const uint8_t *)p)[i];
	sent++;
}

static void deliver(void *arg, const struct wm_peer_id *from, const void *payload, size_t len)
{
	(void)arg;
	(void)from;
	(void)payload;
	check(len <= WM_SPREAD_PAYLOAD_MAX);
}

static struct wm_peer_id peer(unsigned n)
{
	struct wm_peer_id id = {{0}};

	id.octets[0] = (uint8_t)(n + 1);
	return id;
}

static void bounds(const struct wm_spread *s)
{
	check(wm_spread_linked(s) <= WM_SPREAD_LINKS_MAX);
	check(s->missing <= WM_SPREAD_MISSING_MAX);
	check(s->kept_octets <= WM_SPREAD_KEPT_MAX);
	check(wm_map_len(s->said) <= WM_SPREAD_IDS_MAX);
	check(s->list_count <= PEERS);
}

/* @return octets that were read. */
static size_t frame(struct wm_spread *s, const struct wm_peer_id *from, const uint8_t *data,
		    size_t size)
{
	size_t len = size ? *data : 0;
	int r;

	if (!size)
		return 0;
	if (len > size - 1)
		len = size - 1;
	r = wm_spread_receive(s, from, data + 1, len);
	check(!r || r == WM_E_INVALID);
	return len + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct virtual_env v;
	struct wm_spread_config c = {
		.env = &v.env, .want = want, .send = send_frame, .deliver = deliver};
	struct wm_spread *s;

	virtual_env_init(&v, 1);
	s = wm_spread_new(&c);
	check(s);
	while (size) {
		unsigned what = *data & 7;
		struct wm_peer_id id = peer((*data >> 3) & 7);
		size_t used = 1;

		if (what < 3)
			used += frame(s, &id, data + 1, size - 1);
		else if (what == 3)
			wm_spread_up(s, &id);
		else if (what == 4)
			wm_spread_down(s, &id);
		else if (what == 5)
			wm_spread_member(s, &id, *data >> 7);
		else if (what == 6)
			virtual_env_pass(&v, 1 + (*data >> 3) * 20);
		else
			check(!wm_spread_send(s, data, size));
		bounds(s);
		data += used;
		size -= used;
	}
	sent = 0;
	check(!wm_spread_send(s, "x", 1));
	virtual_env_pass(&v, 1000); /* ids for lazy links are gathered, for longer after many */
	check(!wm_spread_linked(s) || sent);
	wm_spread_free(s);
	return 0;
}
