/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_records.h - types of records and what they say, as text. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/** Read "AAAA", or "TYPE28" of any (RFC 3597 5). @return false: it is no type. */
bool ctl_type_parse(const char *text, uint16_t *ret);
