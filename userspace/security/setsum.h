/* SPDX-License-Identifier: Apache-2.0 */
/* setsum.h - a hash of a set to which elements are added and from which they are taken, in any
 * order, at the cost of the element: LtHash (Lewi, Kim, Maykov, Weis 2019), 1,024 lanes of 16 bits.
 * To find two sets with one sum is to find a short vector in a lattice: over 200 bits. What stands
 * here for LtHash's BLAKE2Xb is the keystream of AES-256-CTR under the SHA-256 of the element, some
 * 0.5 us with AES-NI: LtHash wants of its expansion that those of distinct elements are like drawn
 * at random, and in the model in which AES is an ideal cipher keystreams of distinct keys are.
 * Threading: one owner of a hasher at a time. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_SETSUM_LANES 1024
#define WM_SETSUM_HASH	32

struct wm_setsum {
	uint16_t lanes[WM_SETSUM_LANES]; /* all zero: the empty set */
};

struct wm_hasher;
struct wm_hasher *wm_hasher_new(void);	  /* NULL without memory */
void wm_hasher_free(struct wm_hasher *h); /* NULL ok */
/** SHA-256 of @p head and what follows it. @return 0, -EIO: the library failed. */
int wm_hasher_hash(struct wm_hasher *h, const void *head, size_t head_len, const void *p,
		   size_t len, uint8_t ret[static WM_SETSUM_HASH]);
/** Add the element of that hash, or take it away (@p out). @return 0, -EIO: nothing was changed. */
int wm_setsum_add(struct wm_hasher *h, struct wm_setsum *s,
		  const uint8_t element[static WM_SETSUM_HASH], bool out);
/** The sum in 32 octets, as it is signed. @return 0, -EIO. */
int wm_setsum_hash(struct wm_hasher *h, const struct wm_setsum *s,
		   uint8_t ret[static WM_SETSUM_HASH]);
