/* simd/vec_neon.c: norms, rope, gates and residual with 4 lanes; the last lanes of a row go through memory of
 * their own. */
#include "simd/expf_neon.h"
#include "simd/vec.h"

enum { LANES = 16 };

/* x[i..n-1], at most 4 of them, zeros behind. */
INLINE float32x4_t get(const float *x, int32_t i, int32_t n)
{
    if (n - i >= 4)
        return vld1q_f32(x + i);
    float rest[4] = { 0.0f };
    memcpy(rest, x + i, (size_t)(n - i) * sizeof *rest);
    return vld1q_f32(rest);
}

INLINE void put(float *y, int32_t i, int32_t n, float32x4_t v)
{
    if (n - i >= 4) {
        vst1q_f32(y + i, v);
        return;
    }
    float rest[4];
    vst1q_f32(rest, v);
    memcpy(y + i, rest, (size_t)(n - i) * sizeof *rest);
}

/* sum of (x - less)^2, in 16 lanes. */
INLINE float sum_of_squares(const float *x, int32_t n, float less)
{
    float32x4_t sum[4];
    float lane[LANES];
    int32_t i = 0;
    for (int j = 0; j < 4; j++)
        sum[j] = vdupq_n_f32(0.0f);
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < 4; j++) {
            const float32x4_t v = vsubq_f32(vld1q_f32(x + i + 4 * j), vdupq_n_f32(less));
            sum[j] = vfmaq_f32(sum[j], v, v);
        }
    for (int j = 0; j < 4; j++)
        vst1q_f32(lane + 4 * j, sum[j]);
    for (int32_t k = 0; i < n; i++, k++)
        lane[k] = fmaf(x[i] - less, x[i] - less, lane[k]);
    for (int j = 0; j < 4; j++)
        sum[j] = vld1q_f32(lane + 4 * j);
    return fold16(sum);
}

INLINE float sum_of(const float *x, int32_t n)
{
    float32x4_t sum[4];
    int32_t i = 0;
    for (int j = 0; j < 4; j++)
        sum[j] = vdupq_n_f32(0.0f);
    for (; i < n; i += LANES)
        for (int j = 0; j < 4 && i + 4 * j < n; j++)
            sum[j] = vaddq_f32(sum[j], get(x, i + 4 * j, n));
    return fold16(sum);
}

static void rms_norm(float *y, const float *x, const float *w, int32_t n, float eps)
{
    const float r = 1.0f / sqrtf(sum_of_squares(x, n, 0.0f) / (float)n + eps);
    for (int32_t i = 0; i < n; i += 4)
        put(y, i, n, vmulq_f32(vmulq_n_f32(get(x, i, n), r), get(w, i, n)));
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
{
    const float mean = sum_of(x, n) / (float)n;
    const float r = 1.0f / sqrtf(sum_of_squares(x, n, mean) / (float)n + eps);
    for (int32_t i = 0; i < n; i += 4) {
        const float32x4_t d = vsubq_f32(get(x, i, n), vdupq_n_f32(mean));
        const float32x4_t v = vmulq_f32(vmulq_n_f32(d, r), get(w, i, n));
        put(y, i, n, b ? vaddq_f32(v, get(b, i, n)) : v);
    }
}

static void rope_pairs(float *x, const float *cs, int32_t n)
{
    static const uint32_t minus[4] = { 0x80000000, 0, 0x80000000, 0 };
    const uint32x4_t sign = vld1q_u32(minus);
    for (int32_t i = 0; i < n; i += 4) {
        const float32x4_t v = get(x, i, n), a = get(cs, i, n);
        const float32x4_t t = vmulq_f32(vrev64q_f32(v), vtrn2q_f32(a, a));
        const float32x4_t signed_t = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(t), sign));
        put(x, i, n, vfmaq_f32(signed_t, v, vtrn1q_f32(a, a)));
    }
}

static void rope_halves(float *x, const float *cs, int32_t n)
{
    const int32_t half = n / 2;
    for (int32_t i = 0; i < half; i += 4) {
        const float32x4_t x0 = get(x, i, half), x1 = get(x + half, i, half);
        const float32x4_t c = get(cs, i, half), s = get(cs + half, i, half);
        put(x, i, half, vfmaq_f32(vnegq_f32(vmulq_f32(x1, s)), x0, c));
        put(x + half, i, half, vfmaq_f32(vmulq_f32(x0, s), x1, c));
    }
}

static void silu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4) {
        const float32x4_t g = get(gate, i, n), d = vaddq_f32(vdupq_n_f32(1.0f), exp_neon(vnegq_f32(g)));
        put(y, i, n, vmulq_f32(vdivq_f32(g, d), get(up, i, n)));
    }
}

static void gelu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    for (int32_t i = 0; i < n; i += 4) {
        const float32x4_t g = get(gate, i, n);
        const float32x4_t cube = vfmaq_f32(one, vmulq_n_f32(g, TERSE_GELU_CUBE), g);
        const float32x4_t d = vaddq_f32(one, exp_neon(vmulq_f32(vmulq_n_f32(g, TERSE_GELU_TURN), cube)));
        put(y, i, n, vmulq_f32(vdivq_f32(g, d), get(up, i, n)));
    }
}

static void swiglu_clamped(float *y, const float *gate, const float *up, int32_t n)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t high = vdupq_n_f32(TERSE_SWIGLU_CAP), low = vdupq_n_f32(-TERSE_SWIGLU_CAP);
    for (int32_t i = 0; i < n; i += 4) {
        const float32x4_t g = vminq_f32(high, get(gate, i, n)); /* NaN passes */
        const float32x4_t u = vmaxq_f32(low, vminq_f32(high, get(up, i, n)));
        const float32x4_t d = vaddq_f32(one, exp_neon(vmulq_n_f32(g, TERSE_SWIGLU_TURN)));
        put(y, i, n, vmulq_f32(vdivq_f32(g, d), vaddq_f32(u, one)));
    }
}

static void softcap(float *x, int32_t n, float cap)
{
    const float32x4_t twice = vdupq_n_f32(2.0f * cap);
    for (int32_t i = 0; i < n; i += 4) {
        const float32x4_t e = exp_neon(vmulq_n_f32(get(x, i, n), 2.0f / cap));
        const float32x4_t part = vdivq_f32(twice, vaddq_f32(vdupq_n_f32(1.0f), e));
        put(x, i, n, vsubq_f32(vdupq_n_f32(cap), part));
    }
}

static void add(float *y, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4)
        put(y, i, n, vaddq_f32(get(y, i, n), get(x, i, n)));
}

static void axpy(float *y, float a, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4)
        put(y, i, n, vfmaq_n_f32(get(y, i, n), get(x, i, n), a));
}

/* Bytes that the prefetch runs before the loads. */
enum { AHEAD = 2048 };

static uint64_t read_sum(const void *p, size_t size)
{
    const uint64_t *x = p;
    const uint64x2_t z = vdupq_n_u64(0);
    uint64x2_t sum[4] = { z, z, z, z };
    for (size_t i = 0; i < size / sizeof *x; i += 8) {
        __builtin_prefetch((const char *)(x + i) + AHEAD, 0, 3);
        for (size_t j = 0; j < 4; j++)
            sum[j] = vaddq_u64(sum[j], vld1q_u64(x + i + 2 * j));
    }
    return vaddvq_u64(vaddq_u64(vaddq_u64(sum[0], sum[1]), vaddq_u64(sum[2], sum[3])));
}

void terse_vec_init_neon(terse_vec_kernels *k)
{
    *k = (terse_vec_kernels){ "neon",   rms_norm,       layer_norm, rope_pairs, rope_halves, silu_mul,
                              gelu_mul, swiglu_clamped, softcap,    add,        axpy,        read_sum };
}
