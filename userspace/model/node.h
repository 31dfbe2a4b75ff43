/* SPDX-License-Identifier: Apache-2.0 */
/* node.h - builds, compares and frees nodes. A node holds its instances and checks by id, since ids
 * are unique on a node only; the registry fills these tables, others read them. Threading: one
 * owner. */
#pragma once
#include "draft.h"

#include <stdbool.h>
#include <stddef.h>

#define WM_TABLE_MAX                                                                               \
	(1u << 27) /* entries of a table; instances_max and WM_CHECKS_PER_INSTANCE bound it first  \
		    */

/** A node without instances. @p facts: id, address, meta, tagged; copied. @return NULL without
 *  memory. */
struct wm_node *wm_node_new(const char *name, const struct wm_node_draft *facts);
void wm_node_free(struct wm_node *n); /* with its instances and checks; NULL ok */
/** Give a new node its facts. @return 0 or -ENOMEM. */
int wm_node_set_facts(struct wm_node *n, const struct wm_node_draft *d);
/** A name in lower case. */
void wm_node_fold(char *to, const char *name);
bool wm_node_same(const struct wm_node *a, const struct wm_node *b); /* the facts */
void wm_node_swap_facts(struct wm_node *a, struct wm_node *b);

/* --- reading ---------------------------------------------------------------------------------- */
struct wm_instance *wm_node_instance(const struct wm_node *n, const char *id);
struct wm_check *wm_node_check(const struct wm_node *n, const char *check_id);
/** Walk: start with *pos = 0; NULL ends. Order is not defined. */
struct wm_instance *wm_node_next_instance(const struct wm_node *n, size_t *pos);
