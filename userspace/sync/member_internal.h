/* SPDX-License-Identifier: Apache-2.0 */
/* member_internal.h - the parts of the membership among each other: the table and the rules by
 * which news changes it (member.c, member_rules.c), probes (member_probe.c), news on its way
 * (member_gossip.c), octets (member_octets.c, member_state.c), coordinates (member_coordinate.c).
 */
#pragma once
#include "member.h"
#include "userspace/base/map.h"
#include "userspace/sync/gossip.pb-c.h"

#include <sys/queue.h>

#define MEMBER_LINE	 64  /* octets of a line of a cache */
#define MEMBER_TAGS_MAX	 8   /* suspectors told of: more confirm nothing more */
#define MEMBER_TIERS_MAX 64  /* times that news is sent, at most */
#define MEMBER_PROBES	 256 /* probes under way at a time, with those for others */
#define MEMBER_NEWS_MAX	 32  /* news in one datagram: the smallest has some 30 octets */
#define MEMBER_NEWS_READ 80  /* news read from one: with an id it has 20 octets */
#define MEMBER_OCTETS	 512 /* octets of a member, at most */
/* Incarnations are compared in a circle (RFC 1982), so that there is one above each: none can be
 * told of a member that it cannot refute. What is farther from what is known is not believed, for
 * who missed it could not tell what follows from what is old. In seconds: 34 years. */
#define MEMBER_INCARNATION_FAR (1 << 30)
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
	_Alignas(MEMBER_LINE) struct wm_member m; /* first: what callers have is this */
	_Alignas(MEMBER_LINE) struct wm_members *ms;
	struct doubt *doubt;
	struct probe *looked; /* probe of ours that asks for it now */
	TAILQ_ENTRY(node) news;
	size_t at;	/* in ms->nodes */
	uint8_t sent;	/* times that its news went: below MEMBER_TIERS_MAX */
	bool hidden;	/* pruned: kept for as long as its end is told */
	bool queued;	/* news of it is on its way */
	uint16_t asked; /* probes of it, with those for others */
	uint64_t life;
	char key[WM_NODE_NAME_MAX + 1]; /* its name in lower case */
	float samples[MEMBER_SAMPLES];	/* seconds */
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
	struct node_list tiers[MEMBER_TIERS_MAX]; /* by how often they were told, */
	uint64_t told;				  /* and a bit for each that is not empty */
	size_t queued, hidden;
	struct probe probes[MEMBER_PROBES];
	uint32_t number, who_number;
	struct vivaldi vivaldi;
	struct wm_member_stats stats;
};

struct octets {
	const uint8_t *p;
	size_t len;
};

/* A datagram; what it points to is of the one that was read, or lasts until it is sent. */
struct packet {
	int kind; /* enum _Gossip__Packet__Kind, or unknown */
	uint32_t number;
	struct wm_peer_id from, target;
	bool has_target, has_coordinate;
	struct wm_coordinate coordinate;
	struct octets ride, who;
	uint64_t up_ms;
	unsigned news_count;
	struct octets news[MEMBER_NEWS_READ]; /* of one that was read */
};
static inline void packet_init(struct packet *k, enum _Gossip__Packet__Kind kind)
{
	memset(k, 0, offsetof(struct packet, news));
	k->kind = (int)kind;
}

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
/** One that is there, not @p but, at random. NULL: there is none. */
struct node *member_any(struct wm_members *ms, const struct node *but, bool dead_too);

static inline bool member_newer(uint32_t incarnation, uint32_t than)
{
	return (int32_t)(incarnation - than) > 0;
}

static inline bool member_far(uint32_t incarnation, uint32_t from)
{
	int32_t d = (int32_t)(incarnation - from);

	return d > MEMBER_INCARNATION_FAR || d < -MEMBER_INCARNATION_FAR;
}

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
void member_who(struct wm_members *ms, const struct wm_peer_addr *from, const struct packet *k);
void member_aware(struct wm_members *ms, int by);

/* --- member_probe.c --- */
int member_probe_start(struct wm_members *ms);
void member_probe_stop(struct wm_members *ms);
/** Ask it now. @p final: it is failed if it does not answer. @return 0, -ENOMEM, -EBUSY. */
int member_look(struct node *n, bool final);
/** How long that takes at most. @return milliseconds. */
unsigned member_look_ms(const struct wm_members *ms);
void member_probe_forget(struct node *n);
void member_asked(struct wm_members *ms, const struct wm_peer_addr *from, const struct packet *k);
void member_answered(struct wm_members *ms, const struct wm_peer_addr *from,
		     const struct packet *k);

/* --- member_gossip.c --- */
void member_tell(struct node *n); /* news of it goes out */
void member_untell(struct node *n);
void member_gossip_now(struct wm_members *ms); /* in a turn, not in an interval */
int member_gossip_start(struct wm_members *ms);
/** Send a packet, with news in what room there is. @p to: what it is to know of itself goes first.
 */
void member_send(struct wm_members *ms, const struct wm_peer_addr *at, struct node *to,
		 struct packet *k);

/* --- member_octets.c --- */
enum member_detail {
	MEMBER_NEWS,
	MEMBER_STATE,	/* all of it, with its age */
	MEMBER_AS_ALIVE /* whatever it is */
};
/** @return octets written. */
size_t member_write(const struct node *n, enum member_detail d, uint8_t ret[static MEMBER_OCTETS]);
/** It as a field of a message. @p ret: @p len and 3 octets more. */
size_t member_write_field(unsigned field, const void *octets, size_t len, uint8_t *ret);
/** What stands before the news of a datagram, and behind it. */
size_t member_write_head(const struct packet *k, uint8_t *ret);
size_t member_write_tail(const struct packet *k, uint8_t *ret);
/** @return false: it cannot be read, or is not sound. */
bool member_read(struct octets in, struct news *ret);
bool member_read_packet(const void *p, size_t len, struct packet *ret);
/** The next member of a state; at the end @p ret->p is NULL. @return false: it cannot be read. */
bool member_read_state(struct octets *in, struct octets *ret);

/* --- member_coordinate.c --- */
void member_vivaldi_init(struct vivaldi *v);
/** A round trip of @p rtt_s to who says that it is at @p other. */
void member_vivaldi_take(const struct wm_env *env, struct vivaldi *v, struct node *n,
			 const struct wm_coordinate *other, double rtt_s);
bool member_coordinate_sound(const struct wm_coordinate *c);
