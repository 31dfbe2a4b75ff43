/* SPDX-License-Identifier: Apache-2.0 */
/* carry.c - what sockets are connected by, from tables that are going to the new ones: open sockets
 * keep what getpeername() shows. Backends' indexes are not carried over, they mean nothing there.
 * Programs of both tables are attached meanwhile: an entry may come and go in either. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "waymark/table.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct wm_carry {
	struct wm_plane *plane; /* whose `to` is */
	struct wm_connection *from, *to;
	uint32_t from_cap, to_cap;
	size_t len;
};

struct wm_carry *wm_carry_new(struct wm_plane *p)
{
	struct wm_carry *c = calloc(1, sizeof(*c));
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[WM_PIN_PATH_MAX];
	void *m;

	if (!c || wm_pins_path(path, p->c.pin_dir, "maps", "connections"))
		goto none;
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || info.type != BPF_MAP_TYPE_ARRAY ||
	    !(info.map_flags & BPF_F_MMAPABLE) || info.value_size != sizeof(*c->from))
		goto none; /* layout 1 had none */
	c->from_cap = info.max_entries;
	c->len = ((size_t)c->from_cap * sizeof(*c->from) + page - 1) / page * page;
	m = mmap(NULL, c->len, PROT_READ, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		goto none;
	c->from = m;
	if (!wm_plane_connections(p, &c->to_cap)) {
		munmap(m, c->len);
		goto none;
	}
	c->plane = p;
	c->to = p->mem[WM_MAP_CONNECTIONS];
	return c;
none:
	free(c);
	return NULL;
}

void wm_carry_free(struct wm_carry *c)
{
	if (!c)
		return;
	munmap(c->from, c->len);
	wm_plane_connections_done(c->plane);
	free(c);
}

static struct wm_connection *bucket_of(struct wm_connection *all, uint32_t cap, uint64_t cookie)
{
	return all + ((uint32_t)cookie & (cap / WM_CONNECTION_WAYS - 1)) * WM_CONNECTION_WAYS;
}

static struct wm_connection *find(struct wm_connection *all, uint32_t cap, uint64_t cookie)
{
	struct wm_connection *b = bucket_of(all, cap, cookie);

	for (unsigned i = 0; i < WM_CONNECTION_WAYS; i++)
		if (__atomic_load_n(&b[i].cookie, __ATOMIC_ACQUIRE) == cookie)
			return &b[i];
	return NULL;
}

static struct wm_connection *claim(struct wm_connection *all, uint32_t cap, uint64_t cookie)
{
	struct wm_connection *b = bucket_of(all, cap, cookie);

	for (unsigned i = 0; i < WM_CONNECTION_WAYS; i++) {
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&b[i].cookie, &none, cookie, false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return &b[i];
	}
	return NULL;
}

static void release(struct wm_connection *e)
{
	__atomic_store_n(&e->time_ns, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&e->cookie, 0, __ATOMIC_RELEASE);
}

/* The socket may be closed while we write: its end is then seen in the old tables. */
static void carry(struct wm_carry *c, const struct wm_connection *old)
{
	struct wm_connection e = *old, *to;

	if (!e.cookie || !e.time_ns || find(c->to, c->to_cap, e.cookie))
		return;
	to = claim(c->to, c->to_cap, e.cookie);
	if (!to)
		return;
	for (unsigned i = 0; i < 4; i++) {
		to->vip_be[i] = e.vip_be[i];
		to->backend_be[i] = e.backend_be[i];
	}
	to->vip_port_be = e.vip_port_be;
	to->backend_port_be = e.backend_port_be;
	to->backend = WM_NO_BACKEND;
	to->set = WM_NO_BACKEND;
	to->tier = to->reason = 0;
	__atomic_store_n(&to->time_ns, e.time_ns, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&old->cookie, __ATOMIC_SEQ_CST) != e.cookie)
		release(to);
}

void wm_carry_over(struct wm_carry *c)
{
	for (uint32_t i = 0; c && i < c->from_cap; i++)
		carry(c, &c->from[i]);
}

void wm_carry_sweep(struct wm_carry *c)
{
	for (uint32_t i = 0; c && i < c->to_cap; i++) {
		struct wm_connection *e = &c->to[i];
		uint64_t cookie = __atomic_load_n(&e->cookie, __ATOMIC_ACQUIRE);

		if (cookie && e->backend == WM_NO_BACKEND && !find(c->from, c->from_cap, cookie))
			release(e);
	}
}
