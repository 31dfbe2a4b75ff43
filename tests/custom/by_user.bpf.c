/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* by_user.bpf.c - root goes to the last place, whoever else to the first: a canary by user. */
#include "custom.h"

WM_CUSTOM(ask)
{
	__u32 uid = (__u32)bpf_get_current_uid_gid();

	if (ask->attempt)
		return -1; /* it is not usable: by weight, then */
	return uid ? 0 : (int)(ask->count - 1);
}
