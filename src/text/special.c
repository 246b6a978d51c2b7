/* text/special.c: cuts a text into special tokens and plain text between them, and has the plain text encoded.
 * At each position the special texts that still fit narrow byte by byte, and the longest one wins. */
#include "text/vocab.h"
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

terse_status terse_special_index(terse_vocab *v, terse_error *err)
{
    const terse_status st = terse_prefixes_open(&v->specials, v, is_special, err);
    for (int32_t i = 0; st == TERSE_OK && i < v->specials.n; i++) {
        const terse_token *t = &v->tokens[v->specials.ids[i]];
        v->special_start[(uint8_t)t->p[0]] |= (uint8_t)kind(t);
    }
    return st;
}

/* The longest special token that text starts with, or -1. */
static int32_t special_at(const terse_vocab *v, terse_str text, int kinds)
{
    terse_prefix_range r = { 0, v->specials.n };
    int32_t best = -1;
    for (uint32_t d = 0; d < text.n && r.lo < r.hi; d++) {
        const int32_t id = terse_prefixes_narrow(v, &v->specials, &r, d, (uint8_t)text.p[d]);
        if (id >= 0 && kind(&v->tokens[id]) & kinds)
            best = id;
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
    if (v->model == TERSE_VOCAB_UNIGRAM)
        return terse_unigram_encode(v, text, out, err);
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
