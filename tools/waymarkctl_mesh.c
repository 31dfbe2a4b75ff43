/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_mesh.c - the mesh: members, streams, what each has of the others. */
#include "waymarkctl.h"

#include <string.h>

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
	    !ctl_send(c, "PUT", path, NULL, false))
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
	static const char *const keys[] = {"name",	 "up",	       "since_ms",  "rtt_us",
					   "octets_in",	 "octets_out", "frames_in", "frames_out",
					   "last_error", NULL};
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
		if (json_array_size(json_object_get(doc, "origins")))
			ctl_table(json_object_get(doc, "origins"), keys, 0, stdout);
		if (c->verbose)
			ctl_render(json_object_get(doc, "counters"), 2, stdout);
	}
	json_decref(doc);
	return 0;
}
