/* Policies and stop rules as text: what is wrong with one, and that a rule can be given back what it is called.
 */
#include "terse/attend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void rules_that_do_not_parse(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *stop, *says;
    } bad[] = {
        { NULL, "mas", "known are none, mass" },
        { NULL, "mass:delt=1", "it takes delta floor from norm" },
        { NULL, "mass:norm=max", "must be one of rms, sum" },
        { NULL, "mass:delta=x", "must be a number from 0 to 100, not 'x'" },
        { NULL, "mass+weight", "do not go together" },
        { NULL, "value-skip+value-share", "do not go together" },
        { NULL, "stability+value-skip", "looks at the output" },
        { NULL, "mass+", "stop rule '' is unknown" },
        { "dense:order=newest", "mass", "needs the order mass, not newest" },
        { "dense:order=up", NULL, "must be one of auto, newest, oldest, mass, box, random, oracle" },
        { "dense:order=oracle", "certified", "needs the order box, not oracle" },
        { "dens", NULL, "known are dense" },
        { "dense:", NULL, "dense does not know ''" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_error err = { 0 };
        terse_attend *a;
        assert_int_equal(terse_attend_open(&a, bad[i].policy, bad[i].stop, 0, &err), TERSE_BAD_INPUT);
        if (!strstr(err.text, bad[i].says))
            fail_msg("'%s' should say '%s'", err.text, bad[i].says);
        assert_null(a);
    }
}

/* What a rule is called can be given back to it. */
static void texts_round_trip(void **state)
{
    (void)state;
    static const char *const texts[] = { "mass:from=1e9+value-share", "stability:reading=sum,tau=1e-7", "none",
                                         "value-skip:eps=0.25", "mass:delta=1e+1,norm=sum+value-skip" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        terse_error err = { 0 };
        terse_attend *a, *b;
        assert_int_equal(terse_attend_open(&a, NULL, texts[i], 0, &err), TERSE_OK);
        assert_int_equal(terse_attend_open(&b, NULL, terse_attend_stop_text(a), 0, &err), TERSE_OK);
        assert_string_equal(terse_attend_stop_text(a), terse_attend_stop_text(b));
        terse_attend_close(&a);
        terse_attend_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_that_do_not_parse),
        cmocka_unit_test(texts_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
