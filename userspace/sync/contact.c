/* SPDX-License-Identifier: Apache-2.0 */
/* contact.c - how true what is here of others is: how long ago it was all there was, and whether
 * anybody is there to tell of more. There is no leader in a mesh: any agent answers, of what it
 * has. */
#include "internal.h"

/* Did this agent ever hear of another that did not leave? Of one that is not known as a member
 * there may be objects from before a restart. */
static bool others_known(const struct wm_sync *s)
{
	struct wm_replica_origin o;
	const struct wm_member *m;
	size_t pos = 0;

	while ((m = wm_members_next(s->members, &pos)))
		if (!m->self && m->state != WM_MEMBER_LEFT)
			return true;
	pos = 0;
	while (wm_replica_next(s->replica, &pos, &o))
		if (!wm_peer_id_same(&o.id, &s->id) && o.objects)
			return true;
	return false;
}

void wm_sync_contact(const struct wm_sync *s, struct wm_sync_contact *ret)
{
	uint64_t waits = wm_objects_waits_ms(s->objects);

	if (s->etcd) {
		ret->known = wm_etcd_contact(s->etcd, &ret->ms);
	} else if (wm_sync_is_leaf(s)) { /* what others have it does not compare with */
		ret->known = wm_leaf_contact(s->leaf, &ret->ms);
	} else if (wm_members_alive(s->members) > 1 || others_known(s)) {
		ret->known = wm_members_alive(s->members) > 1;
		ret->ms = wm_replica_step_ms(s->replica);
	} else {
		*ret = (struct wm_sync_contact){.known = true};
	}
	if (ret->ms < waits) /* it is here, and not to be seen yet */
		ret->ms = waits;
}
