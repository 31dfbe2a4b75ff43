/* SPDX-License-Identifier: Apache-2.0 */
/* mesh.h - metadata with a meaning: version, environment, region, zone, capabilities, dependencies
 * and endpoints of an instance. They are pairs of its metadata, so that Consul's clients read and
 * write them as Meta: the lists with commas between their elements, an endpoint under
 * "endpoints.<name>" as
 * "<protocol>:<port>[/<path>]". Region and zone are those of Consul's Locality, where one is given.
 * What such a client wrote in another form stays metadata and is not
 * shown as an endpoint. Pure. */
#pragma once
#include "userspace/model/model.h"

#include <stddef.h>

#define WM_MESH_LIST_MAX      64 /* elements of capabilities or dependencies */
#define WM_MESH_ENDPOINTS_MAX 32 /* endpoints of one instance: half of its metadata */
#define WM_MESH_PROTOCOL_MAX                                                                       \
	16 /* octets of an endpoint's protocol: "http", "grpc", "postgresql"                       \
	    */
#define WM_MESH_ENDPOINT_KEY "endpoints." /* the name follows; the one place of a dot in a key */

/* The single values, in the order they are shown: X(symbol, key, selector and JSON key). */
#define WM_MESH_VALUES(X)                                                                          \
	X(VERSION, "version", "Version")                                                           \
	X(ENVIRONMENT, "environment", "Environment")                                               \
	X(REGION, "region", "Region")                                                              \
	X(ZONE, "zone", "Zone")
/* The lists, the same. */
#define WM_MESH_LISTS(X)                                                                           \
	X(CAPABILITIES, "capabilities", "Capabilities")                                            \
	X(DEPENDENCIES, "dependencies", "Dependencies")

/** Value of a key, of region and zone what Locality says; "" when there is none. Borrowed. Cost
 * O(pairs). */
const char *wm_mesh_value(const struct wm_instance *i, const char *key);
/** Walk the elements of a list: @p *at begins at its text. Spaces around an element and empty ones
 *  are passed over. @return false at the end; @p ret is not terminated, it has @p ret_len octets.
 */
bool wm_mesh_next(const char **at, const char **ret, size_t *ret_len);
/** Is @p element one of @p list? */
bool wm_mesh_has(const char *list, const char *element);

struct wm_mesh_endpoint {
	char protocol[WM_MESH_PROTOCOL_MAX + 1];
	unsigned port;	  /* 1 to 65535 */
	const char *path; /* "" or from its slash on; borrowed */
};
/** Read "<protocol>:<port>[/<path>]". @return 0, -EINVAL. */
int wm_mesh_endpoint_parse(const char *s, struct wm_mesh_endpoint *ret);
/** The port of an instance's endpoint; 0: it has none of this name. Cost O(pairs). */
unsigned wm_mesh_endpoint_port(const struct wm_instance *i, const char *name);
/** Name of an endpoint by its key; NULL: it is none's. Borrowed from @p key. */
const char *wm_mesh_endpoint_name(const char *key);
/** Lower-case letters, digits, '+', '-', '.'; begins with a letter (RFC 3986, scheme). */
bool wm_mesh_protocol_valid(const char *s);
