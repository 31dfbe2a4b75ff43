/* SPDX-License-Identifier: Apache-2.0 */
/* sync.h - the mesh of an agent: the pure cores (member.h, spread.h, replica.h) over a datagram
 * socket, streams to other agents, and the registry. What others tell becomes a write of the
 * registry's; what the registry made durable is told to others; who is alive is a node's
 * serfHealth. With sync.mode off there is none of it. Threading: loop thread only. Spec:
 * docs/architecture.md, "The mesh". */
#pragma once
#include "conflicts.h"
#include "etcd.h"
#include "interest_serve.h"
#include "member.h"
#include "replica.h"
#include "spread.h"
#include "verify.h"

struct wm_frames_stats;
struct wm_loop;
struct wm_registry;
struct wm_sync;

/* By etcd instead of peers; as of wm_etcd_config. */
struct wm_sync_etcd {
	char *const *endpoints; /* NULL at the end */
	char prefix[WM_ETCD_PREFIX_MAX + 1];
	const char *user, *password_file, *ca_file, *cert_file, *key_file;
	unsigned lease_s;
};

struct wm_sync_config {		  /* borrowed for the life of the mesh */
	const struct wm_env *env; /* its time and chance */
	struct wm_loop *loop;
	struct wm_registry *registry;
	const char *node_name, *datacenter, *version;
	const char *data_dir; /* where the members are kept; NULL: nowhere */
	bool by_etcd;	      /* then of all below `etcd`, `objects_max` and `node_address` count */
	const char *node_address;
	struct wm_sync_etcd etcd;
	struct wm_peer_addr bind, advertise;
	char *const *join;	    /* "host", "host:port", "[v6]:port"; NULL at the end */
	const char *const *own_dns; /* addresses on whose port 53 this agent answers; NULL: none */
	const char *join_file;	    /* of the same, one a line, and may change; "": none */
	enum wm_member_role role;
	char *const *interest; /* of a leaf: services and globs; NULL at the end */
	uint64_t interest_ttl_ms;
	struct wm_member_timers timers;
	void (*moved)(void *arg); /* nodes are in other bands (wm_registry_set_band); NULL ok */
	void *moved_arg;
	uint64_t push_pull_ms, restart_grace_ms;
	unsigned objects_max; /* of all nodes */
	const struct wm_merge_rule *conflicts;
	uint32_t priority; /* of what this node writes of the catalog */
	bool insecure;
	const char *ca_file, *cert_file, *key_file, *keyring_file;
};
#define WM_SYNC_PORT	  8301 /* Consul's port of the LAN */
#define WM_SYNC_SEEDS_MAX 64   /* agents tried to begin with, of settings and of the members kept */

/** Tell the registry how far its nodes were when the mesh was here last, of those that nothing is
 *  known of yet: before tables are made of it. What is measured then stands above it. Reads a file;
 *  what is wrong in it is passed over. @return of how many. Cost: O(nodes log nodes). */
unsigned wm_sync_recall(struct wm_registry *r, const char *data_dir);
/** Open sockets, take in what the registry has. @return 0, negative errno, WM_E_INVALID; @p e says
 *  which setting. */
int wm_sync_new(const struct wm_sync_config *c, struct wm_sync **ret, struct wm_err *e);
/** Probe, join, listen. */
int wm_sync_start(struct wm_sync *s, struct wm_err *e);
/** Before the end of an agent that comes back: others are told that its kernel serves on, and take
 *  the node for alive for `restart_grace_ms`. NULL ok. */
void wm_sync_pause(struct wm_sync *s);
void wm_sync_free(struct wm_sync *s); /* NULL ok */

/** Called once. @p joined: agents that answered; 0: then @p why says what the last one failed of.
 */
typedef void (*wm_sync_joined)(void *arg, unsigned joined, const char *why);
/* How true an answer about others' objects is, for X-Consul-LastContact and -KnownLeader. */
struct wm_sync_contact {
	uint64_t ms; /* since what is here was all that another had, or etcd; 0: there is nobody */
	bool known;  /* another is alive for us, or etcd is followed; or there is nobody */
};
/** Cost O(1) while another is alive. */
void wm_sync_contact(const struct wm_sync *s, struct wm_sync_contact *ret);

#define WM_SYNC_HOST_MAX 253 /* octets of a host's name */
/** Split "host", "host:port", "v6", "[v6]:port". A host that begins with '_' is one of SRV records,
 *  and has no port. @return 0, -EINVAL. */
int wm_sync_seed_parse(const char *to, char host[static WM_SYNC_HOST_MAX + 1], uint16_t *ret_port);

#define WM_SYNC_SEED_WANTED                                                                        \
	"a host or an address is wanted, with :port if it is not 8301, [v6]:port, or a name of "   \
	"SRV records without a port, _waymark._tcp.example.com, not \"%.64s\""

#define WM_SYNC_SEED_MAX 260 /* octets of one, as in sync.join */
#define WM_SYNC_JOIN_FILE_MAX                                                                      \
	32768			   /* octets of sync.join_file: its seeds at their longest, twice */
#define WM_SYNC_JOIN_FILE_SEEDS 64 /* seeds in it: one that answers is enough */
struct wm_sync_seed_list {
	unsigned count;
	char seeds[WM_SYNC_JOIN_FILE_SEEDS][WM_SYNC_SEED_MAX + 1];
};
/** A line of it, which @p e names by its number, is passed over. */
typedef void (*wm_sync_seed_bad)(void *arg, const struct wm_err *e);
/** Read a file of seeds: one a line, "#" begins a comment. Does not wait but for the disk.
 *  @return 0; negative errno, WM_E_LIMIT, WM_E_INVALID: @p e says why, @p ret is what it was. */
int wm_sync_seed_file(const char *path, struct wm_sync_seed_list *ret, wm_sync_seed_bad bad,
		      void *arg, struct wm_err *e);

struct wm_identity;
/** Does a certificate name this node? @return 0, WM_E_INVALID. */
int wm_sync_identity_check(const struct wm_identity *us, const char *node, const char *datacenter,
			   struct wm_err *e);

/** Join the mesh of the agent at @p to, "host" or "host:port". @return 0, or the error at once. */
int wm_sync_join(struct wm_sync *s, const char *to, wm_sync_joined done, void *arg,
		 struct wm_err *e);
/** Leave for good: others remove what this agent registered. Takes some gossip; the agent goes on.
 */
void wm_sync_leave(struct wm_sync *s);
/** Compare with all members that are alive and hold everything, see verify.h; where etcd carries
 *  with it. @return 0; WM_E_UNSUPPORTED: this is a leaf; WM_E_BUSY: one is under way; -ENOMEM. */
int wm_sync_verify(struct wm_sync *s, wm_verify_done done, void *arg, struct wm_err *e);
/* How the mesh is, in a few figures, and what an operator should do something about. */
#define WM_SYNC_REASONS_MAX 6
struct wm_sync_reason {
	const char *what; /* "alone", "clock", "certificate", "brake", "etcd" */
	char text[192];
	const char *remedy;
};
struct wm_sync_health {
	unsigned members, alive, failed;
	unsigned behind; /* logs of which more is known to be than is here; etcd: what it has not */
	uint64_t held;	 /* removals that the brake holds back */
	struct wm_sync_reason reasons[WM_SYNC_REASONS_MAX];
	unsigned reasons_count; /* 0: nothing is wrong */
};
void wm_sync_health(struct wm_sync *s, struct wm_sync_health *ret);
/** Let removals happen that the brake holds back: of what @p node owns, or of all (NULL). Logged.
 *  @param ret_count logs, or with etcd objects, that were held. @return 0, WM_E_UNKNOWN: no node.
 */
int wm_sync_release(struct wm_sync *s, const char *node, unsigned *ret_count, struct wm_err *e);
/** Of a leaf: somebody asks for a service. @p done is called once, with 0 when what there is of it
 *  is here and in the tables, or with WM_E_BUSY: no full member answered in time. The mesh calls
 *  it before it ends.
 *  @return 0: it is here, or this is no leaf; answer at once, @p done is not called. 1: it is.
 *  WM_E_LIMIT: too many services or look-ups; -ENOMEM. */
int wm_sync_lookup(struct wm_sync *s, const char *service, void (*done)(void *arg, int code),
		   void *arg);
/** Who asked with @p arg is gone. */
void wm_sync_lookup_cancel(struct wm_sync *s, void *arg);
/** Does this agent hold a part of the mesh only? */
bool wm_sync_partial(const struct wm_sync *s);
/* NULL but on a leaf; and but on a full member. */
const struct wm_interest *wm_sync_interest(const struct wm_sync *s);
const struct wm_serve *wm_sync_served(const struct wm_sync *s);
/* NULL where etcd carries. */
struct wm_members *wm_sync_members(struct wm_sync *s);
struct wm_replica *wm_sync_replica(struct wm_sync *s);
struct wm_spread *wm_sync_spread(struct wm_sync *s);
const struct wm_conflicts *wm_sync_conflicts(const struct wm_sync *s);
struct wm_etcd *wm_sync_etcd(struct wm_sync *s); /* NULL where peers carry */

/* A node of the mesh, this one too, whatever carries. Borrowed until the turn ends. */
struct wm_sync_node {
	struct wm_peer_id id;
	const char *name, *version;
	char address[INET6_ADDRSTRLEN]; /* without a port; "": unknown */
	unsigned port;			/* of datagrams and streams; 0: none */
	enum wm_member_state state;
	bool self;
	const struct wm_member *member; /* NULL where etcd carries */
};
/** Walk: *pos = 0 at first, not beside changes. @return false: no more. */
bool wm_sync_next_node(struct wm_sync *s, size_t *pos, struct wm_sync_node *ret);

/* One agent that we have a stream to, or had. */
struct wm_sync_peer {
	const struct wm_member *member;
	bool up;
	uint64_t since_ms; /* up or down since, of the environment's clock */
	uint64_t octets_in, octets_out, frames_in, frames_out;
	const char *why; /* the last stream ended; "" */
};
/** Walk: *pos = 0 at first. @return false: no more. */
bool wm_sync_next_peer(const struct wm_sync *s, size_t *pos, struct wm_sync_peer *ret);

#define WM_SYNC_COUNTERS(X)                                                                        \
	X(streams_in, "Streams of other agents accepted")                                          \
	X(streams_out, "Streams to other agents opened")                                           \
	X(streams_failed, "Streams that could not be opened")                                      \
	X(streams_refused, "Streams of who is not a member of this mesh")                          \
	X(frames_dropped, "Messages that a stream had no room for")                                \
	X(unsealed, "Datagrams that no key opens")                                                 \
	X(other_form, "Datagrams of another version's form, or of an insecure agent's")            \
	X(seeds_refused, "Lines of sync.join_file that were passed over")                          \
	X(seeds_unresolved, "Look-ups of seeds' names that had no address or SRV record")          \
	X(taken, "Changes of others handed to the registry")                                       \
	X(taken_again, "Changes of others that the store refused, tried again")                    \
	X(busy, "Changes of others put off, as too much waits for the store")
struct wm_sync_stats {
#define X(name, help) uint64_t name;
	WM_SYNC_COUNTERS(X)
#undef X
	uint64_t waiting;	  /* octets of changes that wait for the store */
	int64_t certificate_days; /* that ours is valid; INT64_MAX: none */
};
void wm_sync_stats(const struct wm_sync *s, struct wm_sync_stats *ret);
/** Of the connections below the streams: what was refused, and why (net/frames.h). Borrowed; NULL
 *  where etcd carries. */
const struct wm_frames_stats *wm_sync_frames(const struct wm_sync *s);
