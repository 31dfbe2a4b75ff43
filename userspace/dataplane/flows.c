/* SPDX-License-Identifier: Apache-2.0 */
#include "flows.h"

#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "userspace/dataplane/ring.h"
#include "userspace/model/policy.h"

#include <errno.h>
#include <stdlib.h>

struct wm_flows {
	struct wm_plane *plane;
	struct wm_ring *ring;
	void (*fn)(void *arg, const struct wm_flow *f);
	void *arg;
};

static uint32_t *flags_of(struct wm_plane *p)
{
	return &((struct wm_config *)p->mem[WM_MAP_CONFIG])->flags;
}

static void on_flow(void *arg, const void *data, size_t len)
{
	struct wm_flows *x = arg;

	if (len >= sizeof(struct wm_flow))
		x->fn(x->arg, data);
}

int wm_flows_new(struct wm_loop *l, struct wm_plane *p,
		 void (*fn)(void *arg, const struct wm_flow *f), void *arg, struct wm_flows **ret)
{
	const struct bpf_object *o = p->objects[WM_OBJECT_CONNECT];
	int fd = o ? bpf_object__find_map_fd_by_name(o, "flows") : -1, r;
	struct wm_flows *x;

	if (fd < 0)
		return -EOPNOTSUPP;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	*x = (struct wm_flows){.plane = p, .fn = fn, .arg = arg};
	r = wm_ring_new(l, fd, WM_FLOWS_TURN, on_flow, x, &x->ring);
	if (r) {
		free(x);
		return r;
	}
	__atomic_or_fetch(flags_of(p), WM_CONFIG_F_WATCHED, __ATOMIC_RELEASE);
	*ret = x;
	return 0;
}

void wm_flows_unwatched(struct wm_plane *p)
{
	__atomic_and_fetch(flags_of(p), ~WM_CONFIG_F_WATCHED, __ATOMIC_RELEASE);
}

void wm_flows_free(struct wm_flows *x)
{
	if (!x)
		return;
	wm_flows_unwatched(x->plane);
	wm_ring_free(x->ring);
	free(x);
}

int wm_flows_cgroup(uint64_t id, char *buf, size_t cap)
{
	return wm_cgroup_path(id, buf, cap);
}

const char *wm_reason_balance(uint8_t reason)
{
	return reason >> 4 ? wm_policy_balance_str((reason >> 4) - 1u) : "";
}

const char *wm_reason_text(uint8_t reason)
{
	static const char *const drawn[] = {
		"drawn by weight",
		[1 + WM_BALANCE_WEIGHTED] = "drawn by weight",
		[1 + WM_BALANCE_RANDOM] = "drawn at random",
		[1 + WM_BALANCE_ROUND_ROBIN] = "its turn",
		[1 + WM_BALANCE_LEAST_CONNECTIONS] = "fewer connections, of two",
		[1 + WM_BALANCE_PEAK_EWMA] = "less latency, of two",
		[1 + WM_BALANCE_MAGLEV] = "by the client's hash",
		[1 + WM_BALANCE_DIRECT] = "the first in order",
		[1 + WM_BALANCE_CUSTOM] = "by the custom function",
	};

	switch (reason & WM_REASON_MASK) {
	case WM_REASON_DRAW:
		return reason >> 4 < WM_ARRAY_LEN(drawn) ? drawn[reason >> 4] : "drawn";
	case WM_REASON_SCAN:
		return "few are up";
	case WM_REASON_KEPT:
		return "kept by affinity";
	default:
		return "of earlier tables";
	}
}
