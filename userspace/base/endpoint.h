/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.h - where a server of others is, and what our keys on it begin with, as a person writes
 * them. Pure. */
#pragma once
#include <stdbool.h>

/** "http://host:port" or "https://host:port", the port as one likes, without user, path or query.
 */
bool wm_endpoint_valid(const char *s);
/** Begins and ends with '/', of letters, digits and "-._~:@" between single ones. */
bool wm_key_prefix_valid(const char *s);
