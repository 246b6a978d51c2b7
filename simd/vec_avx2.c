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

static void rope_pairs(float *x, const float *cs, int32_t n)
{
    for (int32_t i = 0; i < n; i += 8) {
        const __m256i m = live(n, i);
        const __m256 v = _mm256_maskload_ps(x + i, m), a = _mm256_maskload_ps(cs + i, m);
        const __m256 t = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), _mm256_movehdup_ps(a));
        _mm256_maskstore_ps(x + i, m, _mm256_fmaddsub_ps(v, _mm256_moveldup_ps(a), t));
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
    *k = (terse_vec_kernels){ "avx2", rms_norm, rope_pairs, silu_mul, add, axpy, read_sum };
}
