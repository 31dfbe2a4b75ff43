/* SPDX-License-Identifier: Apache-2.0 */
/* specs.c - what sources say of services beside their instances: one a service, in memory only, for
 * a source keeps what it said itself. */
#include "internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct wm_service_spec *wm_registry_spec(const struct wm_registry *r, const char *service)
{
	char name[WM_SERVICE_NAME_MAX + 1];
	size_t n = 0;

	for (; service[n]; n++) {
		if (n == WM_SERVICE_NAME_MAX)
			return NULL;
		name[n] = (char)tolower((unsigned char)service[n]);
	}
	return wm_map_get(r->specs, name, n);
}

const struct wm_service_spec *wm_registry_next_spec(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->specs, pos);
}

unsigned wm_registry_specs(const struct wm_registry *r)
{
	return (unsigned)wm_map_len(r->specs);
}

static void announce(struct wm_registry *r, const struct wm_service_spec *now,
		     const struct wm_service_spec *old)
{
	const char *service = (now ? now : old)->service;
	const struct wm_change c = {.kind = WM_CHANGE_SPEC,
				    .index = r->index,
				    .service = wm_map_get(r->services, service, strlen(service)),
				    .spec = now,
				    .spec_old = old};

	wm_registry_announce(r, &c);
}

static int refuse_other(const struct wm_service_spec *old, const char *source, struct wm_err *e)
{
	if (strcmp(old->source, source) == 0)
		return 0;
	return wm_err_set(e, WM_E_CONFLICT,
			  "Service \"%.64s\" is source \"%s\"'s, and \"%.63s\" does not change it",
			  old->service, old->source, source);
}

int wm_registry_spec_put(struct wm_registry *r, const struct wm_service_spec *s, struct wm_err *e)
{
	int err = wm_service_spec_validate(s, e);
	struct wm_service_spec *old, *in;

	if (err)
		return err;
	old = wm_map_get(r->specs, s->service, strlen(s->service));
	if (old && refuse_other(old, s->source, e))
		return WM_E_CONFLICT;
	if (old && wm_service_spec_same(old, s))
		return 0;
	if (!old && wm_map_len(r->specs) >= r->services_max)
		return wm_err_set(e, WM_E_CAPACITY, "%u services of sources are the limit",
				  r->services_max);
	in = wm_service_spec_copy(s);
	if (!in || wm_map_reserve(r->specs, 1)) {
		wm_service_spec_free(in);
		return wm_err_set(e, -ENOMEM, "out of memory");
	}
	if (old) /* whose name is the key */
		wm_map_del(r->specs, old->service, strlen(old->service));
	if (wm_map_put(r->specs, in->service, strlen(in->service), in, NULL))
		abort(); /* room was reserved */
	wm_map_unreserve(r->specs, 1);
	announce(r, in, old);
	wm_service_spec_free(old);
	return 1;
}

int wm_registry_spec_delete(struct wm_registry *r, const char *service, const char *source,
			    struct wm_err *e)
{
	struct wm_service_spec *old = wm_map_get(r->specs, service, strlen(service));

	if (!old)
		return 0;
	if (refuse_other(old, source, e))
		return WM_E_CONFLICT;
	wm_map_del(r->specs, service, strlen(service));
	announce(r, NULL, old);
	wm_service_spec_free(old);
	return 1;
}
