/* text/token_spm.c: SentencePiece. Blanks become U+2581, the text starts as characters, and the pair whose
 * joined text is the token with the highest score merges first. Characters that are no token fall back to byte
 * tokens. */
#include "text/vocab.h"
#include <stdio.h>
#include <string.h>

static const char BLANK[] = "\xE2\x96\x81"; /* U+2581 */
enum { BLANK_SIZE = 3 };

static bool is_blank(const char *p, size_t n)
{
    return n >= BLANK_SIZE && memcmp(p, BLANK, BLANK_SIZE) == 0;
}

/* Whether a blank follows another byte somewhere in the token. */
static bool has_inner_blank(const terse_token *t)
{
    for (uint32_t i = 1; i < t->n; i++)
        if (is_blank(t->p + i, t->n - i) && !(i >= BLANK_SIZE && is_blank(t->p + i - BLANK_SIZE, BLANK_SIZE)))
            return true;
    return false;
}

void terse_spm_find_bytes(terse_vocab *v)
{
    for (int32_t b = 0; b < 256; b++) {
        char text[8];
        const int n = snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        v->byte_ids[b] = terse_vocab_find(v, (terse_str){ text, (size_t)n });
    }
}

terse_status terse_spm_check_scores(const terse_vocab *v, terse_error *err)
{
    for (uint64_t i = 0; i < v->scores.n; i++) {
        const double score = terse_meta_array_f64(&v->scores, i);
        if (score != score)
            return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.scores[%llu] is not a number",
                              (unsigned long long)i);
    }
    return TERSE_OK;
}

terse_status terse_spm_load(terse_vocab *v, terse_error *err)
{
    terse_spm_find_bytes(v);
    v->cuts_at_blanks = true;
    for (int32_t id = 0; id < v->n; id++)
        v->cuts_at_blanks = v->cuts_at_blanks && !has_inner_blank(&v->tokens[id]);
    return terse_spm_check_scores(v, err);
}

terse_status terse_spm_piece(const terse_token *t, terse_text *out, terse_error *err)
{
    terse_status st = TERSE_OK;
    uint32_t from = 0;
    for (uint32_t i = 0; i < t->n && st == TERSE_OK;) {
        if (!is_blank(t->p + i, t->n - i)) {
            i++;
            continue;
        }
        if ((st = terse_text_append(out, t->p + from, i - from, err)) == TERSE_OK)
            st = terse_text_append(out, " ", 1, err);
        from = i += BLANK_SIZE;
    }
    return st != TERSE_OK ? st : terse_text_append(out, t->p + from, t->n - from, err);
}

/* A number that is the smaller the higher the score is. */
static uint32_t priority(const terse_vocab *v, int32_t id)
{
    if (v->scores.n == 0)
        return 0;
    const float score = (float)terse_meta_array_f64(&v->scores, (uint64_t)id) + 0.0f; /* no minus zero */
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

typedef struct {
    const terse_vocab *v;
    const char *text;
} pair_ctx;

static bool pair(const void *ctx, const terse_symbol *left, const terse_symbol *right, uint32_t end,
                 int32_t *merged, uint32_t *prio)
{
    (void)right;
    const pair_ctx *c = ctx;
    const uint32_t n = end - left->start;
    if (n > c->v->longest)
        return false;
    const int32_t id = terse_vocab_find(c->v, (terse_str){ c->text + left->start, n });
    if (id < 0)
        return false;
    *merged = id;
    *prio = priority(c->v, id);
    return true;
}

size_t terse_spell_blanks(char *to, terse_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != ' ') {
            to[n++] = text.p[i];
            continue;
        }
        memcpy(to + n, BLANK, BLANK_SIZE);
        n += BLANK_SIZE;
    }
    return n;
}

terse_status terse_push_bytes(const terse_vocab *v, terse_str bytes, terse_tokens *out, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (size_t i = 0; i < bytes.n && st == TERSE_OK; i++) {
        const uint8_t byte = (uint8_t)bytes.p[i];
        const int32_t id = v->byte_ids[byte] >= 0 ? v->byte_ids[byte] : v->unk;
        if (id < 0)
            return terse_fail(err, TERSE_BAD_INPUT, "the vocabulary has no token for byte 0x%02X", byte);
        st = terse_tokens_push(out, id, err);
    }
    return st;
}

/* Encodes the n_symbols characters of m->text that are set up; the last one ends at end. */
static terse_status encode_part(const terse_vocab *v, terse_merge *m, size_t n_symbols, uint32_t end,
                                terse_tokens *out, terse_error *err)
{
    const pair_ctx ctx = { v, m->text };
    terse_status st = terse_merge_run(m, n_symbols, end, pair, &ctx, err);
    for (int32_t i = 0; i >= 0 && st == TERSE_OK; i = m->symbols[i].next) {
        const terse_symbol *s = &m->symbols[i];
        const terse_str bytes = { m->text + s->start, terse_symbol_end(m, s, end) - s->start };
        st = s->id >= 0 ? terse_tokens_push(out, s->id, err) : terse_push_bytes(v, bytes, out, err);
    }
    return st;
}

terse_status terse_spm_encode(const terse_vocab *v, terse_merge *m, terse_str text, bool prefix,
                              terse_tokens *out, terse_error *err)
{
    terse_status st = terse_merge_reserve_text(m, 3 * text.n + BLANK_SIZE, err);
    if (st != TERSE_OK)
        return st;
    if (prefix)
        memcpy(m->text, BLANK, BLANK_SIZE);
    const size_t at = prefix ? BLANK_SIZE : 0;
    const uint32_t n = (uint32_t)(at + terse_spell_blanks(m->text + at, text));
    size_t n_symbols = 0;
    bool after_blank = false;
    for (uint32_t i = 0; i < n;) {
        const uint32_t len = terse_char_len((uint8_t)m->text[i]);
        const terse_str c = { m->text + i, len < n - i ? len : n - i };
        const bool blank = is_blank(c.p, c.n);
        if (v->cuts_at_blanks && blank && !after_blank && n_symbols > 0) {
            if ((st = encode_part(v, m, n_symbols, i, out, err)) != TERSE_OK)
                return st;
            n_symbols = 0;
        }
        if ((st = terse_merge_reserve(m, n_symbols + 1, err)) != TERSE_OK)
            return st;
        m->symbols[n_symbols].start = i;
        m->symbols[n_symbols++].id = terse_vocab_find(v, c);
        after_blank = blank;
        i += (uint32_t)c.n;
    }
    return n_symbols > 0 ? encode_part(v, m, n_symbols, n, out, err) : TERSE_OK;
}
