/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_status.c - is all well? Ten lines and an exit status: 0 healthy, 1 degraded, 2 no
 * agent; then what the kernel still serves is read from the pins. */
#include "userspace/base/duration.h"
#include "userspace/dataplane/inspect.h"
#include "waymarkctl.h"

#include <inttypes.h>
#include <string.h>

#define LABEL_WIDTH 10

static long long number_of(const json_t *v, const char *key)
{
	return (long long)json_integer_value(json_object_get(v, key));
}

static void label(const char *name)
{
	printf("%-*s ", LABEL_WIDTH, name);
}

static void put_list(const json_t *list, const char *none)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v) printf("%s%s", i ? ", " : "", json_string_value(v));
	printf("%s\n", json_array_size(list) ? "" : none);
}

/* --- warnings --------------------------------------------------------------------------------- */
static void warn(json_t *list, const char *what, const char *why, const char *todo)
{
	json_array_append_new(list, json_sprintf("%s%s%s: %s", what, *why ? ": " : "", why, todo));
}

/* Services that nobody can use are their owners' matter, and no fault of the agent; but told. */
static void collect_services(const json_t *statistics, json_t *warnings)
{
	const json_t *healthy = json_object_get(statistics, "services_healthy");
	long long down = number_of(statistics, "services") - (long long)json_integer_value(healthy);

	if (json_is_integer(healthy) && down > 0)
		json_array_append_new(warnings,
				      json_sprintf("services: %lld without a healthy instance: see "
						   "waymarkctl services",
						   down));
}

/* What was taken out of service, or never came into it, is not served: degraded, for who asks us.
 */
static bool collect_left_out(const json_t *status, json_t *warnings)
{
	const json_t *defined = json_object_get(status, "definitions");
	const json_t *maintenance = json_object_get(status, "maintenance");
	char what[64];

	if (json_is_string(maintenance))
		warn(warnings, "node: in maintenance", json_string_value(maintenance),
		     "all its services are out of service; to end it: waymarkctl maint off");
	snprintf(what, sizeof(what), "definitions: %lld failed", number_of(defined, "failed"));
	if (number_of(defined, "failed"))
		warn(warnings, what, ctl_text(defined, "first_failure"),
		     "mend the file, see waymarkctl validate, then waymarkctl reload");
	return json_is_string(maintenance) || number_of(defined, "failed");
}

/* What an operator should do something about. @return true: the agent is degraded by it. */
/* Of the table that is the fullest. */
static const char *raise_which(const json_t *tables)
{
	static const struct {
		const char *table, *remedy;
	} all[] = {{"backends", "backends are the fullest table: raise kernel.backends_max"},
		   {"slots", "slots are the fullest table: raise kernel.backends_max"},
		   {"sets", "sets are the fullest table: raise kernel.services_max"},
		   {"names", "names are the fullest table: raise kernel.services_max"},
		   {"frontends", "frontends are the fullest table: raise kernel.frontends_max"}};
	const char *ret = "";
	double most = -1;

	for (size_t n = 0; n < sizeof(all) / sizeof(*all); n++) {
		const json_t *t = json_object_get(tables, all[n].table);
		double cap = (double)number_of(t, "cap");
		double share = cap > 0 ? (double)number_of(t, "used") / cap : 0;

		if (share <= most)
			continue;
		most = share;
		ret = all[n].remedy;
	}
	return ret;
}

static bool collect(const json_t *status, json_t *warnings)
{
	const json_t *plane = json_object_get(status, "plane"), *reason;
	const json_t *registry = json_object_get(status, "registry");
	const json_t *tables = json_object_get(status, "tables");
	bool degraded = strcmp(ctl_text(plane, "state"), "degraded") == 0;
	size_t i;

	json_array_foreach(json_object_get(plane, "reasons"), i, reason)
		warn(warnings, "kernel", json_string_value(reason), "see waymarkctl doctor");
	if (json_is_true(json_object_get(registry, "store_failed"))) {
		warn(warnings, "store", ctl_text(registry, "last_error"),
		     "writes are refused until the disk takes them again");
		degraded = true;
	}
	if (*ctl_text(status, "needs_restart"))
		warn(warnings, "settings changed", ctl_text(status, "needs_restart"),
		     "they are as before until the agent starts again");
	if (number_of(tables, "full"))
		warn(warnings, "tables", "something did not fit since the start",
		     raise_which(tables));
	if (number_of(tables, "collisions"))
		warn(warnings, "tables", "two names share a hash",
		     "one of them is answered from userspace");
	json_array_foreach(json_object_get(json_object_get(status, "mesh"), "reasons"), i, reason)
	{
		warn(warnings, "mesh", ctl_text(reason, "text"), ctl_text(reason, "remedy"));
		degraded = true;
	}
	if (number_of(json_object_get(status, "metadata"), "lost"))
		warn(warnings, "metadata", "values were left out of the index",
		     "filters look at every row for them");
	return degraded;
}

/* --- the ten lines ---------------------------------------------------------------------------- */
static void put_head(const json_t *s, bool degraded)
{
	char up[40];

	wm_duration_format((int64_t)(number_of(s, "uptime_ms") / 1000) * 1000000000, up,
			   sizeof(up));
	printf("waymark %s on %s, datacenter %s, up %s: ", ctl_text(s, "version"),
	       ctl_text(s, "node"), ctl_text(s, "datacenter"), up);
	ctl_word(degraded ? "DEGRADED" : "healthy", stdout);
	putchar('\n');
}

static void put_services(const json_t *s, const json_t *statistics)
{
	const json_t *healthy = json_object_get(statistics, "services_healthy");
	const json_t *by = json_object_get(
		json_object_get(json_object_get(statistics, "by"), "status"), "values");
	long long all = number_of(statistics, "instances");

	label("services");
	if (json_is_integer(healthy))
		printf("%lld of %lld healthy\n", (long long)json_integer_value(healthy),
		       number_of(statistics, "services"));
	else
		printf("%lld\n", number_of(json_object_get(s, "registry"), "services"));
	label("instances");
	printf("%lld of %lld healthy\n", all - number_of(by, "critical"), all);
}

static void put_plane(const json_t *plane)
{
	const json_t *hook, *hooks = json_object_get(plane, "hooks");
	const char *where = "";
	size_t i;

	label("kernel");
	printf("%s", *ctl_text(plane, "state")				? ctl_text(plane, "state")
		     : json_is_true(json_object_get(plane, "attached")) ? "on"
									: "off");
	json_array_foreach(hooks, i, hook)
	{
		if (!json_is_true(json_object_get(hook, "attached")))
			continue;
		if (strcmp(where, ctl_text(hook, "where")) != 0)
			printf("%s %s:", *where ? ";" : ",", ctl_text(hook, "where"));
		where = ctl_text(hook, "where");
		printf(" %s", ctl_text(hook, "name"));
	}
	putchar('\n');
}

static void put_mesh(const json_t *mesh)
{
	const json_t *days = json_object_get(mesh, "certificate_days");
	const char *mode = ctl_text(mesh, "mode");

	label("mesh");
	if (!*mode || strcmp(mode, "off") == 0) {
		puts("off: this agent is a mesh of its own");
		return;
	}
	printf("%s, %lld of %lld members alive, %lld failed, %lld %s, %lld held back",
	       strcmp(mode, "etcd") == 0 ? "by etcd" : "peers", number_of(mesh, "alive"),
	       number_of(mesh, "members"), number_of(mesh, "failed"), number_of(mesh, "behind"),
	       strcmp(mode, "etcd") == 0 ? "pending" : "logs behind", number_of(mesh, "held"));
	if (json_is_integer(days))
		printf(", certificate for %lld days", (long long)json_integer_value(days));
	putchar('\n');
}

static void put_lines(const json_t *s, const json_t *statistics, const json_t *warnings,
		      bool degraded)
{
	const json_t *listening = json_object_get(s, "listening"), *v;
	const json_t *registry = json_object_get(s, "registry");
	char text[1024];
	size_t i;

	put_head(s, degraded);
	put_services(s, statistics);
	put_plane(json_object_get(s, "plane"));
	label("dns");
	printf("%s on ", ctl_text(s, "domain"));
	put_list(json_object_get(listening, "dns"), "no address");
	label("http");
	put_list(json_object_get(listening, "http"), "no address");
	label("store");
	printf("%s, %lld KiB, %lld commits, the last took %lld us\n",
	       json_is_true(json_object_get(registry, "store_failed")) ? "FAILED" : "ok",
	       number_of(registry, "file_bytes") / 1024, number_of(registry, "commits"),
	       number_of(registry, "last_commit_us"));
	put_mesh(json_object_get(s, "mesh"));
	if (!json_array_size(warnings)) {
		label("warnings");
		puts("none");
	}
	json_array_foreach(warnings, i, v)
	{
		label(i ? "" : "warnings");
		puts(wm_plain(json_string_value(v), text, sizeof(text)));
	}
}

/* --- no agent --------------------------------------------------------------------------------- */
static json_t *from_pins(const char *pin_dir)
{
	struct wm_inspect *x;
	struct wm_err e = {0};
	const struct wm_inspect_memory *m;
	const char *agent = wm_inspect_held(pin_dir) ? "runs, and does not answer here" : "none";
	uint32_t up = 0, all = 0, services = 0;

	if (wm_inspect_open(pin_dir, &x, &e))
		return json_pack("{s:s, s:s}", "agent", agent, "kernel", e.text);
	m = wm_inspect_memory(x);
	for (uint32_t i = 0; i < m->backends_cap; i++) {
		up += (m->backends[i].state & WM_STATE_MASK) == WM_STATE_UP;
		all += (m->backends[i].state & WM_STATE_MASK) != WM_STATE_FREE;
	}
	for (uint32_t i = 0; i < m->sets_cap; i++)
		services += m->sets[i].table.generation > 0;
	wm_inspect_close(x);
	return json_pack("{s:s, s:s, s:i, s:i, s:i}", "agent", agent, "kernel",
			 "goes on serving from its pins", "services", (int)services, "backends_up",
			 (int)up, "backends", (int)all);
}

int ctl_status(const struct ctl *c)
{
	json_t *status = ctl_get(c, "/v1/waymark/status", false), *statistics, *warnings;
	bool degraded;

	if (!status) {
		ctl_print(c, from_pins(c->pin_dir));
		return CTL_EXIT_USAGE;
	}
	warnings = json_array();
	statistics = ctl_get(c, "/v1/waymark/statistics", true);
	degraded = collect(status, warnings);
	degraded |= collect_left_out(status, warnings);
	collect_services(statistics, warnings);
	if (c->json) {
		json_object_set_new(status, "healthy", json_boolean(!degraded));
		json_object_set(status, "warnings", warnings);
	} else {
		put_lines(status, statistics, warnings, degraded);
	}
	json_decref(statistics);
	json_decref(warnings);
	if (c->json || c->verbose)
		ctl_print(c, json_incref(status));
	json_decref(status);
	return degraded ? CTL_EXIT_FAILED : 0;
}
