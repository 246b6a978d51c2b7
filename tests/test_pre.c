/* Where the pre-tokenizers cut, against what another regular expression engine makes of the published patterns
 * (golden/pre_tokenizers.json, made by the script beside it), and what long runs of one character cost. */
#include "text/split.h"
#include "text_spec.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

typedef struct {
    char lengths[1024]; /* "4 1 7" */
    size_t n, bytes;
    uint64_t words;
} word_lengths;

static terse_status add_length(void *ctx, terse_str word, terse_error *err)
{
    (void)err;
    word_lengths *l = ctx;
    l->words++;
    l->bytes += word.n;
    if (l->n < sizeof l->lengths)
        l->n += (size_t)snprintf(l->lengths + l->n, sizeof l->lengths - l->n, l->n ? " %zu" : "%zu", word.n);
    return TERSE_OK;
}

static terse_split *open_split(const terse_pre *pre)
{
    terse_split *s = NULL;
    terse_error err;
    if (terse_split_open(&s, pre, &err) != TERSE_OK)
        fail_msg("%s: %s", pre->names, err.text);
    return s;
}

/* Returns the number of strings that are cut elsewhere. */
static int check_row(const char *name, const json_t *strings, const json_t *cuts)
{
    int failed = 0;
    assert_non_null(terse_pre_find(str(name)));
    terse_split *s = open_split(terse_pre_find(str(name)));
    assert_int_equal(json_array_size(cuts), json_array_size(strings));
    for (size_t i = 0; i < json_array_size(strings); i++) {
        const json_t *text = json_array_get(strings, i);
        const char *want = json_string_value(json_array_get(cuts, i));
        word_lengths got = { .n = 0 };
        assert_int_equal(terse_split_words(s, (terse_str){ json_string_value(text), json_string_length(text) },
                                           add_length, &got, NULL),
                         TERSE_OK);
        if (strcmp(got.lengths, want) == 0)
            continue;
        print_message("%s: string %zu: cut at %s, wanted %s\n", name, i, got.lengths, want);
        failed++;
    }
    terse_split_close(&s);
    return failed;
}

static void cuts_are_those_of_the_published_patterns(void **state)
{
    (void)state;
    json_error_t err;
    const char *name;
    json_t *cuts;
    int failed = 0;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/pre_tokenizers.json", JSON_ALLOW_NUL, &err);
    if (!root)
        fail_msg("golden/pre_tokenizers.json: %s", err.text);
    const json_t *strings = json_object_get(root, "strings");
    json_t *splits = json_object_get(root, "splits");
    assert_true(json_array_size(strings) >= 100 && json_object_size(splits) > 0);
    json_object_foreach(splits, name, cuts) failed += check_row(name, strings, cuts);
    json_decref(root);
    assert_int_equal(failed, 0);
}

static bool same_stages(const terse_pre *a, const terse_pre *b)
{
    for (int k = 0; k < TERSE_PRE_STAGES; k++)
        if (!a->stages[k] != !b->stages[k] || (a->stages[k] && strcmp(a->stages[k], b->stages[k]) != 0))
            return false;
    return true;
}

/* A row that shares its patterns with another one needs no strings of its own. */
static void every_row_is_compared(void **state)
{
    (void)state;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/pre_tokenizers.json", JSON_ALLOW_NUL, NULL);
    assert_non_null(root);
    const terse_pre *pre;
    for (int32_t i = 0; (pre = terse_pre_at(i)); i++) {
        const char *name;
        json_t *cuts;
        bool compared = false;
        json_object_foreach(json_object_get(root, "splits"), name, cuts) compared |=
            same_stages(pre, terse_pre_find(str(name)));
        if (!compared)
            fail_msg("%s: in no golden string", pre->names);
    }
    assert_null(terse_pre_at(-1));
    json_decref(root);
}

/* No name stands for two rows, and every name is found. */
static void names_are_unique(void **state)
{
    (void)state;
    const terse_pre *pre;
    for (int32_t i = 0; (pre = terse_pre_at(i)); i++)
        for (const char *p = pre->names; *p;) {
            const size_t n = strcspn(p, " ");
            assert_true(n > 0);
            assert_ptr_equal(terse_pre_find((terse_str){ p, n }), pre);
            p += n + (p[n] == ' ');
        }
}

/* Runs in which a pattern that backtracks, or looks ahead, over the whole run at every character would take
 * hours; the limit on steps ends a single match that does. */
static void long_runs_take_linear_time(void **state)
{
    (void)state;
    static const char *const runs[] = {
        "a",  "A",   " ",  "\n", "0",  "'",    "\xE0\xBD\xB3", "\xE4\xB8\xAD", "\t", ".",        " a",
        "a ", "\n ", "'s", "aA", "1 ", "\x01", "\xCA\xB0",     "\xE3\x80\x85", "<",  "\xC2\xBD", "\xEF\xBC\xA1"
    };
    const char *mib = getenv("TERSE_TEST_RUN_MIB");
    const size_t n = mib ? (size_t)atoi(mib) << 20 : 1 << 17;
    char *text = malloc(n);
    assert_non_null(text);
    const terse_pre *pre;
    for (int32_t i = 0; (pre = terse_pre_at(i)); i++) {
        terse_split *s = open_split(pre);
        double worst = 0.0;
        for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
            const size_t len = strlen(runs[r]), used = n / len * len;
            word_lengths got = { .n = sizeof got.lengths };
            terse_error err;
            for (size_t k = 0; k < used; k++)
                text[k] = runs[r][k % len];
            const clock_t start = clock(); /* of this process: others do not count */
            if (terse_split_words(s, (terse_str){ text, used }, add_length, &got, &err) != TERSE_OK)
                fail_msg("%s: run %zu: %s", pre->names, r, err.text);
            const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
            worst = seconds > worst ? seconds : worst;
            assert_int_equal(got.bytes, used);
        }
        print_message("%.*s: %zu bytes of one character in at most %.3f s\n", (int)strcspn(pre->names, " "),
                      pre->names, n, worst);
        assert_true(worst < 4.0);
        terse_split_close(&s);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_those_of_the_published_patterns),
        cmocka_unit_test(every_row_is_compared),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(long_runs_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
