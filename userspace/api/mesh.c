/* SPDX-License-Identifier: Apache-2.0 */
/* mesh.c - one instance on Waymark's own surface: what the mesh knows of it as typed fields. The
 * instance is this agent's, as one that was registered with Consul's API. */
#include "userspace/metadata/mesh.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

static void put_words(struct wm_json *j, const char *key, const char *list)
{
	char word[WM_META_VALUE_MAX + 1];
	const char *w;
	size_t len;

	wm_json_kopen(j, key, '[');
	while ((w = wm_mesh_word(&list, &len))) {
		snprintf(word, sizeof(word), "%.*s", (int)len, w);
		wm_json_string(j, word);
	}
	wm_json_close(j, ']');
}

static void put_endpoints(struct wm_json *j, const struct wm_instance *i)
{
	struct wm_mesh_endpoint e;

	wm_json_kopen(j, "Endpoints", '{');
	for (unsigned n = 0; n < i->meta_count; n++) {
		if (!wm_mesh_endpoint(&i->meta[n], &e))
			continue;
		wm_json_kopen(j, e.name, '{');
		wm_json_ks(j, "Protocol", e.protocol);
		wm_json_ku(j, "Port", e.port);
		wm_json_ks(j, "Path", e.path);
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

void wm_encode_mesh(struct wm_json *j, const struct wm_instance *i)
{
	wm_json_kopen(j, "Mesh", '{');
	wm_json_ks(j, "Version", wm_mesh_text(i, WM_MESH_VERSION));
	wm_json_ks(j, "Environment", wm_mesh_text(i, WM_MESH_ENVIRONMENT));
	wm_json_ks(j, "Region", wm_mesh_text(i, WM_MESH_REGION));
	wm_json_ks(j, "Zone", wm_mesh_text(i, WM_MESH_ZONE));
	put_words(j, "Capabilities", wm_mesh_text(i, WM_MESH_CAPABILITIES));
	put_words(j, "Dependencies", wm_mesh_text(i, WM_MESH_DEPENDENCIES));
	put_endpoints(j, i);
	wm_json_close(j, '}');
}

void wm_native_instance(struct wm_call *c)
{
	const struct wm_instance *i = wm_registry_instance(c->api->d.registry, c->params[0]);
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;

	if (!i) {
		wm_answer_text(c, 404, "Unknown instance \"%s\"", c->params[0]);
		return;
	}
	wm_answer_begin(c, &j);
	wm_encode_native_entry(&j, &e, i);
	wm_answer_end(c, &j, 0);
}

void wm_native_instance_put(struct wm_call *c)
{
	struct wm_instance_draft draft;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	struct wm_write *w;
	const char *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_mesh(body, len, &mem, &draft, &e);
	if (e.code) {
		wm_answer_err(c, &e);
		wm_decoded_free(mem);
		return;
	}
	draft.id = c->params[0];
	draft.replace_checks = true; /* the body is the whole of it */
	draft.scripts = wm_api_scripts(c);
	w = wm_write_keep(c);
	if (w) {
		e.code = wm_registry_register(c->api->d.registry, &draft, wm_write_done, w, &e);
		if (e.code) {
			wm_write_drop(w);
			wm_answer_err(c, &e);
		}
	}
	wm_decoded_free(mem);
}

void wm_native_instance_delete(struct wm_call *c)
{
	wm_agent_deregister(c);
}
