/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* maps.bpf.c - the maps alone, with their BTF and without a program. The loader creates each map once
 * from this object; the objects with programs then use those (dataplane/maps.c, dataplane/load.c). */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"

char _license[] SEC("license") = "Dual BSD/GPL";
