/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of dataplane/ share. Nobody else includes it but the plane's own
 * test.
 *
 * Pins under the pin directory:
 *   maps/<map>       the maps in use
 *   links/<hook>     cgroup and tcx links; "<hook>~" is a link about to take the place of an older
 * one clsact/<hook>    programs of clsact filters (kernels before 6.6), so that detach knows them
 *   tails/<id>       array of the programs that the DNS programs call, by its id: without a pin the
 *                    kernel empties it when the agent ends
 *   new/<map>        maps of another size or layout, being filled; they become maps/ when the links
 *                    use them, by two renames: maps -> old, new -> maps, then old is removed
 * <hook> is the program, and for devices "<program>@<device>" with '.' written '%', since bpffs
 * refuses dots. A crash between any two steps is put right by wm_pins_recover().
 * Ownership of a pin directory is a flock() on it, so that it ends with the process. */
#pragma once
#include "userspace/base/map.h"
#include "userspace/dataplane/plane.h"
#include "userspace/net/loop.h"
#include "waymark/dns_srv.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>

#define WM_PIN_PATH_MAX 512 /* octets of a path under the pin directory, NUL included */
#define WM_PIN_DIR_MAX                                                                             \
	256 /* octets of the pin directory: leaves room for the longest pin's name                 \
	     */
#define WM_DEVICES_MAX	 1024 /* hooks on devices: the pods of a node, and some */
#define WM_HOOK_NAME_MAX 64   /* octets of a pin's name in links/: program, '@', device, '~' */

enum wm_map_index {
	WM_MAP_CONFIG,
	WM_MAP_NAMES,
	WM_MAP_FRONTENDS,
	WM_MAP_NAME_SETS,
	WM_MAP_FRONTEND_SETS,
	WM_MAP_SETS,
	WM_MAP_HEADS,
	WM_MAP_SET_LIVE,
	WM_MAP_SLOTS,
	WM_MAP_BACKENDS,
	WM_MAP_BACKEND_LIVE,
	WM_MAP_TARGETS,
	WM_MAP_CONNECTIONS,
	WM_MAP_COUNTERS,
	WM_MAP_SOCKET_ORIGIN,
	WM_MAP_LAYOUT_VERSION,
	WM_MAP_COUNT,
};
/* The properties that a pinned map must have to be adopted; bpf/maps.h says the same to the kernel.
 */
struct wm_map_spec {
	const char *name;
	enum bpf_map_type type;
	uint32_t flags, key_size, value_size;
};
extern const struct wm_map_spec wm_map_specs[WM_MAP_COUNT];
/** Places of `name_sets`, or of `frontend_sets`, for @p entries of the hash: a power of two. */
uint32_t wm_likely_cap(uint32_t entries);
/** Entries of `connections`: a power of two. */
uint32_t wm_connections_cap(const struct wm_plane_config *c);
/** Bytes that the kernel says it charged for the map @p fd; 0: it does not say, as before 6.4. */
uint64_t wm_map_charged(int fd);
/** max_entries of map @p i under @p c. */
uint32_t wm_map_entries(const struct wm_plane_config *c, unsigned i);

/* Programs, in the order they are attached: what sees the end of sockets and what translates
 * answers before what steers. */
enum wm_prog_index {
	WM_PROG_SOCK_RELEASE,
	WM_PROG_GETPEERNAME4,
	WM_PROG_GETPEERNAME6,
	WM_PROG_RECVMSG4,
	WM_PROG_RECVMSG6,
	WM_PROG_TCP_OUTCOME,
	WM_PROG_SENDMSG4,
	WM_PROG_SENDMSG6,
	WM_PROG_CONNECT4,
	WM_PROG_CONNECT6,
	WM_PROG_DNS_LO,
	WM_PROG_DNS_VETH,
	WM_PROG_DNS_LINK,
	WM_PROG_DNS_SRV, /* tails.c puts these where the two call them */
	WM_PROG_DNS_HOT,
	WM_PROG_DNS_REST,
	WM_PROG_DNS_PLAIN,
	WM_PROG_DNS_READY,
	WM_PROG_DNS_ABSENT,
	WM_PROG_DNS_LIMIT,
	WM_PROG_DNS_OPTIONS,
	WM_PROG_DNS_TELL,
	WM_PROG_SOCK_STATE, /* of tracepoints, wm_trace_attach() */
	WM_PROG_SYN_AGAIN,
	/* iterators, attached to nothing: run when asked */
	WM_PROG_OPEN_SOCKETS,
	WM_PROG_OPEN_TCP,
	WM_PROG_OPEN_UDP,
	WM_PROG_TASK_NETNS,
	WM_PROG_HELD_TCP,
	WM_PROG_HELD_UDP,
	WM_PROG_ABORT_UDP,
	WM_PROG_ABORT_TCP,
	WM_PROG_COUNT,
};
#define WM_ITERATORS (WM_PROG_COUNT - WM_PROG_OPEN_SOCKETS)
enum wm_object_index {
	WM_OBJECT_CONNECT,
	WM_OBJECT_DNS,
	WM_OBJECT_DRAIN,
	WM_OBJECT_NETNS,
	WM_OBJECT_ABORT,
	WM_OBJECT_OBSERVE,
	WM_OBJECT_PASSIVE,
	WM_OBJECT_COUNT
};
struct wm_prog {
	bool wanted;
	int fd; /* borrowed from the object; -1: not loaded */
	uint32_t id, verified_insns;
	int error;
	int refused; /* the kernel's errno, negative; 0: loaded, or not tried */
	char text[160];
};

/* Hooks that programs of two tables are attached to at once: those that show and release. */
#define WM_BESIDE_MAX	WM_PROG_TCP_OUTCOME
#define WM_PREFIXES_MAX 32 /* routes: a /4 that holds 255.255.255.255 is 28, and one for IPv6 */
struct wm_prefix {
	int family; /* AF_INET, AF_INET6 */
	unsigned bits;
	uint8_t addr[16]; /* network order; zero behind the address */
};

/* The operator's way to choose. */
struct wm_custom {
	void *file; /* as it was read; NULL: none */
	size_t file_len;
	void *linked; /* with ours; NULL: ours is loaded alone */
	size_t linked_len;
	char refused[240]; /* why it is not in use; empty: it is, or there is none */
};

enum wm_kept_index {		       /* see wm_kept_maps */
		     WM_KEPT_AFFINITY, /* which backend a client had */
		     WM_KEPT_LEFT_OUT, /* cgroups that are left alone */
		     WM_KEPT_COUNT
};

/* An array of the kernel's of which a part is mapped, from its beginning on: the kernel puts all
 * pages of a mapping into this process' memory at once. What lies behind reads as zeros, as what
 * was never written does, and cannot be written. Zero: none. */
struct wm_window {
	int fd, prot;
	void *at; /* stays */
	size_t len, mapped;
	uint64_t parts; /* or, of one that is mapped here and there: which */
};

struct wm_plane {
	struct wm_plane_config c; /* strings are our copies */
	char **lo_devices, **veth_devices, **link_devices;
	int lock_fd;
	int map_fd[WM_MAP_COUNT];
	int kept_fd[WM_KEPT_COUNT];		/* of kept.c; -1: none yet */
	void *mem[WM_MAP_COUNT];		/* mappings; NULL where a map is not mapped */
	struct wm_window windows[WM_MAP_COUNT]; /* that `mem` is of, but connections' */
	unsigned connections_used;		/* who looks at them: mapped only as long */
	struct wm_plane_map maps[WM_MAP_COUNT];
	bool cgroup_found; /* c.cgroup is not configured but the root of a mount */
	bool staged;	   /* the maps are pinned in new/ until wm_plane_attach() */
	bool traced;	   /* how connects end is seen by tracepoints */
	bool no_trace;	   /* for tests: as where the kernel refuses them */
	bool no_tcx;	   /* attach to devices by clsact: the kernel has no tcx links */
	struct bpf_object *objects[WM_OBJECT_COUNT];
	struct wm_prog progs[WM_PROG_COUNT];
	struct wm_custom custom;
	struct wm_deny_zone zones[WM_DENY_ZONES];
	struct wm_deny_label dc;
	struct wm_srv_end srv_ends[2]; /* in the order of `zones` */
	struct wm_plane_hook *hooks;
	unsigned hooks_count, hooks_cap;
	const struct wm_plane_hook *before; /* of the attach before, while one runs */
	unsigned before_count;
	struct wm_device *devices; /* of this namespace, as attached to; the hooks name them */
	unsigned devices_count, devices_left_out; /* those that match and are too many */
	struct wm_plane_ops ops;
	struct wm_plane_route routes[WM_PREFIXES_MAX];
	unsigned routes_count;
	int beside[WM_BESIDE_MAX +
		   1]; /* links of the old tables; while they give way to new ones */
	unsigned beside_count;
	bool routed;		     /* routes that an earlier run left were looked for */
	int iterators[WM_ITERATORS]; /* links; -1: not made yet */
	wm_lost_word *lost;	     /* mapping of bpf/abort.bpf.c's table; NULL: none */
	struct wm_window lost_window;
	struct wm_window outcomes; /* mapping of bpf/outcome.h's table, while it is looked at */
	const struct wm_refusals *refusals; /* mapping of bpf/connect.bpf.c's; NULL: none */
	struct wm_window refusals_window;
	uint64_t *ready; /* mapping of bpf/dns_ready.h's words; NULL: none */
	struct wm_window ready_window;
	int events_fd;		    /* ring buffer that programs tell by; -1: none */
	struct wm_name_key name_at; /* where the walks of wm_plane_ops stand */
	struct wm_frontend_key frontend_at;
	struct wm_ahead *names_ahead, *frontends_ahead; /* NULL: one by one */
	struct wm_target target;			/* that was looked up last */
	unsigned targets_looked_up;			/* since they rested */
};

/* --- windows.c --- */
/** Room for @p len octets of the array behind @p fd, of which the first are mapped. @return 0, or
 *  negative errno. */
int wm_window_open(struct wm_window *w, int fd, size_t len, int prot);
/** Map so many octets at least; no window: nothing. @return 0, or negative errno. */
int wm_window_reach(struct wm_window *w, size_t octets);
/** Of a window that was never reached: let @p len octets from @p from on be there, until
 * wm_window_rest(). @return 0, or negative errno. Cost: nothing where they are. */
int wm_window_look(struct wm_window *w, size_t from, size_t len);
/** Let go of all that was looked at. */
void wm_window_rest(struct wm_window *w);
/** Up to the last that is not zero. Cost O(len). */
int wm_window_reach_used(struct wm_window *w);
void wm_window_close(struct wm_window *w);

/* --- kept.c: maps of the connect programs that go over from run to run --- */
struct wm_kept_map {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_size, value_size, entries, flags;
};
extern const struct wm_kept_map wm_kept_maps[WM_KEPT_COUNT];
/** The map: what the programs that an earlier run left attached have, or a new one. @return fd, or
 *  negative errno. */
int wm_kept_open(const char *pin_dir, const struct wm_kept_map *m);

/* --- libbpf.c: libbpf's messages, and system calls that libbpf 1.1 lacks --- */
/** Collect libbpf's warnings instead of printing them. Call before any other use of libbpf. */
void wm_bpf_capture(void);
/** Forget what was collected. */
void wm_bpf_log_reset(void);
/** Last line collected since the reset, without "libbpf: "; "" when none. Static memory. */
const char *wm_bpf_log_last(void);
/** Copy the line of a verifier's log that says why, into @p buf. */
void wm_bpf_verifier_reason(const char *log, char *buf, size_t cap);
/** Link a SCHED_CLS program to the tcx ingress of a device, in front of those that are there.
 *  @return link fd or negative errno. */
int wm_tcx_link_create(int prog_fd, uint32_t ifindex);
/** Link a program to a cgroup, in front of those that are there where the kernel can (6.17), else
 *  behind them. @return link fd or negative errno. */
int wm_cgroup_link_in_front(int prog_fd, int cgroup_fd, enum bpf_attach_type type);
/** Whether tcx link @p link_id is attached to the ingress of @p ifindex in this network namespace.
 */
bool wm_tcx_link_is_on(uint32_t link_id, uint32_t ifindex);
#define WM_QUERY_MAX 64 /* programs on one hook that a query lists; the kernel's own bound */
/** Programs on the tcx ingress of @p ifindex, into WM_QUERY_MAX. @return how many or negative
 * errno. */
int wm_tcx_progs(uint32_t ifindex, uint32_t *ret_ids);
/** Load a program of two instructions that returns 0. @return fd or negative errno. */
int wm_bpf_null_prog(enum bpf_prog_type type, enum bpf_attach_type attach, const char *name);
/** What the kernel says to a tcx link, a link to a cgroup, a program that calls @p helper, by
 * trying.
 *  @return 0, or its errno, negative. */
int wm_bpf_try_tcx(void);
int wm_bpf_try_cgroup_link(void);
int wm_bpf_try_helper(enum bpf_prog_type type, enum bpf_func_id helper);
/** Load an iterator over @p target ("tcp", "bpf_sk_storage_map") that does nothing. @return 0 or
 * the kernel's errno, negative; -ENOENT where it has no such target. */
int wm_bpf_try_iterator(const char *target);
/** Load with a helper, by trying. */
bool wm_bpf_has_helper(enum bpf_prog_type type, enum bpf_func_id helper);

/** May a program of sockets look into the kernel's own (6.2)? */
bool wm_bpf_has_cast(void);

/* --- pins.c: the pin directory --- */
bool wm_pins_is_bpffs(const char *path);
/** Does @p pin_dir lie on a bpffs? @return 0, or the error with the way out. */
int wm_pins_check_place(const char *pin_dir, struct wm_err *e);
/** Check that @p pin_dir lies on a bpffs, make it, own it. @return lock fd or negative errno. */
int wm_pins_open(const char *pin_dir, struct wm_err *e);
/** Path @p pin_dir/@p dir[/@p name] into @p buf of WM_PIN_PATH_MAX. @return 0 or -ENAMETOOLONG. */
int wm_pins_path(char *buf, const char *pin_dir, const char *dir, const char *name);
bool wm_pins_exists(const char *pin_dir, const char *dir);
/** Unlink every pin in @p pin_dir/@p dir and the directory. @return pins removed, negative errno.
 */
int wm_pins_remove_dir(const char *pin_dir, const char *dir);
/** Finish or undo what an earlier process was killed in. @return 0 or negative errno. */
int wm_pins_recover(const char *pin_dir);
/** new/ becomes maps/. @return 0 or negative errno; wm_pins_recover() finishes a half-done one. */
int wm_pins_publish_new(const char *pin_dir);
/** Whether a running agent owns @p pin_dir. */
bool wm_pins_held(const char *pin_dir);
/** Whether @p lock_fd is the directory that stands at @p pin_dir: it may have been removed. */
bool wm_pins_owned(int lock_fd, const char *pin_dir);
/** Call @p fn for every entry of @p pin_dir/@p dir; a missing directory has none.
 *  @return sum of what fn returned, or its first negative result. */
int wm_pins_each(const char *pin_dir, const char *dir,
		 int (*fn)(void *arg, const char *path, const char *name), void *arg);

/* --- prog_maps.c --- */
/** The first map of a program, in the order of ids, of which @p is says that it is the one.
 *  @return fd, -ENOENT. */
int wm_prog_map(int prog_fd, bool (*is)(const void *arg, const struct bpf_map_info *m),
		const void *arg);

/* --- maps.c --- */
/** Adopt the pinned maps or create new ones; fills map_fd, staged. */
int wm_maps_open(struct wm_plane *p, bool *ret_adopted, struct wm_err *e);
/** Map the arrays and describe all maps. */
int wm_maps_map(struct wm_plane *p, bool adopted, struct wm_err *e);
/** Entries of map @p i that are mapped, from the first on. */
size_t wm_maps_reached(const struct wm_plane *p, unsigned i);
void wm_maps_close(struct wm_plane *p);
/** Whether map @p i has no pin, or the pin that it should have is another map's; @p ret_dir: where
 *  under the pin directory. Cost: some system calls. */
bool wm_maps_pin_lost(const struct wm_plane *p, unsigned i, const char **ret_dir);
/** Maps whose pin is missing. */
unsigned wm_maps_unpinned(const struct wm_plane *p);
/** Own the pin directory again and pin what is missing. @return 0 or negative errno. */
int wm_maps_repin(struct wm_plane *p, struct wm_err *e);
void wm_maps_ops(struct wm_plane *p);

/* --- probe.c --- */
struct wm_finding;
/** Tell one finding, with this text. */
void wm_finding_tell(void (*fn)(void *arg, const struct wm_finding *f), void *arg,
		     struct wm_finding f, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* --- load.c --- */
/** Load the wanted programs. A refused one carries its error; the others go on. */
void wm_progs_load(struct wm_plane *p);
void wm_progs_close(struct wm_plane *p);
/** Let tables that are parallel to an array (enum wm_table_array) be mapped for @p count entries.
 *  @return 0, or negative errno. */
int wm_progs_reach(struct wm_plane *p, unsigned array, uint32_t count);
/** Load the programs that end sockets, with maps of their own, and drop them. @return 0 or the
 *  errno, negative; -ESRCH where the kernel has no bpf_sock_destroy(). */
int wm_progs_try_abort(void);
const char *wm_prog_name(unsigned i);
/** The map @p name of the DNS programs. @return fd, borrowed; -ENOENT: they are not loaded, or have
 *  none. */
int wm_dns_map(const struct wm_plane *p, const char *name);
/** In the helper: link @p file to our object and do what the agent will do with that. What the
 *  kernel says of it is not told, the agent asks it itself. @return as wm_custom_link_here(). */
int wm_custom_rehearse(void *file, size_t file_len, void **ret, size_t *ret_len, struct wm_err *e);
/** Cookie of this network namespace; 0 where the kernel does not tell (< 5.14). */
uint64_t wm_own_netns(void);
/** Load the program that sees listeners, with maps of its own, and drop it. @return 0 or negative
 *  errno. */
int wm_progs_try_observe(void);
/** The same of the program that sees how connects end. */
int wm_progs_try_passive(void);
/** First object file of the maps alone: open, not loaded. NULL on failure. */
struct bpf_object *wm_maps_object(void);

/* --- tails.c: programs that the DNS programs call --- */
#define WM_TAILS_DIR "tails" /* of the pin directory */
/** Put those that were loaded where the others find them. What is missing userspace answers. */
void wm_tails_fill(struct wm_plane *p);
/** Pin the array, before programs are attached that use it. @return 0 or negative errno. */
int wm_tails_pin(const struct wm_plane *p);
/** Whether its pin is missing. */
bool wm_tails_unpinned(const struct wm_plane *p);
/** Whether the program that belongs in slot @p i, below WM_DNS_TAILS, was loaded and is not there.
 *  @p ret_name its name. Cost: a system call. */
bool wm_tails_lacks(const struct wm_plane *p, uint32_t i, const char **ret_name);
/** Slots that lack their program. */
unsigned wm_tails_lacking(const struct wm_plane *p);
/** Take from those of earlier runs what would give answers again that this run does not know of. */
void wm_tails_forget(const struct wm_plane *p);
/** Remove those of earlier runs, when no program is attached any more that uses them. @return 0 or
 *  negative errno. */
int wm_tails_sweep(const struct wm_plane *p);

/* --- ready.c --- */
/** Size the maps of answers that userspace made. */
void wm_ready_size(const struct wm_plane *p, struct bpf_object *o);
/** Places for answers that are long. */
uint32_t wm_ready_large_entries(const struct wm_plane_config *c);

/* --- custom.c --- */
/** Read the object file @p path. @return 0 with @p ret for free(), or the error with words. */
int wm_custom_read(const char *path, void **ret, size_t *ret_len, struct wm_err *e);
/** Link it to @p ours, in this process: libbpf may die of it. @return 0 with the object file in
 *  @p ret for free(), or the error. */
int wm_custom_link_here(void *file, size_t file_len, const void *ours, size_t ours_len, void **ret,
			size_t *ret_len, struct wm_err *e);
/** A file in memory. @return its descriptor or negative errno. */
int wm_custom_memory_file(const void *data, size_t len);
/** All that is in the file @p fd. @return 0 with @p ret for free(), or negative errno. */
int wm_custom_read_back(int fd, void **ret, size_t *ret_len);

/* --- custom_child.c --- */
/** Link what wm_custom_read() gave to our object, in a process of its own (see
 *  wm_plane_custom_helper()). @return 0 with the object file in @p ret for free(), of which is
 *  known that libbpf survives it, or the error. Waits for the process, 15 s at most. */
int wm_custom_link(const void *file, size_t file_len, void **ret, size_t *ret_len,
		   struct wm_err *e);

/* --- device.c, cgroup.c --- */
struct wm_device {
	uint32_t ifindex;
	bool loopback, ethernet;
	bool peer_elsewhere; /* a veth whose other end is in another namespace */
	char name[16];	     /* IFNAMSIZ */
	char kind[16];	     /* "veth", "" */
};
/** Look up a device of this network namespace. @return 0, -ENODEV, negative errno. */
int wm_device_get(const char *name, struct wm_device *ret);
/** Whether a device of the configuration is a pattern. */
bool wm_device_is_glob(const char *name);
/** All of them, for free(). @return how many, or negative errno. */
int wm_devices_list(struct wm_device **ret);
struct wm_device_monitor;
/** Call @p fn when a device of this network namespace came, went or changed, or when the kernel
 * lost such news. @return NULL where it cannot be: then devices are seen when links are verified.
 */
struct wm_device_monitor *wm_device_monitor_new(struct wm_loop *l, void (*fn)(void *arg),
						void *arg);
void wm_device_monitor_free(struct wm_device_monitor *m); /* NULL ok */
/** Path of cgroup @p id below the mount, by its handle. @return 0, -ESTALE (gone), -EPERM. */
int wm_cgroup_path(uint64_t id, char *buf, size_t cap);
/** Open a directory of a cgroup2. @return fd, -EINVAL (no cgroup2), negative errno. */
int wm_cgroup_open(const char *path, uint64_t *ret_id);

/** errno of a libnl error, negative. */
int wm_nl_errno(int nl);

/* --- route.c: unreachable routes for the ranges of virtual addresses --- */
/** The prefixes that the ranges of @p c are routed by. @return their number. */
unsigned wm_routes_of(const struct wm_plane_config *c, struct wm_prefix ret[WM_PREFIXES_MAX]);
/** Add what is missing; at the first call remove what an earlier run of other settings left. Fills
 *  p->routes. @return 0, or why the routes could not be listed. */
int wm_routes_apply(struct wm_plane *p);
/** How a packet to @p addr4_be leaves, in words. @return 0: by the default route, 1: by one of its
 *  own, or negative errno: not at all. */
int wm_route_lookup(uint32_t addr4_be, char *buf, size_t cap);
/** Remove the routes of the agent of @p pin_dir but those in @p keep. @return how many, or negative
 *  errno. */
int wm_routes_remove(const char *pin_dir, const struct wm_prefix *keep, unsigned keep_count);
/** "240.0.0.0/5". */
void wm_prefix_text(const struct wm_prefix *x, char *buf, size_t cap);

/* --- attach.c --- */
/** The attach type of a program of a cgroup, WM_PROG_SOCK_RELEASE to WM_PROG_CONNECT6. */
enum bpf_attach_type wm_cgroup_type(unsigned prog);
/** Attach program @p prog of a tracepoint, if it is not: before wm_plane_attach() does, where its
 *  maps are in use already. @p ret_link_id may be NULL. @return 0 or negative errno. */
int wm_plane_trace(const struct wm_plane *p, unsigned prog, uint32_t *ret_link_id);
/** Whether it is wanted to see how connects end. */
bool wm_plane_judges(const struct wm_plane *p);
/** Whether a hook of @p p is attached and pinned as wm_plane_attach() left it. */
bool wm_plane_holds(const struct wm_plane *p, const struct wm_plane_hook *h);

/** The device @p name as the attach saw it, or NULL. */
const struct wm_device *wm_device_of(const struct wm_plane *p, const char *name);

/* --- pod_asks.c: how much each pod asks --- */
/** Count what comes by device @p ifindex, before it is attached to. @p peer: answers go straight to
 *  its other end, which is in another namespace. */
void wm_pod_asks_begin(const struct wm_plane *p, uint32_t ifindex, bool peer);
/** Forget those of devices that are not attached to any more. */
void wm_pod_asks_sweep(const struct wm_plane *p);

/* --- ahead.c: a walk over a hash map that reads many entries a call --- */
struct wm_ahead;
/** @p fd is borrowed. @return NULL without memory. */
struct wm_ahead *wm_ahead_new(int fd, size_t key_size, size_t value_size);
void wm_ahead_free(struct wm_ahead *a); /* NULL ok */
/** The next entry; what was deleted since may come. @return 0, -ENOENT at the end, another errno.
 */
int wm_ahead_next(struct wm_ahead *a, bool first, void *key, void *value);

/* --- carry.c: connections from the tables that are pinned to those that are staged --- */
struct wm_carry;
/** @return NULL: the pinned tables have none, or no memory. */
struct wm_carry *wm_carry_new(struct wm_plane *p);
void wm_carry_free(struct wm_carry *c); /* NULL ok */
/** Copy what is not there yet. NULL ok. */
void wm_carry_over(struct wm_carry *c);
/** Free copies whose socket was closed before the new programs saw the end of sockets. NULL ok. */
void wm_carry_sweep(struct wm_carry *c);

/* --- observe.c --- */
struct wm_listen_list;
/** Add the sockets that listen in the calling thread's network namespace. Any thread. @return 0 or
 *  negative errno. */
int wm_listen_read(struct wm_listen_list *s);

/* --- pass.c --- */
/** Link of task_netns, made where there is none. @return fd or negative errno. */
int wm_task_link(struct wm_plane *p);

/* --- netns.c --- */
struct wm_netns {
	uint32_t inode;
	unsigned tries;
	int fd, error;
};
struct wm_netns_list {
	struct wm_netns *all; /* open ones */
	unsigned count, cap;
	uint32_t own;
	unsigned unseen;  /* that could not be opened */
	int unseen_error; /* why the last of them */
	int error; /* why there may be others that nobody knows of: 0, negative errno; -EXDEV:
		    * our pid namespace is not the machine's */
};
/** The network namespaces beside that of the calling thread. @p task_link_fd: of task_netns, or the
 *  error that it met. Free after use. Any thread. */
void wm_netns_list(struct wm_netns_list *l, int task_link_fd);
void wm_netns_list_free(struct wm_netns_list *l);

/* --- links.c: one hook at a time --- */
struct wm_attach {
	const char *pin_dir;
	const char *pin_name; /* in links/, clsact/ or observe/ */
	int prog_fd;
	uint32_t prog_id;
	const char *prog_name;
	int cgroup_fd; /* -1: a device */
	uint64_t cgroup_id;
	enum bpf_attach_type type;
	uint32_t ifindex;
	uint32_t had_link_id; /* that this hook had; 0: none */
	int *beside;	      /* where the link that is there is kept attached; NULL: it is moved */
};
/** Attach by a pinned link: move the one that is there, or make one; a link that has the program
 *  already is left as it is. @return 0 or negative errno; after a failure nothing is attached for
 *  this hook. */
int wm_link_attach(const struct wm_attach *a, uint32_t *ret_link_id);
/** Attach by a clsact filter. Same terms. */
int wm_clsact_attach(const struct wm_attach *a);
#define WM_TRACE_DIR "observe" /* of the pin directory: links of tracepoints */
/** Attach to the tracepoint that the program names. A link of such a kind cannot be moved to
 *  another program: the new one is attached beside, then its pin takes the place of the old one's,
 *  and for that moment both see what happens. The pin alone holds it. @return 0 or negative errno:
 *  then what was there is there still. */
int wm_trace_attach(const struct wm_attach *a, uint32_t *ret_link_id);
bool wm_trace_holds(const struct wm_attach *a, uint32_t link_id);
/** Whether link @p link_id is pinned for this hook, alive, where it is wanted, and has the program;
 *  the same of a filter. */
/* Where a link is attached: ifindex or cgroup_id is 0. */
struct wm_link_place {
	uint32_t id, prog_id, ifindex;
	uint64_t cgroup_id;
	bool traced; /* of a tracepoint */
};
/** @return 0, -ENOENT: attached to nothing (its cgroup or device is gone) or no such kind of link.
 */
int wm_link_place(int fd, struct wm_link_place *ret);
/** Whether the filter that the pin at @p path is for is on its device. */
bool wm_clsact_is_on(const char *path, const char *pin_name);
bool wm_link_holds(const struct wm_attach *a, uint32_t link_id);
bool wm_clsact_holds(const struct wm_attach *a);
/** Detach what the pin at @p path keeps attached and remove the pin. @return 1 or negative errno.
 */
int wm_link_detach(const char *path);
int wm_clsact_detach(const char *path, const char *pin_name);
/** Name of a hook's pin. @p device may be NULL. */
void wm_hook_pin_name(char *buf, const char *prog, const char *device);
