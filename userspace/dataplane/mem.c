/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - the maps' properties, and the memory they take, computed as the kernel charges it. */
#include "userspace/base/map.h"
#include "userspace/dataplane/internal.h"
#include "waymark/counters.h"
#include "waymark/layout.h"

#include <unistd.h>

#define ARRAY_MMAP BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, sizeof(uint32_t)

/* Elements of hashes are made when they are needed: by kmalloc(), whose memory the kernel maps in
 * large pages. Those made beforehand lie in small ones, and with 100,000 services each look-up
 * waited for page tables as well; and a node of few services has no memory for many. */
const struct wm_map_spec wm_map_specs[WM_MAP_COUNT] = {
	[WM_MAP_CONFIG] = {"config", ARRAY_MMAP, sizeof(struct wm_config)},
	[WM_MAP_NAMES] = {"names", BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, sizeof(struct wm_name_key),
			  sizeof(struct wm_name)},
	[WM_MAP_FRONTENDS] = {"frontends", BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC,
			      sizeof(struct wm_frontend_key), sizeof(struct wm_frontend)},
	[WM_MAP_NAME_SETS] = {"name_sets", ARRAY_MMAP, sizeof(struct wm_likely)},
	[WM_MAP_FRONTEND_SETS] = {"frontend_sets", ARRAY_MMAP, sizeof(struct wm_likely)},
	[WM_MAP_SETS] = {"sets", ARRAY_MMAP, sizeof(struct wm_set)},
	[WM_MAP_HEADS] = {"heads", ARRAY_MMAP, sizeof(struct wm_table_head)},
	[WM_MAP_SET_LIVE] = {"set_live", ARRAY_MMAP, sizeof(struct wm_set_live)},
	[WM_MAP_SLOTS] = {"slots", ARRAY_MMAP, sizeof(struct wm_slot)},
	[WM_MAP_BACKENDS] = {"backends", ARRAY_MMAP, sizeof(struct wm_backend)},
	[WM_MAP_BACKEND_LIVE] = {"backend_live", ARRAY_MMAP, sizeof(struct wm_backend_live)},
	[WM_MAP_TARGETS] = {"targets", ARRAY_MMAP, sizeof(struct wm_target)},
	[WM_MAP_CONNECTIONS] = {"connections", ARRAY_MMAP, sizeof(struct wm_connection)},
	[WM_MAP_COUNTERS] = {"counters", BPF_MAP_TYPE_PERCPU_ARRAY, 0, sizeof(uint32_t),
			     sizeof(struct wm_counters)},
	[WM_MAP_SOCKET_ORIGIN] = {"socket_origin", BPF_MAP_TYPE_SK_STORAGE, BPF_F_NO_PREALLOC,
				  sizeof(int), sizeof(struct wm_socket_origin)},
	[WM_MAP_LAYOUT_VERSION] = {"layout_version", BPF_MAP_TYPE_ARRAY, 0, sizeof(uint32_t),
				   sizeof(struct wm_layout)},
};

/* Sizes of the kernel's own structs, in bytes. They move a little between versions; beside maps of
 * a useful size the difference is below a percent. */
#define KERNEL_MAP_HEAD	    512 /* struct bpf_array, struct bpf_htab, rounded up */
#define KERNEL_HTAB_ELEM    48	/* struct htab_elem before the key */
#define KERNEL_HTAB_BUCKET  16	/* struct bucket */
#define KERNEL_POINTER	    8
#define KERNEL_SLAB_BETWEEN 256 /* slabs of 96 and 192 octets, none of 384 */

#define CONNECTIONS_MIN 64 /* entries: some buckets, whatever is configured */

uint32_t wm_connections_cap(const struct wm_plane_config *c)
{
	uint32_t n = CONNECTIONS_MIN;

	while (n < c->connections)
		n *= 2;
	return n;
}

uint32_t wm_likely_cap(uint32_t entries)
{
	uint32_t n = WM_LIKELY_SETS;

	while (n < entries)
		n *= 2;
	return n;
}

uint32_t wm_map_entries(const struct wm_plane_config *c, unsigned i)
{
	switch (i) {
	case WM_MAP_NAMES:
		return c->names;
	case WM_MAP_FRONTENDS:
		return c->frontends;
	case WM_MAP_NAME_SETS:
		return wm_likely_cap(c->names) / WM_LIKELY_SETS;
	case WM_MAP_FRONTEND_SETS:
		return wm_likely_cap(c->frontends) / WM_LIKELY_SETS;
	case WM_MAP_SETS:
	case WM_MAP_SET_LIVE:
		return c->sets;
	case WM_MAP_HEADS:
		return wm_heads_cap(c->sets);
	case WM_MAP_SLOTS:
		return c->slots;
	case WM_MAP_BACKENDS:
	case WM_MAP_BACKEND_LIVE:
	case WM_MAP_TARGETS:
		return c->backends;
	case WM_MAP_CONNECTIONS:
		return wm_connections_cap(c);
	case WM_MAP_SOCKET_ORIGIN:
		return 0; /* grows with the sockets, charged to them */
	default:
		return 1;
	}
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static uint64_t power_of_two(uint64_t n)
{
	uint64_t p = 1;

	while (p < n)
		p <<= 1;
	return p;
}

/* What kmalloc() takes for @p n octets: there is a size between two powers of two for small ones.
 */
static uint64_t slab_bytes(uint64_t n)
{
	uint64_t size = power_of_two(n);

	return size <= KERNEL_SLAB_BETWEEN && n <= size / 4 * 3 ? size / 4 * 3 : size;
}

/* When it is full. */
static uint64_t hash_bytes(const struct wm_map_spec *s, uint64_t n)
{
	uint64_t elem = KERNEL_HTAB_ELEM + round_up(s->key_size, 8) + round_up(s->value_size, 8);

	if (s->flags & BPF_F_NO_PREALLOC)
		elem = slab_bytes(elem + KERNEL_POINTER);
	return KERNEL_MAP_HEAD + KERNEL_HTAB_BUCKET * power_of_two(n) + elem * n;
}

static uint64_t map_bytes(const struct wm_map_spec *s, uint64_t n, uint64_t cpus)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t value = round_up(s->value_size, 8);

	if (s->type == BPF_MAP_TYPE_HASH)
		return hash_bytes(s, n);
	if (s->type == BPF_MAP_TYPE_PERCPU_ARRAY)
		return KERNEL_MAP_HEAD + n * (KERNEL_POINTER + value * cpus);
	if (s->type == BPF_MAP_TYPE_SK_STORAGE)
		return KERNEL_MAP_HEAD + KERNEL_HTAB_BUCKET * power_of_two(cpus > 2 ? cpus : 2);
	if (s->flags & BPF_F_MMAPABLE) /* the head has pages of its own, so that it is not mapped */
		return page + round_up(n * value, page);
	return KERNEL_MAP_HEAD + n * value;
}

static uint64_t lru_bytes(uint64_t key, uint64_t value, uint64_t n)
{
	const struct wm_map_spec s = {.key_size = (uint32_t)key, .value_size = (uint32_t)value};

	return n ? hash_bytes(&s, n) : 0;
}

uint64_t wm_plane_kept_memory(const struct wm_plane_config *c)
{
	const struct wm_map_spec words = {.type = BPF_MAP_TYPE_ARRAY,
					  .flags = BPF_F_MMAPABLE,
					  .value_size = sizeof(uint64_t)};

	if (!c->attach_dns)
		return 0;
	return lru_bytes(sizeof(struct wm_hot_key), sizeof(struct wm_hot), c->hot_answers) +
	       lru_bytes(sizeof(struct wm_ready_key), sizeof(struct wm_ready_small),
			 c->ready_answers) +
	       lru_bytes(sizeof(struct wm_ready_key), sizeof(struct wm_ready),
			 wm_ready_large_entries(c)) +
	       (c->ready_answers ? map_bytes(&words, WM_READY_ENTRIES, 0) : 0);
}

uint64_t wm_plane_memory(const struct wm_plane_config *c, uint64_t *ret_each, unsigned *ret_maps)
{
	int possible = libbpf_num_possible_cpus();
	uint64_t cpus = possible > 0 ? (uint64_t)possible : 1;
	uint64_t sum = 0;

	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		uint64_t bytes = map_bytes(&wm_map_specs[i], wm_map_entries(c, i), cpus);

		if (ret_each)
			ret_each[i] = bytes;
		sum += bytes;
	}
	if (ret_maps)
		*ret_maps = WM_MAP_COUNT;
	return sum;
}

const char *wm_plane_map_name(unsigned i)
{
	return i < WM_MAP_COUNT ? wm_map_specs[i].name : NULL;
}
