/* SPDX-License-Identifier: Apache-2.0 */
/* definitions.h - services and checks that the configuration files define, beside those that are
 * registered over the API: "service", "services", "check" and "checks" of a file, in the form of
 * the API's bodies (Consul's snake_case names are known too). What they said last is kept in the
 * data directory, so that what left the files is deregistered, also if that was while no agent ran,
 * and what the API registered stays. Threading: reading and
 * planning on any thread, the rest on the loop's. */
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
/* --- making the registry what they say: planned on any thread, applied on the loop, in steps ---
 */
struct wm_application;
/** What is to be done, against what @p data_dir says of the last time; it is told first what is
 *  about to be done. Takes @p d over. Any thread; nothing is logged.
 *  @return 0, or an error of @p data_dir with nothing changed, and @p d still the caller's. */
int wm_definitions_plan(struct wm_definitions *d, const char *data_dir, struct wm_application **ret,
			struct wm_err *e);
/** Submit some more writes. @return false: all are answered. Loop thread. */
bool wm_application_step(struct wm_application *a, struct wm_registry *r);
/** Tell the data directory what came of it. Any thread, after the last step. */
int wm_application_keep(struct wm_application *a, struct wm_err *e);
/** Borrowed. */
const struct wm_definitions_outcome *wm_application_outcome(const struct wm_application *a);
/** When none of its writes is queued any more. NULL ok. */
void wm_application_free(struct wm_application *a);
