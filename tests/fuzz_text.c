/* fuzz_text: any bytes as text and as token ids, with small vocabularies of all kinds. What
 * must hold: ids are in range; pieces give the text back; streams give whole characters only. */
#include "text/charsmap.h"
#include "text/split.h"
#include "text_spec.h"

#include <unistd.h>
#include <utf8proc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum {
    BYTES,
    MERGES,
    RAW,
    UNIGRAM
} vocab_kind; /* byte-level BPE, SentencePiece, BPE over characters, unigram */

static const struct {
    vocab_kind kind;
    const char *model, *pre, *name;
} VOCABS[] = {
    { BYTES, "gpt2", "gpt-2", "x" },        { BYTES, "gpt2", "llama-bpe", "x" },
    { MERGES, "llama", NULL, "x" },         { MERGES, "llama", NULL, "phi-3" },
    { RAW, "gemma4", NULL, "x" },           { UNIGRAM, "t5", NULL, "x" },
    { BYTES, "gpt2", "deepseek-llm", "x" }, { BYTES, "gpt2", "tiny_aya", "x" },
    { BYTES, "gpt2", "chameleon", "x" },    { BYTES, "gpt2", "kimi-k2", "x" },
};
enum { N_VOCAB = sizeof VOCABS / sizeof *VOCABS };

typedef struct {
    terse_gguf *g;
    terse_vocab *v;
} opened;

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

static void fill(spec *s, vocab_kind kind)
{
    spec_add(s, "<unk>", UNKNOWN, 0.0f);
    spec_add(s, "<s>", CONTROL, 0.0f);
    spec_add(s, "</s>", CONTROL, 0.0f);
    if (kind == BYTES)
        spec_add_letters(s);
    else
        spec_add_bytes(s);
    if (kind == MERGES || kind == UNIGRAM) {
        static const char *const texts[] = {
            "a",
            "b",
            "aa",
            "ab",
            "aab",
            "\xC3\xA9",
            "\xE2\x96\x81",
            "\xE2\x96\x81\xE2\x96\x81",
            "\xE2\x96\x81\x61",
        };
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
            spec_add(s, texts[i], NORMAL, (float)(i * 7 % 5));
    } else if (kind == RAW) {
        spec_add(s, "\n\n", NORMAL, 0.0f);
        spec_add(s, "a", NORMAL, 0.0f);
        spec_add(s, "b", NORMAL, 0.0f);
        spec_add(s, "\xE2\x96\x81", NORMAL, 0.0f);
        spec_merge(s, "a a", "aa");
        spec_merge(s, "\xE2\x96\x81 a", "\xE2\x96\x81\x61");
    } else {
        spec_merge(s, "a a", "aa");
        spec_merge(s, "aa b", "aab");
        spec_merge(s, "a b", "ab");
        spec_merge(s, "\xC4\xA0 a",
                   "\xC4\xA0"
                   "a");
        spec_merge(s, "\xC3\x83 \xC2\xA9", "\xC3\x83\xC2\xA9");
    }
    spec_add(s, "<|a|>", CONTROL, 0.0f);
    spec_add(s, "<|a|>b", CONTROL, 0.0f);
}

static opened open_one(int32_t which)
{
    static spec s;
    opened o = { 0 };
    terse_error err;
    char path[] = "/tmp/terse-fuzz-XXXXXX";
    const int fd = mkstemp(path);
    check(fd >= 0);
    close(fd);
    memset(&s, 0, sizeof s);
    fill(&s, VOCABS[which].kind);
    terse_gguf_writer *w = spec_writer(&s, VOCABS[which].model, VOCABS[which].pre);
    terse_gguf_writer_str(w, "general.name", str(VOCABS[which].name));
    terse_gguf_writer_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    check(terse_gguf_writer_save(w, path, &err) == TERSE_OK);
    terse_gguf_writer_close(&w);
    check(terse_gguf_open(&o.g, path, &err) == TERSE_OK && terse_vocab_open(&o.v, o.g, &err) == TERSE_OK);
    unlink(path);
    return o;
}

/* Opened once and kept: they are the same for all inputs. */
static const opened *vocabs(void)
{
    static opened all[N_VOCAB];
    for (int32_t i = 0; i < N_VOCAB && !all[i].v; i++)
        all[i] = open_one(i);
    return all;
}

/* Pieces of plain tokens give the text, as far as the tokenizer sees it. */
static void check_pieces(const terse_vocab *v, vocab_kind kind, const terse_tokens *t, terse_str text)
{
    terse_text got = { 0 };
    char *want = malloc(3 * text.n + 1);
    check(want != NULL && terse_text_append(&got, "", 0, NULL) == TERSE_OK);
    for (size_t i = 0; i < t->n; i++)
        check(terse_vocab_piece(v, t->ids[i], true, &got, NULL) == TERSE_OK);
    const bool blanks = memmem(text.p, text.n, "\xE2\x96\x81", 3) || memmem(got.p, got.n, "\xE2\x96\x81", 3);
    if (kind == BYTES || (kind == RAW && !blanks)) {
        const size_t n = terse_split_repair(want, text);
        check(n == got.n && memcmp(want, got.p, n) == 0);
    } else if (kind == MERGES && !blanks) {
        check(got.n == text.n + (text.n > 0)); /* the blank in front */
        check(memcmp(got.p + (text.n > 0), text.p, text.n) == 0);
    }
    free(want);
    terse_text_free(&got);
}

static void check_stream(const terse_vocab *v, const terse_tokens *t)
{
    terse_stream s = { 0 };
    terse_text out = { 0 };
    for (size_t i = 0; i < t->n; i++)
        check(terse_stream_push(&s, v, t->ids[i], &out, NULL) == TERSE_OK);
    check(terse_stream_end(&s, &out, NULL) == TERSE_OK);
    for (size_t i = 0; i < out.n;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)out.p + i, (utf8proc_ssize_t)(out.n - i), &c);
        check(n > 0);
        i += (size_t)n;
    }
    terse_text_free(&out);
}

static void check_text(const terse_vocab *v, vocab_kind kind, terse_str text)
{
    for (int how = 0; how < 4; how++) {
        terse_tokens t = { 0 };
        terse_text out = { 0 };
        check(terse_vocab_tokenize(v, text.p, text.n, how & 1, how & 2, &t, NULL) == TERSE_OK);
        for (size_t i = 0; i < t.n; i++)
            check(t.ids[i] >= 0 && t.ids[i] < terse_vocab_size(v));
        if (how == 0)
            check_pieces(v, kind, &t, text);
        check(terse_vocab_detokenize(v, t.ids, t.n, how & 1, &out, NULL) == TERSE_OK);
        check_stream(v, &t);
        terse_text_free(&out);
        terse_tokens_free(&t);
    }
}

/* The bytes as ids, two by two; some are out of range. */
static void check_ids(const terse_vocab *v, terse_str bytes)
{
    terse_tokens t = { 0 };
    terse_text out = { 0 };
    bool all_good = true;
    for (size_t i = 0; i + 1 < bytes.n; i += 2) {
        const int32_t id = (int32_t)((uint8_t)bytes.p[i] | (uint32_t)(uint8_t)bytes.p[i + 1] << 8) - 1;
        all_good = all_good && id >= 0 && id < terse_vocab_size(v);
        check(terse_tokens_push(&t, id, NULL) == TERSE_OK);
    }
    const terse_status st = terse_vocab_detokenize(v, t.ids, t.n, false, &out, NULL);
    check(st == (all_good ? TERSE_OK : TERSE_BAD_INPUT));
    terse_text_free(&out);
    terse_tokens_free(&t);
}

/* The bytes as a table of replacements and as what it is applied to: a replacement lies inside the table. */
static void check_charsmap(terse_str bytes)
{
    terse_charsmap c = { 0 };
    terse_str to;
    const size_t half = bytes.n / 2;
    uint8_t *blob = malloc(half ? half : 1); /* exactly the size: a sanitizer sees any read past it */
    check(blob != NULL);
    memcpy(blob, bytes.p, half);
    if (terse_charsmap_open(&c, blob, half))
        for (size_t i = half; i < bytes.n; i++) {
            const size_t n = terse_charsmap_find(&c, (terse_str){ bytes.p + i, bytes.n - i }, &to);
            check(n <= bytes.n - i);
            check(n == 0 || (to.p >= c.texts && to.p + to.n < c.texts + c.texts_size));
        }
    free(blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const int32_t which = data[0] % N_VOCAB;
    const terse_vocab *v = vocabs()[which].v;
    const terse_str text = { (const char *)data + 1, size - 1 };
    check_text(v, VOCABS[which].kind, text);
    check_ids(v, text);
    check_charsmap(text);
    return 0;
}
