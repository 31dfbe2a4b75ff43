/* SPDX-License-Identifier: Apache-2.0 */
/* proof.h - what an agent signs so that others can pass it on and not change it: an Ed25519 key of
 * its own, kept in its data directory, and the certificate that vouches for it. The key is not the
 * certificate's, so that certificates of any kind and age can vouch for it, and a signature has 64
 * octets. Threading: one owner. Spec: RFC 8032; FIPS 186-5 for what vouches. */
#pragma once
#include "cert.h"
#include "userspace/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_PROOF_KEY	     32
#define WM_PROOF_SIGNATURE   64
#define WM_PROOF_VOUCHER_MAX 1024	 /* octets of a certificate's signature: RSA of 8192 bits */
#define WM_PROOF_CERT_MAX    (16u << 10) /* octets of one certificate */
#define WM_PROOF_CHAIN_MAX   3		 /* certificates: a node's, and WM_TLS_DEPTH_MAX between */

struct wm_proof_key;
/** The key of this agent: of @p path, mode 0600, made if there is none. NULL: one for this run.
 *  @return 0, WM_E_INVALID, negative errno; @p e names the file. */
int wm_proof_key_open(const char *path, struct wm_proof_key **ret, struct wm_err *e);
void wm_proof_key_free(struct wm_proof_key *k); /* NULL ok */
void wm_proof_key_public(const struct wm_proof_key *k, uint8_t ret[static WM_PROOF_KEY]);
/** @return 0, -EIO. */
int wm_proof_sign(const struct wm_proof_key *k, const void *p, size_t len,
		  uint8_t ret[static WM_PROOF_SIGNATURE]);
bool wm_proof_verify(const uint8_t key[static WM_PROOF_KEY], const void *p, size_t len,
		     const uint8_t signature[static WM_PROOF_SIGNATURE]);

struct wm_proof_octets {
	const void *p;
	size_t len;
};
/** Sign with a certificate's key. @return octets, 0: it failed. */
size_t wm_proof_vouch(const struct wm_cert *c, const void *p, size_t len,
		      uint8_t ret[static WM_PROOF_VOUCHER_MAX]);
/** DER of the certificate, number 0, and of what is between it and the authority. @p ret_der: for
 *  wm_proof_der_free(). @return octets, 0: there is none of @p n. */
size_t wm_proof_der(const struct wm_cert *c, unsigned n, uint8_t **ret_der);
void wm_proof_der_free(uint8_t *der);
/* A certificate, then what is between it and the authority. */
struct wm_proof_chain {
	const struct wm_proof_octets *certs;
	unsigned count;
};
/** Did whom a certificate of our authority, valid now, names sign it? Judged like a stream's.
 *  @return 0, and whom it names; WM_E_INVALID, -ENOMEM: @p e says why. */
int wm_proof_vouched(const struct wm_cert *ours, struct wm_proof_chain chain, const void *p,
		     size_t len, const struct wm_proof_octets *signature, struct wm_identity *ret,
		     struct wm_err *e);
