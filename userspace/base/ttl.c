/* SPDX-License-Identifier: Apache-2.0 */
/* ttl.c - see ttl.h. */
#include "ttl.h"

#include "clock.h"
#include "duration.h"
#include "waymark/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND_NS (1000 * (int64_t)WM_NS_PER_MS)

struct rule {
	char name[WM_DNS_LABEL_MAX + 1]; /* without the star */
	size_t len;
	bool prefix;
	uint32_t ttl_s;
};
struct wm_ttls {
	unsigned count;
	struct rule rules[];
};

static int parse(const char *text, struct rule *ret, struct wm_err *e)
{
	const char *eq = strrchr(text, '=');
	int64_t ns;

	if (!eq || eq == text)
		return wm_err_set(e, WM_E_INVALID, "\"%.80s\": name=duration is wanted", text);
	if (wm_duration_parse(eq + 1, &ns) || ns < 0 || ns % SECOND_NS ||
	    ns / SECOND_NS > WM_TTL_MAX_S)
		return wm_err_set(e, WM_E_INVALID,
				  "\"%.80s\": whole seconds from \"0s\" to \"168h\" are wanted",
				  text);
	ret->ttl_s = (uint32_t)(ns / SECOND_NS);
	ret->len = (size_t)(eq - text);
	ret->prefix = eq[-1] == '*';
	ret->len -= ret->prefix;
	if (memchr(text, '*', ret->len))
		return wm_err_set(e, WM_E_INVALID, "\"%.80s\": '*' stands at the end of a name",
				  text);
	if (ret->len >= sizeof(ret->name))
		return wm_err_set(e, WM_E_INVALID, "\"%.80s\": a name has at most %d octets", text,
				  WM_DNS_LABEL_MAX);
	memcpy(ret->name, text, ret->len);
	return 0;
}

static bool same_rule(const struct rule *a, const struct rule *b)
{
	return a->len == b->len && a->prefix == b->prefix && strcasecmp(a->name, b->name) == 0;
}

int wm_ttls_new(char *const *rules, struct wm_ttls **ret, struct wm_err *e)
{
	struct wm_ttls *t;
	unsigned n = 0;
	int r = 0;

	while (rules[n])
		n++;
	t = calloc(1, sizeof(*t) + n * sizeof(*t->rules));
	if (!t)
		return -ENOMEM;
	for (unsigned i = 0; i < n && !r; i++) {
		r = parse(rules[i], &t->rules[i], e);
		t->count += !r;
		for (unsigned k = 0; k < i && !r; k++)
			if (same_rule(&t->rules[i], &t->rules[k]))
				r = wm_err_set(e, WM_E_INVALID,
					       "\"%.80s\": the name is there twice", rules[i]);
	}
	if (r) {
		wm_ttls_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void wm_ttls_free(struct wm_ttls *t)
{
	free(t);
}

bool wm_ttls_find(const struct wm_ttls *t, const char *name, uint32_t *ret_s)
{
	const struct rule *best = NULL;
	size_t len = strlen(name);

	for (unsigned i = 0; t && i < t->count; i++) {
		const struct rule *r = &t->rules[i];

		if (r->prefix ? r->len > len : r->len != len)
			continue;
		if (strncasecmp(r->name, name, r->len) != 0)
			continue;
		/* the name itself comes before every prefix, also one that is the whole of it */
		if (!best || !r->prefix || (best->prefix && r->len > best->len))
			best = r;
	}
	if (best)
		*ret_s = best->ttl_s;
	return best != NULL;
}
