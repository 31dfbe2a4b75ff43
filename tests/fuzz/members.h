/* SPDX-License-Identifier: Apache-2.0 */
/* members.h - members of a mesh whose datagrams go nowhere, for fuzz targets. */
#pragma once
#include "steps.h"
#include "userspace/sync/member.h"

static void no_send(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	(void)arg, (void)to, (void)p, (void)len;
}

static void no_event(void *arg, struct wm_member *m, enum wm_member_event e)
{
	(void)arg, (void)m, (void)e;
}

/* Node n<last octet of the id>, at most 9, at a port of the loopback address where nobody listens.
 */
static struct wm_members *members_new(const struct wm_env *env, struct wm_peer_id id,
				      enum wm_member_role role)
{
	char name[] = {'n', (char)('0' + id.octets[15]), '\0'};
	struct wm_members_config c = {.env = env,
				      .id = id,
				      .timers = *wm_member_profile(WM_MEMBER_LOCAL),
				      .name = name,
				      .version = "1",
				      .role = role,
				      .send = no_send,
				      .event = no_event};
	struct wm_members *ms;

	c.at.ip.s6_addr[10] = c.at.ip.s6_addr[11] = 0xff;
	c.at.ip.s6_addr[12] = 127;
	c.at.ip.s6_addr[15] = 1;
	c.at.port = 1;
	ms = wm_members_new(&c);
	check(ms != NULL);
	return ms;
}

/* Let @p ms know of the members that @p other knows. */
static void introduce(struct wm_members *ms, struct wm_members *other)
{
	struct wm_err e = {0};
	struct wm_buf b;

	wm_buf_init(&b, 1u << 20);
	check(!wm_members_state(other, &b) && !wm_members_merge(ms, b.data, b.len, &e));
	wm_buf_done(&b);
}
