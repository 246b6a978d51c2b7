/* tests/make_model.h: writes random models of the llama architecture, for tests and benchmarks that need a
 * shape and not a meaning. The same options give the same file on every machine. */
#ifndef TERSE_TESTS_MAKE_MODEL_H
#define TERSE_TESTS_MAKE_MODEL_H

#include "terse/gguf.h"

/* Type of each kind of matrix. All zero is all F32. */
typedef struct {
    terse_type embd, output, q, k, v, o, gate, up, down;
} make_model_types;

/* Zero means default, except where a comment says that it must be given. */
typedef struct {
    const char *name;      /* general.name; NULL: "random" */
    const char *tokenizer; /* a GGUF file whose tokenizer.* keys are copied; NULL: tokenizer model "none" */
    int32_t n_layer;       /* to be given */
    int32_t n_embd;        /* to be given */
    int32_t n_head;        /* to be given */
    int32_t n_head_kv;     /* n_head */
    int32_t head_dim;      /* n_embd / n_head; even */
    int32_t n_ff;          /* to be given */
    int32_t n_vocab;       /* the tokenizer's; to be given without one */
    int32_t n_ctx;         /* 512 */
    int32_t n_expert;      /* 0: no experts, one feed-forward */
    int32_t n_expert_used; /* 2 */
    float rope_base;       /* 10000 */
    float eps;             /* 1e-5 */
    float std;             /* of the weights; 0: 1 / sqrt(row length), and 1 for the embedding */
    float q_gain;          /* factor on attn_q: above 1 attention is more peaked; 1 */
    float norm_std;        /* norm weights are 1 + normal * norm_std */
    bool bias;             /* biases on q, k, v and o */
    bool output;           /* an output.weight of its own; false: tied to the embedding */
    int32_t utility;       /* 0: none; else hidden width of SP-KV's predictors, with a window of 40, 2 sinks */
    bool rope_freqs;       /* a rope_freqs.weight that slows the lower half of the frequencies down */
    make_model_types types;
    uint64_t seed;
    int32_t threads; /* one per core; changes nothing in the file */
} make_model_opts;

/* All matrices of one type. */
make_model_types make_model_uniform(terse_type type);
/* Writes the model to path. Holds all its tensors in memory while it does. */
terse_status make_model(const char *path, const make_model_opts *opts, terse_error *err);
/* The weights before they are rounded to a type: x[n] = row `row` of the tensor `name` with deviation std. */
void make_model_row(float *x, int64_t n, uint64_t seed, const char *name, int64_t row, float std);

#endif
