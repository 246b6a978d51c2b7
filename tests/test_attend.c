/* The walk: against a float64 softmax, in its order, and its stop rules where the answer is known by hand. */
#include "attend_fixture.h"

static void dense_is_softmax(void **state)
{
    (void)state;
    static const int32_t lengths[] = { 1, 2, 31, 32, 33, 64, 65, 500, 1999 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
            fixture *f = make(lengths[i], (terse_kv_type)type, NULL, 0, random_token);
            decode(f);
            /* q8 and q4 round the query as well, q4 also the weights */
            assert_true(error_of(f) < (type == TERSE_KV_Q4 ? 1e-1 : type == TERSE_KV_Q8 ? 2e-2 : 1e-5));
            assert_int_equal(f->stats.pages_read, (lengths[i] + 31) / 32);
            assert_int_equal(f->stats.bytes_k + f->stats.bytes_v, f->stats.bytes_dense);
            drop(f);
        }
}

/* q = 0 makes all scores equal, so attention is the mean of the values. */
static void zero_query_gives_the_mean(void **state)
{
    (void)state;
    fixture *f = make(101, TERSE_KV_F32, NULL, 0, counting_token);
    memset(f->q, 0, sizeof f->q);
    decode(f);
    for (int32_t i = 0; i < ROWS * DIM; i++)
        assert_float_equal(f->out[i], 50.0f, 1e-4f);
    drop(f);
}

static int32_t plan(fixture *f, terse_order order, int32_t n_page)
{
    const terse_kv_view v = terse_kv_view_of(0, n_page * TERSE_PAGE, 0, 0);
    return terse_walk_plan(f->walk, order, &v);
}

static void order_is_sinks_then_newest_first(void **state)
{
    (void)state;
    fixture *f = make(300, TERSE_KV_F32, NULL, 0, random_token);
    assert_int_equal(plan(f, TERSE_ORDER_NEWEST, 1), 1);
    assert_int_equal(f->walk->list[0], 0);
    assert_int_equal(plan(f, TERSE_ORDER_NEWEST, 5), 5);
    const int32_t newest[] = { 0, 4, 3, 2, 1 }, oldest[] = { 0, 1, 2, 3, 4 };
    assert_memory_equal(f->walk->list, newest, sizeof newest);
    assert_int_equal(plan(f, TERSE_ORDER_OLDEST, 5), 5);
    assert_memory_equal(f->walk->list, oldest, sizeof oldest);
    assert_int_equal(plan(f, TERSE_ORDER_NEWEST, 10), TERSE_ARMED);
    drop(f);
}

/* All values are equal: the output never changes, so the walk ends patience pages after the first comparison.
 */
static void constant_token(int32_t pos, float *k, float *v)
{
    random_token(pos, k, v);
    for (int32_t d = 0; d < DIM; d++)
        v[d] = 1.0f;
}

static void stability_stops_when_nothing_changes(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F32, "stability:tau=1e-4,phi=1e-4,patience=3", 1, constant_token);
    decode(f);
    /* sinks, 128 recent tokens and one page: 6 pages; the 6th is the first to compare with; 3 more. */
    assert_int_equal(f->stats.pages_read, 9);
    assert_int_equal(f->stats.stops, 1);
    assert_int_equal(f->stats.pages_listed, 32);
    assert_true(f->stats.audit_error_max < 1e-5f);
    assert_false(terse_attend_bounded(f->attend));
    drop(f);
    f = make(1024, TERSE_KV_F32, "stability:tau=0,phi=0", 0, random_token); /* never settles */
    decode(f);
    assert_int_equal(f->stats.pages_read, 32);
    drop(f);
}

/* Prefill of tokens that share a page has the bits of decoding them one by one. */
static void prefill_is_decode(void **state)
{
    (void)state;
    for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
        fixture *f = make(200, (terse_kv_type)type, NULL, 0, random_token);
        _Alignas(64) static float q[TERSE_PAGE][ROWS * DIM], out[TERSE_PAGE][ROWS * DIM];
        for (int32_t t = 0; t < TERSE_PAGE; t++)
            for (int32_t i = 0; i < ROWS * DIM; i++)
                q[t][i] = uniform();
        for (int32_t page = 0; page < 6; page += 5) {
            terse_walk_prefill(f->walk, 0, 0, page * 32 + 3, 21, 0.25f, q[3], ROWS * DIM, out[3], ROWS * DIM);
            for (int32_t t = 3; t < 24; t++) {
                memcpy(f->q, q[t], sizeof f->q);
                f->n = page * 32 + t + 1;
                decode(f);
                assert_memory_equal(f->out, out[t], sizeof f->out);
            }
        }
        drop(f);
    }
}

static void stats_add(void **state)
{
    (void)state;
    terse_attend_stats a = { .walks = 1, .bytes_k = 5, .bound_max = 0.5f, .audit_error_sum = 1.0 };
    const terse_attend_stats b = { .walks = 2, .bytes_k = 7, .bound_max = 0.25f, .audit_error_max = 2.0f };
    terse_attend_stats_add(&a, &b);
    assert_int_equal(a.walks, 3);
    assert_int_equal(a.bytes_k, 12);
    assert_true(a.bound_max == 0.5f && a.audit_error_max == 2.0f && a.audit_error_sum == 1.0);
}

static void rules_can_be_listed(void **state)
{
    (void)state;
    const char *name, *help;
    int32_t n = 0;
    for (; terse_attend_stop_at(n, &name, &help); n++) {
        terse_error err = { 0 };
        terse_attend *a;
        assert_true(strlen(help) > 0);
        if (!strcmp(name, "key-share")) { /* not alone */
            assert_int_equal(terse_attend_open(&a, "dense", name, 0, &err), TERSE_BAD_INPUT);
            continue;
        }
        assert_int_equal(terse_attend_open(&a, "dense", name, 0, &err), TERSE_OK);
        assert_memory_equal(terse_attend_stop_text(a), name, strlen(name));
        terse_attend_close(&a);
    }
    assert_int_equal(n, 9);
}

static void sort_is_by_falling_size(void **state)
{
    (void)state;
    fixture *f = make(300, TERSE_KV_F32, "mass", 0, random_token);
    const float x[] = { 0.0f, 1e-30f, 3.0f, INFINITY, 1.0f, 1e30f, 1.01f };
    const int32_t want[] = { 3, 5, 2, 4, 6, 1, 0 }; /* 1 and 1.01 are about equal */
    int32_t got[7];
    terse_walk_sort(f->walk, got, x, 7);
    assert_memory_equal(got, want, sizeof want);
    drop(f);
}

/* Keys are the same within a page, so that the estimates are exact but for their int8 codes. */
static void stepped_token(int32_t pos, float *k, float *v)
{
    random_token(pos, k, v);
    for (int32_t d = 0; d < DIM; d++)
        k[d] = 0.02f * (float)((pos / 32 * 7 + d * 3) % 11 - 5);
}

static void mass_knows_what_it_leaves(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "mass:delta=0.3,floor=0,from=0,norm=sum",
        "mass:delta=0.3,floor=0,from=0,norm=sum+value-share:left=0.6,norm=sum"
    };
    for (size_t i = 0; i < 2; i++) {
        fixture *f = make(1024, TERSE_KV_F32, rules[i], 1, stepped_token);
        for (int n = 0; n < 20; n++) {
            for (int32_t d = 0; d < ROWS * DIM; d++)
                f->q[d] = 10.0f * uniform();
            decode(f);
        }
        assert_true(f->stats.pages_scored < f->stats.pages_listed);
        assert_true(i == 0 || f->stats.tokens_read < TERSE_PAGE * f->stats.pages_scored);
        assert_true(f->stats.bytes_summary > 0);
        assert_true(f->stats.pages_alone <= (double)f->stats.pages_scored);
        assert_true(fabs(f->stats.left_sum - f->stats.audit_left_sum) < 0.02 * f->stats.audit_left_sum);
        assert_true(f->stats.left_max <= (i == 0 ? 0.301f : 0.901f) && f->stats.left_max > 0.1f);
        drop(f);
    }
}

static void mass_finds_the_page_that_matters(void **state)
{
    (void)state;
    for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
        fixture *f = make(1024, (terse_kv_type)type, "mass:delta=0.01,floor=0,from=0", 1, needle_token);
        for (int32_t i = 0; i < ROWS * DIM; i++)
            f->q[i] = 1.0f;
        decode(f);
        assert_int_equal(f->stats.pages_scored, TERSE_ARMED + 1); /* sinks, window, the needle */
        assert_true(f->stats.audit_error_max < 1e-3f);
        drop(f);
    }
}

static void mass_that_reads_everything_is_exact(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F16, "mass:delta=0,from=0", 0, random_token);
    decode(f);
    assert_int_equal(f->stats.pages_scored, 32);
    assert_true(f->stats.left_max == 0.0f && f->stats.stops == 0);
    assert_true(error_of(f) < 1e-5);
    drop(f);
}

static void mass_reads_its_floor_and_short_contexts(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F16, "mass:delta=100,floor=0.25,from=1000", 0, random_token);
    decode(f);
    assert_int_equal(f->stats.pages_scored, TERSE_ARMED + 8);
    memset(&f->stats, 0, sizeof f->stats);
    f->n = 999; /* below from */
    decode(f);
    assert_int_equal(f->stats.pages_scored, 32);
    assert_int_equal(f->stats.bytes_summary, 0);
    drop(f);
}

/* Pages that the store has no summary of are read. */
static void pages_without_summary_are_read(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F16, "mass:delta=100,floor=0,from=0", 0, random_token);
    terse_kv_summary_forget(f->kv, 12);
    decode(f);
    assert_int_equal(f->stats.pages_scored, 32 - 11 + 1); /* of pages 1 to 11 just one */
    terse_kv_summary_forget(f->kv, 0);
    memset(&f->stats, 0, sizeof f->stats);
    decode(f);
    assert_int_equal(f->stats.pages_scored, 32);
    assert_true(error_of(f) < 1e-5);
    drop(f);
}

static void budget_reads_its_share(void **state)
{
    (void)state;
    static const char *const policies[] = { "dense:order=box",    "dense:order=newest", "dense:order=mass",
                                            "dense:order=random", "dense:order=oracle", NULL };
    for (size_t i = 0; i < 6; i++) {
        terse_error err = { 0 };
        fixture *f = make(1600, TERSE_KV_F16, "budget:share=0.4", 0, needle_token);
        terse_walk_close(&f->walk);
        terse_attend_close(&f->attend);
        assert_int_equal(terse_attend_open(&f->attend, policies[i], "budget:share=0.4", 0, &err), TERSE_OK);
        assert_int_equal(terse_kv_summarize(f->kv, terse_attend_needs(f->attend), &err), TERSE_OK);
        assert_int_equal(terse_walk_open(&f->walk, f->kv, f->attend, ROWS, 0, &err), TERSE_OK);
        decode(f);
        assert_int_equal(f->stats.pages_read, 20);
        drop(f);
    }
}

/* The true shares of what the oracle leaves out are what it says, and nobody leaves out less with as few pages.
 */
static void oracle_knows(void **state)
{
    (void)state;
    static const char *const policies[] = { "dense:order=oracle", "dense:order=box", "dense:order=mass",
                                            "dense:order=random", "dense:order=newest" };
    double left[5] = { 0.0 };
    for (size_t i = 0; i < 5; i++) {
        terse_error err = { 0 };
        fixture *f = make(1600, TERSE_KV_F32, "none", 0, stepped_token);
        terse_walk_close(&f->walk);
        terse_attend_close(&f->attend);
        assert_int_equal(terse_attend_open(&f->attend, policies[i], "budget:share=0.4", 1, &err), TERSE_OK);
        assert_int_equal(terse_kv_summarize(f->kv, terse_attend_needs(f->attend), &err), TERSE_OK);
        assert_int_equal(terse_walk_open(&f->walk, f->kv, f->attend, ROWS, 0, &err), TERSE_OK);
        for (int n = 0; n < 10; n++) {
            const double before = f->stats.audit_left_sum, said = f->stats.left_sum;
            for (int32_t d = 0; d < ROWS * DIM; d++)
                f->q[d] = 3.0f * uniform();
            decode(f);
            if (i == 0)
                assert_float_equal(f->stats.audit_left_sum - before, f->stats.left_sum - said, 1e-4);
        }
        left[i] = f->stats.audit_left_sum;
        drop(f);
    }
    for (size_t i = 1; i < 5; i++)
        if (!(left[0] <= left[i] * 1.05)) /* places are sorted to a quarter of an octave */
            fail_msg("%s leaves out %g, the oracle %g", policies[i], left[i], left[0]);
}

static void weight_stops_after_pages_without_any(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F32, "weight:tau=1e-3,patience=3", 0, needle_token);
    for (int32_t i = 0; i < ROWS * DIM; i++)
        f->q[i] = -1.0f; /* all pages but the needle's weigh the same: never below tau */
    decode(f);
    assert_int_equal(f->stats.pages_read, 32);
    memset(&f->stats, 0, sizeof f->stats);
    for (int32_t i = 0; i < ROWS * DIM; i++)
        f->q[i] = 1.0f; /* after the needle, page 10, the others weigh nothing */
    decode(f);
    assert_int_equal(f->stats.pages_read, 1 + 22 + 3); /* page 0; 31 ... 10; three more */
    drop(f);
}

static void certified_keeps_its_bound(void **state)
{
    (void)state;
    for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++)
        for (int centered = 0; centered < 2; centered++) {
            fixture *f = make(1024, (terse_kv_type)type, "certified:eps=0.3", 1, stepped_token);
            if (centered)
                terse_kv_center(f->kv);
            for (int n = 0; n < 20; n++) {
                for (int32_t d = 0; d < ROWS * DIM; d++)
                    f->q[d] = 60.0f * uniform();
                decode(f);
            }
            assert_int_equal(f->stats.audits, 20);
            assert_int_equal(f->stats.audit_violations, 0);
            assert_true(f->stats.bound_max <= 0.3f);
            assert_true(f->stats.stops > 0);
            drop(f);
        }
}

static void audits_fill_histograms(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F16, "value-skip:eps=0.3", 2, random_token);
    for (int n = 0; n < 10; n++)
        decode(f);
    int64_t errors = 0, bounds = 0;
    for (int i = 0; i < TERSE_AUDIT_BINS; i++) {
        errors += f->stats.audit_error[i];
        bounds += f->stats.audit_bound[i];
    }
    assert_int_equal(errors, 5);
    assert_int_equal(bounds, 5);
    assert_true(terse_audit_bin_low(0) == 0.0 && terse_audit_bin_low(1) < terse_audit_bin_low(2));
    assert_true(terse_audit_bin_low(TERSE_AUDIT_BINS - 1) == 10.0);
    drop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_is_softmax),
        cmocka_unit_test(zero_query_gives_the_mean),
        cmocka_unit_test(order_is_sinks_then_newest_first),
        cmocka_unit_test(stability_stops_when_nothing_changes),
        cmocka_unit_test(prefill_is_decode),
        cmocka_unit_test(stats_add),
        cmocka_unit_test(rules_can_be_listed),
        cmocka_unit_test(sort_is_by_falling_size),
        cmocka_unit_test(mass_knows_what_it_leaves),
        cmocka_unit_test(mass_finds_the_page_that_matters),
        cmocka_unit_test(mass_that_reads_everything_is_exact),
        cmocka_unit_test(mass_reads_its_floor_and_short_contexts),
        cmocka_unit_test(pages_without_summary_are_read),
        cmocka_unit_test(budget_reads_its_share),
        cmocka_unit_test(oracle_knows),
        cmocka_unit_test(weight_stops_after_pages_without_any),
        cmocka_unit_test(certified_keeps_its_bound),
        cmocka_unit_test(audits_fill_histograms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
