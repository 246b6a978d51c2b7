/* simd/vec_avx512.c: norm, rope, gate and residual with 16 lanes and masked tails. */
#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile this file with the avx512 tier's flags"
#endif

#include "simd/expf_avx512.h"
#include "simd/vec.h"

#include <immintrin.h>

/* The lanes that are left at i. */
static inline __mmask16 live(int32_t n, int32_t i)
{
    return n - i >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (n - i)) - 1);
}

static void rms_norm(float *y, const float *x, const float *w, int32_t n, float eps)
{
    __m512 sum = _mm512_setzero_ps();
    for (int32_t i = 0; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(live(n, i), x + i);
        sum = _mm512_mask3_fmadd_ps(v, v, sum, live(n, i));
    }
    const __m512 r = _mm512_set1_ps(1.0f / sqrtf(fold16_avx512(sum) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), r);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)));
    }
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
{
    __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int32_t i = 0; i < n; i += 16)
        sum = _mm512_mask_add_ps(sum, live(n, i), sum, _mm512_maskz_loadu_ps(live(n, i), x + i));
    const __m512 mean = _mm512_set1_ps(fold16_avx512(sum) / (float)n);
    for (int32_t i = 0; i < n; i += 16) {
        const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(live(n, i), x + i), mean);
        squares = _mm512_mask3_fmadd_ps(v, v, squares, live(n, i));
    }
    const __m512 r = _mm512_set1_ps(1.0f / sqrtf(fold16_avx512(squares) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 d = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), mean);
        __m512 v = _mm512_mul_ps(_mm512_mul_ps(d, r), _mm512_maskz_loadu_ps(m, w + i));
        if (b)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, b + i));
        _mm512_mask_storeu_ps(y + i, m, v);
    }
}

static void rope_pairs(float *x, const float *cs, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 v = _mm512_maskz_loadu_ps(m, x + i), a = _mm512_maskz_loadu_ps(m, cs + i);
        const __m512 t = _mm512_mul_ps(_mm512_permute_ps(v, 0xb1), _mm512_movehdup_ps(a));
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmaddsub_ps(v, _mm512_moveldup_ps(a), t));
    }
}

static void rope_halves(float *x, const float *cs, int32_t n)
{
    const int32_t half = n / 2;
    for (int32_t i = 0; i < half; i += 16) {
        const __mmask16 m = live(half, i);
        const __m512 x0 = _mm512_maskz_loadu_ps(m, x + i), x1 = _mm512_maskz_loadu_ps(m, x + half + i);
        const __m512 c = _mm512_maskz_loadu_ps(m, cs + i), s = _mm512_maskz_loadu_ps(m, cs + half + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(x0, c, _mm512_mul_ps(x1, s)));
        _mm512_mask_storeu_ps(x + half + i, m, _mm512_fmadd_ps(x1, c, _mm512_mul_ps(x0, s)));
    }
}

static void silu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        const __m512 d = _mm512_add_ps(one, exp_avx512(_mm512_xor_ps(g, sign)));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(_mm512_div_ps(g, d), _mm512_maskz_loadu_ps(m, up + i)));
    }
}

static void gelu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    const __m512 one = _mm512_set1_ps(1.0f), turn = _mm512_set1_ps(TERSE_GELU_TURN);
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        const __m512 cube = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(TERSE_GELU_CUBE), g), g, one);
        const __m512 d = _mm512_add_ps(one, exp_avx512(_mm512_mul_ps(_mm512_mul_ps(turn, g), cube)));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(_mm512_div_ps(g, d), _mm512_maskz_loadu_ps(m, up + i)));
    }
}

static void swiglu_clamped(float *y, const float *gate, const float *up, int32_t n)
{
    const __m512 one = _mm512_set1_ps(1.0f), turn = _mm512_set1_ps(TERSE_SWIGLU_TURN);
    const __m512 high = _mm512_set1_ps(TERSE_SWIGLU_CAP), low = _mm512_set1_ps(-TERSE_SWIGLU_CAP);
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 g = _mm512_min_ps(high, _mm512_maskz_loadu_ps(m, gate + i)); /* NaN passes */
        const __m512 u = _mm512_max_ps(low, _mm512_min_ps(high, _mm512_maskz_loadu_ps(m, up + i)));
        const __m512 d = _mm512_add_ps(one, exp_avx512(_mm512_mul_ps(turn, g)));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(_mm512_div_ps(g, d), _mm512_add_ps(u, one)));
    }
}

static void softcap(float *x, int32_t n, float cap)
{
    const __m512 one = _mm512_set1_ps(1.0f), turn = _mm512_set1_ps(2.0f / cap);
    const __m512 most = _mm512_set1_ps(cap), twice = _mm512_set1_ps(2.0f * cap);
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 e = exp_avx512(_mm512_mul_ps(turn, _mm512_maskz_loadu_ps(m, x + i)));
        _mm512_mask_storeu_ps(x + i, m, _mm512_sub_ps(most, _mm512_div_ps(twice, _mm512_add_ps(one, e))));
    }
}

static void add(float *y, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 s = _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + i), _mm512_maskz_loadu_ps(m, x + i));
        _mm512_mask_storeu_ps(y + i, m, s);
    }
}

static void axpy(float *y, float a, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        const __mmask16 m = live(n, i);
        const __m512 s = _mm512_fmadd_ps(_mm512_set1_ps(a), _mm512_maskz_loadu_ps(m, x + i),
                                         _mm512_maskz_loadu_ps(m, y + i));
        _mm512_mask_storeu_ps(y + i, m, s);
    }
}

/* Bytes that the prefetch runs before the loads, and the size up to which there is none: what lies in a near
 * cache is slowed down by it. */
enum { AHEAD = 4096, NEAR = 1 << 20 };

static uint64_t read_sum(const void *p, size_t size)
{
    const char *x = p;
    const __m512i z = _mm512_setzero_si512();
    __m512i sum[8] = { z, z, z, z, z, z, z, z }; /* a loop would become a slow fill of memory */
    size_t i = 0;
    for (; i + 512 <= size; i += 512)
        for (int j = 0; j < 8; j++) {
            if (size > NEAR)
                _mm_prefetch(x + i + AHEAD + 64 * j, _MM_HINT_T0);
            sum[j] = _mm512_add_epi64(sum[j], _mm512_load_si512(x + i + 64 * j));
        }
    for (; i < size; i += 64)
        sum[0] = _mm512_add_epi64(sum[0], _mm512_load_si512(x + i));
    for (int j = 1; j < 8; j++)
        sum[0] = _mm512_add_epi64(sum[0], sum[j]);
    uint64_t lane[8], total = 0; /* unsigned: the sum may wrap */
    _mm512_storeu_si512(lane, sum[0]);
    for (int j = 0; j < 8; j++)
        total += lane[j];
    return total;
}

void terse_vec_init_avx512(terse_vec_kernels *k)
{
    *k = (terse_vec_kernels){ "avx512", rms_norm,       layer_norm, rope_pairs, rope_halves, silu_mul,
                              gelu_mul, swiglu_clamped, softcap,    add,        axpy,        read_sum };
}
