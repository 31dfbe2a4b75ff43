/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl.c - the command line: every command and option once, in two tables that dispatch,
 * usage, the reference page, the manual page and the completion are made of. */
#include "waymarkctl.h"

#include "waymarkctl_words.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_S 2 /* seconds between two looks of --watch */

static int cmd_version(const struct ctl *c);
static int cmd_help(const struct ctl *c);
static int cmd_completion(const struct ctl *c);

/* X(name, words behind it, at least, at most, function, text) */
#define COMMANDS(X)                                                                                \
	X("status", "", 0, 0, ctl_status,                                                          \
	  "is the agent healthy? Exit status: 0 healthy, 1 degraded, 2 no agent. -v: every "       \
	  "counter")                                                                               \
	X("services", "[NAME]", 0, 1, ctl_services,                                                \
	  "all services, how many of their instances are healthy, and why others are not; NAME: "  \
	  "its instances")                                                                         \
	X("resolve", "NAME", 1, 1, ctl_resolve,                                                    \
	  "what DNS and connect() give now for a service, any DNS name, or an address")            \
	X("instance", "ID", 1, 1, ctl_instance,                                                    \
	  "one instance: checks, state, drain, open connections")                                  \
	X("register", "FILE", 1, 1, ctl_register,                                                  \
	  "register a service from a JSON file in the form of Consul's API; -: from standard "     \
	  "input")                                                                                 \
	X("deregister", "ID", 1, 1, ctl_deregister, "remove an instance and its checks")           \
	X("maint", "on|off [ID]", 1, 2, ctl_maint,                                                 \
	  "maintenance mode: take an instance out of service, or back in; without ID all of the "  \
	  "node")                                                                                  \
	X("drain", "ID", 1, 1, ctl_drain,                                                          \
	  "stop new connections; deregister after the last one closed, or at --deadline (30s); "   \
	  "--wait: until then")                                                                    \
	X("undrain", "ID", 1, 1, ctl_undrain,                                                      \
	  "cancel a drain: the instance takes new connections again")                              \
	X("policy list", "", 0, 0, ctl_policy_list,                                                \
	  "services that have a policy, and its main fields")                                      \
	X("policy get", "SERVICE", 1, 1, ctl_policy_get,                                           \
	  "the policy of a service as JSON, in the form that `policy set` takes")                  \
	X("policy explain", "SERVICE", 1, 1, ctl_policy_explain,                                   \
	  "which instances the policy selects now, the share of each, and what happens if none "   \
	  "is usable")                                                                             \
	X("policy set", "SERVICE FILE", 2, 2, ctl_policy_set,                                      \
	  "set the policy of a service from a JSON file; -: from standard input")                  \
	X("policy delete", "SERVICE", 1, 1, ctl_policy_delete, "remove the policy of a service")   \
	X("events", "", 0, 0, ctl_events,                                                          \
	  "follow every change of the registry; --service: of one service")                        \
	X("ca init", "[DATACENTER]", 0, 1, ctl_ca_init,                                            \
	  "make a certificate authority for a mesh, in --dir; for datacenter dc1 unless named")    \
	X("ca issue", "NODE [ADDRESS...]", 1, 17, ctl_ca_issue,                                    \
	  "make a certificate and key for a node, signed by the authority in --dir")               \
	X("ca show", "FILE", 1, 1, ctl_ca_show,                                                    \
	  "which node a certificate names, and how long it is valid")                              \
	X("keyring generate", "", 0, 0, ctl_keyring_generate,                                      \
	  "print a new key for encrypting the datagrams of a mesh")                                \
	X("keyring list", "", 0, 0, ctl_keyring_list,                                              \
	  "keys by fingerprint: how many members have each, and how many encrypt with it")         \
	X("keyring add", "KEY", 1, 1, ctl_keyring_add,                                             \
	  "give a key to all members; -: read it from standard input")                             \
	X("keyring use", "KEY", 1, 1, ctl_keyring_use,                                             \
	  "make all members encrypt with a key (or fingerprint); --force: even if some lack it")   \
	X("keyring remove", "KEY", 1, 1, ctl_keyring_remove,                                       \
	  "remove a key (or fingerprint) from all members")                                        \
	X("members", "", 0, 0, ctl_members, "agents of the mesh: state, address, round-trip time") \
	X("join", "ADDRESS", 1, 1, ctl_join,                                                       \
	  "join the mesh of the agent at an address, HOST or HOST:PORT")                           \
	X("leave", "", 0, 0, ctl_leave,                                                            \
	  "leave the mesh for good and stop the agent; the other nodes remove its services")       \
	X("force-leave", "NODE", 1, 1, ctl_force_leave,                                            \
	  "declare that a failed member will not come back; --force: forget it at once")           \
	X("peers", "", 0, 0, ctl_peers,                                                            \
	  "connections to other agents: round-trip time, bytes, last error")                       \
	X("conflicts", "", 0, 0, ctl_conflicts,                                                    \
	  "catalog entries written on two nodes at the same time: which write won, which lost")    \
	X("sync status", "", 0, 0, ctl_sync_status,                                                \
	  "how much of each agent's log is here; equal digests mean equal contents. -v: every "    \
	  "counter")                                                                               \
	X("sync verify", "", 0, 0, ctl_sync_verify,                                                \
	  "compare with all members now and name each object that differs. Exit status 1: "        \
	  "something does")                                                                        \
	X("sync release", "[NODE]", 0, 1, ctl_sync_release,                                        \
	  "let removals happen that were held back for safety: those of NODE's objects, or all")   \
	X("sources", "", 0, 0, ctl_sources,                                                        \
	  "Kubernetes and Consul as sources: state, what was taken over, what is held back; -v: "  \
	  "every counter")                                                                         \
	X("sources release", "NAME", 1, 1, ctl_sources_release,                                    \
	  "let removals of a source happen that were held back for safety, or accept that it is "  \
	  "another cluster")                                                                       \
	X("dns enable", "[ADDRESS...]", 0, 3, ctl_dns_enable,                                      \
	  "make the agent the name server of this node's programs; the former configuration is "   \
	  "kept")                                                                                  \
	X("dns disable", "", 0, 0, ctl_dns_disable,                                                \
	  "restore the configuration from before `dns enable`")                                    \
	X("dns status", "", 0, 0, ctl_dns_status,                                                  \
	  "which server this node's programs ask, whether the agent answers, and how upstream "    \
	  "servers do; -v: every counter")                                                         \
	X("dns upstreams", "", 0, 0, ctl_dns_upstreams,                                            \
	  "upstream servers: state, latency, failed probes")                                       \
	X("dns trace", "NAME [TYPE]", 1, 2, ctl_dns_trace,                                         \
	  "ask the agent one question: which level answered, by which rule, how long it took")     \
	X("dns top", "", 0, 0, ctl_dns_top,                                                        \
	  "names, clients and types asked for most (the kernel's share is sampled); --once: one "  \
	  "second, then end")                                                                      \
	X("dns cache", "[NAME]", 0, 1, ctl_dns_cache,                                              \
	  "cached answers of upstream servers in the kernel, of NAME and below; hit rates of "     \
	  "both caches")                                                                           \
	X("dns flush", "[NAME]", 0, 1, ctl_dns_flush,                                              \
	  "drop cached answers of upstream servers: all, or those of NAME")                        \
	X("reload", "", 0, 0, ctl_reload, "read the configuration again, as SIGHUP does")          \
	X("validate", "FILE", 1, 1, ctl_validate,                                                  \
	  "check a configuration file as the start of the agent would")                            \
	X("connections", "[SERVICE|INSTANCE]", 0, 1, ctl_connections,                              \
	  "open sockets that were steered: process, cgroup, since when, to which instance, and "   \
	  "why")                                                                                   \
	X("explain connect", "NAME[:PORT]", 1, 1, ctl_explain_connect,                             \
	  "what a connect() would do now, step by step, for the process --pid: name, programs, "   \
	  "policy, tiers, odds")                                                                   \
	X("explain socket", "PID[:FD]", 1, 1, ctl_explain_socket,                                  \
	  "what happened when the sockets of a process were connected: to which instance, when, "  \
	  "and why")                                                                               \
	X("truth", "", 0, 0, ctl_truth,                                                            \
	  "do registry, kernel tables and real sockets agree? Exit status: 0 yes, 1 no, 2 "        \
	  "unknown")                                                                               \
	X("top", "", 0, 0, ctl_top,                                                                \
	  "services and instances by new connections per second, with open ones, failures, "       \
	  "latency; --once: one second, then end")                                                 \
	X("monitor", "", 0, 0, ctl_monitor,                                                        \
	  "follow decisions as connect() and sendmsg() make them; select with --service, "         \
	  "--cgroup, --verdict")                                                                   \
	X("maps", "", 0, 0, ctl_maps, "BPF maps and programs of the agent: ids, entries, memory")  \
	X("maps dump", "MAP", 1, 1, ctl_maps_dump,                                                 \
	  "entries of a map that are in use, with names instead of numbers (instance ids need a "  \
	  "running agent)")                                                                        \
	X("snapshot save", "FILE", 1, 1, ctl_snapshot_save,                                        \
	  "save the whole registry to a file, and verify it")                                      \
	X("snapshot verify", "FILE", 1, 1, ctl_snapshot_verify,                                    \
	  "check that a snapshot file is complete and undamaged")                                  \
	X("snapshot restore", "FILE", 1, 1, ctl_snapshot_restore,                                  \
	  "replace the registry by a snapshot; --offline: while no agent runs")                    \
	X("detach", "", 0, 0, ctl_detach,                                                          \
	  "remove all BPF programs and maps that an agent pinned: nothing is steered any more")    \
	X("doctor", "", 0, 0, ctl_doctor,                                                          \
	  "what this kernel supports, what is attached and in which order; tests it with a "       \
	  "connection of its own")                                                                 \
	X("completion", "", 0, 0, cmd_completion,                                                  \
	  "print the completion for bash: source <(waymarkctl completion)")                        \
	X("version", "", 0, 0, cmd_version, "print the version")                                   \
	X("help", "[COMMAND]", 0, 2, cmd_help,                                                     \
	  "help on all commands, on one, or on a group such as `dns`")

static const struct ctl_command commands[] = {
#define X(name, args, min, max, fn, text) {name, args, min, max, fn, text},
	COMMANDS(X){0}
#undef X
};

enum {
	OPT_DEADLINE = 256,
	OPT_WAIT,
	OPT_REASON,
	OPT_SERVICE,
	OPT_WATCH,
	OPT_FORCE,
	OPT_OFFLINE,
	OPT_DATA_DIR,
	OPT_CONFIG_DIR,
	OPT_DIR,
	OPT_DAYS,
	OPT_PID,
	OPT_CGROUP,
	OPT_UID,
	OPT_UDP,
	OPT_ONCE,
	OPT_VERDICT,
	OPT_ROOT,
	OPT_ONLY,
	OPT_REFERENCE,
	OPT_MAN,
	OPT_VERSION,
};
/* X(long name, letter or OPT_*, value or NULL, commands that look at it or NULL, text) */
#define OPTIONS(X)                                                                                 \
	X("agent", 'a', "ADDR", NULL,                                                              \
	  "http://127.0.0.1:8500 (default, then unix:" CTL_SOCKET "; or $WAYMARK_HTTP_ADDR)")      \
	X("pin-dir", 'p', "DIR",                                                                   \
	  "status, connections, explain socket, top, maps dump, detach, doctor",                   \
	  "pins of the agent (" CTL_PIN_DIR ", or $WAYMARK_PIN_DIR"                                \
	  ")")                                                                                     \
	X("json", 'j', NULL, NULL, "print JSON, errors too")                                       \
	X("verbose", 'v', NULL, "status, sync status, dns status, sources", "show every counter")  \
	X("watch", OPT_WATCH, "SECONDS",                                                           \
	  "status, services, resolve, instance, maps, maps dump, doctor, members, peers, sync "    \
	  "status, sources",                                                                       \
	  "repeat until interrupted")                                                              \
	X("deadline", OPT_DEADLINE, "DURATION", "drain",                                           \
	  "deregister at the latest then, even with open connections")                             \
	X("wait", OPT_WAIT, NULL, "drain", "return when the instance is gone")                     \
	X("reason", OPT_REASON, "TEXT", "maint", "the reason, shown to whoever looks")             \
	X("service", OPT_SERVICE, "NAME", "events, monitor", "only this service")                  \
	X("config-dir", OPT_CONFIG_DIR, "DIR", "validate", "further files, as waymarkd's option")  \
	X("force", OPT_FORCE, NULL, "detach",                                                      \
	  "even if an agent is running, which attaches its programs again")                        \
	X("force", OPT_FORCE, NULL, "force-leave", "forget the member at once")                    \
	X("force", OPT_FORCE, NULL, "keyring use", "even if some members lack the key")            \
	X("force", OPT_FORCE, NULL, "dns enable, dns disable",                                     \
	  "even if the agent does not answer, or another program wrote the file")                  \
	X("offline", OPT_OFFLINE, NULL, "snapshot restore",                                        \
	  "write the store directly; no agent may be running")                                     \
	X("data-dir", OPT_DATA_DIR, "DIR", "snapshot restore",                                     \
	  "the agent's data directory (node.data_dir)")                                            \
	X("dir", OPT_DIR, "DIR", "ca init, ca issue", "directory of certificates and keys (.)")    \
	X("days", OPT_DAYS, "DAYS", "ca init, ca issue", "how long it is valid")                   \
	X("pid", OPT_PID, "PID", "explain connect", "as this process would dial")                  \
	X("cgroup", OPT_CGROUP, "DIR", "explain connect",                                          \
	  "as a process in this cgroup would dial")                                                \
	X("cgroup", OPT_CGROUP, "DIR", "monitor", "only processes in this cgroup and below it")    \
	X("verdict", OPT_VERDICT, "VERDICT", "monitor",                                            \
	  "only those: picked, refused, passed or unknown")                                        \
	X("uid", OPT_UID, "UID", "explain connect", "as this user would dial")                     \
	X("udp", OPT_UDP, NULL, "explain connect", "with a datagram socket")                       \
	X("once", OPT_ONCE, NULL, "top, dns top", "look once, for a second, and end")              \
	X("root", OPT_ROOT, "DIR", "dns enable, dns disable, dns status",                          \
	  "root directory of the node's files (/)")                                                \
	X("only", OPT_ONLY, NULL, "dns enable",                                                    \
	  "with systemd-resolved: send every name to the agent, not only its own domains")         \
	X("reference", OPT_REFERENCE, NULL, NULL, "print the page of all commands in Markdown")    \
	X("man", OPT_MAN, NULL, NULL, "print the manual page in roff")                             \
	X("version", OPT_VERSION, NULL, NULL, "print the version")                                 \
	X("help", 'h', NULL, NULL, "this text")

static const struct ctl_option option_texts[] = {
#define X(name, letter, value, of, text) {name, (letter) < 256 ? (letter) : 0, value, of, text},
	OPTIONS(X){0}
#undef X
};
static const struct option options[] = {
#define X(name, letter, value, of, text)                                                           \
	{name, (value) ? required_argument : no_argument, NULL, letter},
	OPTIONS(X){0}
#undef X
};
_Static_assert(sizeof(options) / sizeof(*options) <= 64, "a bit for each");

static int cmd_version(const struct ctl *c)
{
	(void)c;
	puts("waymarkctl " WM_VERSION);
	return 0;
}

static int cmd_completion(const struct ctl *c)
{
	(void)c;
	ctl_words_completion(stdout, commands, option_texts);
	return 0;
}

static int cmd_help(const struct ctl *c)
{
	char name[64] = "";
	size_t at = 0;

	if (!c->args_count) {
		ctl_words_usage(stdout, commands, option_texts);
		return 0;
	}
	for (int i = 0; i < c->args_count && at < sizeof(name); i++)
		at += (size_t)snprintf(name + at, sizeof(name) - at, "%s%s", i ? " " : "",
				       c->args[i]);
	if (ctl_words_command(stdout, commands, option_texts, name))
		return 0;
	ctl_words_unknown(stderr, commands, name);
	return CTL_EXIT_USAGE;
}

/* --- command line ----------------------------------------------------------------------------- */
static int unsigned_of(const char *text, unsigned *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || *text == '-' || !n || n > 86400)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}

/* Where the text of an option goes. NULL: it is not one that takes any text as it is. */
static const char **text_of(int o, struct ctl *c)
{
	switch (o) {
	case 'p':
		return &c->pin_dir;
	case OPT_DEADLINE:
		return &c->deadline;
	case OPT_REASON:
		return &c->reason;
	case OPT_SERVICE:
		return &c->service;
	case OPT_DATA_DIR:
		return &c->data_dir;
	case OPT_CONFIG_DIR:
		return &c->config_dir;
	case OPT_DIR:
		return &c->dir;
	case OPT_CGROUP:
		return &c->cgroup;
	case OPT_VERDICT:
		return &c->verdict;
	case OPT_ROOT:
		return &c->root;
	default:
		return NULL;
	}
}

/* One option. @return -1 to go on, else the exit status. */
static int take(int o, struct ctl *c)
{
	const char **text = text_of(o, c);

	if (text) {
		*text = optarg;
		return -1;
	}
	switch (o) {
	case 'a':
		c->agent = optarg;
		c->agent_named = true;
		return -1;
	case 'j':
		c->json = true;
		return -1;
	case 'v':
		c->verbose = true;
		return -1;
	case OPT_WATCH:
		if (!unsigned_of(optarg, &c->watch_s))
			return -1;
		fprintf(stderr, "waymarkctl: --watch: seconds from 1 to 86400 are wanted\n");
		return CTL_EXIT_USAGE;
	case OPT_WAIT:
		c->wait = true;
		return -1;
	case OPT_FORCE:
		c->force = true;
		return -1;
	case OPT_OFFLINE:
		c->offline = true;
		return -1;
	case OPT_DAYS:
		if (!unsigned_of(optarg, &c->days))
			return -1;
		fprintf(stderr, "waymarkctl: --days: days from 1 to 36500 are wanted\n");
		return CTL_EXIT_USAGE;
	case OPT_PID:
	case OPT_UID:
		*(o == OPT_PID ? &c->pid : &c->uid) = optarg;
		if (*optarg && strspn(optarg, "0123456789") == strlen(optarg) &&
		    strlen(optarg) <= sizeof("4294967295") - 1 &&
		    strtoull(optarg, NULL, 10) <= UINT32_MAX)
			return -1;
		fprintf(stderr, "waymarkctl: --%s: a number from 0 to %u is wanted\n",
			o == OPT_PID ? "pid" : "uid", UINT32_MAX);
		return CTL_EXIT_USAGE;
	case OPT_ONCE:
		c->once = true;
		return -1;
	case OPT_UDP:
		c->udp = true;
		return -1;
	case OPT_ONLY:
		c->only = true;
		return -1;
	case OPT_REFERENCE:
		ctl_words_reference(stdout, commands);
		return 0;
	case OPT_MAN:
		ctl_words_man(stdout, commands, option_texts);
		return 0;
	case OPT_VERSION:
		return cmd_version(c);
	case 'h':
		c->help = true;
		return -1;
	default:
		fputs("try: waymarkctl --help\n", stderr);
		return CTL_EXIT_USAGE;
	}
}

/* Do the words on the command line begin with this command's? @return how many it has, or 0. */
static int names(const char *name, char **words, int count)
{
	int n = 0;

	for (; n < count; n++) {
		size_t len = strlen(words[n]);

		if (strncmp(name, words[n], len) != 0 || (name[len] && name[len] != ' '))
			return 0;
		name += len;
		if (!*name)
			return n + 1;
		name++;
	}
	return 0;
}

/* The command with the most words that fits. */
static const struct ctl_command *find(char **words, int count, int *ret_words)
{
	const struct ctl_command *best = NULL;

	*ret_words = 0;
	for (const struct ctl_command *k = commands; k->name; k++) {
		int n = names(k->name, words, count);

		if (n > *ret_words) {
			*ret_words = n;
			best = k;
		}
	}
	return best;
}

/* "drain --help", "dns --help": of a command, or of all that begin with its first word. */
static int help_of(char **words, int count)
{
	struct ctl c = {.args = words};

	(void)find(words, count, &c.args_count);
	if (!c.args_count && count)
		c.args_count = 1;
	return cmd_help(&c);
}

static bool is_group(const char *word)
{
	size_t n = strlen(word);

	for (const struct ctl_command *k = commands; k->name; k++)
		if (strncmp(k->name, word, n) == 0 && k->name[n] == ' ')
			return true;
	return false;
}

/* No command begins with these words. */
static int unknown(char **words, int count)
{
	bool group = is_group(words[0]);
	char name[64];

	if (group && count == 1) { /* "dns": those that there are */
		(void)ctl_words_command(stderr, commands, option_texts, words[0]);
		return CTL_EXIT_USAGE;
	}
	snprintf(name, sizeof(name), "%s%s%s", words[0], group ? " " : "", group ? words[1] : "");
	ctl_words_unknown(stderr, commands, name);
	return CTL_EXIT_USAGE;
}

/* Number of an option in the tables, by what getopt calls it. */
static unsigned place_of(int o)
{
	unsigned i = 0;

	while (options[i].name && options[i].val != o)
		i++;
	return i;
}

/* What the command would not look at is no option of it. */
static bool judge_options(uint64_t given, const struct ctl_command *k)
{
	for (unsigned i = 0; option_texts[i].name; i++)
		if (given >> i & 1 &&
		    !ctl_words_takes(stderr, option_texts, option_texts[i].name, k->name))
			return false;
	return true;
}

static int run(const struct ctl *c, const struct ctl_command *k)
{
	struct timespec pause = {.tv_sec = c->watch_s};
	int r = k->fn(c);

	while (c->watch_s && !nanosleep(&pause, NULL)) {
		if (isatty(STDOUT_FILENO) && !c->json)
			fputs("\033[H\033[2J", stdout); /* home, and clear what follows */
		r = k->fn(c);
		fflush(stdout);
	}
	return r;
}

int main(int argc, char **argv)
{
	const char *from_env = getenv("WAYMARK_HTTP_ADDR"), *pins = getenv("WAYMARK_PIN_DIR");
	struct ctl c = {.agent = from_env && *from_env ? from_env : CTL_AGENT,
			.agent_named = from_env && *from_env,
			.pin_dir = pins && *pins ? pins : CTL_PIN_DIR,
			.root = "/"};
	const struct ctl_command *k;
	uint64_t given = 0; /* options, by their place in the tables */
	int o, r, words;

	signal(SIGPIPE, SIG_DFL);
	while ((o = getopt_long(argc, argv, "a:p:jvh", options, NULL)) != -1) {
		r = take(o, &c);
		if (r >= 0)
			return r;
		given |= 1ull << place_of(o);
	}
	if (c.help)
		return help_of(argv + optind, argc - optind);
	if (optind == argc) {
		ctl_words_usage(stderr, commands, option_texts);
		return CTL_EXIT_USAGE;
	}
	k = find(argv + optind, argc - optind, &words);
	if (!k)
		return unknown(argv + optind, argc - optind);
	if (!judge_options(given, k))
		return CTL_EXIT_USAGE;
	c.args = argv + optind + words;
	c.args_count = argc - optind - words;
	if (c.args_count < k->min || c.args_count > k->max) {
		fprintf(stderr, "usage: waymarkctl %s%s%s\n", k->name, *k->args ? " " : "",
			k->args);
		return CTL_EXIT_USAGE;
	}
	return run(&c, k);
}
