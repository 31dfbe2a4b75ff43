/* SPDX-License-Identifier: Apache-2.0 */
/* regex.h - regular expressions of filters and rules: PCRE2's, held to what RE2 (and so Go) has,
 * with an effort that is charged as it is spent. PCRE2's own match limit counts anew at each place
 * of the text where a match may begin, so it alone bounds nothing that matters. Every item of the
 * pattern that is tried counts one; no captures are kept, as their copies cost memory and time.
 * Threading: a searcher belongs to one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_REGEX_EFFORT	    100000 /* items of a pattern tried in one text: some 2 ms */
#define WM_REGEX_MATCHES    10000  /* PCRE2's match and depth limits at one place of the text */
#define WM_REGEX_HEAP_KIB   1024   /* KiB for what is to be tried again; 4 KiB of text need less */
#define WM_REGEX_GROUPS_MAX 16	   /* named groups: each makes what is kept for a retry larger */

struct wm_regex;
struct wm_searcher;
/** What searches share. @return NULL without memory. */
struct wm_searcher *wm_searcher_new(void);
void wm_searcher_free(struct wm_searcher *s); /* NULL ok */
/** Items tried by all searches so far. */
uint64_t wm_searcher_effort(const struct wm_searcher *s);

/** @param why filled with the reason of an error. @return 0, -EINVAL. */
int wm_regex_new(const char *text, struct wm_regex **ret, char *why, size_t cap);
void wm_regex_free(struct wm_regex *r); /* NULL ok */
/** Search @p text (any octets). @return 1 found, 0 not found, -E2BIG: over an effort above. */
int wm_regex_search(struct wm_searcher *s, const struct wm_regex *r, const char *text);
