/* terse/record.h: what attention works on, taken from a model once and kept in a file: the keys and values of a
 * text and the queries of its last tokens. Policies, stop rules and storage types can then be tried without the
 * model (bench_attend --recording). */
#ifndef TERSE_RECORD_H
#define TERSE_RECORD_H

#include "terse/session.h"

/* Zero means default. */
typedef struct {
    int32_t n_prefill;            /* tokens before the first step, computed together; to be given */
    int32_t n_step;               /* tokens decoded one by one, whose queries are kept; 0: 16 */
    int32_t threads, chunk;       /* as in terse_session_opts */
    terse_kv_type type_k, type_v; /* of the session; 0: f16 */
    uint32_t cpu;
    const atomic_bool *abort;
    /* Told how many of all tokens are done; may be NULL. */
    void (*progress)(void *ctx, int32_t done, int32_t total);
    void *ctx;
} terse_record_opts;

/* Runs tokens[n_prefill + n_step] through the model, all under exact attention, and writes the recording to
 * path, which keeps what it held until all of it is there. */
TERSE_API terse_status terse_record_make(const char *path, const terse_model *m, const int32_t *tokens,
                                         const terse_record_opts *opts, terse_error *err);

typedef struct {
    int32_t n_layer, n_head; /* n_head: KV heads per layer */
    int32_t n_row;           /* query heads per KV head */
    int32_t dim_k, dim_v;
    int32_t n_token;              /* keys and values of the whole text */
    int32_t n_step;               /* queries of the last n_step of them */
    terse_kv_type type_k, type_v; /* in the file: f16 if the session stored f16, else f32 of what it stored */
    float scale;                  /* of q . k */
    char model[64];               /* general.name, printable ASCII */
} terse_record_info;

/* An open recording: a mapped file, immutable, may be used from several threads. */
typedef struct terse_record terse_record;
/* The numbers of the header are checked against their ranges and the size of the file. */
TERSE_API terse_status terse_record_open(terse_record **out, const char *path, terse_error *err);
TERSE_API void terse_record_close(terse_record **r);
/* Borrowed until close. */
TERSE_API const terse_record_info *terse_record_about(const terse_record *r);
/* Tokens that step's queries attend to: those before it and its own. */
TERSE_API int32_t terse_record_depth(const terse_record *r, int32_t step);
/* The group's rotated queries, not scaled: [n_row][dim_k] @64, borrowed until close. */
TERSE_API const float *terse_record_query(const terse_record *r, int32_t step, int32_t layer, int32_t head);
/* Copies k[dim_k] and v[dim_v] of the token at position pos. */
TERSE_API void terse_record_kv(const terse_record *r, int32_t layer, int32_t head, int32_t pos, float *k,
                               float *v);
/* True once a part of the file could not be read (it was truncated after it was opened): zeros were read. */
TERSE_API bool terse_record_broken(const terse_record *r);

#endif
