/* text/token_bpe.c: byte-level BPE. Token texts are written in an alphabet of 256 printable characters, one per
 * byte (Radford et al. 2019): printable Latin-1 stands for itself, the rest follows from U+0100 on. Encoding
 * works on token ids: a word starts as its bytes' tokens and merges by the table (left, right) -> (rank,
 * merged). */
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
    while (v->rules[i].left >= 0 && (v->rules[i].left != left || v->rules[i].right != right))
        i = (i + 1) & v->rule_mask;
    return &v->rules[i];
}

/* Reads "left right". The text of the merged token is put together in buf[longest]. */
static terse_status add_rule(terse_vocab *v, terse_str text, uint32_t rank, char *buf, terse_error *err)
{
    const char *blank = text.n > 2 ? memchr(text.p + 1, ' ', text.n - 2) : NULL;
    if (!blank)
        return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.merges[%u] is not two tokens and a blank",
                          rank);
    const terse_str l = { text.p, (size_t)(blank - text.p) };
    const terse_str r = { blank + 1, text.n - l.n - 1 };
    int32_t left = -1, right = -1, merged = -1;
    if (l.n + r.n <= v->longest) {
        memcpy(buf, l.p, l.n);
        memcpy(buf + l.n, r.p, r.n);
        left = terse_vocab_find(v, l);
        right = terse_vocab_find(v, r);
        merged = terse_vocab_find(v, (terse_str){ buf, l.n + r.n });
    }
    if (left < 0 || right < 0 || merged < 0)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "tokenizer.ggml.merges[%u] joins or gives a text that is no token: %.*s", rank,
                          (int)(text.n < 80 ? text.n : 80), text.p);
    terse_bpe_rule *rule = rule_slot(v, left, right);
    if (rule->left < 0) /* of two equal merges the first counts */
        *rule = (terse_bpe_rule){ left, right, rank, merged };
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
    uint32_t size = 16;
    while (size < 2 * merges.n)
        size *= 2;
    v->rule_mask = size - 1;
    v->rules = malloc(size * sizeof *v->rules);
    char *buf = malloc((size_t)v->longest + 1);
    if (!v->rules || !buf) {
        free(buf);
        return terse_fail(err, TERSE_NOMEM, "vocabulary: %llu merges", (unsigned long long)merges.n);
    }
    for (uint32_t i = 0; i < size; i++)
        v->rules[i].left = -1;
    terse_str s;
    for (uint32_t rank = 0; st == TERSE_OK && terse_meta_array_next_str(&merges, &s); rank++)
        st = add_rule(v, s, rank, buf, err);
    free(buf);
    return st;
}

terse_status terse_bpe_load(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    for (int32_t b = 0; b < 256; b++) {
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
    if (rule->left < 0)
        return false;
    *merged = rule->merged;
    *prio = rule->rank;
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

static terse_status encode_word(void *ctx, terse_str word, terse_error *err)
{
    const word_ctx *c = ctx;
    terse_status st;
    int32_t id = -1;
    if (c->v->pre->whole_words && (st = find_word(c, word, &id, err)) != TERSE_OK)
        return st;
    if (id >= 0)
        return terse_tokens_push(c->out, id, err);
    if ((st = terse_merge_reserve(c->m, word.n, err)) != TERSE_OK)
        return st;
    for (size_t i = 0; i < word.n; i++) {
        const uint8_t byte = (uint8_t)word.p[i];
        const int32_t known = c->v->byte_ids[byte];
        if (known < 0 && c->v->unk < 0)
            return terse_fail(err, TERSE_BAD_INPUT, "the vocabulary has no token for byte 0x%02X", byte);
        c->m->symbols[i].id = known < 0 ? c->v->unk : known;
        c->m->symbols[i].start = (uint32_t)i;
    }
    if ((st = terse_merge_run(c->m, word.n, (uint32_t)word.n, pair, c->v, err)) != TERSE_OK)
        return st;
    for (int32_t i = 0; i >= 0 && st == TERSE_OK; i = c->m->symbols[i].next)
        st = terse_tokens_push(c->out, c->m->symbols[i].id, err);
    return st;
}

terse_status terse_bpe_encode(const terse_vocab *v, terse_merge *m, terse_str text, terse_tokens *out,
                              terse_error *err)
{
    char *repaired = malloc(3 * text.n + 1);
    if (!repaired)
        return terse_fail(err, TERSE_NOMEM, "tokenizer: a text of %zu bytes", text.n);
    word_ctx c = { v, m, out };
    const terse_str words = { repaired, terse_split_repair(repaired, text) };
    const terse_status st = terse_split_words(v->split, words, encode_word, &c, err);
    free(repaired);
    return st;
}
