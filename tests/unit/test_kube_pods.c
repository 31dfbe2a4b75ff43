/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model source */
/* test_kube_pods.c - the Pods of a node as an API server tells of them, and who has an address. */
#include "userspace/source/kube_cgroup.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define UID_A "0f3c1a52-7d2b-4a0e-8a5e-2f6f0a4b9c01"

static struct wm_kube_pod_table *p;
static unsigned told;
static char told_of[256];

static void on_told(void *arg, const char *pod, const char *text)
{
	(void)arg;
	told++;
	snprintf(told_of, sizeof(told_of), "%s %s", pod, text);
}

static void setup(void)
{
	p = wm_kube_pods_new(on_told, NULL);
	cr_assert_not_null(p);
}

static void teardown(void)
{
	wm_kube_pods_free(p);
}

TestSuite(kube_pods, .init = setup, .fini = teardown);

static void is_there(const char *json)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_kube_pods_object(p, json, strlen(json), &e), 0, "%s", e.text);
}

static const char *name_at(const char *address)
{
	const struct wm_kube_pod_here *pod;
	struct in6_addr a;

	cr_assert_eq(wm_kube_address_parse(address, &a), 0);
	pod = wm_kube_pods_at(p, &a);
	return pod ? pod->name : "";
}

static const char *const web =
	"{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\",\"uid\":\"" UID_A "\"},"
	"\"spec\":{\"nodeName\":\"n1\"},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.244.1.5\","
	"\"podIPs\":[{\"ip\":\"10.244.1.5\"},{\"ip\":\"fd00:10:244::5\"}]}}";

Test(kube_pods, a_pod_is_found_by_each_address_and_by_its_uid)
{
	const struct wm_kube_pod_here *pod;

	is_there(web);
	cr_expect_str_eq(name_at("10.244.1.5"), "web-1");
	cr_expect_str_eq(name_at("fd00:10:244::5"), "web-1");
	cr_expect_str_eq(name_at("10.244.1.6"), "");
	pod = wm_kube_pods_uid(p, UID_A, strlen(UID_A));
	cr_assert_not_null(pod);
	cr_expect_str_eq(pod->namespace, "default");
	cr_expect_not(pod->out);
	/* as systemd writes it: kubepods-burstable-pod0f3c1a52_7d2b_..slice */
	cr_expect_eq(wm_kube_pods_uid(p, "0f3c1a52_7d2b_4a0e_8a5e_2f6f0a4b9c01", 36), pod);
	cr_expect_null(wm_kube_pods_uid(p, UID_A, 35));
	cr_expect_null(wm_kube_pods_uid(p, "", 0));
}

Test(kube_pods, an_address_is_no_pods_when_it_has_ended)
{
	is_there(web);
	is_there("{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\",\"uid\":\"" UID_A
		 "\"},\"status\":{\"phase\":\"Succeeded\",\"podIP\":\"10.244.1.5\"}}");
	cr_expect_str_eq(name_at("10.244.1.5"), "");
	is_there("{\"metadata\":{\"name\":\"job\",\"namespace\":\"x\"},\"status\":{\"phase\":"
		 "\"Running\",\"podIP\":\"10.244.1.5\"}}");
	cr_expect_str_eq(name_at("10.244.1.5"), "job");
}

Test(kube_pods, the_hosts_address_is_nobodys)
{
	const struct wm_kube_pod_here *pod;

	is_there("{\"metadata\":{\"name\":\"proxy\",\"namespace\":\"kube-system\",\"uid\":\"" UID_A
		 "\",\"annotations\":{\"waymark.io/steer\":\"false\"}},\"spec\":{\"hostNetwork\":"
		 "true},\"status\":{\"podIP\":\"192.168.7.11\"}}");
	cr_expect_str_eq(name_at("192.168.7.11"), "");
	pod = wm_kube_pods_uid(p, UID_A, strlen(UID_A));
	cr_assert_not_null(pod);
	cr_expect(pod->host_network);
	cr_expect(pod->out);
}

static void steered(const char *word)
{
	char json[256];

	snprintf(json, sizeof(json),
		 "{\"metadata\":{\"name\":\"b\",\"namespace\":\"x\",\"annotations\":{"
		 "\"waymark.io/steer\":\"%s\"}}}",
		 word);
	is_there(json);
}

/* As of a Service; pods come again with each change of their status. */
Test(kube_pods, a_word_that_is_none_is_told_once)
{
	is_there(web);
	steered("true");
	steered("false");
	cr_expect_eq(told, 0);
	steered("False");
	cr_expect_eq(told, 1);
	cr_expect_str_eq(told_of,
			 "x/b annotation waymark.io/steer: neither \"true\" nor \"false\", "
			 "so it is steered");
	steered("no");
	cr_expect_eq(told, 1);
	steered("true");
	steered("no");
	cr_expect_eq(told, 2);
}

Test(kube_pods, a_list_takes_away_what_does_not_come)
{
	static const char gone[] = "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\"}}";
	struct wm_err e = {0};

	is_there(web);
	is_there("{\"metadata\":{\"name\":\"b\",\"namespace\":\"x\"},\"status\":{\"podIP\":"
		 "\"10.244.1.7\"}}");
	is_there("{\"metadata\":{\"name\":\"c\",\"namespace\":\"x\"}}");
	wm_kube_pods_begin(p);
	cr_expect_not(wm_kube_pods_whole(p));
	is_there(web);
	wm_kube_pods_skipped(p, "x", "c");
	wm_kube_pods_end(p);
	cr_expect(wm_kube_pods_whole(p));
	cr_expect_eq(wm_kube_pods_count(p), 2);
	cr_expect_str_eq(name_at("10.244.1.7"), "");
	cr_expect_str_eq(name_at("10.244.1.5"), "web-1");
	cr_expect_eq(wm_kube_pods_gone(p, gone, strlen(gone), &e), 0);
	cr_expect_str_eq(name_at("10.244.1.5"), "");
	cr_expect_eq(wm_kube_pods_object(p, "{}", 2, &e), WM_E_INVALID);
	cr_expect_eq(wm_kube_pods_count(p), 1);
}

/* --- cgroups ---------------------------------------------------------------------------------- */
#define UID_S "0f3c1a52_7d2b_4a0e_8a5e_2f6f0a4b9c01"
#define ID    "4d1f7e0b9a8c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e"

static const struct {
	const char *path, *uid, *container;
} cgroups[] = {
	/* kubelet's cgroupDriver systemd: containerd, CRI-O, docker; guaranteed ones have no class
	 */
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_S
	 ".slice/cri-containerd-" ID ".scope",
	 UID_S, ID},
	{"/kubepods.slice/kubepods-pod" UID_S ".slice/crio-" ID ".scope/container", UID_S, ID},
	{"/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_S
	 ".slice/docker-" ID ".scope",
	 UID_S, ID},
	{"/../../kubepods-pod" UID_S ".slice/cri-containerd-" ID ".scope", UID_S, ID},
	/* kind: kubelet has a cgroupRoot */
	{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_S
	 ".slice/cri-containerd-" ID ".scope",
	 UID_S, ID},
	/* cgroupfs */
	{"/kubepods/burstable/pod" UID_A "/" ID, UID_A, ID},
	{"/kubepods/pod" UID_A "/crio-" ID, UID_A, ID},
	{"/system.slice/containerd.service/kubepods-burstable-pod" UID_S
	 ".slice:cri-containerd:" ID,
	 UID_S, ID},
	/* a static pod's uid is a sum of its file */
	{"/kubepods/pod0123456789abcdef0123456789abcdef/" ID, "0123456789abcdef0123456789abcdef",
	 ID},
	{"/kubepods/burstable/pod" UID_A, UID_A, ""},
	{"/kubepods/burstable/pod" UID_A "/init", UID_A, ""},
	{"/kubepods/burstable/pod" UID_A "/4d1f", UID_A, ""},
	/* nobody's */
	{"/", "", ""},
	{"", "", ""},
	{"/system.slice/ssh.service", "", ""},
	{"/kubepods.slice/kubepods-burstable.slice", "", ""},
	{"/user.slice/pod" UID_A "/" ID, "", ""},
	{"/libpod-" ID ".scope", "", ""},
	{"/kubepods/podium/" ID, "", ""},
	{"/kubepods/pod" UID_A "x/" ID, "", ""},
	{"/kubepods/pod" UID_A UID_A, "", ""},
};

Test(kube_pods, a_cgroup_says_pod_and_container)
{
	for (size_t n = 0; n < sizeof(cgroups) / sizeof(*cgroups); n++) {
		struct wm_kube_cgroup c;

		cr_expect_eq(wm_kube_cgroup_read(cgroups[n].path, &c), *cgroups[n].uid != '\0',
			     "%s", cgroups[n].path);
		cr_expect_str_eq(c.uid, cgroups[n].uid, "%s", cgroups[n].path);
		cr_expect_str_eq(c.container, cgroups[n].container, "%s", cgroups[n].path);
	}
}

Test(kube_pods, a_process_is_of_its_cgroups_pod_else_of_its_addresss)
{
	const struct wm_kube_pod_here *pod;
	struct wm_kube_cgroup c;
	struct in6_addr a;

	is_there(web);
	is_there("{\"metadata\":{\"name\":\"b\",\"namespace\":\"x\"},\"status\":{\"podIP\":"
		 "\"10.244.1.7\"}}");
	cr_assert_eq(wm_kube_address_parse("10.244.1.7", &a), 0);
	pod = wm_kube_pods_of(p, cgroups[0].path, &a, &c);
	cr_assert_not_null(pod);
	cr_expect_str_eq(pod->key, "default/web-1");
	cr_expect_str_eq(c.container, ID);
	pod = wm_kube_pods_of(p, "/machine.slice", &a, &c);
	cr_assert_not_null(pod);
	cr_expect_str_eq(pod->key, "x/b");
	cr_expect_str_eq(c.container, "");
	cr_expect_null(wm_kube_pods_of(p, "/machine.slice", NULL, &c));
}
