/* SPDX-License-Identifier: Apache-2.0 */
/* cookies.c - tell the programs of DNS the keys of cookies (bpf/dns_options.h). The map is theirs
 * alone and has no pin: who may not read it by its id, root alone may, does not learn them. */
#include "userspace/dataplane/internal.h"

int wm_plane_cookies(struct wm_plane *p, const struct wm_cookie_keys *k)
{
	int fd = wm_dns_map(p, "dns_cookies");
	uint32_t zero = 0;

	return fd < 0 ? 0 : bpf_map_update_elem(fd, &zero, k, BPF_ANY);
}
