/* SPDX-License-Identifier: Apache-2.0 */
/* plain.h - text of strangers on a terminal: what a backend answers to a check, or somebody wrote
 * into a file, must move no cursor, set no title and end no line of a table. Threading: any. */
#pragma once
#include <stddef.h>

/** Copy text as it may go to a terminal: escaped (\n, \x1b, \u202e) what would move the cursor,
 *  turn the text or is no UTF-8; cut at @p cap, at a character. @return @p to. */
const char *wm_plain(const char *s, char *to, size_t cap);
