/* A walk in strands: the same bits whoever runs them, close to the walk in one piece, and the rules' promises.
 */
#include "attend/walk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DIM = 32, ROWS = 4, TOKENS = 1600, MOST = 5 };

static uint64_t rng = 1;

static float uniform(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(rng >> 32) * 0x1p-31f;
}

/* Keys that differ more from page to page than within a page, so that some pages matter more than others. */
static terse_kv *open_store_of(terse_kv_type type, int32_t n_token)
{
    const terse_kv_opts o = {
        .n_layer = 1, .n_head = 1, .dim_k = DIM, .dim_v = DIM, .type_k = type, .type_v = type, .ctx = n_token
    };
    terse_kv *kv;
    terse_error err = { 0 };
    float around[DIM] = { 0 };
    if (terse_kv_open(&kv, &o, &err) != TERSE_OK || terse_kv_reserve(kv, n_token, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (int32_t pos = 0; pos < n_token; pos++) {
        float k[DIM], v[DIM];
        for (int32_t d = 0; d < DIM; d++) {
            around[d] = pos % TERSE_PAGE ? around[d] : 2.0f * uniform();
            k[d] = around[d] + 0.3f * uniform();
            v[d] = uniform();
        }
        terse_kv_put(kv, 0, 0, pos, k, v);
    }
    terse_kv_commit(kv, n_token);
    if (terse_kv_summarize(kv, TERSE_KV_CENTER | TERSE_KV_MOMENTS | TERSE_KV_BOX, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return kv;
}

static terse_kv *open_store(terse_kv_type type)
{
    return open_store_of(type, TOKENS);
}

typedef struct {
    terse_attend *attend;
    terse_walk *lead, *other;
    terse_attend_stats stats;
    _Alignas(64) float q[ROWS * DIM];
    _Alignas(64) float out[ROWS * DIM];
} fixture;

static fixture *make(const terse_kv *kv, const char *policy, const char *stop, int32_t n_strand, int32_t audit)
{
    terse_error err = { 0 };
    fixture *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    assert_non_null(f);
    memset(f, 0, sizeof *f);
    if (terse_attend_open(&f->attend, policy, stop, audit, &err) != TERSE_OK ||
        terse_walk_open_split(&f->lead, kv, f->attend, ROWS, n_strand, 0, &err) != TERSE_OK ||
        terse_walk_open_split(&f->other, kv, f->attend, ROWS, n_strand, 0, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    rng = 77;
    for (int32_t i = 0; i < ROWS * DIM; i++)
        f->q[i] = 3.0f * uniform();
    return f;
}

static void drop(fixture *f)
{
    terse_walk_close(&f->lead);
    terse_walk_close(&f->other);
    terse_attend_close(&f->attend);
    free(f);
}

static double error_of(const float *got, const float *want)
{
    double worst = 0.0;
    for (int32_t r = 0; r < ROWS; r++) {
        double diff = 0.0, size = 0.0;
        for (int32_t i = r * DIM; i < (r + 1) * DIM; i++) {
            diff += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
            size += (double)want[i] * (double)want[i];
        }
        worst = fmax(worst, sqrt(diff / size));
    }
    return worst;
}

static const char *const rules[] = { "none",
                                     "mass:delta=0.02,floor=0,from=0",
                                     "mass:delta=0.2,norm=sum,floor=0,from=0",
                                     "mass:delta=0.004,floor=0,from=0+value-share:left=0.02",
                                     "none+value-skip:eps=0.2",
                                     "budget:share=0.4",
                                     "weight:tau=1e-3,patience=2" };
enum { N_RULES = sizeof rules / sizeof *rules };

static void any_thread_may_run_a_strand(void **state)
{
    (void)state;
    terse_kv *kv = open_store(TERSE_KV_F16);
    for (size_t i = 0; i < N_RULES; i++)
        for (int32_t n = 2; n <= MOST; n++) {
            fixture *f = make(kv, NULL, rules[i], n, 0);
            terse_attend_stats stats = { 0 };
            _Alignas(64) float want[ROWS * DIM];
            terse_walk_decode(f->lead, 0, 0, TOKENS, 0.25f, f->q, want, &stats);
            assert_int_equal(terse_walk_begin(f->lead, 0, 0, TOKENS, 0.25f, f->q), n);
            for (int32_t s = n - 1; s >= 0; s--)
                terse_walk_strand(f->lead, s % 2 ? f->other : f->lead, s);
            terse_walk_end(f->lead, f->out, &f->stats);
            assert_memory_equal(f->out, want, sizeof want);
            assert_memory_equal(&f->stats, &stats, sizeof stats);
            drop(f);
        }
    terse_kv_close(&kv);
}

static void dense_has_the_bits_of_prefill(void **state)
{
    (void)state;
    for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
        terse_kv *kv = open_store((terse_kv_type)type);
        _Alignas(64) float one[ROWS * DIM], all[ROWS * DIM];
        for (int32_t n = 1; n <= MOST; n++) {
            fixture *f = make(kv, NULL, NULL, n, 0);
            terse_walk_decode(f->lead, 0, 0, TOKENS - 7, 0.25f, f->q, f->out, &f->stats);
            terse_walk_prefill(f->lead, 0, 0, TOKENS - 8, 1, 0.25f, f->q, 0, all, 0);
            assert_memory_equal(f->out, all, sizeof all);
            assert_int_equal(f->stats.bytes_k + f->stats.bytes_v, f->stats.bytes_dense);
            if (n == 1)
                memcpy(one, all, sizeof all);
            assert_true(error_of(all, one) < (type == TERSE_KV_Q4 ? 0.05 : type == TERSE_KV_Q8 ? 1e-3 : 1e-6));
            drop(f);
        }
        terse_kv_close(&kv);
    }
}

/* A rule reads about as much, and errs about as much, as in one piece. Not so weight, the last one: it knows
 * nothing of what it has not seen, and a strand sees less. */
static void rules_keep_their_measure(void **state)
{
    (void)state;
    terse_kv *kv = open_store(TERSE_KV_F32);
    for (size_t i = 1; i < N_RULES - 1; i++) {
        double read[MOST + 1] = { 0 }, error[MOST + 1] = { 0 };
        for (int32_t n = 1; n <= MOST; n++) {
            fixture *f = make(kv, NULL, rules[i], n, 1);
            for (int k = 0; k < 20; k++) {
                for (int32_t d = 0; d < ROWS * DIM; d++)
                    f->q[d] = 3.0f * uniform();
                terse_walk_decode(f->lead, 0, 0, TOKENS, 0.25f, f->q, f->out, &f->stats);
            }
            assert_int_equal(f->stats.audit_violations, 0);
            read[n] = (double)(f->stats.bytes_k + f->stats.bytes_v) / (double)f->stats.bytes_dense;
            error[n] = f->stats.audit_error_sum / 20.0;
            drop(f);
            if (!(read[n] < 1.0) || read[n] > 1.25 * read[1] + 0.05 || !(error[n] < 2.0 * error[1] + 1e-3))
                fail_msg("%s in %d strands reads %g with an error of %g, in one piece %g with %g", rules[i], n,
                         read[n], error[n], read[1], error[1]);
        }
    }
    terse_kv_close(&kv);
}

/* Every page has its part of the answer, once: with equal weights it is the mean of the values. */
static void orders_read_every_page_once(void **state)
{
    (void)state;
    static const char *const policies[] = { "dense:order=newest", "dense:order=oldest", "dense:order=mass",
                                            "dense:order=box",    "dense:order=random", "dense:order=oracle" };
    terse_kv *kv = open_store(TERSE_KV_F32);
    fixture *dense = make(kv, NULL, NULL, 1, 0);
    terse_walk_decode(dense->lead, 0, 0, TOKENS, 0.25f, dense->q, dense->out, &dense->stats);
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        fixture *f = make(kv, policies[i], "budget:share=1", 3, 0);
        terse_walk_decode(f->lead, 0, 0, TOKENS, 0.25f, f->q, f->out, &f->stats);
        assert_int_equal(f->stats.pages_read, TOKENS / TERSE_PAGE);
        assert_true(error_of(f->out, dense->out) < 1e-5);
        assert_true(f->stats.left_max == 0.0f);
        drop(f);
    }
    drop(dense);
    terse_kv_close(&kv);
}

/* Rules that look at the output, and walks over few pages, are not split. */
static void some_walks_have_no_strands(void **state)
{
    (void)state;
    terse_kv *kv = open_store(TERSE_KV_F16);
    static const struct {
        const char *stop;
        int32_t n_token, n_strand;
    } cases[] = { { "stability", TOKENS, 0 }, { "certified", TOKENS, 0 }, { "none", 32, 0 },
                  { "none", 6 * 32, 0 },      { "none", 21 * 32, 0 },     { "none", 22 * 32, 2 },
                  { "none", 30 * 32, 3 },     { "none", TOKENS, 5 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture *f = make(kv, NULL, cases[i].stop, MOST, 0);
        assert_int_equal(terse_walk_begin(f->lead, 0, 0, cases[i].n_token, 0.25f, f->q), cases[i].n_strand);
        drop(f);
    }
    terse_error err = { 0 };
    terse_attend *a;
    terse_walk *w;
    assert_int_equal(terse_attend_open(&a, NULL, NULL, 0, &err), TERSE_OK);
    assert_int_equal(terse_walk_open_split(&w, kv, a, ROWS, 0, 0, &err), TERSE_UNSUPPORTED);
    assert_int_equal(terse_walk_open_split(&w, kv, a, ROWS, 65, 0, &err), TERSE_UNSUPPORTED);
    assert_null(w);
    terse_attend_close(&a);
    terse_kv_close(&kv);
}

/* Strands that only even out are of long walks under a page rule. */
static void even_strands_are_long(void **state)
{
    (void)state;
    enum { LONG = 200 * TERSE_PAGE };
    terse_kv *kv = open_store_of(TERSE_KV_F16, LONG);
    static const struct {
        const char *stop;
        int32_t n_token, n_strand;
    } cases[] = { { "none", LONG, 0 },
                  { "value-share:left=0.01", LONG, 0 },
                  { "mass:delta=0.1,from=0", TOKENS, 0 },
                  { "mass:delta=0.1,from=0", LONG, 2 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        terse_error err = { 0 };
        fixture *f = make(kv, NULL, cases[i].stop, 2, 0);
        terse_walk_close(&f->lead);
        const terse_split even = { .most = 2, .even = true };
        assert_int_equal(terse_walk_open_for(&f->lead, kv, f->attend, ROWS, even, 0, 0, &err), TERSE_OK);
        assert_int_equal(terse_walk_begin(f->lead, 0, 0, cases[i].n_token, 0.25f, f->q), cases[i].n_strand);
        drop(f);
    }
    terse_kv_close(&kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_thread_may_run_a_strand), cmocka_unit_test(dense_has_the_bits_of_prefill),
        cmocka_unit_test(rules_keep_their_measure),    cmocka_unit_test(orders_read_every_page_once),
        cmocka_unit_test(some_walks_have_no_strands),  cmocka_unit_test(even_strands_are_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
