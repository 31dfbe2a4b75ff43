/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* The same question from one network is answered so often a second. */
#include "dns_help.h"
#include "userspace/dns/internal.h"

TestSuite(dns_rate, .init = dns_setup, .fini = dns_teardown);

static struct sockaddr_storage address(const char *client)
{
	struct sockaddr_storage from = {0};
	struct sockaddr_in6 *in6 = (void *)&from;
	struct sockaddr_in *in = (void *)&from;

	if (inet_pton(AF_INET6, client, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
	} else {
		cr_assert_eq(inet_pton(AF_INET, client, &in->sin_addr), 1);
		in->sin_family = AF_INET;
	}
	return from;
}

static enum wm_rated rated(const char *client, const char *name)
{
	struct sockaddr_storage from = address(client);

	return came_in_if_rated(
		wm_dns_rate(server, (struct sockaddr *)&from, query, build(name, 1, 0)));
}

/* What the answer is rated that userspace makes. */
static enum wm_rated rated_made(const char *client, const char *name, uint16_t type)
{
	struct sockaddr_storage from = address(client);
	size_t len = build(name, type, 0);

	ask_raw(len, false);
	return wm_dns_rate_made(server, (struct sockaddr *)&from, query, len, answer.raw);
}

Test(dns_rate, by_network_and_question)
{
	cr_assert_eq(wm_dns_server_rate(server, 1), 0);
	cr_assert_eq(rated("192.0.2.1", "a.example"), WM_RATED_ANSWER);
	cr_assert_eq(rated("192.0.2.77", "A.example"), WM_RATED_DROP);
	cr_assert_eq(rated("192.0.2.1", "a.example"), WM_RATED_CUT);
	cr_assert_eq(rated("192.0.2.1", "b.example"), WM_RATED_ANSWER, "another question");
	cr_assert_eq(rated("192.0.3.1", "a.example"), WM_RATED_ANSWER, "another network");
	cr_assert_eq(rated("2001:db8::1", "a.example"), WM_RATED_ANSWER);
	cr_assert_eq(rated("2001:db8::2", "a.example"), WM_RATED_DROP);
	cr_assert_eq(rated("2001:db8:0:1::2", "a.example"), WM_RATED_ANSWER);
	cr_assert_eq(server->counters[WM_DNS_C_RATE_DROPPED], 2);
	cr_assert_eq(server->counters[WM_DNS_C_RATE_CUT], 1);
}

/* Names that are made up anew each time, and types: each is another question. */
Test(dns_rate, what_is_not_there_is_the_same)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	cr_assert_eq(wm_dns_server_rate(server, 1), 0);
	for (unsigned i = 0; i < 16; i++) {
		char name[64];

		snprintf(name, sizeof(name), "x%u.web.service.mesh.internal", i);
		cr_assert_eq(rated_made("192.0.2.1", name, 1), WM_RATED_ANSWER, "%u", i);
	}
	cr_assert_eq(rated_made("192.0.2.7", "x2.query.mesh.internal", 1), WM_RATED_DROP);
	cr_assert_eq(rated_made("192.0.2.1", "web.service.mesh.internal", 28), WM_RATED_CUT);
	cr_assert_eq(rated_made("192.0.2.1", "x3.node.consul", 1), WM_RATED_ANSWER, "of another");
	cr_assert_eq(rated_made("192.0.2.1", "1.2.3.240.in-addr.arpa", 12), WM_RATED_ANSWER);
	cr_assert_eq(rated_made("192.0.3.1", "x4.node.mesh.internal", 1), WM_RATED_ANSWER);
	cr_assert_eq(rated_made("127.0.0.1", "x5.node.mesh.internal", 1), WM_RATED_ANSWER);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(rated_made("192.0.2.1", "web.service.mesh.internal", 1),
			     WM_RATED_ANSWER, "it is there");
		cr_assert_eq(rated_made("192.0.2.1", "example.com", 1), WM_RATED_ANSWER, "refused");
	}
	cr_assert_eq(server->counters[WM_DNS_C_RATE_DROPPED], 1);
	cr_assert_eq(server->counters[WM_DNS_C_RATE_CUT], 1);
}

Test(dns_rate, this_node_has_no_bound)
{
	cr_assert_eq(wm_dns_server_rate(server, 1), 0);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(rated("127.0.0.1", "a.example"), WM_RATED_ANSWER);
		cr_assert_eq(rated("::1", "a.example"), WM_RATED_ANSWER);
	}
	cr_assert_eq(wm_dns_server_rate(server, 0), 0);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(rated("192.0.2.1", "a.example"), WM_RATED_ANSWER);
}

Test(dns_rate, what_is_cut_is_the_question)
{
	size_t len = build("a.example", 1, 1232);

	answer.len = wm_dns_rate_cut(server, NULL, query, len, answer.raw);
	parse_answer();
	cr_assert_eq(answer.len, len - 11);
	cr_assert_eq(answer.flags & 0x8200, 0x8200);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(answer.counts[0], 1);
	cr_assert_eq(answer.n, 0);
}
