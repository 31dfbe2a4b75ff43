/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - see seal.h. */
#include "seal.h"

#include "pem.h"
#include "userspace/base/replace.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION	      2 /* 1 sealed with the ring's keys themselves */
#define NONCE	      12
#define HEAD	      (2 + WM_SEAL_SALT)
#define TAG	      16
#define RING_FILE_MAX 4096	       /* octets: WM_KEYS_MAX keys and comments */
#define OF	      "# a change of " /* and the digest of a ring: how a ring that is kept begins */

struct key {
	uint8_t octets[WM_KEY_OCTETS];
	uint8_t mark; /* of its fingerprint: which key to try first */
};

struct wm_keyring {
	struct key keys[WM_KEYS_MAX]; /* the first one seals */
	unsigned count;
	EVP_CIPHER_CTX *ctx;
	uint8_t salt[WM_SEAL_SALT], sealing[WM_KEY_OCTETS]; /* of the first key and the salt */
	unsigned uses;					    /* left of the salt; 0: draw one */
};

/* --- keys ------------------------------------------------------------------------------------- */
static int decode(const char *text, struct key *ret, struct wm_err *e)
{
	uint8_t out[WM_KEY_OCTETS + 4], sum[SHA256_DIGEST_LENGTH];
	size_t len = strlen(text);
	/* 44 characters, of which the last is '=': 33 octets, the last one is padding */
	bool good = len == WM_KEY_TEXT - 1 && text[len - 1] == '=' && text[len - 2] != '=' &&
		    EVP_DecodeBlock(out, (const uint8_t *)text, (int)len) == WM_KEY_OCTETS + 1;

	if (good) {
		memcpy(ret->octets, out, WM_KEY_OCTETS);
		SHA256(ret->octets, WM_KEY_OCTETS, sum);
		ret->mark = sum[0];
	}
	OPENSSL_cleanse(out, sizeof(out));
	return good ? 0 : wm_err_set(e, WM_E_INVALID, "a key is 32 octets in base64");
}

static int find(const struct wm_keyring *k, const struct key *key)
{
	for (unsigned n = 0; n < k->count; n++)
		if (CRYPTO_memcmp(k->keys[n].octets, key->octets, WM_KEY_OCTETS) == 0)
			return (int)n;
	return -1;
}

int wm_keyring_add(struct wm_keyring *k, const char *text, struct wm_err *e)
{
	struct key key;
	int r = decode(text, &key, e);

	if (r || find(k, &key) >= 0)
		return r;
	if (k->count == WM_KEYS_MAX)
		return wm_err_set(e, WM_E_LIMIT, "at most %d keys are allowed", WM_KEYS_MAX);
	k->keys[k->count++] = key;
	OPENSSL_cleanse(&key, sizeof(key));
	return 0;
}

int wm_keyring_use(struct wm_keyring *k, const char *text, struct wm_err *e)
{
	struct key key;
	int r = decode(text, &key, e), at;

	if (r)
		return r;
	at = find(k, &key);
	if (at < 0)
		return wm_err_set(e, WM_E_UNKNOWN, "the key is not in the ring: add it first");
	memmove(k->keys + 1, k->keys, (unsigned)at * sizeof(key));
	k->keys[0] = key;
	k->uses = 0;
	OPENSSL_cleanse(&key, sizeof(key));
	return 0;
}

int wm_keyring_remove(struct wm_keyring *k, const char *text, struct wm_err *e)
{
	struct key key;
	int r = decode(text, &key, e), at;

	if (r)
		return r;
	at = find(k, &key);
	OPENSSL_cleanse(&key, sizeof(key));
	if (at < 0)
		return wm_err_set(e, WM_E_UNKNOWN, "the key is not in the ring");
	if (!at)
		return wm_err_set(e, WM_E_CONFLICT,
				  "datagrams are sealed with this key: use another one first");
	k->count--;
	memmove(k->keys + at, k->keys + at + 1, (k->count - (unsigned)at) * sizeof(key));
	OPENSSL_cleanse(&k->keys[k->count], sizeof(key));
	return 0;
}

unsigned wm_keyring_count(const struct wm_keyring *k)
{
	return k->count;
}

void wm_keyring_key(const struct wm_keyring *k, unsigned n, char ret[static WM_KEY_TEXT])
{
	EVP_EncodeBlock((uint8_t *)ret, k->keys[n].octets, WM_KEY_OCTETS);
}

int wm_key_generate(char ret[static WM_KEY_TEXT])
{
	uint8_t octets[WM_KEY_OCTETS];

	if (RAND_bytes(octets, sizeof(octets)) != 1)
		return -EIO;
	EVP_EncodeBlock((uint8_t *)ret, octets, sizeof(octets));
	OPENSSL_cleanse(octets, sizeof(octets));
	return 0;
}

static void hex_of(const uint8_t *sum, char ret[static WM_KEY_PRINT])
{
	for (unsigned n = 0; n < WM_KEY_PRINT / 2; n++)
		snprintf(ret + 2 * n, 3, "%02x", sum[n]);
}

void wm_keyring_print(const struct wm_keyring *k, unsigned n, char ret[static WM_KEY_PRINT])
{
	uint8_t sum[SHA256_DIGEST_LENGTH];

	SHA256(k->keys[n].octets, WM_KEY_OCTETS, sum);
	hex_of(sum, ret);
}

int wm_keyring_find(const struct wm_keyring *k, const char *print)
{
	char is[WM_KEY_PRINT];

	for (unsigned n = 0; n < k->count; n++) {
		wm_keyring_print(k, n, is);
		if (strcmp(is, print) == 0)
			return (int)n;
	}
	return -1;
}

int wm_key_print(const char *text, char ret[static WM_KEY_PRINT], struct wm_err *e)
{
	uint8_t sum[SHA256_DIGEST_LENGTH];
	struct key key;
	int r = decode(text, &key, e);

	if (r)
		return r;
	SHA256(key.octets, WM_KEY_OCTETS, sum);
	hex_of(sum, ret);
	OPENSSL_cleanse(&key, sizeof(key));
	return 0;
}

/* --- the file --------------------------------------------------------------------------------- */
static struct wm_keyring *new_ring(void)
{
	struct wm_keyring *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->ctx = EVP_CIPHER_CTX_new();
	if (k->ctx)
		return k;
	free(k);
	return NULL;
}

void wm_keyring_free(struct wm_keyring *k)
{
	if (!k)
		return;
	EVP_CIPHER_CTX_free(k->ctx);
	OPENSSL_cleanse(k, sizeof(*k));
	free(k);
}

int wm_keyring_copy(const struct wm_keyring *k, struct wm_keyring **ret)
{
	struct wm_keyring *c = new_ring();

	if (!c)
		return -ENOMEM;
	memcpy(c->keys, k->keys, sizeof(k->keys));
	c->count = k->count;
	*ret = c; /* with a salt of its own */
	return 0;
}

int wm_keyring_new(const char *key, struct wm_keyring **ret, struct wm_err *e)
{
	struct wm_keyring *k = new_ring();
	int r = k ? wm_keyring_add(k, key, e) : wm_err_set(e, -ENOMEM, "out of memory");

	if (r) {
		wm_keyring_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

static int read_lines(struct wm_keyring *k, const char *path, char *text, struct wm_err *e)
{
	struct wm_err why = {0};
	unsigned number = 0;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		number++;
		line[strcspn(line, " \t\r")] = '\0';
		if (!*line || *line == '#')
			continue;
		if (wm_keyring_add(k, line, &why))
			return wm_err_set(e, why.code, "%s: line %u: %s", path, number, why.text);
	}
	return k->count ? 0 : wm_err_set(e, WM_E_INVALID, "%s: has no key", path);
}

int wm_keyring_load(const char *path, struct wm_keyring **ret, struct wm_err *e)
{
	struct wm_keyring *k;
	char *text = NULL;
	size_t len = 0;
	int r = wm_pem_read(path, RING_FILE_MAX, 1, &text, &len, e);

	if (r)
		return r;
	k = new_ring();
	r = k ? read_lines(k, path, text, e) : wm_err_set(e, -ENOMEM, "out of memory");
	OPENSSL_cleanse(text, len);
	free(text);
	if (r) {
		wm_keyring_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

/* Of all keys in their order. */
static void digest_of(const struct wm_keyring *k, char ret[static WM_KEY_PRINT])
{
	uint8_t all[WM_KEYS_MAX * WM_KEY_OCTETS], sum[SHA256_DIGEST_LENGTH];

	for (unsigned n = 0; n < k->count; n++)
		memcpy(all + (size_t)n * WM_KEY_OCTETS, k->keys[n].octets, WM_KEY_OCTETS);
	SHA256(all, (size_t)k->count * WM_KEY_OCTETS, sum);
	OPENSSL_cleanse(all, sizeof(all));
	hex_of(sum, ret);
}

int wm_keyring_load_kept(const char *path, const struct wm_keyring *of, struct wm_keyring **ret,
			 struct wm_err *e)
{
	char *text = NULL, digest[WM_KEY_PRINT];
	size_t len = 0;
	int r = wm_pem_read(path, RING_FILE_MAX, 1, &text, &len, e);
	bool same;

	if (r)
		return r;
	digest_of(of, digest);
	same = strncmp(text, OF, sizeof(OF) - 1) == 0 &&
	       strncmp(text + sizeof(OF) - 1, digest, sizeof(digest) - 1) == 0;
	OPENSSL_cleanse(text, len);
	free(text);
	return same ? wm_keyring_load(path, ret, e)
		    : wm_err_set(e, WM_E_CONFLICT, "%s: is a change of other keys", path);
}

/* As it stands in the file. @return octets. */
static size_t text_of(const struct wm_keyring *k, const struct wm_keyring *of,
		      char ret[static RING_FILE_MAX])
{
	char digest[WM_KEY_PRINT];
	size_t len = 0;

	if (of) {
		digest_of(of, digest);
		len = (size_t)snprintf(ret, RING_FILE_MAX, OF "%s\n", digest);
	}
	for (unsigned n = 0; n < k->count; n++) {
		wm_keyring_key(k, n, ret + len);
		ret[len + WM_KEY_TEXT - 1] = '\n';
		len += WM_KEY_TEXT;
	}
	return len;
}

int wm_keyring_save(const struct wm_keyring *k, const char *path, const struct wm_keyring *of)
{
	char text[RING_FILE_MAX];
	int r = wm_file_replace(path, text, text_of(k, of, text), WM_REPLACE_SYNC);

	OPENSSL_cleanse(text, sizeof(text));
	return r;
}

/* --- sealing ---------------------------------------------------------------------------------- */
/* HKDF's expansion to one block of SHA-256: HMAC(key, info | 1). */
static bool derive(const struct key *key, const uint8_t *salt, uint8_t ret[static WM_KEY_OCTETS])
{
	static const char label[] = "waymark datagram";
	uint8_t info[sizeof(label) + WM_SEAL_SALT + 1];
	unsigned len = 0;

	_Static_assert(WM_KEY_OCTETS == SHA256_DIGEST_LENGTH, "one block");
	memcpy(info, label, sizeof(label));
	memcpy(info + sizeof(label), salt, WM_SEAL_SALT);
	info[sizeof(info) - 1] = 1;
	return HMAC(EVP_sha256(), key->octets, WM_KEY_OCTETS, info, sizeof(info), ret, &len) &&
	       len == WM_KEY_OCTETS;
}

static bool take_use(struct wm_keyring *k)
{
	if (!k->uses) {
		if (RAND_bytes(k->salt, sizeof(k->salt)) != 1 ||
		    !derive(&k->keys[0], k->salt, k->sealing))
			return false;
		k->uses = WM_SEAL_SALT_USES;
	}
	k->uses--;
	return true;
}

size_t wm_seal(struct wm_keyring *k, const void *p, size_t len, void *out, size_t cap)
{
	uint8_t *o = out, *nonce = o + HEAD, *body = nonce + NONCE;
	int n = 0, last = 0;

	if (len > INT_MAX - WM_SEAL_OVERHEAD || cap < len + WM_SEAL_OVERHEAD || !take_use(k))
		return 0;
	o[0] = VERSION;
	o[1] = k->keys[0].mark;
	memcpy(o + 2, k->salt, WM_SEAL_SALT);
	if (RAND_bytes(nonce, NONCE) != 1 ||
	    EVP_EncryptInit_ex(k->ctx, EVP_aes_256_gcm(), NULL, k->sealing, nonce) != 1 ||
	    EVP_EncryptUpdate(k->ctx, NULL, &n, o, HEAD) != 1 || /* the head is authentic, too */
	    EVP_EncryptUpdate(k->ctx, body, &n, p, (int)len) != 1 ||
	    EVP_EncryptFinal_ex(k->ctx, body + n, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(k->ctx, EVP_CTRL_GCM_GET_TAG, TAG, body + len) != 1)
		return 0;
	return len + WM_SEAL_OVERHEAD;
}

static bool open_with(struct wm_keyring *k, const struct key *key, const uint8_t *p, size_t len,
		      uint8_t *out)
{
	const uint8_t *nonce = p + HEAD, *body = nonce + NONCE;
	uint8_t tag[TAG], derived[WM_KEY_OCTETS];
	int n = 0, last = 0;
	bool good;

	memcpy(tag, body + len, TAG);
	good = derive(key, p + 2, derived) &&
	       EVP_DecryptInit_ex(k->ctx, EVP_aes_256_gcm(), NULL, derived, nonce) == 1 &&
	       EVP_DecryptUpdate(k->ctx, NULL, &n, p, HEAD) == 1 &&
	       EVP_DecryptUpdate(k->ctx, out, &n, body, (int)len) == 1 &&
	       EVP_CIPHER_CTX_ctrl(k->ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
	       EVP_DecryptFinal_ex(k->ctx, out + n, &last) == 1;
	OPENSSL_cleanse(derived, sizeof(derived));
	return good;
}

ssize_t wm_unseal(struct wm_keyring *k, const void *p, size_t len, void *out, size_t cap)
{
	const uint8_t *o = p;
	size_t plain = len - WM_SEAL_OVERHEAD;

	if (len && o[0] != VERSION)
		return -EPROTO;
	if (len < WM_SEAL_OVERHEAD || len > INT_MAX)
		return -EBADMSG;
	if (cap < plain)
		return -EMSGSIZE;
	/* the mark is a hint: of two keys that share it both are tried */
	for (unsigned n = 0; n < k->count; n++)
		if (k->keys[n].mark == o[1] && open_with(k, &k->keys[n], o, plain, out))
			return (ssize_t)plain;
	return -EBADMSG;
}
