/* tests/ruler_fixture.h: the embedded model, the text that prompts are made from, and a folder. */
#ifndef TERSE_TESTS_RULER_FIXTURE_H
#define TERSE_TESTS_RULER_FIXTURE_H

#include "lab/ruler.h"
#include "terse/terse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL  TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define SOURCE TERSE_MODEL_DIR "/ruler.txt"

static char directory[] = "/tmp/terse-ruler-XXXXXX"; /* mkdtemp fills it in */
static terse_model *model;
static const terse_vocab *vocab;
static terse_text source;

static int set_up(void **state)
{
    (void)state;
    terse_error err = { 0 };
    FILE *f = fopen(SOURCE, "rb");
    char piece[4096];
    if (!f || !mkdtemp(directory) || terse_model_open(&model, MODEL, &err) != TERSE_OK)
        return -1;
    vocab = terse_model_vocab(model);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        if (terse_text_append(&source, piece, n, &err) != TERSE_OK)
            return -1;
    return fclose(f);
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    terse_text_free(&source);
    terse_model_close(&model);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static terse_text make(const terse_ruler_opts *o)
{
    terse_error err = { 0 };
    terse_text out = { 0 };
    if (terse_ruler_make(&out, vocab, source.p, source.n, o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return out;
}

/* A context and its first question, as members of a line. */
#define FACTS                                                                                                  \
    "\"context\":\"Read this. The password for the old oak is 4711. The password for the red hat is 1234.\""
#define FIRST                                                                                                  \
    "\"question\":\"\\n\\nQuestion: What is the password for the old oak?\",\"answer_prefix\":\"\\nAnswer: "   \
    "The "                                                                                                     \
    "password for the old oak is\",\"answers\":[\"4711\",\"x\"]"

#endif
