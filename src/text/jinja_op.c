/* text/jinja_op.c: arithmetic, order and equality, as Python. Integers have 64 bits; what needs more is
 * refused. */
#include "text/jinja.h"

#include <math.h>

static bool is_whole(terse_val v)
{
    return v.kind == TERSE_VAL_INT || v.kind == TERSE_VAL_BOOL;
}
static bool is_number(terse_val v)
{
    return is_whole(v) || v.kind == TERSE_VAL_FLOAT;
}
static int64_t whole(terse_val v)
{
    return v.kind == TERSE_VAL_BOOL ? v.u.b : v.u.i;
}
static double real(terse_val v)
{
    return v.kind == TERSE_VAL_FLOAT ? v.u.f : (double)whole(v);
}

static terse_val bad_operands(terse_jinja *j, const char *op, terse_val a, terse_val b)
{
    if (a.kind == TERSE_VAL_UNDEFINED || b.kind == TERSE_VAL_UNDEFINED) {
        const terse_val u = a.kind == TERSE_VAL_UNDEFINED ? a : b;
        return terse_jinja_fail(j, "%s", u.u.p ? u.u.p : "an operand is undefined");
    }
    return terse_jinja_fail(j, "'%s' does not work on '%s' and '%s'", op, terse_type_name(a),
                            terse_type_name(b));
}

static terse_val too_big(terse_jinja *j)
{
    return terse_jinja_refuse(j, "the result does not fit an integer of 64 bits");
}

static terse_val power(terse_jinja *j, int64_t a, int64_t b)
{
    if (b < 0)
        return a ? terse_float(pow((double)a, (double)b)) : terse_jinja_fail(j, "zero to a negative power");
    int64_t r = 1;
    for (int64_t base = a; b > 0; b >>= 1) {
        if ((b & 1) && __builtin_mul_overflow(r, base, &r))
            return too_big(j);
        if (b > 1 && __builtin_mul_overflow(base, base, &base))
            return too_big(j);
    }
    return terse_int(r);
}

static terse_val whole_binary(terse_jinja *j, terse_op op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool over = false;
    if (b == 0 && (op == TERSE_OP_DIV || op == TERSE_OP_FLOORDIV || op == TERSE_OP_MOD))
        return terse_jinja_fail(j, "division by zero");
    switch (op) {
    case TERSE_OP_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case TERSE_OP_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case TERSE_OP_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case TERSE_OP_DIV:
        return terse_float((double)a / (double)b);
    case TERSE_OP_FLOORDIV:
        if (a == INT64_MIN && b == -1)
            return too_big(j);
        r = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        break;
    case TERSE_OP_MOD:
        r = b == -1 ? 0 : a % b;
        r += r != 0 && (r < 0) != (b < 0) ? b : 0;
        break;
    default:
        return power(j, a, b);
    }
    return over ? too_big(j) : terse_int(r);
}

static double floor_mod(double a, double b)
{
    const double r = fmod(a, b);
    return r == 0.0 ? copysign(0.0, b) : (r < 0) != (b < 0) ? r + b : r;
}

/* As Python's float_divmod: exact where the quotient is a whole number. */
static double floor_div(double a, double b)
{
    const double q = (a - floor_mod(a, b)) / b;
    if (q == 0.0)
        return copysign(0.0, a / b);
    const double down = floor(q);
    return q - down > 0.5 ? down + 1.0 : down;
}

static terse_val real_binary(terse_jinja *j, terse_op op, double a, double b)
{
    if (b == 0.0 && (op == TERSE_OP_DIV || op == TERSE_OP_FLOORDIV || op == TERSE_OP_MOD))
        return terse_jinja_fail(j, "division by zero");
    switch (op) {
    case TERSE_OP_ADD:
        return terse_float(a + b);
    case TERSE_OP_SUB:
        return terse_float(a - b);
    case TERSE_OP_MUL:
        return terse_float(a * b);
    case TERSE_OP_DIV:
        return terse_float(a / b);
    case TERSE_OP_FLOORDIV:
        return terse_float(floor_div(a, b));
    case TERSE_OP_MOD:
        return terse_float(floor_mod(a, b));
    default:
        break;
    }
    if ((a == 0.0 && b < 0.0) || (a < 0.0 && b != floor(b) && isfinite(b)))
        return terse_jinja_fail(j, "the power is not a real number");
    const double r = pow(a, b);
    return isinf(r) && isfinite(a) && isfinite(b) ? terse_jinja_fail(j, "the power is too large")
                                                  : terse_float(r);
}

static terse_val add_strings(terse_jinja *j, terse_val a, terse_val b)
{
    if (a.markup != b.markup) {
        if (a.markup)
            b = terse_escape(j, terse_str_of(b));
        else
            a = terse_escape(j, terse_str_of(a));
    }
    const size_t n = (size_t)a.n + b.n;
    if (n > j->limit.output)
        return terse_jinja_fail(j, "a text of more than %zu bytes", j->limit.output);
    char *p = terse_jinja_get(j, n, 1);
    if (!p)
        return terse_string((terse_str){ "", 0 });
    memcpy(p, a.u.p, a.n);
    memcpy(p + a.n, b.u.p, b.n);
    terse_val v = terse_string((terse_str){ p, n });
    v.markup = a.markup;
    return v;
}

static terse_val add_lists(terse_jinja *j, const terse_seq *a, const terse_seq *b)
{
    terse_seq *s = terse_seq_make(j, a->kind, (size_t)a->n + b->n);
    if (s && a->n)
        memcpy(s->v, a->v, a->n * sizeof *s->v);
    if (s && b->n)
        memcpy(s->v + a->n, b->v, b->n * sizeof *s->v);
    return terse_seq_val(s);
}

static terse_val repeat(terse_jinja *j, terse_val a, int64_t times)
{
    const bool text = a.kind == TERSE_VAL_STR;
    const size_t n = text ? a.n : a.u.seq->n, size = text ? 1 : sizeof(terse_val);
    const size_t most = j->limit.output / size;
    times = times < 0 ? 0 : times;
    if (n > 0 && (uint64_t)times > most / n)
        return terse_jinja_fail(j, "a result of more than %zu bytes", j->limit.output);
    if (text) {
        char *p = terse_jinja_get(j, n, (size_t)times);
        for (int64_t i = 0; p && i < times && n > 0; i++)
            memcpy(p + (size_t)i * n, a.u.p, n);
        terse_val v = terse_string((terse_str){ p, p ? n * (size_t)times : 0 });
        v.markup = a.markup;
        return v;
    }
    terse_seq *s = terse_seq_make(j, a.u.seq->kind, n * (size_t)times);
    for (int64_t i = 0; s && i < times && n > 0; i++)
        memcpy(s->v + (size_t)i * n, a.u.seq->v, n * sizeof *s->v);
    return terse_seq_val(s);
}

static bool is_list(terse_val v)
{
    return terse_is_seq(v, TERSE_SEQ_LIST) || terse_is_seq(v, TERSE_SEQ_TUPLE);
}

terse_val terse_val_binary(terse_jinja *j, terse_op op, terse_val a, terse_val b)
{
    static const char *const names[] = { "+", "-", "*", "/", "//", "%", "**" };
    if (!terse_jinja_work(j, 0))
        return terse_none();
    if (is_whole(a) && is_whole(b))
        return whole_binary(j, op, whole(a), whole(b));
    if (is_number(a) && is_number(b))
        return real_binary(j, op, real(a), real(b));
    if (op == TERSE_OP_ADD && a.kind == TERSE_VAL_STR && b.kind == TERSE_VAL_STR)
        return add_strings(j, a, b);
    if (op == TERSE_OP_ADD && is_list(a) && is_list(b) && a.u.seq->kind == b.u.seq->kind)
        return add_lists(j, a.u.seq, b.u.seq);
    if (op == TERSE_OP_MUL && (a.kind == TERSE_VAL_STR || is_list(a)) && is_whole(b))
        return repeat(j, a, whole(b));
    if (op == TERSE_OP_MUL && (b.kind == TERSE_VAL_STR || is_list(b)) && is_whole(a))
        return repeat(j, b, whole(a));
    if (op == TERSE_OP_MOD && a.kind == TERSE_VAL_STR)
        return terse_percent(j, terse_str_of(a), b);
    return bad_operands(j, names[op], a, b);
}

terse_val terse_val_negate(terse_jinja *j, terse_val a, bool negative)
{
    if (a.kind == TERSE_VAL_FLOAT)
        return terse_float(negative ? -a.u.f : a.u.f);
    if (!is_whole(a))
        return a.kind == TERSE_VAL_UNDEFINED ? bad_operands(j, "-", a, a)
                                             : terse_jinja_fail(j, "'%c' does not work on '%s'",
                                                                negative ? '-' : '+', terse_type_name(a));
    if (negative && whole(a) == INT64_MIN)
        return too_big(j);
    return terse_int(negative ? -whole(a) : whole(a));
}

/* -1, 0, 1; 2: a NaN. Exact for an integer beside a float. */
static int order_numbers(terse_val a, terse_val b)
{
    if (is_whole(a) && is_whole(b))
        return (whole(a) > whole(b)) - (whole(a) < whole(b));
    if (a.kind == TERSE_VAL_FLOAT && b.kind == TERSE_VAL_FLOAT)
        return isnan(a.u.f) || isnan(b.u.f) ? 2 : (a.u.f > b.u.f) - (a.u.f < b.u.f);
    const double f = a.kind == TERSE_VAL_FLOAT ? a.u.f : b.u.f;
    const int64_t i = a.kind == TERSE_VAL_FLOAT ? whole(b) : whole(a);
    const int swap = a.kind == TERSE_VAL_FLOAT ? -1 : 1;
    if (isnan(f))
        return 2;
    if (f >= 0x1p63)
        return -swap;
    if (f < -0x1p63)
        return swap;
    const int64_t cut = (int64_t)f;
    const int whole_part = (i > cut) - (i < cut);
    return swap * (whole_part ? whole_part : ((double)cut > f) - ((double)cut < f));
}

static bool equal_seqs(terse_jinja *j, const terse_seq *a, const terse_seq *b)
{
    bool same = a->n == b->n && (a->kind == b->kind);
    for (uint32_t i = 0; same && i < a->n && terse_jinja_ok(j); i++)
        same = terse_val_equal(j, a->v[i], b->v[i]);
    return same;
}

static bool equal_dicts(terse_jinja *j, const terse_dict *a, const terse_dict *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n && terse_jinja_ok(j); i++) {
        const terse_val *v = terse_dict_find(j, b, a->keys[i]);
        same = v && terse_val_equal(j, a->values[i], *v);
    }
    return same;
}

bool terse_val_same(terse_val a, terse_val b)
{
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case TERSE_VAL_NONE:
    case TERSE_VAL_MISSING:
        return true;
    case TERSE_VAL_BOOL:
        return a.u.b == b.u.b;
    case TERSE_VAL_INT:
        return a.u.i == b.u.i;
    case TERSE_VAL_FLOAT:
        return a.u.f == b.u.f;
    case TERSE_VAL_STR:
        return a.n == b.n && memcmp(a.u.p, b.u.p, a.n) == 0;
    default:
        return a.u.p == b.u.p;
    }
}

bool terse_val_equal(terse_jinja *j, terse_val a, terse_val b)
{
    bool same = false;
    if (is_number(a) && is_number(b))
        return order_numbers(a, b) == 0;
    if (a.kind != b.kind || !terse_jinja_work(j, 0))
        return false;
    if (a.kind == TERSE_VAL_UNDEFINED)
        return true;
    if (a.kind == TERSE_VAL_STR)
        return a.n == b.n && terse_jinja_scan(j, a.n) && memcmp(a.u.p, b.u.p, a.n) == 0;
    if (a.kind != TERSE_VAL_SEQ && a.kind != TERSE_VAL_DICT)
        return terse_val_same(a, b);
    if (a.u.p == b.u.p)
        return true;
    if (terse_jinja_enter(j)) {
        if (a.kind == TERSE_VAL_DICT)
            same = equal_dicts(j, a.u.dict, b.u.dict);
        else if (is_list(a) || (a.u.seq->kind == b.u.seq->kind && a.u.seq->kind == TERSE_SEQ_RANGE))
            same = equal_seqs(j, a.u.seq, b.u.seq);
    }
    j->depth--;
    return same;
}

static bool holds(terse_op op, int order)
{
    return op == TERSE_OP_LT   ? order < 0
           : op == TERSE_OP_LE ? order <= 0
           : op == TERSE_OP_GT ? order == 1
                               : order == 0 || order == 1;
}

static int order_strings(terse_val a, terse_val b)
{
    const int c = memcmp(a.u.p, b.u.p, a.n < b.n ? a.n : b.n);
    return c ? (c > 0) - (c < 0) : (a.n > b.n) - (a.n < b.n);
}

/* The first elements that differ decide. */
static bool compare_lists(terse_jinja *j, terse_op op, const terse_seq *a, const terse_seq *b)
{
    uint32_t i = 0;
    while (i < a->n && i < b->n && terse_val_equal(j, a->v[i], b->v[i]))
        i++;
    if (!terse_jinja_ok(j))
        return false;
    if (i < a->n && i < b->n)
        return terse_val_compare(j, op, a->v[i], b->v[i]);
    return holds(op, (a->n > b->n) - (a->n < b->n));
}

bool terse_val_compare(terse_jinja *j, terse_op op, terse_val a, terse_val b)
{
    static const char *const names[] = { "<", "<=", ">", ">=" };
    bool is = false;
    if (!terse_jinja_work(j, 0))
        return false;
    if (op == TERSE_OP_EQ || op == TERSE_OP_NE)
        return terse_val_equal(j, a, b) == (op == TERSE_OP_EQ);
    if (op == TERSE_OP_IN || op == TERSE_OP_NOT_IN)
        return terse_val_in(j, a, b) == (op == TERSE_OP_IN);
    if (is_number(a) && is_number(b)) {
        const int order = order_numbers(a, b);
        return order != 2 && holds(op, order);
    }
    if (a.kind == TERSE_VAL_STR && b.kind == TERSE_VAL_STR)
        return terse_jinja_scan(j, a.n < b.n ? a.n : b.n) && holds(op, order_strings(a, b));
    if (is_list(a) && is_list(b) && a.u.seq->kind == b.u.seq->kind) {
        if (terse_jinja_enter(j))
            is = compare_lists(j, op, a.u.seq, b.u.seq);
        j->depth--;
        return is;
    }
    bad_operands(j, names[op - TERSE_OP_LT], a, b);
    return false;
}

bool terse_val_in(terse_jinja *j, terse_val a, terse_val in)
{
    if (in.kind == TERSE_VAL_STR) {
        if (a.kind != TERSE_VAL_STR)
            return terse_jinja_fail(j, "'in <string>' needs a string on its left, not '%s'",
                                    terse_type_name(a)),
                   false;
        return terse_jinja_scan(j, in.n) && memmem(in.u.p, in.n, a.u.p, a.n) != NULL;
    }
    if (in.kind == TERSE_VAL_DICT)
        return terse_hashable(j, a) && terse_dict_find(j, in.u.dict, a) != NULL;
    if (!terse_iterable(in))
        return terse_jinja_fail(j, "'%s' object is not a container", terse_type_name(in)), false;
    if (in.kind == TERSE_VAL_LOOP)
        return terse_jinja_refuse(j, "\"in loop\" is not built in"), false;
    const terse_seq *s = terse_iterate(j, in);
    for (uint32_t i = 0; s && i < s->n && terse_jinja_ok(j); i++)
        if (terse_val_equal(j, s->v[i], a))
            return true;
    return false;
}
