/* SPDX-License-Identifier: Apache-2.0 */
/* probe_script.c - a program whose exit status is the check's: 0 passes, 1 warns, all else is
 * critical; Consul's rule. Only where the operator allows it. And the state of a systemd unit,
 * which the same machinery asks systemctl for. */
#include "child.h"
#include "probe.h"
#include "userspace/base/duration.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define VARIABLE_MAX (WM_CHECK_ID_MAX + 32) /* octets of "NAME=value" */
#define UNIT_OUTPUT  1024		    /* octets kept of what systemctl says: some lines */

static void nothing(struct wm_prober *p)
{
	(void)p;
}

static void script_cancel(struct wm_prober *p)
{
	wm_child_kill(p->child, NULL);
	p->child = NULL;
}

/* Make the output printable, with a word on what is missing of it, within its bound.
 * @return where it begins. */
static const char *shown(struct wm_prober *p, const struct wm_child_end *end, char *head,
			 size_t cap)
{
	size_t max = WM_CHECK_OUTPUT_MAX, len = end->output_len;
	const char *from = end->output;

	*head = '\0';
	if (end->output_total > wm_prober_output_max(p)) {
		size_t n = (size_t)snprintf(head, cap, "Captured %u of %llu bytes\n...\n",
					    wm_prober_output_max(p),
					    (unsigned long long)end->output_total);

		if (len + n > max) /* its end says most */
			from += len + n - max;
	}
	return from;
}

static void clean(const struct wm_child_end *end)
{
	char *text;

	memcpy(&text, &end->output, sizeof(text)); /* the scratch of children: ours to write */
	if (end->output_len)
		wm_probe_clean(text, end->output_len);
}

static void start_child(struct wm_prober *p, const char *const *argv, uint64_t timeout_ms,
			void (*fn)(void *arg, const struct wm_child_end *end), size_t output_max)
{
	const struct wm_instance *i = p->check->instance;
	char check[VARIABLE_MAX], service[VARIABLE_MAX], name[VARIABLE_MAX];
	const char *const env[] = {"LANG=C.UTF-8", check, service, name, NULL};
	const struct wm_child_options o = {.argv = argv, .env = env, .output_max = output_max};
	int err = 0;

	snprintf(check, sizeof(check), "WAYMARK_CHECK_ID=%s", p->check->id);
	snprintf(service, sizeof(service), "WAYMARK_SERVICE_ID=%s", i->id ? i->id : "");
	snprintf(name, sizeof(name), "WAYMARK_SERVICE=%s", i->name);
	p->child = wm_child_start(p->h->children, &o, fn, p, &err);
	if (p->child)
		wm_schedule_put(p->h->schedule, &p->limit, wm_health_ms(p->h) + timeout_ms);
	else if (wm_probe_own_fault(err) || err == -EAGAIN)
		wm_prober_skip(p);
	else
		wm_prober_done(p, WM_CRITICAL, "fork/exec %s: %s", argv[0], strerror(-err));
}

/* --- scripts ---------------------------------------------------------------------------------- */

static const char *script_refusal(const struct wm_prober *p)
{
	return p->h->config.scripts ? NULL : wm_scripts_refusal(WM_SCRIPTS_OFF);
}

static void on_script_end(void *arg, const struct wm_child_end *end)
{
	struct wm_prober *p = arg;
	int code = WIFEXITED(end->status) ? WEXITSTATUS(end->status) : -1;
	enum wm_status s = code == 0 ? WM_PASSING : code == 1 ? WM_WARNING : WM_CRITICAL;
	const char *from;
	char head[80];

	p->child = NULL;
	clean(end);
	from = shown(p, end, head, sizeof(head));
	if (code < 0)
		wm_prober_done(p, s, "Killed by signal %d\n%s%s", WTERMSIG(end->status), head,
			       from);
	else if (!end->output_total && code)
		wm_prober_done(p, s, "Exit status %d", code);
	else
		wm_prober_done(p, s, "%s%s", head, from);
}

static void script_timeout(struct wm_prober *p)
{
	struct wm_child_end end = {0};
	char after[48] = "", head[80];
	const char *from;

	wm_child_kill(p->child, &end);
	p->child = NULL;
	clean(&end);
	from = shown(p, &end, head, sizeof(head));
	wm_duration_format((int64_t)(wm_prober_timeout_ms(p) * WM_NS_PER_MS), after, sizeof(after));
	wm_prober_done(p, WM_CRITICAL, "Timed out (%s) running check%s%s%s", after,
		       end.output_total ? "\n\n" : "", head, from);
}

static void script_start(struct wm_prober *p, uint64_t timeout_ms)
{
	const char *argv[WM_CHECK_ARGS_MAX + 1] = {NULL};

	for (unsigned i = 0; i < p->check->args_count && i < WM_CHECK_ARGS_MAX; i++)
		argv[i] = p->check->args[i];
	start_child(p, argv, timeout_ms, on_script_end, wm_prober_output_max(p));
}

const struct wm_probe_kind wm_probe_script = {.prepare = nothing,
					      .start = script_start,
					      .cancel = script_cancel,
					      .timeout = script_timeout,
					      .refusal = script_refusal};

/* --- systemd units ---------------------------------------------------------------------------- */

/* Value of "KEY=value", a line of @p text, in @p to. */
static void line_of(const char *text, const char *key, char *to, size_t cap)
{
	size_t n = strlen(key);

	*to = '\0';
	for (const char *next; text; text = next) {
		next = strchr(text, '\n');
		next = next ? next + 1 : NULL;
		if (strncmp(text, key, n) != 0 || text[n] != '=')
			continue;
		snprintf(to, cap, "%.*s", (int)strcspn(text + n + 1, "\n"), text + n + 1);
		return;
	}
}

enum wm_status wm_unit_judge(const char *unit, const char *text, char *ret, size_t cap)
{
	static const char *const moving[] = {"activating", "reloading", "deactivating",
					     "maintenance", "refreshing"};
	char load[32], active[32], sub[32];

	line_of(text, "LoadState", load, sizeof(load));
	line_of(text, "ActiveState", active, sizeof(active));
	line_of(text, "SubState", sub, sizeof(sub));
	if (!*load || !*active) {
		snprintf(ret, cap, "Service \"%s\": systemd does not answer: %s", unit,
			 *text ? text : "no output");
		return WM_CRITICAL;
	}
	if (strcmp(active, "active") == 0) {
		snprintf(ret, cap, "Service \"%s\" is healthy", unit);
		return WM_PASSING;
	}
	if (strcmp(load, "loaded") != 0) {
		snprintf(ret, cap, "Service \"%s\" cannot be found: %s", unit, load);
		return WM_CRITICAL;
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(moving); i++) {
		if (strcmp(active, moving[i]) == 0) {
			snprintf(ret, cap, "Service \"%s\" is %s (%s)", unit, active, sub);
			return WM_WARNING;
		}
	}
	snprintf(ret, cap, "Service \"%s\" is not running: %s (%s)", unit, active, sub);
	return WM_CRITICAL;
}

static void on_unit_end(void *arg, const struct wm_child_end *end)
{
	char text[UNIT_OUTPUT + WM_CHECK_UNIT_MAX + 64];
	struct wm_prober *p = arg;
	enum wm_status s;

	p->child = NULL;
	clean(end);
	s = wm_unit_judge(p->check->target, end->output, text, sizeof(text));
	wm_prober_done(p, s, "%s", text);
}

static void unit_timeout(struct wm_prober *p)
{
	script_cancel(p);
	wm_prober_done(p, WM_CRITICAL, "Service \"%s\": systemd does not answer in time",
		       p->check->target);
}

static void unit_start(struct wm_prober *p, uint64_t timeout_ms)
{
	/* the name is no option and no pattern: registration lets neither through */
	const char *const argv[] = {
		"systemctl", "show",	       "--property=LoadState,ActiveState,SubState",
		"--",	     p->check->target, NULL};

	start_child(p, argv, timeout_ms, on_unit_end, UNIT_OUTPUT);
}

static const char *unit_refusal(const struct wm_prober *p)
{
	return p->h->config.units ? NULL : wm_units_refusal(WM_SCRIPTS_OFF);
}

const struct wm_probe_kind wm_probe_os_service = {.prepare = nothing,
						  .start = unit_start,
						  .cancel = script_cancel,
						  .timeout = unit_timeout,
						  .refusal = unit_refusal};
