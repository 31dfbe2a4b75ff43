/* SPDX-License-Identifier: Apache-2.0 */
/* agent_sources.c - see agent_sources.h. */
#include "agent_sources.h"

#include "agent_kubernetes.h"
#include "config_consul.h"

#include <errno.h>
#include <stdlib.h>

struct wm_agent_sources {
	struct wm_sources *door;
	struct wm_consul *consul;
	struct wm_agent_kubernetes *kubernetes;
};

static int start_consul(struct wm_agent_sources *a, const struct wm_settings *s, struct wm_loop *l,
			struct wm_registry *r, struct wm_err *e)
{
	struct wm_consul_config c = {.loop = l, .registry = r, .sources = a->door};
	int err;

	if (!*s->source_consul_addresses)
		return 0;
	err = wm_config_consul(s, &c, e);
	return err ? err : wm_consul_new(&c, &a->consul, e);
}

int wm_agent_sources_new(const struct wm_settings *s, struct wm_loop *l, struct wm_registry *r,
			 struct wm_agent_sources **ret, struct wm_err *e)
{
	const struct wm_sources_config c = {
		.registry = r, .env = wm_loop_env(l), .data_dir = s->node_data_dir};
	struct wm_agent_sources *a = calloc(1, sizeof(*a));
	int err = 0;

	if (!a)
		return wm_err_set(e, -ENOMEM, "out of memory: sources");
	a->door = wm_sources_new(&c);
	if (!a->door)
		err = wm_err_set(e, -ENOMEM, "out of memory: sources");
	if (!err)
		err = start_consul(a, s, l, r, e);
	if (!err)
		err = wm_agent_kubernetes_new(s, l, r, a->door, wm_registry_node(r)->name,
					      &a->kubernetes, e);
	if (err) {
		wm_agent_sources_free(a);
		return err;
	}
	wm_sources_settle(a->door);
	*ret = a;
	return 0;
}

void wm_agent_sources_free(struct wm_agent_sources *a)
{
	if (!a)
		return;
	wm_agent_kubernetes_free(a->kubernetes);
	wm_consul_free(a->consul);
	wm_sources_free(a->door);
	free(a);
}

struct wm_sources *wm_agent_sources_door(const struct wm_agent_sources *a)
{
	return a ? a->door : NULL;
}

struct wm_consul *wm_agent_sources_consul(const struct wm_agent_sources *a)
{
	return a ? a->consul : NULL;
}

const struct wm_kube_pod_table *wm_agent_sources_pods(const struct wm_agent_sources *a)
{
	return a ? wm_agent_kubernetes_pods(a->kubernetes) : NULL;
}
