/* text/jinja_expr.c: expressions, by recursive descent from what binds least to what binds most. */
#include "text/jinja.h"

static bool on(const terse_parser *p)
{
    return p->st == TERSE_OK;
}
static bool is_op(const terse_parser *p, const char *op)
{
    return terse_parse_is(p, TERSE_TOK_OP, op);
}
static bool skip_op(terse_parser *p, const char *op)
{
    return terse_parse_skip(p, TERSE_TOK_OP, op);
}

static void append(terse_node *to, terse_node **last, terse_node *node)
{
    if (!node)
        return;
    if (*last)
        (*last)->next = node;
    else
        to->list = node;
    *last = node;
    to->n++;
}

typedef terse_node *(*level)(terse_parser *p);
typedef struct {
    const char *text;
    terse_op op;
} op_row;

/* a op b op c ..., the left ones first */
static terse_node *left_to_right(terse_parser *p, const op_row *ops, size_t n, level below)
{
    terse_node *a = below(p);
    while (on(p)) {
        size_t i = 0;
        while (i < n && !is_op(p, ops[i].text))
            i++;
        if (i == n)
            break;
        terse_node *node = terse_parse_node(p, TERSE_NODE_BINARY, p->t->at);
        p->t++;
        terse_node *b = below(p);
        if (!node || !b)
            return NULL;
        node->op = (uint8_t)ops[i].op;
        node->a = a;
        node->b = b;
        a = node;
    }
    return a;
}

static terse_node *parse_filtered_unary(terse_parser *p)
{
    return terse_parse_unary(p, true);
}
static terse_node *parse_pow(terse_parser *p)
{
    static const op_row ops[] = { { "**", TERSE_OP_POW } };
    return left_to_right(p, ops, 1, parse_filtered_unary);
}
static terse_node *parse_product(terse_parser *p)
{
    static const op_row ops[] = {
        { "*", TERSE_OP_MUL }, { "/", TERSE_OP_DIV }, { "//", TERSE_OP_FLOORDIV }, { "%", TERSE_OP_MOD }
    };
    return left_to_right(p, ops, 4, parse_pow);
}
static terse_node *parse_concat(terse_parser *p)
{
    const uint32_t at = p->t->at;
    terse_node *a = parse_product(p);
    if (!on(p) || !is_op(p, "~"))
        return a;
    terse_node *node = terse_parse_node(p, TERSE_NODE_CONCAT, at), *last = NULL;
    if (!node)
        return NULL;
    append(node, &last, a);
    while (on(p) && skip_op(p, "~"))
        append(node, &last, parse_product(p));
    return node;
}
static terse_node *parse_sum(terse_parser *p)
{
    static const op_row ops[] = { { "+", TERSE_OP_ADD }, { "-", TERSE_OP_SUB } };
    return left_to_right(p, ops, 2, parse_concat);
}

/* The comparison here, taken; false: none. */
static bool take_comparison(terse_parser *p, terse_op *op)
{
    static const op_row ops[] = { { "==", TERSE_OP_EQ }, { "!=", TERSE_OP_NE }, { "<", TERSE_OP_LT },
                                  { "<=", TERSE_OP_LE }, { ">", TERSE_OP_GT },  { ">=", TERSE_OP_GE } };
    for (size_t i = 0; i < 6; i++) {
        if (skip_op(p, ops[i].text)) {
            *op = ops[i].op;
            return true;
        }
    }
    if (terse_parse_skip(p, TERSE_TOK_NAME, "in")) {
        *op = TERSE_OP_IN;
        return true;
    }
    if (terse_parse_is(p, TERSE_TOK_NAME, "not") && p->t[1].kind == TERSE_TOK_NAME &&
        terse_str_is(p->t[1].s, "in")) {
        p->t += 2;
        *op = TERSE_OP_NOT_IN;
        return true;
    }
    return false;
}

static terse_node *parse_comparison(terse_parser *p)
{
    terse_node *a = parse_sum(p), *node = NULL, *last = NULL;
    terse_op op;
    while (on(p)) {
        const uint32_t at = p->t->at;
        if (!take_comparison(p, &op))
            break;
        terse_node *operand = terse_parse_node(p, TERSE_NODE_OPERAND, at);
        if (!node && (node = terse_parse_node(p, TERSE_NODE_COMPARE, at)))
            node->a = a;
        terse_node *b = parse_sum(p);
        if (!node || !operand || !b)
            return NULL;
        operand->op = (uint8_t)op;
        operand->a = b;
        append(node, &last, operand);
    }
    return node ? node : a;
}

static terse_node *parse_not(terse_parser *p)
{
    const uint32_t at = p->t->at;
    if (!terse_parse_is(p, TERSE_TOK_NAME, "not"))
        return parse_comparison(p);
    if (!terse_parse_enter(p))
        return NULL;
    p->t++;
    terse_node *node = terse_parse_node(p, TERSE_NODE_NOT, at), *a = parse_not(p);
    p->depth--;
    if (node)
        node->a = a;
    return node;
}

static terse_node *parse_logic(terse_parser *p, bool or)
{
    terse_node *a = or ? parse_logic(p, false) : parse_not(p);
    while (on(p) && terse_parse_is(p, TERSE_TOK_NAME, or ? "or" : "and")) {
        terse_node *node = terse_parse_node(p, or ? TERSE_NODE_OR : TERSE_NODE_AND, p->t->at);
        p->t++;
        terse_node *b = or ? parse_logic(p, false) : parse_not(p);
        if (!node || !b)
            return NULL;
        node->a = a;
        node->b = b;
        a = node;
    }
    return a;
}

terse_node *terse_parse_expr(terse_parser *p, bool with_cond)
{
    if (!terse_parse_enter(p))
        return NULL;
    terse_node *a = parse_logic(p, true);
    while (on(p) && with_cond && terse_parse_is(p, TERSE_TOK_NAME, "if")) {
        terse_node *node = terse_parse_node(p, TERSE_NODE_COND, p->t->at);
        p->t++;
        terse_node *b = parse_logic(p, true), *c = NULL;
        if (on(p) && terse_parse_skip(p, TERSE_TOK_NAME, "else"))
            c = terse_parse_expr(p, true);
        if (!on(p))
            return NULL;
        node->a = a;
        node->b = b;
        node->c = c;
        a = node;
    }
    p->depth--;
    return a;
}

/* After the name of a test: it has an argument without parentheses if one can begin here. */
static bool argument_follows(const terse_parser *p)
{
    static const char *const ends[] = { "else", "or", "and" };
    if (p->t->kind == TERSE_TOK_NAME) {
        for (size_t i = 0; i < 3; i++)
            if (terse_str_is(p->t->s, ends[i]))
                return false;
        return true;
    }
    return p->t->kind == TERSE_TOK_STR || p->t->kind == TERSE_TOK_INT || p->t->kind == TERSE_TOK_FLOAT ||
           is_op(p, "(") || is_op(p, "[") || is_op(p, "{");
}

/* A name with dots, as a string. */
static terse_str dotted_name(terse_parser *p)
{
    const terse_str first = p->t->s;
    terse_str s = { first.p, 0 };
    do {
        if (terse_parse_name(p))
            s.n = (size_t)(p->t[-1].s.p - first.p) + p->t[-1].s.n;
    } while (on(p) && skip_op(p, "."));
    return s;
}

/* A filter or a test by its name; one that is not built in is an error only where it is reached. */
static void set_name(terse_parser *p, terse_node *node, terse_str name)
{
    node->value = terse_string(name);
    node->row = node->kind == TERSE_NODE_FILTER ? terse_jinja_find_filter(name)
                                                : terse_jinja_find(terse_jinja_tests, name);
    if (!p->missing.p && !(node->row && node->row->run))
        p->missing = name;
}

static terse_node *parse_test(terse_parser *p, terse_node *a)
{
    p->t++;
    const uint32_t at = p->t->at;
    const bool negated = terse_parse_skip(p, TERSE_TOK_NAME, "not");
    terse_node *node = terse_parse_node(p, TERSE_NODE_TEST, negated ? p->t->at : at);
    const terse_str name = dotted_name(p);
    if (!on(p))
        return NULL;
    node->a = a;
    set_name(p, node, name);
    if (is_op(p, "(")) {
        terse_parse_args(p, node);
    } else if (argument_follows(p)) {
        if (terse_parse_is(p, TERSE_TOK_NAME, "is"))
            return terse_parse_fail(p, p->t->at, "tests with \"is\" cannot be chained");
        node->list = terse_parse_primary(p);
        node->list = terse_parse_postfix(p, node->list, false);
        node->n = 1;
    }
    if (!negated || !on(p))
        return node;
    terse_node *not = terse_parse_node(p, TERSE_NODE_NOT, at);
    if (not )
        not ->a = node;
    return not ;
}

terse_node *terse_parse_filters(terse_parser *p, terse_node *a, bool first)
{
    while (on(p) && (first || skip_op(p, "|"))) {
        first = false;
        terse_node *node = terse_parse_node(p, TERSE_NODE_FILTER, p->t->at);
        const terse_str name = dotted_name(p);
        if (!on(p))
            return NULL;
        node->a = a;
        set_name(p, node, name);
        if (is_op(p, "("))
            terse_parse_args(p, node);
        a = node;
    }
    return on(p) ? a : NULL;
}

/* Filters, tests, and calls of what they gave. */
static terse_node *parse_filters_and_tests(terse_parser *p, terse_node *a)
{
    while (on(p)) {
        if (skip_op(p, "|"))
            a = terse_parse_filters(p, a, true);
        else if (terse_parse_is(p, TERSE_TOK_NAME, "is"))
            a = parse_test(p, a);
        else if (is_op(p, "("))
            a = terse_parse_postfix(p, a, true);
        else
            break;
    }
    return a;
}

terse_node *terse_parse_unary(terse_parser *p, bool with_filter)
{
    terse_node *node;
    if (!terse_parse_enter(p))
        return NULL;
    if (is_op(p, "-") || is_op(p, "+")) {
        node = terse_parse_node(p, is_op(p, "-") ? TERSE_NODE_NEG : TERSE_NODE_POS, p->t->at);
        p->t++;
        terse_node *a = terse_parse_unary(p, false);
        if (node)
            node->a = a;
    } else {
        node = terse_parse_primary(p);
    }
    node = on(p) ? terse_parse_postfix(p, node, false) : NULL;
    if (on(p) && with_filter)
        node = parse_filters_and_tests(p, node);
    p->depth--;
    return on(p) ? node : NULL;
}
