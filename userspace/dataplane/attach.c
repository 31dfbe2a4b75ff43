/* SPDX-License-Identifier: Apache-2.0 */
/* attach.c - every hook of the configuration, and no other: attach, move or remove, then let new
 * maps take the place of the old ones. */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const enum bpf_attach_type cgroup_types[] = {
	[WM_PROG_SOCK_RELEASE] = BPF_CGROUP_INET_SOCK_RELEASE,
	[WM_PROG_GETPEERNAME4] = BPF_CGROUP_INET4_GETPEERNAME,
	[WM_PROG_GETPEERNAME6] = BPF_CGROUP_INET6_GETPEERNAME,
	[WM_PROG_RECVMSG4] = BPF_CGROUP_UDP4_RECVMSG,
	[WM_PROG_RECVMSG6] = BPF_CGROUP_UDP6_RECVMSG,
	[WM_PROG_TCP_OUTCOME] = BPF_CGROUP_SOCK_OPS,
	[WM_PROG_SENDMSG4] = BPF_CGROUP_UDP4_SENDMSG,
	[WM_PROG_SENDMSG6] = BPF_CGROUP_UDP6_SENDMSG,
	[WM_PROG_CONNECT4] = BPF_CGROUP_INET4_CONNECT,
	[WM_PROG_CONNECT6] = BPF_CGROUP_INET6_CONNECT,
};

enum bpf_attach_type wm_cgroup_type(unsigned prog)
{
	return cgroup_types[prog];
}

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

static struct wm_attach cgroup_attach(const struct wm_plane *p, unsigned i, int fd, uint64_t id)
{
	return (struct wm_attach){
		.pin_dir = p->c.pin_dir,
		.pin_name = wm_prog_name(i),
		.prog_fd = p->progs[i].fd,
		.prog_id = p->progs[i].id,
		.prog_name = wm_prog_name(i),
		.cgroup_fd = fd,
		.cgroup_id = id,
		.type = cgroup_types[i],
	};
}

static void attach_cgroup(struct wm_plane *p, unsigned i, int cgroup_fd, uint64_t cgroup_id,
			  struct wm_plane_hook *h)
{
	const struct wm_prog *prog = &p->progs[i];
	struct wm_attach a = cgroup_attach(p, i, cgroup_fd, cgroup_id);
	int r;

	if (prog->fd < 0) {
		fail(h, prog->error, "%s", prog->text);
	} else if (cgroup_fd == -EINVAL) {
		fail(h, cgroup_fd, "not a directory of a cgroup2");
	} else if (cgroup_fd < 0) {
		fail(h, cgroup_fd, "cgroup cannot be opened: %s", strerror(-cgroup_fd));
	} else {
		a.had_link_id = h->was_link_id;
		p->beside[p->beside_count] = -1;
		if (p->staged && i < WM_BESIDE_MAX)
			a.beside = &p->beside[p->beside_count];
		r = wm_link_attach(&a, &h->link_id);
		p->beside_count += a.beside && *a.beside >= 0;
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

const struct wm_device *wm_device_of(const struct wm_plane *p, const char *name)
{
	for (unsigned i = 0; i < p->devices_count; i++)
		if (!strcmp(p->devices[i].name, name))
			return &p->devices[i];
	return NULL;
}

/* A glob takes devices of the kind only: nobody wants "*" to mean the uplink. Hardware has none. */
static bool takes(unsigned prog, const char *glob, const struct wm_device *d)
{
	if (fnmatch(glob, d->name, 0))
		return false;
	if (prog == WM_PROG_DNS_LINK)
		return d->ethernet && !*d->kind;
	return prog == WM_PROG_DNS_LO ? d->loopback : !strcmp(d->kind, "veth");
}

/* Whether kernel.veth_devices takes it. */
static bool is_pod(const struct wm_plane *p, const struct wm_device *d)
{
	char *const *list = p->veth_devices;

	for (; list && *list; list++)
		if (wm_device_is_glob(*list) ? takes(WM_PROG_DNS_VETH, *list, d)
					     : !strcmp(*list, d->name))
			return true;
	return false;
}

/* Where a device can take the program. @return NULL: it cannot, the hook says why. */
static const struct wm_device *check_device(const struct wm_plane *p, unsigned i, const char *name,
					    struct wm_plane_hook *h)
{
	const struct wm_device *d = wm_device_of(p, name);

	if (!d) {
		fail(h, -ENODEV, "no such device in this network namespace (%s)", strerror(ENODEV));
		h->waiting = i != WM_PROG_DNS_LO;
	} else if (i == WM_PROG_DNS_LO && !d->loopback) {
		fail(h, -EINVAL, "answering in place works on loopback devices only");
	} else if (i == WM_PROG_DNS_LINK && !d->ethernet) {
		fail(h, -EINVAL, "answering on a link works on Ethernet devices only");
	} else if (i == WM_PROG_DNS_LINK && is_pod(p, d)) {
		fail(h, -EINVAL, "it is a pod's: kernel.veth_devices has it");
	} else if (i == WM_PROG_DNS_VETH && d->loopback) {
		fail(h, -EINVAL, "answering by redirect does not work on a loopback device");
	}
	return h->error ? NULL : d;
}

/* @param pin memory of its name, WM_HOOK_NAME_MAX. */
static struct wm_attach device_attach(const struct wm_plane *p, unsigned i, const char *name,
				      char *pin, uint32_t ifindex)
{
	wm_hook_pin_name(pin, wm_prog_name(i), name);
	return (struct wm_attach){
		.pin_dir = p->c.pin_dir,
		.pin_name = pin,
		.prog_fd = p->progs[i].fd,
		.prog_id = p->progs[i].id,
		.prog_name = wm_prog_name(i),
		.cgroup_fd = -1,
		.ifindex = ifindex,
	};
}

static void attach_device(struct wm_plane *p, unsigned i, const char *name, struct wm_plane_hook *h)
{
	const struct wm_prog *prog = &p->progs[i];
	const struct wm_device *d;
	char pin[WM_HOOK_NAME_MAX];
	struct wm_attach a = device_attach(p, i, name, pin, 0);
	int r;

	if (prog->fd < 0) {
		fail(h, prog->error, "%s", prog->text);
	} else if ((d = check_device(p, i, name, h))) {
		a.ifindex = d->ifindex;
		a.had_link_id = h->was_link_id;
		wm_bpf_log_reset();
		if (i == WM_PROG_DNS_VETH)
			wm_pod_asks_begin(p, d->ifindex, d->peer_elsewhere);
		r = p->no_tcx ? wm_clsact_attach(&a) : wm_link_attach(&a, &h->link_id);
		if (!r) {
			filled(prog, h, p->no_tcx ? "clsact" : "tcx");
			drop_one(p, p->no_tcx ? "links" : "clsact", pin); /* never both ways */
			return;
		}
		if (r == -EEXIST && p->no_tcx)
			fail(h, r, "clsact filter 0x776d is not ours");
		else
			fail(h, r, "attaching to the device: %s %.90s", strerror(-r),
			     wm_bpf_log_last());
		h->waiting = r == -ENODEV && i != WM_PROG_DNS_LO; /* it has just gone */
	}
	drop(p, pin);
}

/* What the attach before knew of this hook. */
static void remember(const struct wm_plane *p, struct wm_plane_hook *h)
{
	for (unsigned i = 0; i < p->before_count; i++) {
		const struct wm_plane_hook *b = &p->before[i];

		if (h->name != b->name || strcmp(h->where, b->where) != 0)
			continue;
		h->known = true;
		h->was_lost = b->was_lost;
		h->was_error = b->error;
		h->was_link_id = b->link_id;
		return;
	}
}

static unsigned count(char *const *list)
{
	unsigned n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* --- tracepoints: of sockets of the whole machine --- */
static bool is_traced(unsigned prog)
{
	return prog == WM_PROG_SOCK_STATE || prog == WM_PROG_SYN_AGAIN;
}

static struct wm_attach trace_attach(const struct wm_plane *p, unsigned prog)
{
	return (struct wm_attach){.pin_dir = p->c.pin_dir,
				  .pin_name = wm_prog_name(prog),
				  .prog_fd = p->progs[prog].fd,
				  .prog_id = p->progs[prog].id};
}

int wm_plane_trace(const struct wm_plane *p, unsigned prog, uint32_t *ret_link_id)
{
	struct wm_attach a = trace_attach(p, prog);
	uint32_t id = 0;
	int r = wm_trace_attach(&a, &id);

	if (!r && ret_link_id)
		*ret_link_id = id;
	return r;
}

static bool attach_trace(struct wm_plane *p, unsigned i)
{
	const struct wm_prog *prog = &p->progs[i];
	struct wm_plane_hook *h;
	int r;

	if (!prog->wanted || p->no_trace)
		return false;
	h = &p->hooks[p->hooks_count++];
	h->spare = true;
	h->name = wm_prog_name(i);
	h->where = "kernel";
	remember(p, h);
	r = prog->fd < 0 ? 0 : wm_plane_trace(p, i, &h->link_id);
	if (prog->fd < 0)
		fail(h, prog->error, "%s", prog->text);
	else if (r)
		fail(h, r, "attaching to the tracepoint: %s", strerror(-r));
	else
		filled(prog, h, "tracepoint");
	return !h->error;
}

/* Where both are there, nothing else need see how connects end. */
static void attach_traces(struct wm_plane *p)
{
	struct wm_config *k = p->mem[WM_MAP_CONFIG];
	bool states = attach_trace(p, WM_PROG_SOCK_STATE),
	     again = attach_trace(p, WM_PROG_SYN_AGAIN);

	p->traced = states && again && wm_plane_judges(p);
	if (!p->traced)
		__atomic_and_fetch(&k->flags, ~WM_CONFIG_F_TRACED, __ATOMIC_RELEASE);
}

/* When no other program does so any more. */
static void use_traces(const struct wm_plane *p)
{
	struct wm_config *k = p->mem[WM_MAP_CONFIG];

	if (p->traced)
		__atomic_or_fetch(&k->flags, WM_CONFIG_F_TRACED, __ATOMIC_RELEASE);
}

static int drop_unwanted_trace(void *arg, const char *path, const char *name)
{
	const struct wm_plane *p = arg;

	for (unsigned i = 0; i < p->hooks_count; i++)
		if (!strcmp(p->hooks[i].name, name) && !p->hooks[i].error)
			return 0;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 1;
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
			p->cgroup_found = true;
			p->c.cgroup = strdup(root);
			r = p->c.cgroup ? 0 : -ENOMEM;
		}
	}
	fd = r ? r : wm_cgroup_open(p->c.cgroup, &id);
	for (unsigned i = 0; i <= WM_PROG_CONNECT6; i++) {
		struct wm_plane_hook *h;

		if (!p->progs[i].wanted || (i == WM_PROG_TCP_OUTCOME && p->traced))
			continue;
		h = &p->hooks[p->hooks_count++];
		h->spare = i == WM_PROG_TCP_OUTCOME;
		h->name = wm_prog_name(i);
		h->where = p->c.cgroup ? p->c.cgroup : "no cgroup2 is mounted";
		remember(p, h);
		attach_cgroup(p, i, fd, id, h);
	}
	return 0;
}

static struct wm_plane_hook *add_hook(struct wm_plane *p, unsigned prog, const char *where)
{
	struct wm_plane_hook *h = &p->hooks[p->hooks_count];

	for (unsigned i = 0; i < p->hooks_count; i++)
		if (p->hooks[i].name == wm_prog_name(prog) && !strcmp(p->hooks[i].where, where))
			return NULL; /* two patterns match it */
	if (p->hooks_count == p->hooks_cap) {
		p->devices_left_out++;
		return NULL;
	}
	p->hooks_count++;
	h->name = wm_prog_name(prog);
	h->where = where;
	remember(p, h);
	return h;
}

static void attach_devices(struct wm_plane *p, unsigned prog, char *const *devices)
{
	struct wm_plane_hook *h;

	for (unsigned i = 0; i < count(devices); i++) {
		if (!wm_device_is_glob(devices[i])) {
			h = add_hook(p, prog, devices[i]);
			if (h)
				attach_device(p, prog, devices[i], h);
			continue;
		}
		for (unsigned k = 0; k < p->devices_count; k++) {
			const char *name = p->devices[k].name;

			h = takes(prog, devices[i], &p->devices[k]) ? add_hook(p, prog, name)
								    : NULL;
			if (h)
				attach_device(p, prog, name, h);
		}
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

/* Where the end of sockets is not seen, each is remembered in storage that ends with it. */
static void use_connections(struct wm_plane *p)
{
	struct wm_config *k = p->mem[WM_MAP_CONFIG];
	bool seen = false;

	for (unsigned i = 0; i < p->hooks_count; i++)
		seen |= p->hooks[i].name == wm_prog_name(WM_PROG_SOCK_RELEASE) &&
			!p->hooks[i].error;
	if (seen)
		__atomic_or_fetch(&k->flags, WM_CONFIG_F_RELEASE, __ATOMIC_RELEASE);
	else
		__atomic_and_fetch(&k->flags, ~WM_CONFIG_F_RELEASE, __ATOMIC_RELEASE);
}

/* Sockets that were steered by the old tables are carried over: those that are there before, then
 * those that came while the links moved, until which the old programs show and release them. */
static void attach_steering(struct wm_plane *p)
{
	struct wm_carry *c = p->staged ? wm_carry_new(p) : NULL;

	p->beside_count = 0;
	wm_carry_over(c);
	attach_connect(p);
	use_connections(p);
	wm_carry_over(c);
	wm_carry_sweep(c);
	while (p->beside_count) {
		int fd = p->beside[--p->beside_count];

		bpf_link_detach(fd);
		close(fd);
	}
	wm_carry_free(c);
}

static int attach_all(struct wm_plane *p, struct wm_err *e)
{
	int r;

	wm_tails_fill(p);	  /* what somebody took out */
	(void)wm_tails_pin(p);	  /* what is missing, wm_plane_check() tells */
	(void)wm_routes_apply(p); /* what is missing, wm_plane_routes() tells */
	attach_traces(p);
	if (p->c.attach_connect)
		attach_steering(p);
	if (p->c.attach_dns) {
		attach_devices(p, WM_PROG_DNS_LO, p->lo_devices);
		attach_devices(p, WM_PROG_DNS_VETH, p->veth_devices);
		attach_devices(p, WM_PROG_DNS_LINK, p->link_devices);
		wm_pod_asks_sweep(p);
	}
	wm_tails_forget(p);
	r = wm_pins_each(p->c.pin_dir, "links", drop_unwanted, p);
	if (r >= 0)
		r = wm_pins_each(p->c.pin_dir, "clsact", drop_unwanted_filter, p);
	if (r >= 0)
		r = wm_pins_each(p->c.pin_dir, WM_TRACE_DIR, drop_unwanted_trace, p);
	use_traces(p);
	if (r >= 0)
		r = wm_tails_sweep(p);
	drop_if_empty(p, "links");
	drop_if_empty(p, "clsact");
	drop_if_empty(p, WM_TRACE_DIR);
	if (r >= 0 && p->staged) {
		r = wm_pins_publish_new(p->c.pin_dir);
		p->staged = r != 0;
	}
	return r < 0 ? wm_err_set(e, r, "pins in %s: %s", p->c.pin_dir, strerror(-r)) : 0;
}

/* The pins are another agent's now: what stands there is not ours to attach or to remove. */
static void fail_all(struct wm_plane *p, const struct wm_err *why)
{
	for (unsigned i = 0; i < p->hooks_count; i++) {
		struct wm_plane_hook *h = &p->hooks[i];

		h->known = true;
		h->was_error = h->error;
		h->was_link_id = h->link_id;
		h->link_id = h->prog_id = 0;
		fail(h, why->code, "%.150s", why->text);
	}
}

int wm_plane_attach(struct wm_plane *p, struct wm_err *e)
{
	const struct wm_plane_hook *first = NULL;
	struct wm_plane_hook *before = p->hooks, *hooks;
	struct wm_device *devices = NULL, *old_devices = p->devices;
	unsigned before_count = p->hooks_count;
	struct wm_err pins = {0};
	int attached = 0, looking = 0, r;

	if (wm_maps_repin(p, &pins)) {
		fail_all(p, &pins);
		return wm_err_set(e, pins.code, "%s", pins.text);
	}
	r = wm_devices_list(&devices);
	if (r < 0)
		return wm_err_set(e, r, "listing the network devices: %s", strerror(-r));
	p->hooks_cap = WM_PROG_COUNT + WM_DEVICES_MAX + count(p->lo_devices);
	hooks = calloc(p->hooks_cap, sizeof(*p->hooks));
	if (!hooks) {
		free(devices);
		return wm_err_set(e, -ENOMEM, "out of memory");
	}
	p->devices = devices;
	p->devices_count = (unsigned)r;
	p->hooks = hooks;
	p->hooks_count = p->devices_left_out = 0;
	p->before = before;
	p->before_count = before_count;
	r = attach_all(p, e);
	p->before = NULL;
	p->before_count = 0;
	for (unsigned i = 0; i < p->hooks_count; i++) {
		if (!p->hooks[i].error) {
			attached++;
			looking += p->hooks[i].spare;
		} else if (!p->hooks[i].spare &&
			   (!first || (first->waiting && !p->hooks[i].waiting))) {
			first = &p->hooks[i];
		}
	}
	free(before);
	free(old_devices);
	if (r)
		return r;
	if (attached == looking && first)
		return wm_err_set(e, first->error, "%s at %s: %s", first->name, first->where,
				  first->text);
	return attached;
}

/* Whether hook @p h is attached as wm_plane_attach() left it. */
static bool holds(const struct wm_plane *p, const struct wm_plane_hook *h, int cgroup_fd,
		  uint64_t cgroup_id)
{
	char pin[WM_HOOK_NAME_MAX];
	struct wm_device d;
	struct wm_attach a;
	unsigned i = 0;

	while (wm_prog_name(i) != h->name)
		i++;
	if (i <= WM_PROG_CONNECT6) {
		a = cgroup_attach(p, i, cgroup_fd, cgroup_id);
		return cgroup_fd >= 0 && wm_link_holds(&a, h->link_id);
	}
	if (is_traced(i)) {
		a = trace_attach(p, i);
		return wm_trace_holds(&a, h->link_id);
	}
	if (wm_device_get(h->where, &d))
		return false;
	a = device_attach(p, i, h->where, pin, d.ifindex);
	return p->no_tcx ? wm_clsact_holds(&a) : wm_link_holds(&a, h->link_id);
}

bool wm_plane_holds(const struct wm_plane *p, const struct wm_plane_hook *h)
{
	_cleanup_close_ int fd = -1;
	uint64_t id = 0;

	if (p->c.attach_connect && p->c.cgroup)
		fd = wm_cgroup_open(p->c.cgroup, &id);
	return holds(p, h, fd, id);
}

unsigned wm_plane_check(struct wm_plane *p)
{
	_cleanup_close_ int fd = -1;
	unsigned lost = wm_maps_unpinned(p) + wm_tails_unpinned(p) + wm_tails_lacking(p);
	uint64_t id = 0;

	if (p->c.attach_connect && p->c.cgroup)
		fd = wm_cgroup_open(p->c.cgroup, &id);
	for (unsigned i = 0; i < p->hooks_count; i++) {
		struct wm_plane_hook *h = &p->hooks[i];

		if (!h->error && !holds(p, h, fd, id)) {
			h->was_lost = true;
			lost++;
		}
	}
	return lost;
}

bool wm_plane_steers(const struct wm_plane *p)
{
	unsigned attached = 0;

	for (unsigned i = 0; p && i < p->hooks_count; i++)
		attached += !p->hooks[i].error && (!strncmp(p->hooks[i].name, "connect", 7) ||
						   !strncmp(p->hooks[i].name, "sendmsg", 7) ||
						   !strncmp(p->hooks[i].name, "recvmsg", 7));
	return attached == 6; /* each for both families */
}

bool wm_plane_sees_outcomes(const struct wm_plane *p)
{
	for (unsigned i = 0; p && i < p->hooks_count; i++)
		if (p->hooks[i].name == wm_prog_name(WM_PROG_TCP_OUTCOME))
			return !p->hooks[i].error;
	return p && p->traced;
}

unsigned wm_plane_hooks(const struct wm_plane *p, const struct wm_plane_hook **ret)
{
	*ret = p->hooks;
	return p->hooks_count;
}
