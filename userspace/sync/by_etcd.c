/* SPDX-License-Identifier: Apache-2.0 */
/* by_etcd.c - etcd carries: it stands in the place of members, tree, replica and streams. */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/net/http_client.h"
#include "userspace/net/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CALLS_MAX 16 /* calls of etcd at a time: leases, watch, list, writes, and room */

static void on_alive(void *arg, const struct wm_peer_id *id, const char *name, bool is)
{
	struct wm_objects *o = arg;

	if (!*name)
		return; /* its node is asked for when it appears: wm_by_etcd_alive() */
	wm_log_line(WM_LOG_INFO, is ? "member.joined" : "member.failed", "node=%s by=etcd",
		    wm_log_q(name));
	wm_objects_alive(o, id, name, is);
}

static void on_forgot(void *arg, const struct wm_peer_id *id)
{
	wm_objects_forget(arg, id);
}

int wm_by_etcd_new(struct wm_sync *s, struct wm_objects *o, struct wm_err *e)
{
	const struct wm_sync_etcd *c = &s->c.etcd;
	struct wm_etcd_config k = {.env = s->env,
				   .endpoints = (const char *const *)c->endpoints,
				   .prefix = c->prefix,
				   .user = c->user,
				   .password_file = c->password_file,
				   .ca_file = c->ca_file,
				   .cert_file = c->cert_file,
				   .key_file = c->key_file,
				   .lease_s = c->lease_s,
				   .id = s->id,
				   .name = s->c.node_name,
				   .address = s->c.node_address,
				   .version = s->c.version,
				   .objects_max = s->c.objects_max,
				   .arg = o,
				   .read = wm_objects_read,
				   .take = wm_objects_take,
				   .alive = on_alive,
				   .forgot = on_forgot,
				   .conflict = wm_objects_conflict,
				   .alarm = wm_objects_alarm};

	s->http = wm_http_client_new(s->c.loop, CALLS_MAX);
	if (!s->http)
		return wm_err_set(e, -ENOMEM, "out of memory: etcd");
	k.http = s->http;
	return wm_etcd_new(&k, &s->etcd, e);
}

void wm_by_etcd_free(struct wm_sync *s)
{
	wm_etcd_free(s->etcd);
	wm_http_client_free(s->http);
}

bool wm_by_etcd_alive(const struct wm_sync *s, const struct wm_peer_id *id)
{
	return wm_etcd_lives(s->etcd, id) != 0; /* not heard of yet: alive until told otherwise */
}

bool wm_by_etcd_next(struct wm_sync *s, size_t *pos, struct wm_sync_node *ret)
{
	struct wm_etcd_node_state n;

	if (!wm_etcd_next(s->etcd, pos, &n))
		return false;
	*ret = (struct wm_sync_node){.id = n.id,
				     .name = n.name,
				     .version = n.version,
				     .state = n.alive ? WM_MEMBER_ALIVE : WM_MEMBER_FAILED,
				     .self = n.self};
	snprintf(ret->address, sizeof(ret->address), "%.*s", (int)sizeof(ret->address) - 1,
		 n.address);
	return true;
}
