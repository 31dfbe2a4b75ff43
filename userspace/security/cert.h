/* SPDX-License-Identifier: Apache-2.0 */
/* cert.h - the certificate of an agent, the authority that it trusts, and who a certificate says
 * that somebody is. That is said by one name only, in subjectAltName: "NODE.DATACENTER.waymark";
 * the subject's common name says nothing, and neither do other names. No system store, no CRL: who
 * is to be shut out gets out of the authority's file. Threading: one owner. Spec: RFC 5280, 6125.
 */
#pragma once
#include "userspace/base/err.h"
#include "waymark/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_IDENTITY_SUFFIX     "waymark"
#define WM_DATACENTER_NAME_MAX 63 /* octets: a label, as a node's name */
#define WM_IDENTITY_TEXT                                                                           \
	(WM_NODE_NAME_MAX + WM_DATACENTER_NAME_MAX + sizeof(WM_IDENTITY_SUFFIX) + 2)
#define WM_CERT_FILE_MAX (256u << 10) /* octets of a PEM file: a hundred certificates */
#define WM_CERT_NAMES_MAX                                                                          \
	256 /* names that a certificate may have: they are walked for each stream                  \
	     */

/* Both in lower case. */
struct wm_identity {
	char node[WM_NODE_NAME_MAX + 1];
	char datacenter[WM_DATACENTER_NAME_MAX + 1];
};

/** Read "NODE.DATACENTER.waymark", of any case. Labels of letters, digits, '-' and '_'; so no
 *  wildcards. @return 0, -EINVAL. */
int wm_identity_parse(const char *name, size_t len, struct wm_identity *ret);
void wm_identity_format(const struct wm_identity *i, char ret[static WM_IDENTITY_TEXT]);
/** Is @p s one label, as nodes and datacenters have them? */
bool wm_identity_label(const char *s);

struct x509_st;
/** Whom a certificate names. @return 0; WM_E_INVALID: it has no such name, several, or one that
 *  cannot be read, and @p e says which. */
int wm_identity_of(const struct x509_st *x, struct wm_identity *ret, struct wm_err *e);

/* PEM files. The certificate's may hold intermediates behind it, the authority's several. */
struct wm_cert_files {
	const char *ca, *cert, *key;
};

struct wm_cert; /* what was loaded from three files; never changes */
/** Load and judge them: the key must be the certificate's and no one else's to read, the
 *  certificate signed by the authority, for clients and servers, and have an identity. That it
 *  is expired is no error here. @return 0, WM_E_INVALID, negative errno; @p e names the file. */
int wm_cert_load(const struct wm_cert_files *f, struct wm_cert **ret, struct wm_err *e);
void wm_cert_free(struct wm_cert *c); /* NULL ok */
const struct wm_identity *wm_cert_identity(const struct wm_cert *c);

/* When it is valid, in seconds since 1970; the authority's end if that is earlier. */
struct wm_cert_validity {
	int64_t not_before_s, not_after_s;
};
struct wm_cert_validity wm_cert_validity(const struct wm_cert *c);
/** Of one certificate. @return 0, WM_E_INVALID: its dates cannot be read. */
int wm_cert_validity_of(const struct x509_st *x, struct wm_cert_validity *ret);
/** Whole days that are left at @p now_s: 0 on the last one, negative when it is over. */
int64_t wm_cert_days_left(const struct wm_cert_validity *v, int64_t now_s);

/* For who makes TLS of it; borrowed. */
struct evp_pkey_st;
struct x509_store_st;
struct stack_st_X509;
struct x509_st *wm_cert_x509(const struct wm_cert *c);
struct evp_pkey_st *wm_cert_key(const struct wm_cert *c);
struct stack_st_X509 *wm_cert_chain(const struct wm_cert *c);	    /* intermediates */
struct x509_store_st *wm_cert_authorities(const struct wm_cert *c); /* what is trusted */
