/* SPDX-License-Identifier: Apache-2.0 */
/* mesh.h - the mesh's own metadata. It stands in an instance's Meta, so that Consul's clients read
 * and write it too: `version`, `environment`, `region` and `zone` are texts, `capabilities` and
 * `dependencies` lists of words with commas between, `endpoints_<name>` is "protocol:port/path".
 * Pure. */
#pragma once
#include "userspace/registry/model.h"

#define WM_MESH_VERSION	     "version"
#define WM_MESH_ENVIRONMENT  "environment"
#define WM_MESH_REGION	     "region"
#define WM_MESH_ZONE	     "zone"
#define WM_MESH_CAPABILITIES "capabilities"
#define WM_MESH_DEPENDENCIES "dependencies"
#define WM_MESH_ENDPOINT     "endpoints_" /* the endpoint's name follows */

/** Value of an instance's metadata; "" without the key. Borrowed. */
const char *wm_mesh_text(const struct wm_instance *i, const char *key);
/** The next word of a list: start with *@p at at its begin. Blanks around words and empty words are
 *  skipped. @return its begin and *@p ret_len octets, or NULL at the end. */
const char *wm_mesh_word(const char **at, size_t *ret_len);
/** Does a list hold the word? */
bool wm_mesh_has_word(const char *list, const char *word);
/** Is it a list of the mesh? */
bool wm_mesh_is_list(const char *key);

struct wm_mesh_endpoint {
	const char *name; /* in the metadata's key */
	const char *path; /* with its slash; "" if none */
	unsigned port;	  /* 0 if none */
	char protocol[32];
};
/** An endpoint, or false where the pair is none, or its value is not "protocol:port/path". */
bool wm_mesh_endpoint(const struct wm_pair *p, struct wm_mesh_endpoint *ret);
