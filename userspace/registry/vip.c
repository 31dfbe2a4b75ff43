/* SPDX-License-Identifier: Apache-2.0 */
/* vip.c - see vip.h. */
#include "vip.h"

#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The registry bounds the leases; this only keeps a table from growing without any bound. */
#define LEASES_MAX (1u << 24)

TAILQ_HEAD(leases, wm_lease);
struct wm_vips {
	struct wm_vip_space space;
	struct wm_map *names, *v4, *v6;
	struct leases retired; /* in the order of retirement */
};

/* FNV leaves short names alike in the high bits: one round of mixing (splitmix64's finish). */
static uint64_t mix(uint64_t h)
{
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
	return h ^ (h >> 31);
}

bool wm_vip4_inside(const struct wm_vip_space *s, struct in_addr a)
{
	uint32_t ip = ntohl(a.s_addr), host = ip & ~s->mask;

	/* the network's own address, its broadcast, and the limited broadcast are no hosts */
	return (ip & s->mask) == (s->base & s->mask) && host != 0 && host != ~s->mask &&
	       ip != 0xffffffffu;
}

bool wm_vip6_inside(const struct wm_vip_space *s, const struct in6_addr *a)
{
	static const uint8_t zero[8];

	return memcmp(a, &s->prefix, 8) == 0 && memcmp(&a->s6_addr[8], zero, 8) != 0;
}

bool wm_vip_zone(const struct wm_vip_space *s, unsigned i, char ret[WM_VIP_ZONE_SIZE])
{
	unsigned octets = ((unsigned)__builtin_popcount(s->mask) + 7) / 8, shift = 32 - 8 * octets;
	unsigned count = (~s->mask >> shift) + 1; /* of IPv4 */
	const uint8_t *prefix = s->prefix.s6_addr;
	size_t at = 0;

	if (i > count)
		return false;
	for (unsigned k = 8; i == count && k-- > 0;)
		at += (size_t)snprintf(ret + at, WM_VIP_ZONE_SIZE - at, "%x.%x.", prefix[k] & 15,
				       prefix[k] >> 4);
	for (unsigned k = 0; i < count && k < octets; k++)
		at += (size_t)snprintf(ret + at, WM_VIP_ZONE_SIZE - at, "%u.",
				       ((s->base >> shift) + i) >> (8 * k) & 255);
	snprintf(ret + at, WM_VIP_ZONE_SIZE - at, i == count ? "ip6.arpa" : "in-addr.arpa");
	return true;
}

struct wm_vips *wm_vips_new(const struct wm_vip_space *s)
{
	struct wm_vips *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->space = *s;
	TAILQ_INIT(&v->retired);
	v->names = wm_map_new(LEASES_MAX);
	v->v4 = wm_map_new(LEASES_MAX);
	v->v6 = wm_map_new(LEASES_MAX);
	if (!v->names || !v->v4 || !v->v6) {
		wm_vips_free(v);
		return NULL;
	}
	return v;
}

void wm_vips_free(struct wm_vips *v)
{
	struct wm_lease *l;
	size_t pos = 0;

	if (!v)
		return;
	while (v->names && (l = wm_map_next(v->names, &pos)))
		free(l);
	wm_map_free(v->names);
	wm_map_free(v->v4);
	wm_map_free(v->v6);
	free(v);
}

unsigned wm_vips_count(const struct wm_vips *v)
{
	return (unsigned)wm_map_len(v->names);
}

struct wm_lease *wm_vips_find(const struct wm_vips *v, const char *name)
{
	return wm_map_get(v->names, name, strlen(name));
}

struct wm_lease *wm_vips_at4(const struct wm_vips *v, struct in_addr a)
{
	return wm_map_get(v->v4, &a, sizeof(a));
}

struct wm_lease *wm_vips_at6(const struct wm_vips *v, const struct in6_addr *a)
{
	return wm_map_get(v->v6, a, sizeof(*a));
}

int wm_lease_attach(struct wm_vips *v, struct wm_lease *l)
{
	int err = wm_map_put(v->names, l->name, strlen(l->name), l, NULL);

	if (err)
		return err;
	err = wm_map_put(v->v4, &l->vip4, sizeof(l->vip4), l, NULL);
	if (!err) {
		err = wm_map_put(v->v6, &l->vip6, sizeof(l->vip6), l, NULL);
		if (err)
			wm_map_del(v->v4, &l->vip4, sizeof(l->vip4));
	}
	if (err) {
		wm_map_del(v->names, l->name, strlen(l->name));
		return err;
	}
	if (l->retired)
		TAILQ_INSERT_HEAD(&v->retired, l, entry);
	return 0;
}

void wm_lease_detach(struct wm_vips *v, struct wm_lease *l)
{
	wm_map_del(v->names, l->name, strlen(l->name));
	wm_map_del(v->v4, &l->vip4, sizeof(l->vip4));
	wm_map_del(v->v6, &l->vip6, sizeof(l->vip6));
	if (l->retired)
		TAILQ_REMOVE(&v->retired, l, entry);
}

void wm_lease_free(struct wm_lease *l)
{
	free(l);
}

/* 255.0.0.0/8 holds the limited broadcast, so it cannot be made unreachable as a whole: addresses
 * of a range that goes beyond it are given out below it. */
static uint32_t fold4(const struct wm_vip_space *s, uint32_t host)
{
	uint32_t ip = (s->base & s->mask) | host;

	return ip >> 24 == 255 && s->mask < 0xff000000u ? host & 0x00ffffff : host;
}

static bool pick4(const struct wm_vips *v, uint64_t h, struct in_addr *ret)
{
	uint32_t hosts = ~v->space.mask, host = fold4(&v->space, (uint32_t)h & hosts);
	/* one of this many places is free, or none is: each lease holds one, three are never given
	 */
	uint64_t tries = (uint64_t)wm_map_len(v->v4) + 4;

	for (; tries; tries--, host = fold4(&v->space, (host + 1) & hosts)) {
		ret->s_addr = htonl((v->space.base & v->space.mask) | host);
		if (wm_vip4_inside(&v->space, *ret) && !wm_map_get(v->v4, ret, sizeof(*ret)))
			return true;
	}
	return false;
}

static void pick6(const struct wm_vips *v, uint64_t h, struct in6_addr *ret)
{
	/* ends: 2^64 places, fewer than 2^24 leases */
	for (;; h++) {
		memcpy(ret, &v->space.prefix, 8);
		for (int i = 0; i < 8; i++)
			ret->s6_addr[8 + i] = (uint8_t)(h >> (56 - 8 * i));
		if (h && !wm_map_get(v->v6, ret, sizeof(*ret)))
			return;
	}
}

static int add(struct wm_vips *v, const char *name, struct in_addr v4, struct in6_addr v6,
	       struct wm_lease **ret)
{
	size_t n = strlen(name) + 1;
	struct wm_lease *l = calloc(1, sizeof(*l) + n);
	int err;

	if (!l)
		return -ENOMEM;
	l->vip4 = v4;
	l->vip6 = v6;
	memcpy(l->name, name, n);
	err = wm_lease_attach(v, l);
	if (err) {
		free(l);
		return err;
	}
	*ret = l;
	return 0;
}

int wm_vips_give(struct wm_vips *v, const char *name, struct wm_lease **ret)
{
	uint64_t h = mix(wm_hash_stable(name, strlen(name)));
	struct in6_addr v6;
	struct in_addr v4;

	if (!pick4(v, h >> 32 ^ h, &v4))
		return WM_E_FULL;
	pick6(v, mix(h), &v6);
	return add(v, name, v4, v6, ret);
}

int wm_vips_restore(struct wm_vips *v, const char *name, struct in_addr v4, struct in6_addr v6,
		    struct wm_lease **ret)
{
	if (!wm_vip4_inside(&v->space, v4) || !wm_vip6_inside(&v->space, &v6))
		return WM_E_INVALID;
	if (wm_vips_find(v, name) || wm_map_get(v->v4, &v4, sizeof(v4)) ||
	    wm_map_get(v->v6, &v6, sizeof(v6)))
		return WM_E_CONFLICT;
	return add(v, name, v4, v6, ret);
}

void wm_lease_retire(struct wm_vips *v, struct wm_lease *l)
{
	if (!l->retired)
		TAILQ_INSERT_TAIL(&v->retired, l, entry);
	l->retired = true;
}

void wm_lease_revive(struct wm_vips *v, struct wm_lease *l)
{
	if (l->retired)
		TAILQ_REMOVE(&v->retired, l, entry);
	l->retired = false;
}

struct wm_lease *wm_vips_oldest(const struct wm_vips *v)
{
	struct wm_lease *l;

	TAILQ_FOREACH (l, &v->retired, entry) {
		if (!l->wanted)
			return l;
	}
	return NULL;
}

struct wm_lease *wm_vips_next(const struct wm_vips *v, size_t *pos)
{
	return wm_map_next(v->names, pos);
}
