/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Names that the kernel says are not there: whatever it would deny, userspace, which knows all that
 * is, denies too. */
#include "dns_help.h"
#include "userspace/base/random.h"
#include "waymark/dns_deny.h"

TestSuite(dns_deny, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

#define NAMES 100000
static const char *const words[] = {"service", "virtual",  "node", "query",    "addr",	 "ns",
				    "dc1",     "DC1",	   "dc10", "web",      "none",	 "_web",
				    "_tcp",    "v1",	   "mesh", "internal", "consul", "a",
				    "_",       "services", "n1",   "0a000001", "servic", "nodes"};
static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static void random_name(char out[300])
{
	static const char *const ends[] = {"mesh.internal",	   "consul",
					   "mesh.internal.consul", "internal",
					   "xmesh.internal",	   "consul.mesh.internal"};

	*out = 0;
	for (unsigned n = below(6); n; n--)
		strcat(strcat(out, words[below(sizeof(words) / sizeof(*words))]), ".");
	strcat(out, ends[below(9) % 6]);
}

/* What the kernel would say; @p len octets of a question's name. */
static enum wm_deny denied(const uint8_t *wire, size_t len, char *ret_service)
{
	static const char *const domains[] = {"mesh.internal", "consul"};
	const struct wm_deny_label dc = wm_deny_label_of("dc1");
	uint8_t name[WM_DENY_BUF] = {0}, domain[256];
	struct wm_deny_labels labels;

	memcpy(name, wire, len);
	labels = wm_deny_labels_of(name);
	for (unsigned i = 0; i < 2; i++) {
		struct wm_deny_zone z =
			wm_deny_zone_of(domain, (uint32_t)wm_domain_wire(domains[i], domain));
		uint32_t at;

		if (z.len > len ||
		    strcasecmp((const char *)name + len - z.len, (const char *)domain) != 0)
			continue;
		at = wm_deny_before(&labels, z.labels, 2);
		snprintf(ret_service, 64, "%.*s", name[at], (const char *)name + at + 1);
		return wm_deny_of(name, (uint32_t)len, &labels, z.len, z.labels, &dc);
	}
	return WM_DENY_NOT;
}

Test(dns_deny, nothing_is_denied_that_is_there)
{
	unsigned forms = 0, services = 0, there = 0;
	uint64_t first;

	seed = first = wm_random64();
	add("web", "w", "10.0.0.1", 80, "v1", WM_PASSING);
	for (unsigned i = 0; i < NAMES; i++) {
		char name[300], service[64] = "";
		enum wm_deny d;
		size_t len;

		random_name(name);
		len = build(name, 1, 0);
		d = denied(query + 12, len - 16, service);
		ask(name, 1);
		there += answer.rcode == 0;
		forms += d == WM_DENY_FORM;
		if (d == WM_DENY_FORM)
			cr_assert_eq(answer.rcode, 3, "seed %llu: %s", (unsigned long long)first,
				     name);
		if (d == WM_DENY_NO_SERVICE && strcmp(service, "web") != 0) {
			services++;
			cr_assert_eq(answer.rcode, 3, "seed %llu: %s", (unsigned long long)first,
				     name);
		}
	}
	cr_assert(forms > NAMES / 10 && services > NAMES / 100 && there > NAMES / 100, "%u %u %u",
		  forms, services, there);
}
