/* SPDX-License-Identifier: Apache-2.0 */
/* tails.c - the programs that the DNS programs call, in an array that belongs to this run's
 * programs alone: a link is moved to the new programs in one step, and with them to what they call.
 * The kernel empties such an array when its last descriptor and pin are gone, so it is pinned
 * before the first link moves, and the one of the run before stays until none is left. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "waymark/dns_tail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const enum wm_prog_index programs[WM_DNS_TAILS] = {
	[WM_DNS_TAIL_SRV] = WM_PROG_DNS_SRV,	   [WM_DNS_TAIL_HOT] = WM_PROG_DNS_HOT,
	[WM_DNS_TAIL_REST] = WM_PROG_DNS_REST,	   [WM_DNS_TAIL_PLAIN] = WM_PROG_DNS_PLAIN,
	[WM_DNS_TAIL_READY] = WM_PROG_DNS_READY,   [WM_DNS_TAIL_VETH] = WM_PROG_DNS_VETH,
	[WM_DNS_TAIL_LIMIT] = WM_PROG_DNS_LIMIT,   [WM_DNS_TAIL_OPTIONS] = WM_PROG_DNS_OPTIONS,
	[WM_DNS_TAIL_ABSENT] = WM_PROG_DNS_ABSENT, [WM_DNS_TAIL_TELL] = WM_PROG_DNS_TELL,
};

/* Name of its pin. @return 0, -ENOENT: there is no array. */
static int name_of(const struct wm_plane *p, char name[16])
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	int fd = wm_dns_map(p, "dns_tails");

	if (fd < 0)
		return -ENOENT;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		info.id = 0; /* no map has it: a name all the same */
	snprintf(name, 16, "%u", info.id);
	return 0;
}

bool wm_tails_lacks(const struct wm_plane *p, uint32_t i, const char **ret_name)
{
	const struct wm_prog *prog = &p->progs[programs[i]];
	int fd = wm_dns_map(p, "dns_tails");
	uint32_t id = 0;

	*ret_name = wm_prog_name(programs[i]);
	if (fd < 0 || prog->fd < 0)
		return false;
	/* what the kernel reads out of a slot is the id of its program */
	return (bpf_map_lookup_elem(fd, &i, &id) && errno == ENOENT) || (id && id != prog->id);
}

void wm_tails_fill(struct wm_plane *p)
{
	int fd = wm_dns_map(p, "dns_tails");
	const char *name;

	for (uint32_t i = 0; i < WM_DNS_TAILS; i++) {
		struct wm_prog *prog = &p->progs[programs[i]];

		if (wm_tails_lacks(p, i, &name) && bpf_map_update_elem(fd, &i, &prog->fd, BPF_ANY))
			snprintf(prog->text, sizeof(prog->text), "putting it into dns_tails: %s",
				 strerror(errno));
	}
}

bool wm_tails_unpinned(const struct wm_plane *p)
{
	char path[WM_PIN_PATH_MAX], name[16];

	return !name_of(p, name) && !wm_pins_path(path, p->c.pin_dir, WM_TAILS_DIR, name) &&
	       access(path, F_OK) < 0;
}

unsigned wm_tails_lacking(const struct wm_plane *p)
{
	const char *name;
	unsigned n = 0;

	for (uint32_t i = 0; i < WM_DNS_TAILS; i++)
		n += wm_tails_lacks(p, i, &name);
	return n;
}

int wm_tails_pin(const struct wm_plane *p)
{
	char path[WM_PIN_PATH_MAX], name[16];
	int r;

	if (!wm_tails_unpinned(p))
		return 0;
	r = wm_pins_path(path, p->c.pin_dir, WM_TAILS_DIR, NULL);
	if (!r && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (!r)
		r = name_of(p, name);
	if (!r)
		r = wm_pins_path(path, p->c.pin_dir, WM_TAILS_DIR, name);
	return r ? r : bpf_obj_pin(wm_dns_map(p, "dns_tails"), path);
}

static int forget_other(void *arg, const char *path, const char *name)
{
	static const uint32_t known[] = {WM_DNS_TAIL_READY, WM_DNS_TAIL_ABSENT};
	int fd = strcmp(name, arg) ? bpf_obj_get(path) : -1;

	if (fd < 0)
		return 0;
	for (size_t i = 0; i < WM_ARRAY_LEN(known); i++)
		(void)bpf_map_delete_elem(fd, &known[i]); /* an older one has none */
	close(fd);
	return 0;
}

void wm_tails_forget(const struct wm_plane *p)
{
	char name[16] = "";

	(void)name_of(p, name);
	(void)wm_pins_each(p->c.pin_dir, WM_TAILS_DIR, forget_other, name);
}

static int remove_other(void *arg, const char *path, const char *name)
{
	if (!strcmp(name, arg))
		return 0;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int wm_tails_sweep(const struct wm_plane *p)
{
	char path[WM_PIN_PATH_MAX], name[16] = "";
	int r;

	(void)name_of(p, name);
	r = wm_pins_each(p->c.pin_dir, WM_TAILS_DIR, remove_other, name);
	if (!*name && !wm_pins_path(path, p->c.pin_dir, WM_TAILS_DIR, NULL))
		rmdir(path);
	return r;
}
