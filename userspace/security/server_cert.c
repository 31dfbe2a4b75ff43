/* SPDX-License-Identifier: Apache-2.0 */
/* server_cert.c - see server_cert.h. */
#include "server_cert.h"

#include "pem.h"

#include <openssl/x509v3.h>

static int load(const char *cert, const char *key, struct wm_server_cert *c, struct wm_err *e)
{
	int err = wm_pem_certificates(cert, &c->chain, e);

	if (err)
		return err;
	c->x509 = sk_X509_shift(c->chain);
	err = wm_pem_key(key, &c->key, e);
	if (err)
		return err;
	if (X509_check_private_key(c->x509, c->key) != 1)
		return wm_err_set(e, WM_E_INVALID, "%s is not the key of the certificate in %s",
				  key, cert);
	if (X509_check_purpose(c->x509, X509_PURPOSE_SSL_SERVER, 0) != 1)
		return wm_err_set(e, WM_E_INVALID, "%s is no certificate for servers", cert);
	err = wm_cert_validity_of(c->x509, &c->validity);
	return err ? wm_err_set(e, err, "%s: its dates cannot be read", cert) : 0;
}

int wm_server_cert_load(const char *cert, const char *key, struct wm_server_cert *ret,
			struct wm_err *e)
{
	struct wm_server_cert c = {0};
	int err = load(cert, key, &c, e);

	if (err)
		wm_server_cert_done(&c);
	else
		*ret = c;
	return err;
}

void wm_server_cert_done(struct wm_server_cert *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	sk_X509_pop_free(c->chain, X509_free);
	*c = (struct wm_server_cert){0};
}
