/* SPDX-License-Identifier: Apache-2.0 */
/* links.c - attach one hook: a cgroup or tcx link that is pinned, a tracepoint's, or a clsact
 * filter. A link that is in place is moved to the new program by one update, so no packet and no
 * connect() meets a hook without a program. A link that cannot be moved (its cgroup or device is
 * gone, another was configured) is replaced: the new one is attached and pinned aside, then renamed
 * over.
 */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINK_TYPE_TCX	11     /* BPF_LINK_TYPE_TCX: kernel 6.6 */
#define TCX_INGRESS	46     /* BPF_TCX_INGRESS */
#define GOING_MS	2      /* ms between tries while a link of ours is going */
#define GOING_TRIES	8      /* of these: the loop waits for it */
#define CLSACT_HANDLE	0x776d /* "wm": of our filter on a device */
#define CLSACT_PRIORITY 0x776d /* behind the low numbers that people type */

/* struct bpf_link_info of kernel 6.6, as far as we read it. */
struct link_info {
	uint32_t type, id, prog_id, pad;
	union {
		struct {
			uint64_t cgroup_id;
			uint32_t attach_type;
		} cgroup;
		struct {
			uint32_t ifindex, attach_type;
		} tcx;
		uint64_t room[16];
	};
};

void wm_hook_pin_name(char *buf, const char *prog, const char *device)
{
	snprintf(buf, WM_HOOK_NAME_MAX, "%s%s%s", prog, device ? "@" : "", device ? device : "");
	for (char *c = buf; *c; c++)
		if (*c == '.')
			*c = '%';
}

static int link_info(int fd, struct link_info *ret)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(fd, &info, &len);

	memset(ret, 0, sizeof(*ret));
	if (!r)
		memcpy(ret, &info, len < sizeof(*ret) ? len : sizeof(*ret));
	return r;
}

/* Whether the link is alive and where it is wanted. The kernel gives EINVAL or zeros for a link
 * whose cgroup or device went away. */
static bool is_for(int fd, const struct wm_attach *a, uint32_t *ret_id, uint32_t *ret_prog_id)
{
	struct link_info i;

	if (link_info(fd, &i))
		return false;
	*ret_id = i.id;
	*ret_prog_id = i.prog_id;
	if (a->cgroup_fd >= 0)
		return i.type == BPF_LINK_TYPE_CGROUP && i.cgroup.cgroup_id == a->cgroup_id &&
		       i.cgroup.attach_type == (uint32_t)a->type;
	return i.type == LINK_TYPE_TCX && i.tcx.ifindex == a->ifindex &&
	       i.tcx.attach_type == TCX_INGRESS && wm_tcx_link_is_on(i.id, a->ifindex);
}

int wm_link_place(int fd, struct wm_link_place *ret)
{
	struct link_info i;

	if (link_info(fd, &i))
		return -ENOENT;
	*ret = (struct wm_link_place){.id = i.id, .prog_id = i.prog_id};
	if (i.type == BPF_LINK_TYPE_CGROUP)
		ret->cgroup_id = i.cgroup.cgroup_id;
	else if (i.type == LINK_TYPE_TCX)
		ret->ifindex = i.tcx.ifindex;
	ret->traced = i.type == BPF_LINK_TYPE_RAW_TRACEPOINT;
	return ret->cgroup_id || ret->ifindex || ret->traced ? 0 : -ENOENT;
}

/* What translates back is done before others' programs, as what translates is done behind theirs:
 * the one that was last on the way out is first on the way in. */
static bool translates_back(enum bpf_attach_type t)
{
	return t == BPF_CGROUP_UDP4_RECVMSG || t == BPF_CGROUP_UDP6_RECVMSG ||
	       t == BPF_CGROUP_INET4_GETPEERNAME || t == BPF_CGROUP_INET6_GETPEERNAME;
}

static int make_link_once(const struct wm_attach *a)
{
	if (a->cgroup_fd < 0)
		return wm_tcx_link_create(a->prog_fd, a->ifindex);
	if (translates_back(a->type))
		return wm_cgroup_link_in_front(a->prog_fd, a->cgroup_fd, a->type);
	return bpf_link_create(a->prog_fd, a->cgroup_fd, a->type, NULL);
}

/* A link whose last reference has gone is taken off its hook a little later, and until then the
 * kernel refuses the same program there: EEXIST from tcx, EINVAL from a cgroup. */
static int make_link(const struct wm_attach *a)
{
	const struct timespec pause = {.tv_nsec = GOING_MS * 1000000L};
	int fd = make_link_once(a);

	for (int i = 0; a->had_link_id && (fd == -EEXIST || fd == -EINVAL) && i < GOING_TRIES;
	     i++) {
		nanosleep(&pause, NULL);
		fd = make_link_once(a);
	}
	return fd;
}

/* Pin @p fd as @p path, in place of an older pin. */
static int pin_over(int fd, const char *path)
{
	char aside[WM_PIN_PATH_MAX + 1];
	int r;

	snprintf(aside, sizeof(aside), "%s~", path);
	unlink(aside);
	r = bpf_obj_pin(fd, aside);
	if (r)
		return r;
	if (rename(aside, path) < 0) {
		r = -errno;
		unlink(aside);
	}
	return r;
}

static int make_pin_dir(const char *pin_dir, const char *dir)
{
	char path[WM_PIN_PATH_MAX];
	int r = wm_pins_path(path, pin_dir, dir, NULL);

	if (!r && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	return r;
}

static int replace_link(const struct wm_attach *a, const char *path, int old_fd,
			uint32_t *ret_link_id)
{
	_cleanup_close_ int fd = make_link(a);
	struct link_info i;
	int r = fd;

	if (fd >= 0)
		r = link_info(fd, &i);
	if (!r)
		r = pin_over(fd, path);
	if (fd >= 0 && r)
		bpf_link_detach(fd);
	if (old_fd >= 0)
		bpf_link_detach(old_fd); /* its maps are no longer kept: it must not go on */
	if (r < 0) {
		unlink(path);
		return r;
	}
	*ret_link_id = i.id;
	return 0;
}

int wm_link_attach(const struct wm_attach *a, uint32_t *ret_link_id)
{
	_cleanup_close_ int old = -1;
	char path[WM_PIN_PATH_MAX];
	uint32_t prog_id = 0;
	int r = make_pin_dir(a->pin_dir, "links");

	if (!r)
		r = wm_pins_path(path, a->pin_dir, "links", a->pin_name);
	if (r)
		return r;
	if (a->beside) {
		*a->beside = bpf_obj_get(path);
		if (*a->beside >= 0)
			return replace_link(a, path, -1, ret_link_id);
	}
	old = bpf_obj_get(path);
	if (old < 0 && a->had_link_id) {
		/* Its pin was removed and it lives on for a grace period, in which the same program
		 * is refused on the same hook. */
		old = bpf_link_get_fd_by_id(a->had_link_id);
		if (old >= 0 && is_for(old, a, ret_link_id, &prog_id) && !pin_over(old, path))
			return 0;
	}
	if (old >= 0 && is_for(old, a, ret_link_id, &prog_id) &&
	    (prog_id == a->prog_id || !bpf_link_update(old, a->prog_fd, NULL)))
		return 0;
	return replace_link(a, path, old, ret_link_id);
}

bool wm_link_holds(const struct wm_attach *a, uint32_t link_id)
{
	_cleanup_close_ int fd = -1;
	char path[WM_PIN_PATH_MAX];
	uint32_t id = 0, prog_id = 0;

	if (wm_pins_path(path, a->pin_dir, "links", a->pin_name))
		return false;
	fd = bpf_obj_get(path);
	return fd >= 0 && is_for(fd, a, &id, &prog_id) && id == link_id && prog_id == a->prog_id;
}

int wm_link_detach(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);

	/* Explicitly: another process may hold the link. Without a descriptor the unlink must do.
	 */
	if (fd >= 0)
		bpf_link_detach(fd);
	return unlink(path) < 0 && errno != ENOENT ? -errno : 1;
}

/* --- tracepoints ------------------------------------------------------------------------------ */
static bool is_traced(int fd, uint32_t prog_id, uint32_t *ret_id)
{
	struct link_info i;

	if (link_info(fd, &i) || i.type != BPF_LINK_TYPE_RAW_TRACEPOINT || i.prog_id != prog_id)
		return false;
	*ret_id = i.id;
	return true;
}

static bool trace_holds(const struct wm_attach *a, const char *path, uint32_t *ret_id)
{
	_cleanup_close_ int fd = bpf_obj_get(path);

	return fd >= 0 && is_traced(fd, a->prog_id, ret_id);
}

int wm_trace_attach(const struct wm_attach *a, uint32_t *ret_link_id)
{
	_cleanup_close_ int fd = -1;
	char path[WM_PIN_PATH_MAX];
	int r = make_pin_dir(a->pin_dir, WM_TRACE_DIR);

	if (!r)
		r = wm_pins_path(path, a->pin_dir, WM_TRACE_DIR, a->pin_name);
	if (r || trace_holds(a, path, ret_link_id))
		return r;
	fd = bpf_raw_tracepoint_open(NULL, a->prog_fd);
	if (fd < 0)
		return fd;
	r = pin_over(fd, path);
	if (!r && !is_traced(fd, a->prog_id, ret_link_id))
		r = -ENOENT;
	return r;
}

bool wm_trace_holds(const struct wm_attach *a, uint32_t link_id)
{
	char path[WM_PIN_PATH_MAX];
	uint32_t id = 0;

	return !wm_pins_path(path, a->pin_dir, WM_TRACE_DIR, a->pin_name) &&
	       trace_holds(a, path, &id) && id == link_id;
}

/* --- clsact: kernels before 6.6 ------------------------------------------------------------- */

static bool prog_has_name(uint32_t id, const char *name)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && !strcmp(info.name, name);
}

static uint32_t pinned_prog_id(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) ? info.id : 0;
}

/* Id of the program of the filter with our handle and priority if it is ours; 0: none;
 * -EEXIST: somebody else's, which is left alone. */
static int64_t our_filter(uint32_t ifindex, const char *path, const char *prog_name)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);

	if (bpf_tc_query(&hook, &opts))
		return 0;
	if (opts.prog_id == pinned_prog_id(path) || prog_has_name(opts.prog_id, prog_name))
		return opts.prog_id;
	return -EEXIST;
}

static int remove_filter(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);

	return bpf_tc_detach(&hook, &opts);
}

int wm_clsact_attach(const struct wm_attach *a)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)a->ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY,
		    .prog_fd = a->prog_fd, .flags = BPF_TC_F_REPLACE);
	char path[WM_PIN_PATH_MAX];
	int64_t owner;
	int r = make_pin_dir(a->pin_dir, "clsact");

	if (!r)
		r = wm_pins_path(path, a->pin_dir, "clsact", a->pin_name);
	if (r)
		return r;
	owner = our_filter(a->ifindex, path, a->prog_name);
	if (owner < 0)
		return (int)owner;
	r = bpf_tc_hook_create(&hook);
	if (r && r != -EEXIST)
		return r;
	/* The pin first: a filter without a pin would be nobody's. */
	r = pin_over(a->prog_fd, path);
	if (!r)
		r = bpf_tc_attach(&hook, &opts);
	if (r) {
		if (owner > 0)
			remove_filter(a->ifindex);
		unlink(path);
	}
	return r;
}

bool wm_clsact_holds(const struct wm_attach *a)
{
	char path[WM_PIN_PATH_MAX];

	return !wm_pins_path(path, a->pin_dir, "clsact", a->pin_name) &&
	       pinned_prog_id(path) == a->prog_id &&
	       our_filter(a->ifindex, path, a->prog_name) == (int64_t)a->prog_id;
}

/* Program and device of a pin's name. @return false: it names no device that is there. */
static bool split_name(const char *pin_name, char prog[WM_HOOK_NAME_MAX], struct wm_device *ret)
{
	char *device;

	snprintf(prog, WM_HOOK_NAME_MAX, "%s", pin_name);
	device = strchr(prog, '@');
	if (!device)
		return false;
	*device++ = 0;
	for (char *c = device; *c; c++)
		if (*c == '%')
			*c = '.';
	return !wm_device_get(device, ret);
}

bool wm_clsact_is_on(const char *path, const char *pin_name)
{
	char prog[WM_HOOK_NAME_MAX];
	struct wm_device d;
	uint32_t id = pinned_prog_id(path);

	return id && split_name(pin_name, prog, &d) && our_filter(d.ifindex, path, prog) == id;
}

int wm_clsact_detach(const char *path, const char *pin_name)
{
	char prog[WM_HOOK_NAME_MAX];
	struct wm_device d;

	if (split_name(pin_name, prog, &d) && our_filter(d.ifindex, path, prog) > 0)
		remove_filter(d.ifindex);
	return unlink(path) < 0 && errno != ENOENT ? -errno : 1;
}
