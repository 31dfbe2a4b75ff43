/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
#include "userspace/base/macros.h"
#include "userspace/base/settings.h"
#include "userspace/base/settings_env.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wm_settings s;
static struct wm_err e;

static void setup(void)
{
	cr_assert_eq(wm_settings_init(&s), 0);
	memset(&e, 0, sizeof(e));
}
static void teardown(void)
{
	wm_settings_done(&s);
}
TestSuite(settings_env, .init = setup, .fini = teardown);

#define ENV(...)                                                                                   \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

Test(settings_env, each_kind)
{
	const char *const *env =
		ENV("PATH=/bin", "WAYMARKD_DNS_PORT=53", "WAYMARKD_NODE_NAME=n-1",
		    "WAYMARKD_KERNEL_ENABLED=false", "WAYMARKD_HTTP_READ_TIMEOUT=7s",
		    "WAYMARKD_DNS_PORT53_ADDRESSES=10.0.0.1,::1", "WAYMARKD_NODE_META=[\"a=b=c\"]");

	cr_assert_eq(wm_settings_env(&s, env, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(s.dns_port, 53);
	cr_assert_str_eq(s.node_name, "n-1");
	cr_assert_not(s.kernel_enabled);
	cr_assert_eq(s.http_read_timeout_ms, 7000);
	cr_assert_str_eq(s.dns_port53_addresses[1], "::1");
	cr_assert_str_eq(s.node_meta[0], "a=b=c");
	cr_assert_eq(wm_settings_env(&s, NULL, NULL, NULL, &e), 0);
}

/* Two settings of one variable: neither could be set alone. */
Test(settings_env, each_setting_has_a_variable_of_its_own)
{
	static const char *const words[] = {
#define S(section, name, reload, def, max, text)	    #section "_" #name,
#define N(section, name, reload, def, min, max, unit, text) #section "_" #name,
#define D(section, name, reload, def, min, max, text)	    #section "_" #name,
#define B(section, name, reload, def, text)		    #section "_" #name,
#define L(section, name, reload, def, max, text)	    #section "_" #name,
#include "userspace/base/settings.def"
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(words); i++)
		for (size_t k = 0; k < i; k++)
			cr_assert_str_neq(words[i], words[k]);
}

Test(settings_env, what_no_setting_has_is_refused_by_name)
{
	static const struct {
		const char *var, *says;
	} wrong[] = {
		{"WAYMARKD_DNS_PROT=53", "WAYMARKD_DNS_PROT: no setting has this variable; did you "
					 "mean that of dns.port?"},
		{"WAYMARKD_DNS=1", "WAYMARKD_DNS: no setting"},
		{"WAYMARKD_=1", "WAYMARKD_: no setting"},
		{"WAYMARKD_dns_port=53", "WAYMARKD_dns_port: no setting"},
		{"WAYMARKD_DNS_PORT=x", "WAYMARKD_DNS_PORT: dns.port: a whole number"},
		{"WAYMARKD_DNS_PORT=", "WAYMARKD_DNS_PORT: dns.port: a whole number"},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(wrong); i++) {
		memset(&e, 0, sizeof(e));
		cr_assert_eq(wm_settings_env(&s, ENV(wrong[i].var), NULL, NULL, &e), WM_E_INVALID,
			     "%s", wrong[i].var);
		cr_assert_eq(strncmp(e.text, wrong[i].says, strlen(wrong[i].says)), 0, "%s",
			     e.text);
	}
}

static void count(void *arg, const struct wm_err *one)
{
	cr_assert_eq(one->code, WM_E_INVALID);
	++*(unsigned *)arg;
}

Test(settings_env, all_faults_are_told_to_who_asks)
{
	unsigned n = 0;
	const char *const *env =
		ENV("WAYMARKD_A=1", "WAYMARKD_DNS_PORT=53", "WAYMARKD_HTTP_PORT=x", "WAYMARKD_B=");

	cr_assert_eq(wm_settings_env(&s, env, count, &n, &e), WM_E_INVALID);
	cr_assert_eq(n, 3);
	cr_assert_eq(s.dns_port, 53);
	cr_assert_eq(strncmp(e.text, "WAYMARKD_A:", 11), 0, "%s", e.text);
}

/* As kubelet writes them into each container, here of Services "waymark", "waymarkd" and
 * "waymarkd-dns". */
Test(settings_env, what_kubernetes_writes_of_services_is_passed_over)
{
	const char *const *env = ENV(
		"WAYMARK_SERVICE_HOST=10.0.0.9", "WAYMARK_PORT=tcp://10.0.0.9:8500",
		"WAYMARK_PORT_8500_TCP=tcp://10.0.0.9:8500", "WAYMARKD_SERVICE_HOST=10.0.0.9",
		"WAYMARKD_SERVICE_PORT=8500", "WAYMARKD_SERVICE_PORT_HTTP=8500",
		"WAYMARKD_PORT=tcp://10.0.0.9:8500", "WAYMARKD_PORT_8500_TCP=tcp://10.0.0.9:8500",
		"WAYMARKD_PORT_8500_TCP_PROTO=tcp", "WAYMARKD_PORT_8500_TCP_PORT=8500",
		"WAYMARKD_PORT_8500_TCP_ADDR=10.0.0.9", "WAYMARKD_DNS_PORT=udp://10.0.0.8:53",
		"WAYMARKD_DNS_SERVICE_HOST=10.0.0.8", "WAYMARKD_DNS_PORT_53_UDP_ADDR=10.0.0.8");

	cr_assert_eq(wm_settings_env(&s, env, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(s.dns_port, 8600);
	cr_assert_not(wm_settings_env_sets(env, "dns.port", 8));
	/* without the service they are slips of ours */
	cr_assert_lt(wm_settings_env(&s, ENV("WAYMARKD_PORT=tcp://10.0.0.9:8500"), NULL, NULL, &e),
		     0);
	env = ENV("WAYMARKD_DNS_SERVICE_HOST=10.0.0.8", "WAYMARKD_DNS_PORT=53");
	cr_assert_eq(wm_settings_env(&s, env, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(s.dns_port, 53, "a setting beside such a service");
	cr_assert(wm_settings_env_sets(env, "dns.port", 8));
}

Test(settings_env, over_the_files_and_under_the_command_line)
{
	char path[] = "/tmp/waymark-test-settings-XXXXXX";
	const char *sets[] = {"dns.ttl=3s"};
	struct wm_settings_source from = {
		.file = path,
		.env = ENV("WAYMARKD_DNS_TTL=2s", "WAYMARKD_DNS_NODE_TTL=2s"),
		.sets = sets,
		.sets_count = 1};
	static const char json[] =
		"{\"dns\": {\"ttl\": \"1s\", \"node_ttl\": \"1s\", \"negative_ttl\": \"5s\"}}";
	int fd = mkstemp(path);

	cr_assert_eq(write(fd, json, sizeof(json) - 1), (ssize_t)sizeof(json) - 1);
	close(fd);
	wm_settings_done(&s);
	cr_assert_eq(wm_settings_gather(&s, &from, &e), 0, "%s", e.text);
	cr_assert_eq(s.dns_ttl_ms, 3000);
	cr_assert_eq(s.dns_node_ttl_ms, 2000);
	cr_assert_eq(s.dns_negative_ttl_ms, 5000);
	unlink(path);
}

static void keep(void *arg, const struct wm_err *one)
{
	*(struct wm_err *)arg = *one;
}

Test(settings_env, a_fault_found_late_is_the_environments)
{
	const char *sets[] = {"log.level=info"};
	struct wm_settings_source from = {.env = ENV("WAYMARKD_LOG_LEVEL=loud")};

	wm_settings_done(&s);
	cr_assert_lt(wm_settings_gather_all(&s, &from, keep, &e), 0);
	cr_assert_eq(strncmp(e.text, "environment: log.level:", 23), 0, "%s", e.text);
	wm_settings_done(&s);
	from.sets = sets;
	from.sets_count = 1;
	cr_assert_eq(wm_settings_gather_all(&s, &from, keep, &e), 0);
}
