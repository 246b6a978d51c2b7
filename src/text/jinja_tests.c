/* text/jinja_tests.c: what stands after "is", one function each; the table is at the end. */
#include "text/jinja.h"

#define TEST(name)                                                                                             \
    static terse_val name(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all)

/* The tests that ask for the kind of a value only. */
#define KIND_TEST(name, condition)                                                                             \
    TEST(name)                                                                                                 \
    {                                                                                                          \
        (void)j, (void)arg, (void)all;                                                                         \
        return terse_bool(condition);                                                                          \
    }
KIND_TEST(t_defined, self.kind != TERSE_VAL_UNDEFINED)
KIND_TEST(t_undefined, self.kind == TERSE_VAL_UNDEFINED)
KIND_TEST(t_none, self.kind == TERSE_VAL_NONE)
KIND_TEST(t_boolean, self.kind == TERSE_VAL_BOOL)
KIND_TEST(t_true, self.kind == TERSE_VAL_BOOL && self.u.b)
KIND_TEST(t_false, self.kind == TERSE_VAL_BOOL && !self.u.b)
KIND_TEST(t_integer, self.kind == TERSE_VAL_INT)
KIND_TEST(t_float, self.kind == TERSE_VAL_FLOAT)
KIND_TEST(t_number, self.kind == TERSE_VAL_INT || self.kind == TERSE_VAL_FLOAT || self.kind == TERSE_VAL_BOOL)
KIND_TEST(t_string, self.kind == TERSE_VAL_STR)
KIND_TEST(t_escaped, self.kind == TERSE_VAL_STR && self.markup)
KIND_TEST(t_mapping, self.kind == TERSE_VAL_DICT)
KIND_TEST(t_iterable, terse_iterable(self))
KIND_TEST(t_sequence, self.kind == TERSE_VAL_STR || self.kind == TERSE_VAL_DICT ||
                          self.kind == TERSE_VAL_UNDEFINED ||
                          (self.kind == TERSE_VAL_SEQ && self.u.seq->kind <= TERSE_SEQ_RANGE))
KIND_TEST(t_callable, self.kind == TERSE_VAL_CALL || self.kind == TERSE_VAL_MACRO ||
                          self.kind == TERSE_VAL_LOOP || self.kind == TERSE_VAL_JOINER ||
                          self.kind == TERSE_VAL_UNDEFINED)

TEST(t_eq)
{
    (void)all;
    return terse_bool(terse_val_compare(j, TERSE_OP_EQ, self, arg[0]));
}
TEST(t_ne)
{
    (void)all;
    return terse_bool(terse_val_compare(j, TERSE_OP_NE, self, arg[0]));
}
TEST(t_lt)
{
    (void)all;
    return terse_bool(terse_val_compare(j, TERSE_OP_LT, self, arg[0]));
}
TEST(t_le)
{
    (void)all;
    return terse_bool(terse_val_compare(j, TERSE_OP_LE, self, arg[0]));
}
TEST(t_gt)
{
    (void)all;
    return terse_bool(terse_val_compare(j, TERSE_OP_GT, self, arg[0]));
}
TEST(t_ge)
{
    (void)all;
    return terse_bool(terse_val_compare(j, TERSE_OP_GE, self, arg[0]));
}
TEST(t_in)
{
    (void)all;
    return terse_bool(terse_val_in(j, self, arg[0]));
}
TEST(t_sameas)
{
    (void)j, (void)all;
    return terse_bool(terse_val_same(self, arg[0]));
}

static terse_val remainder_is(terse_jinja *j, terse_val a, int64_t by, int64_t wanted)
{
    const terse_val rest = terse_val_binary(j, TERSE_OP_MOD, a, terse_int(by));
    return terse_bool(terse_jinja_ok(j) && terse_val_equal(j, rest, terse_int(wanted)));
}
TEST(t_even)
{
    (void)arg, (void)all;
    return remainder_is(j, self, 2, 0);
}
TEST(t_odd)
{
    (void)arg, (void)all;
    return remainder_is(j, self, 2, 1);
}
TEST(t_divisibleby)
{
    (void)all;
    const terse_val rest = terse_val_binary(j, TERSE_OP_MOD, self, arg[0]);
    return terse_bool(terse_jinja_ok(j) && terse_val_equal(j, rest, terse_int(0)));
}

/* Has letters, and all of them are of the case. */
static terse_val is_cased(terse_jinja *j, terse_val v, terse_case wanted)
{
    const terse_str s = terse_text_of(j, v);
    const terse_val same = terse_cased(j, s, wanted);
    const terse_val other = terse_cased(j, s, wanted == TERSE_CASE_LOWER ? TERSE_CASE_UPPER : TERSE_CASE_LOWER);
    return terse_bool(terse_val_equal(j, terse_string(s), same) && !terse_val_equal(j, same, other));
}
TEST(t_lower)
{
    (void)arg, (void)all;
    return is_cased(j, self, TERSE_CASE_LOWER);
}
TEST(t_upper)
{
    (void)arg, (void)all;
    return is_cased(j, self, TERSE_CASE_UPPER);
}

TEST(t_filter)
{
    (void)arg, (void)all;
    return terse_bool(terse_jinja_find_filter(terse_text_of(j, self)) != NULL);
}
TEST(t_test)
{
    (void)arg, (void)all;
    return terse_bool(terse_jinja_find(terse_jinja_tests, terse_text_of(j, self)) != NULL);
}

const terse_jinja_row terse_jinja_tests[] = {
    { "boolean", "", t_boolean },
    { "callable", "", t_callable },
    { "defined", "", t_defined },
    { "divisibleby", "num", t_divisibleby },
    { "eq", "/ b", t_eq },
    { "equalto", "/ b", t_eq },
    { "==", "/ b", t_eq },
    { "escaped", "", t_escaped },
    { "even", "", t_even },
    { "false", "", t_false },
    { "filter", "", t_filter },
    { "float", "", t_float },
    { "ge", "/ b", t_ge },
    { ">=", "/ b", t_ge },
    { "gt", "/ b", t_gt },
    { "greaterthan", "/ b", t_gt },
    { ">", "/ b", t_gt },
    { "in", "seq", t_in },
    { "integer", "", t_integer },
    { "iterable", "", t_iterable },
    { "le", "/ b", t_le },
    { "<=", "/ b", t_le },
    { "lower", "", t_lower },
    { "lt", "/ b", t_lt },
    { "lessthan", "/ b", t_lt },
    { "<", "/ b", t_lt },
    { "mapping", "", t_mapping },
    { "ne", "/ b", t_ne },
    { "!=", "/ b", t_ne },
    { "none", "", t_none },
    { "number", "", t_number },
    { "odd", "", t_odd },
    { "sameas", "other", t_sameas },
    { "sequence", "", t_sequence },
    { "string", "", t_string },
    { "test", "", t_test },
    { "true", "", t_true },
    { "undefined", "", t_undefined },
    { "upper", "", t_upper },
    { NULL, NULL, NULL },
};
