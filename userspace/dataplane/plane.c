/* SPDX-License-Identifier: Apache-2.0 */
/* plane.c - open and close the data plane: check, size, own the pin directory, maps, programs. */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/flows.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES_MAX 256 /* devices of one kind; bounds the hooks and their pins */

static void strings_free(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

/* @return 0, -ENOMEM, -E2BIG. NULL copies to NULL. */
static int strings_copy(const char *const *list, char ***ret)
{
	size_t n = 0;
	char **copy;

	if (!list)
		return 0;
	while (list[n])
		if (++n > DEVICES_MAX)
			return -E2BIG;
	copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			strings_free(copy);
			return -ENOMEM;
		}
	}
	*ret = copy;
	return 0;
}

static int check_config(const struct wm_plane_config *c, struct wm_err *e)
{
	uint64_t need;

	if (!c->names || !c->frontends || !c->sets || !c->slots || !c->backends)
		return wm_err_set(e, -EINVAL,
				  "names, frontends, sets, slots and backends must be at least 1");
	need = wm_plane_memory(c, NULL, NULL) + wm_plane_kept_memory(c);
	if (c->memory_max && need > c->memory_max)
		return wm_err_set(
			e, WM_E_BUDGET,
			"the maps need %llu bytes, kernel.memory_max is %llu: raise it, or lower "
			"kernel.services_max, kernel.backends_max, dns.kernel_ready or "
			"dns.kernel_cache",
			(unsigned long long)need, (unsigned long long)c->memory_max);
	return 0;
}

static int copy_config(struct wm_plane *p, const struct wm_plane_config *c, struct wm_err *e)
{
	int r;

	p->c = *c;
	p->c.lo_devices = p->c.veth_devices = p->c.link_devices = NULL; /* the copies are used */
	p->c.pin_dir = strdup(c->pin_dir);
	p->c.cgroup = c->cgroup ? strdup(c->cgroup) : NULL;
	p->c.custom = c->custom ? strdup(c->custom) : NULL;
	if (!p->c.pin_dir || (c->cgroup && !p->c.cgroup) || (c->custom && !p->c.custom))
		return wm_err_set(e, -ENOMEM, "out of memory");
	r = strings_copy(c->lo_devices, &p->lo_devices);
	if (!r)
		r = strings_copy(c->veth_devices, &p->veth_devices);
	if (!r)
		r = strings_copy(c->link_devices, &p->link_devices);
	return r ? wm_err_set(e, r, "devices: at most %d of a kind", DEVICES_MAX) : 0;
}

static struct wm_deny_zone zone_of(const char *domain)
{
	uint8_t wire[WM_NAME_BUF] = {0};
	size_t len = domain ? wm_domain_wire(domain, wire) : 0;

	return wm_deny_zone_of(wire, (uint32_t)len);
}

int wm_plane_open(const struct wm_plane_config *c, struct wm_plane **ret, bool *ret_adopted,
		  struct wm_err *e)
{
	struct wm_plane *p;
	bool adopted = false;
	int r;

	wm_bpf_capture();
	r = check_config(c, e);
	if (r)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return wm_err_set(e, -ENOMEM, "out of memory");
	p->lock_fd = p->events_fd = -1;
	for (unsigned i = 0; i < WM_KEPT_COUNT; i++)
		p->kept_fd[i] = -1;
	p->zones[0] = zone_of(c->domain);
	p->zones[1] = zone_of(c->alt_domain);
	p->zones[2] = zone_of(c->cluster_domain);
	p->dc = wm_deny_label_of(c->datacenter ? c->datacenter : "");
	for (unsigned i = 0; i < WM_ARRAY_LEN(p->srv_ends); i++)
		p->srv_ends[i] = wm_srv_end_of(c->datacenter ? c->datacenter : "", &p->zones[i]);
	for (unsigned i = 0; i < WM_ITERATORS; i++)
		p->iterators[i] = -1;
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		p->map_fd[i] = -1;
	p->lock_fd = r = wm_pins_open(c->pin_dir, e);
	if (r >= 0)
		r = copy_config(p, c, e);
	if (!r) {
		r = wm_pins_recover(p->c.pin_dir);
		if (r)
			wm_err_set(e, r, "repairing %s: %s", p->c.pin_dir, strerror(-r));
	}
	if (!r)
		r = wm_maps_open(p, &adopted, e);
	if (!r)
		r = wm_maps_map(p, adopted, e);
	if (r) {
		if (p->lock_fd >= 0)
			rmdir(c->pin_dir); /* empty only if this call made it in vain */
		wm_plane_close(p);
		return r;
	}
	wm_maps_ops(p);
	wm_flows_unwatched(p); /* whoever watched an earlier run is gone */
	for (unsigned i = 0; i < WM_KEPT_COUNT; i++)
		p->kept_fd[i] = wm_kept_open(p->c.pin_dir, &wm_kept_maps[i]);
	p->no_tcx = wm_bpf_try_tcx() != 0;
	wm_progs_load(p);
	*ret = p;
	if (ret_adopted)
		*ret_adopted = adopted;
	return 0;
}

void wm_plane_close(struct wm_plane *p)
{
	union {
		const char *borrowed;
		char *own;
	} dir, cgroup, custom;

	if (!p)
		return;
	dir.borrowed = p->c.pin_dir;
	cgroup.borrowed = p->c.cgroup;
	custom.borrowed = p->c.custom;
	for (unsigned i = 0; i < WM_ITERATORS; i++)
		wm_closep(&p->iterators[i]);
	wm_progs_close(p);
	wm_maps_close(p);
	for (unsigned i = 0; i < WM_KEPT_COUNT; i++)
		wm_closep(&p->kept_fd[i]);
	wm_closep(&p->lock_fd);
	strings_free(p->lo_devices);
	strings_free(p->veth_devices);
	strings_free(p->link_devices);
	free(dir.own);
	free(cgroup.own);
	free(custom.own);
	free(p->hooks);
	free(p->devices);
	free(p);
}

const char *wm_plane_pin_dir(const struct wm_plane *p)
{
	return p->c.pin_dir;
}
