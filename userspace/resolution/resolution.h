/* SPDX-License-Identifier: Apache-2.0 */
/* resolution.h - turns registry changes into tables. Follows the change stream, marks services
 * dirty, compiles them at the end of the turn (WM_HOOK_COMPILE, after the commit); a status change
 * stores the backend's state word at once, before anything else. Status to state: passing and
 * warning take connections (warning with its own weight), critical does not; of the lifecycle only
 * running does, and stopping is WM_STATE_DRAIN. An instance whose address is a host name is down.
 * Threading: loop thread only. */
#pragma once
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "verify.h"
#include "wants.h"

/* ms that a tag has a set of its own since userspace was asked for it: programs, who answer then,
 * do not tell whether they are asked still. */
#define WM_RESOLUTION_TAG_MS 600000

struct wm_resolution;
/** Subscribes; compiles everything that is there, after adopting, and sweeps. */
struct wm_resolution *wm_resolution_new(struct wm_loop *l, struct wm_registry *r,
					struct wm_tables *t);
void wm_resolution_free(struct wm_resolution *x); /* NULL ok */
/** How far some nodes are from this one is another (wm_registry_set_band): what selects the nearest
 *  is planned anew at the end of the turn, and published where that makes a difference. */
void wm_resolution_moved(void *resolution);
/** Registry index that the tables now show. */
uint64_t wm_resolution_index(const struct wm_resolution *x);
/** Somebody asked for the instances of @p service with @p tag, lower case, by name: the tables have
 *  that name from the end of the turn on, for WM_RESOLUTION_TAG_MS, so that programs answer it. Of
 *  few tags, small ones, fewer yet of one @p client (WM_RESOLUTION_CLIENT octets that tell it). A
 *  subset of the same name is what the name means. */
#define WM_RESOLUTION_CLIENT 16
void wm_resolution_tag_asked(void *resolution, const char *service, const char *tag,
			     const uint8_t *client);
/** Somebody asked for the virtual addresses of @p tag, lower case, which an instance of @p service
 * has. It has them, and they lead to its instances, once this returns; for as long as the service
 * is there, over restarts too. Of few tags of a service. @return false: nobody has it, it is a
 * subset's name, or there is no place or address left. */
bool wm_resolution_tag_addressed(void *resolution, const char *service, const char *tag);
/** Take back those whose time was over at @p now_ns (CLOCK_BOOTTIME). It is done each second. */
void wm_resolution_end_tags(struct wm_resolution *x, uint64_t now_ns);
/** Walk services that have no instance, and addresses of a source: start with *pos = 0; NULL ends.
 */
const struct wm_service *wm_resolution_next_empty(const struct wm_resolution *x, size_t *pos);
/** Compare what the tables hold of @p s with what would be compiled now. One that waits for that is
 *  left out; one that does not fit is a difference. Cost: a compilation. @return 0, -ENOMEM. */
int wm_resolution_verify(struct wm_resolution *x, const struct wm_service *s, wm_difference_fn fn,
			 void *arg);
