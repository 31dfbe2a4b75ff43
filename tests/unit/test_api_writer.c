/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* The JSON writer, judged by another JSON library that reads what it wrote. */
#include "userspace/api/writer.h"
#include "userspace/base/buf.h"
#include "userspace/base/random.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static struct wm_buf buf;
static struct wm_json j;

static void setup(void)
{
	wm_buf_init(&buf, 1 << 20);
}

static void teardown(void)
{
	wm_buf_done(&buf);
}

TestSuite(writer, .init = setup, .fini = teardown);

static const char *write_string(const char *s)
{
	wm_buf_reset(&buf);
	wm_json_init(&j, &buf, false);
	wm_json_string(&j, s);
	wm_json_done(&j);
	return buf.data;
}

Test(writer, strings)
{
	cr_assert_str_eq(write_string(NULL), "\"\"");
	cr_assert_str_eq(write_string("plain"), "\"plain\"");
	cr_assert_str_eq(write_string("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
	cr_assert_str_eq(write_string("\b\f\n\r\t\x01\x1f"), "\"\\b\\f\\n\\r\\t\\u0001\\u001f\"");
	cr_assert_str_eq(write_string("\x7f"), "\"\x7f\"");
	cr_assert_str_eq(write_string("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
			 "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	/* overlong, surrogate, beyond Unicode, cut, lone continuation */
	cr_assert_str_eq(write_string("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	cr_assert_str_eq(write_string("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	cr_assert_str_eq(write_string("\xf4\x90\x80\x80z"),
			 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
	cr_assert_str_eq(write_string("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

Test(writer, any_octets_make_valid_json)
{
	unsigned seed = (unsigned)wm_random64();
	char s[64];

	fprintf(stderr, "seed=%u\n", seed);
	for (unsigned n = 0; n < 20000; n++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(s);
		json_t *v, *same;

		for (size_t i = 0; i < len; i++)
			s[i] = (char)(rand_r(&seed) % 255 + 1);
		s[len ? len - 1 : 0] = 0;
		v = json_loads(write_string(s), JSON_DECODE_ANY, NULL);
		cr_assert(json_is_string(v), "%s", buf.data);
		same = json_string(s); /* NULL: is no UTF-8 */
		if (same)
			cr_assert_str_eq(json_string_value(v), s);
		else
			cr_assert(strstr(json_string_value(v), "\xef\xbf\xbd"));
		json_decref(same);
		json_decref(v);
	}
}

/* Octets are looked at by eights: each one at each place among plain ones. */
Test(writer, every_octet_at_every_place)
{
	for (unsigned octet = 1; octet < 256; octet++) {
		for (unsigned place = 0; place < 19; place++) {
			char s[20] = "abcdefghijklmnopqrs";
			const char *seen;
			json_t *v;

			s[place] = (char)octet;
			v = json_loads(write_string(s), JSON_DECODE_ANY, NULL);
			cr_assert(json_is_string(v), "%s", buf.data);
			seen = json_string_value(v);
			if (octet < 0x80) {
				cr_assert_str_eq(seen, s);
			} else {
				cr_assert_eq(strncmp(seen, s, place), 0);
				cr_assert_eq(strncmp(seen + place, "\xef\xbf\xbd", 3), 0);
				cr_assert_str_eq(seen + place + 3, s + place + 1);
			}
			json_decref(v);
		}
	}
}

static void document(bool pretty)
{
	size_t at, len;

	wm_buf_reset(&buf);
	wm_json_init(&j, &buf, pretty);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "zero", 0);
	wm_json_ku(&j, "most", UINT64_MAX);
	wm_json_kb(&j, "yes", true);
	wm_json_kb(&j, "no", false);
	wm_json_key(&j, "nothing");
	wm_json_null(&j);
	wm_json_key(&j, "half");
	wm_json_double(&j, 0.5);
	wm_json_kempty(&j, "list", '[');
	wm_json_kempty(&j, "object", '{');
	wm_json_kopen(&j, "two", '[');
	at = buf.len;
	wm_json_open(&j, '{');
	wm_json_ks(&j, "k", "v");
	wm_json_close(&j, '}');
	while (buf.data[at] != '{')
		at++;
	len = buf.len - at;
	wm_json_repeat(&j, at, len);
	wm_json_close(&j, ']');
	wm_json_close(&j, '}');
	wm_json_done(&j);
}

Test(writer, compact_and_pretty)
{
	document(false);
	cr_assert_str_eq(buf.data, "{\"zero\":0,\"most\":18446744073709551615,\"yes\":true,"
				   "\"no\":false,\"nothing\":null,\"half\":0.5,\"list\":[],"
				   "\"object\":{},\"two\":[{\"k\":\"v\"},{\"k\":\"v\"}]}");
	document(true);
	cr_assert_str_eq(
		buf.data,
		"{\n    \"zero\": 0,\n    \"most\": 18446744073709551615,\n    \"yes\": "
		"true,\n    \"no\": false,\n    \"nothing\": null,\n    \"half\": 0.5,\n"
		"    \"list\": [],\n    \"object\": {},\n    \"two\": [\n        {\n"
		"            \"k\": \"v\"\n        },\n        {\n            \"k\": \"v\"\n"
		"        }\n    ]\n}\n");
}

Test(writer, a_bound_fails_the_buffer_and_writes_nothing_beyond)
{
	wm_buf_done(&buf);
	wm_buf_init(&buf, 100);
	wm_json_init(&j, &buf, false);
	wm_json_open(&j, '[');
	for (unsigned i = 0; i < 100; i++) {
		wm_json_string(&j, "0123456789");
		wm_json_u64(&j, i);
		cr_assert_leq(buf.len, 100);
	}
	wm_json_close(&j, ']');
	cr_assert(buf.failed);
}
