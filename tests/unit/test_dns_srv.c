/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* SRV of the kernel, on the host: what a name asks for, and the octets of records. */
#include "waymark/dns_srv.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const uint8_t domain[] = "\4mesh\10internal";

static size_t wire(const char *text, uint8_t out[WM_DENY_BUF])
{
	size_t at = 0, n;

	memset(out, 0, WM_DENY_BUF);
	for (; *text; text += n + (text[n] == '.')) {
		n = strcspn(text, ".");
		out[at++] = (uint8_t)n;
		memcpy(out + at, text, n);
		at += n;
	}
	return at + 1;
}

/* The plain name that @p text asks for, "" if it is another form. */
static const char *plain(const char *text, const char *dc_text)
{
	static char ret[300];
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_deny_label dc = wm_deny_label_of(dc_text);
	static uint8_t out[WM_SRV_ROOM];
	uint8_t name[WM_DENY_BUF];
	struct wm_deny_labels l;
	struct wm_srv_form form;
	size_t len = wire(text, name), at = 0;
	uint32_t n;

	memset(out, 0xaa, sizeof(out));
	*ret = 0;
	l = wm_deny_labels_of(name);
	if (!wm_srv_form_of(name, (uint32_t)len, &l, zone.len, zone.labels, &dc, &form))
		return ret;
	n = wm_srv_plain(name, &form, &zone, out);
	if (!n)
		return "too long";
	for (uint32_t i = n; i < WM_NAME_BUF; i++)
		cr_assert_eq(out[i], 0, "octet %u behind the name", i);
	for (const uint8_t *p = out; *p; p += *p + 1)
		at += (size_t)sprintf(ret + at, "%s%.*s", at ? "." : "", *p, (const char *)p + 1);
	cr_assert_eq(n, at + 2);
	return ret;
}

#define WEB "web.service.mesh.internal"

Test(dns_srv, forms_that_ask_for_all_of_a_service)
{
	cr_assert_str_eq(plain("web.service.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("WEB.Service.DC1.Mesh.Internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_web._tcp.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_wEb._TCP.service.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_web._tcp.service.dc1.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_web._tcp.dc1.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("service.service.mesh.internal", "dc1"),
			 "service.service.mesh.internal");
	cr_assert_str_eq(
		plain("a-name-that-is-longer-than-eight-octets.service.mesh.internal", "x"),
		"a-name-that-is-longer-than-eight-octets.service.mesh.internal");
}

Test(dns_srv, others_are_left_to_userspace)
{
	static const char *const names[] = {
		"mesh.internal",
		"service.mesh.internal",
		"service.dc1.mesh.internal",
		"dc1.mesh.internal",
		"web.mesh.internal",
		"tag.web.service.mesh.internal",
		"web.virtual.mesh.internal",
		"web.service.dc2.mesh.internal",
		"_web._http.mesh.internal",
		"_web._http.service.mesh.internal",
		"_web._udp.service.mesh.internal",
		"web._tcp.service.mesh.internal",
		"_._tcp.service.mesh.internal",
		"_web.service.mesh.internal",
		"_tcp.service.mesh.internal",
		"a._web._tcp.service.mesh.internal",
		"_web._tcp.node.mesh.internal",
		"web.servicemesh.internal",
		"_web._tcp.dc1.dc1.mesh.internal",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		cr_assert_str_eq(plain(names[i], "dc1"), "", "%s", names[i]);
	cr_assert_str_eq(plain("web.service.datacenter.mesh.internal", "datacenter"), "",
			 "of a long label only the beginning is known");
}

Test(dns_srv, records_lead_to_nodes_and_to_addresses)
{
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_srv_end end = wm_srv_end_of("DC1", &zone);
	struct wm_srv four = {.addr_be = {0, 0, WM_V4_MAPPED_BE, __builtin_bswap32(0x0a01fe9f)},
			      .family = WM_FAMILY_4,
			      .weight = 7,
			      .port_be = __builtin_bswap16(8080)};
	struct wm_srv six = {.addr_be = {__builtin_bswap32(0xfd000000), 0, 0, __builtin_bswap32(9)},
			     .family = WM_FAMILY_6,
			     .weight = 1};
	struct wm_target own = {.len = 0}, node = {.len = 8};
	static uint8_t out[WM_SRV_ROOM];
	static const char first[] = "\xc0\x0c\0\x21\0\1\0\0\0\x09\0\x26\0\1\0\7\x1f\x90"
				    "\2N1\4rack\4node\3dc1\4mesh\10internal",
			  second[] =
				  "\xc0\x0c\0\x21\0\1\0\0\0\x09\0\x3f\0\1\0\1\0\0"
				  "\40fd000000000000000000000000000009\4addr\3dc1\4mesh\10internal",
			  third[] = "\xc0\x0c\0\x21\0\1\0\0\0\x09\0\x27\0\1\0\7\x1f\x90"
				    "\010"
				    "0a01fe9f\4addr\3dc1\4mesh\10internal",
			  addresses[] =
				  "\xc1\x12\0\1\0\1\0\0\0\x09\0\4\x0a\x01\xfe\x9f"
				  "\xc1\x44\0\x1c\0\1\0\0\0\x09\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0"
				  "\0\0\x09";
	uint32_t at;

	memcpy(node.words, "\2N1\4rack", 8);
	at = wm_srv_put(out, 0, &four, &node, &end, 9);
	cr_assert_eq(at, sizeof(first));
	cr_assert_arr_eq(out, first, sizeof(first));
	at = wm_srv_put(out, at, &six, &own, &end, 9);
	cr_assert_eq(at, sizeof(first) + sizeof(second));
	cr_assert_arr_eq(out + sizeof(first), second, sizeof(second));
	at = wm_srv_put_address(out, at, &four, 256, 9);
	at = wm_srv_put_address(out, at, &six, 256, 9);
	cr_assert_eq(at, sizeof(first) + sizeof(second) + sizeof(addresses) - 1);
	cr_assert_arr_eq(out + sizeof(first) + sizeof(second), addresses, sizeof(addresses) - 1);
	at = wm_srv_put(out, 0, &four, &own, &end, 9);
	cr_assert_eq(at, sizeof(third));
	cr_assert_arr_eq(out, third, sizeof(third));
}

Test(dns_srv, a_name_that_is_too_long)
{
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_srv r = {.family = WM_FAMILY_4};
	struct wm_target node = {.len = WM_TARGET_MAX};
	static uint8_t out[WM_SRV_ROOM], wide[WM_DENY_BUF];
	struct wm_srv_end end;

	for (unsigned labels = 0; labels < 4; labels++) {
		wide[62 * labels] = 61;
		memset(wide + 62 * labels + 1, 'a', 61);
	}
	cr_assert_eq(wm_srv_end_of("", &zone).len, 0);
	zone = wm_deny_zone_of(wide, 62 * 2 + 1);
	end = wm_srv_end_of("dc", &zone);
	cr_assert_eq(end.len, 62 * 2 + 4);
	cr_assert_gt(wm_srv_put(out, 0, &r, &node, &end, 1), 0u);
	wide[62 * 2 + 1 - 1] = 61;
	zone = wm_deny_zone_of(wide, 62 * 3 + 1);
	end = wm_srv_end_of("dc", &zone);
	cr_assert_eq(wm_srv_put(out, 0, &r, &node, &end, 1), 0u, "64 + 5 + 3 + 187");
}
