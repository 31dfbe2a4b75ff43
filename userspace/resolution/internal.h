/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of resolution/ share. The dictionaries mirror what the kernel's hash
 * maps hold, so an update that changes nothing makes no system call. */
#pragma once
#include "pool.h"
#include "strategy/strategy.h"
#include "tables.h"
#include "traffic.h"
#include "userspace/base/map.h"
#include "waymark/table.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WM_DOMAINS	 2 /* the domain and the alternative one */
#define WM_SERVICE_NAMES (2 * WM_DOMAINS)
#define WM_SET_FRONTS	 4 /* of a port: each family by each protocol */
#define WM_NO_SET	 0xffffffffu
#define WM_NO_INDEX	 0xffffffffu

/* A backend of a service. */
struct wm_ref {
	uint64_t instance;
	uint32_t index; /* in backends */
	bool fresh;	/* of a put that is under way: the index was taken by it */
	uint8_t tiers;	/* bit i: it is in tier i */
};

/* A name: an entry of the `names` map, and what the DNS server looks up. Allocated only as long as
 * the name is: `v` ends with it. */
struct wm_name_entry {
	struct wm_name_key key;
	bool kernel;	   /* the kernel's map holds exactly this */
	bool claimed;	   /* some service of this run wants it */
	uint16_t verified; /* number of the last walk that found it in the kernel as it is here */
	struct wm_name v;
};
struct wm_front_entry {
	struct wm_frontend_key key;
	struct wm_frontend v;
	bool kernel, claimed;
	uint16_t verified;	 /* as of names */
	struct wm_fronts *owner; /* NULL: a virtual address, or shared */
	uint32_t sharers;	 /* services that have a port of the address; 0: it is not shared */
	uint32_t put;		 /* number of the last put that wanted it */
};
/* What leads to a service beside its virtual addresses. */
struct wm_fronts {
	struct wm_front_entry **at;
	unsigned count;
	unsigned contested, unfit; /* of what was wanted: another has it; it is none to take */
	int64_t created;	   /* seconds since 1970; 0: unknown */
	char service[];
};

/* What a set has published. */
struct wm_published {
	struct wm_set_table word;
	uint32_t first, count; /* its range */
};

/* What a set with several tiers shares new connections among them by. */
struct wm_cuts {
	LIST_ENTRY(wm_cuts) entry;
	bool listed; /* health has changed since: in `uncut` of the tables */
	struct wm_svc *svc;
	struct wm_want_rule rule;
};

struct wm_svc {
	uint32_t set;
	bool claimed;
	bool damaged; /* the adopted table does not hold together: publish anew */
	struct wm_published published;
	struct wm_ref *refs; /* sorted by instance, then index */
	uint32_t refs_count, refs_cap;
	struct wm_name_entry *names[WM_SERVICE_NAMES];
	struct wm_front_entry *fronts[WM_SET_FRONTS];
	struct wm_cuts *cuts;	/* NULL: it has one tier */
	struct wm_traffic gone; /* what was counted of backends that left */
	uint16_t len;		/* of `name`, without its last NUL */
	uint16_t label;		/* place in it; 0: the set is of all of the service. Behind a mark
				 * the port that it is of, and the protocol's letter */
	char name[];		/* the service; behind its NUL the label. "": an adopted set that no
				 * name tells of */
};
/* What finds a set: the service, or its name, NUL and the label. */
struct wm_svc_key {
	char text[WM_SERVICE_NAME_MAX + 1 + WM_TAG_MAX + sizeof(":65535t")];
	size_t len;
};

struct wm_domain {
	uint8_t wire[WM_DNS_NAME_MAX + 1]; /* folded, with the root label */
	size_t len;			   /* 0: none */
};

/* What is kept of an index in backends beside what the kernel reads. */
struct wm_place {
	uint32_t next; /* of the same bucket of `by_instance` */
	uint32_t hold; /* first of its holds, WM_NO_INDEX: no set has it */
	bool abort_tcp;
};
/* A set that has a backend. */
struct wm_hold {
	uint32_t set;
	uint32_t next; /* hold of the same backend, or of those that are free */
};

struct wm_tables {
	struct wm_table_memory mem;
	const struct wm_plane_ops *ops;
	const struct wm_grace *grace; /* NULL: WM_RECYCLE_NS are rested */
	struct wm_tables_policy policy;
	struct wm_domain domains[WM_DOMAINS];
	struct wm_domain cluster; /* its len 0: there is none */
	bool no_virtual;	  /* virtual names stand for endpoints */
	struct wm_map *services;  /* by name */
	struct wm_map *names;	  /* by folded wire name */
	struct wm_map *hashes;	  /* by kernel key: the entry that owns it in the kernel */
	struct wm_map *fronts;	  /* by key */
	struct wm_map *fronted;	  /* struct wm_fronts, by service */
	struct wm_svc *refusing; /* the set of nobody, for ports that are refused; NULL: none yet */
	uint32_t fronts_put;
	bool fronts_robbed;	/* an older service took some of a younger one's */
	struct wm_svc **by_set; /* sets_cap */
	void (*lost)(void *arg, uint32_t index, uint32_t stamp, bool abort_tcp);
	void *lost_arg;
	/* backends.c */
	uint32_t *by_instance; /* a power of two buckets: first index of each */
	uint32_t buckets;
	struct wm_place *places; /* backends_cap */
	struct wm_hold *holds;
	uint32_t holds_cap, holds_free;
	struct wm_index_pool *sets, *heads, *backends;
	struct wm_range_pool *slots;
	LIST_HEAD(, wm_cuts) uncut;
	uint32_t generation; /* of the newest publication of any set */
	struct {
		uint32_t service, set;
		uint64_t put;
	} left;		   /* whose the last backend was that a set of another service alone had */
	uint16_t verifies; /* walks that compare it with the kernel's */
	struct wm_tables_stats stats;
	/* scratch of a put, kept between puts */
	struct wm_ref *refs_new;
	struct wm_member *members;
	uint32_t *order;
	uint32_t scratch;
	struct wm_slot *slots_new;
	uint32_t slots_scratch;
	struct wm_table_head head_new;
};

/* tables.c */
/** Of what was taken out of programs' reach just now: it goes to the pools with what is freed. */
uint64_t wm_tables_ticket(const struct wm_tables *t);
/** @return 0, -EINVAL: it is too long. @p label NULL or "": of all of the service; @p port 0: of
 * all ports; @p proto 0: of both protocols. */
int wm_svc_key(struct wm_svc_key *ret, const char *service, const char *label, uint16_t port,
	       uint8_t proto);
struct wm_svc *wm_svc_new(struct wm_tables *t, const struct wm_svc_key *k, uint32_t set);
/** @p label as in wm_svc_key(). @return NULL: there is no such set. */
struct wm_svc *wm_svc_find(const struct wm_tables *t, const char *service, const char *label,
			   uint16_t port, uint8_t proto);
/** Everything of @p s out of the tables; @p s is freed. */
void wm_svc_remove(struct wm_tables *t, struct wm_svc *s);
/** @return 0, -ENOMEM. Keeps no order. */
int wm_svc_add_ref(struct wm_svc *s, uint64_t instance, uint32_t index);
void wm_refs_sort(struct wm_ref *refs, uint32_t n);
/** The backends of @p w in order, each with the index where it is, into t->order and t->refs_new.
 *  @return 0, -ENOMEM. */
int wm_tables_match(struct wm_tables *t, const struct wm_want_set *w);

/* backends.c */
/** @return 0, -ENOMEM. */
int wm_backends_init(struct wm_tables *t);
void wm_backends_free(struct wm_tables *t);
/** First index of @p instance, WM_NO_INDEX: none. Cost O(1). */
uint32_t wm_backend_of(const struct wm_tables *t, uint64_t instance);
/** The next one: there are two while its address changes. */
uint32_t wm_backend_next(const struct wm_tables *t, uint32_t index);
/** The index where @p w stands with this address, WM_NO_INDEX. */
uint32_t wm_backend_find(const struct wm_tables *t, const struct wm_want_backend *w);
bool wm_backend_is(const struct wm_backend *have, const struct wm_want_backend *want);
/** Are there `targets`? */
bool wm_targets_there(const struct wm_tables *t);
/** Whether what SRV is to lead to can be written. */
bool wm_backend_has_target(const struct wm_want_backend *w);
/** A new occupant of an index that was taken from the pool: address first, the state with its new
 * stamp last. */
void wm_backend_occupy(struct wm_tables *t, uint32_t index, uint32_t service,
		       const struct wm_want_backend *w);
/** What may change of an occupant: state, weight and so on. */
void wm_backend_update(struct wm_tables *t, uint32_t index, uint32_t service,
		       const struct wm_want_backend *w);
/** The stamp stays: it tells occupants of the index apart. */
void wm_backend_state(struct wm_tables *t, uint32_t index, uint32_t state);
/** Take over index @p index as it stands. */
void wm_backend_adopt(struct wm_tables *t, uint32_t index);
/** Make room for @p n holds. @return 0, -ENOMEM. */
int wm_holds_reserve(struct wm_tables *t, uint32_t n);
/** @p set has backend @p index; room was reserved. */
void wm_backend_hold(struct wm_tables *t, uint32_t index, uint32_t set);
/** @p set has it no longer; when no other has it either it is free, @p at_once, as it was never
 *  published, or when it has rested. */
void wm_backend_drop(struct wm_tables *t, uint32_t index, uint32_t set, bool at_once);
/** How many sets have it, 2 at most are told. */
unsigned wm_backend_held(const struct wm_tables *t, uint32_t index);
/** Free those that no set has: after an adoption. @return how many. */
int wm_backends_sweep(struct wm_tables *t);
/** Write how many of the backends that @p s has are up, where that was not kept count of. */
void wm_backends_count_up(struct wm_tables *t, const struct wm_svc *s);
/** The same of those that are ejected; the kernel's memory is there. */
void wm_backends_count_ejected(struct wm_tables *t, const struct wm_svc *s, uint64_t now_ns);

/* traffic.c */
/** Backend @p index leaves, and @p set was the last to have it. */
void wm_traffic_left(struct wm_tables *t, uint32_t index, uint32_t set);

/* publish.c */
/** The table that @p w asks for, of the @p n backends in t->refs_new, into t->head_new and
 *  t->slots_new. @param narrow by weight, whatever is asked for. @return slots, or -ENOMEM. */
int64_t wm_table_build(struct wm_tables *t, const struct wm_want_set *w, uint32_t n, bool narrow);
/** Let @p s have what was built, of @p count slots; the same as it has: nothing is done. @return 0,
 *  WM_E_FULL with @p e: what was published stays. */
int wm_table_publish(struct wm_tables *t, struct wm_svc *s, uint32_t count, struct wm_err *e);
/** Nothing: the set's word, and its head and range back. */
void wm_table_unpublish(struct wm_tables *t, struct wm_svc *s);

/* cuts.c */
/** Take over what @p r says of tiers; NULL: there is one. @return 0, -ENOMEM. */
int wm_cuts_set(struct wm_tables *t, struct wm_svc *s, const struct wm_want_rule *r);
/** Health or weight of a backend of set @p set has changed. */
void wm_cuts_mark(struct wm_tables *t, uint32_t set);
/** Cuts of @p n backends by the health of now, as @p r shares; NULL: there is one tier, all 0. */
void wm_cuts_of(const struct wm_tables *t, const struct wm_ref *refs, uint32_t n,
		const struct wm_want_rule *r, uint16_t ret[WM_TIERS_MAX]);
/** Cuts of @p s by the health of now, where programs read them. */
void wm_cuts_now(struct wm_tables *t, struct wm_svc *s);
void wm_cuts_free(struct wm_svc *s);

/* lookups.c */
/** Folded wire form of [<label>.]<service>.<kind>.<domain>; @p label "": none, dots part it.
 *  @return octets, 0 when it does not fit. */
size_t wm_wire_name(const struct wm_domain *d, const char *label, const char *service,
		    const char *kind, uint8_t out[WM_DNS_NAME_MAX + 1]);
/** Append one label, folded. @return the new length, 0 when it does not fit. */
size_t wm_wire_put_label(uint8_t *out, size_t at, const char *label, size_t len);
/** @return 0, -EINVAL for a domain that is no domain. */
int wm_wire_domain(const char *text, struct wm_domain *ret);
/** The set that an adopted frontend of @p w leads to, or WM_NO_SET: its virtual IPv4 address, or
 *  w->front. */
uint32_t wm_lookups_adopted(const struct wm_tables *t, const struct wm_want_set *w);
/** The four names and two frontends of @p s. @return 0, WM_E_FULL, -ENOMEM. */
int wm_lookups_put(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
		   struct wm_err *e);
void wm_lookups_remove(struct wm_tables *t, struct wm_svc *s);
void wm_name_remove(struct wm_tables *t, struct wm_name_entry *n);
/** Is it of none of our domains, and leads to no set? Then its owner puts it after the sweep. */
bool wm_name_elsewhere(const struct wm_tables *t, const struct wm_name_entry *n);
/** Let the name of @p v say that, in the kernel as well. @p ret is set once it is in the tables,
 * also if the kernel's took no more. @return 0, WM_E_FULL, -ENOMEM. */
int wm_name_store(struct wm_tables *t, const struct wm_name *v, struct wm_name_entry **ret,
		  struct wm_err *e);
void wm_front_remove(struct wm_tables *t, struct wm_front_entry *f);
/** A new one, which leads nowhere yet. @return NULL with the reason in @p ret_err: -ENOMEM,
 * WM_E_FULL with @p e. */
struct wm_front_entry *wm_front_new(struct wm_tables *t, const struct wm_frontend_key *k,
				    int *ret_err, struct wm_err *e);
/** Let it say @p v, in the kernel as well. @return 0, WM_E_FULL. */
int wm_front_store(struct wm_tables *t, struct wm_front_entry *f, const struct wm_frontend *v,
		   struct wm_err *e);
/** Of a set without backends an address alone tells whose it is: let it be kept until the sweep.
 *  @return 0, -ENOMEM. */
int wm_front_hold_set(struct wm_tables *t, uint32_t set);
/** Take an entry of the kernel into the dictionary, unclaimed. @return 0, -ENOMEM, -EINVAL. */
int wm_name_adopt(struct wm_tables *t, const struct wm_name_key *k, const struct wm_name *v);
int wm_front_adopt(struct wm_tables *t, const struct wm_frontend_key *k,
		   const struct wm_frontend *v);

/* fronts.c */
void wm_front_key(const struct wm_want_front *f, struct wm_frontend_key *ret);
/** A virtual address takes @p f, which its owner had. */
void wm_fronts_forget(struct wm_front_entry *f);
void wm_fronts_free(struct wm_tables *t);
