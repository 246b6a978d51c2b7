/* terse/draft.h: decoding that guesses ahead (prompt lookup). The text's last tokens are looked for further up,
 * and the guess is that the text goes on as it did there. The token that is due and the guess are decoded as
 * one batch, which reads the weights once; what follows a wrong guess is forgotten.
 *
 * Nothing is lost: every row of logits has the bits that terse_session_decode would give, under every stop
 * rule. A sampler that draws from these rows makes the text that it would have made, draw by draw: a guess is
 * accepted with the probability that its row gives it, and what is drawn instead follows the rest of that row.
 */
#ifndef TERSE_DRAFT_H
#define TERSE_DRAFT_H

#include "terse/session.h"

enum { TERSE_DRAFT_MOST = 64 };

/* Zero means default: { 0 } and NULL are both valid. */
typedef struct {
    int32_t max;   /* most tokens of a guess, up to TERSE_DRAFT_MOST; 0: 16. Guesses grow as they prove right */
    int32_t min;   /* a guess of fewer tokens is not made; 0: 1 */
    int32_t ngram; /* tokens that must have stood there before; 0: 3 */
} terse_draft_opts;

typedef struct {
    int64_t steps;    /* batches, with or without a guess: how often the weights were read */
    int64_t guessed;  /* tokens decoded ahead */
    int64_t accepted; /* of these, those that were right */
} terse_draft_stats;

/* One caller at a time, who is the session's. */
typedef struct terse_draft terse_draft;

/* The session is borrowed until close. All memory is taken here. */
TERSE_API terse_status terse_draft_open(terse_draft **out, terse_session *s, const terse_draft_opts *opts,
                                        terse_error *err);
/* Leaves the session to its text, as terse_draft_settle does. */
TERSE_API void terse_draft_close(terse_draft **d);
/* The session's last n tokens, which came by other ways (a prompt): what is not told of is never looked up. */
TERSE_API void terse_draft_tell(terse_draft *d, const int32_t *tokens, int32_t n);
/* As terse_session_decode; *logits is valid until the next call on the draft or the session. The session may
 * then hold tokens that are guessed: before any other call on it that changes it or counts its tokens, settle.
 */
TERSE_API terse_status terse_draft_decode(terse_draft *d, int32_t token, const float **logits,
                                          terse_error *err);
/* Takes guesses that are still open out of the session. */
TERSE_API void terse_draft_settle(terse_draft *d);
/* Tokens of the session, without guesses. */
TERSE_API int32_t terse_draft_count(const terse_draft *d);
/* Since open or the last reset. */
TERSE_API terse_draft_stats terse_draft_stats_of(const terse_draft *d);
TERSE_API void terse_draft_stats_reset(terse_draft *d);

#endif
