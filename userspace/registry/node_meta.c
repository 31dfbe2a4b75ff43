/* SPDX-License-Identifier: Apache-2.0 */
/* node_meta.c - metadata of this node, which the operator sets: "zone=b4". */
#include "internal.h"
#include "validate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct wm_pair *)a)->key, ((const struct wm_pair *)b)->key);
}

/* A pair is one block: its value follows its key. */
static int split(const char *text, struct wm_pair *ret, struct wm_err *e)
{
	char *copy = strchr(text, '=') ? strdup(text) : NULL, *eq;

	if (!copy && strchr(text, '='))
		return wm_err_set(e, -ENOMEM, "Out of memory");
	if (!copy)
		return wm_err_set(e, WM_E_INVALID, "node.meta: \"%.64s\" must be key=value", text);
	eq = strchr(copy, '=');
	*eq = 0;
	*ret = (struct wm_pair){copy, eq + 1};
	return 0;
}

int wm_node_meta_set(struct wm_node *n, char *const *pairs, struct wm_err *e)
{
	struct wm_instance_draft d = {.name = "node"};
	struct wm_err why = {0};
	unsigned count = 0;
	int err = 0;

	while (pairs && pairs[count])
		count++;
	if (!count)
		return 0;
	n->meta = calloc(count, sizeof(*n->meta));
	if (!n->meta)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	for (unsigned i = 0; i < count && !err; i++) {
		err = split(pairs[i], &n->meta[i], e);
		n->meta_count += !err;
	}
	if (err)
		return err;
	qsort(n->meta, count, sizeof(*n->meta), by_key);
	d.meta = n->meta;
	d.meta_count = count;
	err = wm_draft_validate(&d, &why); /* the rules are those of a service */
	return err ? wm_err_set(e, err, "node.meta: %s", why.text) : 0;
}

void wm_node_meta_free(struct wm_node *n)
{
	for (unsigned i = 0; i < n->meta_count; i++)
		free(n->meta[i].key);
	free(n->meta);
}
