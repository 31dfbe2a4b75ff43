/* SPDX-License-Identifier: Apache-2.0 */
/* ui.c - /v1/internal/ui/nodes: each node with what is on it, as Consul's UI and what was built
 * beside it ask for. Written in slices, as any long list. */
#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"

#include <stdlib.h>

/* What opens, divides and closes a node's element; all that it is made of. */
enum part { HEAD, MIDDLE, FOOT };

static uint64_t hash_of(const struct wm_node *n, enum part p)
{
	const uint64_t of[] = {(uintptr_t)n, n->modify_index, p};

	return wm_hash(of, sizeof(of));
}

/* @return false: without memory. */
static bool put_node(struct wm_call *c, struct wm_json *j, const struct wm_encode *e)
{
	unsigned count = 0;
	_cleanup_free_ const struct wm_instance **all = wm_sorted_on(c->api, e->node, &count);
	struct wm_check_list list = {0};
	bool ok;

	if (!all && wm_map_len(e->node->instances))
		return false;
	if (wm_row_wanted_of(c, j, hash_of(e->node, HEAD))) {
		wm_json_open(j, '{');
		wm_encode_node_members(j, e);
		wm_json_kopen(j, "Services", '[');
	}
	for (unsigned n = 0; all && n < count && !wm_rows_stopped(c); n++) {
		struct wm_filter_row row = wm_filter_row_of(e, all[n]);

		if (wm_row_wanted(c, j, &row))
			wm_encode_service(j, all[n]);
	}
	if (wm_row_wanted_of(c, j, hash_of(e->node, MIDDLE))) {
		wm_json_close(j, ']');
		wm_json_kopen(j, "Checks", '[');
	}
	ok = wm_check_list_node(&list, e, NULL, NULL);
	if (ok)
		wm_check_list_put(c, j, e, &list, e->node->self);
	free(list.at);
	if (ok && wm_row_wanted_of(c, j, hash_of(e->node, FOOT))) {
		wm_json_close(j, ']');
		wm_json_close(j, '}');
	}
	return ok;
}

void wm_ui_nodes(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	_cleanup_free_ const struct wm_node **all = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;
	uint64_t index;
	unsigned count;
	bool ok = true;

	if (!wm_params_filter(c, WM_FILTER_NODE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_CHECKS, NULL, &index))
		return;
	all = wm_sorted_nodes(c, NULL, &count);
	if (!all)
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned n = 0; n < count && ok && (filter || !wm_rows_stopped(c)); n++) {
		struct wm_filter_row row;

		wm_encode_at(&e, all[n]);
		row = wm_filter_row_of(&e, NULL);
		if (wm_filter_match(filter, &row))
			ok = put_node(c, &j, &e);
	}
	wm_json_close(&j, ']');
	if (ok)
		wm_answer_filtered(c, &j, index, filter);
	else
		wm_answer_text(c, 503, "Out of memory");
}
