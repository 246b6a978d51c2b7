/* model/arch.h: an architecture is a row of a table (arch.c): which tensors a layer has under which names, and
 * what is done with them. Zero is what llama does. Code only where the maths differs. */
#ifndef TERSE_MODEL_ARCH_H
#define TERSE_MODEL_ARCH_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { TERSE_ACT_SILU, TERSE_ACT_GELU, TERSE_ACT_SWIGLU_CLAMPED } terse_act;

/* Norms of queries and keys, before they turn. */
typedef enum {
    TERSE_QK_NONE,
    TERSE_QK_HEAD, /* each head by itself, by the same weights */
    TERSE_QK_EACH, /* each head by itself, by its own weights, if the file has them */
    TERSE_QK_ALL   /* all heads of a token as one vector */
} terse_qk_norm;

/* Feed-forward and attention of the same input, without a norm of its own. */
typedef enum {
    TERSE_SERIAL,
    TERSE_PARALLEL,
    TERSE_PARALLEL_UNNORMED /* in files without the feed-forward's norm */
} terse_parallel;

/* How a router's scores become the weights of experts. */
typedef enum {
    TERSE_ROUTER_NONE,    /* the architecture has no experts */
    TERSE_ROUTER_SOFTMAX, /* softmax over all, then the best */
    TERSE_ROUTER_CHOSEN,  /* the best, then softmax over these */
    TERSE_ROUTER_SIGMOID
} terse_router;

/* Tensor names of a layer's norms; NULL: there is no such norm. */
typedef struct {
    const char *attn, *attn_post, *ffn, *ffn_post;
} terse_norm_names;

typedef struct {
    const char *name;              /* general.architecture */
    const terse_norm_names *norms; /* NULL: attn_norm and ffn_norm */
    bool layer_norm;               /* not rms norms; with a bias if norm_bias */
    bool norm_bias;
    terse_qk_norm qk_norm;
    terse_parallel parallel;
    bool rope_halves;  /* channel i turns with i + n/2, not with its neighbour */
    int32_t rope_skip; /* every so many-th layer does not turn; 0: all do */
    bool rope_factors; /* longrope: tensors of long and short factors */
    terse_act act;
    bool fused_ff;              /* ffn_up holds gate and up */
    bool embed_root;            /* embeddings times sqrt(embedding_length) */
    bool multipliers;           /* keys embedding_scale, residual_scale, attention.scale */
    int32_t logits_scale;       /* key logit_scale: 1 multiplies, -1 divides; 0: ignored */
    bool softcaps;              /* keys attn_logit_softcapping, final_logit_softcapping */
    float attn_cap, logits_cap; /* where these are missing; 0: no cap then */
    int32_t
        window_period; /* key attention.sliding_window holds for all but every so many-th layer; 0: ignored */
    int32_t window;    /* where that key is missing; 0: no windows then */
    bool window_plain_rope; /* windowed layers turn without the file's scaling */
    float window_rope_base; /* and by this base; 0: the file's */
    int32_t wide_scale;     /* a model of so many layers scales q . k by embedding_length / head_count */
    bool sinks;             /* a logit per head that joins the softmax */
    terse_router router;
    bool router_keys; /* keys expert_gating_func, expert_weights_norm, expert_weights_scale */
    bool latent;      /* model/mla.c */
} terse_arch;

/* The row of that name (n bytes), or NULL. */
const terse_arch *terse_arch_find(const char *name, uint64_t n);
/* i-th row, or NULL past the last. */
const terse_arch *terse_arch_at(int32_t i);

#endif
