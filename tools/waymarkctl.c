/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl.c - look at an agent, take its part of the kernel away, find out what is wrong. */
#include "waymarkctl.h"

#include "userspace/base/err.h"
#include "userspace/dataplane/plane.h"
#include "userspace/net/http_client.h"
#include "userspace/net/loop.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS   10000	 /* ms: the agent answers in one */
#define ANSWER_MAX   (64u << 20) /* octets of an answer */
#define DURATION_MAX 32		 /* octets of a duration on the command line */
#define NAME_MAX_    256	 /* octets of a name on the command line */

static int run_get(const struct ctl *c, const char *path);
static int cmd_status(const struct ctl *c, const char *arg)
{
	(void)arg;
	return run_get(c, "/v1/waymark/status");
}
static int cmd_services(const struct ctl *c, const char *arg)
{
	(void)arg;
	return run_get(c, "/v1/waymark/services");
}
static int cmd_maps(const struct ctl *c, const char *arg)
{
	(void)arg;
	return run_get(c, "/v1/waymark/maps");
}

size_t ctl_escape(char *path, size_t cap, const char *arg)
{
	size_t at = 0;

	for (; *arg && at + 4 < cap; arg++)
		at += (size_t)snprintf(path + at, cap - at,
				       strchr("%/?#&+ ", *arg) ? "%%%02X" : "%c",
				       (unsigned char)*arg);
	return at;
}

static int cmd_resolve(const struct ctl *c, const char *arg)
{
	char path[3 * NAME_MAX_ + 32] = "/v1/waymark/resolve/";
	size_t at = strlen(path);

	if (!*arg || strlen(arg) > NAME_MAX_) {
		fprintf(stderr, "waymarkctl: resolve: a name of 1 to %d octets is wanted\n",
			NAME_MAX_);
		return 2;
	}
	ctl_escape(path + at, sizeof(path) - at, arg);
	return run_get(c, path);
}

/* "/v1/waymark/instances/<id><tail>". @return false: no id. */
static bool instance_path(char *path, size_t cap, const char *id, const char *tail)
{
	size_t at = (size_t)snprintf(path, cap, "/v1/waymark/instances/");

	if (!*id || strlen(id) > NAME_MAX_) {
		fprintf(stderr, "waymarkctl: an id of 1 to %d octets is wanted\n", NAME_MAX_);
		return false;
	}
	at += ctl_escape(path + at, cap - at, id);
	snprintf(path + at, cap - at, "%s", tail);
	return true;
}

static int cmd_instance(const struct ctl *c, const char *arg)
{
	char path[3 * NAME_MAX_ + 64];

	return instance_path(path, sizeof(path), arg, "") ? run_get(c, path) : 2;
}

static int cmd_drain(const struct ctl *c, const char *arg)
{
	char path[3 * NAME_MAX_ + 64 + 3 * DURATION_MAX] = "",
					   tail[3 * DURATION_MAX + 16] = "/drain";
	size_t at = strlen(tail);

	if (c->deadline && strlen(c->deadline) > DURATION_MAX) {
		fprintf(stderr, "waymarkctl: --deadline: a duration such as 30s is wanted\n");
		return 2;
	}
	if (c->deadline) {
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, "?deadline=");
		ctl_escape(tail + at, sizeof(tail) - at, c->deadline);
	}
	if (!instance_path(path, sizeof(path), arg, tail))
		return 2;
	if (!ctl_call(c, "PUT", path, TIMEOUT_MS, NULL, NULL))
		return 1;
	if (c->json)
		puts("{}");
	else
		printf("%s takes no new connections and leaves with its last one; see: waymarkctl "
		       "instance %s\n",
		       arg, arg);
	return 0;
}

static int cmd_detach(const struct ctl *c, const char *arg)
{
	struct wm_err e = {0};
	int n = wm_plane_detach(c->pin_dir, c->force, &e);

	(void)arg;
	if (n < 0) {
		fprintf(stderr, "waymarkctl: detach %s: %s\n", c->pin_dir, e.text);
		return 1;
	}
	if (c->json)
		printf("{\"PinDir\":\"%s\",\"Removed\":%d}\n", c->pin_dir, n);
	else if (n)
		printf("removed %d pins under %s: the kernel serves no more\n", n, c->pin_dir);
	else
		printf("nothing is pinned under %s\n", c->pin_dir);
	return 0;
}

static int cmd_doctor(const struct ctl *c, const char *arg)
{
	(void)arg;
	return ctl_doctor(c);
}

/* Every command, once: dispatch, usage and the reference page. */
#define COMMANDS(X)                                                                                \
	X("status", NULL, cmd_status, "version, registry, data plane, occupancy, counters")        \
	X("services", NULL, cmd_services, "services: virtual addresses, backends, health")         \
	X("resolve", "NAME", cmd_resolve, "what DNS and connect() make of a service now")          \
	X("instance", "ID", cmd_instance, "an instance: state, drain, open connections")           \
	X("drain", "ID", cmd_drain,                                                                \
	  "no new connections, gone with the last or at --deadline (30s)")                         \
	X("maps", NULL, cmd_maps, "maps and programs in the kernel: ids, occupancy, memory")       \
	X("snapshot save", "FILE", ctl_snapshot_save, "the whole registry into a file, verified")  \
	X("snapshot verify", "FILE", ctl_snapshot_verify, "read all of a snapshot: is it good?")   \
	X("snapshot restore", "FILE", ctl_snapshot_restore,                                        \
	  "make the registry what a file says; --offline: with no agent running")                  \
	X("detach", NULL, cmd_detach, "remove every program and map that an agent has pinned")     \
	X("doctor", NULL, cmd_doctor, "what this kernel offers, what is attached, a self-test")

static const struct command {
	const char *name, *arg;
	int (*fn)(const struct ctl *c, const char *arg);
	const char *text;
} commands[] = {
#define X(name, arg, fn, text) {name, arg, fn, text},
	COMMANDS(X)
#undef X
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static void usage(FILE *out)
{
	fputs("waymarkctl - look at a Waymark agent and at what it keeps in the kernel\n\n"
	      "usage: waymarkctl [options] COMMAND\n\n",
	      out);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-17s%-6s%s\n", commands[i].name,
			commands[i].arg ? commands[i].arg : "", commands[i].text);
	fputs("\n  -a, --agent ADDR   where the agent listens: http://127.0.0.1:8500 (default, or\n"
	      "                     $WAYMARK_HTTP_ADDR), unix:/run/waymark/http.sock\n"
	      "  -p, --pin-dir DIR  pins of the agent (/sys/fs/bpf/waymark), for detach and "
	      "doctor\n"
	      "  -j, --json         print JSON\n"
	      "      --deadline DURATION   drain: deregister then, whatever is open (30s)\n"
	      "      --force        detach: though an agent is running, which attaches again\n"
	      "      --offline      snapshot restore: write the store itself, no agent may run\n"
	      "      --data-dir DIR its directory (node.data_dir of the agent)\n"
	      "      --reference    print the page of all commands in Markdown\n"
	      "      --version      print the version\n"
	      "  -h, --help         this text\n\n"
	      "examples:\n"
	      "  waymarkctl resolve web                 which backends a connect() may get now\n"
	      "  waymarkctl --json status | jq .plane   for scripts\n"
	      "  waymarkctl doctor                      why is something not in the kernel?\n"
	      "  waymarkctl -a unix:/run/waymark/http.sock snapshot restore FILE\n"
	      "  bpftool map dump pinned /sys/fs/bpf/waymark/maps/backends\n\n"
	      "exit status: 0 done, 1 it did not work, 2 wrong usage\n",
	      out);
}

static void reference(void)
{
	puts("# Commands\n\nGenerated by `make docs` from `tools/waymarkctl.c`.\n\n"
	     "| command | what it does |\n| --- | --- |");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("| `waymarkctl %s%s%s` | %s |\n", commands[i].name,
		       commands[i].arg ? " " : "", commands[i].arg ? commands[i].arg : "",
		       commands[i].text);
}

/* --- HTTP ------------------------------------------------------------------------------------- */
struct fetch {
	struct wm_loop *loop;
	json_t *doc;
	bool done;
	int (*on_data)(void *arg, const void *data, size_t len);
	void *data_arg;
	char error[512];
};

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct fetch *f = arg;
	json_error_t je;

	if (a->error)
		snprintf(f->error, sizeof(f->error), "%s", a->reason);
	else if (a->status != 200)
		snprintf(f->error, sizeof(f->error), "%.400s", a->body);
	else if (!(f->doc = json_loadb(a->body, a->body_len, 0, &je)))
		snprintf(f->error, sizeof(f->error), "the answer is not JSON: %s", je.text);
	wm_loop_stop(f->loop);
}

static void call(const struct ctl *c, const char *path, struct wm_http_call_options o,
		 void (*fn)(void *arg, const struct wm_http_answer *a), struct fetch *f)
{
	bool local = strncmp(c->agent, "unix:", 5) == 0;
	struct wm_http_client *client;
	char url[8192];

	f->loop = wm_loop_new();
	client = f->loop ? wm_http_client_new(f->loop, 1) : NULL;
	if (local) /* unix:/path and unix:///path */
		o.unix_socket = c->agent + (strncmp(c->agent, "unix://", 7) == 0 ? 7 : 5);
	snprintf(url, sizeof(url), "%s%s%s",
		 local			   ? "http://localhost"
		 : strstr(c->agent, "://") ? ""
					   : "http://",
		 local ? "" : c->agent, path);
	o.url = url;
	if (client && wm_http_call_start(client, &o, fn, f, NULL))
		wm_loop_run(f->loop);
	else
		snprintf(f->error, sizeof(f->error), "not an address: %.200s", c->agent);
	wm_http_client_free(client);
	wm_loop_free(f->loop);
}

json_t *ctl_get(const struct ctl *c, const char *path, bool quiet)
{
	struct wm_http_call_options o = {.timeout_ms = TIMEOUT_MS, .answer_max = ANSWER_MAX};
	struct fetch f = {0};

	call(c, path, o, on_answer, &f);
	if (!f.doc && !quiet)
		fprintf(stderr, "waymarkctl: %s: %s\n", c->agent, *f.error ? f.error : "no answer");
	return f.doc;
}

static void on_status(void *arg, const struct wm_http_answer *a)
{
	struct fetch *f = arg;

	if (a->error)
		snprintf(f->error, sizeof(f->error), "%s", a->reason);
	else if (a->status != 200)
		snprintf(f->error, sizeof(f->error), "%.400s", a->body);
	else
		f->done = true;
	wm_loop_stop(f->loop);
}

static int on_part(void *arg, const void *data, size_t len)
{
	struct fetch *f = arg;

	return f->on_data(f->data_arg, data, len);
}

bool ctl_call(const struct ctl *c, const char *method, const char *path, uint64_t timeout_ms,
	      int (*on_data)(void *arg, const void *data, size_t len), void *arg)
{
	struct wm_http_call_options o = {.method = method,
					 .timeout_ms = timeout_ms,
					 .answer_max = ANSWER_MAX,
					 .on_data = on_data ? on_part : NULL};
	struct fetch f = {.on_data = on_data, .data_arg = arg};

	call(c, path, o, on_status, &f);
	if (!f.done)
		fprintf(stderr, "waymarkctl: %s: %s\n", c->agent, *f.error ? f.error : "no answer");
	return f.done;
}

static int run_get(const struct ctl *c, const char *path)
{
	json_t *doc = ctl_get(c, path, false);

	if (!doc)
		return 1;
	if (c->json) {
		json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		putchar('\n');
	} else {
		ctl_render(doc, 0, stdout);
	}
	json_decref(doc);
	return 0;
}

/* --- command line ----------------------------------------------------------------------------- */
enum { OPT_REFERENCE = 256, OPT_FORCE, OPT_VERSION, OPT_OFFLINE, OPT_DATA_DIR, OPT_DEADLINE };
static const struct option options[] = {{"agent", required_argument, NULL, 'a'},
					{"pin-dir", required_argument, NULL, 'p'},
					{"json", no_argument, NULL, 'j'},
					{"deadline", required_argument, NULL, OPT_DEADLINE},
					{"force", no_argument, NULL, OPT_FORCE},
					{"offline", no_argument, NULL, OPT_OFFLINE},
					{"data-dir", required_argument, NULL, OPT_DATA_DIR},
					{"reference", no_argument, NULL, OPT_REFERENCE},
					{"version", no_argument, NULL, OPT_VERSION},
					{"help", no_argument, NULL, 'h'},
					{0}};

/* @return -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct ctl *c)
{
	int o;

	while ((o = getopt_long(argc, argv, "a:p:jh", options, NULL)) != -1) {
		switch (o) {
		case 'a':
			c->agent = optarg;
			c->agent_named = true;
			break;
		case 'p':
			c->pin_dir = optarg;
			break;
		case 'j':
			c->json = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case OPT_DEADLINE:
			c->deadline = optarg;
			break;
		case OPT_FORCE:
			c->force = true;
			break;
		case OPT_OFFLINE:
			c->offline = true;
			break;
		case OPT_DATA_DIR:
			c->data_dir = optarg;
			break;
		case OPT_REFERENCE:
			reference();
			return 0;
		case OPT_VERSION:
			puts("waymarkctl " WM_VERSION);
			return 0;
		default:
			fputs("try: waymarkctl --help\n", stderr);
			return 2;
		}
	}
	return -1;
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

int main(int argc, char **argv)
{
	const char *from_env = getenv("WAYMARK_HTTP_ADDR");
	struct ctl c = {.agent = from_env && *from_env ? from_env : "http://127.0.0.1:8500",
			.agent_named = from_env && *from_env,
			.pin_dir = "/sys/fs/bpf/waymark"};
	int r = parse(argc, argv, &c), args;

	if (r >= 0)
		return r;
	args = argc - optind;
	if (!args) {
		usage(stderr);
		return 2;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		int words = names(commands[i].name, argv + optind, args);

		if (!words)
			continue;
		if (args != words + (commands[i].arg ? 1 : 0)) {
			fprintf(stderr, "usage: waymarkctl %s%s%s\n", commands[i].name,
				commands[i].arg ? " " : "", commands[i].arg ? commands[i].arg : "");
			return 2;
		}
		return commands[i].fn(&c, commands[i].arg ? argv[optind + words] : "");
	}
	fprintf(stderr, "waymarkctl: no command '%s'\ntry: waymarkctl --help\n", argv[optind]);
	return 2;
}
