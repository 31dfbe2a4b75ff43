/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_pods.c - see waymarkctl_pods.h. The agent tells uids and addresses; who is asked about
 * is a process that only we see. */
#include "waymarkctl_pods.h"

#include "userspace/source/kube_cgroup.h"

#include <string.h>

json_t *ctl_pods(const struct ctl *c)
{
	json_t *pods = ctl_get(c, "/v1/waymark/pods", true);

	if (json_array_size(pods))
		return pods;
	json_decref(pods);
	return NULL;
}

/* Systemd writes _ for -. */
static bool same_uid(const char *uid, const char *in_path)
{
	for (; *uid && *uid == (*in_path == '_' ? '-' : *in_path); uid++)
		in_path++;
	return !*uid && !*in_path;
}

static bool has_address(const json_t *pod, const struct in6_addr *address)
{
	const json_t *v;
	size_t n;

	json_array_foreach(json_object_get(pod, "addresses"), n, v)
	{
		struct in6_addr a;

		if (json_is_string(v) && !wm_kube_address_parse(json_string_value(v), &a) &&
		    IN6_ARE_ADDR_EQUAL(&a, address))
			return true;
	}
	return false;
}

static const char *pod_of(const json_t *pods, const char *uid, const struct in6_addr *address)
{
	const json_t *pod;
	size_t n;

	json_array_foreach(pods, n, pod)
	{
		if (*uid && same_uid(ctl_text(pod, "uid"), uid))
			return ctl_text(pod, "pod");
	}
	json_array_foreach(pods, n, pod)
	{
		if (has_address(pod, address))
			return ctl_text(pod, "pod");
	}
	return "";
}

void ctl_put_pod(json_t *row, const json_t *pods, const char *cgroup,
		 const struct in6_addr *address)
{
	struct wm_kube_cgroup at;

	if (!pods)
		return;
	wm_kube_cgroup_read(cgroup, &at);
	json_object_set_new(row, "pod", json_string(pod_of(pods, at.uid, address)));
	json_object_set_new(row, "container", json_string(at.container));
}
