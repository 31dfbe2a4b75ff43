/* SPDX-License-Identifier: Apache-2.0 */
/* member_internal.h - the parts of the membership among each other: the table and the rules by
 * which news changes it (member.c, member_rules.c), probes (member_probe.c), news on its way
 * (member_gossip.c), octets (member_wire.c), coordinates (member_coordinate.c). */
#pragma once
#include "member.h"
#include "userspace/base/map.h"
#include "userspace/sync/gossip.pb-c.h"

#include <sys/queue.h>

#define MEMBER_TAGS_MAX	 8	     /* suspectors told of: more confirm nothing more */
#define MEMBER_TIERS_MAX 64	     /* times that news is sent, at most */
#define MEMBER_PROBES	 256	     /* probes under way at a time, with those for others */
#define MEMBER_NEWS_MAX	 32	     /* news in one datagram: the smallest has some 30 octets */
#define MEMBER_ARENA	 (32u << 10) /* octets to read a datagram into: 40 news fit */
/* An incarnation grows by one a refutation: who claims one up here lies. */
#define MEMBER_INCARNATION_MAX 0xf0000000u
#define MEMBER_SAMPLES	       3 /* round trips of which the median counts: Serf's filter */

struct probe;

/* What was heard against a member that is suspect. */
struct doubt {
	struct wm_env_timer *timer;
	uint64_t since_ms;
	unsigned extra_ms; /* for who did not see it: waits for who did */
	uint32_t tags[MEMBER_TAGS_MAX];
	unsigned tags_count;
};

struct node {
	struct wm_member m; /* first: what callers have is this */
	struct wm_members *ms;
	char key[WM_NODE_NAME_MAX + 1]; /* its name in lower case */
	uint64_t life;
	size_t at; /* in ms->nodes */
	struct doubt *doubt;
	struct probe *looked; /* probe of ours that asks for it now */
	bool hidden;	      /* pruned: kept for as long as its end is told */
	bool queued;	      /* news of it is on its way */
	unsigned sent;	      /* times that its news went */
	TAILQ_ENTRY(node) news;
	float samples[MEMBER_SAMPLES]; /* seconds */
	unsigned samples_count;
};
TAILQ_HEAD(node_list, node);

enum probe_kind { PROBE_TURN, PROBE_LOOK, PROBE_RELAY };
enum probe_phase { PROBE_DIRECT, PROBE_ASKED };

struct probe {
	struct wm_members *ms;
	struct node *n; /* NULL: not in use */
	struct wm_env_timer *timer;
	enum probe_kind kind;
	enum probe_phase phase;
	uint32_t number;
	uint64_t sent_ns, due_ms;
	unsigned late;		      /* times that we ourselves were late */
	unsigned nacks_wanted, nacks; /* of those asked in our place */
	uint32_t nack_tags[MEMBER_TAGS_MAX];
	bool refused, confirmed, final; /* by its host; by another; a suspicion is over */
	struct wm_peer_addr asker;	/* of a relayed one, with its number */
	uint32_t asker_number;
};

struct vivaldi {
	struct wm_coordinate c;
	double adjust[20]; /* Serf's window */
	unsigned adjust_at;
};

struct wm_members {
	struct wm_members_config c;
	const struct wm_env *env;
	struct node *self;
	uint64_t life, started_ms;
	struct wm_map *by_id, *by_name;
	struct node **nodes; /* in the order of probes */
	size_t count, cap, turn;
	unsigned alive, failed;
	bool leaving, joins; /* takes the state of a mesh in, alone so far */
	struct wm_env_timer *tick, *gossip, *reap;
	uint64_t tick_due_ms, gossip_last_ms, who_ms;
	bool gossip_armed;
	struct node_list tiers[MEMBER_TIERS_MAX];
	size_t queued, hidden;
	struct probe probes[MEMBER_PROBES];
	uint32_t number, who_number;
	struct vivaldi vivaldi;
	struct wm_member_stats stats;
	_Alignas(16) char arena[MEMBER_ARENA];
};

/* A reader of octets allocates from here, and no more. */
struct arena {
	char *p;
	size_t used, cap;
};

/* What was said of a member, read and found sound. */
struct news {
	struct wm_peer_id id;
	enum _Gossip__Member__State state;
	uint32_t incarnation;
	uint32_t tags[MEMBER_TAGS_MAX];
	unsigned tags_count;
	bool described; /* the following is there */
	char name[WM_NODE_NAME_MAX + 1], version[WM_MEMBER_VERSION_MAX + 1];
	struct wm_peer_addr at;
	enum wm_member_role role;
	uint64_t life;
	uint64_t age_ms;
	bool has_coordinate;
	struct wm_coordinate coordinate;
};

/* --- member.c --- */
struct node *member_find(const struct wm_members *ms, const struct wm_peer_id *id);
struct node *member_named(const struct wm_members *ms, const char *name); /* any case */
/** A member of the mesh that is not known: taken in. NULL: no room. */
struct node *member_add(struct wm_members *ms, const struct news *w);
/** Forget it. @p told: say so. */
void member_forget(struct node *n, bool told);
/** No more in the table, but its end is still told. */
void member_hide(struct node *n);
void member_drop_hidden(struct node *n);
int member_rename(struct node *n, const char *name);
void member_key(const char *name, char ret[static WM_NODE_NAME_MAX + 1]);
void member_event(struct node *n, enum wm_member_event e);
/** One that is there, not @p but, at random. NULL: none was found. */
struct node *member_any(struct wm_members *ms, const struct node *but, bool dead_too);

static inline bool member_there(const struct node *n)
{
	return n->m.state == WM_MEMBER_ALIVE || n->m.state == WM_MEMBER_SUSPECT;
}

/** What stands for a member where its id is too long. */
uint32_t member_tag(const struct wm_peer_id *id);

/* --- member_rules.c --- */
/** @p state: a whole state, not gossip. */
void member_news(struct wm_members *ms, const struct news *w, bool state);
void member_suspect(struct node *n, uint32_t incarnation, const uint32_t *tags, unsigned count);
void member_fail(struct node *n);
/** Who was asked before it is declared failed answered. */
void member_cleared(struct node *n);
void member_doubt_free(struct node *n);
/** Say again of ourselves, above @p incarnation. */
void member_assert_self(struct wm_members *ms, uint32_t incarnation);
unsigned member_suspicion_ms(const struct wm_members *ms, unsigned confirmations);
void member_who(struct wm_members *ms, const struct wm_peer_addr *from, const Gossip__Packet *p);
void member_aware(struct wm_members *ms, int by);

/* --- member_probe.c --- */
int member_probe_start(struct wm_members *ms);
void member_probe_stop(struct wm_members *ms);
/** Ask it now. @p final: it is failed if it does not answer. @return 0, -ENOMEM, -EBUSY. */
int member_look(struct node *n, bool final);
/** How long that takes at most. @return milliseconds. */
unsigned member_look_ms(const struct wm_members *ms);
void member_probe_forget(struct node *n);
void member_asked(struct wm_members *ms, const struct wm_peer_addr *from, const Gossip__Packet *p);
void member_answered(struct wm_members *ms, const struct wm_peer_addr *from,
		     const Gossip__Packet *p);

/* --- member_gossip.c --- */
void member_tell(struct node *n); /* news of it goes out */
void member_untell(struct node *n);
void member_gossip_now(struct wm_members *ms); /* in a turn, not in an interval */
int member_gossip_start(struct wm_members *ms);
/** Send a packet, with news in what room there is. @p to: what it is to know of itself goes first.
 */
void member_send(struct wm_members *ms, const struct wm_peer_addr *at, struct node *to,
		 Gossip__Packet *p);

/* --- member_wire.c --- */
struct packed { /* a Gossip__Member and what it points to */
	Gossip__Member m;
	Gossip__Address at;
	Gossip__Coordinate coordinate;
	float vec[WM_COORDINATE_DIMS];
	uint32_t tags[MEMBER_TAGS_MAX];
};
void member_pack(struct node *n, bool state, struct packed *ret);
void member_pack_coordinate(const struct wm_coordinate *c, Gossip__Coordinate *ret, float *vec);
/** @return false: it is not sound. */
bool member_unpack(const Gossip__Member *m, struct news *ret);
bool member_unpack_coordinate(const Gossip__Coordinate *c, struct wm_coordinate *ret);
bool member_unpack_id(const ProtobufCBinaryData *b, struct wm_peer_id *ret);
ProtobufCAllocator member_allocator(struct arena *a);

/* --- member_coordinate.c --- */
void member_vivaldi_init(struct vivaldi *v);
/** A round trip of @p rtt_s to who says that it is at @p other. */
void member_vivaldi_take(const struct wm_env *env, struct vivaldi *v, struct node *n,
			 const struct wm_coordinate *other, double rtt_s);
