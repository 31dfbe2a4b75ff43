/* SPDX-License-Identifier: Apache-2.0 */
/* foreign_help.h - two registries, of which one is told what the other says. */
#pragma once
#include "registry_help.h"
#include "userspace/registry/internal.h"

#include <limits.h>

static inline struct wm_registry *open_as(const char *node, const char *file)
{
	static char path[2][256];
	static unsigned turn;
	struct wm_registry_config c = config(path[turn = !turn]);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	snprintf(path[turn], sizeof(path[turn]), "%s/%s/registry.db", dir, file);
	c.node_name = node;
	c.node_address = "10.0.0.9";
	c.sync = true;
	c.checks_max = 200000;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

static struct wm_foreign_result result;
static unsigned results;

static inline void on_result(void *arg, const struct wm_foreign_result *r)
{
	(void)arg;
	result = *r;
	results++;
}

/* What a registry says of an object, as another is told it. */
struct told {
	struct wm_foreign_change c;
	char node[64], id[256], semver[64];
	struct wm_buf object;
};

static inline void free_told(struct told *t)
{
	wm_buf_done(&t->object);
}

static inline void take_told(struct wm_registry *from, const struct wm_logged *l, struct told *t)
{
	bool shared = l->version.origin == WM_ORIGIN_SHARED;

	memset(t, 0, sizeof(*t));
	snprintf(t->node, sizeof(t->node), "%s", l->node);
	snprintf(t->id, sizeof(t->id), "%s", l->id);
	wm_buf_init(&t->object, WM_RECORD_MAX);
	t->c = (struct wm_foreign_change){.version = l->version,
					  .node = t->node,
					  .id = t->id,
					  .gone = l->gone,
					  .gone_ms = l->gone_ms};
	snprintf(t->semver, sizeof(t->semver), "%s", l->semver ? l->semver : "");
	t->c.semver = l->semver ? t->semver : NULL;
	t->c.version.writer = l->origin;
	if (!shared)
		t->c.version.origin = WM_ORIGIN_FOREIGN;
	if (l->gone)
		return;
	cr_assert_eq(
		wm_registry_object_encode(from, &l->origin, shared, l->node, l->id, &t->object), 0);
	t->c.object = t->object.data;
	t->c.len = t->object.len;
}

struct all {
	struct wm_registry *from;
	struct told *told;
	unsigned count;
};

static inline int gather(void *arg, const struct wm_logged *l)
{
	struct all *a = arg;

	a->told = realloc(a->told, (a->count + 1) * sizeof(*a->told));
	take_told(a->from, l, &a->told[a->count++]);
	return 0;
}

/* Everything that @p from has, in this order or from the last to the first. */
static inline void tell_all(struct wm_registry *from, struct wm_registry *to, bool backwards)
{
	struct all a = {.from = from};
	struct wm_foreign_change *c;

	cr_assert_eq(wm_registry_walk_objects(from, gather, &a), 0);
	c = calloc(a.count + 1, sizeof(*c));
	for (unsigned n = 0; n < a.count; n++) {
		a.told[n].c.node = a.told[n].node; /* they moved */
		a.told[n].c.id = a.told[n].id;
		if (a.told[n].c.semver)
			a.told[n].c.semver = a.told[n].semver;
		c[backwards ? a.count - 1 - n : n] = a.told[n].c;
	}
	results = 0;
	cr_assert_eq(wm_registry_foreign(to, c, a.count, on_result, NULL, NULL), 0);
	wm_registry_finish(to);
	cr_assert_eq(results, 1);
	for (unsigned n = 0; n < a.count; n++)
		free_told(&a.told[n]);
	free(a.told);
	free(c);
}

static inline void tell_one(struct wm_registry *to, const struct wm_foreign_change *c)
{
	results = 0;
	cr_assert_eq(wm_registry_foreign(to, c, 1, on_result, NULL, NULL), 0);
	wm_registry_finish(to);
	cr_assert_eq(results, 1);
}

/* The object @p id of @p from, "" is its node. */
static inline struct told object(struct wm_registry *from, const char *id)
{
	const struct wm_node *n = wm_registry_node(from);
	const struct wm_instance *i = *id ? wm_node_instance(n, id) : n->holder;
	struct wm_logged l = {.version = i->version, .node = n->folded, .id = id};
	struct told t;
	uint32_t epoch;

	wm_registry_origin(from, &l.origin, &epoch);
	take_told(from, &l, &t);
	return t;
}

static inline void tell(struct wm_registry *from, const char *id, struct wm_registry *to)
{
	struct told t = object(from, id);

	t.c.node = t.node;
	t.c.id = t.id;
	tell_one(to, &t.c);
	free_told(&t);
}

static inline const struct wm_node *node_at(const struct wm_registry *r, const char *name)
{
	const struct wm_node *n = wm_registry_node_named(r, name);

	cr_assert_not_null(n, "%s", name);
	return n;
}

static inline struct wm_instance *at(const struct wm_registry *r, const char *node, const char *id)
{
	return wm_node_instance(node_at(r, node), id);
}

static inline const struct wm_check *serf(const struct wm_registry *r, const char *node)
{
	const struct wm_check *c = wm_node_check(node_at(r, node), WM_SERF_ID);

	cr_assert_not_null(c);
	return c;
}

static inline void store_statuses(struct wm_registry *r)
{
	struct answer a = {0};

	cr_assert_eq(wm_registry_sync(r, NULL, answered, &a), 0);
	wm_registry_flush(r);
	cr_assert_eq(a.called, 1);
}

static inline void put_checked(struct wm_registry *r, const char *id, uint32_t port)
{
	struct wm_check_draft c = {.name = "alive", .kind = WM_CHECK_TTL, .ttl_ms = 60000};
	struct wm_pair meta = {mut("version"), mut("1.2")};
	const char *tags[] = {"a", "b"};
	struct wm_instance_draft d = {.id = id,
				      .name = "Web",
				      .port = port,
				      .checks = &c,
				      .checks_count = 1,
				      .meta = &meta,
				      .meta_count = 1,
				      .tags = tags,
				      .tags_count = 2};

	cr_assert_eq(put_draft(r, &d), 0);
}

/* --- beside the catalog ----------------------------------------------------------------------- */
static inline int catalog(struct wm_registry *r, const struct wm_catalog_op *ops, unsigned count,
			  struct answer *a)
{
	const struct wm_catalog_batch b = {.ops = ops, .count = count, .done = answered, .arg = a};
	unsigned failed;

	*a = (struct answer){0};
	cr_assert_eq(wm_registry_catalog(r, &b, &failed, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(a->called, 1);
	return a->code;
}
