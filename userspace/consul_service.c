/* SPDX-License-Identifier: Apache-2.0 */
/* consul_service.c - see consul_service.h. */
#include "consul_service.h"

#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID   "consul"
#define PORT 8300      /* of Consul's servers; nothing listens there, clients only read it */
#define MARK "waymark" /* metadata key of what is ours: only that is removed */

static char mark[] = MARK, mark_value[] = WM_VERSION;
static char version[] = "version", version_value[] = WM_CONSUL_VERSION;

static bool is_ours(const struct wm_registry *r)
{
	const struct wm_instance *i = wm_registry_instance(r, ID);

	for (unsigned n = 0; i && wm_instance_shared(i) && n < i->meta_count; n++) {
		if (strcmp(i->meta[n].key, MARK) == 0)
			return true;
	}
	return false;
}

static int submit(struct wm_registry *r, bool on, struct wm_err *e)
{
	const struct wm_pair meta[] = {{version, version_value}, {mark, mark_value}};
	const struct wm_instance_draft d = {
		.id = ID, .name = ID, .port = PORT, .meta = meta, .meta_count = WM_ARRAY_LEN(meta)};
	const struct wm_catalog_op op = {.object = WM_OBJECT_SERVICE,
					 .verb = on ? WM_VERB_SET : WM_VERB_DELETE,
					 .node = wm_registry_node(r)->name,
					 .id = ID,
					 .service = &d};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	unsigned failed;

	return wm_registry_catalog(r, &b, &failed, e);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_registry *r = arg;
	struct wm_err e = {0};

	if (c->kind != WM_CHANGE_INSTANCE_DELETED || !c->instance->node->self ||
	    !wm_instance_shared(c->instance) || strcmp(c->instance->id, ID) != 0)
		return;
	if (submit(r, true, &e))
		wm_warn("consul.service", "text=%s", wm_log_q(e.text));
}

int wm_consul_service(struct wm_registry *r, bool on, struct wm_err *e)
{
	int err = on || is_ours(r) ? submit(r, on, e) : 0;

	if (!err && on && wm_registry_subscribe(r, on_change, r))
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
