/* SPDX-License-Identifier: Apache-2.0 */
/* rules.h - the operator's own rules for registrations: which metadata a service must have, of what
 * form, and which tags. What is stored already is not judged again. The file they stand in is read
 * by the API's side, which has the JSON library. Threading: loop thread only. */
#pragma once
#include "userspace/base/err.h"
#include "userspace/registry/registry.h"

#define WM_RULES_MAX	  256 /* rules of a file: each registration is held against all */
#define WM_RULE_ITEMS_MAX 64  /* keys, values, tags or globs of one list of a rule */
#define WM_RULE_NAME_MAX  64  /* octets of a rule's name */
#define WM_RULE_TEXT_MAX  512 /* octets of a key, value, tag, glob or expression */

/* One rule as it was read; everything is borrowed. */
struct wm_rule_texts {
	const char *at[WM_RULE_ITEMS_MAX];
	unsigned count;
};
struct wm_rule_draft {
	const char *name;
	struct wm_rule_texts services; /* globs; none: every service */
	struct wm_rule_texts required; /* keys of the metadata */
	struct wm_rule_texts tags_required;
	struct wm_rule_texts pattern_keys,
		patterns;		   /* value of the key must match, if it is there */
	struct wm_rule_texts allowed_keys; /* value of the key must be one of, if there */
	struct wm_rule_texts allowed[WM_RULE_ITEMS_MAX];
	int tags_max; /* negative: no bound */
};

struct wm_rules;
struct wm_rules *wm_rules_new(void);		   /* NULL without memory */
void wm_rules_free(struct wm_rules *r);		   /* NULL ok */
unsigned wm_rules_count(const struct wm_rules *r); /* NULL: 0 */
/** Add a copy of a rule. @return 0, WM_E_INVALID, WM_E_LIMIT, -ENOMEM; @p e names rule and field.
 */
int wm_rules_add(struct wm_rules *r, const struct wm_rule_draft *d, struct wm_err *e);
/** Hold a registration against all rules that are for its service. NULL has no rules.
 *  @return 0 or WM_E_INVALID with one sentence that names the rule, the key and what is allowed.
 *  Cost: O(rules); a pattern is searched in a value with bounded effort. */
int wm_rules_check(const struct wm_rules *r, const struct wm_instance_draft *d, struct wm_err *e);
