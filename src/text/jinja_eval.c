/* text/jinja_eval.c: expressions, calls and the binding of arguments. */
#include "text/jinja.h"

#include <stdio.h>

static bool on(const terse_jinja *j)
{
    return j->st == TERSE_OK;
}

const terse_jinja_row *terse_jinja_find(const terse_jinja_row *table, terse_str name)
{
    for (; table->name; table++)
        if (terse_str_is(name, table->name))
            return table;
    return NULL;
}

const terse_jinja_row *terse_jinja_find_filter(terse_str name)
{
    const terse_jinja_row *row = terse_jinja_find(terse_jinja_filters, name);
    return row ? row : terse_jinja_find(terse_jinja_filters_seq, name);
}

/* Takes the argument of that name off *a, whose arrays are the caller's; MISSING if there is none. */
static terse_val take_named(terse_str *names, terse_val *named, uint32_t *n, terse_str name)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (names[i].n == name.n && memcmp(names[i].p, name.p, name.n) == 0) {
            const terse_val v = named[i];
            --*n;
            memmove(names + i, names + i + 1, (*n - i) * sizeof *names);
            memmove(named + i, named + i + 1, (*n - i) * sizeof *named);
            return v;
        }
    }
    return (terse_val){ .kind = TERSE_VAL_MISSING };
}

/* Sorts the arguments into arg[] by the row's params. */
static bool bind(terse_jinja *j, const terse_jinja_row *row, const terse_args *a, terse_val *arg)
{
    const char *p = row->params;
    uint32_t n = 0, n_named = 0;
    bool optional = false, by_name = true;
    for (int32_t i = 0; i < TERSE_MAX_PARAMS; i++)
        arg[i].kind = TERSE_VAL_MISSING;
    if (*p == '*')
        return true;
    while (*p) {
        const size_t len = strcspn(p, " ");
        if (len == 1 && (*p == '/' || *p == '?')) {
            by_name &= *p != '/';
            optional |= *p == '?';
        } else {
            if (n < a->n)
                arg[n] = a->v[n];
            for (uint32_t i = 0; i < a->n_named && by_name; i++) {
                if (a->names[i].n != len || memcmp(a->names[i].p, p, len) != 0)
                    continue;
                if (terse_given(arg[n]))
                    return terse_jinja_fail(j, "two values for the argument '%.*s'", (int)len, p), false;
                arg[n] = a->named[i];
                n_named++;
            }
            if (!terse_given(arg[n]) && !optional)
                return terse_jinja_fail(j, "the argument '%.*s' is missing", (int)len, p), false;
            n++;
        }
        p += len + (p[len] == ' ');
    }
    if (a->n > n)
        return terse_jinja_fail(j, "takes %u arguments, %u were given", n, a->n), false;
    if (a->n_named > n_named)
        return terse_jinja_fail(j, "an unexpected keyword argument"), false;
    return true;
}

terse_val terse_jinja_call_row(terse_jinja *j, const terse_jinja_row *row, terse_val self, const terse_args *a)
{
    terse_val arg[TERSE_MAX_PARAMS], v = terse_none();
    const char *before = j->doing;
    const uint32_t at = j->at;
    if (!terse_jinja_enter(j)) {
        j->depth--;
        return v;
    }
    j->doing = row->name;
    if (!row->run)
        v = terse_jinja_refuse(j, "not built in");
    else if (bind(j, row, a, arg))
        v = row->run(j, self, arg, a);
    j->doing = before;
    j->at = at;
    j->depth--;
    return v;
}

terse_val terse_jinja_filter(terse_jinja *j, terse_str name, terse_val self, const terse_args *a)
{
    const terse_jinja_row *row = terse_jinja_find_filter(name);
    if (!row)
        return terse_jinja_refuse(j, "there is no filter named '%.*s'", (int)(name.n < 60 ? name.n : 60),
                                  name.p);
    return terse_jinja_call_row(j, row, self, a);
}

bool terse_jinja_test(terse_jinja *j, terse_str name, terse_val self, const terse_args *a)
{
    const terse_jinja_row *row = terse_jinja_find(terse_jinja_tests, name);
    if (!row)
        return terse_jinja_refuse(j, "there is no test named '%.*s'", (int)(name.n < 60 ? name.n : 60), name.p),
               false;
    return terse_truth(terse_jinja_call_row(j, row, self, a));
}

typedef struct {
    terse_str *names;
    terse_val *named;
    uint32_t n;
} keywords;

static bool add_keyword(terse_jinja *j, keywords *k, terse_str name, terse_val value)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (k->names[i].n == name.n && memcmp(k->names[i].p, name.p, name.n) == 0)
            return terse_jinja_fail(j, "two values for the argument '%.*s'", (int)name.n, name.p), false;
    if ((k->n & (k->n - 1)) == 0) { /* as in terse_seq_push */
        terse_str *names = terse_jinja_get(j, k->n ? (size_t)k->n * 2 : 1, sizeof *names);
        terse_val *named = terse_jinja_get(j, k->n ? (size_t)k->n * 2 : 1, sizeof *named);
        if (!names || !named)
            return false;
        if (k->n) {
            memcpy(names, k->names, k->n * sizeof *names);
            memcpy(named, k->named, k->n * sizeof *named);
        }
        k->names = names;
        k->named = named;
    }
    k->names[k->n] = name;
    k->named[k->n++] = value;
    return on(j);
}

static bool add_keywords(terse_jinja *j, keywords *k, terse_val v)
{
    if (v.kind != TERSE_VAL_DICT)
        return terse_jinja_fail(j, "what follows ** must be a mapping, not '%s'", terse_type_name(v)), false;
    for (uint32_t i = 0; i < v.u.dict->n; i++) {
        if (v.u.dict->keys[i].kind != TERSE_VAL_STR)
            return terse_jinja_fail(j, "keywords must be strings"), false;
        if (!add_keyword(j, k, terse_str_of(v.u.dict->keys[i]), v.u.dict->values[i]))
            return false;
    }
    return true;
}

bool terse_jinja_args(terse_jinja *j, const terse_node *list, const terse_val *first, terse_args *a)
{
    terse_seq positional = { 0 };
    keywords k = { 0 };
    if (first)
        terse_seq_push(j, &positional, *first);
    for (const terse_node *node = list; node && on(j); node = node->next) {
        const bool special =
            node->kind == TERSE_NODE_NAMED || node->kind == TERSE_NODE_STAR || node->kind == TERSE_NODE_STARS;
        const terse_val v = terse_jinja_eval(j, special ? node->a : node);
        j->at = node->at;
        if (!on(j))
            break;
        if (node->kind == TERSE_NODE_NAMED) {
            add_keyword(j, &k, terse_str_of(node->value), v);
        } else if (node->kind == TERSE_NODE_STARS) {
            add_keywords(j, &k, v);
        } else if (node->kind == TERSE_NODE_STAR) {
            const terse_seq *s = terse_iterate(j, v);
            for (uint32_t i = 0; s && i < s->n && on(j); i++)
                terse_seq_push(j, &positional, s->v[i]);
        } else {
            terse_seq_push(j, &positional, v);
        }
    }
    *a = (terse_args){ positional.v, positional.n, k.names, k.named, k.n };
    return on(j);
}

/* What is left of the named arguments is kwargs' or an error. */
static void bind_rest(terse_jinja *j, const terse_macro *m, terse_frame *f, const terse_args *a, keywords *k)
{
    const terse_node *node = m->node;
    const bool is_caller = node->kind == TERSE_NODE_CALLS;
    if (node->uses & TERSE_USES_KWARGS) {
        terse_dict *d = terse_dict_make(j, 0);
        for (uint32_t i = 0; d && i < k->n && on(j); i++)
            terse_dict_set(j, d, terse_string(k->names[i]), k->named[i]);
        terse_frame_set(j, f, j->t->kwargs, (terse_val){ .kind = TERSE_VAL_DICT, .u.dict = d });
    } else if (k->n > 0) {
        terse_jinja_fail(j, "macro '%s' takes no argument '%.*s'", node->name, (int)k->names[0].n,
                         k->names[0].p);
    }
    if (node->uses & TERSE_USES_VARARGS) {
        const uint32_t rest = a->n > node->n ? a->n - node->n : 0;
        terse_seq *s = terse_seq_make(j, TERSE_SEQ_TUPLE, rest);
        for (uint32_t i = 0; s && i < rest; i++)
            s->v[i] = a->v[node->n + i];
        terse_frame_set(j, f, j->t->varargs, terse_seq_val(s));
    } else if (a->n > node->n) {
        terse_jinja_fail(j, "%s '%s' takes %u arguments, %u were given", is_caller ? "the block of" : "macro",
                         node->name, node->n, a->n);
    }
}

static void bind_params(terse_jinja *j, const terse_macro *m, terse_frame *f, const terse_args *a, keywords *k)
{
    const terse_node *node = m->node, *param = node->list;
    bool has_caller = false;
    for (uint32_t i = 0; param && on(j); i++, param = param->next) {
        terse_val v = i < a->n ? a->v[i] : take_named(k->names, k->named, &k->n, terse_lit(param->name));
        has_caller |= param->name == j->t->caller;
        if (!terse_given(v))
            v = param->a ? terse_jinja_eval(j, param->a)
                         : terse_undefined(j, "parameter '%s' was not provided", param->name);
        terse_frame_set(j, f, param->name, v);
    }
    if ((node->uses & TERSE_USES_CALLER) && !has_caller) {
        const terse_val v = take_named(k->names, k->named, &k->n, terse_lit("caller"));
        terse_frame_set(j, f, j->t->caller, terse_given(v) ? v : terse_undefined(j, "there is no caller"));
    }
}

terse_val terse_jinja_macro(terse_jinja *j, const terse_macro *m, const terse_args *a)
{
    terse_frame *outer = j->frame, *f = terse_frame_push(j, m->up);
    const uint32_t at = j->at;
    keywords k = { .n = a->n_named };
    terse_val v = terse_string((terse_str){ "", 0 });
    if (a->n_named) {
        k.names = terse_jinja_get(j, a->n_named, sizeof *k.names);
        k.named = terse_jinja_get(j, a->n_named, sizeof *k.named);
        if (!k.names || !k.named)
            return v;
        memcpy(k.names, a->names, a->n_named * sizeof *k.names);
        memcpy(k.named, a->named, a->n_named * sizeof *k.named);
    }
    if (terse_jinja_enter(j) && f) {
        j->frame = f;
        bind_params(j, m, f, a, &k);
        j->at = at;
        bind_rest(j, m, f, a, &k);
        if (on(j))
            v = terse_jinja_capture(j, m->node->body);
        j->frame = outer;
    }
    j->depth--;
    return v;
}

terse_val terse_jinja_call(terse_jinja *j, terse_val what, const terse_args *a)
{
    terse_val v;
    if (!on(j))
        return what;
    switch (what.kind) {
    case TERSE_VAL_CALL:
        v = terse_jinja_call_row(j, what.u.call->row, what.u.call->self, a);
        v.markup |=
            v.kind == TERSE_VAL_STR && what.u.call->self.markup; /* what is cut from safe text is safe */
        return v;
    case TERSE_VAL_MACRO:
        return terse_jinja_macro(j, what.u.macro, a);
    case TERSE_VAL_JOINER:
        if (a->n || a->n_named)
            return terse_jinja_fail(j, "a joiner takes no arguments");
        return what.u.seq->at++ ? what.u.seq->v[0] : terse_string((terse_str){ "", 0 });
    case TERSE_VAL_UNDEFINED:
        return terse_jinja_fail(j, "%s", what.u.p ? what.u.p : "the value is undefined");
    case TERSE_VAL_LOOP:
        return terse_jinja_refuse(j, "recursive loops are not built in");
    default:
        return terse_jinja_fail(j, "'%s' object cannot be called", terse_type_name(what));
    }
}

static terse_val eval_name(terse_jinja *j, const terse_node *node)
{
    const terse_val *v = terse_frame_find(j->frame, node->name);
    if (v)
        return *v;
    const terse_jinja_row *row = terse_jinja_find(terse_jinja_functions, terse_lit(node->name));
    if (!row)
        return terse_undefined(j, "'%s' is undefined", node->name);
    terse_bound *call = terse_jinja_get(j, 1, sizeof *call);
    if (!call)
        return terse_none();
    *call = (terse_bound){ row, terse_none() };
    return (terse_val){ .kind = TERSE_VAL_CALL, .u.call = call };
}

static terse_val eval_list(terse_jinja *j, const terse_node *node)
{
    terse_seq *s = terse_seq_make(j, node->kind == TERSE_NODE_LIST ? TERSE_SEQ_LIST : TERSE_SEQ_TUPLE, node->n);
    const terse_node *e = node->list;
    for (uint32_t i = 0; s && i < node->n && on(j); i++, e = e->next)
        s->v[i] = terse_jinja_eval(j, e);
    return terse_seq_val(s);
}

static terse_val eval_dict(terse_jinja *j, const terse_node *node)
{
    terse_dict *d = terse_dict_make(j, node->n / 2);
    for (const terse_node *e = node->list; d && e && on(j); e = e->next->next) {
        const terse_val key = terse_jinja_eval(j, e), value = terse_jinja_eval(j, e->next);
        j->at = e->at;
        if (on(j))
            terse_dict_set(j, d, key, value);
    }
    return (terse_val){ .kind = TERSE_VAL_DICT, .u.dict = d };
}

static terse_val eval_item(terse_jinja *j, const terse_node *node)
{
    const terse_val a = terse_jinja_eval(j, node->a);
    const terse_node *s = node->b;
    if (s->kind != TERSE_NODE_SLICE) {
        const terse_val key = terse_jinja_eval(j, s);
        j->at = node->at;
        return on(j) ? terse_val_item(j, a, key) : a;
    }
    const terse_val missing = { .kind = TERSE_VAL_MISSING };
    const terse_val start = s->a ? terse_jinja_eval(j, s->a) : missing;
    const terse_val stop = s->b ? terse_jinja_eval(j, s->b) : missing;
    const terse_val step = s->c ? terse_jinja_eval(j, s->c) : missing;
    j->at = node->at;
    return on(j) ? terse_val_slice(j, a, start, stop, step) : a;
}

static terse_val eval_applied(terse_jinja *j, const terse_node *node)
{
    const terse_val a = terse_jinja_eval(j, node->a);
    terse_args args;
    if (!terse_jinja_args(j, node->list, NULL, &args))
        return a;
    j->at = node->at;
    if (node->kind == TERSE_NODE_CALL)
        return terse_jinja_call(j, a, &args);
    if (node->row)
        return terse_jinja_call_row(j, node->row, a, &args);
    return node->kind == TERSE_NODE_FILTER
               ? terse_jinja_filter(j, terse_str_of(node->value), a, &args)
               : terse_bool(terse_jinja_test(j, terse_str_of(node->value), a, &args));
}

static terse_val eval_compare(terse_jinja *j, const terse_node *node)
{
    terse_val a = terse_jinja_eval(j, node->a);
    bool is = true;
    for (const terse_node *o = node->list; o && is && on(j); o = o->next) {
        const terse_val b = terse_jinja_eval(j, o->a);
        j->at = o->at;
        is = on(j) && terse_val_compare(j, (terse_op)o->op, a, b);
        a = b;
    }
    return terse_bool(is);
}

static terse_val eval_concat(terse_jinja *j, const terse_node *node)
{
    terse_sink s = { 0 };
    for (const terse_node *e = node->list; e && on(j); e = e->next) {
        const terse_val v = terse_jinja_eval(j, e);
        j->at = e->at;
        if (on(j))
            terse_print(j, &s, v);
    }
    return terse_sink_val(&s);
}

static terse_val eval_cond(terse_jinja *j, const terse_node *node)
{
    const bool is = terse_truth(terse_jinja_eval(j, node->b));
    if (!on(j))
        return terse_none();
    if (is)
        return terse_jinja_eval(j, node->a);
    return node->c ? terse_jinja_eval(j, node->c)
                   : terse_undefined(j, "the condition is false, and there is no else");
}

static terse_val eval_binary(terse_jinja *j, const terse_node *node)
{
    const terse_val a = terse_jinja_eval(j, node->a);
    if (!on(j) || (node->kind == TERSE_NODE_AND && !terse_truth(a)) ||
        (node->kind == TERSE_NODE_OR && terse_truth(a)))
        return a;
    const terse_val b = terse_jinja_eval(j, node->b);
    j->at = node->at;
    return on(j) && node->kind == TERSE_NODE_BINARY ? terse_val_binary(j, (terse_op)node->op, a, b) : b;
}

static terse_val eval_unary(terse_jinja *j, const terse_node *node)
{
    const terse_val a = terse_jinja_eval(j, node->a);
    j->at = node->at;
    if (!on(j))
        return a;
    if (node->kind == TERSE_NODE_NOT)
        return terse_bool(!terse_truth(a));
    return node->kind == TERSE_NODE_ATTR ? terse_val_attr(j, a, node->value)
                                         : terse_val_negate(j, a, node->kind == TERSE_NODE_NEG);
}

static terse_val eval(terse_jinja *j, const terse_node *node)
{
    switch (node->kind) {
    case TERSE_NODE_CONST:
        return node->value;
    case TERSE_NODE_NAME:
        return eval_name(j, node);
    case TERSE_NODE_LIST:
    case TERSE_NODE_TUPLE:
        return eval_list(j, node);
    case TERSE_NODE_DICT:
        return eval_dict(j, node);
    case TERSE_NODE_ITEM:
        return eval_item(j, node);
    case TERSE_NODE_CALL:
    case TERSE_NODE_FILTER:
    case TERSE_NODE_TEST:
        return eval_applied(j, node);
    case TERSE_NODE_AND:
    case TERSE_NODE_OR:
    case TERSE_NODE_BINARY:
        return eval_binary(j, node);
    case TERSE_NODE_COMPARE:
        return eval_compare(j, node);
    case TERSE_NODE_COND:
        return eval_cond(j, node);
    case TERSE_NODE_CONCAT:
        return eval_concat(j, node);
    case TERSE_NODE_SLICE:
        return terse_jinja_refuse(j, "several slices in one subscript are not built in");
    default:
        return eval_unary(j, node);
    }
}

terse_val terse_jinja_eval(terse_jinja *j, const terse_node *node)
{
    terse_val v = { .kind = TERSE_VAL_UNDEFINED };
    j->at = node->at;
    if (terse_jinja_enter(j) && terse_jinja_work(j, 0))
        v = eval(j, node);
    j->depth--;
    return v;
}
