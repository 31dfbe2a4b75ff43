/* SPDX-License-Identifier: Apache-2.0 */
/* json_line.h - where a key stands in a JSON text, for messages: jansson tells that of syntax
 * errors only. Threading: any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/** Line of the key @p name in the object under the top object's key @p section; @p name NULL: of
 * the section itself. @p json is valid JSON. @return 1-based; 0: there is none. Cost O(len). */
unsigned wm_json_line(const char *json, size_t len, const char *section, const char *name);
/* A place in the text, between two elements of a list. */
struct wm_json_walk {
	const char *at, *end;
	unsigned line, depth;
};
/** Go to the list under the top object's @p key. @p json is valid JSON and outlives @p ret.
 *  @return false: there is none; @p ret has no element. */
bool wm_json_list(const char *json, size_t len, const char *key, struct wm_json_walk *ret);
/** @return the line, 1-based, on which the next element begins, which is passed; 0: there is none.
 *  Cost of all of them together: O(len). */
unsigned wm_json_next_line(struct wm_json_walk *w);
