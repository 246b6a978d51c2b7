/* text/jinja_lex.c: the source as tokens. White space is cut here: around tags with a minus sign, the newline
 * after a block or comment (trim_blocks), and the blanks before one on a line of its own (lstrip_blocks). */
#include "text/jinja.h"

#include <stdlib.h>

typedef struct {
    terse_parser *p;
    terse_str s;
    size_t at;
} lexer;

static bool on(const lexer *l)
{
    return l->p->st == TERSE_OK;
}

static void put(lexer *l, terse_tok_kind kind, size_t at, size_t len, terse_str text)
{
    terse_parser *p = l->p;
    if (p->n_tok == p->cap_tok) {
        const size_t cap = p->cap_tok ? p->cap_tok * 2 : 256; /* sources are at most 4 MiB */
        terse_tok *t = realloc(p->toks, cap * sizeof *t);
        if (!t) {
            p->st = terse_fail(p->err, TERSE_NOMEM, "template: no memory for %zu tokens", cap);
            return;
        }
        p->toks = t;
        p->cap_tok = cap;
    }
    p->toks[p->n_tok++] = (terse_tok){ .kind = kind, .at = (uint32_t)at, .len = (uint32_t)len, .s = text };
}

static char peek(const lexer *l, size_t at)
{
    return at < l->s.n ? l->s.p[at] : '\0';
}
static bool starts(const lexer *l, size_t at, const char *text)
{
    const size_t n = strlen(text);
    return at <= l->s.n && l->s.n - at >= n && memcmp(l->s.p + at, text, n) == 0;
}
static size_t skip_space(const lexer *l, size_t at)
{
    size_t n;
    while (at < l->s.n && terse_is_space(terse_char_at(l->s, at, &n)))
        at += n;
    return at;
}

/* Text from..to before a tag whose sign is '-', '+' or none. */
static void put_data(lexer *l, size_t from, size_t to, char sign, bool block)
{
    terse_str text = { l->s.p + from, to - from };
    if (sign == '-') {
        text = terse_strip(text, NULL, TERSE_STRIP_RIGHT);
    } else if (sign != '+' && block) {
        size_t line = text.n;
        while (line > 0 && text.p[line - 1] != '\n')
            line--;
        const bool whole = line > 0 || from == 0 || l->s.p[from - 1] == '\n';
        const terse_str rest = { text.p + line, text.n - line };
        if (whole && terse_strip(rest, NULL, TERSE_STRIP_RIGHT).n == 0)
            text.n = line;
    }
    if (text.n > 0)
        put(l, TERSE_TOK_DATA, from, text.n, text);
}

/* Length of the end of a tag at this byte ("-%}" with the white space after it, "+%}", "%}" with one newline);
 * 0: it is none. */
static size_t tag_end(const lexer *l, size_t at, const char *end, bool newline)
{
    const size_t sign = peek(l, at) == '-' ? 1 : peek(l, at) == '+' && newline ? 1 : 0;
    if (!starts(l, at + sign, end))
        return 0;
    size_t to = at + sign + 2;
    if (sign && peek(l, at) == '-')
        to = skip_space(l, to);
    else if (!sign && newline && peek(l, to) == '\n')
        to++;
    return to - at;
}

static void lex_comment(lexer *l, size_t open)
{
    for (size_t i = l->at; i < l->s.n; i++) {
        const size_t n = tag_end(l, i, "#}", true);
        if (n > 0) {
            l->at = i + n;
            return;
        }
    }
    terse_parse_fail(l->p, (uint32_t)open, "the comment has no end \"#}\"");
}

/* {% raw %} at this byte: where its text begins; 0: it is none. */
static size_t raw_begin(const lexer *l, size_t at)
{
    at += 2;
    at += peek(l, at) == '-' || peek(l, at) == '+';
    at = skip_space(l, at);
    if (!starts(l, at, "raw"))
        return 0;
    at = skip_space(l, at + 3);
    const size_t n = tag_end(l, at, "%}", false);
    return n ? at + n : 0;
}

static void lex_raw(lexer *l, size_t open, size_t from)
{
    for (size_t i = from; i + 1 < l->s.n; i++) {
        if (!starts(l, i, "{%"))
            continue;
        const char sign = peek(l, i + 2);
        size_t at = skip_space(l, i + 2 + (sign == '-' || sign == '+'));
        if (!starts(l, at, "endraw"))
            continue;
        at = skip_space(l, at + 6);
        const size_t n = tag_end(l, at, "%}", true);
        if (n == 0)
            continue;
        put_data(l, from, i, sign, true);
        l->at = at + n;
        return;
    }
    terse_parse_fail(l->p, (uint32_t)open, "{%% raw %%} has no {%% endraw %%}");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_word(int32_t c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z' && c < 128) ||
           (c >= 128 && !terse_is_space(c));
}

/* Digits with single underscores between them. */
static size_t digits(const lexer *l, size_t at, const char *allowed)
{
    size_t i = at;
    while (peek(l, i) && (strchr(allowed, peek(l, i)) ||
                          (i > at && peek(l, i) == '_' && peek(l, i + 1) && strchr(allowed, peek(l, i + 1)))))
        i++;
    return i - at;
}

static void lex_number(lexer *l)
{
    static const char decimal[] = "0123456789";
    const size_t at = l->at;
    size_t i = at + digits(l, at, decimal);
    bool real = false;
    const char base = (char)(peek(l, at + 1) | 32);
    if (peek(l, at) == '0' && (base == 'x' || base == 'o' || base == 'b')) {
        const size_t n = digits(l, at + 2,
                                base == 'x'   ? "0123456789abcdefABCDEF"
                                : base == 'o' ? "01234567"
                                              : "01");
        i = n ? at + 2 + n : at + 1;
    } else {
        const bool after_dot = at > 0 && peek(l, at - 1) == '.';
        size_t to = i;
        if (peek(l, to) == '.' && is_digit(peek(l, to + 1))) {
            to += 1 + digits(l, to + 1, decimal);
            real = true;
        }
        if ((peek(l, to) | 32) == 'e') {
            const size_t sign = peek(l, to + 1) == '+' || peek(l, to + 1) == '-';
            const size_t n = digits(l, to + 1 + sign, decimal);
            to += n ? 1 + sign + n : 0;
            real |= n > 0;
        }
        real = real && !after_dot; /* x.0.1 is an element of an element */
        i = real ? to : i;
        if (!real && peek(l, at) == '0')
            i = at + digits(l, at, "0");
    }
    put(l, real ? TERSE_TOK_FLOAT : TERSE_TOK_INT, at, i - at, (terse_str){ l->s.p + at, i - at });
    l->at = i;
}

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3F));
    to[0] = (char)((0xF00u >> n & 0xFF) | c); /* 110....., 1110...., 11110... */
    return n;
}

/* The escape after the backslash at byte at; appends to to[*n] and returns its length; 0 after a failure. */
static size_t escape(lexer *l, size_t at, char *to, size_t *n)
{
    static const char from[] = "\\'\"abfnrtv", into[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = peek(l, at + 1);
    const char *hit = c ? strchr(from, c) : NULL;
    const size_t room = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    if (hit) {
        to[(*n)++] = into[hit - from];
        return 2;
    }
    if (c == '\n')
        return 2;
    if (c >= '0' && c <= '7') {
        size_t i = 1;
        for (; i < 4 && peek(l, at + i) >= '0' && peek(l, at + i) <= '7'; i++)
            code = code * 8 + (uint32_t)(peek(l, at + i) - '0');
        *n += put_utf8(to + *n, code);
        return i;
    }
    if (c == 'N')
        return terse_parse_fail(l->p, (uint32_t)at, "\\N{...} is not built in"), 0;
    if (room == 0) { /* no escape */
        to[(*n)++] = '\\';
        return 1;
    }
    for (size_t i = 0; i < room; i++) {
        const char h = peek(l, at + 2 + i), low = (char)(h | 32);
        if (!is_digit(h) && !(low >= 'a' && low <= 'f'))
            return terse_parse_fail(l->p, (uint32_t)at, "\\%c needs %zu hexadecimal digits", c, room), 0;
        code = code * 16 + (uint32_t)(is_digit(h) ? h - '0' : low - 'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return terse_parse_fail(l->p, (uint32_t)at, "U+%04X is no character", code), 0;
    *n += put_utf8(to + *n, code);
    return 2 + room;
}

static void lex_string(lexer *l)
{
    const size_t at = l->at;
    const char quote = l->s.p[at];
    size_t end = at + 1, n = 0;
    while (end < l->s.n && l->s.p[end] != quote)
        end += l->s.p[end] == '\\' ? 2 : 1;
    if (end >= l->s.n) {
        terse_parse_fail(l->p, (uint32_t)at, "the string has no end");
        return;
    }
    char *text = terse_parse_get(l->p, end - at); /* an escape is never longer than what it is written as */
    for (size_t i = at + 1; i < end && on(l);) {
        if (l->s.p[i] == '\\')
            i += escape(l, i, text, &n);
        else
            text[n++] = l->s.p[i++];
    }
    if (!on(l))
        return;
    put(l, TERSE_TOK_STR, at, end + 1 - at, (terse_str){ text, n });
    l->at = end + 1;
}

static void lex_name(lexer *l)
{
    const size_t at = l->at;
    size_t n;
    while (l->at < l->s.n && is_word(terse_char_at(l->s, l->at, &n)))
        l->at += n;
    put(l, TERSE_TOK_NAME, at, l->at - at, (terse_str){ l->s.p + at, l->at - at });
}

/* An operator; brackets must match. */
static void lex_operator(lexer *l, char *open, size_t *n_open)
{
    static const char *const ops[] = { "**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[",
                                       "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";" };
    enum { N = sizeof ops / sizeof *ops, MOST_OPEN = 256 };
    static const char pairs[] = "()[]{}";
    size_t i = 0;
    while (i < N && !starts(l, l->at, ops[i]))
        i++;
    if (i == N) {
        terse_parse_fail(l->p, (uint32_t)l->at, "unexpected character");
        return;
    }
    const char c = ops[i][0];
    const char *pair = strchr(pairs, c);
    if (pair && (pair - pairs) % 2 == 0) {
        if (*n_open == MOST_OPEN) {
            terse_parse_fail(l->p, (uint32_t)l->at, "more than %d open brackets", MOST_OPEN);
            return;
        }
        open[(*n_open)++] = pair[1];
    } else if (pair && (*n_open == 0 || open[--*n_open] != c)) {
        terse_parse_fail(l->p, (uint32_t)l->at, "a bracket that closes nothing");
        return;
    }
    const size_t len = strlen(ops[i]);
    put(l, TERSE_TOK_OP, l->at, len, (terse_str){ l->s.p + l->at, len });
    l->at += len;
}

/* What stands between {{ and }}, or {% and %}. */
static void lex_tag(lexer *l, size_t begin, bool block)
{
    char open[256];
    size_t n_open = 0, n;
    while (on(l)) {
        const size_t end = n_open ? 0 : tag_end(l, l->at, block ? "%}" : "}}", block);
        if (end > 0) {
            put(l, block ? TERSE_TOK_BLOCK_END : TERSE_TOK_VAR_END, l->at, 2, (terse_str){ l->s.p + l->at, 2 });
            l->at += end;
            return;
        }
        if (l->at >= l->s.n) {
            terse_parse_fail(l->p, (uint32_t)begin, "the tag has no end");
            return;
        }
        const int32_t c = terse_char_at(l->s, l->at, &n);
        if (terse_is_space(c))
            l->at += n;
        else if (c < 128 && is_digit((char)c))
            lex_number(l);
        else if (is_word(c))
            lex_name(l);
        else if (c == '\'' || c == '"')
            lex_string(l);
        else
            lex_operator(l, open, &n_open);
    }
}

terse_status terse_jinja_lex(terse_parser *p)
{
    lexer l = { .p = p, .s = p->source };
    while (on(&l) && l.at < l.s.n) {
        size_t open = l.at;
        while (open + 1 < l.s.n && !(l.s.p[open] == '{' && (l.s.p[open + 1] == '{' || l.s.p[open + 1] == '%' ||
                                                            l.s.p[open + 1] == '#')))
            open++;
        if (open + 1 >= l.s.n) {
            put(&l, TERSE_TOK_DATA, l.at, l.s.n - l.at, (terse_str){ l.s.p + l.at, l.s.n - l.at });
            break;
        }
        const char what = l.s.p[open + 1], sign = peek(&l, open + 2);
        const bool has_sign = sign == '-' || sign == '+';
        const size_t raw = what == '%' ? raw_begin(&l, open) : 0;
        put_data(&l, l.at, open, sign, what != '{');
        l.at = open + 2 + has_sign;
        if (raw) {
            lex_raw(&l, open, raw);
        } else if (what == '#') {
            lex_comment(&l, open);
        } else if (on(&l)) {
            put(&l, what == '%' ? TERSE_TOK_BLOCK_BEGIN : TERSE_TOK_VAR_BEGIN, open, 2,
                (terse_str){ l.s.p + open, 2 });
            lex_tag(&l, open, what == '%');
        }
    }
    if (on(&l))
        put(&l, TERSE_TOK_END, l.s.n, 0, (terse_str){ "", 0 });
    return p->st;
}
