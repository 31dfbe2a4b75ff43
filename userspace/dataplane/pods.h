/* SPDX-License-Identifier: Apache-2.0 */
/* pods.h - network namespaces of this machine that addresses are in: pods'. Threading: loop
 * thread only; the work is done in a thread of its own, which takes some milliseconds. */
#pragma once
#include "waymark/listen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_pod {
	uint32_t addr4_be; /* 0: addr6 counts */
	uint8_t addr6[16];
	uint64_t netns; /* answer: its namespace's cookie; 0: none beside ours that we send it to */
};
struct wm_listen_list { /* sockets that listen, each by what it is bound to */
	struct wm_listener_key *all;
	size_t count, cap;
};
/** Is the address one of the calling thread's network namespace? Then what is sent to it comes from
 *  itself; of 127.0.0.0/8 all are. @p addr6: 16 octets, counts if @p addr4_be is 0. Cost: three
 *  system calls. */
bool wm_address_is_here(uint32_t addr4_be, const void *addr6);

struct wm_pods;
/** Look for the namespaces of @p all, malloc()ed, which is taken. @p task_link: of task_netns, or
 *  the error that it met: then the namespaces that are mounted are looked at. @return 0 or negative
 *  errno. */
int wm_pods_start(int task_link, struct wm_pod *all, unsigned count, struct wm_pods **ret);
/** @return @p all with the answers, NULL while it is looked. @p ret: who listens in the namespaces
 *  that were found; NULL: that is not known. Borrowed. */
const struct wm_pod *wm_pods_result(const struct wm_pods *x, const struct wm_listen_list **ret);
void wm_pods_free(struct wm_pods *x); /* NULL ok; waits for the thread */
