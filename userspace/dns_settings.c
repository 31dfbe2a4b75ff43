/* SPDX-License-Identifier: Apache-2.0 */
#include "dns_settings.h"

#include "userspace/base/log.h"
#include "userspace/base/prefix.h"
#include "userspace/dataplane/dns_samples.h"

#include <errno.h>

static void told(void *plane, const struct wm_cookie_keys *k)
{
	int r = wm_plane_cookies(plane, k);

	if (r)
		wm_error("dns.cookies",
			 "err=%s text=\"the kernel was not told the key: it goes on as before\"",
			 wm_err_name(r));
}

static void take_cookies(const struct wm_settings *s, struct wm_dns_server *d, struct wm_plane *p)
{
	const struct wm_dns_cookie_config c = {.file = s->dns_cookie_key_file,
					       .data_dir = s->node_data_dir,
					       .rotate_ms = s->dns_cookie_rotate_ms,
					       .changed = p ? told : NULL,
					       .arg = p};
	struct wm_err e = {0};

	wm_dns_server_nsid(d, s->dns_nsid);
	if (wm_dns_server_cookies(d, s->dns_cookies ? &c : NULL, &e))
		wm_error("dns.cookies", "text=%s", wm_log_q(e.text));
}

void wm_dns_settings_take(const struct wm_settings *s, struct wm_dns_server *d, struct wm_plane *p)
{
	struct wm_guard_prefix allow[WM_SETTINGS_LIST_MAX];
	unsigned n = wm_prefix_list(s->dns_allow, allow);
	int r;

	take_cookies(s, d, p);
	wm_dns_server_allow(d, allow, n);
	if (wm_dns_server_rate(d, (unsigned)s->dns_rate_limit))
		wm_error("dns.rate_limit", "text=\"out of memory: answers are not limited\"");
	r = p ? wm_plane_guard(p, allow, n) : 0;
	if (r)
		wm_error(
			"dns.allow",
			"err=%s text=\"the kernel was not told who may ask: it goes on as before\"",
			wm_err_name(r));
	r = p ? wm_plane_limits(p, (unsigned)s->dns_pod_limit, (unsigned)s->dns_rate_limit) : 0;
	if (r)
		wm_error("dns.pod_limit",
			 "err=%s text=\"the kernel goes on with the bounds before\"",
			 wm_err_name(r));
	wm_dns_server_sample(d, (unsigned)s->dns_sample);
	r = p ? wm_dns_samples_every(p, (unsigned)s->dns_sample) : 0;
	if (r && r != -EOPNOTSUPP)
		wm_error("dns.sample", "err=%s text=\"the kernel tells of as many as before\"",
			 wm_err_name(r));
}

void wm_dns_settings_records(struct wm_dns_server *d, struct wm_config *k, struct wm_statics *t)
{
	bool inside = wm_statics_inside(t);

	if (inside) /* before the first of them is there, and until the last is not */
		__atomic_or_fetch(&k->flags, WM_CONFIG_F_RECORDS, __ATOMIC_RELEASE);
	wm_dns_server_statics(d, t);
	if (!inside)
		__atomic_and_fetch(&k->flags, ~WM_CONFIG_F_RECORDS, __ATOMIC_RELEASE);
	if (t)
		wm_info("dns.records", "records=%u", wm_statics_count(t));
}
