/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - load the programs of both objects with this plane's maps. Features are found by trying,
 * never by version; a program that this kernel refuses is left out with the reason, and the rest of
 * its object goes on. */
#include "waymark/dns_sample.h" /* the skeletons' types */
#include "waymark/dns_srv.h"	/* likewise */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual" /* bpftool's generated code casts const away */
#include "abort.skel.h"
#include "connect.skel.h"
#include "connect_cast.skel.h"
#include "dns.skel.h"
#include "dns_cast.skel.h"
#include "drain.skel.h"
#include "maps.skel.h"
#include "netns.skel.h"
#include "observe.skel.h"
#include "passive.skel.h"
#pragma GCC diagnostic pop
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/dataplane/internal.h"
#include "waymark/events.h"
#include "waymark/outcome.h"
#include "waymark/rate.h"
#include "waymark/refusal.h"

#include <arpa/inet.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERIFIER_LOG_CAP                                                                           \
	(1u << 20) /* octets; kernels before 6.4 keep the beginning, not the end                   \
		    */

static const struct {
	const char *name;
	enum wm_object_index object;
} programs[WM_PROG_COUNT] = {
	[WM_PROG_SOCK_RELEASE] = {"sock_release", WM_OBJECT_CONNECT},
	[WM_PROG_GETPEERNAME4] = {"getpeername4", WM_OBJECT_CONNECT},
	[WM_PROG_GETPEERNAME6] = {"getpeername6", WM_OBJECT_CONNECT},
	[WM_PROG_RECVMSG4] = {"recvmsg4", WM_OBJECT_CONNECT},
	[WM_PROG_RECVMSG6] = {"recvmsg6", WM_OBJECT_CONNECT},
	[WM_PROG_TCP_OUTCOME] = {"tcp_outcome", WM_OBJECT_PASSIVE},
	[WM_PROG_SENDMSG4] = {"sendmsg4", WM_OBJECT_CONNECT},
	[WM_PROG_SENDMSG6] = {"sendmsg6", WM_OBJECT_CONNECT},
	[WM_PROG_CONNECT4] = {"connect4", WM_OBJECT_CONNECT},
	[WM_PROG_CONNECT6] = {"connect6", WM_OBJECT_CONNECT},
	[WM_PROG_DNS_LO] = {"dns_lo", WM_OBJECT_DNS},
	[WM_PROG_DNS_VETH] = {"dns_veth", WM_OBJECT_DNS},
	[WM_PROG_DNS_LINK] = {"dns_link", WM_OBJECT_DNS},
	[WM_PROG_DNS_SRV] = {"dns_srv", WM_OBJECT_DNS},
	[WM_PROG_DNS_HOT] = {"dns_hot", WM_OBJECT_DNS},
	[WM_PROG_DNS_REST] = {"dns_rest", WM_OBJECT_DNS},
	[WM_PROG_DNS_PLAIN] = {"dns_plain", WM_OBJECT_DNS},
	[WM_PROG_DNS_READY] = {"dns_ready", WM_OBJECT_DNS},
	[WM_PROG_DNS_ABSENT] = {"dns_absent", WM_OBJECT_DNS},
	[WM_PROG_DNS_LIMIT] = {"dns_limit", WM_OBJECT_DNS},
	[WM_PROG_DNS_OPTIONS] = {"dns_options", WM_OBJECT_DNS},
	[WM_PROG_DNS_TELL] = {"dns_tell", WM_OBJECT_DNS},
	[WM_PROG_SOCK_STATE] = {"sock_state", WM_OBJECT_OBSERVE},
	[WM_PROG_SYN_AGAIN] = {"syn_again", WM_OBJECT_OBSERVE},
	[WM_PROG_OPEN_SOCKETS] = {"open_sockets", WM_OBJECT_DRAIN},
	[WM_PROG_OPEN_TCP] = {"open_tcp", WM_OBJECT_NETNS},
	[WM_PROG_OPEN_UDP] = {"open_udp", WM_OBJECT_NETNS},
	[WM_PROG_TASK_NETNS] = {"task_netns", WM_OBJECT_NETNS},
	[WM_PROG_HELD_TCP] = {"held_tcp", WM_OBJECT_NETNS},
	[WM_PROG_HELD_UDP] = {"held_udp", WM_OBJECT_NETNS},
	[WM_PROG_ABORT_UDP] = {"abort_udp", WM_OBJECT_ABORT},
	[WM_PROG_ABORT_TCP] = {"abort_tcp", WM_OBJECT_ABORT},
};

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

struct features {
	bool loop, set_retval, mptcp, sock6, netns, cgroup, flows, tails, nat, cast;
};

const char *wm_prog_name(unsigned i)
{
	return programs[i].name;
}

int wm_dns_map(const struct wm_plane *p, const char *name)
{
	const struct bpf_object *o = p->objects[WM_OBJECT_DNS];

	return o ? bpf_object__find_map_fd_by_name(o, name) : -ENOENT;
}

struct bpf_object *wm_maps_object(void)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "waymark");
	size_t size;
	const void *elf = maps_bpf__elf_bytes(&size);

	return bpf_object__open_mem(elf, size, &opts);
}

/* @p cast: programs may look into the kernel's sockets and packets. */
static struct bpf_object *open_object(const struct wm_plane *p, enum wm_object_index which,
				      bool cast)
{
	static const struct {
		const char *name;
		const void *(*elf)(size_t *size);
	} objects[WM_OBJECT_COUNT] = {
		[WM_OBJECT_CONNECT] = {"connect", connect_bpf__elf_bytes},
		[WM_OBJECT_DNS] = {"dns", dns_bpf__elf_bytes},
		[WM_OBJECT_DRAIN] = {"drain", drain_bpf__elf_bytes},
		[WM_OBJECT_NETNS] = {"netns", netns_bpf__elf_bytes},
		[WM_OBJECT_ABORT] = {"abort", abort_bpf__elf_bytes},
		[WM_OBJECT_OBSERVE] = {"observe", observe_bpf__elf_bytes},
		[WM_OBJECT_PASSIVE] = {"passive", passive_bpf__elf_bytes},
	};
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = objects[which].name);
	size_t size = 0;
	const void *elf = objects[which].elf(&size);

	if (p && p->custom.linked && which == WM_OBJECT_CONNECT)
		return bpf_object__open_mem(p->custom.linked, p->custom.linked_len, &opts);
	if (cast && which == WM_OBJECT_CONNECT)
		elf = connect_cast_bpf__elf_bytes(&size);
	else if (cast && which == WM_OBJECT_DNS)
		elf = dns_cast_bpf__elf_bytes(&size);
	return bpf_object__open_mem(elf, size, &opts);
}

/* Set a constant of .rodata by its name in the BTF; an object without it has no use for it. What
 * cannot be set stays 0: each constant means "without" then. */
static void set_constant(struct bpf_object *o, const char *name, const void *value, size_t len)
{
	struct bpf_map *rodata = NULL, *m;
	const struct btf *btf = bpf_object__btf(o);
	const struct btf_var_secinfo *v;
	const struct btf_type *sec;
	const void *data;
	char *copy;
	size_t size = 0;
	int id;

	bpf_object__for_each_map(m, o)
	{
		const char *suffix = strrchr(bpf_map__name(m), '.');

		if (suffix && !strcmp(suffix, ".rodata"))
			rodata = m;
	}
	id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -ENOENT;
	data = rodata ? bpf_map__initial_value(rodata, &size) : NULL;
	if (!data || id < 0)
		return;
	copy = malloc(size);
	if (!copy)
		return;
	memcpy(copy, data, size);
	sec = btf__type_by_id(btf, (uint32_t)id);
	v = btf_var_secinfos(sec);
	for (unsigned i = 0; i < btf_vlen(sec); i++, v++) {
		const struct btf_type *var = btf__type_by_id(btf, v->type);

		if (!strcmp(btf__name_by_offset(btf, var->name_off), name) && v->size == len &&
		    v->offset + len <= size)
			memcpy(copy + v->offset, value, len);
	}
	bpf_map__set_initial_value(rodata, copy, size);
	free(copy);
}

uint64_t wm_own_netns(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) ? cookie : 0;
}

/* What the programs of one run know beside the tables: fixed when they are loaded, so that the
 * pinned maps need no place for it. */
static void set_constants(const struct wm_plane *p, struct bpf_object *o, struct features f)
{
	uint64_t home = f.netns ? wm_own_netns() : 0;
	uint32_t mask = wm_connections_cap(&p->c) / WM_CONNECTION_WAYS - 1;
	uint32_t names_mask = wm_likely_cap(p->c.names) - 1;
	uint32_t frontends_mask = wm_likely_cap(p->c.frontends) - 1;
	uint32_t mask_be = htonl(p->c.vip4_mask), base_be = htonl(p->c.vip4_base & p->c.vip4_mask);
	uint32_t wall_at_boot_s = (uint32_t)(wm_clock_wall_s() - wm_clock_ns() / WM_NS_PER_S);
	uint64_t give_up_ns = p->c.passive && p->events_fd >= 0 ? p->c.give_up_ns : 0;
	bool custom = p->custom.linked != NULL, connects = wm_plane_judges(p);

	set_constant(o, "watch_connects", &connects, sizeof(connects));
	set_constant(o, "watch_listeners", &p->c.observe, sizeof(p->c.observe));
	set_constant(o, "use_custom", &custom, sizeof(custom));
	set_constant(o, "use_bpf_loop", &f.loop, sizeof(f.loop));
	set_constant(o, "connection_mask", &mask, sizeof(mask));
	set_constant(o, "use_set_retval", &f.set_retval, sizeof(f.set_retval));
	set_constant(o, "name_sets_mask", &names_mask, sizeof(names_mask));
	set_constant(o, "frontend_sets_mask", &frontends_mask, sizeof(frontends_mask));
	set_constant(o, "tables_id", &p->maps[WM_MAP_BACKENDS].id, sizeof(uint32_t));
	set_constant(o, "use_mptcp", &f.mptcp, sizeof(f.mptcp));
	set_constant(o, "use_sock6", &f.sock6, sizeof(f.sock6));
	set_constant(o, "home_netns", &home, sizeof(home));
	set_constant(o, "use_netns_cookie", &f.netns, sizeof(f.netns));
	set_constant(o, "use_cgroup_id", &f.cgroup, sizeof(f.cgroup));
	set_constant(o, "use_flows", &f.flows, sizeof(f.flows));
	set_constant(o, "use_samples", &f.flows, sizeof(f.flows));
	set_constant(o, "vip4_mask_be", &mask_be, sizeof(mask_be));
	set_constant(o, "vip4_base_be", &base_be, sizeof(base_be));
	set_constant(o, "vip6_prefix_be", p->c.vip6_prefix, sizeof(p->c.vip6_prefix));
	set_constant(o, "a_record_limit", &p->c.a_record_limit, sizeof(uint32_t));
	set_constant(o, "node_ttl_s", &p->c.node_ttl_s, sizeof(uint32_t));
	set_constant(o, "negative_ttl_s", &p->c.negative_ttl_s, sizeof(uint32_t));
	set_constant(o, "wall_at_boot_s", &wall_at_boot_s, sizeof(uint32_t));
	set_constant(o, "deny_zones", p->zones, sizeof(p->zones));
	set_constant(o, "deny_dc", &p->dc, sizeof(p->dc));
	set_constant(o, "srv_ends", p->srv_ends, sizeof(p->srv_ends));
	set_constant(o, "give_up_ns", &give_up_ns, sizeof(give_up_ns));
	set_constant(o, "use_tails", &f.tails, sizeof(f.tails));
	set_constant(o, "use_nat", &f.nat, sizeof(f.nat));
	set_constant(o, "hot_on", &p->c.hot_answers, sizeof(uint32_t));
	set_constant(o, "ready_on", &p->c.ready_answers, sizeof(uint32_t));
	set_constant(o, "hot_grace_ns", &p->c.hot_grace_ns, sizeof(uint64_t));
	set_constant(o, "fail_write", &p->c.fail_write, sizeof(uint32_t));
}

/* Let @p m be the map that the object has which was loaded before. */
static void keep_map(const struct wm_plane *p, enum wm_object_index which, struct bpf_map *m,
		     const char *name)
{
	int old = p->objects[which] ? bpf_object__find_map_fd_by_name(p->objects[which], name) : -1;

	if (old >= 0)
		bpf_map__reuse_fd(m, old);
}

/* The two objects that see how connects end write to one map, whichever is in use. */
static void share_outcomes(const struct wm_plane *p, enum wm_object_index which,
			   struct bpf_object *o)
{
	struct bpf_map *m = bpf_object__find_map_by_name(o, "outcomes");

	if (m && which == WM_OBJECT_OBSERVE && !wm_plane_judges(p))
		bpf_map__set_max_entries(m, 1); /* nobody asks */
	if (m && which == WM_OBJECT_PASSIVE && p->objects[WM_OBJECT_OBSERVE])
		(void)bpf_map__reuse_fd(m, bpf_object__find_map_fd_by_name(
						   p->objects[WM_OBJECT_OBSERVE], "outcomes"));
}

/* Open with the plane's maps; only the programs of @p mask will be loaded. */
static struct bpf_object *prepare(const struct wm_plane *p, enum wm_object_index which,
				  uint32_t mask, struct features f)
{
	struct bpf_object *o = open_object(p, which, f.cast);
	static const char *const by_backend[] = {"lost", "outcomes"};
	struct bpf_map *events, *flows, *samples, *kept, *hot, *rates, *refusals;

	if (!o)
		return NULL;
	flows = bpf_object__find_map_by_name(o, "flows");
	if (flows)
		bpf_map__set_autocreate(flows, f.flows);
	samples = bpf_object__find_map_by_name(o, "dns_samples");
	if (samples)
		bpf_map__set_autocreate(samples, f.flows);
	refusals = bpf_object__find_map_by_name(o, "refusals");
	if (refusals)
		bpf_map__set_max_entries(refusals, p->c.sets ? p->c.sets : 1);
	/* loaded again: who watches goes on with the ring buffer that it has, counts go on */
	if (flows && f.flows)
		keep_map(p, which, flows, "flows");
	if (refusals)
		keep_map(p, which, refusals, "refusals");
	events = bpf_object__find_map_by_name(o, "events");
	if (events && p->events_fd < 0 && which == WM_OBJECT_CONNECT)
		bpf_map__set_autocreate(events, false); /* what would use it is left out */
	if (events && p->events_fd >= 0 && bpf_map__reuse_fd(events, p->events_fd)) {
		bpf_object__close(o);
		return NULL;
	}
	for (size_t i = 0; i < WM_ARRAY_LEN(by_backend); i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(o, by_backend[i]);

		if (m)
			bpf_map__set_max_entries(m, p->c.backends);
	}
	share_outcomes(p, which, o);
	hot = bpf_object__find_map_by_name(o, "dns_answers");
	if (hot)
		bpf_map__set_max_entries(hot, p->c.hot_answers ? p->c.hot_answers : 1);
	wm_ready_size(p, o);
	rates = bpf_object__find_map_by_name(o, "dns_rates");
	if (rates)
		bpf_map__set_max_entries(rates,
					 p->link_devices && *p->link_devices ? WM_RATE_PLACES : 1);
	for (unsigned i = 0; i < WM_KEPT_COUNT; i++) {
		kept = bpf_object__find_map_by_name(o, wm_kept_maps[i].name);
		if (kept && p->kept_fd[i] >= 0)
			(void)bpf_map__reuse_fd(kept, p->kept_fd[i]); /* else a new one: a hint */
	}
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(o, wm_map_specs[i].name);

		if (m && p->map_fd[i] >= 0 && bpf_map__reuse_fd(m, p->map_fd[i])) {
			bpf_object__close(o);
			return NULL;
		}
	}
	for (unsigned i = 0; i < WM_PROG_COUNT; i++) {
		struct bpf_program *prog = bpf_object__find_program_by_name(o, programs[i].name);

		if (prog)
			bpf_program__set_autoload(prog, mask & (1u << i) &&
								(f.flows || i != WM_PROG_DNS_TELL));
	}
	set_constants(p, o, f);
	return o;
}

static struct bpf_object *load(const struct wm_plane *p, enum wm_object_index which, uint32_t mask,
			       struct features f)
{
	struct bpf_object *o = prepare(p, which, mask, f);

	if (o && bpf_object__load(o)) {
		bpf_object__close(o);
		return NULL;
	}
	return o;
}

/* Load program @p i alone. @return 0, or the kernel's errno with why in @p reason. */
static int load_alone(const struct wm_plane *p, unsigned i, struct features f, char *reason,
		      size_t cap)
{
	_cleanup_free_ char *log = calloc(1, VERIFIER_LOG_CAP);
	struct bpf_object *o = prepare(p, programs[i].object, 1u << i, f);
	struct bpf_program *prog = o ? bpf_object__find_program_by_name(o, programs[i].name) : NULL;
	int r = -ENOENT;

	wm_bpf_log_reset();
	if (prog && log) {
		bpf_program__set_log_buf(prog, log, VERIFIER_LOG_CAP);
		r = bpf_object__load(o);
	}
	bpf_object__close(o);
	if (!r)
		return 0;
	wm_bpf_verifier_reason(log ? log : "", reason, cap);
	if (!*reason)
		snprintf(reason, cap, "%s", wm_bpf_log_last());
	return r;
}

/* The same, noted for the hook. */
static int try_alone(struct wm_plane *p, unsigned i, struct features f)
{
	struct wm_prog *out = &p->progs[i];
	char reason[sizeof(out->text)];
	int r = load_alone(p, i, f, reason, sizeof(reason));

	if (!r)
		return 0;
	out->error = r == -EPERM ? r : WM_E_BPF_LOAD;
	out->refused = r;
	snprintf(out->text, sizeof(out->text), "kernel refused the program: %s: %.100s",
		 strerror(-r), reason);
	return r;
}

/* The object was refused as a whole: leave out what does not load alone. */
static struct bpf_object *load_rest(struct wm_plane *p, enum wm_object_index which, uint32_t mask,
				    struct features f)
{
	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if ((mask & (1u << i)) && try_alone(p, i, f))
			mask &= ~(1u << i);
	return mask ? load(p, which, mask, f) : NULL;
}

static void take_program(struct wm_plane *p, struct bpf_object *o, unsigned i)
{
	struct bpf_program *prog = o ? bpf_object__find_program_by_name(o, programs[i].name) : NULL;
	struct wm_prog *out = &p->progs[i];
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	out->fd = prog && bpf_program__autoload(prog) ? bpf_program__fd(prog) : -1;
	if (out->fd >= 0) {
		out->error = 0;
		if (!bpf_obj_get_info_by_fd(out->fd, &info, &len)) {
			out->id = info.id;
			out->verified_insns = info.verified_insns;
		}
	} else if (!out->error) {
		out->error = WM_E_BPF_LOAD;
		snprintf(out->text, sizeof(out->text), "program could not be loaded: %.110s",
			 wm_bpf_log_last());
	}
}

/* What the probe found may still not verify: the plain variant asks less. The iterators have but
 * one. */
static struct bpf_object *load_either(const struct wm_plane *p, enum wm_object_index which,
				      uint32_t mask, struct features f)
{
	struct bpf_object *o = load(p, which, mask, f);

	if (!o && which <= WM_OBJECT_DNS &&
	    (f.loop || f.set_retval || f.mptcp || f.sock6 || f.netns || f.cgroup || f.flows ||
	     f.tails || f.nat || f.cast))
		o = load(p, which, mask, (struct features){0});
	return o;
}

static void load_object(struct wm_plane *p, enum wm_object_index which, struct features f)
{
	struct bpf_object *o;
	uint32_t mask = 0;

	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if (programs[i].object == which && p->progs[i].wanted)
			mask |= 1u << i;
	if (!mask)
		return;
	wm_bpf_log_reset();
	o = load_either(p, which, mask, f);
	if (!o)
		o = load_rest(p, which, mask, f);
	p->objects[which] = o;
	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if (mask & (1u << i))
			take_program(p, o, i);
}

/* A table of an object. */
struct table {
	enum wm_object_index of;
	const char *name;
	size_t each; /* octets of an entry */
	int prot;
};

/* @p count entries, of which the first @p used are mapped. @return NULL: there is none. */
static void *map_table(const struct wm_plane *p, const struct table *t, size_t count, size_t used,
		       struct wm_window *ret)
{
	struct bpf_object *o = p->objects[t->of];
	int fd = o ? bpf_object__find_map_fd_by_name(o, t->name) : -1;

	if (fd >= 0 && !wm_window_open(ret, fd, count * t->each, t->prot) &&
	    wm_window_reach(ret, used * t->each))
		wm_window_close(ret);
	return ret->at;
}

static void map_tables(struct wm_plane *p)
{
	const int rw = PROT_READ | PROT_WRITE;
	const struct table lost = {WM_OBJECT_ABORT, "lost", sizeof(*p->lost), rw};
	const struct table ready = {WM_OBJECT_DNS, "dns_ready_words", sizeof(*p->ready), rw};
	const struct table refusals = {WM_OBJECT_CONNECT, "refusals", sizeof(*p->refusals),
				       PROT_READ};

	p->lost = map_table(p, &lost, p->c.backends, wm_maps_reached(p, WM_MAP_BACKENDS),
			    &p->lost_window);
	if (p->c.ready_answers)
		p->ready =
			map_table(p, &ready, WM_READY_ENTRIES, WM_READY_ENTRIES, &p->ready_window);
	p->refusals = map_table(p, &refusals, p->c.sets, wm_maps_reached(p, WM_MAP_SETS),
				&p->refusals_window);
}

int wm_progs_reach(struct wm_plane *p, unsigned array, uint32_t count)
{
	if (array == WM_ARRAY_SETS)
		return wm_window_reach(&p->refusals_window, count * sizeof(*p->refusals));
	if (array == WM_ARRAY_BACKENDS)
		return wm_window_reach(&p->lost_window, count * sizeof(*p->lost));
	return 0;
}

const struct wm_refusals *wm_plane_refusals(const struct wm_plane *p)
{
	return p->refusals;
}

bool wm_plane_judges(const struct wm_plane *p)
{
	return p->c.attach_connect && p->c.passive;
}

const struct wm_connects *wm_plane_outcomes(struct wm_plane *p)
{
	const struct table t = {p->objects[WM_OBJECT_PASSIVE] ? WM_OBJECT_PASSIVE
							      : WM_OBJECT_OBSERVE,
				"outcomes", sizeof(struct wm_connects), PROT_READ};

	if (!wm_plane_judges(p))
		return NULL;
	return map_table(p, &t, p->c.backends, p->c.backends, &p->outcomes);
}

void wm_plane_outcomes_done(struct wm_plane *p)
{
	wm_window_close(&p->outcomes);
}

static struct features probe(void)
{
	struct features f = {
		.loop = wm_bpf_has_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop),
		.set_retval =
			wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval),
		.mptcp = wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
					   BPF_FUNC_skc_to_mptcp_sock),
		.sock6 = wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
					   BPF_FUNC_skc_to_tcp6_sock) &&
			 wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
					   BPF_FUNC_skc_to_udp6_sock),
		.netns = wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
					   BPF_FUNC_get_netns_cookie),
		.cgroup = wm_bpf_has_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
					    BPF_FUNC_get_current_cgroup_id),
		.tails = true,
		.nat = wm_bpf_has_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_probe_read_kernel),
		.cast = wm_bpf_has_cast(),
	};

	/* who calls is told since 5.7, by helpers that came together */
	f.flows = f.cgroup && libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1;
	return f;
}

/* --- the operator's way to choose --- */
static uint32_t loaded_of(const struct wm_plane *p, enum wm_object_index which)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if (programs[i].object == which && p->progs[i].fd >= 0)
			mask |= 1u << i;
	return mask;
}

static void custom_clear(struct wm_custom *c)
{
	free(c->file);
	free(c->linked);
	*c = (struct wm_custom){0};
}

static int custom_open(const char *path, struct wm_custom *ret, struct wm_err *e)
{
	int r = wm_custom_read(path, &ret->file, &ret->file_len, e);

	if (!r)
		r = wm_custom_link(ret->file, ret->file_len, &ret->linked, &ret->linked_len, e);
	if (r)
		custom_clear(ret);
	return r;
}

/* Whether the kernel takes a program that calls what is linked. */
static int custom_judge(const struct wm_plane *p, struct features f, struct wm_err *e)
{
	char reason[160] = "", plain[160] = "";
	int r = load_alone(p, WM_PROG_CONNECT4, f, reason, sizeof(reason));

	if (r && r != -EPERM &&
	    !load_alone(p, WM_PROG_CONNECT4, (struct features){0}, plain, sizeof(plain)))
		r = 0;
	return r ? wm_err_set(e, r == -EPERM ? r : WM_E_BPF_LOAD,
			      "kernel.custom: %.100s: kernel refused it: %s: %s", p->c.custom,
			      strerror(-r), reason)
		 : 0;
}

/* Before the first load: what is refused is left out, and ours chooses by weight. */
static void custom_begin(struct wm_plane *p, struct features f)
{
	struct wm_err e = {0};

	if (!p->c.custom || !p->c.attach_connect)
		return;
	if (!custom_open(p->c.custom, &p->custom, &e) && custom_judge(p, f, &e))
		custom_clear(&p->custom);
	snprintf(p->custom.refused, sizeof(p->custom.refused), "%.239s", e.text);
}

int wm_plane_custom_reload(struct wm_plane *p, bool *ret_changed, struct wm_err *e)
{
	struct wm_custom old = p->custom, next = {0};
	struct features f = probe();
	uint32_t mask = loaded_of(p, WM_OBJECT_CONNECT);
	struct bpf_object *o = NULL;
	int r;

	*ret_changed = false;
	if (!p->c.custom || !mask)
		return 0;
	r = custom_open(p->c.custom, &next, e);
	if (!r && old.file && next.file_len == old.file_len &&
	    !memcmp(next.file, old.file, old.file_len)) {
		custom_clear(&next);
		return 0;
	}
	if (!r) {
		p->custom = next;
		r = custom_judge(p, f, e);
		o = r ? NULL : load_either(p, WM_OBJECT_CONNECT, mask, f);
		if (!r && !o)
			r = wm_err_set(e, WM_E_BPF_LOAD, "kernel.custom: %.120s",
				       wm_bpf_log_last());
	}
	if (r) {
		custom_clear(&next);
		p->custom = old;
		if (*p->custom.refused) /* none is in place: what is told is of the file as it is */
			snprintf(p->custom.refused, sizeof(p->custom.refused), "%.239s", e->text);
		return r;
	}
	custom_clear(&old);
	bpf_object__close(p->objects[WM_OBJECT_CONNECT]);
	p->objects[WM_OBJECT_CONNECT] = o;
	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if (mask & (1u << i))
			take_program(p, o, i);
	*ret_changed = true;
	return 0;
}

const char *wm_plane_custom_refused(const struct wm_plane *p)
{
	return *p->custom.refused ? p->custom.refused : NULL;
}

/* A plane that has nothing but a way to choose. */
static void bare_plane(struct wm_plane *p)
{
	*p = (struct wm_plane){.events_fd = -1, .kept_fd = {-1, -1}};
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		p->map_fd[i] = -1;
}

int wm_custom_rehearse(void *file, size_t file_len, void **ret, size_t *ret_len, struct wm_err *e)
{
	struct wm_plane p;
	size_t len = 0;
	const void *ours = connect_bpf__elf_bytes(&len);
	int r = wm_custom_link_here(file, file_len, ours, len, ret, ret_len, e);
	char reason[160];

	if (r)
		return r;
	bare_plane(&p);
	p.custom.linked = *ret;
	p.custom.linked_len = *ret_len;
	(void)load_alone(&p, WM_PROG_CONNECT4, probe(), reason, sizeof(reason));
	return 0;
}

int wm_plane_custom_try(const char *path, struct wm_err *e)
{
	struct wm_plane p;
	int r;

	bare_plane(&p);
	p.c.custom = path;
	wm_bpf_capture();
	r = custom_open(path, &p.custom, e);
	if (!r)
		r = custom_judge(&p, probe(), e);
	custom_clear(&p.custom);
	if (r == -EPERM && e->code == r && geteuid() != 0) { /* who may load nothing may not ask */
		*e = (struct wm_err){0};
		r = 0;
	}
	return r;
}

void wm_progs_load(struct wm_plane *p)
{
	struct features f = probe();

	/* where it is refused, so are the programs that write to it */
	p->events_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "events", 0, 0, WM_EVENTS_OCTETS, NULL);
	for (unsigned i = 0; i < WM_PROG_COUNT; i++) {
		p->progs[i].fd = -1;
		p->progs[i].wanted =
			programs[i].object == WM_OBJECT_DNS ? p->c.attach_dns : p->c.attach_connect;
		if (programs[i].object == WM_OBJECT_OBSERVE ||
		    programs[i].object == WM_OBJECT_PASSIVE)
			p->progs[i].wanted = wm_plane_judges(p);
	}
	p->progs[WM_PROG_SOCK_STATE].wanted |= p->c.observe;
	if (!p->lo_devices || !p->lo_devices[0])
		p->progs[WM_PROG_DNS_LO].wanted = false;
	if (!p->link_devices || !p->link_devices[0])
		p->progs[WM_PROG_DNS_LINK].wanted = p->progs[WM_PROG_DNS_LIMIT].wanted = false;
	if ((!p->veth_devices || !p->veth_devices[0]) && !p->progs[WM_PROG_DNS_LINK].wanted)
		p->progs[WM_PROG_DNS_VETH].wanted = false; /* links call it */
	p->progs[WM_PROG_DNS_OPTIONS].wanted = p->progs[WM_PROG_DNS_PLAIN].wanted =
		p->progs[WM_PROG_DNS_REST].wanted = p->progs[WM_PROG_DNS_SRV].wanted =
			p->progs[WM_PROG_DNS_LO].wanted || p->progs[WM_PROG_DNS_VETH].wanted;
	p->progs[WM_PROG_DNS_HOT].wanted = p->progs[WM_PROG_DNS_SRV].wanted && p->c.hot_answers;
	p->progs[WM_PROG_DNS_ABSENT].wanted = p->progs[WM_PROG_DNS_READY].wanted =
		p->progs[WM_PROG_DNS_SRV].wanted && p->c.ready_answers;
	p->progs[WM_PROG_DNS_TELL].wanted = p->progs[WM_PROG_DNS_SRV].wanted && f.flows;
	custom_begin(p, f);
	for (unsigned i = 0; i < WM_OBJECT_COUNT; i++)
		load_object(p, i, f);
	wm_tails_fill(p);
	map_tables(p);
}

static int try_object(enum wm_object_index which)
{
	struct bpf_object *o = open_object(NULL, which, false);
	const bool on = true;
	int r = -ENOMEM;

	if (o) {
		set_constant(o, "watch_connects", &on, sizeof(on));
		set_constant(o, "watch_listeners", &on, sizeof(on));
		r = bpf_object__load(o);
	}
	bpf_object__close(o);
	wm_bpf_log_reset();
	return r;
}

int wm_progs_try_abort(void)
{
	return try_object(WM_OBJECT_ABORT);
}

int wm_progs_try_observe(void)
{
	return try_object(WM_OBJECT_OBSERVE);
}

int wm_progs_try_passive(void)
{
	return try_object(WM_OBJECT_PASSIVE);
}

void wm_progs_close(struct wm_plane *p)
{
	wm_window_close(&p->lost_window);
	p->lost = NULL;
	wm_window_close(&p->ready_window);
	p->ready = NULL;
	wm_window_close(&p->refusals_window);
	p->refusals = NULL;
	wm_window_close(&p->outcomes);
	for (unsigned i = 0; i < WM_OBJECT_COUNT; i++) {
		bpf_object__close(p->objects[i]);
		p->objects[i] = NULL;
	}
	wm_closep(&p->events_fd);
	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		p->progs[i].fd = -1;
	custom_clear(&p->custom);
}
