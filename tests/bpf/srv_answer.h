/* SPDX-License-Identifier: Apache-2.0 */
/* srv_answer.h - answers to SRV taken apart, so that two can be held against each other whatever
 * the order of their records. Behind dns_fixture.h. */
#pragma once
#include <stdlib.h>

#define SRV_RECORDS 64

struct srv_record {
	uint8_t head[16]; /* type to port, without the length */
	uint8_t target[256];
	uint8_t address[26]; /* of the additional record that points here, from its type on */
};
struct srv_answer {
	unsigned flags, counts[4], n;
	struct srv_record r[SRV_RECORDS];
	uint8_t rest[80]; /* SOA, its serial zero, and OPT */
	size_t rest_len;
};

static int srv_by_octets(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct srv_record));
}

static unsigned at16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* Each address stands in the order of the records and points to its record's target. */
static bool srv_take_apart(const uint8_t *p, size_t len, struct srv_answer *a)
{
	size_t at = 12, to[SRV_RECORDS];

	memset(a, 0, sizeof(*a));
	if (len < 12)
		return false;
	a->flags = at16(p + 2);
	for (int i = 0; i < 4; i++)
		a->counts[i] = at16(p + 4 + 2 * i);
	while (p[at])
		at += p[at] + 1u;
	at += 5;
	for (; a->n < a->counts[1] && a->n < SRV_RECORDS; a->n++) {
		size_t n = at16(p + at + 10);

		if (at + 12 + n > len || at16(p + at) != 0xc00c || n < 8 || n > 6 + 255)
			return false;
		memcpy(a->r[a->n].head, p + at + 2, 8);
		memcpy(a->r[a->n].head + 8, p + at + 12, 6);
		memcpy(a->r[a->n].target, p + at + 18, n - 6);
		to[a->n] = at + 18;
		at += 12 + n;
	}
	for (unsigned i = 0; i < a->n && at + 12 <= len && p[at] >= 0xc0 && !a->counts[2]; i++) {
		size_t n = at16(p + at + 10);

		if (at + 12 + n > len || n > 16 || (at16(p + at) & 0x3fff) != to[i])
			return false;
		memcpy(a->r[i].address, p + at + 2, 10 + n);
		at += 12 + n;
	}
	qsort(a->r, a->n, sizeof(*a->r), srv_by_octets);
	a->rest_len = len - at;
	if (a->rest_len > sizeof(a->rest))
		return false;
	memcpy(a->rest, p + at, a->rest_len);
	if (a->counts[2])
		memset(a->rest + 30, 0, 4);
	return true;
}

static bool srv_equal(const struct srv_answer *a, const struct srv_answer *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Has the service an instance without an IP address? */
static bool has_host(const struct wm_service *s)
{
	return addressed(s) != s->instances_count;
}

/* Is somebody up who has one? */
static bool has_address_up(const struct wm_service *s)
{
	static const struct in6_addr none;

	for (unsigned i = 0; i < s->instances_count; i++) {
		const struct wm_instance *x = s->instances[i];

		if (wm_instance_usable(x) && !(policy.only_passing && x->status == WM_WARNING) &&
		    (x->addr4.s_addr || memcmp(&x->addr6, &none, sizeof(none)) != 0))
			return true;
	}
	return false;
}

/* What a name asks for, read by a way of the test's own. */
struct srv_asked {
	char service[300], label[300]; /* lower case; label: a tag, "": none */
	bool virtual, srv_only;
};

/* @return false: not of a service, or not below our domain. */
static bool srv_ask(const char *name, struct srv_asked *ret)
{
	static const char domain[] = ".mesh.internal";
	size_t len = strlen(name), n = 0;
	char text[300], *l[128], *save = NULL;

	*ret = (struct srv_asked){.virtual = false};
	if (len < sizeof(domain) || strcasecmp(name + len - (sizeof(domain) - 1), domain) != 0)
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)(len - (sizeof(domain) - 1)), name);
	for (char *c = text; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	for (char *p = strtok_r(text, ".", &save); p; p = strtok_r(NULL, ".", &save))
		l[n++] = p;
	n -= n > 1 && !strcmp(l[n - 1], "dc1");
	ret->virtual = !strcmp(l[n - 1], "virtual");
	ret->srv_only = !ret->virtual && strcmp(l[n - 1], "service") != 0;
	n -= !ret->srv_only;
	if (n == 2 && !ret->virtual && *l[0] == '_' && *l[1] == '_' && l[0][1] && l[1][1]) {
		strcpy(ret->service, l[0] + 1);
		strcpy(ret->label, strcmp(l[1], "_tcp") ? l[1] + 1 : "");
		return true;
	}
	if (!n || ret->srv_only)
		return false;
	strcpy(ret->service, l[n - 1]);
	for (size_t i = 0; i + 1 < n; i++)
		strcat(strcat(ret->label, i ? "." : ""), l[i]);
	return true;
}

/* Whether the kernel answers what userspace answered with @p out: all of a service, with every
 * address, or that there is no such service. */
static __attribute__((unused)) bool of_the_kernel(const char *name, uint16_t type,
						  const uint8_t *out)
{
	size_t question = 12 + (*name ? strlen(name) + 2 : 1) + 4;
	bool alias = out[7] && out[question + 3] == 5; /* CNAME: of the registry */
	bool cut = out[2] & 2, found = (out[3] & 15) == 0;
	const struct wm_service *s;
	struct srv_asked a;

	if (!srv_ask(name, &a))
		return false;
	s = wm_registry_service(registry, a.service);
	if (!s)
		return *a.service != '_';
	if (*a.label)
		return false;
	if (a.virtual || !found)
		return found;
	if (type == 33)
		return out[7] && !cut && !has_host(s) && at16(out + 10) - at16(out + 6) <= 1;
	if (a.srv_only)
		return type != 255 && has_address_up(s);
	return !cut && !alias;
}
