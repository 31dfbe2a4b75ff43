/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.c - see json_text.h. */
#include "json_text.h"

#include "utf8.h"

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

bool wm_json_text_valid(const char *s)
{
	json_t *v = json_loads(s, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

	json_decref(v);
	return v != NULL;
}

/* --- reading ---------------------------------------------------------------------------------- */
static const char *space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* @p s stands at a quote. @return behind the closing one, or at the end. */
static const char *skip_string(const char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

static const char *skip_value(const char *s)
{
	unsigned depth = 0;

	do {
		if (*s == '"') {
			s = skip_string(s);
		} else {
			depth += *s == '{' || *s == '[';
			depth -= depth && (*s == '}' || *s == ']');
			s++;
		}
	} while (*s && (depth || !strchr(",]} \t\r\n", *s)));
	return s;
}

const char *wm_json_text_member(const char *object, const char *key)
{
	size_t len = strlen(key);
	const char *s = object;

	if (!s || *s != '{')
		return NULL;
	for (s = space(s + 1); *s == '"'; s = space(s + 1)) {
		const char *name = s + 1;
		size_t have;

		s = skip_string(s);
		have = (size_t)(s - name);
		s = space(s);
		if (*s != ':')
			return NULL;
		s = space(s + 1);
		if (have == len + 1 && memcmp(name, key, len) == 0)
			return *s ? s : NULL;
		if (*s)
			s = space(skip_value(s));
		if (*s != ',')
			return NULL;
	}
	return NULL;
}

const char *wm_json_text_first(const char *array)
{
	if (!array || *array != '[')
		return NULL;
	array = space(array + 1);
	return *array && *array != ']' ? array : NULL;
}

const char *wm_json_text_next(const char *value)
{
	value = space(skip_value(value));
	return *value == ',' && *space(value + 1) ? space(value + 1) : NULL;
}

/* The four digits of a \u. @return behind them. */
static const char *unit(const char *s, uint32_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < 4 && isxdigit((unsigned char)*s); i++, s++)
		*ret = *ret << 4 | (uint32_t)(*s <= '9' ? *s - '0' : (*s | 32) - 'a' + 10);
	return s;
}

/* @p s stands behind a backslash. @return behind the escape. */
static const char *unescape(const char *s, char out[WM_UTF8_MAX], size_t *ret_len)
{
	static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
	const char *name = strchr(names, *s);
	uint32_t c, low;

	*ret_len = 1;
	out[0] = name ? values[name - names] : *s;
	if (*s != 'u')
		return s + 1;
	s = unit(s + 1, &c);
	if (c >> 10 == 0x36 && s[0] == '\\' && s[1] == 'u') { /* the first of two surrogates */
		s = unit(s + 2, &low);
		c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
	}
	*ret_len = wm_utf8_encode(c, out);
	return s;
}

bool wm_json_text_string(const char *at, char *buf, size_t cap)
{
	size_t used = 0;

	buf[0] = '\0';
	if (!at || *at != '"')
		return false;
	for (at++; *at && *at != '"';) {
		char out[WM_UTF8_MAX];
		size_t len = 1;

		out[0] = *at;
		at = *at == '\\' && at[1] ? unescape(at + 1, out, &len) : at + 1;
		if (used + len >= cap)
			break;
		memcpy(buf + used, out, len);
		used += len;
	}
	buf[used] = '\0';
	return true;
}
