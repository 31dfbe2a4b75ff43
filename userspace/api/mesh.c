/* SPDX-License-Identifier: Apache-2.0 */
/* mesh.c - the native surface of one instance: PUT and DELETE /v1/waymark/instances/:id, and its
 * metadata with a meaning as typed members of what is shown. */
#include "userspace/metadata/mesh.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

static void put_list(struct wm_json *j, const char *key, const char *list)
{
	char element[WM_META_VALUE_MAX + 1];
	const char *s;
	size_t len;

	wm_json_kopen(j, key, '[');
	while (wm_mesh_next(&list, &s, &len)) {
		snprintf(element, sizeof(element), "%.*s", (int)len, s);
		wm_json_string(j, element);
	}
	wm_json_close(j, ']');
}

static void put_endpoints(struct wm_json *j, const struct wm_instance *i)
{
	wm_json_kopen(j, "Endpoints", '{');
	for (unsigned n = 0; n < i->meta_count; n++) {
		const char *name = wm_mesh_endpoint_name(i->meta[n].key);
		struct wm_mesh_endpoint e;

		if (!name || wm_mesh_endpoint_parse(i->meta[n].value, &e))
			continue;
		wm_json_kopen(j, name, '{');
		wm_json_ks(j, "Protocol", e.protocol);
		wm_json_ku(j, "Port", e.port);
		wm_json_ks(j, "Path", e.path);
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

void wm_encode_mesh(struct wm_json *j, const struct wm_instance *i)
{
#define X(sym, key, name) wm_json_ks(j, name, wm_mesh_value(i, key));
	WM_MESH_VALUES(X)
#undef X
#define X(sym, key, name) put_list(j, name, wm_mesh_value(i, key));
	WM_MESH_LISTS(X)
#undef X
	put_endpoints(j, i);
}

/* --- writing ---------------------------------------------------------------------------------- */
void wm_native_register(struct wm_call *c)
{
	struct wm_instance_draft draft;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	struct wm_write *w;
	const char *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_native(body, len, &mem, &draft, &e);
	if (e.code) {
		wm_answer_err(c, &e);
		return;
	}
	/* the body is all there is to it: what it does not name goes, but for what is not its own
	 */
	draft.id = c->params[0];
	draft.replace_checks = true;
	draft.scripts = wm_api_scripts(c);
	draft.units = wm_api_units(c);
	w = wm_write_keep_replicated(c, draft.id);
	if (w) {
		e.code = wm_registry_register(c->api->d.registry, &draft, wm_write_replicated, w,
					      &e);
		if (e.code) {
			wm_write_drop(w);
			wm_answer_err(c, &e);
		}
	}
	wm_decoded_free(mem);
}

void wm_native_deregister(struct wm_call *c)
{
	wm_agent_deregister(c);
}
