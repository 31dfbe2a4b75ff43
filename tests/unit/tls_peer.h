/* SPDX-License-Identifier: Apache-2.0 */
/* tls_peer.h - a TLS server, openssl's own, with certificates made for the test: an authority, a
 * certificate for "peer.test" and 127.0.0.1 signed by it, and another authority that signed
 * nothing. All in a directory that goes with the peer. */
#pragma once
#include <criterion/criterion.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLS_PEER_NAME "peer.test"

struct tls_peer {
	char dir[32]; /* holds ca.pem, other.pem, and ok, the file it serves */
	char ca[64], other[64];
	FILE *out; /* stays open: the server writes a line a request */
	pid_t pid;
	uint16_t port;
};

__attribute__((format(printf, 1, 2))) static inline void tls_shell(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	cr_assert_eq(system(command), 0, "%s", command);
}

static inline void tls_peer_certificates(struct tls_peer *p)
{
	static const char *const authorities[] = {"ca", "other"};

	for (unsigned i = 0; i < 2; i++)
		tls_shell("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
			  "-nodes -days 2 -subj '/CN=authority %s' -keyout %s.key -out %s.pem "
			  "2>req.log",
			  p->dir, authorities[i], authorities[i], authorities[i]);
	tls_shell("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		  "-subj /CN=%s -keyout peer.key -out peer.csr 2>req.log && "
		  "echo subjectAltName=DNS:%s,IP:127.0.0.1 >ext && "
		  "openssl x509 -req -days 2 -in peer.csr -CA ca.pem -CAkey ca.key "
		  "-CAcreateserial -extfile ext -out peer.pem 2>req.log && echo fine >ok",
		  p->dir, TLS_PEER_NAME, TLS_PEER_NAME);
	snprintf(p->ca, sizeof(p->ca), "%s/ca.pem", p->dir);
	snprintf(p->other, sizeof(p->other), "%s/other.pem", p->dir);
}

/* Start the server on a port of the kernel's and learn which. It dies with the test. */
static inline void tls_peer_start(struct tls_peer *p)
{
	char line[256], *colon = NULL;
	pid_t parent = getpid();
	int out[2];

	*p = (struct tls_peer){.dir = "/tmp/wm-tls-XXXXXX"};
	cr_assert(mkdtemp(p->dir));
	tls_peer_certificates(p);
	cr_assert_eq(pipe(out), 0);
	p->pid = fork();
	cr_assert(p->pid >= 0);
	if (!p->pid) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || chdir(p->dir) ||
		    dup2(out[1], STDOUT_FILENO) < 0 || !freopen("server.log", "w", stderr))
			_exit(1);
		close(out[0]);
		close(out[1]);
		execlp("openssl", "openssl", "s_server", "-WWW", "-accept", "127.0.0.1:0", "-cert",
		       "peer.pem", "-key", "peer.key", (char *)NULL);
		_exit(1);
	}
	close(out[1]);
	p->out = fdopen(out[0], "r");
	cr_assert(p->out);
	while (!p->port && fgets(line, sizeof(line), p->out)) {
		if (strncmp(line, "ACCEPT", 6) == 0 && (colon = strrchr(line, ':')))
			p->port = (uint16_t)strtoul(colon + 1, NULL, 10);
	}
	cr_assert(p->port);
}

static inline void tls_peer_stop(struct tls_peer *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	fclose(p->out);
	tls_shell("rm -r %s", p->dir);
}
