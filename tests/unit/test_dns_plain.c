/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* The name that the kernel looks up for a question's, on the host: by hand, and held against what
 * userspace answers to both. */
#include "dns_help.h"
#include "userspace/base/random.h"
#include "waymark/dns_plain.h"

TestSuite(dns_plain, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

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

struct found {
	char text[300];	   /* "": it is another form */
	char service[300]; /* what follows where the service's label is said to begin */
	bool srv_only;
};

static void put_text(const uint8_t *p, char *out)
{
	for (*out = 0; *p; p += *p + 1)
		out += sprintf(out, "%.*s%s", *p, (const char *)p + 1, p[*p + 1] ? "." : "");
}

static bool form_of(const uint8_t *name, size_t len, const struct wm_deny_zone *z,
		    const struct wm_srv_end *end, struct wm_plain_form *ret)
{
	struct wm_deny_labels l = wm_deny_labels_of(name);

	if (!wm_plain_is_below((uint32_t)len, &l, z->len, z->labels))
		return false;
	wm_plain_kind_of(name, &l, z->labels, end, ret);
	return wm_plain_parts_of(name, (uint32_t)len - z->len, &l, z->labels, ret);
}

static struct found find(const char *text, const char *dc)
{
	static const uint8_t domain[] = "\4mesh\10internal";
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_srv_end end = wm_srv_end_of(dc, &zone);
	static uint8_t out[WM_PLAIN_ROOM];
	uint8_t name[WM_DENY_BUF];
	struct wm_plain_form form;
	struct found ret = {.text = ""};
	size_t len = wire(text, name);
	uint32_t n, service = 0;

	memset(out, 0xaa, sizeof(out));
	if (!form_of(name, len, &zone, &end, &form))
		return ret;
	n = wm_plain_put(name, &form, &zone, out, &service);
	if (!n) {
		strcpy(ret.text, "too long");
		return ret;
	}
	for (uint32_t i = n; i < WM_NAME_BUF; i++)
		cr_assert_eq(out[i], 0, "octet %u behind the name", i);
	put_text(out, ret.text);
	put_text(out + service, ret.service);
	cr_assert_eq(n, strlen(ret.text) + 2);
	ret.srv_only = form.srv_only;
	return ret;
}

static const char *plain(const char *text, const char *dc)
{
	static struct found f;

	f = find(text, dc);
	return f.text;
}

#define WEB "web.service.mesh.internal"

Test(dns_plain, forms_of_a_service)
{
	cr_assert_str_eq(plain(WEB, "dc1"), WEB);
	cr_assert_str_eq(plain("WEB.Service.DC1.Mesh.Internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_web._tcp.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_wEb._TCP.service.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_web._tcp.service.dc1.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("_web._tcp.dc1.mesh.internal", "dc1"), WEB);
	cr_assert_str_eq(plain("web.virtual.dc1.mesh.internal", "dc1"),
			 "web.virtual.mesh.internal");
	cr_assert_str_eq(plain("a.B.web.service.dc1.mesh.internal", "dc1"), "a.b." WEB);
	cr_assert_str_eq(plain("_web._http.service.mesh.internal", "dc1"), "http." WEB);
	cr_assert_str_eq(plain("_web._udp.mesh.internal", "dc1"), "udp." WEB);
	cr_assert_str_eq(plain("service.service.mesh.internal", "dc1"),
			 "service.service.mesh.internal");
	cr_assert_str_eq(plain("web.service.eu-west-1-with-a-long-name.mesh.internal",
			       "EU-west-1-with-a-long-name"),
			 WEB);
	cr_assert_str_eq(
		plain("a-name-that-is-longer-than-eight-octets.service.mesh.internal", "x"),
		"a-name-that-is-longer-than-eight-octets.service.mesh.internal");
	cr_assert_str_eq(find("a.b.web.service.dc1.mesh.internal", "dc1").service, WEB);
	cr_assert_str_eq(find("_web._http.service.mesh.internal", "dc1").service, WEB);
	cr_assert_str_eq(find("_web._tcp.mesh.internal", "dc1").service, WEB);
	cr_assert(find("_web._tcp.mesh.internal", "dc1").srv_only);
	cr_assert(find("_web._tcp.dc1.mesh.internal", "dc1").srv_only);
	cr_assert(!find("_web._tcp.service.mesh.internal", "dc1").srv_only);
}

Test(dns_plain, others_are_not)
{
	static const char *const names[] = {
		"mesh.internal",
		"service.mesh.internal",
		"service.dc1.mesh.internal",
		"dc1.mesh.internal",
		"web.mesh.internal",
		"web.dc1.mesh.internal",
		"n1.node.dc1.mesh.internal",
		"web.service.dc2.mesh.internal",
		"web.service.dc1.dc1.mesh.internal",
		"_web.tcp.mesh.internal",
		"_._tcp.mesh.internal",
		"_web._.mesh.internal",
		"a._web._tcp.mesh.internal",
		"_web._tcp.node.mesh.internal",
		"_web._tcp.query.mesh.internal",
		"web.servicemesh.internal",
		"_web._tcp.dc1.dc1.mesh.internal",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		cr_assert_str_eq(plain(names[i], "dc1"), "", "%s", names[i]);
	cr_assert_str_eq(plain("web.service.query.mesh.internal", "query"), "",
			 "a word of ours before it is a datacenter");
	cr_assert_str_eq(plain("web.service.datacente.mesh.internal", "datacenter"), "");
	cr_assert_str_eq(plain("web.service.datacenterx.mesh.internal", "datacenter"), "");
}

Test(dns_plain, labels_that_begin_with_a_stroke_are_labels)
{
	cr_assert_str_eq(plain("_web._tcp.virtual.dc1.mesh.internal", "dc1"),
			 "_web._tcp.virtual.mesh.internal");
	cr_assert_str_eq(plain("web._tcp.service.dc1.mesh.internal", "dc1"),
			 "web._tcp.service.mesh.internal");
	cr_assert_str_eq(plain("_web.service.dc1.mesh.internal", "dc1"),
			 "_web.service.mesh.internal");
	cr_assert_str_eq(plain("a._web._tcp.service.dc1.mesh.internal", "dc1"),
			 "a._web._tcp.service.mesh.internal");
	cr_assert_str_eq(plain("_._tcp.service.mesh.internal", "dc1"),
			 "_._tcp.service.mesh.internal");
}

Test(dns_plain, a_name_that_is_too_long)
{
	char text[600] = "", domain[300] = "";
	uint8_t name[WM_DENY_BUF], zone_wire[WM_DENY_BUF], out[WM_PLAIN_ROOM];
	struct wm_deny_zone zone;
	struct wm_srv_end end;
	struct wm_plain_form form;
	uint32_t service;
	size_t len;

	/* without the word it fits, with it, it does not */
	for (unsigned i = 0; i < 3; i++)
		sprintf(domain + strlen(domain), "%s%059u", i ? "." : "", i);
	sprintf(text, "_%058u._tcp.%s", 1, domain);
	zone = wm_deny_zone_of(zone_wire, (uint32_t)wire(domain, zone_wire));
	end = wm_srv_end_of("d", &zone);
	len = wire(text, name);
	cr_assert_leq(len, 255);
	cr_assert(form_of(name, len, &zone, &end, &form));
	cr_assert_eq(wm_plain_put(name, &form, &zone, out, &service), 59 + 8 + zone.len);
	sprintf(text, "_%062u._%05u.%s", 1, 2, domain);
	len = wire(text, name);
	cr_assert_leq(len, 255);
	cr_assert(form_of(name, len, &zone, &end, &form));
	cr_assert_eq(wm_plain_put(name, &form, &zone, out, &service), 0);
}

/* --- as userspace reads them -------------------------------------------------------------------
 */
#define NAMES 60000
static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static void random_name(char out[300])
{
	static const char *const words[] = {"service", "virtual", "dc1", "DC1",	   "web", "_web",
					    "_tcp",    "_v1",	  "v1",	 "_none",  "_",	  "a",
					    "node",    "web",	  "dc1", "service"};

	*out = 0;
	for (unsigned n = 1 + below(5); n; n--)
		strcat(strcat(out, words[below(sizeof(words) / sizeof(*words))]), ".");
	strcat(out, "mesh.internal");
}

Test(dns_plain, userspace_answers_to_both_alike)
{
	static const uint16_t types[] = {1, 28, 33, 16};
	unsigned plains = 0, there = 0;
	uint64_t first;

	seed = first = wm_random64();
	add("web", "w", "10.0.0.1", 80, "v1", WM_PASSING);
	for (unsigned i = 0; i < NAMES; i++) {
		uint16_t type = types[below(4)];
		unsigned rcode, answers;
		char name[300];
		struct found f;

		random_name(name);
		f = find(name, "dc1");
		if (!*f.text)
			continue;
		plains++;
		ask(name, type);
		rcode = answer.rcode;
		answers = answer.counts[1];
		there += rcode == 0;
		ask(f.text, type);
		cr_assert_eq(rcode, answer.rcode, "seed %llu: %s, plain %s, type %u",
			     (unsigned long long)first, name, f.text, type);
		cr_assert_eq(answers, f.srv_only && type != 33 ? 0 : answer.counts[1],
			     "seed %llu: %s, plain %s, type %u", (unsigned long long)first, name,
			     f.text, type);
	}
	cr_assert(plains > NAMES / 20 && there > NAMES / 100, "%u %u", plains, there);
}
