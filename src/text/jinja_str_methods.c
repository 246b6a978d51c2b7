/* text/jinja_str_methods.c: the methods of strings that cut, join and search; the table is at the end. */
#include "text/jinja.h"

#define METHOD(name)                                                                                           \
    static terse_val name(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)

static bool given(terse_val v)
{
    return terse_given(v) && v.kind != TERSE_VAL_NONE;
}

/* The argument as a string; fails if it is something else. */
static bool get_str(terse_jinja *j, terse_val v, terse_str *s)
{
    if (v.kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "the argument must be a string, not '%s'", terse_type_name(v)), false;
    *s = terse_str_of(v);
    return true;
}
static bool get_int(terse_jinja *j, terse_val v, int64_t preset, int64_t *i)
{
    if (terse_given(v) && v.kind != TERSE_VAL_INT && v.kind != TERSE_VAL_BOOL)
        return terse_jinja_fail(j, "the argument must be an integer, not '%s'", terse_type_name(v)), false;
    *i = !terse_given(v) ? preset : v.kind == TERSE_VAL_BOOL ? v.u.b : v.u.i;
    return true;
}

static terse_val strip(terse_jinja *j, terse_val self, terse_val chars, terse_strip_sides sides)
{
    terse_str set;
    if (!given(chars))
        return terse_jinja_scan(j, self.n) ? terse_string(terse_strip(terse_str_of(self), NULL, sides)) : self;
    if (!get_str(j, chars, &set) || !terse_jinja_scan(j, (size_t)self.n * (set.n + 1)))
        return self;
    return terse_string(terse_strip(terse_str_of(self), &set, sides));
}
METHOD(s_strip)
{
    (void)all;
    return strip(j, self, arg[0], TERSE_STRIP_BOTH);
}
METHOD(s_lstrip)
{
    (void)all;
    return strip(j, self, arg[0], TERSE_STRIP_LEFT);
}
METHOD(s_rstrip)
{
    (void)all;
    return strip(j, self, arg[0], TERSE_STRIP_RIGHT);
}

/* The part of s from character start to character stop, as Python takes these bounds; false: no such part. */
static bool part_of(terse_jinja *j, terse_str s, terse_val start, terse_val stop, terse_str *part,
                    int64_t *from)
{
    const int64_t n = terse_char_count(s);
    int64_t a, b;
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    if (!get_int(j, given(start) ? start : none, 0, &a) || !get_int(j, given(stop) ? stop : none, n, &b))
        return false;
    a = a < 0 ? (a + n < 0 ? 0 : a + n) : a;
    b = b < 0 ? (b + n < 0 ? 0 : b + n) : b > n ? n : b;
    if (a > b)
        return false;
    const size_t at = terse_char_offset(s, a);
    *part = (terse_str){ s.p + at, terse_char_offset(s, b) - at };
    *from = a;
    return true;
}

static bool affix_is(terse_str s, terse_str affix, bool end)
{
    return affix.n <= s.n && memcmp(end ? s.p + s.n - affix.n : s.p, affix.p, affix.n) == 0;
}

static terse_val has_affix(terse_jinja *j, terse_val self, const terse_val *arg, bool end)
{
    terse_str s, affix;
    int64_t from;
    if (!terse_is_seq(arg[0], TERSE_SEQ_TUPLE))
        return get_str(j, arg[0], &affix)
                   ? terse_bool(part_of(j, terse_str_of(self), arg[1], arg[2], &s, &from) &&
                                affix_is(s, affix, end))
                   : self;
    const bool within = part_of(j, terse_str_of(self), arg[1], arg[2], &s, &from);
    bool is = false;
    for (uint32_t i = 0; i < arg[0].u.seq->n && !is && terse_jinja_ok(j); i++)
        is = get_str(j, arg[0].u.seq->v[i], &affix) && within && affix_is(s, affix, end);
    return terse_bool(is);
}
METHOD(s_startswith)
{
    (void)all;
    return has_affix(j, self, arg, false);
}
METHOD(s_endswith)
{
    (void)all;
    return has_affix(j, self, arg, true);
}

static terse_val remove_affix(terse_jinja *j, terse_val self, terse_val affix, bool end)
{
    terse_str s = terse_str_of(self), a;
    if (!get_str(j, affix, &a) || !affix_is(s, a, end))
        return self;
    return terse_string((terse_str){ end ? s.p : s.p + a.n, s.n - a.n });
}
METHOD(s_removeprefix)
{
    (void)all;
    return remove_affix(j, self, arg[0], false);
}
METHOD(s_removesuffix)
{
    (void)all;
    return remove_affix(j, self, arg[0], true);
}

/* Where what begins in s: the first or the last place; NULL: nowhere. */
static const char *search(terse_str s, terse_str what, bool last)
{
    if (!last || what.n > s.n)
        return memmem(s.p, s.n, what.p, what.n);
    for (size_t at = s.n - what.n + 1; at-- > 0;)
        if (memcmp(s.p + at, what.p, what.n) == 0)
            return s.p + at;
    return NULL;
}

/* Bytes looked at by a search from the end, which compares at every place. */
static size_t backwards(terse_str s, terse_str what)
{
    return s.n * (what.n / 64 + 1);
}

static terse_val find(terse_jinja *j, terse_val self, const terse_val *arg, bool last, bool must)
{
    terse_str s, what;
    int64_t from;
    if (!get_str(j, arg[0], &what) || !terse_jinja_scan(j, self.n))
        return self;
    const bool within = part_of(j, terse_str_of(self), arg[1], arg[2], &s, &from);
    if (last && within && !terse_jinja_scan(j, backwards(s, what)))
        return self;
    const char *hit = within ? search(s, what, last) : NULL;
    if (hit)
        return terse_int(from + terse_char_count((terse_str){ s.p, (size_t)(hit - s.p) }));
    return must ? terse_jinja_fail(j, "substring not found") : terse_int(-1);
}
METHOD(s_find)
{
    (void)all;
    return find(j, self, arg, false, false);
}
METHOD(s_rfind)
{
    (void)all;
    return find(j, self, arg, true, false);
}
METHOD(s_index)
{
    (void)all;
    return find(j, self, arg, false, true);
}
METHOD(s_rindex)
{
    (void)all;
    return find(j, self, arg, true, true);
}

METHOD(s_count)
{
    (void)all;
    terse_str s, what;
    int64_t from, n = 0;
    if (!get_str(j, arg[0], &what) || !terse_jinja_scan(j, self.n) ||
        !part_of(j, terse_str_of(self), arg[1], arg[2], &s, &from))
        return terse_int(0);
    if (what.n == 0)
        return terse_int(terse_char_count(s) + 1);
    for (const char *hit; (hit = memmem(s.p, s.n, what.p, what.n)) != NULL; n++)
        s = (terse_str){ hit + what.n, s.n - (size_t)(hit - s.p) - what.n };
    return terse_int(n);
}

METHOD(s_replace)
{
    (void)all;
    terse_str old, new;
    int64_t count;
    if (!get_str(j, arg[0], &old) || !get_str(j, arg[1], &new) || !get_int(j, arg[2], -1, &count))
        return self;
    return terse_replace(j, terse_str_of(self), old, new, count);
}

static void reverse(terse_seq *s)
{
    for (uint32_t i = 0; s && i < s->n / 2; i++) {
        const terse_val v = s->v[i];
        s->v[i] = s->v[s->n - 1 - i];
        s->v[s->n - 1 - i] = v;
    }
}

/* Between runs of white space, which themselves are dropped. */
static terse_seq *split_blanks(terse_jinja *j, terse_str s, int64_t most, bool right)
{
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_LIST, 0);
    const terse_strip_sides outer = right ? TERSE_STRIP_RIGHT : TERSE_STRIP_LEFT;
    while (out && terse_jinja_work(j, 0)) {
        s = terse_strip(s, NULL, outer);
        if (s.n == 0)
            break;
        size_t at = right ? s.n : 0, n;
        if (most >= 0 && out->n >= (uint64_t)most) {
            terse_seq_push(j, out, terse_string(s));
            break;
        }
        if (right) {
            while (at > 0 && !terse_is_space(terse_char_at(s, terse_char_before(s, at), &n)))
                at = terse_char_before(s, at);
            terse_seq_push(j, out, terse_string((terse_str){ s.p + at, s.n - at }));
            s.n = at;
        } else {
            for (; at < s.n && !terse_is_space(terse_char_at(s, at, &n)); at += n)
                ;
            terse_seq_push(j, out, terse_string((terse_str){ s.p, at }));
            s = (terse_str){ s.p + at, s.n - at };
        }
    }
    return out;
}

static terse_seq *split_at(terse_jinja *j, terse_str s, terse_str by, int64_t most, bool right)
{
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_LIST, 0);
    while (out && terse_jinja_scan(j, by.n) && (most < 0 || out->n < (uint64_t)most)) {
        const char *hit = search(s, by, right);
        if (!hit)
            break;
        const size_t at = (size_t)(hit - s.p), after = at + by.n;
        const terse_str tail = { s.p + after, s.n - after }, head = { s.p, at };
        terse_seq_push(j, out, terse_string(right ? tail : head));
        s = right ? head : tail;
    }
    if (out)
        terse_seq_push(j, out, terse_string(s));
    return out;
}

static terse_val split(terse_jinja *j, terse_val self, const terse_val *arg, bool right)
{
    terse_str by;
    int64_t most;
    if (!get_int(j, arg[1], -1, &most) || !terse_jinja_scan(j, self.n))
        return self;
    terse_seq *out;
    if (!given(arg[0])) {
        out = split_blanks(j, terse_str_of(self), most, right);
    } else {
        if (!get_str(j, arg[0], &by))
            return self;
        if (by.n == 0)
            return terse_jinja_fail(j, "empty separator");
        if (right && !terse_jinja_scan(j, backwards(terse_str_of(self), by)))
            return self;
        out = split_at(j, terse_str_of(self), by, most, right);
    }
    if (right)
        reverse(out);
    return terse_seq_val(out);
}
METHOD(s_split)
{
    (void)all;
    return split(j, self, arg, false);
}
METHOD(s_rsplit)
{
    (void)all;
    return split(j, self, arg, true);
}

METHOD(s_splitlines)
{
    (void)all;
    return terse_seq_val(terse_split_lines(j, terse_str_of(self), terse_given(arg[0]) && terse_truth(arg[0])));
}

static terse_val partition(terse_jinja *j, terse_val self, terse_val separator, bool right)
{
    const terse_str s = terse_str_of(self);
    terse_str by;
    if (!get_str(j, separator, &by) || !terse_jinja_scan(j, right ? backwards(s, by) : s.n))
        return self;
    if (by.n == 0)
        return terse_jinja_fail(j, "empty separator");
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_TUPLE, 3);
    const char *hit = search(s, by, right);
    if (!out)
        return self;
    const size_t at = hit ? (size_t)(hit - s.p) : 0;
    const terse_val none = terse_string((terse_str){ "", 0 });
    out->v[0] = hit ? terse_string((terse_str){ s.p, at }) : right ? none : self;
    out->v[1] = hit ? separator : none;
    out->v[2] = hit ? terse_string((terse_str){ s.p + at + by.n, s.n - at - by.n }) : right ? self : none;
    return terse_seq_val(out);
}
METHOD(s_partition)
{
    (void)all;
    return partition(j, self, arg[0], false);
}
METHOD(s_rpartition)
{
    (void)all;
    return partition(j, self, arg[0], true);
}

METHOD(s_join)
{
    (void)all;
    const terse_seq *s = terse_iterate(j, arg[0]);
    terse_sink out = { 0 };
    terse_str part;
    for (uint32_t i = 0; s && i < s->n && get_str(j, s->v[i], &part) && terse_jinja_ok(j); i++) {
        if (i)
            terse_sink_str(j, &out, terse_str_of(self));
        terse_sink_str(j, &out, part);
    }
    return terse_sink_val(&out);
}

METHOD(s_format)
{
    (void)arg;
    return terse_format(j, terse_str_of(self), all);
}

const terse_jinja_row terse_jinja_str_methods[] = {
    { "count", "/ sub ? start end", s_count },
    { "endswith", "/ suffix ? start end", s_endswith },
    { "find", "/ sub ? start end", s_find },
    { "format", "*", s_format },
    { "index", "/ sub ? start end", s_index },
    { "join", "/ iterable", s_join },
    { "lstrip", "/ ? chars", s_lstrip },
    { "partition", "/ sep", s_partition },
    { "removeprefix", "/ prefix", s_removeprefix },
    { "removesuffix", "/ suffix", s_removesuffix },
    { "replace", "/ old new ? count", s_replace },
    { "rfind", "/ sub ? start end", s_rfind },
    { "rindex", "/ sub ? start end", s_rindex },
    { "rpartition", "/ sep", s_rpartition },
    { "rsplit", "? sep maxsplit", s_rsplit },
    { "rstrip", "/ ? chars", s_rstrip },
    { "split", "? sep maxsplit", s_split },
    { "splitlines", "? keepends", s_splitlines },
    { "startswith", "/ prefix ? start end", s_startswith },
    { "strip", "/ ? chars", s_strip },
    { "encode", "*", NULL },
    { "expandtabs", "*", NULL },
    { "format_map", "*", NULL },
    { "isidentifier", "*", NULL },
    { "isprintable", "*", NULL },
    { "istitle", "*", NULL },
    { "maketrans", "*", NULL },
    { "translate", "*", NULL },
    { NULL, NULL, NULL },
};
