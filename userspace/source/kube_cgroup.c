/* SPDX-License-Identifier: Apache-2.0 */
/* kube_cgroup.c - see kube_cgroup.h. */
#include "kube_cgroup.h"

#include <ctype.h>
#include <string.h>

#define UID_LEAST 32 /* octets: of a pod of a file of the node's it is an MD5 sum, else a UUID */

static size_t span(const char *s, size_t len, const char *more)
{
	size_t n = 0;

	while (n < len && (isxdigit((unsigned char)s[n]) || (s[n] && strchr(more, s[n]))))
		n++;
	return n;
}

/* "pod<uid>", or "kubepods-burstable-pod<uid>.slice"; what stands behind a ':' is a container's.
 * @return where the uid ends, NULL: it is no pod's. */
static const char *read_pod(const char *s, size_t len, bool below, struct wm_kube_cgroup *ret)
{
	for (size_t n = 0; n + 3 < len; n++) {
		const char *uid = s + n + 3;
		size_t left = len - n - 3, octets;

		if (strncmp(s + n, "pod", 3) != 0 || (n && s[n - 1] != '-') ||
		    (!n && !below)) /* by systemd kubepods stands in the name itself */
			continue;
		octets = span(uid, left, "-_");
		if (octets < UID_LEAST || octets > WM_KUBE_UID_MAX ||
		    (octets < left && uid[octets] != '.'))
			continue;
		memcpy(ret->uid, uid, octets);
		return uid + octets;
	}
	return NULL;
}

/* "<id>", "cri-containerd-<id>.scope", "crio-<id>": the last word of the name, if it is an id. */
static void read_container(const char *s, size_t len, struct wm_kube_cgroup *ret)
{
	size_t from = len;

	if (len > 6 && strncmp(s + len - 6, ".scope", 6) == 0)
		from = len -= 6;
	while (from && isxdigit((unsigned char)s[from - 1]))
		from--;
	if (len - from != WM_KUBE_CONTAINER_MAX ||
	    (from && s[from - 1] != '-' && s[from - 1] != ':'))
		return;
	memcpy(ret->container, s + from, WM_KUBE_CONTAINER_MAX);
}

bool wm_kube_cgroup_read(const char *path, struct wm_kube_cgroup *ret)
{
	bool below = false;

	*ret = (struct wm_kube_cgroup){0};
	for (const char *s = path; *s;) {
		size_t len = strcspn(s, "/");
		const char *end;

		below |= memmem(s, len, "kubepods", 8) != NULL;
		end = below ? read_pod(s, len, memmem(s, len, "kubepods", 8) == NULL, ret) : NULL;
		if (end) {
			const char *colon = memchr(end, ':', len - (size_t)(end - s));

			if (colon) { /* containerd without systemd's delegation */
				read_container(colon, len - (size_t)(colon - s), ret);
			} else if (s[len]) {
				s += len + 1;
				read_container(s, strcspn(s, "/"), ret);
			}
			return true;
		}
		s += len + (s[len] == '/');
	}
	return false;
}

const struct wm_kube_pod_here *wm_kube_pods_of(const struct wm_kube_pod_table *p, const char *path,
					       const struct in6_addr *address,
					       struct wm_kube_cgroup *ret)
{
	const struct wm_kube_pod_here *pod = NULL;

	if (wm_kube_cgroup_read(path, ret))
		pod = wm_kube_pods_uid(p, ret->uid, strlen(ret->uid));
	return pod || !address ? pod : wm_kube_pods_at(p, address);
}
