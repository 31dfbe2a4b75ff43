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
#define FD_PATH_MAX	32 /* octets of "/proc/self/fd/N" */

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
/* A file in memory, as libbpf's linker takes paths only. @return fd or negative errno. */
static int memory_file(const void *data, size_t len, char *path)
{
	int fd = memfd_create("waymark-custom", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (len && write(fd, data, len) != (ssize_t)len) {
		close(fd);
		return -EIO;
	}
	snprintf(path, FD_PATH_MAX, "/proc/self/fd/%d", fd);
	return fd;
}

static int read_back(int fd, void **ret, size_t *ret_len)
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

static int link_files(const char *ours, const char *theirs, const char *to)
{
	struct bpf_linker *l = bpf_linker__new(to, NULL);
	int r = l ? bpf_linker__add_file(l, ours, NULL) : -errno;

	if (!r)
		r = bpf_linker__add_file(l, theirs, NULL);
	if (!r)
		r = bpf_linker__finalize(l);
	bpf_linker__free(l);
	return r;
}

/* Sections of programs that are not ours would be loaded with ours. */
static const char *foreign_program(const void *elf, size_t len)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "connect");
	struct bpf_object *o = bpf_object__open_mem(elf, len, &opts);
	static char found[64];
	struct bpf_program *prog;

	*found = 0;
	if (!o)
		snprintf(found, sizeof(found), "?");
	bpf_object__for_each_program(prog, o)
	{
		unsigned i = 0;

		while (i < WM_PROG_COUNT && strcmp(wm_prog_name(i), bpf_program__name(prog)) != 0)
			i++;
		if (i == WM_PROG_COUNT)
			snprintf(found, sizeof(found), "%s", bpf_program__section_name(prog));
	}
	bpf_object__close(o);
	return *found ? found : NULL;
}

int wm_custom_link(void *file, size_t file_len, const void *ours, size_t ours_len, void **ret,
		   size_t *ret_len, struct wm_err *e)
{
	_cleanup_close_ int a = -1, b = -1, to = -1;
	char a_path[FD_PATH_MAX], b_path[FD_PATH_MAX], to_path[FD_PATH_MAX];
	const char *foreign;
	int r;

	if (!defines(file, file_len))
		return wm_err_set(
			e, -EINVAL,
			"kernel.custom: it is no BPF object with a global function " CUSTOM_FUNCTION
			"()");
	a = memory_file(ours, ours_len, a_path);
	b = memory_file(file, file_len, b_path);
	to = memory_file(NULL, 0, to_path);
	if (a < 0 || b < 0 || to < 0)
		return wm_err_set(e, -EIO, "kernel.custom: no file in memory");
	wm_bpf_log_reset();
	r = link_files(a_path, b_path, to_path);
	if (r)
		return wm_err_set(e, r, "kernel.custom: it cannot be linked: %s",
				  wm_bpf_log_last());
	r = read_back(to, ret, ret_len);
	if (r)
		return wm_err_set(e, r, "kernel.custom: reading what was linked: %s", strerror(-r));
	foreign = foreign_program(*ret, *ret_len);
	if (!foreign)
		return 0;
	free(*ret);
	*ret = NULL;
	return wm_err_set(e, -EINVAL,
			  "kernel.custom: section %.60s: functions only, it may have no program",
			  foreign);
}
