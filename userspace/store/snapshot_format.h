/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_format.h - what writer and reader of snapshots share; see snapshot.h. Pure. */
#pragma once
#include "snapshot.h"

#define WM_SNAPSHOT_MAGIC "WMSNAP1\n"
#define WM_SNAPSHOT_HEAD  24 /* octets before the first frame */
#define WM_SNAPSHOT_FRAME 16 /* octets before a frame's record */
#define WM_SNAPSHOT_LAST  9  /* tag of the last frame */
#define WM_SNAPSHOT_SUM	  0xcbf29ce484222325ull

static inline void wm_snapshot_put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void wm_snapshot_put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint64_t wm_snapshot_get(const uint8_t *p, int octets)
{
	uint64_t v = 0;

	for (int i = 0; i < octets; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/** FNV-1a 64, continued. */
static inline uint64_t wm_snapshot_sum(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}
