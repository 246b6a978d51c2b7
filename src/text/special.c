/* text/special.c: cuts a text into special tokens and plain text between them, and has the plain text encoded.
 * The special texts are kept sorted; at each position the range that still fits narrows byte by byte, and the
 * longest one wins. */
#include "text/vocab.h"
#include <stdlib.h>
#include <string.h>

enum { ALWAYS = 1, IF_PARSED = 2 }; /* bits of special_start */

/* How a token is found in text; 0: not as a special one. */
static int kind(const terse_token *t)
{
    switch (t->type) {
    case TERSE_TOKEN_USER_DEFINED:
        return ALWAYS;
    case TERSE_TOKEN_CONTROL:
    case TERSE_TOKEN_UNKNOWN:
        return IF_PARSED;
    default:
        return 0;
    }
}

/* Of two tokens with the same text only the one that a look-up finds counts. */
static bool is_special(const terse_vocab *v, int32_t id)
{
    const terse_token *t = &v->tokens[id];
    return kind(t) != 0 && terse_vocab_find(v, (terse_str){ t->p, t->n }) == id;
}

typedef struct {
    const terse_token *t;
    int32_t id;
} entry;

static int by_text(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const uint32_t n = x->t->n < y->t->n ? x->t->n : y->t->n;
    const int c = memcmp(x->t->p, y->t->p, n);
    if (c != 0)
        return c;
    return x->t->n < y->t->n ? -1 : x->t->n > y->t->n;
}

terse_status terse_special_index(terse_vocab *v, terse_error *err)
{
    int32_t n = 0;
    for (int32_t id = 0; id < v->n; id++)
        n += is_special(v, id);
    entry *list = malloc(((size_t)n + 1) * sizeof *list);
    v->specials = malloc(((size_t)n + 1) * sizeof *v->specials);
    if (!list || !v->specials) {
        free(list);
        return terse_fail(err, TERSE_NOMEM, "vocabulary: %d special tokens", n);
    }
    n = 0;
    for (int32_t id = 0; id < v->n; id++) {
        const terse_token *t = &v->tokens[id];
        if (!is_special(v, id))
            continue;
        v->special_start[(uint8_t)t->p[0]] |= (uint8_t)kind(t);
        list[n++] = (entry){ t, id };
    }
    qsort(list, (size_t)n, sizeof *list, by_text);
    for (int32_t i = 0; i < n; i++)
        v->specials[i] = list[i].id;
    v->n_specials = n;
    free(list);
    return TERSE_OK;
}

/* First special in [lo, hi) whose byte d is at least byte (hi if none); all share their first d bytes, and the
 * one of exactly d bytes, if any, sorts before the others. */
static int32_t lower_bound(const terse_vocab *v, int32_t lo, int32_t hi, uint32_t d, int32_t byte)
{
    while (lo < hi) {
        const int32_t mid = lo + (hi - lo) / 2;
        const terse_token *t = &v->tokens[v->specials[mid]];
        if (t->n <= d || (uint8_t)t->p[d] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest special token that text starts with, or -1. */
static int32_t special_at(const terse_vocab *v, terse_str text, int kinds)
{
    int32_t lo = 0, hi = v->n_specials, best = -1;
    for (uint32_t d = 0; d < text.n && lo < hi; d++) {
        const int32_t byte = (uint8_t)text.p[d];
        lo = lower_bound(v, lo, hi, d, byte);
        hi = lower_bound(v, lo, hi, d, byte + 1);
        const terse_token *t = lo < hi ? &v->tokens[v->specials[lo]] : NULL;
        if (t && t->n == d + 1 && kind(t) & kinds)
            best = v->specials[lo];
    }
    return best;
}

static terse_status encode(const terse_vocab *v, terse_merge *m, terse_str text, bool after_special,
                           terse_tokens *out, terse_error *err)
{
    if (text.n == 0)
        return TERSE_OK;
    if (v->model == TERSE_VOCAB_BPE)
        return terse_bpe_encode(v, m, text, out, err);
    return terse_spm_encode(v, m, text, v->space_prefix && after_special, out, err);
}

static terse_status tokenize(const terse_vocab *v, terse_merge *m, terse_str text, int kinds, terse_tokens *out,
                             terse_error *err)
{
    terse_status st;
    size_t from = 0; /* where the plain text that is not encoded yet starts */
    bool after_special = true;
    for (size_t i = 0; i < text.n;) {
        const terse_str rest = { text.p + i, text.n - i };
        const int32_t id = v->special_start[(uint8_t)rest.p[0]] & kinds ? special_at(v, rest, kinds) : -1;
        if (id < 0) {
            i++;
            continue;
        }
        const terse_str plain = { text.p + from, i - from };
        if ((st = encode(v, m, plain, after_special, out, err)) != TERSE_OK ||
            (st = terse_tokens_push(out, id, err)) != TERSE_OK)
            return st;
        after_special = true;
        i += v->tokens[id].n;
        while (v->tokens[id].rstrip && i < text.n && strchr(" \t\n\v\f\r", text.p[i]) && text.p[i])
            i++;
        from = i;
    }
    return encode(v, m, (terse_str){ text.p + from, text.n - from }, after_special, out, err);
}

terse_status terse_vocab_tokenize(const terse_vocab *v, const char *text, size_t n, bool special, bool parse,
                                  terse_tokens *out, terse_error *err)
{
    if (v->model == TERSE_VOCAB_NONE)
        return terse_fail(err, TERSE_UNSUPPORTED, "the model has no vocabulary: it takes token ids only");
    if (n > TERSE_TEXT_MAX)
        return terse_fail(err, TERSE_BAD_INPUT, "a text of %zu bytes is too long, the limit is %d", n,
                          TERSE_TEXT_MAX);
    terse_status st = TERSE_OK;
    terse_merge m = { 0 };
    const size_t before = out->n;
    if (special && v->adds_bos)
        st = terse_tokens_push(out, v->bos, err);
    if (st == TERSE_OK)
        st = tokenize(v, &m, (terse_str){ text, n }, parse ? ALWAYS | IF_PARSED : ALWAYS, out, err);
    if (st == TERSE_OK && special && v->adds_eos)
        st = terse_tokens_push(out, v->eos, err);
    if (st != TERSE_OK)
        out->n = before;
    terse_merge_free(&m);
    return st;
}
