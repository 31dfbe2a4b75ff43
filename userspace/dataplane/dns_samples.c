/* SPDX-License-Identifier: Apache-2.0 */
#include "dns_samples.h"

#include "userspace/dataplane/internal.h"
#include "userspace/dataplane/ring.h"
#include "userspace/dataplane/watch.h"

#include <errno.h>
#include <stdlib.h>

#define LOOK_MS WM_PLANE_VERIFY_MS /* with the look at the links: who asks is told at once */

struct wm_dns_samples {
	struct wm_plane *plane;
	struct wm_ring *ring;
	struct wm_timer *look;
	wm_dns_sample_fn fn;
	void *arg;
};

static void on_sample(void *arg, const void *data, size_t len)
{
	struct wm_dns_samples *x = arg;

	if (len >= sizeof(struct wm_dns_sample))
		x->fn(x->arg, data);
}

void wm_dns_samples_read(struct wm_dns_samples *x)
{
	wm_ring_read(x->ring);
}

static void on_look(void *arg)
{
	struct wm_dns_samples *x = arg;

	wm_ring_read(x->ring);
	(void)wm_timer_tick(x->look, LOOK_MS);
}

int wm_dns_samples_new(struct wm_loop *l, struct wm_plane *p, wm_dns_sample_fn fn, void *arg,
		       struct wm_dns_samples **ret)
{
	int fd = wm_dns_map(p, "dns_samples"), r = -ENOMEM;
	struct wm_dns_samples *x;

	if (fd < 0)
		return -EOPNOTSUPP;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	*x = (struct wm_dns_samples){.plane = p, .fn = fn, .arg = arg};
	x->look = wm_timer_new(l, on_look, x);
	if (x->look)
		r = wm_ring_new(l, fd, WM_DNS_SAMPLES_TURN, on_sample, x, &x->ring);
	if (!r)
		r = wm_timer_tick(x->look, LOOK_MS);
	if (r) {
		wm_dns_samples_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

int wm_dns_samples_every(struct wm_plane *p, unsigned every)
{
	const struct wm_dns_sampling v = {wm_sample_limit(every), every};
	int fd = wm_dns_map(p, ".data"), zero = 0;

	if (fd < 0)
		return every ? -EOPNOTSUPP : 0;
	return bpf_map_update_elem(fd, &zero, &v, BPF_ANY);
}

void wm_dns_samples_free(struct wm_dns_samples *x)
{
	if (!x)
		return;
	(void)wm_dns_samples_every(x->plane, 0);
	wm_timer_free(x->look);
	wm_ring_free(x->ring);
	free(x);
}
