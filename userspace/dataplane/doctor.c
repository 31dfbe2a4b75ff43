/* SPDX-License-Identifier: Apache-2.0 */
/* doctor.c - what is pinned, attached where and whole, and who else is there: from the pins alone,
 * for `waymarkctl doctor`. */
#include "doctor.h"

#include "internal.h"
#include "survey.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WALK_MAX       100000 /* entries of a hash that are looked at for one of a kind */
#define LEFTOVERS_MAX  32     /* pin directories of others that are told */
#define NEIGHBOURS_MAX 16     /* programs of others that are told one by one */

struct inspect {
	const char *pin_dir;
	wm_finding_fn fn;
	void *arg;
	struct wm_inspection *ret;
	bool cgroup_hooks[WM_PROG_COUNT];
	unsigned attached, device_hooks;
	char devices[WM_DEVICES_MAX][16];
	unsigned devices_count, neighbours;
	struct {
		struct wm_leftover first;
		unsigned count;
		bool fault;
	} left[LEFTOVERS_MAX]; /* by pin directory */
	unsigned left_count;
};

#define TELL(i, f, ...) wm_finding_tell((i)->fn, (i)->arg, (f), __VA_ARGS__)

/* --- hooks ------------------------------------------------------------------------------------ */
static void dead_hook(struct inspect *i, const char *name)
{
	struct wm_finding f = {.name = "hook", .result = WM_FOUND_FAULT, .error = -ENOENT};

	snprintf(f.remedy, sizeof(f.remedy), "%s",
		 i->ret->held ? "the agent attaches it again within seconds"
			      : "start the agent: it attaches again");
	TELL(i, f, "%s is detached: its cgroup or device is gone, or somebody detached it", name);
}

static unsigned prog_index(const char *name)
{
	unsigned k = 0;

	while (k < WM_PROG_COUNT && strcmp(wm_prog_name(k), name) != 0)
		k++;
	return k;
}

static int see_link(void *arg, const char *path, const char *name)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct inspect *i = arg;
	struct wm_link_place at;
	unsigned k = prog_index(name);
	const char *device = strchr(name, '@');

	if (fd < 0 || wm_link_place(fd, &at)) {
		dead_hook(i, name);
		return 0;
	}
	i->attached++;
	if (k < WM_PROG_COUNT) {
		i->cgroup_hooks[k] = true;
		if (!*i->ret->cgroup)
			(void)wm_cgroup_path(at.cgroup_id, i->ret->cgroup, sizeof(i->ret->cgroup));
	} else if (device && i->devices_count < WM_DEVICES_MAX) {
		snprintf(i->devices[i->devices_count], 16, "%.15s", device + 1);
		for (char *c = i->devices[i->devices_count++]; *c; c++)
			if (*c == '%')
				*c = '.';
		i->device_hooks++;
	}
	return 0;
}

static int see_filter(void *arg, const char *path, const char *name)
{
	struct inspect *i = arg;

	if (!wm_clsact_is_on(path, name)) {
		dead_hook(i, name);
		return 0;
	}
	i->attached++;
	i->device_hooks++;
	return 0;
}

static void tell_steering(struct inspect *i)
{
	struct wm_finding f = {.name = "connect_hooks"};
	char missing[160] = "";
	unsigned there = 0, at = 0;

	for (unsigned k = 0; k <= WM_PROG_CONNECT6; k++) {
		if (k == WM_PROG_TCP_OUTCOME) /* it steers nothing */
			continue;
		there += i->cgroup_hooks[k];
		if (!i->cgroup_hooks[k] && at < sizeof(missing))
			at += (unsigned)snprintf(missing + at, sizeof(missing) - at, "%s%s",
						 at ? ", " : "", wm_prog_name(k));
	}
	if (!*missing) {
		TELL(i, f, "connect() is steered for processes below %s",
		     *i->ret->cgroup ? i->ret->cgroup : "a cgroup that is not visible here");
		return;
	}
	if (!there && !(i->ret->config.flags & WM_CONFIG_F_CONNECT)) {
		f.result = WM_FOUND_NOTE;
		TELL(i, f, "connect() is not steered: kernel.connect is false");
		return;
	}
	f.result = WM_FOUND_FAULT;
	f.error = -ENOENT;
	snprintf(f.remedy, sizeof(f.remedy),
		 "kernel.cgroup: a directory of a cgroup2; the agent's log and status say why");
	TELL(i, f, "not attached: %s", missing);
}

static void tell_dns_hooks(struct inspect *i)
{
	struct wm_finding f = {.name = "dns_hooks"};

	if (i->device_hooks) {
		TELL(i, f, "DNS is answered in the kernel on %u devices", i->device_hooks);
	} else if (i->ret->config.flags & WM_CONFIG_F_DNS) {
		f.result = WM_FOUND_FAULT;
		f.error = -ENOENT;
		snprintf(f.remedy, sizeof(f.remedy),
			 "kernel.lo_devices, kernel.veth_devices; the agent's log and status say "
			 "why");
		TELL(i, f, "no device has a program: the kernel answers no DNS");
	} else {
		f.result = WM_FOUND_NOTE;
		TELL(i, f, "DNS is not answered in the kernel: kernel.dns is false");
	}
}

/* --- maps ------------------------------------------------------------------------------------- */
static int open_map(const struct inspect *i, enum wm_map_index which)
{
	char path[WM_PIN_PATH_MAX];
	int r = wm_pins_path(path, i->pin_dir, "maps", wm_map_specs[which].name);

	return r ? r : bpf_obj_get(path);
}

static bool value_fits(int fd, size_t size)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.value_size == size;
}

static void read_config(struct inspect *i)
{
	_cleanup_close_ int fd = open_map(i, WM_MAP_CONFIG);
	uint32_t zero = 0;

	i->ret->has_config = value_fits(fd, sizeof(i->ret->config)) &&
			     !bpf_map_lookup_elem(fd, &zero, &i->ret->config);
}

static void tell_maps(struct inspect *i)
{
	struct wm_finding f = {.name = "maps"};
	char missing[200] = "";
	unsigned at = 0;

	for (unsigned k = 0; k < WM_MAP_COUNT; k++) {
		_cleanup_close_ int fd = open_map(i, k);

		if (fd < 0 && at < sizeof(missing)) {
			f.error = fd;
			at += (unsigned)snprintf(missing + at, sizeof(missing) - at, "%s%s",
						 at ? ", " : "", wm_map_specs[k].name);
		}
	}
	if (!*missing) {
		TELL(i, f, "all %d are pinned under %s", WM_MAP_COUNT, i->pin_dir);
		return;
	}
	f.result = WM_FOUND_FAULT;
	snprintf(f.remedy, sizeof(f.remedy), "%s",
		 i->ret->held ? "the agent pins them again within seconds"
			      : "waymarkctl detach, then start the agent");
	TELL(i, f, "not pinned under %s: %s", i->pin_dir, missing);
}

/* A dead agent's answers may have an end: dns.stale_after. */
static void tell_age(struct inspect *i)
{
	const struct wm_config *c = &i->ret->config;
	struct wm_finding f = {.name = "age"};
	struct timespec now;
	uint64_t age;

	if (!i->ret->has_config || i->ret->held)
		return;
	clock_gettime(CLOCK_BOOTTIME, &now);
	age = (uint64_t)now.tv_sec * WM_NS_PER_S + (uint64_t)now.tv_nsec - c->confirmed_ns;
	f.result = c->stale_after_ns && age > c->stale_after_ns ? WM_FOUND_FAULT : WM_FOUND_NOTE;
	snprintf(f.remedy, sizeof(f.remedy), "start the agent");
	TELL(i, f, "no agent has vouched for the tables for %llu s%s",
	     (unsigned long long)(age / WM_NS_PER_S),
	     f.result == WM_FOUND_FAULT ? ": past dns.stale_after, so the kernel answers no DNS"
					: "");
}

/* Dots for lengths. */
static void dotted(const uint8_t *wire, size_t len, char *out, size_t cap)
{
	size_t at = 0;

	for (size_t k = 0; k < len && wire[k] && at + wire[k] + 2 < cap; k += wire[k] + 1u) {
		memcpy(out + at, wire + k + 1, wire[k]);
		at += wire[k];
		out[at++] = '.';
	}
	out[at ? at - 1 : 0] = 0;
}

/* A name to ask for, one of a virtual address if there is any. */
static void find_name(struct inspect *i)
{
	_cleanup_close_ int fd = open_map(i, WM_MAP_NAMES);
	struct wm_name_key key, *last = NULL;
	struct wm_name v;
	const char *dot;

	if (!value_fits(fd, sizeof(v)))
		return;
	for (unsigned n = 0; n < WALK_MAX && !bpf_map_get_next_key(fd, last, &key); n++) {
		last = &key;
		if (bpf_map_lookup_elem(fd, &key, &v) || (*i->ret->domain && !v.vip4_be))
			continue;
		dotted(v.name, v.len, i->ret->domain, sizeof(i->ret->domain));
		if (v.kind == WM_NAME_VIRTUAL && v.vip4_be) {
			snprintf(i->ret->name, sizeof(i->ret->name), "%s", i->ret->domain);
			i->ret->vip4_be = v.vip4_be;
			i->ret->has_vip4 = true;
			break;
		}
	}
	/* <service>.<kind>.<domain> */
	for (unsigned k = 0; k < 2 && (dot = strchr(i->ret->domain, '.')); k++)
		memmove(i->ret->domain, dot + 1, strlen(dot));
}

/* --- who else --------------------------------------------------------------------------------- */
static void see_leftover(void *arg, const struct wm_leftover *l)
{
	struct inspect *i = arg;
	unsigned k = 0;

	while (k < i->left_count && strcmp(i->left[k].first.pin_dir, l->pin_dir) != 0)
		k++;
	if (k == LEFTOVERS_MAX)
		return;
	if (k == i->left_count) {
		i->left_count++;
		i->left[k].first = *l;
	}
	i->left[k].count++;
	i->left[k].fault |= !l->held && (l->same || l->above);
}

static void tell_leftovers(struct inspect *i)
{
	for (unsigned k = 0; k < i->left_count; k++) {
		const struct wm_leftover *l = &i->left[k].first;
		struct wm_finding f = {.name = "leftover", .result = WM_FOUND_NOTE};

		f.result = i->left[k].fault ? WM_FOUND_FAULT : WM_FOUND_NOTE;
		if (!l->held && *l->pin_dir)
			snprintf(f.remedy, sizeof(f.remedy), "waymarkctl --pin-dir %.180s detach",
				 l->pin_dir);
		else if (!l->held)
			snprintf(f.remedy, sizeof(f.remedy), "bpftool link detach id %u",
				 l->link_id);
		TELL(i, f, "%u programs of Waymark %s, %s%s: %s at %s (link %u, tag %s)",
		     i->left[k].count, l->held ? "of another running agent" : "that no agent keeps",
		     *l->pin_dir ? "pinned under " : "with no pin that is visible here", l->pin_dir,
		     l->name, l->where, l->link_id, *l->tag ? l->tag : "-");
	}
}

static void see_neighbour(void *arg, const struct wm_neighbour *n)
{
	struct inspect *i = arg;
	struct wm_finding f = {.name = "neighbour", .result = WM_FOUND_NOTE};

	if (i->neighbours++ >= NEIGHBOURS_MAX)
		return;
	snprintf(f.remedy, sizeof(f.remedy), "bpftool prog show id %u", n->prog_id);
	TELL(i, f, "program '%s' of other software runs on %s of %s too (id %u, tag %s), %s",
	     n->name, n->hook, n->where, n->prog_id, *n->tag ? n->tag : "-",
	     wm_neighbour_meaning(n));
}

static void tell_others(struct inspect *i)
{
	const char *names[WM_DEVICES_MAX + 1] = {NULL};
	static const char *const none[] = {NULL};
	struct wm_plane_config c = {.pin_dir = i->pin_dir,
				    .cgroup = *i->ret->cgroup ? i->ret->cgroup : NULL,
				    .lo_devices = none,
				    .veth_devices = names,
				    .attach_connect = true,
				    .attach_dns = true};
	struct wm_finding f = {.name = "neighbour", .result = WM_FOUND_NOTE};
	int r;

	for (unsigned k = 0; k < i->devices_count; k++)
		names[k] = i->devices[k];
	(void)wm_plane_leftovers(&c, see_leftover, i);
	tell_leftovers(i);
	r = wm_plane_neighbours(&c, see_neighbour, i);
	if (r < 0) {
		f.error = r;
		TELL(i, f, "programs of other software on our hooks cannot be looked for");
	} else if (i->neighbours > NEIGHBOURS_MAX) {
		TELL(i, f, "and %u more", i->neighbours - NEIGHBOURS_MAX);
	}
}

/* Where a packet to a virtual address goes that nobody steers. */
static void tell_route(struct inspect *i)
{
	struct wm_finding f = {.name = "vip_route"};
	char where[80];
	int r;

	if (!i->ret->has_vip4)
		return;
	r = wm_route_lookup(i->ret->vip4_be, where, sizeof(where));
	if (r < 0) {
		TELL(i, f, "who is not steered cannot send to virtual addresses");
		return;
	}
	f.result = r ? WM_FOUND_NOTE : WM_FOUND_FAULT;
	snprintf(f.remedy, sizeof(f.remedy),
		 "vip.route = true, or an unreachable route of your own");
	TELL(i, f, "who is not steered sends to virtual addresses %s", where);
}

void wm_plane_inspect(const char *pin_dir, wm_finding_fn fn, void *arg, struct wm_inspection *ret)
{
	struct inspect *i = calloc(1, sizeof(*i));
	struct wm_finding f = {.name = "pins"};

	memset(ret, 0, sizeof(*ret));
	if (!i)
		return;
	wm_bpf_capture();
	*i = (struct inspect){.pin_dir = pin_dir, .fn = fn, .arg = arg, .ret = ret};
	if (access(pin_dir, R_OK | X_OK)) {
		f.error = -errno;
		f.result = errno == EACCES ? WM_FOUND_FAULT : WM_FOUND_NOTE;
		snprintf(f.remedy, sizeof(f.remedy), "%s",
			 errno == EACCES ? "run it as root: sudo waymarkctl doctor"
					 : "start the agent, or name its directory by --pin-dir");
		TELL(i, f,
		     f.error == -EACCES ? "no permission to look into %s"
					: "nothing is pinned under %s",
		     pin_dir);
	} else {
		ret->pinned = true;
		ret->held = wm_pins_held(pin_dir);
		TELL(i, f, "%s is %s", pin_dir,
		     ret->held ? "held by a running agent"
			       : "kept by no agent: it serves on by itself");
		read_config(i);
		find_name(i);
		tell_maps(i);
		(void)wm_pins_each(pin_dir, "links", see_link, i);
		(void)wm_pins_each(pin_dir, "clsact", see_filter, i);
		tell_steering(i);
		tell_dns_hooks(i);
		tell_age(i);
		tell_route(i);
	}
	if (f.error != -EACCES)
		tell_others(i);
	free(i);
}
