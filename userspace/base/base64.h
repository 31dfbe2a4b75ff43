/* SPDX-License-Identifier: Apache-2.0 */
/* base64.h - RFC 4648, 4, of one form only: padded, no line ends, no bits left over. Pure. */
#pragma once
#include "buf.h"

/** Append in base64 (RFC 4648, 4) @p a, then @p b as if they were one. */
bool wm_base64_put(struct wm_buf *to, const void *a, size_t a_len, const void *b, size_t b_len);
/** Decode text of @p len octets; @p to holds len / 4 * 3 octets. @return octets, or -EINVAL. */
long wm_base64_read(const char *text, size_t len, char *to);
