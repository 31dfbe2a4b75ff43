/* SPDX-License-Identifier: Apache-2.0 */
/* setsum.c - see setsum.h. */
#include "setsum.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define OCTETS (2 * WM_SETSUM_LANES)

struct wm_hasher { /* contexts that are made once: they cost more than what they do */
	EVP_MD *md;
	EVP_MD_CTX *digest;
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *stream;
};

struct wm_hasher *wm_hasher_new(void)
{
	struct wm_hasher *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->digest = EVP_MD_CTX_new();
	h->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	h->stream = EVP_CIPHER_CTX_new();
	if (h->md && h->digest && h->cipher && h->stream &&
	    EVP_EncryptInit_ex2(h->stream, h->cipher, NULL, NULL, NULL) == 1)
		return h;
	wm_hasher_free(h);
	return NULL;
}

void wm_hasher_free(struct wm_hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->digest);
	EVP_MD_free(h->md);
	EVP_CIPHER_CTX_free(h->stream);
	EVP_CIPHER_free(h->cipher);
	free(h);
}

int wm_hasher_hash(struct wm_hasher *h, const void *head, size_t head_len, const void *p,
		   size_t len, uint8_t ret[static WM_SETSUM_HASH])
{
	unsigned n = 0;

	return EVP_DigestInit_ex2(h->digest, h->md, NULL) == 1 &&
			       EVP_DigestUpdate(h->digest, head, head_len) == 1 &&
			       EVP_DigestUpdate(h->digest, p, len) == 1 &&
			       EVP_DigestFinal_ex(h->digest, ret, &n) == 1 && n == WM_SETSUM_HASH
		       ? 0
		       : -EIO;
}

/* Lanes are of little endian octets, so that all machines come to one sum. */
static uint16_t lane(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

int wm_setsum_add(struct wm_hasher *h, struct wm_setsum *s,
		  const uint8_t element[static WM_SETSUM_HASH], bool out)
{
	static const uint8_t zeros[OCTETS], iv[16];
	uint8_t wide[OCTETS];
	int n = 0;

	if (EVP_EncryptInit_ex2(h->stream, NULL, element, iv, NULL) != 1 ||
	    EVP_EncryptUpdate(h->stream, wide, &n, zeros, OCTETS) != 1 || n != OCTETS)
		return -EIO;
	if (out)
		for (unsigned i = 0; i < WM_SETSUM_LANES; i++)
			s->lanes[i] = (uint16_t)(s->lanes[i] - lane(wide + 2 * i));
	else
		for (unsigned i = 0; i < WM_SETSUM_LANES; i++)
			s->lanes[i] = (uint16_t)(s->lanes[i] + lane(wide + 2 * i));
	return 0;
}

int wm_setsum_hash(struct wm_hasher *h, const struct wm_setsum *s,
		   uint8_t ret[static WM_SETSUM_HASH])
{
	uint8_t octets[OCTETS];

	for (unsigned i = 0; i < WM_SETSUM_LANES; i++) {
		octets[2 * i] = (uint8_t)s->lanes[i];
		octets[2 * i + 1] = (uint8_t)(s->lanes[i] >> 8);
	}
	return wm_hasher_hash(h, octets, sizeof(octets), "", 0, ret);
}
