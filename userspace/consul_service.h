/* SPDX-License-Identifier: Apache-2.0 */
/* consul_service.h - what a node of Consul's says of itself, which clients wait for and compare: a
 * service named consul in the catalog, and the version in the node's metadata. It is the agent's
 * own object, so that it goes with its node, though no list of what clients registered has it; one
 * that is taken away comes back, as Consul's does. Earlier versions wrote it into the catalog: what
 * is there of this node is taken away. A client's own of that id stays. Threading: loop thread
 * only. */
#pragma once
#include "userspace/registry/registry.h"

/** The Consul whose answers the API gives. */
#define WM_CONSUL_VERSION "1.21.4"

/** See that the service is there, now and after somebody removed it; @p on false: that what an
 *  earlier run put there goes. @p r outlives the calls, as its listeners do. @return 0, -ENOMEM,
 *  WM_E_BUSY. */
int wm_consul_service(struct wm_registry *r, bool on, struct wm_err *e);
/** The node's metadata: @p own, a list that ends with NULL, and what Consul adds that it does not
 *  name. The texts are borrowed, the list is the caller's to free. @return NULL without memory. */
char **wm_consul_node_meta(char *const *own);
