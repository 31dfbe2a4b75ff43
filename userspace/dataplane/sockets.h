/* SPDX-License-Identifier: Apache-2.0 */
/* sockets.h - who listens in this network namespace, told by sock_diag(7) some hundred sockets at a
 * time: listeners of TCP, and UDP sockets that are connected to nobody. Threading: one owner. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_listening_socket {
	uint32_t addr_be[4]; /* v4-mapped if IPv4; zero: any address */
	uint16_t port;
	bool udp, v6only;
	uint64_t cgroup; /* id of the cgroup that made it; 0: not told */
};
/** Does it take what is sent over its protocol to this address, v4-mapped if IPv4, and port? */
bool wm_socket_takes(const struct wm_listening_socket *s, const uint32_t addr_be[4], uint16_t port);

/** Path of the cgroup that made it. @return 0, or negative errno. */
int wm_socket_cgroup(const struct wm_listening_socket *s, char *buf, size_t cap);

struct wm_socket_reader;
/** @return 0, -ENOMEM, or the kernel's errno. */
int wm_sockets_open(struct wm_socket_reader **ret);
/** One answer of the kernel. What opens or closes meanwhile is told or not. @return 1: there is
 *  more, 0: that was all, or negative errno. */
int wm_sockets_read(struct wm_socket_reader *r,
		    void (*fn)(void *arg, const struct wm_listening_socket *s), void *arg);
void wm_sockets_close(struct wm_socket_reader *r); /* NULL ok */
