/* text/jinja_str.c: texts by character. All texts are valid UTF-8: the template and the JSON are checked. */
#include "text/jinja.h"

#include <utf8proc.h>

bool terse_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

int32_t terse_char_at(terse_str s, size_t at, size_t *n)
{
    utf8proc_int32_t c = (uint8_t)s.p[at];
    *n = 1;
    if (c < 0x80)
        return c;
    const utf8proc_ssize_t len =
        utf8proc_iterate((const utf8proc_uint8_t *)s.p + at, (utf8proc_ssize_t)(s.n - at), &c);
    *n = len > 0 ? (size_t)len : 1;
    return len > 0 ? c : 0xFFFD;
}

size_t terse_char_before(terse_str s, size_t end)
{
    size_t at = end - 1;
    while (at > 0 && end - at < 4 && ((uint8_t)s.p[at] & 0xC0) == 0x80)
        at--;
    return at;
}

int64_t terse_char_count(terse_str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
    return n;
}

size_t terse_char_offset(terse_str s, int64_t index)
{
    size_t at = 0;
    for (int64_t i = 0; at < s.n; at++)
        if (((uint8_t)s.p[at] & 0xC0) != 0x80 && i++ == index)
            break;
    return at;
}

static bool strips(terse_str s, size_t at, size_t n, const terse_str *chars)
{
    size_t len;
    if (!chars)
        return terse_is_space(terse_char_at(s, at, &len));
    return memmem(chars->p, chars->n, s.p + at, n) != NULL; /* whole characters: no false hits in UTF-8 */
}

terse_str terse_strip(terse_str s, const terse_str *chars, terse_strip_sides sides)
{
    size_t n;
    while ((sides & TERSE_STRIP_LEFT) && s.n > 0) {
        terse_char_at(s, 0, &n);
        if (!strips(s, 0, n, chars))
            break;
        s = (terse_str){ s.p + n, s.n - n };
    }
    while ((sides & TERSE_STRIP_RIGHT) && s.n > 0) {
        const size_t at = terse_char_before(s, s.n);
        if (!strips(s, at, s.n - at, chars))
            break;
        s.n = at;
    }
    return s;
}

void terse_put_char(terse_jinja *j, terse_sink *s, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    terse_sink_put(j, s, (const char *)bytes, (size_t)n);
}

void terse_put_case(terse_jinja *j, terse_sink *s, terse_str t, terse_case to)
{
    size_t n;
    for (size_t at = 0; at < t.n && terse_jinja_ok(j); at += n) {
        const int32_t c = terse_char_at(t, at, &n);
        if (c == 0xDF && to != TERSE_CASE_LOWER) /* the one letter in use that becomes two */
            terse_sink_text(j, s, to == TERSE_CASE_UPPER ? "SS" : "Ss");
        else
            terse_put_char(j, s,
                           to == TERSE_CASE_LOWER   ? utf8proc_tolower(c)
                           : to == TERSE_CASE_UPPER ? utf8proc_toupper(c)
                                                    : utf8proc_totitle(c));
    }
}

terse_val terse_cased(terse_jinja *j, terse_str t, terse_case to)
{
    terse_sink s = { 0 };
    terse_put_case(j, &s, t, to);
    return terse_sink_val(&s);
}

/* After an empty old: new goes before every character and at the end. */
static void replace_nothing(terse_jinja *j, terse_sink *out, terse_str s, terse_str new, int64_t count)
{
    size_t n, at = 0;
    for (int64_t i = 0; at <= s.n && terse_jinja_ok(j) && (count < 0 || i < count); i++, at += n) {
        terse_sink_str(j, out, new);
        n = 1;
        if (at < s.n)
            terse_char_at(s, at, &n);
        terse_sink_put(j, out, s.p + at, at < s.n ? n : 0);
    }
    if (at < s.n)
        terse_sink_put(j, out, s.p + at, s.n - at);
}

terse_val terse_replace(terse_jinja *j, terse_str s, terse_str old, terse_str new, int64_t count)
{
    terse_sink out = { 0 };
    if (!terse_jinja_scan(j, s.n))
        return terse_string(s);
    if (old.n == 0) {
        replace_nothing(j, &out, s, new, count);
        return terse_sink_val(&out);
    }
    for (int64_t i = 0; count < 0 || i < count; i++) {
        const char *hit = memmem(s.p, s.n, old.p, old.n);
        if (!hit || !terse_jinja_ok(j))
            break;
        terse_sink_put(j, &out, s.p, (size_t)(hit - s.p));
        terse_sink_str(j, &out, new);
        s.n -= (size_t)(hit - s.p) + old.n;
        s.p = hit + old.n;
    }
    if (!out.p)
        return terse_string(s); /* nothing to replace */
    terse_sink_str(j, &out, s);
    return terse_sink_val(&out);
}

static bool ends_line(int32_t c)
{
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

terse_seq *terse_split_lines(terse_jinja *j, terse_str s, bool keep)
{
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_LIST, 0);
    size_t from = 0, n;
    terse_jinja_scan(j, s.n);
    for (size_t at = 0; out && at < s.n && terse_jinja_ok(j); at += n) {
        const int32_t c = terse_char_at(s, at, &n);
        if (!ends_line(c))
            continue;
        if (c == '\r' && at + 1 < s.n && s.p[at + 1] == '\n')
            n = 2;
        terse_seq_push(j, out, terse_string((terse_str){ s.p + from, (keep ? at + n : at) - from }));
        from = at + n;
    }
    if (out && from < s.n)
        terse_seq_push(j, out, terse_string((terse_str){ s.p + from, s.n - from }));
    return out;
}

terse_val terse_escape(terse_jinja *j, terse_str s)
{
    static const char *const codes[] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['\''] = "&#39;", ['"'] = "&#34;"
    };
    terse_sink out = { 0 };
    size_t from = 0;
    terse_jinja_scan(j, s.n);
    for (size_t i = 0; i < s.n && terse_jinja_ok(j); i++) {
        const uint8_t c = (uint8_t)s.p[i];
        if (c >= sizeof codes / sizeof *codes || !codes[c])
            continue;
        terse_sink_put(j, &out, s.p + from, i - from);
        terse_sink_text(j, &out, codes[c]);
        from = i + 1;
    }
    terse_sink_put(j, &out, s.p + from, s.n - from);
    terse_val v = terse_sink_val(&out);
    v.markup = 1;
    return v;
}
