/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_stream.c - octets on a stream to an agent of a mesh without TLS: its greeting, frames, the
 * hello, and each channel's messages as they arrive, with all of the agent's cores behind. The
 * first octet says whether a greeting, a hello and a state come before; then there are steps of a
 * channel, two octets of a length, and so many of a message; channel 255 sends them as they are.
 * Whatever comes: the agent goes on, takes the next stream, and knows of nobody else's objects as
 * its own. */
#include "members.h"
#include "userspace/base/peer_addr.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/sync/internal.h"
#include "userspace/sync/link.pb-c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WITH_GREETING 1
#define WITH_HELLO    2
#define WITH_STATE    4
#define AS_IT_IS      255
#define TURNS	      8
#define CONNECT_MS    1000
#define PORTS	      10000 /* streams from one address: its ports wait for a minute after them */

static struct {
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_sync *sync;
	uint16_t port;
	int fd;		     /* of the stream */
	uint8_t state[1024]; /* of a member that speaks */
	size_t state_len;
} f;

static struct wm_peer_addr here(uint16_t port)
{
	struct wm_peer_addr a = {.port = port};

	a.ip.s6_addr[10] = a.ip.s6_addr[11] = 0xff;
	a.ip.s6_addr[12] = 127;
	a.ip.s6_addr[15] = 1;
	return a;
}

/* What another agent says of itself. */
static void make_state(void)
{
	struct wm_members *ms;
	struct wm_peer_id id;
	struct wm_buf b;

	memset(id.octets, 2, sizeof(id.octets));
	ms = members_new(wm_loop_env(f.loop), id, WM_MEMBER_FULL);
	wm_buf_init(&b, sizeof(f.state));
	check(!wm_members_state(ms, &b));
	memcpy(f.state, b.data, b.len);
	f.state_len = b.len;
	wm_buf_done(&b);
	wm_members_free(ms);
}

static void begin(void)
{
	struct wm_registry_config rc = {.node_name = "one",
					.node_address = "127.0.0.1",
					.datacenter = "dc1",
					.instances_max = 100,
					.services_max = 100,
					.nodes_max = 100,
					.checks_max = 1000,
					.vip4_base = 0xf0000000,
					.vip4_mask = 0xf0000000,
					.sync = true};
	static char *nobody[] = {NULL};
	static struct wm_sync_config c;
	struct wm_err e = {0};

	f.loop = wm_loop_new();
	rc.env = wm_loop_env(f.loop);
	rc.vip6_prefix.s6_addr[0] = 0xfd;
	check(f.loop && !wm_registry_open(&rc, &f.registry, &e));
	c = (struct wm_sync_config){.env = wm_loop_env(f.loop),
				    .loop = f.loop,
				    .registry = f.registry,
				    .node_name = "one",
				    .datacenter = "dc1",
				    .version = "1",
				    .node_address = "127.0.0.1",
				    .timers = *wm_member_profile(WM_MEMBER_LAN),
				    .push_pull_ms = 30000,
				    .restart_grace_ms = 1000,
				    .objects_max = 1000,
				    .join = nobody,
				    .interest = nobody,
				    .join_file = "",
				    .insecure = true};
	for (unsigned n = 0; !f.sync && n < 100; n++) {
		f.port = (uint16_t)(20000 + ((unsigned)getpid() + 97 * n) % 20000);
		c.bind = c.advertise = here(f.port);
		if (wm_sync_new(&c, &f.sync, &e))
			f.sync = NULL;
	}
	check(f.sync && !wm_sync_start(f.sync, &e));
	make_state();
}

static int dial(void)
{
	static unsigned streams;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(f.port)};
	struct sockaddr_in from = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int late = 1; /* the port is chosen when it is known whom it is for */

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + streams++ / PORTS % 0xffff);
	check(!setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof(late)) &&
	      !bind(fd, (struct sockaddr *)&from, sizeof(from)));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		/* the fuzzer's own timer; the connection goes on */
		check(errno == EINTR && TEMP_FAILURE_RETRY(poll(&p, 1, CONNECT_MS)) == 1 &&
		      p.revents == POLLOUT);
	}
	return fd;
}

/* The agent reads while we write, and we throw away what it says. */
static void say(int fd, const void *p, size_t len)
{
	const char *at = p;
	char answer[4096];
	ssize_t n;

	for (unsigned tries = 0; len && tries < 1000; tries++) {
		n = send(fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return; /* it ended the stream */
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
		(void)wm_loop_turn(f.loop, 0);
		while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
			;
	}
}

static void frame(int fd, uint8_t channel, const void *p, size_t len)
{
	uint32_t length = htonl((uint32_t)len + 1);
	uint8_t head[5];

	memcpy(head, &length, sizeof(length));
	head[4] = channel;
	say(fd, head, sizeof(head));
	say(fd, p, len);
}

static void hello(int fd)
{
	Waymark__Link__Hello h;
	uint8_t packed[256], id[16];
	char dc[] = "dc1", name[] = "n2", agent[] = "1";

	waymark__link__hello__init(&h);
	memset(id, 2, sizeof(id));
	h.version = 1;
	h.datacenter = dc;
	h.name = name;
	h.agent = agent;
	h.id.data = id;
	h.id.len = sizeof(id);
	frame(fd, WM_CHANNEL_HELLO, packed, waymark__link__hello__pack(&h, packed));
}

static void step(uint8_t channel, const uint8_t *p, size_t len)
{
	if (channel == AS_IT_IS)
		say(f.fd, p, len);
	else
		frame(f.fd, channel, p, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t with = size ? data[0] : 0;
	size_t pos = 0;

	if (!f.loop)
		begin();
	f.fd = dial();
	if (with & WITH_GREETING)
		say(f.fd, "WmF\1", 4);
	if (with & WITH_HELLO)
		hello(f.fd);
	if (with & WITH_STATE)
		frame(f.fd, WM_CHANNEL_STATE, f.state, f.state_len);
	if (size)
		each_step(data + 1, size - 1, step);
	for (unsigned n = 0; n < TURNS; n++)
		(void)wm_loop_turn(f.loop, 0);
	close(f.fd);
	for (unsigned n = 0; n < TURNS; n++)
		(void)wm_loop_turn(f.loop, 0);
	check(!wm_node_next_instance(wm_registry_node(f.registry), &pos));
	return 0;
}
