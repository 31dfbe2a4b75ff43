/* SPDX-License-Identifier: Apache-2.0 */
/* util.h - what every layer needs: clock, cleanup, durations, a growable buffer with a bound, a
 * string-keyed hash table and a 64-bit hash. Threading: no shared state but the hash seed. */
#pragma once
#include "err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define WM_ARRAY_LEN(a)			 (sizeof(a) / sizeof((a)[0]))
#define wm_container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define WM_NS_PER_MS			 1000000ull
#define WM_NS_PER_S			 1000000000ull

static inline void wm_freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(wm_freep)))
void wm_closep(int *fd);
#define _cleanup_close_ __attribute__((cleanup(wm_closep)))

/** Nanoseconds of CLOCK_BOOTTIME: goes on through suspend, the same as bpf_ktime_get_boot_ns(). */
uint64_t wm_clock_ns(void);
/** Milliseconds of the same clock. */
uint64_t wm_clock_ms(void);
/** Seconds since 1970, for people and SOA serials only; never for timers. */
int64_t wm_clock_wall_s(void);
/** Milliseconds since 1970, for deadlines that are stored and outlive the machine's boot: a timer
 * takes what is left of one, once, on the other clock. */
uint64_t wm_clock_wall_ms(void);
/** Random number from the kernel's pool, buffered. Never fails (aborts without getrandom). */
uint64_t wm_random64(void);
/** Random number below @p n (n > 0), without modulo bias that matters. */
uint64_t wm_random_below(uint64_t n);

/** Parse a Go duration ("1h30m", "120000ms", "1.5s", "0") into nanoseconds; Consul's syntax.
 *  @return 0, -EINVAL (syntax, no unit), -ERANGE. May be negative in @p ret_ns. */
int wm_duration_parse(const char *s, int64_t *ret_ns);
/** Go's String() of a duration ("1h30m0s", "10s", "1.5s", "100ms", "0s"). @p buf at least 40. */
void wm_duration_format(int64_t ns, char *buf, size_t cap);

/* --- growable buffer --- */
struct wm_buf {
	char *data;	      /* NUL-terminated whenever non-NULL */
	size_t len, cap, max; /* octets; max: bound given at init */
	bool failed; /* an append did not fit or memory ran out; contents are then incomplete */
};
void wm_buf_init(struct wm_buf *b, size_t max);
void wm_buf_done(struct wm_buf *b);
/** Forget the contents, keep the memory. */
void wm_buf_reset(struct wm_buf *b);
/** Make room for @p more octets behind b->len and a NUL, so that they may be written directly.
 *  @return false and b->failed when over max or out of memory. */
bool wm_buf_reserve(struct wm_buf *b, size_t more);
/** Append; sets b->failed and returns false when over max or out of memory. Cost amortised O(n). */
bool wm_buf_put(struct wm_buf *b, const void *data, size_t len);
bool wm_buf_puts(struct wm_buf *b, const char *s);
bool wm_buf_putc(struct wm_buf *b, char c);
bool wm_buf_printf(struct wm_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- hash of bytes under a per-process random key (flood-safe) --- */
uint64_t wm_hash(const void *data, size_t len);
/** FNV-1a 64: the same on every machine and start. For ids that are stored or shown, not for
 * tables. */
uint64_t wm_hash_stable(const void *data, size_t len);

/* --- hash table: borrowed string keys -> borrowed values, open addressing, grows to max --- */
struct wm_map;
/** @param max entries it may hold at most. @return NULL without memory. */
struct wm_map *wm_map_new(size_t max);
void wm_map_free(struct wm_map *m); /* keys and values are the owner's */
size_t wm_map_len(const struct wm_map *m);
/** Bytes of memory that the table itself takes. */
size_t wm_map_bytes(const struct wm_map *m);
void *wm_map_get(const struct wm_map *m, const void *key, size_t key_len);
/** Insert or replace; @p key must live as long as the entry (usually inside @p value).
 *  @return 0, -ENOMEM, -ENOSPC. @p ret_old (may be NULL): replaced value or NULL. */
int wm_map_put(struct wm_map *m, const void *key, size_t key_len, void *value, void **ret_old);
/** Remove. @return the value or NULL. */
void *wm_map_del(struct wm_map *m, const void *key, size_t key_len);
/** Walk: start with *pos = 0, ends with NULL. Deleting the entry just returned is allowed. */
void *wm_map_next(const struct wm_map *m, size_t *pos);
