/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl.h - what the files of the command-line tool share. A command is a function of the
 * options and of the words behind its name; it prints, and returns the exit status. */
#pragma once
#include "userspace/base/plain.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CTL_AGENT	"http://127.0.0.1:8500"
#define CTL_SOCKET	"/run/waymark/http.sock" /* default of http.socket */
#define CTL_PIN_DIR	"/sys/fs/bpf/waymark"
#define CTL_MAPS	"names frontends sets slots backends counters" /* of maps dump */
#define CTL_TIMEOUT_MS	10000 /* ms: the agent answers in one */
#define CTL_NAME_MAX	256   /* octets of a name or id on the command line */
#define CTL_PATH_MAX	4096  /* octets of a request's path */
#define CTL_EXIT_FAILED 1     /* it did not work; of status: degraded */
#define CTL_EXIT_USAGE	2     /* wrong usage; of status: no agent */

struct ctl {
	const char *agent; /* "http://host:port" or "unix:/path" */
	bool agent_named;  /* by --agent or the environment: nobody else is asked */
	const char *pin_dir;
	bool json, verbose, offline, wait, force;
	bool quiet;	      /* failures are not told */
	const char *deadline; /* of a drain, NULL: the default */
	const char *data_dir; /* NULL: not given */
	const char *reason, *service, *config_dir;
	const char *pid, *cgroup, *uid; /* of who dials; NULL: not given */
	const char *verdict;		/* NULL: any */
	bool udp, once, only;
	const char *dir;  /* of certificates; NULL: here */
	const char *root; /* of the node's files */
	unsigned days;	  /* 0: the default */
	unsigned watch_s; /* 0: once */
	char **args;	  /* words behind the command's name */
	int args_count;
	bool help; /* --help: instead of what the command does, what it would do */
};

/* --- waymarkctl_http.c --- */
/** Say on stderr that the command failed, under --json as {"error": ...}. @return
 *  CTL_EXIT_FAILED. */
int ctl_fail(const struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** GET @p path. Where no agent was named its Unix socket is tried after its port. @return the
 *  document (the caller's), or NULL after a message, none if @p quiet. */
json_t *ctl_get(const struct ctl *c, const char *path, bool quiet);
/** One call, @p method NULL for GET; the body of a 200 goes to @p on_data where it is not NULL.
 *  @return true for a 200, else after a message. */
bool ctl_call(const struct ctl *c, const char *method, const char *path, uint64_t timeout_ms,
	      int (*on_data)(void *arg, const void *data, size_t len), void *arg);
/** The same with a body, NUL-terminated; @p operator: what only root and the agent's user may. */
bool ctl_send(const struct ctl *c, const char *method, const char *path, const char *body,
	      bool operator);
/** The document that a call answers with, @p method NULL for GET; @p operator: what only root and
 *  the agent's user may. @return the caller's, or NULL after a message. */
json_t *ctl_fetch(const struct ctl *c, const char *method, const char *path, uint64_t timeout_ms,
		  bool operator);
/** The same with a body, NUL-terminated, as ctl_send() has it. */
json_t *ctl_fetch_for(const struct ctl *c, const char *method, const char *path, const char *body,
		      uint64_t timeout_ms);
/** The same of what anybody may. */
json_t *ctl_fetch_with(const struct ctl *c, const char *method, const char *path, const char *body);
/** The options for a request that only root and the agent's user may make: over the Unix socket
 *  where no agent was named. */
struct ctl ctl_over_socket(const struct ctl *c);
/** Write @p arg into @p path, percent-escaped. @return octets, less than @p cap. */
size_t ctl_escape(char *path, size_t cap, const char *arg);
/** "<head><escaped id><tail>" into @p path. @return false after a message: empty or too long. */
bool ctl_path(const struct ctl *c, char path[CTL_PATH_MAX], const char *head, const char *id,
	      const char *tail);
/** Print @p doc by --json or for people, and free it. @return exit status; 1 for NULL. */
int ctl_print(const struct ctl *c, json_t *doc);

/* --- commands --- */
int ctl_status(const struct ctl *c);
int ctl_services(const struct ctl *c);
int ctl_resolve(const struct ctl *c);
int ctl_instance(const struct ctl *c);
int ctl_register(const struct ctl *c);
int ctl_deregister(const struct ctl *c);
int ctl_maint(const struct ctl *c);
int ctl_drain(const struct ctl *c);
int ctl_undrain(const struct ctl *c);
int ctl_policy_list(const struct ctl *c);
int ctl_policy_get(const struct ctl *c);
int ctl_policy_explain(const struct ctl *c);
int ctl_policy_set(const struct ctl *c);
int ctl_policy_delete(const struct ctl *c);
/** Text of a file, "-" is standard input, which the caller frees; NULL after a message. */
char *ctl_read_body(const struct ctl *c, const char *file);
int ctl_events(const struct ctl *c);
int ctl_ca_init(const struct ctl *c);
int ctl_ca_issue(const struct ctl *c);
int ctl_ca_show(const struct ctl *c);
/** The agent becomes whom this node's programs ask for names; or no longer is. */
int ctl_dns_enable(const struct ctl *c);
int ctl_dns_disable(const struct ctl *c);
int ctl_dns_status(const struct ctl *c);
int ctl_dns_upstreams(const struct ctl *c);
int ctl_dns_flush(const struct ctl *c);
/** Answers of others that are kept, and what caches are asked and answer. */
int ctl_dns_cache(const struct ctl *c);
/** One question, and what answered it: the kernel, the tables, a cache, others. */
int ctl_dns_trace(const struct ctl *c);
/** Names, clients and types by how often userspace is asked. */
int ctl_dns_top(const struct ctl *c);
int ctl_keyring_generate(const struct ctl *c);
int ctl_keyring_list(const struct ctl *c);
/** Of all members. Exit status 1 if it is not so at one of them. */
int ctl_keyring_add(const struct ctl *c);
int ctl_keyring_use(const struct ctl *c);
int ctl_keyring_remove(const struct ctl *c);
int ctl_members(const struct ctl *c);
int ctl_join(const struct ctl *c);
int ctl_leave(const struct ctl *c);
int ctl_force_leave(const struct ctl *c);
int ctl_peers(const struct ctl *c);
int ctl_sync_status(const struct ctl *c);
/** Concurrent writes that this agent decided. */
int ctl_conflicts(const struct ctl *c);
/** Let go what a brake holds back, by a PUT of @p path, and say whether there was any. @return exit
 *  status. */
int ctl_release(const struct ctl *c, const char *path);
int ctl_sync_release(const struct ctl *c);
int ctl_sources(const struct ctl *c); /* waymarkctl_sources.c */
int ctl_sources_release(const struct ctl *c);
/** Have all members the same? Exit status 1 if not, or if one did not answer. */
int ctl_sync_verify(const struct ctl *c);
int ctl_reload(const struct ctl *c);
int ctl_validate(const struct ctl *c);
/** Do registry, tables and kernel say the same? Exit status 0: yes, 1: no, 2: not known. */
int ctl_truth(const struct ctl *c);
int ctl_maps(const struct ctl *c);
int ctl_maps_dump(const struct ctl *c);
/** What open sockets are connected by: read from the pins, whether an agent runs or not. */
int ctl_connections(const struct ctl *c);
/** What a connect() would meet now, step by step. */
int ctl_explain_connect(const struct ctl *c);
/** What happened to the sockets of a process, or to one of them, when they were connected. */
int ctl_explain_socket(const struct ctl *c);
/** Services and instances by what is steered to them now. */
int ctl_top(const struct ctl *c);
/** Follow decisions as they are made. */
int ctl_monitor(const struct ctl *c);
int ctl_snapshot_save(const struct ctl *c);
int ctl_snapshot_verify(const struct ctl *c);
int ctl_snapshot_restore(const struct ctl *c);
int ctl_detach(const struct ctl *c);
/** What the kernel offers, what is attached where, a self-test. */
int ctl_doctor(const struct ctl *c);

/* --- waymarkctl_render.c --- */
/** Print any JSON document for people: scalars as "name  value", lists of objects as tables. */
void ctl_render(const json_t *v, int indent, FILE *out);
/** Columns @p keys (NULL at the end) of a list of objects. */
void ctl_table(const json_t *rows, const char *const *keys, int indent, FILE *out);

/* Lines of a stream that comes in pieces. */
#define CTL_LINE_MAX 8192 /* octets of a line; longer ones are cut */
struct ctl_lines {
	char line[CTL_LINE_MAX];
	size_t len; /* of the line that has begun; 0 before the first */
};
/** Call @p fn for each line that @p data ends, without its end. */
void ctl_lines_take(struct ctl_lines *l, const char *data, size_t len,
		    void (*fn)(void *arg, const char *line), void *arg);

/** The text of a member of @p v, @p otherwise where it has none. Borrowed. */
const char *ctl_text_or(const json_t *v, const char *key, const char *otherwise);
static inline const char *ctl_text(const json_t *v, const char *key)
{
	return ctl_text_or(v, key, "");
}

/** A type of DNS, into @p other where it has no name here. A code of an answer. */
const char *ctl_dns_type(json_int_t type, char other[16]);
const char *ctl_dns_rcode(unsigned rcode);

/** One word, coloured on a terminal where it says how something is. */
void ctl_word(const char *text, FILE *out);

/** Steer one connection in a cgroup of its own. @return 0, else why not in @p why. */
int ctl_selftest(char *why, size_t cap);
