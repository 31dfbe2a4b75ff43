/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - characters as octets, RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF.
 * Threading: any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_UTF8_MAX 4 /* octets of one character */

/** The character that @p s begins with. Of @p left octets none behind is read, nor behind a NUL, so
 *  SIZE_MAX says enough of a string. @return its octets, 0: it is none, or is cut. */
size_t wm_utf8_decode(const char *s, size_t left, uint32_t *ret);
/** Whether all of @p s is UTF-8. */
bool wm_utf8_valid(const char *s);
/** Write @p c; what is no character as U+FFFD. @return octets. */
size_t wm_utf8_encode(uint32_t c, char to[WM_UTF8_MAX]);
