/* text/jinja_parse.c: statements; and what all of the parser uses: failing, tokens, names. */
#include "text/jinja.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

enum { MOST_DEPTH = 200 };

void terse_source_place(terse_str source, uint32_t at, char place[40])
{
    int32_t line = 1, column = 1;
    for (uint32_t i = 0; i < at && i < source.n; i++) {
        if (source.p[i] == '\n') {
            line++;
            column = 1;
        } else if (((uint8_t)source.p[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    snprintf(place, 40, "template %d:%d", line, column);
}

static bool is_word_byte(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (uint8_t)c >= 0x80;
}

void terse_source_token(terse_str source, uint32_t at, char quoted[48])
{
    enum { MOST = 40 };
    size_t n = 0;
    if (at >= source.n) {
        snprintf(quoted, 48, "the end of the template");
        return;
    }
    const char *p = source.p + at;
    const size_t left = source.n - at;
    if (is_word_byte(p[0])) {
        while (n < left && n < MOST && is_word_byte(p[n]))
            n++;
    } else if (p[0] == '\'' || p[0] == '"') {
        for (n = 1; n < left && n < MOST && p[n] != p[0] && p[n] != '\n'; n++)
            ;
        n += n < left && n < MOST && p[n] == p[0];
    } else {
        const bool two =
            left > 1 && (strchr("{%#}", p[0]) ? strchr("{%#}", p[1]) != NULL
                                              : p[1] == '=' || (p[0] == p[1] && strchr("*/", p[0])));
        n = two ? 2 : 1;
    }
    while (n < left && n > 1 && ((uint8_t)p[n] & 0xC0) == 0x80)
        n--; /* no half character */
    snprintf(quoted, 48, "\"%.*s\"", (int)n, p);
}

void *terse_parse_fail(terse_parser *p, uint32_t at, const char *fmt, ...)
{
    char place[40], token[48], what[256];
    va_list args;
    if (p->st != TERSE_OK)
        return NULL;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    terse_source_place(p->source, at, place);
    terse_source_token(p->source, at, token);
    p->st = terse_fail(p->err, TERSE_BAD_INPUT, "%s: at %s: %s", place, token, what);
    return NULL;
}

void *terse_parse_get(terse_parser *p, size_t n)
{
    void *m = p->st == TERSE_OK ? terse_arena_get(p->arena, n) : NULL;
    if (!m && p->st == TERSE_OK)
        p->st = terse_fail(p->err, TERSE_NOMEM, "template: no memory for %zu bytes", n);
    return m;
}

terse_node *terse_parse_node(terse_parser *p, terse_node_kind kind, uint32_t at)
{
    terse_node *node = terse_parse_get(p, sizeof *node);
    if (node) {
        node->kind = (uint8_t)kind;
        node->at = at;
    }
    return node;
}

bool terse_parse_enter(terse_parser *p)
{
    if (p->depth >= MOST_DEPTH)
        terse_parse_fail(p, p->t->at, "nested more than %d deep", MOST_DEPTH);
    else
        p->depth++;
    return p->st == TERSE_OK;
}

bool terse_parse_is(const terse_parser *p, terse_tok_kind kind, const char *text)
{
    return p->t->kind == kind && (!text || terse_str_is(p->t->s, text));
}
bool terse_parse_skip(terse_parser *p, terse_tok_kind kind, const char *text)
{
    if (!terse_parse_is(p, kind, text))
        return false;
    p->t++;
    return true;
}
bool terse_parse_expect(terse_parser *p, terse_tok_kind kind, const char *text)
{
    static const char *const kinds[] = { [TERSE_TOK_VAR_END] = "}}", [TERSE_TOK_BLOCK_END] = "%}" };
    if (p->st != TERSE_OK)
        return false;
    if (terse_parse_skip(p, kind, text))
        return true;
    terse_parse_fail(p, p->t->at, "expected \"%s\"", text ? text : kinds[kind]);
    return false;
}

/* Doubles the table of names, an open-addressed hash; the size is a power of two. */
static bool grow_names(terse_parser *p)
{
    const size_t cap = p->cap_name ? p->cap_name * 2 : 64;
    const char **names = calloc(cap, sizeof *names);
    if (!names) {
        p->st = terse_fail(p->err, TERSE_NOMEM, "template: no memory for %zu names", cap);
        return false;
    }
    for (size_t i = 0; i < p->cap_name; i++) {
        if (!p->names[i])
            continue;
        size_t at = XXH3_64bits(p->names[i], strlen(p->names[i])) & (cap - 1);
        while (names[at])
            at = (at + 1) & (cap - 1);
        names[at] = p->names[i];
    }
    free(p->names);
    p->names = names;
    p->cap_name = cap;
    return true;
}

const char *terse_intern(terse_parser *p, terse_str s)
{
    if (p->st != TERSE_OK || (p->n_name * 2 >= p->cap_name && !grow_names(p)))
        return NULL;
    size_t at = XXH3_64bits(s.p, s.n) & (p->cap_name - 1);
    for (; p->names[at]; at = (at + 1) & (p->cap_name - 1))
        if (terse_str_is(s, p->names[at]))
            return p->names[at];
    char *name = terse_parse_get(p, s.n + 1);
    if (!name)
        return NULL;
    memcpy(name, s.p, s.n); /* the rest is zero */
    p->names[at] = name;
    p->n_name++;
    return name;
}

const char *terse_parse_name(terse_parser *p)
{
    if (p->st != TERSE_OK)
        return NULL;
    if (p->t->kind != TERSE_TOK_NAME)
        return terse_parse_fail(p, p->t->at, "expected a name");
    return terse_intern(p, (p->t++)->s);
}

static bool on(const terse_parser *p)
{
    return p->st == TERSE_OK;
}
static bool is_name(const terse_parser *p, const char *name)
{
    return terse_parse_is(p, TERSE_TOK_NAME, name);
}

static terse_node *parse_list(terse_parser *p, const char *const *ends);

/* Statements up to {% end ... %}; the end tag's name is current afterwards. *ends may be NULL-terminated list.
 */
static terse_node *parse_body(terse_parser *p, const char *const *ends)
{
    terse_parse_expect(p, TERSE_TOK_BLOCK_END, NULL);
    return on(p) ? parse_list(p, ends) : NULL;
}
/* The same up to {% end %}, which is taken. */
static terse_node *parse_whole_body(terse_parser *p, const char *end)
{
    const char *const ends[] = { end, NULL };
    terse_node *body = parse_body(p, ends);
    if (!on(p))
        return NULL;
    p->t++;
    terse_parse_expect(p, TERSE_TOK_BLOCK_END, NULL);
    return body;
}

static terse_node *target_name(terse_parser *p, bool attr)
{
    const uint32_t at = p->t->at;
    static const char *const reserved[] = { "true", "True", "false", "False", "none", "None" };
    for (size_t i = 0; i < 6; i++)
        if (is_name(p, reserved[i]))
            return terse_parse_fail(p, at, "cannot be assigned to");
    terse_node *node = terse_parse_node(p, TERSE_NODE_NAME, at);
    const char *name = terse_parse_name(p);
    if (!on(p))
        return NULL;
    node->name = name;
    if (!attr || !terse_parse_skip(p, TERSE_TOK_OP, "."))
        return node;
    terse_node *of = terse_parse_node(p, TERSE_NODE_ATTR, at);
    const terse_str s = p->t->s;
    name = terse_parse_name(p);
    if (!on(p))
        return NULL;
    of->a = node;
    of->name = name;
    of->value = terse_string(s);
    return of;
}

terse_node *terse_parse_target(terse_parser *p, bool attr, bool tuple)
{
    const uint32_t at = p->t->at;
    terse_node *list = NULL, **end = &list;
    uint32_t n = 0;
    bool comma = false;
    if (!terse_parse_enter(p))
        return NULL;
    while (on(p) && (n == 0 || p->t->kind == TERSE_TOK_NAME || terse_parse_is(p, TERSE_TOK_OP, "("))) {
        if (n > 0 && is_name(p, "in"))
            break;
        if (terse_parse_skip(p, TERSE_TOK_OP, "(")) {
            *end = terse_parse_target(p, false, true);
            terse_parse_expect(p, TERSE_TOK_OP, ")");
        } else {
            *end = target_name(p, attr && n == 0);
        }
        if (!on(p))
            return NULL;
        end = &(*end)->next;
        n++;
        if (!tuple || !terse_parse_skip(p, TERSE_TOK_OP, ","))
            break;
        comma = true;
    }
    p->depth--;
    if (!comma)
        return list;
    terse_node *node = terse_parse_node(p, TERSE_NODE_TUPLE, at);
    if (node) {
        node->list = list;
        node->n = n;
    }
    return node;
}

static terse_node *parse_for(terse_parser *p, terse_node *node)
{
    static const char *const ends[] = { "endfor", "else", NULL };
    node->a = terse_parse_target(p, false, true);
    if (!on(p) || !terse_parse_expect(p, TERSE_TOK_NAME, "in"))
        return NULL;
    node->b = terse_parse_tuple(p, false);
    if (on(p) && terse_parse_skip(p, TERSE_TOK_NAME, "if"))
        node->c = terse_parse_expr(p, true);
    if (on(p) && is_name(p, "recursive"))
        return terse_parse_fail(p, p->t->at, "recursive loops are not built in");
    p->in_loop++;
    node->body = parse_body(p, ends);
    p->in_loop--;
    if (on(p) && is_name(p, "else")) {
        p->t++;
        node->other = parse_whole_body(p, "endfor");
    } else if (on(p)) {
        p->t++;
        terse_parse_expect(p, TERSE_TOK_BLOCK_END, NULL);
    }
    return node;
}

static terse_node *parse_if(terse_parser *p, terse_node *node)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    terse_node **end = &node->list;
    for (;;) {
        terse_node *branch = terse_parse_node(p, TERSE_NODE_IF, p->t->at);
        terse_node *test = on(p) ? terse_parse_tuple(p, false) : NULL;
        terse_node *body = on(p) ? parse_body(p, ends) : NULL;
        if (!on(p))
            return NULL;
        branch->a = test;
        branch->body = body;
        *end = branch;
        end = &branch->next;
        if (!is_name(p, "elif"))
            break;
        p->t++;
    }
    if (terse_parse_skip(p, TERSE_TOK_NAME, "else")) {
        node->other = parse_whole_body(p, "endif");
    } else {
        p->t++;
        terse_parse_expect(p, TERSE_TOK_BLOCK_END, NULL);
    }
    return node;
}

static terse_node *parse_set(terse_parser *p, terse_node *node)
{
    node->a = terse_parse_target(p, true, true);
    if (!on(p))
        return NULL;
    if (terse_parse_skip(p, TERSE_TOK_OP, "=")) {
        node->b = terse_parse_tuple(p, true);
        terse_parse_expect(p, TERSE_TOK_BLOCK_END, NULL);
        return node;
    }
    node->kind = TERSE_NODE_CAPTURE;
    node->b = terse_parse_filters(p, NULL, false);
    node->body = parse_whole_body(p, "endset");
    return node;
}

/* (a, b=default, ...) */
static void parse_params(terse_parser *p, terse_node *node)
{
    terse_node **end = &node->list;
    bool defaults = false;
    terse_parse_expect(p, TERSE_TOK_OP, "(");
    while (on(p) && !terse_parse_is(p, TERSE_TOK_OP, ")")) {
        if (node->n > 0 && !terse_parse_expect(p, TERSE_TOK_OP, ","))
            return;
        if (!(*end = target_name(p, false)))
            return;
        if (terse_parse_skip(p, TERSE_TOK_OP, "=")) {
            (*end)->a = terse_parse_expr(p, true);
            defaults = true;
        } else if (defaults) {
            terse_parse_fail(p, (*end)->at, "a parameter without default after one with a default");
        }
        end = &(*end)->next;
        node->n++;
    }
    if (on(p))
        p->t++;
}

/* What a macro writes is its own: which special names does the body mention? */
static void parse_macro_body(terse_parser *p, terse_node *node, const char *end)
{
    const uint8_t outside = p->uses;
    const int32_t in_loop = p->in_loop;
    p->uses = 0;
    p->in_loop = 0;
    node->body = parse_whole_body(p, end);
    node->uses = p->uses;
    p->uses |= outside;
    p->in_loop = in_loop;
}

static terse_node *parse_macro(terse_parser *p, terse_node *node)
{
    node->name = terse_parse_name(p);
    parse_params(p, node);
    parse_macro_body(p, node, "endmacro");
    return node;
}

static terse_node *parse_call(terse_parser *p, terse_node *node)
{
    if (terse_parse_is(p, TERSE_TOK_OP, "("))
        parse_params(p, node);
    node->name = terse_intern(p, terse_lit("caller"));
    const uint32_t at = p->t->at;
    node->b = on(p) ? terse_parse_expr(p, true) : NULL;
    if (on(p) && node->b->kind != TERSE_NODE_CALL)
        return terse_parse_fail(p, at, "expected the call of a macro");
    parse_macro_body(p, node, "endcall");
    return node;
}

static terse_node *parse_filter_block(terse_parser *p, terse_node *node)
{
    node->a = terse_parse_filters(p, NULL, true);
    node->body = parse_whole_body(p, "endfilter");
    return node;
}

static terse_node *parse_with(terse_parser *p, terse_node *node)
{
    terse_node **end = &node->list;
    while (on(p) && p->t->kind != TERSE_TOK_BLOCK_END) {
        if (node->list && !terse_parse_expect(p, TERSE_TOK_OP, ","))
            return NULL;
        terse_node *set = terse_parse_node(p, TERSE_NODE_SET, p->t->at);
        terse_node *target = terse_parse_target(p, false, false);
        terse_parse_expect(p, TERSE_TOK_OP, "=");
        terse_node *value = on(p) ? terse_parse_expr(p, true) : NULL;
        if (!on(p))
            return NULL;
        set->a = target;
        set->b = value;
        *end = set;
        end = &set->next;
    }
    node->body = parse_whole_body(p, "endwith");
    return node;
}

/* {% generation %}: transformers marks what the assistant wrote; the text is the same. */
static terse_node *parse_generation(terse_parser *p, terse_node *node)
{
    const int32_t in_loop = p->in_loop;
    p->in_loop = 0;
    node->body = parse_whole_body(p, "endgeneration");
    p->in_loop = in_loop;
    return node;
}

static terse_node *parse_jump(terse_parser *p, terse_node *node)
{
    if (p->in_loop == 0)
        return terse_parse_fail(p, node->at, "not inside a loop");
    terse_parse_expect(p, TERSE_TOK_BLOCK_END, NULL);
    return node;
}

static terse_node *parse_statement(terse_parser *p)
{
    static const struct {
        const char *name;
        terse_node_kind kind;
        terse_node *(*parse)(terse_parser *p, terse_node *node);
    } rows[] = {
        { "for", TERSE_NODE_FOR, parse_for },      { "if", TERSE_NODE_IF, parse_if },
        { "set", TERSE_NODE_SET, parse_set },      { "macro", TERSE_NODE_MACRO, parse_macro },
        { "call", TERSE_NODE_CALLS, parse_call },  { "filter", TERSE_NODE_FILTERS, parse_filter_block },
        { "with", TERSE_NODE_WITH, parse_with },   { "generation", TERSE_NODE_SCOPE, parse_generation },
        { "break", TERSE_NODE_BREAK, parse_jump }, { "continue", TERSE_NODE_CONTINUE, parse_jump },
    };
    const uint32_t at = p->t->at;
    if (p->t->kind != TERSE_TOK_NAME)
        return terse_parse_fail(p, at, "expected the name of a statement");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!is_name(p, rows[i].name))
            continue;
        terse_node *node = terse_parse_node(p, rows[i].kind, at);
        p->t++;
        return node ? rows[i].parse(p, node) : NULL;
    }
    return terse_parse_fail(p, at, "not a statement that is built in, or one that nothing has begun");
}

static bool ends_here(const terse_parser *p, const char *const *ends)
{
    for (size_t i = 0; ends && ends[i]; i++)
        if (is_name(p, ends[i]))
            return true;
    return false;
}

static terse_node *parse_print(terse_parser *p)
{
    terse_node *node = terse_parse_node(p, TERSE_NODE_PRINT, p->t->at);
    p->t++;
    terse_node *a = terse_parse_tuple(p, true);
    terse_parse_expect(p, TERSE_TOK_VAR_END, NULL);
    if (node)
        node->a = a;
    return node;
}

/* ends: NULL for the whole template. */
static terse_node *parse_list(terse_parser *p, const char *const *ends)
{
    terse_node *list = NULL, **end = &list;
    if (!terse_parse_enter(p))
        return NULL;
    while (on(p)) {
        terse_node *node = NULL;
        if (p->t->kind == TERSE_TOK_END) {
            if (ends)
                terse_parse_fail(p, p->t->at, "expected {%% %s %%}", ends[0]);
            break;
        }
        if (p->t->kind == TERSE_TOK_DATA) {
            if ((node = terse_parse_node(p, TERSE_NODE_DATA, p->t->at)))
                node->value = terse_string(p->t->s);
            p->t++;
        } else if (p->t->kind == TERSE_TOK_VAR_BEGIN) {
            node = parse_print(p);
        } else {
            p->t++; /* {% */
            if (ends_here(p, ends))
                break;
            node = parse_statement(p);
        }
        if (on(p)) {
            *end = node;
            end = &node->next;
        }
    }
    p->depth--;
    return on(p) ? list : NULL;
}

terse_node *terse_jinja_parse(terse_parser *p)
{
    p->t = p->toks;
    return parse_list(p, NULL);
}
