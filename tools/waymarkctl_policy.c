/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_policy.c - policies of services. */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>

/* --- shown --------------------------------------------------------------------------------------
 */
/* Where it goes, in a few words. */
static void print_ways(const json_t *p)
{
	static const char *const counted[] = {"subsets", "split", "failover", "ports"};
	const char *affinity = ctl_text(json_object_get(p, "affinity"), "key");
	const json_t *redirect = json_object_get(p, "redirect");

	if (redirect)
		printf(" redirect=%s",
		       ctl_text_or(redirect, "service", ctl_text_or(redirect, "region", "")));
	for (size_t n = 0; n < sizeof(counted) / sizeof(*counted); n++) {
		const json_t *of = json_object_get(p, counted[n]);
		size_t count = json_is_array(of) ? json_array_size(of) : json_object_size(of);

		if (count)
			printf(" %s=%zu", counted[n], count);
	}
	if (*affinity)
		printf(" affinity=%s", affinity);
	putchar('\n');
}

int ctl_policy_list(const struct ctl *c)
{
	json_t *doc = ctl_get(c, "/v1/waymark/policies", false), *p;
	size_t n;

	if (!doc || c->json)
		return ctl_print(c, doc);
	json_array_foreach(doc, n, p)
	{
		char service[CTL_NAME_MAX + 1];

		wm_plain(ctl_text_or(p, "service", ""), service, sizeof(service));
		printf("%-24s select=%s balance=%s when_none=%s", service,
		       ctl_text_or(p, "select", "all"), ctl_text_or(p, "balance", "weighted"),
		       ctl_text_or(p, "when_none", "refuse"));
		print_ways(p);
	}
	json_decref(doc);
	return 0;
}

/* JSON either way: it is what `set` takes. */
int ctl_policy_get(const struct ctl *c)
{
	char path[CTL_PATH_MAX];
	json_t *doc = ctl_path(c, path, "/v1/waymark/policies/", c->args[0], "")
			      ? ctl_get(c, path, false)
			      : NULL;

	if (!doc)
		return CTL_EXIT_FAILED;
	json_dumpf(doc, stdout, c->json ? JSON_COMPACT : JSON_INDENT(2));
	putchar('\n');
	json_decref(doc);
	return 0;
}

/* --- explained ----------------------------------------------------------------------------------
 */
static double number_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void print_member(const json_t *m)
{
	char id[CTL_NAME_MAX + 1], node[CTL_NAME_MAX + 1];

	wm_plain(ctl_text_or(m, "id", ""), id, sizeof(id));
	wm_plain(ctl_text_or(m, "node", ""), node, sizeof(node));
	printf("  %6.2f %%  %-24s on %-16s weight %-5.0f %s, %s\n", number_of(m, "odds") * 100, id,
	       node, number_of(m, "weight"), ctl_text_or(m, "state", ""),
	       ctl_text_or(m, "status", ""));
}

static void print_tier(const json_t *t, size_t n)
{
	char service[CTL_NAME_MAX + 1], region[CTL_NAME_MAX + 1];
	const char *subset = ctl_text_or(t, "subset", "");
	json_t *m;
	size_t k;

	wm_plain(ctl_text_or(t, "service", ""), service, sizeof(service));
	wm_plain(ctl_text_or(t, "region", ""), region, sizeof(region));
	printf("tier %zu: %s, %s%s%s%s%s: %.2f %% of new connections (%.0f of weight %.0f up)\n", n,
	       ctl_text_or(t, "what", ""), service, *subset ? " subset " : "", subset,
	       *region ? " in " : "", region, number_of(t, "share") * 100,
	       number_of(t, "weight_up"), number_of(t, "weight"));
	json_array_foreach(json_object_get(t, "members"), k, m)
	{
		print_member(m);
	}
}

static void print_subsets(const json_t *doc)
{
	char filter[512];
	json_t *s;
	size_t n;

	json_array_foreach(json_object_get(doc, "subsets"), n, s)
	{
		wm_plain(ctl_text_or(s, "filter", ""), filter, sizeof(filter));
		printf("subset %s: %.0f instances, at %s, %s\n", ctl_text_or(s, "name", ""),
		       number_of(s, "count"), ctl_text_or(s, "vip4", "no address"),
		       *filter ? filter : "all");
	}
}

int ctl_policy_explain(const struct ctl *c)
{
	char path[CTL_PATH_MAX], text[512];
	json_t *doc = ctl_path(c, path, "/v1/waymark/policies/", c->args[0], "/explain")
			      ? ctl_get(c, path, false)
			      : NULL;
	json_t *of;
	size_t n;

	if (!doc || c->json)
		return ctl_print(c, doc);
	json_array_foreach(json_object_get(doc, "redirected"), n, of)
	{
		wm_plain(json_string_value(of), text, sizeof(text));
		printf("redirected from %s\n", text);
	}
	wm_plain(ctl_text_or(doc, "selects_of", ""), text, sizeof(text));
	printf("%s: select %s, balance %s%s\n", text, ctl_text_or(doc, "select", ""),
	       ctl_text_or(doc, "balance", ""),
	       json_is_true(json_object_get(doc, "has_policy")) ? "" : " (it has no policy)");
	print_subsets(doc);
	json_array_foreach(json_object_get(doc, "tiers"), n, of)
	{
		print_tier(of, n);
	}
	json_array_foreach(json_object_get(doc, "notes"), n, of)
	{
		wm_plain(json_string_value(of), text, sizeof(text));
		printf("note: %s\n", text);
	}
	printf("a connection now: %s%s (%.0f of %.0f up; where none is: %s)\n",
	       ctl_text_or(doc, "verdict", ""),
	       json_is_true(json_object_get(doc, "panic")) ? ", of all, as so few are up" : "",
	       number_of(doc, "up"), number_of(doc, "instances"),
	       ctl_text_or(doc, "when_none", ""));
	json_decref(doc);
	return 0;
}

/* --- written ------------------------------------------------------------------------------------
 */
int ctl_policy_set(const struct ctl *c)
{
	char path[CTL_PATH_MAX], plain[1024];
	char *body = ctl_read_body(c, c->args[1]);
	json_t *doc = body && ctl_path(c, path, "/v1/waymark/policies/", c->args[0], "")
			      ? ctl_fetch_with(c, "PUT", path, body)
			      : NULL;
	json_t *warning;
	size_t n;

	free(body);
	if (!doc || c->json)
		return ctl_print(c, doc);
	json_array_foreach(json_object_get(doc, "warnings"), n, warning)
	{
		wm_plain(json_string_value(warning), plain, sizeof(plain));
		printf("warning: %s\n", plain);
	}
	printf("set %s\n", c->args[0]);
	json_decref(doc);
	return 0;
}

int ctl_policy_delete(const struct ctl *c)
{
	char path[CTL_PATH_MAX];

	if (!ctl_path(c, path, "/v1/waymark/policies/", c->args[0], "") ||
	    !ctl_send(c, "DELETE", path, NULL, false))
		return CTL_EXIT_FAILED;
	if (c->json)
		puts("{}");
	else
		printf("deleted %s\n", c->args[0]);
	return 0;
}
