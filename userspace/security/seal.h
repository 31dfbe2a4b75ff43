/* SPDX-License-Identifier: Apache-2.0 */
/* seal.h - datagrams sealed with AES-256-GCM under one of a ring of keys. The first key seals, all
 * open, so that a new key is added everywhere, then used everywhere, then the old one removed. What
 * is sealed says by an octet of the key's fingerprint which to try first. A datagram that is sent
 * again opens again: whoever reads them must not mind (SWIM does not, incarnations order it). The
 * file has a key a line, 32 octets in base64; lines that begin with # are comments.
 *
 * No key of the ring seals anything itself. Under one key random nonces of 96 bits are good for
 * 2^32 datagrams (NIST SP 800-38D, 8.3), which a thousand nodes with ten a second each reach in
 * five days. So each sender draws a salt of 128 bits and seals with a key derived of both, HMAC of
 * the salt under the ring's key (HKDF's expansion, RFC 5869 2.3, as the ring's key is random
 * already). The salt travels in the head, and is drawn anew with each process and key, and after
 * WM_SEAL_SALT_USES datagrams: two nonces under one salt are then the same with a chance of 2^-65,
 * and all that 2^32 salts, 2^48 datagrams, seal with one of 2^-33. Nonces stay random and are not
 * counted, so a machine that is restored from an image repeats none. Threading: one owner. */
#pragma once
#include "userspace/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WM_KEY_OCTETS	 32
#define WM_KEY_TEXT	 45 /* octets of one in base64 with its NUL */
#define WM_KEYS_MAX	 8  /* of a ring: a change of keys needs two */
#define WM_KEY_PRINT	 33 /* octets of a fingerprint in hex with its NUL: 128 bits of SHA-256 */
#define WM_SEAL_SALT	 16
#define WM_SEAL_OVERHEAD (2 + WM_SEAL_SALT + 12 + 16) /* version and fingerprint, nonce, tag */
#define WM_SEAL_SALT_USES                                                                          \
	(1u << 16) /* datagrams a salt: the odds above, and a derivation costs nothing then */

struct wm_keyring;
/** Read a file of mode 0600 or less. @return 0, WM_E_INVALID, negative errno; @p e names the file
 * and the line. */
int wm_keyring_load(const char *path, struct wm_keyring **ret, struct wm_err *e);
/** A ring of one key. @return 0, WM_E_INVALID (no 32 octets in base64), -ENOMEM. */
int wm_keyring_new(const char *key, struct wm_keyring **ret, struct wm_err *e);
void wm_keyring_free(struct wm_keyring *k); /* NULL ok; keys are wiped */

/** Add a key that opens; one that is there is no error. @return 0, WM_E_INVALID, WM_E_LIMIT. */
int wm_keyring_add(struct wm_keyring *k, const char *key, struct wm_err *e);
/** Seal with it from now on. @return 0, WM_E_INVALID, WM_E_UNKNOWN: add it first. */
int wm_keyring_use(struct wm_keyring *k, const char *key, struct wm_err *e);
/** It opens no more. @return 0, WM_E_INVALID, WM_E_UNKNOWN, WM_E_CONFLICT: it seals. */
int wm_keyring_remove(struct wm_keyring *k, const char *key, struct wm_err *e);
unsigned wm_keyring_count(const struct wm_keyring *k);
/** Number @p n in base64; 0 is the one that seals. */
void wm_keyring_key(const struct wm_keyring *k, unsigned n, char ret[static WM_KEY_TEXT]);
/** The fingerprint of number @p n, which says which key it is and nothing of it. */
void wm_keyring_print(const struct wm_keyring *k, unsigned n, char ret[static WM_KEY_PRINT]);
/** The key of a fingerprint. @return its number, negative: none. */
int wm_keyring_find(const struct wm_keyring *k, const char *print);
/** A copy that can be changed while the other one is in use. @return 0, -ENOMEM. */
int wm_keyring_copy(const struct wm_keyring *k, struct wm_keyring **ret);
/** Write the file anew, mode 0600, under another name, synced and renamed. @param of what the
 * operator's file says, of which this is a change: see wm_keyring_load_kept(). NULL: of nothing.
 * @return 0, negative errno. */
int wm_keyring_save(const struct wm_keyring *k, const char *path, const struct wm_keyring *of);
/** Read what was saved as a change of @p of. @return 0, -ENOENT: there is none, WM_E_CONFLICT: it
 * is a change of other keys, as the operator has written others since; what wm_keyring_load() does.
 */
int wm_keyring_load_kept(const char *path, const struct wm_keyring *of, struct wm_keyring **ret,
			 struct wm_err *e);
/** The fingerprint of a key in base64. @return 0, WM_E_INVALID. */
int wm_key_print(const char *key, char ret[static WM_KEY_PRINT], struct wm_err *e);
/** A new key. @return 0, -EIO: the system gives no random numbers. */
int wm_key_generate(char ret[static WM_KEY_TEXT]);

/** Seal @p len octets into @p out. @return octets, len + WM_SEAL_OVERHEAD; 0: no room, or it
 * failed. */
size_t wm_seal(struct wm_keyring *k, const void *p, size_t len, void *out, size_t cap);
/** Open. @return octets; -EBADMSG: no key opens it; -EPROTO: it has another form, of another
 * version of the agent or of an insecure one; -EMSGSIZE: no room. */
ssize_t wm_unseal(struct wm_keyring *k, const void *p, size_t len, void *out, size_t cap);
