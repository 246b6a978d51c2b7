/* text/token_bpe.c: byte-level BPE. Token texts are written in an alphabet of 256 printable characters, one per
 * byte (Radford et al. 2019): printable Latin-1 stands for itself, the rest follows from U+0100 on. Encoding
 * works on token ids: a word starts as its bytes' tokens and merges by the table (left, right) -> (rank,
 * merged). Raw vocabularies (Gemma 4) are spelled as in SentencePiece instead: words start as characters, and
 * characters that are no token fall back to byte tokens. */
#include "text/vocab.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static int32_t letter_of(uint8_t byte)
{
    if (byte <= 0x20)
        return 0x100 + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121 + (byte - 0x7F);
    return byte == 0xAD ? 0x143 : byte;
}

/* The byte that a letter of the alphabet stands for, or -1. */
static int32_t byte_of(int32_t letter)
{
    if (letter >= 0x100 && letter <= 0x120)
        return letter - 0x100;
    if (letter >= 0x121 && letter <= 0x142)
        return letter - 0x121 + 0x7F;
    if (letter == 0x143)
        return 0xAD;
    return letter >= 0 && letter < 0x100 && letter_of((uint8_t)letter) == letter ? letter : -1;
}

/* Writes the alphabet's text of bytes to out[2 * n]. */
static size_t spell(char *out, terse_str bytes)
{
    size_t to = 0;
    for (size_t i = 0; i < bytes.n; i++)
        to += (size_t)utf8proc_encode_char(letter_of((uint8_t)bytes.p[i]), (utf8proc_uint8_t *)out + to);
    return to;
}

terse_status terse_bpe_piece(const terse_token *t, terse_text *out, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (uint32_t i = 0; i < t->n && st == TERSE_OK;) {
        utf8proc_int32_t letter = -1;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)t->p + i, t->n - i, &letter);
        if (len < 1)
            len = 1;
        const int32_t byte = byte_of(letter);
        const char c = (char)byte;
        st = byte < 0 ? terse_text_append(out, t->p + i, (size_t)len, err) : terse_text_append(out, &c, 1, err);
        i += (uint32_t)len;
    }
    return st;
}

static uint32_t rule_hash(int32_t left, int32_t right)
{
    const uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

static terse_bpe_rule *rule_slot(const terse_vocab *v, int32_t left, int32_t right)
{
    uint32_t i = rule_hash(left, right) & v->rule_mask;
    while (v->rules[i].order > 0 && (v->rules[i].left != left || v->rules[i].right != right))
        i = (i + 1) & v->rule_mask;
    return &v->rules[i];
}

/* A merge on its way into the table: "left right" and the text of the token that they give. */
typedef struct {
    terse_str parts[3]; /* left, right, both joined; the last is empty if its token is already known */
    uint64_t hashes[3];
    terse_bpe_rule rule;
} pending;

enum { BATCH = 16 };

/* Vocabularies are written in the order in which merges made their tokens, so the token that left and right
 * give is mostly the one of the merge before or its successor. That one, or -1. */
static int32_t guess(const terse_vocab *v, int32_t before, terse_str left, terse_str right)
{
    for (int32_t id = before; id >= 0 && id < v->n && id <= before + 1 && !v->doubles; id++) {
        const terse_token *t = &v->tokens[id];
        if (t->n == left.n + right.n && memcmp(t->p, left.p, left.n) == 0 &&
            memcmp(t->p + left.n, right.p, right.n) == 0)
            return id;
    }
    return -1;
}

/* Takes "left right" apart; the joined text goes to room[longest]. before: the token of the merge before. */
static terse_status read_rule(const terse_vocab *v, pending *p, terse_str text, uint32_t rank, int32_t before,
                              char *room, terse_error *err)
{
    const char *blank = text.n > 2 ? memchr(text.p + 1, ' ', text.n - 2) : NULL;
    if (!blank || text.n - 1 > v->longest)
        return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.merges[%u] is not two tokens and a blank: %.*s",
                          rank, (int)(text.n < 80 ? text.n : 80), text.p);
    const terse_str left = { text.p, (size_t)(blank - text.p) };
    const terse_str right = { blank + 1, text.n - left.n - 1 };
    *p = (pending){ { left, right }, { 0 }, { .order = rank + 1, .merged = guess(v, before, left, right) } };
    if (p->rule.merged < 0) {
        memcpy(room, left.p, left.n);
        memcpy(room + left.n, right.p, right.n);
        p->parts[2] = (terse_str){ room, text.n - 1 };
    }
    for (int k = 0; k < 3 && p->parts[k].n > 0; k++) {
        p->hashes[k] = terse_vocab_hash(p->parts[k]);
        terse_vocab_warm(v, p->hashes[k]);
    }
    return TERSE_OK;
}

static terse_status find_tokens(const terse_vocab *v, pending *p, terse_error *err)
{
    int32_t ids[3] = { -1, -1, p->rule.merged };
    for (int k = 0; k < 3 && p->parts[k].n > 0; k++)
        if ((ids[k] = terse_vocab_find_hash(v, p->hashes[k])) < 0)
            return terse_fail(err, TERSE_BAD_INPUT,
                              "tokenizer.ggml.merges[%u] needs the token %.*s, which is missing",
                              p->rule.order - 1, (int)(p->parts[k].n < 80 ? p->parts[k].n : 80), p->parts[k].p);
    p->rule.left = ids[0];
    p->rule.right = ids[1];
    p->rule.merged = ids[2];
    __builtin_prefetch(&v->rules[rule_hash(ids[0], ids[1]) & v->rule_mask]);
    return TERSE_OK;
}

/* Adds up to BATCH merges at once: one by one, 300,000 of them would spend most of their time waiting for
 * memory. room has longest bytes for each. *before is the token of the last merge. */
static terse_status add_rules(terse_vocab *v, terse_meta_array *merges, uint32_t rank, int32_t *before,
                              char *room, terse_error *err)
{
    pending batch[BATCH];
    terse_status st = TERSE_OK;
    terse_str text;
    int32_t n = 0;
    for (; n < BATCH && terse_meta_array_next_str(merges, &text); n++) {
        st = read_rule(v, &batch[n], text, rank + (uint32_t)n, *before, room + (size_t)n * v->longest, err);
        if (st != TERSE_OK)
            return st;
        if (batch[n].rule.merged >= 0)
            *before = batch[n].rule.merged;
    }
    for (int32_t i = 0; i < n; i++)
        if ((st = find_tokens(v, &batch[i], err)) != TERSE_OK)
            return st;
    for (int32_t i = 0; i < n; i++) {
        terse_bpe_rule *slot = rule_slot(v, batch[i].rule.left, batch[i].rule.right);
        if (slot->order == 0) /* of two equal merges the first counts */
            *slot = batch[i].rule;
        *before = batch[i].rule.merged;
    }
    return TERSE_OK;
}

static terse_status load_rules(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_meta_array merges = { 0 };
    terse_status st = terse_gguf_get_array(g, "tokenizer.ggml.merges", true, TERSE_META_STR, &merges, err);
    if (st != TERSE_OK)
        return st;
    if (merges.n > INT32_MAX / 4)
        return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.merges has too many entries");
    const uint32_t n = (uint32_t)merges.n;
    uint32_t size = 16;
    while (size < n + n / 2)
        size *= 2;
    v->rule_mask = size - 1;
    v->rules_size = size * sizeof *v->rules;
    v->rules = terse_table_map(&v->rules_size);
    char *room = malloc((size_t)v->longest * BATCH);
    if (!v->rules || !room) {
        free(room);
        return terse_fail(err, TERSE_NOMEM, "vocabulary: %u merges", n);
    }
    int32_t before = -1;
    for (uint32_t rank = 0; rank < n && st == TERSE_OK; rank += BATCH)
        st = add_rules(v, &merges, rank, &before, room, err);
    free(room);
    return st;
}

terse_status terse_bpe_load(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    if (v->pre->raw)
        terse_spm_find_bytes(v);
    for (int32_t b = 0; b < 256 && !v->pre->raw; b++) {
        const char byte = (char)b;
        char letter[4];
        v->byte_ids[b] = terse_vocab_find(v, (terse_str){ letter, spell(letter, (terse_str){ &byte, 1 }) });
    }
    const terse_status st = load_rules(v, g, err);
    return st != TERSE_OK ? st : terse_split_open(&v->split, v->pre, err);
}

static bool pair(const void *ctx, const terse_symbol *left, const terse_symbol *right, uint32_t end,
                 int32_t *merged, uint32_t *prio)
{
    (void)end;
    const terse_vocab *v = ctx;
    if (left->id < 0 || right->id < 0)
        return false;
    const terse_bpe_rule *rule = rule_slot(v, left->id, right->id);
    if (rule->order == 0)
        return false;
    *merged = rule->merged;
    *prio = rule->order;
    return true;
}

typedef struct {
    const terse_vocab *v;
    terse_merge *m;
    terse_tokens *out;
} word_ctx;

/* The token of a whole word, or -1. */
static terse_status find_word(const word_ctx *c, terse_str word, int32_t *id, terse_error *err)
{
    *id = -1;
    if (word.n > c->v->longest) /* the alphabet never makes it shorter */
        return TERSE_OK;
    const terse_status st = terse_merge_reserve_text(c->m, 2 * word.n, err);
    if (st == TERSE_OK)
        *id = terse_vocab_find(c->v, (terse_str){ c->m->text, spell(c->m->text, word) });
    return st;
}

static terse_status bytes_to_symbols(const word_ctx *c, terse_str word, size_t *n, terse_error *err)
{
    for (*n = 0; *n < word.n; ++*n) {
        const uint8_t byte = (uint8_t)word.p[*n];
        const int32_t known = c->v->byte_ids[byte];
        if (known < 0 && c->v->unk < 0)
            return terse_fail(err, TERSE_BAD_INPUT, "the vocabulary has no token for byte 0x%02X", byte);
        c->m->symbols[*n].id = known < 0 ? c->v->unk : known;
        c->m->symbols[*n].start = (uint32_t)*n;
    }
    return TERSE_OK;
}

static terse_status chars_to_symbols(const word_ctx *c, terse_str word, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < word.n; ++*n) {
        const size_t len = terse_char_len((uint8_t)word.p[i]);
        const terse_str character = { word.p + i, len < word.n - i ? len : word.n - i };
        c->m->symbols[*n].id = terse_vocab_find(c->v, character);
        c->m->symbols[*n].start = (uint32_t)i;
        i += character.n;
    }
    return TERSE_OK;
}

/* The token that a word is without any merge, or -1. */
static terse_status find_whole(const word_ctx *c, terse_str word, int32_t *id, terse_error *err)
{
    const terse_pre *pre = c->v->pre;
    *id = -1;
    if (pre->raw && (pre->whole_words || (pre->whole_breaks && word.p[0] == '\n')))
        *id = terse_vocab_find(c->v, word);
    return pre->whole_words && !pre->raw ? find_word(c, word, id, err) : TERSE_OK;
}

static terse_status encode_word(void *ctx, terse_str word, terse_error *err)
{
    const word_ctx *c = ctx;
    terse_status st;
    int32_t id;
    size_t n;
    if ((st = find_whole(c, word, &id, err)) != TERSE_OK)
        return st;
    if (id >= 0)
        return terse_tokens_push(c->out, id, err);
    if ((st = terse_merge_reserve(c->m, word.n, err)) != TERSE_OK)
        return st;
    st = c->v->pre->raw ? chars_to_symbols(c, word, &n) : bytes_to_symbols(c, word, &n, err);
    if (st == TERSE_OK)
        st = terse_merge_run(c->m, n, (uint32_t)word.n, pair, c->v, err);
    for (int32_t i = 0; i >= 0 && st == TERSE_OK; i = c->m->symbols[i].next) {
        const terse_symbol *s = &c->m->symbols[i];
        const terse_str bytes = { word.p + s->start, terse_symbol_end(c->m, s, (uint32_t)word.n) - s->start };
        st = s->id >= 0 ? terse_tokens_push(c->out, s->id, err) : terse_push_bytes(c->v, bytes, c->out, err);
    }
    return st;
}

terse_status terse_bpe_encode(const terse_vocab *v, terse_merge *m, terse_str text, terse_tokens *out,
                              terse_error *err)
{
    char *repaired = malloc(3 * text.n + 1), *spelled = NULL;
    if (!repaired)
        return terse_fail(err, TERSE_NOMEM, "tokenizer: a text of %zu bytes", text.n);
    word_ctx c = { v, m, out };
    terse_str words = { repaired, terse_split_repair(repaired, text) };
    if (v->pre->raw) {
        spelled = malloc(3 * words.n + 1);
        words = (terse_str){ spelled, spelled ? terse_spell_blanks(spelled, words) : 0 };
    }
    const terse_status st = words.p ? terse_split_words(v->split, words, encode_word, &c, err)
                                    : terse_fail(err, TERSE_NOMEM, "tokenizer: a text of %zu bytes", text.n);
    free(repaired);
    free(spelled);
    return st;
}
