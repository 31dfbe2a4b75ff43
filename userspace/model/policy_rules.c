/* SPDX-License-Identifier: Apache-2.0 */
/* policy_rules.c - which policies may be: bounds by the table of fields, then what fields mean
 * beside each other. What would have no effect is refused, as its writer expects one. */
#include "policy.h"
#include "validate.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHOWN	  64 /* octets of a refused value that a message repeats */
#define PLACE_MAX 128

static int refuse(struct wm_err *e, const char *field, const char *value, const char *allowed)
{
	return wm_err_set(e, WM_E_INVALID, "%s: \"%.*s\" is not allowed: %s", field, SHOWN, value,
			  allowed);
}

static bool printable(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

/* --- each by itself -----------------------------------------------------------------------------
 */
static int check_text(const char *place, const struct wm_policy_field *f, const char *s,
		      struct wm_err *e)
{
	char allowed[64];

	if (strnlen(s, f->max + 1) > f->max) {
		snprintf(allowed, sizeof(allowed), "at most %u octets are", f->max);
		return refuse(e, place, s, allowed);
	}
	return printable(s) ? 0 : refuse(e, place, s, "no control characters are");
}

static int check_number(const char *place, const struct wm_policy_field *f, uint32_t v,
			struct wm_err *e)
{
	bool share = f->type == WM_POLICY_PERCENT || f->type == WM_POLICY_RATIO;
	char value[32], allowed[96];

	if (v >= f->min && v <= f->max)
		return 0;
	if (share) {
		snprintf(value, sizeof(value), "%u.%02u", v / 100, v % 100);
		snprintf(allowed, sizeof(allowed), "%u to %u", f->min / 100, f->max / 100);
	} else {
		snprintf(value, sizeof(value), "%u", v);
		snprintf(allowed, sizeof(allowed), "%u to %u%s", f->min, f->max,
			 f->type == WM_POLICY_SECONDS ? " seconds" : "");
	}
	return refuse(e, place, value, allowed);
}

/* Of a list an element's place, of a map its name: its first field. */
static void name_element(const struct wm_policy_section *s, const void *of, uint32_t k, char *at,
			 size_t cap)
{
	const struct wm_policy_field *f = &s->fields[0];
	const char *text;
	uint32_t number;

	if (s->form != WM_POLICY_MAP) {
		snprintf(at, cap, "[%u]", k);
	} else if (f->type == WM_POLICY_TEXT) {
		memcpy(&text, (const char *)of + f->offset, sizeof(text));
		snprintf(at, cap, ".%s", text);
	} else {
		memcpy(&number, (const char *)of + f->offset, sizeof(number));
		snprintf(at, cap, ".%u", number);
	}
}

/* @p at: of an element, what is behind the section's name; NULL: a member. */
static int check_fields(const void *of, const struct wm_policy_section *s, const char *at,
			struct wm_err *e)
{
	for (unsigned n = 0; n < s->fields_count; n++) {
		const struct wm_policy_field *f = &s->fields[n];
		char place[PLACE_MAX];
		const char *text;
		uint32_t number;
		int err;

		snprintf(place, sizeof(place), "%s%s%s%s", s->name, at ? at : "",
			 *s->name ? "." : "", f->name);
		if (f->type == WM_POLICY_TEXT) {
			memcpy(&text, (const char *)of + f->offset, sizeof(text));
			err = check_text(place, f, text, e);
		} else {
			memcpy(&number, (const char *)of + f->offset, sizeof(number));
			err = check_number(place, f, number, e);
		}
		if (err)
			return err;
	}
	return 0;
}

static int check_section(const struct wm_policy *p, const struct wm_policy_section *s,
			 struct wm_err *e)
{
	const char *list;
	uint32_t count;
	char at[WM_POLICY_LABEL_MAX + 2];
	int err = 0;

	if (s->form == WM_POLICY_TOP || s->form == WM_POLICY_OBJECT)
		return check_fields(p, s, NULL, e);
	memcpy(&list, (const char *)p + s->list, sizeof(list));
	memcpy(&count, (const char *)p + s->count, sizeof(count));
	if (count > s->max)
		return wm_err_set(e, WM_E_INVALID, "%s: %u are too many: at most %u are allowed",
				  s->name, count, s->max);
	for (uint32_t k = 0; k < count && !err; k++) {
		name_element(s, list + k * s->size, k, at, sizeof(at));
		err = check_fields(list + k * s->size, s, at, e);
	}
	return err;
}

/* --- beside each other ---------------------------------------------------------------------------
 */
static int check_subsets(const struct wm_policy *p, struct wm_err *e)
{
	for (uint32_t n = 0; n < p->subsets_count; n++) {
		const char *name = p->subsets[n].name;

		if (!wm_label_valid(name))
			return refuse(e, "subsets", name,
				      "a name is a label of DNS: letters, digits and dashes, 1 to "
				      "63 of them");
		if (wm_policy_subset(p, name) != &p->subsets[n])
			return refuse(e, "subsets", name, "it is there twice");
	}
	if (*p->default_subset && !wm_policy_subset(p, p->default_subset))
		return refuse(e, "default_subset", p->default_subset, "it must be one of subsets");
	return 0;
}

/* Where something goes to: a subset of this service must be one that is here. */
static int check_target(const struct wm_policy *p, const char *place, const char *service,
			const char *subset, struct wm_err *e)
{
	char field[PLACE_MAX];
	bool here = !*service || strcasecmp(service, p->service) == 0;

	snprintf(field, sizeof(field), "%s.%s", place, here ? "subset" : "service");
	if (!here && !wm_service_name_valid(service))
		return refuse(e, field, service, "it must be a service's name");
	if (here && *subset && !wm_policy_subset(p, subset))
		return refuse(e, field, subset, "it must be one of subsets");
	if (*subset && !wm_label_valid(subset)) {
		snprintf(field, sizeof(field), "%s.subset", place);
		return refuse(e, field, subset, "it must be a subset's name");
	}
	return 0;
}

static int check_split(const struct wm_policy *p, struct wm_err *e)
{
	char place[32], value[32];
	uint64_t sum = 0;
	int err = 0;

	for (uint32_t n = 0; n < p->splits_count && !err; n++) {
		const struct wm_policy_split *s = &p->splits[n];

		snprintf(place, sizeof(place), "split[%u]", n);
		err = check_target(p, place, s->service, s->subset, e);
		sum += s->percent;
	}
	if (err || !p->splits_count || sum == WM_POLICY_WHOLE)
		return err;
	snprintf(value, sizeof(value), "%llu.%02llu", (unsigned long long)sum / 100,
		 (unsigned long long)sum % 100);
	return refuse(e, "split", value, "the percents together must be 100");
}

static int check_failover(const struct wm_policy *p, struct wm_err *e)
{
	char place[32];
	int err = 0;

	for (uint32_t n = 0; n < p->failover_count && !err; n++) {
		const struct wm_policy_target *t = &p->failover[n];

		snprintf(place, sizeof(place), "failover[%u]", n);
		if (!*t->service && !*t->subset && !*t->region)
			return refuse(e, place, "", "it must name a service, a subset or a region");
		err = check_target(p, place, t->service, t->subset, e);
		if (!err && *t->of && strcmp(t->of, "*") != 0 && !wm_policy_subset(p, t->of)) {
			snprintf(place, sizeof(place), "failover[%u].of", n);
			return refuse(e, place, t->of, "it must be one of subsets");
		}
	}
	if (!err && p->select == WM_SELECT_FAILOVER && !p->failover_count)
		return refuse(e, "select", "failover", "there must be targets in failover");
	return err;
}

static int check_redirect(const struct wm_policy *p, struct wm_err *e)
{
	const struct wm_policy_target *t = &p->redirect;

	if (!wm_policy_redirects(p))
		return 0;
	if (p->splits_count || p->failover_count || p->subsets_count)
		return refuse(e, "redirect", *t->service ? t->service : t->subset,
			      "what is redirected has no split, failover or subsets of its own");
	if ((!*t->service || strcasecmp(t->service, p->service) == 0) && !*t->region)
		return refuse(e, "redirect.service", t->service,
			      "it must be another service, or a region");
	return check_target(p, "redirect", t->service, t->subset, e);
}

static int check_ports(const struct wm_policy *p, struct wm_err *e)
{
	char value[16];

	for (uint32_t n = 0; n < p->ports_count; n++) {
		snprintf(value, sizeof(value), "%u", p->ports[n].port);
		if (!*p->ports[n].endpoint)
			return refuse(e, "ports", value, "it must name an endpoint");
		for (uint32_t k = 0; k < n; k++) {
			if (p->ports[k].port == p->ports[n].port)
				return refuse(e, "ports", value, "it is there twice");
		}
	}
	return 0;
}

/* What has an effect only beside something else. */
static int check_meaning(const struct wm_policy *p, struct wm_err *e)
{
	const struct wm_policy_field *f = wm_policy_sections[0].fields;

	if (p->hash_on != WM_HASH_ON_SOCKET && p->balance != WM_BALANCE_MAGLEV)
		return refuse(e, "hash_on", f[2].names[p->hash_on],
			      "it has an effect with balance \"maglev\" only");
	if (*p->custom && p->balance != WM_BALANCE_CUSTOM)
		return refuse(e, "custom", p->custom,
			      "it has an effect with balance \"custom\" only");
	if (!*p->custom && p->balance == WM_BALANCE_CUSTOM)
		return refuse(e, "custom", "", "balance \"custom\" needs the name of a function");
	if (*p->custom && !wm_label_valid(p->custom))
		return refuse(e, "custom", p->custom,
			      "letters, digits and dashes are, 1 to 63 of them");
	if ((*p->nearest.region || *p->nearest.zone) && p->select != WM_SELECT_NEAREST)
		return refuse(e, *p->nearest.region ? "nearest.region" : "nearest.zone",
			      *p->nearest.region ? p->nearest.region : p->nearest.zone,
			      "it has an effect with select \"nearest\" only");
	if (p->outlier.base > p->outlier.longest)
		return wm_err_set(e, WM_E_INVALID,
				  "outlier.base: \"%us\" is not allowed: at most outlier.longest, "
				  "%us",
				  p->outlier.base, p->outlier.longest);
	return 0;
}

/* --- prepared queries ----------------------------------------------------------------------------
 */
static bool is_uuid(const char *s)
{
	for (unsigned n = 0; n < 36; n++) {
		bool dash = n == 8 || n == 13 || n == 18 || n == 23;

		if (dash ? s[n] != '-' : !s[n] || !strchr("0123456789abcdef", s[n]))
			return false;
	}
	return !s[36];
}

bool wm_policy_key_valid(const char *key)
{
	return *key == WM_QUERY_KEY[0] ? is_uuid(key + 1) : wm_service_name_valid(key);
}

static int check_query(const struct wm_policy *p, struct wm_err *e)
{
	if (!wm_policy_is_query(p))
		return *p->query.id || *p->query.name || *p->query.service || *p->query.near ||
				       *p->query.ttl || p->query.prefix ||
				       p->query.remove_empty_tags || p->query.only_passing ||
				       p->query.connect || p->terms_count
			       ? wm_err_set(e, WM_E_INVALID, "query: it has the key of a policy")
			       : 0;
	if (strcmp(p->query.id, p->service + 1) != 0)
		return wm_err_set(e, WM_E_INVALID, "query: it has another's key");
	return *p->query.service
		       ? 0
		       : wm_err_set(e, WM_E_INVALID, "Must provide a Service name to query");
}

int wm_policy_validate(const struct wm_policy *p, struct wm_err *e)
{
	static int (*const rules[])(const struct wm_policy *p, struct wm_err *e) = {
		check_query,	check_subsets, check_split,  check_failover,
		check_redirect, check_ports,   check_meaning};
	int err = 0;

	if (!wm_policy_key_valid(p->service))
		return refuse(e, "service", p->service,
			      "1 to 255 octets without control characters are");
	for (unsigned n = 0; n < wm_policy_sections_count && !err; n++)
		err = check_section(p, &wm_policy_sections[n], e);
	for (unsigned n = 0; n < sizeof(rules) / sizeof(rules[0]) && !err; n++)
		err = rules[n](p, e);
	return err;
}
