/* SPDX-License-Identifier: Apache-2.0 */
/* fillstore.c - a store of many instances, without an agent: what a start has to recover.
 * usage: fillstore FILE SERVICES INSTANCES KEYS   (of metadata, an instance) */
#include "userspace/registry/registry.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 4096 /* registrations a commit */

static void fill_meta(struct wm_pair *meta, char (*text)[2][24], unsigned keys, unsigned n)
{
	for (unsigned k = 0; k < keys; k++) {
		snprintf(text[k][0], sizeof(text[k][0]), "key-%u", k);
		/* from two values to as many as there are instances */
		snprintf(text[k][1], sizeof(text[k][1]), "v-%u", k == 7 ? n : n % (2u << (2 * k)));
		meta[k] = (struct wm_pair){text[k][0], text[k][1]};
	}
}

int main(int argc, char **argv)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .instances_max = 16777216,
				       .services_max = 1048576,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000,
				       .sync_off = true};
	unsigned services = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	unsigned instances = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
	unsigned keys = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
	char id[32], name[32], address[32], text[8][2][24];
	struct wm_pair meta[8];
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = 8080,
				      .meta = meta,
				      .meta_count = keys};
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	if (!services || !instances || keys > 8) {
		fputs("usage: fillstore FILE SERVICES INSTANCES KEYS\n", stderr);
		return 2;
	}
	c.path = argv[1];
	inet_pton(AF_INET6, "fd77:6179:6d61:726b::", &c.vip6_prefix);
	if (wm_registry_open(&c, &r, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	for (unsigned n = 0; n < instances; n++) {
		snprintf(id, sizeof(id), "svc-%06u-%u", n % services, n / services);
		snprintf(name, sizeof(name), "svc-%06u", n % services);
		snprintf(address, sizeof(address), "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255,
			 n & 255);
		fill_meta(meta, text, keys, n);
		if (wm_registry_register(r, &d, NULL, NULL, &e)) {
			fprintf(stderr, "%s\n", e.text);
			return 1;
		}
		if (n % BATCH == BATCH - 1)
			wm_registry_flush(r);
	}
	wm_registry_flush(r);
	wm_registry_close(r);
	return 0;
}
