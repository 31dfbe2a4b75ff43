/* SPDX-License-Identifier: Apache-2.0 */
/* settings.h - the configuration: one struct, filled from defaults, JSON files, the environment and
 * --set, all by the one table settings.def. A wrong name, type or value is an error that names the
 * setting and its limit; nothing is guessed. Durations are milliseconds. Threading: no state. */
#pragma once
#include "err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define WM_SETTINGS_LIST_MAX  16	/* texts of one list */
#define WM_SETTINGS_NAME_MAX  128	/* octets of a "section.name" in a message */
#define WM_SETTINGS_NAMES_MAX 8192	/* octets of the names of all settings, commas between */
#define WM_SETTINGS_FILE_MAX  (4 << 20) /* octets of one: it may define a thousand services */

struct wm_settings {
#define S(section, name, reload, def, max, text)	    char *section##_##name;
#define N(section, name, reload, def, min, max, unit, text) uint64_t section##_##name;
#define D(section, name, reload, def, min, max, text)	    uint64_t section##_##name##_ms;
#define B(section, name, reload, def, text)		    bool section##_##name;
#define L(section, name, reload, def, max, text)                                                   \
	char *section##_##name[WM_SETTINGS_LIST_MAX + 1]; /* NULL-terminated */
#include "settings.def"
#undef S
#undef N
#undef D
#undef B
#undef L
};

/** Fill with the defaults. @return 0, -ENOMEM. Free with wm_settings_done(). */
int wm_settings_init(struct wm_settings *s);
void wm_settings_done(struct wm_settings *s);
/** Read the JSON file at @p path over @p s: {"dns": {"port": 53}}. What it defines beside settings
 *  ("service", "services", "check", "checks") is for others to read. On error @p s may be changed
 * in part: throw it away. @return 0, negative errno, WM_E_DECODE, WM_E_INVALID; text in @p e. */
int wm_settings_load(struct wm_settings *s, const char *path, struct wm_err *e);
/** Hears of each thing that is wrong; @p e is borrowed. */
typedef void (*wm_settings_fault)(void *arg, const struct wm_err *e);
/** The same, going on after a fault: @p fn hears of all, each with file, line, key, the value and
 *  what is allowed. @return 0 or the first one's code. */
int wm_settings_examine(struct wm_settings *s, const char *path, wm_settings_fault fn, void *arg);
/** The same as wm_settings_load() from memory. */
int wm_settings_parse(struct wm_settings *s, const char *json, size_t len, struct wm_err *e);
/** One setting, "dns.port=53"; lists separated by commas, or as in a file: ["a","b"]. */
int wm_settings_set(struct wm_settings *s, const char *assignment, struct wm_err *e);
/* Where settings come from, later ones over earlier; borrowed, for as long as it may be read again.
 */
struct wm_settings_source {
	const char *file;	 /* NULL: none */
	const char *dir;	 /* its files *.json, by name; NULL: none */
	const char *const *env;	 /* as environ, see settings_env.h; NULL: none */
	const char *const *sets; /* as of wm_settings_set() */
	unsigned sets_count;
};
/** Text of a file of settings, at most WM_SETTINGS_FILE_MAX octets; @p ret_len of them, no NUL at
 *  the end. @return the caller's, or NULL with @p e. */
char *wm_settings_text(const char *path, size_t *ret_len, struct wm_err *e);
/** Call @p fn for each file of it, in order, until one returns an error. @return that error, or one
 *  of the directory. */
int wm_settings_files(const struct wm_settings_source *from,
		      int (*fn)(void *arg, const char *path, struct wm_err *e), void *arg,
		      struct wm_err *e);
/** Defaults, then all of that, then wm_settings_check(). @return as of those; free @p s in any
 * case. */
int wm_settings_gather(struct wm_settings *s, const struct wm_settings_source *from,
		       struct wm_err *e);
/** What no single setting can tell: ranges, sizes that belong together. */
int wm_settings_check(const struct wm_settings *s, struct wm_err *e);
/** The same, @p fn hears of all. @return 0 or the first one's code. */
int wm_settings_check_all(const struct wm_settings *s, wm_settings_fault fn, void *arg);
/** wm_settings_gather() that goes on after a fault: @p fn hears of all. @return 0 or the first
 * one's code; free @p s in any case. */
int wm_settings_gather_all(struct wm_settings *s, const struct wm_settings_source *from,
			   wm_settings_fault fn, void *arg);
/* Puts a place before a fault that begins with a setting's name. */
struct wm_settings_where {
	const struct wm_settings_source *from;
	wm_settings_fault fn; /* hears of it */
	void *arg;
};
/** A wm_settings_fault, @p where one of these: file and line that set the value last, or --set,
 * then what @p e says. What begins with no setting that is set there goes on as it is. Reads the
 * files. */
void wm_settings_locate(void *where, const struct wm_err *e);
/** Take the reloadable settings of @p next over into @p s. @p ret_left receives the names of those
 * that differ and need a restart, with commas between; "" where there are none.
 *  @return settings that changed, or -ENOMEM. */
int wm_settings_reload(struct wm_settings *s, const struct wm_settings *next,
		       char ret_left[WM_SETTINGS_NAMES_MAX]);
/** All settings with their values as a JSON document that wm_settings_load() reads; what is a
 * secret itself is "hidden". */
void wm_settings_dump(const struct wm_settings *s, FILE *out);
/** The section of the manual page, in roff. */
void wm_settings_man(FILE *out);
/** The reference page, in Markdown. */
void wm_settings_reference(FILE *out);
