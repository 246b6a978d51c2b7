/* text/token_unigram.c: SentencePiece's unigram model (Kudo 2018). The text is normalized, and of all ways to
 * put it together from pieces the one with the highest sum of scores is taken (Viterbi). A character that no
 * piece covers costs more than any piece; neighbours of that kind are one unknown token, or their bytes if
 * there are byte tokens. */
#include "text/vocab.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define UNKNOWN_PENALTY 10.0

static bool is_piece(const terse_vocab *v, int32_t id)
{
    const terse_token *t = &v->tokens[id];
    return (t->type == TERSE_TOKEN_NORMAL || t->type == TERSE_TOKEN_USER_DEFINED) &&
           terse_vocab_find(v, (terse_str){ t->p, t->n }) == id;
}

static double score_of(const terse_vocab *v, int32_t id)
{
    if (v->tokens[id].type == TERSE_TOKEN_USER_DEFINED || v->scores.n == 0)
        return 0.0; /* above all others: these are logarithms */
    return terse_meta_array_f64(&v->scores, (uint64_t)id);
}

static terse_status load_charsmap(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    terse_meta_array blob = { 0 };
    const terse_status st = terse_gguf_get_array(g, key, false, TERSE_META_ARRAY, &blob, err);
    if (st != TERSE_OK || !terse_gguf_find_meta(g, key) || blob.n == 0)
        return st;
    if ((blob.type != TERSE_META_I8 && blob.type != TERSE_META_U8) ||
        !terse_charsmap_open(&v->charsmap, blob.data, blob.size))
        return terse_fail(err, TERSE_BAD_INPUT, "%s is not a table of replacements", key);
    return TERSE_OK;
}

terse_status terse_unigram_load(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_status st;
    if ((st = terse_spm_check_scores(v, err)) != TERSE_OK || (st = load_charsmap(v, g, err)) != TERSE_OK ||
        (st = terse_gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", false, &v->merges_blanks,
                                  err)) != TERSE_OK)
        return st;
    if (v->unk < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "a unigram vocabulary needs tokenizer.ggml.unknown_token_id");
    terse_spm_find_bytes(v);
    double least = DBL_MAX;
    for (int32_t id = 0; id < v->n; id++)
        if (v->tokens[id].type == TERSE_TOKEN_NORMAL && score_of(v, id) < least)
            least = score_of(v, id);
    v->unknown_score = (least < DBL_MAX ? least : 0.0) - UNKNOWN_PENALTY;
    return terse_prefixes_open(&v->pieces, v, is_piece, err);
}

/* ---- normalization ---- */

/* What the text from p on begins with, normalized; returns the bytes taken. Bytes that are not UTF-8 become
 * U+FFFD. */
static size_t next_normal(const terse_vocab *v, terse_str text, terse_str *to)
{
    utf8proc_int32_t c;
    const size_t replaced = terse_charsmap_find(&v->charsmap, text, to);
    if (replaced > 0)
        return replaced;
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text.p, (utf8proc_ssize_t)(text.n < 4 ? text.n : 4), &c);
    *to = n > 0 ? (terse_str){ text.p, (size_t)n } : (terse_str){ "\xEF\xBF\xBD", 3 };
    return n > 0 ? (size_t)n : 1;
}

static const char BLANK[] = "\xE2\x96\x81"; /* U+2581 */

/* The text as pieces spell it. Blanks wait until what follows them is known: at the end, none may be left. */
static terse_status normalize(const terse_vocab *v, terse_str text, terse_text *out, terse_error *err)
{
    terse_status st = terse_text_append(out, "", 0, err);
    size_t waiting = v->space_prefix; /* blanks */
    bool started = false;             /* something but blanks was written */
    while (text.n > 0 && st == TERSE_OK) {
        terse_str to;
        const size_t taken = next_normal(v, text, &to);
        text.p += taken;
        text.n -= taken;
        for (size_t i = 0; i < to.n && st == TERSE_OK; i++) {
            if (to.p[i] == ' ') {
                waiting = v->merges_blanks ? (started || v->space_prefix) : waiting + 1;
                continue;
            }
            for (; waiting > 0 && st == TERSE_OK; waiting--)
                st = terse_text_append(out, BLANK, sizeof BLANK - 1, err);
            started = true;
            if (st == TERSE_OK)
                st = terse_text_append(out, to.p + i, 1, err);
        }
    }
    for (; waiting > 0 && !v->merges_blanks && st == TERSE_OK; waiting--)
        st = terse_text_append(out, BLANK, sizeof BLANK - 1, err);
    return st;
}

/* ---- the best path ---- */

/* The best way to reach a byte of the text: its last piece and where that begins. */
typedef struct {
    double score;
    int32_t id; /* -1: the byte is not reached; v->unk: one character */
    uint32_t from;
} step;

static void offer(step *to, double score, int32_t id, size_t from)
{
    if (to->id < 0 || score > to->score)
        *to = (step){ score, id, (uint32_t)from };
}

static void find_path(const terse_vocab *v, terse_str text, step *steps)
{
    for (size_t at = 0; at < text.n;) {
        const size_t left = text.n - at, char_len = terse_char_len((uint8_t)text.p[at]);
        const size_t len = char_len < left ? char_len : left;
        terse_prefix_range r = { 0, v->pieces.n };
        bool covered = false;
        for (uint32_t d = 0; d < left && r.lo < r.hi; d++) {
            const int32_t id = terse_prefixes_narrow(v, &v->pieces, &r, d, (uint8_t)text.p[at + d]);
            if (id < 0)
                continue;
            offer(&steps[at + d + 1], steps[at].score + score_of(v, id), id, at);
            covered = covered || d + 1 == len;
        }
        if (!covered)
            offer(&steps[at + len], steps[at].score + v->unknown_score, v->unk, at);
        at += len;
    }
}

/* Turns the path around, so that it can be walked from the start: from becomes where the next piece ends. */
static void turn_around(step *steps, size_t n)
{
    size_t end = n, start = steps[n].from;
    for (;;) {
        const size_t before = steps[start].from;
        steps[start].from = (uint32_t)end;
        if (start == 0)
            break;
        end = start;
        start = before;
    }
}

static terse_status push_path(const terse_vocab *v, terse_str text, const step *steps, terse_tokens *out,
                              terse_error *err)
{
    terse_status st = TERSE_OK;
    bool after_unknown = false;
    bool bytes = true; /* every byte has a token */
    for (int32_t b = 0; b < 256; b++)
        bytes = bytes && v->byte_ids[b] >= 0;
    for (size_t at = 0; at < text.n && st == TERSE_OK;) {
        const size_t end = steps[at].from;
        const bool unknown = steps[end].id == v->unk;
        if (unknown && bytes)
            st = terse_push_bytes(v, (terse_str){ text.p + at, end - at }, out, err);
        else if (!unknown || !after_unknown)
            st = terse_tokens_push(out, steps[end].id, err);
        after_unknown = unknown;
        at = end;
    }
    return st;
}

terse_status terse_unigram_encode(const terse_vocab *v, terse_str text, terse_tokens *out, terse_error *err)
{
    terse_text normal = { 0 };
    step *steps = NULL;
    terse_status st = normalize(v, text, &normal, err);
    if (st == TERSE_OK && normal.n > UINT32_MAX - 1)
        st = terse_fail(err, TERSE_BAD_INPUT, "a text of %zu bytes is too long once it is normalized", text.n);
    if (st == TERSE_OK && !(steps = malloc((normal.n + 1) * sizeof *steps)))
        st = terse_fail(err, TERSE_NOMEM, "tokenizer: a text of %zu bytes", text.n);
    if (st == TERSE_OK && normal.n > 0) {
        const terse_str pieces = { normal.p, normal.n };
        for (size_t i = 0; i <= normal.n; i++)
            steps[i] = (step){ 0.0, -1, 0 };
        find_path(v, pieces, steps);
        turn_around(steps, normal.n);
        st = push_path(v, pieces, steps, out, err);
    }
    free(steps);
    terse_text_free(&normal);
    return st;
}
