/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h - what an operator asks of a service: who of it may be chosen, how, and what happens
 * where nobody is usable. One object a service, written by any agent; it may be there before the
 * service is, and stay behind it. Its fields stand in one table: JSON, the store's record, the
 * rules and the reference all go by that, so a field is added in one place.
 * Threading: a policy is not changed once it is made; the rest is pure.
 * Spec: docs/architecture.md, "Policies". */
#pragma once
#include "model.h"
#include "userspace/base/err.h"
#include "waymark/policy.h"

#include <stddef.h>

#define WM_POLICY_SUBSETS_MAX  32   /* of one service: each is a set of tables of its own */
#define WM_POLICY_FAILOVER_MAX 7    /* targets: with the service's own they are the eight tiers */
#define WM_POLICY_SPLITS_MAX   8    /* targets: tiers of a table */
#define WM_POLICY_PORTS_MAX    32   /* virtual ports: as many as an instance has endpoints */
#define WM_POLICY_META_MAX     16   /* pairs of what views keep */
#define WM_QUERY_TERMS_MAX     64   /* tags and pairs that a prepared query asks for */
#define WM_QUERY_KEY	       "\1" /* no service's name begins so */
#define WM_POLICY_LABEL_MAX    63   /* octets of a subset's name: it is a label in DNS */
#define WM_POLICY_FILTER_MAX   4096 /* octets of a subset's filter: the filter language's bound */
#define WM_POLICY_NODE                                                                             \
	"\1policy" /* what policies are on where shared objects have a node: no name of one */
#define WM_POLICY_WHOLE 10000u /* shares are hundredths of a percent */

struct wm_policy_subset {
	const char *name, *filter; /* filter: as of /v1/health/service; "" takes all */
	uint32_t only_passing;	   /* who is warning is not taken */
};
/* Where else: what is "" is as it would be without. */
struct wm_policy_target {
	const char *of; /* failover: of this subset only; "*": of any */
	const char *service, *subset, *region;
};
struct wm_policy_split {
	uint32_t percent; /* hundredths */
	const char *service, *subset;
};
struct wm_policy_port {
	uint32_t port;	      /* of the virtual address */
	const char *endpoint; /* named one of the instance: its metadata "endpoints.<name>" */
};
/* What a view in another form keeps beside. */
enum wm_policy_view { WM_POLICY_RESOLVER, WM_POLICY_SPLITTER, WM_POLICY_DEFAULTS };
struct wm_policy_meta {
	uint32_t view; /* enum wm_policy_view */
	const char *key, *value;
};

/* A term of a prepared query: what instances must have. */
enum wm_query_term {
	WM_QUERY_TAG,	       /* key; with '!' in front: must not */
	WM_QUERY_NODE_META,    /* key and value */
	WM_QUERY_SERVICE_META, /* likewise */
	WM_QUERY_IGNORE_CHECK  /* key: a check that does not count */
};
struct wm_policy_term {
	uint32_t what; /* enum wm_query_term */
	const char *key, *value;
};

#define WM_AFFINITY_NONE 0 /* else 1 + enum wm_hash_on */
/* Texts are never NULL. Shares are hundredths of a percent, times seconds, flags 0 or 1. */
struct wm_policy {
	const char *service;			      /* in lower case: the key */
	uint32_t select, balance, hash_on, when_none; /* enums of waymark/policy.h */
	const char *custom;			      /* CUSTOM: name of the function's file */
	const char *default_subset;		      /* "": all instances */
	const char *protocol;	     /* what is spoken, for views; "" is not stated */
	uint32_t panic_threshold;    /* percent up below which all are asked; 0: never */
	uint32_t drain_s;	     /* 0: not stated */
	uint32_t close_on_down;	     /* TCP connections of an instance that went down are ended */
	uint32_t resolver, defaults; /* flags: such an entry was written, though it says nothing */
	struct {
		const char *region, *zone; /* to be near to; "": this node's */
		uint32_t threshold; /* percent of a tier's weight up below which it is left */
		uint32_t overprovisioning; /* hundredths: 140 lets a tier with 71 % up take all */
	} nearest;
	struct {
		uint32_t key; /* WM_AFFINITY_NONE, 1 + enum wm_hash_on */
		uint32_t timeout;
	} affinity;
	struct {
		uint32_t failures, refused; /* in a row until it is left out; 0: never */
		uint32_t base, longest;	    /* seconds */
		uint32_t most_percent;	    /* of a service's instances at a time */
		uint32_t least_hosts;	    /* of fewer none is left out */
		uint32_t listener_notice;   /* who has no listener any more is down at once */
	} outlier;
	struct wm_policy_target redirect; /* all "": none */
	const struct wm_policy_subset *subsets;
	const struct wm_policy_split *splits;
	const struct wm_policy_target *failover;
	const struct wm_policy_port *ports;
	const struct wm_policy_meta *meta;
	const struct wm_policy_term *terms;
	uint32_t subsets_count, splits_count, failover_count, ports_count, meta_count, terms_count;
	/* A prepared query of Consul's, which is asked by its name or id: an object of this kind
	 * whose key is WM_QUERY_KEY and its id. "" otherwise. */
	struct {
		const char *id, *name, *service, *near, *ttl;
		uint32_t prefix; /* a template: of all names that begin with this one */
		uint32_t remove_empty_tags, only_passing, connect;
	} query;
	/* the registry's */
	struct wm_version version;
	uint64_t create_index, modify_index;
	uint64_t row;
};

/* --- the table of fields -----------------------------------------------------------------------
 */
enum wm_policy_type {
	WM_POLICY_ENUM,	   /* a name of `names` */
	WM_POLICY_FLAG,	   /* true or false */
	WM_POLICY_NUMBER,  /* whole */
	WM_POLICY_SECONDS, /* Go's text, or a number of them */
	WM_POLICY_PERCENT, /* kept in hundredths */
	WM_POLICY_RATIO,   /* likewise */
	WM_POLICY_TEXT
};
struct wm_policy_field {
	const char *name;
	enum wm_policy_type type;
	size_t offset;		  /* in the policy, or in the element of a list */
	uint32_t min, max;	  /* TEXT: max octets; ENUM: max is the last */
	uint32_t fallback;	  /* of what is left out; texts "" */
	const char *const *names; /* ENUM */
	const char *help;
};
enum wm_policy_form {
	WM_POLICY_TOP,	  /* members of the policy */
	WM_POLICY_OBJECT, /* members of an object in it */
	WM_POLICY_LIST,	  /* objects in an array */
	WM_POLICY_MAP	  /* objects by their first field; its second alone stands for it */
};
struct wm_policy_section {
	const char *name;
	enum wm_policy_form form;
	const struct wm_policy_field *fields;
	unsigned fields_count;
	size_t list, count; /* LIST, MAP: where the pointer and the number are */
	size_t size;	    /* of an element */
	unsigned max;	    /* elements */
	bool hidden;	    /* of views: neither read nor shown natively */
};
extern const struct wm_policy_section wm_policy_sections[];
extern const unsigned wm_policy_sections_count;
/** A field of a policy or of an element; texts are never NULL where it was made by these. */
static inline uint32_t *wm_policy_number(void *of, const struct wm_policy_field *f)
{
	return (uint32_t *)(void *)((char *)of + f->offset);
}
static inline const char **wm_policy_text(void *of, const struct wm_policy_field *f)
{
	return (const char **)(void *)((char *)of + f->offset);
}

/* A policy that is being made: its lists have room. Texts are the maker's. Some 4 KiB. */
struct wm_policy_draft {
	struct wm_policy p;
	struct wm_policy_subset subsets[WM_POLICY_SUBSETS_MAX];
	struct wm_policy_split splits[WM_POLICY_SPLITS_MAX];
	struct wm_policy_target failover[WM_POLICY_FAILOVER_MAX];
	struct wm_policy_port ports[WM_POLICY_PORTS_MAX];
	struct wm_policy_meta meta[WM_POLICY_META_MAX];
	struct wm_policy_term terms[WM_QUERY_TERMS_MAX];
};
/** One that asks for nothing: every field has its fallback. */
void wm_policy_draft_init(struct wm_policy_draft *d, const char *service);
/** The draft of a policy that is there, to be changed; it borrows its texts. */
void wm_policy_draft_of(struct wm_policy_draft *d, const struct wm_policy *p);
/** An element more of a list or map, all fields at their fallback. @return NULL: it is full. */
void *wm_policy_draft_add(struct wm_policy_draft *d, const struct wm_policy_section *s);

/** May it be? Each refusal names the field, its value and what is allowed. Filters are only judged
 *  by their length, as their language lies above. @return 0, WM_E_INVALID. */
int wm_policy_validate(const struct wm_policy *p, struct wm_err *e);
/** A copy in one block, its service in lower case. @return NULL without memory. */
struct wm_policy *wm_policy_copy(const struct wm_policy *p);
void wm_policy_free(struct wm_policy *p); /* NULL ok */
/** The same but for what is the registry's? */
bool wm_policy_same(const struct wm_policy *a, const struct wm_policy *b);
/** Of a name in any case. @return NULL: there is none. */
const struct wm_policy_subset *wm_policy_subset(const struct wm_policy *p, const char *name);
/** Name of a WM_BALANCE_*; "": there is none such. Static. */
const char *wm_policy_balance_str(uint32_t balance);
/** Is it a prepared query? */
static inline bool wm_policy_is_query(const struct wm_policy *p)
{
	return *p->service == WM_QUERY_KEY[0];
}
/** May an object of this kind have this key: a service's name, or a query's? */
bool wm_policy_key_valid(const char *key);
/** Does it send elsewhere? */
static inline bool wm_policy_redirects(const struct wm_policy *p)
{
	return *p->redirect.service || *p->redirect.subset || *p->redirect.region;
}
