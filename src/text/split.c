/* text/split.c: see split.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/split.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_DEPTH = 10000, MAX_HEAP_KIB = 64 * 1024, STEPS_PER_BYTE = 16 };

typedef enum { MATCHES, DIGITS, DIGITS_OF_WORD } stage_kind;

struct terse_split {
    int32_t n; /* stages */
    stage_kind kinds[TERSE_PRE_STAGES];
    pcre2_code *codes[TERSE_PRE_STAGES]; /* of MATCHES */
};

static terse_status compile(pcre2_code **out, const char *pattern, terse_error *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK,
                         &code, &at, NULL);
    if (!*out && code == PCRE2_ERROR_HEAP_FAILED)
        return terse_fail(err, TERSE_NOMEM, "pre-tokenizer");
    if (!*out)
        return terse_fail(err, TERSE_INTERNAL, "pre-tokenizer: PCRE2 error %d at byte %zu of its pattern", code,
                          at);
    /* Without a compiler for this machine PCRE2 interprets the pattern: slower, with the same result. */
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return TERSE_OK;
}

terse_status terse_split_open(terse_split **out, const terse_pre *pre, terse_error *err)
{
    terse_status st = TERSE_OK;
    terse_split *s = *out = calloc(1, sizeof *s);
    if (!s)
        return terse_fail(err, TERSE_NOMEM, "pre-tokenizer");
    for (; s->n < TERSE_PRE_STAGES && pre->stages[s->n] && st == TERSE_OK; s->n++) {
        const char *pattern = pre->stages[s->n];
        s->kinds[s->n] = strcmp(pattern, TERSE_DIGITS) == 0           ? DIGITS
                         : strcmp(pattern, TERSE_DIGITS_OF_WORD) == 0 ? DIGITS_OF_WORD
                                                                      : MATCHES;
        if (s->kinds[s->n] == MATCHES)
            st = compile(&s->codes[s->n], pattern, err);
    }
    if (st != TERSE_OK)
        terse_split_close(out);
    return st;
}

void terse_split_close(terse_split **s)
{
    if (!s || !*s)
        return;
    for (int32_t k = 0; k < (*s)->n; k++)
        pcre2_code_free((*s)->codes[k]);
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
    if (rc >= 0)
        return terse_fail(err, TERSE_INTERNAL, "pre-tokenizer: an empty word at byte %zu", at);
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

/* One text on its way through the stages. */
typedef struct {
    const terse_split *s;
    const char *text;    /* what the words are taken from */
    const char *subject; /* what is matched: of the same length, without surrogates */
    pcre2_match_context *limit;
    pcre2_match_data *match;
    terse_word_fn *word;
    void *ctx;
    terse_error *err;
} run;

static terse_status cut(const run *r, int32_t k, size_t from, size_t to);

/* The matches of a pattern within [from, to) and what lies between them. */
static terse_status cut_matches(const run *r, int32_t k, size_t from, size_t to)
{
    terse_status st = TERSE_OK;
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(r->match);
    for (size_t at = from; at < to && st == TERSE_OK;) {
        const int rc = pcre2_match(r->s->codes[k], (PCRE2_SPTR)r->subject + from, to - from, at - from,
                                   PCRE2_NO_UTF_CHECK, r->match, r->limit);
        if (rc == PCRE2_ERROR_NOMATCH)
            return cut(r, k + 1, at, to);
        if (rc < 0 || span[1] <= span[0])
            return match_failed(rc, at, r->err);
        const size_t start = from + span[0], end = from + span[1]; /* the next stages use the same match */
        if (start > at)
            st = cut(r, k + 1, at, start);
        if (st == TERSE_OK)
            st = cut(r, k + 1, start, end);
        at = end;
    }
    return st;
}

static utf8proc_category_t category_at(const char *text, size_t at, size_t to, size_t *len)
{
    utf8proc_int32_t c = -1;
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(to - at), &c);
    *len = n > 0 ? (size_t)n : 1;
    return n > 0 ? utf8proc_category(c) : UTF8PROC_CATEGORY_CN;
}

/* Letters, marks, numbers and what joins words, as \w has it. */
static bool of_word(utf8proc_category_t c)
{
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC;
}

/* Groups of three digits, counted from the last digit of a run. */
static terse_status cut_digits(const run *r, int32_t k, size_t from, size_t to)
{
    const bool of_words = r->s->kinds[k] == DIGITS_OF_WORD;
    terse_status st = TERSE_OK;
    size_t start = from; /* of the piece that is not cut off yet */
    for (size_t at = from, len = 0; at < to && st == TERSE_OK;) {
        size_t n = 0, end = at;
        utf8proc_category_t c = UTF8PROC_CATEGORY_CN;
        for (; end < to && (c = category_at(r->subject, end, to, &len)) == UTF8PROC_CATEGORY_ND; end += len)
            n++;
        const bool cuts = n > 0 && !(of_words && end < to && of_word(c));
        if (!cuts) {
            at = end + (n == 0 ? len : 0);
            continue;
        }
        for (size_t left = n; left > 0 && st == TERSE_OK; left--) {
            const bool first = left == n && (of_words || n % 3 == 0);
            if ((first || (left < n && left % 3 == 0)) && at > start) {
                st = cut(r, k + 1, start, at);
                start = at;
            }
            (void)category_at(r->subject, at, to, &len);
            at += len;
        }
        if (of_words && st == TERSE_OK) {
            st = cut(r, k + 1, start, at);
            start = at;
        }
    }
    return st == TERSE_OK && start < to ? cut(r, k + 1, start, to) : st;
}

/* Sends a piece through the stages from the k-th on. */
static terse_status cut(const run *r, int32_t k, size_t from, size_t to)
{
    if (k == r->s->n)
        return r->word(r->ctx, (terse_str){ r->text + from, to - from }, r->err);
    return r->s->kinds[k] == MATCHES ? cut_matches(r, k, from, to) : cut_digits(r, k, from, to);
}

terse_status terse_split_words(const terse_split *s, terse_str text, terse_word_fn *word, void *ctx,
                               terse_error *err)
{
    terse_status st;
    char *copy = NULL;
    run r = { s, text.p, text.p, limits(text.n), pcre2_match_data_create(1, NULL), word, ctx, err };
    if (!r.limit || !r.match)
        st = terse_fail(err, TERSE_NOMEM, "pre-tokenizer");
    else if ((st = hide_surrogates(text, &copy, err)) == TERSE_OK && text.n > 0) {
        r.subject = copy ? copy : text.p;
        st = cut(&r, 0, 0, text.n);
    }
    free(copy);
    pcre2_match_data_free(r.match);
    pcre2_match_context_free(r.limit);
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
