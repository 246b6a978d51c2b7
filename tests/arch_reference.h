/* tests/arch_reference.h: dense architectures as their definitions say them: a file of random weights, and its
 * logits computed in float64, token by token, without any of the engine's code. */
#ifndef TERSE_TESTS_ARCH_REFERENCE_H
#define TERSE_TESTS_ARCH_REFERENCE_H

#include "terse/gguf.h"

enum { REF_EMBD = 48, REF_HEAD = 4, REF_KV = 2, REF_FF = 40, REF_VOCAB = 64 };

typedef enum { REF_PRE, REF_SANDWICH, REF_POST, REF_ONE } ref_norms;
typedef enum { REF_QK_NONE, REF_QK_HEAD, REF_QK_EACH, REF_QK_ALL } ref_qk;

/* Zero: llama. */
typedef struct {
    const char *arch;
    int32_t n_layer, dim; /* channels of a head */
    ref_norms norms;
    bool layer_norm, norm_bias; /* LayerNorm */
    ref_qk qk;
    bool parallel;
    bool halves;  /* rope turns i with i + n/2 */
    int32_t turn; /* channels that turn; 0: all */
    int32_t skip; /* every skip-th layer does not turn */
    bool gelu, fused_qkv, fused_ff, bias;
    double embed_scale, branch_scale, attn_scale, logits_scale; /* 0: 1; attn: 1 / sqrt(dim) */
    double attn_cap, logits_cap;
    int32_t window, period; /* every period-th layer is not windowed */
    double window_base;     /* rope base of windowed layers; 0: 10000 like the others */
    bool sinks;
    /* Keys that the file has beside those of every file: "embedding_scale=6", separated by blanks. */
    const char *keys;
} ref_spec;

/* Writes the model of s to path. */
terse_status ref_write(const ref_spec *s, const char *path, terse_error *err);
/* logits [n][REF_VOCAB] of tokens[n]. */
void ref_logits(const ref_spec *s, const int32_t *tokens, int32_t n, double *logits);

#endif
