/* text/detok.c: tokens to text, one by one or as a whole sequence. */
#include "text/vocab.h"
#include <string.h>

static terse_status check_id(const terse_vocab *v, int32_t id, terse_error *err)
{
    if (v->model == TERSE_VOCAB_NONE)
        return terse_fail(err, TERSE_UNSUPPORTED, "the model has no vocabulary: its tokens have no text");
    if (id < 0 || id >= v->n)
        return terse_fail(err, TERSE_BAD_INPUT, "token %d is out of range, the vocabulary has %d tokens", id,
                          v->n);
    return TERSE_OK;
}

terse_status terse_vocab_piece(const terse_vocab *v, int32_t id, bool show_special, terse_text *out,
                               terse_error *err)
{
    const terse_status st = check_id(v, id, err);
    if (st != TERSE_OK)
        return st;
    const terse_token *t = &v->tokens[id];
    switch (t->type) {
    case TERSE_TOKEN_UNKNOWN:
    case TERSE_TOKEN_CONTROL:
        return show_special ? terse_text_append(out, t->p, t->n, err) : TERSE_OK;
    case TERSE_TOKEN_USER_DEFINED:
        return terse_text_append(out, t->p, t->n, err);
    case TERSE_TOKEN_BYTE: {
        const char byte = (char)t->byte;
        return terse_text_append(out, &byte, 1, err);
    }
    case TERSE_TOKEN_NORMAL:
        return v->pre && !v->pre->raw ? terse_bpe_piece(t, out, err) : terse_spm_piece(t, out, err);
    default: /* unused and undefined tokens stand for nothing */
        return TERSE_OK;
    }
}

/* Replaces every from by the shorter to, in place, left to right. Returns the new length. */
static size_t replace(char *p, size_t n, const char *from, const char *to)
{
    const size_t n_from = strlen(from), n_to = strlen(to);
    size_t w = 0;
    for (size_t r = 0; r < n;) {
        if (n - r >= n_from && memcmp(p + r, from, n_from) == 0) {
            memcpy(p + w, to, n_to);
            w += n_to;
            r += n_from;
        } else {
            p[w++] = p[r++];
        }
    }
    return w;
}

/* What the reference tokenizers call clean-up of tokenization spaces, in their order. */
static void clean_up(terse_text *t, size_t from)
{
    static const char *const rules[][2] = {
        { " .", "." },     { " ?", "?" },   { " !", "!" },   { " ,", "," },     { " ' ", "'" },
        { " n't", "n't" }, { " 'm", "'m" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        t->n = from + replace(t->p + from, t->n - from, rules[i][0], rules[i][1]);
    t->p[t->n] = '\0';
}

terse_status terse_vocab_detokenize(const terse_vocab *v, const int32_t *ids, size_t n, bool show_special,
                                    terse_text *out, terse_error *err)
{
    const size_t from = out->n;
    bool first = true; /* the next token may start with the blank that the tokenizer had added */
    terse_status st = v->model == TERSE_VOCAB_NONE ? check_id(v, 0, err) : TERSE_OK;
    if (!show_special && n > 0 && v->adds_bos && ids[0] == v->bos) {
        ids++;
        n--;
        first = false;
    }
    if (!show_special && n > 0 && v->adds_eos && ids[n - 1] == v->eos)
        n--;
    for (size_t i = 0; i < n && st == TERSE_OK; i++) {
        const size_t at = out->n;
        st = terse_vocab_piece(v, ids[i], show_special, out, err);
        if (first && v->space_prefix && out->n > at && out->p[at] == ' ') {
            out->n--;
            memmove(out->p + at, out->p + at + 1, out->n - at + 1);
        }
        first = false;
    }
    if (st == TERSE_OK && v->pre && v->pre->clean_up && out->n > from)
        clean_up(out, from);
    if (st != TERSE_OK && out->n > from) {
        out->n = from;
        out->p[from] = '\0';
    }
    return st;
}
