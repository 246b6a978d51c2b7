/* text/jinja_run.c: statements, scopes and loops. */
#include "text/jinja.h"

static bool on(const terse_jinja *j)
{
    return j->st == TERSE_OK;
}

terse_frame *terse_frame_push(terse_jinja *j, terse_frame *up)
{
    terse_frame *f = terse_jinja_get(j, 1, sizeof *f);
    if (f)
        f->up = up;
    return f;
}

terse_val *terse_frame_find(terse_frame *f, const char *name)
{
    for (; f; f = f->up)
        for (terse_binding *b = f->first; b; b = b->next)
            if (b->name == name)
                return &b->value;
    return NULL;
}

void terse_frame_set(terse_jinja *j, terse_frame *f, const char *name, terse_val value)
{
    terse_binding *b = f ? f->first : NULL;
    while (b && b->name != name)
        b = b->next;
    if (!b && f && (b = terse_jinja_get(j, 1, sizeof *b))) {
        b->name = name;
        b->next = f->first;
        f->first = b;
    }
    if (b)
        b->value = value;
}

static void assign(terse_jinja *j, terse_frame *f, const terse_node *target, terse_val value)
{
    if (!on(j))
        return;
    j->at = target->at;
    if (target->kind == TERSE_NODE_NAME) {
        terse_frame_set(j, f, target->name, value);
    } else if (target->kind == TERSE_NODE_ATTR) {
        const terse_val space = terse_jinja_eval(j, target->a);
        j->at = target->at;
        if (on(j) && space.kind != TERSE_VAL_SPACE)
            terse_jinja_fail(j, "attributes can be assigned to on namespace objects only, not on '%s'",
                             terse_type_name(space));
        else if (on(j))
            terse_dict_set(j, space.u.dict, target->value, value);
    } else {
        const terse_seq *s = terse_iterate(j, value);
        if (s && s->n != target->n)
            terse_jinja_fail(j, "%u values for %u names", s->n, target->n);
        const terse_node *t = target->list;
        for (uint32_t i = 0; s && i < s->n && on(j); i++, t = t->next)
            assign(j, f, t, s->v[i]);
    }
}

/* The next value that the loop's condition lets through. */
static bool fetch(terse_jinja *j, terse_loop *l, terse_val *v)
{
    while (on(j) && l->at < l->seq->n) {
        *v = l->seq->v[l->at++];
        if (!l->node->c || l->filtered)
            return true;
        terse_frame *outer = j->frame, *f = terse_frame_push(j, l->up);
        assign(j, f, l->node->a, *v);
        j->frame = f;
        const bool passes = on(j) && terse_truth(terse_jinja_eval(j, l->node->c));
        j->frame = outer;
        if (passes && on(j))
            return true;
    }
    return false;
}

static bool peek(terse_jinja *j, terse_loop *l)
{
    if (!l->has_after)
        l->has_after = fetch(j, l, &l->after);
    return l->has_after;
}

bool terse_loop_next(terse_jinja *j, terse_loop *l)
{
    if (!peek(j, l))
        return false;
    l->has_before = l->index >= 0;
    l->before = l->now;
    l->now = l->after;
    l->has_after = false;
    l->index++;
    return on(j);
}

static int64_t loop_length(terse_jinja *j, terse_loop *l)
{
    if (l->length >= 0)
        return l->length;
    terse_val v;
    terse_seq *rest = terse_seq_make(j, TERSE_SEQ_LIST, 0);
    while (rest && fetch(j, l, &v))
        terse_seq_push(j, rest, v);
    if (!rest || !on(j))
        return 0;
    l->seq = rest;
    l->at = 0;
    l->filtered = true;
    l->length = l->index + 1 + l->has_after + rest->n;
    return l->length;
}

terse_val terse_loop_attr(terse_jinja *j, terse_loop *l, terse_str name, terse_val otherwise)
{
    if (terse_str_is(name, "index"))
        return terse_int(l->index + 1);
    if (terse_str_is(name, "index0"))
        return terse_int(l->index);
    if (terse_str_is(name, "first"))
        return terse_bool(l->index == 0);
    if (terse_str_is(name, "last"))
        return terse_bool(!peek(j, l));
    if (terse_str_is(name, "length"))
        return terse_int(loop_length(j, l));
    if (terse_str_is(name, "revindex"))
        return terse_int(loop_length(j, l) - l->index);
    if (terse_str_is(name, "revindex0"))
        return terse_int(loop_length(j, l) - l->index - 1);
    if (terse_str_is(name, "previtem"))
        return l->has_before ? l->before : terse_undefined(j, "there is no previous item");
    if (terse_str_is(name, "nextitem"))
        return peek(j, l) ? l->after : terse_undefined(j, "there is no next item");
    if (terse_str_is(name, "depth") || terse_str_is(name, "depth0"))
        return terse_int(name.n == 5);
    return otherwise;
}

static terse_val loop_cycle(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)
{
    (void)arg;
    if (all->n == 0)
        return terse_jinja_fail(j, "no items to cycle through");
    return all->v[self.u.loop->index % all->n];
}

static terse_val loop_changed(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)
{
    (void)arg;
    terse_seq *now = terse_seq_make(j, TERSE_SEQ_TUPLE, all->n);
    if (!now)
        return terse_none();
    if (all->n)
        memcpy(now->v, all->v, all->n * sizeof *now->v);
    const terse_val v = terse_seq_val(now);
    const bool changed = !terse_val_equal(j, self.u.loop->changed, v);
    self.u.loop->changed = v;
    return terse_bool(changed);
}

const terse_jinja_row terse_jinja_loop_methods[] = {
    { "cycle", "*", loop_cycle },
    { "changed", "*", loop_changed },
    { NULL, NULL, NULL },
};

static void run_in(terse_jinja *j, terse_frame *f, const terse_node *list)
{
    terse_frame *outer = j->frame;
    if (!f)
        return;
    j->frame = f;
    terse_jinja_run(j, list);
    j->frame = outer;
}

static void run_for(terse_jinja *j, const terse_node *node)
{
    terse_loop *l = terse_jinja_get(j, 1, sizeof *l);
    const terse_val over = terse_jinja_eval(j, node->b);
    j->at = node->b->at;
    terse_seq *s = terse_iterate(j, over);
    if (!l || !s)
        return;
    *l = (terse_loop){
        .node = node, .up = j->frame, .seq = s, .index = -1, .length = node->c ? -1 : (int64_t)s->n
    };
    while (j->flow == TERSE_FLOW_ON && terse_jinja_work(j, 0) && terse_loop_next(j, l)) {
        terse_frame *f = terse_frame_push(j, j->frame);
        if (!f)
            return;
        terse_frame_set(j, f, j->t->loop, (terse_val){ .kind = TERSE_VAL_LOOP, .u.loop = l });
        assign(j, f, node->a, l->now);
        run_in(j, f, node->body);
        if (j->flow == TERSE_FLOW_CONTINUE)
            j->flow = TERSE_FLOW_ON;
    }
    j->flow = TERSE_FLOW_ON;
    if (l->index < 0 && node->other)
        run_in(j, terse_frame_push(j, j->frame), node->other);
}

static void run_if(terse_jinja *j, const terse_node *node)
{
    for (const terse_node *branch = node->list; branch; branch = branch->next) {
        const bool is = terse_truth(terse_jinja_eval(j, branch->a));
        if (!on(j))
            return;
        if (is) {
            terse_jinja_run(j, branch->body);
            return;
        }
    }
    terse_jinja_run(j, node->other);
}

terse_val terse_jinja_capture(terse_jinja *j, const terse_node *list)
{
    terse_sink s = { 0 }, *outer = j->out;
    j->out = &s;
    run_in(j, terse_frame_push(j, j->frame), list);
    j->out = outer;
    return terse_sink_val(&s);
}

/* The chain of filters begins with what block holds. */
static terse_val filter_chain(terse_jinja *j, const terse_node *filter, terse_val block)
{
    terse_args a;
    if (!filter || !terse_jinja_enter(j))
        return block;
    const terse_val self = filter_chain(j, filter->a, block);
    terse_val v = terse_none();
    if (terse_jinja_args(j, filter->list, NULL, &a)) {
        j->at = filter->at;
        v = terse_jinja_filter(j, terse_str_of(filter->value), self, &a);
    }
    j->depth--;
    return v;
}

static void run_macro(terse_jinja *j, const terse_node *node)
{
    terse_macro *m = terse_jinja_get(j, 1, sizeof *m);
    if (!m)
        return;
    *m = (terse_macro){ node, j->frame };
    terse_frame_set(j, j->frame, node->name, (terse_val){ .kind = TERSE_VAL_MACRO, .u.macro = m });
}

/* {% call(params) name(args) %}body{% endcall %}: the body is a macro named caller. */
static void run_call(terse_jinja *j, const terse_node *node)
{
    terse_macro *m = terse_jinja_get(j, 1, sizeof *m);
    terse_args a;
    if (!m)
        return;
    *m = (terse_macro){ node, j->frame };
    const terse_val what = terse_jinja_eval(j, node->b->a);
    if (!terse_jinja_args(j, node->b->list, NULL, &a))
        return;
    terse_str *names = terse_jinja_get(j, (size_t)a.n_named + 1, sizeof *names);
    terse_val *named = terse_jinja_get(j, (size_t)a.n_named + 1, sizeof *named);
    if (!names || !named)
        return;
    for (uint32_t i = 0; i < a.n_named; i++) {
        names[i] = a.names[i];
        named[i] = a.named[i];
    }
    names[a.n_named] = terse_lit("caller");
    named[a.n_named++] = (terse_val){ .kind = TERSE_VAL_MACRO, .u.macro = m };
    a.names = names;
    a.named = named;
    j->at = node->b->at;
    terse_print(j, j->out, terse_jinja_call(j, what, &a));
}

static void run_with(terse_jinja *j, const terse_node *node)
{
    terse_frame *f = terse_frame_push(j, j->frame);
    for (const terse_node *set = node->list; set && on(j); set = set->next)
        assign(j, f, set->a, terse_jinja_eval(j, set->b));
    run_in(j, f, node->body);
}

static void run_print(terse_jinja *j, const terse_node *node)
{
    const terse_val v = terse_jinja_eval(j, node->a);
    j->at = node->a->at;
    if (on(j))
        terse_print(j, j->out, v);
}

static void run_one(terse_jinja *j, const terse_node *node)
{
    switch (node->kind) {
    case TERSE_NODE_DATA:
        terse_sink_str(j, j->out, terse_str_of(node->value));
        break;
    case TERSE_NODE_PRINT:
        run_print(j, node);
        break;
    case TERSE_NODE_IF:
        run_if(j, node);
        break;
    case TERSE_NODE_FOR:
        run_for(j, node);
        break;
    case TERSE_NODE_SET:
        assign(j, j->frame, node->a, terse_jinja_eval(j, node->b));
        break;
    case TERSE_NODE_CAPTURE:
        assign(j, j->frame, node->a, filter_chain(j, node->b, terse_jinja_capture(j, node->body)));
        break;
    case TERSE_NODE_MACRO:
        run_macro(j, node);
        break;
    case TERSE_NODE_CALLS:
        run_call(j, node);
        break;
    case TERSE_NODE_FILTERS:
        terse_print(j, j->out, filter_chain(j, node->a, terse_jinja_capture(j, node->body)));
        break;
    case TERSE_NODE_WITH:
        run_with(j, node);
        break;
    case TERSE_NODE_SCOPE:
        run_in(j, terse_frame_push(j, j->frame), node->body);
        break;
    default:
        j->flow = node->kind == TERSE_NODE_BREAK ? TERSE_FLOW_BREAK : TERSE_FLOW_CONTINUE;
    }
}

void terse_jinja_run(terse_jinja *j, const terse_node *list)
{
    if (terse_jinja_enter(j)) {
        for (const terse_node *node = list; node && on(j) && j->flow == TERSE_FLOW_ON; node = node->next) {
            j->at = node->at;
            if (terse_jinja_work(j, 0))
                run_one(j, node);
        }
    }
    j->depth--;
}
