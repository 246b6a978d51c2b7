/* model/gate.h: predictors of how useful a token will be to later ones, one number per KV head, from the normed
 * input of attention. SP-KV models carry theirs (blk.N.attn_kv_util.*, trained with the model); others get them
 * from a side-car file (blk.N.kvgate.*, trained behind a frozen model). */
#ifndef TERSE_MODEL_GATE_H
#define TERSE_MODEL_GATE_H

#include "model/model.h"

typedef struct {
    terse_linear in;  /* n_embd -> hidden; -> n_head_kv in a linear gate */
    terse_linear out; /* hidden -> n_head_kv; data NULL: a linear gate */
} terse_gate_layer;

struct terse_gate {
    terse_gguf *gguf; /* owned; NULL: the tensors are the model's */
    terse_gate_info info;
    bool gelu, sigmoid;
    int32_t most;            /* widest result of in */
    terse_gate_layer *layer; /* [n_layer] */
};

/* The gate in the model's own file; *out is NULL if it has none. */
terse_status terse_gate_bind(terse_gate **out, const terse_model *m, terse_error *err);
/* Is that the name of one of its tensors? */
bool terse_gate_owns(terse_str name);
/* The utility of a token for a KV head, from the results of the layer's first matrix. */
float terse_gate_utility(const terse_gate *g, int32_t layer, int32_t head, const float *hidden);

#endif
