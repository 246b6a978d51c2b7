/* tests/checkkernel.h: what the families of checkkernel share. A family compares the kernels of one tier with
 * the scalar tier, bit for bit, and measures them. A new family is one file check_NAME.c and one line in
 * checkkernel.c. */
#ifndef TERSE_TESTS_CHECKKERNEL_H
#define TERSE_TESTS_CHECKKERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simd/kernels.h"

typedef struct {
    const char *tier;   /* name of the tier under test */
    const char *match;  /* --match: only kernels whose name has this in it; NULL: all */
    uint64_t rng;       /* state of check_bits */
    int64_t n_compared; /* values compared so far */
    terse_kernels want; /* the scalar tier */
    terse_kernels got;  /* the tier under test (scalar too, when that is measured) */
} checkkernel;

/* The families: false once anything differs, after saying what. Benchmarks print by check_time. */
bool check_dot(checkkernel *c);
void bench_dot(checkkernel *c);
bool check_vec(checkkernel *c);
void bench_vec(checkkernel *c);
bool check_attn(checkkernel *c);
void bench_attn(checkkernel *c);
bool check_summary(checkkernel *c);
void bench_summary(checkkernel *c);

/* Whether --match selects the kernel of this name. */
bool check_wanted(const checkkernel *c, const char *name);

/* Random: 64 bits; an integer 0..n-1; a float in [-1, 1); any float at all, one in eight of them zero,
 * denormal, huge, infinite or NaN. */
uint64_t check_bits(checkkernel *c);
int32_t check_below(checkkernel *c, int32_t n);
float check_float(checkkernel *c);
float check_wild(checkkernel *c);

/* size bytes, filled with 0xa5, whose last one is followed by a page that cannot be read or written, as is
 * their page before. 64-byte aligned if size is a multiple of 64. Ends the program if there is no memory. */
void *check_alloc(size_t size);
void check_free(void *p, size_t size);

/* Whether got[n] has the bits of want[n], NaN being equal to NaN. If not, prints the first difference and what
 * is being compared (a printf format). */
bool check_floats(checkkernel *c, const float *want, const float *got, size_t n, const char *what, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for bytes. */
bool check_bytes(checkkernel *c, const void *want, const void *got, size_t n, const char *what, ...)
    __attribute__((format(printf, 5, 6)));

/* Calls fn(ctx) until the time is well known and prints ns per call (the best quarter's median), and with bytes
 * or ops > 0, counted per call, GB/s and GOP/s. */
void check_time(const checkkernel *c, const char *name, double bytes, double ops, void (*fn)(void *),
                void *ctx);

#endif
