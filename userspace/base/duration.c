/* SPDX-License-Identifier: Apache-2.0 */
/* duration.c - Go's durations. */
#include "duration.h"

#include "clock.h"
#include "macros.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1},	 {"us", 1000},	    {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
	{"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},	 {"h", 3600000000000},
};

static const char *parse_unit(const char *s, int64_t *ret_ns)
{
	size_t n = 0, i;

	while (s[n] && s[n] != '.' && !(s[n] >= '0' && s[n] <= '9'))
		n++;
	for (i = 0; i < WM_ARRAY_LEN(units); i++) {
		if (n != strlen(units[i].name) || strncmp(s, units[i].name, n) != 0)
			continue;
		*ret_ns = units[i].ns;
		return s + n;
	}
	return NULL;
}

/* One "12.5" of a duration. @return first octet behind it, NULL: no digits or too large. */
static const char *parse_number(const char *s, uint64_t *ret_whole, double *ret_fraction)
{
	const char *start = s;
	uint64_t whole = 0;
	double fraction = 0, scale = 1;
	bool digits = false;

	for (; *s >= '0' && *s <= '9'; s++) {
		if (whole > (uint64_t)INT64_MAX / 10)
			return NULL;
		whole = whole * 10 + (uint64_t)(*s - '0');
		digits = true;
	}
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++) {
			scale /= 10;
			fraction += (*s - '0') * scale;
			digits = true;
		}
	}
	if (!digits || s == start)
		return NULL;
	*ret_whole = whole;
	*ret_fraction = fraction;
	return s;
}

int wm_duration_parse(const char *s, int64_t *ret_ns)
{
	bool negative = *s == '-';
	uint64_t total = 0, whole, part;
	double fraction;
	int64_t unit;

	if (*s == '-' || *s == '+')
		s++;
	if (strcmp(s, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	if (!*s)
		return -EINVAL;
	while (*s) {
		s = parse_number(s, &whole, &fraction);
		if (!s)
			return -EINVAL;
		s = parse_unit(s, &unit);
		if (!s)
			return -EINVAL;
		/* what is larger already could wrap when the fraction comes to it */
		if (__builtin_mul_overflow(whole, (uint64_t)unit, &part) || part > INT64_MAX)
			return -ERANGE;
		part += (uint64_t)(fraction * (double)unit + 0.5);
		if (__builtin_add_overflow(total, part, &total) || total > (uint64_t)INT64_MAX)
			return -ERANGE;
	}
	*ret_ns = negative ? -(int64_t)total : (int64_t)total;
	return 0;
}

/* "1.5" of n/unit without trailing zeros. */
static int format_fraction(char *buf, size_t cap, uint64_t n, uint64_t unit, const char *suffix)
{
	char digits[24] = "";
	int len = 0;

	for (uint64_t rest = n % unit; rest && len < 9; rest = rest * 10 % unit)
		digits[len++] = (char)('0' + rest * 10 / unit);
	digits[len] = '\0';
	return snprintf(buf, cap, "%" PRIu64 "%s%s%s", n / unit, len ? "." : "", digits, suffix);
}

void wm_duration_format(int64_t ns, char *buf, size_t cap)
{
	uint64_t n = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, h, m;
	size_t at = 0;

	if (!cap)
		return;
	if (ns < 0 && cap > 1)
		buf[at++] = '-';
	if (n < WM_NS_PER_S) {
		if (!n)
			snprintf(buf + at, cap - at, "0s");
		else if (n < 1000)
			snprintf(buf + at, cap - at, "%" PRIu64 "ns", n);
		else if (n < WM_NS_PER_MS)
			format_fraction(buf + at, cap - at, n, 1000, "\xc2\xb5s");
		else
			format_fraction(buf + at, cap - at, n, WM_NS_PER_MS, "ms");
		return;
	}
	h = n / (3600 * WM_NS_PER_S);
	m = n / (60 * WM_NS_PER_S) % 60;
	if (h)
		at += (size_t)snprintf(buf + at, cap - at, "%" PRIu64 "h", h);
	if ((h || m) && at < cap)
		at += (size_t)snprintf(buf + at, cap - at, "%" PRIu64 "m", m);
	if (at < cap)
		format_fraction(buf + at, cap - at, n % (60 * WM_NS_PER_S), WM_NS_PER_S, "s");
}
