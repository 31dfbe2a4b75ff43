/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ttl.c - checks whose clients report by themselves: silence for a TTL is critical. A new
 * check, and every check after a restart, has one whole TTL for its first report. */
#include "probe.h"

#include <stdio.h>
#include <string.h>

#define EXPIRED "TTL expired"

void wm_ttl_await(struct wm_prober *p, uint64_t now_ms)
{
	wm_schedule_put(p->h->schedule, &p->run,
			now_ms + p->check->ttl_ms + p->h->config.ttl_grace_ms);
}

static void ttl_prepare(struct wm_prober *p)
{
	wm_ttl_await(p, wm_health_ms(p->h));
}

static void ttl_due(struct wm_prober *p, uint64_t now_ms)
{
	struct wm_health *h = p->h;
	const char *last = p->check->output;

	/* who stood still heard no heartbeats: once, wait for another TTL */
	if (!p->shifted && now_ms - p->run.at_ms > p->check->ttl_ms) {
		p->shifted = true;
		h->stats.late++;
		wm_ttl_await(p, now_ms);
		return;
	}
	h->stats.expired++;
	h->stats.failures++;
	if (!*last)
		snprintf(h->text, sizeof(h->text), EXPIRED);
	else if (strncmp(last, EXPIRED, strlen(EXPIRED)) == 0) /* of before a restart */
		snprintf(h->text, sizeof(h->text), "%s", last);
	else
		snprintf(h->text, sizeof(h->text),
			 EXPIRED " (last output before timeout follows): %s", last);
	wm_prober_report(p, WM_CRITICAL, h->text);
}

const struct wm_probe_kind wm_probe_ttl = {.prepare = ttl_prepare, .due = ttl_due};
