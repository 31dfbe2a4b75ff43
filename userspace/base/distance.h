/* SPDX-License-Identifier: Apache-2.0 */
/* distance.h - which word was meant by one that nobody knows. Threading: any. */
#pragma once
#include <stdbool.h>

#define WM_DISTANCE_MAX 32 /* octets of a word that are compared */

/** Octets to change, add, drop or swap with their neighbour to make @p b of @p a (Damerau 1964), in
 *  the first WM_DISTANCE_MAX. Cost O(n^2). */
unsigned wm_distance(const char *a, const char *b);
/** Near enough to be a slip: two octets of a word of six, one of a shorter one. */
bool wm_distance_slip(const char *written, const char *known);
