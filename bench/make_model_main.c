/* make_model: writes a random model of a known shape, to measure speed without a download. */
#include "make_model.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    terse_type matrix, embd;
    make_model_opts shape;
} preset;

#define LLAMA_1B                                                                                               \
    {                                                                                                          \
        .n_layer = 16, .n_embd = 2048, .n_head = 32, .n_head_kv = 8, .head_dim = 64, .n_ff = 8192,             \
        .n_vocab = 128256, .n_ctx = 131072, .rope_base = 500000.0f, .std = 0.02f, .rope_freqs = true           \
    }

static const preset presets[] = {
    { "llama-3.2-1b-q4_0", TERSE_TYPE_Q4_0, TERSE_TYPE_Q6_K, LLAMA_1B },
    { "llama-3.2-1b-q8_0", TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0, LLAMA_1B },
    { "tiny-f32",
      TERSE_TYPE_F32,
      TERSE_TYPE_F32,
      { .n_layer = 2, .n_embd = 64, .n_head = 4, .n_head_kv = 2, .n_ff = 128, .n_vocab = 256 } },
};
enum { N_PRESET = sizeof presets / sizeof *presets };

static void usage(FILE *f)
{
    fprintf(f, "usage: make_model --preset NAME OUT.gguf [--tokenizer FROM.gguf] [--seed N]\n"
               "Writes random weights in the shape of NAME, one of:\n");
    for (int i = 0; i < N_PRESET; i++)
        fprintf(f, "    %s\n", presets[i].name);
    fprintf(f, "The tokenizer must have as many tokens as the shape's vocabulary.\n");
}

static const preset *preset_by_name(const char *name)
{
    for (int i = 0; i < N_PRESET; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "preset", required_argument, NULL, 'p' },
        { "tokenizer", required_argument, NULL, 't' },
        { "seed", required_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    const preset *p = NULL;
    const char *tokenizer = NULL;
    unsigned long long seed = 1;
    char *end = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'p') {
            p = preset_by_name(optarg);
        } else if (c == 't') {
            tokenizer = optarg;
        } else if (c == 's') {
            seed = strtoull(optarg, &end, 0);
        } else {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (!p || optind != argc - 1 || (end && *end)) {
        usage(stderr);
        return 2;
    }
    make_model_opts o = p->shape;
    o.name = p->name;
    o.tokenizer = tokenizer;
    o.seed = seed;
    o.types = make_model_uniform(p->matrix);
    o.types.embd = p->embd;
    terse_error err;
    const terse_status st = make_model(argv[optind], &o, &err);
    if (st != TERSE_OK)
        fprintf(stderr, "%s\n", err.text);
    return terse_status_exit(st);
}
