/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - hashes of bytes. Threading: any, once the first has been taken. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/** Under a random key of this process: what a stranger chooses cannot be made to collide. */
uint64_t wm_hash(const void *data, size_t len);
/** FNV-1a 64: the same on every machine and start. For ids that are stored or shown, not for
 * tables. */
uint64_t wm_hash_stable(const void *data, size_t len);
