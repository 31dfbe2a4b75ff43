/* SPDX-License-Identifier: Apache-2.0 */
/* specs.c - 10,000 services of a source with 10 instances each in the tables: how long the first
 * compilation takes, how much memory it needs beside the registry, what a relist with nothing
 * changed costs, and one instance that changes. Prints one JSON line. Usage: specs [PORTS] */
#include "tests/tools/load.h"
#include "userspace/resolution/resolution.h"

#include <arpa/inet.h>

#define SERVICES  10000
#define INSTANCES 10
#define BATCH	  10000 /* registrations of one commit */
#define ROUNDS	  1000
#define PORTS_MAX 8

static struct wm_registry *registry;
static struct wm_loop *loop;
static uint64_t writes;
static unsigned ports_count = 1;

static long rss_kib(void)
{
	long pages = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%ld %ld", &pages, &rss) != 2)
		load_die("/proc/self/statm");
	fclose(f);
	return rss * (sysconf(_SC_PAGESIZE) / 1024);
}

static void put_instance(unsigned service, unsigned n, unsigned port)
{
	static char text[PORTS_MAX][2][32];
	struct wm_pair meta[PORTS_MAX];
	char id[48], name[32], address[48];
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = port,
				      .meta = meta,
				      .meta_count = ports_count > 1 ? ports_count : 0};

	for (unsigned k = 0; k < d.meta_count; k++) {
		snprintf(text[k][0], sizeof(text[k][0]), "endpoints.p%u", k);
		snprintf(text[k][1], sizeof(text[k][1]), "tcp:%u", port + k);
		meta[k] = (struct wm_pair){text[k][0], text[k][1]};
	}
	snprintf(name, sizeof(name), "ns%u/svc-%u", service % 100, service);
	snprintf(id, sizeof(id), "%s/pod-%u", name, n);
	snprintf(address, sizeof(address), "10.%u.%u.%u", n + 1, service >> 8, service & 255);
	if (wm_registry_register(registry, &d, NULL, NULL, NULL))
		load_die("instance %s was refused", id);
}

/* @return how many had changed. */
static unsigned put_specs(void)
{
	static const char *const names[PORTS_MAX] = {"p0", "p1", "p2", "p3",
						     "p4", "p5", "p6", "p7"};
	struct wm_spec_port ports[PORTS_MAX];
	struct wm_spec_address a[2] = {{.kind = WM_SPEC_CLUSTER}, {.kind = WM_SPEC_CLUSTER}};
	unsigned changed = 0;
	char name[32];

	for (unsigned k = 0; k < ports_count; k++)
		ports[k] = (struct wm_spec_port){.name = names[k],
						 .port = (uint16_t)(80 + k),
						 .proto = IPPROTO_TCP,
						 .endpoint = ports_count > 1 ? names[k] : NULL};
	inet_pton(AF_INET6, "fd00:10:96::", &a[1].a6);
	for (unsigned n = 0; n < SERVICES; n++) {
		struct wm_service_spec s = {.service = name,
					    .source = "kubernetes",
					    .addresses = a,
					    .addresses_count = 2,
					    .ports = ports,
					    .ports_count = ports_count};
		struct wm_err e = {0};
		int r;

		snprintf(name, sizeof(name), "ns%u/svc-%u", n % 100, n);
		a[0].a4.s_addr = htonl(0x0a600000u + n);
		a[1].a6.s6_addr[14] = (uint8_t)(n >> 8);
		a[1].a6.s6_addr[15] = (uint8_t)n;
		r = wm_registry_spec_put(registry, &s, &e);
		if (r < 0)
			load_die("%s: %s", name, e.text);
		changed += (unsigned)r;
	}
	return changed;
}

static int name_put(void *arg, const struct wm_name_key *k, const struct wm_name *v)
{
	(void)arg, (void)k, (void)v;
	writes++;
	return 0;
}
static int name_del(void *arg, const struct wm_name_key *k)
{
	return name_put(arg, k, NULL);
}
static int front_put(void *arg, const struct wm_frontend_key *k, const struct wm_frontend *v)
{
	(void)arg, (void)k, (void)v;
	writes++;
	return 0;
}
static int front_del(void *arg, const struct wm_frontend_key *k)
{
	return front_put(arg, k, NULL);
}

static double ms_since(uint64_t start)
{
	return (double)(load_now_ns() - start) / 1e6;
}

static void fill(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = 1000000,
				       .services_max = 100000,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};

	inet_pton(AF_INET6, "fd77::", &c.vip6_prefix);
	if (wm_registry_open(&c, &registry, NULL))
		load_die("registry");
	for (unsigned n = 0; n < SERVICES * INSTANCES; n++) {
		put_instance(n % SERVICES, n / SERVICES, 8080);
		if (n % BATCH == BATCH - 1)
			wm_registry_finish(registry);
	}
}

int main(int argc, char **argv)
{
	const struct wm_plane_ops ops = {.name_put = name_put,
					 .name_del = name_del,
					 .frontend_put = front_put,
					 .frontend_del = front_del};
	struct wm_table_memory m = {.sets_cap = 131072,
				    .slots_cap = 4194304,
				    .backends_cap = 1048576,
				    .names_cap = 262144,
				    .frontends_cap = 524288};
	struct wm_resolution *x;
	struct wm_tables_stats s;
	struct wm_tables *t;
	double compile_ms, specs_ms, relist_ms, change_us;
	long before, after;
	unsigned changed;
	uint64_t start;

	if (argc > 1)
		ports_count = (unsigned)strtoul(argv[1], NULL, 10);
	if (!ports_count || ports_count > PORTS_MAX || wm_table_memory_new(&m))
		load_die("usage: specs [1 to %d]", PORTS_MAX);
	fill();
	loop = wm_loop_new();
	if (!loop || wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry))
		load_die("loop");
	before = rss_kib();
	start = load_now_ns();
	(void)put_specs();
	specs_ms = ms_since(start);
	t = wm_tables_new(&m, &ops, "mesh.internal", NULL);
	start = load_now_ns();
	x = wm_resolution_new(loop, registry, t);
	compile_ms = ms_since(start);
	if (!x)
		load_die("resolution");
	after = rss_kib();
	wm_tables_stats(t, &s);
	writes = 0;
	start = load_now_ns();
	changed = put_specs();
	wm_loop_turn(loop, 0);
	relist_ms = ms_since(start);
	if (changed || writes)
		load_die("a relist with nothing changed changed %u services, with %llu writes",
			 changed, (unsigned long long)writes);
	start = load_now_ns();
	for (unsigned n = 0; n < ROUNDS; n++) {
		put_instance(n, 0, 9090 + n);
		wm_registry_finish(registry);
		wm_loop_turn(loop, 0);
	}
	change_us = ms_since(start) * 1e3 / ROUNDS;
	printf("{\"services\":%d,\"instances\":%d,\"ports\":%u,\"specs_ms\":%.1f,\"compile_ms\":%."
	       "1f,\"relist_ms\":%.1f,\"relist_writes\":0,\"change_us\":%.1f,\"kib\":%ld,\"sets\":%"
	       "u,\"frontends\":%u,\"backends\":%u,\"slots\":%u}\n",
	       SERVICES, SERVICES * INSTANCES, ports_count, specs_ms, compile_ms, relist_ms,
	       change_us, after - before, s.sets, s.frontends, s.backends, s.slots);
	wm_resolution_free(x);
	wm_tables_free(t);
	wm_registry_close(registry);
	wm_loop_free(loop);
	wm_table_memory_free(&m);
	return 0;
}
