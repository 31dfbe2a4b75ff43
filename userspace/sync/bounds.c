/* SPDX-License-Identifier: Apache-2.0 */
/* bounds.c - how long what a frame carries may be, by its channel: judged before it is decoded. */
#include "internal.h"
#include "keyring_internal.h"
#include "leaf_internal.h"
#include "userspace/net/frames.h"
#include "verify_internal.h"

#define FEW   64		 /* octets, of channels that carry a word or none */
#define WHOLE (WM_FRAME_MAX - 1) /* as long as a frame is */

static const struct {
	const char *name;
	size_t octets;
} bounds[] = {
	[WM_CHANNEL_HELLO] = {"hello", WM_SYNC_HELLO_MAX},
	[WM_CHANNEL_STATE] = {"state", WHOLE},
	[WM_CHANNEL_STATE_REPLY] = {"state reply", WHOLE},
	[WM_CHANNEL_TREE] = {"tree", FEW},
	[WM_CHANNEL_UNTREE] = {"untree", FEW},
	[WM_CHANNEL_SPREAD] = {"spread", WM_SPREAD_FRAME_MAX},
	[WM_CHANNEL_REPLICA] = {"replica", MESSAGE_MAX},
	[WM_CHANNEL_REQUEST] = {"request", WM_SYNC_REQUEST_MAX},
	[WM_CHANNEL_REPLY] = {"reply", WM_SYNC_REQUEST_MAX},
	[WM_CHANNEL_PAUSE] = {"pause", FEW},
	[WM_CHANNEL_VERIFY] = {"verify", VERIFY_MESSAGE_MAX},
	[WM_CHANNEL_VERIFY_REPLY] = {"verify reply", VERIFY_MESSAGE_MAX},
	[WM_CHANNEL_KEYRING] = {"keyring", KEYRING_MESSAGE_MAX},
	[WM_CHANNEL_KEYRING_REPLY] = {"keyring reply", KEYRING_MESSAGE_MAX},
	[WM_CHANNEL_NEWS] = {"news", WM_SPREAD_PAYLOAD_MAX},
	[WM_CHANNEL_INTEREST] = {"interest", LEAF_ASK_MAX},
	[WM_CHANNEL_NEWS_OF] = {"news of a service", WHOLE},
};

int wm_sync_frame_check(uint8_t channel, size_t len, struct wm_err *e)
{
	if (channel >= WM_ARRAY_LEN(bounds) || !bounds[channel].name ||
	    len <= bounds[channel].octets)
		return 0; /* or of a newer agent */
	return wm_err_set(e, WM_E_LIMIT, "%s: a message of %zu octets, %zu are allowed",
			  bounds[channel].name, len, bounds[channel].octets);
}
