/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_cast.bpf.c - dns.bpf.c for kernels where it may look into their packets (6.2), as
 * connect_cast.bpf.c is connect.bpf.c. */
#define WM_CAST 1
#include "dns.bpf.c"
