/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - what this kernel offers and this process may do, found by trying; for `waymarkctl
 * doctor`. What has a way round it is a note that names the way; a fault is what leaves no data
 * plane. Who may not ask learns that, and nothing is called missing. */
#include "doctor.h"
#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/resolution/grace.h"

#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
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
	wm_finding_fn fn;
	void *arg;
};

void wm_finding_tell(wm_finding_fn fn, void *arg, struct wm_finding f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	fn(arg, &f);
}

/* A feature: @p r is 0 or the kernel's errno; @p without is what it is to lack it. */
static void feature(const struct probe *p, const char *name, int r, enum wm_found without,
		    const char *yes, const char *no)
{
	struct wm_finding f = {.name = name, .error = r};

	f.result = r ? without : WM_FOUND_OK;
	if (r == -EPERM || r == -EACCES)
		snprintf(f.remedy, sizeof(f.remedy),
			 "the kernel has it and refuses this user: see /proc/sys/kernel/lockdown, "
			 "capabilities and the seccomp filter of this shell");
	else if (r && without == WM_FOUND_FAULT)
		snprintf(f.remedy, sizeof(f.remedy), "a newer kernel, or kernel.enabled = false");
	wm_finding_tell(p->fn, p->arg, f, "%s", r ? no : yes);
}

static void probe_bpffs(const struct probe *p)
{
	struct wm_finding f = {.name = "bpffs"};
	char dir[WM_PIN_DIR_MAX] = "/sys/fs/bpf/waymark";
	const char *parent;

	if (strlen(p->c->pin_dir) < sizeof(dir))
		snprintf(dir, sizeof(dir), "%s", p->c->pin_dir);
	parent = dirname(dir);
	if (wm_pins_is_bpffs(parent)) {
		wm_finding_tell(p->fn, p->arg, f, "%s is a bpffs", parent);
		return;
	}
	f.result = WM_FOUND_FAULT;
	f.error = access(parent, F_OK) < 0 ? -errno : -ENODEV;
	/* never over a directory that something else may use */
	snprintf(f.remedy, sizeof(f.remedy),
		 "mount -t bpf bpf /sys/fs/bpf, and kernel.pin_dir = %s", "/sys/fs/bpf/waymark");
	wm_finding_tell(p->fn, p->arg, f,
			"%s is no bpffs: nothing can be pinned, everything is served in userspace",
			parent);
}

static void probe_cgroup(const struct probe *p)
{
	struct wm_finding f = {.name = "cgroup2"};
	char root[WM_PIN_PATH_MAX];
	_cleanup_close_ int fd = -1;
	uint64_t id;
	int r = p->c->cgroup ? 0 : wm_cgroup_root(root, sizeof(root));

	if (p->c->cgroup)
		snprintf(root, sizeof(root), "%s", p->c->cgroup);
	fd = r ? r : wm_cgroup_open(root, &id);
	if (fd >= 0 && wm_cgroup_is_private(root)) {
		f.result = WM_FOUND_NOTE;
		snprintf(f.remedy, sizeof(f.remedy),
			 "mount the machine's cgroup2 here and name it in kernel.cgroup");
		wm_finding_tell(p->fn, p->arg, f,
				"%s is the root of a private cgroup namespace: nothing outside of "
				"it can be steered from here",
				root);
		return;
	}
	if (fd >= 0) {
		wm_finding_tell(p->fn, p->arg, f, "%s is a cgroup2", root);
		return;
	}
	f.result = WM_FOUND_FAULT;
	f.error = fd;
	snprintf(f.remedy, sizeof(f.remedy), "%s",
		 r ? "mount -t cgroup2 none /sys/fs/cgroup"
		   : "kernel.cgroup: a directory of a cgroup2");
	wm_finding_tell(p->fn, p->arg, f, "%s: connect() is not steered",
			r ? "no cgroup2 is mounted" : "not a directory of a cgroup2");
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

/* This process's: the agent's own are in its unit. */
static void probe_caps(const struct probe *p)
{
	static const struct {
		const char *name;
		unsigned bit;
		bool admin; /* CAP_SYS_ADMIN will do */
		const char *yes, *no;
	} caps[] = {
		{"cap_bpf", CAP_BIT_BPF, true, "may create maps and load programs",
		 "no maps, no programs: everything is served in userspace"},
		{"cap_net_admin", CAP_BIT_NET_ADMIN, false, "may attach to cgroups and devices",
		 "nothing can be attached: everything is served in userspace"},
		{"cap_perfmon", CAP_BIT_PERFMON, true,
		 "programs verify without the limits of unprivileged ones",
		 "programs that need it are left out, and served in userspace"},
	};
	uint64_t have = effective_caps();

	for (size_t i = 0; i < WM_ARRAY_LEN(caps); i++) {
		bool ok =
			have >> caps[i].bit & 1 || (caps[i].admin && have >> CAP_BIT_SYS_ADMIN & 1);
		struct wm_finding f = {.name = caps[i].name};

		if (!ok) {
			f.result = WM_FOUND_FAULT;
			f.error = -EPERM;
			snprintf(f.remedy, sizeof(f.remedy),
				 "run as root, or with the capabilities that "
				 "deploy/waymarkd.service "
				 "lists");
		}
		wm_finding_tell(p->fn, p->arg, f, "%s", ok ? caps[i].yes : caps[i].no);
	}
}

static int try_mapped_array(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "wm_probe", sizeof(uint32_t),
						sizeof(uint64_t), 1, &opts);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *m;

	if (fd < 0)
		return fd;
	m = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		return -errno;
	munmap(m, page);
	return 0;
}

static int try_clsact(void)
{
	struct wm_device lo;
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
	int r = wm_device_get("lo", &lo);

	if (r)
		return r;
	hook.ifindex = (int)lo.ifindex;
	/* A question changes nothing: no such filter (ENOENT) or no qdisc (EINVAL) are both answers
	 * of a kernel that has tc. */
	r = bpf_tc_query(&hook, &opts);
	return r == -ENOENT || r == -EINVAL ? 0 : r;
}

static void probe_limits(const struct probe *p)
{
	struct wm_finding users = {.name = "unprivileged_bpf"}, memlock = {.name = "memlock"};
	struct rlimit lim = {0};
	char value[16] = "?";
	FILE *f = fopen("/proc/sys/kernel/unprivileged_bpf_disabled", "re");

	if (f) {
		if (fgets(value, sizeof(value), f))
			value[strcspn(value, "\n")] = 0;
		fclose(f);
	}
	if (value[0] == '0') {
		users.result = WM_FOUND_NOTE;
		snprintf(users.remedy, sizeof(users.remedy),
			 "sysctl kernel.unprivileged_bpf_disabled=1");
	}
	wm_finding_tell(p->fn, p->arg, users, "kernel.unprivileged_bpf_disabled is %s%s", value,
			value[0] == '0' ? ": any user may load programs" : "");
	getrlimit(RLIMIT_MEMLOCK, &lim);
	if (lim.rlim_cur == RLIM_INFINITY)
		wm_finding_tell(p->fn, p->arg, memlock, "locked memory is not limited");
	else
		wm_finding_tell(
			p->fn, p->arg, memlock,
			"locked memory is limited to %llu bytes; it counts before Linux 5.11 "
			"only, where it is raised",
			(unsigned long long)lim.rlim_cur);
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
	struct wm_finding f = {.name = "drain_proof"};

	for (unsigned i = 0; storage && !r && i < WM_ARRAY_LEN(each); i++) {
		refused = each[i];
		r = wm_bpf_try_iterator(each[i]);
	}
	f.error = storage ? r : 0;
	f.result = storage && r ? WM_FOUND_NOTE : WM_FOUND_OK;
	if (!storage)
		wm_finding_tell(p->fn, p->arg, f,
				"a drain ends when the kernel counts no open connection");
	else if (!r)
		wm_finding_tell(p->fn, p->arg, f,
				"counted in each network namespace: the kernel refuses "
				"iter/bpf_sk_storage_map: %s",
				errno_name(storage));
	else
		wm_finding_tell(
			p->fn, p->arg, f,
			"refused: iter/bpf_sk_storage_map: %s, iter/%s: %s: a drain ends at "
			"its deadline only",
			errno_name(storage), refused, errno_name(r));
}

static void probe_abort(const struct probe *p)
{
	int r = wm_progs_try_abort();
	struct wm_finding f = {.name = "socket_abort", .error = r};

	f.result = r ? WM_FOUND_NOTE : WM_FOUND_OK;
	if (r)
		wm_finding_tell(
			p->fn, p->arg, f,
			"bpf_sock_destroy() refused (Linux 6.5): %s: UDP sockets stay with a "
			"backend that is gone",
			errno_name(r));
	else
		wm_finding_tell(p->fn, p->arg, f,
				"connected UDP sockets of a backend that is gone are ended");
}

static void probe_observe(const struct probe *p)
{
	int r = wm_progs_try_observe();
	struct wm_finding f = {.name = "listener_notice", .error = r};

	f.result = r ? WM_FOUND_NOTE : WM_FOUND_OK;
	if (r)
		wm_finding_tell(p->fn, p->arg, f,
				"tp_btf/inet_sock_set_state refused: %s: of a listener that closed "
				"only checks tell",
				errno_name(r));
	else
		wm_finding_tell(p->fn, p->arg, f,
				"an instance is down when its listener closes, before any check");
}

static void probe_passive(const struct probe *p)
{
	int traced = wm_progs_try_observe(), r = traced ? wm_progs_try_passive() : 0;
	struct wm_finding f = {.name = "passive_health", .error = r ? r : traced};

	f.result = f.error ? WM_FOUND_NOTE : WM_FOUND_OK;
	if (r)
		wm_finding_tell(p->fn, p->arg, f,
				"sockops refused: %s: of a backend that fails only checks tell, "
				"and peak_ewma knows open connections only",
				errno_name(r));
	else if (traced)
		wm_finding_tell(p->fn, p->arg, f,
				"tp_btf/tcp_retransmit_skb or inet_sock_set_state refused: %s: "
				"sockops sees how connects end, which each connect of the machine "
				"pays for",
				errno_name(traced));
	else
		wm_finding_tell(p->fn, p->arg, f,
				"a backend that connects fail to is left out for a time");
}

/* @return 0, or why bpf() is not for this user. */
static int probe_permission(const struct probe *p)
{
	struct wm_finding f = {.name = "permission"};
	int prog = wm_bpf_null_prog(BPF_PROG_TYPE_SCHED_CLS, 0, "wm_probe");

	if (prog >= 0)
		close(prog);
	if (prog != -EPERM && prog != -EACCES) {
		wm_finding_tell(p->fn, p->arg, f, "this user may ask the kernel");
		return 0;
	}
	f.result = WM_FOUND_FAULT;
	f.error = prog;
	snprintf(f.remedy, sizeof(f.remedy), "run it as root: sudo waymarkctl doctor");
	wm_finding_tell(p->fn, p->arg, f,
			"no permission: user %u may not use bpf(), so what the kernel offers and "
			"what is attached cannot be looked at",
			(unsigned)geteuid());
	return -EPERM;
}

int wm_plane_probe(const struct wm_plane_config *c, wm_finding_fn fn, void *arg)
{
	const struct probe p = {.c = c, .fn = fn, .arg = arg};

	wm_bpf_capture();
	probe_bpffs(&p);
	probe_cgroup(&p);
	feature(&p, "btf", access("/sys/kernel/btf/vmlinux", R_OK) ? -errno : 0, WM_FOUND_NOTE,
		"the kernel describes its types",
		"/sys/kernel/btf/vmlinux cannot be read (CONFIG_DEBUG_INFO_BTF): programs may not "
		"load");
	if (probe_permission(&p))
		return -EPERM;
	probe_caps(&p);
	feature(&p, "mmapable_array", try_mapped_array(), WM_FOUND_FAULT,
		"tables are written by stores",
		"no mapped arrays (Linux 5.5): no data plane, everything is served in userspace");
	feature(&p, "socket_storage",
		wm_bpf_try_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get),
		WM_FOUND_FAULT, "sockets remember what they dialled",
		"no socket storage in these hooks (Linux 5.8): the connect programs do not load");
	feature(&p, "bpf_loop", wm_bpf_try_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop),
		WM_FOUND_NOTE, "a pick scans sets of any size",
		"missing (Linux 5.17): after the weighted tries a pick scans 256 slots at most");
	feature(&p, "bpf_set_retval",
		wm_bpf_try_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval),
		WM_FOUND_NOTE, "without a backend connect() fails with ECONNREFUSED",
		"missing (Linux 5.18): without a backend connect() fails with EPERM");
	feature(&p, "membarrier", wm_grace_membarrier(), WM_FOUND_NOTE,
		"what was freed is used again when no program can have it",
		"refused (no global barrier beside nohz_full, none on one CPU): what was freed "
		"rests for a second");
	probe_drain(&p);
	probe_abort(&p);
	probe_observe(&p);
	probe_passive(&p);
	feature(&p, "cgroup_link", wm_bpf_try_cgroup_link(), WM_FOUND_FAULT,
		"cgroup hooks outlive the agent",
		"no cgroup links (Linux 5.7): connect() is not steered");
	feature(&p, "tcx_link", wm_bpf_try_tcx(), WM_FOUND_NOTE, "device hooks are tcx links",
		"missing (Linux 6.6): clsact filters are used");
	feature(&p, "clsact", try_clsact(), WM_FOUND_NOTE, "tc filters are available",
		"tc cannot be asked: devices need tcx links");
	probe_limits(&p);
	return 0;
}
