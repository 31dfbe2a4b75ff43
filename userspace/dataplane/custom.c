/* SPDX-License-Identifier: Apache-2.0 */
/* custom.c - the operator's way to choose: an object of his with the function wm_custom() is linked
 * to the object that steers, in the place of a function that chooses nothing. The kernel judges it
 * as its own (bpf/custom.h). */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CUSTOM_MAX	(1u << 20) /* octets of the file: a function has some thousand with its BTF */
#define CUSTOM_FUNCTION "wm_custom"
#define MAPS_MAX	(64u << 20) /* octets of its maps: a quarter of kernel.memory_max, as it is */
#define FD_PATH		"/proc/self/fd/%d"
#define FD_PATH_MAX	32 /* octets of it with a number */

/* --- the file --- */
int wm_plane_custom_name(const char *path, char *buf, size_t cap)
{
	const char *base = strrchr(path, '/');
	size_t len;

	base = base ? base + 1 : path;
	len = strlen(base);
	if (len > 2 && !strcmp(base + len - 2, ".o"))
		len -= 2;
	if (len > 4 && !strncmp(base + len - 4, ".bpf", 4))
		len -= 4;
	if (len >= cap)
		return -EINVAL;
	memcpy(buf, base, len);
	buf[len] = 0;
	return wm_label_valid(buf) ? 0 : -EINVAL;
}

static int open_file(const char *path, struct stat *ret, struct wm_err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, ret)) {
		int r = -errno;

		wm_closep(&fd);
		return wm_err_set(e, r, "kernel.custom: %.200s: %s", path, strerror(-r));
	}
	if (!S_ISREG(ret->st_mode) || ret->st_size > CUSTOM_MAX)
		wm_err_set(e, -EINVAL, "kernel.custom: %.200s: not a file of at most %u octets",
			   path, CUSTOM_MAX);
	else if (ret->st_mode & (S_IWGRP | S_IWOTH))
		wm_err_set(e, -EPERM, "kernel.custom: %.200s: others than its owner may write it",
			   path);
	else
		return fd;
	close(fd);
	return e->code;
}

int wm_custom_read(const char *path, void **ret, size_t *ret_len, struct wm_err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st = {0};
	size_t len = 0;
	ssize_t n = 0;
	char *to;

	fd = open_file(path, &st, e);
	if (fd < 0)
		return fd;
	to = malloc((size_t)st.st_size + 1);
	if (!to)
		return wm_err_set(e, -ENOMEM, "out of memory");
	while (len < (size_t)st.st_size) {
		n = read(fd, to + len, (size_t)st.st_size - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (n < 0 || !len) {
		free(to);
		return wm_err_set(e, n < 0 ? -errno : -EINVAL, "kernel.custom: %.200s: %s", path,
				  n < 0 ? strerror(errno) : "it is empty");
	}
	*ret = to;
	*ret_len = len;
	return 0;
}

/* Whether the ELF file in @p elf defines the function. */
static bool defines(void *elf, size_t len)
{
	Elf *f = elf_version(EV_CURRENT) == EV_NONE ? NULL : elf_memory(elf, len);
	Elf_Scn *s = NULL;
	bool found = false;

	while (f && elf_kind(f) == ELF_K_ELF && (s = elf_nextscn(f, s))) {
		Elf_Data *d = NULL;
		GElf_Shdr h;
		GElf_Sym sym;

		if (!gelf_getshdr(s, &h) || h.sh_type != SHT_SYMTAB || !(d = elf_getdata(s, NULL)))
			continue;
		for (int i = 0; gelf_getsym(d, i, &sym); i++) {
			const char *name = elf_strptr(f, h.sh_link, sym.st_name);

			found |= name && !strcmp(name, CUSTOM_FUNCTION) &&
				 sym.st_shndx != SHN_UNDEF &&
				 GELF_ST_TYPE(sym.st_info) == STT_FUNC &&
				 GELF_ST_BIND(sym.st_info) == STB_GLOBAL;
		}
	}
	elf_end(f);
	return found;
}

/* --- linking --- */
int wm_custom_memory_file(const void *data, size_t len)
{
	int fd = memfd_create("waymark-custom", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (len && write(fd, data, len) != (ssize_t)len) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int wm_custom_read_back(int fd, void **ret, size_t *ret_len)
{
	struct stat st;
	void *to = fstat(fd, &st) ? NULL : malloc((size_t)st.st_size + 1);

	if (!to)
		return -ENOMEM;
	if (pread(fd, to, (size_t)st.st_size, 0) != st.st_size) {
		free(to);
		return -EIO;
	}
	*ret = to;
	*ret_len = (size_t)st.st_size;
	return 0;
}

/* libbpf's linker takes paths only. */
static int link_files(int ours_fd, int theirs_fd, int to_fd)
{
	char ours[FD_PATH_MAX], theirs[FD_PATH_MAX], to[FD_PATH_MAX];
	struct bpf_linker *l;
	int r;

	snprintf(ours, sizeof(ours), FD_PATH, ours_fd);
	snprintf(theirs, sizeof(theirs), FD_PATH, theirs_fd);
	snprintf(to, sizeof(to), FD_PATH, to_fd);
	l = bpf_linker__new(to, NULL);
	/* libelf sets none where libbpf 1.1 returns -errno: it would go on with what is not there
	 */
	errno = EINVAL;
	r = l ? bpf_linker__add_file(l, ours, NULL) : -errno;
	if (!r)
		r = bpf_linker__add_file(l, theirs, NULL);
	if (!r)
		r = bpf_linker__finalize(l);
	bpf_linker__free(l);
	return r;
}

/* --- what it may have --- */
static struct bpf_object *open_linked(const void *elf, size_t len)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "connect");

	return bpf_object__open_mem(elf, len, &opts);
}

/* What the kernel takes at least for the maps of an object. */
static uint64_t maps_octets(const struct bpf_object *o)
{
	uint64_t sum = 0;
	struct bpf_map *m;

	bpf_object__for_each_map(m, o)
	{
		uint64_t each = (uint64_t)bpf_map__key_size(m) + bpf_map__value_size(m);

		/* of a ring buffer the entries are octets */
		sum += (each ? each : 1) * bpf_map__max_entries(m);
	}
	return sum;
}

/* Sections of programs that are not ours would be loaded with ours, and a pinned map would outlive
 * the file and us. */
static int judge_parts(const struct bpf_object *linked, const struct bpf_object *ours,
		       struct wm_err *e)
{
	uint64_t octets = maps_octets(linked) - maps_octets(ours);
	struct bpf_program *prog;
	struct bpf_map *m;

	bpf_object__for_each_program(prog, linked)
	{
		if (!bpf_object__find_program_by_name(ours, bpf_program__name(prog)))
			return wm_err_set(e, -EINVAL,
					  "kernel.custom: section %.60s: functions only, it may "
					  "have no program",
					  bpf_program__section_name(prog));
	}
	bpf_object__for_each_map(m, linked)
	{
		if (bpf_map__pin_path(m))
			return wm_err_set(e, -EINVAL,
					  "kernel.custom: map %.60s: it may not be pinned",
					  bpf_map__name(m));
	}
	if (octets > MAPS_MAX)
		return wm_err_set(
			e, -EINVAL,
			"kernel.custom: its maps have %llu octets, at most %u are allowed",
			(unsigned long long)octets, MAPS_MAX);
	return 0;
}

static int judge_linked(const void *elf, size_t len, const void *ours, size_t ours_len,
			struct wm_err *e)
{
	struct bpf_object *linked, *own;
	int r;

	wm_bpf_log_reset();
	linked = open_linked(elf, len);
	own = linked ? open_linked(ours, ours_len) : NULL;
	r = own ? judge_parts(linked, own, e)
		: wm_err_set(e, -EINVAL, "kernel.custom: what was linked cannot be opened: %s",
			     wm_bpf_log_last());
	bpf_object__close(linked);
	bpf_object__close(own);
	return r;
}

int wm_custom_link_here(void *file, size_t file_len, const void *ours, size_t ours_len, void **ret,
			size_t *ret_len, struct wm_err *e)
{
	_cleanup_close_ int a = -1, b = -1, to = -1;
	int r;

	if (!defines(file, file_len))
		return wm_err_set(
			e, -EINVAL,
			"kernel.custom: it is no BPF object with a global function " CUSTOM_FUNCTION
			"()");
	a = wm_custom_memory_file(ours, ours_len);
	b = wm_custom_memory_file(file, file_len);
	to = wm_custom_memory_file(NULL, 0);
	if (a < 0 || b < 0 || to < 0)
		return wm_err_set(e, -EIO, "kernel.custom: no file in memory");
	wm_bpf_log_reset();
	r = link_files(a, b, to);
	if (r)
		return wm_err_set(e, r, "kernel.custom: it cannot be linked: %s",
				  *wm_bpf_log_last() ? wm_bpf_log_last()
						     : "the object file is damaged");
	r = wm_custom_read_back(to, ret, ret_len);
	if (r)
		return wm_err_set(e, r, "kernel.custom: reading what was linked: %s", strerror(-r));
	r = judge_linked(*ret, *ret_len, ours, ours_len, e);
	if (r) {
		free(*ret);
		*ret = NULL;
	}
	return r;
}
