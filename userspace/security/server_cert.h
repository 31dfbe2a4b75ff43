/* SPDX-License-Identifier: Apache-2.0 */
/* server_cert.h - what a server shows clients that are not of the mesh: a certificate, with
 * intermediates behind it, and its key. Who signed it is the clients' to judge. Threading: none.
 * Spec: RFC 5280. */
#pragma once
#include "cert.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

struct wm_server_cert {
	X509 *x509;
	EVP_PKEY *key;
	STACK_OF(X509) * chain;
	struct wm_cert_validity validity; /* of x509 alone */
};

/** Load and judge the files: the key must be the certificate's and no one else's to read, the
 *  certificate one that servers may use. That it is expired is no error here. @return 0 with what
 *  wm_server_cert_done() frees; WM_E_INVALID, negative errno: @p e names the file. */
int wm_server_cert_load(const char *cert, const char *key, struct wm_server_cert *ret,
			struct wm_err *e);
void wm_server_cert_done(struct wm_server_cert *c);
