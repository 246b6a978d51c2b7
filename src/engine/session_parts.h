/* engine/session_parts.h: what a session is made of. */
#ifndef TERSE_ENGINE_SESSION_PARTS_H
#define TERSE_ENGINE_SESSION_PARTS_H

#include "attend/policy.h"
#include "kv/store.h"
#include "model/forward.h"
#include "terse/session.h"

/* Threads and working memory, for all sessions that stand beside each other. */
typedef struct {
    terse_forward forward;
    terse_gate *gate; /* of a file of its own */
    terse_kv_type type_k, type_v;
    size_t limit; /* opts.kv_limit */
    uint32_t cpu;
    int32_t n_session;
    bool pinned;
    int32_t *tokens;        /* [chunk] of a batch of several sessions */
    terse_segment *segment; /* [chunk] */
} terse_engine;

struct terse_session {
    const terse_model *model;
    terse_engine *engine;
    terse_attend *attend;
    terse_sequence seq;
    float *logits;   /* [n_vocab] */
    char budget[24]; /* opts.budget */
    terse_phase preparing;
    bool prepared;      /* the store knows what the rule needs, but for what decoding adds by itself */
    int32_t n_centered; /* tokens that the KV store's centers are the mean of; -1: to be made again */
};

/* What an engine is like before it takes anything, from the session's options; its gate is there already. */
void terse_engine_shape(terse_engine *e, const terse_model *m, const terse_session_opts *o);
/* engine/session.c: the store of s holds the tokens of another one by now, or is to: walks for `cap` places of
 * a (layer, head), and for what the policy makes of the store. */
terse_status terse_session_rewalk(terse_session *s, int32_t cap, terse_error *err);

/* engine/session_policy.c: what the model's layers do to scores, and how they turn in contexts of ctx tokens.
 */
terse_status terse_attend_shape(terse_attend *a, const terse_model *m, int32_t ctx, terse_error *err);
/* Policy and rule from text, with all that they take from the model, its gate and the
 * session's options. NULL policy: spkv for a model with a gate, else dense. */
terse_status terse_session_attend(terse_attend **out, const terse_session *s, const char *policy,
                                  const char *stop, const terse_profile *profile, int32_t audit,
                                  terse_error *err);

#endif
