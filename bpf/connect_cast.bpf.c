/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* connect_cast.bpf.c - connect.bpf.c for kernels where it may look into their sockets (6.2). An
 * object of its own, for some before refuse what they cannot call even where it is never reached.
 */
#define WM_CAST 1
#include "connect.bpf.c"
