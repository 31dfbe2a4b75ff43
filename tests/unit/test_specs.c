/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
/* test_specs.c - what sources say of services, in the registry. */
#include "registry_help.h"
#include "spec_help.h"

static unsigned changes;
static const char *before, *after; /* external_name */

static void on_change(void *arg, const struct wm_change *c)
{
	(void)arg;
	cr_assert_eq(c->kind, WM_CHANGE_SPEC);
	cr_assert_null(c->instance);
	changes++;
	before = c->spec_old ? c->spec_old->external_name : "none";
	after = c->spec ? c->spec->external_name : "none";
}

static struct wm_registry *open_memory(void)
{
	struct wm_registry_config c = config(NULL);
	struct wm_registry *r;
	struct wm_err e = {0};

	c.services_max = 2;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

Test(specs, are_put_found_announced_and_deleted)
{
	struct wm_service_spec s = spec_of("default/web", "10.96.0.10");
	struct wm_registry *r = open_memory();
	size_t pos = 0;

	cr_assert_eq(wm_registry_subscribe(r, on_change, NULL), 0);
	cr_assert_null(wm_registry_spec(r, "default/web"));
	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), 1);
	cr_assert_str_eq(before, "none");
	cr_assert_null(after);
	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), 0); /* the same */
	cr_assert_eq(changes, 1);
	s.external_name = "example.com";
	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), 1);
	cr_assert_str_eq(after, "example.com");
	cr_assert_null(before);
	cr_assert_str_eq(wm_registry_spec(r, "Default/WEB")->external_name, "example.com");
	cr_assert_eq(wm_registry_specs(r), 1);
	cr_assert_eq(wm_registry_next_spec(r, &pos), wm_registry_spec(r, "default/web"));
	cr_assert_null(wm_registry_next_spec(r, &pos));
	cr_assert_eq(wm_registry_spec_delete(r, "default/web", "kubernetes", NULL), 1);
	cr_assert_str_eq(after, "none");
	cr_assert_eq(changes, 3);
	cr_assert_eq(wm_registry_spec_delete(r, "default/web", "kubernetes", NULL), 0);
	cr_assert_null(wm_registry_spec(r, "default/web"));
	wm_registry_close(r);
}

Test(specs, another_source_does_not_touch_them)
{
	struct wm_service_spec s = spec_of("default/web", "10.96.0.10");
	struct wm_registry *r = open_memory();
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), 1);
	s.source = "consul";
	cr_assert_eq(wm_registry_spec_put(r, &s, &e), WM_E_CONFLICT);
	cr_assert(strstr(e.text, "kubernetes"), "%s", e.text);
	cr_assert_eq(wm_registry_spec_delete(r, "default/web", "consul", NULL), WM_E_CONFLICT);
	cr_assert_str_eq(wm_registry_spec(r, "default/web")->source, "kubernetes");
	wm_registry_close(r);
}

Test(specs, have_a_limit_and_are_judged)
{
	struct wm_service_spec s = spec_of("default/a", "10.96.0.10");
	struct wm_registry *r = open_memory();

	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), 1);
	s.service = "default/b";
	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), 1);
	s.service = "default/c";
	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), WM_E_CAPACITY);
	s.service = "";
	cr_assert_eq(wm_registry_spec_put(r, &s, NULL), WM_E_INVALID);
	cr_assert_eq(wm_registry_specs(r), 2);
	wm_registry_close(r);
}
