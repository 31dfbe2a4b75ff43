/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_place.bpf.c - no place that there is: the weights decide. */
#include "custom.h"

WM_CUSTOM(ask)
{
	return (int)(ask->count + ask->random % 7);
}
