/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_apart.c - names outside of our domains that the operator has records of: libunbound asks
 * nobody for them where an alias of others leads there, as each is a zone of its own in which
 * nothing is (upstream_conf.c); upstream_serve.c goes on with ours. Names below them are others':
 * they are asked of a resolver without these zones. */
#include "static_records.h"
#include "upstream_internal.h"

static bool is_apart(const struct wm_static_name *n)
{
	return n && n->records && !n->inside;
}

void wm_upstream_apart_each(struct wm_buf *b, const struct wm_statics *t,
			    void (*put)(struct wm_buf *b, const char *zone))
{
	const struct wm_static_name *n;
	char text[WM_DNS_TEXT_MAX];
	unsigned count = 0;
	size_t pos = 0;

	while (count < WM_UPSTREAM_APART_MAX && (n = wm_statics_next(t, &pos))) {
		if (!is_apart(n))
			continue;
		wm_dns_text(n->wire, text, sizeof(text));
		put(b, text);
		count++;
	}
}

bool wm_upstream_below(const struct wm_statics *apart, const uint8_t *name)
{
	size_t len = 1;

	for (const uint8_t *l = name; *l; l += *l + 1u)
		len += *l + 1u;
	while (apart && *name) {
		len -= *name + 1u;
		name += *name + 1u;
		if (is_apart(wm_statics_find(apart, name, len)))
			return true;
	}
	return false;
}
