/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_snapshot.c - save, verify and restore the whole registry. */
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/store/snapshot.h"
#include "waymarkctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 3600000     /* ms: a large registry over a slow line */
#define SHOW_BYTES (64u << 20) /* octets between two lines of progress */
#define PATH_MAX_  4096

struct saving {
	struct wm_snapshot *check;
	int fd;
	uint64_t bytes, shown;
	struct wm_err e;
};

static void report(const struct ctl *c, const char *did, const char *file,
		   const struct wm_snapshot_info *i)
{
	int64_t age = wm_clock_wall_s() - (int64_t)i->created_s;
	char name[4 * PATH_MAX_];

	wm_plain(file, name, sizeof(name)); /* a name may hold anything, also what is no UTF-8 */

	if (c->json) {
		json_t *text = json_string(file); /* NULL: it is no UTF-8 */
		json_t *o =
			json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "File",
				  text ? text : json_string(name), "Index", (json_int_t)i->index,
				  "Services", (json_int_t)i->services, "Instances",
				  (json_int_t)i->instances, "Checks", (json_int_t)i->checks,
				  "Bytes", (json_int_t)i->bytes, "Age", (json_int_t)age);

		json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(o);
	} else {
		printf("%s %s: %llu services, %llu instances, %llu checks, %llu octets, index "
		       "%llu, "
		       "%lld s old\n",
		       did, name, (unsigned long long)i->services, (unsigned long long)i->instances,
		       (unsigned long long)i->checks, (unsigned long long)i->bytes,
		       (unsigned long long)i->index, (long long)age);
	}
}

static int complain(const char *what, const char *file, const char *why)
{
	fprintf(stderr, "waymarkctl: snapshot %s %s: %s\n", what, file, why);
	return 1;
}

static int on_data(void *arg, const void *data, size_t len)
{
	struct saving *s = arg;

	if (wm_snapshot_feed(s->check, data, len, &s->e))
		return -1;
	for (const char *p = data; len;) {
		ssize_t n = write(s->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return wm_err_set(&s->e, -errno, "it cannot be written: %s",
					  strerror(errno));
		p += n;
		len -= (size_t)n;
		s->bytes += (uint64_t)n;
	}
	if (s->bytes - s->shown >= SHOW_BYTES) {
		s->shown = s->bytes;
		fprintf(stderr, "waymarkctl: %llu MiB so far\n",
			(unsigned long long)s->bytes >> 20);
	}
	return 0;
}

/* Fetch into the open file. @return false after a message. */
static bool fetch(const struct ctl *c, const char *file, struct saving *s)
{
	struct ctl o = ctl_over_socket(c);

	if (!s->check)
		return complain("save", file, "out of memory"), false;
	if (!ctl_call(&o, NULL, "/v1/snapshot", TIMEOUT_MS, on_data, s)) {
		if (*s->e.text)
			complain("save", file, s->e.text);
		return false;
	}
	if (wm_snapshot_end(s->check, &s->e))
		return complain("save", file, s->e.text), false;
	if (fsync(s->fd))
		return complain("save", file, strerror(errno)), false;
	return true;
}

int ctl_snapshot_save(const struct ctl *c)
{
	const char *file = c->args[0];
	struct saving s = {0};
	struct wm_snapshot_info info = {0};
	char part[PATH_MAX_];
	bool ok;

	snprintf(part, sizeof(part), "%.*s.part", PATH_MAX_ - 8, file);
	/* what was left of an earlier one is ours to replace; a link is not followed */
	s.fd = open(part, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s.fd < 0)
		return complain("save", part, strerror(errno));
	s.check = wm_snapshot_new(false, UINT64_MAX);
	ok = fetch(c, file, &s);
	if (s.check)
		wm_snapshot_info(s.check, &info);
	wm_snapshot_free(s.check);
	close(s.fd);
	if (ok && rename(part, file)) {
		complain("save", file, strerror(errno));
		ok = false;
	}
	if (!ok) {
		unlink(part);
		return 1;
	}
	report(c, "saved", file, &info);
	return 0;
}

static int verify(const char *what, const char *file, struct wm_snapshot_info *ret)
{
	struct wm_snapshot *s = wm_snapshot_new(true, UINT64_MAX);
	struct wm_err e = {0};
	int err;

	if (!s)
		return complain(what, file, "out of memory");
	err = wm_snapshot_read(s, file, &e);
	wm_snapshot_info(s, ret);
	wm_snapshot_free(s);
	return err ? complain(what, file, e.text) : 0;
}

int ctl_snapshot_verify(const struct ctl *c)
{
	const char *file = c->args[0];
	struct wm_snapshot_info info;

	if (verify("verify", file, &info))
		return 1;
	report(c, "good:", file, &info);
	return 0;
}

static int restore_offline(const struct ctl *c, const char *file,
			   const struct wm_snapshot_info *info)
{
	struct wm_err e = {0};
	char aside[PATH_MAX_];

	if (!c->data_dir) {
		fputs("waymarkctl: snapshot restore --offline: --data-dir DIR is wanted\n", stderr);
		return 2;
	}
	if (wm_snapshot_restore_offline(file, c->data_dir, aside, &e))
		return complain("restore", file, e.text);
	if (*aside && !c->json)
		printf("the store that was there is now %s\n", aside);
	report(c, "restored", file, info);
	return 0;
}

int ctl_snapshot_restore(const struct ctl *c)
{
	const char *file = c->args[0];
	char path[3 * PATH_MAX_ + 64] = "/v1/waymark/snapshot/restore?path=", whole[PATH_MAX_];
	struct wm_snapshot_info info;
	struct ctl o = ctl_over_socket(c);
	size_t at = strlen(path);

	if (verify("restore", file, &info))
		return 1;
	if (c->offline)
		return restore_offline(c, file, &info);
	if (strncmp(o.agent, "unix:", 5) != 0) {
		fputs("waymarkctl: snapshot restore goes over the agent's Unix socket: "
		      "-a unix:/run/waymark/http.sock\n",
		      stderr);
		return 2;
	}
	if (!realpath(file, whole))
		return complain("restore", file, strerror(errno));
	ctl_escape(path + at, sizeof(path) - at, whole);
	if (!ctl_call(&o, "PUT", path, TIMEOUT_MS, NULL, NULL))
		return 1;
	report(c, "restored", file, &info);
	return 0;
}
