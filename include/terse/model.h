/* terse/model.h: a model file, its tensors bound by the table of its architecture. Weights stay in the mapping.
 */
#ifndef TERSE_MODEL_H
#define TERSE_MODEL_H

#include "terse/gguf.h"
#include "terse/text.h"

/* The mapped file, its vocabulary and its tensors. Immutable: any number of sessions may share it. */
typedef struct terse_model terse_model;

typedef struct {
    const char *arch; /* "llama" */
    const char *type; /* the type that most weight bytes have, "Q8_0" */
    int32_t n_layer, n_embd, n_head, n_head_kv, dim_k, dim_v, n_ff, n_vocab;
    int32_t n_expert, n_expert_used; /* 0: a dense model */
    int32_t window, n_windowed; /* layers whose tokens see so many tokens, themselves among them, not all */
    int32_t ctx_train;
    int64_t n_param;
    size_t weight_bytes; /* of all tensors */
    size_t token_bytes;  /* weights that one decoded token reads */
} terse_model_info;

/* What the time of a decode step goes to. */
typedef enum {
    TERSE_SPENT_EMBED,   /* row of the embedding, angles of the rotation */
    TERSE_SPENT_PREPARE, /* norms, activations to bytes */
    TERSE_SPENT_QKV,
    TERSE_SPENT_ATTEND, /* rotation, storing key and value, the walk */
    TERSE_SPENT_O,
    TERSE_SPENT_GATE_UP, /* with experts: all of the feed-forward */
    TERSE_SPENT_DOWN,
    TERSE_SPENT_LOGITS,
    TERSE_SPENT_WAIT, /* for other threads to begin or to end */
    TERSE_SPENT_N
} terse_spent;
TERSE_API const char *terse_spent_name(int32_t what); /* "qkv"; NULL if there is none such */
/* Nanoseconds, added up over threads. */
typedef struct {
    int64_t ns[TERSE_SPENT_N];
} terse_spending;

/* Predicts how useful a token will be to later ones: what SP-KV goes by. Immutable. */
typedef struct terse_gate terse_gate;
typedef struct {
    bool linear;           /* one matrix per layer, not two with an activation between them */
    float threshold;       /* utilities from here on are worth keeping */
    int32_t window, sinks; /* newest and first tokens that stay in any case */
    size_t token_bytes;    /* that one token reads of it */
} terse_gate_info;

/* Opens a GGUF file. On failure *out is NULL and err, if given, says why. */
TERSE_API terse_status terse_model_open(terse_model **out, const char *path, terse_error *err);
/* Frees *m and sets it to NULL. NULL and pointer to NULL are fine. No session may still use it. */
TERSE_API void terse_model_close(terse_model **m);
/* All borrowed until close. */
TERSE_API const terse_model_info *terse_model_about(const terse_model *m);
TERSE_API const terse_gguf *terse_model_gguf(const terse_model *m);
TERSE_API const terse_vocab *terse_model_vocab(const terse_model *m);

/* The gate that the model's own file has (SP-KV: blk.N.attn_kv_util.{0,1}.{weight,bias}, keys
 * terse.spkv.{window,threshold,sinks}); NULL: none. Borrowed until close. */
TERSE_API const terse_gate *terse_model_gate(const terse_model *m);
/* A gate for m from a file of its own (KVzap, arXiv 2601.07891). Tensors blk.N.kvgate.{w1,b1,w2,b2}, in a
 * linear gate w1 and b1 alone, F32 biases; keys terse.kvgate.threshold, and if they are not the first: .type
 * (mlp, linear), .activation (silu, gelu), .output (raw, sigmoid), .window (128), .sinks (4). */
TERSE_API terse_status terse_gate_open(terse_gate **out, const char *path, const terse_model *m,
                                       terse_error *err);
TERSE_API void terse_gate_close(terse_gate **g);
TERSE_API const terse_gate_info *terse_gate_about(const terse_gate *g);

/* What a file needs of this build, whether or not it can be opened as a model. */
typedef enum {
    TERSE_SUPPORT_ARCH,      /* architecture and its numbers */
    TERSE_SUPPORT_TOKENIZER, /* tokenizer and pre-tokenizer */
    TERSE_SUPPORT_TYPES,     /* types of the weights */
    TERSE_SUPPORT_TENSORS,   /* those that the architecture needs, in the shapes that the metadata says, and no
                                more */
    TERSE_SUPPORT_ROPE,      /* rotation and its scaling */
    TERSE_SUPPORT_TEMPLATE,  /* the chat template, if there is one; prompts that are no chat do without */
    TERSE_SUPPORT_N
} terse_support_what;
TERSE_API const char *terse_support_name(int32_t what); /* "weight types"; NULL if there is none such */
typedef struct {
    bool checked;   /* false where an item before it must be there first */
    bool ok;        /* supported */
    char text[512]; /* what it is, or what is missing; may hold any bytes of the file but no NUL */
} terse_support;
/* Fills items[TERSE_SUPPORT_N]; true if all are supported, except perhaps for the chat template. */
TERSE_API bool terse_model_support(const terse_gguf *g, terse_support *items);

#endif
