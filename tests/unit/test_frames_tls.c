/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net */
/* test_frames_tls.c - who is refused at the door of a mesh: one table of certificates and
 * handshakes that must not come up, each with the reason that is told, and counted. openssl(1)
 * makes and presents them. */
#include "userspace/net/frames.h"
#include "userspace/security/ca.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(n) "-cert " n ".pem -key key.pem "

/* Made in the directory of the authority (ca.pem, a.pem, b.pem; key.pem is everybody's):
 * issue NAME EXTENSIONS [options of openssl x509], by ca.pem unless the options say otherwise. */
static const char make_them[] =
	"exec >make.log 2>&1\n"
	"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem\n"
	"openssl genrsa -out rsa.key 1024\n"
	"both='extendedKeyUsage=serverAuth,clientAuth\\n'\n"
	"a='subjectAltName=DNS:a.dc1.waymark\\n'\n"
	"sign() { name=$1; shift; openssl req -new -key ${key:-key.pem} -out $name.csr "
	"-subj /CN=$name.dc1.waymark && openssl x509 -req -in $name.csr -CA ca.pem -CAkey "
	"ca-key.pem -CAcreateserial -out $name.pem -extfile $name.ext -days 5 \"$@\"; }\n"
	"issue() { printf \"$2\" >$1.ext; n=$1; shift 2; sign $n \"$@\"; }\n"
	"named() { issue $1 \"${both}subjectAltName=$2\\n\"; }\n"
	"openssl req -x509 -key key.pem -out other.pem -days 5 -subj '/CN=waymark' "
	"-addext basicConstraints=critical,CA:true\n"
	"openssl req -x509 -new -key key.pem -out self.pem -days 5 -subj /CN=a.dc1.waymark "
	"-addext subjectAltName=DNS:a.dc1.waymark\n"
	"issue good \"$both$a\"; issue old \"$both$a\" -days -1\n"
	"mkdir db; : >db/index; echo 01 >db/serial\n"
	"printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=db/index\\nserial=db/serial\\n"
	"new_certs_dir=db\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' "
	">ca.conf\n"
	"openssl ca -batch -config ca.conf -in good.csr -cert ca.pem -keyfile ca-key.pem "
	"-out early.pem -notext -extfile good.ext -startdate 20900101000000Z "
	"-enddate 20910101000000Z\n"
	"issue foreign \"$both$a\" -CA other.pem -CAkey key.pem\n"
	"issue server \"extendedKeyUsage=serverAuth\\n$a\"\n"
	"issue mail \"extendedKeyUsage=emailProtection\\n$a\"\n"
	"named nobody DNS:example.com; named wild 'DNS:*.dc1.waymark'\n"
	"named two DNS:a.dc1.waymark,DNS:b.dc1.waymark; named dc2 DNS:a.dc2.waymark\n"
	"issue common \"$both\"\n"
	"named kinds email:a@dc1.waymark,URI:http://a.dc1.waymark/,IP:127.0.0.1\n"
	"named empty DNS:a..waymark; named deep DNS:x.a.dc1.waymark\n"
	"named long DNS:$(printf 'a%.0s' $(seq 64)).dc1.waymark\n"
	"named nul DER:30:11:82:0f:61:2e:64:63:31:2e:77:61:79:6d:61:72:6b:00:78\n"
	"named notder DER:30:11:82:0f:61\n"
	"for n in 300 10000; do (printf \"$both\"; printf subjectAltName=DNS:a.dc1.waymark\n"
	"seq -f ',DNS:n%.0f.example' $n | tr -d '\\n') >many$n.ext; sign many$n; done\n"
	"issue sha1 \"$both$a\" -sha1; key=rsa.key issue weak \"$both$a\"\n"
	"issue byleaf \"$both$a\" -CA a.pem -CAkey a-key.pem\n"
	"issue sub 'basicConstraints=critical,CA:true\\nkeyUsage=keyCertSign\\n'\n"
	"issue bysub \"$both$a\" -CA sub.pem -CAkey key.pem\n"
	"issue critical \"$both${a}1.2.3.4=critical,DER:05:00\\n\"\n"
	"issue clients \"extendedKeyUsage=clientAuth\\n$a\"\n"
	"issue zero \"$both\" && python3 nul.py\n"
	"for n in $(seq 1500); do cat ca.pem; done >chain.pem\n"
	"python3 -c 'import ssl; "
	"d = bytearray(ssl.PEM_cert_to_DER_cert(open(\"good.pem\").read())); d[-1] ^= 1; "
	"open(\"changed.pem\", \"w\").write(ssl.DER_cert_to_PEM_cert(bytes(d)))'\n"
	"test -s changed.pem && test -s early.pem && test -s many10000.pem && test -s weak.pem && "
	"test -s cnnul.pem\n";

/* openssl(1) writes no NUL into a common name: one that is signed has an octet exchanged, and is
 * signed again. Of DER: a sequence of what is signed, the algorithm and a string of bits. */
static const char nul_py[] =
	"import ssl, subprocess\n"
	"d = ssl.PEM_cert_to_DER_cert(open('zero.pem').read())\n"
	"end = 8 + int.from_bytes(d[6:8], 'big')\n"
	"text = d[4:end].replace(b'zero.dc1', b'a.dc1.\\0z')\n"
	"sign = ['openssl', 'dgst', '-sha256', '-sign', 'ca-key.pem']\n"
	"sig = subprocess.run(sign, input=text, stdout=subprocess.PIPE, check=True).stdout\n"
	"body = text + d[end:end + 2 + d[end + 1]] + bytes([3, len(sig) + 1, 0]) + sig\n"
	"der = bytes([0x30, 0x82]) + len(body).to_bytes(2, 'big') + body\n"
	"open('cnnul.pem', 'w').write(ssl.DER_cert_to_PEM_cert(der))\n";

static const struct {
	const char *what, *args, *why; /* of s_client; a pattern of what is told */
} strangers[] = {
	{"an older TLS", "-tls1_2 " SHOW("good"), "unsupported protocol"},
	{"no certificate", "", "did not return a certificate"},
	{"of nobody", SHOW("self"), "self-signed"},
	{"another authority of the same name", SHOW("foreign"), "unable to get|signature"},
	{"another authority, with it", SHOW("foreign") "-cert_chain other.pem", "self-signed"},
	{"expired", SHOW("old"), "expired"},
	{"not valid yet", SHOW("early"), "not yet valid"},
	{"for servers only", SHOW("server"), "purpose"},
	{"for mail only", SHOW("mail"), "purpose"},
	{"names no node", SHOW("nobody"), "names no node"},
	{"names any node", SHOW("wild"), "is not NODE"},
	{"names two nodes", SHOW("two"), "more than one node"},
	{"of another datacenter", SHOW("dc2"), "of datacenter dc2, not of dc1"},
	{"the common name alone", SHOW("common"), "no subjectAltName"},
	{"a NUL in the common name", SHOW("cnnul"), "no subjectAltName"},
	{"names of other kinds", SHOW("kinds"), "names no node"},
	{"an empty label", SHOW("empty"), "is not NODE"},
	{"a label of 64", SHOW("long"), "is not NODE"},
	{"a label too many", SHOW("deep"), "is not NODE"},
	{"a NUL in the name", SHOW("nul"), "has a NUL"},
	{"a name that is no DER", SHOW("notder"), "unable to get|no subjectAltName"},
	{"301 names", SHOW("many300"), "301 names, 256 are allowed"},
	{"10,001 names", SHOW("many10000"), "excessive|too long|size"},
	{"SHA-1", SHOW("sha1") "-cipher DEFAULT@SECLEVEL=0", "too weak"},
	{"RSA of 1,024", "-cert weak.pem -key rsa.key -cipher DEFAULT@SECLEVEL=0",
	 "key too small|weak"},
	{"signed by a node", SHOW("byleaf") "-cert_chain a.pem", "CA|purpose|usage"},
	{"an authority below ours", SHOW("bysub") "-cert_chain sub.pem", "path length|CA"},
	{"the authority itself", "-cert ca.pem -key ca-key.pem", "purpose|no subjectAltName|CA"},
	{"an unknown critical extension", SHOW("critical"), "critical extension"},
	{"an octet of the signature changed", SHOW("changed"), "signature"},
	{"a chain of a megabyte", SHOW("good") "-cert_chain chain.pem", "excessive|too long|size"},
	{"no TLS at all", NULL, "TLS"},
};

/* What answers where a node is wanted: node a, of ours. */
static const struct {
	const char *what, *args, *why; /* of s_server; a pattern of what is told */
} servers[] = {
	{"an older TLS", "-tls1_2 " SHOW("good"), "protocol version"},
	{"of nobody", SHOW("self"), "self-signed"},
	{"another authority of the same name", SHOW("foreign"), "unable to get|signature"},
	{"expired", SHOW("old"), "expired"},
	{"not valid yet", SHOW("early"), "not yet valid"},
	{"for clients only", SHOW("clients"), "purpose"},
	{"names no node", SHOW("nobody"), "names no node"},
	{"names any node", SHOW("wild"), "is not NODE"},
	{"names two nodes", SHOW("two"), "more than one node"},
	{"another node", "-cert b.pem -key b-key.pem", "of node b, not of a"},
	{"of another datacenter", SHOW("dc2"), "of datacenter dc2, not of dc1"},
	{"a NUL in the name", SHOW("nul"), "has a NUL"},
	{"SHA-1", SHOW("sha1") "-cipher DEFAULT@SECLEVEL=0", "too weak"},
	{"RSA of 1,024", "-cert weak.pem -key rsa.key -cipher DEFAULT@SECLEVEL=0",
	 "key too small|weak"},
	{"signed by a node", SHOW("byleaf") "-cert_chain a.pem", "CA|purpose|usage"},
	{"an octet of the signature changed", SHOW("changed"), "signature"},
};

static struct wm_loop *loop;
static char dir[] = "/tmp/waymark-frames-tls-XXXXXX";
static unsigned ups, refusals, downs;
static char told[256];

static void on_up(void *arg, struct wm_frames_conn *c)
{
	(void)arg;
	(void)c;
	ups++;
}

static void on_frame(void *arg, struct wm_frames_conn *c, const void *p, size_t len)
{
	(void)arg;
	(void)c;
	(void)p;
	(void)len;
}

static void on_down(void *arg, struct wm_frames_conn *c, int err, const char *sentence)
{
	(void)arg;
	(void)c;
	(void)err;
	downs++;
	snprintf(told, sizeof(told), "%s", sentence);
}

static void on_refused(void *arg, const struct wm_peer_addr *from, int err, const char *sentence)
{
	(void)arg;
	(void)from;
	(void)err;
	refusals++;
	snprintf(told, sizeof(told), "%s", sentence);
}

/* @p up_ms, @p each, @p all: how long a caller may take to come up, how many such may be there of
 * one address, and of all; 0: as by default. */
static struct wm_frames *frames_for(const char *node, unsigned up_ms, unsigned each, unsigned all,
				    struct wm_tls **ret)
{
	char ca[64], cert[64], key[64];
	const struct wm_tls_config t = {.files = {ca, cert, key}};
	struct wm_frames_config c = {
		.up = on_up, .frame = on_frame, .down = on_down, .refused = on_refused};
	struct wm_err e = {0};

	c.up_ms = up_ms;
	c.fresh_each = each;
	c.fresh_max = all;
	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(cert, sizeof(cert), "%s/%s.pem", dir, node);
	snprintf(key, sizeof(key), "%s/%s-key.pem", dir, node);
	cr_assert_eq(wm_tls_new(loop, &t, ret, &e), 0, "%s", e.text);
	c.tls = *ret;
	return wm_frames_new(loop, &c);
}

static struct wm_frames *frames_of(const char *node, struct wm_tls **ret)
{
	return frames_for(node, 0, 0, 0, ret);
}

static void write_file(const char *name, const char *text)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert(f);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

static void shell(const char *command)
{
	char line[8192];

	snprintf(line, sizeof(line), "cd %s && %s", dir, command);
	cr_assert_eq(system(line), 0, "see %s/make.log", dir);
}

static void begin(void)
{
	struct wm_err e = {0};

	loop = wm_loop_new();
	cr_assert(mkdtemp(dir));
	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "a", NULL, 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "b", NULL, 30, &e), 0, "%s", e.text);
	write_file("nul.py", nul_py);
	shell(make_them);
}

static void end(void)
{
	wm_loop_free(loop);
	shell("rm -rf $PWD");
}

TestSuite(frames_tls, .init = begin, .fini = end, .timeout = 600);

static pid_t in_shell(const char *command)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		cr_assert_eq(chdir(dir), 0);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void gone(pid_t pid)
{
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void matches(const char *what, const char *pattern)
{
	regex_t re;

	cr_assert_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	cr_expect_eq(regexec(&re, told, 0, NULL, 0), 0, "%s: /%s/ is not in \"%s\"", what, pattern,
		     told);
	regfree(&re);
}

static struct wm_peer_addr loopback(uint16_t port)
{
	struct wm_peer_addr at = {.port = port};

	at.ip.s6_addr[10] = at.ip.s6_addr[11] = 0xff;
	at.ip.s6_addr[12] = 127;
	at.ip.s6_addr[15] = 1;
	return at;
}

static void turns(const unsigned *until, unsigned count)
{
	for (unsigned n = 0; n < 1000 && *until < count; n++)
		wm_loop_turn(loop, 20);
}

static void present(unsigned n, struct wm_frames *f, uint16_t port)
{
	const struct wm_frames_stats *s = wm_frames_stats(f);
	unsigned failed = (unsigned)s->failed;
	char command[512];
	pid_t pid;

	snprintf(command, sizeof(command),
		 strangers[n].args
			 ? "sleep 20 | openssl s_client -connect 127.0.0.1:%u %s >s.log 2>&1"
			 : "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 %u",
		 port, strangers[n].args);
	refusals = 0;
	told[0] = '\0';
	pid = in_shell(command);
	turns(&refusals, 1);
	gone(pid);
	cr_expect_eq(refusals, 1, "%s: not refused", strangers[n].what);
	cr_expect_eq(ups, 0, "%s: it came up", strangers[n].what);
	cr_expect_eq(s->failed, failed + 1, "%s: not counted", strangers[n].what);
	matches(strangers[n].what, strangers[n].why);
}

Test(frames_tls, strangers_are_refused_and_told_why)
{
	struct wm_peer_addr at = loopback(0);
	struct wm_tls *tls;
	struct wm_frames *f = frames_of("b", &tls);
	struct wm_err e = {0};
	char command[512];
	pid_t pid;

	cr_assert_eq(wm_frames_listen(f, &at, &at.port, &e), 0, "%s", e.text);
	for (unsigned n = 0; n < sizeof(strangers) / sizeof(*strangers); n++)
		present(n, f, at.port);
	/* what the table rests on: with all of it right, one comes up */
	cr_assert(snprintf(command, sizeof(command),
			   "(printf 'WmF\\1'; sleep 20) | openssl s_client -connect 127.0.0.1:%u "
			   "-quiet " SHOW("good") ">s.log 2>&1",
			   at.port) > 0);
	pid = in_shell(command);
	turns(&ups, 1);
	cr_expect_eq(ups, 1, "\"%s\"", told);
	gone(pid);
	wm_frames_free(f);
	wm_tls_free(tls);
}

/* The port that it says it has taken. */
static uint16_t port_of(const char *log)
{
	char path[64], line[256];
	unsigned port = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, log);
	for (unsigned n = 0; n < 1000 && !port; n++) {
		FILE *f = fopen(path, "r");

		while (f && fgets(line, sizeof(line), f))
			(void)sscanf(line, "ACCEPT 127.0.0.1:%u", &port);
		if (f)
			fclose(f);
		usleep(20000);
	}
	cr_assert_gt(port, 0, "see %s", path);
	return (uint16_t)port;
}

static void call(unsigned n, struct wm_frames *f)
{
	struct wm_frames_conn *c;
	struct wm_peer_addr at;
	char command[512];
	pid_t pid;

	write_file("server.log", "");
	snprintf(command, sizeof(command),
		 "sleep 20 | openssl s_server -accept 127.0.0.1:0 -CAfile ca.pem -verify 1 %s "
		 ">server.log 2>&1",
		 servers[n].args);
	pid = in_shell(command);
	at = loopback(port_of("server.log"));
	downs = 0;
	told[0] = '\0';
	cr_assert_eq(wm_frames_connect(f, &at, "a", NULL, &c), 0);
	turns(&downs, 1);
	gone(pid);
	cr_expect_eq(downs, 1, "%s: not refused", servers[n].what);
	cr_expect_eq(ups, 0, "%s: it came up", servers[n].what);
	matches(servers[n].what, servers[n].why);
}

Test(frames_tls, who_answers_for_a_node_is_refused_as_well)
{
	struct wm_tls *tls;
	struct wm_frames *f = frames_of("b", &tls);

	for (unsigned n = 0; n < sizeof(servers) / sizeof(*servers); n++)
		call(n, f);
	wm_frames_free(f);
	wm_tls_free(tls);
}

/* From 127.0.0.@p host. */
static int raw_from(unsigned host, const struct wm_peer_addr *at)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(at->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			   from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(0x7f000000 + host)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

Test(frames_tls, a_handshake_that_stands_still_is_ended)
{
	static const uint8_t half[] = {22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}; /* of a ClientHello */
	struct wm_peer_addr at = loopback(0);
	struct wm_tls *tls;
	struct wm_frames *f = frames_for("b", 200, 0, 0, &tls);
	struct wm_err e = {0};
	int fd;

	cr_assert_eq(wm_frames_listen(f, &at, &at.port, &e), 0, "%s", e.text);
	for (unsigned n = 0; n < 2; n++) { /* who says nothing, and who stops in a word */
		fd = raw_from(1, &at);
		if (n)
			cr_assert_eq(send(fd, half, sizeof(half), 0), sizeof(half));
		turns(&refusals, n + 1);
		cr_assert_eq(refusals, n + 1);
		matches("it stands still", "handshake took too long");
		close(fd);
	}
	cr_assert_eq(wm_frames_stats(f)->late, 2);
	cr_assert_eq(ups, 0);
	wm_frames_free(f);
	wm_tls_free(tls);
}

Test(frames_tls, callers_that_do_not_come_up_are_few)
{
	enum { EACH = 3, ALL = 5 };
	struct wm_peer_addr at = loopback(0);
	struct wm_tls *tls;
	struct wm_frames *f = frames_for("b", 60000, EACH, ALL, &tls);
	const struct wm_frames_stats *s = wm_frames_stats(f);
	struct wm_err e = {0};
	int fd[3 * EACH];

	cr_assert_eq(wm_frames_listen(f, &at, &at.port, &e), 0, "%s", e.text);
	for (unsigned n = 0; n < EACH + 1; n++)
		fd[n] = raw_from(1, &at);
	for (unsigned n = 0; n < 1000 && !s->over_limit; n++)
		wm_loop_turn(loop, 20);
	cr_assert_eq(s->over_limit, 1, "one too many of an address is closed");
	cr_assert_eq(s->accepted, EACH);
	cr_assert_eq(wm_frames_count(f), EACH);
	/* of others there is room until all are too many: then the oldest goes */
	for (unsigned n = EACH + 1; n < 2 * EACH + 1; n++)
		fd[n] = raw_from(n, &at);
	turns(&refusals, 1);
	cr_assert_eq(refusals, 1);
	matches("too many", "this was the oldest");
	cr_assert_eq(wm_frames_count(f), ALL);
	for (unsigned n = 0; n < 2 * EACH + 1; n++)
		close(fd[n]);
	wm_frames_free(f);
	wm_tls_free(tls);
}
