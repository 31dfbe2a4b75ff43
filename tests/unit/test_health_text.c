/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* What a probe heard, as it may be stored and shown. */
#include "userspace/base/macros.h"
#include "userspace/health/probe.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(health_text, clean_leaves_only_valid_text)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain\ttext\r\n", "plain\ttext\r\n"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\xc0\xaf", "??"},	      /* overlong */
		{"\xed\xa0\x80", "???"},      /* surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* above U+10FFFF */
		{"a\xe2\x82", "a??"},	      /* cut */
		{"\x1b[31m\x7f", "?[31m?"},
		{"\xc2\x9b"
		 "31m\xc2\xa0",
		 "??31m\xc2\xa0"}, /* CSI in one character */
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(cases); i++) {
		char text[64];

		snprintf(text, sizeof(text), "%s", cases[i].in);
		wm_probe_clean(text, strlen(text));
		cr_assert_str_eq(text, cases[i].out, "%zu: %s", i, text);
	}
}
