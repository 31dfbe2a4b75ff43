/* SPDX-License-Identifier: Apache-2.0 */
#include "settings_env.h"

#include "distance.h"
#include "macros.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define PREFIX_LEN (sizeof(WM_SETTINGS_ENV_PREFIX) - 1)

static const struct {
	const char *full; /* "section.name" */
	const char *word; /* "section_name" */
} settings[] = {
#define ENTRY(section, name)				    {#section "." #name, #section "_" #name},
#define S(section, name, reload, def, max, text)	    ENTRY(section, name)
#define N(section, name, reload, def, min, max, unit, text) ENTRY(section, name)
#define D(section, name, reload, def, min, max, text)	    ENTRY(section, name)
#define B(section, name, reload, def, text)		    ENTRY(section, name)
#define L(section, name, reload, def, max, text)	    ENTRY(section, name)
#include "settings.def"
#undef S
#undef N
#undef D
#undef B
#undef L
#undef ENTRY
};

/* Is the variable's name, behind the prefix, this word in capitals? */
static bool is_word(const char *name, size_t len, const char *word)
{
	if (strlen(word) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] != toupper((unsigned char)word[i]))
			return false;
	return true;
}

static const char *meant(const char *name, size_t len)
{
	char low[WM_SETTINGS_NAME_MAX];

	if (len >= sizeof(low))
		return NULL;
	for (size_t i = 0; i < len; i++)
		low[i] = (char)tolower((unsigned char)name[i]);
	low[len] = '\0';
	for (size_t i = 0; i < WM_ARRAY_LEN(settings); i++)
		if (wm_distance_slip(low, settings[i].word))
			return settings[i].full;
	return NULL;
}

static bool has(const char *const *env, const char *name, size_t len, const char *end)
{
	size_t end_len = strlen(end);

	for (; *env; env++)
		if (strncmp(*env, name, len) == 0 && strncmp(*env + len, end, end_len) == 0)
			return true;
	return false;
}

/* Written by Kubernetes of a Service? NAME_SERVICE_HOST stands by each of them. NAME_PORT may be
 * dns.port of ours, but for the URL that it holds. */
static bool of_service(const char *const *env, const char *var)
{
	const char *eq = strchr(var, '=');

	for (const char *p = strchr(var, '_'); p && p < eq; p = strchr(p + 1, '_')) {
		bool port = strncmp(p, "_PORT=", 6) == 0 && strstr(eq, "://");

		port = port || (strncmp(p, "_PORT_", 6) == 0 && isdigit((unsigned char)p[6]));
		if ((port || strncmp(p, "_SERVICE_HOST=", 14) == 0 ||
		     strncmp(p, "_SERVICE_PORT", 13) == 0) &&
		    has(env, var, (size_t)(p - var), "_SERVICE_HOST="))
			return true;
	}
	return false;
}

/* @p var: NAME=value with the prefix. */
static int set(struct wm_settings *s, const char *var, struct wm_err *e)
{
	const char *eq = strchr(var, '='), *name = var + PREFIX_LEN, *near;
	size_t len = (size_t)(eq - name);
	struct wm_err why = {0};
	char *text;
	int r;

	for (size_t i = 0; i < WM_ARRAY_LEN(settings); i++) {
		if (!is_word(name, len, settings[i].word))
			continue;
		if (asprintf(&text, "%s%s", settings[i].full, eq) < 0)
			return wm_err_set(e, -ENOMEM, "out of memory");
		r = wm_settings_set(s, text, &why);
		free(text);
		return r ? wm_err_set(e, r, "%.*s: %s", (int)(eq - var), var, why.text) : 0;
	}
	near = meant(name, len);
	return wm_err_set(e, WM_E_INVALID, "%.*s: no setting has this variable%s%s%s",
			  (int)(eq - var > WM_SETTINGS_NAME_MAX ? WM_SETTINGS_NAME_MAX : eq - var),
			  var, near ? "; did you mean that of " : "", near ? near : "",
			  near ? "?" : "");
}

int wm_settings_env(struct wm_settings *s, const char *const *env, wm_settings_fault fn, void *arg,
		    struct wm_err *e)
{
	int first = 0;

	for (const char *const *v = env; v && *v && (!first || fn); v++) {
		struct wm_err why = {0};

		if (strncmp(*v, WM_SETTINGS_ENV_PREFIX, PREFIX_LEN) != 0 || !strchr(*v, '=') ||
		    of_service(env, *v) || !set(s, *v, &why))
			continue;
		if (fn)
			fn(arg, &why);
		if (!first)
			first = wm_err_set(e, why.code, "%s", why.text);
	}
	return first;
}

bool wm_settings_env_sets(const char *const *env, const char *full, size_t len)
{
	for (; env && *env; env++) {
		const char *eq = strchr(*env, '=');

		if (strncmp(*env, WM_SETTINGS_ENV_PREFIX, PREFIX_LEN) != 0 || !eq)
			continue;
		for (size_t i = 0; i < WM_ARRAY_LEN(settings); i++)
			if (strncmp(settings[i].full, full, len) == 0 && !settings[i].full[len] &&
			    is_word(*env + PREFIX_LEN, (size_t)(eq - *env) - PREFIX_LEN,
				    settings[i].word) &&
			    !of_service(env, *env))
				return true;
	}
	return false;
}
