/* simd/vec_scalar.c: norm, rope, gate and residual as vec.h says them. The specification of the other tiers. */
#include "simd/expf.h"
#include "simd/vec.h"

#include <math.h>

enum { LANES = 16 };

/* Sum of the lanes, folded by halving. */
static float fold(float lane[LANES])
{
    for (int32_t half = LANES / 2; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static void rms_norm(float *y, const float *x, const float *w, int32_t n, float eps)
{
    float lane[LANES] = { 0.0f };
    for (int32_t i = 0; i < n; i++)
        lane[i % LANES] = fmaf(x[i], x[i], lane[i % LANES]);
    const float r = 1.0f / sqrtf(fold(lane) / (float)n + eps);
    for (int32_t i = 0; i < n; i++)
        y[i] = x[i] * r * w[i];
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
{
    float sum[LANES] = { 0.0f }, squares[LANES] = { 0.0f };
    for (int32_t i = 0; i < n; i++)
        sum[i % LANES] += x[i];
    const float mean = fold(sum) / (float)n;
    for (int32_t i = 0; i < n; i++)
        squares[i % LANES] = fmaf(x[i] - mean, x[i] - mean, squares[i % LANES]);
    const float r = 1.0f / sqrtf(fold(squares) / (float)n + eps);
    for (int32_t i = 0; i < n; i++) {
        const float v = (x[i] - mean) * r * w[i];
        y[i] = b ? v + b[i] : v;
    }
}

static void rope_pairs(float *x, const float *cs, int32_t n)
{
    for (int32_t i = 0; i < n; i += 2) {
        const float x0 = x[i], x1 = x[i + 1], c = cs[i], s = cs[i + 1];
        x[i] = fmaf(x0, c, -(x1 * s));
        x[i + 1] = fmaf(x1, c, x0 * s);
    }
}

static void rope_halves(float *x, const float *cs, int32_t n)
{
    const int32_t half = n / 2;
    for (int32_t i = 0; i < half; i++) {
        const float x0 = x[i], x1 = x[half + i], c = cs[i], s = cs[half + i];
        x[i] = fmaf(x0, c, -(x1 * s));
        x[half + i] = fmaf(x1, c, x0 * s);
    }
}

static void silu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + terse_expf(-gate[i])) * up[i];
}

static void gelu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        const float g = gate[i], z = TERSE_GELU_TURN * g * fmaf(TERSE_GELU_CUBE * g, g, 1.0f);
        y[i] = g / (1.0f + terse_expf(z)) * up[i];
    }
}

static void swiglu_clamped(float *y, const float *gate, const float *up, int32_t n)
{
    const float cap = TERSE_SWIGLU_CAP;
    for (int32_t i = 0; i < n; i++) {
        const float g = cap < gate[i] ? cap : gate[i], most = cap < up[i] ? cap : up[i];
        const float u = -cap > most ? -cap : most;
        y[i] = g / (1.0f + terse_expf(TERSE_SWIGLU_TURN * g)) * (u + 1.0f);
    }
}

static void softcap(float *x, int32_t n, float cap)
{
    const float turn = 2.0f / cap, twice = 2.0f * cap;
    for (int32_t i = 0; i < n; i++)
        x[i] = cap - twice / (1.0f + terse_expf(turn * x[i]));
}

static void add(float *y, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void axpy(float *y, float a, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

static uint64_t read_sum(const void *p, size_t size)
{
    const uint64_t *x = p;
    uint64_t sum[8] = { 0 };
    for (size_t i = 0; i < size / sizeof *x; i += 8)
        for (size_t j = 0; j < 8; j++)
            sum[j] += x[i + j];
    for (size_t j = 1; j < 8; j++)
        sum[0] += sum[j];
    return sum[0];
}

void terse_vec_init_scalar(terse_vec_kernels *k)
{
    *k = (terse_vec_kernels){ "scalar", rms_norm,       layer_norm, rope_pairs, rope_halves, silu_mul,
                              gelu_mul, swiglu_clamped, softcap,    add,        axpy,        read_sum };
}
