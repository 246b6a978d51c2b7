/* fuzz_template: bytes as a template and a conversation. Up to the first zero byte they are the source, the
 * rest is the messages. What must hold: an end within the limits, one line for an error, the same outcome each
 * time. */
#include "terse/template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

static terse_status render(const terse_template *t, const terse_template_input *in, terse_text *out)
{
    terse_error err = { 0 };
    const terse_status st = terse_template_render(t, in, out, NULL, &err);
    check(st == TERSE_OK || st == TERSE_BAD_INPUT || st == TERSE_UNSUPPORTED);
    check((st == TERSE_OK) == (err.text[0] == '\0') && !strchr(err.text, '\n'));
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preset[] =
        "[{\"role\":\"user\",\"content\":\" a b \"},{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.5}}}]}]";
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t n = zero ? (size_t)(zero - data) : size;
    const terse_str rest = { (const char *)data + n + 1, size - n - (zero != NULL) };
    terse_template_input in = { .messages = zero ? rest : (terse_str){ preset, sizeof preset - 1 },
                                .tools = { preset, sizeof preset - 1 },
                                .bos = { "<s>", 3 },
                                .generate = true,
                                .fold_system = true,
                                .now = 1,
                                .limits = {
                                    .steps = 20000, .memory = 4 << 20, .output = 1 << 16, .depth = 100 } };
    terse_template *t = NULL;
    terse_error err = { 0 };
    const terse_status st = terse_template_open(&t, (terse_str){ (const char *)data, n }, &err);
    check((st == TERSE_OK) == (t != NULL) && (st == TERSE_OK || st == TERSE_BAD_INPUT) &&
          !strchr(err.text, '\n'));
    if (!t)
        return 0;
    terse_text a = { 0 }, b = { 0 };
    const terse_status first = render(t, &in, &a), second = render(t, &in, &b);
    check(first == second && a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0));
    terse_text_free(&a);
    terse_text_free(&b);
    terse_template_close(&t);
    return 0;
}
