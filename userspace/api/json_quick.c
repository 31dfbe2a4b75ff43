/* SPDX-License-Identifier: Apache-2.0 */
/* json_quick.c - see decode_internal.h. What clients send is nearly always ASCII without escapes
 * and with whole numbers: such a text is read here into jansson's tree, in half of jansson's time,
 * which looks at each octet through a function and copies each token twice. Of anything else
 * nothing is read. */
#include "decode_internal.h"

#include <endian.h>
#include <string.h>

#define DIGITS_MAX 18 /* of a number: they fit 63 bits */

struct quick {
	const char *at, *end;
	unsigned depth; /* of brackets that are open */
};

static json_t *take_value(struct quick *q);

/* RFC 8259 2 */
static char take_space(struct quick *q)
{
	while (q->at < q->end &&
	       (*q->at == ' ' || *q->at == '\n' || *q->at == '\t' || *q->at == '\r'))
		q->at++;
	return q->at < q->end ? *q->at : 0;
}

#define EACH(octet) (0x0101010101010101ull * (octet))

/* Does one of eight octets end a text, or need a closer look? Then the lowest bit that is set is
 * of the first of them (what borrows stands above one that is found). */
static uint64_t stops(uint64_t w)
{
	uint64_t quote = w ^ EACH('"'), escape = w ^ EACH('\\'), del = w ^ EACH(0x7f);

	return (w | ((w - EACH(' ')) & ~w) | ((quote - EACH(1)) & ~quote) |
		((escape - EACH(1)) & ~escape) | ((del - EACH(1)) & ~del)) &
	       EACH(0x80);
}

/* Pass octets that are plain text, eight at a time. */
static void skip_plain(struct quick *q)
{
	uint64_t w, found = 0;

	while (!found && q->end - q->at >= 8) {
		memcpy(&w, q->at, 8);
		found = stops(le64toh(w));
		q->at += found ? __builtin_ctzll(found) / 8 : 8;
	}
}

/* Behind a quote. @return octets up to the next, which is passed; SIZE_MAX: not for us. */
static size_t take_text(struct quick *q)
{
	const char *begin = q->at;

	skip_plain(q);
	while (q->at < q->end && *q->at >= ' ' && *q->at <= '~' && *q->at != '"' && *q->at != '\\')
		q->at++;
	if (q->at == q->end || *q->at != '"')
		return SIZE_MAX;
	return (size_t)(q->at++ - begin);
}

static json_t *take_number(struct quick *q)
{
	bool minus = *q->at == '-';
	json_int_t n = 0;
	const char *begin;

	q->at += minus;
	for (begin = q->at; q->at < q->end && *q->at >= '0' && *q->at <= '9'; q->at++) {
		if (q->at - begin == DIGITS_MAX)
			return NULL;
		n = n * 10 + (*q->at - '0');
	}
	if (q->at == begin || (*begin == '0' && (minus || q->at - begin > 1)))
		return NULL;
	if (q->at < q->end && (*q->at == '.' || *q->at == 'e' || *q->at == 'E'))
		return NULL;
	return json_integer(minus ? -n : n);
}

static json_t *take_word(struct quick *q, const char *word, json_t *v)
{
	size_t len = strlen(word);

	if ((size_t)(q->end - q->at) < len || memcmp(q->at, word, len) != 0)
		return NULL;
	q->at += len;
	return v;
}

/* A member's name and colon. */
static const char *take_name(struct quick *q, size_t *ret_len)
{
	const char *name;

	if (take_space(q) != '"')
		return NULL;
	name = ++q->at;
	*ret_len = take_text(q);
	if (*ret_len == SIZE_MAX || take_space(q) != ':')
		return NULL;
	q->at++;
	return name;
}

/* What stands between brackets, up to @p end. A name that is there already is not for us. */
static json_t *take_items(struct quick *q, json_t *all, char end)
{
	bool object = end == '}', ok = all;
	size_t len = 0, n = 0;

	q->at++;
	if (++q->depth > WM_JSON_DEPTH_MAX)
		ok = false;
	if (ok && take_space(q) == end) {
		q->at++;
		q->depth--;
		return all;
	}
	while (ok) {
		const char *name = object ? take_name(q, &len) : NULL;
		json_t *v = object && !name ? NULL : take_value(q);

		if (!v)
			break;
		n++;
		ok = object ? !json_object_setn_new_nocheck(all, name, len, v) &&
				      json_object_size(all) == n
			    : !json_array_append_new(all, v);
		if (!ok || (take_space(q) != ',' && take_space(q) != end))
			break;
		if (*q->at++ == end) {
			q->depth--;
			return all;
		}
	}
	json_decref(all);
	return NULL;
}

static json_t *take_value(struct quick *q)
{
	const char *text;
	size_t len;

	switch (take_space(q)) {
	case '{':
		return take_items(q, json_object(), '}');
	case '[':
		return take_items(q, json_array(), ']');
	case '"':
		text = ++q->at;
		len = take_text(q);
		return len == SIZE_MAX ? NULL : json_stringn_nocheck(text, len);
	case 't':
		return take_word(q, "true", json_true());
	case 'f':
		return take_word(q, "false", json_false());
	case 'n':
		return take_word(q, "null", json_null());
	default:
		return q->at < q->end ? take_number(q) : NULL;
	}
}

json_t *wm_json_quick(const char *text, size_t len)
{
	struct quick q = {text, text + len, 0};
	json_t *v = take_value(&q);

	if (v && (take_space(&q) || q.at < q.end)) {
		json_decref(v);
		return NULL;
	}
	return v;
}
