/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dump.h - the pinned maps with what their numbers stand for. Threading: none. */
#pragma once
#include "userspace/dataplane/inspect.h"
#include "waymarkctl.h"

struct by_hash;
struct dump {
	const struct ctl *c;
	struct wm_inspect *x;
	const struct wm_inspect_memory *m;
	char **services;	/* by set; NULL: unknown */
	struct by_hash *hashes; /* of the sets' services, in order */
	size_t hashes_count;
	json_t *told;	   /* the agent's services; NULL: none answers */
	json_t *instances; /* by number of the backend, of a running agent */
	json_t *pods;	   /* as ctl_pods(), for who has a socket */
	json_t *rows;	   /* what is made; NULL: nothing, and it was said why */
};
/** Open the maps, learn the names, have @p fn make the rows. @return 0 with the rows, the caller's;
 *  else the exit status after a message. */
int ctl_dump_look(const struct ctl *c, const char *what, void (*fn)(struct dump *d),
		  json_t **ret_rows);
/** A string, or null where nobody knows. The caller's. */
json_t *ctl_dump_service(const struct dump *d, uint32_t set);
/** The service that was dialled by @p c, which may be of earlier tables: its set may be another
 *  service's by now, and its address is not. */
json_t *ctl_dump_dialled(const struct dump *d, const struct wm_connection *c);
/** The service whose name has this hash, as backends tell it. */
json_t *ctl_dump_service_by(const struct dump *d, uint32_t hash);
json_t *ctl_dump_instance(const struct dump *d, uint32_t backend);
/** "address:port" of a v4-mapped or an IPv6 address. */
json_t *ctl_dump_place(const uint32_t addr_be[4], uint16_t port_be);
