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

/* Whether the kernel answers, what userspace answered with @p out: a service in a form that asks
 * for all of it, with every address, or that there is no such service. @p name without a search
 * list. */
static __attribute__((unused)) bool srv_of_the_kernel(const char *name, const uint8_t *out)
{
	static const char *const tails[] = {
		".service.mesh.internal",  ".service.dc1.mesh.internal",
		"._tcp.mesh.internal",	   "._tcp.service.mesh.internal",
		"._tcp.dc1.mesh.internal", "._tcp.service.dc1.mesh.internal"};
	const char *tail = strchr(name, '.');
	const struct wm_service *s;
	char service[300];
	bool rfc = *name == '_';
	unsigned i = 0;

	while (tail && i < 6 && strcasecmp(tail, tails[i]) != 0)
		i++;
	if (tail && !strcasecmp(tail, ".virtual.mesh.internal"))
		return (out[3] & 15) == 0;
	if (!tail || i == 6 || rfc != (i >= 2))
		return false;
	snprintf(service, sizeof(service), "%.*s", (int)(tail - name - rfc), name + rfc);
	for (char *c = service; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	s = wm_registry_service(registry, service);
	if (!s)
		return true;
	return out[7] && !(out[2] & 2) && !has_host(s) && at16(out + 10) - at16(out + 6) <= 1;
}
