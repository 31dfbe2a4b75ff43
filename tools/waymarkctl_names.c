/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_names.c - the forms of names that DNS has, as they are typed. */
#include "waymarkctl_names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

/* One character of a label: \DDD and \X stand for an octet, RFC 1035 5.1. @return octets read. */
static size_t octet_of(const char *p, char *ret)
{
	if (*p != '\\' || !p[1]) {
		*ret = *p;
		return 1;
	}
	if (isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2]) &&
	    isdigit((unsigned char)p[3])) {
		*ret = (char)((p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0'));
		return 4;
	}
	*ret = p[1];
	return 2;
}

void ctl_name_split(struct ctl_name *n, const char *arg)
{
	char *to = n->text;

	n->n = 0;
	while (*arg && n->n < CTL_LABELS_MAX && to < n->text + CTL_NAME_MAX) {
		n->label[n->n] = to;
		while (*arg && *arg != '.' && to < n->text + CTL_NAME_MAX)
			arg += octet_of(arg, to++);
		*to++ = '\0';
		arg += *arg == '.';
		n->n += *n->label[n->n] != '\0'; /* an empty one is none */
	}
}

bool ctl_name_cut(struct ctl_name *n, const char *domain)
{
	struct ctl_name d = {.n = 0};

	ctl_name_split(&d, domain);
	if (!d.n || n->n < d.n)
		return false;
	for (int i = 0; i < d.n; i++)
		if (strcasecmp(n->label[n->n - d.n + i], d.label[i]) != 0)
			return false;
	n->n -= d.n;
	return true;
}

int ctl_name_kind(const struct ctl_name *n, const char *datacenter)
{
	static const char *const kinds[] = {"service", "virtual", "node", "addr", "query"};

	for (int i = n->n - 1; i > 0 && i >= n->n - 2; i--)
		for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
			if (strcasecmp(n->label[i], kinds[k]) == 0 &&
			    (i == n->n - 1 || strcasecmp(n->label[i + 1], datacenter) == 0))
				return i;
	return -1;
}

void ctl_name_join(const struct ctl_name *n, int first, int end, char *out, size_t cap)
{
	size_t at = 0;

	*out = '\0';
	for (int i = first; i < end && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s", i > first ? "." : "",
				       n->label[i]);
}

/* The labels before the last two, backwards: four numbers, or digits of which four are a group. */
static bool address_of(const struct ctl_name *n, int family, char out[CTL_NAME_MAX + 1])
{
	int per = family == AF_INET ? 1 : 4;
	unsigned char any[16];
	size_t at = 0;

	if (n->n != (family == AF_INET ? 6 : 34))
		return false;
	for (int i = n->n - 3; i >= 0; i--) {
		if (strlen(n->label[i]) > 3)
			return false;
		at += (size_t)snprintf(
			out + at, CTL_NAME_MAX + 1 - at, "%s%s",
			at && (n->n - 3 - i) % per == 0 ? (per == 1 ? "." : ":") : "", n->label[i]);
	}
	return inet_pton(family, out, any) == 1;
}

int ctl_name_reverse(const struct ctl_name *n, char out[CTL_NAME_MAX + 1])
{
	bool is4, is6;

	if (n->n < 2 || strcasecmp(n->label[n->n - 1], "arpa") != 0)
		return 0;
	is4 = strcasecmp(n->label[n->n - 2], "in-addr") == 0;
	is6 = strcasecmp(n->label[n->n - 2], "ip6") == 0;
	if (!is4 && !is6)
		return 0;
	return address_of(n, is4 ? AF_INET : AF_INET6, out) ? 1 : -1;
}
