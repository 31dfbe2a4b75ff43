/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_records.h - types of records and what they say, as text. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Read "AAAA", or "TYPE28" of any (RFC 3597 5). @return false: it is no type. */
bool ctl_type_parse(const char *text, uint16_t *ret);
/** The records of a message's answer section as {"name", "ttl_s", "type", "data"} each, data of
 * types that are not known here as RFC 3597 5 writes it; up to the first that cannot be read.
 * @return the caller's. */
json_t *ctl_records(const uint8_t *msg, size_t len);
