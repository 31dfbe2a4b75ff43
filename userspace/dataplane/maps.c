/* SPDX-License-Identifier: Apache-2.0 */
/* maps.c - create the maps or adopt the pinned ones, map the arrays, reach the hashes.
 * A set of pinned maps is adopted whole or not at all: layout version, sizes and flags of every map
 * must be what this run wants. Only socket_origin is carried over to a new set, so that open
 * sockets keep what they dialled. */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/dataplane/internal.h"
#include "waymark/counters.h"
#include "waymark/likely.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TARGETS_LOOKED_UP 32 /* each is a call; of more, parts of the map are looked at */

static struct wm_layout wanted_layout(const struct wm_plane_config *c)
{
	return (struct wm_layout){
		.version = WM_LAYOUT_VERSION,
		.names = c->names,
		.frontends = c->frontends,
		.sets = c->sets,
		.slots = c->slots,
		.backends = c->backends,
		.connections = wm_connections_cap(c),
	};
}

/* Where a hash's elements lie is nothing that its readers see: one of before is as good. */
#define IRRELEVANT_FLAGS ((uint32_t)BPF_F_NO_PREALLOC)

/* @return fd of the pinned map if it is what @p i has to be, else -1. */
static int open_pinned(const struct wm_plane *p, const char *dir, unsigned i)
{
	const struct wm_map_spec *s = &wm_map_specs[i];
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	char path[WM_PIN_PATH_MAX];
	int fd;

	if (wm_pins_path(path, p->c.pin_dir, dir, s->name))
		return -1;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -1;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == s->type &&
	    !((info.map_flags ^ s->flags) & ~IRRELEVANT_FLAGS) && info.key_size == s->key_size &&
	    info.value_size == s->value_size && info.max_entries == wm_map_entries(&p->c, i))
		return fd;
	close(fd);
	return -1;
}

static void close_fds(struct wm_plane *p)
{
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		wm_closep(&p->map_fd[i]);
}

static bool adopt(struct wm_plane *p, const char *dir)
{
	struct wm_layout want = wanted_layout(&p->c), is = {0};
	uint32_t zero = 0;

	if (!wm_pins_exists(p->c.pin_dir, dir))
		return false;
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		p->map_fd[i] = open_pinned(p, dir, i);
		if (p->map_fd[i] < 0) {
			close_fds(p);
			return false;
		}
	}
	if (!bpf_map_lookup_elem(p->map_fd[WM_MAP_LAYOUT_VERSION], &zero, &is) &&
	    !memcmp(&want, &is, sizeof(want)))
		return true;
	close_fds(p);
	return false;
}

/* Give the object its sizes, and the socket storage that is already in use. */
static int prepare(struct wm_plane *p, struct bpf_object *o, struct wm_err *e)
{
	_cleanup_close_ int origin = open_pinned(p, "maps", WM_MAP_SOCKET_ORIGIN);

	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		const struct wm_map_spec *s = &wm_map_specs[i];
		struct bpf_map *m = bpf_object__find_map_by_name(o, s->name);
		uint32_t n = wm_map_entries(&p->c, i);
		int r = 0;

		if (!m || bpf_map__value_size(m) != s->value_size ||
		    bpf_map__key_size(m) != s->key_size || bpf_map__map_flags(m) != s->flags)
			return wm_err_set(e, WM_E_INTERNAL,
					  "map %s of the object file is not what was built for",
					  s->name);
		if (i == WM_MAP_SOCKET_ORIGIN)
			r = origin >= 0 ? bpf_map__reuse_fd(m, origin) : 0;
		else
			r = bpf_map__set_max_entries(m, n);
		if (r)
			return wm_err_set(e, r, "sizing map %s: %s", s->name, strerror(-r));
	}
	for (unsigned i = 0; i < WM_KEPT_COUNT; i++) /* wm_kept_open() makes them */
		bpf_map__set_autocreate(bpf_object__find_map_by_name(o, wm_kept_maps[i].name),
					false);
	return 0;
}

static int pin_all(struct wm_plane *p, struct bpf_object *o, struct wm_err *e)
{
	struct wm_layout layout = wanted_layout(&p->c);
	char path[WM_PIN_PATH_MAX];
	uint32_t zero = 0;
	int r = wm_pins_path(path, p->c.pin_dir, "new", NULL);

	if (!r && mkdir(path, 0700) < 0)
		r = -errno;
	if (r)
		return wm_err_set(e, r, "making %s: %s", path, strerror(-r));
	/* layout_version is the last in order: a set without it was not finished. */
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		const char *name = wm_map_specs[i].name;

		p->map_fd[i] = fcntl(bpf_map__fd(bpf_object__find_map_by_name(o, name)),
				     F_DUPFD_CLOEXEC, 3);
		r = p->map_fd[i] < 0 ? -errno : 0;
		if (!r && i == WM_MAP_LAYOUT_VERSION)
			r = bpf_map_update_elem(p->map_fd[i], &zero, &layout, BPF_ANY);
		if (!r)
			r = wm_pins_path(path, p->c.pin_dir, "new", name);
		if (!r)
			r = bpf_obj_pin(p->map_fd[i], path);
		if (r)
			return wm_err_set(e, r, "pinning map %s: %s", name, strerror(-r));
	}
	return 0;
}

static int create(struct wm_plane *p, struct wm_err *e)
{
	struct bpf_object *o;
	int r = wm_pins_remove_dir(p->c.pin_dir, "new");

	if (r < 0)
		return wm_err_set(e, r, "removing %s/new: %s", p->c.pin_dir, strerror(-r));
	wm_bpf_log_reset();
	o = wm_maps_object();
	if (!o)
		return wm_err_set(e, WM_E_BPF_LOAD, "object file of the maps: %s",
				  wm_bpf_log_last());
	r = prepare(p, o, e);
	if (!r) {
		r = bpf_object__load(o);
		if (r)
			r = wm_err_set(e, r == -EPERM || r == -ENOMEM ? r : WM_E_BPF_LOAD,
				       "creating the maps: %s (%s)", strerror(-r),
				       wm_bpf_log_last());
	}
	if (!r)
		r = pin_all(p, o, e);
	bpf_object__close(o);
	if (r) {
		close_fds(p);
		wm_pins_remove_dir(p->c.pin_dir, "new");
	}
	return r;
}

int wm_maps_open(struct wm_plane *p, bool *ret_adopted, struct wm_err *e)
{
	bool adopted = true;
	int r;

	if (adopt(p, "maps")) {
		r = wm_pins_remove_dir(p->c.pin_dir, "new");
		if (r < 0)
			return wm_err_set(e, r, "removing %s/new: %s", p->c.pin_dir, strerror(-r));
		*ret_adopted = true;
		return 0;
	}
	/* A run of the same settings was killed while it filled new maps: go on with them. */
	if (!adopt(p, "new")) {
		adopted = false;
		r = create(p, e);
		if (r)
			return r;
	}
	p->staged = wm_pins_exists(p->c.pin_dir, "maps");
	if (!p->staged) {
		r = wm_pins_publish_new(p->c.pin_dir);
		if (r)
			return wm_err_set(e, r, "renaming %s/new: %s", p->c.pin_dir, strerror(-r));
	}
	*ret_adopted = adopted;
	return 0;
}

/* --- pins that somebody removed --- */
static const char *pins_of(const struct wm_plane *p)
{
	return p->staged ? "new" : "maps";
}

static bool is_pinned(const struct wm_plane *p, unsigned i)
{
	char path[WM_PIN_PATH_MAX];

	return !wm_pins_path(path, p->c.pin_dir, pins_of(p), wm_map_specs[i].name) &&
	       access(path, F_OK) == 0;
}

bool wm_maps_pin_lost(const struct wm_plane *p, unsigned i, const char **ret_dir)
{
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	char path[WM_PIN_PATH_MAX];

	*ret_dir = pins_of(p);
	if (wm_pins_path(path, p->c.pin_dir, *ret_dir, wm_map_specs[i].name))
		return true;
	fd = bpf_obj_get(path);
	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || info.id != p->maps[i].id;
}

unsigned wm_maps_unpinned(const struct wm_plane *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		n += !is_pinned(p, i);
	return n;
}

int wm_maps_repin(struct wm_plane *p, struct wm_err *e)
{
	char path[WM_PIN_PATH_MAX];
	int r = 0;

	if (!wm_pins_owned(p->lock_fd, p->c.pin_dir)) {
		int fd = wm_pins_open(p->c.pin_dir, e);

		if (fd < 0)
			return fd;
		wm_closep(&p->lock_fd);
		p->lock_fd = fd;
	}
	if (!wm_maps_unpinned(p))
		return 0;
	r = wm_pins_path(path, p->c.pin_dir, pins_of(p), NULL);
	if (!r && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	for (unsigned i = 0; !r && i < WM_MAP_COUNT; i++) {
		if (is_pinned(p, i))
			continue;
		r = wm_pins_path(path, p->c.pin_dir, pins_of(p), wm_map_specs[i].name);
		if (!r)
			r = bpf_obj_pin(p->map_fd[i], path);
	}
	return r ? wm_err_set(e, r, "pinning the maps in %s again: %s", p->c.pin_dir, strerror(-r))
		 : 0;
}

/* What Linux up to 6.3 tells instead, of a map of any type: keys and values, in pages. */
static uint64_t keys_and_values(const struct bpf_map_info *m)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), value = m->value_size, each;

	if (m->type == BPF_MAP_TYPE_PERCPU_ARRAY)
		value = (value + 7) / 8 * 8 * (uint64_t)libbpf_num_possible_cpus();
	each = (m->key_size + value + 7) / 8 * 8;
	return (each * m->max_entries + page - 1) / page * page;
}

uint64_t wm_map_charged(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	unsigned long long bytes = 0;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "memlock:", 8))
			bytes = strtoull(line + 8, NULL, 10);
	fclose(f);
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || bytes == keys_and_values(&info))
		return 0;
	return bytes;
}

static void describe(struct wm_plane *p, unsigned i, uint64_t estimate)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	/* of what is made when it is needed the kernel tells what there is so far */
	bool grows = wm_map_specs[i].type == BPF_MAP_TYPE_HASH;
	uint64_t bytes = grows ? 0 : wm_map_charged(p->map_fd[i]);

	if (bpf_obj_get_info_by_fd(p->map_fd[i], &info, &len))
		info.id = 0;
	p->maps[i] = (struct wm_plane_map){
		.name = wm_map_specs[i].name,
		.id = info.id,
		.max_entries = wm_map_entries(&p->c, i),
		.bytes = bytes ? bytes : estimate,
	};
}

size_t wm_maps_reached(const struct wm_plane *p, unsigned i)
{
	return p->windows[i].mapped / wm_map_specs[i].value_size;
}

/* Arrays of one index: what is in use in one of them is there in all. */
static const struct {
	enum wm_table_array array;
	unsigned map;
} arrays[] = {{WM_ARRAY_SETS, WM_MAP_SETS},	    {WM_ARRAY_SETS, WM_MAP_SET_LIVE},
	      {WM_ARRAY_HEADS, WM_MAP_HEADS},	    {WM_ARRAY_SLOTS, WM_MAP_SLOTS},
	      {WM_ARRAY_BACKENDS, WM_MAP_BACKENDS}, {WM_ARRAY_BACKENDS, WM_MAP_BACKEND_LIVE}};

static int reach(void *arg, unsigned array, uint32_t count)
{
	struct wm_plane *p = arg;
	int r = wm_progs_reach(p, array, count);

	for (unsigned i = 0; i < WM_ARRAY_LEN(arrays) && !r; i++)
		if (arrays[i].array == array)
			r = wm_window_reach(&p->windows[arrays[i].map],
					    (size_t)count * wm_map_specs[arrays[i].map].value_size);
	return r;
}

/* What an earlier run used. */
static int reach_used(struct wm_plane *p)
{
	int r = 0;

	for (unsigned i = 0; i < WM_ARRAY_LEN(arrays) && !r; i++)
		r = wm_window_reach_used(&p->windows[arrays[i].map]);
	for (unsigned i = 0; i < WM_ARRAY_LEN(arrays) && !r; i++)
		r = reach(p, arrays[i].array, (uint32_t)wm_maps_reached(p, arrays[i].map));
	return r;
}

int wm_maps_map(struct wm_plane *p, bool adopted, struct wm_err *e)
{
	uint64_t each[WM_MAP_COUNT];
	struct wm_config *config;
	int r;

	wm_plane_memory(&p->c, each, NULL);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		const struct wm_map_spec *s = &wm_map_specs[i];
		describe(p, i, each[i]);
		if (!(s->flags & BPF_F_MMAPABLE))
			continue;
		if (i == WM_MAP_CONNECTIONS) /* when somebody looks at them */
			continue;
		r = wm_window_open(&p->windows[i], p->map_fd[i],
				   (size_t)s->value_size * wm_map_entries(&p->c, i),
				   PROT_READ | PROT_WRITE);
		if (r)
			return wm_err_set(e, r, "mapping %s: %s", s->name, strerror(-r));
		p->mem[i] = p->windows[i].at;
		if (i == WM_MAP_NAME_SETS || i == WM_MAP_FRONTEND_SETS) /* in no order */
			r = wm_window_reach(&p->windows[i], p->windows[i].len);
		if (r)
			return wm_err_set(e, r, "mapping %s: %s", s->name, strerror(-r));
	}
	r = adopted ? reach_used(p) : 0;
	if (r)
		return wm_err_set(e, r, "mapping what is in use: %s", strerror(-r));
	config = p->mem[WM_MAP_CONFIG];
	if (!config->seed[0] && !config->seed[1] &&
	    getrandom(config->seed, sizeof(config->seed), 0) != sizeof(config->seed))
		return wm_err_set(e, -errno, "no random numbers: %s", strerror(errno));
	return 0;
}

void wm_maps_close(struct wm_plane *p)
{
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		wm_window_close(&p->windows[i]);
		p->mem[i] = NULL;
	}
	p->connections_used = 0;
	close_fds(p);
}

void wm_plane_memory_of(struct wm_plane *p, struct wm_table_memory *ret)
{
	*ret = (struct wm_table_memory){
		.config = p->mem[WM_MAP_CONFIG],
		.sets = p->mem[WM_MAP_SETS],
		.slots = p->mem[WM_MAP_SLOTS],
		.backends = p->mem[WM_MAP_BACKENDS],
		.heads = p->mem[WM_MAP_HEADS],
		.set_live = p->mem[WM_MAP_SET_LIVE],
		.live = p->mem[WM_MAP_BACKEND_LIVE],
		.sets_cap = p->c.sets,
		.heads_cap = wm_heads_cap(p->c.sets),
		.slots_cap = p->c.slots,
		.backends_cap = p->c.backends,
		.names_cap = p->c.names,
		.frontends_cap = p->c.frontends,
	};
}

const struct wm_connection *wm_plane_connections(struct wm_plane *p, uint32_t *ret_cap)
{
	void **at = &p->mem[WM_MAP_CONNECTIONS];

	*ret_cap = wm_connections_cap(&p->c);
	if (!*at) {
		size_t len = (size_t)*ret_cap * sizeof(struct wm_connection);
		struct wm_window *w = &p->windows[WM_MAP_CONNECTIONS];

		if (wm_window_open(w, p->map_fd[WM_MAP_CONNECTIONS], len, PROT_READ | PROT_WRITE))
			return NULL;
		if (wm_window_reach(w, len)) {
			wm_window_close(w);
			return NULL;
		}
		*at = w->at;
	}
	p->connections_used++;
	return *at;
}

uint32_t wm_plane_connections_max(const struct wm_plane *p)
{
	return wm_connections_cap(&p->c);
}

void wm_plane_connections_done(struct wm_plane *p)
{
	if (--p->connections_used)
		return;
	wm_window_close(&p->windows[WM_MAP_CONNECTIONS]);
	p->mem[WM_MAP_CONNECTIONS] = NULL;
}

unsigned wm_plane_maps(const struct wm_plane *p, const struct wm_plane_map **ret)
{
	*ret = p->maps;
	return WM_MAP_COUNT;
}

static uint64_t name_seal(const struct wm_name_key *k, const struct wm_name *v)
{
	struct wm_named head;

	memcpy(&head, v, sizeof(head));
	return wm_name_seal(k, &head);
}

static void put_likely(struct wm_plane *p, unsigned map, uint32_t entries, uint32_t at,
		       uint32_t set)
{
	struct wm_likely *l = p->mem[map];

	at &= wm_likely_cap(entries) - 1;
	WM_WRITE(l[at / WM_LIKELY_SETS].set[at % WM_LIKELY_SETS], set);
}

static int name_put(void *arg, const struct wm_name_key *k, const struct wm_name *v)
{
	struct wm_plane *p = arg;
	struct wm_name sealed = *v;

	sealed.seal = name_seal(k, v);
	put_likely(p, WM_MAP_NAME_SETS, p->c.names, wm_likely_name(k), v->set);
	return bpf_map_update_elem(p->map_fd[WM_MAP_NAMES], k, &sealed, BPF_ANY);
}

static int name_del(void *arg, const struct wm_name_key *k)
{
	struct wm_plane *p = arg;

	return bpf_map_delete_elem(p->map_fd[WM_MAP_NAMES], k);
}

static int frontend_put(void *arg, const struct wm_frontend_key *k, const struct wm_frontend *v)
{
	struct wm_plane *p = arg;
	struct wm_frontend sealed = *v;

	sealed.seal = wm_frontend_seal(k, v->set, v->flags);
	if (!(v->flags & WM_FRONTEND_F_EXACT)) /* then its ports say more */
		put_likely(p, WM_MAP_FRONTEND_SETS, p->c.frontends, wm_likely_address(k->addr_be),
			   v->set);
	return bpf_map_update_elem(p->map_fd[WM_MAP_FRONTENDS], k, &sealed, BPF_ANY);
}

static int frontend_del(void *arg, const struct wm_frontend_key *k)
{
	struct wm_plane *p = arg;

	return bpf_map_delete_elem(p->map_fd[WM_MAP_FRONTENDS], k);
}

static int name_get(void *arg, const struct wm_name_key *k, struct wm_name *v)
{
	struct wm_plane *p = arg;
	int r = bpf_map_lookup_elem(p->map_fd[WM_MAP_NAMES], k, v);

	if (!r)
		v->seal = v->seal != name_seal(k, v);
	return r;
}

static int frontend_get(void *arg, const struct wm_frontend_key *k, struct wm_frontend *v)
{
	struct wm_plane *p = arg;
	int r = bpf_map_lookup_elem(p->map_fd[WM_MAP_FRONTENDS], k, v);

	if (!r)
		v->seal = v->seal != wm_frontend_seal(k, v->set, v->flags);
	return r;
}

static int name_next(void *arg, bool first, struct wm_name_key *k, struct wm_name *v)
{
	struct wm_plane *p = arg;
	struct wm_name_key next;
	int r;

	if (p->names_ahead) {
		r = wm_ahead_next(p->names_ahead, first, k, v);
		if (!r)
			v->seal = v->seal != name_seal(k, v);
		return r;
	}
	r = bpf_map_get_next_key(p->map_fd[WM_MAP_NAMES], first ? NULL : &p->name_at, &next);
	if (r)
		return r;
	p->name_at = next;
	*k = next;
	return name_get(arg, k, v);
}

static int frontend_next(void *arg, bool first, struct wm_frontend_key *k, struct wm_frontend *v)
{
	struct wm_plane *p = arg;
	struct wm_frontend_key next;
	int r;

	if (p->frontends_ahead) {
		r = wm_ahead_next(p->frontends_ahead, first, k, v);
		if (!r)
			v->seal = v->seal != wm_frontend_seal(k, v->set, v->flags);
		return r;
	}
	r = bpf_map_get_next_key(p->map_fd[WM_MAP_FRONTENDS], first ? NULL : &p->frontend_at,
				 &next);
	if (r)
		return r;
	p->frontend_at = next;
	*k = next;
	return frontend_get(arg, k, v);
}

/* Only who compiles a set looks at them, and a large one at all at once: they are mapped as long.
 * Those of a small one are looked up: of a part all pages are mapped. */
static const struct wm_target *target_get(void *arg, uint32_t index)
{
	struct wm_plane *p = arg;
	struct wm_window *w = &p->windows[WM_MAP_TARGETS];
	size_t at = index * sizeof(struct wm_target);

	if (p->targets_looked_up < TARGETS_LOOKED_UP) {
		p->targets_looked_up++;
		return bpf_map_lookup_elem(p->map_fd[WM_MAP_TARGETS], &index, &p->target)
			       ? NULL
			       : &p->target;
	}
	if (wm_window_look(w, at, sizeof(struct wm_target)))
		return NULL;
	return (const struct wm_target *)((const char *)w->at + at);
}

static int target_put(void *arg, uint32_t index, const struct wm_target *v)
{
	struct wm_plane *p = arg;

	return bpf_map_update_elem(p->map_fd[WM_MAP_TARGETS], &index, v, BPF_ANY);
}

static void rest(void *arg)
{
	struct wm_plane *p = arg;

	p->targets_looked_up = 0;
	wm_window_rest(&p->windows[WM_MAP_TARGETS]);
}

static void ahead(void *arg, bool on)
{
	struct wm_plane *p = arg;

	wm_ahead_free(p->names_ahead);
	wm_ahead_free(p->frontends_ahead);
	p->names_ahead = on ? wm_ahead_new(p->map_fd[WM_MAP_NAMES], sizeof(struct wm_name_key),
					   sizeof(struct wm_name))
			    : NULL;
	p->frontends_ahead =
		on ? wm_ahead_new(p->map_fd[WM_MAP_FRONTENDS], sizeof(struct wm_frontend_key),
				  sizeof(struct wm_frontend))
		   : NULL;
}

void wm_maps_ops(struct wm_plane *p)
{
	p->ops = (struct wm_plane_ops){
		.arg = p,
		.name_put = name_put,
		.name_del = name_del,
		.frontend_put = frontend_put,
		.frontend_del = frontend_del,
		.name_next = name_next,
		.frontend_next = frontend_next,
		.name_get = name_get,
		.frontend_get = frontend_get,
		.ahead = ahead,
		.target_get = target_get,
		.target_put = target_put,
		.rest = rest,
		.reach = reach,
	};
}

const struct wm_plane_ops *wm_plane_ops(struct wm_plane *p)
{
	return &p->ops;
}

int wm_plane_counters(struct wm_plane *p, uint64_t *ret)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct wm_counters *each = NULL;
	uint32_t zero = 0;
	int r;

	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	r = bpf_map_lookup_elem(p->map_fd[WM_MAP_COUNTERS], &zero, each);
	if (r)
		return r;
	memset(ret, 0, WM_COUNTER_COUNT * sizeof(*ret));
	for (int cpu = 0; cpu < cpus; cpu++) {
		uint64_t words[WM_COUNTER_CAP];

		memcpy(words, &each[cpu], sizeof(words));
		for (unsigned i = 0; i < WM_COUNTER_COUNT; i++)
			ret[i] += words[i];
	}
	return 0;
}
