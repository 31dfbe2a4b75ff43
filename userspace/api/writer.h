/* SPDX-License-Identifier: Apache-2.0 */
/* writer.h - JSON text into a buffer, without a tree in between: answers are made straight from the
 * registry. Compact, or pretty as Consul does it (4 spaces, a final newline). Strings may hold any
 * octets; what is not UTF-8 is written as U+FFFD. Threading: pure. Spec: RFC 8259. */
#pragma once
#include "userspace/base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct wm_json {
	struct wm_buf *b;
	unsigned depth;
	bool pretty;
	bool first; /* nothing stands in the open object or array yet */
	bool value; /* a key was written: the value follows it */
};

/** Begin at the end of @p b (borrowed). Failures show in b->failed. */
void wm_json_init(struct wm_json *j, struct wm_buf *b, bool pretty);
/** Finish the text. */
void wm_json_done(struct wm_json *j);
void wm_json_open(struct wm_json *j, char bracket); /* '{' or '[' */
void wm_json_close(struct wm_json *j, char bracket);
void wm_json_key_of(struct wm_json *j, const char *key, size_t len);
void wm_json_key_plain(struct wm_json *j, const char *key, size_t len); /* printable ASCII */
void wm_json_string(struct wm_json *j, const char *s);			/* NULL: "" */
void wm_json_u64(struct wm_json *j, uint64_t n);
void wm_json_double(struct wm_json *j, double d);
void wm_json_bool(struct wm_json *j, bool v);
void wm_json_null(struct wm_json *j);
/** The value that stands at @p at in the buffer, @p len octets, once more. It must have been
 * written at the same depth. */
void wm_json_repeat(struct wm_json *j, size_t at, size_t len);
/** A value that is compact JSON already: it is only indented, if need be. */
void wm_json_raw(struct wm_json *j, const char *text);
/* Inline: most keys are literals. Their length the compiler knows, and nothing in them is escaped.
 */
static inline void wm_json_key(struct wm_json *j, const char *key)
{
	if (__builtin_constant_p(strlen(key)))
		wm_json_key_plain(j, key, strlen(key));
	else
		wm_json_key_of(j, key, strlen(key));
}
/* Key and value. */
static inline void wm_json_ks(struct wm_json *j, const char *key, const char *s)
{
	wm_json_key(j, key);
	wm_json_string(j, s);
}
static inline void wm_json_ku(struct wm_json *j, const char *key, uint64_t n)
{
	wm_json_key(j, key);
	wm_json_u64(j, n);
}
static inline void wm_json_kb(struct wm_json *j, const char *key, bool v)
{
	wm_json_key(j, key);
	wm_json_bool(j, v);
}
static inline void wm_json_kopen(struct wm_json *j, const char *key, char bracket)
{
	wm_json_key(j, key);
	wm_json_open(j, bracket);
}
/** "key":{} or "key":[]. */
static inline void wm_json_kempty(struct wm_json *j, const char *key, char bracket)
{
	wm_json_kopen(j, key, bracket);
	wm_json_close(j, bracket == '{' ? '}' : ']');
}
