/* text/template.c: terse/template.h on top of the engine in jinja.h. */
#include "text/jinja.h"

#include <stdlib.h>
#include <utf8proc.h>
#include <xxhash.h>

enum { MOST_SOURCE = 4 << 20 };

/* Copies the source with all newlines as \n, less one at its end; refuses what is not UTF-8. */
static terse_status take_source(terse_template *t, terse_str from, terse_error *err)
{
    if (from.n > MOST_SOURCE)
        return terse_fail(err, TERSE_BAD_INPUT, "template: %zu bytes; at most %d can be read", from.n,
                          MOST_SOURCE);
    char *to = terse_arena_get(&t->arena, from.n + 1), place[40];
    size_t n = 0;
    if (!to)
        return terse_fail(err, TERSE_NOMEM, "template: no memory for %zu bytes", from.n);
    for (size_t i = 0; i < from.n;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t len =
            utf8proc_iterate((const utf8proc_uint8_t *)from.p + i, (utf8proc_ssize_t)(from.n - i), &c);
        if (len <= 0) {
            terse_source_place((terse_str){ to, n }, (uint32_t)n, place);
            return terse_fail(err, TERSE_BAD_INPUT, "%s: not UTF-8", place);
        }
        if (c == '\r' && i + 1 < from.n && from.p[i + 1] == '\n')
            i++;
        memcpy(to + n, c == '\r' ? "\n" : from.p + i, (size_t)len);
        n += (size_t)len;
        i += (size_t)len;
    }
    t->source = (terse_str){ to, n - (n > 0 && to[n - 1] == '\n') };
    return TERSE_OK;
}

terse_status terse_template_open(terse_template **out, terse_str source, terse_error *err)
{
    *out = NULL;
    terse_template *t = calloc(1, sizeof *t);
    if (!t)
        return terse_fail(err, TERSE_NOMEM, "template");
    terse_status st = take_source(t, source, err);
    if (st == TERSE_OK) {
        terse_parser p = { .arena = &t->arena, .source = t->source, .err = err };
        t->caller = terse_intern(&p, terse_lit("caller"));
        t->kwargs = terse_intern(&p, terse_lit("kwargs"));
        t->varargs = terse_intern(&p, terse_lit("varargs"));
        t->loop = terse_intern(&p, terse_lit("loop"));
        if (p.st == TERSE_OK && terse_jinja_lex(&p) == TERSE_OK)
            t->root = terse_jinja_parse(&p);
        t->names = p.names;
        t->cap_name = p.cap_name;
        t->missing = p.missing;
        st = p.st;
        free(p.toks);
    }
    if (st != TERSE_OK)
        terse_template_close(&t);
    *out = t;
    return st;
}

terse_str terse_template_missing(const terse_template *t)
{
    return t->missing;
}

void terse_template_close(terse_template **t)
{
    if (!t || !*t)
        return;
    terse_arena_free(&(*t)->arena);
    free((*t)->names);
    free(*t);
    *t = NULL;
}

const char *terse_find_name(const terse_template *t, terse_str s)
{
    size_t at = XXH3_64bits(s.p, s.n) & (t->cap_name - 1);
    for (; t->names[at]; at = (at + 1) & (t->cap_name - 1))
        if (terse_str_is(s, t->names[at]))
            return t->names[at];
    return NULL;
}

/* Variables that the template does not mention need no place. */
static void define(terse_jinja *j, terse_str name, terse_val value)
{
    const char *known = terse_find_name(j->t, name);
    if (known)
        terse_frame_set(j, &j->globals, known, value);
}

static terse_val read_array(terse_jinja *j, terse_str json, const char *what)
{
    if (json.n == 0)
        return terse_none();
    const terse_val v = terse_json_read(j, json, what);
    if (terse_jinja_ok(j) && v.kind != TERSE_VAL_SEQ && v.kind != TERSE_VAL_NONE)
        j->st = terse_fail(j->err, TERSE_BAD_INPUT, "%s: must be a JSON array", what);
    return v;
}

/* messages with the system's text in front of the first user's; MISSING if there is nothing to fold. */
static terse_val fold(terse_jinja *j, terse_val messages)
{
    const terse_val none = { .kind = TERSE_VAL_MISSING };
    const terse_seq *m = messages.u.seq;
    if (m->n < 2 || m->v[0].kind != TERSE_VAL_DICT || m->v[1].kind != TERSE_VAL_DICT)
        return none;
    const terse_val text = terse_dict_get(j, m->v[0].u.dict, "content");
    const terse_val role = terse_dict_get(j, m->v[0].u.dict, "role");
    const terse_val other = terse_dict_get(j, m->v[1].u.dict, "role");
    const terse_val said = terse_dict_get(j, m->v[1].u.dict, "content");
    if (role.kind != TERSE_VAL_STR || !terse_str_is(terse_str_of(role), "system") ||
        other.kind != TERSE_VAL_STR || !terse_str_is(terse_str_of(other), "user") ||
        text.kind != TERSE_VAL_STR || said.kind != TERSE_VAL_STR)
        return none;
    terse_sink s = { 0 };
    terse_sink_str(j, &s, terse_str_of(text));
    terse_sink_text(j, &s, "\n");
    terse_sink_str(j, &s, terse_str_of(said));
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_LIST, m->n - 1);
    terse_dict *first = terse_dict_make(j, m->v[1].u.dict->n);
    for (uint32_t i = 0; first && i < m->v[1].u.dict->n; i++)
        terse_dict_set(j, first, m->v[1].u.dict->keys[i], m->v[1].u.dict->values[i]);
    if (!out || !first)
        return none;
    terse_dict_set(j, first, terse_string(terse_lit("content")), terse_sink_val(&s));
    memcpy(out->v, m->v + 1, out->n * sizeof *out->v);
    out->v[0] = (terse_val){ .kind = TERSE_VAL_DICT, .u.dict = first };
    return terse_seq_val(out);
}

static void define_all(terse_jinja *j, bool folded, bool *nothing)
{
    const terse_template_input *in = j->in;
    terse_val messages = read_array(j, in->messages, "messages");
    if (terse_jinja_ok(j) && messages.kind == TERSE_VAL_NONE)
        j->st = terse_fail(j->err, TERSE_BAD_INPUT, "messages: must be a JSON array");
    if (folded && terse_jinja_ok(j)) {
        messages = fold(j, messages);
        *nothing = !terse_given(messages);
    }
    define(j, terse_lit("messages"), messages);
    define(j, terse_lit("tools"), read_array(j, in->tools, "tools"));
    define(j, terse_lit("documents"), read_array(j, in->documents, "documents"));
    define(j, terse_lit("add_generation_prompt"), terse_bool(in->generate));
    if (in->bos.p)
        define(j, terse_lit("bos_token"), terse_string(in->bos));
    if (in->eos.p)
        define(j, terse_lit("eos_token"), terse_string(in->eos));
    if (in->variables.n == 0 || !terse_jinja_ok(j))
        return;
    const terse_val more = terse_json_read(j, in->variables, "variables");
    if (terse_jinja_ok(j) && more.kind != TERSE_VAL_DICT)
        j->st = terse_fail(j->err, TERSE_BAD_INPUT, "variables: must be a JSON object");
    for (uint32_t i = 0; terse_jinja_ok(j) && i < more.u.dict->n; i++)
        define(j, terse_str_of(more.u.dict->keys[i]), more.u.dict->values[i]);
}

static terse_template_limits limits(const terse_template_limits *l)
{
    return (terse_template_limits){
        .steps = l->steps ? l->steps : 4000000,
        .memory = l->memory ? l->memory : (size_t)256 << 20,
        .output = l->output ? l->output : (size_t)16 << 20,
        .depth = l->depth ? l->depth : 500,
    };
}

/* One rendering. *raised: the template itself refused. *nothing: there was nothing to fold. */
static terse_status render(const terse_template *t, const terse_template_input *in, bool folded,
                           terse_text *out, bool *raised, bool *nothing, terse_error *err)
{
    terse_sink text = { 0 };
    terse_jinja j = { .t = t, .in = in, .limit = limits(&in->limits), .out = &text, .err = err };
    j.arena.limit = j.limit.memory;
    *nothing = false;
    define_all(&j, folded, nothing);
    if (!*nothing) {
        terse_frame *top = terse_frame_push(&j, &j.globals);
        j.frame = top;
        terse_jinja_run(&j, t->root);
        if (j.st == TERSE_OK)
            j.st = terse_text_append(out, text.p ? text.p : "", text.n, err);
    }
    *raised = j.raised;
    terse_arena_free(&j.arena);
    return j.st;
}

terse_status terse_template_render(const terse_template *t, const terse_template_input *input, terse_text *out,
                                   bool *folded, terse_error *err)
{
    bool raised, nothing;
    terse_error second;
    if (folded)
        *folded = false;
    const terse_status st = render(t, input, false, out, &raised, &nothing, err);
    if (st == TERSE_OK || !raised || !input->fold_system)
        return st;
    const terse_status again = render(t, input, true, out, &raised, &nothing, &second);
    if (again != TERSE_OK || nothing)
        return st; /* the first error is about what was asked for */
    if (folded)
        *folded = true;
    return TERSE_OK;
}
