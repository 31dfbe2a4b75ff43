/* SPDX-License-Identifier: Apache-2.0 */
/* node_meta.c - metadata of this node, which the operator sets: "zone=b4". */
#include "internal.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int wm_node_meta_read(char *const *pairs, struct wm_pair **ret, unsigned *ret_count,
		      struct wm_err *e)
{
	struct wm_node_draft d = {0};
	struct wm_err why = {0};
	unsigned count = 0;
	int err = 0;

	*ret = NULL;
	*ret_count = 0;
	while (pairs && pairs[count])
		count++;
	if (!count)
		return 0;
	*ret = calloc(count, sizeof(**ret));
	if (!*ret)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	for (unsigned i = 0; i < count && !err; i++) {
		err = split(pairs[i], &(*ret)[i], e);
		*ret_count += !err;
	}
	if (err)
		return err;
	d.meta = *ret;
	d.meta_count = count;
	err = wm_node_draft_validate(&d, &why);
	return err ? wm_err_set(e, err, "node.meta: %s", why.text) : 0;
}

int wm_node_meta_check(char *const *pairs, struct wm_err *e)
{
	struct wm_pair *meta;
	unsigned count;
	int r = wm_node_meta_read(pairs, &meta, &count, e);

	wm_node_meta_free(meta, count);
	return r;
}

void wm_node_meta_free(struct wm_pair *meta, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(meta[i].key);
	free(meta);
}
