/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - what names another agent: its node's id, and where it is spoken to. Values, no memory.
 */
#pragma once
#include "userspace/base/peer_addr.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WM_PEER_ID_TEXT 37 /* octets of a UUID in text with its NUL */

/* A node's id, a UUID in network order: of agents that speak to each other no two share one. */
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

/** Read a UUID in text, of any case. @return 0, -EINVAL. */
int wm_peer_id_parse(const char *text, struct wm_peer_id *ret);
/** Write it, in lower case. */
void wm_peer_id_format(const struct wm_peer_id *id, char ret[static WM_PEER_ID_TEXT]);
