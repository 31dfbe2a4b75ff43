/* SPDX-License-Identifier: Apache-2.0 */
/* steps.h - inputs of fuzz targets that are lists of steps: an octet that says what, two of a
 * length, and so many octets, fewer at the input's end. */
#pragma once
#include "check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static void each_step(const uint8_t *data, size_t size,
		      void (*step)(uint8_t what, const uint8_t *p, size_t len))
{
	size_t at = 0;

	while (size - at >= 3) {
		size_t len = (size_t)data[at + 1] << 8 | data[at + 2];
		uint8_t what = data[at];

		at += 3;
		len = len < size - at ? len : size - at;
		step(what, data + at, len);
		at += len;
	}
}
