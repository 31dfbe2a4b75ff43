/* SPDX-License-Identifier: Apache-2.0 */
/* applyload.c - how long until the kernel shows what the registry knows.
 *   register  from the 200 of a registration to an answer with its address that the kernel gave:
 *             the kernel's own counter of answers must have risen, so userspace cannot pass for it
 *   check     from the moment a check's result is written to the agent's socket (PUT
 * .../check/fail) until the backend's state word, read through a mapping of the pinned map, is no
 * longer "up", and until a question answered by the kernel leaves the address out. That counts the
 * agent's whole work on the request: an upper bound of "from the check's result"
 *   listener  from the moment a server closes its listening socket, or is killed, until that word
 * is no longer "up": the kernel's death notice, the server's way to the system call and its end
 * included One thread, spinning; the agent, or the server, should run on another CPU. */
#include "http.h"
#include "waymark/counters.h"
#include "waymark/layout.h"

#include <getopt.h>
#include <linux/bpf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ANSWER_MAX  1400
#define ROUNDS_MAX  100000
#define GIVE_UP_NS  5000000000ull /* 5 s without effect: counted as failed */
#define DNS_WAIT_US 100000	  /* us for one question */
#define CPUS_MAX    1024
#define SERVER_AT   "127.77.0.3"

static struct {
	const char *address, *pins, *mode, *dns_address;
	long port, dns_port, rounds, cpu;
} opt = {.address = "127.0.0.1",
	 .dns_address = "127.0.0.1",
	 .pins = "/sys/fs/bpf/waymark",
	 .mode = "register",
	 .port = 8500,
	 .dns_port = 8600,
	 .rounds = 1000,
	 .cpu = -1};
static struct wm_counters *per_cpu;
static int counters_fd, http_fd, dns_fd;
static char *answer;

static int pin_open(const char *name, uint32_t flags)
{
	char path[512];
	union bpf_attr a = {0};
	int fd;

	snprintf(path, sizeof(path), "%s/%s", opt.pins, name);
	a.pathname = (uint64_t)(uintptr_t)path;
	a.file_flags = flags;
	fd = (int)syscall(__NR_bpf, BPF_OBJ_GET, &a, sizeof(a));
	if (fd < 0)
		load_die("%s: %s", path, strerror(errno));
	return fd;
}

/** Answers that the kernel has given, over all CPUs. */
static uint64_t kernel_answers(void)
{
	uint32_t zero = 0;
	union bpf_attr a = {.map_fd = (uint32_t)counters_fd,
			    .key = (uint64_t)(uintptr_t)&zero,
			    .value = (uint64_t)(uintptr_t)per_cpu};
	uint64_t sum = 0;

	if (syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)))
		load_die("counters: %s", strerror(errno));
	for (long i = 0; i < sysconf(_SC_NPROCESSORS_CONF); i++)
		sum += per_cpu[i].dns_answered;
	return sum;
}

static int dns_open(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.dns_port)};
	struct timeval wait = {.tv_usec = DNS_WAIT_US};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, opt.dns_address, &in.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&in, sizeof(in)))
		load_die("DNS socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return fd;
}

/** A question for <prefix>NNNNNN.service.mesh.internal, A, without EDNS. @return octets. */
static size_t build(uint8_t *q, const char *prefix, size_t n)
{
	char name[128];
	size_t at = 12;

	memset(q, 0, 12);
	q[0] = (uint8_t)n;
	q[1] = (uint8_t)(n >> 8);
	q[5] = 1;
	snprintf(name, sizeof(name), "%s%06zu.service.mesh.internal", prefix, n);
	for (char *save, *l = strtok_r(name, ".", &save); l; l = strtok_r(NULL, ".", &save)) {
		q[at++] = (uint8_t)strlen(l);
		memcpy(q + at, l, strlen(l));
		at += strlen(l);
	}
	memcpy(q + at, "\0\0\1\0\1", 5);
	return at + 5;
}

/** Ask; does the answer hold @p addr_be? @return 1, 0 (other records or none), -1 lost. */
static int answer_has(const uint8_t *q, size_t len, uint32_t addr_be)
{
	uint8_t a[ANSWER_MAX];
	ssize_t n;

	if (send(dns_fd, q, len, 0) != (ssize_t)len)
		return -1;
	do {
		n = recv(dns_fd, a, sizeof(a), 0);
	} while (n >= 2 && memcmp(a, q, 2) != 0);
	if (n < (ssize_t)len)
		return -1;
	for (size_t at = len; at + 16 <= (size_t)n; at += 16)
		if (!memcmp(a + at + 12, &addr_be, 4))
			return 1;
	return 0;
}

static int put(const char *path, const char *body)
{
	char request[2048];
	size_t len = http_request(request, sizeof(request), "PUT", path, body);

	return http_ask(http_fd, request, len, answer, HTTP_ANSWER_MAX);
}

static void register_one(const char *prefix, size_t s, size_t i, const char *address, bool check)
{
	char body[1024];

	http_registration(body, sizeof(body), prefix, s, i, address, 8080, check);
	if (put("/v1/agent/service/register", body) != 200)
		load_die("registration refused: %.300s", strstr(answer, "\r\n\r\n") + 4);
}

static void deregister_one(const char *prefix, size_t s, size_t i)
{
	char path[256];

	snprintf(path, sizeof(path), "/v1/agent/service/deregister/%s%06zu-%zu", prefix, s, i);
	if (put(path, NULL) != 200)
		load_die("deregistration refused");
}

static void run_register(void)
{
	unsigned long failed = 0, userspace = 0, absent = 0;
	struct load_samples s;
	uint8_t q[300];

	load_samples_init(&s, (size_t)opt.rounds);
	for (size_t n = 0; n < (size_t)opt.rounds; n++) {
		size_t len = build(q, "apply-", n);
		uint64_t start, before;
		int has = 0;

		register_one("apply-", n, 0, "127.77.0.1", false);
		start = load_now_ns();
		for (;;) {
			before = kernel_answers();
			has = answer_has(q, len, inet_addr("127.77.0.1"));
			if (has == 1 && kernel_answers() > before)
				break;
			userspace += has == 1;
			absent += has == 0;
			if (load_now_ns() - start > GIVE_UP_NS)
				break;
		}
		if (load_now_ns() - start > GIVE_UP_NS)
			failed++;
		else
			load_samples_add(&s, load_now_ns() - start);
	}
	for (size_t n = 0; n < (size_t)opt.rounds; n++)
		deregister_one("apply-", n, 0);
	load_samples_sort(&s);
	printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"rounds\":%zu,\"failed\":%lu,"
	       "\"answered_by_userspace\":%lu,\"not_yet\":%lu}\n",
	       load_samples_us(&s, 500), load_samples_us(&s, 990), load_samples_us(&s, 1000),
	       s.count, failed, userspace, absent);
}

/** The pinned backends, read through a mapping; *ret_count elements. */
static const struct wm_backend *map_backends(size_t *ret_count)
{
	struct bpf_map_info info = {0};
	int fd = pin_open("backends",
			  0); /* mmap() takes a shared mapping from a writable one only */
	union bpf_attr a = {.info = {.bpf_fd = (uint32_t)fd,
				     .info_len = sizeof(info),
				     .info = (uint64_t)(uintptr_t)&info}};
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes;
	void *p;

	if (syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)))
		load_die("backends: %s", strerror(errno));
	if (info.value_size != sizeof(struct wm_backend))
		load_die("backends have %u octets, not %zu", info.value_size,
			 sizeof(struct wm_backend));
	bytes = ((size_t)info.max_entries * info.value_size + page - 1) / page * page;
	p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		load_die("mapping of backends: %s", strerror(errno));
	*ret_count = info.max_entries;
	return p;
}

static const struct wm_backend *find_backend(const struct wm_backend *b, size_t count,
					     uint32_t addr_be)
{
	for (size_t i = 0; i < count; i++)
		if ((b[i].state & WM_STATE_MASK) == WM_STATE_UP && b[i].addr4_be == addr_be)
			return &b[i];
	load_die("the instance has no backend in the kernel that is up");
}

/** Wait until the state's low octet is, or is not, "up". @return ns since @p start, 0: never. */
static uint64_t wait_state(const struct wm_backend *b, bool up, uint64_t start)
{
	for (;;) {
		uint32_t state = __atomic_load_n(&b->state, __ATOMIC_ACQUIRE);
		uint64_t ns = load_now_ns() - start;

		if (((state & WM_STATE_MASK) == WM_STATE_UP) == up)
			return ns ? ns : 1;
		if (ns > GIVE_UP_NS)
			return 0;
	}
}

static void run_check(void)
{
	static const char fail[] = "/v1/agent/check/fail/service:check-000000-0";
	static const char pass[] = "/v1/agent/check/pass/service:check-000000-0";
	struct load_samples state, pick, ack;
	uint32_t addr_be = inet_addr("127.77.0.1");
	const struct wm_backend *all, *b;
	char request[512];
	uint8_t q[300];
	size_t len = build(q, "check-", 0), request_len, count;
	unsigned long failed = 0, stale = 0;

	load_samples_init(&state, (size_t)opt.rounds);
	load_samples_init(&pick, (size_t)opt.rounds);
	load_samples_init(&ack, (size_t)opt.rounds);
	all = map_backends(&count);
	register_one("check-", 0, 0, "127.77.0.1", true);
	register_one("check-", 0, 1, "127.77.0.2", true);
	b = find_backend(all, count, addr_be);
	request_len = http_request(request, sizeof(request), "PUT", fail, NULL);
	for (long i = 0; i < opt.rounds; i++) {
		uint64_t start = load_now_ns(), ns;
		size_t size, have = 0;
		ssize_t n;

		if (send(http_fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
			load_die("send: %s", strerror(errno));
		ns = wait_state(b, false, start);
		if (ns) {
			int has = answer_has(q, len, addr_be);

			load_samples_add(&state, ns);
			load_samples_add(&pick, load_now_ns() - start);
			stale += has == 1;
			failed += has < 0;
		} else {
			failed++;
		}
		do {
			n = recv(http_fd, answer + have, HTTP_ANSWER_MAX - have - 1, 0);
			if (n <= 0)
				load_die("the server closed the connection");
			have += (size_t)n;
		} while (!http_complete(answer, have, &size));
		load_samples_add(&ack, load_now_ns() - start);
		start = load_now_ns();
		if (put(pass, NULL) != 200 || !wait_state(b, true, start))
			load_die("the check does not pass again: %.200s", answer);
	}
	deregister_one("check-", 0, 0);
	deregister_one("check-", 0, 1);
	load_samples_sort(&state);
	load_samples_sort(&pick);
	load_samples_sort(&ack);
	printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"pick_p50_us\":%.1f,\"pick_p99_us\":%.1f,"
	       "\"ack_p50_us\":%.1f,\"ack_p99_us\":%.1f,\"rounds\":%zu,\"failed\":%lu,"
	       "\"picked_after\":%lu}\n",
	       load_samples_us(&state, 500), load_samples_us(&state, 990),
	       load_samples_us(&pick, 500), load_samples_us(&pick, 990), load_samples_us(&ack, 500),
	       load_samples_us(&ack, 990), state.count, failed, stale);
}

/* What a server and who watches it share. */
struct server {
	uint64_t closes_ns; /* when it was about to close; 0: not yet */
	bool listens, close;
};

/** A process that listens, closes when it is told to, and is killed at last; on CPU @p cpu. */
static pid_t serve(struct server *s, int cpu)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int fd, yes = 1;
	pid_t pid;

	*s = (struct server){0};
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* who gives up leaves none */
	load_pin(cpu);
	inet_pton(AF_INET, SERVER_AT, &in.sin_addr);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) || listen(fd, 16))
		load_die(SERVER_AT ": %s", strerror(errno));
	__atomic_store_n(&s->listens, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&s->close, __ATOMIC_ACQUIRE))
		usleep(100);
	__atomic_store_n(&s->closes_ns, load_now_ns(), __ATOMIC_RELEASE);
	close(fd);
	for (;;)
		pause();
}

static void wait_flag(const bool *flag)
{
	for (uint64_t start = load_now_ns(); !__atomic_load_n(flag, __ATOMIC_ACQUIRE);)
		if (load_now_ns() - start > GIVE_UP_NS)
			load_die("no server");
}

/** One server that ends. @return ns until its backend was not "up" any more, 0: never. */
static uint64_t server_ends(const struct wm_backend *b, struct server *s, bool killed)
{
	pid_t pid = serve(s, opt.cpu > 0 ? 0 : (int)opt.cpu);
	uint64_t start, ns;

	wait_flag(&s->listens);
	if (!wait_state(b, true, load_now_ns()))
		load_die("who listens is not up");
	start = load_now_ns();
	if (killed)
		kill(pid, SIGKILL);
	else
		__atomic_store_n(&s->close, true, __ATOMIC_RELEASE);
	ns = wait_state(b, false, start);
	if (ns && !killed)
		ns -= __atomic_load_n(&s->closes_ns, __ATOMIC_ACQUIRE) - start;
	if (!killed)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ns;
}

static void run_listener(void)
{
	struct server *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct load_samples closed, killed;
	const struct wm_backend *all, *b;
	unsigned long failed = 0;
	size_t count;
	pid_t first;

	if (s == MAP_FAILED)
		load_die("no memory");
	load_samples_init(&closed, (size_t)opt.rounds);
	load_samples_init(&killed, (size_t)opt.rounds);
	all = map_backends(&count);
	first = serve(s, -1);
	wait_flag(&s->listens);
	register_one("listen-", 0, 0, SERVER_AT, false);
	b = find_backend(all, count, inet_addr(SERVER_AT));
	sleep(2); /* it is watched by then */
	kill(first, SIGKILL);
	waitpid(first, NULL, 0);
	for (long i = 0; i < 2 * opt.rounds; i++) {
		uint64_t ns = server_ends(b, s, i % 2);

		if (ns)
			load_samples_add(i % 2 ? &killed : &closed, ns);
		failed += !ns;
	}
	deregister_one("listen-", 0, 0);
	load_samples_sort(&closed);
	load_samples_sort(&killed);
	printf("{\"closed_p50_us\":%.1f,\"closed_p99_us\":%.1f,\"killed_p50_us\":%.1f,"
	       "\"killed_p99_us\":%.1f,\"rounds\":%zu,\"failed\":%lu}\n",
	       load_samples_us(&closed, 500), load_samples_us(&closed, 990),
	       load_samples_us(&killed, 500), load_samples_us(&killed, 990), killed.count, failed);
}

static const char usage[] =
	"usage: applyload [-m register|check|listener] [-s address] [-p http-port] [-D "
	"dns-address]\n"
	"                 [-q dns-port] [-B pin-directory] [-n rounds] [-c cpu]\n"
	"Times how long the kernel's tables lag behind the registry; prints one JSON line.\n";

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "m:s:p:D:q:B:n:c:h")) != -1) {
		switch (c) {
		case 'm':
			opt.mode = optarg;
			break;
		case 's':
			opt.address = optarg;
			break;
		case 'p':
			opt.port = load_number("-p", optarg, 1, 65535);
			break;
		case 'D':
			opt.dns_address = optarg;
			break;
		case 'q':
			opt.dns_port = load_number("-q", optarg, 1, 65535);
			break;
		case 'B':
			opt.pins = optarg;
			break;
		case 'n':
			opt.rounds = load_number("-n", optarg, 1, ROUNDS_MAX);
			break;
		case 'c':
			opt.cpu = load_number("-c", optarg, 0, CPU_SETSIZE - 1);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (optind != argc || (strcmp(opt.mode, "register") && strcmp(opt.mode, "check") &&
			       strcmp(opt.mode, "listener"))) {
		fputs(usage, stderr);
		return 2;
	}
	load_pin((int)opt.cpu);
	answer = load_alloc(1, HTTP_ANSWER_MAX);
	per_cpu = load_alloc(CPUS_MAX, sizeof(*per_cpu));
	counters_fd = pin_open("counters", 0);
	http_fd = http_open(opt.address, opt.port);
	dns_fd = dns_open();
	if (!strcmp(opt.mode, "register"))
		run_register();
	else if (!strcmp(opt.mode, "listener"))
		run_listener();
	else
		run_check();
	return 0;
}
