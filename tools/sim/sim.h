/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h - a mesh of many agents in one process: the cores of userspace/sync under a virtual clock,
 * and a model of the network between them. All chance follows from one seed, so that the same
 * scenario, number of nodes and seed give the same octets. One thread. */
#pragma once
#include "userspace/base/env.h"
#include "userspace/sync/member.h"
#include "userspace/sync/replica.h"
#include "userspace/sync/spread.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_GROUPS    16 /* groups of nodes that are cut from each other */
#define SIM_REGIONS   32
#define SIM_NODES_MAX 20000
#define SIM_GOALS_MAX 16
#define SIM_NAME_MAX  31
#define SIM_NEVER     UINT64_MAX
#define SIM_WALL_MS   1767225600000ull /* the beginning of 2026, when the simulation begins */

/* --- scenario.c: a file of lines "name value" ---------------------------------------------------
 */
/* X(name, default, help); microseconds, milliseconds or what the name says */
#define SIM_NUMBERS(X)                                                                             \
	X(nodes, 100, "agents; --nodes is stronger")                                               \
	X(view, 0, "members that each is told of; 0: all")                                         \
	X(replica, 0, "1: a replica on top, and what it stores")                                   \
	X(brake_pct, 0, "of the replica; 0: its own")                                              \
	X(links, 0, "links that a node asks for; 0: the core's")                                   \
	X(far, 0, "of these far ones; 0: the core's")                                              \
	X(knows_distance, 1, "1: the core is told round trips")                                    \
	X(delay_us, 500, "one way between two nodes of a region")                                  \
	X(jitter_us, 100, "mean of an exponential part of it")                                     \
	X(regions, 1, "regions that nodes are spread over")                                        \
	X(between_min_us, 20000, "one way between two regions, drawn for each pair")               \
	X(between_max_us, 140000, "and at most")                                                   \
	X(loss_pct, 0, "packets lost")                                                             \
	X(rto_ms, 200, "until a stream sends a lost packet again, doubled each time")              \
	X(octets_per_s, 125000000, "that a node can send")                                         \
	X(stream_timeout_ms, 10000, "until a stream through a cut is broken")                      \
	X(member, 0, "1: who is there is found by the membership's own core")                      \
	X(member_wan, 0, "1: with the timers for wide areas")                                      \
	X(detect_ms, 3000, "without it, until who is gone or cut is no member any more")           \
	X(push_pull_ms, 30000, "between exchanges of whole states, in a small mesh")               \
	X(twice_pct, 0, "datagrams that come twice")                                               \
	X(late_pct, 0, "datagrams that others overtake,")                                          \
	X(late_ms, 20, "by up to so much")                                                         \
	X(clock_offset_ms, 0, "wall clocks are off by up to so much")                              \
	X(warm, 20, "messages before the measured ones")                                           \
	X(messages, 50, "messages that are measured")                                              \
	X(interval_ms, 1000, "between two of them")                                                \
	X(payload, 200, "octets of a message")                                                     \
	X(settle_ms, 5000, "at the end, for the last one")                                         \
	X(pause_pct, 0, "nodes that stand still at any time")                                      \
	X(pause_min_ms, 0, "for at least")                                                         \
	X(pause_max_ms, 2000, "and at most, drawn")                                                \
	X(churn_per_min, 0, "nodes that are killed and started again a minute")                    \
	X(watch_s, 0, "who is taken for failed is watched for so long, instead of messages")       \
	X(kills, 0, "agents that are killed meanwhile, one after another,")                        \
	X(kill_silent, 0, "1: with their hosts, which say no more")                                \
	X(kill_every_ms, 10000, "between two")                                                     \
	X(down_ms, 20000, "until a killed one is started again")                                   \
	X(overloaded_pct, 0, "nodes that stand still again and again:")                            \
	X(still_ms, 3000, "so long on average,")                                                   \
	X(runs_ms, 300, "and run so long between")                                                 \
	X(fulls, 0, "full members, the others are leaves; 0: all are full")                        \
	X(observed, 100, "leaves that know all members, and are measured")                         \
	X(interests, 50, "services that each leaf is interested in,")                              \
	X(services, 20000, "of so many")                                                           \
	X(instances, 50, "instances of each")                                                      \
	X(schedules, 0, "random schedules of partitions instead, each with its own seed")          \
	X(schedule_ms, 20000, "length of each before the network is whole again")                  \
	X(heal_ms, 2000, "after it all have the same")
struct sim_goal {
	char figure[SIM_NAME_MAX + 1];
	double at_most;
};
struct sim_scenario {
#define X(name, def, help) unsigned name;
	SIM_NUMBERS(X)
#undef X
	struct sim_goal goals[SIM_GOALS_MAX];
	unsigned goals_count;
	char what[128]; /* for the table */
};
/** @return 0, -1: it cannot be read, told on stderr. */
int sim_scenario_read(struct sim_scenario *ret, const char *file);

/* --- clock.c: events in a heap ------------------------------------------------------------------
 */
struct sim;
struct sim_event {
	uint32_t slot; /* while it is in the heap; SIM_IDLE: it is not */
	int node;      /* whose processor it needs; -1: nobody's */
	void (*fn)(void *arg);
	void *arg;
};
struct sim_due {
	uint64_t at_ns;
	uint64_t order : 40, slot : 24;
	struct sim_event *event;
};
#define SIM_IDLE UINT32_MAX
void sim_event_init(struct sim_event *e, int node, void (*fn)(void *arg), void *arg);
void sim_at(struct sim *s, struct sim_event *e, uint64_t at_ns);
void sim_cancel(struct sim *s, struct sim_event *e);
/** Run what is due until then. */
void sim_run(struct sim *s, uint64_t until_ns);
uint64_t sim_random(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n);
double sim_unit(struct sim *s); /* in [0, 1) */
/** The environment of one node. */
void sim_env_init(struct sim *s, struct wm_env *env, int node);

/* --- network.c ----------------------------------------------------------------------------------
 */
enum sim_channel { SIM_TREE, SIM_UNTREE, SIM_SPREAD, SIM_REPLICA, SIM_ASK, SIM_NEWS_OF };
struct sim_stream;
void sim_want(struct sim *s, int a, int b, bool on);
void sim_send(struct sim *s, int a, int b, enum sim_channel ch, const void *p, size_t len);
/** All streams of a node that went; @p silent: as the host went too, nobody tells the others. */
void sim_break_all(struct sim *s, int a, bool silent);
/** The streams between two that are no members to each other any more. */
void sim_break(struct sim *s, int a, int b);
bool sim_cut(const struct sim *s, int from, int to);
uint32_t sim_delay_us(const struct sim *s, int a, int b); /* without its jitter */
/** Tell on stderr to whom it has streams. */
void sim_streams_tell(const struct sim *s, int a);
void sim_network_free(struct sim *s);
/** A time to cross from one to the other, drawn; and what losses cost a stream. */
uint64_t sim_delay_ns(struct sim *s, int a, int b);
uint64_t sim_losses_ns(struct sim *s, int a, int b);

/* --- node.c -------------------------------------------------------------------------------------
 */
struct sim_node {
	struct sim *s;
	int at;
	bool alive;
	unsigned group, region;
	struct wm_peer_id id;
	struct wm_env env;
	int64_t clock_ms;	      /* of its wall clock, beside the true time */
	uint64_t paused_ns, sends_ns; /* stands still, and its line is busy, until then */
	uint64_t started_ns, died_ns;
	uint32_t incarnation; /* of this life */
	bool silent;	      /* its host went too */
	bool overloaded;
	unsigned killed; /* 1 + the measured death that it died; 0: none */
	struct wm_spread *spread;
	struct wm_replica *replica;
	struct wm_members *members;
	struct sim_event greet, push_pull, stall;
	struct sim_objects *objects;
	struct sim_leaf *leaf;
	uint64_t in_octets, out_octets; /* carried by streams and datagrams */
	struct sim_event lost, found;	/* when it looks who is there: of who went, of who came */
	uint64_t lost_ns;		/* and once more then */
	struct sim_stream **streams;
	unsigned streams_count, streams_cap;
};
int sim_node_start(struct sim *s, int at);
void sim_node_stop(struct sim *s, int at, bool silent);
int sim_node_of(const struct sim *s, const struct wm_peer_id *id);
/** Cuts, or who is alive, are others than before: all find out after a while. */
void sim_changed(struct sim *s);
/** What it told others is measured under number @p n. */
void sim_say(struct sim *s, int at, unsigned n);

/* --- letters.c: what is no stream ---------------------------------------------------------------
 */
/** A datagram: lost, late, twice or refused as the scenario has it. */
void sim_datagram(struct sim *s, int a, int b, const void *p, size_t len);
/** Is there an agent? Answered to the membership under that number, as by a stream. */
void sim_knock(struct sim *s, int a, int b, uint32_t number);
/** A whole state of members; who gets it answers with its own. */
void sim_state(struct sim *s, int a, int b, bool reply);
void sim_letters_free(struct sim *s);

/* --- members.c: the membership of a node --------------------------------------------------------
 */
struct wm_peer_addr sim_address(int at);
int sim_members_start(struct sim_node *n);
void sim_members_stop(struct sim_node *n);
/** In the beginning all know all. */
int sim_members_introduce(struct sim *s);
/** A stream of @p a to @p b broke. */
void sim_members_doubt(struct sim *s, int a, int b);

/* --- measure.c ----------------------------------------------------------------------------------
 */
struct sim_figure {
	char name[SIM_NAME_MAX + 1];
	double value;
};
struct sim_figures {
	struct sim_figure list[64];
	unsigned count;
};
void sim_figure(struct sim_figures *f, const char *name, double value);
/** Message @p n came to that node. */
void sim_reached(struct sim *s, int at, unsigned n);
/** It stands still for a while, drawn. */
void sim_pause(struct sim *s, int at);
int sim_measure(struct sim *s, struct sim_figures *ret);
/** Who is taken for failed, and what the membership costs (watch.c). */
int sim_watch(struct sim *s, struct sim_figures *ret);
/** @p a takes that life of @p b for failed. */
void sim_watch_failed(struct sim *s, int a, int b, uint32_t incarnation);
/** Leaves and their homes (leaves.c). */
int sim_leaves(struct sim *s, struct sim_figures *ret);
bool sim_is_leaf(const struct sim *s, int at);
bool sim_knows_all(const struct sim *s, int at);
/** What a leaf says to its home, or that to it. */
void sim_leaves_frame(struct sim *s, int at, int from, const void *p, size_t len);
/** The partition schedules. */
int sim_schedules(struct sim *s, struct sim_figures *ret);
int sim_plot(const struct sim *s, const char *file, const char *title);

struct sim {
	struct sim_scenario c;
	bool trace; /* tell what happens on stderr */
	uint64_t seed, random, ns, orders;
	struct sim_due *heap;
	uint32_t *places; /* of the events in the heap, by their slots */
	uint32_t *slots;  /* those that are free */
	size_t heap_count, heap_cap;
	struct letter *letters; /* that are free */
	unsigned long events;
	struct sim_node *nodes;
	int count;
	bool cut[SIM_GROUPS][SIM_GROUPS]; /* nothing gets from one to the other */
	uint32_t between_us[SIM_REGIONS][SIM_REGIONS];
	struct sim_stream *ended; /* to be freed when the event is over */
	bool *member;		  /* [a * count + b]: a was told of b */
	/* measured messages: when each was said, and each arrival in the order of time */
	uint64_t *said_ns;
	uint64_t *took_ns;
	uint8_t *expected; /* [message * count + node]: 1: it is to have it, 2: it has it */
	size_t took_count, took_cap;
	uint64_t *last_ns;
	unsigned long long octets;	  /* carried over streams */
	unsigned long long spread_octets; /* of these by the tree, with the frames' heads */
	/* messages that replicas began, as they gave them to the tree: compressed */
	unsigned long long told, told_octets;
	unsigned long long wire_octets, datagrams, state_octets; /* of the membership */
	struct sim_watch *watch;
	bool introduced; /* who starts now greets one of the others */
};
