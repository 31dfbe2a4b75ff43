/* SPDX-License-Identifier: Apache-2.0 */
/* plane.h - the kernel side: probe, size, load, pin, adopt, attach, count. The only user of libbpf.
 * Pins under the pin directory outlive the process: a restart re-opens the maps, loads the programs
 * with them and moves the links (bpf_link_update), never flushes. Maps of another layout or size
 * are replaced: new ones are filled, then the links move, then the old pins go. Owns only its own
 * pins. Where something is missing (bpffs, cgroup2, BTF, a capability, a program the verifier
 * refuses) it says exactly what, and the agent goes on in userspace. Threading: loop thread only.
 * Order: wm_plane_open, fill wm_config (of new tables), wm_tables_new, _adopt (when adopted), every
 * _put, _sweep, wm_plane_attach. Until then an earlier run's links serve from the tables they have.
 */
#pragma once
#include "userspace/base/err.h"
#include "userspace/resolution/tables.h"
#include "waymark/dns_cookie.h"
#include "waymark/dns_hot.h"
#include "waymark/dns_there.h"
#include "waymark/guard.h"
#include "waymark/lost.h"

struct wm_plane;
struct wm_plane_config {
	const char *pin_dir; /* "/sys/fs/bpf/waymark"; made 0700 */
	const char *cgroup;  /* directory of a cgroup2, NULL: the root of the first cgroup2 mount */
	const char *const *lo_devices; /* in-place answering (loopback), NULL-terminated */
	/* answering by redirect (host side of pods): names, or globs of veth devices that are there
	 * or appear later; NULL-terminated */
	const char *const *veth_devices;
	/* the same on links to other machines: names of Ethernet devices, or globs of hardware;
	 * NULL-terminated */
	const char *const *link_devices;
	bool attach_dns, attach_connect;
	/* Domains and datacenter of the names in the tables, as text: what of them cannot be is
	 * denied in the kernel. NULL: nothing is. */
	const char *domain, *alt_domain, *datacenter;
	const char *cluster_domain; /* of a cluster's names in the tables; NULL: none */
	const char *custom;	    /* object file with a way to choose, bpf/custom.h; NULL: none */
	bool observe;		    /* see who listens: wm_observer_new() begins it */
	bool passive;		    /* see how connects end, and eject backends that fail */
	/* ns without an answer after which a socket that is closed counts as a failed connect; 0:
	 * never, nor without `passive` */
	uint64_t give_up_ns;
	uint32_t names, frontends, sets, slots, backends; /* max_entries */
	uint32_t connections; /* sockets that are remembered without storage; rounded up */
	uint64_t memory_max;  /* bytes that the maps may take; 0: no bound */
	/* The ranges of the virtual addresses: what no service has is refused. */
	uint32_t vip4_base, vip4_mask; /* host order; mask 0: none */
	uint8_t vip6_prefix[8];	       /* a /64; zero: none */
	bool vip_route;		       /* unreachable routes for them, in this network namespace */
	uint32_t a_record_limit;       /* A or AAAA records of an answer; 0: all that fit */
	uint32_t node_ttl_s;	       /* TTL of addresses that are names */
	uint32_t negative_ttl_s;       /* of NODATA, and the SOA's minimum */
	uint32_t hot_answers;	       /* of other servers that are kept; 0: none */
	uint64_t hot_grace_ns;	/* these are given so long beyond their TTL while no agent runs */
	uint32_t ready_answers; /* of our own that are kept; 0: none */
	uint32_t fail_write;	/* for tests: step of writing an answer that fails; 0: none */
};
/** Bytes that the maps of @p c will take (computed as the kernel charges), by map in @p ret_each
 *  (may be NULL; order of wm_plane_map_name). */
uint64_t wm_plane_memory(const struct wm_plane_config *c, uint64_t *ret_each, unsigned *ret_maps);
/** The same of answers that the kernel keeps: memory_max is for both. */
uint64_t wm_plane_kept_memory(const struct wm_plane_config *c);
const char *wm_plane_map_name(unsigned i); /* NULL behind the last */

/** Create or re-open the maps. Does not attach. @p ret_adopted true when pins of an earlier run
 * with the same layout are in use. @return 0, WM_E_BUDGET, WM_E_BPF_LOAD, negative errno; text in
 * @p e. */
int wm_plane_open(const struct wm_plane_config *c, struct wm_plane **ret, bool *ret_adopted,
		  struct wm_err *e);
/** Make the configuration of tables that programs read say @p next, but for the seed, under which
 *  the pinned names are hashed, and confirmed_ns, which is for who keeps the tables. Call when the
 *  tables are right: until then an earlier run's limits hold. Where the addresses or ports of DNS
 *  change, the kernel passes all questions for some 20 ms. */
void wm_plane_reconfigure(struct wm_config *k, const struct wm_config *next);
/** Memory and operations for wm_tables_new(); valid while the plane is open. */
void wm_plane_memory_of(struct wm_plane *p, struct wm_table_memory *ret);
const struct wm_plane_ops *wm_plane_ops(struct wm_plane *p);
/** Keep @p e, which is sealed here, as the answer to questions of its name, of @p type and with
 *  @p view (WM_HOT_*). Answers of an earlier run are not ours: each begins without.
 *  @return 0, -EOPNOTSUPP: nothing is kept in the kernel; negative errno. */
int wm_plane_hot_put(struct wm_plane *p, struct wm_hot *e, uint16_t type, uint16_t view);
/** Read what is kept under the name of @p e into it. @return -ENOENT: it made room for another. */
int wm_plane_hot_get(struct wm_plane *p, struct wm_hot *e, uint16_t type, uint16_t view);
void wm_plane_hot_del(struct wm_plane *p, const struct wm_hot *e, uint16_t type, uint16_t view);
/** Keep @p e, which is sealed here, as the answer to questions of its name and of @p type until one
 *  of its sources changes, or others take its place. @return 0, -EOPNOTSUPP: nothing is kept in the
 *  kernel; negative errno. */
int wm_plane_ready_put(struct wm_plane *p, struct wm_ready *e, uint16_t type);
/** WM_READY_ENTRIES words. The first WM_READY_WORDS are changes of each source, which only grow: to
 *  be counted up by an atomic addition before anybody is told of the change. The others count names
 *  that are there (waymark/dns_there.h). NULL: nothing is kept in the kernel. Borrowed. */
uint64_t *wm_plane_ready_words(const struct wm_plane *p);
/** Attach or move the links to this run's programs; call when the tables are filled, and again when
 * a device or cgroup has appeared or wm_plane_check() says so. What is in place is not touched;
 * pins that were removed are made again, and programs put back where the others call them. Hooks of
 * an earlier run that are not wanted are detached. Each hook that cannot be attached is logged by
 * the caller from wm_plane_hooks(); @return hooks attached or the first error when none could be.
 */
int wm_plane_attach(struct wm_plane *p, struct wm_err *e);
/** Look whether every hook that was attached is attached still, by the id of its link, every map
 * pinned, and every program where the others call it. Changes nothing in the kernel. @return hooks
 * that were lost, and pins and programs that are missing. */
unsigned wm_plane_check(struct wm_plane *p);
/** Whether what is sent to a virtual address arrives: all of connect, sendmsg and recvmsg are
 *  attached. @p p NULL: false. */
bool wm_plane_steers(const struct wm_plane *p);
/** Load the file of the configuration's `custom` again, if it is another now. The programs in place
 *  go on until wm_plane_attach(). Costs the verifier's time, some 20 ms.
 *  @return 0, or why it is refused, in words: then what was in use stays. */
int wm_plane_custom_reload(struct wm_plane *p, bool *ret_changed, struct wm_err *e);
/** The name that policies call it by: of the file, without directory and ".bpf.o" or ".o", a label.
 *  @return 0, -EINVAL. */
int wm_plane_custom_name(const char *path, char *buf, size_t cap);
/** Why the file was not taken at the start, or NULL. */
const char *wm_plane_custom_refused(const struct wm_plane *p);
/** Whether @p path would be taken: read, link, and let the kernel judge it if it lets us ask.
 *  @return 0 or the error with words. Changes nothing. */
int wm_plane_custom_try(const char *path, struct wm_err *e);
/** What main() does first wherever a plane may have a file `custom`: such a file is read by this
 *  program, started anew with two descriptors and a word in the place of options.
 *  @return -1: it was not, go on. Else it ends here, or this is its exit status. */
int wm_plane_custom_helper(int argc, char **argv);
/** Whether it is seen how connects end. @p p NULL: false. */
bool wm_plane_sees_outcomes(const struct wm_plane *p);
/** What is attached where. */
struct wm_plane_hook {
	const char *name;  /* "connect4", "dns_lo" */
	const char *where; /* cgroup path or device; "kernel": a tracepoint */
	const char *how;   /* "link", "tcx", "clsact", "tracepoint", "-" */
	uint32_t prog_id, link_id;
	uint32_t verified_insns; /* instructions the verifier processed; 0 unknown */
	int error;		 /* 0 or why not */
	bool waiting;		 /* error is that a pod's device is not there, which is no fault */
	bool spare;	/* what is done without it is less, and not wrong: no fault either */
	char text[160]; /* for people when error != 0 */
	/* the wm_plane_attach() before, for telling what changed */
	bool known;    /* had this hook */
	bool was_lost; /* and it was found detached meanwhile */
	int was_error;
	uint32_t was_link_id;
};
unsigned wm_plane_hooks(const struct wm_plane *p, const struct wm_plane_hook **ret);
/** The routes by which the ranges of virtual addresses are unreachable for who is not steered. One
 *  that somebody else made is not touched. Like the links, they outlive the process. */
struct wm_plane_route {
	char prefix[48]; /* "240.0.0.0/5" */
	int error;	 /* 0 or why there is none of ours */
	char text[96];	 /* for people when error != 0 */
};
unsigned wm_plane_routes(const struct wm_plane *p, const struct wm_plane_route **ret);
const char *wm_plane_pin_dir(const struct wm_plane *p);
/** Sum of the per-CPU counters, WM_COUNTER_COUNT of them. @return 0 or negative errno. */
int wm_plane_counters(struct wm_plane *p, uint64_t *ret);
/* A pass over the machine's sockets, in a thread of its own. A socket may be missed while others
 * come and go: that there is none is only known from two passes. Those of other network namespaces
 * are seen where the kernel has an iterator over socket storage, or where the agent may enter them.
 */
struct wm_pass;
enum wm_pass_kind {
	WM_PASS_COUNT,	   /* connections steered to a backend that is WM_STATE_DRAIN now */
	WM_PASS_ABORT,	   /* ends UDP sockets of the backends given by wm_plane_lost() */
	WM_PASS_ABORT_TCP, /* TCP sockets too */
	WM_PASS_HELD,	   /* entries of `connections` that a socket has */
};
struct wm_pass_result {
	int error;	      /* 0, or why nothing is known */
	const uint32_t *open; /* sockets by backend, as many as there are backends; of HELD by
			       * entry of `connections` */
	uint64_t udp, tcp;    /* of ABORT: sockets that were ended */
	unsigned namespaces;  /* that were visited */
	unsigned unseen;      /* that could not be entered */
	int unseen_error;     /* why, or why not all are known; 0: everything was seen */
	uint64_t took_ns;
};
/** Whether the kernel has what @p kind needs. @p ret_everywhere: one iterator sees all network
 *  namespaces. @return 0, -ENOTCONN while connect() is not steered (COUNT), or the kernel's errno.
 */
int wm_pass_possible(struct wm_plane *p, enum wm_pass_kind kind, bool *ret_everywhere);
/** @return 0, -ENOMEM, as wm_pass_possible(). */
int wm_pass_start(struct wm_plane *p, enum wm_pass_kind kind, struct wm_pass **ret);
/** NULL while it runs. Borrowed from the pass. */
const struct wm_pass_result *wm_pass_result(struct wm_pass *x);
/** Waits for its end; before the plane is closed. NULL ok. */
void wm_pass_free(struct wm_pass *x);
/** Have passes of ABORT end what is connected to the occupant @p stamp of backend @p index, by
 *  WM_LOST_*; 0: nothing any more. Cost: one store. Without a map of it nothing happens. */
void wm_plane_lost(struct wm_plane *p, uint32_t index, uint32_t stamp, uint32_t protocols);
/** Is no socket connected to the occupants that wm_plane_lost() named of the @p count backends of
 *  @p list? A connect() that chose before may count a moment later. False also where connections
 * are not all counted. */
bool wm_plane_none_connected(struct wm_plane *p, const uint32_t *list, uint32_t count);
/** Is there an entry from before @p before_ns, or are they not known? Cost
 * O(kernel.connections_max).
 */
bool wm_plane_connected_before(struct wm_plane *p, uint64_t before_ns);
/** Free what two passes of HELD met no socket of, of the entries from before @p before_ns, when the
 *  first began. @return how many. */
unsigned wm_plane_free_unheld(struct wm_plane *p, const uint32_t *first, const uint32_t *second,
			      uint64_t before_ns);
/** What open sockets are connected by, as layout.h has it; programs write it meanwhile. It is
 * mapped until wm_plane_connections_done() was called as often: with all its pages it would be most
 * of an idle agent's memory. Cost some 0.2 ms. @return NULL: not now. */
const struct wm_connection *wm_plane_connections(struct wm_plane *p, uint32_t *ret_cap);
void wm_plane_connections_done(struct wm_plane *p);
uint32_t wm_plane_connections_max(const struct wm_plane *p); /* entries */
/** How connects to backends went, parallel to them (waymark/outcome.h); programs write it
 *  meanwhile. Mapped until wm_plane_outcomes_done(), as connections are; one caller at a time.
 *  NULL: nobody looks, or not now. */
const struct wm_connects *wm_plane_outcomes(struct wm_plane *p);
void wm_plane_outcomes_done(struct wm_plane *p);
/** Why nobody was taken, parallel to sets (waymark/refusal.h); programs write it meanwhile. NULL:
 *  nobody steers. */
const struct wm_refusals *wm_plane_refusals(const struct wm_plane *p);
/** Which clients of pods and links may ask the programs of DNS: those of the @p count networks at
 *  @p allow, or all where there are none. Before the first wm_plane_attach() and at any time after.
 *  @return 0, or an errno of the kernel, negative: then those of before may still ask. */
int wm_plane_guard(struct wm_plane *p, const struct wm_guard_prefix *allow, unsigned count);
/** Drop what one pod asks more than @p pod_per_s times a second, and drop or cut what a network of
 * a link is told more than @p rate_per_s times (waymark/rate.h); 0: no bound. At any time.
 *  @return 0, or an errno of the kernel, negative: then the bounds of before hold. */
int wm_plane_limits(struct wm_plane *p, unsigned pod_per_s, unsigned rate_per_s);
/* What a pod has asked of the programs of DNS since they were loaded. */
struct wm_plane_pod {
	const char *device;	   /* until the next wm_plane_attach() */
	uint64_t queries, dropped; /* of these */
};
/** The next pod from @p at on, 0 at first. @return false: that was the last. Cost: a system call.
 */
bool wm_plane_pod(const struct wm_plane *p, unsigned *at, struct wm_plane_pod *ret);
/** The keys that the programs of DNS make cookies with; count 0: they make none. As
 * wm_plane_guard().
 */
int wm_plane_cookies(struct wm_plane *p, const struct wm_cookie_keys *k);
struct wm_plane_map {
	const char *name;
	uint32_t id, max_entries;
	uint64_t bytes;
};
unsigned wm_plane_maps(const struct wm_plane *p, const struct wm_plane_map **ret);
/** Close file descriptors. Pins and links stay: the kernel keeps serving. NULL ok. */
void wm_plane_close(struct wm_plane *p);
/** Detach every link, remove every pin under @p pin_dir and the routes made with them. Works
 *  without an agent. One that runs holds the directory: then -EBUSY, unless @p force; it will
 * attach again. @return pins removed, or negative errno. */
int wm_plane_detach(const char *pin_dir, bool force, struct wm_err *e);
/** Root of the first cgroup2 mount. @return 0, -ENOENT, -ENAMETOOLONG, negative errno. */
int wm_cgroup_root(char *buf, size_t cap);
/** Whether the cgroup2 directory @p path is the root of a cgroup namespace and not the machine's:
 *  processes outside of it are not below it. */
bool wm_cgroup_is_private(const char *path);
/** What would keep a plane of @p c from being opened and attached whole: the place of the pins, the
 *  cgroup, devices that answer in place, memory. Changes nothing. */
typedef void (*wm_plane_fault)(void *arg, const struct wm_err *e);
void wm_plane_foresee(const struct wm_plane_config *c, wm_plane_fault fn, void *arg);
