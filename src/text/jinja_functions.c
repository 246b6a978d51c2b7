/* text/jinja_functions.c: the functions that every template has, and the methods of dicts, lists and cyclers.
 */
#include "text/jinja.h"

#include <time.h>

#define FUNCTION(name)                                                                                         \
    static terse_val name(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)

enum { MOST_RANGE = 100000 }; /* as Jinja2's sandbox */

static bool get_int(terse_jinja *j, terse_val v, int64_t *i)
{
    if (v.kind != TERSE_VAL_INT && v.kind != TERSE_VAL_BOOL)
        return terse_jinja_fail(j, "'%s' object is not an integer", terse_type_name(v)), false;
    *i = v.kind == TERSE_VAL_BOOL ? v.u.b : v.u.i;
    return true;
}

FUNCTION(g_range)
{
    (void)self, (void)all;
    int64_t start = 0, stop, step = 1;
    const bool one = !terse_given(arg[1]);
    if (!get_int(j, one ? arg[0] : arg[1], &stop) || (!one && !get_int(j, arg[0], &start)) ||
        (terse_given(arg[2]) && !get_int(j, arg[2], &step)))
        return self;
    if (step == 0)
        return terse_jinja_fail(j, "the step is zero");
    const bool any = step > 0 ? stop > start : stop < start;
    const uint64_t span = !any       ? 0
                          : step > 0 ? (uint64_t)stop - (uint64_t)start
                                     : (uint64_t)start - (uint64_t)stop;
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    const uint64_t n = span ? (span - 1) / stride + 1 : 0;
    if (n > MOST_RANGE)
        return terse_jinja_fail(j, "more than %d numbers", MOST_RANGE);
    terse_seq *s = terse_seq_make(j, TERSE_SEQ_RANGE, n);
    for (uint64_t i = 0; s && i < n; i++)
        s->v[i] = terse_int((int64_t)((uint64_t)start + i * (uint64_t)step));
    if (s) {
        s->start = start;
        s->stop = stop;
        s->step = step;
    }
    return terse_seq_val(s);
}

/* dict(mapping or pairs, name=value, ...) */
static terse_dict *make_dict(terse_jinja *j, const terse_args *all)
{
    terse_dict *d = terse_dict_make(j, all->n_named);
    if (all->n > 1)
        terse_jinja_fail(j, "takes one argument at most, %u were given", all->n);
    if (all->n == 1 && all->v[0].kind == TERSE_VAL_DICT) {
        const terse_dict *from = all->v[0].u.dict;
        for (uint32_t i = 0; d && i < from->n && terse_jinja_ok(j); i++)
            terse_dict_set(j, d, from->keys[i], from->values[i]);
    } else if (all->n == 1) {
        const terse_seq *pairs = terse_iterate(j, all->v[0]);
        for (uint32_t i = 0; d && pairs && i < pairs->n && terse_jinja_ok(j); i++) {
            const terse_seq *pair = terse_iterate(j, pairs->v[i]);
            if (pair && pair->n != 2)
                terse_jinja_fail(j, "element %u has length %u; 2 is required", i, pair->n);
            if (pair && terse_jinja_ok(j))
                terse_dict_set(j, d, pair->v[0], pair->v[1]);
        }
    }
    for (uint32_t i = 0; d && i < all->n_named && terse_jinja_ok(j); i++)
        terse_dict_set(j, d, terse_string(all->names[i]), all->named[i]);
    return terse_jinja_ok(j) ? d : NULL;
}
static terse_val dict_or_space(terse_jinja *j, const terse_args *all, terse_val_kind kind)
{
    terse_dict *d = make_dict(j, all);
    return d ? (terse_val){ .kind = (uint8_t)kind, .u.dict = d } : terse_none();
}
FUNCTION(g_dict)
{
    (void)self, (void)arg;
    return dict_or_space(j, all, TERSE_VAL_DICT);
}
FUNCTION(g_namespace)
{
    (void)self, (void)arg;
    return dict_or_space(j, all, TERSE_VAL_SPACE);
}

FUNCTION(g_raise)
{
    (void)self, (void)all;
    const terse_str s = terse_text_of(j, arg[0]);
    if (!terse_jinja_ok(j))
        return self;
    j->raised = true;
    return terse_jinja_fail(j, "%.*s", (int)(s.n < 240 ? s.n : 240), s.p);
}

FUNCTION(g_strftime_now)
{
    (void)all;
    enum { ROOM = 512 };
    const time_t now = j->in->now ? (time_t)j->in->now : time(NULL);
    struct tm tm;
    if (arg[0].kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "the format must be a string, not '%s'", terse_type_name(arg[0]));
    const terse_str f = terse_str_of(arg[0]);
    if (f.n == 0)
        return arg[0];
    char *format = terse_jinja_get(j, f.n + 1, 1), *text = terse_jinja_get(j, ROOM, 1);
    if (!format || !text || !localtime_r(&now, &tm))
        return self;
    memcpy(format, f.p, f.n);
    const size_t n = f.n < ROOM / 4 ? strftime(text, ROOM, format, &tm) : 0;
    return n ? terse_string((terse_str){ text, n })
             : terse_jinja_refuse(j, "the format gives nothing, or too much");
}

/* A sequence of one's own that moves on. */
static terse_val moving(terse_jinja *j, terse_val_kind kind, const terse_val *v, uint32_t n)
{
    terse_seq *s = terse_seq_make(j, TERSE_SEQ_LIST, n);
    if (!s)
        return terse_none();
    if (n)
        memcpy(s->v, v, n * sizeof *s->v);
    return (terse_val){ .kind = (uint8_t)kind, .u.seq = s };
}
FUNCTION(g_cycler)
{
    (void)self, (void)arg;
    if (all->n == 0)
        return terse_jinja_fail(j, "no items to cycle through");
    return moving(j, TERSE_VAL_CYCLER, all->v, all->n);
}
FUNCTION(g_joiner)
{
    (void)self, (void)all;
    const terse_val preset = terse_string((terse_str){ ", ", 2 });
    return moving(j, TERSE_VAL_JOINER, terse_given(arg[0]) ? &arg[0] : &preset, 1);
}

FUNCTION(c_next)
{
    (void)j, (void)arg, (void)all;
    terse_seq *s = self.u.seq;
    const terse_val v = s->v[s->at % s->n];
    s->at = (s->at + 1) % s->n;
    return v;
}
FUNCTION(c_reset)
{
    (void)j, (void)arg, (void)all;
    self.u.seq->at = 0;
    return terse_none();
}

FUNCTION(d_get)
{
    (void)all;
    if (!terse_hashable(j, arg[0]))
        return self;
    const terse_val *v = terse_dict_find(j, self.u.dict, arg[0]);
    return v ? *v : terse_given(arg[1]) ? arg[1] : terse_none();
}
FUNCTION(d_items)
{
    (void)arg, (void)all;
    return terse_dict_view(j, self.u.dict, TERSE_SEQ_ITEMS);
}
FUNCTION(d_keys)
{
    (void)arg, (void)all;
    return terse_dict_view(j, self.u.dict, TERSE_SEQ_KEYS);
}
FUNCTION(d_values)
{
    (void)arg, (void)all;
    return terse_dict_view(j, self.u.dict, TERSE_SEQ_VALUES);
}
FUNCTION(same)
{
    (void)j, (void)arg, (void)all;
    return self; /* a copy; what cannot be changed need not be copied */
}

static int64_t index_in(terse_jinja *j, const terse_seq *s, terse_val v, int64_t *count)
{
    int64_t first = -1;
    *count = 0;
    for (uint32_t i = 0; i < s->n && terse_jinja_ok(j); i++) {
        if (!terse_val_equal(j, s->v[i], v))
            continue;
        first = first < 0 ? i : first;
        ++*count;
    }
    return first;
}
FUNCTION(l_index)
{
    (void)all;
    int64_t count;
    const int64_t i = index_in(j, self.u.seq, arg[0], &count);
    return i < 0 ? terse_jinja_fail(j, "the value is not in the list") : terse_int(i);
}
FUNCTION(l_count)
{
    (void)all;
    int64_t count;
    index_in(j, self.u.seq, arg[0], &count);
    return terse_int(count);
}

FUNCTION(changes)
{
    (void)arg, (void)all;
    return terse_jinja_fail(j, "a template may not change a %s; use + or namespace()", terse_type_name(self));
}

const terse_jinja_row terse_jinja_functions[] = {
    { "cycler", "*", g_cycler },
    { "dict", "*", g_dict },
    { "joiner", "? sep", g_joiner },
    { "namespace", "*", g_namespace },
    { "raise_exception", "message", g_raise },
    { "range", "/ start ? stop step", g_range },
    { "strftime_now", "format", g_strftime_now },
    { "lipsum", "*", NULL },
    { NULL, NULL, NULL },
};
const terse_jinja_row terse_jinja_cycler_methods[] = {
    { "next", "", c_next },
    { "reset", "", c_reset },
    { NULL, NULL, NULL },
};
const terse_jinja_row terse_jinja_dict_methods[] = {
    { "copy", "", same },       { "get", "/ key ? default", d_get }, { "items", "", d_items },
    { "keys", "", d_keys },     { "values", "", d_values },          { "clear", "*", changes },
    { "pop", "*", changes },    { "popitem", "*", changes },         { "setdefault", "*", changes },
    { "update", "*", changes }, { "fromkeys", "*", NULL },           { NULL, NULL, NULL },
};
const terse_jinja_row terse_jinja_list_methods[] = {
    { "copy", "", same },        { "count", "/ value", l_count }, { "index", "/ value", l_index },
    { "append", "*", changes },  { "clear", "*", changes },       { "extend", "*", changes },
    { "insert", "*", changes },  { "pop", "*", changes },         { "remove", "*", changes },
    { "reverse", "*", changes }, { "sort", "*", changes },        { NULL, NULL, NULL },
};
const terse_jinja_row terse_jinja_tuple_methods[] = {
    { "count", "/ value", l_count },
    { "index", "/ value", l_index },
    { NULL, NULL, NULL },
};
