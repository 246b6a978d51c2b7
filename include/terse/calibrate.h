/* terse/calibrate.h: makes a profile from a text. Windows of the text are decoded under the rule with its
 * parameters scaled by 1/4 to 4, every walk is audited, and each (layer, KV head) gets the largest scale whose
 * mean error stays within the target, between 1/8 and 8. Then windows are decoded without and with the profile:
 * of the other half of the text, if it is long enough. */
#ifndef TERSE_CALIBRATE_H
#define TERSE_CALIBRATE_H

#include "terse/eval.h"

enum { TERSE_LADDER = 5 }; /* scales that are measured */

typedef struct {
    terse_session_opts session;    /* stop NULL: "mass+value-share"; audit and profile are not used */
    terse_eval_windows windows;    /* windows 0: as many as fit into half of the text, at least 1, at most 8 */
    double target;                 /* mean error of a head; 0: the mean over heads that the rule has as it is */
    const char *text;              /* what the text is called in the profile */
    terse_eval_progress *progress; /* may be NULL; starts again for the check */
    void *progress_ctx;
} terse_calibrate_opts;

/* What a setting did. */
typedef struct {
    double error;               /* audited |o_full - o| / |o_full|, mean over walks, then over heads */
    double read;                /* KV bytes as a share of what dense attention reads */
    double kl, kl_low, kl_high; /* KL(dense || setting), mean and its interval (terse/eval.h) */
} terse_calibrate_point;

/* A calibration that was done: immutable. */
typedef struct terse_calibration terse_calibration;
typedef struct {
    const terse_profile *profile; /* its errors are those of the check */
    double target;
    double scale[TERSE_LADDER];
    terse_calibrate_point ladder[TERSE_LADDER];
    const double *error;                 /* [TERSE_LADDER][n_layer][n_head] mean audited error */
    terse_calibrate_point before, after; /* without and with the profile */
    bool unseen; /* before and after are of the half of the text that the profile was not made from */
} terse_calibration_info;

/* ---- heads for policy duo ---- */

typedef struct {
    terse_session_opts session; /* ctx 0: what the prompts need; policy, stop, audit and profile are not used */
    int32_t sinks, window;      /* tokens that a streaming head sees; 0: TERSE_DUO_SINKS, TERSE_DUO_WINDOW */
    terse_eval_progress *progress; /* may be NULL */
    void *progress_ctx;
} terse_heads_opts;

typedef struct {
    int64_t tokens;         /* decoded: questions and answers */
    terse_eval_score score; /* of dense attention on the prompts: heads of a model that cannot do them tell
                             * nothing */
} terse_heads_result;

/* Runs prompts densely and measures on the tokens of questions and answers how much the output of each (layer,
 * KV head) would change if the head saw nothing but the first and the last tokens: change[n_layer][n_head_kv]
 * gets the mean of |o_full - o| / |o_full| over tokens and the group's query heads; all others stay as they
 * are. NAN for layers with sliding windows, which duo does not go with. The prompts should ask for something
 * that lies further back than the window. */
TERSE_API terse_status terse_heads_measure(float *change, terse_heads_result *result, const terse_model *m,
                                           const terse_tasks *t, const terse_heads_opts *o, terse_error *err);

/* ---- scales for rules ---- */

/* tokens[n]: the text, without bos. TERSE_BAD_INPUT if no profile goes with the rule or the rule leaves nothing
 * out of such windows. */
TERSE_API terse_status terse_calibrate(terse_calibration **out, const terse_model *m, const int32_t *tokens,
                                       size_t n, const terse_calibrate_opts *o, terse_error *err);
TERSE_API void terse_calibration_close(terse_calibration **c);
/* Borrowed until close. */
TERSE_API const terse_calibration_info *terse_calibration_about(const terse_calibration *c);

#endif
