/* SPDX-License-Identifier: Apache-2.0 */
/* definitions_internal.h - what definitions are in memory: read by definitions.c, applied by
 * definitions_apply.c, and nobody else's. */
#pragma once
#include "decode.h"
#include "definitions.h"

#include <sys/queue.h>

#define KEY_MAX 32 /* octets of "services[12345]" */

struct definition {
	TAILQ_ENTRY(definition) entry;
	struct wm_application *at; /* while it is applied */
	struct wm_decoded *mem;	   /* owns what the drafts point to */
	struct wm_instance_draft service;
	struct wm_check_draft check;
	const char *owner; /* of a check: id of its service, "" is the node */
	bool is_check, failed;
	uint64_t index; /* of the registration, once it is applied */
	unsigned line;	/* in its file */
	char key[KEY_MAX];
	char file[];
};

struct wm_definitions {
	TAILQ_HEAD(, definition) all;
	struct wm_map *ids[2]; /* of services, of checks */
	unsigned services, checks;
	enum wm_scripts scripts, units;
};

/** What it says, or what the registry will make of it. */
static inline const char *wm_definition_id(const struct definition *d)
{
	const char *id = d->is_check ? d->check.id : d->service.id;

	if (id && *id)
		return id;
	return d->is_check ? d->check.name : d->service.name;
}
