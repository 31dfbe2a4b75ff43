/* SPDX-License-Identifier: Apache-2.0 */
/* tables.h - the compiled tables: name -> set -> table -> backends (include/waymark/layout.h).
 * The arrays are memory that the kernel reads too (mapped BPF arrays), or plain memory where there
 * is no data plane; the hash maps (names, frontends) are reached through `struct wm_plane_ops`.
 * Updates cost what changed. Publishing: slots into a free range, a free head that tells of them,
 * then one release store of the set's word; what is freed stays in quarantine until no
 * program can have it any more (grace.h).
 * The DNS server reads the same arrays. Threading: loop thread writes; kernel programs read at any
 * time. */
#pragma once
#include "grace.h"
#include "userspace/base/err.h"
#include "userspace/base/ttl.h"
#include "userspace/metadata/tiers.h"
#include "userspace/model/policy.h"
#include "waymark/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_tables;

/** How entries reach the hash maps. Each returns 0 or negative errno (-E2BIG/-ENOSPC: full). Seals
 *  are theirs: 0 in what is put; in what is read not 0 where the entry is not sound. */
struct wm_plane_ops {
	void *arg;
	int (*name_put)(void *arg, const struct wm_name_key *k, const struct wm_name *v);
	int (*name_del)(void *arg, const struct wm_name_key *k);
	int (*frontend_put)(void *arg, const struct wm_frontend_key *k,
			    const struct wm_frontend *v);
	int (*frontend_del)(void *arg, const struct wm_frontend_key *k);
	/* Walk the entries, for adoption. Start with first = true. -ENOENT at the end. */
	int (*name_next)(void *arg, bool first, struct wm_name_key *k, struct wm_name *v);
	int (*frontend_next)(void *arg, bool first, struct wm_frontend_key *k,
			     struct wm_frontend *v);
	/* Read one back, -ENOENT: it is not there. */
	int (*name_get)(void *arg, const struct wm_name_key *k, struct wm_name *v);
	int (*frontend_get)(void *arg, const struct wm_frontend_key *k, struct wm_frontend *v);
	/* Until it is off again the walks read many entries at a time: what is told of one may be
	 * what it was when they were read. NULL: they do not. */
	void (*ahead)(void *arg, bool on);
	/* Let @p count entries of an array be there to be written, those parallel to it too; what
	 * lies behind reads as zeros. NULL: all are. */
	int (*reach)(void *arg, unsigned array, uint32_t count);
	/* Of `targets`, where there is no memory of them: one, valid until the next call of these
	 * (NULL: it cannot be read now), and another in its place. NULL: there are none. */
	const struct wm_target *(*target_get)(void *arg, uint32_t index);
	int (*target_put)(void *arg, uint32_t index, const struct wm_target *v);
	void (*rest)(void *arg); /* nobody reads any for the moment */
};
enum wm_table_array { WM_ARRAY_SETS, WM_ARRAY_HEADS, WM_ARRAY_SLOTS, WM_ARRAY_BACKENDS };
struct wm_table_memory {
	struct wm_config *config; /* one */
	struct wm_set *sets;
	struct wm_table_head *heads;
	struct wm_slot *slots;
	struct wm_backend *backends;
	struct wm_set_live *set_live; /* parallel to sets */
	struct wm_backend_live *live; /* parallel to backends */
	struct wm_target *targets;    /* likewise; NULL: through wm_plane_ops, or there are none */
	uint32_t sets_cap, heads_cap, slots_cap, backends_cap, names_cap, frontends_cap;
};
/** Heads for @p sets: one each, another while the old one of a set rests, and some. */
static inline uint32_t wm_heads_cap(uint32_t sets)
{
	return 2 * sets + 64;
}
/** Plain memory for the caps of @p m but heads_cap, which is computed. @return 0, -ENOMEM. */
int wm_table_memory_new(struct wm_table_memory *m);
void wm_table_memory_free(struct wm_table_memory *m);
/** A domain's wire form, folded, zeros behind. @return octets; 0: it is none. */
size_t wm_domain_wire(const char *text, uint8_t ret[256]);
/** @param mem borrowed for the life of the tables. @param ops NULL: no kernel.
 *  @param domain "mesh.internal" without dots at the ends; @param alt_domain may be NULL. */
struct wm_tables *wm_tables_new(const struct wm_table_memory *mem, const struct wm_plane_ops *ops,
				const char *domain, const char *alt_domain);
/* What the operator decided of services, whatever registers. */
struct wm_tables_policy {
	const struct wm_ttls *ttls; /* of names; NULL: none has one of its own. Borrowed */
	bool only_passing;	    /* an instance with a warning takes no connections */
	bool partial;		    /* there are services that this node does not know of */
	bool external_addresses;    /* those are taken that who writes a service states as its own
				     * (CVE-2020-8554) */
	const char *custom;	    /* name of the operator's way to choose; NULL: none. Borrowed */
};
/** To be called before resolution begins, if at all. */
void wm_tables_set_policy(struct wm_tables *t, const struct wm_tables_policy *p);
const struct wm_tables_policy *wm_tables_policy(const struct wm_tables *t);
/** How what is freed is waited for, before anything is; without, for WM_RECYCLE_NS. Borrowed. */
void wm_tables_set_grace(struct wm_tables *t, const struct wm_grace *g);
void wm_tables_free(struct wm_tables *t); /* leaves the memory and the maps as they are */

/* One backend of a set, as the compiler wants it. */
struct wm_want_backend {
	uint64_t instance; /* wm_instance.hash: one backend in all sets that have it */
	uint32_t addr4_be; /* 0: none */
	uint8_t addr6[16]; /* ::: none */
	uint16_t port;	   /* host order */
	uint32_t weight;   /* 0: takes no picks, still listed */
	uint32_t state;	   /* WM_STATE_UP, _DOWN, _DRAIN */
	bool abort_tcp;	   /* its TCP connections are ended, too, when it is gone */
	uint32_t service;  /* of an instance of another service: the low half of the hash of its
			    * name; 0: of the set's */
	uint8_t tiers;	   /* bit i: it is in tier i; 0: in the first */
	const char *node;  /* that SRV leads to; NULL: to its address */
};
/* How a set's backends are chosen. */
struct wm_want_rule {
	struct wm_table_head head; /* balance, tiers (1 or more), what happens where nobody is
				    * usable, hash_on, panic, ejection, affinity; nothing else */
	struct wm_tiers_rule spread;
	uint16_t target[WM_TIERS_MAX]; /* of each tier, as struct wm_tier has it */
};
/** Does a choice by @p balance, WM_BALANCE_*, take more slots than one by weight? */
bool wm_table_is_wide(uint8_t balance);
struct wm_want_set {
	const char *service; /* lower-case DNS label */
	uint32_t vip4_be;
	uint8_t vip6[16];
	const struct wm_want_backend *backends;
	uint32_t backends_count;
	const struct wm_want_rule *rule; /* NULL: at random by weight, all alike */
	const char *label; /* in front of it: the set is of a part of the service. NULL: of all */
	uint16_t port; /* of the addresses, host order: such a set is of it alone, and has no names.
			* 0: the set is of every port */
	uint8_t proto; /* of `port`: it is one that a source gives the service, and has no address
			* of itself: wm_tables_fronts_put(). 0: both */
	bool ports;    /* some ports of the addresses have sets of their own */
	bool srv;      /* whom SRV may name is known by the backends alone */
	bool tag;      /* the label is a tag that has no address: there is no virtual name */
	bool nameless; /* the service has no instance: it has no names */
	/* one that is to lead to it: by it the set of an earlier run is known, if no name tells.
	 * NULL: none */
	const struct wm_want_front *front;
};
/** A backend that fell, as nobody listens for it, is up again, as userspace said last: where nobody
 *  looks any more who listens. */
void wm_tables_rise(const struct wm_tables *t, uint32_t index);
void wm_tables_rise_all(const struct wm_tables *t); /* O(backends that there may be) */
/** Call @p fn when a backend is gone: it was up or draining and is down or has left, as the
 * occupant
 *  @p stamp of @p index. One listener. */
void wm_tables_on_lost(struct wm_tables *t,
		       void (*fn)(void *arg, uint32_t index, uint32_t stamp, bool abort_tcp),
		       void *arg);
/** Take over what the arrays and maps already hold (pins of an earlier run): indexes are kept, so
 * that wm_tables_put() of an unchanged service writes nothing. Call once, before the first put.
 *  @return sets adopted, or negative errno. */
int wm_tables_adopt(struct wm_tables *t);
/** After all services were put: remove adopted entries that no put has claimed. @return removed. */
int wm_tables_sweep(struct wm_tables *t);
/** Make the tables say @p w, by difference. Sets the state words of existing backends as well.
 *  @p ret_set its index. @return 0; WM_E_FULL (which table is in @p e): the service is then served
 * by userspace only and counted, other services are untouched; -ENOMEM. */
int wm_tables_put(struct wm_tables *t, const struct wm_want_set *w, uint32_t *ret_set,
		  struct wm_err *e);
/** Remove the set of a service with its names. Unknown: 0. */
int wm_tables_del(struct wm_tables *t, const char *service);
/** The same of a part of it, or of a port; @p proto as in struct wm_want_set. */
void wm_tables_part_del(struct wm_tables *t, const char *service, const char *label, uint16_t port,
			uint8_t proto);

/* --- addresses of a service beside the virtual ones --- */
/* One that leads to a set of it. Of an address that the service has alone, the port 0 comes first:
 * what has no other entry is refused there. Of one that services share it passes. */
struct wm_want_front {
	__be32 addr_be[4]; /* v4-mapped if IPv4 */
	uint16_t port;	   /* host order; 0: all others of the address, of both protocols */
	uint8_t proto;	   /* IPPROTO_TCP, _UDP */
	bool shared;	   /* port 0 */
	uint32_t set;	   /* of a port */
	const char *unfit; /* why it is not taken; NULL: it is. Static */
};
/* All of a service. */
struct wm_want_fronts {
	const char *service;
	int64_t created; /* when it was, seconds since 1970; 0: unknown, younger than all others */
	const struct wm_want_front *at;
	unsigned count;
};
/** Told of each that is not taken: @p why, another service has it. */
typedef void (*wm_front_unfit_fn)(void *arg, const struct wm_want_front *f, const char *why);
/** Let exactly these lead to their service, by difference; entries of an earlier run are taken
 * over. Of several that want an address, or a port of one, the oldest has it, of these of one age
 * the first by name, whoever was put first; and with the port 0 the others of that address are not
 * taken either. Sets and names come before, and go behind. @p fn may be NULL. @return 0; WM_E_FULL,
 * -ENOMEM: then none leads to it. */
int wm_tables_fronts_put(struct wm_tables *t, const struct wm_want_fronts *want,
			 wm_front_unfit_fn fn, void *arg, struct wm_err *e);
/** Did puts since the last call take some from services that are younger? These are contested now,
 *  and are to be put again. */
bool wm_tables_fronts_robbed(struct wm_tables *t);
/** None does any more. */
void wm_tables_fronts_del(struct wm_tables *t, const char *service);
/** How many do. */
unsigned wm_tables_fronts(const struct wm_tables *t, const char *service);
/** Does another service have something that this one was put with? */
bool wm_tables_contested(const struct wm_tables *t, const char *service);
/** The service that has the address alone; NULL: none, or it is shared. Borrowed. */
const char *wm_tables_front_owner(const struct wm_tables *t, const __be32 addr_be[4]);
/** Backends in a set. */
uint32_t wm_tables_set_backends(const struct wm_tables *t, uint32_t set);
/** Is it the set that ports lead to which are refused? It is no service's. */
bool wm_tables_refuses(const struct wm_tables *t, uint32_t set);

/* --- names in a cluster's domain --- */
/** Services of a scope are found as <name>.<scope>.svc.<domain>, too. Before the first of these is
 *  put. @return 0, -EINVAL. */
int wm_tables_set_cluster(struct wm_tables *t, const char *domain);
/** Let that name of @p service have these addresses, zero for none, whatever instances it has.
 *  @return 0; -EINVAL: it has no such name; WM_E_FULL, -ENOMEM: userspace alone answers it. */
int wm_tables_cluster_put(struct wm_tables *t, const char *service, uint32_t v4_be,
			  const uint8_t v6[16], struct wm_err *e);
void wm_tables_cluster_del(struct wm_tables *t, const char *service);
/** All of these were put, or there is no cluster: those of an earlier run go that were not. They
 *  stand until then, so that the kernel answers through a restart. */
void wm_tables_cluster_sweep(struct wm_tables *t);

/** State of an instance's backend, at once in every set, DNS and connect. @return 0, -ENOENT.
 *  Cost: a hash lookup, one atomic store, and one more for each set that has it. */
int wm_tables_state(struct wm_tables *t, uint64_t instance, uint32_t state);
/* Backends of an instance: of its port and of each endpoint that a policy gives a port, and these
 * twice while its address changes. */
#define WM_BACKENDS_OF_MAX (2 * (1 + WM_POLICY_PORTS_MAX))
/** Indexes of an instance's backends, none if it fits no table. @return how many there are, @p ret
 * is filled up to @p cap. Cost O(1). */
unsigned wm_tables_backends_of(const struct wm_tables *t, uint64_t instance, uint32_t *ret,
			       unsigned cap);
/** Has the set of @p service, or of its part @p label ("": all), somebody who is ejected? 0: not as
 *  programs know. Cost O(1). */
uint32_t wm_tables_ejected(const struct wm_tables *t, const char *service, const char *label);
/** Are those of that set who are ejected asked where nobody else is (wm_left_out_by_others())? */
bool wm_tables_asks_ejected(const struct wm_tables *t, const char *service, const char *label);
/** Is an instance ejected, where it listens on @p port (host order)? Cost O(1). */
bool wm_tables_is_ejected(const struct wm_tables *t, uint64_t instance, uint16_t port,
			  uint64_t now_ns);
/** Count anew who is ejected, in all sets that have the backend @p index: an ejection has begun or
 * is over. Cost: the backends of these sets. */
void wm_tables_count_ejected(struct wm_tables *t, uint32_t index, uint64_t now_ns);
/** Whether virtual names stand for their addresses (the default), or, where connect() to those is
 * not steered, for the endpoints as service names do. Changes every virtual name, in the kernel
 * too: half a microsecond each. */
void wm_tables_set_virtual(struct wm_tables *t, bool addresses);
bool wm_tables_virtual(const struct wm_tables *t);
/** Share new connections anew among the tiers of sets whose health has changed; at the end of a
 * turn of the loop. Cost: the backends of these sets. */
void wm_tables_cut(struct wm_tables *t);
/** Give back what has rested long enough; call now and then. */
void wm_tables_recycle(struct wm_tables *t);
/** Let go of memory that only puts look at; call each second. */
void wm_tables_rest(struct wm_tables *t);

/* --- reading, for the DNS server and status --- */
const struct wm_table_memory *wm_tables_memory(const struct wm_tables *t);
/** The same for the readers of include/waymark/. */
struct wm_view wm_tables_view(const struct wm_tables *t);
/** The entry of a folded wire name; NULL when unknown. Cost O(1). */
const struct wm_name *wm_tables_name(const struct wm_tables *t, const uint8_t *folded, size_t len);
/** The same of a name in text, in any case, with or without the dot at its end. */
const struct wm_name *wm_tables_name_of(const struct wm_tables *t, const char *text);
/** Name of the service that set @p set is of; NULL: of none. Borrowed, until the next put. */
const char *wm_tables_service_of(const struct wm_tables *t, uint32_t set);
/** Name of the service whose the backend @p index is, if a set of it has it; NULL: none has, or it
 * is nobody's. Borrowed, until the next put. Cost: the sets that have it. */
const char *wm_tables_service_with(const struct wm_tables *t, uint32_t index);
/** Which part of its service the set is of: the label into @p label of WM_TAG_MAX + 1, "": all.
 *  @return the port of the virtual address, 0: any. */
uint16_t wm_tables_part_of(const struct wm_tables *t, uint32_t set, char *label);
/** IPPROTO_* that the port of a set is of; 0: it is of both. */
uint8_t wm_tables_proto_of(const struct wm_tables *t, uint32_t set);
/** Set index of a service, or of a part of it; or -ENOENT. */
int64_t wm_tables_set_of(const struct wm_tables *t, const char *service);
int64_t wm_tables_label_set(const struct wm_tables *t, const char *service, const char *label);
/** The same of a port that a source gives the service; @p label as in struct wm_want_set. */
int64_t wm_tables_port_set(const struct wm_tables *t, const char *service, const char *label,
			   uint16_t port, uint8_t proto);
/** Wire form (folded) of the domain and the alternative domain; NULL when none. */
const uint8_t *wm_tables_domain(const struct wm_tables *t, bool alt, size_t *ret_len);
struct wm_tables_stats {
	uint32_t names, frontends, sets, slots,
		backends; /* in use; those in quarantine count as used */
	uint32_t slots_quarantined, backends_quarantined;
	uint32_t fronts_contested; /* that another service had first */
	uint32_t fronts_unfit;	   /* that are no addresses to take from a source */
	uint64_t puts, publishes, state_stores, full, collisions;
};
void wm_tables_stats(const struct wm_tables *t, struct wm_tables_stats *ret);
