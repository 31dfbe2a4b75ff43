/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* connect_config.h - what the loader tells the programs that steer, fixed when they are loaded. */
#pragma once
#include "vmlinux.h"

/* Set by the loader after trying what the kernel has; the verifier drops the other branch. */
const volatile bool use_bpf_loop = false;
const volatile bool use_set_retval = false;
const volatile bool use_mptcp = false; /* bpf_skc_to_mptcp_sock() */
const volatile bool use_sock6 = false; /* bpf_skc_to_tcp6_sock(), bpf_skc_to_udp6_sock() */
const volatile bool use_netns_cookie = false;
const volatile bool use_cgroup_id = false;
const volatile bool use_custom = false; /* another object's wm_custom() is linked in */

/* The ranges of the virtual addresses, as configured; 0: none. */
const volatile __be32 vip4_base_be = 0, vip4_mask_be = 0;
const volatile __be32 vip6_prefix_be[2] = {0, 0};

/* Cookie of the network namespace that loopback addresses of backends are meant in: the agent's. 0:
 * not known, they are taken everywhere. */
const volatile __u64 home_netns = 0;
