/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl.h - what the files of the command-line tool share. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct ctl {
	const char *agent; /* "http://host:port" or "unix:/path" */
	const char *pin_dir;
	bool json;
};

/** GET @p path from the agent. @return the document (the caller's), or NULL after a message. */
json_t *ctl_get(const struct ctl *c, const char *path, bool quiet);
/** Print any JSON document for people: scalars as "name  value", lists of objects as tables. */
void ctl_render(const json_t *v, int indent, FILE *out);
/** What the kernel offers, what is attached where, a self-test. @return exit status. */
int ctl_doctor(const struct ctl *c);
/** Steer one connection in a cgroup of its own. @return 0, else why not in @p why. */
int ctl_selftest(char *why, size_t cap);
