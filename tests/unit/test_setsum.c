/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security */
/* test_setsum.c - hashes of sets: what others come to, in any order, what was taken away. */
#include "userspace/security/setsum.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(setsum, .timeout = 300);

static void add(struct wm_hasher *h, struct wm_setsum *s, const char *what, bool out)
{
	uint8_t element[WM_SETSUM_HASH];

	cr_assert_eq(wm_hasher_hash(h, what, strlen(what), "", 0, element), 0);
	cr_assert_eq(wm_setsum_add(h, s, element, out), 0);
}

/* Worked out by sha256sum and `openssl enc -aes-256-ctr`. */
Test(setsum, a_sum_is_what_others_come_to)
{
	static const uint8_t want[] = {0xd5, 0xbb, 0x31, 0xd0, 0x3b, 0x20, 0x1c, 0xac,
				       0xe1, 0x3a, 0x57, 0x7a, 0xd6, 0xcf, 0xdc, 0x02,
				       0x22, 0x1b, 0x12, 0x91, 0x13, 0x4e, 0x41, 0x0a,
				       0x36, 0x19, 0xb3, 0x87, 0x2d, 0x3d, 0xe4, 0xf8};
	struct wm_hasher *h = wm_hasher_new();
	struct wm_setsum s = {0};
	uint8_t got[WM_SETSUM_HASH], parts[WM_SETSUM_HASH];

	add(h, &s, "abc", false);
	add(h, &s, "def", false);
	cr_assert_eq(s.lanes[0], 0x411);
	cr_assert_eq(s.lanes[WM_SETSUM_LANES - 1], 0xd7d6);
	cr_assert_eq(wm_setsum_hash(h, &s, got), 0);
	cr_assert_eq(memcmp(got, want, sizeof(got)), 0);
	cr_assert_eq(wm_hasher_hash(h, "abcdef", 6, "", 0, got), 0);
	cr_assert_eq(wm_hasher_hash(h, "ab", 2, "cdef", 4, parts), 0);
	cr_assert_eq(memcmp(got, parts, sizeof(got)), 0, "what is hashed is in two parts");
	wm_hasher_free(h);
}

Test(setsum, a_sum_is_of_a_set_whatever_came_first)
{
	static const struct wm_setsum empty;
	struct wm_hasher *h = wm_hasher_new();
	struct wm_setsum a = {0}, b = {0};
	char what[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(what, sizeof(what), "%d", i);
		add(h, &a, what, false);
		snprintf(what, sizeof(what), "%d", (i * 7 + 3) % 1000);
		add(h, &b, what, false);
	}
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	add(h, &b, "500", true);
	cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0);
	add(h, &b, "5OO", false);
	cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0, "another in its place");
	add(h, &b, "5OO", true);
	add(h, &b, "500", false);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0, "what went and came is as if it stayed");
	for (int i = 0; i < 1000; i++) {
		snprintf(what, sizeof(what), "%d", i);
		add(h, &a, what, true);
	}
	cr_assert_eq(memcmp(&a, &empty, sizeof(a)), 0);
	add(h, &a, "x", false);
	add(h, &a, "x", false);
	add(h, &b, "x", false);
	cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0, "twice is not once");
	wm_hasher_free(h);
}
