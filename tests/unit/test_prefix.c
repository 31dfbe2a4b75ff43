/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* Networks as text, and which addresses are of them. */
#include "userspace/base/prefix.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static bool is_of(const char *prefix, const char *address)
{
	__be32 addr[4] = {0};
	struct wm_guard_prefix p;
	struct wm_err e = {0};

	cr_assert_eq(wm_prefix_parse(prefix, &p, &e), 0, "%s: %s", prefix, e.text);
	if (inet_pton(AF_INET6, address, addr) != 1) {
		cr_assert_eq(inet_pton(AF_INET, address, &addr[3]), 1);
		addr[2] = htonl(0xffff);
	}
	return wm_guard_matches(&p, addr);
}

Test(prefix, who_is_of_a_network)
{
	static const struct {
		const char *prefix, *address;
		bool of;
	} all[] = {
		{"10.0.0.0/8", "10.255.1.2", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.1.128.0/17", "10.1.200.9", true},
		{"10.1.128.0/17", "10.1.127.9", false},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.2", false},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "fd00::1", true},
		{"::/0", "10.0.0.1", true},
		{"fd00::/8", "fdff::1", true},
		{"fd00::/8", "fe80::1", false},
		{"2001:db8::/33", "2001:db8:7fff::", true},
		{"2001:db8::/33", "2001:db8:8000::", false},
		{"2001:db8::1", "2001:db8::1", true},
		{"2001:db8::1", "2001:db8::2", false},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		cr_assert_eq(is_of(all[i].prefix, all[i].address), all[i].of, "%s %s",
			     all[i].prefix, all[i].address);
}

Test(prefix, what_is_none_is_refused)
{
	static const char *const none[] = {"",
					   "host",
					   "10.0.0.0/33",
					   "10.0.0.0/",
					   "10.0.0.0/-1",
					   "10.0.0.0/8x",
					   "10.0.0/8",
					   "fd00::/129",
					   "/8",
					   "10.0.0.0/+8",
					   "10.0.0.0 /8"};
	struct wm_guard_prefix p;
	struct wm_err e = {0};

	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		cr_assert_eq(wm_prefix_parse(none[i], &p, &e), WM_E_INVALID, "%s", none[i]);
		cr_assert(strstr(e.text, "a network such as"), "%s", e.text);
	}
	cr_assert_eq(wm_prefix_parse("10.0.0.1/8", &p, &e), WM_E_INVALID);
	cr_assert_str_eq(e.text, "10.0.0.1/8 has bits behind its /8");
	cr_assert_eq(wm_prefix_parse("fd00::1/64", &p, &e), WM_E_INVALID);
}

Test(prefix, reverse_zones)
{
	static const struct {
		const char *prefix;
		unsigned zones;
		const char *first, *last;
	} all[] = {{"10.0.0.0/8", 1, "10.in-addr.arpa", "10.in-addr.arpa"},
		   {"10.244.0.0/16", 1, "244.10.in-addr.arpa", "244.10.in-addr.arpa"},
		   {"172.16.0.0/12", 16, "16.172.in-addr.arpa", "31.172.in-addr.arpa"},
		   {"128.0.0.0/1", 128, "128.in-addr.arpa", "255.in-addr.arpa"},
		   {"10.1.2.0/23", 2, "2.1.10.in-addr.arpa", "3.1.10.in-addr.arpa"},
		   {"10.1.2.3", 1, "3.2.1.10.in-addr.arpa", "3.2.1.10.in-addr.arpa"},
		   {"0.0.0.0/0", 0, "", ""},
		   {"::/0", 0, "", ""},
		   {"fd00::/8", 1, "d.f.ip6.arpa", "d.f.ip6.arpa"},
		   {"fd12:3400::/22", 4, "4.3.2.1.d.f.ip6.arpa", "7.3.2.1.d.f.ip6.arpa"}};
	char zone[WM_PREFIX_ZONE_SIZE];
	struct wm_guard_prefix p;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		cr_assert_eq(wm_prefix_parse(all[i].prefix, &p, NULL), 0, "%s", all[i].prefix);
		cr_assert_eq(wm_prefix_zones(&p), all[i].zones, "%s", all[i].prefix);
		cr_assert(!wm_prefix_zone(&p, all[i].zones, zone));
		if (!all[i].zones || !all[i].first)
			continue;
		cr_assert(wm_prefix_zone(&p, 0, zone));
		cr_assert_str_eq(zone, all[i].first);
		cr_assert(wm_prefix_zone(&p, all[i].zones - 1, zone));
		cr_assert_str_eq(zone, all[i].last);
	}
	cr_assert_eq(wm_prefix_parse("2001:db8::1", &p, NULL), 0);
	cr_assert(wm_prefix_zone(&p, 0, zone));
	cr_assert_eq(strlen(zone), WM_PREFIX_ZONE_SIZE - 4, "the longest");
}
