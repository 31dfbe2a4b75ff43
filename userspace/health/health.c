/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - from the change stream to probers, from results to statuses. One prober a check, found
 * by node and id of the check, because the registry may replace the object behind them at any time.
 */
#include "health.h"

#include "child.h"
#include "probe.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBERS_MAX	(1u << 27) /* the registry's own bound of checks is met first */
#define DUES_PER_PROBER 3	   /* run, limit, reap */
#define DUES_OWN	2	   /* pump, look */
#define RETRY_MS	1000 /* ms until checks that there was no memory for are tried again */
#define PROBER_KEY_MAX	(WM_NODE_NAME_MAX + WM_CHECK_ID_MAX + 64) /* ids made of ids are longer */

static const struct wm_probe_kind *const kinds[WM_CHECK_KIND_COUNT] = {
	[WM_CHECK_TTL] = &wm_probe_ttl,
	[WM_CHECK_TCP] = &wm_probe_tcp,
	[WM_CHECK_HTTP] = &wm_probe_http,
	[WM_CHECK_UDP] = &wm_probe_udp,
	[WM_CHECK_ALIAS] = &wm_probe_alias,
	[WM_CHECK_SCRIPT] = &wm_probe_script,
	[WM_CHECK_OS_SERVICE] = &wm_probe_os_service,
	[WM_CHECK_GRPC] = &wm_probe_grpc,
	[WM_CHECK_H2PING] = &wm_probe_h2ping,
};

uint64_t wm_prober_interval_ms(const struct wm_prober *p)
{
	uint64_t ms = p->check->interval_ms;
	uint64_t min = p->h->config.interval_min_ms;

	return ms < min ? min : ms;
}

uint64_t wm_prober_timeout_ms(const struct wm_prober *p)
{
	uint64_t interval = wm_prober_interval_ms(p), ms = p->h->config.default_timeout_ms;

	if (p->check->timeout_ms)
		return p->check->timeout_ms;
	return ms < interval ? ms : interval;
}

unsigned wm_prober_output_max(const struct wm_prober *p)
{
	unsigned max = p->check->output_max;

	return max && max < WM_CHECK_OUTPUT_MAX ? max : WM_CHECK_OUTPUT_MAX;
}

bool wm_probe_own_fault(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOBUFS ||
	       err == -ENOSPC;
}

/* --- results -----------------------------------------------------------------------------------
 */

int wm_prober_report(struct wm_prober *p, enum wm_status s, const char *output)
{
	int rc = wm_registry_set_status(p->h->registry, p->check, s, output);

	p->h->stats.transitions += rc > 0;
	return rc < 0 ? rc : 0;
}

/* Consul's rule: so many results in a row before the status follows; a warning counts as a pass; a
 * failure between the two thresholds warns. @return false: the status stays. */
static bool judge(struct wm_prober *p, enum wm_status *s)
{
	const struct wm_check *c = p->check;
	unsigned critical = c->failures_before_critical;
	unsigned warning = c->failures_before_warning ? c->failures_before_warning : critical;

	if (*s != WM_CRITICAL) {
		p->fails = 0;
		p->passes += p->passes < UINT32_MAX;
		return p->passes >= c->success_before_passing;
	}
	p->passes = 0;
	p->fails += p->fails < UINT32_MAX;
	if (p->fails >= critical)
		return true;
	*s = WM_WARNING;
	return p->fails >= warning;
}

static void landed(struct wm_prober *p)
{
	struct wm_health *h = p->h;

	p->flying = false;
	h->stats.in_flight--;
	wm_schedule_drop(h->schedule, &p->limit);
	if (!h->pumping && !TAILQ_EMPTY(&h->queue) && !h->pump.place)
		wm_schedule_put(h->schedule, &h->pump, wm_health_ms(h));
}

void wm_prober_done(struct wm_prober *p, enum wm_status s, const char *fmt, ...)
{
	struct wm_health *h = p->h;
	size_t n;
	va_list ap;

	landed(p);
	h->stats.runs++;
	h->stats.failures += s == WM_CRITICAL;
	if (!judge(p, &s))
		return;
	s = wm_flap_judge(p, s, wm_health_ms(h), h->text, sizeof(h->text));
	n = strlen(h->text);
	va_start(ap, fmt);
	vsnprintf(h->text + n, sizeof(h->text) - n, fmt, ap);
	va_end(ap);
	/* reasons of failures may quote the peer too: a certificate's names */
	wm_probe_clean(h->text, strlen(h->text));
	wm_prober_report(p, s, h->text);
}

void wm_prober_skip(struct wm_prober *p)
{
	landed(p);
	p->h->stats.skipped++;
}

void wm_probe_clean(char *s, size_t len)
{
	uint32_t c;

	for (size_t at = 0, n; at < len; at += n) {
		n = wm_utf8_decode(s + at, len - at, &c);
		/* control characters, also those of U+0080 to U+009F */
		if (n == 2 && c < 0xa0) {
			s[at] = s[at + 1] = '?';
		} else if (n == 0 || (n == 1 && (c < ' ' || c == 0x7f) && c != '\t' && c != '\n' &&
				      c != '\r')) {
			s[at] = '?';
			n = 1;
		}
	}
}

/* --- running -----------------------------------------------------------------------------------
 */

static void start(struct wm_prober *p)
{
	struct wm_health *h = p->h;

	p->flying = true;
	p->shifted = false;
	h->stats.in_flight++;
	p->kind->start(p, wm_prober_timeout_ms(p));
}

/* Probes that end at once free their place at once, so the number started here is bounded too. */
static void pump(struct wm_health *h)
{
	struct wm_prober *p;

	h->pumping = true;
	for (unsigned n = 0; n < WM_SCHEDULE_BATCH && h->stats.in_flight < h->config.probes_max &&
			     (p = TAILQ_FIRST(&h->queue));
	     n++) {
		TAILQ_REMOVE(&h->queue, p, waiting);
		p->queued = false;
		start(p);
	}
	h->pumping = false;
	if (!TAILQ_EMPTY(&h->queue) && h->stats.in_flight < h->config.probes_max && !h->pump.place)
		wm_schedule_put(h->schedule, &h->pump, wm_health_ms(h)); /* let others run */
}

static void on_pump(struct wm_due *d, uint64_t now_ms)
{
	(void)now_ms;
	pump(wm_container_of(d, struct wm_health, pump));
}

static void on_limit(struct wm_due *d, uint64_t now_ms)
{
	struct wm_prober *p = wm_container_of(d, struct wm_prober, limit);

	(void)now_ms;
	if (p->flying && p->kind->timeout)
		p->kind->timeout(p);
}

/* Each check gets another part of its interval, by the golden ratio: however many there are, they
 * lie more evenly over time than at random. The part counts from the clock's start, not from now,
 * so that checks which come one after the other do not bunch up. */
static void spread(struct wm_prober *p, uint64_t now_ms)
{
	uint64_t interval = wm_prober_interval_ms(p);
	uint64_t at = wm_schedule_phase(&p->h->phase, interval);

	wm_schedule_put(p->h->schedule, &p->run,
			now_ms + (at + interval - now_ms % interval) % interval);
}

static void probe_due(struct wm_prober *p, uint64_t now_ms)
{
	uint64_t interval = wm_prober_interval_ms(p), planned = p->run.at_ms, skipped;
	struct wm_health *h = p->h;

	/* the process or the machine stood still: all checks are late, and must not run at once */
	if (now_ms - planned > interval && !p->shifted) {
		p->shifted = true;
		h->stats.late++;
		spread(p, now_ms);
		return;
	}
	wm_schedule_put(h->schedule, &p->run,
			wm_schedule_after(planned, interval, now_ms, &skipped));
	h->stats.late += skipped;
	if (p->flying || p->queued) {
		h->stats.late++;
		return;
	}
	p->queued = true;
	TAILQ_INSERT_TAIL(&h->queue, p, waiting);
	if (!h->pump.place)
		pump(h);
}

static const char *refusal_of(const struct wm_prober *p)
{
	return p->kind->refusal ? p->kind->refusal(p) : NULL;
}

static void on_run(struct wm_due *d, uint64_t now_ms)
{
	struct wm_prober *p = wm_container_of(d, struct wm_prober, run);

	if (refusal_of(p))
		wm_prober_report(p, WM_CRITICAL, refusal_of(p));
	else if (p->kind->due)
		p->kind->due(p, now_ms);
	else
		probe_due(p, now_ms);
}

/* --- removal of what is critical for too long ------------------------------------------------- */

static uint64_t reap_after(const struct wm_prober *p)
{
	uint64_t ms = p->check->deregister_after_ms, min = p->h->config.deregister_min_ms;

	return ms < min ? min : ms;
}

/* Follow the check's status: the time runs from when it became critical, also if how long that may
 * be is said anew meanwhile. */
static void watch_status(struct wm_prober *p)
{
	uint64_t after = reap_after(p);

	if (p->check->status != WM_CRITICAL)
		p->critical_ms = 0;
	else if (!p->critical_ms)
		p->critical_ms = wm_health_ms(p->h);
	/* a check of the node has no instance to remove */
	if (!p->check->deregister_after_ms || !p->critical_ms || !p->check->instance->service)
		wm_schedule_drop(p->h->schedule, &p->reap);
	else if (!p->reap.place || p->reap_after_ms != after)
		wm_schedule_put(p->h->schedule, &p->reap, p->critical_ms + after);
	p->reap_after_ms = after;
}

static void on_reap(struct wm_due *d, uint64_t now_ms)
{
	struct wm_prober *p = wm_container_of(d, struct wm_prober, reap);
	struct wm_health *h = p->h;

	/* the commit may fail: until the instance is gone, try again */
	wm_schedule_put(h->schedule, &p->reap, now_ms + reap_after(p));
	if (!wm_registry_deregister(h->registry, p->check->instance->id, NULL, NULL, NULL))
		h->stats.reaped++;
}

/* --- probers -----------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t h, const char *s)
{
	struct {
		uint64_t before, text;
	} pair = {h, s ? wm_hash(s, strlen(s)) : 0};

	return wm_hash(&pair, sizeof(pair));
}

/* Hash of all that a run depends on. Names, notes and thresholds are not part of it: they may
 * change between runs. */
static uint64_t shape_of(const struct wm_check *c)
{
	const uint64_t numbers[] = {(uint64_t)c->kind, c->interval_ms,	   c->timeout_ms,
				    c->ttl_ms,	       c->tls_skip_verify, c->disable_redirects,
				    c->use_tls,	       c->headers_count,   c->output_max,
				    c->args_count};
	uint64_t h = wm_hash(numbers, sizeof(numbers));

	h = mix(mix(mix(mix(h, c->target), c->method), c->body), c->tls_server_name);
	for (unsigned i = 0; i < c->headers_count; i++)
		h = mix(mix(h, c->headers[i].key), c->headers[i].value);
	for (unsigned i = 0; i < c->args_count; i++)
		h = mix(h, c->args[i]);
	return h;
}

/* Back to the state of a check that never ran. */
static void prober_stop(struct wm_prober *p)
{
	struct wm_health *h = p->h;

	if (p->queued)
		TAILQ_REMOVE(&h->queue, p, waiting);
	p->queued = false;
	if (p->flying) {
		p->kind->cancel(p);
		landed(p);
	}
	if (p->kind->forget)
		p->kind->forget(p);
	wm_schedule_drop(h->schedule, &p->run);
	wm_flap_forget(p);
	p->passes = p->fails = 0;
	p->shifted = false;
}

static void prober_begin(struct wm_prober *p)
{
	p->kind = kinds[p->check->kind];
	p->shape = shape_of(p->check);
	p->kind->prepare(p);
	if (refusal_of(p)) /* soon, but not while the registry speaks */
		wm_schedule_put(p->h->schedule, &p->run, wm_health_ms(p->h));
	else if (p->kind->start)
		spread(p, wm_health_ms(p->h));
}

static void prober_free(struct wm_prober *p)
{
	struct wm_health *h = p->h;

	prober_stop(p);
	wm_schedule_drop(h->schedule, &p->reap);
	wm_map_del(h->probers, p->key, p->key_len);
	h->stats.checks--;
	p->check->prober = NULL;
	free(p);
}

/* Ids of checks are unique on a node only: its name stands in front, NUL between. @return octets.
 */
static size_t key_of(const struct wm_check *c, char key[PROBER_KEY_MAX])
{
	return (size_t)snprintf(key, PROBER_KEY_MAX, "%s%c%s", c->instance->node->folded, 0, c->id);
}

static struct wm_prober *prober_of(const struct wm_health *h, const struct wm_check *c)
{
	char key[PROBER_KEY_MAX];
	size_t len = key_of(c, key);

	return wm_map_get(h->probers, key, len);
}

static int prober_new(struct wm_health *h, struct wm_check *c)
{
	char key[PROBER_KEY_MAX];
	size_t len = key_of(c, key);
	struct wm_prober *p = calloc(1, sizeof(*p) + len);

	if (!p)
		return -ENOMEM;
	memcpy(p->key, key, len);
	p->key_len = len;
	if (wm_schedule_reserve(h->schedule,
				(wm_map_len(h->probers) + 1) * DUES_PER_PROBER + DUES_OWN) ||
	    wm_map_put(h->probers, p->key, len, p, NULL)) {
		free(p);
		return -ENOMEM;
	}
	p->h = h;
	p->check = c;
	p->fd = -1;
	p->run.fn = on_run;
	p->limit.fn = on_limit;
	p->reap.fn = on_reap;
	c->prober = p;
	h->stats.checks++;
	prober_begin(p);
	watch_status(p);
	return 0;
}

/* --- change stream ------------------------------------------------------------------------------
 */

static bool is_started(const struct wm_health *h, const struct wm_check *c)
{
	const struct wm_prober *p = prober_of(h, c);

	return p && (c->kind != WM_CHECK_ALIAS || p->alias);
}

static void check_upsert(struct wm_health *h, struct wm_check *c)
{
	struct wm_prober *p;

	/* another agent's check is that one's to run */
	if (c->kind == WM_CHECK_STATED || wm_instance_foreign(c->instance))
		return;
	p = prober_of(h, c);
	if (!kinds[c->kind]) { /* maintenance: nothing to run */
		if (p)
			prober_free(p);
		return;
	}
	if (!p) {
		if (prober_new(h, c))
			wm_health_unstarted(h);
		return;
	}
	p->check = c;
	c->prober = p;
	if (p->shape != shape_of(c) || (c->kind == WM_CHECK_ALIAS && !p->alias)) {
		prober_stop(p);
		prober_begin(p);
	}
	watch_status(p);
}

void wm_health_unstarted(struct wm_health *h)
{
	h->stats.unstarted++;
	wm_env_timer_arm(h->retry, RETRY_MS);
}

static void start_all(struct wm_health *h, bool missing_only)
{
	const struct wm_instance *node = wm_registry_node_checks(h->registry);
	struct wm_instance *i;
	size_t pos = 0;

	for (unsigned n = 0; n < node->checks_count; n++)
		if (!missing_only || !is_started(h, node->checks[n]))
			check_upsert(h, node->checks[n]);
	while ((i = wm_registry_next_instance(h->registry, &pos))) {
		for (unsigned n = 0; n < i->checks_count; n++)
			if (!missing_only || !is_started(h, i->checks[n]))
				check_upsert(h, i->checks[n]);
	}
}

static void on_retry(void *arg)
{
	start_all(arg, true);
}

/* A redefined check comes as the removal of the old object and then the new instance: the prober
 * goes over to the object that now stands behind the id, and keeps its schedule. */
static void check_removed(struct wm_health *h, struct wm_check *c)
{
	struct wm_prober *p = prober_of(h, c);
	struct wm_check *now = wm_node_check(c->instance->node, c->id);

	c->prober = NULL;
	if (!p || p->check != c)
		return;
	if (!now || now == c) {
		prober_free(p);
		c->prober = NULL;
	} else {
		check_upsert(h, now);
	}
}

static void instance_deleted(struct wm_health *h, const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->instance == i)
			check_removed(h, i->checks[n]);
	}
}

/* Aliases of it look again. */
static void tell_aliases(struct wm_health *h, const struct wm_change *c)
{
	if (c->kind == WM_CHANGE_NODE)
		wm_alias_all_changed(h);
	else if (c->instance && c->instance->id)
		wm_alias_changed(h, c->instance->id);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_health *h = arg;

	tell_aliases(h, c);
	switch (c->kind) {
	case WM_CHANGE_INSTANCE_UPSERT:
		for (unsigned n = 0; n < c->instance->checks_count; n++)
			check_upsert(h, c->instance->checks[n]);
		break;
	case WM_CHANGE_INSTANCE_DELETED:
		instance_deleted(h, c->instance);
		break;
	case WM_CHANGE_CHECK_REMOVED:
		check_removed(h, c->check);
		break;
	case WM_CHANGE_NODE:
		for (unsigned n = 0; n < c->instance->checks_count; n++)
			check_upsert(h, c->instance->checks[n]);
		break;
	case WM_CHANGE_STATUS:
		if (c->check && c->check->prober)
			watch_status(c->check->prober);
		break;
	case WM_CHANGE_SERVICE_CREATED:
	case WM_CHANGE_SERVICE_DELETED:
	case WM_CHANGE_NODE_UPSERT:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_SPEC:
	case WM_CHANGE_POLICY:
	case WM_CHANGE_NODE_DELETED:
		break;
	}
}

/* The turn that this begins ends with a look. */
static void on_look(struct wm_due *d, uint64_t now_ms)
{
	(void)d;
	(void)now_ms;
}

/* --- public --------------------------------------------------------------------------------------
 */

struct wm_health *wm_health_new(struct wm_loop *l, struct wm_registry *r,
				const struct wm_health_config *c)
{
	struct wm_health *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = l;
	h->registry = r;
	h->config = *c;
	if (!h->config.probes_max)
		h->config.probes_max = 1;
	if (h->config.flap_changes > WM_FLAP_CHANGES_MAX)
		h->config.flap_changes = WM_FLAP_CHANGES_MAX;
	if (!h->config.interval_min_ms)
		h->config.interval_min_ms = 1;
	if (!h->config.deregister_min_ms)
		h->config.deregister_min_ms = WM_DEREGISTER_MIN_MS;
	h->phase =
		wm_env_below(c->env, UINT64_MAX); /* nodes that start together do not keep step */
	h->pump.fn = on_pump;
	h->look.fn = on_look;
	TAILQ_INIT(&h->queue);
	TAILQ_INIT(&h->stale);
	h->http = wm_http_client_new(l, h->config.probes_max);
	if (h->http)
		wm_http_client_resolve(h->http, &(struct wm_resolver_config){.own = c->own_dns});
	h->schedule = wm_schedule_new(c->env);
	h->children = wm_children_new(l, c->env);
	h->probers = wm_map_new(PROBERS_MAX);
	h->aliases = wm_map_new(PROBERS_MAX);
	h->retry = wm_env_timer_new(c->env, on_retry, h);
	if (!h->http || !h->retry || !h->children || !h->schedule || !h->probers || !h->aliases ||
	    wm_schedule_reserve(h->schedule, DUES_OWN) || wm_registry_subscribe(r, on_change, h) ||
	    wm_loop_on_turn_end(l, WM_HOOK_HEALTH, wm_alias_turn_end, h)) {
		wm_health_free(h);
		return NULL;
	}
	start_all(h, false);
	return h;
}

void wm_health_free(struct wm_health *h)
{
	struct wm_prober *p;
	size_t pos = 0;

	if (!h)
		return;
	while (h->probers && (p = wm_map_next(h->probers, &pos)))
		prober_free(p);
	wm_env_timer_free(h->retry);
	wm_map_free(h->probers);
	wm_map_free(h->aliases);
	wm_http_client_free(h->http);
	wm_children_free(h->children);
	wm_schedule_free(h->schedule);
	free(h);
}

int wm_health_ttl_update(struct wm_health *h, const char *check_id, enum wm_status s,
			 const char *output, struct wm_err *e)
{
	const struct wm_check *c = wm_registry_check(h->registry, check_id);
	struct wm_prober *p = c ? prober_of(h, c) : NULL;

	if (!c)
		return wm_err_set(e, WM_E_UNKNOWN,
				  "Unknown check ID \"%.64s\". Ensure that the check ID is passed, "
				  "not the check name.",
				  check_id);
	if (!p || p->check->kind != WM_CHECK_TTL)
		return wm_err_set(e, WM_E_INVALID, "CheckID \"%.64s\" does not have associated TTL",
				  check_id);
	h->stats.runs++;
	h->stats.failures += s == WM_CRITICAL;
	p->shifted = false;
	wm_ttl_await(p, wm_health_ms(h));
	if (wm_prober_report(p, s, output))
		return wm_err_set(e, -ENOMEM, "Out of memory; the check keeps its status");
	return 0;
}

unsigned wm_health_hasten(struct wm_health *h, const struct wm_instance *i)
{
	unsigned n = 0;

	for (unsigned k = 0; k < i->checks_count; k++) {
		struct wm_prober *p = i->checks[k]->prober;

		if (!p || p->kind->due || refusal_of(p) || p->flying || p->queued)
			continue;
		wm_schedule_put(h->schedule, &p->run, wm_health_ms(h));
		n++;
	}
	return n;
}

void wm_health_stats(const struct wm_health *h, struct wm_health_stats *ret)
{
	*ret = h->stats;
	ret->lookups = wm_http_client_questions(h->http);
}
