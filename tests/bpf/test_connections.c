/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* What connect() leaves in `connections`, and that nothing is left when the socket is closed. */
#include "connect_fixture.h"

#include <sys/socket.h>

#define SOCKETS 400

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	return cookie;
}

static struct wm_connection *entries_of(uint32_t *cap)
{
	return (struct wm_connection *)(uintptr_t)wm_plane_connections(plane, cap);
}

static struct wm_connection *bucket_of(uint64_t cookie)
{
	uint32_t cap;
	struct wm_connection *all = entries_of(&cap);

	return all + (cookie & (cap / WM_CONNECTION_WAYS - 1)) * WM_CONNECTION_WAYS;
}

static const struct wm_connection *entry_of(uint64_t cookie)
{
	const struct wm_connection *b = bucket_of(cookie);

	for (unsigned i = 0; i < WM_CONNECTION_WAYS; i++)
		if (b[i].cookie == cookie)
			return &b[i];
	return NULL;
}

static unsigned in_use(void)
{
	uint32_t cap;
	const struct wm_connection *all = entries_of(&cap);
	unsigned n = 0;

	for (uint32_t i = 0; i < cap; i++)
		n += all[i].cookie != 0;
	return n;
}

static uint32_t open_at(unsigned i)
{
	return mem.live[index_of(i)].open;
}

/* What it is, and that it ends with the socket: with its last descriptor. */
static void lives_as_its_socket(int type)
{
	uint16_t port;
	int server = serve_alone("127.9.9.9", type, &port), fd = client_of(VIP4, type), twin;
	uint64_t cookie = cookie_of(fd);
	const struct wm_connection *c;

	cr_assert_null(entry_of(cookie));
	cr_assert_eq(dial(fd, VIP4, 80), 0);
	c = entry_of(cookie);
	cr_assert(c && c->time_ns);
	cr_assert_eq(c->vip_be[3], want.vip4_be);
	cr_assert_eq(c->vip_port_be, htons(80));
	cr_assert_eq(c->backend_be[3], wants[0].addr4_be);
	cr_assert_eq(c->backend_port_be, htons(port));
	cr_assert_eq(c->backend, index_of(0));
	cr_assert_eq(c->stamp, mem.backends[index_of(0)].state >> 16);
	cr_assert_eq(c->reason, WM_REASON_BY(WM_REASON_DRAW, WM_BALANCE_WEIGHTED));
	cr_assert_eq(open_at(0), 1);
	peer_is(fd, VIP4, 80);
	twin = dup(fd);
	close(fd);
	cr_assert_eq(open_at(0), 1, "another descriptor has it");
	close(twin);
	cr_assert_eq(open_at(0), 0);
	cr_assert_eq(in_use(), 0);
	cr_assert_eq(counter(WM_C_CONNECT_STORED) + counter(WM_C_CONNECT_NO_WAY), 0);
	close(server);
}

Test(connect, a_tcp_connection_lives_as_its_socket)
{
	lives_as_its_socket(SOCK_STREAM);
}

Test(connect, a_udp_connection_lives_as_its_socket)
{
	lives_as_its_socket(SOCK_DGRAM);
}

/* A socket that is connected again, elsewhere and back, has one entry and is counted once. */
Test(connect, connected_again_is_counted_once)
{
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	int fd = client_of(VIP4, SOCK_DGRAM);

	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(dial(fd, VIP4, (uint16_t)(80 + i)), 0);
		cr_assert_eq(open_at(0), 1);
		cr_assert_eq(in_use(), 1);
		peer_is(fd, VIP4, (uint16_t)(80 + i));
	}
	cr_assert_eq(dial(fd, "127.9.9.9", port), 0);
	cr_assert_eq(open_at(0), 0, "to the backend itself, by nobody's help");
	peer_is(fd, "127.9.9.9", port);
	cr_assert_eq(dial(fd, VIP4, 80), 0);
	cr_assert_eq(open_at(0), 1);
	close(fd);
	cr_assert_eq(open_at(0) + in_use(), 0);
	close(server);
}

/* Where all ways are others' the socket has storage; theirs stay, and what was taken by nobody
 * else is told. */
Test(connect, a_full_bucket_falls_back_to_storage)
{
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_STREAM, &port);
	int fd = client_of(VIP4, SOCK_STREAM);
	uint64_t cookie = cookie_of(fd);
	struct wm_connection *b = bucket_of(cookie);

	for (unsigned i = 0; i < WM_CONNECTION_WAYS; i++)
		b[i].cookie = cookie + ((i + 1ull) << 32);
	cr_assert_eq(dial(fd, VIP4, 80), 0);
	peer_is(fd, VIP4, 80);
	cr_assert_null(entry_of(cookie));
	cr_assert_eq(counter(WM_C_CONNECT_NO_WAY), 1);
	cr_assert_eq(open_at(0), 0);
	close(fd);
	for (unsigned i = 0; i < WM_CONNECTION_WAYS; i++)
		cr_assert_eq(b[i].cookie, cookie + ((i + 1ull) << 32));
	close(server);
}

/* More sockets than there are entries, then none: each is shown what it dialled, and nothing is
 * left of any. */
Test(connect, more_sockets_than_entries)
{
	static int fds[SOCKETS];
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	uint32_t cap;

	entries_of(&cap);
	cr_assert_lt(cap, SOCKETS);
	for (unsigned i = 0; i < SOCKETS; i++) {
		fds[i] = client_of(VIP4, SOCK_DGRAM);
		cr_assert_eq(dial(fds[i], VIP4, (uint16_t)(1 + i)), 0);
	}
	cr_assert_eq(open_at(0) + counter(WM_C_CONNECT_NO_WAY), SOCKETS);
	cr_assert_eq(in_use(), open_at(0));
	for (unsigned i = 0; i < SOCKETS; i++) {
		peer_is(fds[i], VIP4, (uint16_t)(1 + i));
		close(fds[i]);
	}
	cr_assert_eq(open_at(0) + in_use(), 0);
	close(server);
}

/* Tables of another size take the place of these: open sockets are shown what they dialled, by the
 * new programs, and leave nothing behind there; the old indexes count for nothing. */
Test(connect, connections_are_carried_to_other_tables)
{
	struct wm_plane_config c = connect_config();
	int server, tcp, udp, gone;
	uint16_t port;

	server = serve_alone("127.9.9.9", SOCK_STREAM, &port);
	tcp = client_of(VIP4, SOCK_STREAM);
	udp = client_of(VIP4, SOCK_DGRAM);
	gone = client_of(VIP4, SOCK_DGRAM);
	cr_assert_eq(dial(tcp, VIP4, 80) + dial(udp, VIP4, 81) + dial(gone, VIP4, 82), 0);
	close(gone);
	wm_tables_free(tables);
	wm_plane_close(plane);
	c.backends = 500;
	c.connections = 300;
	steer(&c, false);
	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(in_use(), 2);
	cr_assert_eq(entry_of(cookie_of(tcp))->backend, WM_NO_BACKEND);
	peer_is(tcp, VIP4, 80);
	peer_is(udp, VIP4, 81);
	cr_assert_eq(dial(udp, VIP4, 83), 0);
	cr_assert_eq(open_at(0), 1);
	peer_is(udp, VIP4, 83);
	close(tcp);
	close(udp);
	cr_assert_eq(open_at(0) + in_use(), 0);
	close(server);
}

/* Pins as an agent of layout 1 left them: another version, none of the maps and the hook that came
 * with layout 2, and what sockets dialled in their storage, which is the same in both. The programs
 * are today's; those of layout 1 themselves are met by tests/long/test_upgrade.sh. */
Test(connect, pins_of_layout_1_give_way)
{
	static const char *const newer[] = {"maps/connections", "maps/heads", "maps/set_live",
					    "maps/backend_live", "links/sock_release"};
	struct wm_plane_config c = connect_config();
	struct wm_layout was = {.version = 1};
	uint32_t zero = 0;
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_STREAM, &port), old, young;
	char path[256];

	mem.config->flags &= ~WM_CONFIG_F_RELEASE;
	old = client_of(VIP4, SOCK_STREAM);
	cr_assert_eq(dial(old, VIP4, 80), 0);
	cr_assert_eq(in_use(), 0);
	cr_assert_eq(bpf_map_update_elem(plane->map_fd[WM_MAP_LAYOUT_VERSION], &zero, &was, 0), 0);
	for (unsigned i = 0; i < sizeof(newer) / sizeof(*newer); i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_dir, newer[i]);
		cr_assert_eq(unlink(path), 0, "%s", path);
	}
	wm_tables_free(tables);
	wm_plane_close(plane);
	steer(&c, false);
	cr_assert_eq(entries("maps"), WM_MAP_COUNT);
	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	peer_is(old, VIP4, 80);
	young = client_of(VIP4, SOCK_STREAM);
	cr_assert_eq(dial(young, VIP4, 81), 0);
	cr_assert_eq(open_at(0), 1);
	close(young);
	close(old);
	cr_assert_eq(open_at(0) + in_use(), 0);
	close(server);
}
