/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_peer.h - an etcd of one member, on ports of a loopback address that no other process of the
 * tests has, with its data in a directory that goes with it. It can be killed and begun again on
 * the same data. */
#pragma once
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ETCD_PEER_ARGS	24
#define ETCD_PEER_TRIES 3

struct etcd_peer {
	char dir[40], host[32], url[64], peer_url[64];
	const char *args[ETCD_PEER_ARGS]; /* beside the usual ones, NULL at the end */
	bool tls;
	uint16_t port;
	pid_t pid;
};

static inline struct sockaddr_in etcd_peer_addr(const struct etcd_peer *p, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	cr_assert_eq(inet_pton(AF_INET, p->host, &a.sin_addr), 1);
	return a;
}

/* A port that is free. */
static inline uint16_t etcd_peer_port(const struct etcd_peer *p)
{
	struct sockaddr_in a = etcd_peer_addr(p, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	cr_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) &&
		  !getsockname(fd, (struct sockaddr *)&a, &len));
	close(fd);
	return ntohs(a.sin_port);
}

/* Run a command of the shell with its output thrown away. @return its status. */
__attribute__((format(printf, 1, 2))) static inline int etcd_shell(const char *fmt, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command);
}

/* Until it answers, or is not there any more. */
static inline bool etcd_peer_up(struct etcd_peer *p)
{
	struct sockaddr_in a = etcd_peer_addr(p, p->port);

	for (int n = 0; n < 1500; n++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool there = !connect(fd, (struct sockaddr *)&a, sizeof(a));

		close(fd);
		if (there)
			return true;
		if (waitpid(p->pid, NULL, WNOHANG) == p->pid) {
			p->pid = 0;
			return false;
		}
		usleep(20000);
	}
	return false;
}

static inline void etcd_peer_run(struct etcd_peer *p)
{
	char data[64], cluster[96];
	const char *args[ETCD_PEER_ARGS + 24];
	pid_t parent = getpid();
	unsigned n = 0;

	snprintf(data, sizeof(data), "%s/data", p->dir);
	snprintf(cluster, sizeof(cluster), "default=%s", p->peer_url);
	args[n++] = getenv("ETCD") ? getenv("ETCD") : "etcd";
	args[n++] = "--data-dir", args[n++] = data;
	args[n++] = "--listen-client-urls", args[n++] = p->url;
	args[n++] = "--advertise-client-urls", args[n++] = p->url;
	args[n++] = "--listen-peer-urls", args[n++] = p->peer_url;
	args[n++] = "--initial-advertise-peer-urls", args[n++] = p->peer_url;
	args[n++] = "--initial-cluster", args[n++] = cluster;
	args[n++] = "--unsafe-no-fsync";
	for (unsigned i = 0; p->args[i]; i++)
		args[n++] = p->args[i];
	args[n] = NULL;
	p->pid = fork();
	cr_assert(p->pid >= 0);
	if (!p->pid) {
		char log[64];
		int fd;

		snprintf(log, sizeof(log), "%s/log", p->dir);
		fd = open(log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || dup2(fd, 1) < 0 ||
		    dup2(fd, 2) < 0)
			_exit(1);
		/* Criterion's own descriptors are not etcd's */
		for (int i = 3; i < 256; i++)
			close(i);
		unsetenv("ETCDCTL_API");
		execvp(args[0], (char *const *)(uintptr_t)args);
		_exit(1);
	}
}

static inline void etcd_peer_kill(struct etcd_peer *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	p->pid = 0;
}

/* Begin with empty data. @p p has its arguments, and its directory if it needs one before. */
static inline void etcd_peer_start(struct etcd_peer *p)
{
	uint16_t peer;
	bool up = false;

	if (!*p->dir) {
		strcpy(p->dir, "/tmp/wm-etcd-XXXXXX");
		cr_assert(mkdtemp(p->dir));
	}
	snprintf(p->host, sizeof(p->host), "127.%d.%d.%d", 1 + getpid() / 254 / 256 % 64,
		 getpid() / 254 % 256, 1 + getpid() % 254);
	/* a port that was free may be another's by now */
	for (int n = 0; n < ETCD_PEER_TRIES && !up; n++) {
		etcd_peer_kill(p);
		etcd_shell("rm -rf %s/data", p->dir);
		p->port = etcd_peer_port(p);
		do
			peer = etcd_peer_port(p);
		while (peer == p->port);
		snprintf(p->url, sizeof(p->url), "http%s://%s:%u", p->tls ? "s" : "", p->host,
			 p->port);
		snprintf(p->peer_url, sizeof(p->peer_url), "http://%s:%u", p->host, peer);
		etcd_peer_run(p);
		up = etcd_peer_up(p);
	}
	if (!up)
		etcd_shell("tail -n 5 %s/log >&2", p->dir);
	cr_assert(up, "etcd does not start");
}

static inline void etcd_peer_again(struct etcd_peer *p)
{
	etcd_peer_run(p);
	cr_assert(etcd_peer_up(p));
}

static inline void etcd_peer_stop(struct etcd_peer *p)
{
	etcd_peer_kill(p);
	if (*p->dir)
		etcd_shell("rm -rf %s", p->dir);
	*p->dir = '\0';
}

/* etcdctl with @p more. @return its status. */
__attribute__((format(printf, 2, 3))) static inline int etcd_peer_ctl(const struct etcd_peer *p,
								      const char *fmt, ...)
{
	char more[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(more, sizeof(more), fmt, ap);
	va_end(ap);
	return etcd_shell("ETCDCTL_API=3 etcdctl --endpoints=%s %s >>%s/ctl 2>&1", p->url, more,
			  p->dir);
}
