/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c - see merge.h. Each rule is a weak order of its own that the clock, the writer and what
 * was done complete, one after the other: so each is a total order. */
#include "merge.h"

#include <ctype.h>
#include <string.h>

/* Semantic Versioning 2.0.0: MAJOR.MINOR.PATCH, then -PRERELEASE, then +BUILD. */
struct semver {
	const char *core[3];
	size_t core_len[3];
	const char *pre; /* without '-'; NULL: none */
	size_t pre_len;
};

static size_t digits(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]))
		n++;
	return n;
}

/* Identifiers with dots between: letters, digits and '-'; @p strict: numbers have no leading zero.
 * @return octets, 0: it is none. */
static size_t identifiers(const char *s, bool strict)
{
	size_t n = 0;

	for (;;) {
		size_t at = n, number = digits(s + n);

		while (isalnum((unsigned char)s[n]) || s[n] == '-')
			n++;
		if (n == at || (strict && number == n - at && number > 1 && s[at] == '0'))
			return 0;
		if (s[n] != '.')
			return n;
		n++;
	}
}

static bool semver_parse(const char *s, struct semver *v)
{
	size_t n;

	for (unsigned i = 0; i < 3; i++) {
		n = digits(s);
		if (!n || (n > 1 && *s == '0') || (i < 2 && s[n] != '.'))
			return false;
		v->core[i] = s;
		v->core_len[i] = n;
		s += n + (i < 2);
	}
	v->pre = NULL;
	v->pre_len = 0;
	if (*s == '-') {
		v->pre = s + 1;
		v->pre_len = identifiers(v->pre, true);
		if (!v->pre_len)
			return false;
		s = v->pre + v->pre_len;
	}
	if (*s == '+') {
		n = identifiers(s + 1, false);
		if (!n)
			return false;
		s += n + 1;
	}
	return !*s;
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

/* Numbers of any length, without leading zeros. */
static int number_cmp(const char *a, size_t a_len, const char *b, size_t b_len)
{
	if (a_len != b_len)
		return a_len > b_len ? 1 : -1;
	return sign(memcmp(a, b, a_len));
}

static int octets_cmp(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int n = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return n ? sign(n) : (a_len > b_len) - (a_len < b_len);
}

static size_t until_dot(const char *s, const char *end)
{
	const char *dot = memchr(s, '.', (size_t)(end - s));

	return (size_t)((dot ? dot : end) - s);
}

/* Item 11.4: identifier by identifier; numbers below words, fewer below more. */
static int pre_cmp(const struct semver *a, const struct semver *b)
{
	const char *p = a->pre, *q = b->pre, *p_end, *q_end;

	if (!p || !q)
		return (q != NULL) - (p != NULL);
	p_end = p + a->pre_len;
	q_end = q + b->pre_len;
	for (;;) {
		size_t n = until_dot(p, p_end), m = until_dot(q, q_end);
		bool number = digits(p) >= n, other = digits(q) >= m;
		int c = number != other ? (number ? -1 : 1)
			: number	? number_cmp(p, n, q, m)
					: octets_cmp(p, n, q, m);

		p += n;
		q += m;
		if (c)
			return c;
		if (p == p_end || q == q_end)
			return (p != p_end) - (q != q_end);
		p++;
		q++;
	}
}

int wm_semver_cmp(const char *a, const char *b)
{
	struct semver v, w;
	bool is = semver_parse(a, &v), other = semver_parse(b, &w);

	if (!is || !other)
		return is != other ? (is ? 1 : -1) : sign(strcmp(a, b));
	for (unsigned i = 0; i < 3; i++) {
		int c = number_cmp(v.core[i], v.core_len[i], w.core[i], w.core_len[i]);

		if (c)
			return c;
	}
	return pre_cmp(&v, &w);
}

static int hlc_cmp(const struct wm_merge_side *a, const struct wm_merge_side *b)
{
	int c;

	if (a->version.seq != b->version.seq)
		return a->version.seq > b->version.seq ? 1 : -1;
	c = wm_peer_id_cmp(&a->writer, &b->writer);
	return c ? sign(c) : a->gone - b->gone;
}

static int semver_cmp(const struct wm_merge_side *a, const struct wm_merge_side *b)
{
	int c = !a->semver || !b->semver ? (a->semver != NULL) - (b->semver != NULL)
					 : wm_semver_cmp(a->semver, b->semver);

	return c ? c : hlc_cmp(a, b);
}

static int priority_cmp(const struct wm_merge_side *a, const struct wm_merge_side *b)
{
	if (a->version.priority != b->version.priority)
		return a->version.priority > b->version.priority ? 1 : -1;
	return hlc_cmp(a, b);
}

const struct wm_merge_rule wm_merge_hlc = {"hlc", hlc_cmp};
const struct wm_merge_rule wm_merge_semver = {"semver", semver_cmp};
const struct wm_merge_rule wm_merge_priority = {"priority", priority_cmp};

const struct wm_merge_rule *wm_merge_rule(const char *name)
{
	static const struct wm_merge_rule *const all[] = {&wm_merge_hlc, &wm_merge_semver,
							  &wm_merge_priority, NULL};

	for (size_t i = 0; all[i]; i++)
		if (!strcmp(all[i]->name, name))
			return all[i];
	return NULL;
}

uint64_t wm_hlc_next(uint64_t last, uint64_t wall_ms)
{
	uint64_t wall = wall_ms << 16;

	return wall > last ? wall : last + 1;
}
