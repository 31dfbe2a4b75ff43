/* SPDX-License-Identifier: Apache-2.0 */
/* dns_served.h - a DNS server with a few services, for the targets that ask it. */
#pragma once
#include "userspace/dns/server.h"
#include "userspace/resolution/resolution.h"

#include <stdlib.h>

static void add(struct wm_registry *r, const char *name, const char *id, const char *address)
{
	static const char *const tags[] = {"v1", "a.b"};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = 80,
				      .tags = tags,
				      .tags_count = 2};

	if (wm_registry_register(r, &d, NULL, NULL, NULL))
		abort();
}

/* The server, on @p ret_loop if that is not NULL. */
static struct wm_dns_server *served(struct wm_loop **ret_loop)
{
	static struct wm_table_memory m = {.sets_cap = 16,
					   .slots_cap = 64,
					   .backends_cap = 32,
					   .names_cap = 64,
					   .frontends_cap = 32};
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = 100,
				       .services_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_dns_config d = {.domain = "x",
				  .alt_domain = "yy",
				  .datacenter = "dc1",
				  .tcp_max = 4,
				  .tcp_idle_ms = 60000};
	struct wm_dns_server *server;
	struct wm_loop *loop = wm_loop_new();
	struct wm_registry *r;
	struct wm_tables *t = wm_table_memory_new(&m) ? NULL : wm_tables_new(&m, NULL, "x", "yy");

	if (!loop || !t || wm_registry_open(&c, &r, NULL))
		abort();
	add(r, "a", "a1", "10.0.0.1");
	add(r, "a", "a2", "fd00::1");
	add(r, "b", "b1", NULL);
	add(r, "c", "c1", "h.d");
	add(r, "e", "e1", "e.service.x");
	wm_registry_flush(r);
	if (!wm_resolution_new(loop, r, t))
		abort();
	server = wm_dns_server_new(loop, r, t, &d);
	if (!server)
		abort();
	if (ret_loop)
		*ret_loop = loop;
	return server;
}
