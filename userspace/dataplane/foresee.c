/* SPDX-License-Identifier: Apache-2.0 */
/* foresee.c - what would keep the plane from being whole, by looking, not by trying. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <string.h>

static void check_pins(const struct wm_plane_config *c, wm_plane_fault fn, void *arg)
{
	struct wm_err inner = {0}, e = {0};

	if (!wm_pins_check_place(c->pin_dir, &inner))
		return;
	wm_err_set(&e, inner.code, "kernel.pin_dir: %s", inner.text);
	fn(arg, &e);
}

static void check_cgroup(const struct wm_plane_config *c, wm_plane_fault fn, void *arg)
{
	char root[256];
	const char *path = c->cgroup;
	struct wm_err e = {0};
	_cleanup_close_ int fd = -1;
	uint64_t id;
	int r = path ? 0 : wm_cgroup_root(root, sizeof(root));

	if (r) {
		wm_err_set(&e, r, "kernel.cgroup: no cgroup2 is mounted (%s)", strerror(-r));
		fn(arg, &e);
		return;
	}
	path = path ? path : root;
	fd = wm_cgroup_open(path, &id);
	if (fd >= 0)
		return;
	if (fd == -EINVAL)
		wm_err_set(&e, fd, "kernel.cgroup: %s is no directory of a cgroup2", path);
	else
		wm_err_set(&e, fd, "kernel.cgroup: %s: %s", path, strerror(-fd));
	fn(arg, &e);
}

static void check_devices(const struct wm_plane_config *c, wm_plane_fault fn, void *arg)
{
	for (const char *const *d = c->lo_devices; d && *d; d++) {
		struct wm_device is = {0};
		struct wm_err e = {0};
		int r = wm_device_is_glob(*d) ? 0 : wm_device_get(*d, &is);

		if (r)
			wm_err_set(&e, r, "kernel.lo_devices: %s: %s", *d, strerror(-r));
		else if (!wm_device_is_glob(*d) && !is.loopback)
			wm_err_set(
				&e, -EINVAL,
				"kernel.lo_devices: %s is no loopback device: answering in place "
				"works on those only",
				*d);
		if (e.code)
			fn(arg, &e);
	}
}

void wm_plane_foresee(const struct wm_plane_config *c, wm_plane_fault fn, void *arg)
{
	uint64_t bytes = wm_plane_memory(c, NULL, NULL) + wm_plane_kept_memory(c);
	struct wm_err e = {0};

	check_pins(c, fn, arg);
	if (c->attach_connect)
		check_cgroup(c, fn, arg);
	if (c->attach_dns)
		check_devices(c, fn, arg);
	if (c->memory_max && bytes > c->memory_max) {
		wm_err_set(&e, WM_E_BUDGET,
			   "kernel.memory_max: the maps for kernel.services_max, "
			   "kernel.backends_max, dns.kernel_ready and dns.kernel_cache take %llu "
			   "bytes, more than %llu",
			   (unsigned long long)bytes, (unsigned long long)c->memory_max);
		fn(arg, &e);
	}
}
