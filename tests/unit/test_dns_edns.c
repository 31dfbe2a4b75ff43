/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Options of queries in userspace: cookies and where their keys come from, client subnet, NSID,
 * and what is malformed. */
#include "dns_help.h"
#include "userspace/base/clock.h"
#include "userspace/dns/internal.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define WEB "web.service.mesh.internal"

static char dir[64];
static unsigned told;
static struct wm_cookie_keys keys;

static void on_changed(void *arg, const struct wm_cookie_keys *k)
{
	(void)arg;
	told++;
	keys = *k;
}

static struct wm_dns_cookie_config config = {
	.file = "", .data_dir = dir, .rotate_ms = 86400000, .changed = on_changed};

static void edns_setup(void)
{
	dns_setup();
	snprintf(dir, sizeof(dir), "/tmp/waymark-test-edns-XXXXXX");
	cr_assert(mkdtemp(dir));
	cr_assert_eq(wm_dns_server_cookies(server, &config, NULL), 0);
	add("web", "a", "10.0.0.9", 80, NULL, WM_PASSING);
	published("web", 1);
}

static char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void edns_teardown(void)
{
	dns_teardown();
	unlink(path_of("dns-cookies"));
	unlink(path_of("shared"));
	rmdir(dir);
}
TestSuite(dns_edns, .init = edns_setup, .fini = edns_teardown);

/* --- queries with options --------------------------------------------------------------------- */
static size_t query_len, query_opt;

static void begin_sized(const char *name, unsigned size)
{
	query_opt = build(name, 1, 0);
	query_len = build(name, 1, size);
}

static void begin(void)
{
	begin_sized(WEB, 1232);
}

static void option(unsigned code, const void *data, size_t n)
{
	size_t rdlen = query_len - query_opt - 11 + 4 + n;

	query[query_opt + 9] = (uint8_t)(rdlen >> 8);
	query[query_opt + 10] = (uint8_t)rdlen;
	query[query_len++] = (uint8_t)(code >> 8);
	query[query_len++] = (uint8_t)code;
	query[query_len++] = (uint8_t)(n >> 8);
	query[query_len++] = (uint8_t)n;
	if (n)
		memcpy(query + query_len, data, n);
	query_len += n;
}

static void ask_from(const char *client, bool tcp)
{
	struct sockaddr_storage from = {0};
	struct sockaddr_in6 *in6 = (void *)&from;
	struct sockaddr_in *in = (void *)&from;

	if (inet_pton(AF_INET6, client, &in6->sin6_addr) == 1)
		in6->sin6_family = AF_INET6;
	else if (inet_pton(AF_INET, client, &in->sin_addr) == 1)
		in->sin_family = AF_INET;
	wm_dns_received(server, tcp);
	answer.len = wm_dns_respond_to(server, (struct sockaddr *)&from, query, query_len, tcp,
				       answer.raw, sizeof(answer.raw));
	cr_assert(answer.len);
	parse_answer();
}

/* The option of the answer, whose OPT is its last record. @return octets; -1: it is not there. */
static int given(unsigned code, const uint8_t **ret)
{
	size_t at = server->reply.w.opt_at, end;

	cr_assert(at && answer.raw[at + 2] == 41);
	end = at + 11 + u16(at + 9);
	cr_assert_eq(end, answer.len);
	for (at += 11; at < end; at += 4 + u16(at + 2))
		if (u16(at) == code) {
			*ret = answer.raw + at + 4;
			return (int)u16(at + 2);
		}
	return -1;
}

static const uint8_t client[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* A cookie for @p who, by a query that has none. */
static void cookie_for(const char *who, uint8_t ret[24])
{
	const uint8_t *c;

	begin();
	option(10, client, 8);
	ask_from(who, false);
	cr_assert_eq(given(10, &c), 24);
	memcpy(ret, c, 24);
}

static uint64_t valid(void)
{
	return server->counters[WM_DNS_C_COOKIE_VALID];
}

static bool takes(const char *who, const uint8_t cookie[24])
{
	uint64_t before = valid();

	begin();
	option(10, cookie, 24);
	ask_from(who, false);
	cr_assert_eq(answer.rcode, 0, "whoever asks is answered");
	cr_assert_eq(have(1, "10.0.0.9"), 1);
	return valid() == before + 1;
}

Test(dns_edns, who_sends_a_cookie_gets_one)
{
	uint8_t v4[24], v6[24], tcp[24];
	const uint8_t *c;

	cookie_for("192.0.2.1", v4);
	cr_assert_eq(memcmp(v4, client, 8), 0);
	cr_assert_eq(server->counters[WM_DNS_C_COOKIE_NEW], 1);
	cr_assert(takes("192.0.2.1", v4));
	cr_assert_eq(given(10, &c), 24);
	cr_assert_eq(memcmp(c, v4, 24), 0, "it is young");
	cr_assert(!takes("192.0.2.2", v4));
	cookie_for("2001:db8::1", v6);
	cr_assert(takes("2001:db8::1", v6));
	cr_assert(!takes("192.0.2.1", v6));
	begin();
	option(10, client, 8);
	ask_from("192.0.2.1", true);
	cr_assert_eq(given(10, &c), 24);
	memcpy(tcp, c, 24);
	cr_assert(takes("192.0.2.1", tcp));
	begin();
	ask_from("192.0.2.1", false);
	cr_assert_eq(given(10, &c), -1, "who sends none");
}

static void without_question(void)
{
	memset(query, 0, sizeof(query));
	query[0] = 7;
	query[11] = 1;
	query[14] = 41;
	query[15] = 4;
	query[22] = 12;
	query[24] = 10;
	query[26] = 8;
	query_len = 35;
}

Test(dns_edns, a_cookie_without_a_question)
{
	const uint8_t *c;

	without_question();
	ask_from("192.0.2.1", false);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(given(10, &c), 24);
	query[25] = 0; /* an option of 0 */
	query[24] = 99;
	ask_from("192.0.2.1", false);
	cr_assert_eq(answer.rcode, 1);
	query_len = 12;
	query[11] = 0;
	ask_from("192.0.2.1", false);
	cr_assert_eq(answer.rcode, 1);
}

Test(dns_edns, keys_change_and_the_one_before_is_taken)
{
	uint8_t one[24], two[24];
	unsigned before = told;

	cookie_for("192.0.2.1", one);
	config.rotate_ms = 0; /* due at once */
	cr_assert_eq(wm_dns_server_cookies(server, &config, NULL), 0);
	cr_assert_eq(told, before + 1);
	cr_assert_eq(keys.count, 2);
	cr_assert(takes("192.0.2.1", one));
	cookie_for("192.0.2.1", two);
	cr_assert_neq(memcmp(one, two, 24), 0);
	cr_assert_eq(wm_dns_server_cookies(server, &config, NULL), 0);
	cr_assert(!takes("192.0.2.1", one));
	cr_assert(takes("192.0.2.1", two));
}

Test(dns_edns, keys_outlive_a_restart)
{
	uint8_t one[24];
	struct stat st;

	cookie_for("192.0.2.1", one);
	cr_assert_eq(stat(path_of("dns-cookies"), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	wm_dns_cookies_done(server);
	begin();
	option(10, one, 24);
	ask_from("192.0.2.1", false);
	cr_assert_eq(server->reply.extra.len, 0, "nobody knows of cookies");
	cr_assert_eq(wm_dns_server_cookies(server, &config, NULL), 0);
	cr_assert(takes("192.0.2.1", one));
	wm_dns_cookies_done(server);
	unlink(path_of("dns-cookies"));
	cr_assert_eq(wm_dns_server_cookies(server, &config, NULL), 0);
	cr_assert(!takes("192.0.2.1", one));
}

Test(dns_edns, keys_that_no_disk_has_outlive_a_reload)
{
	uint8_t one[24];

	unlink(path_of("dns-cookies"));
	cookie_for("192.0.2.1", one);
	cr_assert_eq(wm_dns_server_cookies(server, &config, NULL), 0);
	cr_assert(takes("192.0.2.1", one));
}

Test(dns_edns, off_and_told)
{
	const uint8_t *c;

	cr_assert_eq(wm_dns_server_cookies(server, NULL, NULL), 0);
	cr_assert_eq(keys.count, 0);
	begin();
	option(10, client, 8);
	ask_from("192.0.2.1", false);
	cr_assert_eq(given(10, &c), -1);
}

static void write_shared(const char *text)
{
	FILE *f = fopen(path_of("shared"), "we");

	cr_assert(f && fputs(text, f) >= 0);
	fclose(f);
}

Test(dns_edns, keys_of_an_operator)
{
	static const char *const bad[] = {"", "e5e973e5a6b2a43f48e7dc849e37bfc",
					  "e5e973e5a6b2a43f48e7dc849e37bfcg",
					  "e5e973e5a6b2a43f48e7dc849e37bfcf00"};
	static char path[128];
	struct wm_dns_cookie_config c = config;
	struct wm_err e = {0};

	snprintf(path, sizeof(path), "%s", path_of("shared"));
	c.file = path;
	write_shared("e5e973e5a6b2a43f48e7dc849e37bfcf\nDD3BDF9344b678b185a6f5cb60fca715\n");
	cr_assert_eq(wm_dns_server_cookies(server, &c, &e), 0, "%s", e.text);
	cr_assert_eq(keys.count, 2);
	cr_assert_eq(((const uint8_t *)keys.key[0])[0], 0xe5);
	cr_assert_eq(((const uint8_t *)keys.key[0])[15], 0xcf);
	cr_assert_eq(((const uint8_t *)keys.key[1])[0], 0xdd);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		unsigned before = told;

		write_shared(bad[i]);
		cr_assert_eq(wm_dns_server_cookies(server, &c, &e), WM_E_INVALID, "%s", bad[i]);
		cr_assert(strstr(e.text, "32 hexadecimal digits"), "%s", e.text);
		cr_assert_eq(told, before, "what is in force stays");
	}
	unlink(path);
	cr_assert_eq(wm_dns_server_cookies(server, &c, &e), WM_E_INVALID);
	cr_assert_eq(server->cookies.count, 2);
}

/* --- others ----------------------------------------------------------------------------------- */
Test(dns_edns, a_subnet_comes_back_with_scope_0)
{
	static const uint8_t subnet[] = {0, 1, 24, 0, 192, 0, 2};
	const uint8_t *c;

	begin();
	option(8, subnet, sizeof(subnet));
	ask_from("192.0.2.1", false);
	cr_assert_eq(given(8, &c), sizeof(subnet));
	cr_assert_eq(memcmp(c, subnet, sizeof(subnet)), 0);
	cr_assert_eq(have(1, "10.0.0.9"), 1);
}

Test(dns_edns, nsid_as_it_is_set)
{
	const uint8_t *c;

	begin();
	option(3, "", 0);
	ask_from("192.0.2.1", false);
	cr_assert_eq(given(3, &c), -1);
	wm_dns_server_nsid(server, "node-1");
	ask_from("192.0.2.1", false);
	cr_assert_eq(given(3, &c), 6);
	cr_assert_eq(memcmp(c, "node-1", 6), 0);
	begin();
	ask_from("192.0.2.1", false);
	cr_assert_eq(given(3, &c), -1, "nobody asked");
}

Test(dns_edns, what_is_malformed_is_formerr_with_an_opt)
{
	const uint8_t *c;

	begin();
	option(10, client, 7);
	ask_from("192.0.2.1", false);
	cr_assert_eq(answer.rcode, 1);
	cr_assert_eq(answer.counts[0], 1);
	cr_assert_eq(given(10, &c), -1);
	cr_assert_eq(server->counters[WM_DNS_C_FORMERR], 1);
}

/* Options of a version that we do not know are not ours to read. */
Test(dns_edns, badvers_before_options)
{
	const uint8_t *c;

	begin();
	option(10, client, 7);
	query[query_opt + 6] = 1;
	ask_from("192.0.2.1", false);
	cr_assert_eq(answer.raw[server->reply.w.opt_at + 5], 1);
	cr_assert_eq(answer.raw[server->reply.w.opt_at + 6], 0, "our version");
	cr_assert_eq(given(10, &c), -1);
}

/* What is too long for the client makes room for the options. */
Test(dns_edns, options_count_for_what_fits)
{
	size_t full = 12 + 28 + 4 + 31 * 16 + 11;
	char id[16], address[16];

	for (unsigned i = 0; i < 31; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.1.0.%u", i + 1);
		add("many", id, address, 80, NULL, WM_PASSING);
	}
	published("many", 31);
	for (unsigned more = 0; more < 2; more++)
		for (unsigned missing = 0; missing < 2; missing++) {
			size_t room = full + 28 * more - missing;

			begin_sized("many.service.mesh.internal", (unsigned)room);
			if (more)
				option(10, client, 8);
			ask_from("192.0.2.1", false);
			cr_assert_leq(answer.len, room);
			cr_assert_eq((answer.flags & 0x200) != 0, missing);
			cr_assert_eq(have(1, NULL), missing ? 30 : 31);
		}
}

/* --- the rate limit --------------------------------------------------------------------------- */
static struct sockaddr_in from_net = {.sin_family = AF_INET};

static enum wm_rated rated(void)
{
	return came_in_if_rated(
		wm_dns_rate(server, (struct sockaddr *)&from_net, query, query_len));
}

Test(dns_edns, a_cookie_exempts_from_the_rate_limit)
{
	uint8_t one[24];

	inet_pton(AF_INET, "192.0.2.1", &from_net.sin_addr);
	cookie_for("192.0.2.1", one);
	cr_assert_eq(wm_dns_server_rate(server, 1), 0);
	begin();
	option(10, one, 24);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(rated(), WM_RATED_ANSWER);
	one[23] ^= 1;
	begin();
	option(10, one, 24);
	cr_assert_eq(rated(), WM_RATED_ANSWER, "the first of the second");
	cr_assert_eq(rated(), WM_RATED_DROP);
	cr_assert_eq(rated(), WM_RATED_CUT);
}

Test(dns_edns, cookies_without_a_question_have_a_bound)
{
	inet_pton(AF_INET, "192.0.2.1", &from_net.sin_addr);
	cr_assert_eq(wm_dns_server_rate(server, 1), 0);
	without_question();
	cr_assert_eq(rated(), WM_RATED_ANSWER);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(rated(), WM_RATED_DROP);
	cr_assert_eq(server->counters[WM_DNS_C_RATE_DROPPED], 4);
	query[5] = 2; /* FORMERR */
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(rated(), WM_RATED_ANSWER);
}

Test(dns_edns, an_opt_is_found_behind_records_and_only_if_it_is_the_one)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 0, 1};
	struct wm_dns_query q;

	begin();
	query[query_opt + 7] = 0x80; /* DO */
	memmove(query + query_opt + sizeof(record), query + query_opt, query_len - query_opt);
	memcpy(query + query_opt, record, sizeof(record));
	query_len += sizeof(record);
	query[2] = 0x28; /* UPDATE */
	query[9] = 1;
	cr_assert(wm_dns_opt_of(query, query_len, &q));
	cr_assert_eq(q.edns_flags, WM_DNS_DO);
	for (size_t n = WM_DNS_HEADER_LEN; n < query_len; n++)
		cr_assert(!wm_dns_opt_of(query, n, &q), "%zu octets", n);
	memcpy(query + query_len, query + query_len - 11, 11);
	query[11] = 2;
	cr_assert(!wm_dns_opt_of(query, query_len + 11, &q), "two");
	query[11] = 1;
	cr_assert(!wm_dns_opt_of(query, query_len + 11, &q), "octets behind it");
}

Test(dns_edns, who_is_cut_and_knows_cookies_is_sent_one)
{
	uint8_t cookie[24];
	const uint8_t *c;

	inet_pton(AF_INET, "192.0.2.1", &from_net.sin_addr);
	begin();
	option(10, client, 8);
	answer.len =
		wm_dns_rate_cut(server, (struct sockaddr *)&from_net, query, query_len, answer.raw);
	parse_answer();
	cr_assert_eq(answer.flags, 0x8107, "no TC");
	cr_assert_eq(answer.raw[server->reply.w.opt_at + 5], 1, "BADCOOKIE");
	cr_assert_eq(answer.counts[0], 1);
	cr_assert_eq(given(10, &c), 24);
	memcpy(cookie, c, 24);
	cr_assert(takes("192.0.2.1", cookie));
	cr_assert_eq(server->counters[WM_DNS_C_BADCOOKIE], 1);
}

/* Padding stands behind what else the OPT has. */
Test(dns_edns, padding_behind_options)
{
	static uint8_t out[65536];
	const uint8_t *c;
	size_t pad;

	cookie_for("192.0.2.1", out);
	pad = wm_dns_padding(server->reply.w.opt_at, answer.len);
	cr_assert_eq((answer.len + pad) % 468, 0);
	wm_dns_pad(answer.raw, server->reply.w.opt_at, answer.len, pad);
	answer.len += pad;
	parse_answer();
	cr_assert_eq(given(10, &c), 24);
	cr_assert_eq(given(12, &c), (int)pad - 4);
}
