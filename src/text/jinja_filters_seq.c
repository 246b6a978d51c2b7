/* text/jinja_filters_seq.c: filters of sequences, one function each; the table is at the end. */
#include "text/jinja.h"

#define FILTER(name)                                                                                           \
    static terse_val name(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)

static bool yes(terse_val v)
{
    return terse_given(v) && terse_truth(v);
}
static bool given(terse_val v)
{
    return terse_given(v) && v.kind != TERSE_VAL_NONE;
}

static bool all_digits(terse_str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n > 0 && n == s.n;
}

/* v.a.b.0 for "a.b.0"; the part of the path before a comma. otherwise: in place of what is undefined. */
static terse_val follow(terse_jinja *j, terse_val v, terse_val path, terse_val otherwise)
{
    if (path.kind == TERSE_VAL_INT)
        v = terse_val_item(j, v, path);
    else if (path.kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "an attribute must be a string or an integer");
    terse_str s = path.kind == TERSE_VAL_STR ? terse_str_of(path) : (terse_str){ NULL, 0 };
    while (s.p && terse_jinja_ok(j)) {
        const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
        const terse_str part = { s.p, dot ? (size_t)(dot - s.p) : s.n };
        int64_t i;
        const bool index = all_digits(part) && terse_parse_int(part, 10, &i);
        v = terse_val_item(j, v, index ? terse_int(i) : terse_string(part));
        if (v.kind == TERSE_VAL_UNDEFINED && given(otherwise))
            v = otherwise;
        s = dot ? (terse_str){ dot + 1, s.n - part.n - 1 } : (terse_str){ NULL, 0 };
    }
    return v;
}

/* What a value is compared by: itself or its attribute, in lower case unless case counts. */
static terse_val sort_key(terse_jinja *j, terse_val v, terse_val attribute, bool cased)
{
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    if (given(attribute))
        v = follow(j, v, attribute, none);
    if (v.kind == TERSE_VAL_STR && !cased)
        v = terse_cased(j, terse_str_of(v), TERSE_CASE_LOWER);
    return v;
}

/* The same of each part of "a,b", as a list. */
static terse_val sort_keys(terse_jinja *j, terse_val v, terse_val attribute, bool cased)
{
    if (attribute.kind != TERSE_VAL_STR || !attribute.n || !memchr(attribute.u.p, ',', attribute.n))
        return sort_key(j, v, attribute, cased);
    terse_seq *keys = terse_seq_make(j, TERSE_SEQ_LIST, 0);
    terse_str s = terse_str_of(attribute);
    while (keys && terse_jinja_ok(j)) {
        const char *comma = s.n ? memchr(s.p, ',', s.n) : NULL;
        const terse_str part = { s.p, comma ? (size_t)(comma - s.p) : s.n };
        terse_seq_push(j, keys, sort_key(j, v, terse_string(part), cased));
        if (!comma)
            break;
        s = (terse_str){ comma + 1, s.n - part.n - 1 };
    }
    return terse_seq_val(keys);
}

static terse_seq *copy(terse_jinja *j, terse_val v, terse_seq_kind kind)
{
    const terse_seq *from = terse_iterate(j, v);
    terse_seq *s = from ? terse_seq_make(j, kind, from->n) : NULL;
    if (s && from->n)
        memcpy(s->v, from->v, from->n * sizeof *s->v);
    return s;
}

FILTER(f_list)
{
    (void)arg, (void)all;
    return terse_seq_val(copy(j, self, TERSE_SEQ_LIST));
}

FILTER(f_first)
{
    (void)arg, (void)all;
    if (terse_is_seq(self, TERSE_SEQ_ITER) && self.u.seq->at < self.u.seq->n)
        return self.u.seq->v[self.u.seq->at++]; /* takes no more than that */
    const terse_seq *s = terse_iterate(j, self);
    return s && s->n ? s->v[0] : terse_undefined(j, "No first item, sequence was empty.");
}
FILTER(f_last)
{
    (void)arg, (void)all;
    if (terse_is_seq(self, TERSE_SEQ_ITER))
        return terse_jinja_fail(j, "'generator' object is not reversible");
    const terse_seq *s = terse_iterate(j, self);
    return s && s->n ? s->v[s->n - 1] : terse_undefined(j, "No last item, sequence was empty.");
}

static terse_val reverse_text(terse_jinja *j, terse_str s)
{
    terse_sink out = { 0 };
    for (size_t end = s.n; end > 0 && terse_jinja_ok(j);) {
        const size_t at = terse_char_before(s, end);
        terse_sink_put(j, &out, s.p + at, end - at);
        end = at;
    }
    return terse_sink_val(&out);
}
FILTER(f_reverse)
{
    (void)arg, (void)all;
    if (self.kind == TERSE_VAL_STR)
        return reverse_text(j, terse_str_of(self));
    terse_seq *s =
        copy(j, self,
             terse_is_seq(self, TERSE_SEQ_ITER) || self.kind == TERSE_VAL_UNDEFINED ? TERSE_SEQ_LIST
                                                                                    : TERSE_SEQ_ITER);
    for (uint32_t i = 0; s && i < s->n / 2; i++) {
        const terse_val v = s->v[i];
        s->v[i] = s->v[s->n - 1 - i];
        s->v[s->n - 1 - i] = v;
    }
    return terse_seq_val(s);
}

FILTER(f_join)
{
    (void)all;
    const terse_seq *s = terse_iterate(j, self);
    const terse_str between = terse_given(arg[0]) ? terse_text_of(j, arg[0]) : (terse_str){ "", 0 };
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    terse_sink out = { 0 };
    for (uint32_t i = 0; s && i < s->n && terse_jinja_ok(j); i++) {
        if (i)
            terse_sink_str(j, &out, between);
        terse_print(j, &out, given(arg[1]) ? follow(j, s->v[i], arg[1], none) : s->v[i]);
    }
    return terse_sink_val(&out);
}

FILTER(f_items)
{
    (void)arg, (void)all;
    if (self.kind == TERSE_VAL_UNDEFINED)
        return terse_seq_val(terse_seq_make(j, TERSE_SEQ_ITER, 0));
    if (self.kind != TERSE_VAL_DICT)
        return terse_jinja_fail(j, "can only get item pairs from a mapping, not '%s'", terse_type_name(self));
    const terse_val v = terse_dict_view(j, self.u.dict, TERSE_SEQ_ITEMS);
    if (v.kind == TERSE_VAL_SEQ)
        v.u.seq->kind = TERSE_SEQ_ITER;
    return v;
}

FILTER(f_dictsort)
{
    (void)all;
    const terse_str by = terse_given(arg[1]) ? terse_text_of(j, arg[1]) : terse_lit("key");
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    if (self.kind != TERSE_VAL_DICT)
        return terse_jinja_fail(j, "of '%s'", terse_type_name(self));
    if (!terse_str_is(by, "key") && !terse_str_is(by, "value"))
        return terse_jinja_fail(j, "can sort by \"key\" or \"value\" only");
    const terse_val view = terse_dict_view(j, self.u.dict, TERSE_SEQ_ITEMS);
    terse_seq *s = copy(j, view, TERSE_SEQ_LIST);
    terse_val *keys = s ? terse_jinja_get(j, s->n, sizeof *keys) : NULL;
    for (uint32_t i = 0; keys && i < s->n && terse_jinja_ok(j); i++)
        keys[i] = sort_key(j, s->v[i].u.seq->v[by.p[0] == 'v'], none, yes(arg[0]));
    if (keys && terse_jinja_ok(j))
        terse_val_sort(j, s->v, keys, s->n, yes(arg[2]));
    return terse_seq_val(s);
}

FILTER(f_sort)
{
    (void)all;
    terse_seq *s = copy(j, self, TERSE_SEQ_LIST);
    terse_val *keys = s ? terse_jinja_get(j, s->n, sizeof *keys) : NULL;
    for (uint32_t i = 0; keys && i < s->n && terse_jinja_ok(j); i++)
        keys[i] = sort_keys(j, s->v[i], arg[2], yes(arg[1]));
    if (keys && terse_jinja_ok(j))
        terse_val_sort(j, s->v, keys, s->n, yes(arg[0]));
    return terse_seq_val(s);
}

FILTER(f_unique)
{
    (void)all;
    const terse_seq *s = terse_iterate(j, self);
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_ITER, 0);
    terse_dict *seen = terse_dict_make(j, 0);
    for (uint32_t i = 0; s && out && seen && i < s->n && terse_jinja_ok(j); i++) {
        const terse_val key = sort_key(j, s->v[i], arg[1], yes(arg[0]));
        if (terse_hashable(j, key) && !terse_dict_find(j, seen, key)) {
            terse_dict_set(j, seen, key, terse_none());
            terse_seq_push(j, out, s->v[i]);
        }
    }
    return terse_seq_val(out);
}

static terse_val extreme(terse_jinja *j, terse_val self, const terse_val *arg, bool greatest)
{
    const terse_seq *s = terse_iterate(j, self);
    terse_val best = { .kind = TERSE_VAL_UNDEFINED }, best_key = best;
    if (s && s->n == 0)
        return terse_undefined(j, "No aggregated item, sequence was empty.");
    for (uint32_t i = 0; s && i < s->n && terse_jinja_ok(j); i++) {
        const terse_val key = sort_key(j, s->v[i], arg[1], yes(arg[0]));
        if (i == 0 || terse_val_compare(j, greatest ? TERSE_OP_GT : TERSE_OP_LT, key, best_key)) {
            best = s->v[i];
            best_key = key;
        }
    }
    return best;
}
FILTER(f_min)
{
    (void)all;
    return extreme(j, self, arg, false);
}
FILTER(f_max)
{
    (void)all;
    return extreme(j, self, arg, true);
}

FILTER(f_sum)
{
    (void)all;
    const terse_seq *s = terse_iterate(j, self);
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    terse_val sum = terse_given(arg[1]) ? arg[1] : terse_int(0);
    if (sum.kind == TERSE_VAL_STR)
        return terse_jinja_fail(j, "of strings; join does that");
    for (uint32_t i = 0; s && i < s->n && terse_jinja_ok(j); i++)
        sum =
            terse_val_binary(j, TERSE_OP_ADD, sum, given(arg[0]) ? follow(j, s->v[i], arg[0], none) : s->v[i]);
    return sum;
}

/* Lists of n elements each, the last filled up. */
FILTER(f_batch)
{
    (void)all;
    const terse_seq *s = terse_iterate(j, self);
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_ITER, 0);
    if (arg[0].kind != TERSE_VAL_INT || arg[0].u.i < 1)
        return terse_jinja_fail(j, "needs a whole number of at least 1");
    const uint32_t n = arg[0].u.i < UINT32_MAX / 2 ? (uint32_t)arg[0].u.i : UINT32_MAX / 2;
    for (uint32_t at = 0; s && out && at < s->n && terse_jinja_ok(j); at += n) {
        const uint32_t have = s->n - at < n ? s->n - at : n;
        terse_seq *part = terse_seq_make(j, TERSE_SEQ_LIST, given(arg[1]) ? n : have);
        for (uint32_t i = 0; part && i < part->n; i++)
            part->v[i] = i < have ? s->v[at + i] : arg[1];
        terse_seq_push(j, out, terse_seq_val(part));
    }
    return terse_seq_val(out);
}

/* n lists that are as equally long as can be. */
FILTER(f_slice)
{
    (void)all;
    const terse_seq *s = terse_iterate(j, self);
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_ITER, 0);
    if (arg[0].kind != TERSE_VAL_INT || arg[0].u.i < 1 || arg[0].u.i > 100000)
        return terse_jinja_fail(j, "needs a whole number from 1 to 100000");
    const uint32_t n = (uint32_t)arg[0].u.i;
    for (uint32_t k = 0, at = 0; s && out && k < n && terse_jinja_ok(j); k++) {
        const uint32_t have = s->n / n + (k < s->n % n), fill = given(arg[1]) && k >= s->n % n;
        terse_seq *part = terse_seq_make(j, TERSE_SEQ_LIST, (size_t)have + fill);
        for (uint32_t i = 0; part && i < part->n; i++)
            part->v[i] = i < have ? s->v[at + i] : arg[1];
        terse_seq_push(j, out, terse_seq_val(part));
        at += have;
    }
    return terse_seq_val(out);
}

FILTER(f_groupby)
{
    (void)all;
    terse_seq *s = copy(j, self, TERSE_SEQ_LIST), *out = terse_seq_make(j, TERSE_SEQ_LIST, 0), *members = NULL;
    terse_val *keys = s ? terse_jinja_get(j, s->n, sizeof *keys) : NULL;
    const bool cased = yes(arg[2]);
    for (uint32_t i = 0; keys && i < s->n && terse_jinja_ok(j); i++) {
        keys[i] = follow(j, s->v[i], arg[0], arg[1]);
        if (keys[i].kind == TERSE_VAL_STR && !cased)
            keys[i] = terse_cased(j, terse_str_of(keys[i]), TERSE_CASE_LOWER);
    }
    if (keys && terse_jinja_ok(j))
        terse_val_sort(j, s->v, keys, s->n, false);
    for (uint32_t i = 0; keys && out && i < s->n && terse_jinja_ok(j); i++) {
        if (i == 0 || !terse_val_equal(j, keys[i], keys[i - 1])) {
            terse_seq *group = terse_seq_make(j, TERSE_SEQ_TUPLE, 2);
            members = terse_seq_make(j, TERSE_SEQ_LIST, 0);
            if (!group || !members)
                break;
            group->v[0] = follow(j, s->v[i], arg[0], arg[1]); /* as the first one writes it */
            group->v[1] = terse_seq_val(members);
            terse_seq_push(j, out, terse_seq_val(group));
        }
        terse_seq_push(j, members, s->v[i]);
    }
    return terse_seq_val(out);
}

/* The arguments from the n-th on. */
static terse_args rest_of(const terse_args *all, uint32_t n)
{
    terse_args a = *all;
    a.n = all->n > n ? all->n - n : 0;
    a.v = all->n > n ? all->v + n : NULL;
    return a;
}

static terse_val named(const terse_args *all, const char *name)
{
    for (uint32_t i = 0; i < all->n_named; i++)
        if (terse_str_is(all->names[i], name))
            return all->named[i];
    return (terse_val){ .kind = TERSE_VAL_MISSING };
}

/* map("filter", ...) or map(attribute="a", default=...) */
FILTER(f_map)
{
    (void)arg;
    const terse_val attribute = named(all, "attribute"), otherwise = named(all, "default");
    if (!terse_truth(self)) /* none and false give nothing, too */
        return terse_seq_val(terse_seq_make(j, TERSE_SEQ_ITER, 0));
    const terse_seq *s = terse_iterate(j, self);
    terse_seq *out = s ? terse_seq_make(j, TERSE_SEQ_ITER, s->n) : NULL;
    const bool by_attribute = all->n == 0 && terse_given(attribute);
    const terse_args rest = rest_of(all, 1);
    if (by_attribute && all->n_named > 1u + terse_given(otherwise))
        return terse_jinja_fail(j, "an unexpected keyword argument");
    if (!by_attribute && (all->n == 0 || all->v[0].kind != TERSE_VAL_STR))
        return terse_jinja_fail(j, "needs the name of a filter, or attribute=");
    for (uint32_t i = 0; out && i < s->n && terse_jinja_ok(j); i++)
        out->v[i] = by_attribute ? follow(j, s->v[i], attribute, otherwise)
                                 : terse_jinja_filter(j, terse_str_of(all->v[0]), s->v[i], &rest);
    return terse_seq_val(out);
}

/* select and its kin: keep what passes a test, or what is true. */
static terse_val choose(terse_jinja *j, terse_val self, const terse_args *all, bool attribute, bool wanted)
{
    if (!terse_truth(self))
        return terse_seq_val(terse_seq_make(j, TERSE_SEQ_ITER, 0));
    const terse_seq *s = terse_iterate(j, self);
    terse_seq *out = s ? terse_seq_make(j, TERSE_SEQ_ITER, 0) : NULL;
    const uint32_t at = attribute;
    const terse_args rest = rest_of(all, at + 1);
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    if (all->n < at)
        return terse_jinja_fail(j, "the name of an attribute is missing");
    if (all->n > at && all->v[at].kind != TERSE_VAL_STR)
        return terse_jinja_fail(j, "the name of a test must be a string");
    for (uint32_t i = 0; out && i < s->n && terse_jinja_ok(j); i++) {
        const terse_val v = attribute ? follow(j, s->v[i], all->v[0], none) : s->v[i];
        const bool passes =
            all->n > at ? terse_jinja_test(j, terse_str_of(all->v[at]), v, &rest) : terse_truth(v);
        if (passes == wanted)
            terse_seq_push(j, out, s->v[i]);
    }
    return terse_seq_val(out);
}
FILTER(f_select)
{
    (void)arg;
    return choose(j, self, all, false, true);
}
FILTER(f_reject)
{
    (void)arg;
    return choose(j, self, all, false, false);
}
FILTER(f_selectattr)
{
    (void)arg;
    return choose(j, self, all, true, true);
}
FILTER(f_rejectattr)
{
    (void)arg;
    return choose(j, self, all, true, false);
}

const terse_jinja_row terse_jinja_filters_seq[] = {
    { "batch", "linecount ? fill_with", f_batch },
    { "dictsort", "? case_sensitive by reverse", f_dictsort },
    { "first", "", f_first },
    { "groupby", "attribute ? default case_sensitive", f_groupby },
    { "items", "", f_items },
    { "join", "? d attribute", f_join },
    { "last", "", f_last },
    { "list", "", f_list },
    { "map", "*", f_map },
    { "max", "? case_sensitive attribute", f_max },
    { "min", "? case_sensitive attribute", f_min },
    { "reject", "*", f_reject },
    { "rejectattr", "*", f_rejectattr },
    { "reverse", "", f_reverse },
    { "select", "*", f_select },
    { "selectattr", "*", f_selectattr },
    { "slice", "slices ? fill_with", f_slice },
    { "sort", "? reverse case_sensitive attribute", f_sort },
    { "sum", "? attribute start", f_sum },
    { "unique", "? case_sensitive attribute", f_unique },
    { NULL, NULL, NULL },
};
