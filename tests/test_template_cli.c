/* terse template on the embedded model, as users run it: what goes to stdout and stderr, and the exit code. */
#include "folder.h"
#include "terse/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"

static char said[1 << 14], told[1 << 14];

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

static void slurp(const char *name, char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

/* Runs "terse template ARGUMENTS" in the folder and checks the exit code. */
static void run(int want, const char *arguments)
{
    char line[2048];
    snprintf(line, sizeof line, "cd %s && </dev/null >out 2>err '%s' template %s", folder, TERSE_PROGRAM,
             arguments);
    const int status = system(line), code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    slurp("out", said, sizeof said);
    slurp("err", told, sizeof told);
    if (code != want)
        fail_msg("%s: exit code %d, not %d: %s", arguments, code, want, told);
}

static void conversations_are_shown_byte_for_byte(void **state)
{
    (void)state;
    write_text("array.json", "[{\"role\":\"user\",\"content\":\"Hi \\u00e9\"}]");
    write_text("object.json",
               "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"tools\":[{\"b\":1,"
               "\"a\":0.1}],\"chat_template_kwargs\":{\"x\":[true]}}");
    write_text("t.jinja", "{{ messages[0].content }}|{{ tools }}|{{ documents }}|{{ x }}|{{ bos_token }}|"
                          "{{ add_generation_prompt }}\n\n");
    run(0, MODEL " -f array.json");
    assert_string_equal(said, "<|im_start|>user\nHi \xC3\xA9<|im_end|>\n<|im_start|>assistant\n");
    assert_string_equal(told, "");
    run(0, MODEL " --no-generation-prompt <array.json");
    assert_string_equal(said, "<|im_start|>user\nHi \xC3\xA9<|im_end|>\n");
    run(0, "-m " MODEL " -f object.json --chat-template-file t.jinja");
    assert_string_equal(said, "Hi|[{'b': 1, 'a': 0.1}]|None|[True]|<|bos|>|True\n");
    run(0, MODEL " -f object.json --chat-template-file t.jinja --chat-template-kwargs '{\"x\": 2}' "
                 "--no-generation-prompt");
    assert_string_equal(said, "Hi|[{'b': 1, 'a': 0.1}]|None|2|<|bos|>|False\n");
    run(0, MODEL " -f array.json --chat-template phi3");
    assert_string_equal(said, "<|user|>\nHi \xC3\xA9<|end|>\n<|assistant|>\n");
    run(0, MODEL " --show");
    assert_non_null(strstr(said, "{% for message in messages %}"));
}

static void a_folded_system_text_is_noted(void **state)
{
    (void)state;
    write_text("system.json",
               "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"}]");
    run(0, MODEL " -f system.json --chat-template gemma");
    assert_string_equal(said, "<|bos|><start_of_turn>user\nS\nU<end_of_turn>\n<start_of_turn>model\n");
    assert_non_null(strstr(told, "note: the chat template gemma refuses a system message"));
}

static void bad_input_gets_one_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "", "which model?" },
        { MODEL " -f absent", "cannot open absent" },
        { "absent -f array.json", "absent" },
        { MODEL " -f broken.json", "broken.json is not JSON: line 1" },
        { MODEL " -f empty.json", "neither an array of messages nor an object" },
        { MODEL " -f array.json --chat-template-file broken.jinja",
          "the chat template in broken.jinja: template 2:8: at \"}}\": an expression is missing" },
        { MODEL " -f array.json --chat-template-file raise.jinja", "template 1:4: at \"raise_exception\"" },
        { MODEL " -f array.json --chat-template nice", "\"nice\" is none of" },
        { MODEL " -f array.json --chat-template phi3 --chat-template-file t.jinja", "exclude each other" },
        { MODEL " -f array.json --chat-template-kwargs {", "variables: not JSON" },
    };
    write_text("array.json", "[{\"role\":\"user\",\"content\":\"Hi\"}]");
    write_text("broken.json", "[{");
    write_text("empty.json", "{}");
    write_text("broken.jinja", "a\n{{ 1 + }}");
    write_text("raise.jinja", "{{ raise_exception('a\nb') }}");
    write_text("t.jinja", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(2, cases[i][0]);
        assert_string_equal(said, "");
        if (!strstr(told, cases[i][1]) || strchr(told, '\n') != told + strlen(told) - 1)
            fail_msg("%s: %s", cases[i][0], told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_are_shown_byte_for_byte),
        cmocka_unit_test(a_folded_system_text_is_noted),
        cmocka_unit_test(bad_input_gets_one_line),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
