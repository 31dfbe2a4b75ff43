/* SPDX-License-Identifier: Apache-2.0 */
/* strays.c - nodes of agents that are in no membership. News of an agent may come before its
 * member, and after a restart the members come back one by one, so such a node is taken for alive
 * at first. When it is still nobody's after sync.restart_grace it is as one that failed: its member
 * failed while this agent was down, or when nobody was left to tell of it. After sync.reap it goes.
 */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"
#include "userspace/registry/foreign.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <stdlib.h>

#define LOOK_MIN_MS 1000

struct stray {
	struct wm_peer_id id;
	uint64_t since_ms;
	bool seen, dead;
};
struct wm_strays {
	struct wm_sync *s;
	struct wm_env_timer *timer;
	struct wm_map *all; /* by id */
};

static struct stray *stray_of(struct wm_strays *k, const struct wm_peer_id *id)
{
	struct stray *t = wm_map_get(k->all, id->octets, sizeof(id->octets));

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->id = *id;
	t->since_ms = wm_env_ms(k->s->env);
	if (!wm_map_put(k->all, t->id.octets, sizeof(t->id.octets), t, NULL))
		return t;
	free(t);
	return NULL;
}

static void judge(struct wm_strays *k, const struct wm_node *n)
{
	const struct wm_peer_id *id = &n->holder->version.writer;
	struct stray *t;

	if (!wm_instance_foreign(n->holder) || wm_peer_id_is_source(id) ||
	    wm_members_by_id(k->s->members, id))
		return;
	t = stray_of(k, id);
	if (!t)
		return;
	t->seen = true;
	if (t->dead || wm_env_ms(k->s->env) - t->since_ms < k->s->c.restart_grace_ms)
		return;
	t->dead = true;
	wm_info("member.unknown", "node=%s text=\"no member tells of its agent\"",
		wm_log_q(n->name));
	(void)wm_registry_set_alive(k->s->c.registry, n->name, false, NULL);
}

/* Those that have a member by now, or nothing here any more, are none; @p all: nobody is. */
static void sweep(struct wm_strays *k, bool all)
{
	uint64_t now = wm_env_ms(k->s->env);
	struct stray *t;
	size_t pos = 0;

	while ((t = wm_map_next(k->all, &pos))) {
		bool over = t->dead && now - t->since_ms >= k->s->c.timers.reap;

		if (!all && over)
			wm_objects_forget(k->s->objects, &t->id);
		if (!all && t->seen && !over) {
			t->seen = false;
			continue;
		}
		(void)wm_map_del(k->all, t->id.octets, sizeof(t->id.octets));
		free(t);
	}
}

static void on_look(void *arg)
{
	struct wm_strays *k = arg;
	uint64_t ms = k->s->c.restart_grace_ms / 2;
	const struct wm_node *n;
	size_t pos = 0;

	while ((n = wm_registry_next_node(k->s->c.registry, &pos)))
		judge(k, n);
	sweep(k, false);
	wm_env_timer_arm(k->timer, ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms);
}

int wm_strays_start(struct wm_sync *s)
{
	struct wm_strays *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	s->strays = k;
	k->s = s;
	k->all = wm_map_new(WM_SYNC_STRAYS_MAX);
	k->timer = wm_env_timer_new(s->env, on_look, k);
	return k->all && k->timer ? wm_env_timer_arm(k->timer, 0) : -ENOMEM;
}

void wm_strays_free(struct wm_strays *k)
{
	if (!k)
		return;
	if (k->all)
		sweep(k, true);
	wm_map_free(k->all);
	wm_env_timer_free(k->timer);
	free(k);
}
