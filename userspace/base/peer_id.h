/* SPDX-License-Identifier: Apache-2.0 */
/* peer_id.h - what names an agent: its node's id, a UUID in network order; of agents that speak to
 * each other no two share one. A value, no memory. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WM_PEER_ID_TEXT 37 /* octets of a UUID in text with its NUL */

struct wm_peer_id {
	uint8_t octets[16];
};

static inline bool wm_peer_id_same(const struct wm_peer_id *a, const struct wm_peer_id *b)
{
	return !memcmp(a->octets, b->octets, sizeof(a->octets));
}

static inline int wm_peer_id_cmp(const struct wm_peer_id *a, const struct wm_peer_id *b)
{
	return memcmp(a->octets, b->octets, sizeof(a->octets));
}

/** Is it nobody's? */
static inline bool wm_peer_id_none(const struct wm_peer_id *id)
{
	static const struct wm_peer_id none;

	return wm_peer_id_same(id, &none);
}

/* Nodes that a source brings (source/source.h) have ids of their own kind, a UUID of version 8
 * whose first octets no agent draws: they are of no agent, and no agent may claim one. */
#define WM_PEER_ID_SOURCE "\0src"
/** The id of the node @p node, in lower case, of the source @p source: the same at each start. */
void wm_peer_id_source(const char *source, const char *node, struct wm_peer_id *ret);
static inline bool wm_peer_id_is_source(const struct wm_peer_id *id)
{
	return !memcmp(id->octets, WM_PEER_ID_SOURCE, 4) && id->octets[6] >> 4 == 8;
}

/** Read a UUID in text, of any case. @return 0, -EINVAL. */
int wm_peer_id_parse(const char *text, struct wm_peer_id *ret);
/** Write it, in lower case. */
void wm_peer_id_format(const struct wm_peer_id *id, char ret[static WM_PEER_ID_TEXT]);
