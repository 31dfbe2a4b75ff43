/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security */
/* test_ca.c - an authority and what it issues, read back by the code that judges certificates. */
#include "userspace/security/ca.h"
#include "userspace/security/cert.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/waymark-ca-XXXXXX";

static void begin(void)
{
	cr_assert(mkdtemp(dir));
}

static void end(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(ca, .init = begin, .fini = end);

static mode_t mode_of(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cr_assert_eq(stat(path, &st), 0, "%s", path);
	return st.st_mode & 0777;
}

static int load(const char *node, struct wm_cert **ret, struct wm_err *e)
{
	char ca[128], cert[128], key[128];
	const struct wm_cert_files f = {ca, cert, key};

	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(cert, sizeof(cert), "%s/%s.pem", dir, node);
	snprintf(key, sizeof(key), "%s/%s-key.pem", dir, node);
	return wm_cert_load(&f, ret, e);
}

Test(ca, what_it_issues_is_taken_for_the_node)
{
	static const char *const addresses[] = {"10.0.0.1", "fd00::1", NULL};
	struct wm_ca_shown shown;
	struct wm_cert *c = NULL;
	struct wm_err e = {0};
	char path[128];

	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "Node-1", addresses, 365, &e), 0, "%s", e.text);
	cr_assert_eq(load("Node-1", &c, &e), 0, "%s", e.text);
	cr_assert_str_eq(wm_cert_identity(c)->node, "node-1");
	cr_assert_str_eq(wm_cert_identity(c)->datacenter, "dc1");
	wm_cert_free(c);
	cr_assert_eq(mode_of("ca-key.pem"), 0600);
	cr_assert_eq(mode_of("Node-1-key.pem"), 0600);
	snprintf(path, sizeof(path), "%s/Node-1.pem", dir);
	cr_assert_eq(wm_ca_show(path, &shown, &e), 0, "%s", e.text);
	cr_assert_str_eq(shown.identity, "node-1.dc1.waymark");
	cr_assert(shown.days_left == 29 || shown.days_left == 30,
		  "no longer than the authority: %ld", shown.days_left);
	snprintf(path, sizeof(path), "%s/ca.pem", dir);
	cr_assert_eq(wm_ca_show(path, &shown, &e), 0, "%s", e.text);
	cr_assert(strstr(shown.identity, "dc1"), "%s", shown.identity);
}

Test(ca, nothing_that_is_there_is_overwritten)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), -EEXIST);
	cr_assert_eq(wm_ca_issue(dir, "a", NULL, 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "a", NULL, 30, &e), -EEXIST);
	cr_assert(strstr(e.text, "a.pem"), "%s", e.text);
}

Test(ca, what_cannot_be_is_refused)
{
	static const char *const no_address[] = {"10.0.0", NULL};
	struct wm_err e = {0};

	cr_assert_neq(wm_ca_issue(dir, "a", NULL, 30, &e), 0, "there is no authority");
	cr_assert_eq(wm_ca_init(dir, "", 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_init(dir, "*", 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_init(dir, "a.b", 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_init(dir, "dc1", 0, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_init(dir, "dc1", WM_CA_DAYS_MAX + 1, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_init("/proc/none/x", "dc1", 30, &e), -ENOENT);
	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "*", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "a_b", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "-a", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "a-", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "../x", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "ca", NULL, 30, &e), WM_E_INVALID);
	cr_assert_eq(wm_ca_issue(dir, "a", no_address, 30, &e), WM_E_INVALID);
	cr_assert(strstr(e.text, "10.0.0"), "%s", e.text);
}

Test(ca, a_key_of_another_is_found)
{
	char command[256];
	struct wm_cert *c = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "a", NULL, 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "b", NULL, 30, &e), 0, "%s", e.text);
	snprintf(command, sizeof(command), "cp %s/b-key.pem %s/a-key.pem", dir, dir);
	cr_assert_eq(system(command), 0);
	cr_assert_eq(load("a", &c, &e), WM_E_INVALID);
	snprintf(command, sizeof(command), "chmod 644 %s/b-key.pem", dir);
	cr_assert_eq(system(command), 0);
	cr_assert_neq(load("b", &c, &e), 0, "others may read the key");
	snprintf(command, sizeof(command), "cp %s/b-key.pem %s/ca-key.pem", dir, dir);
	cr_assert_eq(system(command), 0);
	cr_assert_eq(wm_ca_issue(dir, "c", NULL, 30, &e), WM_E_INVALID);
}
