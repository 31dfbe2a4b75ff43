/* SPDX-License-Identifier: Apache-2.0 */
/* proof.c - see proof.h. */
#include "proof.h"

#include "pem.h"
#include "userspace/base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wm_proof_key {
	EVP_PKEY *key;
};

/* --- the key ---------------------------------------------------------------------------------- */
/* Whole or not at all, also after a crash: another key would be another agent's to the others. */
static int key_save(EVP_PKEY *key, const char *path)
{
	BIO *mem = BIO_new(BIO_s_secmem()); /* cleansed when it is freed */
	char *text = NULL;
	long len = 0;
	int r = -ENOMEM;

	if (mem && PEM_write_bio_PrivateKey(mem, key, NULL, NULL, 0, NULL, NULL) == 1)
		len = BIO_get_mem_data(mem, &text);
	if (len > 0)
		r = wm_file_replace(path, text, (size_t)len, WM_REPLACE_SYNC);
	BIO_free(mem);
	return r;
}

static int key_make(const char *path, EVP_PKEY **ret, struct wm_err *e)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	int r;

	if (!key)
		return wm_err_set(e, -EIO, "a key for proofs cannot be made");
	r = path ? key_save(key, path) : 0;
	if (r) {
		EVP_PKEY_free(key);
		return wm_err_set(e, r, "%s: %s", path, wm_err_str(r));
	}
	*ret = key;
	return 0;
}

int wm_proof_key_open(const char *path, struct wm_proof_key **ret, struct wm_err *e)
{
	struct wm_proof_key *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return wm_err_set(e, -ENOMEM, "no memory for the key of proofs");
	if (path && access(path, F_OK) == 0)
		r = wm_pem_key(path, &k->key, e);
	else
		r = key_make(path, &k->key, e);
	if (!r && EVP_PKEY_get_id(k->key) != EVP_PKEY_ED25519)
		r = wm_err_set(e, WM_E_INVALID, "%s is no Ed25519 key", path);
	if (r) {
		wm_proof_key_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void wm_proof_key_free(struct wm_proof_key *k)
{
	if (k)
		EVP_PKEY_free(k->key);
	free(k);
}

void wm_proof_key_public(const struct wm_proof_key *k, uint8_t ret[static WM_PROOF_KEY])
{
	size_t len = WM_PROOF_KEY;

	if (EVP_PKEY_get_raw_public_key(k->key, ret, &len) != 1)
		memset(ret, 0, WM_PROOF_KEY); /* a key that verifies nothing */
}

/* --- signatures ------------------------------------------------------------------------------- */
int wm_proof_sign(const struct wm_proof_key *k, const void *p, size_t len,
		  uint8_t ret[static WM_PROOF_SIGNATURE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = WM_PROOF_SIGNATURE;
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
		  EVP_DigestSign(ctx, ret, &n, p, len) == 1 && n == WM_PROOF_SIGNATURE;

	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -EIO;
}

bool wm_proof_verify(const uint8_t key[static WM_PROOF_KEY], const void *p, size_t len,
		     const uint8_t signature[static WM_PROOF_SIGNATURE])
{
	EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, WM_PROOF_KEY);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = k && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k) == 1 &&
		  EVP_DigestVerify(ctx, signature, WM_PROOF_SIGNATURE, p, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(k);
	ERR_clear_error(); /* TLS of this thread would take it for its own */
	return ok;
}
