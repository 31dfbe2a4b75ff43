/* SPDX-License-Identifier: Apache-2.0 */
/* consul_service.c - see consul_service.h. */
#include "consul_service.h"

#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORT 8300 /* of Consul's servers; nothing listens there, clients only read it */

static char mark[] = WM_CONSUL_MARK, mark_value[] = WM_VERSION;
static char version[] = "version", version_value[] = WM_CONSUL_VERSION;

/* Is it as it would be put there now? */
static bool is_there(const struct wm_instance *i)
{
	return i && !wm_instance_shared(i) && i->meta_count == 2 && i->port == PORT &&
	       strcmp(i->meta[0].key, version) == 0 &&
	       strcmp(i->meta[0].value, version_value) == 0 && strcmp(i->meta[1].key, mark) == 0 &&
	       strcmp(i->meta[1].value, mark_value) == 0;
}

/* Earlier versions wrote it into the catalog, where it outlived the agent. */
static int take_from_catalog(struct wm_registry *r, struct wm_err *e)
{
	const struct wm_catalog_op op = {.object = WM_OBJECT_SERVICE,
					 .verb = WM_VERB_DELETE,
					 .node = wm_registry_node(r)->name,
					 .id = WM_CONSUL_ID};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	unsigned failed;

	return wm_registry_catalog(r, &b, &failed, e);
}

static int put(struct wm_registry *r, struct wm_err *e)
{
	const struct wm_pair meta[] = {{version, version_value}, {mark, mark_value}};
	const struct wm_instance_draft d = {.id = WM_CONSUL_ID,
					    .name = WM_CONSUL_ID,
					    .port = PORT,
					    .meta = meta,
					    .meta_count = WM_ARRAY_LEN(meta)};

	return wm_registry_register(r, &d, NULL, NULL, e);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_registry *r = arg;
	struct wm_err e = {0};

	if (c->kind != WM_CHANGE_INSTANCE_DELETED || !c->instance->node->self ||
	    wm_instance_shared(c->instance) || strcmp(c->instance->id, WM_CONSUL_ID) != 0)
		return;
	if (put(r, &e))
		wm_warn("consul.service", "text=%s", wm_log_q(e.text));
}

int wm_consul_service(struct wm_registry *r, bool on, struct wm_err *e)
{
	const struct wm_instance *i = wm_registry_instance(r, WM_CONSUL_ID);
	bool ours = i && wm_instance_says_consul(i), shared = i && wm_instance_shared(i);
	int err = 0;

	if (!on && ours)
		return shared ? take_from_catalog(r, e)
			      : wm_registry_deregister(r, WM_CONSUL_ID, NULL, NULL, e);
	if (!on)
		return 0;
	if (shared)
		err = take_from_catalog(r, e);
	if (!err && (!i || shared || (ours && !is_there(i))))
		err = put(r, e);
	if (!err && wm_registry_subscribe(r, on_change, r))
		err = wm_err_set(e, -ENOMEM, "out of memory");
	return err;
}

/* Does the list name the key? */
static bool names(char *const *list, const char *pair)
{
	size_t n = strcspn(pair, "=") + 1;

	for (; list && *list; list++) {
		if (strncmp(*list, pair, n) == 0)
			return true;
	}
	return false;
}

char **wm_consul_node_meta(char *const *own)
{
	static char consul_version[] = "consul-version=" WM_CONSUL_VERSION;
	static char segment[] = "consul-network-segment=";
	char *const ours[] = {consul_version, segment};
	size_t n = 0;
	char **all;

	while (own && own[n])
		n++;
	all = calloc(n + WM_ARRAY_LEN(ours) + 1, sizeof(*all));
	if (!all)
		return NULL;
	if (n)
		memcpy(all, own, n * sizeof(*all));
	for (size_t i = 0; i < WM_ARRAY_LEN(ours); i++) {
		if (!names(own, ours[i]))
			all[n++] = ours[i];
	}
	return all;
}
