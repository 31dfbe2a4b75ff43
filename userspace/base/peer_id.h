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

/** Read a UUID in text, of any case. @return 0, -EINVAL. */
int wm_peer_id_parse(const char *text, struct wm_peer_id *ret);
/** Write it, in lower case. */
void wm_peer_id_format(const struct wm_peer_id *id, char ret[static WM_PEER_ID_TEXT]);
