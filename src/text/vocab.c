/* text/vocab.c: reads tokenizer.ggml.* into a vocabulary and answers questions about it. Everything that the
 * file says about ids, lengths and types is checked here, once. */
#define XXH_INLINE_ALL
#include "text/vocab.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

enum { MAX_TOKEN_SIZE = 65535, MAX_SHOWN = 64, BATCH = 16 };

static int shown(terse_str s)
{
    return s.n < MAX_SHOWN ? (int)s.n : MAX_SHOWN;
}
static bool is(terse_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* The slot that holds hash, or the empty one where it would go. */
static terse_vocab_slot *slot_of(const terse_vocab *v, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & v->slot_mask;
    while (v->slots[i].next > 0 && v->slots[i].hash != hash)
        i = (i + 1) & v->slot_mask;
    return &v->slots[i];
}

static bool same_text(const terse_vocab *v, int32_t id, terse_str text)
{
    return v->tokens[id].n == text.n && memcmp(v->tokens[id].p, text.p, text.n) == 0;
}

void *terse_table_map(size_t *size)
{
    *size = terse_align_up(*size, 2 << 20);
    return terse_pages_map(*size);
}

uint64_t terse_vocab_hash(terse_str text)
{
    return XXH3_64bits(text.p, text.n);
}

int32_t terse_vocab_find_hash(const terse_vocab *v, uint64_t hash)
{
    return slot_of(v, hash)->next - 1;
}

void terse_vocab_warm(const terse_vocab *v, uint64_t hash)
{
    __builtin_prefetch(&v->slots[(uint32_t)hash & v->slot_mask]);
}

int32_t terse_vocab_find(const terse_vocab *v, terse_str text)
{
    if (!v->slots || text.n == 0)
        return -1;
    const int32_t id = terse_vocab_find_hash(v, terse_vocab_hash(text));
    return id >= 0 && same_text(v, id, text) ? id : -1;
}

/* "<0xNN>" -> NN, or -1. */
static int32_t byte_value(const terse_token *t)
{
    static const char digits[] = "0123456789ABCDEF";
    if (t->n != 6 || memcmp(t->p, "<0x", 3) != 0 || t->p[5] != '>')
        return -1;
    const char *hi = memchr(digits, t->p[3], 16), *lo = memchr(digits, t->p[4], 16);
    return hi && lo ? (int32_t)((hi - digits) * 16 + (lo - digits)) : -1;
}

/* Adds the texts of up to BATCH tokens from the id-th on; their slots are fetched together. Of two tokens with
 * the same text the last one is found. */
static terse_status add_texts(terse_vocab *v, terse_meta_array *texts, int32_t from, terse_error *err)
{
    uint64_t hashes[BATCH];
    const int32_t n = v->n - from < BATCH ? v->n - from : BATCH;
    for (int32_t i = 0; i < n; i++) {
        terse_str s;
        if (!terse_meta_array_next_str(texts, &s) || s.n > MAX_TOKEN_SIZE)
            return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.tokens[%d] is longer than %d bytes",
                              from + i, MAX_TOKEN_SIZE);
        v->tokens[from + i] = (terse_token){ .p = s.p, .n = (uint32_t)s.n, .type = TERSE_TOKEN_NORMAL };
        v->longest = (uint32_t)s.n > v->longest ? (uint32_t)s.n : v->longest;
        hashes[i] = terse_vocab_hash(s);
        terse_vocab_warm(v, hashes[i]);
    }
    for (int32_t i = 0; i < n; i++) {
        const terse_token *t = &v->tokens[from + i];
        if (t->n == 0) /* a hole in the vocabulary: the token exists, no text gives it */
            continue;
        terse_vocab_slot *slot = slot_of(v, hashes[i]);
        if (slot->next > 0 && !same_text(v, slot->next - 1, (terse_str){ t->p, t->n }))
            return terse_fail(err, TERSE_UNSUPPORTED,
                              "tokenizer.ggml.tokens[%d] and [%d] share a hash of 64 bits", slot->next - 1,
                              from + i);
        v->doubles = v->doubles || slot->next > 0;
        *slot = (terse_vocab_slot){ hashes[i], from + i + 1 };
    }
    return TERSE_OK;
}

static terse_status load_texts(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_meta_array texts;
    terse_status st = terse_gguf_get_array(g, "tokenizer.ggml.tokens", true, TERSE_META_STR, &texts, err);
    if (st != TERSE_OK)
        return st;
    if (texts.n == 0 || texts.n > INT32_MAX / 4)
        return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.tokens has %llu entries",
                          (unsigned long long)texts.n);
    v->n = (int32_t)texts.n;
    uint32_t size = 16;
    while (size < 2 * texts.n)
        size *= 2;
    v->slot_mask = size - 1;
    v->tokens = calloc((size_t)v->n, sizeof *v->tokens);
    v->slots_size = size * sizeof *v->slots;
    v->slots = terse_table_map(&v->slots_size);
    if (!v->tokens || !v->slots)
        return terse_fail(err, TERSE_NOMEM, "vocabulary: %d tokens", v->n);
    for (int32_t id = 0; id < v->n && st == TERSE_OK; id += BATCH)
        st = add_texts(v, &texts, id, err);
    return st;
}

/* An optional array with one element per token. */
static terse_status get_per_token(const terse_vocab *v, const terse_gguf *g, const char *key,
                                  terse_meta_type type, terse_meta_array *a, terse_error *err)
{
    *a = (terse_meta_array){ 0 };
    const terse_status st = terse_gguf_get_array(g, key, false, type, a, err);
    if (st != TERSE_OK)
        return st;
    if (terse_gguf_find_meta(g, key) && a->n != (uint64_t)v->n)
        return terse_fail(err, TERSE_BAD_INPUT, "%s has %llu entries for %d tokens", key,
                          (unsigned long long)a->n, v->n);
    return TERSE_OK;
}

static terse_status load_types(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_meta_array types;
    terse_status st = get_per_token(v, g, "tokenizer.ggml.scores", TERSE_META_F32, &v->scores, err);
    if (st == TERSE_OK)
        st = get_per_token(v, g, "tokenizer.ggml.token_type", TERSE_META_I32, &types, err);
    if (st != TERSE_OK)
        return st;
    for (int32_t id = 0; id < v->n && types.n > 0; id++) {
        terse_token *t = &v->tokens[id];
        const int64_t type = terse_meta_array_i64(&types, (uint64_t)id);
        if (type < 0 || type >= TERSE_TOKEN_TYPE_COUNT)
            return terse_fail(err, TERSE_BAD_INPUT, "tokenizer.ggml.token_type[%d] is %lld", id,
                              (long long)type);
        t->type = (uint8_t)type;
        if (type != TERSE_TOKEN_BYTE)
            continue;
        const int32_t byte = byte_value(t);
        if (byte < 0)
            return terse_fail(err, TERSE_BAD_INPUT,
                              "tokenizer.ggml.tokens[%d] is a byte token but not <0xNN>: %.*s", id,
                              shown((terse_str){ t->p, t->n }), t->p);
        t->byte = (uint8_t)byte;
    }
    return TERSE_OK;
}

terse_status terse_vocab_get_id(const terse_vocab *v, const terse_gguf *g, const char *key, int32_t def,
                                int32_t *id, terse_error *err)
{
    *id = def;
    const terse_status st = terse_gguf_get_i32(g, key, false, id, err);
    if (st != TERSE_OK)
        return st;
    const bool none = *id == -1 && !terse_gguf_find_meta(g, key);
    if (!none && (*id < 0 || *id >= v->n))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "%s: special id %d is out of range, the vocabulary has %d tokens", key, *id, v->n);
    return TERSE_OK;
}

static terse_status load_special_ids(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    const bool spm = v->model == TERSE_VOCAB_SPM, unigram = v->model == TERSE_VOCAB_UNIGRAM;
    terse_status st;
    if ((st = terse_vocab_get_id(v, g, "tokenizer.ggml.bos_token_id", spm ? 1 : -1, &v->bos, err)) !=
            TERSE_OK ||
        (st = terse_vocab_get_id(v, g, "tokenizer.ggml.eos_token_id",
                                 spm       ? 2
                                 : unigram ? 1
                                           : -1,
                                 &v->eos, err)) != TERSE_OK ||
        (st = terse_vocab_get_id(v, g, "tokenizer.ggml.unknown_token_id",
                                 spm       ? 0
                                 : unigram ? 2
                                           : -1,
                                 &v->unk, err)) != TERSE_OK ||
        (st = terse_special_names(v, g, err)) != TERSE_OK)
        return st;
    v->adds_bos = spm || (v->pre && v->pre->adds_bos);
    v->adds_eos = unigram;
    v->space_prefix = spm;
    if ((st = terse_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &v->adds_bos, err)) != TERSE_OK ||
        (st = terse_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &v->adds_eos, err)) != TERSE_OK)
        return st;
    if (spm || unigram)
        st = terse_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &v->space_prefix, err);
    v->adds_bos = (v->adds_bos || (v->pre && v->pre->always_bos)) && v->bos >= 0;
    v->adds_eos = v->adds_eos && v->eos >= 0;
    return st;
}

static bool contains_nocase(terse_str s, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.n; i++)
        if (strncasecmp(s.p + i, part, n) == 0)
            return true;
    return false;
}

/* Phi-3 was trained with special tokens that swallow the white space after them; its files do not say so. */
static terse_status mark_rstrip(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_str name = { 0 };
    const terse_status st = terse_gguf_get_str(g, "general.name", false, &name, err);
    if (st != TERSE_OK || !(contains_nocase(name, "phi-3") || contains_nocase(name, "phi3")))
        return st;
    for (int32_t id = 0; id < v->n; id++) {
        terse_token *t = &v->tokens[id];
        const terse_str s = { t->p, t->n };
        t->rstrip = (t->type == TERSE_TOKEN_CONTROL || t->type == TERSE_TOKEN_USER_DEFINED ||
                     t->type == TERSE_TOKEN_UNKNOWN) &&
                    !is(s, "<unk>") && !is(s, "<s>") && !is(s, "<|endoftext|>");
    }
    return TERSE_OK;
}

/* tokenizer.ggml.model = "none": only the architecture's vocab_size. */
static terse_status load_size(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_str arch;
    char key[128];
    terse_status st = terse_gguf_get_str(g, "general.architecture", true, &arch, err);
    if (st != TERSE_OK)
        return st;
    const int n = snprintf(key, sizeof key, "%.*s.vocab_size", shown(arch), arch.p);
    if (n < 0 || (size_t)n >= sizeof key)
        return terse_fail(err, TERSE_BAD_INPUT, "general.architecture is too long");
    if ((st = terse_gguf_get_i32(g, key, true, &v->n, err)) == TERSE_OK && v->n < 1)
        st = terse_fail(err, TERSE_BAD_INPUT, "%s is %d", key, v->n);
    return st;
}

/* Names the pre-tokenizer that is missing and those that there are: one of each row. */
static terse_status fail_pre(terse_str pre, terse_error *err)
{
    char known[400];
    int n = 0;
    const terse_pre *row;
    for (int32_t i = 0; (row = terse_pre_at(i)) && n >= 0 && (size_t)n < sizeof known; i++)
        n += snprintf(known + n, sizeof known - (size_t)n, " %.*s", (int)strcspn(row->names, " "), row->names);
    return terse_fail(err, TERSE_UNSUPPORTED,
                      "pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not known; known:%s", shown(pre), pre.p,
                      known);
}

/* A wrong guess of the pre-tokenizer gives other tokens than the model was trained with, and no error. */
static terse_status choose_pre(terse_vocab *v, const terse_gguf *g, const char *def, terse_error *err)
{
    terse_str pre = { def, def ? strlen(def) : 0 };
    const terse_status st = terse_gguf_get_str(g, "tokenizer.ggml.pre", false, &pre, err);
    if (st != TERSE_OK)
        return st;
    if (!pre.p)
        return terse_fail(
            err, TERSE_UNSUPPORTED,
            "the file does not say how words are cut (tokenizer.ggml.pre is missing); convert the "
            "model again, or set that key (docs/models.md lists the names)");
    v->pre = terse_pre_find(pre);
    return v->pre ? TERSE_OK : fail_pre(pre, err);
}

static terse_status choose_model(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    static const struct {
        const char *name, *pre; /* pre: unless the file names one */
        terse_vocab_model model;
    } models[] = {
        { "none", NULL, TERSE_VOCAB_NONE },  { "llama", NULL, TERSE_VOCAB_SPM },
        { "gpt2", NULL, TERSE_VOCAB_BPE },   { "gemma4", "gemma4", TERSE_VOCAB_BPE },
        { "t5", NULL, TERSE_VOCAB_UNIGRAM },
    };
    terse_str name;
    const terse_status st = terse_gguf_get_str(g, "tokenizer.ggml.model", true, &name, err);
    if (st != TERSE_OK)
        return st;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (!is(name, models[i].name))
            continue;
        v->model = models[i].model;
        return v->model == TERSE_VOCAB_BPE ? choose_pre(v, g, models[i].pre, err) : TERSE_OK;
    }
    return terse_fail(
        err, TERSE_UNSUPPORTED,
        "tokenizer \"%.*s\" (tokenizer.ggml.model) is not known; known: gpt2 llama gemma4 t5 none", shown(name),
        name.p);
}

static terse_status load(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    terse_status st;
    if ((st = choose_model(v, g, err)) != TERSE_OK)
        return st;
    if (v->model == TERSE_VOCAB_NONE)
        return load_size(v, g, err);
    if ((st = load_texts(v, g, err)) != TERSE_OK || (st = load_types(v, g, err)) != TERSE_OK ||
        (st = load_special_ids(v, g, err)) != TERSE_OK || (st = mark_rstrip(v, g, err)) != TERSE_OK)
        return st;
    st = v->model == TERSE_VOCAB_BPE   ? terse_bpe_load(v, g, err)
         : v->model == TERSE_VOCAB_SPM ? terse_spm_load(v, err)
                                       : terse_unigram_load(v, g, err);
    return st != TERSE_OK ? st : terse_special_index(v, err);
}

terse_status terse_vocab_open(terse_vocab **out, const terse_gguf *g, terse_error *err)
{
    terse_vocab *v = *out = calloc(1, sizeof *v);
    if (!v)
        return terse_fail(err, TERSE_NOMEM, "vocabulary");
    v->bos = v->eos = v->unk = -1;
    const terse_status st = load(v, g, err);
    if (st != TERSE_OK)
        terse_vocab_close(out);
    return st;
}

void terse_vocab_close(terse_vocab **v)
{
    if (!v || !*v)
        return;
    terse_split_close(&(*v)->split);
    free((*v)->tokens);
    terse_pages_unmap((*v)->slots, (*v)->slots_size);
    terse_pages_unmap((*v)->rules, (*v)->rules_size);
    terse_prefixes_close(&(*v)->specials);
    terse_prefixes_close(&(*v)->pieces);
    free(*v);
    *v = NULL;
}

int32_t terse_vocab_size(const terse_vocab *v)
{
    return v->n;
}
bool terse_vocab_has_text(const terse_vocab *v)
{
    return v->model != TERSE_VOCAB_NONE;
}
int32_t terse_vocab_bos(const terse_vocab *v)
{
    return v->bos;
}
int32_t terse_vocab_eos(const terse_vocab *v)
{
    return v->eos;
}
bool terse_vocab_adds_bos(const terse_vocab *v)
{
    return v->adds_bos;
}

bool terse_vocab_is_end(const terse_vocab *v, int32_t id)
{
    return v->tokens && id >= 0 && id < v->n && v->tokens[id].end;
}
