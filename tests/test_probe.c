/* tests/test_probe.c: the kernel that only reads, and the probe made of it. */
#include "simd/kernels.h"
#include "terse/probe.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Whole words, high and low bits: 32-bit sums, or a lost tail, would show. */
static void every_tier_adds_up_every_word(void **state)
{
    (void)state;
    static const uint32_t tiers[] = { TERSE_CPU_SCALAR, TERSE_CPU_AVX2, TERSE_CPU_AVX512, TERSE_CPU_NEON,
                                      TERSE_CPU_DOTPROD };
    enum { SIZE = 8192 };
    uint64_t *x = aligned_alloc(64, SIZE);
    assert_non_null(x);
    for (int t = 0; t < 5; t++) {
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
            const double blocks = terse_probe_read_blocks(p, 64 << round % 3);
            assert_true(blocks > 0.001 && blocks < 1e5);
        }
        assert_true(terse_probe_read_blocks(p, 100) == 0.0);
        assert_true(terse_probe_read_blocks(p, 0) == 0.0);
        assert_true(terse_probe_read_blocks(p, 8192) == 0.0);
        terse_probe_close(&p);
        assert_null(p);
    }
}

/* More rounds take longer: neither compiler nor table has left the work out. */
static void every_tier_calculates(void **state)
{
    (void)state;
    static const uint32_t tiers[] = { TERSE_CPU_SCALAR, TERSE_CPU_AVX2, TERSE_CPU_AVX512, TERSE_CPU_NEON,
                                      TERSE_CPU_DOTPROD };
    for (int t = 0; t < 5; t++) {
        terse_kernels k;
        int64_t ns[2] = { INT64_MAX, INT64_MAX };
        if (!(terse_cpu_tiers() & tiers[t]))
            continue;
        terse_kernels_for(&k, TERSE_CPU_SCALAR | tiers[t]);
        for (int i = 0; i < 10; i++) {
            const int64_t start = terse_now_ns();
            const float f = k.peak.fma(1 + i % 2 * 20000, 3.0f);
            assert_true(isfinite(f) && f != 0.0f);
            k.peak.dot8(1 + i % 2 * 20000, 3);
            const int64_t taken = terse_now_ns() - start;
            ns[i % 2] = taken < ns[i % 2] ? taken : ns[i % 2];
        }
        assert_true(ns[1] > 20 * ns[0] && ns[1] > 20000);
    }
}

/* The chains come to 2 x seed, whatever they start from: 12 or 16 of one lane (scalar, neon). */
static void sums_are_those_of_the_chains(void **state)
{
    (void)state;
    terse_kernels k;
    terse_kernels_for(&k, terse_cpu_tiers());
    const float chains = k.peak.fma_ops == 2 * 16 || k.peak.fma_ops == 2 * 16 * 4 ? 16 : 12;
    assert_true(fabsf(k.peak.fma(100, 3.0f) - 6.0f * chains) < 1e-3f);
}

static void a_sample_fits_its_clock(void **state)
{
    (void)state;
    for (int32_t threads = 1; threads <= 2; threads++) {
        terse_probe *p;
        terse_sample s = { 0 };
        terse_error err;
        assert_int_equal(terse_probe_open(&p, threads, 100000, 0, &err), TERSE_OK);
        const int64_t start = terse_now_ns();
        terse_probe_begin(p, &s);
        for (int64_t from = terse_now_ns(); terse_now_ns() < from + 5000000;) /* one thread is busy */
            ;
        terse_probe_end(p, &s);
        assert_true(s.ns >= 5000000 && s.ns <= terse_now_ns() - start);
        assert_true(s.cpu_share > 0.0 && s.cpu_share < 2.0); /* two clocks, read one after the other */
        assert_true(s.core_share > 0.0 && s.core_share < 2.0);
        assert_true(s.read > 0.0 && s.fma > 0.0 && s.int8 > 0.0);
        assert_true(threads > 1 ? s.fma_ratio > 0.0 : s.fma_ratio == 1.0);
        assert_int_equal(s.own, s.core_share >= TERSE_OWN_CORE && s.fma_ratio >= TERSE_OWN_FMA * threads);
        terse_probe_close(&p);
    }
}

static void only_own_samples_count(void **state)
{
    (void)state;
    double room[4], x[] = { 4, 1, 2, 3 };
    const terse_spread q = terse_spread_of(x, 4);
    assert_true(q.n == 4 && q.mean == 2.5 && q.median == 2.5 && q.q1 == 1.75 && q.q3 == 3.25);
    assert_true(fabs(q.stddev - sqrt(5.0 / 3.0)) < 1e-12 && x[0] == 1);
    terse_sample s[] = { { .ns = 1000, .read = 1, .own = true, .fma_ratio = 2 },
                         { .ns = 9000, .read = 9, .int8 = 9 },
                         { .ns = 2000, .read = 2, .own = true, .fma_ratio = 1.5, .cpu_share = 1 },
                         { .ns = 9000, .read = 9, .int8 = 9 } };
    terse_timing t = terse_timing_of(s, 4, 3.0, room);
    assert_true(t.n == 4 && t.n_own == 2 && t.ns.n == 2 && t.ns.mean == 1500 && t.rate.median == 2.25e6);
    assert_true(t.read == 1.5 && t.fma_ratio == 1.75 && t.cpu_share == 0.5 && t.int8 == 0);
    s[0].own = s[2].own = false;
    t = terse_timing_of(s, 4, 3.0, room);
    assert_true(t.n == 4 && t.n_own == 0 && t.ns.n == 4 && t.ns.median == 5500 && t.read == 5.5);
    t = terse_timing_of(s, 1, 1.0, room);
    assert_true(t.ns.stddev == 0 && t.ns.q1 == 1000 && t.rate.q3 == 1e6);
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
        cmocka_unit_test(every_tier_adds_up_every_word), cmocka_unit_test(reads_at_a_rate_that_exists),
        cmocka_unit_test(every_tier_calculates),         cmocka_unit_test(sums_are_those_of_the_chains),
        cmocka_unit_test(a_sample_fits_its_clock),       cmocka_unit_test(only_own_samples_count),
        cmocka_unit_test(what_cannot_be_is_told),        cmocka_unit_test(caches_grow_by_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
