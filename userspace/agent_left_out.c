/* SPDX-License-Identifier: Apache-2.0 */
/* agent_left_out.c - see agent_left_out.h. */
#include "agent_left_out.h"

#include "userspace/base/log.h"
#include "userspace/dataplane/left_out.h"
#include "userspace/source/kube_cgroup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 500 /* kubelet makes a pod's cgroup about a second before its first process */

struct wm_agent_left_out {
	struct wm_plane *plane;
	const struct wm_kube_pod_table *pods;
	struct wm_timer *timer;
	int last; /* of wm_plane_leave_out(), as it was told */
	bool clean;
};

static enum wm_left_out is_out(void *arg, const char *path)
{
	const struct wm_agent_left_out *a = arg;
	const struct wm_kube_pod_here *pod;
	struct wm_kube_cgroup at;

	if (!wm_kube_cgroup_read(path, &at))
		return WM_LEFT_OUT_LOOK;
	pod = wm_kube_pods_uid(a->pods, at.uid, strlen(at.uid));
	return pod && pod->out ? WM_LEFT_OUT_TAKE : WM_LEFT_OUT_SKIP;
}

static bool is_any(const struct wm_kube_pod_table *pods)
{
	const struct wm_kube_pod_here *pod;
	size_t pos = 0;

	while ((pod = wm_kube_pods_next(pods, &pos)))
		if (pod->out)
			return true;
	return false;
}

static void look(void *arg)
{
	struct wm_agent_left_out *a = arg;
	bool any = is_any(a->pods);
	int n;

	wm_timer_tick(a->timer, LOOK_MS);
	if (!wm_kube_pods_whole(a->pods) || (!any && a->clean))
		return;
	n = wm_plane_leave_out(a->plane, any ? is_out : NULL, a);
	a->clean = !any && n == 0;
	if (n < 0 && n != a->last)
		wm_error("pods.left_out", "errno=%d text=%s", -n, wm_log_q(strerror(-n)));
	else if (n != a->last)
		wm_info("pods.left_out", "cgroups=%d", n);
	a->last = n;
}

int wm_agent_left_out_new(struct wm_loop *l, struct wm_plane *p,
			  const struct wm_kube_pod_table *pods, struct wm_agent_left_out **ret)
{
	struct wm_agent_left_out *a;

	*ret = NULL;
	if (!p || !pods) {
		(void)wm_plane_leave_out(p, NULL, NULL);
		return 0;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->plane = p;
	a->pods = pods;
	a->timer = wm_timer_new(l, look, a);
	if (!a->timer || wm_timer_arm(a->timer, 0)) {
		wm_agent_left_out_free(a);
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

void wm_agent_left_out_free(struct wm_agent_left_out *a)
{
	if (!a)
		return;
	wm_timer_free(a->timer);
	free(a);
}
