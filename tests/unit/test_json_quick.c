/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync api */
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
