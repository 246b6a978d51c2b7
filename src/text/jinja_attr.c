/* text/jinja_attr.c: a.name, a[key], a[i:j:k]. An attribute is looked for among the methods first and then
 * among the keys of a dict, a subscript the other way round; what neither has is undefined. */
#include "text/jinja.h"

static const terse_jinja_row *find_method(terse_val a, terse_str name)
{
    const terse_jinja_row *row;
    switch (a.kind) {
    case TERSE_VAL_STR:
        row = terse_jinja_find(terse_jinja_str_methods, name);
        return row ? row : terse_jinja_find(terse_jinja_str_methods_more, name);
    case TERSE_VAL_DICT:
        return terse_jinja_find(terse_jinja_dict_methods, name);
    case TERSE_VAL_LOOP:
        return terse_jinja_find(terse_jinja_loop_methods, name);
    case TERSE_VAL_CYCLER:
        return terse_jinja_find(terse_jinja_cycler_methods, name);
    case TERSE_VAL_SEQ:
        if (a.u.seq->kind > TERSE_SEQ_RANGE)
            return NULL;
        return terse_jinja_find(
            terse_is_seq(a, TERSE_SEQ_LIST) ? terse_jinja_list_methods : terse_jinja_tuple_methods, name);
    default:
        return NULL;
    }
}

/* name of a macro */
static terse_val macro_attr(terse_jinja *j, const terse_macro *m, terse_str name)
{
    if (terse_str_is(name, "name"))
        return terse_string(terse_lit(m->node->name));
    if (!terse_str_is(name, "arguments"))
        return (terse_val){ .kind = TERSE_VAL_MISSING };
    terse_seq *s = terse_seq_make(j, TERSE_SEQ_TUPLE, m->node->n);
    const terse_node *p = m->node->list;
    for (uint32_t i = 0; s && i < s->n; i++, p = p->next)
        s->v[i] = terse_string(terse_lit(p->name));
    return terse_seq_val(s);
}

terse_val terse_val_own_attr(terse_jinja *j, terse_val a, terse_str name)
{
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    if (name.n > 0 && name.p[0] == '_')
        return none; /* the sandbox shows nothing of that kind */
    if (a.kind == TERSE_VAL_SPACE) {
        const terse_val *v = terse_dict_find(j, a.u.dict, terse_string(name));
        return v ? *v : none;
    }
    if (a.kind == TERSE_VAL_MACRO)
        return macro_attr(j, a.u.macro, name);
    const terse_jinja_row *row = find_method(a, name);
    if (row) {
        terse_bound *call = terse_jinja_get(j, 1, sizeof *call);
        if (!call)
            return none;
        *call = (terse_bound){ row, a };
        return (terse_val){ .kind = TERSE_VAL_CALL, .u.call = call };
    }
    if (a.kind == TERSE_VAL_LOOP)
        return terse_loop_attr(j, a.u.loop, name, none);
    if (a.kind == TERSE_VAL_CYCLER && terse_str_is(name, "current"))
        return a.u.seq->n ? a.u.seq->v[a.u.seq->at % a.u.seq->n] : none;
    return none;
}

static bool is_index(terse_val v)
{
    return v.kind == TERSE_VAL_INT || v.kind == TERSE_VAL_BOOL;
}
static int64_t index_of(terse_val v)
{
    return v.kind == TERSE_VAL_BOOL ? v.u.b : v.u.i;
}
static bool can_index(terse_val v)
{
    return v.kind == TERSE_VAL_STR || (v.kind == TERSE_VAL_SEQ && v.u.seq->kind <= TERSE_SEQ_RANGE);
}

/* a[i], counted from the end if negative; MISSING if there is none. */
static terse_val at_index(terse_jinja *j, terse_val a, int64_t i)
{
    const int64_t n = terse_length(j, a);
    size_t len;
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return (terse_val){ .kind = TERSE_VAL_MISSING };
    if (a.kind == TERSE_VAL_SEQ)
        return a.u.seq->v[i];
    const terse_str s = terse_str_of(a);
    const size_t at = terse_char_offset(s, i);
    terse_char_at(s, at, &len);
    terse_val v = terse_string((terse_str){ s.p + at, len });
    v.markup = a.markup;
    return v;
}

/* a[key] without methods; MISSING if there is none. */
static terse_val own_item(terse_jinja *j, terse_val a, terse_val key)
{
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    if (a.kind == TERSE_VAL_DICT) {
        if (key.kind == TERSE_VAL_DICT || terse_is_seq(key, TERSE_SEQ_LIST))
            return none; /* no key; Jinja2 gives undefined as well */
        const terse_val *v = terse_dict_find(j, a.u.dict, key);
        return v ? *v : none;
    }
    return can_index(a) && is_index(key) ? at_index(j, a, index_of(key)) : none;
}

static terse_val nothing(terse_jinja *j, terse_val a, terse_val key)
{
    if (key.kind == TERSE_VAL_STR)
        return terse_undefined(j, "'%s object' has no attribute '%.*s'", terse_type_name(a), (int)key.n,
                               key.u.p);
    return terse_undefined(j, "'%s object' has no such element", terse_type_name(a));
}

static bool refuse_undefined(terse_jinja *j, terse_val a)
{
    if (a.kind == TERSE_VAL_UNDEFINED && terse_jinja_ok(j))
        terse_jinja_fail(j, "%s", a.u.p ? a.u.p : "the value is undefined");
    return a.kind == TERSE_VAL_UNDEFINED;
}

terse_val terse_val_attr(terse_jinja *j, terse_val a, terse_val name)
{
    if (refuse_undefined(j, a) || !terse_jinja_work(j, 0))
        return a;
    terse_val v = terse_val_own_attr(j, a, terse_str_of(name));
    if (!terse_given(v))
        v = own_item(j, a, name);
    return terse_given(v) ? v : nothing(j, a, name);
}

terse_val terse_val_item(terse_jinja *j, terse_val a, terse_val key)
{
    if (refuse_undefined(j, a) || !terse_jinja_work(j, 0))
        return a;
    terse_val v = own_item(j, a, key);
    if (!terse_given(v) && key.kind == TERSE_VAL_STR)
        v = terse_val_own_attr(j, a, terse_str_of(key));
    return terse_given(v) ? v : nothing(j, a, key);
}

/* A bound of a slice, as Python brings it into 0..n, or -1..n-1 for a step backwards. */
static int64_t bound(terse_jinja *j, terse_val v, int64_t n, bool back, int64_t preset)
{
    if (v.kind == TERSE_VAL_NONE || v.kind == TERSE_VAL_MISSING)
        return preset;
    if (!is_index(v)) {
        terse_jinja_fail(j, "slice indices must be integers or None, not '%s'", terse_type_name(v));
        return preset;
    }
    int64_t i = index_of(v);
    const int64_t low = back ? -1 : 0, high = back ? n - 1 : n;
    if (i < 0)
        i += n;
    return i < low ? low : i > high ? high : i;
}

static terse_val slice_text(terse_jinja *j, terse_str s, int64_t from, int64_t step, int64_t n)
{
    if (step == 1) {
        const size_t at = terse_char_offset(s, from);
        const terse_str rest = { s.p + at, s.n - at };
        return terse_string((terse_str){ rest.p, terse_char_offset(rest, n) });
    }
    /* Where every character begins. */
    const int64_t total = terse_char_count(s);
    uint32_t *at = terse_jinja_get(j, (size_t)total + 1, sizeof *at);
    terse_sink out = { 0 };
    size_t len, i = 0;
    for (size_t b = 0; at && b < s.n; b += len) {
        terse_char_at(s, b, &len);
        at[i++] = (uint32_t)b;
    }
    if (at)
        at[i] = (uint32_t)s.n;
    for (int64_t k = 0; at && k < n && terse_jinja_ok(j); k++) {
        const int64_t c = from + k * step;
        terse_sink_put(j, &out, s.p + at[c], at[c + 1] - at[c]);
    }
    return terse_sink_val(&out);
}

terse_val terse_val_slice(terse_jinja *j, terse_val a, terse_val start, terse_val stop, terse_val step)
{
    const int64_t by = step.kind == TERSE_VAL_NONE || !terse_given(step) ? 1
                       : is_index(step)                                  ? index_of(step)
                                                                         : 0;
    if (refuse_undefined(j, a))
        return a;
    if (!can_index(a))
        return terse_jinja_fail(j, "'%s' object cannot be sliced", terse_type_name(a));
    if (step.kind != TERSE_VAL_NONE && terse_given(step) && !is_index(step))
        return terse_jinja_fail(j, "slice indices must be integers or None, not '%s'", terse_type_name(step));
    if (by == 0)
        return terse_jinja_fail(j, "the step of a slice is zero");
    const int64_t n = terse_length(j, a);
    const int64_t from = bound(j, start, n, by < 0, by < 0 ? n - 1 : 0);
    const int64_t to = bound(j, stop, n, by < 0, by < 0 ? -1 : n);
    const uint64_t span = by > 0      ? (to > from ? (uint64_t)(to - from) : 0)
                          : from > to ? (uint64_t)(from - to)
                                      : 0;
    const uint64_t stride = by > 0 ? (uint64_t)by : 0 - (uint64_t)by;
    const int64_t count = span ? (int64_t)((span - 1) / stride) + 1 : 0;
    if (!terse_jinja_scan(j, a.kind == TERSE_VAL_STR ? a.n : 0))
        return a;
    if (a.kind == TERSE_VAL_STR)
        return slice_text(j, terse_str_of(a), from, by, count);
    terse_seq *s = terse_seq_make(j, a.u.seq->kind, (size_t)count);
    for (int64_t i = 0; s && i < count; i++)
        s->v[i] = a.u.seq->v[from + i * by];
    if (s && s->kind == TERSE_SEQ_RANGE) {
        const terse_seq *r = a.u.seq;
        s->start = (int64_t)((uint64_t)r->start + (uint64_t)from * (uint64_t)r->step);
        s->stop = (int64_t)((uint64_t)r->start + (uint64_t)to * (uint64_t)r->step);
        s->step = (int64_t)((uint64_t)r->step * (uint64_t)by);
    }
    return terse_seq_val(s);
}
