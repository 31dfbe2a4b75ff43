/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_node.h - which program decides whom the programs of this node ask for names, and the
 * files by which `waymarkctl dns enable` has a say in it. All paths lie below a root directory.
 * What was there is kept as it was, not as a copy: /etc/resolv.conf gets a second name, and then
 * the first is given to another file, so that there is a whole one at any time. */
#pragma once
#include "userspace/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define CTL_NODE_RESOLV "/etc/resolv.conf"
#define CTL_NODE_KEPT	"/etc/resolv.conf.waymark" /* also in dns.resolv_conf */
/* behind what others write there: of a setting that has one value the last counts */
#define CTL_NODE_RESOLVED_FILE "/etc/systemd/resolved.conf.d/90-waymark.conf"
#define CTL_NODE_MANAGER_FILE  "/etc/NetworkManager/conf.d/90-waymark.conf"
#define CTL_NODE_SERVERS_MAX   3     /* MAXNS of resolv.conf(5): libcs read no more */
#define CTL_NODE_FILE_MAX      65536 /* octets of a file that is read */
#define CTL_NODE_WHY_MAX       512

enum ctl_node_owner {
	CTL_NODE_PLAIN, /* a file that no program writes, as far as can be seen */
	CTL_NODE_RESOLVED,
	CTL_NODE_NETWORK_MANAGER,
	CTL_NODE_OTHER, /* not understood */
};
struct ctl_node {
	int root;
	bool real;		    /* it is that of the machine that runs */
	enum ctl_node_owner owner;  /* of the file before ours, where it is ours now */
	char why[CTL_NODE_WHY_MAX]; /* CTL_NODE_OTHER: why, and what to do */
	bool missing;		    /* there is no /etc/resolv.conf */
	bool ours, edited;	    /* dns enable wrote it; and somebody else did since */
	bool kept;		    /* the one before is there under its other name */
	bool same;		    /* and it is /etc/resolv.conf itself */
	struct wm_buf text;	    /* of /etc/resolv.conf */
	struct wm_buf before;	    /* of the one before ours; text where it is not ours */
	unsigned servers_count;	    /* that /etc/resolv.conf names */
	char servers[CTL_NODE_SERVERS_MAX][64];
};

/** Look at the node below @p root. @param alone who wants to change it: waits until others that do
 *  are done, and has it alone until ctl_node_done(). @return 0, negative errno: what there is
 *  cannot be read. */
int ctl_node_look(const char *root, bool alone, struct ctl_node *ret);
void ctl_node_done(struct ctl_node *n);
const char *ctl_node_owner_str(enum ctl_node_owner o);

/** Read a file whole. @return 0, -ENOENT, -EFBIG, -ELOOP (a symbolic link), other negative errno.
 */
int ctl_node_read(int root, const char *path, struct wm_buf *to);
/** Put the line in front of @p text that says whose it is, with a digest of the rest. */
bool ctl_node_seal(struct wm_buf *text);
/** Does a file begin with that line? @p edited: its rest is not what the line was made of. */
bool ctl_node_sealed(const char *text, bool *edited);
/** Replace a file by one with @p text: written whole, on disk, then renamed. @return 0, negative
 *  errno: the file is as it was. */
int ctl_node_write(int root, const char *path, const char *text);
/** Remove it, on disk. @return 0, also where it is not there; negative errno. */
int ctl_node_remove(int root, const char *path);
/** Remove what a command that was killed left of a new one. */
void ctl_node_sweep(int root, const char *path);
/** Give a file a name by which no program reads it. That stays until the program has forgotten it,
 *  and is known to who comes after a command that was killed meanwhile. @return 0, -errno. */
int ctl_node_set_aside(int root, const char *path);
bool ctl_node_is_aside(int root, const char *path);
void ctl_node_end_aside(int root, const char *path);
/** Make @p text /etc/resolv.conf. One that is not ours gets its other name before that, and after
 *  the new one is on disk, so that a full disk leaves all as it was. @return 0, -errno, with the
 *  path that it is about. */
int ctl_node_take(const struct ctl_node *n, const char *text, const char **ret_path);
/** Give the one before ours its first name back. @return 0, -errno. */
int ctl_node_restore(const struct ctl_node *n);

/* --- waymarkctl_node_dropin.c --- */
/* A file of ours beside the configuration of another program. */
struct ctl_dropin {
	const char *path;
	bool there, ours, edited;
	struct wm_buf text;
};
/** Look for it. @return 0, negative errno. The caller frees ret->text in either case. */
int ctl_node_dropin_look(const struct ctl_node *n, const char *path, struct ctl_dropin *ret);
/** Seal @p text and make it the file, unless it is. @return 0, negative errno. */
int ctl_node_dropin_write(const struct ctl_node *n, struct ctl_dropin *d, struct wm_buf *text,
			  bool *changed);
/** Is our domain all that its servers are for: has systemd-resolved none in its configuration?
 *  @return false with n->why. */
bool ctl_node_resolved_free(struct ctl_node *n);
/** Does NetworkManager write /etc/resolv.conf, and start no resolver? @return false, n->why. */
bool ctl_node_network_manager_free(struct ctl_node *n);
/** Let a unit read its configuration again. @return 0; 1: no service manager runs there, so that
 *  it is left to the operator; negative errno. */
int ctl_node_reload(const struct ctl_node *n, const char *unit);
