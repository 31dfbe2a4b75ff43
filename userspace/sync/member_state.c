/* SPDX-License-Identifier: Apache-2.0 */
/* member_state.c - the whole state of a membership, which is told over a stream at a join and now
 * and then. What is read is a stranger's: it is taken as a whole, or not at all. */
#include "member_internal.h"

#include <errno.h>

#define STATE_FIELD 1 /* of gossip.proto's State */

int wm_members_state(const struct wm_members *ms, struct wm_buf *b)
{
	uint8_t one[MEMBER_OCTETS];
	size_t len;

	/* Messages of one form behind each other are read as one whose lists are joined. */
	for (size_t i = 0; i < ms->count; i++) {
		len = member_write(ms->nodes[i], MEMBER_STATE, one);
		if (!wm_buf_reserve(b, len + 3))
			return -ENOMEM;
		b->len += member_write_field(STATE_FIELD, one, len, (uint8_t *)b->data + b->len);
	}
	return 0;
}

static int unsound(struct wm_members *ms, struct wm_err *e, int code, const char *why)
{
	ms->stats.malformed++;
	return wm_err_set(e, code, "state of the members: %s", why);
}

int wm_members_merge(struct wm_members *ms, const void *p, size_t len, struct wm_err *e)
{
	const struct octets all = {p, len};
	struct octets in = all, one;
	size_t count = 0;
	struct news w;

	if (len > WM_MEMBERS_MAX * (size_t)MEMBER_OCTETS)
		return unsound(ms, e, WM_E_LIMIT, "longer than of WM_MEMBERS_MAX members");
	for (;;) {
		if (!member_read_state(&in, &one) || count > WM_MEMBERS_MAX)
			return unsound(ms, e, WM_E_INVALID, "cannot be read");
		if (!one.p)
			break;
		if (!member_read(one, &w) || !w.described)
			return unsound(ms, e, WM_E_INVALID, "a member that is not sound");
		count++;
	}
	ms->joins = ms->alive == 1;
	for (in = all; member_read_state(&in, &one) && one.p;)
		if (member_read(one, &w))
			member_news(ms, &w, true);
	ms->joins = false;
	return 0;
}
