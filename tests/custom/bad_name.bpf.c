/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_name.bpf.c - refused: its function has another name. */
#include "custom.h"

char _license[] SEC("license") = "Dual BSD/GPL";

int wm_customised(struct wm_custom_ask *ask)
{
	return ask ? 0 : -1;
}
