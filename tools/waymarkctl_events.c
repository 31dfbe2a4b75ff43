/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_events.c - follow the registry's changes. A stream that ends is taken up again where
 * it was, as a client of server-sent events does (WHATWG HTML, 9.2). */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM_MS (86400ull * 1000) /* ms of one request; then the next */
#define RETRY_S	  1		    /* seconds before a stream is taken up again */

struct stream {
	const struct ctl *c;
	struct ctl_lines lines;
	char event[64];
	unsigned long long index; /* of the last event; 0: none */
	bool lost;		  /* said that it is taken up again */
};

static void show(const struct stream *s, const json_t *v)
{
	const json_t *check = json_object_get(v, "check");
	char date[16], service[2 * CTL_NAME_MAX], id[2 * CTL_NAME_MAX], check_id[2 * CTL_NAME_MAX];
	time_t now = time(NULL);
	struct tm local;

	localtime_r(&now, &local);
	strftime(date, sizeof(date), "%H:%M:%S", &local);
	printf("%s %-18s %-20s %s", date, s->event,
	       wm_plain(ctl_text(v, "service"), service, sizeof(service)),
	       wm_plain(ctl_text(v, "instance"), id, sizeof(id)));
	if (json_object_get(v, "status"))
		printf(" %s:%lld %s %s", ctl_text(v, "address"),
		       (long long)json_integer_value(json_object_get(v, "port")),
		       ctl_text(v, "status"), ctl_text(v, "state"));
	if (check)
		printf(" check=%s %s", wm_plain(ctl_text(check, "id"), check_id, sizeof(check_id)),
		       ctl_text(check, "status"));
	if (!*ctl_text(v, "instance"))
		printf(" %s", wm_plain(ctl_text(v, "node"), id, sizeof(id)));
	putchar('\n');
}

static void take_line(void *arg, const char *line)
{
	struct stream *s = arg;
	json_t *v;

	if (strncmp(line, "id: ", 4) == 0)
		s->index = strtoull(line + 4, NULL, 10);
	else if (strncmp(line, "event: ", 7) == 0)
		snprintf(s->event, sizeof(s->event), "%.60s", line + 7);
	if (strncmp(line, "data: ", 6) != 0)
		return;
	v = json_loads(line + 6, 0, NULL);
	if (v && s->c->json) {
		json_object_set_new(v, "event", json_string(s->event));
		json_dumpf(v, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else if (v) {
		show(s, v);
	}
	json_decref(v);
	fflush(stdout);
}

static int on_data(void *arg, const void *data, size_t len)
{
	struct stream *s = arg;

	if (s->lost && !s->c->json)
		fprintf(stderr, "waymarkctl: events again\n");
	s->lost = false;
	ctl_lines_take(&s->lines, data, len, take_line, s);
	return ferror(stdout) ? -1 : 0;
}

/* Said once for each time that the stream is lost; on stderr, where it mixes with no event. */
static void tell_lost(const struct ctl *c, struct stream *s)
{
	if (!s->lost)
		ctl_fail(c,
			 "the stream of events ended, trying again every %d s from index %llu on",
			 RETRY_S, s->index);
	s->lost = true;
}

int ctl_events(const struct ctl *c)
{
	struct ctl again = *c;
	struct stream s = {.c = c};
	struct timespec pause = {.tv_sec = RETRY_S};
	char path[CTL_PATH_MAX], index[64];

	for (;;) {
		snprintf(index, sizeof(index), s.index ? "&index=%llu" : "", s.index);
		if (c->service) {
			if (!ctl_path(c, path, "/v1/waymark/events?service=", c->service, index))
				return CTL_EXIT_USAGE;
		} else {
			snprintf(path, sizeof(path), "/v1/waymark/events?%s", index);
		}
		s.lines.len = 0;
		if (!ctl_call(&again, NULL, path, STREAM_MS, on_data, &s) && !s.index)
			return CTL_EXIT_FAILED; /* it was refused, or nobody was there */
		again.quiet = true;
		tell_lost(c, &s);
		nanosleep(&pause, NULL);
	}
}
