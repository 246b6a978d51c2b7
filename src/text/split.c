/* text/split.c: see split.h. White space is spelled out instead of \s, which in PCRE2 includes U+180E. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/split.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define SPACE  "\\p{Z}\\t-\\r\\x{85}"
#define BLANKS "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define OTHER  "[^" SPACE "\\p{L}\\p{N}]+"
#define MODERN(digits)                                                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?" OTHER "[\\r\\n]*|[" SPACE       \
    "]*[\\r\\n]+|" BLANKS

static const terse_pre PRES[] = {
    { .names = "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum",
      .pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?" OTHER "|" BLANKS,
      .clean_up = true },
    { .names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
      .pattern = MODERN("\\p{N}{1,3}"),
      .whole_words = true,
      .adds_bos = true,
      .clean_up = true },
    { .names = "qwen2 deepseek-r1-qwen kormo", .pattern = MODERN("\\p{N}") },
};

enum { MAX_DEPTH = 10000, MAX_HEAP_KIB = 64 * 1024, STEPS_PER_BYTE = 16 };

static bool lists(const char *names, terse_str name)
{
    for (const char *p = names; *p;) {
        const size_t n = strcspn(p, " ");
        if (n == name.n && memcmp(p, name.p, n) == 0)
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

const terse_pre *terse_pre_find(terse_str name)
{
    for (size_t i = 0; i < sizeof PRES / sizeof PRES[0]; i++)
        if (lists(PRES[i].names, name))
            return &PRES[i];
    return NULL;
}

struct terse_split {
    pcre2_code *code;
};

terse_status terse_split_open(terse_split **out, const terse_pre *pre, terse_error *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    terse_split *s = *out = calloc(1, sizeof *s);
    if (!s)
        return terse_fail(err, TERSE_NOMEM, "pre-tokenizer");
    /* Anchored: every character belongs to a word, so a search could only hide a gap. */
    s->code = pcre2_compile((PCRE2_SPTR)pre->pattern, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
    if (!s->code) {
        terse_split_close(out);
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return terse_fail(err, TERSE_NOMEM, "pre-tokenizer");
        return terse_fail(err, TERSE_INTERNAL, "pre-tokenizer: PCRE2 error %d at byte %zu of its pattern", code,
                          at);
    }
    /* Without a compiler for this machine PCRE2 interprets the pattern: slower, with the same result. */
    (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE);
    return TERSE_OK;
}

void terse_split_close(terse_split **s)
{
    if (!s || !*s)
        return;
    pcre2_code_free((*s)->code);
    free(*s);
    *s = NULL;
}

/* The number of steps is bounded by the text: the patterns need a few per byte. */
static pcre2_match_context *limits(size_t n)
{
    pcre2_match_context *c = pcre2_match_context_create(NULL);
    if (c) {
        const size_t steps = 1000000 + n * STEPS_PER_BYTE;
        pcre2_set_match_limit(c, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
        pcre2_set_depth_limit(c, MAX_DEPTH);
        pcre2_set_heap_limit(c, MAX_HEAP_KIB);
    }
    return c;
}

static terse_status match_failed(int rc, size_t at, terse_error *err)
{
    char why[128] = "";
    if (rc == PCRE2_ERROR_NOMATCH)
        return terse_fail(err, TERSE_INTERNAL, "pre-tokenizer: no word starts at byte %zu", at);
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
    const bool memory = rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_MATCHLIMIT ||
                        rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT ||
                        rc == PCRE2_ERROR_JIT_STACKLIMIT;
    return terse_fail(err, memory ? TERSE_NOMEM : TERSE_INTERNAL, "pre-tokenizer: %s at byte %zu of the text",
                      why, at);
}

/* PCRE2 must not see surrogates (ED A0..BF xx). A private-use character of the same length stands in: both are
 * neither letter, digit nor white space. *copy is NULL if text has none. */
static terse_status hide_surrogates(terse_str text, char **copy, terse_error *err)
{
    *copy = NULL;
    for (size_t i = 0; i + 2 < text.n; i++) {
        if ((uint8_t)text.p[i] != 0xED || (uint8_t)text.p[i + 1] < 0xA0)
            continue;
        if (!*copy) {
            if (!(*copy = malloc(text.n)))
                return terse_fail(err, TERSE_NOMEM, "pre-tokenizer: a text of %zu bytes", text.n);
            memcpy(*copy, text.p, text.n);
        }
        memcpy(*copy + i, "\xEE\x80\x80", 3);
    }
    return TERSE_OK;
}

terse_status terse_split_words(const terse_split *s, terse_str text, terse_word_fn *word, void *ctx,
                               terse_error *err)
{
    terse_status st;
    char *copy = NULL;
    pcre2_match_context *limit = limits(text.n);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!limit || !match) {
        st = terse_fail(err, TERSE_NOMEM, "pre-tokenizer");
        goto done;
    }
    if ((st = hide_surrogates(text, &copy, err)) != TERSE_OK)
        goto done;
    PCRE2_SPTR subject = (PCRE2_SPTR)(copy ? copy : text.p);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
    for (size_t at = 0; at < text.n && st == TERSE_OK; at = span[1]) {
        const int rc = pcre2_match(s->code, subject, text.n, at, PCRE2_NO_UTF_CHECK, match, limit);
        if (rc < 0 || span[1] <= at) {
            st = match_failed(rc, at, err);
            goto done;
        }
        st = word(ctx, (terse_str){ text.p + at, span[1] - at }, err);
    }
done:
    free(copy);
    pcre2_match_data_free(match);
    pcre2_match_context_free(limit);
    return st;
}

/* The character at p, however it is encoded, and its length; 0 if the bytes are none. */
static size_t decode(const uint8_t *p, size_t n, utf8proc_int32_t *c)
{
    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    const size_t len = p[0] < 0xC0 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF8 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    utf8proc_int32_t v = p[0] & (0x7F >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3F);
    }
    *c = v;
    return v > 0x10FFFF ? 0 : len;
}

size_t terse_split_repair(char *out, terse_str text)
{
    const uint8_t *p = (const uint8_t *)text.p;
    size_t to = 0;
    for (size_t i = 0; i < text.n;) {
        utf8proc_int32_t c = 0xFFFD;
        const size_t len = decode(p + i, text.n - i, &c);
        to += (size_t)utf8proc_encode_char(len ? c : 0xFFFD, (utf8proc_uint8_t *)out + to);
        i += len ? len : 1;
    }
    return to;
}
