/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl.h - what the files of the command-line tool share. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ctl {
	const char *agent; /* "http://host:port" or "unix:/path" */
	bool agent_named;  /* by --agent or the environment */
	const char *pin_dir;
	bool json;
	bool force; /* detach under a running agent */
	const char *deadline; /* of a drain, NULL: the default */
	bool offline;	      /* restore without an agent, into: */
	const char *data_dir; /* NULL: not given */
};

/** GET @p path from the agent. @return the document (the caller's), or NULL after a message. */
json_t *ctl_get(const struct ctl *c, const char *path, bool quiet);
/** One call, @p method NULL for GET; the body of a 200 goes to @p on_data where it is not NULL.
 *  @return true for a 200, else after a message. */
bool ctl_call(const struct ctl *c, const char *method, const char *path, uint64_t timeout_ms,
	      int (*on_data)(void *arg, const void *data, size_t len), void *arg);
/** Write @p arg into @p path, percent-escaped. @return octets, less than @p cap. */
size_t ctl_escape(char *path, size_t cap, const char *arg);
/** snapshot save, verify and restore. @return exit status. */
int ctl_snapshot_save(const struct ctl *c, const char *file);
int ctl_snapshot_verify(const struct ctl *c, const char *file);
int ctl_snapshot_restore(const struct ctl *c, const char *file);
/** Copy text of a stranger as it may go to a terminal: escaped (\\n, \\x1b, \\u202e) what would
 * move the cursor, turn the text or is no UTF-8; cut at @p cap, at a character. @return @p to. */
const char *ctl_plain(const char *s, char *to, size_t cap);
/** Print any JSON document for people: scalars as "name  value", lists of objects as tables. */
void ctl_render(const json_t *v, int indent, FILE *out);
/** What the kernel offers, what is attached where, a self-test. @return exit status. */
int ctl_doctor(const struct ctl *c);
/** Steer one connection in a cgroup of its own. @return 0, else why not in @p why. */
int ctl_selftest(char *why, size_t cap);
