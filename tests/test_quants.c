/* tests/test_quants.c: blocks written by another engine: decoded to the bit, multiplied within tolerance; and
 * the conversions of single values, over their whole range. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/memory.h"
#include "simd/kernels.h"
#include "terse/base.h"
#include "terse/gguf.h"

/* ---- golden blocks ---- */

typedef struct {
    uint8_t *data; /* blob of blocks and floats, little endian */
    size_t size;
    json_t *index;
    int32_t rows, cols;
} golden;

static bool golden_open(golden *g, const char *dir, const char *bin, const char *index)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, index);
    *g = (golden){ .index = json_load_file(path, 0, NULL) };
    if (!g->index)
        return false;
    snprintf(path, sizeof path, "%s/%s", dir, bin);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    g->size = (size_t)ftell(f);
    rewind(f);
    g->data = malloc(g->size);
    assert_non_null(g->data);
    assert_int_equal(fread(g->data, 1, g->size, f), g->size);
    fclose(f);
    g->rows = (int32_t)json_integer_value(json_object_get(g->index, "rows"));
    g->cols = (int32_t)json_integer_value(json_object_get(g->index, "cols"));
    assert_true(g->rows > 0 && g->cols > 0 && g->cols % 256 == 0);
    return true;
}

static void golden_close(golden *g)
{
    json_decref(g->index);
    free(g->data);
}

static int64_t number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

/* size bytes of the blob at the offset that object has under key */
static const void *blob(const golden *g, const json_t *object, const char *key, size_t size)
{
    const int64_t at = number(object, key);
    assert_true(at >= 0 && size <= g->size && (size_t)at <= g->size - size);
    return g->data + at;
}

static terse_acts acts_of(const golden *g, const float *x)
{
    const size_t n = (size_t)g->cols;
    terse_acts a = { .n = g->cols, .n_token = 1, .n_pad = g->cols, .x = x, .x_stride = n };
    a.q = terse_calloc64(n, 1);
    a.d = terse_calloc64(n / 32, sizeof *a.d);
    a.s = terse_calloc64(n / 32, sizeof *a.s);
    a.sum = terse_calloc64(n / 16, sizeof *a.sum);
    assert_true(a.q && a.d && a.s && a.sum);
    return a;
}

static void acts_free(terse_acts *a)
{
    free(a->q);
    free(a->d);
    free(a->s);
    free(a->sum);
}

/* One type of the set: the values of each row, and its products on every tier. */
static void check_type(const golden *g, const json_t *t, terse_dot_type type, const float *x)
{
    const size_t row_size = (size_t)number(t, "row_bytes"), n = (size_t)g->cols, rows = (size_t)g->rows;
    const uint8_t *w = blob(g, t, "bytes", rows * row_size);
    const float *want = blob(g, t, "dequant_f32", rows * n * sizeof *want);
    const double allowed = type == TERSE_DOT_F16 || type == TERSE_DOT_BF16 ? 1e-5 : 2e-3;
    float *value = malloc(n * sizeof *value), *y = malloc(rows * sizeof *y);
    assert_true(value && y);
    for (size_t r = 0; r < rows; r++) {
        terse_dequant_row(type, value, w + r * row_size, g->cols);
        assert_memory_equal(value, want + r * n, n * sizeof *value);
    }
    const uint32_t machine = terse_cpu_tiers();
    for (uint32_t tier = TERSE_CPU_SCALAR; tier <= TERSE_CPU_LAST; tier <<= 1) {
        if (!(machine & tier))
            continue;
        terse_kernels k;
        terse_kernels_for(&k, tier);
        terse_acts a = acts_of(g, x);
        k.dot.quantize(&a, 0);
        k.dot.rows(type, y, rows, w, row_size, g->rows, &a);
        for (size_t r = 0; r < rows; r++) {
            const double dot = json_number_value(json_array_get(json_object_get(t, "dot_f64"), r));
            const double size = json_number_value(json_array_get(json_object_get(t, "abs_dot_f64"), r));
            const double peer = json_number_value(json_array_get(json_object_get(t, "peer_vec_dot"), r));
            assert_true(size > 0.0);
            /* A ternary row of outliers has five values that are not zero: rounded activations, anybody's,
             * cannot stay within the tolerance there. */
            if (fabs((double)y[r] - dot) > fmax(allowed * size, allowed > 1e-3 ? fabs(peer - dot) : 0.0))
                fail_msg("%s row %zu, %s: %.9g, not %.9g", json_string_value(json_object_get(t, "type")), r,
                         k.dot.tier, (double)y[r], dot);
        }
        acts_free(&a);
    }
    free(value);
    free(y);
}

/* Every type of the set that we multiply; returns how many. */
static int check_set(const golden *g)
{
    const float *x = blob(g, g->index, "activation_f32", (size_t)g->cols * sizeof *x);
    size_t i;
    json_t *t;
    int n = 0;
    json_array_foreach(json_object_get(g->index, "types"), i, t)
    {
        const int type = terse_dot_type_of((uint32_t)number(t, "ggml_type"));
        if (type >= 0) {
            check_type(g, t, (terse_dot_type)type, x);
            n++;
        }
    }
    return n;
}

enum { N_GOLDEN_TYPE = TERSE_DOT_N - 1 }; /* all but F32 */

static void small_set_agrees(void **state)
{
    (void)state;
    golden g;
    assert_true(golden_open(&g, TERSE_TEST_DIR "/golden", "quants-small.bin", "quants-small.json"));
    assert_int_equal(check_set(&g), N_GOLDEN_TYPE);
    golden_close(&g);
}

static void whole_set_agrees(void **state)
{
    (void)state;
    golden g;
    if (!golden_open(&g, TERSE_SHARED_DIR "/golden/quants", "quants.bin", "index.json")) {
        print_message("SKIPPED: the shared golden set is not here; only the small one was checked\n");
        skip();
    }
    assert_int_equal(check_set(&g), N_GOLDEN_TYPE);
    golden_close(&g);
}

/* A hostile file: all bits set make every f16 a NaN, and MXFP4 has 2^127 times -12. Values and products show
 * it; what a sanitizer would find does not happen on the way. */
static void scales_that_are_no_numbers_stay_so(void **state)
{
    (void)state;
    enum { N = 512, N_ROW = 3, N_TOKEN = 9 };
    uint8_t w[N_ROW * N * 4];
    float x[N_TOKEN * N], value[N], y[N_TOKEN * N_ROW];
    memset(w, 0xff, sizeof w);
    for (int i = 0; i < N_TOKEN * N; i++)
        x[i] = (float)(i % 7 + 1);
    const uint32_t machine = terse_cpu_tiers();
    for (uint32_t number = 0; number < TERSE_TYPE_COUNT; number++) {
        if (terse_dot_type_of(number) < 0)
            continue;
        const terse_dot_type type = (terse_dot_type)terse_dot_type_of(number);
        terse_dequant_row(type, value, w, N);
        for (int i = 0; i < N; i++)
            assert_false(isfinite(value[i]));
        for (uint32_t tier = TERSE_CPU_SCALAR; tier <= TERSE_CPU_LAST; tier <<= 1) {
            if (!(machine & tier))
                continue;
            const golden shape = { .cols = N * N_TOKEN };
            terse_kernels k;
            terse_acts a = acts_of(&shape, x);
            a.n = a.n_pad = N;
            a.x_stride = N;
            a.n_token = N_TOKEN;
            terse_kernels_for(&k, tier);
            for (int t = 0; t < N_TOKEN; t++)
                k.dot.quantize(&a, t);
            k.dot.rows(type, y, N_ROW, w, terse_type_row_size(number, N), N_ROW, &a);
            for (int i = 0; i < N_TOKEN * N_ROW; i++)
                assert_false(isfinite(y[i]));
            acts_free(&a);
        }
    }
}

/* ---- conversions ---- */

static float bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* All finite values are their own f16; between two neighbours the nearer wins, and the even one half-way. */
static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const float f = terse_f16_to_f32((uint16_t)h);
        assert_true((double)f == (h < 0x400 ? ldexp(h, -24) : ldexp(1024 + h % 1024, (int)(h / 1024) - 25)));
        assert_true(terse_f16_to_f32((uint16_t)(h | 0x8000)) == -f);
        assert_int_equal(terse_f32_to_f16(f), h);
        assert_int_equal(terse_f32_to_f16(-f), h | 0x8000);
        /* The place of the value after the largest is where infinity begins. */
        const float next = h == 0x7bff ? 65536.0f : terse_f16_to_f32((uint16_t)(h + 1));
        const float middle = 0.5f * f + 0.5f * next;
        assert_int_equal(terse_f32_to_f16(middle), h + h % 2);
        assert_int_equal(terse_f32_to_f16(nextafterf(middle, 0.0f)), h);
        assert_int_equal(terse_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_int_equal(terse_f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(terse_f32_to_f16(-INFINITY), 0xfc00);
    assert_true(terse_f16_to_f32(0x7c00) == INFINITY && terse_f16_to_f32(0xfc00) == -INFINITY);
    assert_int_equal(terse_f32_to_f16(bits_f32(1)), 0);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        assert_true(terse_bf16_to_f32((uint16_t)h) == bits_f32(h << 16));
        assert_int_equal(terse_f32_to_bf16(bits_f32(h << 16)), h);
        assert_int_equal(terse_f32_to_bf16(bits_f32(h << 16 | 0x7fff)), h);
        assert_int_equal(terse_f32_to_bf16(bits_f32(h << 16 | 0x8000)), h + h % 2);
        assert_int_equal(terse_f32_to_bf16(bits_f32(h << 16 | 0x8001)), h + 1);
        assert_int_equal(terse_f32_to_bf16(-bits_f32(h << 16 | 0x8001)), (h + 1) | 0x8000);
    }
    assert_int_equal(terse_f32_to_bf16(INFINITY), 0x7f80);
}

/* NaN whose payload lies in the bits that are cut off must not become infinity. */
static void nan_stays_nan(void **state)
{
    (void)state;
    static const uint32_t nans[] = { 0x7fc00000, 0x7f800001, 0xff800001, 0xffffffff, 0x7f801fff };
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
        const float f = bits_f32(nans[i]);
        assert_true(isnan(terse_f16_to_f32(terse_f32_to_f16(f))));
        assert_true(isnan(terse_bf16_to_f32(terse_f32_to_bf16(f))));
        assert_int_equal(terse_f32_to_f16(f) >> 15, nans[i] >> 31);
    }
    assert_true(isnan(terse_f16_to_f32(0x7c01)) && isnan(terse_bf16_to_f32(0x7f81)));
}

static void types_are_known_by_number(void **state)
{
    (void)state;
    static const int want[][2] = {
        { 0, TERSE_DOT_F32 },      { 1, TERSE_DOT_F16 },     { 2, TERSE_DOT_Q4_0 },
        { 3, TERSE_DOT_Q4_1 },     { 6, TERSE_DOT_Q5_0 },    { 7, TERSE_DOT_Q5_1 },
        { 8, TERSE_DOT_Q8_0 },     { 10, TERSE_DOT_Q2_K },   { 11, TERSE_DOT_Q3_K },
        { 12, TERSE_DOT_Q4_K },    { 13, TERSE_DOT_Q5_K },   { 14, TERSE_DOT_Q6_K },
        { 16, TERSE_DOT_IQ2_XXS }, { 17, TERSE_DOT_IQ2_XS }, { 18, TERSE_DOT_IQ3_XXS },
        { 19, TERSE_DOT_IQ1_S },   { 20, TERSE_DOT_IQ4_NL }, { 21, TERSE_DOT_IQ3_S },
        { 22, TERSE_DOT_IQ2_S },   { 23, TERSE_DOT_IQ4_XS }, { 29, TERSE_DOT_IQ1_M },
        { 30, TERSE_DOT_BF16 },    { 34, TERSE_DOT_TQ1_0 },  { 35, TERSE_DOT_TQ2_0 },
        { 39, TERSE_DOT_MXFP4 }
    };
    int n = 0;
    for (uint32_t type = 0; type < 100; type++) {
        int expect = -1;
        for (size_t i = 0; i < sizeof want / sizeof *want; i++)
            if (want[i][0] == (int)type)
                expect = want[i][1];
        assert_int_equal(terse_dot_type_of(type), expect);
        n += expect >= 0;
    }
    assert_int_equal(n, TERSE_DOT_N);
    assert_int_equal(terse_dot_type_of(UINT32_MAX), -1);
}

/* One block of 32 whose numbers are known by hand. */
static void activations_are_quantised_by_blocks(void **state)
{
    (void)state;
    float x[40] = { 127.0f, -63.5f, 0.5f, 1.5f, -2.5f }; /* scale 1: halves go to the even neighbour */
    x[15] = -17.0f;
    x[16] = 17.0f;
    x[32] = INFINITY;
    x[33] = 5.0f;
    const golden shape = { .cols = 256 };
    terse_acts a = acts_of(&shape, x);
    a.n = 40;
    terse_kernels k;
    terse_kernels_for(&k, terse_cpu_tiers());
    k.dot.quantize(&a, 0);
    static const int8_t want[8] = { 127, -64, 0, 2, -2, 0, 0, 0 };
    assert_memory_equal(a.q, want, sizeof want);
    assert_true(a.d[0] == 1.0f && a.s[0] == 63.0f);
    assert_int_equal(a.sum[0], 46);
    assert_int_equal(a.sum[1], 17);
    assert_true(isnan(a.d[1]) && isnan(a.s[1]));
    assert_int_equal(a.q[32], 0);
    assert_int_equal(a.q[33], 0);
    for (int b = 2; b < 8; b++)
        assert_true(a.d[b] == 0.0f && a.s[b] == 0.0f && a.sum[b * 2] == 0);
    acts_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_set_agrees),
        cmocka_unit_test(whole_set_agrees),
        cmocka_unit_test(scales_that_are_no_numbers_stay_so),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(types_are_known_by_number),
        cmocka_unit_test(activations_are_quantised_by_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
