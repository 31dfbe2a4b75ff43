/* SPDX-License-Identifier: Apache-2.0 */
/* links: base source */
/* Where objects begin and end in lists and watches, however the network cuts them. */
#include "userspace/source/kube_client_stream.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define OBJECT_MAX 64 /* octets */

static struct wm_kube_stream s;
static char seen[65536]; /* what came, in words */

static void setup(void)
{
	wm_kube_stream_init(&s, false, OBJECT_MAX);
}

static void teardown(void)
{
	wm_kube_stream_done(&s);
}

TestSuite(kube_stream, .init = setup, .fini = teardown, .timeout = 300);

static void say(const char *what, const char *text)
{
	size_t at = strlen(seen);

	cr_assert_lt(at + strlen(text) + 8, sizeof(seen));
	snprintf(seen + at, sizeof(seen) - at, "%s%s|", what, text);
}

/* @p every octets at a time. @return what was seen. */
static const char *read_by(const char *text, size_t every)
{
	size_t left = strlen(text);

	*seen = '\0';
	while (left) {
		size_t len = every < left ? every : left;

		left -= len;
		while (len) {
			switch (wm_kube_stream_next(&s, &text, &len)) {
			case WM_KUBE_ITEM:
				say(s.cut ? "cut " : "", s.object.data);
				break;
			case WM_KUBE_DOCUMENT:
				if (s.object.len)
					say(s.cut ? "cut " : "", s.object.data);
				say("=", s.envelope.data);
				break;
			case WM_KUBE_BAD:
				say("bad: ", s.bad);
				return seen;
			case WM_KUBE_MORE:
				cr_assert_eq(len, 0);
				break;
			}
		}
	}
	if (!wm_kube_stream_whole(&s))
		say("", "not whole");
	return seen;
}

static void reads(bool watch, const char *text, const char *expected)
{
	for (size_t every = 1; every <= strlen(text); every++) {
		wm_kube_stream_reset(&s, watch);
		cr_assert_str_eq(read_by(text, every), expected, "%zu octets: %s", every, seen);
	}
}

Test(kube_stream, a_list_is_its_items_and_the_rest)
{
	reads(false,
	      "{\"kind\": \"NodeList\", \"metadata\":{\"resourceVersion\":\"7\"},\n"
	      " \"items\" : [ {\"a\":[1,{}]} , {\"b\":\"}]\\\"{\"}\n]}\n",
	      "{\"a\":[1,{}]}|{\"b\":\"}]\\\"{\"}|"
	      "={\"kind\":\"NodeList\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}|");
	/* it is read when the answer ends, a line's end behind it */
	cr_assert_gt(s.envelope.len, 0);
	reads(false, "{\"items\":[],\"metadata\":{}}", "={\"items\":[],\"metadata\":{}}|");
	reads(false, "{\"items\":null}", "={\"items\":null}|");
	/* only the top object's are its items */
	reads(false, "{\"metadata\":{\"items\":[{}]},\"x\":\"items\",\"y\":[{}]}",
	      "={\"metadata\":{\"items\":[{}]},\"x\":\"items\",\"y\":[{}]}|");
}

Test(kube_stream, a_watch_is_events_with_an_object_each)
{
	reads(true,
	      "{\"type\":\"ADDED\",\"object\":{\"a\": 1}}\n"
	      "{\"object\":{},\"type\":\"DELETED\"}{\"type\":\"ERROR\"}\n",
	      "{\"a\": 1}|={\"type\":\"ADDED\",\"object\":null}|"
	      "{}|={\"object\":null,\"type\":\"DELETED\"}|={\"type\":\"ERROR\"}|");
	reads(true, "{\"type\":\"ADDED\",\"object\":{\"a\":1", "not whole|");
	reads(true, "{\"object\":{},\"object\":{}}", "bad: an event has two objects|");
}

Test(kube_stream, what_is_too_long_is_cut_and_the_next_is_whole)
{
	char text[512], expected[512];

	snprintf(text, sizeof(text), "{\"items\":[{\"n\":\"%.*s\"},{\"ok\":1}]}", 100,
		 "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
		 "yyy"
		 "yyyyyyyyyyyyyyyyyyyyyyyyyyy");
	snprintf(expected, sizeof(expected), "cut {\"n\":\"%.*s|{\"ok\":1}|={\"items\":[]}|",
		 OBJECT_MAX - 6, strchr(text, 'y'));
	reads(false, text, expected);
}

/* Memory of a large object does not stay with each of the watches. */
Test(kube_stream, what_was_large_is_not_held_on_to)
{
	static char text[600000];

	wm_kube_stream_done(&s);
	wm_kube_stream_init(&s, true, 1u << 20);
	memset(text, 'y', sizeof(text) - 1);
	memcpy(text, "{\"object\":{\"n\":\"", 16);
	memcpy(text + sizeof(text) - 5, "\"}}\n", 5);
	for (unsigned n = 0; n < 2; n++) {
		const char *at = text;
		size_t len = strlen(text);

		cr_assert_eq(wm_kube_stream_next(&s, &at, &len), WM_KUBE_DOCUMENT);
		cr_assert_gt(s.object.len, 500000);
		cr_assert_eq(wm_kube_stream_next(&s, &at, &len), WM_KUBE_MORE);
		cr_assert_leq(s.object.cap, 256u << 10);
	}
}

Test(kube_stream, garbage_is_told_from_objects)
{
	static const char *const lists[][2] = {
		{"<html>", "bad: no JSON|"},
		{"[]", "bad: no object|"},
		{"{}{}", "={}|bad: more than one object|"},
		{"{\"items\":[1]}", "bad: an item is no object|"},
		{"{\"items\":[[]]}", "bad: an item is no object|"},
		{"{\"items\":[\"\"]}", "bad: an item is no object|"},
		{"{\"items\":[{}{}]}", "{}|bad: items without a comma|"},
		{"{\"items\":[{},]}", "{}|bad: a comma behind the last item|"},
		{"{\"items\":[,{}]}", "bad: a comma without an item|"},
		{"{\"items\":[{]}]}", "bad: brackets do not pair|"},
		{"{\"a\":1]", "bad: brackets do not pair|"},
		{"}", "bad: brackets do not pair|"},
		{"{\"a\":\"\1\"}", "bad: no JSON: a string has a control character|"},
		{"{\"a\":\x7f}", "bad: no JSON|"},
	};

	for (unsigned i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		reads(false, lists[i][0], lists[i][1]);
}

Test(kube_stream, endless_brackets_and_envelopes_end)
{
	static char text[WM_KUBE_ENVELOPE_MAX + 64];

	memset(text, '[', WM_KUBE_DEPTH_MAX + 1);
	memcpy(text, "{\"a\":", 5);
	wm_kube_stream_reset(&s, false);
	read_by(text, 1);
	cr_assert_not(strstr(seen, "bad"), "%s", seen);
	text[WM_KUBE_DEPTH_MAX + 1] = '[';
	text[WM_KUBE_DEPTH_MAX + 2] = '[';
	text[WM_KUBE_DEPTH_MAX + 3] = '[';
	text[WM_KUBE_DEPTH_MAX + 4] = '[';
	wm_kube_stream_reset(&s, false);
	cr_assert_str_eq(read_by(text, 100), "bad: brackets are nested too deep|");

	memset(text, 'y', sizeof(text) - 1);
	memcpy(text, "{\"a\":\"", 6);
	wm_kube_stream_reset(&s, false);
	cr_assert_str_eq(read_by(text, 1000), "bad: there is too much beside the objects|");
	cr_assert_leq(s.envelope.cap, 2 * WM_KUBE_ENVELOPE_MAX);
}
