/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* What is a character of UTF-8, and what looks like one. */
#include "userspace/base/macros.h"
#include "userspace/base/utf8.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(utf8, what_is_a_character)
{
	static const struct {
		const char *s;
		uint32_t c;
	} all[] = {
		{"a", 'a'},
		{"\x7f", 0x7f},
		{"\xc2\x80", 0x80},
		{"\xdf\xbf", 0x7ff},
		{"\xe0\xa0\x80", 0x800},
		{"\xed\x9f\xbf", 0xd7ff}, /* below the surrogates */
		{"\xee\x80\x80", 0xe000}, /* above them */
		{"\xef\xbf\xbd", 0xfffd},
		{"\xef\xbf\xbf", 0xffff}, /* a noncharacter is well-formed */
		{"\xf0\x90\x80\x80", 0x10000},
		{"\xf4\x8f\xbf\xbf", 0x10ffff},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(all); i++) {
		size_t n = strlen(all[i].s);
		char to[WM_UTF8_MAX];
		uint32_t c = 0;

		cr_expect_eq(wm_utf8_decode(all[i].s, SIZE_MAX, &c), n, "%zu", i);
		cr_expect_eq(c, all[i].c, "%zu", i);
		cr_expect_eq(wm_utf8_decode(all[i].s, n, &c), n, "%zu", i);
		cr_expect_eq(wm_utf8_encode(all[i].c, to), n, "%zu", i);
		cr_expect_arr_eq(to, all[i].s, n, "%zu", i);
		cr_expect(wm_utf8_valid(all[i].s), "%zu", i);
	}
}

Test(utf8, what_is_none)
{
	static const struct {
		const char *s, *why;
	} all[] = {
		{"\x80", "a continuation alone"},
		{"\xbf", "a continuation alone"},
		{"\xc0\x80", "overlong"},
		{"\xc0\xaf", "overlong"},
		{"\xc1\xbf", "overlong"},
		{"\xe0\x80\xaf", "overlong"},
		{"\xe0\x9f\xbf", "overlong"},
		{"\xf0\x80\x80\xaf", "overlong"},
		{"\xf0\x8f\xbf\xbf", "overlong"},
		{"\xed\xa0\x80", "a surrogate"},
		{"\xed\xbf\xbf", "a surrogate"},
		{"\xed\xa0\x80\xed\xb0\x80", "a pair of surrogates"},
		{"\xf4\x90\x80\x80", "above U+10FFFF"},
		{"\xf5\x80\x80\x80", "above U+10FFFF"},
		{"\xf7\xbf\xbf\xbf", "above U+10FFFF"},
		{"\xf8\x88\x80\x80\x80", "five octets"},
		{"\xfc\x84\x80\x80\x80\x80", "six octets"},
		{"\xfe", "no first octet"},
		{"\xff", "no first octet"},
		{"\xc3", "cut"},
		{"\xe2\x82", "cut"},
		{"\xf0\x9f", "cut"},
		{"\xf0\x9f\x98", "cut"},
		{"\xc3(", "another follows"},
		{"\xe2(\xac", "another follows"},
		{"\xf0\x9f\x98(", "another follows"},
		{"\xc3\xc3\xa4", "a first octet follows"},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(all); i++) {
		uint32_t c = 42;

		cr_expect_eq(wm_utf8_decode(all[i].s, SIZE_MAX, &c), 0, "%zu: %s", i, all[i].why);
		cr_expect_eq(c, 42, "%zu", i);
		cr_expect_not(wm_utf8_valid(all[i].s), "%zu: %s", i, all[i].why);
	}
	for (uint32_t c = 0xd800; c < 0xe000; c++) {
		char to[WM_UTF8_MAX];

		cr_assert(wm_utf8_encode(c, to) == 3 && !memcmp(to, "\xef\xbf\xbd", 3), "%x", c);
		cr_assert(wm_utf8_encode(c << 16, to) == 3 && !memcmp(to, "\xef\xbf\xbd", 3));
	}
}

/* A block of that many octets, so that the sanitizer sees one that is read behind them. */
Test(utf8, nothing_is_read_behind_the_end)
{
	static const char whole[] = "\xf0\x9f\x98\x80";

	for (size_t n = 0; n < WM_UTF8_MAX; n++) {
		char *s = malloc(n ? n : 1);
		uint32_t c;

		cr_assert(s);
		memcpy(s, whole, n);
		cr_expect_eq(wm_utf8_decode(s, n, &c), 0, "%zu", n);
		free(s);
	}
}

Test(utf8, what_is_written_is_read)
{
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		char to[WM_UTF8_MAX];
		uint32_t seen = c + 1;
		size_t n = wm_utf8_encode(c, to);

		if (c < 0xd800 || c > 0xdfff)
			cr_assert(wm_utf8_decode(to, n, &seen) == n && seen == c, "%x", c);
	}
}
