/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* test_peer.c - ids and addresses of agents in text, and as the system has them. */
#include "userspace/sync/peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/un.h>

Test(peer, ids_are_read_and_written)
{
	static const char *const bad[] = {
		"",
		"0",
		"01234567-89ab-cdef-0123-456789abcde",
		"01234567-89ab-cdef-0123-456789abcdefa",
		"01234567089ab-cdef-0123-456789abcdef",
		"g1234567-89ab-cdef-0123-456789abcdef",
	};
	char text[WM_PEER_ID_TEXT];
	struct wm_peer_id id;

	cr_assert_eq(wm_peer_id_parse("01234567-89AB-cdef-0123-456789abcdef", &id), 0);
	wm_peer_id_format(&id, text);
	cr_assert_str_eq(text, "01234567-89ab-cdef-0123-456789abcdef");
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++)
		cr_assert_eq(wm_peer_id_parse(bad[n], &id), -EINVAL, "%s", bad[n]);
}

Test(peer, addresses_are_read_and_written)
{
	static const char *const good[] = {"10.0.0.1:8301", "[fd00::1]:1", "[::]:65535"};
	static const char *const bad[] = {
		"",
		":",
		"10.0.0.1",
		"10.0.0.1:",
		"10.0.0.1:0",
		"10.0.0.1:65536",
		"10.0.0.1:8301x",
		"fd00::1:80",
		"[fd00::1:80",
		"[fd00::1]80",
		"[10.0.0.1]:80",
		"a:80",
		"]:80",
		"[:80",
		"10.0.0.1:+80",
		"10.0.0.1: 80",
	};
	struct wm_peer_addr a;
	char text[INET6_ADDRSTRLEN + 8];

	for (unsigned n = 0; n < sizeof(good) / sizeof(*good); n++) {
		cr_assert_eq(wm_peer_addr_parse(good[n], &a), 0, "%s", good[n]);
		wm_peer_addr_format(&a, text, sizeof(text));
		cr_assert_str_eq(text, good[n]);
	}
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++)
		cr_assert_eq(wm_peer_addr_parse(bad[n], &a), -EINVAL, "%s", bad[n]);
}

Test(peer, addresses_are_those_of_the_system)
{
	static const struct {
		const char *text;
		int asked, family;
	} cases[] = {
		{"10.0.0.1:8301", AF_UNSPEC, AF_INET},
		{"10.0.0.1:8301", AF_INET6, AF_INET6},
		{"[fd00::1]:1", AF_UNSPEC, AF_INET6},
	};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_storage sa;
	struct wm_peer_addr a, b;

	for (unsigned n = 0; n < sizeof(cases) / sizeof(*cases); n++) {
		cr_assert_eq(wm_peer_addr_parse(cases[n].text, &a), 0);
		cr_assert_gt(wm_peer_addr_to_sockaddr(&a, cases[n].asked, &sa), 0);
		cr_assert_eq(sa.ss_family, cases[n].family, "%s", cases[n].text);
		cr_assert_eq(wm_peer_addr_from_sockaddr((struct sockaddr *)&sa, &b), 0);
		cr_assert(wm_peer_addr_same(&a, &b), "%s", cases[n].text);
	}
	cr_assert_eq(wm_peer_addr_from_sockaddr((struct sockaddr *)&un, &b), -EAFNOSUPPORT);
}
