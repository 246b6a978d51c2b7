/* terse/session.h: a timeline of tokens over a model, and its KV pages. */
#ifndef TERSE_SESSION_H
#define TERSE_SESSION_H

#include "terse/attend.h"
#include "terse/model.h"
#include "terse/profile.h"
#include <stdatomic.h>

/* One caller at a time, for a session and all that stand beside it. */
typedef struct terse_session terse_session;

/* Threads are bound only where there are as many cores for them as they are. */
typedef enum {
    TERSE_PIN_KIND, /* to cores of the fastest kind, where cores differ (big.LITTLE) */
    TERSE_PIN_EACH, /* each to a core of its own, those of the fastest kind first */
    TERSE_PIN_NONE
} terse_pin;

/* Zero means default: { 0 } and NULL are both valid. */
typedef struct {
    /* Another session of the same model, or NULL. The new one shares its threads, its working memory and the
     * memory of its pages, and takes ctx, threads, strands, chunk, types, kv_limit (of all together; "auto"
     * reckons with all of it), back, gate, cpu, pin, watch and abort from it, whatever is set here. Such
     * sessions can go through the model together (terse_session_batch), and a copy of one into another shares
     * its pages. They are closed in any order. */
    const terse_session *beside;
    int32_t ctx;     /* tokens; 0: the model's trained context */
    int32_t threads; /* 0: terse_cpu_threads() */
    terse_pin pin;   /* where the threads run, but for the caller's own, which the system places */
    int32_t strands; /* parts of a KV head that threads share, 1 to 64; 0: cores per KV head, and where each
                      * core has one or nearly so, 2 in long walks under a rule. Changes rounding */
    int32_t chunk;   /* prompt tokens computed together; 0: 512. Does not change results */
    terse_kv_type type_k, type_v; /* 0: f16 */
    size_t kv_limit;              /* bytes; 0: none */
    int32_t back;       /* tokens that truncate can take back from layers with sliding windows; 0: 256 */
    const char *budget; /* of policies that have one: "1024" tokens, "20%" of them, "64MiB" of keys and values;
                         * NULL: what the policy says. Copied */
    const char *policy; /* "auto": by kv_limit and profile; NULL: "spkv" for a model with a gate, else "dense";
                           see terse_attend_open */
    const char *gate;   /* a file that predicts the utility of tokens (terse_gate_open); NULL: the
                         * model's own gate, if it has one */
    bool observe;       /* remember the last 64 queries, for a policy that is taken later and goes by them */
    const char *stop;   /* NULL: "none"; see terse_attend_open */
    const terse_profile *profile; /* of this model, for the stop rule and policy duo; copied. NULL: none */
    int32_t audit;                /* every n-th walk is repeated in full; 0: none */
    uint32_t cpu;                 /* kernel tiers to allow; 0: all that the machine has */
    bool watch;                   /* count the time of decode steps by what it goes to: terse_session_spent */
    const atomic_bool *abort;     /* looked at between layers; true ends the call with TERSE_INTERRUPTED */
} terse_session_opts;

/* Memory that such a session will have taken when its context is full, in bytes. */
typedef struct {
    size_t weights; /* mapped from the file: read again where memory is short */
    size_t kv;      /* keys and values of ctx tokens, at most kv_limit; a policy that drops tokens takes less */
    size_t work;    /* what a chunk of the prompt and the threads take */
    int32_t ctx;
    bool drops; /* the policy drops tokens, always or ("auto") where memory is short */
} terse_session_need;
TERSE_API terse_session_need terse_session_measure(const terse_model *m, const terse_session_opts *opts);

/* The model is borrowed until close. */
TERSE_API terse_status terse_session_open(terse_session **out, const terse_model *m,
                                          const terse_session_opts *opts, terse_error *err);
TERSE_API void terse_session_close(terse_session **s);

/* Prefill: appends tokens[n] under exact attention and computes the logits of the last one. *logits (may be
 * NULL) is borrowed: [n_vocab], valid until the next call. all (may be NULL): caller's [n][n_vocab], gets every
 * row. On failure the session holds the tokens that it held before; none, if layers with sliding windows cannot
 * go back that far; under a policy that drops tokens, without those that it has dropped on the way. */
TERSE_API terse_status terse_session_prefill(terse_session *s, const int32_t *tokens, int32_t n,
                                             const float **logits, float *all, terse_error *err);
/* Decode: appends one token under the session's policy and stop rule. Takes no memory but KV pages. */
TERSE_API terse_status terse_session_decode(terse_session *s, int32_t token, const float **logits,
                                            terse_error *err);
/* Decode: appends tokens[n] with the bits that n calls of terse_session_decode would give, but reads the
 * weights once for all of them: each token attends by itself, under the stop rule; where that reads everything,
 * pages are read once too. all: caller's [n][n_vocab],
 * gets every row. On failure the session holds the tokens that it held before. */
TERSE_API terse_status terse_session_decode_many(terse_session *s, const int32_t *tokens, int32_t n, float *all,
                                                 terse_error *err);
/* The next tokens of one session in a batch: tokens[n], of the last n_logits of which logits are wanted. */
typedef struct {
    terse_session *session;
    const int32_t *tokens;
    int32_t n, n_logits;
    bool prefill; /* under exact attention, as terse_session_prefill; else as terse_session_decode_many, where a
                     policy that scores tokens (h2o, tova, snapkv, pyramidkv) allows one token at a time */
} terse_batch_part;
/* Appends the next tokens of several sessions that stand beside each other, of each at most once, with the bits
 * that calls one by one would give; the weights are read once for all of them, and so are pages that copies
 * have in common and read whole: in the stats these count for the first of them. Together at most
 * terse_session_chunk tokens. logits: caller's [n_logits of all parts][n_vocab], in the order of the parts. On
 * failure all sessions hold the tokens that they held before; err says which part it was. */
TERSE_API terse_status terse_session_batch(const terse_batch_part *part, int32_t n_part, float *logits,
                                           terse_error *err);
/* Later decode steps follow another policy and stop rule (terse_attend_open) with another profile (copied;
 * NULL: none); the tokens stay, the stats start again. On failure the session keeps what it had. */
TERSE_API terse_status terse_session_rule(terse_session *s, const char *policy, const char *stop,
                                          const terse_profile *profile, int32_t audit, terse_error *err);
/* `to` goes on from where `from` is: the same tokens, keys and values, under its own policy and rule. Both of
 * one model, with the same ctx and types. If they stand beside each other, they share the pages until one of
 * them writes to one. On failure `to` holds no tokens. */
TERSE_API terse_status terse_session_copy(terse_session *to, const terse_session *from, terse_error *err);
/* Repeats the keys and values of the full pages (32 tokens each) that s holds until it has n tokens: the depth
 * of a context that would take long to compute, for measuring speed. Positions are those of the originals, so
 * what the session says then means nothing. n at least its tokens, of which it needs 32; not under policies
 * that drop tokens, not with sliding windows. */
TERSE_API terse_status terse_session_repeat(terse_session *s, int32_t n, terse_error *err);
/* Writes what the session holds, of the ids tokens[terse_session_count], to a file that replaces path as a
 * whole. TERSE_BAD_INPUT if it holds nothing. */
TERSE_API terse_status terse_session_save(const terse_session *s, const int32_t *tokens, const char *path,
                                          terse_error *err);
/* The session goes on from there, as from a copy, under its own policy and rule: with the same model, the same
 * types and room for as many tokens. *tokens gets the ids, to be freed by the caller; *n how many. A file that
 * is damaged or does not fit is refused (TERSE_BAD_INPUT). On failure the session holds no tokens. */
TERSE_API terse_status terse_session_load(terse_session *s, const char *path, int32_t **tokens, int32_t *n,
                                          terse_error *err);
/* What a file holds, without a model; all of it is checked. */
typedef struct {
    int32_t n_token, n_layer, n_head; /* n_head: KV heads */
    terse_kv_type type_k, type_v;
    int32_t dim_k, dim_v; /* channels of the pages */
    int64_t n_held;       /* tokens whose keys and values are held, of all layers and heads */
    uint64_t page_bytes;
    uint8_t model[16]; /* fingerprint */
} terse_snapshot_info;
TERSE_API terse_status terse_snapshot_about(const char *path, terse_snapshot_info *info, terse_error *err);
/* Forgets the tokens from position n on. False, and nothing is changed, if a layer with a sliding window has
 * given up what the token at position n would see (opts.back); n = 0 is always possible. Under a policy that
 * drops tokens: exactly for the last TERSE_KV_BACK tokens; further back, those that were dropped do not come
 * back. */
TERSE_API bool terse_session_truncate(terse_session *s, int32_t n);

TERSE_API const terse_model *terse_session_model(const terse_session *s);
TERSE_API int32_t terse_session_count(const terse_session *s); /* tokens held */
TERSE_API int32_t terse_session_ctx(const terse_session *s);   /* tokens it can hold */
TERSE_API int32_t terse_session_chunk(const terse_session *s); /* tokens that a batch can have */
TERSE_API int32_t terse_session_threads(const terse_session *s);
TERSE_API bool terse_session_pinned(const terse_session *s);            /* whether its threads are bound */
TERSE_API const char *terse_session_tier(const terse_session *s);       /* "avx512" */
TERSE_API const char *terse_session_policy(const terse_session *s);     /* "spkv:threshold=0.7" */
TERSE_API const char *terse_session_policy_why(const terse_session *s); /* why "auto" chose it; "" otherwise */
TERSE_API const char *terse_session_stop(const terse_session *s);       /* the stop rule with its parameters */
TERSE_API bool terse_session_bounded(const terse_session *s);           /* whether that rule proves its bound */
/* Tokens whose keys and values are held, in all layers and KV heads, or in one: those of the policy's window,
 * and older ones. */
typedef struct {
    int32_t recent, older;
} terse_kv_held_info;
TERSE_API int64_t terse_session_held(const terse_session *s);
TERSE_API terse_kv_held_info terse_session_held_of(const terse_session *s, int32_t layer, int32_t head);
TERSE_API size_t
terse_session_kv_bytes(const terse_session *s); /* memory that KV pages hold, of all sessions beside it too */

/* What attention read in decode steps since open or the last reset: all layers, or one (layer, KV head):
 * borrowed until close, NULL if there is none such. */
TERSE_API terse_attend_stats terse_session_stats(const terse_session *s);
TERSE_API const terse_attend_stats *terse_session_stats_of(const terse_session *s, int32_t layer, int32_t head);
TERSE_API void terse_session_stats_reset(terse_session *s);

/* Time of all threads in decode steps since open or the last reset; all 0 unless the session was opened to
 * watch. */
TERSE_API terse_spending terse_session_spent(const terse_session *s);

#endif
