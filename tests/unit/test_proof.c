/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security */
/* test_proof.c - signatures, and the key of them. */
#include "userspace/security/proof.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(proof, .timeout = 60);

static const char *in_dir(const char *name)
{
	static char dir[] = "/tmp/test-proof-XXXXXX", paths[8][80];
	static unsigned n;

	if (strstr(dir, "XXXXXX"))
		cr_assert_not_null(mkdtemp(dir));
	n = (n + 1) % 8;
	snprintf(paths[n], sizeof(paths[n]), "%s/%s", dir, name);
	return paths[n];
}

Test(proof, a_signature_is_of_one_key_and_one_text)
{
	uint8_t sig[WM_PROOF_SIGNATURE], a[WM_PROOF_KEY], b[WM_PROOF_KEY];
	struct wm_proof_key *one, *two;
	struct wm_err e = {0};

	cr_assert_eq(wm_proof_key_open(NULL, &one, &e), 0, "%s", e.text);
	cr_assert_eq(wm_proof_key_open(NULL, &two, &e), 0, "%s", e.text);
	wm_proof_key_public(one, a);
	wm_proof_key_public(two, b);
	cr_assert_eq(wm_proof_sign(one, "text", 4, sig), 0);
	cr_assert(wm_proof_verify(a, "text", 4, sig));
	cr_assert_not(wm_proof_verify(b, "text", 4, sig));
	cr_assert_not(wm_proof_verify(a, "texT", 4, sig));
	cr_assert_not(wm_proof_verify(a, "tex", 3, sig));
	for (unsigned i = 0; i < sizeof(sig); i++) {
		sig[i] ^= 1;
		cr_assert_not(wm_proof_verify(a, "text", 4, sig), "octet %u", i);
		sig[i] ^= 1;
	}
	wm_proof_key_free(one);
	wm_proof_key_free(two);
}

Test(proof, a_key_is_the_same_in_the_next_run_and_for_nobody_else)
{
	const char *path = in_dir("proof-key");
	uint8_t a[WM_PROOF_KEY], b[WM_PROOF_KEY];
	struct wm_proof_key *k;
	struct wm_err e = {0};
	struct stat st;
	FILE *f;

	cr_assert_eq(wm_proof_key_open(path, &k, &e), 0, "%s", e.text);
	wm_proof_key_public(k, a);
	wm_proof_key_free(k);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(wm_proof_key_open(path, &k, &e), 0, "%s", e.text);
	wm_proof_key_public(k, b);
	wm_proof_key_free(k);
	cr_assert_eq(memcmp(a, b, sizeof(a)), 0);
	chmod(path, 0644);
	cr_assert_eq(wm_proof_key_open(path, &k, &e), WM_E_INVALID);
	cr_assert(strstr(e.text, "is open to others"), "%s", e.text);
	chmod(path, 0600);
	f = fopen(path, "w");
	fputs("no key\n", f);
	fclose(f);
	cr_assert_eq(wm_proof_key_open(path, &k, &e), WM_E_INVALID, "it is not made anew");
	cr_assert_neq(wm_proof_key_open("/proc/none/key", &k, &e), 0);
}
