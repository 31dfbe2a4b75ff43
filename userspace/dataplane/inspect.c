/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect.h"

#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct wm_inspect {
	int fd[WM_MAP_COUNT];
	void *mem[WM_MAP_COUNT];
	size_t len[WM_MAP_COUNT];
	uint32_t entries[WM_MAP_COUNT];
	uint32_t names_left, frontends_left;
	struct wm_inspect_memory m;
};

static int open_map(struct wm_inspect *x, const char *pin_dir, unsigned i, struct wm_err *e)
{
	const struct wm_map_spec *s = &wm_map_specs[i];
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[WM_PIN_PATH_MAX];
	int r = wm_pins_path(path, pin_dir, "maps", s->name);

	if (r)
		return wm_err_set(e, r, "%s: the path is too long", pin_dir);
	x->fd[i] = bpf_obj_get(path);
	if (x->fd[i] < 0)
		return wm_err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (bpf_obj_get_info_by_fd(x->fd[i], &info, &len) || info.type != s->type ||
	    info.key_size != s->key_size || info.value_size != s->value_size)
		return wm_err_set(e, WM_E_BPF_LAYOUT, "%s is of another version of Waymark", path);
	x->entries[i] = info.max_entries;
	if (!(s->flags & BPF_F_MMAPABLE))
		return 0;
	x->len[i] = ((size_t)s->value_size * info.max_entries + page - 1) / page * page;
	x->mem[i] = mmap(NULL, x->len[i], PROT_READ, MAP_SHARED, x->fd[i], 0);
	if (x->mem[i] != MAP_FAILED)
		return 0;
	x->mem[i] = NULL;
	return wm_err_set(e, -errno, "mapping %s: %s", path, strerror(errno));
}

int wm_inspect_open(const char *pin_dir, struct wm_inspect **ret, struct wm_err *e)
{
	struct wm_inspect *x = calloc(1, sizeof(*x));
	struct wm_layout layout = {0};
	uint32_t zero = 0;
	int r = 0;

	if (!x)
		return wm_err_set(e, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		x->fd[i] = -1;
	for (unsigned i = 0; i < WM_MAP_COUNT && !r; i++)
		r = open_map(x, pin_dir, i, e);
	if (!r && (bpf_map_lookup_elem(x->fd[WM_MAP_LAYOUT_VERSION], &zero, &layout) ||
		   layout.version != WM_LAYOUT_VERSION))
		r = wm_err_set(e, WM_E_BPF_LAYOUT, "%s: layout %u, this program reads %d", pin_dir,
			       layout.version, WM_LAYOUT_VERSION);
	if (r) {
		wm_inspect_close(x);
		return r;
	}
	x->names_left = x->entries[WM_MAP_NAMES];
	x->frontends_left = x->entries[WM_MAP_FRONTENDS];
	x->m = (struct wm_inspect_memory){.config = x->mem[WM_MAP_CONFIG],
					  .sets = x->mem[WM_MAP_SETS],
					  .slots = x->mem[WM_MAP_SLOTS],
					  .backends = x->mem[WM_MAP_BACKENDS],
					  .heads = x->mem[WM_MAP_HEADS],
					  .set_live = x->mem[WM_MAP_SET_LIVE],
					  .live = x->mem[WM_MAP_BACKEND_LIVE],
					  .connections = x->mem[WM_MAP_CONNECTIONS],
					  .connections_cap = x->entries[WM_MAP_CONNECTIONS],
					  .heads_cap = x->entries[WM_MAP_HEADS],
					  .sets_cap = x->entries[WM_MAP_SETS],
					  .slots_cap = x->entries[WM_MAP_SLOTS],
					  .backends_cap = x->entries[WM_MAP_BACKENDS]};
	*ret = x;
	return 0;
}

void wm_inspect_close(struct wm_inspect *x)
{
	for (unsigned i = 0; x && i < WM_MAP_COUNT; i++) {
		if (x->mem[i])
			munmap(x->mem[i], x->len[i]);
		if (x->fd[i] >= 0)
			close(x->fd[i]);
	}
	free(x);
}

bool wm_inspect_held(const char *pin_dir)
{
	return wm_pins_held(pin_dir);
}

const struct wm_inspect_memory *wm_inspect_memory(const struct wm_inspect *x)
{
	return &x->m;
}

struct wm_view wm_inspect_view(const struct wm_inspect *x)
{
	const struct wm_inspect_memory *m = &x->m;

	return (struct wm_view){m->sets,	 m->heads,    m->slots,	    m->backends,
				m->set_live,	 m->sets_cap, m->heads_cap, m->slots_cap,
				m->backends_cap, m->live,     NULL};
}

/* Walk a hash map. @return whether there is a next entry. */
static bool next(int fd, void *key, bool *begun, void *value, uint32_t *left, uint32_t entries)
{
	if (!*begun)
		*left = entries;
	while (*left && !bpf_map_get_next_key(fd, *begun ? key : NULL, key)) {
		*begun = true;
		(*left)--;
		if (!bpf_map_lookup_elem(fd, key, value))
			return true; /* else it has just gone */
	}
	return false;
}

bool wm_inspect_name(struct wm_inspect *x, struct wm_name_key *key, bool *begun,
		     struct wm_name *ret)
{
	return next(x->fd[WM_MAP_NAMES], key, begun, ret, &x->names_left, x->entries[WM_MAP_NAMES]);
}

bool wm_inspect_frontend(struct wm_inspect *x, struct wm_frontend_key *key, bool *begun,
			 struct wm_frontend *ret)
{
	return next(x->fd[WM_MAP_FRONTENDS], key, begun, ret, &x->frontends_left,
		    x->entries[WM_MAP_FRONTENDS]);
}

bool wm_inspect_frontend_of(const struct wm_inspect *x, const struct wm_frontend_key *key,
			    struct wm_frontend *ret)
{
	return !bpf_map_lookup_elem(x->fd[WM_MAP_FRONTENDS], key, ret);
}

bool wm_inspect_steers(const struct wm_inspect *x, const __be32 addr_be[4])
{
	struct wm_frontend_key key = {0};
	struct wm_frontend f;

	memcpy(key.addr_be, addr_be, sizeof(key.addr_be));
	return wm_inspect_frontend_of(x, &key, &f);
}

int wm_inspect_origin(const struct wm_inspect *x, int fd, struct wm_socket_origin *ret)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_map_lookup_elem(x->fd[WM_MAP_SOCKET_ORIGIN], &fd, ret) ||
	    bpf_obj_get_info_by_fd(x->fd[WM_MAP_BACKENDS], &info, &len))
		return -errno;
	for (int i = 0; ret->tables && ret->tables != info.id && i <= WM_UDP_RING; i++)
		ret->at[i].backend = ret->at[i].set = WM_NO_BACKEND;
	return 0;
}

int wm_inspect_counters(struct wm_inspect *x, uint64_t *ret)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct wm_counters *each = NULL;
	uint32_t zero = 0;

	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(x->fd[WM_MAP_COUNTERS], &zero, each))
		return -errno;
	memset(ret, 0, WM_COUNTER_COUNT * sizeof(*ret));
	for (int c = 0; c < cpus; c++)
		for (unsigned i = 0; i < WM_COUNTER_COUNT; i++)
			ret[i] += ((const uint64_t *)&each[c])[i];
	return 0;
}
