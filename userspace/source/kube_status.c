/* SPDX-License-Identifier: Apache-2.0 */
/* kube_status.c - see kube_status.h. */
#include "kube_status.h"

#include "userspace/base/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS	       1000  /* of an agent that is alone, at most */
#define WAIT_EACH_MS   20    /* more for each other: what a write needs to be seen by all */
#define WAIT_MOST_MS   30000 /* however many they are */
#define NEXT_MS	       200   /* between two writes of ours, and up to as much more: 5 a second */
#define FAILED_MS      1000  /* after one that failed: doubled, with jitter */
#define FAILED_MOST_MS 300000
#define REFUSED_MS     600000 /* until who may not write asks again whether it may */
#define PATH_OCTETS    512

struct kube_status {
	struct kube_status_config c;
	struct wm_timer *timer;
	bool armed, flies;
	bool told; /* that we may not */
	unsigned fails;
	size_t pos;						/* of the walk: each has its turn */
	char key[WM_KUBE_LABEL_MAX + 1 + WM_KUBE_NAME_MAX + 1]; /* that flies */
};

static void arm(struct kube_status *s, uint64_t least_ms, uint64_t more_ms)
{
	const struct wm_env *env = wm_loop_env(s->c.loop);

	s->armed = !wm_timer_arm(s->timer, least_ms + wm_env_below(env, more_ms + 1));
}

static void arm_turn(struct kube_status *s)
{
	uint64_t ms = WAIT_MS + (uint64_t)*s->c.all * WAIT_EACH_MS;

	arm(s, NEXT_MS, ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS);
}

/* --- what came of it ---------------------------------------------------------------------------
 */
static void refused(struct kube_status *s, const char *text)
{
	wm_source_count(s->c.source, WM_SOURCE_COUNT_statuses_refused, 1);
	if (!s->told)
		wm_warn("kubernetes.status",
			"object=%s text=%s hint=\"statuses of waymarkpolicies are not written; "
			"grant patch of waymarkpolicies/status, or set "
			"source.kubernetes_policy_status to false\"",
			wm_log_q(s->key), wm_log_q(text));
	s->told = true;
	arm(s, REFUSED_MS, REFUSED_MS / 4);
}

static void failed(struct kube_status *s)
{
	uint64_t ms = s->fails < 16 ? FAILED_MS << s->fails : FAILED_MOST_MS;

	wm_source_count(s->c.source, WM_SOURCE_COUNT_errors, 1);
	s->fails++;
	ms = ms < FAILED_MOST_MS ? ms : FAILED_MOST_MS;
	arm(s, ms / 2, ms / 2);
}

static void on_written(void *arg, long status, const char *text)
{
	struct kube_status *s = arg;
	bool for_good = status >= 200 && status < 500 && status != 401 && status != 429;

	s->flies = false;
	/* what it has become is told by the watch, also where another one was first */
	if (for_good && status != 403)
		kube_said_settled(s->c.said, s->key);
	if (status == 403 || status == 404) {
		refused(s, text);
	} else if (status == 409) {
		wm_source_count(s->c.source, WM_SOURCE_COUNT_statuses_late, 1);
		arm_turn(s);
	} else if (status < 200 || status > 299) {
		failed(s);
	} else {
		wm_source_count(s->c.source, WM_SOURCE_COUNT_statuses, 1);
		s->told = false;
		s->fails = 0;
		arm(s, NEXT_MS, NEXT_MS);
	}
}

/* --- writing -----------------------------------------------------------------------------------
 */
static char *body_of(const struct kube_status *s, const struct kube_said_status *is)
{
	time_t at = (time_t)(wm_env_wall_ms(wm_loop_env(s->c.loop)) / 1000);
	char now[sizeof("2026-01-01T00:00:00Z") + 8] = "", *text;
	struct tm tm;
	json_t *j;

	if (gmtime_r(&at, &tm))
		strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm);
	j = json_pack("{s{ss}s{s[{ss ss sI ss ss ss}]}}", "metadata", "resourceVersion",
		      is->version, "status", "conditions", "type", "Accepted", "status",
		      is->accepted ? "True" : "False", "observedGeneration",
		      (json_int_t)is->generation, "lastTransitionTime",
		      *is->since ? is->since : now, "reason", is->reason, "message", is->message);
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	return text;
}

static int write_one(struct kube_status *s, const struct kube_said_status *is)
{
	char path[PATH_OCTETS], *body = body_of(s, is);
	int scope = (int)strcspn(is->key, "/"), r;

	if (!body)
		return -ENOMEM;
	snprintf(s->key, sizeof(s->key), "%s", is->key);
	snprintf(path, sizeof(path),
		 "/apis/waymark.io/v1/namespaces/%.*s/waymarkpolicies/%s/status?fieldManager="
		 "waymark",
		 scope, is->key, is->key + scope + 1);
	r = wm_kube_patch(s->c.client, path, body, on_written, s);
	free(body);
	return r;
}

static bool next(struct kube_status *s, struct kube_said_status *ret)
{
	if (kube_said_differs(s->c.said, &s->pos, ret))
		return true;
	s->pos = 0;
	return kube_said_differs(s->c.said, &s->pos, ret);
}

static void on_turn(void *arg)
{
	struct kube_status *s = arg;
	struct kube_said_status is;

	s->armed = false;
	if (s->flies || !next(s, &is))
		return;
	s->flies = true;
	if (write_one(s, &is)) {
		s->flies = false;
		failed(s);
	}
}

void kube_status_look(struct kube_status *s)
{
	struct kube_said_status is;
	size_t pos = 0;

	if (!s || s->armed || s->flies || !kube_said_differs(s->c.said, &pos, &is))
		return;
	arm_turn(s);
}

/* --- begin and end -----------------------------------------------------------------------------
 */
struct kube_status *kube_status_new(const struct kube_status_config *c)
{
	struct kube_status *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->c = *c;
	s->timer = wm_timer_new(c->loop, on_turn, s);
	if (s->timer)
		return s;
	free(s);
	return NULL;
}

void kube_status_free(struct kube_status *s)
{
	if (s)
		wm_timer_free(s->timer);
	free(s);
}
