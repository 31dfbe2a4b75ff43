/* SPDX-License-Identifier: Apache-2.0 */
/* operate.c - what an operator asks of the mesh: have all the same, what is held back, let it go.
 */
#include "internal.h"
#include "userspace/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

static void send_verify(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct wm_sync *s = arg;

	wm_link_send(s->links, to, WM_CHANNEL_VERIFY, p, len);
}

static void send_verified(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct wm_sync *s = arg;

	wm_link_send(s->links, to, WM_CHANNEL_VERIFY_REPLY, p, len);
}

int wm_operate_new(struct wm_sync *s, struct wm_err *e)
{
	const struct wm_verify_config c = {.env = s->env,
					   .replica = s->replica,
					   .arg = s,
					   .ask = send_verify,
					   .answer = send_verified};

	s->verify = wm_verify_new(&c);
	return s->verify ? 0 : wm_err_set(e, -ENOMEM, "out of memory: mesh");
}

int wm_sync_verify(struct wm_sync *s, wm_verify_done done, void *arg, struct wm_err *e)
{
	struct wm_peer_id *ids;
	struct wm_member *m;
	unsigned n = 0;
	size_t pos = 0;
	int r;

	if (s->etcd)
		return wm_err_set(e, WM_E_UNSUPPORTED,
				  "sync.mode is etcd: agents compare themselves with etcd, which "
				  "is one store, and not with each other");
	ids = calloc(wm_members_count(s->members) + 1, sizeof(*ids));
	if (!ids)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	while ((m = wm_members_next(s->members, &pos)))
		if (!m->self && m->state <= WM_MEMBER_SUSPECT && m->role == WM_MEMBER_FULL)
			ids[n++] = m->id;
	r = wm_verify_start(s->verify, ids, n, done, arg);
	free(ids);
	if (r == WM_E_BUSY)
		return wm_err_set(e, r, "A comparison is under way, ask again when it is done");
	return r ? wm_err_set(e, r, "Out of memory") : 0;
}

/* --- brakes ------------------------------------------------------------------------------------
 */
static bool find_node(struct wm_sync *s, const char *name, struct wm_peer_id *ret)
{
	struct wm_sync_node n;
	size_t pos = 0;

	while (wm_sync_next_node(s, &pos, &n))
		if (strcasecmp(n.name, name) == 0) {
			*ret = n.id;
			return true;
		}
	return false;
}

int wm_sync_release(struct wm_sync *s, const char *node, unsigned *ret_count, struct wm_err *e)
{
	struct wm_peer_id id, *origin = node ? &id : NULL;

	if (node && !find_node(s, node, &id))
		return wm_err_set(e, WM_E_UNKNOWN, "No member with name '%.64s'", node);
	*ret_count =
		s->etcd ? wm_etcd_let_go(s->etcd, origin) : wm_replica_release(s->replica, origin);
	if (*ret_count)
		wm_warn("sync.released",
			"node=%s held=%u text=\"an operator lets removals happen that the brake "
			"held back\"",
			wm_log_q(node ? node : ""), *ret_count);
	return 0;
}
