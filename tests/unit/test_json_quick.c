/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* What is read without jansson's parser, beside it. */
#include "userspace/api/decode_internal.h"
#include "userspace/base/macros.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 200000

static const char body[] =
	"{\"ID\": \"a-1\",\t\"Name\":\"web\", \"Tags\": [\"a\", \"b\", \"\"],\n"
	" \"Port\": 8080, \"Meta\": {\"k\": \"v\", \"l\": \"w\"}, \"Weights\": {\"Passing\": "
	"1},\r\n"
	" \"Checks\": [{\"TTL\": \"1s\", \"X\": true}, {}, [], false, null, -17, 0, 120]}";

/* @return whether it was read by ours, which is then what jansson reads. */
static bool same(const char *text, size_t len)
{
	json_t *ours = wm_json_quick(text, len);
	json_t *theirs = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	bool read = ours;

	if (ours) {
		char *a = json_dumps(ours, JSON_ENCODE_ANY), *b;

		cr_assert(theirs, "%.*s", (int)len, text);
		b = json_dumps(theirs, JSON_ENCODE_ANY); /* in the order that they came in */
		cr_assert_str_eq(a, b);
		free(a);
		free(b);
	}
	json_decref(ours);
	json_decref(theirs);
	return read;
}

Test(json_quick, what_it_reads_is_what_jansson_reads)
{
	static const struct {
		bool ours;
		const char *text;
	} all[] = {
		{true, body},
		{true, " {} "},
		{true, "[[[]],\r\n{\"\":{}}]"},
		{true, "\"a\""},
		{true, "[0,-1,999999999999999999,-999999999999999999]"},
		{false, ""},
		{false, "{"},
		{false, "[1"},
		{false, "[1,]"},
		{false, "[,1]"},
		{false, "{\"a\"}"},
		{false, "{\"a\":}"},
		{false, "{\"a\":1,}"},
		{false, "{\"a\":1,\"a\":1}"},
		{false, "{\"a\":1]"},
		{false, "{a:1}"},
		{false, "{} {}"},
		{false, "{}x"},
		{false, "[01]"},
		{false, "[-0]"},
		{false, "[-]"},
		{false, "[+1]"},
		{false, "[1.0]"},
		{false, "[1e3]"},
		{false, "[1000000000000000000]"},
		{false, "[9223372036854775808]"},
		{false, "[nul]"},
		{false, "[True]"},
		{false, "[truefalse]"},
		{false, "\"a"},
		{false, "\"\\n\""},
		{false, "\"\t\""},
		{false, "\"\x7f\""},
		{false, "\"\xc3\xa4\""},
		{false, "\xef\xbb\xbf{}"},
	};

	for (size_t n = 0; n < WM_ARRAY_LEN(all); n++)
		cr_assert_eq(same(all[n].text, strlen(all[n].text)), all[n].ours, "%s",
			     all[n].text);
	cr_assert(!same("{}", 3));
	cr_assert(!same("\"a\0b\"", 5));
	cr_assert(same("[1]]", 3));
}

/* Texts are looked at eight octets at a time: each octet at each place of such a word, and the
 * text's end at each. */
Test(json_quick, what_ends_a_text_is_seen_wherever_it_stands)
{
	for (unsigned octet = 0; octet < 256; octet++) {
		bool plain = octet >= ' ' && octet <= '~' && octet != '"' && octet != '\\';

		for (size_t len = 1; len < 20; len++) {
			for (size_t at = 0; at < len; at++) {
				char text[24] = "\"";

				memset(text + 1, 'a', len);
				text[1 + at] = (char)octet;
				text[1 + len] = '"';
				cr_assert_eq(same(text, len + 2), plain, "%u at %zu of %zu", octet,
					     at, len);
			}
		}
	}
}

Test(json_quick, nesting_is_bounded)
{
	char text[2 * WM_JSON_DEPTH_MAX + 2];

	memset(text, '[', WM_JSON_DEPTH_MAX + 1);
	memset(text + WM_JSON_DEPTH_MAX + 1, ']', WM_JSON_DEPTH_MAX + 1);
	cr_assert(!same(text, sizeof(text)));
	cr_assert(same(text + 1, sizeof(text) - 2));
	cr_assert(same("[[[]],[[]],[[],[]]]", 19), "brackets that are closed again do not count");
}

/* A few octets of a body are others, or it ends early. */
Test(json_quick, nor_does_it_read_what_jansson_refuses)
{
	static const char octets[] = "{}[]\",:\\ -019.etfnul\n\x01\x80\xff";
	char text[sizeof(body)];
	unsigned read = 0;

	srandom(1);
	for (unsigned n = 0; n < ROUNDS; n++) {
		size_t len = random() % 2 ? strlen(body) : (size_t)random() % sizeof(body);

		memcpy(text, body, sizeof(body));
		for (long k = random() % 4; k; k--)
			text[(size_t)random() % sizeof(body)] =
				octets[(size_t)random() % sizeof(octets)];
		read += same(text, len);
	}
	cr_assert(read > ROUNDS / 100 && read < ROUNDS, "%u", read);
}
