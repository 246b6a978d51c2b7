/* Sessions under SP-KV and other policies that drop tokens: copies, batches, files. */
#include "engine/tap.h"
#include "gated_model.h"
#include "kv/store.h"

/* Older tokens that one store holds and the other does not. */
static int32_t different(const terse_kv *a, const terse_kv *b)
{
    int32_t n = 0;
    for (size_t u = 0; u < 6; u++)
        for (int32_t i = 0; i < a->n_long[u]; i++) {
            bool found = false;
            for (int32_t k = 0; k < b->n_long[u]; k++)
                found |= terse_kv_positions(a, u)[i] == terse_kv_positions(b, u)[k];
            n += !found;
        }
    return n;
}

/* A dense session's tokens go to another one, whose policy then looks at them: as if they had come under it. */
static void copies_come_under_policies(void **state)
{
    (void)state;
    static const char *const policies[] = { "snapkv:keep=0.3", "pyramidkv:keep=0.3", "window:keep=0.3" };
    terse_error err;
    terse_session *from =
        open_on(model, (terse_session_opts){ .policy = "dense", .observe = true, .strands = 1 });
    terse_session *to =
        open_on(model, (terse_session_opts){ .policy = "dense", .observe = true, .strands = 1 });
    assert_int_equal(terse_session_prefill(from, tokens, 350, NULL, NULL, &err), TERSE_OK);
    for (int i = 0; i < 3; i++) {
        terse_session *want = open_on(model, (terse_session_opts){ .policy = policies[i], .strands = 1 });
        assert_int_equal(terse_session_prefill(want, tokens, 350, NULL, NULL, &err), TERSE_OK);
        assert_int_equal(terse_session_decode(want, 1, NULL, &err), TERSE_OK);
        assert_int_equal(terse_session_rule(to, "dense", "none", NULL, 0, &err), TERSE_OK);
        assert_int_equal(terse_session_copy(to, from, &err), TERSE_OK);
        assert_int_equal(terse_session_rule(to, policies[i], "none", NULL, 0, &err), TERSE_OK);
        assert_int_equal(terse_session_decode(to, 1, NULL, &err), TERSE_OK);
        assert_int_equal(terse_session_held(to), terse_session_held(want));
        /* Pages were cut elsewhere during the prompt: rounding decides about a few tokens. */
        assert_in_range(different(terse_session_kv(to), terse_session_kv(want)), 0, 6);
        terse_session_close(&want);
    }
    assert_int_equal(terse_session_count(from), 350);
    assert_int_equal(terse_session_held(from), 6 * 350);
    terse_session *other = open_on(model, (terse_session_opts){ .ctx = 500 });
    assert_int_equal(terse_session_copy(other, from, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_count(other), 0);
    terse_session_close(&other);
    terse_session_close(&to);
    terse_session_close(&from);
}

/* Copies of a gated session share its pages, decode in one batch, and go on from a file: with the bits that
 * each would have alone. */
static void gated_sessions_in_batches_and_files(void **state)
{
    (void)state;
    enum { N_COPY = 3, N_STEP = 90 };
    char file[80];
    terse_error err;
    float rows[N_COPY * N_VOCAB];
    const float *want;
    terse_session *beside[N_COPY], *apart[N_COPY];
    int32_t *ids, n;
    terse_session_opts o = { .threads = 2, .strands = 1 };
    terse_session *from = open_on(model, o);
    snprintf(file, sizeof file, "/tmp/terse-spkv-%d.kv", (int)getpid());
    assert_int_equal(terse_session_prefill(from, tokens, 350, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_save(from, tokens, file, &err), TERSE_OK);
    const terse_pool *pool = terse_session_kv(from)->pool;
    const int32_t used = pool->n_slab * TERSE_SLAB_PAGES - pool->n_free;
    for (int32_t i = 0; i < N_COPY; i++) {
        apart[i] = open_on(model, o);
        assert_int_equal(terse_session_load(apart[i], file, &ids, &n, &err), TERSE_OK);
        assert_int_equal(n, 350);
        free(ids);
        o.beside = from;
        beside[i] = open_on(model, o);
        o.beside = NULL;
        assert_int_equal(terse_session_copy(beside[i], from, &err), TERSE_OK);
        assert_int_equal(terse_session_held(apart[i]), terse_session_held(from));
    }
    assert_int_equal(pool->n_slab * TERSE_SLAB_PAGES - pool->n_free, used);
    for (int32_t t = 0; t < N_STEP; t++) {
        terse_batch_part part[N_COPY];
        for (int32_t i = 0; i < N_COPY; i++)
            part[i] = (terse_batch_part){ beside[i], tokens + (t * (i + 1)) % N, 1, 1, false };
        assert_int_equal(terse_session_batch(part, N_COPY, rows, &err), TERSE_OK);
        for (int32_t i = 0; i < N_COPY; i++) {
            assert_int_equal(terse_session_decode(apart[i], *part[i].tokens, &want, &err), TERSE_OK);
            assert_memory_equal(want, rows + (size_t)i * N_VOCAB, N_VOCAB * sizeof *want);
        }
    }
    for (int32_t i = 0; i < N_COPY; i++) {
        assert_int_equal(terse_session_held(beside[i]), terse_session_held(apart[i]));
        terse_session_close(&beside[i]);
        terse_session_close(&apart[i]);
    }
    assert_int_equal(terse_session_count(from), 350);
    terse_session_close(&from);
    unlink(file);
}

/* Whether a full context must fit is a question of the policy, the model's own one too. */
static void measuring_knows_policies_that_drop(void **state)
{
    (void)state;
    terse_error err;
    terse_model *plain;
    assert_int_equal(terse_model_open(&plain, plain_path, &err), TERSE_OK);
    assert_true(terse_session_measure(model, NULL).drops);
    assert_false(terse_session_measure(plain, NULL).drops);
    static const struct {
        const char *policy;
        bool drops;
    } cases[] = { { "dense", false },
                  { "quest:share=0.2", false },
                  { "window:budget=64", true },
                  { "auto", true },
                  { "no such policy", false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const terse_session_opts o = { .policy = cases[i].policy };
        assert_int_equal(terse_session_measure(model, &o).drops, cases[i].drops);
    }
    terse_model_close(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_come_under_policies),
        cmocka_unit_test(gated_sessions_in_batches_and_files),
        cmocka_unit_test(measuring_knows_policies_that_drop),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
