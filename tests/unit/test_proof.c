/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security */
/* test_proof.c - signatures, the key of them, and certificates that vouch for it. */
#include "userspace/security/ca.h"
#include "userspace/security/proof.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(proof, .timeout = 300);

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

static struct wm_cert *cert_of(const char *dir, const char *node)
{
	char ca[128], cert[128], key[128];
	const struct wm_cert_files files = {ca, cert, key};
	struct wm_cert *c = NULL;
	struct wm_err e = {0};

	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(cert, sizeof(cert), "%s/%s.pem", dir, node);
	snprintf(key, sizeof(key), "%s/%s-key.pem", dir, node);
	cr_assert_eq(wm_ca_issue(dir, node, NULL, 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_cert_load(&files, &c, &e), 0, "%s", e.text);
	return c;
}

static int vouched(const struct wm_cert *ours, const struct wm_cert *by, const char *text,
		   const void *sig, size_t len, struct wm_identity *ret, struct wm_err *e)
{
	const struct wm_proof_octets signature = {sig, len};
	struct wm_proof_octets chain = {0};
	uint8_t *der;
	int r;

	chain.len = wm_proof_der(by, 0, &der);
	chain.p = der;
	cr_assert_gt(chain.len, 0);
	r = wm_proof_vouched(ours, (struct wm_proof_chain){&chain, 1}, text, strlen(text),
			     &signature, ret, e);
	wm_proof_der_free(der);
	cr_assert(!r || *e->text);
	return r;
}

Test(proof, a_certificate_of_our_authority_vouches_for_what_its_key_signed)
{
	const char *dir = in_dir("ours"), *others = in_dir("others");
	struct wm_cert *a, *b, *c;
	uint8_t sig[WM_PROOF_VOUCHER_MAX], junk[200] = {0x30};
	const struct wm_proof_octets no_chain = {junk, sizeof(junk)}, none = {sig, 1};
	struct wm_identity is = {0};
	struct wm_err e = {0};
	size_t len;

	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_init(others, "dc1", 30, &e), 0, "%s", e.text);
	a = cert_of(dir, "a");
	b = cert_of(dir, "b");
	c = cert_of(others, "a");
	len = wm_proof_vouch(a, "key", 3, sig);
	cr_assert_gt(len, 0);
	cr_assert_eq(vouched(b, a, "key", sig, len, &is, &e), 0, "%s", e.text);
	cr_assert_str_eq(is.node, "a");
	cr_assert_str_eq(is.datacenter, "dc1");
	cr_assert_eq(vouched(b, a, "yek", sig, len, &is, &e), WM_E_INVALID);
	cr_assert_eq(vouched(b, b, "key", sig, len, &is, &e), WM_E_INVALID, "another's");
	cr_assert_eq(vouched(b, a, "key", sig, len - 1, &is, &e), WM_E_INVALID);
	cr_assert_eq(vouched(c, a, "key", sig, len, &is, &e), WM_E_INVALID, "no authority of c's");
	cr_assert_eq(wm_proof_vouched(b, (struct wm_proof_chain){&no_chain, 1}, "key", 3, &none,
				      &is, &e),
		     WM_E_INVALID);
	cr_assert_eq(wm_proof_vouched(b, (struct wm_proof_chain){&no_chain, 0}, "key", 3, &none,
				      &is, &e),
		     WM_E_INVALID);
	wm_cert_free(a);
	wm_cert_free(b);
	wm_cert_free(c);
}

/* Strangers' octets reach the reader of certificates by cards: each octet of a good one, and of its
 * signature, is changed, and it is cut at each. */
Test(proof, no_octet_of_a_certificate_can_be_another)
{
	const char *dir = in_dir("octets");
	uint8_t sig[WM_PROOF_VOUCHER_MAX], *der;
	struct wm_proof_octets chain, signature = {sig, 0};
	struct wm_identity is = {0};
	struct wm_cert *a, *b;
	struct wm_err e = {0};
	size_t len;

	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	a = cert_of(dir, "a");
	b = cert_of(dir, "b");
	signature.len = wm_proof_vouch(a, "key", 3, sig);
	len = wm_proof_der(a, 0, &der);
	chain = (struct wm_proof_octets){der, len};
	cr_assert_gt(len, 300);
	for (size_t i = 0; i < 8 * len; i++) {
		der[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_expect_neq(wm_proof_vouched(b, (struct wm_proof_chain){&chain, 1}, "key", 3,
					       &signature, &is, &e),
			      0, "bit %zu of octet %zu", i % 8, i / 8);
		der[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (chain.len = 0; chain.len < len; chain.len++)
		cr_expect_neq(wm_proof_vouched(b, (struct wm_proof_chain){&chain, 1}, "key", 3,
					       &signature, &is, &e),
			      0, "cut at octet %zu", chain.len);
	for (size_t i = 0; i < 8 * signature.len; i++) {
		sig[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_expect_neq(wm_proof_vouched(b, (struct wm_proof_chain){&chain, 1}, "key", 3,
					       &signature, &is, &e),
			      0, "bit %zu of octet %zu of the signature", i % 8, i / 8);
		sig[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	cr_assert_eq(wm_proof_vouched(b, (struct wm_proof_chain){&chain, 1}, "key", 3, &signature,
				      &is, &e),
		     0, "%s", e.text);
	wm_proof_der_free(der);
	wm_cert_free(a);
	wm_cert_free(b);
}
