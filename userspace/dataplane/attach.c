/* SPDX-License-Identifier: Apache-2.0 */
/* attach.c - every hook of the configuration, and no other: attach, move or remove, then let new
 * maps take the place of the old ones. */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const enum bpf_attach_type cgroup_types[] = {
	[WM_PROG_GETPEERNAME4] = BPF_CGROUP_INET4_GETPEERNAME,
	[WM_PROG_GETPEERNAME6] = BPF_CGROUP_INET6_GETPEERNAME,
	[WM_PROG_RECVMSG4] = BPF_CGROUP_UDP4_RECVMSG,
	[WM_PROG_RECVMSG6] = BPF_CGROUP_UDP6_RECVMSG,
	[WM_PROG_SENDMSG4] = BPF_CGROUP_UDP4_SENDMSG,
	[WM_PROG_SENDMSG6] = BPF_CGROUP_UDP6_SENDMSG,
	[WM_PROG_CONNECT4] = BPF_CGROUP_INET4_CONNECT,
	[WM_PROG_CONNECT6] = BPF_CGROUP_INET6_CONNECT,
};

__attribute__((format(printf, 3, 4))) static void fail(struct wm_plane_hook *h, int error,
						       const char *fmt, ...)
{
	va_list ap;

	h->error = error;
	h->how = "-";
	va_start(ap, fmt);
	vsnprintf(h->text, sizeof(h->text), fmt, ap);
	va_end(ap);
}

/* A hook that is not attached must not leave an earlier run's program behind: it would go on with
 * tables that nobody keeps. */
static void drop(const struct wm_plane *p, const char *pin_name)
{
	char path[WM_PIN_PATH_MAX];

	if (!wm_pins_path(path, p->c.pin_dir, "links", pin_name) && !access(path, F_OK))
		wm_link_detach(path);
	if (!wm_pins_path(path, p->c.pin_dir, "clsact", pin_name) && !access(path, F_OK))
		wm_clsact_detach(path, pin_name);
}

static void drop_one(const struct wm_plane *p, const char *dir, const char *pin_name)
{
	char path[WM_PIN_PATH_MAX];

	if (wm_pins_path(path, p->c.pin_dir, dir, pin_name) || access(path, F_OK))
		return;
	if (!strcmp(dir, "links"))
		wm_link_detach(path);
	else
		wm_clsact_detach(path, pin_name);
}

static void filled(const struct wm_prog *prog, struct wm_plane_hook *h, const char *how)
{
	h->how = how;
	h->prog_id = prog->id;
	h->verified_insns = prog->verified_insns;
}

static void attach_cgroup(struct wm_plane *p, unsigned i, int cgroup_fd, uint64_t cgroup_id,
			  struct wm_plane_hook *h)
{
	const struct wm_prog *prog = &p->progs[i];
	struct wm_attach a = {
		.pin_dir = p->c.pin_dir,
		.pin_name = wm_prog_name(i),
		.prog_fd = prog->fd,
		.prog_name = wm_prog_name(i),
		.cgroup_fd = cgroup_fd,
		.cgroup_id = cgroup_id,
		.type = cgroup_types[i],
	};
	int r;

	if (prog->fd < 0) {
		fail(h, prog->error, "%s", prog->text);
	} else if (cgroup_fd == -EINVAL) {
		fail(h, cgroup_fd, "not a directory of a cgroup2");
	} else if (cgroup_fd < 0) {
		fail(h, cgroup_fd, "cgroup cannot be opened: %s", strerror(-cgroup_fd));
	} else {
		r = wm_link_attach(&a, &h->link_id);
		if (!r) {
			filled(prog, h, "link");
			return;
		}
		fail(h, r,
		     r == -EPERM ? "%s: an ancestor cgroup holds a program that allows no other, "
				   "or CAP_NET_ADMIN is missing"
				 : "attaching to the cgroup: %s",
		     strerror(-r));
	}
	drop(p, a.pin_name);
}

/* Where a device can take the program. */
static int check_device(unsigned i, const char *name, struct wm_device *d, struct wm_plane_hook *h)
{
	int r = wm_device_get(name, d);

	if (r)
		fail(h, r,
		     r == -ENODEV ? "no such device in this network namespace (%s)"
				  : "looking up the device: %s",
		     strerror(-r));
	else if (i == WM_PROG_DNS_LO && !d->loopback)
		fail(h, r = -EINVAL, "answering in place works on loopback devices only");
	else if (i == WM_PROG_DNS_VETH && d->loopback)
		fail(h, r = -EINVAL, "answering by redirect does not work on a loopback device");
	return r;
}

static void attach_device(struct wm_plane *p, unsigned i, const char *name, struct wm_plane_hook *h)
{
	const struct wm_prog *prog = &p->progs[i];
	char pin[WM_HOOK_NAME_MAX];
	struct wm_device d = {0};
	struct wm_attach a = {
		.pin_dir = p->c.pin_dir,
		.pin_name = pin,
		.prog_fd = prog->fd,
		.prog_name = wm_prog_name(i),
		.cgroup_fd = -1,
	};
	int r;

	wm_hook_pin_name(pin, wm_prog_name(i), name);
	if (prog->fd < 0) {
		fail(h, prog->error, "%s", prog->text);
	} else if (!check_device(i, name, &d, h)) {
		a.ifindex = d.ifindex;
		wm_bpf_log_reset();
		r = p->no_tcx ? wm_clsact_attach(&a) : wm_link_attach(&a, &h->link_id);
		if (!r) {
			filled(prog, h, p->no_tcx ? "clsact" : "tcx");
			drop_one(p, p->no_tcx ? "links" : "clsact", pin); /* never both ways */
			return;
		}
		fail(h, r,
		     r == -EEXIST ? "clsact filter 0x776d is not ours%s%s"
				  : "attaching to the device: %s %.90s",
		     r == -EEXIST ? "" : strerror(-r), wm_bpf_log_last());
	}
	drop(p, pin);
}

static unsigned count(char *const *list)
{
	unsigned n = 0;

	while (list && list[n])
		n++;
	return n;
}

static int attach_connect(struct wm_plane *p)
{
	_cleanup_close_ int fd = -1;
	char root[WM_PIN_PATH_MAX];
	uint64_t id = 0;
	int r = 0;

	if (!p->c.cgroup) { /* found again each time: it may have been mounted since */
		r = wm_cgroup_root(root, sizeof(root));
		if (!r) {
			p->c.cgroup = strdup(root);
			r = p->c.cgroup ? 0 : -ENOMEM;
		}
	}
	fd = r ? r : wm_cgroup_open(p->c.cgroup, &id);
	for (unsigned i = 0; i <= WM_PROG_CONNECT6; i++) {
		struct wm_plane_hook *h = &p->hooks[p->hooks_count++];

		h->name = wm_prog_name(i);
		h->where = p->c.cgroup ? p->c.cgroup : "no cgroup2 is mounted";
		attach_cgroup(p, i, fd, id, h);
	}
	return 0;
}

static void attach_devices(struct wm_plane *p, unsigned prog, char *const *devices)
{
	for (unsigned i = 0; i < count(devices); i++) {
		struct wm_plane_hook *h = &p->hooks[p->hooks_count++];

		h->name = wm_prog_name(prog);
		h->where = devices[i];
		attach_device(p, prog, devices[i], h);
	}
}

static bool is_wanted(const struct wm_plane *p, const char *pin_name)
{
	char name[WM_HOOK_NAME_MAX];

	for (unsigned i = 0; i < p->hooks_count; i++) {
		const struct wm_plane_hook *h = &p->hooks[i];

		wm_hook_pin_name(name, h->name, strchr(h->where, '/') ? NULL : h->where);
		if (!strcmp(name, pin_name))
			return true;
	}
	return false;
}

static int drop_unwanted(void *arg, const char *path, const char *name)
{
	return is_wanted(arg, name) ? 0 : wm_link_detach(path);
}

static int drop_unwanted_filter(void *arg, const char *path, const char *name)
{
	return is_wanted(arg, name) ? 0 : wm_clsact_detach(path, name);
}

/* Only the way of attaching that is in use has a directory. */
static void drop_if_empty(const struct wm_plane *p, const char *dir)
{
	char path[WM_PIN_PATH_MAX];

	if (!wm_pins_path(path, p->c.pin_dir, dir, NULL))
		rmdir(path);
}

int wm_plane_attach(struct wm_plane *p, struct wm_err *e)
{
	const struct wm_plane_hook *first = NULL;
	int attached = 0, r;

	free(p->hooks);
	p->hooks_count = 0;
	p->hooks = calloc(WM_PROG_COUNT + count(p->lo_devices) + count(p->veth_devices),
			  sizeof(*p->hooks));
	if (!p->hooks)
		return wm_err_set(e, -ENOMEM, "out of memory");
	(void)wm_routes_apply(p); /* what is missing, wm_plane_routes() tells */
	if (p->c.attach_connect)
		attach_connect(p);
	if (p->c.attach_dns) {
		attach_devices(p, WM_PROG_DNS_LO, p->lo_devices);
		attach_devices(p, WM_PROG_DNS_VETH, p->veth_devices);
	}
	r = wm_pins_each(p->c.pin_dir, "links", drop_unwanted, p);
	if (r >= 0)
		r = wm_pins_each(p->c.pin_dir, "clsact", drop_unwanted_filter, p);
	drop_if_empty(p, "links");
	drop_if_empty(p, "clsact");
	if (r >= 0 && p->staged) {
		r = wm_pins_publish_new(p->c.pin_dir);
		p->staged = r != 0;
	}
	if (r < 0)
		return wm_err_set(e, r, "pins in %s: %s", p->c.pin_dir, strerror(-r));
	for (unsigned i = 0; i < p->hooks_count; i++) {
		if (!p->hooks[i].error)
			attached++;
		else if (!first)
			first = &p->hooks[i];
	}
	if (!attached && first)
		return wm_err_set(e, first->error, "%s at %s: %s", first->name, first->where,
				  first->text);
	return attached;
}

unsigned wm_plane_hooks(const struct wm_plane *p, const struct wm_plane_hook **ret)
{
	*ret = p->hooks;
	return p->hooks_count;
}
