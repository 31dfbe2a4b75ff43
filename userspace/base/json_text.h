/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.h - JSON that is kept as text and repeated in answers. Pure. Spec: RFC 8259. */
#pragma once
#include <stdbool.h>

/** Is @p s one value of JSON, no key of an object twice? Without memory it is none. Cost O(length).
 */
bool wm_json_text_valid(const char *s);
