/* text/jinja_str_more.c: the methods of strings about case, kinds of characters and width. */
#include "text/jinja.h"

#include <utf8proc.h>

#define METHOD(name)                                                                                           \
    static terse_val name(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)

METHOD(s_upper)
{
    (void)arg, (void)all;
    return terse_cased(j, terse_str_of(self), TERSE_CASE_UPPER);
}
METHOD(s_lower)
{
    (void)arg, (void)all;
    return terse_cased(j, terse_str_of(self), TERSE_CASE_LOWER);
}

METHOD(s_capitalize)
{
    (void)arg, (void)all;
    const terse_str s = terse_str_of(self);
    const size_t first = terse_char_offset(s, 1);
    terse_sink out = { 0 };
    terse_put_case(j, &out, (terse_str){ s.p, first }, TERSE_CASE_TITLE);
    terse_put_case(j, &out, (terse_str){ s.p + first, s.n - first }, TERSE_CASE_LOWER);
    return terse_sink_val(&out);
}

static bool has_case(int32_t c)
{
    return utf8proc_tolower(c) != c || utf8proc_toupper(c) != c || c == 0xDF;
}

METHOD(s_title)
{
    (void)arg, (void)all;
    const terse_str s = terse_str_of(self);
    terse_sink out = { 0 };
    bool inside = false;
    size_t n;
    for (size_t at = 0; at < s.n && terse_jinja_ok(j); at += n) {
        const int32_t c = terse_char_at(s, at, &n);
        terse_put_case(j, &out, (terse_str){ s.p + at, n }, inside ? TERSE_CASE_LOWER : TERSE_CASE_TITLE);
        inside = has_case(c);
    }
    return terse_sink_val(&out);
}

METHOD(s_swapcase)
{
    (void)arg, (void)all;
    const terse_str s = terse_str_of(self);
    terse_sink out = { 0 };
    size_t n;
    for (size_t at = 0; at < s.n && terse_jinja_ok(j); at += n) {
        const int32_t c = terse_char_at(s, at, &n);
        const bool upper = utf8proc_tolower(c) != c;
        terse_put_case(j, &out, (terse_str){ s.p + at, n }, upper ? TERSE_CASE_LOWER : TERSE_CASE_UPPER);
    }
    return terse_sink_val(&out);
}

static bool is_letter(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
static bool is_digit(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}
static bool is_alnum(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);
    return is_letter(c) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}
static bool is_numeric(int32_t c)
{
    return is_alnum(c) && !is_letter(c);
}
static bool is_ascii(int32_t c)
{
    return c < 128;
}
static bool is_space(int32_t c)
{
    return terse_is_space(c);
}

/* All characters are of the kind; of none at all that is said only of ASCII. */
static terse_val all_are(terse_jinja *j, terse_val self, bool (*is)(int32_t c), bool when_empty)
{
    const terse_str s = terse_str_of(self);
    bool all = s.n > 0 || when_empty;
    size_t n;
    for (size_t at = 0; at < s.n && all && terse_jinja_work(j, 0); at += n)
        all = is(terse_char_at(s, at, &n));
    return terse_bool(all);
}
METHOD(s_isalpha)
{
    (void)arg, (void)all;
    return all_are(j, self, is_letter, false);
}
METHOD(s_isdigit)
{
    (void)arg, (void)all;
    return all_are(j, self, is_digit, false);
}
METHOD(s_isalnum)
{
    (void)arg, (void)all;
    return all_are(j, self, is_alnum, false);
}
METHOD(s_isnumeric)
{
    (void)arg, (void)all;
    return all_are(j, self, is_numeric, false);
}
METHOD(s_isascii)
{
    (void)arg, (void)all;
    return all_are(j, self, is_ascii, true);
}
METHOD(s_isspace)
{
    (void)arg, (void)all;
    return all_are(j, self, is_space, false);
}

static terse_val test_case(terse_jinja *j, terse_val self, const char *test)
{
    return terse_bool(terse_jinja_test(j, terse_lit(test), self, &(terse_args){ 0 }));
}
METHOD(s_islower)
{
    (void)arg, (void)all;
    return test_case(j, self, "lower");
}
METHOD(s_isupper)
{
    (void)arg, (void)all;
    return test_case(j, self, "upper");
}

/* Fills up to a width: with left of the missing characters in front. */
static terse_val pad(terse_jinja *j, terse_val self, const terse_val *arg, int side)
{
    const terse_val fill = terse_given(arg[1]) ? arg[1] : terse_string((terse_str){ " ", 1 });
    if (arg[0].kind != TERSE_VAL_INT)
        return terse_jinja_fail(j, "the width must be an integer, not '%s'", terse_type_name(arg[0]));
    if (fill.kind != TERSE_VAL_STR || terse_char_count(terse_str_of(fill)) != 1)
        return terse_jinja_fail(j, "the fill character must be one character");
    const int64_t n = terse_char_count(terse_str_of(self)), width = arg[0].u.i;
    if (width <= n)
        return self;
    const int64_t room = width - n, left = side < 0 ? room : side > 0 ? 0 : room / 2 + (room & width & 1);
    const terse_val a = terse_val_binary(j, TERSE_OP_MUL, fill, terse_int(left));
    const terse_val b = terse_val_binary(j, TERSE_OP_MUL, fill, terse_int(room - left));
    return terse_val_binary(j, TERSE_OP_ADD, terse_val_binary(j, TERSE_OP_ADD, a, self), b);
}
METHOD(s_ljust)
{
    (void)all;
    return pad(j, self, arg, 1);
}
METHOD(s_rjust)
{
    (void)all;
    return pad(j, self, arg, -1);
}
METHOD(s_center)
{
    (void)all;
    return pad(j, self, arg, 0);
}
METHOD(s_zfill)
{
    (void)all;
    const terse_str s = terse_str_of(self);
    const size_t sign = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+');
    const terse_val rest = terse_string((terse_str){ s.p + sign, s.n - sign });
    if (arg[0].kind != TERSE_VAL_INT)
        return terse_jinja_fail(j, "the width must be an integer, not '%s'", terse_type_name(arg[0]));
    if (arg[0].u.i <= terse_char_count(s))
        return self;
    const terse_val to[TERSE_MAX_PARAMS] = { terse_int(arg[0].u.i - (int64_t)sign),
                                             terse_string((terse_str){ "0", 1 }) };
    return terse_val_binary(j, TERSE_OP_ADD, terse_string((terse_str){ s.p, sign }), pad(j, rest, to, -1));
}

const terse_jinja_row terse_jinja_str_methods_more[] = {
    { "capitalize", "", s_capitalize },
    { "casefold", "", s_lower },
    { "center", "/ width ? fillchar", s_center },
    { "isalnum", "", s_isalnum },
    { "isalpha", "", s_isalpha },
    { "isascii", "", s_isascii },
    { "isdecimal", "", s_isdigit },
    { "isdigit", "", s_isdigit },
    { "islower", "", s_islower },
    { "isnumeric", "", s_isnumeric },
    { "isspace", "", s_isspace },
    { "isupper", "", s_isupper },
    { "ljust", "/ width ? fillchar", s_ljust },
    { "lower", "", s_lower },
    { "rjust", "/ width ? fillchar", s_rjust },
    { "swapcase", "", s_swapcase },
    { "title", "", s_title },
    { "upper", "", s_upper },
    { "zfill", "/ width", s_zfill },
    { NULL, NULL, NULL },
};
