/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h - tell the service manager how we are: one datagram to $NOTIFY_SOCKET, nothing when it
 * is not set. Spec: sd_notify(3). Threading: no state. */
#pragma once
#include <stdint.h>

/** @p state "READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=1". */
void wm_notify(const char *state);
/** How often the manager wants to hear of us, ms; 0: not at all. */
uint64_t wm_notify_watchdog_ms(void);
