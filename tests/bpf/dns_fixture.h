/* SPDX-License-Identifier: Apache-2.0 */
/* dns_fixture.h - the DNS programs under BPF_PROG_TEST_RUN on tables that a real registry filled,
 * with the userspace server on the same tables. Frames are built and checked octet by octet. */
#pragma once
#include "plane_fixture.h"
#include "tests/unit/dns_balance.h"
#include "userspace/base/clock.h"
#include "userspace/dns/server.h"
#include "userspace/resolution/resolution.h"
#include "waymark/counters.h"
#include "waymark/dns_wire.h"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stdint.h>

#define FRAME_MAX 2048
#define ETH	  14
#define DNS_PORT  8600

#define PUBLISHED_MS 5000
#define HOT_GRACE_S  30

static const char *const veth_only[] = {"none0", NULL};
static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_plane *plane;
static struct wm_tables *tables;
static struct wm_resolution *resolution;
static struct wm_dns_server *server;
static struct wm_table_memory mem;
static struct wm_tables_policy policy; /* a suite may change it before it begins */

static __attribute__((unused)) uint32_t a_record_limit, fail_write; /* set before dns_setup() */

static __attribute__((unused)) const char *cluster_domain; /* likewise; NULL: there is none */

static uint32_t names_cap = 512, backends_cap = 1024, instances_max = 1000;

static void make_plane(void)
{
	struct wm_plane_config c = small();

	c.attach_connect = false;
	c.veth_devices = c.link_devices = veth_only; /* so that their programs are loaded */
	c.names = names_cap;
	c.frontends = 256;
	c.sets = 128;
	c.slots = 1 << 18; /* freed ranges rest for a second, and the tests do not wait */
	c.backends = backends_cap;
	c.memory_max = 64 << 20;
	c.a_record_limit = a_record_limit;
	c.fail_write = fail_write;
	c.negative_ttl_s = 3;
	c.node_ttl_s = 9;
	c.hot_answers = 64;
	c.ready_answers = 256;
	c.hot_grace_ns = HOT_GRACE_S * WM_NS_PER_S;
	c.domain = "mesh.internal";
	c.cluster_domain = cluster_domain;
	c.datacenter = "dc1";
	plane = open_ok(&c, false);
	wm_plane_memory_of(plane, &mem);
	mem.config->seed[0] = 0x1234567;
	mem.config->seed[1] = 0x89abcdef;
	mem.config->ttl_s = 9;
	mem.config->flags = WM_CONFIG_F_DNS;
	mem.config->dns_port_be[0] = htons(DNS_PORT);
	mem.config->dns_port_be[1] = htons(53);
	mem.config->dns_addr4_count = 1;
	mem.config->dns_addr4_be[0] = htonl(INADDR_LOOPBACK);
	mem.config->dns_addr6_count = 1;
	mem.config->dns_addr6_be[0][3] = htonl(1);
}

static __attribute__((unused)) void dns_setup(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = instances_max,
				       .services_max = 100,
				       .nodes_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_dns_config d = {.domain = "mesh.internal",
				  .datacenter = "dc1",
				  .kube_domain = cluster_domain,
				  .ttl_s = 9,
				  .node_ttl_s = 9,
				  .negative_ttl_s = 3,
				  .a_record_limit = a_record_limit};

	setup();
	make_plane();
	inet_pton(AF_INET6, "fd77::", &c.vip6_prefix);
	loop = wm_loop_new();
	cr_assert_eq(wm_registry_open(&c, &registry, NULL), 0);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "mesh.internal", NULL);
	wm_tables_set_policy(tables, &policy);
	resolution = wm_resolution_new(loop, registry, tables);
	server = wm_dns_server_new(loop, registry, tables, &d);
	cr_assert(resolution && server);
	wm_dns_server_tags(server,
			   &(struct wm_dns_tags){wm_resolution_tag_asked, NULL, resolution});
}

static __attribute__((unused)) void dns_teardown(void)
{
	uint64_t all[WM_COUNTER_CAP];

	user_balance(server);
	cr_assert_eq(wm_plane_counters(plane, all), 0);
	kernel_balance(all);
	wm_dns_server_free(server);
	wm_resolution_free(resolution);
	wm_tables_free(tables);
	wm_plane_close(plane);
	wm_registry_close(registry);
	wm_loop_free(loop);
	teardown();
}

/* As the program does that sees a connect fail. */
static __attribute__((unused)) void eject(uint32_t backend, uint64_t until_ns)
{
	mem.live[backend].ejected_until_ns = mem.backends[backend].out_until_ns = until_ns;
}

/* Instances that can be in a set: those with an address of their own. */
static unsigned addressed(const struct wm_service *s)
{
	static const struct in6_addr none;
	unsigned n = 0;

	for (unsigned i = 0; i < s->instances_count; i++)
		n += s->instances[i]->addr4.s_addr ||
		     memcmp(&s->instances[i]->addr6, &none, sizeof(none)) != 0;
	return n;
}

/* Publication may be paced: until the set holds every instance. */
static void published(const char *name)
{
	const struct wm_service *s = wm_registry_service(registry, name);
	uint64_t deadline = wm_clock_ns() + PUBLISHED_MS * WM_NS_PER_MS;
	struct wm_view view = wm_tables_view(tables);
	struct wm_table t = {0};
	int64_t set;

	cr_assert(s);
	while ((set = wm_tables_set_of(tables, name)) < 0 ||
	       wm_table_load(&view, (uint32_t)set, &t) == WM_PICK_TORN || t.count != addressed(s)) {
		cr_assert_lt(wm_clock_ns(), deadline, "%s was not published", name);
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	}
}

static __attribute__((unused)) void add(const char *name, const char *id, const char *address,
					enum wm_status status)
{
	struct wm_check_draft check = {
		.kind = WM_CHECK_TTL, .ttl_ms = 600000, .status = status, .has_status = true};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = 80,
				      .checks = &check,
				      .checks_count = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	published(name);
}

/* --- frames ----------------------------------------------------------------------------------- */
struct frame {
	uint8_t at[FRAME_MAX];
	size_t len;
	size_t dns; /* where the message begins */
	bool v6;
};

static uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (n & 1)
		sum += (uint32_t)p[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Sum over pseudo header and datagram; 0xffff when the checksum in it is right. */
static uint32_t udp_sum(const struct frame *f)
{
	const uint8_t *ip = f->at + ETH;
	size_t at = f->dns - 8, n = f->len - at;
	uint32_t sum = f->v6 ? sum16(ip + 8, 32, 0) : sum16(ip + 12, 8, 0);

	return sum16(f->at + at, n, sum + 17 + (uint32_t)n);
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Lengths and checksums for the frame as it stands. */
static void seal(struct frame *f)
{
	uint8_t *ip = f->at + ETH, *udp = f->at + f->dns - 8;

	put16(udp + 4, f->len - (f->dns - 8));
	if (f->v6) {
		put16(ip + 4, f->len - (f->dns - 8));
	} else {
		put16(ip + 2, f->len - ETH);
		put16(ip + 10, 0);
		put16(ip + 10, ~sum16(ip, 20, 0) & 0xffff);
	}
	put16(udp + 6, 0);
	put16(udp + 6, ~udp_sum(f) & 0xffff);
	if (!udp[6] && !udp[7])
		put16(udp + 6, 0xffff); /* 0 is none: RFC 768 */
}

static void put_question(struct frame *f, const char *name, uint16_t type, unsigned edns)
{
	uint8_t *p = f->at + f->dns;
	size_t at = 12;

	memset(p, 0, 12);
	p[0] = 0xbe;
	p[1] = 0xef;
	p[2] = 1;
	p[5] = 1;
	p[11] = edns != 0;
	while (*name) {
		size_t n = strcspn(name, ".");

		p[at++] = (uint8_t)n;
		memcpy(p + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	p[at++] = 0;
	put16(p + at, type);
	put16(p + at + 2, 1);
	at += 4;
	if (edns) {
		const uint8_t opt[11] = {0, 0, 41, (uint8_t)(edns >> 8), (uint8_t)edns, 0, 0, 0,
					 0, 0, 0};

		memcpy(p + at, opt, sizeof(opt));
		at += sizeof(opt);
	}
	f->len = f->dns + at;
}

/* A query from 127.0.0.1 port 40000 to 127.0.0.1 port 8600, or between ::1. */
static __attribute__((unused)) void query_frame(struct frame *f, bool v6, const char *name,
						uint16_t type, unsigned edns)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	uint8_t *ip = f->at + ETH;

	memset(f, 0, sizeof(*f));
	f->v6 = v6;
	memcpy(f->at, macs, sizeof(macs));
	put16(f->at + 12, v6 ? 0x86dd : 0x0800);
	f->dns = ETH + (v6 ? 40 : 20) + 8;
	if (v6) {
		ip[0] = 0x60;
		ip[6] = IPPROTO_UDP;
		ip[7] = 64;
		ip[23] = ip[39] = 1;
	} else {
		ip[0] = 0x45;
		ip[8] = 64;
		ip[9] = IPPROTO_UDP;
		ip[12] = ip[16] = 127;
		ip[15] = ip[19] = 1;
	}
	put16(f->at + f->dns - 8, 40000);
	put16(f->at + f->dns - 6, DNS_PORT);
	put_question(f, name, type, edns);
	seal(f);
}

/* Run program @p which on @p in. @return its verdict. */
static __attribute__((unused)) uint32_t run(enum wm_prog_index which, const struct frame *in,
					    struct frame *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->at, .data_size_in = (uint32_t)in->len,
		    .data_out = out->at, .data_size_out = sizeof(out->at));
	int r = bpf_prog_test_run_opts(plane->progs[which].fd, &o);

	cr_assert_eq(r, 0, "%s %s", strerror(-r), plane->progs[which].text);
	out->len = o.data_size_out;
	out->dns = in->dns;
	out->v6 = in->v6;
	return o.retval;
}

static __attribute__((unused)) uint64_t counter(enum wm_counter c)
{
	uint64_t all[WM_COUNTER_CAP];

	cr_assert_eq(wm_plane_counters(plane, all), 0);
	return all[c];
}

static __attribute__((unused)) bool same_frame(const struct frame *a, const struct frame *b)
{
	return a->len == b->len && memcmp(a->at, b->at, a->len) == 0;
}

/* Everything around the message of an answer is what a client's stack accepts. */
static __attribute__((unused)) void check_envelope(const struct frame *q, const struct frame *a,
						   bool checksum_wanted)
{
	const uint8_t *qip = q->at + ETH, *aip = a->at + ETH;
	const uint8_t *qu = q->at + q->dns - 8, *au = a->at + a->dns - 8;
	size_t addr = q->v6 ? 16 : 4, src = q->v6 ? 8 : 12;

	cr_assert_eq(memcmp(qip + src, aip + src + addr, addr), 0);
	cr_assert_eq(memcmp(qip + src + addr, aip + src, addr), 0);
	cr_assert_eq(memcmp(qu, au + 2, 2), 0);
	cr_assert_eq(memcmp(qu + 2, au, 2), 0);
	cr_assert_eq((size_t)au[4] << 8 | au[5], a->len - (a->dns - 8));
	if (q->v6) {
		cr_assert_eq((size_t)aip[4] << 8 | aip[5], a->len - (a->dns - 8));
	} else {
		cr_assert_eq((size_t)aip[2] << 8 | aip[3], a->len - ETH);
		cr_assert_eq(sum16(aip, 20, 0), 0xffff, "checksum of the IP header");
	}
	if (checksum_wanted || au[6] || au[7])
		cr_assert_eq(udp_sum(a), 0xffff, "checksum of the datagram");
}

static __attribute__((unused)) bool answered(const struct frame *q, struct frame *a)
{
	uint32_t verdict = run(WM_PROG_DNS_LO, q, a);

	if (same_frame(q, a)) {
		/* others on the device must see it: TC_ACT_OK would end their chain */
		cr_assert_eq(verdict, (uint32_t)TC_ACT_UNSPEC);
		return false;
	}
	cr_assert_eq(verdict, TC_ACT_OK);
	cr_assert(a->at[a->dns + 2] & 0x80);
	return true;
}
