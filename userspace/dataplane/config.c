/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - change the `config` of tables that programs are reading: words that stand alone by one
 * store each; what belongs together only while no program looks at it. */
#include "userspace/dataplane/plane.h"
#include "userspace/resolution/grace.h"

#include <string.h>
#include <unistd.h>

#define GRACE_US 50000 /* us: where membarrier is missing; programs run for microseconds */

/* The part that tells where DNS is answered. */
#define PLACES_AT  offsetof(struct wm_config, dns_port_be)
#define PLACES_LEN (sizeof(struct wm_config) - PLACES_AT)

/* Until every program that was running has ended. */
static void wait_for_programs(void)
{
	if (wm_grace_membarrier())
		usleep(GRACE_US);
}

void wm_plane_reconfigure(struct wm_config *k, const struct wm_config *next)
{
	unsigned char *now = (unsigned char *)k + PLACES_AT;
	const unsigned char *then = (const unsigned char *)next + PLACES_AT;
	uint32_t flags = next->flags | (k->flags & (WM_CONFIG_F_RELEASE | WM_CONFIG_F_WATCHED |
						    WM_CONFIG_F_COMPLETE | WM_CONFIG_F_RECORDS |
						    WM_CONFIG_LEVELS));

	__atomic_store_n(&k->ttl_s, next->ttl_s, __ATOMIC_RELAXED);
	__atomic_store_n(&k->stale_after_ns, next->stale_after_ns, __ATOMIC_RELAXED);
	if (memcmp(now, then, PLACES_LEN) != 0) {
		__atomic_store_n(&k->flags, flags & ~WM_CONFIG_F_DNS, __ATOMIC_SEQ_CST);
		wait_for_programs();
		memcpy(now, then, PLACES_LEN);
	}
	__atomic_store_n(&k->flags, flags, __ATOMIC_RELEASE);
}
