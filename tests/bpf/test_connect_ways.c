/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Other ways to connect than the call: rings, data with the SYN, many datagrams in one call, from
 * within a cgroup namespace, by an IPv4 address of an IPv6 socket. Each is steered, counted and
 * shown as connect() is. */
#include "connect_fixture.h"

#include <linux/io_uring.h>
#include <linux/tcp.h>
#include <sys/mman.h>

static uint32_t open_at(unsigned i)
{
	return mem.live[index_of(i)].open;
}

/* --- rings --- */
struct ring {
	int fd;
	struct io_uring_params p;
	char *all; /* both rings */
	struct io_uring_sqe *sqes;
	size_t len, sqes_len;
};

static uint32_t *at(const struct ring *r, uint32_t offset)
{
	return (uint32_t *)(void *)(r->all + offset);
}

/* @return false: the kernel refuses it. */
static bool ring_open(struct ring *r, uint32_t flags)
{
	*r = (struct ring){.p = {.flags = flags, .sq_thread_idle = 1000}};
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	if (r->fd < 0)
		return false;
	cr_assert(r->p.features & IORING_FEAT_SINGLE_MMAP);
	r->len = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	if (r->len < r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t))
		r->len = r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t);
	r->sqes_len = r->p.sq_entries * sizeof(struct io_uring_sqe);
	r->all = mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		      IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, r->sqes_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		       IORING_OFF_SQES);
	cr_assert(r->all != MAP_FAILED && r->sqes != MAP_FAILED, "%s", strerror(errno));
	return true;
}

static void ring_close(struct ring *r)
{
	munmap(r->all, r->len);
	munmap(r->sqes, r->sqes_len);
	close(r->fd);
}

/* @return what the operation came to. */
static int ring_do(struct ring *r, const struct io_uring_sqe *what)
{
	uint32_t tail = *at(r, r->p.sq_off.tail), head = *at(r, r->p.cq_off.head);
	uint32_t place = tail & *at(r, r->p.sq_off.ring_mask);
	const struct io_uring_cqe *cqes = (const void *)(r->all + r->p.cq_off.cqes);
	unsigned enter = IORING_ENTER_GETEVENTS;
	int result;

	if (r->p.flags & IORING_SETUP_SQPOLL)
		enter |= IORING_ENTER_SQ_WAKEUP;
	r->sqes[place] = *what;
	at(r, r->p.sq_off.array)[place] = place;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == head) {
		long n = syscall(SYS_io_uring_enter, r->fd, 1, 1, enter, NULL, 0);

		cr_assert(n >= 0 || errno == EINTR, "%s", strerror(errno));
	}
	result = cqes[head & *at(r, r->p.cq_off.ring_mask)].res;
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return result;
}

static int ring_dial(struct ring *r, int fd, const char *text, uint16_t port, uint8_t flags)
{
	union address a;
	struct io_uring_sqe e = {.opcode = IORING_OP_CONNECT, .flags = flags, .fd = fd};

	e.off = fill(&a, text, port);
	e.addr = (uintptr_t)&a;
	return ring_do(r, &e);
}

/* In the call, by a worker of the kernel's, and by the kernel's own thread. */
Test(connect, a_ring_connects_as_the_call_does)
{
	static const struct {
		uint32_t ring;
		uint8_t each;
	} ways[] = {{0, 0}, {0, IOSQE_ASYNC}, {IORING_SETUP_SQPOLL, 0}};

	for (unsigned i = 0; i < 3 * sizeof(ways) / sizeof(*ways); i++) {
		const struct form *f = &forms[i % 3];
		int server, client, accepted;
		struct ring r;
		uint16_t port;

		if (!ring_open(&r, ways[i / 3].ring))
			cr_skip_test("kernel refuses io_uring: %s", strerrorname_np(errno));
		server = serve_alone(f->at, SOCK_STREAM, &port);
		client = client_of(f->vip, SOCK_STREAM);
		cr_assert_eq(ring_dial(&r, client, f->vip, 80, ways[i / 3].each), 0, "%u", i);
		cr_assert(readable(server));
		accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		cr_assert_geq(accepted, 0);
		peer_is(client, f->vip, 80);
		cr_assert_eq(open_at(0), 1, "%u", i);
		close(client);
		cr_assert_eq(open_at(0), 0, "%u", i);
		client = client_of(f->vip, SOCK_STREAM);
		wants[0].state = WM_STATE_DOWN;
		publish();
		cr_assert_eq(ring_dial(&r, client, f->vip, 80, ways[i / 3].each), -ECONNREFUSED);
		close(client);
		close(accepted);
		close(server);
		ring_close(&r);
	}
}

Test(connect, a_ring_sends_datagrams_as_the_call_does)
{
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	int client = client_of(VIP4, SOCK_DGRAM);
	union address to, from = {0};
	struct iovec part = {(void *)(uintptr_t) "q", 1};
	struct msghdr m = {.msg_name = &to, .msg_iov = &part, .msg_iovlen = 1};
	struct io_uring_sqe e = {.opcode = IORING_OP_SENDMSG, .fd = client, .len = 1};
	struct ring r;
	socklen_t len = sizeof(from);
	char octet;

	if (!ring_open(&r, 0))
		cr_skip_test("kernel refuses io_uring: %s", strerrorname_np(errno));
	m.msg_namelen = fill(&to, VIP4, 53);
	e.addr = (uintptr_t)&m;
	for (unsigned i = 0; i < 4; i++) {
		e.flags = i % 2 ? IOSQE_ASYNC : 0;
		cr_assert_eq(ring_do(&r, &e), 1);
		cr_assert(readable(server));
		len = sizeof(from);
		cr_assert_eq(recvfrom(server, &octet, 1, 0, &from.any, &len), 1);
		cr_assert_eq(sendto(server, "a", 1, 0, &from.any, len), 1);
		cr_assert(readable(client));
		len = sizeof(from);
		cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
		same_source(&from, VIP4, 53);
	}
	ring_close(&r);
	close(client);
	close(server);
}

/* --- data with the SYN --- */
Test(connect, data_with_the_syn_is_steered)
{
	int pings = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC), pending = 16;

	/* client and server */
	cr_assert(pings >= 0 && write(pings, "3", 1) == 1, "%s", strerror(errno));
	close(pings);
	for (unsigned i = 0; i < 9; i++) { /* the first of each asks for the cookie */
		const struct form *f = &forms[i % 3];
		union address to;
		socklen_t len = fill(&to, f->vip, 80);
		uint16_t port;
		int server = serve_alone(f->at, SOCK_STREAM, &port), accepted;
		int client = client_of(f->vip, SOCK_STREAM);
		char octet = 0;

		cr_assert_eq(setsockopt(server, IPPROTO_TCP, TCP_FASTOPEN, &pending, sizeof(int)),
			     0);
		cr_assert_eq(sendto(client, "x", 1, MSG_FASTOPEN, &to.any, len), 1, "%s: %s",
			     f->vip, strerror(errno));
		cr_assert(readable(server));
		accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		cr_assert(readable(accepted) && read(accepted, &octet, 1) == 1);
		cr_assert_eq(octet, 'x');
		peer_is(client, f->vip, 80);
		cr_assert_eq(open_at(0), 1);
		close(client);
		cr_assert_eq(open_at(0), 0);
		close(accepted);
		close(server);
	}
}

/* --- datagrams --- */
/* One call, several destinations: two services, one of nobody, and the backend itself. The call
 * ends at the one that is refused, as the kernel has it. */
Test(connect, one_call_of_several_destinations)
{
	static const char *const to[] = {VIP4, "127.9.9.9", VIP4, "240.1.2.99", VIP4};
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	int client = client_of(VIP4, SOCK_DGRAM);
	const uint16_t ports[] = {53, port, 54, 53, 53};
	struct mmsghdr all[5] = {0};
	union address names[5], from;
	char octets[] = "abcde", octet;
	struct iovec parts[5];
	socklen_t len;

	for (unsigned i = 0; i < 5; i++) {
		parts[i] = (struct iovec){octets + i, 1};
		all[i].msg_hdr = (struct msghdr){.msg_name = &names[i],
						 .msg_namelen = fill(&names[i], to[i], ports[i]),
						 .msg_iov = &parts[i],
						 .msg_iovlen = 1};
	}
	cr_assert_eq(sendmmsg(client, all, 5, 0), 3, "the fourth is of nobody");
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(readable(server));
		cr_assert_eq(read(server, &octet, 1), 1);
		cr_assert_eq(octet, octets[i]);
		for (unsigned k = 0; k < 4; k++) /* names are the program's, and stay */
			cr_assert_eq(names[k].in.sin_port, htons(ports[k]));
	}
	len = sizeof(from);
	cr_assert_eq(getsockname(client, &from.any, &len), 0);
	fill(&names[0], "127.9.9.9", ntohs(from.in.sin_port));
	names[0].in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(sendto(server, "a", 1, 0, &names[0].any, sizeof(names[0].in)), 1);
	cr_assert(readable(client));
	len = sizeof(from);
	cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
	same_source(&from, VIP4, 54);
	close(client);
	close(server);
}

/* An IPv6 datagram socket takes an IPv4 address as such, too. */
Test(connect, an_ipv4_address_of_an_ipv6_datagram_socket)
{
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	int client = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	union address from = {0};

	cr_assert_eq(dial(client, VIP4, 53), 0, "%s", strerror(errno));
	peer_is(client, "::ffff:" VIP4, 53);
	cr_assert_eq(open_at(0), 1);
	cr_assert_eq(connect(client, &none, sizeof(none)), 0);
	exchange(client, server, VIP4, 54, &from);
	same_source(&from, "::ffff:" VIP4, 54);
	exchange(client, server, "::ffff:" VIP4, 55, &from);
	same_source(&from, "::ffff:" VIP4, 55);
	close(client);
	cr_assert_eq(open_at(0), 0);
	close(server);
}

/* What was dialled before is past: an answer of the backend is its own. */
Test(connect, a_datagram_socket_that_was_disconnected_asks_the_backend_itself)
{
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	int client = client_of(VIP4, SOCK_DGRAM);
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	union address from = {0};
	socklen_t len = sizeof(from);

	cr_assert_eq(dial(client, VIP4, 53), 0);
	cr_assert_eq(connect(client, &none, sizeof(none)), 0);
	cr_assert_neq(getpeername(client, &from.any, &len), 0);
	exchange(client, server, "127.9.9.9", port, &from);
	same_source(&from, "127.9.9.9", port);
	cr_assert_eq(dial(client, VIP4, 54), 0);
	peer_is(client, VIP4, 54);
	cr_assert_eq(open_at(0), 1, "once");
	close(client);
	cr_assert_eq(open_at(0), 0);
	close(server);
}

/* --- who dials --- */
/* In the child: 0 when it was steered. */
static int dial_below(const char *dir)
{
	int fd, r;

	enter(dir);
	if (unshare(CLONE_NEWCGROUP))
		return 2;
	fd = client_of(VIP4, SOCK_STREAM);
	r = dial(fd, VIP4, 80);
	close(fd);
	return r ? 3 : 0;
}

Test(connect, within_a_cgroup_namespace_below)
{
	char sub[300], deep[320];
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_STREAM, &port), status;
	pid_t pid;

	snprintf(sub, sizeof(sub), "%s/out", cgroup);
	snprintf(deep, sizeof(deep), "%s/deep", sub);
	cr_assert_eq(mkdir(sub, 0755) + mkdir(deep, 0755), 0);
	for (unsigned i = 0; i < 2; i++) {
		pid = fork();
		if (!pid)
			_exit(dial_below(i ? deep : sub));
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status));
		cr_assert_eq(WEXITSTATUS(status), 0, "%d", WEXITSTATUS(status));
	}
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 2);
	cr_assert_eq(open_at(0), 0);
	rmdir(deep);
	rmdir(sub);
	close(server);
}
