/* engine/draft.c: a text, its last guess, and the rows of logits behind that guess. While rows are open the
 * session is ahead of the text by the guesses that are not confirmed yet. */
#include "terse/draft.h"

#include "base/memory.h"
#include "model/model.h"

#include <string.h>

enum { MAX = 16, NGRAM = 3, FIRST = 2, LONGEST = 32 /* tokens compared: further ones tell matches apart */ };

struct terse_draft {
    terse_session *session;
    terse_draft_opts o; /* complete */
    int32_t n_vocab;
    int32_t *text; /* [ctx] the session's tokens; -1 where nobody said */
    int32_t n;     /* of text */
    float *rows;   /* [1 + max][n_vocab] after the token that was due, and after each guess */
    int32_t batch[1 + TERSE_DRAFT_MOST];
    int32_t n_batch;   /* rows that are open; 0: none */
    int32_t n_settled; /* of these, confirmed: at least 1 while rows are open */
    int32_t length;    /* of the next guess, at most */
    terse_draft_stats stats;
};

static terse_status check(const terse_draft_opts *o, terse_error *err)
{
    const struct {
        const char *name;
        int32_t value, least, most;
    } range[] = {
        { "max", o->max, 1, TERSE_DRAFT_MOST },
        { "min", o->min, 1, o->max },
        { "ngram", o->ngram, 1, LONGEST },
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (range[i].value < range[i].least || range[i].value > range[i].most)
            return terse_fail(err, TERSE_BAD_INPUT, "draft option %s is %d; allowed: %d to %d", range[i].name,
                              range[i].value, range[i].least, range[i].most);
    return TERSE_OK;
}

static void set_length(terse_draft *d, int32_t n)
{
    d->length = n > d->o.max ? d->o.max : n < d->o.min ? d->o.min : n;
}

terse_status terse_draft_open(terse_draft **out, terse_session *s, const terse_draft_opts *opts,
                              terse_error *err)
{
    static const terse_draft_opts defaults;
    terse_draft_opts o = opts ? *opts : defaults;
    *out = NULL;
    o.max = o.max ? o.max : MAX;
    o.min = o.min ? o.min : 1;
    o.ngram = o.ngram ? o.ngram : NGRAM;
    const terse_status st = check(&o, err);
    if (st != TERSE_OK)
        return st;
    terse_draft *d = terse_calloc64(1, sizeof *d);
    if (!d)
        return terse_fail(err, TERSE_NOMEM, "no memory for drafts");
    d->session = s;
    d->o = o;
    d->n_vocab = terse_model_about(terse_session_model(s))->n_vocab;
    set_length(d, FIRST);
    d->text = terse_calloc64((size_t)terse_session_ctx(s), sizeof *d->text);
    d->rows = terse_calloc64((size_t)(1 + o.max) * (size_t)d->n_vocab, sizeof *d->rows);
    if (!d->text || !d->rows) {
        terse_draft_close(&d);
        return terse_fail(err, TERSE_NOMEM, "no memory for drafts of %d tokens: a smaller max needs less",
                          o.max);
    }
    *out = d;
    return TERSE_OK;
}

void terse_draft_close(terse_draft **p)
{
    terse_draft *d = p ? *p : NULL;
    if (!d)
        return;
    terse_draft_settle(d);
    free(d->text);
    free(d->rows);
    free(d);
    *p = NULL;
}

int32_t terse_draft_count(const terse_draft *d)
{
    return terse_session_count(d->session) - (d->n_batch - d->n_settled);
}

void terse_draft_settle(terse_draft *d)
{
    if (d->n_settled < d->n_batch)
        terse_session_truncate(d->session, terse_draft_count(d));
    d->n_batch = d->n_settled = 0;
}

/* The text has n tokens: forgets later ones, leaves out those that nobody told of. */
static void set_end(terse_draft *d, int32_t n)
{
    for (; d->n < n; d->n++)
        d->text[d->n] = -1;
    d->n = n;
}

void terse_draft_tell(terse_draft *d, const int32_t *tokens, int32_t n)
{
    terse_draft_settle(d);
    const int32_t count = terse_session_count(d->session), first = n < count ? count - n : 0;
    set_end(d, first);
    memcpy(d->text + first, tokens + (n - (count - first)), (size_t)(count - first) * sizeof *d->text);
    d->n = count;
}

/* Position behind the longest earlier stretch that ends as the text does, the latest of equals; 0: none is long
 * enough. */
static int32_t look_up(const terse_draft *d)
{
    const int32_t *t = d->text, n = d->n, last = n > 0 ? t[n - 1] : -1;
    int32_t best = 0, longest = d->o.ngram - 1;
    for (int32_t at = n - 1; at > longest && longest < LONGEST && last >= 0; at--) {
        if (t[at - 1] != last || t[at - 1 - longest] != t[n - 1 - longest])
            continue;
        int32_t same = 1;
        while (same < at && same < LONGEST && t[at - 1 - same] == t[n - 1 - same] && t[at - 1 - same] >= 0)
            same++;
        if (same > longest) {
            longest = same;
            best = at;
        }
    }
    return best;
}

/* Appends up to most guessed tokens to the batch. A stretch that runs into the end of the text goes on in the
 * guess itself: the text is taken to repeat. */
static void guess(terse_draft *d, int32_t most)
{
    const int32_t from = look_up(d), *batch = d->batch;
    d->n_batch = 1;
    if (from == 0)
        return;
    for (int32_t i = 0; i < most; i++) {
        const int32_t id = from + i < d->n ? d->text[from + i] : batch[1 + from + i - d->n];
        if (id < 0)
            break;
        d->batch[d->n_batch++] = id;
    }
    if (d->n_batch - 1 < d->o.min)
        d->n_batch = 1;
}

/* A guess that was right to its end is followed by one of twice its length, one that was not by one of the
 * length that would have been right. */
static void learn(terse_draft *d)
{
    const int32_t guessed = d->n_batch - 1, right = d->n_settled - 1;
    if (guessed < 1)
        return;
    set_length(d, right == guessed ? 2 * d->length : right);
}

/* The token and a guess in one batch; the token alone if there is no memory for more. */
static terse_status decode(terse_draft *d, int32_t token, terse_error *err)
{
    const int32_t room = terse_session_ctx(d->session) - terse_session_count(d->session) - 1;
    d->batch[0] = token;
    guess(d, d->length < room ? d->length : room);
    terse_status st = terse_session_decode_many(d->session, d->batch, d->n_batch, d->rows, err);
    if (st != TERSE_OK && st != TERSE_INTERRUPTED && d->n_batch > 1) {
        d->n_batch = 1;
        st = terse_session_decode_many(d->session, d->batch, 1, d->rows, err);
    }
    if (st != TERSE_OK) {
        d->n_batch = d->n_settled = 0;
        d->n--;
        return st;
    }
    d->n_settled = 1;
    d->stats.steps++;
    d->stats.guessed += d->n_batch - 1;
    return TERSE_OK;
}

terse_status terse_draft_decode(terse_draft *d, int32_t token, const float **logits, terse_error *err)
{
    terse_status st = TERSE_OK;
    const int32_t count = terse_draft_count(d);
    if (count >= terse_session_ctx(d->session) || token < 0 || token >= d->n_vocab) {
        terse_draft_settle(d);
        return terse_session_decode(d->session, token, logits, err); /* says what is wrong */
    }
    set_end(d, count);
    d->text[d->n++] = token;
    if (d->n_settled < d->n_batch && d->batch[d->n_settled] == token) {
        d->n_settled++;
        d->stats.accepted++;
    } else {
        learn(d);
        terse_draft_settle(d);
        st = decode(d, token, err);
    }
    if (st == TERSE_OK && logits)
        *logits = d->rows + (size_t)(d->n_settled - 1) * (size_t)d->n_vocab;
    return st;
}

terse_draft_stats terse_draft_stats_of(const terse_draft *d)
{
    return d->stats;
}

void terse_draft_stats_reset(terse_draft *d)
{
    d->stats = (terse_draft_stats){ 0 };
}
