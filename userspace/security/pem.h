/* SPDX-License-Identifier: Apache-2.0 */
/* pem.h - PEM files of bounded size. Of this folder only. Threading: none. */
#pragma once
#include "userspace/base/err.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>

/** Read a file of @p max octets at most, NUL-terminated, to be freed; with @p secret it must not
 * be open to others (mode & 037). @return 0, negative errno, WM_E_INVALID, WM_E_LIMIT. */
int wm_pem_read(const char *path, size_t max, int secret, char **ret, size_t *ret_len,
		struct wm_err *e);
/** All certificates of a file, one at least. */
int wm_pem_certificates(const char *path, STACK_OF(X509) * *ret, struct wm_err *e);
/** The private key of a file; never asks for a pass phrase. */
int wm_pem_key(const char *path, EVP_PKEY **ret, struct wm_err *e);
