/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - one check at run, and the table of kinds. A new kind is a value of wm_check_kind, a
 * source file with its struct wm_probe_kind, and its line in health.c's table. Inside health/ only.
 * Threading: loop thread only. */
#pragma once
#include "health.h"
#include "scheduler.h"
#include "userspace/base/map.h"
#include "userspace/net/http_client.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct wm_prober;

struct wm_probe_kind {
	/* Take over the definition of p->check; called for a new or redefined check, never while a
	 * probe is in flight. */
	void (*prepare)(struct wm_prober *p);
	/* Start a probe. Ends in wm_prober_done() or wm_prober_skip(), maybe before it returns.
	 * NULL: the kind does not probe but waits for heartbeats; then `due` is not NULL. */
	void (*start)(struct wm_prober *p, uint64_t timeout_ms);
	/* Stop the probe in flight without a result. */
	void (*cancel)(struct wm_prober *p);
	/* p->limit came due while the probe was in flight. NULL if the kind keeps no deadline. */
	void (*timeout)(struct wm_prober *p);
	/* p->run came due. */
	void (*due)(struct wm_prober *p, uint64_t now_ms);
	/* Give up what prepare took; the definition goes. May be NULL. */
	void (*forget)(struct wm_prober *p);
	/* Why it may not run on this agent: then it is critical for that reason, and nothing is
	 * started. NULL: it may. */
	const char *(*refusal)(const struct wm_prober *p);
};
extern const struct wm_probe_kind wm_probe_ttl, wm_probe_tcp, wm_probe_http, wm_probe_udp,
	wm_probe_alias, wm_probe_script, wm_probe_os_service, wm_probe_grpc, wm_probe_h2ping;

struct wm_prober {
	struct wm_health *h;
	struct wm_check *check; /* current object; the registry may replace it */
	const struct wm_probe_kind *kind;
	struct wm_due run;	/* next probe; TTL: when it expires */
	struct wm_due limit;	/* deadline of the probe in flight */
	struct wm_due reap;	/* when the instance is removed */
	uint64_t shape;		/* hash of the definition: what a change of restarts it */
	unsigned passes, fails; /* results in a row */
	bool flying, queued;
	struct wm_flap *flap; /* NULL: its status has not changed yet */
	bool shifted;	      /* moved after a standstill; not again before it has run */
	struct wm_http_call *call;
	struct wm_lookup *lookup;
	struct wm_child *child;
	struct wm_io *io;
	int fd;
	sa_family_t family; /* of addr; 0: target is a host name */
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr;
	TAILQ_ENTRY(wm_prober) waiting; /* in health's queue; alias: in its target's list */
	TAILQ_ENTRY(wm_prober) looking; /* alias: in health's list of stale ones */
	bool stale;
	struct wm_alias *alias; /* of an alias; NULL: none, or no memory for it */
	uint64_t better_ms;	/* alias: when its status last got better */
	uint64_t critical_ms;	/* since when the check is critical; 0: it is not */
	uint64_t reap_after_ms; /* what `reap` was scheduled by */
	size_t key_len;
	char key[]; /* node and id of the check */
};
TAILQ_HEAD(wm_probers, wm_prober);

/* What an alias looks at: an instance, or the node. There as long as an alias names it. */
struct wm_alias {
	struct wm_probers followers;
	TAILQ_ENTRY(wm_alias) walk; /* of a walk's next targets */
	uint64_t round;		    /* of the walk that has been here */
	char id[];		    /* "" is the node */
};
TAILQ_HEAD(wm_aliases, wm_alias);

/* Of a check whose status has changed. */
struct wm_flap {
	uint64_t at_ms[WM_FLAP_CHANGES_MAX + 1]; /* ring: when the results changed */
	unsigned changes;			 /* so far; the next goes to changes % ring */
	uint64_t steady_ms;			 /* since when results are what they are */
	uint64_t hold_ms, released_ms;		 /* released: 0 never */
	enum wm_status last;			 /* result */
	bool held;
};

struct wm_health {
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_health_config config;
	struct wm_http_client *http;
	struct wm_children *children;
	struct wm_schedule *schedule;
	struct wm_map *probers;	 /* by check id */
	struct wm_probers queue; /* due, waiting for a free place */
	uint64_t phase;		 /* of the check that was placed last: wm_schedule_phase() */
	struct wm_due pump;	 /* scheduled while the queue can move on */
	bool pumping;
	struct wm_map *aliases;	 /* struct wm_alias by id */
	struct wm_probers stale; /* aliases that must look again */
	struct wm_due look;	 /* scheduled when there are more than one turn takes */
	uint64_t alias_round;
	struct wm_env_timer *retry; /* armed while checks are unstarted */
	struct wm_health_stats stats;
	char text[WM_CHECK_OUTPUT_MAX + 1]; /* scratch for outputs */
};

/** Milliseconds of the clock that checks run by. */
static inline uint64_t wm_health_ms(const struct wm_health *h)
{
	return wm_env_ms(h->config.env);
}
/** There was no memory to run a check: it is tried again in a while. */
void wm_health_unstarted(struct wm_health *h);
/** A check of the instance @p id ("" is the node) or its set of checks is another: aliases of it
 * will look again at the end of the turn. Cost O(1). */
void wm_alias_changed(struct wm_health *h, const char *id);
/** The same for every alias there is: checks of the node count for each instance. */
void wm_alias_all_changed(struct wm_health *h);
/** Turn-end hook: let those look again. */
bool wm_alias_turn_end(void *health);
/** What `systemctl show` said of a unit, as a status and a sentence. Pure. */
enum wm_status wm_unit_judge(const char *unit, const char *text, char *ret, size_t cap);
/** Status in a gRPC answer of grpc.health.v1.Health/Check, framed, in @p ret: 1 is SERVING.
 *  @return false: it is no such answer. Pure; reads @p n octets at most. */
bool wm_grpc_serving(const uint8_t *p, size_t n, uint64_t *ret);
/** What a server of HTTP/2 has said so far: above 0 it answered our ping, 0 it has not yet, below 0
 * a negative errno and in @p ret_why what is wrong, static. Pure. */
int wm_h2_heard(const void *data, size_t len, const char **ret_why);
/** Interval in force. */
uint64_t wm_prober_interval_ms(const struct wm_prober *p);
/* --- flap.c --- */
/** What becomes of result @p s, thresholds applied: getting worse always counts at once; getting
 * better waits while the check is held, then it is the status that the check has, and @p note says
 * why.
 *  @p note is "" otherwise. */
enum wm_status wm_flap_judge(struct wm_prober *p, enum wm_status s, uint64_t now_ms, char *note,
			     size_t cap);
void wm_flap_forget(struct wm_prober *p); /* as if its status had never changed */
/** Timeout in force. */
uint64_t wm_prober_timeout_ms(const struct wm_prober *p);
/** Octets kept of an output: what the check says, WM_CHECK_OUTPUT_MAX at most. */
unsigned wm_prober_output_max(const struct wm_prober *p);
/** A probe ended with a result; output is a format, cut at WM_CHECK_OUTPUT_MAX. */
void wm_prober_done(struct wm_prober *p, enum wm_status s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** A probe could not be made for reasons of our own, which say nothing about the instance. */
void wm_prober_skip(struct wm_prober *p);
/** True for errors (negative errno) that mean this host is short of something. */
bool wm_probe_own_fault(int err);
/** Hand a status to the registry at once and count. @return 0 or -ENOMEM. */
int wm_prober_report(struct wm_prober *p, enum wm_status s, const char *output);
/** A TTL check: its next heartbeat is due a TTL from @p now_ms, and may be late by the grace. */
void wm_ttl_await(struct wm_prober *p, uint64_t now_ms);
/** Make @p s valid UTF-8 without control characters but tab and line ends, in place: what a probed
 *  server sends is shown to people and put into JSON. @p len octets, NUL follows. */
void wm_probe_clean(char *s, size_t len);
