/* Encoders: every block decodes to finite values near its input, and the search comes as close to the best
 * scales as a far longer one. */
#include "simd/quantize.h"
#include "terse/gguf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const terse_type types[] = { TERSE_TYPE_F32,  TERSE_TYPE_F16,  TERSE_TYPE_BF16, TERSE_TYPE_Q8_0,
                                    TERSE_TYPE_Q4_0, TERSE_TYPE_Q4_1, TERSE_TYPE_Q5_0, TERSE_TYPE_Q5_1,
                                    TERSE_TYPE_Q4_K, TERSE_TYPE_Q5_K, TERSE_TYPE_Q6_K };
enum { N_TYPE = sizeof types / sizeof *types };

static uint64_t seed;

/* Uniform in [0, 1). */
static double uniform(void)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static float normal(void)
{
    return (float)(sqrt(-2.0 * log(1.0 - uniform())) * cos(6.283185307179586 * uniform()));
}

/* What a row becomes. */
static void pass(terse_type type, float *y, const float *x, int32_t n, bool search)
{
    static uint8_t row[1 << 16];
    const terse_dot_type dot = (terse_dot_type)terse_dot_type_of(type);
    const size_t size = terse_type_row_size(type, n);
    assert_true(size > 0 && size + 1 <= sizeof row);
    row[size] = 0xa5;
    terse_quantize_row(dot, row, x, n, search);
    assert_int_equal(row[size], 0xa5);
    terse_dequant_row(dot, y, row, n);
}

static double squares(const float *x, const float *y, int32_t n)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        const double e = (double)x[i] - (y ? (double)y[i] : 0.0);
        sum += e * e;
    }
    return sum;
}

/* A block of zeros, of one value, of one peak, of one sign; tiny and large ones. */
static void odd_blocks_are_valid(void **state)
{
    (void)state;
    for (int32_t i = 0; i < N_TYPE; i++)
        for (int kind = 0; kind < 7; kind++)
            for (int search = 0; search < 2; search++) {
                float x[256], y[256], top = 0.0f;
                for (int k = 0; k < 256; k++) {
                    x[k] = kind == 0   ? 0.0f
                           : kind == 1 ? -3.0f
                           : kind == 2 ? (k == 77 ? 5.0f : 0.0f)
                           : kind == 3 ? 1.0f + (float)k / 256.0f
                           : kind == 4 ? (float)(k % 7 - 3) * 1e-42f
                           : kind == 5 ? (float)(k % 5 - 2) * 1e-3f
                                       : (float)(k % 9 - 4) * 8000.0f;
                    top = fmaxf(top, fabsf(x[k]));
                }
                pass(types[i], y, x, 256, search);
                for (int k = 0; k < 256; k++)
                    if (!(fabsf(y[k] - x[k]) <= 0.13f * top + 1e-7f))
                        fail_msg("%s, kind %d: %g for %g", terse_type_of(types[i])->name, kind, (double)y[k],
                                 (double)x[k]);
            }
}

/* A search never does worse than the plain way by more than its own roundings, block by block, and does better
 * in all. */
static void searching_pays(void **state)
{
    (void)state;
    enum { N = 256, N_BLOCK = 200 };
    for (int32_t i = 4; i < N_TYPE; i++) {
        double plain = 0.0, searched = 0.0;
        seed = 1;
        for (int32_t b = 0; b < N_BLOCK; b++) {
            float x[N], y[N];
            for (int32_t k = 0; k < N; k++)
                x[k] = normal() * (b % 3 == 0 && k % 50 == 0 ? 4.0f : 1.0f) + (b % 4 == 1 ? 0.5f : 0.0f);
            pass(types[i], y, x, N, false);
            const double p = squares(x, y, N);
            pass(types[i], y, x, N, true);
            const double s = squares(x, y, N);
            assert_true(s <= p * 1.02);
            plain += p;
            searched += s;
        }
        const double gain = types[i] == TERSE_TYPE_Q6_K ? 0.97 : 0.92;
        if (!(searched < gain * plain))
            fail_msg("%s: error^2 %g, without search %g", terse_type_of(types[i])->name, searched, plain);
    }
}

/* Q4_0 has one scale, so all of them can be tried: every f16 in reach. */
static double best_q4_0(const float *x)
{
    float e = 0.0f;
    double least = INFINITY;
    for (int32_t i = 0; i < 32; i++)
        e = fmaxf(e, fabsf(x[i]));
    for (uint16_t h = terse_f32_to_f16(e / 12.0f); h <= terse_f32_to_f16(e / 5.0f); h++)
        for (int sign = -1; sign <= 1; sign += 2) {
            const float d = (float)sign * terse_f16_to_f32(h);
            double sum = 0.0;
            for (int32_t i = 0; i < 32; i++) {
                const float q = fminf(fmaxf(rintf(x[i] / d), -8.0f), 7.0f);
                sum += ((double)q * (double)d - (double)x[i]) * ((double)q * (double)d - (double)x[i]);
            }
            least = fmin(least, sum);
        }
    return least;
}

static void q4_0_is_near_the_best_scale(void **state)
{
    (void)state;
    double found = 0.0, best = 0.0;
    seed = 2;
    for (int32_t b = 0; b < 300; b++) {
        float x[32], y[32];
        for (int32_t k = 0; k < 32; k++)
            x[k] = normal();
        pass(TERSE_TYPE_Q4_0, y, x, 32, true);
        found += squares(x, y, 32);
        best += best_q4_0(x);
    }
    print_message("Q4_0: error %.4f of the best scales'\n", sqrt(found / best));
    assert_true(found >= best * 0.999 && found < 1.01 * best);
}

/* A part of n values with codes of its own, 0 .. most, a real scale and an offset that is not negative: what a
 * superblock could reach if its scales cost nothing. Descent from 400 starts. */
static double best_line(const float *x, int32_t n, double low, double most, bool offset)
{
    double least = INFINITY;
    for (int32_t start = 0; start < 400; start++) {
        double scale = uniform() * 2.0 * 5.0 / (most - low), shift = offset ? uniform() * 4.0 : 0.0;
        if (!offset && start % 2)
            scale = -scale;
        for (int32_t round = 0; round < 30 && scale != 0.0; round++) {
            double sx = 0.0, sq = 0.0, sxq = 0.0, sqq = 0.0, error = 0.0;
            for (int32_t i = 0; i < n; i++) {
                const double v = (double)x[i], q = fmin(fmax(rint((v + shift) / scale), low), most);
                error += (scale * q - shift - v) * (scale * q - shift - v);
                sx += v;
                sq += q;
                sxq += v * q;
                sqq += q * q;
            }
            least = fmin(least, error);
            const double det = n * sqq - sq * sq;
            scale = offset && det > 0.0 ? (n * sxq - sx * sq) / det : sqq > 0.0 ? sxq / sqq : 0.0;
            shift = offset && det > 0.0 ? (scale * sq - sx) / n : 0.0;
            if (shift < 0.0) {
                shift = 0.0;
                scale = sxq / sqq;
            }
        }
    }
    return least;
}

static void superblocks_are_near_the_best_parts(void **state)
{
    (void)state;
    static const struct {
        terse_type type;
        int32_t n;
        double low, most;
        double limit; /* of error^2: scales and offsets of 6 bits, or of 7 and a sign, are part of it */
    } kinds[] = { { TERSE_TYPE_Q4_K, 32, 0, 15, 1.06 },
                  { TERSE_TYPE_Q5_K, 32, 0, 31, 1.14 },
                  { TERSE_TYPE_Q6_K, 16, -32, 31, 1.10 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        double found = 0.0, best = 0.0;
        seed = 3;
        for (int32_t b = 0; b < 12; b++) {
            float x[256], y[256];
            for (int32_t k = 0; k < 256; k++)
                x[k] = normal();
            pass(kinds[i].type, y, x, 256, true);
            found += squares(x, y, 256);
            for (int32_t k = 0; k < 256; k += kinds[i].n)
                best += best_line(x + k, kinds[i].n, kinds[i].low, kinds[i].most, kinds[i].low == 0.0);
        }
        print_message("%s: error %.4f of parts with free scales\n", terse_type_of(kinds[i].type)->name,
                      sqrt(found / best));
        assert_true(found < kinds[i].limit * best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_blocks_are_valid),
        cmocka_unit_test(searching_pays),
        cmocka_unit_test(q4_0_is_near_the_best_scale),
        cmocka_unit_test(superblocks_are_near_the_best_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
