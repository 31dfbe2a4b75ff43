/* SPDX-License-Identifier: Apache-2.0 */
/* regex.c - see regex.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wm_searcher {
	pcre2_match_data *data;
	pcre2_match_context *context;
	uint64_t effort;
	uint64_t limit; /* of effort, in this search */
};

/* Before each item of the pattern: PCRE2 asks whether to go on. */
static int on_item(pcre2_callout_block *b, void *searcher)
{
	struct wm_searcher *s = searcher;

	(void)b;
	return ++s->effort > s->limit ? PCRE2_ERROR_MATCHLIMIT : 0;
}

struct wm_searcher *wm_searcher_new(void)
{
	struct wm_searcher *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	/* no groups are asked for: one pair serves all expressions */
	s->data = pcre2_match_data_create(1, NULL);
	s->context = pcre2_match_context_create(NULL);
	if (!s->data || !s->context) {
		wm_searcher_free(s);
		return NULL;
	}
	pcre2_set_match_limit(s->context, WM_REGEX_MATCHES);
	pcre2_set_depth_limit(s->context, WM_REGEX_MATCHES);
	pcre2_set_heap_limit(s->context, WM_REGEX_HEAP_KIB);
	pcre2_set_callout(s->context, on_item, s);
	return s;
}

void wm_searcher_free(struct wm_searcher *s)
{
	if (!s)
		return;
	pcre2_match_data_free(s->data);
	pcre2_match_context_free(s->context);
	free(s);
}

uint64_t wm_searcher_effort(const struct wm_searcher *s)
{
	return s->effort;
}

/* Behind a class of characters that begins at @p s: nothing in it is syntax. */
static const char *skip_class(const char *s)
{
	s += s[1] == '^' ? 2 : 1;
	if (*s == ']')
		s++;
	while (*s && *s != ']') {
		if (s[0] == '[' && s[1] == ':' && strstr(s, ":]"))
			s = strstr(s, ":]") + 2;
		else
			s += s[0] == '\\' && s[1] ? 2 : 1;
	}
	return s;
}

/* What RE2, and so Go, does not have: it cannot be searched in linear time. */
static const char *refused(const char *s)
{
	for (; *s; s++) {
		if (*s == '\\') {
			if ((s[1] >= '1' && s[1] <= '9') || s[1] == 'k' || s[1] == 'g')
				return "back references are not supported";
			s += s[1] != '\0';
		} else if (*s == '[') {
			s = skip_class(s);
			if (!*s)
				break;
		} else if (s[0] == '(' && s[1] == '*') {
			return "verbs are not supported";
		} else if (s[0] == '(' && s[1] == '?' && s[2] != 'P' && s[2] != ':' &&
			   s[2] != '-' && !strchr("imsU", s[2])) {
			return "lookaround and recursion are not supported";
		} else if (s[0] == '(' && s[1] == '?' && s[2] == 'P' && s[3] != '<') {
			return "back references are not supported";
		}
	}
	return NULL;
}

int wm_regex_new(const char *text, struct wm_regex **ret, char *why, size_t cap)
{
	const char *no = refused(text);
	uint32_t groups = 0;
	PCRE2_SIZE offset;
	pcre2_code *code;
	int err;

	if (no) {
		snprintf(why, cap, "%s", no);
		return -EINVAL;
	}
	code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
			     PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY |
				     PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE |
				     PCRE2_AUTO_CALLOUT,
			     &err, &offset, NULL);
	if (!code) {
		pcre2_get_error_message(err, (PCRE2_UCHAR *)why, cap);
		return -EINVAL;
	}
	pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
	if (groups > WM_REGEX_GROUPS_MAX) {
		pcre2_code_free(code);
		snprintf(why, cap, "more than %d named groups", WM_REGEX_GROUPS_MAX);
		return -EINVAL;
	}
	*ret = (struct wm_regex *)code;
	return 0;
}

void wm_regex_free(struct wm_regex *r)
{
	pcre2_code_free((pcre2_code *)r);
}

int wm_regex_search(struct wm_searcher *s, const struct wm_regex *r, const char *text)
{
	int rc;

	s->limit = s->effort + WM_REGEX_EFFORT;
	rc = pcre2_match((const pcre2_code *)r, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0,
			 s->data, s->context);
	if (rc >= 0)
		return 1;
	return rc == PCRE2_ERROR_NOMATCH ? 0 : -E2BIG;
}
