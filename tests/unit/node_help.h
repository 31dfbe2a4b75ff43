/* SPDX-License-Identifier: Apache-2.0 */
/* node_help.h - a node of another agent with an instance of "web", for tests of who is near. */
#pragma once
#include "userspace/registry/registry.h"

#include <criterion/criterion.h>
#include <string.h>

/* Both have the name @p name. @p region NULL or "": it says none. */
static inline struct wm_node *node_with_web(struct wm_registry *r, const char *name,
					    const char *region)
{
	const struct wm_node_draft facts = {.address = "10.9.0.1", .region = region};
	const struct wm_instance_draft d = {.id = name, .name = "web", .port = 80};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = name, .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .node = name, .service = &d}};
	const struct wm_catalog_batch batch = {.ops = ops, .count = 2};
	struct wm_err e = {0};
	struct wm_node *n;
	unsigned failed;
	size_t pos = 0;

	cr_assert_eq(wm_registry_catalog(r, &batch, &failed, &e), 0, "%s", e.text);
	wm_registry_flush(r);
	do {
		n = wm_registry_next_node(r, &pos);
		cr_assert_not_null(n);
	} while (strcmp(n->name, name) != 0);
	return n;
}
