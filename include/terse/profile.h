/* terse/profile.h: how far each (layer, KV head) of a model may go with the rules that estimate, and how much
 * each needs more than the first and the last tokens. A profile is made by calibration (terse/calibrate.h) and
 * kept as a JSON file beside the model:
 *
 *   {"version":1, "model":"name", "hash":"<32 hex digits>", "rule":"mass:...+value-share:...", "target":0.01,
 *    "text":"file", "tokens":512, "scale":[[1.5, ...], ...], "error":[[0.009, ...], ...],
 *    "streaming_of":"12 prompts ...", "streaming":[[0.4, ...], ...]}
 *
 * scale[layer][head] multiplies mass's delta and value-share's left there; error is the mean audited error that
 * came of it, null where none was measured. streaming is the change of a head's output that policy duo goes by.
 * Either scale or streaming may be null or missing, with what belongs to it. The hash is XXH3-128 over
 * terse_gguf_hash, the size of the file (8 bytes, little endian) and XXH3-64 (8 bytes each, big endian) of the
 * first 4096 bytes of 64 tensors, evenly chosen from the table: a file of any size is known after reading 256
 * KiB of its weights. */
#ifndef TERSE_PROFILE_H
#define TERSE_PROFILE_H

#include "terse/model.h"

/* Immutable. */
typedef struct terse_profile terse_profile;

typedef struct {
    int32_t n_layer, n_head; /* KV heads */
    const float *scale;      /* [n_layer][n_head], finite, not negative; NULL: not known */
    const float *error;      /* [n_layer][n_head]; NULL: not measured */
    const char *rule;        /* stop rule with its parameters that the scales are for */
    const char *text;        /* name of the text that was used */
    int64_t tokens;          /* decoded and audited */
    double target;           /* mean error that was aimed at */
    /* [n_layer][n_head] mean |o_full - o| / |o_full| where the head sees the first and the last tokens alone,
     * NAN where that is not known; NULL: not measured. And what it was measured on, "" where it was not. */
    const float *streaming;
    const char *streaming_of;
} terse_profile_info;

/* All of info is copied. TERSE_BAD_INPUT if it does not fit the model or a scale is wrong. */
TERSE_API terse_status terse_profile_make(terse_profile **out, const terse_model *m,
                                          const terse_profile_info *info, terse_error *err);
/* Reads a file. TERSE_BAD_INPUT if it is malformed, has another shape or is of another model. */
TERSE_API terse_status terse_profile_open(terse_profile **out, const char *path, const terse_model *m,
                                          terse_error *err);
TERSE_API void terse_profile_close(terse_profile **p);
/* Replaces the file as a whole or not at all. */
TERSE_API terse_status terse_profile_save(const terse_profile *p, const char *path, terse_error *err);
/* Borrowed until close. */
TERSE_API const terse_profile_info *terse_profile_about(const terse_profile *p);
/* Appends where the profile of a model is looked for: terse-profile-<hash>.json in the model's folder. */
TERSE_API terse_status terse_profile_path(const terse_model *m, terse_text *out, terse_error *err);

#endif
