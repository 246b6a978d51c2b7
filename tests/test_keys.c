/* Key rules: which channels of keys are read, what that costs, and what it is worth. */
#include "attend_fixture.h"

#define MASS "mass:delta=0.001,floor=0.02,from=0"

static const terse_kv_type types[] = { TERSE_KV_F32, TERSE_KV_F16, TERSE_KV_Q8, TERSE_KV_BF16, TERSE_KV_Q4 };
enum { N_TYPE = sizeof types / sizeof *types };

/* A few channels carry most of what scores differ by. */
static void uneven_token(int32_t pos, float *k, float *v)
{
    random_token(pos, k, v);
    for (int32_t d = 0; d < DIM; d++)
        k[d] *= d % 8 == 3 ? 3.0f : 0.3f;
}

static float distance(const float *a, const float *b)
{
    float most = 0.0f;
    for (int32_t i = 0; i < ROWS * DIM; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

/* The same walk under another rule, of the same store. */
static void decode_under(fixture *f, const char *stop, uint32_t cpu, int32_t strands, float *out,
                         terse_attend_stats *stats)
{
    terse_attend *a = NULL;
    terse_walk *w = NULL;
    terse_error err = { 0 };
    memset(stats, 0, sizeof *stats);
    if (terse_attend_open(&a, NULL, stop, 0, &err) != TERSE_OK ||
        terse_walk_open_split(&w, f->kv, a, ROWS, strands, cpu, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_walk_decode(w, 0, 0, f->n, 0.25f, f->q, out, stats);
    terse_walk_close(&w);
    terse_attend_close(&a);
}

/* Another query, and the exact answer to it. */
static void ask_anew(fixture *f, float *exact, terse_attend_stats *stats)
{
    for (int32_t d = 0; d < ROWS * DIM; d++)
        f->q[d] = 2.0f * uniform();
    decode_under(f, "none", 0, 1, exact, stats);
}

static void no_error_allowed_reads_everything(void **state)
{
    (void)state;
    static const char *const values[] = { "", "+value-share:left=0.01" };
    for (int i = 0; i < N_TYPE; i++)
        for (int v = 0; v < 2; v++) {
            float out[2][ROWS * DIM];
            terse_attend_stats stats[2];
            char rule[2][128];
            snprintf(rule[0], sizeof rule[0], "mass:delta=0.12,from=0%s", values[v]);
            snprintf(rule[1], sizeof rule[1], "mass:delta=0.12,from=0+key-share:left=0%s", values[v]);
            fixture *f = make(1500, types[i], rule[1], 0, uneven_token);
            for (int k = 0; k < 2; k++)
                decode_under(f, rule[k], 0, 1, out[k], &stats[k]);
            assert_true(stats[0].pages_scored < stats[0].pages_listed);
            assert_memory_equal(out[0], out[1], sizeof out[0]);
            assert_int_equal(stats[0].bytes_k, stats[1].bytes_k);
            drop(f);
        }
}

/* The more a page may be off, the less of it is read and the more the output moves; but not out of proportion.
 */
static void bytes_are_paid_with_errors(void **state)
{
    (void)state;
    static const float left[] = { 0.0f, 0.005f, 0.02f, 1.0f };
    for (int i = 0; i < N_TYPE; i++) {
        fixture *f = make(2000, types[i], MASS "+key-share", 0, uneven_token);
        const int64_t block = (int64_t)f->kv->block_k;
        int64_t bytes[4] = { 0 };
        float error[4] = { 0.0f };
        for (int n = 0; n < 30; n++) {
            float exact[ROWS * DIM], out[ROWS * DIM];
            terse_attend_stats stats;
            ask_anew(f, exact, &stats);
            for (int k = 0; k < 4; k++) {
                char rule[96];
                snprintf(rule, sizeof rule, MASS "+key-share:left=%g", (double)left[k]);
                decode_under(f, rule, 0, 1, out, &stats);
                assert_true(stats.bytes_k <= stats.pages_scored * block);
                assert_int_equal((stats.pages_scored * block - stats.bytes_k) % TERSE_PIECE, 0);
                bytes[k] += stats.bytes_k;
                error[k] = fmaxf(error[k], distance(out, exact));
            }
        }
        for (int k = 1; k < 4; k++)
            assert_true(bytes[k] < bytes[k - 1]);
        assert_true(error[1] < 0.03f && error[2] < 0.15f); /* values are up to 1 */
        assert_true(error[3] > error[1]);
        drop(f);
    }
}

/* Every tier chooses the same channels and gives the same bits. */
static void tiers_agree(void **state)
{
    (void)state;
    static const uint32_t tiers[] = { TERSE_CPU_AVX2, TERSE_CPU_AVX512, TERSE_CPU_NEON, TERSE_CPU_DOTPROD };
    static const char *const rule = "mass:delta=0.01,from=0+key-share:left=0.003+value-share:left=0.01";
    for (int i = 0; i < N_TYPE; i++) {
        fixture *f = make(1777, types[i], rule, 0, uneven_token);
        float out[2][ROWS * DIM];
        terse_attend_stats stats[2];
        decode_under(f, rule, TERSE_CPU_SCALAR, 1, out[0], &stats[0]);
        for (int t = 0; t < 4; t++) {
            if (!(terse_cpu_tiers() & tiers[t]))
                continue;
            decode_under(f, rule, TERSE_CPU_SCALAR | tiers[t], 1, out[1], &stats[1]);
            assert_memory_equal(out[0], out[1], sizeof out[0]);
            assert_memory_equal(&stats[0], &stats[1], sizeof stats[0]);
        }
        drop(f);
    }
}

static void strands_read_in_part_too(void **state)
{
    (void)state;
    static const char *const rule = MASS "+key-share:left=0.02";
    for (int i = 0; i < N_TYPE; i++) {
        fixture *f = make(2000, types[i], rule, 0, uneven_token);
        int64_t dense = 0, read = 0;
        for (int n = 0; n < 10; n++) {
            float exact[ROWS * DIM], out[ROWS * DIM];
            terse_attend_stats stats;
            ask_anew(f, exact, &stats);
            dense += stats.bytes_k;
            decode_under(f, rule, 0, 3, out, &stats);
            read += stats.bytes_k;
            assert_true(distance(out, exact) < 0.15f);
        }
        assert_true(read < dense);
        drop(f);
    }
}

/* All keys are 0 but one, which shows in the first channels and weighs more than moments can tell. */
enum { NEEDLE = 20 * 32 + 7 };
static void lone_token(int32_t pos, float *k, float *v)
{
    random_token(pos, k, v);
    for (int32_t d = 0; d < DIM; d++)
        k[d] = pos == NEEDLE && d < 4 ? 10.0f : 0.0f;
}

/* Its page is read once more, in full; the others, whose scores are all alike, with the fewest channels. */
static void a_page_that_weighs_more_is_read_in_full(void **state)
{
    (void)state;
    enum { N = 1024, KNOWN = 5 };
    static const char *const rule = "mass:delta=0,floor=0,from=0+key-share:left=0.02";
    fixture *f = make(N, TERSE_KV_F32, rule, 0, lone_token);
    for (int32_t i = 0; i < ROWS * DIM; i++)
        f->q[i] = 1.0f;
    float exact[ROWS * DIM];
    terse_attend_stats stats;
    decode_under(f, "none", 0, 1, exact, &stats);
    decode(f);
    assert_int_equal(f->stats.pages_scored, N / 32);
    const int64_t block = DIM * 32 * 4, least = DIM / 8 * TERSE_PIECE;
    assert_int_equal(f->stats.bytes_k, (KNOWN + 1) * block + (N / 32 - KNOWN - 1) * least);
    assert_true(distance(f->out, exact) < 1e-4f);
    drop(f);
}

/* A key that is no number makes the answer none, as it does when everything is read. */
static void nan_token(int32_t pos, float *k, float *v)
{
    uneven_token(pos, k, v);
    k[5] = pos == 700 ? NAN : k[5];
}

static void what_is_no_number_is_read_in_full(void **state)
{
    (void)state;
    fixture *f = make(1500, TERSE_KV_F32, MASS "+key-share:left=1", 0, nan_token);
    float exact[ROWS * DIM];
    terse_attend_stats stats;
    decode_under(f, "none", 0, 1, exact, &stats);
    decode(f);
    assert_true(isnan(exact[0]) && isnan(f->out[0]));
    drop(f);
}

static void companions_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *policy, *says;
    } bad[] = { { "key-share", NULL, "join it to mass, not to none" },
                { "weight+key-share", NULL, "join it to mass, not to weight" },
                { "certified+key-share", NULL, "join it to mass, not to certified" },
                { "mass+key-share+value-skip", NULL, "proves nothing about scores that key-share estimates" },
                { "mass+key-share+key-share", NULL, "do not go together" },
                { "mass+key-share:left=2", NULL, "left must be a number from 0 to 1" },
                { "mass+key-share", "dense:order=oracle", "not with KV policy dense:order=oracle" },
                { "mass+key-share", "window:rotate=1", "not with KV policy window" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_attend *a;
        terse_error err = { 0 };
        assert_int_equal(terse_attend_open(&a, bad[i].policy, bad[i].rule, 0, &err), TERSE_BAD_INPUT);
        assert_non_null(strstr(err.text, bad[i].says));
    }
    terse_attend *a;
    terse_error err = { 0 };
    assert_int_equal(terse_attend_open(&a, NULL, "value-share+key-share+mass", 0, &err), TERSE_OK);
    assert_non_null(strstr(terse_attend_stop_text(a), "+key-share:left=0.0005+value-share"));
    assert_false(terse_attend_bounded(a));
    terse_attend_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_error_allowed_reads_everything),
        cmocka_unit_test(bytes_are_paid_with_errors),
        cmocka_unit_test(tiers_agree),
        cmocka_unit_test(strands_read_in_part_too),
        cmocka_unit_test(a_page_that_weighs_more_is_read_in_full),
        cmocka_unit_test(what_is_no_number_is_read_in_full),
        cmocka_unit_test(companions_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
