/* SPDX-License-Identifier: Apache-2.0 */
/* json_line.h - where a key stands in a JSON text, for messages: jansson tells that of syntax
 * errors only. Threading: any. */
#pragma once
#include <stddef.h>

/** Line of the key @p name in the object under the top object's key @p section; @p name NULL: of
 * the section itself. @p json is valid JSON. @return 1-based; 0: there is none. Cost O(len). */
unsigned wm_json_line(const char *json, size_t len, const char *section, const char *name);
/** Line on which the element @p index of the list under the top object's @p key begins. @return as
 *  above. */
unsigned wm_json_element_line(const char *json, size_t len, const char *key, size_t index);
