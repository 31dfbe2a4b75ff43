/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lost.h - the table by which bpf/abort.bpf.c knows the backends that are gone: a word for each
 * backend, stored and loaded whole. It belongs to one run of the agent and is pinned nowhere, so it
 * is no part of the layout of layout.h. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* The occupant's stamp (the high half of its state word) in the upper half; WM_LOST_* in the lower,
 * whose sockets are ended; 0: nobody's. */
typedef __u64 wm_lost_word;
#define WM_LOST_UDP 1u
#define WM_LOST_TCP 2u
