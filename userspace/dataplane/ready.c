/* SPDX-License-Identifier: Apache-2.0 */
/* ready.c - answers that userspace made, where the DNS programs find them. The maps are this run's,
 * as dns_answers (hot.c): no pin but the programs' hold on them. An earlier run's programs lose
 * their way to theirs when this run's are attached (tails.c). */
#include "userspace/dataplane/internal.h"

#include <errno.h>

static const char *const names[] = {"dns_ready_small", "dns_ready_large"};

uint32_t wm_ready_large_entries(const struct wm_plane_config *c)
{
	uint32_t n = c->ready_answers / WM_READY_LARGE_PART;

	return c->ready_answers && !n ? 1 : n;
}

/* A map has one entry at least. */
static void set_entries(struct bpf_object *o, const char *name, uint32_t n)
{
	struct bpf_map *m = bpf_object__find_map_by_name(o, name);

	if (m)
		bpf_map__set_max_entries(m, n ? n : 1);
}

void wm_ready_size(const struct wm_plane *p, struct bpf_object *o)
{
	set_entries(o, names[0], p->c.ready_answers);
	set_entries(o, names[1], wm_ready_large_entries(&p->c));
	set_entries(o, "dns_ready_words", p->c.ready_answers ? WM_READY_ENTRIES : 0);
}

uint64_t *wm_plane_ready_words(const struct wm_plane *p)
{
	return p->c.ready_answers && p->progs[WM_PROG_DNS_READY].fd >= 0 ? p->ready : NULL;
}

int wm_plane_ready_put(struct wm_plane *p, struct wm_ready *e, uint16_t type)
{
	const struct wm_config *c = p->mem[WM_MAP_CONFIG];
	struct bpf_object *o = wm_plane_ready_words(p) ? p->objects[WM_OBJECT_DNS] : NULL;
	struct wm_ready_key k = {.type = type};
	struct wm_ready_small small;
	bool large;
	int fd, other;

	if (!o)
		return -EOPNOTSUPP;
	wm_name_hash(c->seed, e->name, e->head.name_len, &k.name);
	wm_ready_seal(&k, e);
	large = !wm_ready_shrink(e, &small);
	fd = bpf_object__find_map_fd_by_name(o, names[large]);
	other = bpf_object__find_map_fd_by_name(o, names[!large]);
	if (fd < 0 || other < 0)
		return -EOPNOTSUPP;
	(void)bpf_map_delete_elem(other, &k); /* it was of another size before */
	return bpf_map_update_elem(fd, &k, large ? (void *)e : (void *)&small, BPF_ANY);
}
