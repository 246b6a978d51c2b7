/* model/model.h: a model with its tensors bound. */
#ifndef TERSE_MODEL_MODEL_H
#define TERSE_MODEL_MODEL_H

#include "simd/kernels.h"
#include "terse/model.h"

/* y = W x + b: n_out rows of n_in values in the file's own blocks. data NULL: not there. */
typedef struct {
    const char *data;
    const float *bias; /* [n_out] or NULL */
    terse_dot_type type;
    int32_t n_in, n_out;
    size_t row_size;
} terse_linear;

/* n_expert matrices one behind the other; data NULL: not there. */
typedef struct {
    terse_linear first;
    size_t size; /* bytes from one to the next */
} terse_experts;

typedef struct {
    const float *attn_norm, *ffn_norm; /* [n_embd] */
    terse_linear q, k, v, o;
    terse_linear gate, up, down; /* dense feed-forward */
    terse_linear router;         /* n_expert rows; data NULL in a dense layer */
    terse_experts gates, ups, downs;
} terse_layer;

/* How a head's channels turn with the position: angle(i) = pos * freq[i], cos and sin times magnitude. */
typedef struct {
    int32_t n;    /* channels that turn, pairs (2i, 2i+1) */
    double *freq; /* [n / 2] */
    double magnitude;
} terse_rope;

/* An architecture is a row: what its files may set. Code only where the maths differs. */
typedef struct {
    const char *name; /* general.architecture */
    bool experts;     /* layers may have experts: softmax over all, top k, renormalised */
} terse_arch;

struct terse_model {
    terse_gguf *gguf;
    terse_vocab *vocab;
    const terse_arch *arch;
    terse_model_info info;
    float norm_eps;
    float scale; /* of q . k */
    terse_rope rope;
    terse_linear embed, output; /* output is embed where they are tied */
    const float *output_norm;   /* [n_embd] */
    terse_layer *layer;         /* [n_layer] */
};

/* model/hparams.c: fills info, norm_eps, scale from the metadata; every value is checked before it is used. */
terse_status terse_model_hparams(terse_model *m, terse_error *err);
/* model/bind.c: finds every tensor, checks type and shape, refuses those it does not know. */
terse_status terse_model_bind(terse_model *m, terse_error *err);
/* model/rope.c: frequencies from base, scaling and factors. */
terse_status terse_rope_open(terse_rope *r, const terse_model *m, terse_error *err);
/* cs[n] = cos, sin, cos, sin, ... of position pos. */
void terse_rope_at(const terse_rope *r, int32_t pos, float *cs);

#endif
