/* SPDX-License-Identifier: Apache-2.0 */
/* cert.c - files and chains; names are read in identity.c. */
#include "cert.h"

#include "pem.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct wm_cert {
	X509 *x509;
	EVP_PKEY *key;
	STACK_OF(X509) * chain;
	X509_STORE *authorities;
	struct wm_identity identity;
	struct wm_cert_validity validity;
};

/* Seconds since 1970 of a time of ASN.1. */
static int seconds_of(const ASN1_TIME *t, int64_t *ret)
{
	struct tm tm;
	time_t s;

	if (!t || !ASN1_TIME_to_tm(t, &tm))
		return WM_E_INVALID;
	s = timegm(&tm);
	*ret = s;
	return 0;
}

int wm_cert_validity_of(const struct x509_st *x, struct wm_cert_validity *ret)
{
	struct wm_cert_validity v;

	if (seconds_of(X509_get0_notBefore(x), &v.not_before_s) ||
	    seconds_of(X509_get0_notAfter(x), &v.not_after_s))
		return WM_E_INVALID;
	*ret = v;
	return 0;
}

int64_t wm_cert_days_left(const struct wm_cert_validity *v, int64_t now_s)
{
	int64_t left = v->not_after_s - now_s;

	return left >= 0 ? left / 86400 : -((86399 - left) / 86400);
}

/* All of the authority's file is trusted; a certificate in it that is no authority's is an error,
 * and not left out: whoever put it there meant something. */
static int load_authorities(const char *path, X509_STORE **ret_store, struct wm_err *e)
{
	STACK_OF(X509) *all = NULL;
	X509_STORE *store;
	int err = wm_pem_certificates(path, &all, e);

	if (err)
		return err;
	store = X509_STORE_new();
	if (!store)
		err = -ENOMEM;
	for (int i = 0; !err && i < sk_X509_num(all); i++) {
		if (X509_check_ca(sk_X509_value(all, i)) != 1)
			err = wm_err_set(e, WM_E_INVALID,
					 "%s: certificate %d is not an authority's (CA:TRUE)", path,
					 i + 1);
		else if (!X509_STORE_add_cert(store, sk_X509_value(all, i)))
			err = -ENOMEM;
	}
	sk_X509_pop_free(all, X509_free);
	if (err) {
		X509_STORE_free(store);
		return err;
	}
	*ret_store = store;
	return 0;
}

static int load_certificate(struct wm_cert *c, const struct wm_cert_files *f, struct wm_err *e)
{
	struct wm_err why = {0};
	int err = wm_pem_certificates(f->cert, &c->chain, e);

	if (err)
		return err;
	c->x509 = sk_X509_shift(c->chain);
	err = wm_pem_key(f->key, &c->key, e);
	if (err)
		return err;
	if (X509_check_private_key(c->x509, c->key) != 1)
		return wm_err_set(e, WM_E_INVALID, "%s is not the key of the certificate in %s",
				  f->key, f->cert);
	err = wm_identity_of(c->x509, &c->identity, &why);
	return err ? wm_err_set(e, err, "%s: %s", f->cert, why.text) : 0;
}

/* Would a peer that has our authority accept us, were the time right? And when does the first of
 * the chain end? */
static int verify(struct wm_cert *c, int purpose, const struct wm_cert_files *f, struct wm_err *e)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	struct wm_cert_validity v;
	int err = 0, ok;

	if (!ctx || !X509_STORE_CTX_init(ctx, c->authorities, c->x509, c->chain)) {
		X509_STORE_CTX_free(ctx);
		return -ENOMEM;
	}
	X509_STORE_CTX_set_purpose(ctx, purpose);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
	ok = X509_verify_cert(ctx) == 1;
	if (!ok)
		err = wm_err_set(e, WM_E_INVALID, "%s as that of a %s: %s", f->cert,
				 purpose == X509_PURPOSE_SSL_SERVER ? "server" : "client",
				 X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	for (int i = 0; ok && !err && i < sk_X509_num(X509_STORE_CTX_get0_chain(ctx)); i++) {
		err = wm_cert_validity_of(sk_X509_value(X509_STORE_CTX_get0_chain(ctx), i), &v);
		if (err)
			wm_err_set(e, err, "%s: dates of the chain cannot be read", f->cert);
		else if (!i)
			c->validity = v;
		else if (v.not_after_s < c->validity.not_after_s)
			c->validity.not_after_s = v.not_after_s;
	}
	X509_STORE_CTX_free(ctx);
	return err;
}

int wm_cert_load(const struct wm_cert_files *f, struct wm_cert **ret, struct wm_err *e)
{
	struct wm_cert *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return wm_err_set(e, -ENOMEM, "no memory for certificates");
	err = load_authorities(f->ca, &c->authorities, e);
	if (!err)
		err = load_certificate(c, f, e);
	if (!err)
		err = verify(c, X509_PURPOSE_SSL_SERVER, f, e);
	if (!err)
		err = verify(c, X509_PURPOSE_SSL_CLIENT, f, e);
	if (err == -ENOMEM)
		wm_err_set(e, err, "no memory for certificates");
	if (err) {
		wm_cert_free(c);
		return err;
	}
	*ret = c;
	return 0;
}

void wm_cert_free(struct wm_cert *c)
{
	if (!c)
		return;
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	sk_X509_pop_free(c->chain, X509_free);
	X509_STORE_free(c->authorities);
	free(c);
}

const struct wm_identity *wm_cert_identity(const struct wm_cert *c)
{
	return &c->identity;
}

struct wm_cert_validity wm_cert_validity(const struct wm_cert *c)
{
	return c->validity;
}

struct x509_st *wm_cert_x509(const struct wm_cert *c)
{
	return c->x509;
}

struct evp_pkey_st *wm_cert_key(const struct wm_cert *c)
{
	return c->key;
}

struct stack_st_X509 *wm_cert_chain(const struct wm_cert *c)
{
	return c->chain;
}

struct x509_store_st *wm_cert_authorities(const struct wm_cert *c)
{
	return c->authorities;
}
