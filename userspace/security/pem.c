/* SPDX-License-Identifier: Apache-2.0 */
/* pem.c - see pem.h. */
#include "pem.h"

#include "cert.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE_CLOSED 037 /* of a secret: others nothing, the group may read */

static int fail(struct wm_err *e, const char *path)
{
	int err = -errno;

	return wm_err_set(e, err, "%s: %s", path, strerror(-err));
}

int wm_pem_read(const char *path, size_t max, int secret, char **ret, size_t *ret_len,
		struct wm_err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return fail(e, path);
	if (!S_ISREG(st.st_mode))
		return wm_err_set(e, WM_E_INVALID, "%s is not a file", path);
	if (secret && (st.st_mode & MODE_CLOSED))
		return wm_err_set(e, WM_E_INVALID, "%s is open to others (mode %03o): chmod 600 it",
				  path, st.st_mode & 0777);
	text = malloc(max + 2);
	if (!text)
		return wm_err_set(e, -ENOMEM, "no memory to read %s", path);
	while (len <= max && (n = read(fd, text + len, max + 1 - len)) != 0) {
		if (n < 0)
			return fail(e, path);
		len += (size_t)n;
	}
	if (len > max)
		return wm_err_set(e, WM_E_LIMIT, "%s is larger than %zu octets", path, max);
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	text = NULL;
	return 0;
}

static BIO *bio_of(const char *path, int secret, char **text, size_t *len, int *ret_err,
		   struct wm_err *e)
{
	BIO *b;

	*text = NULL;
	*len = 0;
	*ret_err = wm_pem_read(path, WM_CERT_FILE_MAX, secret, text, len, e);
	if (*ret_err)
		return NULL;
	b = BIO_new_mem_buf(*text, (int)*len);
	if (!b)
		*ret_err = wm_err_set(e, -ENOMEM, "no memory to read %s", path);
	return b;
}

/* PEM has several names for them; a file that asks for a pass phrase is refused. */
static int no_pass_phrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

int wm_pem_certificates(const char *path, STACK_OF(X509) * *ret, struct wm_err *e)
{
	_cleanup_free_ char *text = NULL;
	STACK_OF(X509) *all = NULL;
	size_t len;
	X509 *x;
	int err;
	BIO *b = bio_of(path, 0, &text, &len, &err, e);

	if (!b)
		return err;
	all = sk_X509_new_null();
	while (all && (x = PEM_read_bio_X509(b, NULL, no_pass_phrase, NULL))) {
		if (!sk_X509_push(all, x)) {
			X509_free(x);
			break;
		}
	}
	/* the end is an error too, of its own kind; everything else is a broken file */
	if (!all)
		err = wm_err_set(e, -ENOMEM, "no memory to read %s", path);
	else if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		err = wm_err_set(e, WM_E_INVALID, "%s: certificate %d cannot be read", path,
				 sk_X509_num(all) + 1);
	else if (!sk_X509_num(all))
		err = wm_err_set(e, WM_E_INVALID, "%s has no certificate", path);
	ERR_clear_error();
	BIO_free(b);
	if (err) {
		sk_X509_pop_free(all, X509_free);
		return err;
	}
	*ret = all;
	return 0;
}

int wm_pem_key(const char *path, EVP_PKEY **ret, struct wm_err *e)
{
	_cleanup_free_ char *text = NULL;
	EVP_PKEY *key;
	size_t len;
	int err;
	BIO *b = bio_of(path, 1, &text, &len, &err, e);

	if (!b)
		return err;
	key = PEM_read_bio_PrivateKey(b, NULL, no_pass_phrase, NULL);
	BIO_free(b);
	OPENSSL_cleanse(text, len);
	ERR_clear_error();
	if (!key)
		return wm_err_set(e, WM_E_INVALID,
				  "%s has no private key that can be read without a pass phrase",
				  path);
	*ret = key;
	return 0;
}
