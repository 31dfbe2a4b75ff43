/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - the parts of an agent's mesh among each other: streams (link.c), the registry's side
 * (objects.c), who was a member before (seeds.c). Inside sync/ only. */
#pragma once
#include "sync.h"
#include "userspace/base/map.h"

#include <sys/queue.h>

struct wm_links;
struct wm_objects;
struct wm_strays;
struct wm_forwards;
struct wm_seeds;
struct wm_verify;
struct wm_leaf;
struct wm_keyring;
struct wm_keyrings;
struct wm_proofs;
struct wm_proofs_kept;
struct wm_tls;
struct wm_http_client;
struct wm_datagram;

/* What a frame is; its first octet. Numbers are on the wire: new ones are appended. */
enum wm_channel {
	WM_CHANNEL_HELLO = 1,	/* the first frame of each side */
	WM_CHANNEL_STATE,	/* all members that one knows; answered with the other's */
	WM_CHANNEL_STATE_REPLY, /* answer to it */
	WM_CHANNEL_TREE,	/* news is wanted over this stream (spread.h) */
	WM_CHANNEL_UNTREE,	/* no more */
	WM_CHANNEL_SPREAD,
	WM_CHANNEL_REPLICA,
	WM_CHANNEL_REQUEST, /* something to be done by the owner of an object, see forward.h */
	WM_CHANNEL_REPLY,
	WM_CHANNEL_PAUSE,  /* its agent stops and comes back; also spread as news */
	WM_CHANNEL_VERIFY, /* what have you? see verify.h */
	WM_CHANNEL_VERIFY_REPLY,
	WM_CHANNEL_KEYRING, /* tell, or change, your keys: see keyring.h */
	WM_CHANNEL_KEYRING_REPLY,
	WM_CHANNEL_NEWS,     /* a leaf's, to be spread by its home */
	WM_CHANNEL_INTEREST, /* of a leaf, see interest.proto */
	WM_CHANNEL_NEWS_OF,  /* what it is interested in */
};

/* What is spread to all; the first octet of a message. */
enum wm_news {
	WM_NEWS_CHANGES = 1, /* of the replica */
	WM_NEWS_PAUSE,	     /* an agent stops and comes back */
};

struct wm_sync {
	struct wm_sync_config c;
	const struct wm_env *env;
	struct wm_peer_id id;
	struct wm_members *members;
	struct wm_spread *spread;
	struct wm_replica *replica;
	struct wm_links *links;
	struct wm_objects *objects;
	struct wm_strays *strays;
	struct wm_bands *bands;
	struct wm_forwards *forwards;
	struct wm_seeds *seeds;
	struct wm_verify *verify;
	struct wm_leaf *leaf; /* NULL: etcd carries */
	struct wm_conflicts *conflicts;
	struct wm_waits *waits;
	struct wm_keyring *keyring; /* NULL: insecure */
	struct wm_keyrings *keyrings;
	struct wm_proofs *proofs; /* NULL: etcd carries */
	struct wm_proofs_kept *proofs_kept;
	struct wm_datagram *socket;
	struct wm_etcd *etcd; /* NULL: peers carry, and all above */
	struct wm_etcd_kept *etcd_kept;
	struct wm_http_client *http;
	struct wm_env_timer *push_pull, *certificate;
	struct wm_sync_stats stats;
	bool started, paused;
};

#define WM_SYNC_CERTIFICATE_DAYS 14	    /* days left from which on it is told of */
#define WM_SYNC_STATE_MAX	 (4u << 20) /* octets of all members: WM_MEMBERS_MAX of some 200 */
#define WM_SYNC_HELLO_MAX	 1024	    /* octets of a hello */
#define WM_SYNC_REQUEST_MAX                                                                        \
	(WM_HTTP_BODY_MAX + WM_HTTP_HEADERS_MAX + 1024) /* octets of a request passed on */
/** Tell all. @return 0, -ENOMEM, -EMSGSIZE. */
int wm_sync_news(struct wm_sync *s, enum wm_news kind, const void *p, size_t len);

/** An agent says that it stops and comes back. @p tell: pass it on to all. */
void wm_sync_paused(struct wm_sync *s, const uint8_t *p, size_t len, bool tell);

/** May a frame of this channel carry so many octets? bounds.c has how many. @return 0; WM_E_LIMIT:
 *  @p e names the channel and its bound. */
int wm_sync_frame_check(uint8_t channel, size_t len, struct wm_err *e);

/* --- link.c: streams, one in use for each member that something is to be said to --- */
int wm_links_new(struct wm_sync *s, struct wm_links **ret, struct wm_err *e);
int wm_links_start(struct wm_links *l, struct wm_err *e);
void wm_links_free(struct wm_links *l); /* NULL ok */
/** Send a frame, over a stream that is opened if there is none. What has no room is dropped and
 *  counted: whoever lacks it finds out by comparison. */
void wm_link_send(struct wm_links *l, const struct wm_peer_id *to, enum wm_channel ch,
		  const void *p, size_t len);
/** News is to come over a stream to this member, or no more. */
void wm_link_want(struct wm_links *l, const struct wm_peer_id *id, bool on);
/** Is the agent there? Answers through wm_members_stream_probed(). */
void wm_link_probe(struct wm_links *l, const struct wm_member *m, uint32_t number);
/** Exchange members with whoever is at @p to. @p done is called once, unless it is freed before. */
int wm_link_greet(struct wm_links *l, const struct wm_peer_addr *to,
		  void (*done)(void *arg, int err, const char *why), void *arg);
/** The same to every member that a stream stands to. */
void wm_link_send_all(struct wm_links *l, enum wm_channel ch, const void *p, size_t len);
/** A member went: end its streams. */
void wm_link_drop(struct wm_links *l, const struct wm_peer_id *id);
/** NULL: insecure. Borrowed. */
struct wm_tls *wm_links_tls(const struct wm_links *l);
/** Whole days that our certificate is valid; INT64_MAX without one. */
int64_t wm_links_days(const struct wm_links *l);
bool wm_links_next(const struct wm_links *l, size_t *pos, struct wm_sync_peer *ret);
const struct wm_frames_stats *wm_links_frames(const struct wm_links *l);

/* --- bands.c: how far nodes are --- */
struct wm_bands;
/* @return NULL without memory. Looks begin at once. */
struct wm_bands *wm_bands_new(struct wm_sync *s);
void wm_bands_free(struct wm_bands *b); /* NULL ok */
/* --- bands_kept.c: how far they were, in the data directory, which there is --- */
struct wm_bands_kept;
struct wm_bands_kept *wm_bands_kept_new(const struct wm_sync *s); /* NULL without memory */
void wm_bands_kept_free(struct wm_bands_kept *k);		  /* NULL ok */
/** Write what the registry says now, soon. */
void wm_bands_keep(struct wm_bands_kept *k);

/* --- proofs.c: whose key proves a log --- */
int wm_proofs_new(struct wm_sync *s, struct wm_proofs **ret, struct wm_err *e);
void wm_proofs_free(struct wm_proofs *p); /* NULL ok; behind the replica */
const struct wm_replica_proofs *wm_proofs_calls(const struct wm_proofs *p);
/* As octets, behind what @p b has. @return false: no room, then nothing was added. */
bool wm_proofs_kept_write(const struct wm_replica_proved *k, struct wm_buf *b);
/* Give the replica what fits what it recovered; what cannot be read ends it. @return logs. */
unsigned wm_proofs_kept_read(struct wm_replica *r, const void *p, size_t len);

/* --- proofs_kept.c: what was proved of logs, over a restart --- */
#define WM_PROOFS_KEPT_MAX (16u << 20) /* octets: 10,000 logs whose certificates are of ECDSA */
/* Once the replica has all that the store has. @return 0, -ENOMEM. */
int wm_proofs_kept_new(struct wm_sync *s, struct wm_err *e);
void wm_proofs_kept_free(struct wm_proofs_kept *k); /* NULL ok; before the replica */

/* --- objects.c: the registry's side of the replica --- */
int wm_objects_new(struct wm_sync *s, struct wm_objects **ret, struct wm_err *e);
void wm_objects_free(struct wm_objects *o); /* NULL ok */
/** A member's node is alive or failed, as we see it. */
void wm_objects_alive(struct wm_objects *o, const struct wm_peer_id *id, const char *name,
		      bool alive);
/** Its agent stops and comes back within @p ms: do not take the node for failed before. */
void wm_objects_pause(struct wm_objects *o, const struct wm_peer_id *id, uint64_t ms);
/** It left for good. */
void wm_objects_forget(struct wm_objects *o, const struct wm_peer_id *id);

/** What an object is found by among those of all origins. @return octets of it. */
#define WM_OBJECT_KEY_MAX                                                                          \
	(1 + sizeof(struct wm_peer_id) + WM_NODE_NAME_MAX + 1 + WM_INSTANCE_ID_MAX)
size_t wm_objects_key(char ret[WM_OBJECT_KEY_MAX], bool shared, const struct wm_peer_id *origin,
		      const char *node, const char *id);
/** How long the oldest change of others waits for the store; 0: none does. */
uint64_t wm_objects_waits_ms(const struct wm_objects *o);

/* For who carries: see wm_replica_config. @p arg is the struct wm_objects. */
int wm_objects_read(void *arg, const struct wm_peer_id *origin, bool shared,
		    const struct wm_replica_key *k, struct wm_buf *b);
int wm_objects_take(void *arg, const struct wm_replica_change *c, unsigned count);
/** Shared objects that we wrote while our clock was ahead are written anew, with its time now: an
 *  operator says that it is right. @param ret_count of them. @return 0; WM_E_BUSY (the rest stays),
 *  -ENOMEM; @p e says which. */
int wm_objects_mend(struct wm_objects *o, unsigned *ret_count, struct wm_err *e);
void wm_objects_conflict(void *arg, const struct wm_replica_change *won,
			 const struct wm_replica_change *lost);
void wm_objects_alarm(void *arg, const struct wm_peer_id *about, const char *sentence);

/* --- strays.c: nodes that are in no membership --- */
#define WM_SYNC_STRAYS_MAX (1u << 20)	  /* more nodes than there can be */
int wm_strays_start(struct wm_sync *s);	  /* 0, negative errno */
void wm_strays_free(struct wm_strays *k); /* NULL ok */

/* --- operate.c --- */
int wm_operate_new(struct wm_sync *s, struct wm_err *e);

/* --- replicated.c --- */
struct wm_waits *wm_waits_new(struct wm_sync *s); /* NULL without memory */
void wm_waits_free(struct wm_waits *w);		  /* NULL ok; who waits is told */
void wm_waits_position(struct wm_waits *w, const struct wm_peer_id *from, uint32_t epoch,
		       uint64_t seq);

/* --- leaf.c, leaf_serve.c: leaves, and who serves them --- */
int wm_leaf_new(struct wm_sync *s, struct wm_err *e);
int wm_leaf_start(struct wm_leaf *l, struct wm_err *e);
void wm_leaf_free(struct wm_leaf *l); /* NULL ok; who waits is told */
/** Messages that came. @return what is wrong, NULL: nothing. */
const char *wm_leaf_asked(struct wm_leaf *l, const struct wm_peer_id *from, const void *p,
			  size_t len);
const char *wm_leaf_told(struct wm_leaf *l, const struct wm_peer_id *from, const void *p,
			 size_t len);
/** News of a leaf, which is spread in its place. */
const char *wm_leaf_news(struct wm_leaf *l, const struct wm_peer_id *from, const void *p,
			 size_t len);
/** Of a leaf: milliseconds since its home said something, or since the start. @return whether there
 *  is a home that is alive. */
bool wm_leaf_contact(struct wm_leaf *l, uint64_t *ret_ms);
/** News of ours to the home. @return -ENOTCONN: there is none. */
int wm_leaf_spread(struct wm_leaf *l, enum wm_news kind, const void *p, size_t len);
/** Something became of a member. NULL ok. */
void wm_leaf_up(struct wm_leaf *l, const struct wm_member *m);
/** A stream to a member broke, or it is gone. NULL ok. */
void wm_leaf_down(struct wm_leaf *l, const struct wm_peer_id *id);
/** A change of our own or a shared one was told to the replica. NULL ok. */
void wm_leaf_logged(struct wm_leaf *l, const char *node, const char *id);
static inline bool wm_sync_is_leaf(const struct wm_sync *s)
{
	return !s->c.by_etcd && s->c.role == WM_MEMBER_LEAF;
}

/* --- forward.c --- */
struct wm_forwards *wm_forwards_new(struct wm_sync *s);
void wm_forwards_free(struct wm_forwards *f); /* NULL ok; who waits is told */
/** @return 0, WM_E_INVALID: it cannot be read. */
int wm_forwards_request(struct wm_forwards *f, const struct wm_peer_id *from, const void *p,
			size_t len);
/** A member failed or left: who waits for its answer is told so. NULL ok. */
void wm_forwards_gone(struct wm_forwards *f, const struct wm_peer_id *owner);
int wm_forwards_reply(struct wm_forwards *f, const struct wm_peer_id *from, const void *p,
		      size_t len);

/* --- keyring.c --- */
/** Read the ring: what was kept of changes, if the operator's file still says what they changed. */
int wm_keyrings_new(struct wm_sync *s, struct wm_keyrings **ret, struct wm_err *e);
void wm_keyrings_free(struct wm_keyrings *k); /* NULL ok; who waits is told */
/** Messages that came. @return what is wrong, NULL: nothing. */
const char *wm_keyrings_asked(struct wm_keyrings *k, const struct wm_peer_id *from, const void *p,
			      size_t len);
const char *wm_keyrings_answered(struct wm_keyrings *k, const struct wm_peer_id *from,
				 const void *p, size_t len);

/* --- by_etcd.c --- */
int wm_by_etcd_new(struct wm_sync *s, struct wm_objects *o, struct wm_err *e);
void wm_by_etcd_free(struct wm_sync *s);
bool wm_by_etcd_alive(const struct wm_sync *s, const struct wm_peer_id *id);
bool wm_by_etcd_next(struct wm_sync *s, size_t *pos, struct wm_sync_node *ret);

/* --- seeds.c: who to begin with --- */
int wm_seeds_new(struct wm_sync *s, struct wm_seeds **ret, struct wm_err *e);
void wm_seeds_free(struct wm_seeds *k); /* NULL ok */
/** When streams were last up, as of the run before; 0: not known. */
uint64_t wm_seeds_contact_ms(const struct wm_seeds *k);
/** When this agent was in step with another, the same. */
uint64_t wm_seeds_step_ms(const struct wm_seeds *k);
void wm_seeds_start(struct wm_seeds *k);
/** One that is tried while this agent is alone, of sync.join or else of sync.join_file. Borrowed;
 *  NULL: there is none. */
const char *wm_seeds_first(const struct wm_seeds *k);
/** Why the last attempt failed; "". Borrowed for the turn. */
const char *wm_seeds_why(const struct wm_seeds *k);
/** Members are others than they were: keep them, soon. */
void wm_seeds_changed(struct wm_seeds *k);
/** Resolve and greet. */
int wm_seeds_join(struct wm_seeds *k, const char *to, wm_sync_joined done, void *arg,
		  struct wm_err *e);
