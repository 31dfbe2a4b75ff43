/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model */
/* What a source says of a service: judged, copied, compared. */
#include "spec_help.h"

#include <criterion/criterion.h>
#include <string.h>

Test(spec, copy_is_the_same_and_its_own)
{
	struct wm_service_spec s = spec_of("default/web", "10.96.0.10"), *c;
	char name[] = "default/web";

	s.service = name;
	s.external_name = "";
	s.affinity_s = 10800;
	s.local_only = true;
	c = wm_service_spec_copy(&s);
	cr_assert_not_null(c);
	memset(name, 'x', sizeof(name) - 1);
	cr_assert_str_eq(c->service, "default/web");
	cr_assert_null(c->external_name);
	cr_assert_null(c->ports[1].endpoint);
	cr_assert_str_eq(c->ports[0].endpoint, "http");
	s.service = "default/web";
	cr_assert(wm_service_spec_same(&s, c));
	wm_service_spec_free(c);
}

Test(spec, differences_are_seen)
{
	struct wm_service_spec a = spec_of("default/web", "10.96.0.10"), b = a;
	struct wm_spec_address address = a.addresses[0];
	struct wm_spec_port port = a.ports[0];

	cr_assert(wm_service_spec_same(&a, &b));
	b.prefer = WM_SPEC_SAME_ZONE;
	cr_assert_not(wm_service_spec_same(&a, &b));
	a.ports_count = b.ports_count = a.addresses_count = b.addresses_count = 1;
	b.prefer = a.prefer;
	b.passed = true;
	cr_assert_not(wm_service_spec_same(&a, &b));
	b.passed = false;
	b.created = 1;
	cr_assert_not(wm_service_spec_same(&a, &b));
	b.created = 0;
	b.ports = &port;
	b.addresses = &address;
	cr_assert(wm_service_spec_same(&a, &b));
	port.endpoint = "other";
	cr_assert_not(wm_service_spec_same(&a, &b));
	port.endpoint = "http";
	address.kind = WM_SPEC_EXTERNAL;
	cr_assert_not(wm_service_spec_same(&a, &b));
}

static int judge(const struct wm_service_spec *s)
{
	struct wm_err e = {0};
	int r = wm_service_spec_validate(s, &e);

	cr_assert_eq(r != 0, *e.text != '\0');
	return r;
}

Test(spec, judged)
{
	struct wm_service_spec s = spec_of("default/web", "10.96.0.10");
	struct wm_spec_address address = {.kind = WM_SPEC_ADDRESS_KINDS};
	struct wm_spec_port ports[] = {s.ports[0], s.ports[0]};

	cr_assert_eq(judge(&s), 0);
	s.service = "default/Web";
	cr_assert_eq(judge(&s), WM_E_INVALID);
	s.service = "default/web";
	s.source = "";
	cr_assert_eq(judge(&s), WM_E_INVALID);
	s.source = "kubernetes";
	s.affinity_s = WM_SPEC_AFFINITY_MAX_S + 1;
	cr_assert_eq(judge(&s), WM_E_LIMIT);
	s.affinity_s = 0;
	s.ports = ports;
	cr_assert_eq(judge(&s), WM_E_INVALID); /* twice */
	ports[1].port = 81;
	cr_assert_eq(judge(&s), 0);
	ports[1].proto = IPPROTO_SCTP;
	cr_assert_eq(judge(&s), WM_E_INVALID);
	ports[1].proto = IPPROTO_TCP;
	s.ports_count = WM_SPEC_PORTS_MAX + 1;
	cr_assert_eq(judge(&s), WM_E_LIMIT);
	s.ports_count = 2;
	s.addresses = &address;
	s.addresses_count = 1;
	cr_assert_eq(judge(&s), WM_E_INVALID);
}
