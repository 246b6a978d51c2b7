/* model/model.h: a model with its tensors bound. */
#ifndef TERSE_MODEL_MODEL_H
#define TERSE_MODEL_MODEL_H

#include "model/arch.h"
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

/* Matrices of one shape, one behind the other; data NULL: not there. */
typedef struct {
    terse_linear first; /* its bias: [n][n_out] or NULL */
    size_t size;        /* bytes from one to the next */
} terse_stack;

/* Of the architecture's kind (rms norms have no bias). weight NULL: there is none, x stays as it is. */
typedef struct {
    const float *weight, *bias; /* [n], [n] or NULL */
    int32_t stride;             /* norms of heads: from one head's weights to the next; 0: they share them */
} terse_norm;

/* Which of the model's ropes a layer's heads turn by. */
enum { TERSE_ROPE_NONE = -1, TERSE_ROPE_FULL, TERSE_ROPE_WINDOWED, TERSE_ROPE_LONG, TERSE_ROPES };

typedef struct {
    terse_norm attn_norm, attn_post, ffn_norm, ffn_post; /* post: of the branch, before it is added */
    terse_norm q_norm, k_norm;
    terse_linear q, k, v, o;
    terse_linear gate, up, down; /* dense feed-forward; with experts: the shared ones */
    terse_linear router;         /* n_expert rows; data NULL in a dense layer */
    const float *router_bias;    /* [n_expert] added to the scores that choose, or NULL */
    terse_stack gates, ups, downs;
    const float *sinks;               /* [n_head] or NULL */
    int32_t window;                   /* tokens that a token sees, itself among them; 0: all before it */
    int32_t rope;                     /* TERSE_ROPE_NONE, FULL or WINDOWED */
    bool parallel;                    /* both branches see the same input */
    terse_linear q_low, kv_low, kv_b; /* model/mla.c */
    terse_norm q_low_norm, kv_low_norm;
    terse_stack k_b, v_b;
} terse_layer;

/* How a head's channels turn with the position: angle(i) = pos * freq[i], cos and sin times magnitude. */
typedef struct {
    int32_t n;    /* channels that turn, the first of a head */
    bool halves;  /* pairs (i, n/2 + i), not (2i, 2i + 1) */
    double *freq; /* [n / 2]; NULL: the model has no such rope */
    double magnitude;
} terse_rope;

/* Multi-head latent attention (DeepSeek-V2): what the cache holds of a token is a latent of kv_rank channels,
 * of which keys and values of all heads are linear functions, and one key part that turns. kv_rank 0: not this.
 */
typedef struct {
    int32_t q_rank, kv_rank; /* q_rank 0: queries are projected in one step */
    int32_t still, turn;     /* channels of a query head that do not turn, and behind them those that do */
    int32_t dim_v;           /* channels of a value head */
    bool latent;             /* the cache holds latents; else keys and values of every head */
} terse_latent;

typedef struct {
    bool norm;                       /* weights of the chosen are brought to a sum of 1 */
    float scale;                     /* of the weights */
    terse_router kind;               /* how scores become weights */
    int32_t n_group, n_group_used;   /* experts are chosen from the best groups; 1: from all */
    int32_t n_ff, n_shared, n_dense; /* width of an expert; shared experts, as one; leading dense layers */
} terse_routing;

struct terse_model {
    const terse_gguf *gguf;
    terse_gguf *owned; /* the same, to be closed with the model */
    terse_vocab *vocab;
    const terse_arch *arch;
    terse_model_info info;
    float norm_eps;
    float scale;                                   /* of q . k */
    float embed_scale, branch_scale, logits_scale; /* 1: as they are */
    float attn_cap, logits_cap;                    /* soft caps; 0: none */
    int32_t dim_q, dim_o;                          /* channels of a head as projected, and as o takes it */
    int32_t n_ff;                                  /* widest dense feed-forward; 0: none */
    int32_t window_period;                         /* every so many-th layer is not windowed */
    int32_t ctx_orig;                              /* a longer context takes TERSE_ROPE_LONG */
    terse_latent latent;
    terse_routing routing;
    terse_rope rope[TERSE_ROPES];
    terse_linear embed, output; /* output is embed where they are tied */
    terse_norm output_norm;
    terse_layer *layer;  /* [n_layer] */
    terse_gate *utility; /* model/gate.c; NULL: the file has none */
};

/* "arch.name" as the file's key. */
enum { TERSE_KEY = 128 };
void terse_model_key(const terse_model *m, const char *name, char key[TERSE_KEY]);
/* *value of arch.name, which must be between low and high; left as it is if the file has none and it is not
 * required. */
terse_status terse_model_integer(const terse_model *m, const char *name, bool required, int32_t low,
                                 int32_t high, int32_t *value, terse_error *err);
terse_status terse_model_number(const terse_model *m, const char *name, bool required, float low, float high,
                                float *value, terse_error *err);

/* model/hparams.c: fills info and all numbers from the metadata; every value is checked before it is used. */
terse_status terse_model_hparams(terse_model *m, terse_error *err);
/* model/bind.c: finds every tensor, checks type and shape, refuses those it does not know. */
terse_status terse_model_bind(terse_model *m, terse_error *err);
/* model/rope.c: frequencies from base, scaling and factors. */
terse_status terse_rope_open(terse_model *m, terse_error *err);
/* What a layer's heads turn by in contexts of ctx tokens; NULL for TERSE_ROPE_NONE. */
const terse_rope *terse_rope_of(const terse_model *m, int32_t rope, int32_t ctx);
/* cs[n] = cosine and sine of the angles of position pos, laid out for the kernel of the rope's kind. */
void terse_rope_at(const terse_rope *r, int32_t pos, float *cs);

#endif
