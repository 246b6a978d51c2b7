/* The page store: what goes in comes out, pages grow on demand, limits and truncation leave it whole. */
#include "kv/store.h"
#include "simd/dot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static terse_kv *open_store(terse_kv_type type, int32_t dim, int32_t ctx, size_t limit)
{
    terse_error err = { 0 };
    terse_kv *kv;
    const terse_kv_opts o = { .n_layer = 2,
                              .n_head = 3,
                              .dim_k = dim,
                              .dim_v = dim,
                              .type_k = type,
                              .type_v = type,
                              .ctx = ctx,
                              .limit = limit };
    if (terse_kv_open(&kv, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return kv;
}

/* A number that tells layer, head, position and channel apart and that f16 holds exactly. */
static float mark(int32_t layer, int32_t head, int32_t pos, int32_t d)
{
    return (float)((layer * 7 + head * 3 + pos * 5 + d * 11) % 255 - 127);
}

static void put(terse_kv *kv, int32_t layer, int32_t head, int32_t pos)
{
    float k[512], v[512];
    for (int32_t d = 0; d < kv->opts.dim_k; d++) {
        k[d] = mark(layer, head, pos, d);
        v[d] = -mark(layer, head, pos, d + 1);
    }
    terse_kv_put(kv, layer, head, pos, k, v);
}

static void fill(terse_kv *kv, int32_t n)
{
    terse_error err = { 0 };
    const int32_t from = terse_kv_count(kv);
    assert_int_equal(terse_kv_reserve(kv, n, &err), TERSE_OK);
    for (int32_t l = 0; l < 2; l++)
        for (int32_t h = 0; h < 3; h++)
            for (int32_t pos = from; pos < from + n; pos++)
                put(kv, l, h, pos);
    terse_kv_commit(kv, n);
}

static void what_goes_in_comes_out(void **state)
{
    (void)state;
    /* Half a step of q8; a whole step of q4, whose codes end at 7: the negative of the largest is clipped. */
    static const float tolerance[TERSE_KV_Q4 + 1] = {
        [TERSE_KV_Q8] = 0.51f, [TERSE_KV_Q4] = 127.0f / 8 * 1.01f
    };
    for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
        terse_kv *kv = open_store((terse_kv_type)type, 64, 200, 0);
        fill(kv, 45);
        fill(kv, 60);
        assert_int_equal(terse_kv_count(kv), 105);
        for (int32_t l = 0; l < 2; l++)
            for (int32_t h = 0; h < 3; h++)
                for (int32_t pos = 0; pos < 105; pos++) {
                    float k[64], v[64], far = 0.0f;
                    const char *page = terse_kv_block(kv, terse_kv_table(kv, l, h)[pos / TERSE_PAGE]);
                    assert_int_equal((uintptr_t)page % 64, 0);
                    assert_int_equal(kv->block_k % 64, 0);
                    terse_page_get_k(kv->type_k, page, pos % TERSE_PAGE, k, 64);
                    terse_page_get_v(kv->type_v, page + kv->block_k, pos % TERSE_PAGE, v, 64);
                    for (int32_t d = 0; d < 64; d++) {
                        assert_true(fabsf(k[d] - mark(l, h, pos, d)) <= tolerance[type]);
                        assert_true(fabsf(v[d] + mark(l, h, pos, d + 1)) <= tolerance[type]);
                        far += v[d] * v[d];
                    }
                    assert_true(
                        kv->radius[terse_kv_unit(kv, l, h) * (size_t)kv->cap + (size_t)(pos / TERSE_PAGE)] >=
                        sqrtf(far));
                }
        terse_kv_close(&kv);
        assert_null(kv);
    }
}

/* Full pages again and again, bit for bit; the one that was not full is no model. */
static void pages_are_repeated(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_kv *kv = open_store(TERSE_KV_Q8, 64, 300, 0);
    fill(kv, 31);
    assert_int_equal(terse_kv_repeat(kv, 200, &err), TERSE_BAD_INPUT);
    fill(kv, 44);
    assert_int_equal(terse_kv_repeat(kv, 74, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_kv_repeat(kv, 301, &err), TERSE_BAD_INPUT);
    fill(kv, 1); /* behind two full pages */
    assert_int_equal(terse_kv_repeat(kv, 210, &err), TERSE_OK);
    assert_int_equal(terse_kv_count(kv), 210);
    for (size_t u = 0; u < 6; u++)
        for (size_t p = 2; p < 7; p++) {
            const size_t row = u * (size_t)kv->cap, from = row + p % 2, to = row + p;
            assert_int_not_equal(kv->table[to], kv->table[from]);
            assert_memory_equal(terse_kv_block(kv, kv->table[to]), terse_kv_block(kv, kv->table[from]),
                                terse_kv_token_bytes(kv) / 6 * TERSE_PAGE);
            assert_true(kv->radius[to] == kv->radius[from] && kv->radius[to] > 0.0f);
        }
    terse_kv_truncate(kv, 64);
    fill(kv, 100);
    assert_int_equal(terse_kv_count(kv), 164);
    terse_kv_close(&kv);
}

static void memory_is_taken_on_demand(void **state)
{
    (void)state;
    terse_kv *kv = open_store(TERSE_KV_F16, 64, 1 << 20, 0);
    assert_int_equal(terse_kv_bytes(kv), 0);
    fill(kv, 1);
    const size_t one = terse_kv_bytes(kv);
    assert_true(one > 0 && one <= (size_t)8 << 20);
    fill(kv, 511); /* 6 units x 16 pages fit into the same slab of 512 */
    assert_int_equal(terse_kv_bytes(kv), one);
    assert_int_equal(terse_kv_token_bytes(kv), 6 * 2 * 64 * 2);
    terse_kv_close(&kv);
}

static void a_limit_leaves_the_store_as_it_was(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_kv *kv = open_store(TERSE_KV_F16, 64, 1 << 16, (size_t)5 << 20);
    fill(kv, 100);
    assert_int_equal(terse_kv_reserve(kv, 60000, &err), TERSE_NOMEM);
    assert_non_null(strstr(err.text, "limit"));
    assert_int_equal(terse_kv_count(kv), 100);
    fill(kv, 100);
    assert_int_equal(terse_kv_reserve(kv, 1 << 16, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_kv_reserve(kv, -1, &err), TERSE_BAD_INPUT);
    terse_kv_close(&kv);
}

/* Pages given back are used again, zeroed, and none is in two tables. */
static void truncated_pages_come_back(void **state)
{
    (void)state;
    terse_kv *kv = open_store(TERSE_KV_F16, 64, 4096, 0);
    fill(kv, 1000);
    const size_t bytes = terse_kv_bytes(kv);
    terse_kv_truncate(kv, 33);
    assert_int_equal(terse_kv_count(kv), 33);
    assert_int_equal(kv->n_page, 2);
    fill(kv, 968);
    assert_int_equal(terse_kv_bytes(kv), bytes);
    const size_t n = (size_t)(6 * kv->cap);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i && (int32_t)(i % (size_t)kv->cap) < kv->n_page; j++)
            if ((int32_t)(j % (size_t)kv->cap) < kv->n_page)
                assert_int_not_equal(kv->table[i], kv->table[j]);
    const char *last = terse_kv_block(kv, kv->table[kv->n_page - 1]);
    for (int32_t d = 0; d < 64; d++) /* 1001 tokens: nothing behind the 9th of the last page */
        for (int32_t t = 9; t < TERSE_PAGE; t++)
            assert_int_equal(((const uint16_t *)last)[d * TERSE_PAGE + t], 0);
    terse_kv_close(&kv);
}

static void the_center_is_the_mean(void **state)
{
    (void)state;
    terse_kv *kv = open_store(TERSE_KV_F32, 32, 100, 0);
    fill(kv, 70);
    terse_kv_center(kv);
    for (int32_t u = 0; u < 6; u++)
        for (int32_t d = 0; d < 32; d++) {
            double sum = 0.0;
            for (int32_t pos = 0; pos < 70; pos++)
                sum -= (double)mark(u / 3, u % 3, pos, d + 1);
            assert_float_equal(kv->center[u * 32 + d], sum / 70, 1e-4);
        }
    const float before = kv->radius[2];
    fill(kv, 20); /* measured against the same center */
    assert_true(kv->radius[2] >= before && kv->radius[2] > 0.0f);
    terse_kv_close(&kv);
}

/* A bound is built on the radius: what is not finite must be above every number, also when more follows. */
static void the_radius_hides_nothing(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f };
    terse_error err;
    float x[32] = { 0.0f };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_kv *kv = open_store(TERSE_KV_F32, 32, 100, 0);
        assert_int_equal(terse_kv_reserve(kv, 40, &err), TERSE_OK);
        for (int32_t pos = 0; pos < 40; pos++) {
            x[3] = pos == 7 ? bad[i] : 1.0f;
            terse_kv_put(kv, 0, 0, pos, x, x);
        }
        terse_kv_commit(kv, 40);
        assert_true(isinf(kv->radius[0]) && kv->radius[1] >= 1.0f && isfinite(kv->radius[1]));
        terse_kv_center(kv);
        assert_true(isinf(kv->radius[0]) && isfinite(kv->center[3]));
        terse_kv_truncate(kv, 7); /* and it is gone with the token */
        terse_kv_center(kv);
        assert_true(isfinite(kv->radius[0]));
        terse_kv_close(&kv);
    }
    terse_kv *kv = open_store(TERSE_KV_F32, 32, 100, 0); /* squares that underflow */
    assert_int_equal(terse_kv_reserve(kv, 1, &err), TERSE_OK);
    x[3] = 1e-25f;
    terse_kv_put(kv, 0, 0, 0, x, x);
    assert_true(kv->radius[0] >= 1e-25f);
    terse_kv_close(&kv);
}

/* The tiles that hold the summaries of the first n pages of a unit are the same in both stores. */
static void same_summaries(const terse_kv *a, const terse_kv *b, int32_t n_page)
{
    const int32_t dim = a->opts.dim_k, n_tile = (n_page + TERSE_TILE - 1) / TERSE_TILE;
    for (size_t u = 0; u < 6; u++) {
        const size_t at = u * (size_t)a->n_tile;
        assert_int_equal(a->n_summary[u], n_page);
        assert_int_equal(b->n_summary[u], n_page);
        assert_memory_equal(a->moments + at * terse_moments_size(dim),
                            b->moments + at * terse_moments_size(dim),
                            (size_t)n_tile * terse_moments_size(dim));
        assert_memory_equal(a->box + at * terse_box_size(dim), b->box + at * terse_box_size(dim),
                            (size_t)n_tile * terse_box_size(dim));
    }
}

/* Summaries are the same whether they were asked for first or last, in one go or two, and after tokens have
 * been taken back and put again. */
static void summaries_keep_up(void **state)
{
    (void)state;
    terse_error err;
    for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
        terse_kv *last = open_store((terse_kv_type)type, 64, 1000, 0);
        terse_kv *first = open_store((terse_kv_type)type, 64, 1000, 0);
        fill(last, 30);
        fill(last, 775);
        assert_null(last->n_summary);
        assert_int_equal(terse_kv_summarize(last, TERSE_KV_MOMENTS | TERSE_KV_BOX, &err), TERSE_OK);
        assert_int_equal(terse_kv_summarize(first, TERSE_KV_MOMENTS, &err), TERSE_OK);
        fill(first, 500);
        assert_int_equal(first->n_summary[5], 15);
        assert_int_equal(terse_kv_summarize(first, TERSE_KV_BOX | TERSE_KV_CENTER, &err), TERSE_OK);
        fill(first, 305);
        same_summaries(first, last, 25);
        terse_kv_truncate(first, 70);
        assert_int_equal(first->n_summary[0], 2);
        fill(first, 735);
        same_summaries(first, last, 25);
        terse_kv_close(&last);
        terse_kv_close(&first);
    }
}

static void bad_shapes_are_refused(void **state)
{
    (void)state;
    static const terse_kv_opts bad[] = {
        { .n_layer = 0, .n_head = 1, .dim_k = 64, .dim_v = 64, .ctx = 1 },
        { .n_layer = 1, .n_head = 1, .dim_k = 24, .dim_v = 64, .ctx = 1 },
        { .n_layer = 1, .n_head = 1, .dim_k = 64, .dim_v = 1024, .ctx = 1 },
        { .n_layer = 1, .n_head = 1, .dim_k = 48, .dim_v = 64, .ctx = 1, .type_k = TERSE_KV_Q8 },
        { .n_layer = 1, .n_head = 1, .dim_k = 64, .dim_v = 80, .ctx = 1, .type_v = TERSE_KV_Q4 },
        { .n_layer = 1, .n_head = 1, .dim_k = 64, .dim_v = 64, .ctx = 0 },
        { .n_layer = 1, .n_head = 1, .dim_k = 64, .dim_v = 64, .ctx = INT32_MAX },
        { .n_layer = INT32_MAX, .n_head = INT32_MAX, .dim_k = 64, .dim_v = 64, .ctx = 1 << 24 },
        { .n_layer = 1 << 16, .n_head = 1 << 16, .dim_k = 64, .dim_v = 64, .ctx = 1 << 30 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_error err = { 0 };
        terse_kv *kv;
        assert_int_not_equal(terse_kv_open(&kv, &bad[i], &err), TERSE_OK);
        assert_null(kv);
        assert_true(strlen(err.text) > 0);
    }
}

/* q4: the channel of largest magnitude, whichever its sign, is -8 steps; q8: 127. Codes known by hand. */
static void codes_are_as_documented(void **state)
{
    (void)state;
    _Alignas(64) static uint8_t k[32 * TERSE_PAGE], v[32 * TERSE_PAGE];
    float x[32] = { [0] = 4.0f, [1] = -0.5f, [5] = 1.26f, [31] = -3.9f }, y[32];
    terse_page_put_k(TERSE_PAGE_Q4, k, 3, x, 32); /* scale -0.5: codes -8, 1, -3 (of -2.52), 7 (of 7.8) */
    terse_page_put_v(TERSE_PAGE_Q4, v, 13, x, 32);
    assert_int_equal(k[3 * 4], 8 << 4 | 0);     /* channels 4 and 0 */
    assert_int_equal(k[3 * 4 + 1], 5 << 4 | 9); /* channels 5 and 1 */
    assert_int_equal(k[3 * TERSE_PAGE * 4 + 3 * 4 + 3] >> 4, 15);
    assert_int_equal(v[(32 + 0) * 4 + 1] >> 4, 0); /* token 13: the second of the high nibbles of 8 to 15 */
    assert_int_equal(v[(32 + 31) * 4 + 1] >> 4, 15);
    terse_page_get_k(TERSE_PAGE_Q4, k, 3, y, 32);
    assert_true(y[0] == 4.0f && y[1] == -0.5f && y[2] == 0.0f && y[5] == 1.5f && y[31] == -3.5f);
    terse_page_get_v(TERSE_PAGE_Q4, v, 13, y, 32);
    assert_true(y[0] == 4.0f && y[1] == -0.5f && y[2] == 0.0f && y[5] == 1.5f && y[31] == -3.5f);
}

static void type_names(void **state)
{
    (void)state;
    terse_error err;
    terse_kv_type type;
    assert_int_equal(terse_kv_type_parse("q8_0", &type, &err), TERSE_OK);
    assert_int_equal(type, TERSE_KV_Q8);
    assert_int_equal(terse_kv_type_parse("q4_0", &type, &err), TERSE_OK);
    assert_int_equal(type, TERSE_KV_Q4);
    for (int t = TERSE_KV_F32; t <= TERSE_KV_Q4; t++) {
        assert_int_equal(terse_kv_type_parse(terse_kv_type_name((terse_kv_type)t), &type, &err), TERSE_OK);
        assert_int_equal(type, t);
    }
    assert_int_equal(terse_kv_type_parse("f32", &type, &err), TERSE_OK);
    assert_string_equal(terse_kv_type_name(type), "f32");
    assert_int_equal(terse_kv_type_parse("q3", &type, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "q3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(pages_are_repeated),
        cmocka_unit_test(memory_is_taken_on_demand),
        cmocka_unit_test(a_limit_leaves_the_store_as_it_was),
        cmocka_unit_test(truncated_pages_come_back),
        cmocka_unit_test(the_center_is_the_mean),
        cmocka_unit_test(the_radius_hides_nothing),
        cmocka_unit_test(summaries_keep_up),
        cmocka_unit_test(bad_shapes_are_refused),
        cmocka_unit_test(codes_are_as_documented),
        cmocka_unit_test(type_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
