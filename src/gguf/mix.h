/* gguf/mix.h: which type each tensor of a model gets. */
#ifndef TERSE_GGUF_MIX_H
#define TERSE_GGUF_MIX_H

#include "terse/gguf.h"

/* A kind of file: the type that most tensors get, and how others differ from it. */
typedef enum { TERSE_MIX_PLAIN, TERSE_MIX_S, TERSE_MIX_M } terse_mix_size;
typedef struct {
    const char *name;
    uint32_t file_type; /* general.file_type; the numbers are the file format's */
    terse_type type;
    terse_mix_size size;
    const char *help;
} terse_mix;

/* NULL past the last; NULL for an unknown name (case does not matter). */
const terse_mix *terse_mix_at(int32_t i);
const terse_mix *terse_mix_named(const char *name);

/* What the choice depends on; made once per file. */
typedef struct {
    const terse_mix *mix;
    int32_t n_value, n_down; /* tensors of values (attn_v and its like) and of ffn_down */
    int32_t n_layer, n_expert;
    bool tied;       /* the embedding is the output, too */
    int32_t i_value; /* tensors of values seen so far */
    const char *own; /* the caller's choices, "PART=TYPE,..."; NULL: none */
} terse_mixer;

/* own may be NULL; it is borrowed and has to name types that there are and parts that a tensor has. */
terse_status terse_mixer_begin(terse_mixer *m, const terse_mix *mix, const char *own, const terse_gguf *g,
                               terse_error *err);
/* The type of t; to be asked once for each tensor, in the order of the file. */
uint32_t terse_mixer_type(terse_mixer *m, const terse_tensor *t);

#endif
