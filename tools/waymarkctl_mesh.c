/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_mesh.c - the mesh: members, streams, what each has of the others. */
#include "waymarkctl.h"

#include <string.h>
#include <time.h>

#define JOIN_MS	  60000	 /* name servers that are silent are asked again, each for seconds */
#define VERIFY_MS 600000 /* an answer from each member, one after another where there are many */

int ctl_members(const struct ctl *c)
{
	static const char *const keys[] = {"name",   "address",	 "state",   "role",
					   "rtt_us", "since_ms", "version", NULL};
	json_t *doc = ctl_get(c, "/v1/waymark/members", false);

	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json)
		return ctl_print(c, doc);
	if (json_array_size(doc))
		ctl_table(doc, keys, 0, stdout);
	else
		puts("sync.mode is off: this agent is a mesh of its own");
	json_decref(doc);
	return 0;
}

int ctl_join(const struct ctl *c)
{
	char path[CTL_PATH_MAX];

	if (!ctl_path(c, path, "/v1/agent/join/", c->args[0], "") ||
	    !ctl_call(c, "PUT", path, JOIN_MS, NULL, NULL))
		return CTL_EXIT_FAILED;
	if (!c->json)
		printf("joined through %s\n", c->args[0]);
	return 0;
}

int ctl_leave(const struct ctl *c)
{
	if (!ctl_send(c, "PUT", "/v1/agent/leave", NULL, true))
		return CTL_EXIT_FAILED;
	if (!c->json)
		puts("the agent leaves: others take its services away; its own kernel serves on");
	return 0;
}

int ctl_force_leave(const struct ctl *c)
{
	char path[CTL_PATH_MAX];

	if (!ctl_path(c, path, "/v1/agent/force-leave/", c->args[0], c->force ? "?prune" : "") ||
	    !ctl_send(c, "PUT", path, NULL, false))
		return CTL_EXIT_FAILED;
	if (!c->json)
		printf("%s is taken for gone\n", c->args[0]);
	return 0;
}

static json_t *get_sync(const struct ctl *c)
{
	return ctl_get(c, "/v1/waymark/sync", false);
}

static bool is_off(const json_t *doc)
{
	const char *mode = json_string_value(json_object_get(doc, "mode"));

	return !mode || strcmp(mode, "off") == 0;
}

int ctl_peers(const struct ctl *c)
{
	static const char *const keys[] = {
		"name",	     "up",	   "since_ms",	   "rtt_us",	 "behind",  "same_ms",
		"octets_in", "octets_out", "packed_pct",   "conflicts",	 "repairs", "repair_ms",
		"home",	     "interests",  "objects_sent", "last_error", NULL};
	json_t *doc = get_sync(c), *streams = json_object_get(doc, "streams");

	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json) {
		json_incref(streams);
		json_decref(doc);
		return ctl_print(c, streams ? streams : json_array());
	}
	if (is_off(doc))
		puts("sync.mode is off: this agent is a mesh of its own");
	else if (json_array_size(streams))
		ctl_table(streams, keys, 0, stdout);
	else
		puts("no streams to other agents");
	json_decref(doc);
	return 0;
}

static void put_role(const json_t *doc)
{
	const json_t *leaf = json_object_get(doc, "leaf"), *served = json_object_get(doc, "served");
	const char *home = json_string_value(json_object_get(leaf, "home"));

	if (leaf)
		printf("role     leaf: %lld services, told by %s\n\n",
		       (long long)json_integer_value(json_object_get(leaf, "services")),
		       home && *home ? home : "nobody: no full member is alive");
	else if (json_integer_value(json_object_get(served, "leaves")))
		printf("role     full: serves %lld leaves with %lld services\n\n",
		       (long long)json_integer_value(json_object_get(served, "leaves")),
		       (long long)json_integer_value(json_object_get(served, "subscriptions")));
}

static void put_held(const json_t *doc)
{
	json_t *v, *name;
	size_t i, k;

	json_array_foreach(json_object_get(doc, "held"), i, v)
	{
		const char *node = json_string_value(json_object_get(v, "node"));

		printf("HELD     %lld removals of %s, told by %s, not by their owner:",
		       (long long)json_integer_value(json_object_get(v, "removals")),
		       *node ? node : "the catalog",
		       json_string_value(json_object_get(v, "told_by")));
		json_array_foreach(json_object_get(v, "first"), k, name) printf(
			" %s", *json_string_value(name) ? json_string_value(name) : "(node)");
		printf("%s\n         they happen after: waymarkctl sync release%s%s\n",
		       (long long)json_integer_value(json_object_get(v, "removals")) > (long long)k
			       ? " ..."
			       : "",
		       *node ? " " : "", node);
	}
	json_array_foreach(json_object_get(doc, "ahead"), i, v) printf(
		"HELD     writes of %s: its clock is %lld ms ahead of ours: mend it, then there: "
		"waymarkctl sync release %s\n",
		json_string_value(json_object_get(v, "node")),
		(long long)json_integer_value(json_object_get(v, "ahead_ms")),
		json_string_value(json_object_get(v, "node")));
}

int ctl_release(const struct ctl *c, const char *path)
{
	json_t *doc = ctl_fetch(c, "PUT", path, CTL_TIMEOUT_MS, true);
	long long count;

	if (!doc || c->json)
		return ctl_print(c, doc);
	count = (long long)json_integer_value(json_object_get(doc, "released"));
	json_decref(doc);
	puts(count ? "let go: what was held back happens now" : "nothing is held back");
	return 0;
}

int ctl_sync_release(const struct ctl *c)
{
	char path[CTL_PATH_MAX] = "/v1/waymark/sync/release";

	if (c->args_count && !ctl_path(c, path, "/v1/waymark/sync/release?node=", c->args[0], ""))
		return CTL_EXIT_USAGE;
	return ctl_release(c, path);
}

int ctl_sync_status(const struct ctl *c)
{
	static const char *const keys[] = {"name",	 "epoch",  "seq", "objects",
					   "tombstones", "digest", NULL};
	json_t *doc = get_sync(c);

	if (!doc || c->json)
		return ctl_print(c, doc);
	if (is_off(doc)) {
		puts("sync.mode is off: this agent is a mesh of its own");
	} else {
		printf("members  %lld, %lld alive\nobjects  %lld\ndigest   %s\n\n",
		       (long long)json_integer_value(json_object_get(doc, "members")),
		       (long long)json_integer_value(json_object_get(doc, "alive")),
		       (long long)json_integer_value(json_object_get(doc, "objects")),
		       json_string_value(json_object_get(doc, "digest")));
		put_role(doc);
		put_held(doc);
		if (json_array_size(json_object_get(doc, "origins")))
			ctl_table(json_object_get(doc, "origins"), keys, 0, stdout);
		if (c->verbose)
			ctl_render(json_object_get(doc, "counters"), 2, stdout);
	}
	json_decref(doc);
	return 0;
}

/* "3/17", "gone 3/17", "hlc 123 of n1", "unknown" */
static void side_text(const json_t *v, char *ret, size_t cap)
{
	const char *state = json_string_value(json_object_get(v, "state"));
	const char *writer = json_string_value(json_object_get(v, "writer"));
	long long epoch = (long long)json_integer_value(json_object_get(v, "epoch"));
	unsigned long long seq = (unsigned long long)json_integer_value(json_object_get(v, "seq"));
	const char *gone = !state			 ? ""
			   : strcmp(state, "gone") == 0	 ? "gone "
			   : strcmp(state, "other") == 0 ? "other content of "
							 : "";

	if (!state || strcmp(state, "unknown") == 0)
		snprintf(ret, cap, "unknown");
	else if (epoch)
		snprintf(ret, cap, "%s%lld/%llu", gone, epoch, seq);
	else
		snprintf(ret, cap, "%shlc %llu of %s", gone, seq, writer);
}

static void put_differences(const json_t *doc)
{
	static const char *const keys[] = {"member", "node", "id", "here", "there", NULL};
	json_t *v, *list = json_object_get(doc, "differences");
	char here[128], there[128];
	size_t i;

	json_array_foreach(list, i, v)
	{
		side_text(json_object_get(v, "here"), here, sizeof(here));
		side_text(json_object_get(v, "there"), there, sizeof(there));
		json_object_set_new(v, "here", json_string(here));
		json_object_set_new(v, "there", json_string(there));
		if (!*json_string_value(json_object_get(v, "id")))
			json_object_set_new(v, "id", json_string("(node)"));
	}
	if (json_array_size(list)) {
		putchar('\n');
		ctl_table(list, keys, 0, stdout);
	}
}

int ctl_sync_verify(const struct ctl *c)
{
	static const char *const keys[] = {"name", "state", "differences", NULL};
	json_t *doc = ctl_fetch(c, NULL, "/v1/waymark/sync/verify", VERIFY_MS, true), *v;
	bool equal = json_is_true(json_object_get(doc, "equal"));
	size_t i;

	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json) {
		ctl_print(c, doc);
		return equal ? 0 : CTL_EXIT_FAILED;
	}
	puts(equal ? "all that were asked have the same" : "NOT all have the same");
	json_array_foreach(json_object_get(doc, "not_compared"), i, v) printf(
		"not asked, as it is no full member that is alive: %s\n", json_string_value(v));
	if (json_array_size(json_object_get(doc, "members")))
		ctl_table(json_object_get(doc, "members"), keys, 0, stdout);
	put_differences(doc);
	json_decref(doc);
	return equal ? 0 : CTL_EXIT_FAILED;
}

/* --- conflicts ---------------------------------------------------------------------------------
 */
static json_t *conflict_text(const json_t *side)
{
	const char *version = json_string_value(json_object_get(side, "version"));
	const char *address = json_string_value(json_object_get(side, "address"));
	const char *writer = json_string_value(json_object_get(side, "writer"));
	bool gone = json_is_true(json_object_get(side, "removal"));

	return json_sprintf("%s%s%s%s by %s",
			    gone       ? "removal"
			    : *address ? address
				       : "written",
			    *version ? " (" : "", version, *version ? ")" : "",
			    *writer ? writer : "nobody that is known");
}

int ctl_conflicts(const struct ctl *c)
{
	static const char *const keys[] = {"time", "rule", "node", "id", "stands", "lost", NULL};
	json_t *doc = ctl_get(c, "/v1/waymark/conflicts", false), *v;
	char text[64];
	struct tm tm;
	time_t at;
	size_t i;

	if (!doc || c->json)
		return ctl_print(c, doc);
	json_array_foreach(doc, i, v)
	{
		at = (time_t)(json_integer_value(json_object_get(v, "time_ms")) / 1000);
		if (gmtime_r(&at, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
			json_object_set_new(v, "time", json_string(text));
		json_object_set_new(v, "stands", conflict_text(json_object_get(v, "stands")));
		json_object_set_new(v, "lost", conflict_text(json_object_get(v, "lost")));
	}
	if (json_array_size(doc))
		ctl_table(doc, keys, 0, stdout);
	else
		puts("no conflict was decided here");
	json_decref(doc);
	return 0;
}
