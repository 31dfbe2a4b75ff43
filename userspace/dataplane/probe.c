/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - what this kernel and this process offer, found by trying; for `waymarkctl doctor`. Each
 * line tells what happens without it. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define CAP_BIT_NET_ADMIN 12
#define CAP_BIT_SYS_ADMIN 21
#define CAP_BIT_PERFMON	  38
#define CAP_BIT_BPF	  39

struct probe {
	const struct wm_plane_config *c;
	void (*fn)(void *arg, const char *name, bool ok, const char *text);
	void *arg;
};

static void say(const struct probe *p, const char *name, bool ok, const char *yes, const char *no)
{
	p->fn(p->arg, name, ok, ok ? yes : no);
}

static void probe_bpffs(const struct probe *p)
{
	char dir[WM_PIN_DIR_MAX], text[WM_PIN_DIR_MAX + 128];
	const char *parent = "/sys/fs/bpf";
	bool ok;

	if (p->c && p->c->pin_dir && strlen(p->c->pin_dir) < sizeof(dir)) {
		snprintf(dir, sizeof(dir), "%s", p->c->pin_dir);
		parent = dirname(dir);
	}
	ok = wm_pins_is_bpffs(parent);
	snprintf(text, sizeof(text),
		 ok ? "%s is a bpffs"
		    : "%s is no bpffs: without it everything is served in userspace; mount -t bpf "
		      "bpf "
		      "/sys/fs/bpf",
		 parent);
	p->fn(p->arg, "bpffs", ok, text);
}

static void probe_cgroup(const struct probe *p)
{
	char root[WM_PIN_PATH_MAX], text[WM_PIN_PATH_MAX + 128];
	_cleanup_close_ int fd = -1;
	uint64_t id;

	if (p->c && p->c->cgroup)
		snprintf(root, sizeof(root), "%s", p->c->cgroup);
	else if (wm_cgroup_root(root, sizeof(root))) {
		p->fn(p->arg, "cgroup2", false,
		      "no cgroup2 is mounted: connect() is not steered; mount -t cgroup2 none "
		      "/sys/fs/cgroup");
		return;
	}
	fd = wm_cgroup_open(root, &id);
	snprintf(text, sizeof(text),
		 fd >= 0 ? "connect() is steered for processes below %s"
			 : "%s is no directory of a cgroup2: connect() is not steered",
		 root);
	p->fn(p->arg, "cgroup2", fd >= 0, text);
}

static uint64_t effective_caps(void)
{
	unsigned long long caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "CapEff:", 7))
			caps = strtoull(line + 7, NULL, 16);
	fclose(f);
	return caps;
}

static void probe_caps(const struct probe *p)
{
	uint64_t caps = effective_caps();
	bool admin = caps >> CAP_BIT_SYS_ADMIN & 1;

	say(p, "cap_bpf", admin || caps >> CAP_BIT_BPF & 1, "may create maps and load programs",
	    "missing: no maps, no programs; everything is served in userspace");
	say(p, "cap_net_admin", caps >> CAP_BIT_NET_ADMIN & 1, "may attach to cgroups and devices",
	    "missing: nothing can be attached; everything is served in userspace");
	say(p, "cap_perfmon", admin || caps >> CAP_BIT_PERFMON & 1,
	    "programs verify without the limits of unprivileged ones",
	    "missing: programs that need it are left out and served in userspace");
}

static bool can_map_arrays(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "wm_probe", sizeof(uint32_t),
						sizeof(uint64_t), 1, &opts);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *m;

	if (fd < 0)
		return false;
	m = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		return false;
	munmap(m, page);
	return true;
}

static bool can_clsact(void)
{
	struct wm_device lo;
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
	int r;

	if (wm_device_get("lo", &lo))
		return false;
	hook.ifindex = (int)lo.ifindex;
	/* A question changes nothing: no such filter (ENOENT) or no qdisc (EINVAL) are both answers
	 * of a kernel that has tc. */
	r = bpf_tc_query(&hook, &opts);
	return !r || r == -ENOENT || r == -EINVAL;
}

static void probe_limits(const struct probe *p)
{
	char text[160], value[16] = "?";
	struct rlimit lim = {0};
	FILE *f = fopen("/proc/sys/kernel/unprivileged_bpf_disabled", "re");

	if (f) {
		if (fgets(value, sizeof(value), f))
			value[strcspn(value, "\n")] = 0;
		fclose(f);
	}
	snprintf(text, sizeof(text), "kernel.unprivileged_bpf_disabled is %s%s", value,
		 value[0] == '0' ? ": any user may load programs; 1 or 2 is safer" : "");
	p->fn(p->arg, "unprivileged_bpf", value[0] != '0', text);
	getrlimit(RLIMIT_MEMLOCK, &lim);
	if (lim.rlim_cur == RLIM_INFINITY)
		snprintf(text, sizeof(text), "locked memory is not limited");
	else
		snprintf(
			text, sizeof(text),
			"locked memory is limited to %llu bytes; it counts before Linux 5.11 only, "
			"where it is raised",
			(unsigned long long)lim.rlim_cur);
	p->fn(p->arg, "memlock", true, text);
}

static const char *errno_name(int r)
{
	const char *name = strerrorname_np(-r);

	return name ? name : "?";
}

static void probe_drain(const struct probe *p)
{
	static const char *const each[] = {"tcp", "udp", "task"};
	int storage = wm_bpf_try_iterator("bpf_sk_storage_map"), r = 0;
	const char *refused = "";
	char text[256];

	for (unsigned i = 0; storage && !r && i < WM_ARRAY_LEN(each); i++) {
		refused = each[i];
		r = wm_bpf_try_iterator(each[i]);
	}
	if (!storage)
		snprintf(text, sizeof(text),
			 "a drain ends when the kernel counts no open connection");
	else if (!r)
		snprintf(text, sizeof(text),
			 "counted in each network namespace: the kernel refuses "
			 "iter/bpf_sk_storage_map: %s",
			 errno_name(storage));
	else
		snprintf(text, sizeof(text),
			 "refused: iter/bpf_sk_storage_map: %s, iter/%s: %s: a drain ends at its "
			 "deadline only",
			 errno_name(storage), refused, errno_name(r));
	p->fn(p->arg, "drain_proof", !storage || !r, text);
}

static void probe_abort(const struct probe *p)
{
	int r = wm_progs_try_abort();
	char text[256];

	if (r)
		snprintf(text, sizeof(text),
			 "bpf_sock_destroy() refused (Linux 6.5): %s: UDP sockets stay with a "
			 "backend that is gone",
			 errno_name(r));
	else
		snprintf(text, sizeof(text),
			 "connected UDP sockets of a backend that is gone are ended");
	p->fn(p->arg, "socket_abort", !r, text);
}

void wm_plane_probe(const struct wm_plane_config *c,
		    void (*fn)(void *arg, const char *name, bool ok, const char *text), void *arg)
{
	const struct probe p = {.c = c, .fn = fn, .arg = arg};

	wm_bpf_capture();
	probe_bpffs(&p);
	probe_cgroup(&p);
	say(&p, "btf", access("/sys/kernel/btf/vmlinux", R_OK) == 0,
	    "the kernel describes its types",
	    "/sys/kernel/btf/vmlinux is missing (CONFIG_DEBUG_INFO_BTF): programs may not load; "
	    "then "
	    "everything is served in userspace");
	probe_caps(&p);
	say(&p, "mmapable_array", can_map_arrays(), "tables are written by stores",
	    "no mapped arrays (Linux 5.5): no data plane, everything is served in userspace");
	say(&p, "socket_storage",
	    wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get),
	    "sockets remember what they dialled",
	    "no socket storage in these hooks: the connect programs do not load, names resolve to "
	    "instances");
	say(&p, "bpf_loop", wm_bpf_has_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop),
	    "a pick scans sets of any size",
	    "missing (Linux 5.17): after the weighted tries a pick scans 256 slots at most");
	say(&p, "bpf_set_retval",
	    wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval),
	    "without a backend connect() fails with ECONNREFUSED",
	    "missing (Linux 5.18): without a backend connect() fails with EPERM");
	probe_drain(&p);
	probe_abort(&p);
	say(&p, "cgroup_link", wm_bpf_has_cgroup_link(), "cgroup hooks outlive the agent",
	    "no cgroup links (Linux 5.7): connect() is not steered");
	say(&p, "tcx_link", wm_bpf_has_tcx(), "device hooks are tcx links",
	    "missing (Linux 6.6): clsact filters are used");
	say(&p, "clsact", can_clsact(), "tc filters are available",
	    "tc cannot be asked: devices need tcx links");
	probe_limits(&p);
}
