/* SPDX-License-Identifier: Apache-2.0 */
/* detach.c - take everything back, without an agent: routes, then links, so that no program runs on
 * tables that are going away; then filters, maps, directories. */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int detach_steering(void *arg, const char *path, const char *name)
{
	(void)arg;
	if (strncmp(name, "connect", 7) != 0 && strncmp(name, "sendmsg", 7) != 0)
		return 0;
	return wm_link_detach(path);
}

static int detach_link(void *arg, const char *path, const char *name)
{
	(void)arg;
	(void)name;
	return wm_link_detach(path);
}

static int detach_filter(void *arg, const char *path, const char *name)
{
	(void)arg;
	return wm_clsact_detach(path, name);
}

int wm_plane_detach(const char *pin_dir, bool force, struct wm_err *e)
{
	char copy[WM_PIN_DIR_MAX];
	static const char *const dirs[] = {WM_TRACE_DIR, "links", "clsact", WM_TAILS_DIR,
					   "maps",	 "new",	  "old"};
	int total = 0, r;

	wm_bpf_capture();
	if (!pin_dir || pin_dir[0] != '/' || strlen(pin_dir) >= WM_PIN_DIR_MAX)
		return wm_err_set(e, -EINVAL,
				  "pin directory must be an absolute path below %d octets",
				  WM_PIN_DIR_MAX);
	if (!force && wm_pins_held(pin_dir))
		return wm_err_set(e, -EBUSY,
				  "a running agent holds these pins: stop it first, or it will "
				  "attach again (--force takes them away all the same)");
	r = wm_routes_remove(pin_dir, NULL, 0);
	if (r < 0 && r != -EAFNOSUPPORT)
		return wm_err_set(e, r, "removing the routes of virtual addresses: %s",
				  strerror(-r));
	if (access(pin_dir, F_OK) < 0)
		return errno == ENOENT ? 0
				       : wm_err_set(e, -errno, "%s: %s", pin_dir, strerror(errno));
	snprintf(copy, sizeof(copy), "%s", pin_dir);
	if (!wm_pins_is_bpffs(pin_dir) || !wm_pins_is_bpffs(dirname(copy)))
		return wm_err_set(e, -EINVAL,
				  "%s is not a directory inside a bpffs: nothing was removed",
				  pin_dir);
	/* What steers goes before what translates back, the reverse of attaching. */
	r = wm_pins_each(pin_dir, "links", detach_steering, NULL);
	if (r >= 0) {
		total += r;
		r = wm_pins_each(pin_dir, "links", detach_link, NULL);
	}
	if (r >= 0) {
		total += r;
		r = wm_pins_each(pin_dir, "clsact", detach_filter, NULL);
	}
	for (unsigned i = 0; r >= 0 && i < WM_ARRAY_LEN(dirs); i++) {
		total += r;
		r = wm_pins_remove_dir(pin_dir, dirs[i]);
	}
	if (r < 0)
		return wm_err_set(e, r, "removing the pins of %s: %s", pin_dir, strerror(-r));
	total += r;
	if (rmdir(pin_dir) < 0 && errno != ENOENT)
		return wm_err_set(e, -errno, "removing %s: %s", pin_dir, strerror(errno));
	return total;
}
