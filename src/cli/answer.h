/* cli/answer.h: a prompt goes in, an answer comes out and is written as it grows. */
#ifndef TERSE_CLI_ANSWER_H
#define TERSE_CLI_ANSWER_H

#include "runner.h"

typedef enum {
    TERSE_FINISH_STOP,        /* the model's end, or the reverse prompt */
    TERSE_FINISH_LENGTH,      /* -n */
    TERSE_FINISH_FULL,        /* no room in the context */
    TERSE_FINISH_INTERRUPTED, /* Ctrl-C */
    TERSE_FINISH_LOST         /* stdout took no more */
} terse_finish;

/* Start from { 0 }; an answer may be asked for again and again. */
typedef struct {
    terse_tokens ids; /* less the end of text */
    terse_text text;
    int32_t n_held;                /* tokens of the prompt that the session held before */
    int32_t n_prompt;              /* tokens prefilled */
    int32_t n_decoded;             /* tokens decoded: that many of ids are in the session */
    double prefill, first, decode; /* seconds; first: from the start to the first token */
    int32_t n_step;                /* times that the weights were read for them: fewer with drafts */
    terse_attend_stats read;       /* by the decode steps */
    terse_draft_stats draft;
    terse_finish finish;
} terse_answer;

/* Appends prompt[n], of which the session holds the first `held` tokens, then what the model says to that, and
 * keeps the prompt in the file of --prompt-cache. The text goes to stdout at once, unless
 * --json. chat: the text stands by itself, it does not continue the prompt. An error leaves the session as it
 * was; so does an interrupt before the first token (then ids is empty). */
terse_status terse_answer_get(terse_answer *a, terse_runner *r, const int32_t *prompt, size_t n, size_t held,
                              bool chat, terse_error *err);
void terse_answer_free(terse_answer *a);
/* "stop", "length", "interrupted" */
const char *terse_finish_name(terse_finish finish);

#endif
