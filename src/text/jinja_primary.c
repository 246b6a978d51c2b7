/* text/jinja_primary.c: names, literals, tuples; subscripts, calls and their arguments. */
#include "text/jinja.h"

static bool on(const terse_parser *p)
{
    return p->st == TERSE_OK;
}
static bool is_op(const terse_parser *p, const char *op)
{
    return terse_parse_is(p, TERSE_TOK_OP, op);
}

static terse_node *parse_name(terse_parser *p)
{
    static const struct {
        const char *name;
        terse_val value;
    } constants[] = { { "true", { .kind = TERSE_VAL_BOOL, .u.b = true } },
                      { "True", { .kind = TERSE_VAL_BOOL, .u.b = true } },
                      { "false", { .kind = TERSE_VAL_BOOL } },
                      { "False", { .kind = TERSE_VAL_BOOL } },
                      { "none", { .kind = TERSE_VAL_NONE } },
                      { "None", { .kind = TERSE_VAL_NONE } } };
    static const struct {
        const char *name;
        uint8_t use;
    } uses[] = { { "caller", TERSE_USES_CALLER },
                 { "kwargs", TERSE_USES_KWARGS },
                 { "varargs", TERSE_USES_VARARGS } };
    terse_node *node = terse_parse_node(p, TERSE_NODE_NAME, p->t->at);
    const terse_str s = p->t->s;
    const char *name = terse_parse_name(p);
    if (!node || !name)
        return NULL;
    node->name = name;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (terse_str_is(s, constants[i].name)) {
            node->kind = TERSE_NODE_CONST;
            node->value = constants[i].value;
        }
    }
    for (size_t i = 0; i < 3; i++)
        if (terse_str_is(s, uses[i].name))
            p->uses |= uses[i].use;
    return node;
}

static terse_node *parse_number(terse_parser *p)
{
    terse_node *node = terse_parse_node(p, TERSE_NODE_CONST, p->t->at);
    const terse_str s = p->t->s;
    if (!node)
        return NULL;
    if (p->t->kind == TERSE_TOK_FLOAT) {
        node->value.kind = TERSE_VAL_FLOAT;
        if (!terse_parse_float(s, &node->value.u.f))
            return terse_parse_fail(p, p->t->at, "the number cannot be read");
    } else {
        const char base = s.n > 1 ? (char)(s.p[1] | 32) : '0';
        node->value.kind = TERSE_VAL_INT;
        if (!terse_parse_int(s, base == 'x' ? 16 : base == 'o' ? 8 : base == 'b' ? 2 : 10, &node->value.u.i))
            return terse_parse_fail(p, p->t->at, "the integer has more than 64 bits");
    }
    p->t++;
    return node;
}

/* String literals that follow each other are one. */
static terse_node *parse_string(terse_parser *p)
{
    terse_node *node = terse_parse_node(p, TERSE_NODE_CONST, p->t->at);
    const terse_tok *first = p->t;
    size_t n = 0;
    for (; p->t->kind == TERSE_TOK_STR; p->t++)
        n += p->t->s.n;
    if (!node)
        return NULL;
    terse_str s = first->s;
    if (p->t > first + 1) {
        char *text = terse_parse_get(p, n);
        if (!text)
            return NULL;
        n = 0;
        for (const terse_tok *t = first; t < p->t; t++) {
            memcpy(text + n, t->s.p, t->s.n);
            n += t->s.n;
        }
        s = (terse_str){ text, n };
    }
    node->value = terse_string(s);
    return node;
}

static bool tuple_ends(const terse_parser *p)
{
    return p->t->kind == TERSE_TOK_VAR_END || p->t->kind == TERSE_TOK_BLOCK_END || is_op(p, ")");
}

static terse_node *parse_tuple(terse_parser *p, bool with_cond, bool parentheses)
{
    const uint32_t at = p->t->at;
    terse_node *list = NULL, *last = NULL;
    uint32_t n = 0;
    bool tuple = false;
    while (on(p) && !tuple_ends(p)) {
        terse_node *node = terse_parse_expr(p, with_cond);
        if (last)
            last->next = node;
        else
            list = node;
        last = node;
        n++;
        if (!on(p) || !terse_parse_skip(p, TERSE_TOK_OP, ","))
            break;
        tuple = true;
    }
    if (!on(p))
        return NULL;
    if (n == 0 && !parentheses)
        return terse_parse_fail(p, p->t->at, "an expression is missing");
    if (n == 1 && !tuple)
        return list;
    terse_node *node = terse_parse_node(p, TERSE_NODE_TUPLE, at);
    if (node) {
        node->list = list;
        node->n = n;
    }
    return node;
}

terse_node *terse_parse_tuple(terse_parser *p, bool with_cond)
{
    return parse_tuple(p, with_cond, false);
}

/* [list] or {key: value}: elements up to the closing bracket, which may come after a comma. */
static terse_node *parse_display(terse_parser *p, terse_node_kind kind, const char *close)
{
    terse_node *node = terse_parse_node(p, kind, p->t->at);
    p->t++;
    terse_node **end = node ? &node->list : NULL;
    while (on(p) && !is_op(p, close)) {
        for (int i = 0; i < (kind == TERSE_NODE_DICT ? 2 : 1) && on(p); i++) {
            if (i == 0 || terse_parse_expect(p, TERSE_TOK_OP, ":"))
                *end = terse_parse_expr(p, true);
            if (on(p)) {
                end = &(*end)->next;
                node->n++;
            }
        }
        if (on(p) && !is_op(p, close))
            terse_parse_expect(p, TERSE_TOK_OP, ",");
    }
    if (on(p))
        p->t++;
    return on(p) ? node : NULL;
}

terse_node *terse_parse_primary(terse_parser *p)
{
    switch (p->t->kind) {
    case TERSE_TOK_NAME:
        return parse_name(p);
    case TERSE_TOK_INT:
    case TERSE_TOK_FLOAT:
        return parse_number(p);
    case TERSE_TOK_STR:
        return parse_string(p);
    default:
        break;
    }
    if (terse_parse_skip(p, TERSE_TOK_OP, "(")) {
        terse_node *node = parse_tuple(p, true, true);
        return on(p) && terse_parse_expect(p, TERSE_TOK_OP, ")") ? node : NULL;
    }
    if (is_op(p, "["))
        return parse_display(p, TERSE_NODE_LIST, "]");
    if (is_op(p, "{"))
        return parse_display(p, TERSE_NODE_DICT, "}");
    return terse_parse_fail(p, p->t->at, "an expression is missing");
}

/* One of the arguments between [ and ]: an expression or start:stop:step. */
static terse_node *parse_subscript(terse_parser *p)
{
    const uint32_t at = p->t->at;
    terse_node *part[3] = { NULL };
    int n = 0;
    if (!is_op(p, ":")) {
        part[0] = terse_parse_expr(p, true);
        if (!on(p) || !is_op(p, ":"))
            return part[0];
    }
    while (on(p) && n < 2 && terse_parse_skip(p, TERSE_TOK_OP, ":")) {
        n++;
        if (!is_op(p, ":") && !is_op(p, "]") && !is_op(p, ","))
            part[n] = terse_parse_expr(p, true);
    }
    terse_node *node = terse_parse_node(p, TERSE_NODE_SLICE, at);
    if (node) {
        node->a = part[0];
        node->b = part[1];
        node->c = part[2];
    }
    return node;
}

static terse_node *parse_item(terse_parser *p, terse_node *a)
{
    terse_node *node = terse_parse_node(p, TERSE_NODE_ITEM, p->t->at), *list = NULL, **end = &list;
    uint32_t n = 0;
    p->t++;
    while (on(p) && !is_op(p, "]")) {
        if (n > 0 && !terse_parse_expect(p, TERSE_TOK_OP, ","))
            return NULL;
        if ((*end = parse_subscript(p)))
            end = &(*end)->next;
        n++;
    }
    if (!on(p))
        return NULL;
    if (n == 0)
        return terse_parse_fail(p, p->t->at, "a subscript is missing");
    p->t++;
    node->a = a;
    node->b = list;
    if (n > 1) {
        node->b = terse_parse_node(p, TERSE_NODE_TUPLE, node->at);
        if (!node->b)
            return NULL;
        node->b->list = list;
        node->b->n = n;
    }
    return node;
}

static terse_node *parse_attr(terse_parser *p, terse_node *a)
{
    terse_node *node = terse_parse_node(p, TERSE_NODE_ATTR, p->t[1].at);
    p->t++;
    if (!node)
        return NULL;
    node->a = a;
    if (p->t->kind == TERSE_TOK_INT) { /* x.0 is x[0] */
        node->kind = TERSE_NODE_ITEM;
        node->b = parse_number(p);
        return node;
    }
    node->value = terse_string(p->t->s);
    node->name = terse_parse_name(p);
    return node;
}

/* One argument: a, name=a, *a, **a */
static terse_node *parse_arg(terse_parser *p)
{
    const uint32_t at = p->t->at;
    const bool stars = terse_parse_skip(p, TERSE_TOK_OP, "**");
    const bool star = !stars && terse_parse_skip(p, TERSE_TOK_OP, "*");
    const bool named = !stars && !star && p->t->kind == TERSE_TOK_NAME && p->t[1].kind == TERSE_TOK_OP &&
                       terse_str_is(p->t[1].s, "=");
    if (!stars && !star && !named)
        return terse_parse_expr(p, true);
    terse_node *node = terse_parse_node(p,
                                        stars  ? TERSE_NODE_STARS
                                        : star ? TERSE_NODE_STAR
                                               : TERSE_NODE_NAMED,
                                        at);
    if (!node)
        return NULL;
    if (named) {
        node->value = terse_string(p->t->s);
        node->name = terse_parse_name(p);
        p->t++;
    }
    node->a = terse_parse_expr(p, true);
    return node;
}

void terse_parse_args(terse_parser *p, terse_node *call)
{
    terse_node **end = &call->list;
    uint32_t seen = 0; /* kinds of arguments so far */
    p->t++;
    while (on(p) && !is_op(p, ")")) {
        if (call->n > 0 && !terse_parse_expect(p, TERSE_TOK_OP, ","))
            return;
        if (call->n > 0 && is_op(p, ")"))
            break;
        const uint32_t at = p->t->at;
        if (!(*end = parse_arg(p)))
            return;
        const uint8_t kind = (*end)->kind;
        const uint32_t star = 1u << TERSE_NODE_STAR % 32, stars = 1u << TERSE_NODE_STARS % 32;
        const uint32_t named = 1u << TERSE_NODE_NAMED % 32;
        const bool special = kind == TERSE_NODE_STAR || kind == TERSE_NODE_STARS || kind == TERSE_NODE_NAMED;
        if (seen & (kind == TERSE_NODE_STAR ? star | stars : special ? stars : star | stars | named)) {
            terse_parse_fail(p, at, "an argument that cannot stand after those before it");
            return;
        }
        seen |= special ? 1u << kind % 32 : 0;
        end = &(*end)->next;
        call->n++;
    }
    if (on(p))
        p->t++;
}

terse_node *terse_parse_postfix(terse_parser *p, terse_node *a, bool calls_only)
{
    while (on(p)) {
        if (is_op(p, "(")) {
            terse_node *node = terse_parse_node(p, TERSE_NODE_CALL, a->at);
            if (!node)
                return NULL;
            node->a = a;
            terse_parse_args(p, node);
            a = node;
            if (calls_only)
                break;
        } else if (!calls_only && is_op(p, "[")) {
            a = parse_item(p, a);
        } else if (!calls_only && is_op(p, ".")) {
            a = parse_attr(p, a);
        } else {
            break;
        }
    }
    return on(p) ? a : NULL;
}
