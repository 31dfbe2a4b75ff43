/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_write.c - commands that change what the agent has: each is one request of its API. */
#include "userspace/dataplane/plane.h"
#include "waymarkctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY_MAX       (1u << 20) /* octets of a registration; the agent's own bound is tighter */
#define ANSWER_MAX     1023	  /* octets of the answer to a drain; what is longer is cut */
#define DURATION_MAX   32	  /* octets of a duration on the command line */
#define REASON_MAX     512	  /* octets of a reason on the command line */
#define DETACH_WAIT_MS 2000	  /* for an agent that is stopping, before detach is refused */
#define DETACH_POLL_MS 50
#define POLL_MS	       250 /* ms between two looks of drain --wait: as often as the agent counts */

/* What was done, in words or as an empty object. */
static int done(const struct ctl *c, const char *did, const char *id)
{
	if (c->json)
		puts("{}");
	else
		printf("%s %s\n", did, id);
	return 0;
}

/* It is sent as text: behind an octet of 0 the rest would be left out. */
char *ctl_read_body(const struct ctl *c, const char *file)
{
	FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	char *text = f ? malloc(BODY_MAX + 1) : NULL;
	size_t len = text ? fread(text, 1, BODY_MAX + 1, f) : 0;
	bool cut = text && memchr(text, '\0', len);

	if (!f)
		ctl_fail(c, "%s: %s", file, strerror(errno));
	else if (!text || ferror(f) || len > BODY_MAX)
		ctl_fail(c, "%s: cannot be read, or is longer than %u octets", file, BODY_MAX);
	else if (!len)
		ctl_fail(c, "%s: is empty", file);
	else if (cut)
		ctl_fail(c, "%s: is no text: it has an octet of 0", file);
	if (f && f != stdin)
		fclose(f);
	if (text && len && len <= BODY_MAX && !cut) {
		text[len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

int ctl_register(const struct ctl *c)
{
	char *body = ctl_read_body(c, c->args[0]);
	bool ok = body && ctl_send(c, "PUT", "/v1/agent/service/register", body, false);

	free(body);
	return ok ? done(c, "registered", c->args[0]) : CTL_EXIT_FAILED;
}

/* The service that the agent puts into the catalog by itself has a mark. */
static bool is_agents_own(const struct ctl *c, const char *id)
{
	char path[CTL_PATH_MAX];
	json_t *doc =
		ctl_path(c, path, "/v1/waymark/instances/", id, "") ? ctl_get(c, path, true) : NULL;
	bool own = json_object_get(json_object_get(json_object_get(doc, "Service"), "Meta"),
				   "waymark");

	json_decref(doc);
	return own && strcmp(id, "consul") == 0;
}

int ctl_deregister(const struct ctl *c)
{
	char path[CTL_PATH_MAX];

	if (is_agents_own(c, c->args[0]))
		return ctl_fail(c,
				"%s is the agent's own service, which Consul's clients wait for; "
				"without it: registry.consul_service = false, and a restart",
				c->args[0]);
	if (!ctl_path(c, path, "/v1/agent/service/deregister/", c->args[0], ""))
		return CTL_EXIT_USAGE;
	return ctl_send(c, "PUT", path, NULL, false) ? done(c, "deregistered", c->args[0])
						     : CTL_EXIT_FAILED;
}

int ctl_maint(const struct ctl *c)
{
	bool on = strcmp(c->args[0], "on") == 0;
	char path[CTL_PATH_MAX], tail[3 * REASON_MAX + 32];
	size_t at;

	if (!on && strcmp(c->args[0], "off") != 0) {
		ctl_fail(c, "maint: on or off is wanted, not '%s'", c->args[0]);
		return CTL_EXIT_USAGE;
	}
	if (c->reason && strlen(c->reason) > REASON_MAX) {
		ctl_fail(c, "--reason: at most %d octets", REASON_MAX);
		return CTL_EXIT_USAGE;
	}
	at = (size_t)snprintf(tail, sizeof(tail), "?enable=%s&reason=", on ? "true" : "false");
	ctl_escape(tail + at, sizeof(tail) - at, c->reason ? c->reason : "");
	if (c->args_count == 1)
		snprintf(path, sizeof(path), "/v1/agent/maintenance%s", tail);
	else if (!ctl_path(c, path, "/v1/agent/service/maintenance/", c->args[1], tail))
		return CTL_EXIT_USAGE;
	if (!ctl_send(c, "PUT", path, NULL, false))
		return CTL_EXIT_FAILED;
	return done(c, on ? "out of service:" : "in service again:",
		    c->args_count == 1 ? "the node" : c->args[1]);
}

/* Until the instance is gone. @return exit status. */
static int wait_gone(const struct ctl *c, const char *id, const char *path)
{
	struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	json_int_t shown = -1, open;
	json_t *doc, *drain;

	for (;;) {
		doc = ctl_get(c, path, true);
		if (!doc) /* gone, or no agent: asking again tells which */
			break;
		drain = json_object_get(doc, "Drain");
		if (!json_is_object(drain)) {
			json_decref(doc);
			return ctl_fail(c, "%s: is drained no more", id);
		}
		open = json_integer_value(json_object_get(drain, "Open"));
		if (!c->json && json_is_integer(json_object_get(drain, "Open")) && open != shown)
			printf("%s: %lld connections open\n", id, (long long)open);
		shown = open;
		json_decref(doc);
		nanosleep(&pause, NULL);
	}
	doc = ctl_get(c, "/v1/agent/self", false);
	if (!doc)
		return CTL_EXIT_FAILED;
	json_decref(doc);
	return done(c, "drained and deregistered:", id);
}

struct answer {
	size_t len;
	char octets[ANSWER_MAX + 1];
};

static int keep_answer(void *arg, const void *data, size_t len)
{
	struct answer *a = arg;
	size_t n = len < ANSWER_MAX - a->len ? len : ANSWER_MAX - a->len;

	memcpy(a->octets + a->len, data, n);
	a->len += n;
	return 0;
}

/* The answer says whether the last connection can end it. */
static void tell_drain(const struct ctl *c, const char *id, const struct answer *a)
{
	json_t *doc = json_loadb(a->octets, a->len, 0, NULL);
	const char *why = json_string_value(json_object_get(doc, "OnlyDeadline"));

	if (c->json)
		printf("%.*s\n", doc ? (int)a->len : 2, doc ? a->octets : "{}");
	else if (why)
		printf("%s takes no new connections and leaves at its deadline, whatever is open: "
		       "%s\n",
		       id, why);
	else
		printf("%s takes no new connections and leaves with its last one; see: waymarkctl "
		       "instance %s\n",
		       id, id);
	json_decref(doc);
}

int ctl_drain(const struct ctl *c)
{
	struct answer answer = {0};
	const char *id = c->args[0];
	char path[CTL_PATH_MAX], tail[3 * DURATION_MAX + 32] = "/drain";
	size_t at = strlen(tail);

	if (c->deadline && strlen(c->deadline) > DURATION_MAX) {
		ctl_fail(c, "--deadline: a duration such as 30s is wanted");
		return CTL_EXIT_USAGE;
	}
	if (c->deadline) {
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, "?deadline=");
		ctl_escape(tail + at, sizeof(tail) - at, c->deadline);
	}
	if (!ctl_path(c, path, "/v1/waymark/instances/", id, tail))
		return CTL_EXIT_USAGE;
	if (!ctl_call(c, "PUT", path, CTL_TIMEOUT_MS, keep_answer, &answer))
		return CTL_EXIT_FAILED;
	if (!c->wait || !c->json)
		tell_drain(c, id, &answer);
	if (c->wait) {
		ctl_path(c, path, "/v1/waymark/instances/", id, "");
		return wait_gone(c, id, path);
	}
	return 0;
}

int ctl_undrain(const struct ctl *c)
{
	char path[CTL_PATH_MAX];

	if (!ctl_path(c, path, "/v1/waymark/instances/", c->args[0], "/lifecycle?state=running"))
		return CTL_EXIT_USAGE;
	return ctl_send(c, "PUT", path, NULL, false)
		       ? done(c, "takes new connections again:", c->args[0])
		       : CTL_EXIT_FAILED;
}

int ctl_reload(const struct ctl *c)
{
	json_t *status;
	const char *left;

	if (!ctl_send(c, "PUT", "/v1/agent/reload", NULL, true))
		return CTL_EXIT_FAILED;
	status = ctl_get(c, "/v1/waymark/status", true);
	left = json_string_value(json_object_get(status, "needs_restart"));
	left = left ? left : "";
	if (c->json) {
		printf("{\"needs_restart\": \"%s\"}\n", left);
	} else {
		printf("read again: the configuration\n");
		if (*left)
			printf("changed, and as before until the agent starts again: %s\n", left);
	}
	json_decref(status);
	return 0;
}

int ctl_detach(const struct ctl *c)
{
	struct timespec pause = {.tv_nsec = DETACH_POLL_MS * 1000000L};
	struct wm_err e = {0};
	int n = wm_plane_detach(c->pin_dir, c->force, &e);

	/* an agent that was told to stop is gone in a moment */
	for (int ms = 0; n == -EBUSY && ms < DETACH_WAIT_MS; ms += DETACH_POLL_MS) {
		nanosleep(&pause, NULL);
		n = wm_plane_detach(c->pin_dir, c->force, &e);
	}
	if (n < 0)
		return ctl_fail(c, "detach %s: %s", c->pin_dir, e.text);
	if (c->json)
		return ctl_print(c, json_pack("{s:s, s:i}", "PinDir", c->pin_dir, "Removed", n));
	if (n)
		printf("removed %d pins under %s: the kernel serves no more\n", n, c->pin_dir);
	else
		printf("nothing is pinned under %s\n", c->pin_dir);
	return 0;
}
