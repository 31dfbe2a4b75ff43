/* SPDX-License-Identifier: Apache-2.0 */
/* hot.c - what other servers said, where the DNS programs find it. The map is this run's: no pin
 * but the programs' hold on it, so that it serves while no agent runs and is gone with them. */
#include "userspace/dataplane/internal.h"

#include <errno.h>

static int map_of(const struct wm_plane *p)
{
	const struct bpf_object *o = p->c.hot_answers ? p->objects[WM_OBJECT_DNS] : NULL;
	int fd = o && p->progs[WM_PROG_DNS_HOT].fd >= 0
			 ? bpf_object__find_map_fd_by_name(o, "dns_answers")
			 : -1;

	return fd < 0 ? -EOPNOTSUPP : fd;
}

static struct wm_hot_key key_of(const struct wm_plane *p, const struct wm_hot *e, uint16_t type,
				uint16_t view)
{
	const struct wm_config *c = p->mem[WM_MAP_CONFIG];
	struct wm_hot_key k = {.type = type, .view = view};

	wm_name_hash(c->seed, e->name, e->head.name_len, &k.name);
	return k;
}

int wm_plane_hot_put(struct wm_plane *p, struct wm_hot *e, uint16_t type, uint16_t view)
{
	struct wm_hot_key k = key_of(p, e, type, view);
	int fd = map_of(p);

	if (fd < 0)
		return fd;
	wm_hot_seal(&k, e);
	return bpf_map_update_elem(fd, &k, e, BPF_ANY);
}

int wm_plane_hot_get(struct wm_plane *p, struct wm_hot *e, uint16_t type, uint16_t view)
{
	struct wm_hot_key k = key_of(p, e, type, view);
	int fd = map_of(p);

	return fd < 0 ? fd : bpf_map_lookup_elem(fd, &k, e);
}

void wm_plane_hot_del(struct wm_plane *p, const struct wm_hot *e, uint16_t type, uint16_t view)
{
	struct wm_hot_key k = key_of(p, e, type, view);
	int fd = map_of(p);

	if (fd >= 0)
		(void)bpf_map_delete_elem(fd, &k);
}
