/* SPDX-License-Identifier: Apache-2.0 */
/* meshload.c - how long until every node of a mesh steers to what was registered on one of them:
 * from the 200 of the registration until connect() to the service's virtual address succeeds on
 * each of the others. A service whose one other instance is critical has no usable one between the
 * rounds, so that connect() is refused there. A socket belongs for ever to the network namespace
 * and the cgroup that it was made in: one of each node, all connected by this one thread, so all
 * times are of one clock. They are of datagrams, so that nothing is sent. Run it as root, outside
 * of the cgroups. */
#include "http.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>

#define NODES_MAX   256
#define ROUNDS_MAX  100000
#define NAME	    "reach"
#define HOST	    "reach.virtual.mesh.internal"
#define API_PORT    8500
#define DNS_PORT    8600
#define DNS_WAIT_US 200000
#define GIVE_UP_NS  10000000000ull /* 10 s without effect: counted as failed */

struct node {
	int net, http, udp;
	struct sockaddr_in vip;
	bool steered;
};

static struct {
	const char *cgroups, *address;
	long rounds, pause_us, gap_us;
} opt = {.cgroups = "/sys/fs/cgroup",
	 .address = "10.77.0.1",
	 .rounds = 200,
	 .pause_us = 200,
	 .gap_us = 20000};
static struct node nodes[NODES_MAX];
static size_t count;
static char *answer;

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		load_die("%s: %s", path, strerror(errno));
	close(fd);
}

static void enter_net(int fd)
{
	if (setns(fd, CLONE_NEWNET))
		load_die("setns: %s", strerror(errno));
}

static int datagrams(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		load_die("socket: %s", strerror(errno));
	return fd;
}

/* The service's address as the node answers for it, 0: it does not. In its network namespace. */
static uint32_t ask_vip(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
	struct timeval wait = {.tv_usec = DNS_WAIT_US};
	uint8_t q[300] = {0, 1, 1, 0, 0, 1}, a[1400];
	char host[] = HOST, *save;
	size_t at = 12;
	uint32_t vip = 0;
	int fd = datagrams();

	for (char *l = strtok_r(host, ".", &save); l; l = strtok_r(NULL, ".", &save)) {
		q[at++] = (uint8_t)strlen(l);
		memcpy(q + at, l, strlen(l));
		at += strlen(l);
	}
	memcpy(q + at, "\0\0\1\0\1", 5);
	at += 5;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		load_die("DNS: %s", strerror(errno));
	/* behind the question: a pointer, type, class, TTL, length, the address */
	if (send(fd, q, at, 0) == (ssize_t)at && recv(fd, a, sizeof(a), 0) >= (ssize_t)at + 16 &&
	    a[7])
		memcpy(&vip, a + at + 12, sizeof(vip));
	close(fd);
	return vip;
}

/* What is made for a node, given as NETNS-FILE:CGROUP-DIRECTORY. */
static void open_node(struct node *n, char *spec, const char *home_cgroup)
{
	char *colon = strchr(spec, ':'), path[512], pid[32];
	int fd;

	if (!colon)
		load_die("'%s' is not NETNS-FILE:CGROUP-DIRECTORY", spec);
	*colon = 0;
	fd = open(spec, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		load_die("%s: %s", spec, strerror(errno));
	enter_net(fd);
	n->net = fd;
	snprintf(path, sizeof(path), "%s/cgroup.procs", colon + 1);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	write_file(path, pid);
	n->udp = datagrams();
	write_file(home_cgroup, pid);
	n->vip = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(80)};
	for (uint64_t start = load_now_ns(); !(n->vip.sin_addr.s_addr = ask_vip()); usleep(10000))
		if (load_now_ns() - start > GIVE_UP_NS)
			load_die("%s: no address of " HOST, spec);
}

static void put(const struct node *n, const char *path, const char *body)
{
	char request[2048];
	size_t len = http_request(request, sizeof(request), "PUT", path, body);
	int status = http_ask(n->http, request, len, answer, HTTP_ANSWER_MAX);

	if (status != 200)
		load_die("%s: %d", path, status);
}

static bool steered(struct node *n)
{
	return connect(n->udp, (struct sockaddr *)&n->vip, sizeof(n->vip)) == 0;
}

/* Until all but @p but steer, or refuse. Times go into @p each, the last one's is returned; 0: some
 * never did. */
static uint64_t wait_all(size_t but, bool want, uint64_t start, struct load_samples *each)
{
	size_t left = count - (but < count);
	uint64_t last = 0;

	for (size_t i = 0; i < count; i++)
		nodes[i].steered = !want;
	for (;;) {
		for (size_t i = 0; i < count; i++) {
			if (i == but || nodes[i].steered == want || steered(&nodes[i]) != want)
				continue;
			nodes[i].steered = want;
			last = load_now_ns() - start;
			if (each)
				load_samples_add(each, last);
			left--;
		}
		if (!left)
			return last ? last : 1;
		if (load_now_ns() - start > GIVE_UP_NS)
			return 0;
		usleep((useconds_t)opt.pause_us);
	}
}

static void run(void)
{
	struct load_samples each, all;
	unsigned long failed = 0;
	char path[128], body[256];

	load_samples_init(&each, (size_t)opt.rounds * count);
	load_samples_init(&all, (size_t)opt.rounds);
	for (size_t r = 0; r < (size_t)opt.rounds; r++) {
		size_t on = r % count;
		uint64_t ns;

		if (!wait_all(count, false, load_now_ns(), NULL))
			load_die("a node steers to what was deregistered");
		usleep((useconds_t)opt.gap_us);
		snprintf(body, sizeof(body),
			 "{\"ID\":\"" NAME "-%zu\",\"Name\":\"" NAME
			 "\",\"Address\":\"%s\",\"Port\":9}",
			 r, opt.address);
		enter_net(nodes[on].net); /* a connection of each round: idle ones are closed */
		nodes[on].http = http_open("127.0.0.1", API_PORT);
		put(&nodes[on], "/v1/agent/service/register", body);
		ns = wait_all(on, true, load_now_ns(), &each);
		if (ns)
			load_samples_add(&all, ns);
		failed += !ns;
		snprintf(path, sizeof(path), "/v1/agent/service/deregister/" NAME "-%zu", r);
		put(&nodes[on], path, NULL);
		close(nodes[on].http);
	}
	load_samples_sort(&each);
	load_samples_sort(&all);
	printf("{\"node_p50_us\":%.1f,\"node_p99_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"max_us\":%.1f,\"rounds\":%zu,\"nodes\":%zu,\"failed\":%lu}\n",
	       load_samples_us(&each, 500), load_samples_us(&each, 990), load_samples_us(&all, 500),
	       load_samples_us(&all, 990), load_samples_us(&all, 1000), all.count, count, failed);
}

static const char usage[] =
	"usage: meshload [-a address-with-a-route] [-C cgroup2-mount] [-n rounds]\n"
	"                [-g us-between-rounds] "
	"[-w us-between-looks] NETNS:CGROUP...\n"
	"Times from a registration's 200 on one node until all others steer; "
	"prints one JSON line.\n"
	"node_*: of each node; the others: of the last node of a round.\n";

int main(int argc, char **argv)
{
	char home[512], line[400];
	FILE *f;
	int c;

	while ((c = getopt(argc, argv, "a:C:n:g:w:h")) != -1) {
		switch (c) {
		case 'a':
			opt.address = optarg;
			break;
		case 'C':
			opt.cgroups = optarg;
			break;
		case 'n':
			opt.rounds = load_number("-n", optarg, 1, ROUNDS_MAX);
			break;
		case 'g':
			opt.gap_us = load_number("-g", optarg, 0, 999999);
			break;
		case 'w':
			opt.pause_us = load_number("-w", optarg, 0, 999999);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	count = (size_t)(argc - optind);
	if (count < 2 || count > NODES_MAX) {
		fputs(usage, stderr);
		return 2;
	}
	answer = load_alloc(1, HTTP_ANSWER_MAX);
	*home = 0;
	f = fopen("/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "0::", 3))
			snprintf(home, sizeof(home), "%s%s/cgroup.procs", opt.cgroups, line + 3);
	}
	if (f)
		fclose(f);
	if (!*home)
		load_die("no cgroup of version 2");
	for (size_t i = 0; i < count; i++)
		open_node(&nodes[i], argv[optind + (int)i], home);
	run();
	return 0;
}
