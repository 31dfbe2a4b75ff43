/* SPDX-License-Identifier: Apache-2.0 */
/* kube_help.h - services of a cluster in a registry, and a DNS server that has its domain. */
#pragma once
#include "dns_help.h"
#include "userspace/model/spec.h"

#define A     1
#define NS    2
#define CNAME 5
#define SOA   6
#define PTR   12
#define TXT   16
#define AAAA  28
#define SRV   33
#define ANY   255

static const struct wm_spec_port web_ports[] = {{"http", 80, 0, IPPROTO_TCP, "http"}};
static const struct wm_spec_port no_name[] = {{"", 80, 0, IPPROTO_TCP, NULL}};

/* A service with these cluster addresses, NULL: none. Made of @p more where that is not NULL. */
static __attribute__((unused)) void spec(const char *key, const char *v4, const char *v6,
					 const struct wm_service_spec *more)
{
	struct wm_spec_address at[2] = {{.kind = WM_SPEC_CLUSTER}, {.kind = WM_SPEC_CLUSTER}};
	struct wm_service_spec s = more ? *more : (struct wm_service_spec){0};
	struct wm_err e = {0};

	s.service = key;
	s.source = "kubernetes";
	s.addresses = at;
	if (v4)
		cr_assert_eq(inet_pton(AF_INET, v4, &at[s.addresses_count++].a4), 1);
	if (v6)
		cr_assert_eq(inet_pton(AF_INET6, v6, &at[s.addresses_count++].a6), 1);
	if (!more) {
		s.ports = web_ports;
		s.ports_count = 1;
	}
	cr_assert_eq(wm_registry_spec_put(registry, &s, &e), 1, "%s: %s", key, e.text);
}

/* An endpoint of a service, by its address; @p host NULL: it has none; @p port of "http", 0: none.
 */
static __attribute__((unused)) void endpoint(const char *key, const char *address, const char *host,
					     unsigned port, enum wm_status status)
{
	struct wm_check_draft check = {
		.kind = WM_CHECK_TTL, .ttl_ms = 60000, .status = status, .has_status = true};
	char endpoints[] = "endpoints.http", hostname[] = "hostname";
	char id[128], http[16], name[WM_DNS_LABEL_MAX + 1] = "";
	struct wm_pair meta[2];
	struct wm_instance_draft d = {.id = id,
				      .name = key,
				      .address = address,
				      .port = port ? port : 1,
				      .meta = meta,
				      .checks = &check,
				      .checks_count = 1};
	struct wm_err e = {0};

	snprintf(id, sizeof(id), "%s/%s", key, address);
	snprintf(http, sizeof(http), "tcp:%u", port);
	if (port)
		meta[d.meta_count++] = (struct wm_pair){endpoints, http};
	if (host) {
		snprintf(name, sizeof(name), "%s", host);
		meta[d.meta_count++] = (struct wm_pair){hostname, name};
	}
	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

static __attribute__((unused)) void gone(const char *key, const char *address)
{
	struct wm_err e = {0};
	char id[128];

	snprintf(id, sizeof(id), "%s/%s", key, address);
	cr_assert_eq(wm_registry_deregister(registry, id, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

/* The cluster that the cases are about. */
static __attribute__((unused)) void cluster(void)
{
	static const struct wm_service_spec headless = {
		.headless = true, .ports = web_ports, .ports_count = 1};
	static const struct wm_service_spec portless = {.headless = true};
	struct wm_service_spec external = {.external_name = "ext.interwebs.test"};
	const struct wm_service_spec unnamed = {.ports = no_name, .ports_count = 1};

	spec("testns/svc1", "10.0.0.1", NULL, NULL);
	spec("testns/svcempty", "10.0.0.11", NULL, NULL);
	spec("testns/svc6", NULL, "1234:abcd::1", NULL);
	spec("testns/dual", "10.0.0.3", "10::3", NULL);
	spec("testns/plain", "10.0.0.4", NULL, &unnamed);
	spec("testns/hdls1", NULL, NULL, &headless);
	spec("testns/portless", NULL, NULL, &portless);
	spec("testns/none", NULL, NULL, &headless);
	spec("testns/external", NULL, NULL, &external);
	external.external_name = "svc1.testns.svc.cluster.local";
	spec("testns/inside", NULL, NULL, &external);
	external.external_name = "10.0.0.1";
	spec("testns/address", NULL, NULL, &external);
	endpoint("testns/svc1", "172.0.0.1", "ep1a", 80, WM_PASSING);
	endpoint("testns/hdls1", "172.0.0.2", NULL, 8080, WM_PASSING);
	endpoint("testns/hdls1", "172.0.0.3", NULL, 8080, WM_PASSING);
	endpoint("testns/hdls1", "172.0.0.4", "dup-name", 8080, WM_PASSING);
	endpoint("testns/hdls1", "172.0.0.5", "dup-name", 8080, WM_PASSING);
	endpoint("testns/hdls1", "5678:abcd::1", NULL, 8080, WM_PASSING);
	endpoint("testns/hdls1", "5678:abcd::2", NULL, 8080, WM_PASSING);
	endpoint("testns/hdls1", "172.0.0.9", "sick", 8080, WM_CRITICAL);
	endpoint("testns/portless", "172.0.0.20", NULL, 0, WM_PASSING);
}

static __attribute__((unused)) void kube_setup(void)
{
	dns_config.kube_domain = "cluster.local";
	dns_setup();
	cluster();
}
