/* SPDX-License-Identifier: Apache-2.0 */
/* monitor.c - hears of network devices that come and go (RTNLGRP_LINK), on the agent's loop. */
#include "userspace/dataplane/internal.h"

#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <stdlib.h>

struct wm_device_monitor {
	struct nl_sock *sock;
	struct wm_io *io;
	void (*fn)(void *arg);
	void *arg;
};

/* What it says does not matter: whoever is told looks at the devices that are there. */
static int on_message(struct nl_msg *msg, void *arg)
{
	struct wm_device_monitor *m = arg;

	(void)msg;
	m->fn(m->arg);
	return NL_OK;
}

static void on_readable(void *arg, unsigned events)
{
	struct wm_device_monitor *m = arg;
	int r = nl_recvmsgs_default(m->sock);

	(void)events;
	/* ENOBUFS: more than the socket's buffer came at once */
	if (r < 0 && r != -NLE_AGAIN)
		m->fn(m->arg);
}

struct wm_device_monitor *wm_device_monitor_new(struct wm_loop *l, void (*fn)(void *arg), void *arg)
{
	struct wm_device_monitor *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->fn = fn;
	m->arg = arg;
	m->sock = nl_socket_alloc();
	if (m->sock) {
		nl_socket_disable_seq_check(m->sock);
		nl_socket_modify_cb(m->sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, m);
		if (!nl_connect(m->sock, NETLINK_ROUTE) &&
		    !nl_socket_add_memberships(m->sock, RTNLGRP_LINK, 0) &&
		    !nl_socket_set_nonblocking(m->sock))
			m->io = wm_io_new(l, nl_socket_get_fd(m->sock), WM_IO_READ, on_readable, m);
	}
	if (m->io)
		return m;
	wm_device_monitor_free(m);
	return NULL;
}

void wm_device_monitor_free(struct wm_device_monitor *m)
{
	if (!m)
		return;
	wm_io_free(m->io);
	if (m->sock)
		nl_socket_free(m->sock);
	free(m);
}
