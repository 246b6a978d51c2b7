/* terse run --prompt-cache: the same answers from a prompt that is not computed again. */
#include "run_fixture.h"

#include <sys/stat.h>

#define SEA "'The captain looked at the sea and the sea looked at the captain. Then' --temp 0 -n 12 --json"
#define LONGER                                                                                                 \
    "'The captain looked at the sea and the sea looked at the captain. Then he' --temp 0 -n 12 --json"

static int32_t ids[64];

/* Ids of the answer into ids; how many tokens of the prompt came from the file. */
static json_int_t answer(const char *prompt, const char *options, json_int_t *n_prompt)
{
    run(0, "'%s' -p %s %s", MODEL, prompt, options);
    json_t *j = parsed();
    const json_t *list = json_object_get(j, "ids");
    memset(ids, 0, sizeof ids);
    for (size_t i = 0; i < json_array_size(list); i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    const json_int_t cached = json_integer_value(json_object_get(j, "cached_tokens"));
    *n_prompt = json_integer_value(json_object_get(j, "prompt_tokens"));
    json_decref(j);
    return cached;
}

static int64_t size_of(const char *name)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void the_answer_is_the_same(void **state)
{
    (void)state;
    int32_t want[64], longer[64];
    json_int_t n, m;
    assert_int_equal(answer(LONGER, "", &m), 0);
    memcpy(longer, ids, sizeof ids);
    assert_int_equal(answer(SEA, "", &n), 0);
    memcpy(want, ids, sizeof ids);
    assert_int_equal(answer(SEA, "--prompt-cache sea.kv", &n), 0);
    assert_memory_equal(ids, want, sizeof ids);
    const int64_t size = size_of("sea.kv");
    assert_true(size > 0);
    assert_int_equal(answer(SEA, "--prompt-cache sea.kv", &n), n - 1);
    assert_memory_equal(ids, want, sizeof ids);
    assert_int_equal(answer(LONGER, "--prompt-cache sea.kv --prompt-cache-ro", &m), n);
    assert_memory_equal(ids, longer, sizeof ids);
    assert_int_equal(size_of("sea.kv"), size);
    assert_int_equal(answer(SEA, "--prompt-cache sea.kv --draft ngram --repeat-penalty 1.0", &n), n - 1);
    assert_memory_equal(ids, want, sizeof ids);
    assert_int_equal(answer("Other --json --temp 0 -n 2", "--prompt-cache sea.kv", &n), 1); /* the beginning */
}

/* --prompt-cache-all keeps the answer too: a prompt that has it goes on behind it. */
static void answers_can_be_kept(void **state)
{
    (void)state;
    char text[512];
    json_int_t n, m;
    run(0, "'%s' -p %s --prompt-cache all.kv --prompt-cache-all", MODEL, SEA);
    json_t *j = parsed();
    n = json_integer_value(json_object_get(j, "prompt_tokens"));
    snprintf(text, sizeof text,
             "The captain looked at the sea and the sea looked at the captain. Then%s and so",
             json_string_value(json_object_get(j, "text")));
    json_decref(j);
    write_text("more", text);
    run(0, "'%s' -f more --temp 0 -n 2 --json --prompt-cache all.kv", MODEL);
    j = parsed();
    m = json_integer_value(json_object_get(j, "cached_tokens"));
    json_decref(j);
    assert_true(m > n + 4);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    json_int_t n;
    answer(SEA, "--prompt-cache fit.kv", &n);
    run(2, "'%s' -p %s --prompt-cache fit.kv -ctk q8", MODEL, SEA);
    assert_non_null(strstr(told, "-ctk"));
    write_text("text.kv", "not a snapshot at all, and far too short for one");
    run(2, "'%s' -p %s --prompt-cache text.kv", MODEL, SEA);
    assert_non_null(strstr(told, "not a snapshot"));
    assert_int_equal(size_of("text.kv"), 48);
    run(74, "'%s' -p %s --prompt-cache no/such/folder.kv", MODEL, SEA);
    run(2, "'%s' -p %s --prompt-cache-ro", MODEL, SEA);
    assert_non_null(strstr(told, "--prompt-cache"));
}

/* A cache that has dropped tokens holds no shorter prompt: what is gone would be missed. */
static void what_was_dropped_is_computed_again(void **state)
{
    (void)state;
    static const char *const how[] = { "--kv-policy window:budget=64", "--kv-policy tova:budget=64", "" };
    char text[4096] = "", options[128];
    int32_t want[64];
    json_int_t n, m;
    for (int i = 0; i < 40; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "The captain counted %d ships in the bay. ",
                 i);
    write_text("long", text);
    text[strlen(text) * 2 / 3] = '\0';
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        run(0, "'%s' -f long -n 1 --json --prompt-cache gone%zu.kv %s", MODEL, i, how[i]);
        snprintf(options, sizeof options, "-n 12 %s", how[i]);
        write_text("prompt", text);
        char prompt[] = "\"$(cat prompt)\" --temp 0 --json";
        assert_int_equal(answer(prompt, options, &n), 0);
        memcpy(want, ids, sizeof ids);
        snprintf(options, sizeof options, "-n 12 --prompt-cache gone%zu.kv %s", i, how[i]);
        const json_int_t cached = answer(prompt, options, &m);
        assert_int_equal(m, n);
        assert_true(how[i][0] ? cached == 0 : cached > n - 5);
        assert_memory_equal(ids, want, sizeof ids);
    }
}

static void inspect_tells_what_is_there(void **state)
{
    (void)state;
    char line[512];
    json_int_t n;
    answer(SEA, "--prompt-cache seen.kv", &n);
    snprintf(line, sizeof line, "cd %s && '%s' inspect seen.kv >text && '%s' inspect seen.kv --json >out",
             folder, TERSE_PROGRAM, TERSE_PROGRAM);
    assert_int_equal(system(line), 0);
    slurp("out", said, sizeof said);
    json_t *j = parsed();
    assert_int_equal(json_integer_value(json_object_get(j, "tokens")), n);
    assert_string_equal(json_string_value(json_object_get(j, "type_k")), "f16");
    json_decref(j);
    slurp("text", said, sizeof said);
    assert_non_null(strstr(said, "held     100.0 %"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_is_the_same),       cmocka_unit_test(answers_can_be_kept),
        cmocka_unit_test(what_does_not_fit_is_refused), cmocka_unit_test(what_was_dropped_is_computed_again),
        cmocka_unit_test(inspect_tells_what_is_there),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
