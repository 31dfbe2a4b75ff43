/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
#include "userspace/base/buf.h"
#include "userspace/base/duration.h"
#include "userspace/base/err.h"
#include "userspace/base/json_text.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/base/peer_id.h"
#include "userspace/base/random.h"
#include "userspace/base/redact.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(err, codes_have_text_and_status)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_err_set(&e, WM_E_LIMIT, "tags: %d, at most %d", 70, 64), WM_E_LIMIT);
	cr_assert_str_eq(e.text, "tags: 70, at most 64");
	cr_assert_eq(wm_err_http(WM_E_UNKNOWN), 404);
	cr_assert_eq(wm_err_http(-ENOSPC), 507);
	cr_assert_eq(wm_err_http(-EIO), 500);
	cr_assert_str_eq(wm_err_name(WM_E_STORE_DAMAGED), "WM_E_STORE_DAMAGED");
	cr_assert_str_eq(wm_err_name(-ENOSPC), "ENOSPC");
	cr_assert_str_eq(wm_err_str(WM_E_INTERNAL), "internal error");
	cr_assert_eq(wm_err_set(NULL, -EINVAL, "x"), -EINVAL);
}

Test(log, quoting_escapes_untrusted_bytes)
{
	cr_assert_str_eq(wm_log_q("web-1"), "web-1");
	cr_assert_str_eq(wm_log_q("a b"), "\"a b\"");
	cr_assert_str_eq(wm_log_q("a\nlevel=x\"\x1b"), "\"a\\nlevel=x\\\"\\x1b\"");
	cr_assert_str_eq(wm_log_q(""), "\"\"");
	cr_assert_str_eq(wm_log_q(NULL), "-");
}

Test(redact, hides_credentials_of_urls)
{
	static const char *const all[][2] = {
		{"http://a/b", "http://a/b"},
		{"http://u:p@a:1/b?x=1", "http://hidden@a:1/b?x=1"},
		{"https://u:p@q@a", "https://hidden@a"},
		{"http://a/b@c?d=e@f", "http://a/b@c?d=e@f"},
		{"http://u@a?access_token=1&b=2;API-Key=3#f",
		 "http://hidden@a?access_token=hidden&b=2;"
		 "API-Key=hidden#f"},
		{"http://a?token&pw=1&Password=", "http://a?token&pw=1&Password=hidden"},
		{"http://u:p@", "http://hidden@"},
		{"u:p@a:80", "hidden@a:80"},
		{"", ""},
	};
	char text[128], small[8];

	for (size_t i = 0; i < WM_ARRAY_LEN(all); i++)
		cr_assert_str_eq(wm_redact_url(all[i][0], text, sizeof(text)), all[i][1], "%s",
				 text);
	cr_assert_str_eq(wm_redact_url("http://u:p@a/b", small, sizeof(small)), "http://");
}

Test(duration, parses_what_go_parses)
{
	static const struct {
		const char *s;
		int64_t ns;
	} good[] = {{"10s", 10000000000}, {"120000ms", 120000000000}, {"1h30m", 5400000000000},
		    {"1.5s", 1500000000}, {".5s", 500000000},	      {"0", 0},
		    {"-2s", -2000000000}, {"+3ms", 3000000},	      {"7ns", 7},
		    {"2us", 2000},	  {"2\xc2\xb5s", 2000}};
	static const char *const bad[] = {"",	 "10", "s",    "soon", "1x",
					  "1 s", ".s", "1h30", "--1s", "1s "};
	int64_t ns;

	for (size_t i = 0; i < WM_ARRAY_LEN(good); i++) {
		cr_assert_eq(wm_duration_parse(good[i].s, &ns), 0, "%s", good[i].s);
		cr_assert_eq(ns, good[i].ns, "%s", good[i].s);
	}
	for (size_t i = 0; i < WM_ARRAY_LEN(bad); i++)
		cr_assert_eq(wm_duration_parse(bad[i], &ns), -EINVAL, "%s", bad[i]);
	cr_assert_eq(wm_duration_parse("99999999999h", &ns), -ERANGE);
	/* the whole part fits 64 bits, with its fraction it does not */
	cr_assert_eq(wm_duration_parse("5124095.9h", &ns), -ERANGE);
	cr_assert_eq(wm_duration_parse("-5124095.9h", &ns), -ERANGE);
	cr_assert_eq(wm_duration_parse("2562047.9h", &ns), -ERANGE);
	cr_assert_eq(wm_duration_parse("2562047h", &ns), 0);
}

Test(duration, formats_as_go_does)
{
	static const struct {
		int64_t ns;
		const char *s;
	} t[] = {{0, "0s"},
		 {10000000000, "10s"},
		 {5400000000000, "1h30m0s"},
		 {90000000000, "1m30s"},
		 {1500000000, "1.5s"},
		 {100000000, "100ms"},
		 {1500, "1.5\xc2\xb5s"},
		 {-2000000000, "-2s"},
		 {3600000000000, "1h0m0s"}};
	char buf[40];

	for (size_t i = 0; i < WM_ARRAY_LEN(t); i++) {
		wm_duration_format(t[i].ns, buf, sizeof(buf));
		cr_assert_str_eq(buf, t[i].s);
	}
}

Test(buf, keeps_to_its_maximum)
{
	struct wm_buf b;

	wm_buf_init(&b, 1000);
	for (int i = 0; i < 100; i++)
		cr_assert(wm_buf_printf(&b, "%09d,", i));
	cr_assert_eq(b.len, 1000);
	cr_assert_not(wm_buf_putc(&b, 'x'));
	cr_assert(b.failed);
	cr_assert_eq(b.len, 1000);
	wm_buf_reset(&b);
	cr_assert(wm_buf_puts(&b, "again"));
	cr_assert_str_eq(b.data, "again");
	wm_buf_done(&b);
}

/* The table against a plain array, through growth, deletion and reuse of tombstones. */
Test(map, agrees_with_a_naive_model)
{
	enum { KEYS = 2000 };
	static char keys[KEYS][16];
	static bool in[KEYS];
	struct wm_map *m = wm_map_new(KEYS);
	size_t n = 0, pos = 0, seen = 0;

	for (int i = 0; i < KEYS; i++)
		snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
	for (int step = 0; step < 200000; step++) {
		unsigned k = (unsigned)wm_random_below(KEYS);

		if (wm_random_below(2)) {
			cr_assert_eq(wm_map_put(m, keys[k], strlen(keys[k]), keys[k], NULL), 0);
			n += !in[k];
			in[k] = true;
		} else {
			cr_assert_eq(wm_map_del(m, keys[k], strlen(keys[k])) != NULL, in[k]);
			n -= in[k];
			in[k] = false;
		}
		cr_assert_eq(wm_map_len(m), n);
	}
	for (int i = 0; i < KEYS; i++)
		cr_assert_eq(wm_map_get(m, keys[i], strlen(keys[i])), in[i] ? keys[i] : NULL);
	while (wm_map_next(m, &pos))
		seen++;
	cr_assert_eq(seen, n);
	wm_map_free(m);
}

/* It grows over many insertions: both tables stand meanwhile, everything is found and walked once,
 * and can be deleted on the walk. */
Test(map, grows_a_few_entries_at_a_time)
{
	enum { KEYS = 3000 };
	static char keys[KEYS][16];
	struct wm_map *m = wm_map_new(KEYS);
	unsigned went = 0;
	size_t bytes = wm_map_bytes(m), pos, seen;
	void *v;

	for (int n = 0; n < KEYS; n++) {
		size_t now;

		snprintf(keys[n], sizeof(keys[n]), "key-%d", n);
		cr_assert_eq(wm_map_put(m, keys[n], strlen(keys[n]), keys[n], NULL), 0);
		now = wm_map_bytes(m);
		went += now < bytes; /* the old table, which stood until now */
		bytes = now;
		if (n % 16)
			continue;
		for (pos = 0, seen = 0; wm_map_next(m, &pos);)
			seen++;
		cr_assert_eq(seen, (size_t)n + 1);
		for (int k = 0; k <= n; k++)
			cr_assert_eq(wm_map_get(m, keys[k], strlen(keys[k])), keys[k]);
	}
	/* tables of one step go with the insertion that made them old, and one of them came last */
	cr_assert_geq(went, 4);
	for (pos = 0, seen = 0; (v = wm_map_next(m, &pos)); seen++)
		cr_assert_eq(wm_map_del(m, v, strlen(v)), v);
	cr_assert_eq(seen, KEYS);
	cr_assert_eq(wm_map_len(m), 0);
	wm_map_free(m);
}

/* A walk goes on over growth and what others put in and take out: what is there all the time it
 * meets once. */
Test(map, a_walk_goes_on_beside_others)
{
	enum { KEYS = 3000, STAY = 500 };
	static char keys[KEYS][16];
	static unsigned met[KEYS];
	struct wm_map *m = wm_map_new(KEYS);
	size_t pos = 0;
	char *v;

	for (int n = 0; n < KEYS; n++) {
		snprintf(keys[n], sizeof(keys[n]), "key-%d", n);
		if (n < STAY)
			cr_assert_eq(wm_map_put(m, keys[n], strlen(keys[n]), keys[n], NULL), 0);
	}
	for (unsigned step = 0; (v = wm_map_next(m, &pos)); step++) {
		met[(v - keys[0]) / 16]++;
		for (unsigned k = 0; k < 8; k++) {
			char *other = keys[STAY + wm_random_below(KEYS - STAY)];

			if (!wm_map_del(m, other, strlen(other)))
				cr_assert_eq(wm_map_put(m, other, strlen(other), other, NULL), 0);
		}
	}
	for (unsigned n = 0; n < STAY; n++)
		cr_assert_eq(met[n], 1, "%s was met %u times", keys[n], met[n]);
	wm_map_free(m);
}

/* What was reserved fits the tables as they stand, also while they grow and entries go. */
Test(map, insertions_that_were_reserved_take_no_memory)
{
	enum { KEYS = 4000 };
	static char keys[KEYS][16];
	struct wm_map *m = wm_map_new(KEYS);
	unsigned next = 0, gone = 0;

	for (int i = 0; i < KEYS; i++)
		snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
	while (next < KEYS) {
		unsigned want = 1 + (unsigned)wm_random_below(next / 2 + 20), part;
		size_t bytes;

		want = want < KEYS - next ? want : KEYS - next;
		part = want / 3;
		cr_assert_eq(wm_map_reserve(m, part), 0);
		cr_assert_eq(wm_map_reserve(m, want - part), 0);
		bytes = wm_map_bytes(m);
		for (unsigned i = 0; i < want; i++, next++) {
			cr_assert_eq(wm_map_put(m, keys[next], strlen(keys[next]), m, NULL), 0);
			cr_assert_leq(wm_map_bytes(m), bytes, "it grew at %u", next);
			if (gone < next && wm_random_below(3) == 0) {
				cr_assert(wm_map_del(m, keys[gone], strlen(keys[gone])));
				gone++;
			}
		}
		wm_map_unreserve(m, want);
	}
	cr_assert_eq(wm_map_len(m), KEYS - gone);
	cr_assert_eq(wm_map_reserve(m, gone + 1), -ENOSPC);
	cr_assert_eq(wm_map_reserve(m, gone), 0);
	wm_map_free(m);
}

Test(map, an_empty_key_has_no_address)
{
	struct wm_map *m = wm_map_new(4);
	void *old = NULL;
	int value;

	cr_assert_eq(wm_map_put(m, NULL, 0, &value, &old), 0);
	cr_assert_eq(wm_map_get(m, NULL, 0), &value);
	cr_assert_eq(wm_map_get(m, "", 0), &value);
	cr_assert_eq(wm_map_del(m, NULL, 0), &value);
	wm_map_free(m);
}

Test(map, refuses_above_its_maximum)
{
	struct wm_map *m = wm_map_new(2);
	void *old;

	cr_assert_eq(wm_map_put(m, "a", 1, m, NULL), 0);
	cr_assert_eq(wm_map_put(m, "b", 1, m, NULL), 0);
	cr_assert_eq(wm_map_put(m, "c", 1, m, NULL), -ENOSPC);
	cr_assert_eq(wm_map_put(m, "b", 1, &old, &old), 0);
	cr_assert_eq(old, m);
	wm_map_free(m);
}

Test(random, below_stays_below)
{
	for (int i = 0; i < 10000; i++)
		cr_assert_lt(wm_random_below(7), 7);
}

static const char *text_at(const char *at, char buf[32])
{
	cr_assert(wm_json_text_string(at, buf, 32));
	return buf;
}

Test(json_text, is_read_without_a_tree)
{
	static const char json[] =
		"{ \"a\" : [ {\"x\":\"],}\\\"\"} , 7,\"s\" ] , \"n\":{\"b\":true},"
		"\"u\":\"\\u00e9\\ud83d\\ude00\\n\\/\", \"e\":[], \"z\":\"\"}";
	const char *at = wm_json_text_first(wm_json_text_member(json, "a"));
	char buf[32];

	cr_assert_str_eq(text_at(wm_json_text_member(at, "x"), buf), "],}\"");
	at = wm_json_text_next(at);
	cr_assert_eq(*at, '7');
	cr_assert_not(wm_json_text_string(at, buf, sizeof(buf)));
	cr_assert_str_eq(buf, "");
	at = wm_json_text_next(at);
	cr_assert_str_eq(text_at(at, buf), "s");
	cr_assert_null(wm_json_text_next(at));
	cr_assert_eq(*wm_json_text_member(wm_json_text_member(json, "n"), "b"), 't');
	cr_assert_str_eq(text_at(wm_json_text_member(json, "u"), buf),
			 "\xc3\xa9\xf0\x9f\x98\x80\n/");
	cr_assert_null(wm_json_text_first(wm_json_text_member(json, "e")));
	cr_assert_str_eq(text_at(wm_json_text_member(json, "z"), buf), "");
	cr_assert_null(wm_json_text_member(json, "b"));
	cr_assert_null(wm_json_text_member("[]", "a"));
	cr_assert_null(wm_json_text_member(NULL, "a"));
	cr_assert(wm_json_text_string("\"abcdef\"", buf, 4));
	cr_assert_str_eq(buf, "abc");
}

/* What is cut anywhere is read to its end and not beyond. */
Test(json_text, is_never_read_beyond_its_end)
{
	static const char json[] = "{\"a\":[{\"x\":\"\\ud83d\\ude00\\\\\"},[1,2]],\"b\":\"\\u12\"}";

	for (size_t n = 0; n < sizeof(json); n++) {
		char *cut = strndup(json, n), buf[8];
		const char *at;

		cr_assert(cut);
		at = wm_json_text_first(wm_json_text_member(cut, "a"));
		wm_json_text_string(wm_json_text_member(at, "x"), buf, sizeof(buf));
		at = at ? wm_json_text_next(at) : NULL;
		if (at)
			wm_json_text_next(at);
		wm_json_text_string(wm_json_text_member(cut, "b"), buf, sizeof(buf));
		free(cut);
	}
}

Test(peer_id, a_sources_nodes_have_ids_that_no_agent_draws)
{
	struct wm_peer_id a, b, v4;
	char text[WM_PEER_ID_TEXT];

	wm_peer_id_source("kubernetes", "node-1", &a);
	wm_peer_id_source("kubernetes", "node-1", &b);
	cr_assert(wm_peer_id_same(&a, &b));
	wm_peer_id_format(&a, text);
	cr_assert_eq(strncmp(text, "00737263-", 9), 0, "%s", text);
	cr_assert_eq(text[14], '8', "%s", text);
	cr_assert(wm_peer_id_is_source(&a));
	wm_peer_id_source("kubernetes", "node-2", &b);
	cr_assert_not(wm_peer_id_same(&a, &b));
	wm_peer_id_source("consul", "node-1", &b);
	cr_assert_not(wm_peer_id_same(&a, &b));
	wm_peer_id_source("kubernetesn", "ode-1", &b);
	cr_assert_not(wm_peer_id_same(&a, &b));
	cr_assert_eq(wm_peer_id_parse("00737263-1234-4234-8234-123456789012", &v4), 0);
	cr_assert_not(wm_peer_id_is_source(&v4));
}
