/* SPDX-License-Identifier: Apache-2.0 */
/* ca.c - see ca.h. Extensions as RFC 5280, 4.2 wants them of an authority and of an end's
 * certificate; the datacenter stands in the authority's name, so that it need not be said again. */
#include "ca.h"

#include "cert.h"
#include "pem.h"
#include "userspace/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CA_NAME	    "Waymark authority of "
#define SERIAL	    20	 /* octets: RFC 5280, 4.1.2.2 */
#define BACKDATED_S 3600 /* clocks of nodes are roughly right */
#define SUBJECT_MAX 64	 /* octets of a common name: X.520's bound */

static int openssl_err(struct wm_err *e, const char *what)
{
	char text[256] = "";

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	return wm_err_set(e, WM_E_INTERNAL, "%s: %s", what, text);
}

static int path_of(char ret[PATH_MAX], const char *dir, const char *name, const char *end,
		   struct wm_err *e)
{
	return snprintf(ret, PATH_MAX, "%s/%s%s", dir, name, end) < PATH_MAX
		       ? 0
		       : wm_err_set(e, -ENAMETOOLONG, "%s: the path is too long", dir);
}

/* --- files ------------------------------------------------------------------------------------ */
/* A new file, synced; nothing stands under the name before it is whole. */
static int put_file(const char *path, mode_t mode, bool (*fn)(FILE *f, void *arg), void *arg,
		    struct wm_err *e)
{
	char part[PATH_MAX + 8];
	FILE *f = NULL;
	int fd, r = 0;

	snprintf(part, sizeof(part), "%s.new", path);
	(void)unlink(part);
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f && !fn(f, arg))
		r = -EIO;
	else if (!f || fflush(f) || fsync(fd) ||
		 link(part, path)) /* link: not over one that is there */
		r = -errno;
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	(void)unlink(part);
	if (r == -EEXIST)
		return wm_err_set(e, r,
				  "%s is there already: remove it first, if it is to be replaced",
				  path);
	return r ? wm_err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

static bool write_key(FILE *f, void *key)
{
	return PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;
}

static bool write_cert(FILE *f, void *x)
{
	return PEM_write_X509(f, x) == 1;
}

/* Both or none; the key first, for a certificate without its key is of no use. */
static int put_pair(const char *dir, const char *name, EVP_PKEY *key, X509 *x, struct wm_err *e)
{
	char key_path[PATH_MAX], path[PATH_MAX];
	int r = path_of(key_path, dir, name, "-key.pem", e);

	if (!r)
		r = path_of(path, dir, name, ".pem", e);
	if (!r && !access(path, F_OK))
		r = wm_err_set(e, -EEXIST,
			       "%s is there already: remove it first, if it is to be replaced",
			       path);
	if (!r)
		r = put_file(key_path, 0600, write_key, key, e);
	if (r)
		return r;
	r = put_file(path, 0644, write_cert, x, e);
	if (r)
		(void)unlink(key_path);
	return r;
}

/* --- certificates ----------------------------------------------------------------------------- */
static bool add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool good;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	good = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return good;
}

static bool set_serial(X509 *x)
{
	uint8_t octets[SERIAL];
	BIGNUM *n;
	bool good;

	if (RAND_bytes(octets, sizeof(octets)) != 1)
		return false;
	octets[0] = (octets[0] & 0x7f) | 0x40; /* positive, and as long as it is */
	n = BN_bin2bn(octets, sizeof(octets), NULL);
	good = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return good;
}

static bool set_name(X509 *x, const char *cn)
{
	X509_NAME *n = X509_get_subject_name(x);

	return X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0) ==
	       1;
}

static X509 *new_cert(EVP_PKEY *key, const char *cn, unsigned days)
{
	X509 *x = X509_new();

	if (x && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_name(x, cn) &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -BACKDATED_S) &&
	    X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, NULL) &&
	    X509_set_pubkey(x, key) == 1)
		return x;
	X509_free(x);
	return NULL;
}

static int judge_days(unsigned days, struct wm_err *e)
{
	return days && days <= WM_CA_DAYS_MAX
		       ? 0
		       : wm_err_set(e, WM_E_INVALID, "days: 1 to %d are allowed, not %u",
				    WM_CA_DAYS_MAX, days);
}

/* --- the authority ---------------------------------------------------------------------------- */
int wm_ca_init(const char *dir, const char *datacenter, unsigned days, struct wm_err *e)
{
	char cn[sizeof(CA_NAME) + WM_DATACENTER_NAME_MAX];
	EVP_PKEY *key = NULL;
	X509 *x = NULL;
	int r = judge_days(days, e);

	if (!r &&
	    (!wm_identity_label(datacenter) || strlen(CA_NAME) + strlen(datacenter) > SUBJECT_MAX))
		r = wm_err_set(
			e, WM_E_INVALID,
			"datacenter: a name of letters, digits and '-', at most %zu octets, is "
			"wanted, not \"%.64s\"",
			SUBJECT_MAX - strlen(CA_NAME), datacenter);
	if (r)
		return r;
	if (mkdir(dir, 0700) && errno != EEXIST)
		return wm_err_set(e, -errno, "%s: %s", dir, strerror(errno));
	snprintf(cn, sizeof(cn), CA_NAME "%s", datacenter);
	key = EVP_EC_gen("P-256");
	x = key ? new_cert(key, cn, days) : NULL;
	if (!x || X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
	    !add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_ext(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_ext(x, x, NID_subject_key_identifier, "hash") || !X509_sign(x, key, EVP_sha256()))
		r = openssl_err(e, "the authority");
	else
		r = put_pair(dir, "ca", key, x, e);
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}

struct authority {
	STACK_OF(X509) * certs;
	X509 *x; /* the first of them */
	EVP_PKEY *key;
	char datacenter[WM_DATACENTER_NAME_MAX + 1];
};

static void close_authority(struct authority *a)
{
	sk_X509_pop_free(a->certs, X509_free);
	EVP_PKEY_free(a->key);
}

static int open_authority(const char *dir, struct authority *a, struct wm_err *e)
{
	char path[PATH_MAX], cn[256] = "";
	int r = path_of(path, dir, "ca", ".pem", e);

	*a = (struct authority){0};
	if (!r)
		r = wm_pem_certificates(path, &a->certs, e);
	if (!r)
		r = path_of(path, dir, "ca", "-key.pem", e);
	if (!r)
		r = wm_pem_key(path, &a->key, e);
	if (r)
		return r;
	a->x = sk_X509_value(a->certs, 0);
	X509_NAME_get_text_by_NID(X509_get_subject_name(a->x), NID_commonName, cn, sizeof(cn));
	if (strncmp(cn, CA_NAME, strlen(CA_NAME)) != 0 ||
	    strlen(cn + strlen(CA_NAME)) > WM_DATACENTER_NAME_MAX)
		return wm_err_set(e, WM_E_INVALID, "%s/ca.pem: is not of 'ca init'", dir);
	if (X509_check_private_key(a->x, a->key) != 1)
		return wm_err_set(e, WM_E_INVALID, "%s/ca-key.pem: is not the key of ca.pem", dir);
	strcpy(a->datacenter, cn + strlen(CA_NAME));
	return 0;
}

/* --- a node's --------------------------------------------------------------------------------- */
static int alt_names(char *ret, size_t cap, const struct authority *a, const char *node,
		     const char *const *addresses, struct wm_err *e)
{
	size_t at =
		(size_t)snprintf(ret, cap, "DNS:%s.%s." WM_IDENTITY_SUFFIX, node, a->datacenter);
	unsigned count = 0;

	for (; addresses && *addresses; addresses++) {
		uint8_t any[16];

		if (inet_pton(AF_INET, *addresses, any) != 1 &&
		    inet_pton(AF_INET6, *addresses, any) != 1)
			return wm_err_set(
				e, WM_E_INVALID,
				"address: an IPv4 or IPv6 address is wanted, not \"%.64s\"",
				*addresses);
		if (++count > WM_CA_ADDRESSES_MAX)
			return wm_err_set(e, WM_E_LIMIT, "address: at most %d are allowed",
					  WM_CA_ADDRESSES_MAX);
		at += (size_t)snprintf(ret + at, cap - at, ",IP:%s", *addresses);
	}
	return at < cap ? 0 : wm_err_set(e, WM_E_LIMIT, "address: too many");
}

/* As node.name has it: a name of DNS, which has no '_'. */
static bool node_label(const char *s)
{
	size_t len = strlen(s);

	return wm_identity_label(s) && !strchr(s, '_') && s[0] != '-' && s[len - 1] != '-';
}

int wm_ca_issue(const char *dir, const char *node, const char *const *addresses, unsigned days,
		struct wm_err *e)
{
	char names[2048], subject[SUBJECT_MAX + 1];
	EVP_PKEY *key = NULL;
	struct authority a = {0};
	X509 *x = NULL;
	int r = judge_days(days, e);

	if (!r && !node_label(node))
		r = wm_err_set(
			e, WM_E_INVALID,
			"node: a name of letters, digits and '-' (not at either end) is wanted, as "
			"node.name has it, not \"%.64s\"",
			node);
	if (!r && strcmp(node, "ca") == 0)
		r = wm_err_set(e, WM_E_INVALID, "node: \"ca\" is the authority's own file");
	if (!r)
		r = open_authority(dir, &a, e);
	if (!r)
		r = alt_names(names, sizeof(names), &a, node, addresses, e);
	if (r) {
		close_authority(&a);
		return r;
	}
	snprintf(subject, sizeof(subject), "%s", node);
	key = EVP_EC_gen("P-256");
	x = key ? new_cert(key, subject, days) : NULL;
	if (x && ASN1_TIME_compare(X509_get0_notAfter(x), X509_get0_notAfter(a.x)) > 0 &&
	    X509_set1_notAfter(x, X509_get0_notAfter(a.x)) != 1)
		r = openssl_err(e, "the certificate");
	if (r || !x || X509_set_issuer_name(x, X509_get_subject_name(a.x)) != 1 ||
	    !add_ext(x, a.x, NID_basic_constraints, "critical,CA:FALSE") ||
	    !add_ext(x, a.x, NID_key_usage, "critical,digitalSignature") ||
	    !add_ext(x, a.x, NID_ext_key_usage, "serverAuth,clientAuth") ||
	    !add_ext(x, a.x, NID_subject_alt_name, names) ||
	    !add_ext(x, a.x, NID_subject_key_identifier, "hash") ||
	    !add_ext(x, a.x, NID_authority_key_identifier, "keyid:always") ||
	    !X509_sign(x, a.key, EVP_sha256()))
		r = r ? r : openssl_err(e, "the certificate");
	else
		r = put_pair(dir, node, key, x, e);
	X509_free(x);
	EVP_PKEY_free(key);
	close_authority(&a);
	return r;
}

int wm_ca_show(const char *path, struct wm_ca_shown *ret, struct wm_err *e)
{
	STACK_OF(X509) *certs = NULL;
	struct wm_cert_validity v;
	struct wm_identity i;
	struct wm_err why = {0};
	X509 *x;
	int r = wm_pem_certificates(path, &certs, e);

	if (r)
		return r;
	x = sk_X509_value(certs, 0);
	if (X509_check_ca(x) == 1)
		X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, ret->identity,
					  sizeof(ret->identity));
	else if (!wm_identity_of(x, &i, &why))
		wm_identity_format(&i, ret->identity);
	else
		r = wm_err_set(e, why.code, "%s: %s", path, why.text);
	if (!r)
		r = wm_cert_validity_of(x, &v);
	if (!r)
		ret->days_left = (long)wm_cert_days_left(&v, wm_clock_wall_s());
	else if (!e->code)
		wm_err_set(e, r, "%s: its dates cannot be read", path);
	sk_X509_pop_free(certs, X509_free);
	return r;
}
