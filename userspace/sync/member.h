/* SPDX-License-Identifier: Apache-2.0 */
/* member.h - who is there: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips,
 * Currey 2017), and Vivaldi coordinates (Dabek 2004; height and adjustment as Serf has them). Pure:
 * it is told of datagrams and gives datagrams, its time and chance are the environment's; who
 * carries them, and seals them, is not its business. Threading: loop thread only. Spec:
 * docs/architecture.md, "The mesh". */
#pragma once
#include "peer.h"
#include "userspace/base/buf.h"
#include "userspace/base/env.h"
#include "userspace/base/err.h"
#include "waymark/limits.h"

#include <stddef.h>

#define WM_MEMBERS_MAX 16384 /* members known at most, dead ones too: 10,000 nodes and churn */
#define WM_MEMBER_PACKET_MAX                                                                       \
	1400 /* octets of a datagram before it is sealed: no fragments on 1,500 */
#define WM_MEMBER_VERSION_MAX 31 /* octets of an agent's version */
#define WM_COORDINATE_DIMS    8	 /* dimensions of a coordinate: Serf's */

enum wm_member_state { WM_MEMBER_ALIVE, WM_MEMBER_SUSPECT, WM_MEMBER_FAILED, WM_MEMBER_LEFT };
enum wm_member_role { WM_MEMBER_FULL, WM_MEMBER_LEAF };
/** "alive", "suspect", "failed", "left"; "full", "leaf". */
const char *wm_member_state_str(enum wm_member_state s);
const char *wm_member_role_str(enum wm_member_role r);

struct wm_coordinate {
	double vec[WM_COORDINATE_DIMS]; /* seconds */
	double height, adjustment;	/* seconds */
	double error;
};

struct wm_member {
	/* what each piece of news is compared with: one line of a cache */
	struct wm_peer_id id;
	struct wm_peer_addr at;
	uint32_t incarnation;
	enum wm_member_state state;
	enum wm_member_role role;
	bool self, has_coordinate;
	uint64_t since_ms;  /* of the environment's clock: when it came to this state */
	uint64_t heard_ms;  /* when it last answered us; 0: never */
	uint32_t rtt_us;    /* smoothed round trip of our probes; 0: none yet */
	uint32_t median_us; /* of the last three: one that was long is no news; 0: none yet */
	char name[WM_NODE_NAME_MAX + 1];
	char version[WM_MEMBER_VERSION_MAX + 1];
	struct wm_coordinate coordinate;
	void *carried; /* of whoever carries: NULL at first, untouched here */
};

/* Intervals in milliseconds. The names of a profile's are settings (sync.*). */
struct wm_member_timers {
	unsigned probe_interval, probe_timeout;
	unsigned indirect_probes; /* members asked to probe in our place */
	/* Who answered neither us nor them for so long is suspect. Long: a suspicion is told to
	 * all, and so is its refutation, while to wait for who is paused costs nothing. */
	unsigned patience;
	/* A suspicion lasts from `max` down to `min` as suspicion_confirmations others confirm it;
	 * min = suspicion_min + suspicion_mult x log10(members) x gossip_interval: longer than a
	 * healthy machine pauses, and than news and its refutation travel. */
	unsigned suspicion_min, suspicion_mult;
	unsigned suspicion_max_mult; /* max = min x it */
	unsigned suspicion_confirmations;
	unsigned awareness_max; /* of Lifeguard's local health */
	unsigned gossip_interval, gossip_nodes;
	unsigned gossip_to_dead;  /* how long the dead are still told */
	unsigned retransmit_mult; /* x log10(members + 1): how often news is sent */
	unsigned reap;		  /* failed and left ones are forgotten after it */
};
enum wm_member_profile { WM_MEMBER_LAN, WM_MEMBER_WAN, WM_MEMBER_LOCAL };
const struct wm_member_timers *wm_member_profile(enum wm_member_profile p);

enum wm_member_event {
	WM_MEMBER_JOINED,
	WM_MEMBER_UPDATED, /* address, role, version */
	WM_MEMBER_SUSPECTED,
	WM_MEMBER_REFUTED, /* suspect no more */
	WM_MEMBER_DIED,
	WM_MEMBER_RETURNED,  /* failed or left, and there again */
	WM_MEMBER_RESTARTED, /* another run of it, before anybody missed it */
	WM_MEMBER_WENT,	     /* left */
	WM_MEMBER_REAPED,    /* forgotten: @p m is freed after the call */
};

struct wm_members;
struct wm_members_config {
	const struct wm_env *env;
	struct wm_member_timers timers;
	struct wm_peer_id id; /* our own, and what others are to know of us */
	const char *name, *version;
	struct wm_peer_addr at;
	enum wm_member_role role;
	uint32_t incarnation; /* to begin with: above what a former life used, if it is known */
	void *arg;	      /* of all below */
	/* Send a datagram of WM_MEMBER_PACKET_MAX octets at most. May be lost. */
	void (*send)(void *arg, const struct wm_peer_addr *to, const void *p, size_t len);
	/* Datagrams do not come through: is the agent there by a stream? Answered by
	 * wm_members_stream_probed() with the same number, or not at all. NULL: there are none. */
	void (*probe_stream)(void *arg, const struct wm_member *m, uint32_t number);
	void (*event)(void *arg, struct wm_member *m, enum wm_member_event e);
	/* Another agent that has run for longer has our name or id, and answered: refuse to go on,
	 * and name it. NULL ok. */
	void (*clash)(void *arg, const struct wm_member *other);
	/* What rides on probes and their answers, WM_MEMBER_RIDE_MAX octets at most (digests of the
	 * replica). NULL: nothing. @return octets written. */
	size_t (*ride)(void *arg, void *p, size_t room);
	void (*rode)(void *arg, struct wm_member *from, const void *p, size_t len);
};
#define WM_MEMBER_RIDE_MAX 128 /* octets that ride on a probe */

/** @return NULL without memory. Nothing is sent before wm_members_start(). */
struct wm_members *wm_members_new(const struct wm_members_config *c);
void wm_members_free(struct wm_members *ms); /* NULL ok; no event */
int wm_members_start(struct wm_members *ms);

/** A datagram came. What is malformed is counted and dropped. */
void wm_members_datagram(struct wm_members *ms, const struct wm_peer_addr *from, const void *p,
			 size_t len);
/** The host at @p to answered that nobody listens there (ICMP port unreachable, RST): once another
 *  member confirms it, it is failed without being suspected first. */
void wm_members_refused(struct wm_members *ms, const struct wm_peer_addr *to);
/** A stream to a member broke: look at once, rather than when its turn comes. */
void wm_members_doubt(struct wm_members *ms, const struct wm_peer_id *id);
/** Answer to probe_stream: 0, or a negative errno (-ECONNREFUSED is a refusal). */
void wm_members_stream_probed(struct wm_members *ms, uint32_t number, int err);

/** Append the whole state, for a stream: at a join, and now and then. @return 0, -ENOMEM. */
int wm_members_state(const struct wm_members *ms, struct wm_buf *b);
/** Take another's whole state in. What it has for failed is suspect here, and may refute it.
 *  @return 0; WM_E_INVALID, WM_E_LIMIT, and @p e says what is wrong. */
int wm_members_merge(struct wm_members *ms, const void *p, size_t len, struct wm_err *e);

/** When to exchange states with another again, drawn: @p base in a small mesh, later in a larger
 *  one. @return milliseconds. */
uint64_t wm_members_push_pull_ms(struct wm_members *ms, unsigned base);
/** One that is there and is not us, drawn. NULL: nobody. */
struct wm_member *wm_members_any(struct wm_members *ms);

/** Tell all that we leave; gossip goes on for as long as the caller lets it. */
void wm_members_leave(struct wm_members *ms);
/** Make a failed member one that left (an operator knows that it does not come back), told to all.
 *  @p prune: forget it at once, here and there. @return 0, WM_E_UNKNOWN, WM_E_CONFLICT (it is
 * alive). */
int wm_members_remove(struct wm_members *ms, const char *name, bool prune, struct wm_err *e);
/** Our address or role is another. */
void wm_members_set_self(struct wm_members *ms, const struct wm_peer_addr *at,
			 enum wm_member_role role);

unsigned wm_members_count(const struct wm_members *ms); /* all that are known, with ourselves */
unsigned wm_members_alive(const struct wm_members *ms); /* alive and suspect ones, with ourselves */
struct wm_member *wm_members_self(const struct wm_members *ms);
struct wm_member *wm_members_by_id(const struct wm_members *ms, const struct wm_peer_id *id);
struct wm_member *wm_members_by_name(const struct wm_members *ms, const char *name); /* any case */
/** Walk: *pos = 0 at first, NULL ends; not beside changes. */
struct wm_member *wm_members_next(const struct wm_members *ms, size_t *pos);
/** Seconds between two coordinates, as a round trip. */
double wm_coordinate_distance(const struct wm_coordinate *a, const struct wm_coordinate *b);

/* Counters; every drop has one. X(name, help) makes reference pages. */
#define WM_MEMBER_COUNTERS(X)                                                                      \
	X(probes, "Probes sent to members")                                                        \
	X(probes_failed, "Probes without an answer in time")                                       \
	X(indirect, "Probes in the place of another member")                                       \
	X(refusals, "Hosts that answered that no agent is there")                                  \
	X(suspicions, "Members that became suspect")                                               \
	X(refutations, "Times that others took us for dead and were told otherwise")               \
	X(failures, "Members that failed")                                                         \
	X(packets_in, "Datagrams received")                                                        \
	X(packets_out, "Datagrams sent")                                                           \
	X(octets_in, "Octets of datagrams received")                                               \
	X(octets_out, "Octets of datagrams sent")                                                  \
	X(indirect_busy, "Probes for others refused, as too many are under way")                   \
	X(clashes, "News of members not taken, as their name or id is in use")                     \
	X(malformed, "Datagrams and states that could not be read, dropped")                       \
	X(full, "Members not taken in, as WM_MEMBERS_MAX are known")                               \
	X(far, "News of members dropped, as the incarnation is far from the one known")
struct wm_member_stats {
#define X(name, help) uint64_t name;
	WM_MEMBER_COUNTERS(X)
#undef X
	unsigned awareness; /* Lifeguard's: 0 is healthy */
};
void wm_members_stats(const struct wm_members *ms, struct wm_member_stats *ret);
