/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.h - JSON that is kept as text and repeated in answers. Pure. Spec: RFC 8259. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/** Is @p s one value of JSON, no key of an object twice? Without memory it is none. Cost O(length).
 */
bool wm_json_text_valid(const char *s);

/* Reading valid text without a tree, nor memory. A place is the first octet of a value in it, NULL
 * is none; what is not valid is read to its end at most. */
/** The value of member @p key, which has no octet that JSON escapes, of the object at @p object.
 *  @return NULL: there is none, or it is no object. Cost O(length of the object). */
const char *wm_json_text_member(const char *object, const char *key);
/** @return the first element of an array; NULL: there is none. */
const char *wm_json_text_first(const char *array);
/** @return the element after @p value; NULL: it was the last. Cost O(length of @p value). */
const char *wm_json_text_next(const char *value);
/** The text of the string at @p at, NUL-terminated, cut at @p cap - 1 octets. @return false: it is
 *  no string, @p buf is "". */
bool wm_json_text_string(const char *at, char *buf, size_t cap);
