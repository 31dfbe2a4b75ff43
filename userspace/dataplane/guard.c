/* SPDX-License-Identifier: Apache-2.0 */
/* guard.c - tell the programs of DNS which clients may ask (bpf/guard.h). New networks are in
 * before old ones go, and all of them before the programs look. */
#include "userspace/base/clock.h"
#include "userspace/dataplane/internal.h"

/* Networks that were not told of this time. */
static int remove_old(int fd, uint32_t told)
{
	struct wm_guard_prefix old[WM_GUARD_PREFIXES_MAX], at;
	struct wm_guard_allowed v;
	unsigned n = 0;
	bool first = true;
	int r = 0;

	while (n < WM_GUARD_PREFIXES_MAX &&
	       !bpf_map_get_next_key(fd, first ? NULL : &at, &old[n])) {
		first = false;
		at = old[n];
		n += !bpf_map_lookup_elem(fd, &at, &v) && v.told != told;
	}
	while (n && !r)
		r = bpf_map_delete_elem(fd, &old[--n]);
	return r;
}

int wm_plane_guard(struct wm_plane *p, const struct wm_guard_prefix *allow, unsigned count)
{
	int guard_fd = wm_dns_map(p, "dns_guard"), allow_fd = wm_dns_map(p, "dns_allow"), r;
	struct wm_guard g = {0};
	uint32_t zero = 0;

	if (guard_fd < 0 || allow_fd < 0)
		return 0; /* no programs, nobody to be told */
	r = bpf_map_lookup_elem(guard_fd, &zero, &g);
	g.told++;
	g.restricted = count != 0;
	for (unsigned i = 0; !r && i < count; i++)
		r = bpf_map_update_elem(allow_fd, &allow[i],
					&(struct wm_guard_allowed){.told = g.told}, BPF_ANY);
	if (!r)
		r = bpf_map_update_elem(guard_fd, &zero, &g, BPF_ANY);
	return r ? r : remove_old(allow_fd, g.told);
}

int wm_plane_limits(struct wm_plane *p, unsigned pod_per_s, unsigned rate_per_s)
{
	int fd = wm_dns_map(p, "dns_guard"), r;
	struct wm_guard g = {0};
	uint32_t zero = 0;

	if (fd < 0)
		return 0;
	r = bpf_map_lookup_elem(fd, &zero, &g);
	g.pod_every_ns = pod_per_s ? WM_NS_PER_S / pod_per_s : 0;
	g.rate_every_ns = rate_per_s ? WM_NS_PER_S / rate_per_s : 0;
	return r ? r : bpf_map_update_elem(fd, &zero, &g, BPF_ANY);
}
