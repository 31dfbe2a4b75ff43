/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Any octets as a query, over UDP and TCP: the answer stays in its bounds, is a response to the
 * same id, and is never sent for a response. */
#include "userspace/dns/server.h"
#include "userspace/resolution/resolution.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wm_dns_server *server;

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

static void start(void)
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
	struct wm_dns_config d = {.domain = "x", .alt_domain = "yy", .datacenter = "dc1"};
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *out, *in = malloc(size + 1); /* its exact size, for the sanitizer */
	size_t cap, n;

	if (!server)
		start();
	for (int tcp = 0; tcp < 2; tcp++) {
		cap = tcp ? WM_DNS_TCP_MAX : WM_DNS_EDNS_MAX;
		out = malloc(cap);
		if (!in || !out)
			abort();
		memcpy(in, data, size);
		n = wm_dns_respond(server, in, size, tcp, out, cap);
		if (n > cap || (n && (n < 12 || memcmp(in, out, 2) != 0 || !(out[2] & 0x80))))
			abort();
		if (size >= 12 && (in[2] & 0x80 ? n != 0 : n == 0))
			abort(); /* responses are dropped, every query is answered */
		free(out);
	}
	free(in);
	return 0;
}
