/* simd/vec_avx2.c: norm, rope, gate and residual with 8 lanes; tails go through masked loads and stores. */
#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with the avx2 tier's flags"
#endif

#include "simd/expf_avx2.h"
#include "simd/vec.h"

#include <immintrin.h>

/* The lanes that are left at i, as a mask for maskload. */
static inline __m256i live(int32_t n, int32_t i)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - i), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static void rms_norm(float *y, const float *x, const float *w, int32_t n, float eps)
{
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 v = _mm256_maskload_ps(x + i, m), old = sum[i / 8 % 2];
        sum[i / 8 % 2] = _mm256_blendv_ps(old, _mm256_fmadd_ps(v, v, old), _mm256_castsi256_ps(m));
    }
    const __m256 r = _mm256_set1_ps(1.0f / sqrtf(fold16_avx2(sum[0], sum[1]) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, m), r);
        _mm256_maskstore_ps(y + i, m, _mm256_mul_ps(v, _mm256_maskload_ps(w + i, m)));
    }
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int32_t n, float eps)
{
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() }, squares[2] = { sum[0], sum[1] };
    for (int32_t i = 0; i < n; i += 8)
        sum[i / 8 % 2] = _mm256_add_ps(sum[i / 8 % 2], _mm256_maskload_ps(x + i, live(n, i)));
    const __m256 mean = _mm256_set1_ps(fold16_avx2(sum[0], sum[1]) / (float)n);
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 v = _mm256_sub_ps(_mm256_maskload_ps(x + i, m), mean), old = squares[i / 8 % 2];
        squares[i / 8 % 2] = _mm256_blendv_ps(old, _mm256_fmadd_ps(v, v, old), _mm256_castsi256_ps(m));
    }
    const __m256 r = _mm256_set1_ps(1.0f / sqrtf(fold16_avx2(squares[0], squares[1]) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 d = _mm256_sub_ps(_mm256_maskload_ps(x + i, m), mean);
        __m256 v = _mm256_mul_ps(_mm256_mul_ps(d, r), _mm256_maskload_ps(w + i, m));
        if (b)
            v = _mm256_add_ps(v, _mm256_maskload_ps(b + i, m));
        _mm256_maskstore_ps(y + i, m, v);
    }
}

static void rope_pairs(float *x, const float *cs, int32_t n)
{
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 v = _mm256_maskload_ps(x + i, m), a = _mm256_maskload_ps(cs + i, m);
        const __m256 t = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), _mm256_movehdup_ps(a));
        _mm256_maskstore_ps(x + i, m, _mm256_fmaddsub_ps(v, _mm256_moveldup_ps(a), t));
    }
}

static void rope_halves(float *x, const float *cs, int32_t n)
{
    const int32_t half = n / 2;
    for (int32_t i = 0; i < half; i += 8) {
        const __m256i m = live(half, i);
        const __m256 x0 = _mm256_maskload_ps(x + i, m), x1 = _mm256_maskload_ps(x + half + i, m);
        const __m256 c = _mm256_maskload_ps(cs + i, m), s = _mm256_maskload_ps(cs + half + i, m);
        _mm256_maskstore_ps(x + i, m, _mm256_fmsub_ps(x0, c, _mm256_mul_ps(x1, s)));
        _mm256_maskstore_ps(x + half + i, m, _mm256_fmadd_ps(x1, c, _mm256_mul_ps(x0, s)));
    }
}

static void silu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 g = _mm256_maskload_ps(gate + i, m);
        const __m256 d = _mm256_add_ps(one, exp_avx2(_mm256_xor_ps(g, sign)));
        _mm256_maskstore_ps(y + i, m, _mm256_mul_ps(_mm256_div_ps(g, d), _mm256_maskload_ps(up + i, m)));
    }
}

static void gelu_mul(float *y, const float *gate, const float *up, int32_t n)
{
    const __m256 one = _mm256_set1_ps(1.0f), turn = _mm256_set1_ps(TERSE_GELU_TURN);
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 g = _mm256_maskload_ps(gate + i, m);
        const __m256 cube = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_set1_ps(TERSE_GELU_CUBE), g), g, one);
        const __m256 d = _mm256_add_ps(one, exp_avx2(_mm256_mul_ps(_mm256_mul_ps(turn, g), cube)));
        _mm256_maskstore_ps(y + i, m, _mm256_mul_ps(_mm256_div_ps(g, d), _mm256_maskload_ps(up + i, m)));
    }
}

static void swiglu_clamped(float *y, const float *gate, const float *up, int32_t n)
{
    const __m256 one = _mm256_set1_ps(1.0f), turn = _mm256_set1_ps(TERSE_SWIGLU_TURN);
    const __m256 high = _mm256_set1_ps(TERSE_SWIGLU_CAP), low = _mm256_set1_ps(-TERSE_SWIGLU_CAP);
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 g = _mm256_min_ps(high, _mm256_maskload_ps(gate + i, m)); /* NaN passes */
        const __m256 u = _mm256_max_ps(low, _mm256_min_ps(high, _mm256_maskload_ps(up + i, m)));
        const __m256 d = _mm256_add_ps(one, exp_avx2(_mm256_mul_ps(turn, g)));
        _mm256_maskstore_ps(y + i, m, _mm256_mul_ps(_mm256_div_ps(g, d), _mm256_add_ps(u, one)));
    }
}

static void softcap(float *x, int32_t n, float cap)
{
    const __m256 one = _mm256_set1_ps(1.0f), turn = _mm256_set1_ps(2.0f / cap);
    const __m256 most = _mm256_set1_ps(cap), twice = _mm256_set1_ps(2.0f * cap);
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 e = exp_avx2(_mm256_mul_ps(turn, _mm256_maskload_ps(x + i, m)));
        _mm256_maskstore_ps(x + i, m, _mm256_sub_ps(most, _mm256_div_ps(twice, _mm256_add_ps(one, e))));
    }
}

static void add(float *y, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        _mm256_maskstore_ps(y + i, m,
                            _mm256_add_ps(_mm256_maskload_ps(y + i, m), _mm256_maskload_ps(x + i, m)));
    }
}

static void axpy(float *y, float a, const float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 s =
            _mm256_fmadd_ps(_mm256_set1_ps(a), _mm256_maskload_ps(x + i, m), _mm256_maskload_ps(y + i, m));
        _mm256_maskstore_ps(y + i, m, s);
    }
}

/* Bytes that the prefetch runs before the loads, and the size up to which there is none: what lies in a near
 * cache is slowed down by it. */
enum { AHEAD = 4096, NEAR = 1 << 20 };

static uint64_t read_sum(const void *p, size_t size)
{
    const char *x = p;
    const __m256i z = _mm256_setzero_si256();
    __m256i sum[8] = { z, z, z, z, z, z, z, z }; /* a loop would become a slow fill of memory */
    size_t i = 0;
    for (; i + 256 <= size; i += 256) {
        for (int j = 0; j < 4 && size > NEAR; j++)
            _mm_prefetch(x + i + AHEAD + 64 * j, _MM_HINT_T0);
        for (int j = 0; j < 8; j++)
            sum[j] = _mm256_add_epi64(sum[j], _mm256_load_si256((const __m256i *)(x + i) + j));
    }
    for (; i < size; i += 32)
        sum[0] = _mm256_add_epi64(sum[0], _mm256_load_si256((const __m256i *)(x + i)));
    for (int j = 1; j < 8; j++)
        sum[0] = _mm256_add_epi64(sum[0], sum[j]);
    const __m128i s = _mm_add_epi64(_mm256_castsi256_si128(sum[0]), _mm256_extracti128_si256(sum[0], 1));
    return (uint64_t)_mm_cvtsi128_si64(s) + (uint64_t)_mm_extract_epi64(s, 1);
}

void terse_vec_init_avx2(terse_vec_kernels *k)
{
    *k = (terse_vec_kernels){ "avx2",   rms_norm,       layer_norm, rope_pairs, rope_halves, silu_mul,
                              gelu_mul, swiglu_clamped, softcap,    add,        axpy,        read_sum };
}
