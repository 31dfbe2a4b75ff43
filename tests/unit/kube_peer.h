/* SPDX-License-Identifier: Apache-2.0 */
/* kube_peer.h - an API server on loopback that plays what a test tells it
 * (tests/net/kube_server.py), in a directory that goes with it, and a watch of which everything
 * that is told becomes text. */
#pragma once
#include "userspace/base/clock.h"
#include "userspace/source/kube_client_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 60000 /* for a hung test; nothing here takes long */

struct kube_peer {
	char name[16];
	pid_t pid;
	unsigned port;
	bool tls;
	bool any_client; /* who shows no certificate is let in */
};

static char dir[64];
static struct wm_loop *loop;
static struct wm_kube *kube;
static struct wm_kube_watch *watch;
static struct kube_peer peer, other;
static char told[65536]; /* what the watch told, each with a ';' behind it */

__attribute__((format(printf, 1, 2))) static inline void tell(const char *fmt, ...)
{
	size_t at = strlen(told);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told + at, sizeof(told) - at, fmt, ap);
	va_end(ap);
}

static inline char *path_of(const char *name)
{
	static char paths[8][128]; /* enough for the arguments of a peer */
	static unsigned at;

	at = (at + 1) % 8;
	snprintf(paths[at], sizeof(paths[at]), "%s/%s", dir, name);
	return paths[at];
}

static inline void put(const char *name, const char *text)
{
	char next[128];
	FILE *f;

	snprintf(next, sizeof(next), "%s.next", path_of(name));
	f = fopen(next, "w");
	cr_assert(f && fputs(text, f) >= 0 && !fclose(f) && !rename(next, path_of(name)));
}

/* @return the file's text, "" without one. */
static inline const char *get(const char *name)
{
	static char text[65536];
	FILE *f = fopen(path_of(name), "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	return text;
}

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 20), 0);                                   \
		cr_assert(condition, "told: %.3000s", told);                                       \
	} while (0)
#define UNTIL_TOLD(text) UNTIL(strstr(told, text))

/* The scenario has ' for ". */
static inline void play(const char *scenario)
{
	char *text = strdup(scenario);

	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	put("scenario", text);
	free(text);
}

static inline void kube_peer_start(struct kube_peer *p, const char *name, bool tls)
{
	char port[32], asked[32];
	const char *args[] = {"/usr/bin/python3",
			      "tests/net/kube_server.py",
			      path_of("scenario"),
			      NULL,
			      NULL,
			      "--cert",
			      "",
			      "--key",
			      "",
			      "--client-ca",
			      "",
			      NULL};

	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(port, sizeof(port), "port-%s", name);
	snprintf(asked, sizeof(asked), "asked-%s", name);
	args[3] = path_of(port);
	args[4] = path_of(asked);
	if (tls) {
		args[6] = path_of("server.pem");
		args[8] = path_of("server.key");
		args[9] = p->any_client ? NULL : args[9];
		args[10] = path_of("ca.pem");
	} else {
		args[5] = NULL;
	}
	p->tls = tls;
	p->pid = fork();
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(args[0], (char *const *)(uintptr_t)args);
		_exit(127);
	}
	for (uint64_t end = wm_clock_ms() + DEADLINE_MS; !p->port && wm_clock_ms() < end;) {
		usleep(10000);
		p->port = (unsigned)atoi(get(port));
	}
	cr_assert(p->port);
}

static inline void kube_peer_stop(struct kube_peer *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	p->pid = 0;
}

/* --- what is told */

static inline void on_begin(void *arg)
{
	(void)arg;
	tell("begin;");
}

static inline void on_object(void *arg, enum wm_kube_event event, const char *json, size_t len)
{
	(void)arg;
	cr_assert_eq(strlen(json), len);
	cr_assert(json[0] == '{' && json[len - 1] == '}');
	tell("%c%s;", "+~-"[event], json);
}

static inline void on_end(void *arg, const char *version)
{
	(void)arg;
	tell("end %s;", version);
}

static inline void on_state(void *arg, enum wm_kube_state state, const char *text)
{
	(void)arg;
	tell("%s%s%s;", wm_kube_state_name(state), *text ? ": " : "", text);
}

static inline void on_skipped(void *arg, const char *ns, const char *name)
{
	(void)arg;
	tell("skipped %s/%s;", ns, name);
}

static const struct wm_kube_watch_ops telling = {.begin = on_begin,
						 .object = on_object,
						 .end = on_end,
						 .state = on_state,
						 .skipped = on_skipped};

/* --- life */

static inline void setup(void)
{
	strcpy(dir, "/tmp/waymark-kube-XXXXXX");
	cr_assert(mkdtemp(dir));
	loop = wm_loop_new();
	cr_assert(loop);
	*told = '\0';
	unsetenv("KUBERNETES_SERVICE_HOST");
}

static inline void teardown(void)
{
	char command[128];

	wm_kube_free(kube);
	wm_loop_free(loop);
	kube_peer_stop(&peer);
	kube_peer_stop(&other);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

/* A client of a kubeconfig that names the peer. */
static inline void client(const char *user, uint64_t silence_ms)
{
	struct wm_kube_config c = {.loop = loop, .silence_ms = silence_ms};
	struct wm_err why = {0};
	char text[2048];

	snprintf(text, sizeof(text),
		 "current-context: c\n"
		 "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
		 "clusters:\n- name: c\n  cluster:\n    server: %s://127.0.0.1:%u\n%s"
		 "users: [{name: u, user: {%s}}]\n",
		 peer.tls ? "https" : "http", peer.port,
		 peer.tls ? "    certificate-authority: ca.pem\n" : "", user);
	put("config", text);
	c.kubeconfig = path_of("config");
	cr_assert_eq(wm_kube_new(&c, &kube, &why), 0, "%s", why.text);
}

#define SERVICES "/api/v1/services"
static inline void watch_services(const struct wm_kube_watch_ops *ops)
{
	cr_assert_eq(wm_kube_watch_new(kube, SERVICES, ops, NULL, &watch), 0);
}

/* The usual: a peer without TLS that plays @p scenario, and a watch of its services. */
static inline void begin(const char *scenario)
{
	play(scenario);
	kube_peer_start(&peer, "one", false);
	client("token: t", 0);
	watch_services(&telling);
}
