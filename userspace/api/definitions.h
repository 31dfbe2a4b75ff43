/* SPDX-License-Identifier: Apache-2.0 */
/* definitions.h - services and checks that the configuration files define, beside those that are
 * registered over the API: "service", "services", "check" and "checks" of a file, in the form of
 * the API's bodies (Consul's snake_case names are known too). What they said last is kept in the
 * data directory, so that what left the files is deregistered, also if that was while no agent ran,
 * and what the API registered stays. Threading: loop thread only. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/registry/registry.h"

struct wm_definitions;

/* What came of them. */
struct wm_definitions_outcome {
	unsigned services, checks, removed; /* removed: services and checks that left the files */
	unsigned failed;		    /* each was logged with its file and key */
	char first[WM_ERR_TEXT_MAX];	    /* of those: file, line, key and why; "": none */
};

/** Read and judge all of them. @p s: which programs checks may run. Free @p ret.
 *  @return 0, or an error whose text begins with file, line and key. */
int wm_definitions_read(const struct wm_settings_source *from, const struct wm_settings *s,
			struct wm_definitions **ret, struct wm_err *e);
/** The same, going on after a fault: @p fn hears of each, with file, line and key. Files that are
 * no JSON are passed over: wm_settings_gather_all() tells of these. @p ret has those that are in
 * order, NULL without memory. @return 0 or the first fault's code. */
int wm_definitions_read_all(const struct wm_settings_source *from, const struct wm_settings *s,
			    wm_settings_fault fn, void *arg, struct wm_definitions **ret);
void wm_definitions_free(struct wm_definitions *d); /* NULL ok */
unsigned wm_definitions_services(const struct wm_definitions *d);
unsigned wm_definitions_checks(const struct wm_definitions *d);
/** Register all with @p r, which is thrown away afterwards: @p fn hears of each that is refused,
 * with file, line and key. @return how many. */
unsigned wm_definitions_try(struct wm_definitions *d, struct wm_registry *r, wm_settings_fault fn,
			    void *arg);
/** Make the registry what they say, in commits that are over when this returns. @p data_dir keeps
 *  what was said. @return 0, or an error of @p data_dir with nothing changed. */
int wm_definitions_apply(struct wm_definitions *d, struct wm_registry *r, const char *data_dir,
			 struct wm_definitions_outcome *ret, struct wm_err *e);
