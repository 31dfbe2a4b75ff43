/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - names as text that a resolver's tools read back: a dot or backslash within a label has a
 * backslash before it, an octet that is no visible character is \DDD. Spec: RFC 1035 5.1, RFC 4343
 * 2.1. Threading: no state. */
#pragma once
#include "waymark/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One label, NUL-terminated, cut at @p cap (> 0), at an octet. @return octets written. */
size_t wm_dns_label_text(const char *label, size_t len, char *out, size_t cap);
/** A name in wire form, without the dot at its end, cut at a label. @return octets written. */
size_t wm_dns_text(const uint8_t *wire, char *out, size_t cap);
/** A name as text to wire form, folded; "" and "." are the root. @return false: it is none. */
bool wm_dns_wire(const char *text, uint8_t ret[WM_DNS_NAME_MAX + 1]);
