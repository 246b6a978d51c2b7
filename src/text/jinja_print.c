/* text/jinja_print.c: values as text, as Python's str() and repr(), and texts as numbers. */
#include "text/jinja.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

bool terse_sink_put(terse_jinja *j, terse_sink *s, const char *p, size_t n)
{
    if (!terse_jinja_work(j, n))
        return false;
    if (n > j->limit.output - s->n) {
        terse_jinja_fail(j, "a text of more than %zu bytes", j->limit.output);
        return false;
    }
    if (n > s->cap - s->n) {
        const size_t want = s->n + n < 64 ? 64 : s->n + n;
        const size_t cap = s->cap > want / 2 ? s->cap * 2 : want;
        char *more = terse_jinja_get(j, cap, 1);
        if (!more)
            return false;
        if (s->n)
            memcpy(more, s->p, s->n);
        s->p = more;
        s->cap = cap;
    }
    if (n)
        memcpy(s->p + s->n, p, n);
    s->n += n;
    return true;
}

terse_val terse_sink_val(const terse_sink *s)
{
    return terse_string((terse_str){ s->p, s->n });
}

void terse_print_float(double f, char text[TERSE_FLOAT_ROOM])
{
    char digits[32];
    int n = 0;
    if (!isfinite(f)) {
        snprintf(text, TERSE_FLOAT_ROOM, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int precision = 0; precision < 17; precision++) { /* the shortest that reads back the same */
        snprintf(digits, sizeof digits, "%.*e", precision, f);
        if (strtod(digits, NULL) == f)
            break;
    }
    const char *e = strchr(digits, 'e');
    const int exponent = atoi(e + 1);
    char d[20];
    for (const char *p = digits; p < e; p++)
        if (*p >= '0' && *p <= '9')
            d[n++] = *p;
    while (n > 1 && d[n - 1] == '0')
        n--;
    char *to = text;
    if (signbit(f))
        *to++ = '-';
    if (exponent >= 16 || exponent < -4) {
        *to++ = d[0];
        if (n > 1)
            *to++ = '.';
        for (int i = 1; i < n; i++)
            *to++ = d[i];
        snprintf(to, (size_t)(text + TERSE_FLOAT_ROOM - to), "e%c%02d", exponent < 0 ? '-' : '+',
                 abs(exponent));
        return;
    }
    const int before = exponent < 0 ? 0 : exponent + 1; /* digits before the point */
    if (before == 0)
        *to++ = '0';
    for (int i = 0; i < before; i++)
        *to++ = i < n ? d[i] : '0';
    *to++ = '.';
    for (int i = exponent; i < -1; i++)
        *to++ = '0';
    for (int i = before; i < n; i++)
        *to++ = d[i];
    if (n <= before)
        *to++ = '0';
    *to = '\0';
}

/* s without the underscores that may stand between digits; false: too long, or one stands elsewhere. */
static bool without_underscores(terse_str s, char *to, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '_') {
            const char a = i ? s.p[i - 1] : '_', b = i + 1 < s.n ? s.p[i + 1] : '_';
            if (!strchr("0123456789abcdefABCDEF", a) || !strchr("0123456789abcdefABCDEF", b))
                return false;
            continue;
        }
        if (n + 1 >= room || s.p[i] == '\0')
            return false;
        to[n++] = s.p[i];
    }
    to[n] = '\0';
    return n > 0;
}

bool terse_parse_float(terse_str s, double *f)
{
    char text[256], *end, *point;
    s = terse_strip(s, NULL, TERSE_STRIP_BOTH);
    if (!without_underscores(s, text, sizeof text))
        return false;
    const char *digits = text + (*text == '-' || *text == '+');
    const char *const words[] = { "inf", "infinity", "nan" };
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(digits, words[i]) == 0) {
            *f = i == 2 ? (double)NAN : *text == '-' ? -(double)INFINITY : (double)INFINITY;
            return true;
        }
    }
    if (digits[strspn(digits, "0123456789.eE+-")] || strspn(digits, "0123456789.") == 0)
        return false;
    if ((point = strchr(text, '.'))) /* the host program may have set a locale */
        *point = localeconv()->decimal_point[0];
    *f = strtod(text, &end);
    return *end == '\0';
}

bool terse_parse_int(terse_str s, int32_t base, int64_t *i)
{
    char text[80];
    uint64_t n = 0;
    s = terse_strip(s, NULL, TERSE_STRIP_BOTH);
    if (base != 0 && (base < 2 || base > 36))
        return false;
    const bool minus = s.n > 0 && s.p[0] == '-', sign = minus || (s.n > 0 && s.p[0] == '+');
    s = (terse_str){ s.p + sign, s.n - sign };
    const char mark = s.n > 2 && s.p[0] == '0' ? (char)(s.p[1] | 32) : '\0';
    const int32_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked && (base == 0 || base == marked)) {
        s = (terse_str){ s.p + 2, s.n - 2 };
        base = marked;
    }
    base = base ? base : 10;
    if (!without_underscores(s, text, sizeof text))
        return false;
    for (const char *p = text; *p; p++) {
        const int digit = *p >= '0' && *p <= '9'                 ? *p - '0'
                          : (*p | 32) >= 'a' && (*p | 32) <= 'z' ? (*p | 32) - 'a' + 10
                                                                 : 99;
        if (digit >= base || __builtin_mul_overflow(n, (uint64_t)base, &n) ||
            __builtin_add_overflow(n, (uint64_t)digit, &n) || n > (uint64_t)INT64_MAX + minus)
            return false;
    }
    *i = minus ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

static bool printable(int32_t c)
{
    if (c < 0x7F)
        return c >= 0x20;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

static void repr_string(terse_jinja *j, terse_sink *s, terse_str t)
{
    const bool twice = t.n && memchr(t.p, '\'', t.n) && !memchr(t.p, '"', t.n);
    const char quote = twice ? '"' : '\'';
    size_t n;
    terse_sink_put(j, s, &quote, 1);
    for (size_t at = 0; at < t.n && terse_jinja_ok(j); at += n) {
        char code[12];
        const int32_t c = terse_char_at(t, at, &n);
        if (c == quote || c == '\\')
            snprintf(code, sizeof code, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(code, sizeof code, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (!printable(c))
            snprintf(code, sizeof code,
                     c < 0x100     ? "\\x%02x"
                     : c < 0x10000 ? "\\u%04x"
                                   : "\\U%08x",
                     (unsigned)c);
        else {
            terse_sink_put(j, s, t.p + at, n);
            continue;
        }
        terse_sink_text(j, s, code);
    }
    terse_sink_put(j, s, &quote, 1);
}

static void repr_seq(terse_jinja *j, terse_sink *s, terse_val v)
{
    static const char *const open[] = { "[", "(", "", "dict_keys([", "dict_values([", "dict_items([", "" };
    static const char *const close[] = { "]", ")", "", "])", "])", "])", "" };
    const terse_seq *q = v.u.seq;
    if (q->kind == TERSE_SEQ_RANGE) {
        char text[96];
        int n = snprintf(text, sizeof text, "range(%lld, %lld", (long long)q->start, (long long)q->stop);
        if (q->step != 1)
            n += snprintf(text + n, sizeof text - (size_t)n, ", %lld", (long long)q->step);
        snprintf(text + n, sizeof text - (size_t)n, ")");
        terse_sink_text(j, s, text);
        return;
    }
    if (q->kind == TERSE_SEQ_ITER) {
        terse_jinja_refuse(j, "a generator is printed; |list makes it a list");
        return;
    }
    terse_sink_text(j, s, open[q->kind]);
    for (uint32_t i = 0; i < q->n && terse_jinja_ok(j); i++) {
        terse_sink_text(j, s, i ? ", " : "");
        terse_print_repr(j, s, q->v[i]);
    }
    terse_sink_text(j, s, q->kind == TERSE_SEQ_TUPLE && q->n == 1 ? ",)" : close[q->kind]);
}

static void repr_dict(terse_jinja *j, terse_sink *s, terse_val v)
{
    const bool space = v.kind == TERSE_VAL_SPACE;
    terse_sink_text(j, s, space ? "<Namespace {" : "{");
    for (uint32_t i = 0; i < v.u.dict->n && terse_jinja_ok(j); i++) {
        terse_sink_text(j, s, i ? ", " : "");
        terse_print_repr(j, s, v.u.dict->keys[i]);
        terse_sink_text(j, s, ": ");
        terse_print_repr(j, s, v.u.dict->values[i]);
    }
    terse_sink_text(j, s, space ? "}>" : "}");
}

static void print_number(terse_jinja *j, terse_sink *s, terse_val v)
{
    char text[TERSE_FLOAT_ROOM];
    if (v.kind == TERSE_VAL_FLOAT)
        terse_print_float(v.u.f, text);
    else
        snprintf(text, sizeof text, "%lld", (long long)v.u.i);
    terse_sink_text(j, s, text);
}

void terse_print_repr(terse_jinja *j, terse_sink *s, terse_val v)
{
    if (!terse_jinja_enter(j)) {
        j->depth--;
        return;
    }
    switch (v.kind) {
    case TERSE_VAL_MISSING:
    case TERSE_VAL_UNDEFINED:
        terse_sink_text(j, s, "Undefined");
        break;
    case TERSE_VAL_NONE:
        terse_sink_text(j, s, "None");
        break;
    case TERSE_VAL_BOOL:
        terse_sink_text(j, s, v.u.b ? "True" : "False");
        break;
    case TERSE_VAL_INT:
    case TERSE_VAL_FLOAT:
        print_number(j, s, v);
        break;
    case TERSE_VAL_STR:
        terse_sink_text(j, s, v.markup ? "Markup(" : "");
        repr_string(j, s, terse_str_of(v));
        terse_sink_text(j, s, v.markup ? ")" : "");
        break;
    case TERSE_VAL_SEQ:
        repr_seq(j, s, v);
        break;
    case TERSE_VAL_DICT:
    case TERSE_VAL_SPACE:
        repr_dict(j, s, v);
        break;
    default:
        terse_jinja_refuse(j, "a %s is printed", terse_type_name(v));
    }
    j->depth--;
}

void terse_print(terse_jinja *j, terse_sink *s, terse_val v)
{
    if (v.kind == TERSE_VAL_STR)
        terse_sink_str(j, s, terse_str_of(v));
    else if (v.kind != TERSE_VAL_UNDEFINED)
        terse_print_repr(j, s, v);
}

terse_str terse_text_of(terse_jinja *j, terse_val v)
{
    terse_sink s = { 0 };
    if (v.kind == TERSE_VAL_STR)
        return terse_str_of(v);
    terse_print(j, &s, v);
    return terse_str_of(terse_sink_val(&s));
}
