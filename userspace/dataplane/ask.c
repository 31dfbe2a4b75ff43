/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "waymark/affinity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a reader of include/waymark/ reaches the frontends through. */
struct asked {
	struct wm_view view; /* first */
	const struct wm_plane *plane;
};

static int wm_frontend_at(const struct wm_view *v, const struct wm_frontend_key *key,
			  struct wm_frontend *ret)
{
	const struct asked *a = (const void *)v;
	struct wm_frontend e;

	for (int i = 0; i < 2; i++) {
		if (bpf_map_lookup_elem(a->plane->map_fd[WM_MAP_FRONTENDS], key, &e))
			return WM_PICK_NONE;
		if (wm_frontend_read(&e, key, ret))
			return WM_PICKED;
	}
	return WM_PICK_TORN;
}
#include "waymark/frontend.h"

int wm_plane_frontend(const struct wm_plane *p, const __be32 addr_be[4], __be16 port_be,
		      uint8_t proto, uint32_t *ret_set)
{
	const struct asked a = {.plane = p};

	return wm_frontend_find(&a.view, addr_be, port_be, proto, ret_set);
}

bool wm_plane_kept(const struct wm_plane *p, uint32_t set, uint64_t client, uint32_t *ret_backend,
		   uint64_t *ret_ns)
{
	const struct wm_affinity_key k = {.client = client, .set = set};
	const struct wm_backend *b = p->mem[WM_MAP_BACKENDS];
	uint64_t now = wm_clock_ns();
	struct wm_affinity e;

	if (p->kept_fd[WM_KEPT_AFFINITY] < 0 ||
	    bpf_map_lookup_elem(p->kept_fd[WM_KEPT_AFFINITY], &k, &e) ||
	    !wm_affinity_holds(&k, &e, now, p->maps[WM_MAP_BACKENDS].id) ||
	    e.backend >= p->maps[WM_MAP_BACKENDS].max_entries ||
	    e.stamp != __atomic_load_n(&b[e.backend].state, __ATOMIC_RELAXED) >> 16)
		return false;
	*ret_backend = e.backend;
	*ret_ns = e.until_ns - now;
	return true;
}

bool wm_plane_is_virtual(const struct wm_plane *p, const __be32 addr_be[4])
{
	struct wm_virtual r = {.base4_be = htonl(p->c.vip4_base & p->c.vip4_mask),
			       .mask4_be = htonl(p->c.vip4_mask)};

	memcpy(r.prefix6_be, p->c.vip6_prefix, sizeof(r.prefix6_be));
	return wm_is_virtual(&r, addr_be);
}

bool wm_plane_connects(const struct wm_plane *p)
{
	const struct wm_config *c = p->mem[WM_MAP_CONFIG];

	return __atomic_load_n(&c->flags, __ATOMIC_RELAXED) & WM_CONFIG_F_CONNECT;
}

uint64_t wm_plane_home(void)
{
	return wm_own_netns();
}

const struct wm_plane_hook *wm_plane_connect_hook(const struct wm_plane *p, int family)
{
	const char *name = wm_prog_name(family == AF_INET ? WM_PROG_CONNECT4 : WM_PROG_CONNECT6);

	for (unsigned i = 0; i < p->hooks_count; i++)
		if (strcmp(p->hooks[i].name, name) == 0)
			return &p->hooks[i];
	return NULL;
}

int wm_plane_covers(const struct wm_plane *p, uint64_t id, char *path, size_t cap)
{
	char above[WM_PIN_PATH_MAX];
	uint64_t at = 0;
	size_t len;
	_cleanup_close_ int fd = p->c.cgroup ? wm_cgroup_open(p->c.cgroup, &at) : -ENOENT;
	int r = fd < 0 ? fd : wm_cgroup_path(at, above, sizeof(above));

	*path = '\0';
	if (!r)
		r = wm_cgroup_path(id, path, cap);
	if (r)
		return r;
	len = strlen(above);
	return !strncmp(path, above, len) && (!path[len] || path[len] == '/');
}
