/* SPDX-License-Identifier: Apache-2.0 */
/* keyring.h - the keys of datagrams, changed while all members run. The agent that is asked looks
 * first at what each member has, then asks those whom it concerns over their streams, which do not
 * depend on these keys; failed members are asked as well, for they may be taken for failed as their
 * keys are others. Each member changes a copy of its ring, stores that in its data directory and
 * uses it then, so it has the ring after a restart, until the operator's file says something else.
 * A key that a member lacks is not used unless that is forced, one that seals anywhere is not
 * removed. Keys are told by fingerprints and are in no log. Threading: loop thread only. */
#pragma once
#include "sync.h"
#include "userspace/security/seal.h"

/* On the wire: new ones are appended. */
enum wm_keyring_what { WM_KEYRING_LIST, WM_KEYRING_ADD, WM_KEYRING_USE, WM_KEYRING_REMOVE };

#define WM_KEYRING_AT_ONCE  64	 /* members that are asked at a time: each may need a new stream */
#define WM_KEYRING_MS	    5000 /* a member has so long for an answer */
#define WM_KEYRING_TEXT_MAX 160	 /* octets of what a member says, NUL included */

struct wm_keyring_member {
	char name[WM_NODE_NAME_MAX + 1];
	bool self, answered;
	int code; /* of base/err.h: it refused, or did not answer; 0: `text` is empty */
	char text[WM_KEYRING_TEXT_MAX];
	unsigned count; /* keys that it has; the first one seals */
	char prints[WM_KEYS_MAX][WM_KEY_PRINT];
};
struct wm_keyring_result {
	enum wm_keyring_what what;
	int code;				 /* not 0: nothing was changed anywhere */
	const char *text;			 /* why */
	char print[WM_KEY_PRINT];		 /* of the key that it was about; "" */
	const struct wm_keyring_member *members; /* all that did not leave, this one too */
	unsigned count;
};
/** Is it as it was asked for at @p m? */
bool wm_keyring_fits(const struct wm_keyring_result *r, const struct wm_keyring_member *m);
/** Called once; the result is valid during the call. NULL: this agent stops. */
typedef void (*wm_keyring_done)(void *arg, const struct wm_keyring_result *r);

/** Ask all members. @p key: in base64, or but for WM_KEYRING_ADD its fingerprint; NULL for a list.
 *  @p force: use a key though members lack it. @p done is called within 2 * WM_KEYRING_MS for each
 *  WM_KEYRING_AT_ONCE members. @return 0; WM_E_INVALID (no key), WM_E_BUSY (one is under way),
 *  WM_E_UNSUPPORTED (etcd carries, or sync.insecure), -ENOMEM; @p e says which. */
int wm_sync_keyring(struct wm_sync *s, enum wm_keyring_what what, const char *key, bool force,
		    wm_keyring_done done, void *arg, struct wm_err *e);
/** The key of a fingerprint, if it is in this agent's ring. */
bool wm_sync_key(const struct wm_sync *s, const char *print, char ret[static WM_KEY_TEXT]);
