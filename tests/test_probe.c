/* tests/test_probe.c: the kernel that only reads, and the probe made of it. */
#include "simd/kernels.h"
#include "terse/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Whole words, high and low bits: 32-bit sums, or a lost tail, would show. */
static void every_tier_adds_up_every_word(void **state)
{
    (void)state;
    static const uint32_t tiers[] = { TERSE_CPU_SCALAR, TERSE_CPU_AVX2, TERSE_CPU_AVX512 };
    enum { SIZE = 8192 };
    uint64_t *x = aligned_alloc(64, SIZE);
    assert_non_null(x);
    for (int t = 0; t < 3; t++) {
        terse_kernels k;
        if (!(terse_cpu_tiers() & tiers[t]))
            continue;
        terse_kernels_for(&k, TERSE_CPU_SCALAR | tiers[t]);
        for (size_t size = 0; size <= SIZE; size += size < 1200 ? 64 : 448) {
            uint64_t want = 0;
            for (uint64_t i = 0; i < SIZE / 8; i++) {
                x[i] = (i * i + 1) << 40 | i;
                want += i < size / 8 ? x[i] : 0;
            }
            assert_true(k.vec.read(x, size) == want);
        }
        memset(x, 0xff, SIZE); /* each word is -1 */
        assert_true(k.vec.read(x, SIZE) == (uint64_t)0 - SIZE / 8);
    }
    free(x);
}

static void reads_at_a_rate_that_exists(void **state)
{
    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++) {
        terse_probe *p;
        terse_error err;
        assert_int_equal(terse_probe_open(&p, threads, 100000, 0, &err), TERSE_OK);
        assert_true(terse_probe_size(p) >= 100000 && terse_probe_size(p) < 100000 + 64 * 3);
        for (int round = 0; round < 3; round++) {
            const double rate = terse_probe_read(p);
            assert_true(rate > 0.001 && rate < 1e5);
        }
        terse_probe_close(&p);
        assert_null(p);
    }
}

static void what_cannot_be_is_told(void **state)
{
    (void)state;
    terse_probe *p;
    terse_error err;
    assert_int_equal(terse_probe_open(&p, -1, 0, 0, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_probe_open(&p, 2000, 0, 0, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_probe_open(&p, 1, SIZE_MAX, 0, &err), TERSE_NOMEM);
    assert_null(p);
    assert_int_equal(terse_probe_open(&p, 1, SIZE_MAX / 4, 0, NULL), TERSE_NOMEM);
    terse_probe_close(&p);
    terse_probe_close(NULL);
}

static void caches_grow_by_level(void **state)
{
    (void)state;
    assert_int_equal(terse_cache_of(0).n, 0);
    assert_int_equal(terse_cache_of(4).n, 0);
    size_t below = 0;
    for (int32_t level = 1; level <= 3; level++) {
        const terse_cache c = terse_cache_of(level);
        assert_true((c.n > 0) == (c.size > 0));
        if (c.n == 0) /* a machine that does not tell, or has none of this level */
            continue;
        assert_true(c.size >= below);
        below = c.size;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_adds_up_every_word),
        cmocka_unit_test(reads_at_a_rate_that_exists),
        cmocka_unit_test(what_cannot_be_is_told),
        cmocka_unit_test(caches_grow_by_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
