/* Two threads with a KV head each, whose walks are not as long: they share long ones. */
#include "tiny_model.h"

#include <math.h>

enum { N_DECODE = 5 };

/* Small, for the prompt has to be long. */
static int setup(void **state)
{
    (void)state;
    make_model_opts o = tiny_shape(3);
    o.n_embd = 64;
    o.n_head = 2;
    o.n_ff = 64;
    return tiny_open(&o);
}

/* Two threads with a KV head each split long walks under a rule in two: other bits than those of one thread,
 * but the same every time. Exact attention stays whole. */
static void two_threads_even_out(void **state)
{
    (void)state;
    enum { LONG = 6500 };
    static const char *const stops[] = { "none", "mass:delta=0.02,from=0+value-share:left=0.02" };
    static int32_t text[LONG];
    terse_error err = { 0 };
    const float *logits;
    for (int32_t t = 0; t < LONG; t++)
        text[t] = t * t % 89;
    const terse_session_opts first = { .ctx = LONG + N_DECODE, .threads = 2 };
    terse_session *long_one = open_with(&first);
    assert_int_equal(terse_session_prefill(long_one, text, LONG, &logits, NULL, &err), TERSE_OK);
    for (size_t r = 0; r < sizeof stops / sizeof *stops; r++) {
        static float out[4][N_DECODE][N_VOCAB]; /* by 1, 2, 2 and 2 threads */
        for (int32_t k = 0; k < 4; k++) {
            const terse_session_opts o = { .ctx = first.ctx, .threads = k ? 2 : 1, .stop = stops[r] };
            terse_session *s = open_with(&o);
            assert_int_equal(terse_session_copy(s, long_one, &err), TERSE_OK);
            for (int32_t t = 0; t < N_DECODE; t++) {
                assert_int_equal(terse_session_decode(s, t * 37 % N_VOCAB, &logits, &err), TERSE_OK);
                memcpy(out[k][t], logits, sizeof out[k][t]);
            }
            terse_session_close(&s);
        }
        if (memcmp(out[1], out[2], sizeof out[1]) || memcmp(out[1], out[3], sizeof out[1]))
            fail_msg("%s: two threads have different bits at different times", stops[r]);
        const bool whole = r == 0 || terse_cpu_logical() < 2; /* one core has nothing to even out */
        if ((memcmp(out[0], out[1], sizeof out[0]) == 0) != whole)
            fail_msg("%s: the bits of one thread and of two are %s", stops[r],
                     whole ? "not the same" : "the same");
        for (int32_t t = 0; t < N_DECODE; t++)
            for (int32_t v = 0; v < N_VOCAB; v++)
                assert_true(fabsf(out[0][t][v] - out[1][t][v]) < 0.5f);
    }
    terse_session_close(&long_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(two_threads_even_out) };
    return cmocka_run_group_tests(tests, setup, tiny_teardown);
}
