/* gguf/fingerprint.c: see fingerprint.h. */
#include "gguf/fingerprint.h"

#include <string.h>
#include <xxhash.h>

enum { SAMPLES = 64, SAMPLE_SIZE = 4096 };

void terse_gguf_fingerprint(const terse_gguf *g, uint8_t hash[16])
{
    uint8_t known[16 + 8 + 8 * SAMPLES], *at = known + 16;
    const uint64_t size = terse_gguf_size(g);
    const int32_t n = terse_gguf_n_tensor(g), n_sample = n < SAMPLES ? n : SAMPLES;
    XXH128_canonical_t sum;
    terse_gguf_hash(g, known);
    for (int i = 0; i < 8; i++)
        *at++ = (uint8_t)(size >> 8 * i);
    for (int32_t i = 0; i < n_sample; i++, at += 8) {
        const terse_tensor *t = terse_gguf_tensor(g, (int32_t)((int64_t)i * n / n_sample));
        XXH64_canonical_t part;
        XXH64_canonicalFromHash(&part, XXH3_64bits(t->data, t->size < SAMPLE_SIZE ? t->size : SAMPLE_SIZE));
        memcpy(at, part.digest, sizeof part.digest);
    }
    XXH128_canonicalFromHash(&sum, XXH3_128bits(known, (size_t)(at - known)));
    memcpy(hash, sum.digest, 16);
}
