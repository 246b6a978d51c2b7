/* text/jinja_format.c: "%d %s" % (1, "a") and "{} {:>8}".format(1, "a"), as Python. */
#include "text/jinja.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    terse_str fill;
    char align; /* '<', '>', '^', '='; 0: as the type has it */
    char sign;  /* '-', '+', ' ' */
    bool alternate;
    char group; /* ',', '_' or 0 */
    int64_t width;
    int64_t precision; /* -1: none */
    char type;         /* 0: none */
} format_spec;

enum { MOST_PRECISION = 300 };

/* Text with what stands in front of it, filled up to the width. */
static void put_padded(terse_jinja *j, terse_sink *out, terse_str front, terse_str text, const format_spec *f,
                       char preset)
{
    const char align = f->align ? f->align : preset;
    const int64_t have = terse_char_count(front) + terse_char_count(text);
    const int64_t room = f->width > have ? f->width - have : 0;
    const int64_t before = align == '<' ? 0 : align == '^' ? room / 2 : room;
    if (align == '=')
        terse_sink_str(j, out, front);
    for (int64_t i = 0; i < before && terse_jinja_ok(j); i++)
        terse_sink_str(j, out, f->fill);
    if (align != '=')
        terse_sink_str(j, out, front);
    terse_sink_str(j, out, text);
    for (int64_t i = before; i < room && terse_jinja_ok(j); i++)
        terse_sink_str(j, out, f->fill);
}

/* Puts marks between groups of digits, counted from the right end of the integer part. */
static size_t group_digits(char *text, size_t n, size_t room, char mark, size_t every)
{
    size_t whole = 0;
    while (whole < n && ((text[whole] >= '0' && text[whole] <= '9') || (text[whole] | 32) >= 'a'))
        whole++;
    const size_t marks = whole ? (whole - 1) / every : 0;
    if (n + marks > room)
        return n;
    memmove(text + whole + marks, text + whole, n - whole);
    for (size_t from = whole, to = whole + marks, i = 0; from > 0; i++) {
        if (i && i % every == 0)
            text[--to] = mark;
        text[--to] = text[--from];
    }
    return n + marks;
}

static void put_whole(terse_jinja *j, terse_sink *out, int64_t i, const format_spec *f)
{
    char text[500], front[4];
    const uint64_t size = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    const char type = f->type ? f->type : 'd';
    int n = 0, at = 0;
    if (i < 0 || f->sign != '-')
        front[at++] = i < 0 ? '-' : f->sign;
    if (f->alternate && strchr("xXob", type)) {
        front[at++] = '0';
        front[at++] = type;
    }
    if (type == 'b') {
        for (int bit = 63; bit >= 0; bit--)
            if (n || (size >> bit & 1) || bit == 0)
                text[n++] = (char)('0' + (size >> bit & 1));
    } else {
        n = snprintf(text, sizeof text,
                     type == 'x'   ? "%llx"
                     : type == 'X' ? "%llX"
                     : type == 'o' ? "%llo"
                                   : "%llu",
                     (unsigned long long)size);
    }
    if (f->precision > n) { /* % only: the least number of digits */
        const int64_t zeros = f->precision < MOST_PRECISION ? f->precision - n : MOST_PRECISION - n;
        memmove(text + zeros, text, (size_t)n);
        memset(text, '0', (size_t)zeros);
        n += (int)zeros;
    }
    size_t len = (size_t)n;
    if (f->group)
        len = group_digits(text, len, sizeof text, f->group, strchr("xXob", type) ? 4 : 3);
    put_padded(j, out, (terse_str){ front, (size_t)at }, (terse_str){ text, len }, f, '>');
}

static void put_real(terse_jinja *j, terse_sink *out, double d, const format_spec *f)
{
    char text[800], front[2];
    int at = 0;
    const char type = f->type == '%' ? 'f' : f->type;
    const int precision = f->precision < 0                ? 6
                          : f->precision > MOST_PRECISION ? MOST_PRECISION
                                                          : (int)f->precision;
    if (signbit(d) && !isnan(d))
        front[at++] = '-';
    else if (f->sign != '-')
        front[at++] = f->sign;
    d = fabs(d) * (f->type == '%' ? 100.0 : 1.0);
    size_t n;
    if (!isfinite(d)) {
        const bool upper = type == 'E' || type == 'F' || type == 'G';
        n = (size_t)snprintf(text, sizeof text, "%s", isnan(d) ? upper ? "NAN" : "nan" : upper ? "INF" : "inf");
    } else if (type == 0) {
        terse_print_float(d, text);
        n = strlen(text);
    } else {
        const char how[] = { '%',
                             f->alternate ? '#' : '.',
                             f->alternate ? '.' : '*',
                             f->alternate ? '*' : type,
                             f->alternate ? type : '\0',
                             '\0' };
        n = (size_t)snprintf(text, sizeof text, how, precision, d);
    }
    if (f->group)
        n = group_digits(text, n, sizeof text, f->group, 3);
    if (f->type == '%')
        text[n++] = '%';
    put_padded(j, out, (terse_str){ front, (size_t)at }, (terse_str){ text, n }, f, '>');
}

static bool is_number(terse_val v)
{
    return v.kind == TERSE_VAL_INT || v.kind == TERSE_VAL_BOOL || v.kind == TERSE_VAL_FLOAT;
}
static double real(terse_val v)
{
    return v.kind == TERSE_VAL_FLOAT ? v.u.f : v.kind == TERSE_VAL_INT ? (double)v.u.i : v.u.b;
}
static bool whole(terse_jinja *j, terse_val v, bool cut, int64_t *i)
{
    if (v.kind == TERSE_VAL_FLOAT && cut && fabs(v.u.f) < 0x1p63)
        *i = (int64_t)v.u.f;
    else if (v.kind == TERSE_VAL_INT || v.kind == TERSE_VAL_BOOL)
        *i = v.kind == TERSE_VAL_INT ? v.u.i : v.u.b;
    else
        return terse_jinja_fail(j, "a number is required, not '%s'", terse_type_name(v)), false;
    return true;
}

static void put_text(terse_jinja *j, terse_sink *out, terse_str s, const format_spec *f, char preset)
{
    if (f->precision >= 0)
        s.n = terse_char_offset(s, f->precision);
    put_padded(j, out, (terse_str){ "", 0 }, s, f, preset);
}

static terse_str repr(terse_jinja *j, terse_val v)
{
    terse_sink s = { 0 };
    terse_print_repr(j, &s, v);
    return terse_str_of(terse_sink_val(&s));
}

/* ---- % ---- */

typedef struct {
    terse_jinja *j;
    terse_str s;
    size_t at;
    terse_val arg;
    uint32_t next;
    terse_sink out;
} percent;

static terse_val next_arg(percent *p)
{
    const bool tuple = terse_is_seq(p->arg, TERSE_SEQ_TUPLE);
    if (p->next >= (tuple ? p->arg.u.seq->n : 1))
        return terse_jinja_fail(p->j, "not enough arguments for the format");
    return tuple ? p->arg.u.seq->v[p->next++] : (p->next++, p->arg);
}

static char peek(const percent *p)
{
    return p->at < p->s.n ? p->s.p[p->at] : '\0';
}

static int64_t number(percent *p)
{
    int64_t n = 0;
    if (peek(p) == '*') {
        p->at++;
        return whole(p->j, next_arg(p), false, &n) ? n : 0;
    }
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++)
        n = n < INT32_MAX / 10 ? n * 10 + (peek(p) - '0') : n;
    return n;
}

/* %(name)s takes its value from a mapping. False: not that form. */
static bool mapped(percent *p, terse_val *v)
{
    if (peek(p) != '(')
        return false;
    const char *close = memchr(p->s.p + p->at, ')', p->s.n - p->at);
    if (!close || p->arg.kind != TERSE_VAL_DICT)
        return terse_jinja_fail(p->j, close ? "the format needs a mapping" : "the key has no end"), false;
    const terse_str key = { p->s.p + p->at + 1, (size_t)(close - p->s.p) - p->at - 1 };
    const terse_val *hit = terse_dict_find(p->j, p->arg.u.dict, terse_string(key));
    if (!hit)
        return terse_jinja_fail(p->j, "no value for '%.*s'", (int)(key.n < 60 ? key.n : 60), key.p), false;
    *v = *hit;
    p->at += key.n + 2;
    return true;
}

/* %c: one character, or its number */
static void put_char(percent *p, terse_val v, const format_spec *f)
{
    terse_sink s = { 0 };
    if (v.kind == TERSE_VAL_INT && v.u.i >= 0 && v.u.i < 0x110000 && (v.u.i < 0xD800 || v.u.i > 0xDFFF))
        terse_put_char(p->j, &s, (int32_t)v.u.i);
    else if (v.kind == TERSE_VAL_STR && terse_char_count(terse_str_of(v)) == 1)
        terse_sink_str(p->j, &s, terse_str_of(v));
    else
        terse_jinja_fail(p->j, "%%c needs one character, not '%s'", terse_type_name(v));
    put_padded(p->j, &p->out, (terse_str){ "", 0 }, terse_str_of(terse_sink_val(&s)), f, '>');
}

static void put_percent(percent *p, terse_val v, format_spec *f, bool zero)
{
    int64_t i;
    terse_jinja *j = p->j;
    const bool numeric = f->type && strchr("diuoxXeEfFgG", f->type);
    if (zero && !f->align && numeric) {
        f->fill = (terse_str){ "0", 1 };
        f->align = '=';
    }
    if (f->type == 's')
        put_text(j, &p->out, terse_text_of(j, v), f, '>');
    else if (f->type == 'r')
        put_text(j, &p->out, repr(j, v), f, '>');
    else if (f->type == 'c') {
        put_char(p, v, f);
    } else if (numeric && strchr("diuoxX", f->type)) {
        if (whole(j, v, strchr("diu", f->type) != NULL, &i)) {
            f->type = strchr("diu", f->type) ? 'd' : f->type;
            put_whole(j, &p->out, i, f);
        }
    } else if (numeric && is_number(v)) {
        put_real(j, &p->out, real(v), f);
    } else if (numeric) {
        terse_jinja_fail(j, "a number is required, not '%s'", terse_type_name(v));
    } else {
        terse_jinja_refuse(j, "the format %%%c is not built in", f->type ? f->type : '?');
    }
}

static void one_percent(percent *p)
{
    format_spec f = { .fill = { " ", 1 }, .sign = '-', .precision = -1 };
    bool zero = false;
    terse_val v = { .kind = TERSE_VAL_MISSING };
    const bool by_name = mapped(p, &v);
    for (; peek(p) && strchr("-+ #0", peek(p)); p->at++) {
        const char c = peek(p);
        f.align = c == '-' ? '<' : f.align;
        f.sign = c == '+' || (c == ' ' && f.sign == '-') ? c : f.sign;
        f.alternate |= c == '#';
        zero |= c == '0';
    }
    f.width = number(p);
    if (f.width < 0) {
        f.align = '<';
        f.width = -f.width;
    }
    if (peek(p) == '.') {
        p->at++;
        f.precision = number(p);
    }
    f.type = peek(p);
    p->at += f.type != '\0';
    if (!terse_jinja_ok(p->j))
        return;
    if (f.type == '%') {
        terse_sink_text(p->j, &p->out, "%");
        return;
    }
    if (!by_name)
        v = next_arg(p);
    if (terse_jinja_ok(p->j))
        put_percent(p, v, &f, zero);
}

terse_val terse_percent(terse_jinja *j, terse_str format, terse_val arg)
{
    percent p = { .j = j, .s = format, .arg = arg };
    while (p.at < format.n && terse_jinja_ok(j)) {
        const char *hit = memchr(format.p + p.at, '%', format.n - p.at);
        const size_t to = hit ? (size_t)(hit - format.p) : format.n;
        terse_sink_put(j, &p.out, format.p + p.at, to - p.at);
        p.at = to + (hit != NULL);
        if (hit)
            one_percent(&p);
    }
    const bool tuple = terse_is_seq(arg, TERSE_SEQ_TUPLE);
    const bool may_stay =
        arg.kind == TERSE_VAL_DICT || arg.kind == TERSE_VAL_UNDEFINED || (arg.kind == TERSE_VAL_SEQ && !tuple);
    if (p.next < (tuple ? arg.u.seq->n : 1) && !may_stay)
        terse_jinja_fail(j, "not all arguments of the format were used");
    return terse_sink_val(&p.out);
}

/* ---- .format() ---- */

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool parse_spec(terse_jinja *j, terse_str s, format_spec *f)
{
    size_t at = 0, n = 0;
    *f = (format_spec){ .fill = { " ", 1 }, .sign = '-', .precision = -1 };
    if (s.n)
        terse_char_at(s, 0, &n);
    if (n && n < s.n && strchr("<>^=", s.p[n])) {
        f->fill = (terse_str){ s.p, n };
        f->align = s.p[n];
        at = n + 1;
    } else if (s.n && s.p[0] && strchr("<>^=", s.p[0])) {
        f->align = s.p[0];
        at = 1;
    }
    if (at < s.n && s.p[at] && strchr("+- ", s.p[at]))
        f->sign = s.p[at++];
    if (at < s.n && s.p[at] == '#') {
        f->alternate = true;
        at++;
    }
    if (at < s.n && s.p[at] == '0' && !f->align) {
        f->fill = (terse_str){ "0", 1 };
        f->align = '=';
        at++;
    }
    for (; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++)
        f->width = f->width < INT32_MAX / 10 ? f->width * 10 + (s.p[at] - '0') : f->width;
    if (at < s.n && (s.p[at] == ',' || s.p[at] == '_'))
        f->group = s.p[at++];
    if (at < s.n && s.p[at] == '.') {
        f->precision = 0;
        for (at++; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++)
            f->precision = f->precision < INT32_MAX / 10 ? f->precision * 10 + (s.p[at] - '0') : f->precision;
    }
    if (at < s.n)
        f->type = s.p[at++];
    if (at != s.n)
        return terse_jinja_fail(j, "a format specification that cannot be read"), false;
    return true;
}

static void put_value(terse_jinja *j, terse_sink *out, terse_val v, terse_str spec)
{
    format_spec f;
    if (!parse_spec(j, spec, &f))
        return;
    const bool integer = f.type && strchr("dxXob", f.type), floating = f.type && strchr("eEfFgG%", f.type);
    if (v.kind == TERSE_VAL_STR && (f.type == 0 || f.type == 's') && f.align != '=')
        put_text(j, out, terse_str_of(v), &f, '<');
    else if (!is_number(v) && spec.n == 0)
        terse_print(j, out, v);
    else if (v.kind == TERSE_VAL_BOOL && f.type == 0)
        spec.n ? put_whole(j, out, v.u.b, &f) : terse_print(j, out, v);
    else if (v.kind == TERSE_VAL_INT && (f.type == 0 || integer) && f.precision < 0)
        put_whole(j, out, v.u.i, &f);
    else if (v.kind == TERSE_VAL_BOOL && integer && f.precision < 0)
        put_whole(j, out, v.u.b, &f);
    else if (is_number(v) && floating)
        put_real(j, out, real(v), &f);
    else if (v.kind == TERSE_VAL_FLOAT && f.type == 0 && f.precision < 0)
        put_real(j, out, v.u.f, &f);
    else if (v.kind == TERSE_VAL_FLOAT && f.type == 0)
        terse_jinja_refuse(j, "a precision without a type is not built in");
    else
        terse_jinja_fail(j, "a format that does not fit an object of type '%s'", terse_type_name(v));
}

typedef struct {
    terse_jinja *j;
    const terse_args *args;
    int64_t next; /* of the unnumbered fields; -1: fields are numbered */
} fields;

/* The value of a field: name or number, then .attribute and [key]. */
static terse_val field_value(fields *c, terse_str name)
{
    size_t n = 0;
    int64_t i;
    while (n < name.n && name.p[n] != '.' && name.p[n] != '[')
        n++;
    const terse_str first = { name.p, n };
    terse_val v = { .kind = TERSE_VAL_MISSING };
    if (n == 0 || terse_parse_int(first, 10, &i)) {
        if ((n == 0 && c->next < 0) || (n > 0 && c->next > 0))
            return terse_jinja_fail(c->j, "numbered and unnumbered fields");
        i = n ? i : c->next++;
        c->next = n ? -1 : c->next;
        if (i >= 0 && i < c->args->n)
            v = c->args->v[i];
    } else {
        for (uint32_t k = 0; k < c->args->n_named; k++)
            if (c->args->names[k].n == n && memcmp(c->args->names[k].p, name.p, n) == 0)
                v = c->args->named[k];
    }
    if (!terse_given(v))
        return terse_jinja_fail(c->j, "no value for the field '%.*s'", (int)(name.n < 60 ? name.n : 60),
                                name.p);
    return n == name.n ? v : terse_jinja_refuse(c->j, "fields with attributes are not built in");
}

static void put_field(fields *c, terse_sink *out, terse_str field)
{
    const char *colon = field.n ? memchr(field.p, ':', field.n) : NULL;
    terse_str name = { field.p, colon ? (size_t)(colon - field.p) : field.n };
    const terse_str spec = colon ? (terse_str){ colon + 1, field.n - name.n - 1 } : (terse_str){ "", 0 };
    const char how = name.n >= 2 && name.p[name.n - 2] == '!' ? name.p[name.n - 1] : '\0';
    name.n -= how ? 2 : 0;
    if (how && how != 's' && how != 'r') {
        terse_jinja_refuse(c->j, "the conversion !%c is not built in", how);
        return;
    }
    if (spec.n && memchr(spec.p, '{', spec.n)) {
        terse_jinja_refuse(c->j, "fields inside of fields are not built in");
        return;
    }
    terse_val v = field_value(c, name);
    if (!terse_jinja_ok(c->j))
        return;
    if (how)
        v = terse_string(how == 'r' ? repr(c->j, v) : terse_text_of(c->j, v));
    put_value(c->j, out, v, spec);
}

terse_val terse_format(terse_jinja *j, terse_str s, const terse_args *args)
{
    fields c = { .j = j, .args = args };
    terse_sink out = { 0 };
    for (size_t at = 0; at < s.n && terse_jinja_ok(j);) {
        const char ch = s.p[at];
        if (ch != '{' && ch != '}') {
            terse_sink_put(j, &out, s.p + at++, 1);
        } else if (at + 1 < s.n && s.p[at + 1] == ch) {
            terse_sink_put(j, &out, s.p + at, 1);
            at += 2;
        } else {
            size_t end = at + 1;
            for (int depth = 1; end < s.n && depth > 0; end++)
                depth += s.p[end] == '{' ? 1 : s.p[end] == '}' ? -1 : 0;
            if (ch == '}' || s.p[end - 1] != '}' || end == at + 1)
                return terse_jinja_fail(j, "a brace that stands alone");
            put_field(&c, &out, (terse_str){ s.p + at + 1, end - at - 2 });
            at = end;
        }
    }
    return terse_sink_val(&out);
}
