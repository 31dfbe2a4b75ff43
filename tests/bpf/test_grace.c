/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* That the wait for programs is one: a program that runs for long has ended when it returns. */
#include "plane_fixture.h"
#include "userspace/resolution/grace.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#define COPIED (16 << 20) /* octets of one copy: some milliseconds */
#define COPIES 20
#define TRIES  20

static volatile uint64_t *marks; /* the program has begun; has ended */

static int map_of(uint32_t size, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = flags);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "grace", 4, size, 1, &o);

	cr_assert_geq(fd, 0, "%s", strerror(errno));
	return fd;
}

#define INSN(c, d, s, o, i)                                                                        \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}
#define LD_MAP(d, what, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, d, what, 0, fd), INSN(0, 0, 0, 0, 0)

/* Marks that it has begun, copies COPIES times, marks that it has ended. */
static int load(int flags, int from, int to)
{
	const struct bpf_insn insns[] = {
		LD_MAP(7, BPF_PSEUDO_MAP_VALUE, flags),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 7, 0, 0, 1),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 6, 0, 0, COPIES),
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0), /* again: */
		LD_MAP(1, BPF_PSEUDO_MAP_FD, to),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
		LD_MAP(3, BPF_PSEUDO_MAP_VALUE, from),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_update_elem),
		INSN(BPF_ALU64 | BPF_SUB | BPF_K, 6, 0, 0, 1),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 6, 0, -11, 0),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 7, 0, 8, 1),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	char log[8192] = "";
	LIBBPF_OPTS(bpf_prog_load_opts, o, .log_buf = log, .log_size = sizeof(log));
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "grace", "GPL", insns,
			       sizeof(insns) / sizeof(*insns), &o);

	cr_assert_geq(fd, 0, "%s %s", strerror(errno), log);
	return fd;
}

static void *run(void *arg)
{
	uint8_t packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet));

	return bpf_prog_test_run_opts(*(int *)arg, &o) ? arg : NULL;
}

/* @return false: it had ended before the wait began. */
static bool waited_for(int prog)
{
	pthread_t thread;
	uint64_t before, after;
	void *failed;
	int r;

	marks[0] = marks[1] = 0;
	cr_assert_eq(pthread_create(&thread, NULL, run, &prog), 0);
	while (!marks[0])
		sched_yield();
	before = marks[1];
	r = wm_grace_membarrier();
	after = marks[1];
	cr_assert_eq(pthread_join(thread, &failed), 0);
	cr_assert_null(failed);
	cr_assert_eq(r, 0, "%s", strerror(-r));
	cr_assert(after, "it was still running");
	return !before;
}

Test(grace, a_program_that_runs_is_waited_for, .timeout = 300)
{
	int flags = map_of(4096, BPF_F_MMAPABLE), from = map_of(COPIED, 0), to = map_of(COPIED, 0);
	int r = wm_grace_membarrier(), prog = load(flags, from, to), tries = 0;
	void *mem;

	if (r)
		cr_skip("membarrier: %s", strerror(-r));
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, flags, 0);
	cr_assert_neq(mem, MAP_FAILED);
	marks = mem;
	while (!waited_for(prog))
		cr_assert_lt(++tries, TRIES, "it is too short to be met running");
	munmap(mem, 4096);
	close(prog);
	close(flags);
	close(from);
	close(to);
}
