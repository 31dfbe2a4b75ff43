/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
#include "registry_help.h"
#include "userspace/base/buf.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/store/record.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	cr_assert_eq(system(cmd), 0, "%s", cmd);
}

/* An instance with every field in use; @p n varies them. */
static void put_rich(struct wm_registry *r, unsigned n)
{
	char id[32], name[32], port_text[32], check_id[3][48];
	struct wm_pair headers[2] = {{mut("X-A"), mut("1")}, {mut("X-A"), mut("2")}};
	struct wm_pair meta[2] = {{mut("zone"), mut("z1")}, {mut("empty"), mut("")}};
	struct wm_tagged_address tagged[2] = {{mut("wan"), mut("198.51.100.4"), 19001},
					      {mut("lan"), mut("::1"), 1}};
	const char *tags[] = {"blue", "", "v7"};
	struct wm_check_draft c[3] = {
		{.kind = WM_CHECK_TTL,
		 .ttl_ms = 1000 + n,
		 .notes = "beats\nand beats",
		 .has_status = n % 2,
		 .status = WM_WARNING,
		 .deregister_after_ms = 60000},
		{.kind = WM_CHECK_TCP,
		 .target = "[::1]:80",
		 .interval_ms = 10000,
		 .timeout_ms = 500,
		 .use_tls = n % 2 == 0,
		 .output = "none yet",
		 .success_before_passing = 2,
		 .failures_before_warning = 1,
		 .failures_before_critical = 3},
		{.kind = WM_CHECK_HTTP,
		 .target = "https://example.org:8443/health?x=1",
		 .method = "POST",
		 .body = "{}",
		 .headers = headers,
		 .headers_count = 2,
		 .interval_ms = 5000,
		 .tls_skip_verify = true,
		 .disable_redirects = n % 3 == 0,
		 .tls_server_name = "example.org"},
	};
	const struct wm_pair proxy[] = {{(char[]){"DestinationServiceName"}, (char[]){"w"}},
					{(char[]){"Config"}, (char[]){"{\"a\":[1]}"}}};
	const struct wm_traits traits = {.region = "eu",
					 .zone = n & 1 ? "eu-1" : NULL,
					 .kind = n % 3 == 1 ? "connect-proxy" : NULL,
					 .socket_path = n & 2 ? "/run/x.sock" : NULL,
					 .proxy = proxy,
					 .proxy_count = n % 3,
					 .native = n % 3 == 2,
					 .sidecar = n & 4};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = n % 4 == 0   ? ""
						 : n % 4 == 1 ? "10.2.0.1"
						 : n % 4 == 2 ? "fd00::2"
							      : "db.example.org",
				      .port = 1000 + n,
				      .has_weights = true,
				      .weight_passing = n + 1,
				      .weight_warning = 3,
				      .tags = tags,
				      .tags_count = 3,
				      .meta = meta,
				      .meta_count = 2,
				      .tagged = tagged,
				      .tagged_count = 2,
				      .enable_tag_override = n & 1,
				      .traits = n % 3 ? &traits : NULL,
				      .checks = c,
				      .checks_count = n % 4};

	(void)port_text;
	snprintf(id, sizeof(id), "id-%u", n);
	snprintf(name, sizeof(name), n & 1 ? "Svc-%u" : "svc-%u", n % 7);
	for (unsigned k = 0; k < 3; k++) {
		snprintf(check_id[k], sizeof(check_id[k]), "chk %u/%u", n, k);
		c[k].id = k == 1 ? check_id[k] : NULL;
	}
	cr_assert_eq(put_draft(r, &d), 0);
}

static void fill(struct wm_registry *r, unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		put_rich(r, n);
}

Test(store, recovers_every_field, .fini = rm_dir)
{
	struct wm_registry *r;
	struct stat st;
	char *before, *after;
	uint64_t index;

	make_dir();
	r = open_at(db);
	fill(r, 60);
	for (unsigned n = 0; n < 60; n += 5) {
		char id[32];

		snprintf(id, sizeof(id), "id-%u", n);
		cr_assert_eq(del(r, id), 0);
	}
	put_rich(r, 5);
	wm_registry_set_status(r, wm_registry_check(r, "service:id-7:1"), WM_CRITICAL, "gone");
	wm_registry_set_status(r, wm_registry_check(r, "chk 7/1"), WM_PASSING, "200 OK");
	before = show(r);
	index = wm_registry_index(r);
	wm_registry_close(r);

	cr_assert_eq(stat(db, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	*strrchr(db, '/') = 0;
	cr_assert_eq(stat(db, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	db[strlen(db)] = '/';
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(wm_registry_index(r), index, "a clean restart goes on where it was");
	free(before);
	free(after);
	wm_registry_close(r);
}

Test(store, recovers_ten_thousand, .fini = rm_dir)
{
	struct wm_registry *r;
	struct answer a = {0};
	char *before, *after;
	char id[32], name[32];
	struct wm_check_draft c = {.kind = WM_CHECK_TTL, .ttl_ms = 1000};
	struct wm_instance_draft d = {
		.id = id, .name = name, .checks = &c, .checks_count = 1, .port = 9};

	make_dir();
	r = open_at(db);
	for (unsigned n = 0; n < 10000; n++) {
		snprintf(id, sizeof(id), "id-%u", n);
		snprintf(name, sizeof(name), "svc-%u", n % 1000);
		cr_assert_eq(wm_registry_register(r, &d, answered, &a, NULL), 0);
		if (n % 1000 == 999)
			wm_registry_flush(r);
	}
	cr_assert_eq(a.called, 10000);
	cr_assert_eq(wm_registry_instances(r), 10000);
	cr_assert_eq(wm_registry_services(r), 1000);
	before = show(r);
	wm_registry_close(r);
	r = open_at(db);
	after = show(r);
	cr_assert(strcmp(before, after) == 0);
	free(before);
	free(after);
	wm_registry_close(r);
}

/* The next run has what this one had. */
static struct wm_registry *reopened(struct wm_registry *r)
{
	char *before = show(r), *after;

	wm_registry_close(r);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	free(before);
	free(after);
	return r;
}

/* The directory of the store on a file system of 1 MB of this process' own. */
static void mount_small(void)
{
	char state[96];

	make_dir();
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	snprintf(state, sizeof(state), "%s/state", dir);
	cr_assert_eq(mkdir(state, 0700), 0);
	cr_assert_eq(mount("tmpfs", state, "tmpfs", 0, "size=1m"), 0);
}

static void unmount_small(void)
{
	char state[96];

	snprintf(state, sizeof(state), "%s/state", dir);
	umount2(state, MNT_DETACH);
	rm_dir();
}

static void write_ballast(void)
{
	char path[128], block[4096] = {1};
	int fd;

	snprintf(path, sizeof(path), "%s/state/ballast", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
}

static void drop_ballast(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state/ballast", dir);
	cr_assert_eq(unlink(path), 0);
}

Test(store, full_file_system_changes_nothing, .fini = unmount_small)
{
	struct answer a[8] = {0};
	struct wm_registry_stats st;
	const struct wm_instance *i;
	struct wm_registry *r;
	struct wm_buf b;
	char *before, *after;
	uint64_t index;
	struct wm_check_draft big = {.id = "chk 1/1", .kind = WM_CHECK_TTL, .ttl_ms = 5};
	struct wm_instance_draft d[4] = {
		{.id = "id-1", .name = "svc-1", .checks = &big, .checks_count = 1},
		{.id = "id-2", .name = "brand-new", .port = 7},
		{.id = "new", .name = "svc-new"},
		{.id = "id-3", .name = "svc-3", .port = 77, .replace_checks = true},
	};

	mount_small();
	r = open_at(db);
	fill(r, 12);
	wm_registry_set_status(r, wm_registry_check(r, "service:id-3:1"), WM_PASSING, "up");
	i = wm_registry_instance(r, "id-1");
	before = show(r);
	index = wm_registry_index(r);
	wm_buf_init(&b, 65536);
	wm_registry_subscribe(r, record_change, &b);
	write_ballast();
	/* pages of the log may be reused for a while: fill them up, then every write must fail */
	for (int n = 0; n < 200; n++) {
		struct wm_instance_draft x = {.id = "tmp", .name = "tmp", .port = 1 + (n & 1)};
		int code = put_draft(r, &x);

		if (code) {
			cr_assert_eq(code, -ENOSPC);
			break;
		}
		cr_assert_lt(n, 199, "the file system was never full");
		free(before);
		before = show(r);
		index = wm_registry_index(r);
	}
	wm_buf_reset(&b);
	for (int n = 0; n < 4; n++)
		cr_assert_eq(wm_registry_register(r, &d[n], answered, &a[n], NULL), 0);
	wm_registry_deregister(r, "id-4", answered, &a[4], NULL);
	wm_registry_deregister(r, "none", answered, &a[5], NULL);
	/* the last of its service goes, another comes */
	wm_registry_deregister(r, "id-6", answered, &a[6], NULL);
	wm_registry_deregister(r, "id-5", answered, &a[7], NULL);
	wm_registry_flush(r);
	for (int n = 0; n < 8; n++) {
		cr_assert_eq(a[n].called, 1);
		/* also who may have been refused for what the others did */
		cr_assert_eq(a[n].code, -ENOSPC, "%d %s", n, a[n].text);
	}
	cr_assert_not_null(strstr(a[0].text, "no space left"), "%s", a[0].text);
	after = show(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(b.len, 0, "%s", b.data);
	cr_assert_eq(wm_registry_index(r), index);
	cr_assert_eq(wm_registry_instance(r, "id-1"), i);
	wm_registry_stats(r, &st);
	cr_assert_gt(st.failed_commits, 0);
	cr_assert_not_null(strstr(st.last_error, "no space left"));
	/* statuses go on without room */
	cr_assert_eq(wm_registry_set_status(r, wm_registry_check(r, "chk 2/1"), WM_PASSING, ""), 1);
	drop_ballast();
	for (int n = 0; n < 4; n++)
		cr_assert_eq(put_draft(r, &d[n]), 0);
	cr_assert_eq(del(r, "id-4"), 0);
	free(before);
	free(after);
	r = reopened(r);
	wm_buf_done(&b);
	wm_registry_close(r);
}

/* What a killed run acknowledged is in the log alone, and stays there whatever fails before the
 * first commit of this one. */
Test(store, a_full_disk_is_begun_with, .fini = unmount_small)
{
	struct wm_registry_stats st;
	struct rlimit l, none;
	struct wm_registry *r;
	char *before, *after;
	pid_t pid;

	mount_small();
	signal(SIGXFSZ, SIG_IGN);
	pid = fork();
	if (pid == 0) {
		r = open_at(db);
		_exit(put(r, "a", "svc-a", 1) || put(r, "b", "svc-b", 2));
	}
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	write_ballast();
	r = open_at(db);
	cr_assert_eq(wm_registry_instances(r), 2);
	cr_assert_eq(put(r, "c", "svc-c", 3), -ENOSPC);
	wm_registry_stats(r, &st);
	cr_assert(st.unstored);
	before = show(r);
	drop_ballast();
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	none = l;
	none.rlim_cur = 1000;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	cr_assert_eq(put(r, "c", "svc-c", 3), WM_E_STORE);
	after = show(r);
	cr_assert_str_eq(before, after);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
	cr_assert_eq(put(r, "c", "svc-c", 3), 0);
	wm_registry_stats(r, &st);
	cr_assert_not(st.unstored);
	cr_assert_eq(st.store.heals, 1);
	cr_assert_eq(st.store.rewrites, 0);
	free(before);
	free(after);
	r = reopened(r);
	wm_registry_close(r);
}

/* The disk has lost a part of the log that was synced: noticed after the next error, and written
 * again from memory. */
Test(store, a_lost_log_is_written_again, .fini = rm_dir)
{
	struct wm_registry_stats st;
	struct wm_registry *r;
	struct rlimit l, none;
	char *before, *after;

	make_dir();
	signal(SIGXFSZ, SIG_IGN);
	r = open_at(db);
	fill(r, 20);
	cr_assert_eq(put(r, "last", "svc-last", 1), 0);
	cr_assert_eq(del(r, "id-3"), 0);
	wm_registry_set_status(r, wm_registry_check(r, "service:id-7:1"), WM_WARNING, "so so");
	before = show(r);
	shell("truncate -s -5000 %s-wal", db);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	none = l;
	none.rlim_cur = 1000;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	cr_assert_eq(put(r, "refused", "svc-1", 1), WM_E_STORE);
	cr_assert_eq(put(r, "refused", "svc-1", 1), WM_E_STORE, "the new file cannot be written");
	after = show(r);
	cr_assert_str_eq(before, after);
	free(after);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
	cr_assert_eq(put(r, "new", "svc-1", 1), 0);
	wm_registry_stats(r, &st);
	cr_assert_eq(st.store.rewrites, 1);
	cr_assert_not(st.store.failed);
	free(before);
	r = reopened(r);
	wm_registry_close(r);
}

/* What cannot be moved into the file does not make the log grow for ever. */
Test(store, the_log_is_bounded, .fini = rm_dir)
{
	struct wm_registry_stats st;
	struct wm_registry *r;
	struct stat f;
	char wal[160];

	make_dir();
	r = open_at(db);
	for (unsigned n = 0; n < 3000; n++)
		cr_assert_eq(put(r, "same", "svc", 1 + n % 2), 0);
	wm_registry_stats(r, &st);
	cr_assert_gt(st.store.checkpoints, 0);
	cr_assert_eq(st.store.failed_checkpoints, 0);
	snprintf(wal, sizeof(wal), "%s-wal", db);
	cr_assert_eq(stat(wal, &f), 0);
	cr_assert_lt(f.st_size, 5 << 20);
	wm_registry_close(r);
}

Test(store, statuses_are_coalesced_and_kept, .fini = rm_dir)
{
	struct wm_registry_stats st;
	struct wm_registry *r;
	uint64_t commits;
	char *before, *after;
	struct wm_check *c;

	make_dir();
	r = open_at(db);
	fill(r, 4);
	wm_registry_stats(r, &st);
	commits = st.commits;
	c = wm_registry_check(r, "chk 3/1");
	for (int n = 0; n < 500; n++) {
		cr_assert_eq(wm_registry_set_status(r, c, n % 2 ? WM_CRITICAL : WM_PASSING, "x"),
			     1);
		wm_registry_flush(r);
	}
	wm_registry_stats(r, &st);
	cr_assert_leq(st.commits, commits + 20, "500 results, a commit each 250 ms at most");
	wm_registry_set_status(r, c, WM_PASSING, "in the end");
	usleep(300000);
	cr_assert(wm_registry_flush(r));
	before = show(r);
	/* as after a kill: the file is copied as it stands, and opened elsewhere */
	shell("mkdir %s/copy && cp %s/state/* %s/copy/", dir, dir, dir);
	wm_registry_close(r);
	snprintf(db, sizeof(db), "%s/copy/registry.db", dir);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	free(before);
	free(after);
	wm_registry_close(r);
}

/* A child registers and acknowledges over a pipe until it is killed; all that was acknowledged must
 * be there, and the index must not go back. */
static void kill_round(unsigned round, uint64_t *seen_index, unsigned *total)
{
	struct {
		unsigned n;
		uint64_t index;
	} ack;
	struct wm_registry *r;
	char id[32];
	unsigned acks;
	int p[2];
	pid_t pid;

	cr_assert_eq(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		r = open_at(db);
		for (unsigned n = *total;; n++) {
			snprintf(id, sizeof(id), "k%u", n);
			if (put(r, id, n % 3 ? "even" : id, n % 60000))
				_exit(1);
			ack.n = n;
			ack.index = wm_registry_index(r);
			if (write(p[1], &ack, sizeof(ack)) != sizeof(ack))
				_exit(1);
		}
	}
	close(p[1]);
	/* killed by what was acknowledged, not by time: a slow machine tests the same */
	acks = 2 + (unsigned)wm_random_below(40);
	for (unsigned n = 0; read(p[0], &ack, sizeof(ack)) == sizeof(ack); n++) {
		cr_assert_eq(ack.n, *total);
		cr_assert_gt(ack.index, *seen_index);
		*seen_index = ack.index;
		*total = ack.n + 1;
		if (n + 1 == acks) {
			usleep((useconds_t)wm_random_below(3000));
			kill(pid, SIGKILL);
		}
	}
	waitpid(pid, NULL, 0);
	close(p[0]);
	r = open_at(db);
	cr_assert_geq(wm_registry_index(r), *seen_index, "round %u", round);
	*seen_index = wm_registry_index(r);
	for (unsigned n = 0; n < *total; n++) {
		snprintf(id, sizeof(id), "k%u", n);
		cr_assert_not_null(wm_registry_instance(r, id), "round %u: %s was lost", round, id);
	}
	/* one more may have been committed without its acknowledgement */
	cr_assert_leq(wm_registry_instances(r), *total + 1);
	*total = wm_registry_instances(r);
	wm_registry_close(r);
}

Test(store, nothing_acknowledged_is_lost_by_a_kill, .fini = rm_dir)
{
	uint64_t index = 0;
	unsigned total = 0;

	make_dir();
	for (unsigned round = 0; round < 12; round++)
		kill_round(round, &index, &total);
	cr_assert_gt(total, 20);
}

/* Open what may be damaged. @return the code; a registry that opens must hold @p expected. */
static int try_open(const char *path, const char *expected, struct wm_err *e)
{
	struct wm_registry_config c = config(path);
	struct wm_registry *r = NULL;
	int err = wm_registry_open(&c, &r, e);
	char *is;

	if (err) {
		cr_assert_null(r);
		cr_assert_gt(strlen(e->text), 20);
		return err;
	}
	is = show(r);
	cr_assert(strcmp(is, expected) == 0, "silently wrong");
	free(is);
	wm_registry_close(r);
	return 0;
}

static char *load(const char *path, size_t *ret_len)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	char *p;

	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	p = malloc((size_t)st.st_size);
	*ret_len = (size_t)st.st_size;
	cr_assert_eq(read(fd, p, *ret_len), (ssize_t)*ret_len);
	close(fd);
	return p;
}

static void save(const char *path, const char *p, size_t len)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	cr_assert(fd >= 0 && write(fd, p, len) == (ssize_t)len);
	close(fd);
}

Test(store, flipped_bits_are_told_or_harmless, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_err e = {0};
	char path[160], wal[176], *expected, *good, *bad, *left;
	size_t len, left_len;
	unsigned refused = 0, opened = 0;

	make_dir();
	r = open_at(db);
	fill(r, 30);
	expected = show(r);
	wm_registry_close(r);
	good = load(db, &len);
	bad = malloc(len);
	snprintf(path, sizeof(path), "%s/bad.db", dir);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	for (size_t at = 0; at < len; at += at < 4096 ? 16 : 64) {
		memcpy(bad, good, len);
		bad[at + (at / 64) % 13] ^= (char)(1 << (at / 64 % 8));
		unlink(wal);
		save(path, bad, len);
		if (!try_open(path, expected, &e)) {
			opened++;
			continue;
		}
		refused++;
		cr_assert_not_null(strstr(e.text, path), "names the file: %s", e.text);
		left = load(path, &left_len);
		cr_assert(left_len == len && memcmp(left, bad, len) == 0, "left as it was");
		free(left);
	}
	cr_assert_gt(refused, opened / 4, "%u refused, %u opened", refused, opened);
	free(good);
	free(bad);
	free(expected);
}

Test(store, truncated_file_is_damage, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_err e = {0};
	char *expected, *good, wal[160];
	size_t len;

	make_dir();
	r = open_at(db);
	fill(r, 30);
	expected = show(r);
	wm_registry_close(r);
	snprintf(wal, sizeof(wal), "%s-wal", db);
	good = load(db, &len);
	for (size_t n = 0; n < len; n += n < 600 ? 50 : 1999) {
		unlink(wal);
		save(db, good, n);
		cr_assert_eq(try_open(db, expected, &e), WM_E_STORE_DAMAGED, "%zu: %s", n, e.text);
		cr_assert_not_null(strstr(e.text, "move it away"), "%s", e.text);
	}
	unlink(wal);
	save(db, good, len);
	cr_assert_eq(try_open(db, expected, &e), 0, "%s", e.text);
	free(good);
	free(expected);
}

Test(store, other_versions_and_files_are_refused, .fini = rm_dir)
{
	struct wm_registry *r;
	struct wm_err e = {0};

	make_dir();
	r = open_at(db);
	put(r, "a", "web", 1);
	wm_registry_close(r);
	shell("sqlite3 %s \"UPDATE meta SET value=3 WHERE key='schema'\"", db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_VERSION);
	cr_assert_not_null(strstr(e.text, "newer"));
	shell("sqlite3 %s \"UPDATE meta SET value='x' WHERE key='schema'\"", db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	shell("sqlite3 %s \"UPDATE meta SET value=2 WHERE key='schema';"
	      "UPDATE instances SET row=9\"",
	      db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	cr_assert_not_null(strstr(e.text, "row 9 of table instances has a wrong checksum"), "%s",
			   e.text);
	shell("sqlite3 %s \"UPDATE instances SET row=1; DELETE FROM services\"", db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	shell("sqlite3 %s \"DELETE FROM instances; DELETE FROM meta WHERE key='state';"
	      "INSERT INTO services VALUES(1,x'00')\"",
	      db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	shell("rm %s; sqlite3 %s 'CREATE TABLE x(y)'", db, db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	cr_assert_not_null(strstr(e.text, "another program"));
	shell("echo hello there, this is text > %s", db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	shell("rm %s; echo frames > %s-wal", db, db);
	cr_assert_eq(try_open(db, "", &e), WM_E_STORE_DAMAGED);
	cr_assert_not_null(strstr(e.text, "missing"));
	shell("rm %s-wal; mkdir %s", db, db);
	cr_assert_lt(try_open(db, "", &e), 0);
}

/* A file of schema 2, opened by a program whose newest is 4. */
Test(store, an_older_schema_is_migrated_and_a_copy_is_kept, .fini = rm_dir)
{
	static const struct wm_store_migration good[] = {
		{3, "UPDATE sizes SET octets=octets+1"},
		{2, "CREATE TABLE sizes(row INTEGER PRIMARY KEY, octets INTEGER);"
		    "INSERT INTO sizes SELECT row, length(payload) FROM instances"},
		{0, NULL}};
	static const struct wm_store_migration fails[] = {{2, "CREATE TABLE sizes(row, octets)"},
							  {3, "INSERT INTO nowhere VALUES(1)"},
							  {0, NULL}};
	static const struct wm_store_migration gap[] = {{3, "SELECT 1"}, {0, NULL}};
	struct wm_err e = {0};
	struct wm_registry *r;
	char *before, *after;

	make_dir();
	r = open_at(db);
	fill(r, 30);
	before = show(r);
	/* as after a kill: the log holds what the file does not */
	shell("mkdir %s/copy && cp %s/state/* %s/copy/", dir, dir, dir);
	wm_registry_close(r);
	snprintf(db, sizeof(db), "%s/copy/registry.db", dir);

	wm_store_use_migrations(fails, 4);
	cr_assert_eq(try_open(db, NULL, &e), WM_E_STORE);
	cr_assert_not_null(strstr(e.text, "from schema 3 to 4"), "%s", e.text);
	wm_store_use_migrations(gap, 4);
	cr_assert_eq(try_open(db, NULL, &e), WM_E_STORE);
	cr_assert_not_null(strstr(e.text, "no such step"), "%s", e.text);
	/* neither did anything */
	shell("test $(sqlite3 %s \"SELECT value FROM meta WHERE key='schema'\") = 2", db);
	shell("! sqlite3 %s 'SELECT * FROM sizes' 2>/dev/null", db);

	wm_store_use_migrations(good, 4);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	wm_registry_close(r);
	free(after);
	shell("test $(sqlite3 %s \"SELECT value FROM meta WHERE key='schema'\") = 4", db);
	shell("test $(sqlite3 %s 'SELECT count(*) FROM sizes JOIN instances USING(row) WHERE "
	      "octets=length(payload)+1') = 30",
	      db);
	/* the copy is what it was, for its owner alone, and the older program opens it */
	shell("test $(stat -c %%a %s.before-3) = 600", db);
	wm_store_use_migrations(NULL, 0);
	cr_assert_eq(try_open(db, NULL, &e), WM_E_STORE_VERSION);
	shell("cp %s.before-3 %s", db, db);
	r = open_at(db);
	after = show(r);
	cr_assert_str_eq(before, after);
	wm_registry_close(r);
	free(before);
	free(after);
}

Test(store, one_process_at_a_time, .fini = rm_dir)
{
	struct wm_registry_config c;
	struct wm_registry *r, *second = NULL;
	struct wm_err e = {0};

	make_dir();
	r = open_at(db);
	c = config(db);
	cr_assert_eq(wm_registry_open(&c, &second, &e), -EBUSY, "%s", e.text);
	cr_assert_not_null(strstr(e.text, "in use by another process"));
	cr_assert_eq(put(r, "a", "web", 1), 0);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_not_null(wm_registry_instance(r, "a"));
	wm_registry_close(r);
}

Test(store, a_directory_that_cannot_be_written_is_told, .fini = unmount_small)
{
	struct wm_err e = {0};
	char state[96];

	mount_small();
	snprintf(state, sizeof(state), "%s/state", dir);
	cr_assert_eq(mount(NULL, state, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	cr_assert_eq(try_open(db, "", &e), -EROFS);
	cr_assert_not_null(strstr(e.text, "Read-only"), "%s", e.text);
}

/* Agents that know only earlier versions must be able to read all that does not need a later one,
 * and be told about the rest. */
Test(store_record, a_record_has_the_lowest_version_that_can_hold_it)
{
	static const char *const args[] = {"/bin/a", "b c", ""};
	static const char *const told[] = {"UDP=a:1", "GRPCUseTLS=true"};
	static const struct {
		struct wm_check_draft c;
		int version;
	} all[] = {
		{{.kind = WM_CHECK_TCP, .target = "a:1", .interval_ms = 1}, 1},
		{{.kind = WM_CHECK_TCP, .target = "a:1", .interval_ms = 1, .use_tls = true}, 2},
		{{.kind = WM_CHECK_UDP, .target = "a:1", .interval_ms = 1}, 2},
		{{.kind = WM_CHECK_TCP, .target = "a:1", .interval_ms = 1, .output_max = 9}, 3},
		{{.kind = WM_CHECK_ALIAS, .target = ""}, 3},
		{{.kind = WM_CHECK_SCRIPT, .args = args, .args_count = 3, .interval_ms = 1}, 3},
		{{.kind = WM_CHECK_H2PING, .target = "a:1", .use_tls = true, .interval_ms = 1}, 3},
		{{.kind = WM_CHECK_STATED, .target = "a:1"}, WM_RECORD_VERSION_CATALOG},
		{{.kind = WM_CHECK_STATED, .args = told, .args_count = 2},
		 WM_RECORD_VERSION_STATED},
	};
	static struct wm_record_instance r;

	for (unsigned n = 0; n < WM_ARRAY_LEN(all); n++) {
		const struct wm_check_draft *c = &all[n].c;
		struct wm_instance_draft d = {.name = "web", .checks = c, .checks_count = 1};
		struct wm_buf b;
		struct wm_instance *i, *again;
		const char *why = "";

		i = wm_instance_build(&d);
		cr_assert(i);
		wm_box(i)->service_name = "web";
		wm_buf_init(&b, WM_RECORD_MAX);
		cr_assert_eq(wm_record_put_instance(&b, 7, i), 0);
		cr_assert_eq(b.data[2], all[n].version, "%u: %d", n, b.data[2]);
		cr_assert_eq(wm_record_open(b.data, b.len, 7, WM_RECORD_INSTANCE, &why), 0, "%s",
			     why);
		cr_assert_eq(
			wm_record_get_instance(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &r),
			0);
		r.d.name = "web";
		again = wm_instance_build(&r.d);
		cr_assert(again && wm_check_same(i->checks[0], again->checks[0]));
		cr_assert_eq(again->checks[0]->args_count, c->args_count);
		cr_assert_eq(again->checks[0]->output_max, c->output_max);
		for (unsigned k = 0; k < c->args_count && k < WM_ARRAY_LEN(args); k++)
			cr_assert_str_eq(again->checks[0]->args[k], c->args[k]);
		wm_instance_free(again, true);
		b.data[2] = WM_RECORD_VERSION + 1;
		cr_assert_eq(wm_record_open(b.data, b.len, 7, WM_RECORD_INSTANCE, &why),
			     WM_E_STORE_VERSION);
		b.data[2] = 0;
		cr_assert_eq(wm_record_open(b.data, b.len, 7, WM_RECORD_INSTANCE, &why),
			     WM_E_STORE_DAMAGED);
		wm_buf_done(&b);
		wm_instance_free(i, true);
	}
}

Test(store_record, traits_are_kept_and_told_to_older_agents)
{
	const struct wm_pair proxy[] = {{(char[]){"Mode"}, (char[]){"direct"}},
					{(char[]){"Config"}, (char[]){"{\"a\":1}"}}};
	const struct wm_traits t = {
		.region = "eu", .kind = "odd", .proxy = proxy, .proxy_count = 2, .native = true};
	static struct wm_record_instance r;
	struct wm_instance_draft d = {.name = "web", .traits = &t};
	struct wm_instance *i = wm_instance_build(&d), *again;
	struct wm_buf b;

	cr_assert(i);
	wm_buf_init(&b, WM_RECORD_MAX);
	cr_assert_eq(wm_record_put_instance(&b, 7, i), 0);
	cr_assert_eq(b.data[2], WM_RECORD_VERSION_TRAITS);
	cr_assert_eq(wm_record_get_instance(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &r),
		     0);
	again = wm_instance_build(&r.d);
	cr_assert(again && wm_instance_same(i, again));
	cr_assert_str_eq(again->traits->region, "eu");
	cr_assert_str_eq(again->traits->zone, "");
	cr_assert_str_eq(wm_instance_proxy(again, "Config"), "{\"a\":1}");
	cr_assert_null(wm_instance_proxy(again, "Upstreams"));
	wm_instance_free(again, true);
	wm_buf_done(&b);
	wm_instance_free(i, true);
}

/* What says no priority is written as by agents that knew of none. */
Test(store_record, a_version_has_a_priority_if_it_is_not_0)
{
	static const struct wm_peer_id writer = {{1}};
	static struct wm_record_instance r;
	struct wm_instance *i = wm_instance_build(&(struct wm_instance_draft){.name = "web"});
	struct wm_node node = {.name = (char[]){"out"}};
	struct wm_buf b;

	cr_assert(i);
	i->node = &node;
	wm_buf_init(&b, WM_RECORD_MAX);
	for (unsigned n = 0; n < 4; n++) {
		i->version = (struct wm_version){.origin = WM_ORIGIN_SHARED, .seq = 1};
		i->version.writer = n & 1 ? writer : i->version.writer;
		i->version.priority = n & 2 ? UINT32_MAX : 0;
		cr_assert_eq(wm_record_put_instance(&b, 7, i), 0);
		cr_assert_eq(b.data[2], n & 2	? WM_RECORD_VERSION_RANK
					: n & 1 ? WM_RECORD_VERSION_WRITER
						: WM_RECORD_VERSION_ORIGIN);
		cr_assert_eq(wm_record_get_catalog_instance(b.data + WM_RECORD_HEAD,
							    b.len - WM_RECORD_HEAD, &r),
			     0);
		cr_assert_eq(r.version.priority, i->version.priority);
		cr_assert_eq(r.version.seq, 1);
		cr_assert(wm_peer_id_same(&r.version.writer, &i->version.writer));
	}
	wm_buf_done(&b);
	wm_instance_free(i, true);
}

Test(store_record, a_tombstone_has_the_version_of_what_went_if_that_had_one)
{
	static const char *const semver[] = {NULL, "", "2.0.0"};
	struct wm_record_tombstone t = {.node = "out", .id = "a", .service = "web"}, r;
	struct wm_buf b;

	t.version = (struct wm_version){.origin = WM_ORIGIN_SHARED, .seq = 1};
	wm_buf_init(&b, WM_RECORD_MAX);
	for (unsigned n = 0; n < WM_ARRAY_LEN(semver); n++) {
		t.semver = semver[n];
		cr_assert_eq(wm_record_put_tombstone(&b, 7, &t), 0);
		cr_assert_eq(b.data[2], n ? WM_RECORD_VERSION_RANK : WM_RECORD_VERSION_ORIGIN);
		cr_assert_eq(wm_record_get_tombstone(b.data + WM_RECORD_HEAD,
						     b.len - WM_RECORD_HEAD, &r),
			     0);
		cr_assert_eq(!r.semver, !semver[n]);
		cr_assert(!n || strcmp(r.semver, semver[n]) == 0);
	}
	wm_buf_done(&b);
}

/* Agents before took a weight of 0 for one. */
Test(store_record, a_stored_weight_of_0_is_read_as_1)
{
	static struct wm_record_instance r;
	struct wm_instance_draft d = {.name = "web", .has_weights = true};
	struct wm_instance *i = wm_instance_build(&d);
	struct wm_buf b;

	cr_assert(i && !i->weight_passing);
	wm_buf_init(&b, WM_RECORD_MAX);
	cr_assert_eq(wm_record_put_instance(&b, 7, i), 0);
	cr_assert_eq(wm_record_get_instance(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &r),
		     0);
	cr_assert_eq(r.d.weight_passing, 1);
	cr_assert_eq(r.d.weight_warning, 0);
	wm_buf_done(&b);
	wm_instance_free(i, true);
}
