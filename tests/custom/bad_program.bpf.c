/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_program.bpf.c - refused: it has a program of its own. */
#include "custom.h"

SEC("cgroup/connect4") int mine(struct bpf_sock_addr *ctx)
{
	return 0;
}

WM_CUSTOM(ask)
{
	return 0;
}
