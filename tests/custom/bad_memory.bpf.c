/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_memory.bpf.c - refused: it reads behind what it is asked. */
#include "custom.h"

WM_CUSTOM(ask)
{
	return (int)((__u32 *)ask)[ask->random];
}
