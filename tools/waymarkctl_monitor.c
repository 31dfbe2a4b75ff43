/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_monitor.c - follow the decisions of connect() and of datagrams as they are made.
 * Nothing is kept: what was decided while nobody watched is not told. */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM_MS (86400ull * 1000) /* ms of one request; then the next */
#define RETRY_S	  1		    /* seconds before a stream is taken up again */

#define CGROUP_MAX  511 /* octets of --cgroup, as the agent takes them */
#define VERDICT_MAX 32	/* octets of --verdict; a path has all of them, escaped */

struct stream {
	const struct ctl *c;
	struct ctl_lines lines;
	char event[64];
	bool reached;
};

static void show_choice(const json_t *v)
{
	const json_t *score = json_object_get(v, "score"),
		     *other = json_object_get(v, "other_score");
	char id[4 * CTL_NAME_MAX], zone[4 * CTL_NAME_MAX];

	printf(" -> %s %s (tier %lld", ctl_text(v, "address"),
	       wm_plain(ctl_text(v, "instance"), id, sizeof(id)),
	       (long long)json_integer_value(json_object_get(v, "tier")));
	if (*ctl_text(v, "zone"))
		printf(", zone %s", wm_plain(ctl_text(v, "zone"), zone, sizeof(zone)));
	printf(", %s", ctl_text(v, "why"));
	if (other)
		printf(": %.4g, and %s %.4g", json_number_value(score),
		       wm_plain(ctl_text(v, "other"), id, sizeof(id)), json_number_value(other));
	putchar(')');
}

static void show(const json_t *v)
{
	json_int_t ms = json_integer_value(json_object_get(v, "time_ms"));
	time_t at = (time_t)(ms / 1000);
	char date[16], service[4 * CTL_NAME_MAX], id[4 * CTL_NAME_MAX], process[80], cgroup[1100],
		pod[4 * CTL_NAME_MAX];
	struct tm local;

	localtime_r(&at, &local);
	strftime(date, sizeof(date), "%H:%M:%S", &local);
	wm_plain(ctl_text(v, "subset"), id, sizeof(id));
	printf("%s.%03d %-8s %s%s %s %s%s%s", date, (int)(ms % 1000), ctl_text(v, "verdict"),
	       ctl_text(v, "protocol"), json_is_true(json_object_get(v, "datagram")) ? "*" : "",
	       ctl_text(v, "virtual"), id, *id ? "." : "",
	       wm_plain(ctl_text(v, "service"), service, sizeof(service)));
	if (*ctl_text(v, "address"))
		show_choice(v);
	printf(" %s[%lld] %s%s%s\n", wm_plain(ctl_text(v, "process"), process, sizeof(process)),
	       (long long)json_integer_value(json_object_get(v, "pid")),
	       wm_plain(ctl_text(v, "cgroup"), cgroup, sizeof(cgroup)),
	       *ctl_text(v, "pod") ? " of " : "", wm_plain(ctl_text(v, "pod"), pod, sizeof(pod)));
}

static void take_event(const struct stream *s, json_t *v)
{
	bool dropped = strcmp(s->event, "dropped") == 0;

	if (strcmp(s->event, "flow") != 0 && !dropped)
		return;
	if (s->c->json) {
		json_object_set_new(v, "event", json_string(s->event));
		json_dumpf(v, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else if (dropped) {
		printf("%lld decisions were dropped (%s)\n",
		       (long long)json_integer_value(json_object_get(v, "dropped")),
		       ctl_text(v, "where"));
	} else {
		show(v);
	}
	fflush(stdout);
}

static void take_line(void *arg, const char *line)
{
	struct stream *s = arg;
	json_t *v = NULL;

	if (strncmp(line, "event: ", 7) == 0)
		snprintf(s->event, sizeof(s->event), "%.60s", line + 7);
	if (strncmp(line, "data: ", 6) == 0)
		v = json_loads(line + 6, 0, NULL);
	if (v)
		take_event(s, v);
	json_decref(v);
}

static int on_data(void *arg, const void *data, size_t len)
{
	struct stream *s = arg;

	s->reached = true;
	ctl_lines_take(&s->lines, data, len, take_line, s);
	return ferror(stdout) ? -1 : 0;
}

/* What an option selects. @return false: it is too long for anything, and said. */
static bool add(const struct ctl *c, char path[CTL_PATH_MAX], const char *key, const char *value,
		size_t max)
{
	size_t at = strlen(path);

	if (!value)
		return true;
	if (strlen(value) > max) {
		ctl_fail(c, "--%s: at most %zu octets", key, max);
		return false;
	}
	at += (size_t)snprintf(path + at, CTL_PATH_MAX - at, "&%s=", key);
	ctl_escape(path + at, CTL_PATH_MAX - at, value);
	return true;
}

int ctl_monitor(const struct ctl *c)
{
	struct ctl over = ctl_over_socket(c);
	struct stream s = {.c = c};
	struct timespec pause = {.tv_sec = RETRY_S};
	char path[CTL_PATH_MAX] = "/v1/waymark/flows?";

	if (!add(c, path, "service", c->service, CTL_NAME_MAX) ||
	    !add(c, path, "cgroup", c->cgroup, CGROUP_MAX) ||
	    !add(c, path, "verdict", c->verdict, VERDICT_MAX))
		return CTL_EXIT_USAGE;
	for (;;) {
		s.lines.len = 0;
		if (!ctl_call(&over, NULL, path, STREAM_MS, on_data, &s) && !s.reached)
			return CTL_EXIT_FAILED; /* it was refused, or nobody was there */
		if (!over.quiet)
			ctl_fail(c, "the stream ended, trying again every %d s", RETRY_S);
		over.quiet = true;
		nanosleep(&pause, NULL);
	}
}
