/* SPDX-License-Identifier: Apache-2.0 */
/* proof_vouch.c - certificates that vouch for a key of proofs, see proof.h. */
#include "proof.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

/* Edwards curves sign what they are given; the others sign its SHA-256. */
static const EVP_MD *digest_of(const EVP_PKEY *key)
{
	int id = EVP_PKEY_get_id(key);

	return id == EVP_PKEY_ED25519 || id == EVP_PKEY_ED448 ? NULL : EVP_sha256();
}

size_t wm_proof_vouch(const struct wm_cert *c, const void *p, size_t len,
		      uint8_t ret[static WM_PROOF_VOUCHER_MAX])
{
	EVP_PKEY *key = wm_cert_key(c);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = WM_PROOF_VOUCHER_MAX;
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, digest_of(key), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, ret, &n, p, len) == 1;

	EVP_MD_CTX_free(ctx);
	return ok ? n : 0;
}

size_t wm_proof_der(const struct wm_cert *c, unsigned n, uint8_t **ret_der)
{
	const STACK_OF(X509) *chain = wm_cert_chain(c);
	X509 *x = n ? sk_X509_value(chain, (int)n - 1) : wm_cert_x509(c);
	int len;

	*ret_der = NULL;
	len = x && n < WM_PROOF_CHAIN_MAX ? i2d_X509(x, ret_der) : 0;
	return len > 0 ? (size_t)len : 0;
}

void wm_proof_der_free(uint8_t *der)
{
	OPENSSL_free(der);
}

static bool verify(EVP_PKEY *key, const void *p, size_t len,
		   const struct wm_proof_octets *signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, digest_of(key), NULL, key) == 1 &&
		  EVP_DigestVerify(ctx, signature->p, signature->len, p, len) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

static int read_chain(const struct wm_proof_octets *chain, unsigned count, X509 **ret,
		      STACK_OF(X509) * between, struct wm_err *e)
{
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *begin = chain[i].p, *p = begin;
		size_t len = chain[i].len;
		X509 *x = len && len <= WM_PROOF_CERT_MAX ? d2i_X509(NULL, &p, (long)len) : NULL;

		if (!x || (size_t)(p - begin) != len || (i && !sk_X509_push(between, x))) {
			X509_free(x);
			return wm_err_set(e, WM_E_INVALID, "a certificate cannot be read");
		}
		if (!i)
			*ret = x;
	}
	return 0;
}

static int judge(const struct wm_cert *ours, X509 *x, STACK_OF(X509) * between, struct wm_err *e)
{
	static const int purposes[] = {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT};
	int r = 0;

	for (unsigned i = 0; i < 2 && !r; i++) {
		X509_STORE_CTX *ctx = X509_STORE_CTX_new();

		if (!ctx || !X509_STORE_CTX_init(ctx, wm_cert_authorities(ours), x, between)) {
			X509_STORE_CTX_free(ctx);
			return wm_err_set(e, -ENOMEM, "no memory for a certificate");
		}
		X509_STORE_CTX_set_purpose(ctx, purposes[i]);
		if (X509_verify_cert(ctx) != 1)
			r = wm_err_set(
				e, WM_E_INVALID, "a certificate that vouches: %s",
				X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
		X509_STORE_CTX_free(ctx);
	}
	return r;
}

int wm_proof_vouched(const struct wm_cert *ours, struct wm_proof_chain chain, const void *p,
		     size_t len, const struct wm_proof_octets *signature, struct wm_identity *ret,
		     struct wm_err *e)
{
	STACK_OF(X509) *between = sk_X509_new_null();
	EVP_PKEY *key;
	X509 *x = NULL;
	int r;

	if (!chain.count || chain.count > WM_PROOF_CHAIN_MAX ||
	    signature->len > WM_PROOF_VOUCHER_MAX)
		r = wm_err_set(e, WM_E_INVALID, "no certificate vouches, or too many");
	else
		r = between ? read_chain(chain.certs, chain.count, &x, between, e) : -ENOMEM;
	if (!r)
		r = judge(ours, x, between, e);
	if (!r)
		r = wm_identity_of(x, ret, e);
	key = r ? NULL : X509_get0_pubkey(x);
	if (!r && (!key || !verify(key, p, len, signature)))
		r = wm_err_set(e, WM_E_INVALID, "what is vouched for is not what was signed");
	X509_free(x);
	sk_X509_pop_free(between, X509_free);
	ERR_clear_error();
	return r;
}
