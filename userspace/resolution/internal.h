/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what tables.c, lookups.c and adopt.c share. The dictionaries mirror what the
 * kernel's hash maps hold, so an update that changes nothing makes no system call. */
#pragma once
#include "pool.h"
#include "tables.h"
#include "userspace/base/map.h"
#include "waymark/pick.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_DOMAINS	 2 /* the domain and the alternative one */
#define WM_SERVICE_NAMES (2 * WM_DOMAINS)
#define WM_NO_SET	 0xffffffffu

/* A backend of a service. */
struct wm_ref {
	uint64_t instance;
	uint32_t index; /* in backends */
};

/* A name: an entry of the `names` map, and what the DNS server looks up. Allocated only as long as
 * the name is: `v` ends with it. */
struct wm_name_entry {
	struct wm_name_key key;
	bool kernel;  /* the kernel's map holds exactly this */
	bool claimed; /* some service of this run wants it */
	struct wm_name v;
};
struct wm_front_entry {
	struct wm_frontend_key key;
	struct wm_frontend v;
	bool kernel, claimed;
};

struct wm_svc {
	uint32_t set;
	bool claimed;
	bool damaged; /* adopted slots do not hold together: publish anew */
	struct wm_set_table published;
	struct wm_ref *refs; /* sorted by instance, then index */
	uint32_t refs_count, refs_cap;
	struct wm_name_entry *names[WM_SERVICE_NAMES];
	struct wm_front_entry *fronts[2];
	char name[]; /* "": an adopted set that no name tells of */
};

struct wm_domain {
	uint8_t wire[WM_DNS_NAME_MAX + 1]; /* folded, with the root label */
	size_t len;			   /* 0: none */
};

struct wm_tables {
	struct wm_table_memory mem;
	const struct wm_plane_ops *ops;
	struct wm_tables_policy policy;
	struct wm_domain domains[WM_DOMAINS];
	bool no_virtual;	 /* virtual names stand for endpoints */
	struct wm_map *services; /* by name */
	struct wm_map *names;	 /* by folded wire name */
	struct wm_map *hashes;	 /* by kernel key: the entry that owns it in the kernel */
	struct wm_map *fronts;	 /* by key */
	struct wm_svc **by_set;	 /* sets_cap */
	bool *abort_tcp;	 /* backends_cap: as the last put wants it */
	void (*lost)(void *arg, uint32_t index, uint32_t stamp, bool abort_tcp);
	void *lost_arg;
	struct wm_index_pool *sets, *backends;
	struct wm_range_pool *slots;
	struct wm_tables_stats stats;
	/* scratch of a put, kept between puts */
	struct wm_slot *slots_new;
	struct wm_ref *refs_new;
	uint32_t *order, *picked, *weights;
	uint32_t scratch;
};

/* tables.c */
struct wm_svc *wm_svc_new(struct wm_tables *t, const char *name, uint32_t set);
/** Everything of @p s out of the tables; @p s is freed. */
void wm_svc_remove(struct wm_tables *t, struct wm_svc *s);
/** @return 0, -ENOMEM. Keeps no order. */
int wm_svc_add_ref(struct wm_svc *s, uint64_t instance, uint32_t index);
void wm_refs_sort(struct wm_ref *refs, uint32_t n);

/* lookups.c */
/** Folded wire form of <service>.<kind>.<domain>. @return octets, 0 when it does not fit. */
size_t wm_wire_name(const struct wm_domain *d, const char *service, const char *kind,
		    uint8_t out[WM_DNS_NAME_MAX + 1]);
/** @return 0, -EINVAL for a domain that is no domain. */
int wm_wire_domain(const char *text, struct wm_domain *ret);
/** The set that an adopted frontend of @p w leads to, or WM_NO_SET; its key is the IPv4 address. */
uint32_t wm_lookups_adopted(const struct wm_tables *t, const struct wm_want_set *w);
/** The four names and two frontends of @p s. @return 0, WM_E_FULL, -ENOMEM. */
int wm_lookups_put(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
		   struct wm_err *e);
void wm_lookups_remove(struct wm_tables *t, struct wm_svc *s);
void wm_name_remove(struct wm_tables *t, struct wm_name_entry *n);
void wm_front_remove(struct wm_tables *t, struct wm_front_entry *f);
/** Take an entry of the kernel into the dictionary, unclaimed. @return 0, -ENOMEM, -EINVAL. */
int wm_name_adopt(struct wm_tables *t, const struct wm_name_key *k, const struct wm_name *v);
int wm_front_adopt(struct wm_tables *t, const struct wm_frontend_key *k,
		   const struct wm_frontend *v);

/** Publish @p table: one release store; what it points to is visible before it. */
static inline void wm_set_publish(struct wm_set *set, struct wm_set_table table)
{
	wm_table_word word;

	__builtin_memcpy(&word, &table, sizeof(word));
	__atomic_store_n((wm_table_word *)&set->table, word, __ATOMIC_RELEASE);
}

static inline uint16_t wm_next_generation(uint16_t g)
{
	return g == UINT16_MAX ? 1 : (uint16_t)(g + 1);
}
