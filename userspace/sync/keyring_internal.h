/* SPDX-License-Identifier: Apache-2.0 */
/* keyring_internal.h - between keyring.c, which asks all members, and keyring_change.c, which does
 * what is asked here. */
#pragma once
#include "internal.h"
#include "keyring.h"
#include "userspace/net/aside.h"

#include <linux/limits.h>

#define KEYRING_MESSAGE_MAX                                                                        \
	2048 /* octets of a message: WM_KEYS_MAX fingerprints and a sentence                       \
	      */

struct keyring_ask {
	uint64_t number;
	enum wm_keyring_what what;
	char key[WM_KEY_TEXT], print[WM_KEY_PRINT];
};

struct keyring_job; /* of an operator's */
struct wm_keyrings {
	struct wm_sync *s;
	struct wm_keyring *of; /* what the operator's file says */
	char path[PATH_MAX];   /* of what is kept; "": nowhere */
	/* the change that is being stored */
	struct wm_aside *storing; /* NULL: none */
	struct wm_keyring *next;
	struct keyring_ask ask;
	struct wm_peer_id asker;
	int stored;
	struct keyring_job *job; /* NULL: none */
	uint64_t number;	 /* of the last message */
};

/** Do it here; the answer is sent, or given to keyring_take() if it is for us. */
void keyring_do(struct wm_keyrings *k, const struct wm_peer_id *asker, const struct keyring_ask *a);
/* An answer. */
struct keyring_answer {
	uint64_t number;
	int code;
	const char *text;
	unsigned count;
	char *prints[WM_KEYS_MAX];
};
void keyring_take(struct wm_keyrings *k, const struct wm_peer_id *from,
		  const struct keyring_answer *a);
