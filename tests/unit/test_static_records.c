/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Records of the operator's own: how they are read, and what is refused with which words. */
#include "userspace/dns/static_records.h"
#include "waymark/dns_wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wm_statics_config config = {.records_file = "",
					  .hosts_file = "",
					  .domain = "Mesh.internal",
					  .alt_domain = "consul",
					  .datacenter = "dc1",
					  .ttl_s = 7};
static struct wm_statics *table;
static struct wm_err e;

static int read_these(const char *a, const char *b)
{
	const char *list[] = {a, b, NULL};
	int r;

	config.records = list;
	r = wm_statics_read(&config, &table, &e);
	config.records = NULL;
	return r;
}

static const struct wm_static_name *find(const char *name)
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len = 1;

	cr_assert(wm_static_name(name, true, wire));
	for (const uint8_t *l = wire; *l; l += *l + 1u)
		len += *l + 1u;
	return wm_statics_find(table, wire, len);
}

static void data_is(const char *record, uint16_t type, uint32_t ttl_s, const char *data, size_t len)
{
	const struct wm_static_name *n;

	cr_assert_eq(read_these(record, NULL), 0, "%s: %s", record, e.text);
	n = find("x.example");
	cr_assert(n && n->records && !n->records->next && !n->inside, "%s", record);
	cr_assert_eq(n->records->type, type, "%s", record);
	cr_assert_eq(n->records->ttl_s, ttl_s, "%s", record);
	cr_assert_eq(n->records->len, len, "%s: %u", record, n->records->len);
	cr_assert_eq(memcmp(n->records->data, data, len), 0, "%s", record);
	wm_statics_free(table);
}

Test(static_records, each_type)
{
	data_is("x.example A 10.1.2.3", WM_DNS_A, 7, "\12\1\2\3", 4);
	data_is("X.Example. 60 in a 10.1.2.3", WM_DNS_A, 60, "\12\1\2\3", 4);
	data_is("\tx.example  0\tAAAA ::1 ", WM_DNS_AAAA, 0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1",
		16);
	data_is("x.example CNAME Www.example", WM_DNS_CNAME, 7, "\3Www\7example", 13);
	data_is("x.example MX 10 m.example", 15, 7, "\0\12\1m\7example", 13);
	data_is("x.example SRV 1 2 8080 .", WM_DNS_SRV, 7, "\0\1\0\2\37\220\0", 7);
	data_is("x.example TXT v=1", WM_DNS_TXT, 7, "\3v=1", 4);
	data_is("x.example TXT \"a; \\\"b\\\"\" \"\" c", WM_DNS_TXT, 7, "\6a; \"b\"\0\1c", 10);
}

static const struct {
	const char *record, *why;
} bad[] = {
	{"", "a name of labels"},
	{"-- ", "type (A, AAAA"},
	{"x..example A 10.0.0.1", "a name of labels"},
	{"x/y A 10.0.0.1", "a name of labels"},
	{"x.example A 10.0.0", "behind A an IPv4 address"},
	{"x.example A ::1", "behind A an IPv4 address"},
	{"x.example A 10.0.0.1 10.0.0.2", "no more"},
	{"x.example AAAA 10.0.0.1", "behind AAAA an IPv6 address"},
	{"x.example CNAME", "behind CNAME a host name"},
	{"x.example CNAME .", "behind CNAME a host name"},
	{"x.example MX m.example", "a preference (0 to 65535)"},
	{"x.example SRV 1 2 65536 m.example", "(0 to 65535)"},
	{"x.example TXT", "texts of at most 255"},
	{"x.example TXT \"a", "texts of at most 255"},
	{"x.example 4294967296 A 10.0.0.1", "a TTL of 0 to 2147483647 s"},
	{"x.example NS ns.example", "a type (A, AAAA, CNAME, TXT, SRV, MX)"},
	{"mesh.internal A 10.0.0.1", "the name is of the mesh"},
	{"web.service.mesh.internal A 10.0.0.1", "the name is of the mesh"},
	{"x.NODE.mesh.internal A 10.0.0.1", "the name is of the mesh"},
	{"ns.consul A 10.0.0.1", "the name is of the mesh"},
	{"x.dc1.consul A 10.0.0.1", "the name is of the mesh"},
	{"_x._tcp.mesh.internal SRV 1 1 1 a.example", "the name is of the mesh"},
};

Test(static_records, what_is_none_is_refused_with_what_is_wanted)
{
	char start[100], text[512] = "TXT ";

	for (int i = 0; i < 200; i++)
		strcat(text, "\\a");
	cr_assert_eq(read_these(text, NULL), WM_E_INVALID, "a name is no type");

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(read_these(bad[i].record, NULL), WM_E_INVALID, "%s", bad[i].record);
		snprintf(start, sizeof(start), "dns.records: \"%s\": ", bad[i].record);
		cr_assert(strstr(e.text, start) == e.text, "%s: %s", bad[i].record, e.text);
		cr_assert(strstr(e.text, bad[i].why), "%s: %s", bad[i].record, e.text);
		cr_assert(!table);
	}
	cr_assert_eq(read_these("a.example CNAME b.example", "a.example A 10.0.0.1"), WM_E_INVALID);
	cr_assert_eq(read_these("a.example A 10.0.0.1", "A.example CNAME b.example"), WM_E_INVALID);
	cr_assert(strstr(e.text, "a name with a CNAME has no other record"), "%s", e.text);
	cr_assert_eq(read_these("a.example CNAME b.example", "a.example CNAME b.example"), 0);
	wm_statics_free(table);
}

/* RFC 8020: what a name of ours ends with is there. Names of others are theirs. */
Test(static_records, names_above)
{
	cr_assert_eq(read_these("a.b.c.mesh.internal A 10.0.0.1", "a.b.example A 10.0.0.2"), 0);
	cr_assert(wm_statics_inside(table));
	cr_assert(find("b.c.mesh.internal") && !find("b.c.mesh.internal")->records);
	cr_assert(find("c.mesh.internal") && find("c.mesh.internal")->inside);
	cr_assert(!find("mesh.internal") && !find("b.example") && !find("x.a.b.c.mesh.internal"));
	cr_assert_eq(wm_statics_count(table), 2);
	wm_statics_free(table);
	cr_assert_eq(read_these("a.b.example A 10.0.0.2", NULL), 0);
	cr_assert(!wm_statics_inside(table));
	wm_statics_free(table);
	cr_assert_eq(read_these(NULL, NULL), 0);
	cr_assert(!table);
}

/* What is of the cluster's is no name of ours, but the programs may not deny it. */
Test(static_records, names_of_a_cluster)
{
	config.cluster_domain = "Cluster.local";
	cr_assert_eq(read_these("a.b.Xcluster.local A 10.0.0.2", NULL), 0);
	cr_assert(!wm_statics_inside(table));
	wm_statics_free(table);
	cr_assert_eq(read_these("web.shop.svc.cluster.LOCAL A 10.0.0.2", NULL), 0);
	cr_assert(wm_statics_inside(table));
	cr_assert(!find("web.shop.svc.cluster.local")->inside);
	wm_statics_free(table);
}

static char path[] = "/tmp/static-records-XXXXXX";

static void file_with(const char *text, size_t len)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void file_of(const char *text)
{
	file_with(text, strlen(text));
}

Test(static_records, a_file_of_records)
{
	file_of("# names\n\n ; more\nx.example TXT \"v=1; a\" \"#\"\r\ny.example A 10.0.0.1");
	config.records_file = path;
	cr_assert_eq(wm_statics_read(&config, &table, &e), 0, "%s", e.text);
	unlink(path);
	cr_assert_eq(wm_statics_count(table), 2);
	cr_assert_eq(find("x.example")->records->len, 9);
	cr_assert(find("y.example"));
	wm_statics_free(table);
	cr_assert_eq(wm_statics_read(&config, &table, &e), -ENOENT);
	cr_assert(strstr(e.text, "dns.records_file: /tmp/"), "%s", e.text);
}

Test(static_records, a_hosts_file)
{
	file_of("127.0.0.1\tlocalhost\n10.0.0.7 db.example Db # the old one\n"
		"fd00::7 db.example\n10.0.0.8 db.example\n10.0.0.7 other.example\n");
	config.hosts_file = path;
	cr_assert_eq(wm_statics_read(&config, &table, &e), 0, "%s", e.text);
	unlink(path);
	cr_assert(find("localhost") && find("db"));
	cr_assert_eq(find("db.example")->records->type, WM_DNS_A);
	cr_assert_eq(find("db.example")->records->next->type, WM_DNS_AAAA);
	cr_assert_eq(find("db.example")->records->next->next->data[3], 8);
	cr_assert_eq(find("7.0.0.10.in-addr.arpa")->records->type, WM_DNS_PTR);
	cr_assert(!find("7.0.0.10.in-addr.arpa")->records->next, "the first name");
	cr_assert(find("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"));
	wm_statics_free(table);
}

Test(static_records, a_bad_line_is_told)
{
	static const struct {
		const char *text, *why;
	} lines[] = {
		{"10.0.0.1 a\n10.0.0 b\n", ":2: an IPv4 or IPv6 address is wanted, not \"10.0.0\""},
		{"\n\n10.0.0.1\n", ":3: a host name is wanted"},
		{"10.0.0.1 a b/c", ":1: labels of 1 to 63"}};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		strcpy(path, "/tmp/static-records-XXXXXX");
		file_of(lines[i].text);
		config.hosts_file = path;
		cr_assert_eq(wm_statics_read(&config, &table, &e), WM_E_INVALID);
		unlink(path);
		cr_assert(strstr(e.text, lines[i].why), "%s", e.text);
		cr_assert(strstr(e.text, "dns.hosts_file: /tmp/") == e.text, "%s", e.text);
	}
}

Test(static_records, names_are_bounded)
{
	enum { LABELS = 64, NAMES = WM_STATIC_NAMES_MAX / LABELS, LINE = 32 + 3 * LABELS };
	char *text = malloc((size_t)LINE * (NAMES + 1)), *at = text;

	cr_assert(text);
	for (int i = 0; i <= NAMES; i++) {
		at += sprintf(at, "10.0.0.1 x");
		for (int l = 1; l < LABELS; l++)
			at += sprintf(at, ".a");
		at += sprintf(at, "%d.mesh.internal\n", i);
	}
	file_with(text, (size_t)(at - text));
	free(text);
	config.hosts_file = path;
	cr_assert_eq(wm_statics_read(&config, &table, &e), WM_E_LIMIT);
	unlink(path);
	cr_assert(strstr(e.text, ":4096: at most 262144 names are allowed"), "%s", e.text);
}

/* What is behind it would be lost without a word. */
Test(static_records, an_octet_that_ends_texts_is_refused)
{
	static const char text[] = "10.0.0.1 a\n10.0.0.2 b\0c\n";

	file_with(text, sizeof(text) - 1);
	config.hosts_file = path;
	cr_assert_eq(wm_statics_read(&config, &table, &e), WM_E_INVALID);
	unlink(path);
	cr_assert(strstr(e.text, ":2: a NUL octet stands within the line"), "%s", e.text);
}

/* Many take longer than a turn may. */
Test(static_records, they_are_freed_some_at_a_time)
{
	cr_assert_eq(read_these("a.example A 10.0.0.1", "b.c.mesh.internal A 10.0.0.2"), 0);
	cr_assert(!wm_statics_free_some(table, 2), "there is one above a name of ours");
	cr_assert(wm_statics_free_some(table, 2));
	cr_assert(wm_statics_free_some(NULL, 1));
}
