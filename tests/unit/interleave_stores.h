/* SPDX-License-Identifier: Apache-2.0 */
/* interleave_stores.h - the stores of a writer of the tables, one by one. The real one runs once
 * with its memory write-protected: each store meets the protection, is let through by a single
 * step, and is a step of the script that readers are run against (interleave_meet.h). One thread.
 */
#pragma once
#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define MEMORY	  8192 /* octets of all tables */
#define STEPS_MAX 4096
#define DEPTH_MAX 4096
#define TRAP_FLAG 0x100 /* of the x86 flags: trap behind the next instruction */
#define WORDS	  (MEMORY / 8)

struct step {
	uint32_t word; /* number in memory */
	uint64_t was, is;
};

static uint64_t *memory;	     /* of the writer */
static uint64_t stored_words[WORDS]; /* as it was behind the last step */
static uint64_t first_words[WORDS];  /* before the first */
static struct step steps[STEPS_MAX];
static unsigned steps_count;

/* --- the writer's steps ------------------------------------------------------------------------
 */
static void store_note(void)
{
	for (uint32_t i = 0; i < WORDS; i++) {
		if (memory[i] == stored_words[i])
			continue;
		if (steps_count == STEPS_MAX)
			abort();
		steps[steps_count++] = (struct step){i, stored_words[i], memory[i]};
		stored_words[i] = memory[i];
	}
}

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define STORES_ARE_SEEN 1
/* A store met the protection: let this one instruction pass, and see what it stored. */
static void on_store(int signo, siginfo_t *info, void *context)
{
	ucontext_t *c = context;
	uintptr_t at = (uintptr_t)info->si_addr, first = (uintptr_t)memory;

	(void)signo;
	if (at < first || at >= first + MEMORY)
		abort();
	mprotect(memory, MEMORY, PROT_READ | PROT_WRITE);
	c->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_stored(int signo, siginfo_t *info, void *context)
{
	ucontext_t *c = context;

	(void)signo;
	(void)info;
	store_note();
	mprotect(memory, MEMORY, PROT_READ);
	c->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void store_handlers(void)
{
	struct sigaction store = {.sa_sigaction = on_store, .sa_flags = SA_SIGINFO};
	struct sigaction stored = {.sa_sigaction = on_stored, .sa_flags = SA_SIGINFO};

	cr_assert_eq(sigaction(SIGSEGV, &store, NULL), 0);
	cr_assert_eq(sigaction(SIGTRAP, &stored, NULL), 0);
}
#else
#define STORES_ARE_SEEN 0
static void store_handlers(void)
{
}
#endif

static void store_memory(void)
{
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(memory, MAP_FAILED);
	store_handlers();
}

/** From here on each store is a step. */
static void store_begin(void)
{
	memcpy(first_words, memory, MEMORY);
	memcpy(stored_words, memory, MEMORY);
	steps_count = 0;
	mprotect(memory, MEMORY, PROT_READ);
}

static void store_end(void)
{
	mprotect(memory, MEMORY, PROT_READ | PROT_WRITE);
}

/** A store by the kernel, in a system call of the writer. */
static void store_word(uint64_t *at, uint64_t value)
{
	mprotect(memory, MEMORY, PROT_READ | PROT_WRITE);
	*at = value;
	store_note();
	mprotect(memory, MEMORY, PROT_READ);
}
