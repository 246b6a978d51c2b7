/* Generated prompts: the same everywhere, as long as they may be, with every needle where it is asked for;
 * second questions; what is said of wrong texts. */
#include "refuse.h"
#include "ruler_fixture.h"

#include <math.h>
#include <xxhash.h>

/* ---- chance ---- */

/* The first numbers of SplitMix64 are known; a deck has every number once, and not in order. */
static void chance_is_as_documented(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 1, 2, 3, 40, 1000, 1024, 52200 };
    terse_dice d = { 1234567 };
    assert_true(terse_dice_next(&d) == UINT64_C(6457827717110365317));
    assert_true(terse_dice_next(&d) == UINT64_C(3203168211198807973));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const terse_deck c = terse_deck_of(&d, sizes[i]);
        char *seen = calloc((size_t)sizes[i], 1);
        int64_t steps = 0;
        for (int64_t k = 0; k < sizes[i]; k++) {
            const int64_t x = terse_deck_at(&c, k);
            assert_in_range(x, 0, sizes[i] - 1);
            assert_int_equal(seen[x]++, 0);
            steps += k > 0 && x - terse_deck_at(&c, k - 1) == terse_deck_at(&c, 1) - terse_deck_at(&c, 0);
        }
        assert_true(sizes[i] < 1000 || steps < sizes[i] / 10);
        assert_int_equal(terse_deck_at(&c, sizes[i] + 2), terse_deck_at(&c, 2 % sizes[i]));
        free(seen);
    }
    int count[7] = { 0 };
    for (int i = 0; i < 7000; i++)
        count[terse_dice_below(&d, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(count[i], 850, 1150);
}

/* The bytes are part of the interface: figures that were measured belong to them. */
static void a_seed_means_these_bytes(void **state)
{
    (void)state;
    const terse_ruler_opts plain = { .ctx = 1024, .limit = 2, .seed = 1 },
                           other = { .ctx = 1024, .limit = 2, .seed = 2 },
                           both = { .ctx = 4096, .limit = 1, .offset = 1, .seed = 7, .second = true };
    terse_text a = make(&plain), b = make(&plain), c = make(&other), d = make(&both);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    assert_true(XXH3_64bits(a.p, a.n) == UINT64_C(0x4798a4a815ccc106));
    assert_true(XXH3_64bits(c.p, c.n) != XXH3_64bits(a.p, a.n));
    assert_true(XXH3_64bits(d.p, d.n) == UINT64_C(0x24a75d9bdf442ab1));
    terse_text *all[] = { &a, &b, &c, &d };
    for (size_t i = 0; i < 4; i++)
        terse_text_free(all[i]);
}

/* ---- lines ---- */

static const char *string_of(const json_t *line, const char *key)
{
    const char *s = json_string_value(json_object_get(line, key));
    if (!s)
        fail_msg("no %s", key);
    return s;
}

typedef void line_check(const json_t *line, const char *task, int32_t nth);

static void each_line(const terse_ruler_opts *o, line_check *check)
{
    terse_text text = make(o);
    int32_t nth = 0;
    char last[32] = "";
    for (char *p = text.p, *end = text.p + text.n; p < end;) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        json_t *line = json_loadb(p, (size_t)(stop - p), 0, NULL);
        assert_non_null(line);
        const char *task = string_of(line, "task");
        nth = strcmp(task, last) ? o->offset : nth + 1;
        snprintf(last, sizeof last, "%s", task);
        check(line, task, nth);
        json_decref(line);
        p = stop + 1;
    }
    terse_text_free(&text);
}

/* Tokens of the longest prompt of a line, as terse eval tasks would run it, and of its answer. */
static int32_t tokens_of(const json_t *line)
{
    terse_error err = { 0 };
    terse_tasks *t;
    char *text = json_dumps(line, 0);
    const terse_tasks_opts o = { .second = json_object_get(line, "question2") != NULL };
    if (terse_tasks_open(&t, vocab, "line", text, strlen(text), &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    const int32_t n = terse_tasks_ctx(t);
    assert_int_equal(terse_tasks_count(t), 1 + o.second);
    terse_tasks_close(&t);
    free(text);
    return n;
}

/* What is left of the length is less than one more sentence, statement, word or document. */
static void check_length(const json_t *line, const char *task, int32_t nth)
{
    static const struct {
        const char *task;
        int32_t most;
    } unit[] = { { "niah_single_1", 15 },
                 { "niah_multikey_2", 24 },
                 { "niah_multikey_3", 90 },
                 { "niah", 260 },
                 { "vt", 15 },
                 { "cwe", 40 },
                 { "fwe", 40 },
                 { "qa", 170 } };
    const int32_t ctx = (int32_t)json_integer_value(json_object_get(line, "length")), n = tokens_of(line);
    const int32_t n_answer = (int32_t)json_integer_value(json_object_get(line, "max_new_tokens"));
    size_t i = 0;
    while (strncmp(task, unit[i].task, strlen(unit[i].task)) != 0)
        i++;
    if (n > ctx || n < ctx - unit[i].most)
        fail_msg("%s %d: %d tokens of %d", task, nth, n, ctx);
    assert_int_equal(json_integer_value(json_object_get(line, "n_tokens")), n - n_answer);
    assert_int_equal(n_answer, terse_task_tokens(task));
}

static void prompts_are_as_long_as_they_may_be(void **state)
{
    (void)state;
    each_line(&(terse_ruler_opts){ .ctx = 1000, .limit = 3, .seed = 5 }, check_length);
    each_line(&(terse_ruler_opts){ .ctx = 4096, .limit = 1, .seed = 6, .second = true }, check_length);
    each_line(&(terse_ruler_opts){ .ctx = 16384, .limit = 1, .seed = 7 }, check_length);
}

/* ---- what is hidden ---- */

static int32_t count_of(const char *text, const char *what)
{
    int32_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

/* The next one of the keys in "a, b and c" that begins at *list. */
static bool next_key(const char **list, const char *end, char *key, size_t size)
{
    const char *comma = strstr(*list, ", "), *and = strstr(*list, " and "), *stop = end;
    if (*list >= end)
        return false;
    if (comma && comma < stop)
        stop = comma;
    if (and&&and < stop)
        stop = and;
    snprintf(key, size, "%.*s", (int)(stop - *list), *list);
    *list = stop + (stop == end ? 0 : stop == comma ? 2 : 5);
    return true;
}

/* "\nAnswer: The LABELs for KEY, KEY and KEY are": each statement is in the context once. */
static void check_needles(const json_t *line, const char *prefix, const json_t *answers)
{
    const char *context = string_of(line, "context"), *label = prefix + strlen("\nAnswer: The ");
    const char *keys = strstr(label, " for ") + 5, *end = prefix + strlen(prefix) - strlen(" is");
    const size_t n = json_array_size(answers);
    const bool many = strcmp(end, " is") != 0;
    size_t used = 0;
    char key[256], want[512];
    end -= many;
    const int label_size = (int)(keys - 5 - label) - many;
    while (next_key(&keys, end, key, sizeof key)) {
        const bool last = keys >= end;
        do {
            snprintf(want, sizeof want, "%.*s for %s is %s.", label_size, label, key,
                     json_string_value(json_array_get(answers, used)));
            if (count_of(context, want) != 1)
                fail_msg("'%s' stands %d times in the context", want, count_of(context, want));
            assert_true(count_of(context, key) >= 1);
            used++;
        } while (last && used < n);
    }
    assert_int_equal(used, n);
}

/* Follows "VAR X = 123." and "VAR Y = VAR X." from the value on. */
static void check_chain(const json_t *line, const char *question, const json_t *answers)
{
    const char *context = string_of(line, "context"), *at = strstr(question, "value ") + 6;
    char want[64];
    snprintf(want, sizeof want, " = %.5s.", at);
    const char *p = strstr(context, want);
    size_t n = 0;
    assert_int_equal(count_of(context, want), 1);
    for (; p; n++) {
        char name[6];
        snprintf(name, sizeof name, "%.5s", p - 5);
        assert_true(n < json_array_size(answers));
        assert_string_equal(json_string_value(json_array_get(answers, n)), name);
        snprintf(want, sizeof want, " = VAR %s.", name);
        p = strstr(p, want); /* further on: a chain goes from the front to the end */
    }
    assert_int_equal(n, json_array_size(answers));
    assert_int_equal(n, 5);
}

/* The document that holds the text; of the documents that do, the one other than not. */
static const char *document_with(const char *context, const char *text, const char * not, size_t *n)
{
    for (const char *p = strstr(context, "\nDocument "), *next; p; p = next) {
        next = strstr(p + 1, "\nDocument ");
        *n = next ? (size_t)(next - p) : strlen(p);
        const char *at = strstr(p, text);
        if (at && at < p + *n && p != not )
            return p;
    }
    fail_msg("no document with '%s'", text);
    return NULL;
}

static bool holds(const char *document, size_t n, const char *text)
{
    const char *at = strstr(document, text);
    return at && at < document + n;
}

/* Of the question "... NAME ...": the name of a person or a town of the context. */
static void name_in(const char *prefix, const char *before, const char *after, char name[64])
{
    const char *p = *before ? strstr(prefix, before) : prefix + strlen("\nAnswer: ");
    assert_non_null(p);
    p += strlen(before);
    const char *stop = strstr(p, after);
    assert_non_null(stop);
    snprintf(name, 64, "%.*s", (int)(stop - p), p);
}

static void check_one_document(const json_t *line, const char *prefix, const char *answer)
{
    static const char *const forms[][2] = { { "Answer: The bridge of ", " was" },
                                            { "Answer: The market of ", " is" },
                                            { " that ", " has is" },
                                            { "", " lie" },
                                            { "", " lives" },
                                            { "", " works" },
                                            { "", " was born" } };
    const char *context = string_of(line, "context");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strstr(prefix, forms[i][0]) && strstr(prefix, forms[i][1])) {
            char name[64];
            size_t n = 0;
            name_in(prefix, forms[i][0], forms[i][1], name);
            const char *document = document_with(context, name, NULL, &n);
            assert_true(holds(document, n, answer));
            return;
        }
    fail_msg("a question that this test does not know: %s", prefix);
}

/* From the person to the town and from there to the answer. */
static void check_two_documents(const json_t *line, const char *prefix, const char *answer)
{
    const char *context = string_of(line, "context");
    char name[64], town[64];
    size_t n = 0;
    name_in(prefix, "where ", " lives", name);
    const char *person = document_with(context, name, NULL, &n), *lives = strstr(person, " lives in ");
    assert_non_null(lives);
    assert_true(lives < person + n);
    snprintf(town, sizeof town, "%.*s", (int)strcspn(lives + 10, " ."), lives + 10);
    assert_false(holds(person, n, answer));
    const char *other = document_with(context, town, person, &n);
    assert_true(holds(other, n, answer));
}

/* How often a word stands in the list behind the last blank line but one: "17. word". */
static int32_t times(const char *list, const char *word)
{
    int32_t n = 0;
    const size_t len = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += len)
        n += p[-1] == ' ' && (p[len] == ' ' || p[len] == '\0');
    return n;
}

static void check_counts(const json_t *line, const char *task, const json_t *answers)
{
    const char *context = string_of(line, "context"), *list = context;
    if (!strcmp(task, "cwe"))
        for (const char *p = context; (p = strstr(p, "Below is")); p++)
            list = p; /* behind the example */
    int32_t least = INT32_MAX;
    for (size_t i = 0; i < json_array_size(answers); i++) {
        const int32_t n = times(list, json_string_value(json_array_get(answers, i)));
        least = n < least ? n : least;
    }
    assert_int_equal(json_array_size(answers), strcmp(task, "cwe") ? 3 : 10);
    char word[64];
    for (const char *p = strchr(list, '\n'); *p; p += *p != '\0') {
        const size_t len = strcspn(p, " \n");
        snprintf(word, sizeof word, "%.*s", (int)len, p);
        bool answer = len == 0 || word[0] == '.' || strchr("0123456789", word[0]);
        for (size_t i = 0; i < json_array_size(answers); i++)
            answer |= !strcmp(word, json_string_value(json_array_get(answers, i)));
        if (!answer && times(list, word) >= least)
            fail_msg("%s: %s stands there %d times, an answer %d", task, word, times(list, word), least);
        p += len;
    }
}

static void check_hidden(const json_t *line, const char *task, int32_t nth)
{
    static const char *const names[2][3] = { { "question", "answer_prefix", "answers" },
                                             { "question2", "answer_prefix2", "answers2" } };
    (void)nth;
    const int n = json_object_get(line, "question2") ? 2 : 1;
    for (int i = 0; i < n; i++) {
        const char *question = string_of(line, names[i][0]), *prefix = string_of(line, names[i][1]);
        const json_t *answers = json_object_get(line, names[i][2]);
        const char *first = json_string_value(json_array_get(answers, 0));
        if (!strncmp(task, "niah", 4))
            check_needles(line, prefix, answers);
        else if (!strcmp(task, "vt"))
            check_chain(line, question, answers);
        else if (!strcmp(task, "qa_1"))
            check_one_document(line, prefix, first);
        else if (!strcmp(task, "qa_2"))
            check_two_documents(line, prefix, first);
        else
            check_counts(line, task, answers);
    }
    if (n == 2) {
        assert_string_not_equal(string_of(line, "question"), string_of(line, "question2"));
        assert_false(json_equal(json_object_get(line, "answers"), json_object_get(line, "answers2")));
    }
}

static void everything_asked_for_is_there(void **state)
{
    (void)state;
    each_line(&(terse_ruler_opts){ .ctx = 1500, .limit = 12, .seed = 3, .second = true }, check_hidden);
    each_line(&(terse_ruler_opts){ .ctx = 4500, .limit = 1, .seed = 4 }, check_hidden);
    each_line(&(terse_ruler_opts){ .ctx = 900, .limit = 2, .seed = 4, .no_example = true }, check_hidden);
}

static double depth_of(const json_t *line, const char *answers)
{
    const char *context = string_of(line, "context");
    const char *at = strstr(context, json_string_value(json_array_get(json_object_get(line, answers), 0)));
    return (double)(at - context) / (double)strlen(context);
}

/* 11 slots on from prompt to prompt, 40 of them; the second is half a context away. */
static void check_depth(const json_t *line, const char *task, int32_t nth)
{
    (void)task;
    const int32_t slot = nth * 11 % 40;
    if (!(fabs(depth_of(line, "answers") - slot / 39.0) < 0.06))
        fail_msg("prompt %d: depth %.3f, not %.3f", nth, depth_of(line, "answers"), slot / 39.0);
    if (json_object_get(line, "answers2"))
        assert_true(fabs(depth_of(line, "answers2") - (slot + 20) % 40 / 39.0) < 0.06);
}

static void needles_lie_at_all_depths(void **state)
{
    (void)state;
    each_line(&(terse_ruler_opts){ .task = "niah_single_1", .ctx = 2048, .limit = 40, .seed = 9 }, check_depth);
    each_line(
        &(terse_ruler_opts){ .task = "niah_multikey_2", .ctx = 2048, .limit = 8, .offset = 5, .second = true },
        check_depth);
}

/* ---- second questions ---- */

#define SECOND                                                                                                 \
    "\"question2\":\"\\n\\nQuestion: What is the password for the red hat?\",\"answer_prefix2\":\"\\nAnswer: " \
    "The password for the red hat is\",\"answers2\":[\"1234\"]"

static terse_tasks *open_tasks(const char *text, bool second)
{
    terse_error err = { 0 };
    terse_tasks *t;
    const terse_tasks_opts o = { .second = second };
    if (terse_tasks_open(&t, vocab, "FILE", text, strlen(text), &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return t;
}

/* Behind the right answer of the first, of which any list is written out but that of qa. */
static void second_question_follows_the_right_answer(void **state)
{
    (void)state;
    static const char all[] = "{\"task\":\"a\"," FACTS "," FIRST "," SECOND "}",
                      any[] = "{\"task\":\"qa_1\"," FACTS "," FIRST "," SECOND "}";
    static const char *const texts[] = { all, any }, *const behind[] = { " 4711, x.\n\nQ", " 4711.\n\nQ" };
    for (int i = 0; i < 2; i++) {
        terse_error err = { 0 };
        terse_text out = { 0 };
        terse_tasks *t = open_tasks(texts[i], true);
        assert_int_equal(t->n, 2);
        assert_true(t->item[1].follows && !t->item[0].follows);
        assert_int_equal(t->item[1].n_dense, t->item[0].n_dense);
        assert_int_equal(t->item[1].judge, i ? TERSE_JUDGE_ANY : TERSE_JUDGE_ALL);
        assert_string_equal(terse_tasks_name_at(t, 1), i ? "qa_1 2nd" : "a 2nd");
        assert_int_equal(terse_vocab_detokenize(vocab, t->item[1].ids, (size_t)t->item[1].n, false, &out, &err),
                         TERSE_OK);
        assert_non_null(strstr(out.p, behind[i]));
        assert_string_equal(out.p + out.n - 27, "password for the red hat is");
        bool decided;
        assert_true(terse_task_score(&t->item[1], " 1234", 5, &decided) == 1.0 && decided);
        assert_true(terse_task_score(&t->item[1], " 4711", 5, &decided) == 0.0);
        terse_text_free(&out);
        terse_tasks_close(&t);
        t = open_tasks(texts[i], false);
        assert_int_equal(t->n, 1);
        terse_tasks_close(&t);
    }
}

static terse_eval *run_tasks(const terse_tasks *t)
{
    static const terse_eval_rule rule = { .stop = "value-skip:eps=0.5" };
    const terse_eval_opts o = { .session = { .ctx = terse_tasks_ctx(t) } };
    terse_error err = { 0 };
    terse_eval *e;
    assert_int_equal(terse_eval_open(&e, model, &o, &rule, 1, &err), TERSE_OK);
    if (terse_eval_tasks(e, t, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return e;
}

/* What follows gives the bits that it would give with a context of its own, and belongs to the same sample. */
static void second_question_needs_no_second_prefill(void **state)
{
    (void)state;
    terse_error err;
    terse_eval_result a, b;
    terse_text text =
        make(&(terse_ruler_opts){ .task = "niah_multikey_1", .ctx = 700, .limit = 2, .second = true });
    terse_tasks *t = open_tasks(text.p, true);
    terse_eval *e = run_tasks(t);
    assert_int_equal(terse_eval_result_of(e, 0, &a, &err), TERSE_OK);
    const terse_eval_score first = terse_eval_score_of(e, 0, 0), second = terse_eval_score_of(e, 0, 1);
    assert_true(first.n == 2 && second.n == 2);
    assert_int_equal(a.n_sample, 2);
    terse_eval_close(&e);
    for (int32_t i = 0; i < t->n; i++) {
        assert_int_equal(t->item[i].follows, i % 2);
        t->item[i].follows = false;
    }
    e = run_tasks(t);
    assert_int_equal(terse_eval_result_of(e, 0, &b, &err), TERSE_OK);
    assert_int_equal(b.n_sample, 4);
    assert_int_equal(a.n_token, b.n_token);
    assert_true(a.mean == b.mean && a.max == b.max && a.mean > 0.0);
    assert_int_equal(a.read.bytes_v, b.read.bytes_v);
    assert_true(terse_eval_score_of(e, 0, 0).correct == first.correct);
    assert_true(terse_eval_score_of(e, 0, 1).correct == second.correct);
    terse_eval_close(&e);
    terse_tasks_close(&t);
    terse_text_free(&text);
}

/* ---- what is wrong ---- */

/* The source with the first from replaced. */
static terse_text changed(const char *from, const char *to)
{
    terse_error err;
    terse_text t = { 0 };
    const char *at = strstr(source.p, from);
    assert_non_null(at);
    assert_int_equal(terse_text_append(&t, source.p, (size_t)(at - source.p), &err), TERSE_OK);
    assert_int_equal(terse_text_append(&t, to, strlen(to), &err), TERSE_OK);
    at += strlen(from);
    assert_int_equal(terse_text_append(&t, at, strlen(at), &err), TERSE_OK);
    return t;
}

static void refused(const char *text, size_t n, const terse_ruler_opts *o, const char *why)
{
    terse_error err = { 0 };
    terse_text out = { 0 };
    assert_int_equal(terse_ruler_make(&out, vocab, text, n, o, &err), TERSE_BAD_INPUT);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
    terse_text_free(&out);
}

static void wrong_texts_are_named(void **state)
{
    (void)state;
    static const char long_name[] =
        "[jobs]\nbaker-baker-baker-baker-baker-baker-baker-baker-baker-baker-baker\n";
    static const struct {
        const char *from, *to, *why, *task;
    } cases[] = {
        { "[jobs]", "[job]", "[job] is not known", NULL },
        { "[jobs]", "[nouns]", "[nouns] is there twice", NULL },
        { "[jobs]\n", "", "no section [jobs]", NULL },
        { "[noise]", "kettle\n[noise]", "before the first [section]", NULL },
        { "[jobs]\n", long_name, "longer than 64 bytes", NULL },
        { "town|{full}", "town {full}", "not fact|sentence", NULL },
        { "{full} lives in {town}.\n", "{full} lives in {city}.\n", "{city}", "qa_1" },
        { "town|{full} lives in {town}.\n", "town|{full} lives in {town.\n", "{town.", "qa_1" },
        { "|{town}\njob|What", "|\njob|What", "has no answer", "qa_1" },
        { "[adjectives]\n", "[adjectives]\n\xff\n", "UTF-8", "niah_multikey_2" },
    };
    const terse_ruler_opts all = { .ctx = 1500 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        terse_text t = changed(cases[i].from, cases[i].to);
        const terse_ruler_opts o = { .task = cases[i].task, .ctx = 1500, .limit = 40 };
        refused(t.p, t.n, &o, cases[i].why);
        terse_text_free(&t);
    }
    refused("", 0, &all, "no section [haystack]");
    const char *hay = strstr(source.p, "\n[haystack]\n");
    terse_text cut = { 0 };
    terse_error err;
    assert_int_equal(terse_text_append(&cut, source.p, (size_t)(hay - source.p) + 100, &err), TERSE_OK);
    refused(cut.p, cut.n, &all, "too short");
    terse_text_free(&cut);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    refused(source.p, source.n, &(terse_ruler_opts){ .ctx = 1000, .task = "niah" },
            "'niah'; there are niah_single_1");
    refused(source.p, source.n, &(terse_ruler_opts){ .ctx = 0 }, "0 tokens");
    refused(source.p, source.n, &(terse_ruler_opts){ .ctx = 1000, .limit = -1 }, "limit -1");
    refused(source.p, source.n, &(terse_ruler_opts){ .ctx = 100 }, "there is room for 100");
    refused(source.p, source.n, &(terse_ruler_opts){ .ctx = 400000, .task = "qa_1", .limit = 1 },
            "the text has names for");
    int32_t n = 0;
    while (terse_ruler_task_at(n))
        n++;
    assert_int_equal(n, 13);
    assert_null(terse_ruler_task_at(-1));
}

/* The library's allocations refused: the first ones each, then now and then one. */
static void without_memory_it_says_so(void **state)
{
    (void)state;
    static const char *const tasks[] = { "niah_multiquery", "cwe", "fwe", "qa_2" };
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        const terse_ruler_opts o = { .task = tasks[i], .ctx = 800, .limit = 1, .second = true };
        terse_status st = TERSE_NOMEM;
        long n = 0;
        for (; st != TERSE_OK; n += 1 + n / 32) {
            terse_error err = { 0 };
            terse_text out = { 0 };
            left = n;
            st = terse_ruler_make(&out, vocab, source.p, source.n, &o, &err);
            left = -1;
            terse_text_free(&out);
            if (st != TERSE_OK && st != TERSE_NOMEM)
                fail_msg("%s, request %ld: %s", tasks[i], n, err.text);
        }
        assert_true(n > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chance_is_as_documented),
        cmocka_unit_test(a_seed_means_these_bytes),
        cmocka_unit_test(prompts_are_as_long_as_they_may_be),
        cmocka_unit_test(everything_asked_for_is_there),
        cmocka_unit_test(needles_lie_at_all_depths),
        cmocka_unit_test(second_question_follows_the_right_answer),
        cmocka_unit_test(second_question_needs_no_second_prefill),
        cmocka_unit_test(wrong_texts_are_named),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
