/* SPDX-License-Identifier: Apache-2.0 */
/* cookies.c - tell the programs of DNS the keys of cookies (bpf/dns_options.h). The map is theirs
 * alone and has no pin: who may not read it by its id, root alone may, does not learn them. */
#include "userspace/dataplane/internal.h"

#include <errno.h>

int wm_plane_cookies(struct wm_plane *p, const struct wm_cookie_keys *k)
{
	struct bpf_object *o = p->objects[WM_OBJECT_DNS];
	int fd = o ? bpf_object__find_map_fd_by_name(o, "dns_cookies") : -ENOENT;
	uint32_t zero = 0;

	return fd < 0 ? 0 : bpf_map_update_elem(fd, &zero, k, BPF_ANY);
}
