/* SPDX-License-Identifier: Apache-2.0 */
/* pod_asks.c - how much each pod asks, by its device: an entry for each that is attached to, which
 * the programs of DNS count in and keep to its bound (bpf/guard.h). The map is this run's. */
#include "userspace/dataplane/internal.h"

#include <string.h>

_Static_assert(WM_GUARD_PODS_MAX >= WM_DEVICES_MAX, "room for each");

void wm_pod_asks_begin(const struct wm_plane *p, uint32_t ifindex, bool peer)
{
	struct wm_pod_asks v = {0};
	int fd = wm_dns_map(p, "dns_pods");

	if (fd < 0)
		return;
	/* one that is there goes on; where its other end has moved, a few questions are not counted
	 */
	if (!bpf_map_lookup_elem(fd, &ifindex, &v) && v.peer == peer)
		return;
	v.peer = peer;
	(void)bpf_map_update_elem(fd, &ifindex, &v, BPF_ANY);
}

static bool is_pod(const struct wm_plane_hook *h)
{
	return !h->error && h->name == wm_prog_name(WM_PROG_DNS_VETH);
}

static bool is_attached(const struct wm_plane *p, uint32_t ifindex)
{
	const char *name = NULL;

	for (unsigned i = 0; i < p->devices_count && !name; i++)
		if (p->devices[i].ifindex == ifindex)
			name = p->devices[i].name;
	for (unsigned i = 0; name && i < p->hooks_count; i++)
		if (is_pod(&p->hooks[i]) && !strcmp(p->hooks[i].where, name))
			return true;
	return false;
}

void wm_pod_asks_sweep(const struct wm_plane *p)
{
	uint32_t gone[WM_GUARD_PODS_MAX], at;
	unsigned n = 0;
	int fd = wm_dns_map(p, "dns_pods");
	bool more = fd >= 0 && !bpf_map_get_next_key(fd, NULL, &at);

	for (unsigned i = 0; more && i < WM_GUARD_PODS_MAX; i++) {
		if (!is_attached(p, at))
			gone[n++] = at;
		more = !bpf_map_get_next_key(fd, &at, &at);
	}
	while (n)
		(void)bpf_map_delete_elem(fd, &gone[--n]);
}

bool wm_plane_pod(const struct wm_plane *p, unsigned *at, struct wm_plane_pod *ret)
{
	struct wm_pod_asks v;
	int fd = wm_dns_map(p, "dns_pods");

	while (fd >= 0 && *at < p->hooks_count) {
		const struct wm_plane_hook *h = &p->hooks[(*at)++];
		const struct wm_device *d = is_pod(h) ? wm_device_of(p, h->where) : NULL;

		if (!d || bpf_map_lookup_elem(fd, &d->ifindex, &v))
			continue;
		*ret = (struct wm_plane_pod){d->name, v.queries, v.dropped};
		return true;
	}
	return false;
}
