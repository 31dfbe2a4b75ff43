/* SPDX-License-Identifier: Apache-2.0 */
/* model.h - the objects of the registry: node, service, instance, check. Other layers read them;
 * only registry.c writes. Strings are owned by their object and live as long as it does.
 * Indexes are the registry's change index (< 2^53: JSON numbers are doubles to many clients).
 * Threading: loop thread only. Spec: Consul agent and catalog API. */
#pragma once
#include "userspace/base/hash.h"
#include "userspace/base/map.h"
#include "userspace/base/peer_id.h"
#include "waymark/limits.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum wm_status { WM_PASSING = 0, WM_WARNING = 1, WM_CRITICAL = 2 }; /* worst is greatest */
/** "passing", "warning", "critical". */
const char *wm_status_str(enum wm_status s);
/** @return 0 or -EINVAL. */
int wm_status_parse(const char *s, enum wm_status *ret);

/* Where an instance stands. What is stated is stored as a number: new ones are appended behind the
 * derived ones. Spec: docs/architecture.md, "The life of an instance". */
enum wm_lifecycle {
	WM_LIFE_NONE, /* not stated; no instance has it */
	WM_LIFE_STARTING,
	WM_LIFE_RUNNING, /* alone takes new connections */
	WM_LIFE_STOPPING,
	WM_LIFE_STOPPED,
	WM_LIFE_UNHEALTHY, /* derived: running, and a check fails */
	WM_LIFE_UNKNOWN,   /* derived: running, and what is critical has told nothing */
	WM_LIFE_COUNT
};
/** "starting" .. "unknown". */
const char *wm_lifecycle_str(enum wm_lifecycle l);
/** @return 0, -EINVAL. "unhealthy" and "unknown" are names too, though nobody may state them. */
int wm_lifecycle_parse(const char *s, enum wm_lifecycle *ret);
/** May an instance that is stated to be @p from become @p to? The same again is legal. */
bool wm_lifecycle_legal(enum wm_lifecycle from, enum wm_lifecycle to);

/* Stored as numbers: new ones are appended. */
enum wm_check_kind {
	WM_CHECK_TTL,
	WM_CHECK_TCP,
	WM_CHECK_HTTP,
	WM_CHECK_MAINTENANCE, /* critical as long as it stands; nothing probes it */
	WM_CHECK_UDP,
	WM_CHECK_ALIAS, /* as bad as the checks of another instance, or of the node */
	WM_CHECK_SCRIPT,
	WM_CHECK_OS_SERVICE,
	WM_CHECK_GRPC,
	WM_CHECK_H2PING,
	WM_CHECK_STATED, /* of the catalog: whoever writes it states the result, nothing probes it
			  */
	WM_CHECK_KIND_COUNT
};
#define WM_NODE_MAINTENANCE_ID	  "_node_maintenance"	  /* the node's check of that kind */
#define WM_SERVICE_MAINTENANCE_ID "_service_maintenance:" /* and of an instance: its id follows */
/** Consul's `Type`: "ttl", "tcp", "http", "maintenance", "udp", "alias", "script", "os_service",
 * "grpc", "h2ping"; "" for what is stated. */
const char *wm_check_kind_str(enum wm_check_kind k);
struct wm_check;
/** The same of a check: what its writer called it, else by its kind. */
const char *wm_check_type(const struct wm_check *c);

struct wm_pair {
	char *key, *value;
};

struct wm_instance;
struct wm_map;

/* Whose word an object is, and which. An agent is the only writer of what was registered with it:
 * its log has a number for each change of an object, which grows, and an epoch that grows when
 * the log was lost. What is written into the catalog any agent may write: a hybrid logical
 * clock (Kulkarni 2014) orders it, 48 bits of milliseconds since 1970 and 16 of a counter, then its
 * writer. What is of another agent's log is foreign here. Spec: docs/architecture.md, "Versions and
 * history". */
enum wm_version_origin { WM_ORIGIN_OWN, WM_ORIGIN_SHARED, WM_ORIGIN_FOREIGN };
struct wm_version {
	enum wm_version_origin origin;
	uint32_t epoch;		  /* OWN, FOREIGN */
	uint64_t seq;		  /* OWN, FOREIGN: in the log; SHARED: the clock; 0: none yet */
	struct wm_peer_id writer; /* FOREIGN: whose log; SHARED: who wrote it, may be none */
	uint32_t priority;	  /* SHARED: of the node where it was written; 0: none */
};

/* This agent's node, or one that was written into the catalog. Its name never changes. */
struct wm_node {
	char *name;
	char *id; /* UUID text; may be "" */
	char *address;
	struct in_addr addr4; /* of address; zero if none */
	struct in6_addr addr6;
	struct wm_pair *meta;	/* sorted by key */
	struct wm_pair *tagged; /* addresses by name, sorted */
	unsigned meta_count, tagged_count;
	const char *region, *zone; /* Consul's Locality; "" is none */
	bool self;		   /* this agent's */
	uint8_t band, band_seen;   /* how far it is: registry's, see wm_registry_set_band() */
	uint64_t create_index, modify_index;
	uint64_t index;		    /* last change of it, its instances or their checks */
	struct wm_instance *holder; /* of its checks, see below; never NULL */
	struct wm_map *instances;   /* by id; registry's: read by wm_node_instance() */
	struct wm_map *checks;	    /* of it and of its instances, by id; registry's */
	uint64_t row;		    /* store's row number; this agent's has none */
	char *folded;		    /* name in lower case: registry's key */
	uint64_t mark;		    /* hash of it */
	void *facts; /* block of what id, address, region, zone, meta and tagged point to */
	/* registry's: a walk over what is on it, which follows it over some turns */
	struct {
		struct wm_node *next;
		size_t pos;
		unsigned awaited; /* walks that a write waits for */
		bool on, again;
	} walk;
};

struct wm_check {
	char *id, *name, *notes;
	char *output; /* never NULL; WM_CHECK_OUTPUT_MAX at most */
	enum wm_check_kind kind;
	/* URL, host:port, with gRPC maybe "/service"; OS service: the unit; alias: an instance's
	 * id,
	 * "" is the node; NULL for TTL, script and maintenance */
	char *target;
	char *method, *body;	 /* HTTP; may be NULL */
	struct wm_pair *headers; /* HTTP; a name may repeat */
	unsigned headers_count;
	bool tls_skip_verify, disable_redirects;
	bool use_tls;	       /* TCP, gRPC, H2PING: a TLS handshake follows the connect */
	char *tls_server_name; /* may be NULL */
	char *type;	       /* STATED: Consul's `Type` as its writer gave it; may be NULL */
	/* script: the program and its arguments; STATED: what its definition tells beside the
	 * above, see wm_stated_member(); no NULL at the end */
	char **args;
	unsigned args_count;
	unsigned output_max; /* octets kept of an output; 0: WM_CHECK_OUTPUT_MAX */
	uint64_t interval_ms, timeout_ms, ttl_ms;
	uint64_t deregister_after_ms; /* 0: never */
	unsigned success_before_passing, failures_before_warning, failures_before_critical;
	enum wm_status status;
	uint64_t create_index, modify_index;
	struct wm_instance *instance; /* never NULL; of a node's check: the holder, see below */
	void *prober;		      /* health's; NULL when none runs */
};

/* What the definition of a STATED check may tell beside what any check has, in the order of
 * Consul's answers. X(name, type). */
#define WM_STATED_MEMBERS(X)                                                                       \
	X(HTTP, TEXT) /* one that is no URL; TCP: beside HTTP */                                   \
	X(TCP, TEXT)                                                                               \
	X(UDP, TEXT)                                                                               \
	X(H2PING, TEXT)                                                                            \
	X(OSService, TEXT)                                                                         \
	X(H2PingUseTLS, FLAG)                                                                      \
	X(OutputMaxSize, NUMBER)                                                                   \
	X(GRPC, TEXT)                                                                              \
	X(GRPCUseTLS, FLAG)                                                                        \
	X(AliasNode, TEXT)                                                                         \
	X(AliasService, TEXT)                                                                      \
	X(TTL, NUMBER) /* nanoseconds */
enum wm_stated_type { WM_STATED_TEXT, WM_STATED_FLAG, WM_STATED_NUMBER };
#define X(name, type) +1
enum { WM_STATED_MEMBERS_COUNT = WM_STATED_MEMBERS(X) };
#undef X
/** Read one of a STATED check's args, "<name>=<value>"; a flag's value is "true".
 *  @return its name; NULL: it is none, or has no value of its type. */
const char *wm_stated_member(const char *arg, enum wm_stated_type *ret_type,
			     const char **ret_value);

/* What an instance states beside: where it is, and what a service mesh that others run is told of
 * it. Kept, shown, filtered by, and no more. Strings are never NULL in an instance. */
struct wm_traits {
	const char *region, *zone; /* Consul's Locality */
	const char *kind;	   /* "connect-proxy" and others; "" is an ordinary service */
	const char *socket_path;
	/* Consul's Proxy by its members' names: what is text there is plain here, LocalServicePort
	 * and Expose.Checks ("true") too, all else is JSON. */
	const struct wm_pair *proxy;
	unsigned proxy_count;
	bool native;  /* Connect.Native */
	bool sidecar; /* was registered within another, which takes it along */
};

/* Checks of the node hang on an instance too, the holder: it has neither id nor service (NULL), is
 * in no list, and is found by its node's `holder` only. There may be a million: no holes. */
struct wm_instance {
	char *id;
	char *name; /* of its service, in the case that it was registered with; a holder's: "" */
	struct wm_node *node;
	struct wm_service *service;
	char *address;	       /* as registered, may be "" (then the node's) */
	struct in_addr addr4;  /* effective, zero if none */
	struct in6_addr addr6; /* effective, :: if none */
	uint16_t port;
	uint16_t weight_passing, weight_warning; /* up to WM_WEIGHT_MAX */
	uint16_t tags_count, meta_count, tagged_count, checks_count;
	bool enable_tag_override : 1;
	enum wm_status status : 7; /* worst of its checks and its node's; no checks: passing */
	enum wm_lifecycle lifecycle : 8; /* stated: starting, running, stopping or stopped */
	uint32_t place;			 /* position in service->instances: registry's */
	uint32_t number;		 /* metadata's; 0: not indexed */
	uint32_t waiting; /* dns's: its turn to be indexed by address; 0: it does not wait */
	char **tags;
	struct wm_pair *meta; /* sorted by key */
	struct wm_tagged_address {
		char *name, *address;
		uint16_t port;
	} * tagged; /* sorted by name; as registered (lan_ipv4 and wan_ipv4 are derived on output)
		     */
	const struct wm_traits *traits; /* NULL: states nothing of it */
	struct wm_version version;	/* of the stored object; a holder's is its node's too */
	struct wm_check **checks;
	uint64_t drain_until_ms; /* since 1970: leaves then at the latest; 0: no drain */
	uint64_t create_index;
	uint64_t modify_index; /* last registration; a check that comes or goes is none */
	uint64_t hash;	       /* wm_hash_stable of node name, NUL, id: identity in kernel tables */
	uint64_t row;	       /* store's row number */
	/* what this node sees of connects to it, see wm_registry_set_passive(); NULL: nothing.
	 * It is no part of `status`: who is left out is decided in the kernel */
	struct wm_check *passive;
};

struct wm_service {
	char *name;	     /* in lower case: the key; look-ups fold */
	char *shown;	     /* as one of its instances was registered */
	struct in_addr vip4; /* network order; from 240.0.0.0/4 */
	struct in6_addr vip6;
	struct wm_instance **instances;
	unsigned instances_count, instances_cap;
	uint64_t create_index;
	uint64_t index; /* last change of any of its instances or checks: blocking queries */
	uint64_t row;
	bool fresh;  /* registry's: not announced yet */
	bool leaves; /* registry's: in the list of a write that may have emptied it */
	SLIST_ENTRY(wm_service) entry;
	uint32_t counted; /* statistics': the last pass that saw an instance of it usable */
	void *compiled;	  /* resolution's; survives until WM_CHANGE_SERVICE_DELETED was announced */
};

/** What is stated, or what follows of the checks while it is running. Cost O(checks). */
enum wm_lifecycle wm_instance_state(const struct wm_instance *i);
/** Member of its Proxy; NULL: it states none. Cost O(members). */
const char *wm_instance_proxy(const struct wm_instance *i, const char *member);
/** Has it the tag, in any case? "" is every instance's. */
bool wm_instance_has_tag(const struct wm_instance *i, const char *tag);
/** Written through the catalog, not registered with this agent? */
static inline bool wm_instance_shared(const struct wm_instance *i)
{
	return i->version.origin == WM_ORIGIN_SHARED;
}
/** Its `version` metadata. @return NULL: it has none. Borrowed. */
const char *wm_instance_semver(const struct wm_instance *i);
#define WM_CONSUL_ID   "consul"
#define WM_CONSUL_MARK "waymark" /* metadata key that tells it from a service of that id */
/** What an agent says of itself as Consul's servers do, and no client registered? */
bool wm_instance_says_consul(const struct wm_instance *i);
/** Of another agent's log? */
static inline bool wm_instance_foreign(const struct wm_instance *i)
{
	return i->version.origin == WM_ORIGIN_FOREIGN;
}
/** Brought by a source (source/source.h), which is no agent: this agent's view alone? */
static inline bool wm_instance_of_source(const struct wm_instance *i)
{
	return wm_instance_foreign(i) && wm_peer_id_is_source(&i->version.writer);
}
/** Is it newer than @p b, which is of the same origin? */
static inline bool wm_version_newer(const struct wm_version *a, const struct wm_version *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->seq != b->seq || a->origin != WM_ORIGIN_SHARED)
		return a->seq > b->seq;
	return wm_peer_id_cmp(&a->writer, &b->writer) > 0;
}
/** Does it take new connections: running, and not critical? */
static inline bool wm_instance_usable(const struct wm_instance *i)
{
	return i->lifecycle == WM_LIFE_RUNNING && i->status != WM_CRITICAL;
}
