/* text/jinja_filters.c: filters of texts and numbers, one function each; the table is at the end. */
#include "text/jinja.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FILTER(name)                                                                                           \
    static terse_val name(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)

FILTER(f_trim)
{
    (void)all;
    const terse_str s = terse_text_of(j, self);
    if (!terse_jinja_scan(j, s.n))
        return self;
    if (!terse_given(arg[0]) || arg[0].kind == TERSE_VAL_NONE)
        return terse_string(terse_strip(s, NULL, TERSE_STRIP_BOTH));
    if (arg[0].kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "chars must be a string, not '%s'", terse_type_name(arg[0]));
    const terse_str chars = terse_str_of(arg[0]);
    return terse_jinja_scan(j, s.n * (chars.n + 1)) ? terse_string(terse_strip(s, &chars, TERSE_STRIP_BOTH))
                                                    : self;
}

FILTER(f_upper)
{
    (void)arg, (void)all;
    return terse_cased(j, terse_text_of(j, self), TERSE_CASE_UPPER);
}
FILTER(f_lower)
{
    (void)arg, (void)all;
    return terse_cased(j, terse_text_of(j, self), TERSE_CASE_LOWER);
}
FILTER(f_capitalize)
{
    (void)arg, (void)all;
    const terse_str s = terse_text_of(j, self);
    const size_t first = terse_char_offset(s, 1);
    terse_sink out = { 0 };
    terse_put_case(j, &out, (terse_str){ s.p, first }, TERSE_CASE_TITLE);
    terse_put_case(j, &out, (terse_str){ s.p + first, s.n - first }, TERSE_CASE_LOWER);
    return terse_sink_val(&out);
}

/* Words begin after these and after white space. */
FILTER(f_title)
{
    (void)arg, (void)all;
    const terse_str s = terse_text_of(j, self);
    terse_sink out = { 0 };
    bool begins = true;
    size_t n;
    for (size_t at = 0; at < s.n && terse_jinja_ok(j); at += n) {
        const int32_t c = terse_char_at(s, at, &n);
        terse_put_case(j, &out, (terse_str){ s.p + at, n }, begins ? TERSE_CASE_UPPER : TERSE_CASE_LOWER);
        begins = terse_is_space(c) || (c && c < 128 && strchr("-({[<", c));
    }
    return terse_sink_val(&out);
}

FILTER(f_string)
{
    (void)arg, (void)all;
    return self.kind == TERSE_VAL_STR ? self : terse_string(terse_text_of(j, self));
}
FILTER(f_safe)
{
    (void)arg, (void)all;
    terse_val v = terse_string(terse_text_of(j, self));
    v.markup = 1;
    return v;
}
FILTER(f_escape)
{
    (void)arg, (void)all;
    return self.markup ? self : terse_escape(j, terse_text_of(j, self));
}
FILTER(f_forceescape)
{
    (void)arg, (void)all;
    return terse_escape(j, terse_text_of(j, self));
}

FILTER(f_default)
{
    (void)j, (void)all;
    const bool empty = terse_given(arg[1]) && terse_truth(arg[1]) && !terse_truth(self);
    if (self.kind != TERSE_VAL_UNDEFINED && !empty)
        return self;
    return terse_given(arg[0]) ? arg[0] : terse_string((terse_str){ "", 0 });
}

FILTER(f_replace)
{
    (void)all;
    const bool counted = terse_given(arg[2]) && arg[2].kind != TERSE_VAL_NONE;
    if (counted && arg[2].kind != TERSE_VAL_INT)
        return terse_jinja_fail(j, "the count must be an integer, not '%s'", terse_type_name(arg[2]));
    return terse_replace(j, terse_text_of(j, self), terse_text_of(j, arg[0]), terse_text_of(j, arg[1]),
                         counted ? arg[2].u.i : -1);
}

/* How many blanks, or which text: an argument of indent and tojson. */
static terse_val blanks(terse_jinja *j, terse_val width, int64_t preset)
{
    if (width.kind == TERSE_VAL_STR)
        return width;
    if (terse_given(width) && width.kind != TERSE_VAL_INT && width.kind != TERSE_VAL_BOOL)
        return terse_jinja_fail(j, "the width must be an integer or a string, not '%s'",
                                terse_type_name(width));
    const int64_t n = !terse_given(width) ? preset : width.kind == TERSE_VAL_BOOL ? width.u.b : width.u.i;
    return terse_val_binary(j, TERSE_OP_MUL, terse_string((terse_str){ " ", 1 }), terse_int(n));
}

FILTER(f_indent)
{
    (void)all;
    const terse_val by = blanks(j, arg[0], 4);
    const bool first = terse_given(arg[1]) && terse_truth(arg[1]);
    const bool blank = terse_given(arg[2]) && terse_truth(arg[2]);
    terse_sink whole = { 0 }, out = { 0 };
    if (self.kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "of '%s', not of a string", terse_type_name(self));
    terse_sink_str(j, &whole, terse_str_of(self));
    terse_sink_text(j, &whole, "\n"); /* so that a last empty line counts */
    const terse_seq *lines = terse_split_lines(j, terse_str_of(terse_sink_val(&whole)), false);
    if (first && terse_jinja_ok(j))
        terse_sink_str(j, &out, terse_str_of(by));
    for (uint32_t i = 0; lines && i < lines->n && terse_jinja_ok(j); i++) {
        terse_sink_text(j, &out, i ? "\n" : "");
        if (i && (blank || lines->v[i].n))
            terse_sink_str(j, &out, terse_str_of(by));
        terse_sink_str(j, &out, terse_str_of(lines->v[i]));
    }
    return terse_sink_val(&out);
}

FILTER(f_truncate)
{
    (void)all;
    const int64_t n = terse_length(j, self);
    const terse_str end = terse_given(arg[2]) ? terse_text_of(j, arg[2]) : terse_lit("...");
    const int64_t length = terse_given(arg[0]) && arg[0].kind == TERSE_VAL_INT ? arg[0].u.i : 255;
    const int64_t leeway = terse_given(arg[3]) && arg[3].kind == TERSE_VAL_INT ? arg[3].u.i : 5;
    const int64_t n_end = terse_char_count(end);
    if (length < n_end || leeway < 0)
        return terse_jinja_fail(j, "the length must be at least %lld, the leeway at least 0", (long long)n_end);
    if (n - leeway <= length || !terse_jinja_ok(j))
        return self;
    if (self.kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "of '%s', not of a string", terse_type_name(self));
    const terse_str s = terse_str_of(self);
    terse_str cut = { s.p, terse_char_offset(s, length - n_end) };
    if (!terse_given(arg[1]) || !terse_truth(arg[1])) {
        const char *blank = cut.n ? memrchr(cut.p, ' ', cut.n) : NULL;
        cut.n = blank ? (size_t)(blank - cut.p) : cut.n;
    }
    terse_sink out = { 0 };
    terse_sink_str(j, &out, cut);
    terse_sink_str(j, &out, end);
    return terse_sink_val(&out);
}

FILTER(f_center)
{
    (void)all;
    const terse_str s = terse_text_of(j, self);
    if (terse_given(arg[0]) && arg[0].kind != TERSE_VAL_INT)
        return terse_jinja_fail(j, "the width must be an integer");
    const int64_t width = terse_given(arg[0]) ? arg[0].u.i : 80, n = terse_char_count(s);
    if (width <= n)
        return terse_string(s);
    const int64_t pad = width - n, left = pad / 2 + (pad & width & 1);
    const terse_val blank = terse_string((terse_str){ " ", 1 });
    const terse_val a = terse_val_binary(j, TERSE_OP_MUL, blank, terse_int(left));
    const terse_val b = terse_val_binary(j, TERSE_OP_MUL, blank, terse_int(pad - left));
    return terse_val_binary(j, TERSE_OP_ADD, terse_val_binary(j, TERSE_OP_ADD, a, terse_string(s)), b);
}

static bool is_word(int32_t c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c < 128 && (c | 32) >= 'a' && (c | 32) <= 'z') ||
           (c >= 128 && !terse_is_space(c) && (c < 0x2000 || c > 0x206F) && (c < 0x3000 || c > 0x303F));
}
FILTER(f_wordcount)
{
    (void)arg, (void)all;
    const terse_str s = terse_text_of(j, self);
    int64_t words = 0;
    bool inside = false;
    size_t n;
    for (size_t at = 0; at < s.n && terse_jinja_work(j, 0); at += n) {
        const bool word = is_word(terse_char_at(s, at, &n));
        words += word && !inside;
        inside = word;
    }
    return terse_int(words);
}

FILTER(f_urlencode)
{
    (void)arg, (void)all;
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/";
    static const char digits[] = "0123456789ABCDEF";
    terse_sink out = { 0 };
    if (self.kind == TERSE_VAL_DICT || self.kind == TERSE_VAL_SEQ)
        return terse_jinja_refuse(j, "of a %s is not built in", terse_type_name(self));
    const terse_str s = terse_text_of(j, self);
    for (size_t i = 0; i < s.n && terse_jinja_ok(j); i++) {
        const uint8_t c = (uint8_t)s.p[i];
        const char code[3] = { '%', digits[c >> 4], digits[c & 15] };
        if (c && strchr(plain, c))
            terse_sink_put(j, &out, s.p + i, 1);
        else
            terse_sink_put(j, &out, code, 3);
    }
    return terse_sink_val(&out);
}

FILTER(f_format)
{
    (void)arg;
    const terse_str s = terse_text_of(j, self);
    if (all->n && all->n_named)
        return terse_jinja_fail(j, "positional and keyword arguments exclude each other");
    if (all->n_named) {
        terse_dict *d = terse_dict_make(j, all->n_named);
        for (uint32_t i = 0; d && i < all->n_named; i++)
            terse_dict_set(j, d, terse_string(all->names[i]), all->named[i]);
        return d ? terse_percent(j, s, (terse_val){ .kind = TERSE_VAL_DICT, .u.dict = d }) : self;
    }
    terse_seq *args = terse_seq_make(j, TERSE_SEQ_TUPLE, all->n);
    if (args && all->n)
        memcpy(args->v, all->v, all->n * sizeof *args->v);
    return args ? terse_percent(j, s, terse_seq_val(args)) : self;
}

/* json.dumps, with what transformers presets. */
FILTER(f_tojson)
{
    (void)all;
    terse_json_style style = { .item = { ", ", 2 }, .key = { ": ", 2 } };
    terse_sink out = { 0 };
    style.ascii = terse_given(arg[0]) && terse_truth(arg[0]);
    style.sort = terse_given(arg[3]) && terse_truth(arg[3]);
    style.has_indent = terse_given(arg[1]) && arg[1].kind != TERSE_VAL_NONE;
    if (style.has_indent) {
        const terse_val by = blanks(j, arg[1], 0);
        if (!terse_jinja_ok(j))
            return self;
        style.indent = terse_str_of(by);
        style.item.n = 1; /* the newline comes in place of the blank */
    }
    if (terse_given(arg[2]) && arg[2].kind != TERSE_VAL_NONE) {
        const terse_seq *s = terse_iterate(j, arg[2]);
        if (!s || s->n != 2 || s->v[0].kind != TERSE_VAL_STR || s->v[1].kind != TERSE_VAL_STR)
            return terse_jinja_fail(j, "separators must be two strings");
        style.item = terse_str_of(s->v[0]);
        style.key = terse_str_of(s->v[1]);
    }
    terse_json_write(j, &out, self, &style);
    return terse_sink_val(&out);
}

static bool is_number(terse_val v)
{
    return v.kind == TERSE_VAL_INT || v.kind == TERSE_VAL_BOOL || v.kind == TERSE_VAL_FLOAT;
}

static terse_val undefined_number(terse_jinja *j, terse_val v)
{
    return terse_jinja_fail(j, "%s", v.u.p ? v.u.p : "the value is undefined");
}

static terse_val whole_part(terse_jinja *j, double f, terse_val otherwise)
{
    if (!isfinite(f)) /* int(float("inf")) is an OverflowError, which the filter lets through */
        return isnan(f) ? otherwise : terse_jinja_fail(j, "infinity is no integer");
    if (fabs(f) >= 0x1p63)
        return terse_jinja_refuse(j, "the result does not fit an integer of 64 bits");
    return terse_int((int64_t)f);
}

FILTER(f_int)
{
    (void)all;
    const terse_val otherwise = terse_given(arg[0]) ? arg[0] : terse_int(0);
    const int64_t base = terse_given(arg[1]) && arg[1].kind == TERSE_VAL_INT ? arg[1].u.i : 10;
    int64_t i;
    double f;
    if (self.kind == TERSE_VAL_UNDEFINED)
        return undefined_number(j, self);
    if (self.kind == TERSE_VAL_FLOAT)
        return whole_part(j, self.u.f, otherwise);
    if (is_number(self))
        return terse_int(self.kind == TERSE_VAL_BOOL ? self.u.b : self.u.i);
    if (self.kind != TERSE_VAL_STR)
        return otherwise;
    if (base < 0 || base > 36)
        return otherwise;
    if (terse_parse_int(terse_str_of(self), (int32_t)base, &i))
        return terse_int(i);
    return terse_parse_float(terse_str_of(self), &f) ? whole_part(j, f, otherwise) : otherwise;
}

FILTER(f_float)
{
    (void)all;
    double f;
    if (self.kind == TERSE_VAL_UNDEFINED)
        return undefined_number(j, self);
    if (self.kind == TERSE_VAL_FLOAT)
        return self;
    if (is_number(self))
        return terse_float(self.kind == TERSE_VAL_BOOL ? self.u.b : (double)self.u.i);
    if (self.kind == TERSE_VAL_STR && terse_parse_float(terse_str_of(self), &f))
        return terse_float(f);
    return terse_given(arg[0]) ? arg[0] : terse_float(0.0);
}

FILTER(f_abs)
{
    (void)arg, (void)all;
    if (!is_number(self))
        return self.kind == TERSE_VAL_UNDEFINED ? undefined_number(j, self)
                                                : terse_jinja_fail(j, "of '%s'", terse_type_name(self));
    if (self.kind == TERSE_VAL_FLOAT)
        return terse_float(fabs(self.u.f));
    return terse_val_negate(j, self, self.kind == TERSE_VAL_INT && self.u.i < 0);
}

/* round() of a float: to the nearest decimal, halves of the exact value to even, by way of the exact digits. */
static double round_to(double f, int64_t digits)
{
    enum { MOST = 320 };
    char text[800];
    if (!isfinite(f) || digits > MOST)
        return f;
    if (digits >= 0) { /* printf rounds the exact value, ties to even */
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        return strtod(text, NULL);
    }
    if (digits < -MOST)
        return copysign(0.0, f);
    const double unit = pow(10.0, (double)-digits);
    return nearbyint(f / unit) * unit;
}

FILTER(f_round)
{
    (void)all;
    const int64_t digits = terse_given(arg[0]) && arg[0].kind == TERSE_VAL_INT ? arg[0].u.i : 0;
    const terse_str how = terse_given(arg[1]) ? terse_text_of(j, arg[1]) : terse_lit("common");
    const bool up = terse_str_is(how, "ceil"), down = terse_str_is(how, "floor");
    if (!up && !down && !terse_str_is(how, "common"))
        return terse_jinja_fail(j, "the method must be common, ceil or floor");
    if (!is_number(self))
        return self.kind == TERSE_VAL_UNDEFINED ? undefined_number(j, self)
                                                : terse_jinja_fail(j, "of '%s'", terse_type_name(self));
    const double f = self.kind == TERSE_VAL_FLOAT ? self.u.f
                     : self.kind == TERSE_VAL_INT ? (double)self.u.i
                                                  : self.u.b;
    if (up || down) {
        const double unit = pow(10.0, (double)digits);
        return terse_float((up ? ceil(f * unit) : floor(f * unit)) / unit);
    }
    if (self.kind == TERSE_VAL_FLOAT)
        return terse_float(round_to(f, digits));
    if (digits < 0)
        return terse_jinja_refuse(j, "of an integer to tens is not built in");
    return terse_int(self.kind == TERSE_VAL_BOOL ? self.u.b : self.u.i);
}

FILTER(f_count)
{
    (void)arg, (void)all;
    return terse_int(terse_length(j, self));
}

FILTER(f_attr)
{
    (void)all;
    const terse_str name = terse_text_of(j, arg[0]);
    if (self.kind == TERSE_VAL_UNDEFINED)
        return undefined_number(j, self);
    const terse_val v = terse_val_own_attr(j, self, name);
    return terse_given(v) ? v
                          : terse_undefined(j, "'%s object' has no attribute '%.*s'", terse_type_name(self),
                                            (int)(name.n < 60 ? name.n : 60), name.p);
}

const terse_jinja_row terse_jinja_filters[] = {
    { "abs", "", f_abs },
    { "attr", "name", f_attr },
    { "capitalize", "", f_capitalize },
    { "center", "? width", f_center },
    { "count", "", f_count },
    { "d", "? default_value boolean", f_default },
    { "default", "? default_value boolean", f_default },
    { "e", "", f_escape },
    { "escape", "", f_escape },
    { "float", "? default", f_float },
    { "forceescape", "", f_forceescape },
    { "format", "*", f_format },
    { "indent", "? width first blank", f_indent },
    { "int", "? default base", f_int },
    { "length", "", f_count },
    { "lower", "", f_lower },
    { "replace", "old new ? count", f_replace },
    { "round", "? precision method", f_round },
    { "safe", "", f_safe },
    { "string", "", f_string },
    { "title", "", f_title },
    { "tojson", "? ensure_ascii indent separators sort_keys", f_tojson },
    { "trim", "? chars", f_trim },
    { "truncate", "? length killwords end leeway", f_truncate },
    { "upper", "", f_upper },
    { "urlencode", "", f_urlencode },
    { "wordcount", "", f_wordcount },
    { "filesizeformat", "*", NULL },
    { "pprint", "*", NULL },
    { "random", "*", NULL },
    { "striptags", "*", NULL },
    { "urlize", "*", NULL },
    { "wordwrap", "*", NULL },
    { "xmlattr", "*", NULL },
    { NULL, NULL, NULL },
};
