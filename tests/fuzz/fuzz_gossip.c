/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_gossip.c - datagrams and states of a stranger who has the key: whatever they say, the table
 * stays whole, of its bound, and its own entry alive; what is sent fits a datagram, and what is
 * given of the table is read again. The first octet says what it is, and how time passes. */
#include "check.h"
#include "tests/unit/env_virtual.h"
#include "userspace/sync/member_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wm_members *ms;

static void on_send(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	(void)arg;
	(void)to;
	(void)p;
	check(len <= WM_MEMBER_PACKET_MAX);
}

static void on_event(void *arg, struct wm_member *m, enum wm_member_event e)
{
	(void)arg;
	check(!m->self && e <= WM_MEMBER_REAPED && *m->name);
}

static void make(struct virtual_env *v)
{
	struct wm_members_config c = {.env = &v->env,
				      .timers = *wm_member_profile(WM_MEMBER_LOCAL),
				      .name = "self",
				      .version = "1",
				      .send = on_send,
				      .event = on_event};

	memset(c.id.octets, 0x41, sizeof(c.id.octets));
	c.at.port = 8301;
	virtual_env_init(v, 1);
	ms = wm_members_new(&c);
	check(ms && !wm_members_start(ms));
}

/* What the table says of itself is so. */
static void whole(void)
{
	unsigned alive = 0, failed = 0;
	const struct wm_member *m;
	size_t pos = 0;
	struct wm_buf b;
	struct wm_err e = {0};

	while ((m = wm_members_next(ms, &pos))) {
		check(wm_members_by_id(ms, &m->id) == m && wm_members_by_name(ms, m->name) == m);
		alive += m->state == WM_MEMBER_ALIVE || m->state == WM_MEMBER_SUSPECT;
		failed += m->state == WM_MEMBER_FAILED;
	}
	check(alive == wm_members_alive(ms) && failed == ms->failed);
	check(wm_members_self(ms)->state == WM_MEMBER_ALIVE);
	wm_buf_init(&b, 8u << 20);
	check(wm_members_state(ms, &b) == 0 && wm_members_merge(ms, b.data, b.len, &e) == 0);
	wm_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_peer_addr from = {.port = 8301};
	struct wm_err e = {0};
	struct virtual_env v;
	size_t len;

	make(&v);
	while (size > 2) {
		len = data[1] * 8u + 8 < size - 2 ? data[1] * 8u + 8 : size - 2;
		if (data[0] & 1)
			check(!wm_members_merge(ms, data + 2, len, &e) || *e.text);
		else
			wm_members_datagram(ms, &from, data + 2, len);
		if (data[0] & 2)
			wm_members_refused(ms, &from);
		virtual_env_pass(&v, (data[0] >> 2) * 20u);
		data += len + 2;
		size -= len + 2;
	}
	whole();
	wm_members_free(ms);
	return 0;
}
