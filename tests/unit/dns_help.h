/* SPDX-License-Identifier: Apache-2.0 */
/* dns_help.h - a registry, tables in plain memory and a DNS server on them; questions are built and
 * answers taken apart by code of the test's own, which trusts nothing. */
#pragma once
#include "tests/unit/dns_balance.h"
#include "userspace/dns/server.h"
#include "userspace/resolution/resolution.h"
#include "waymark/dns_wire.h"
#include "waymark/rate.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DNS_CAP	    64
#define MESSAGE_MAX 65535
#define RECORDS_MAX 4096

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_tables *tables;
static struct wm_resolution *resolution;
static struct wm_dns_server *server;
static struct wm_table_memory memory;

/* A suite may change both before it begins. */
static struct wm_tables_policy policy;
static struct wm_dns_config dns_config = {.domain = "mesh.internal",
					  .alt_domain = "consul",
					  .datacenter = "DC1",
					  .ttl_s = 7,
					  .node_ttl_s = 5,
					  .negative_ttl_s = 3,
					  .tcp_max = 4,
					  .tcp_client_max = 3,
					  .tcp_idle_ms = 400};

/* All but the server. */
static __attribute__((unused)) void registry_setup(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = 1000,
				       .services_max = 100,
				       .nodes_max = 10,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};

	memory = (struct wm_table_memory){.sets_cap = DNS_CAP,
					  .slots_cap = 64 * DNS_CAP,
					  .backends_cap = 16 * DNS_CAP,
					  .names_cap = 4 * DNS_CAP,
					  .frontends_cap = 2 * DNS_CAP};
	cr_assert_eq(wm_table_memory_new(&memory), 0);
	inet_pton(AF_INET6, "fd77::", &c.vip6_prefix);
	loop = wm_loop_new();
	cr_assert_eq(wm_registry_open(&c, &registry, NULL), 0);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
	memory.config->seed[0] = 3;
	tables = wm_tables_new(&memory, NULL, "mesh.internal", "consul");
	wm_tables_set_policy(tables, &policy);
	resolution = wm_resolution_new(loop, registry, tables);
	cr_assert(resolution);
}

static __attribute__((unused)) void dns_setup(void)
{
	registry_setup();
	server = wm_dns_server_new(loop, registry, tables, &dns_config);
	cr_assert(server);
}

static __attribute__((unused)) void dns_teardown(void)
{
	user_balance(server);
	wm_dns_server_free(server);
	wm_resolution_free(resolution);
	wm_tables_free(tables);
	wm_registry_close(registry);
	wm_loop_free(loop);
}

static __attribute__((unused)) void add(const char *name, const char *id, const char *address,
					unsigned port, const char *tag, enum wm_status status)
{
	struct wm_check_draft check = {
		.kind = WM_CHECK_TTL, .ttl_ms = 60000, .status = status, .has_status = true};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = port,
				      .tags = &tag,
				      .tags_count = tag != NULL,
				      .checks = &check,
				      .checks_count = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

/* Publication may be paced: until the set of @p name has @p slots. */
static __attribute__((unused)) void published(const char *name, unsigned slots_count)
{
	struct wm_view view = wm_tables_view(tables);
	struct wm_table t = {0};

	while (wm_tables_set_of(tables, name) < 0 ||
	       wm_table_load(&view, (uint32_t)wm_tables_set_of(tables, name), &t) == WM_PICK_TORN ||
	       t.count != slots_count)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
}

/* --- questions -------------------------------------------------------------------------------- */
static uint8_t query[MESSAGE_MAX];

/* @p edns: size to announce, 0: no OPT. @return octets in `query`. */
static __attribute__((unused)) size_t build(const char *name, uint16_t type, unsigned edns)
{
	size_t at = 12;

	memset(query, 0, 12);
	query[0] = 0xab;
	query[1] = 0xcd;
	query[2] = 1; /* RD, as stub resolvers set it */
	query[5] = 1;
	query[11] = edns != 0;
	while (*name) {
		size_t n = strcspn(name, ".");

		query[at++] = (uint8_t)n;
		memcpy(query + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	query[at++] = 0;
	query[at++] = (uint8_t)(type >> 8);
	query[at++] = (uint8_t)type;
	query[at++] = 0;
	query[at++] = 1;
	if (edns) {
		const uint8_t opt[11] = {0, 0, 41, (uint8_t)(edns >> 8), (uint8_t)edns, 0, 0, 0,
					 0, 0, 0};

		memcpy(query + at, opt, sizeof(opt));
		at += sizeof(opt);
	}
	return at;
}

/* --- answers ---------------------------------------------------------------------------------- */
struct record {
	char owner[1024], text[1100]; /* text: data for people */
	unsigned section, type, ttl;
};
static struct {
	uint8_t raw[MESSAGE_MAX];
	size_t len;
	unsigned rcode, flags, counts[4];
	struct record r[RECORDS_MAX];
	unsigned n;
} answer;

/* Name at @p at into @p out. @return where it ends in the message. */
static size_t name_at(size_t at, char *out, size_t cap)
{
	size_t end = 0, o = 0;
	unsigned jumps = 0;

	out[0] = 0;
	for (;;) {
		uint8_t n;

		cr_assert_lt(at, answer.len);
		n = answer.raw[at];
		if (n >= 0xc0) {
			size_t to;

			cr_assert_lt(at + 1, answer.len);
			to = (size_t)(n & 0x3f) << 8 | answer.raw[at + 1];
			cr_assert_lt(to, at, "a pointer leads back");
			cr_assert_lt(jumps++, 32);
			end = end ? end : at + 2;
			at = to;
			continue;
		}
		cr_assert_leq(n, 63);
		if (!n)
			return end ? end : at + 1;
		cr_assert_leq(at + 1 + n, answer.len);
		cr_assert_lt(o + n + 2, cap);
		memcpy(out + o, answer.raw + at + 1, n);
		o += n;
		out[o++] = '.';
		out[o] = 0;
		at += n + 1u;
	}
}

static unsigned u16(size_t at)
{
	cr_assert_leq(at + 2, answer.len);
	return (unsigned)answer.raw[at] << 8 | answer.raw[at + 1];
}

static void data_text(struct record *r, size_t at, size_t len)
{
	char name[1024];

	switch (r->type) {
	case 1:
	case 28:
		cr_assert_eq(len, r->type == 1 ? 4 : 16);
		inet_ntop(r->type == 1 ? AF_INET : AF_INET6, answer.raw + at, r->text,
			  sizeof(r->text));
		break;
	case 33:
		cr_assert_eq(name_at(at + 6, name, sizeof(name)), at + len);
		snprintf(r->text, sizeof(r->text), "%u %u %u %s", u16(at), u16(at + 2), u16(at + 4),
			 name);
		break;
	case 2:
	case 5:
	case 12:
		cr_assert_eq(name_at(at, name, sizeof(name)), at + len);
		snprintf(r->text, sizeof(r->text), "%s", name);
		break;
	case 16:
		memcpy(r->text, answer.raw + at + 1, answer.raw[at]);
		r->text[answer.raw[at]] = 0;
		break;
	case 6:
		at = name_at(at, r->text, sizeof(r->text));
		cr_assert_leq(name_at(at, name, sizeof(name)) + 20, answer.len);
		break;
	default:
		r->text[0] = 0;
	}
}

/* Take `answer.raw` apart; every octet must be accounted for. */
static __attribute__((unused)) void parse_answer(void)
{
	char name[1024];
	size_t at = 12;

	cr_assert_geq(answer.len, 12);
	answer.flags = u16(2);
	answer.rcode = answer.flags & 15;
	for (int i = 0; i < 4; i++)
		answer.counts[i] = u16(4 + 2 * (size_t)i);
	for (unsigned i = 0; i < answer.counts[0]; i++)
		at = name_at(at, name, sizeof(name)) + 4;
	answer.n = 0;
	for (unsigned s = 1; s < 4; s++)
		for (unsigned i = 0; i < answer.counts[s]; i++) {
			struct record *r = &answer.r[answer.n++];
			unsigned len;

			cr_assert_lt(answer.n, RECORDS_MAX);
			at = name_at(at, r->owner, sizeof(r->owner));
			r->section = s;
			r->type = u16(at);
			r->ttl = u16(at + 4) << 16 | u16(at + 6);
			len = u16(at + 8);
			at += 10;
			cr_assert_leq(at + len, answer.len);
			data_text(r, at, len);
			at += len;
		}
	cr_assert_eq(at, answer.len);
}

/* What is rated so has that for its outcome, or has none yet: it did not come in then. */
static __attribute__((unused)) enum wm_rated came_in_if_rated(enum wm_rated rated)
{
	if (rated != WM_RATED_ANSWER)
		wm_dns_received(server, false);
	return rated;
}

static __attribute__((unused)) void ask_raw(size_t len, bool tcp)
{
	answer.len = wm_dns_respond(server, query, len, tcp, answer.raw, sizeof(answer.raw));
	if (answer.len)
		parse_answer();
}

static __attribute__((unused)) void ask(const char *name, uint16_t type)
{
	ask_raw(build(name, type, 1232), false);
	cr_assert(answer.len);
}

/* Records of @p section with this text; NULL: any. */
static __attribute__((unused)) unsigned have(unsigned section, const char *text)
{
	unsigned n = 0;

	for (unsigned i = 0; i < answer.n; i++)
		n += answer.r[i].section == section && answer.r[i].type != 41 &&
		     (!text || strcmp(answer.r[i].text, text) == 0);
	return n;
}
