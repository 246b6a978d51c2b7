/* cli/quantize.c: terse quantize IN OUT TYPE: a model file with its weights in other types, and what that cost.
 */
#include "terse/quantize.h"
#include "commands.h"
#include "interrupt.h"
#include "options.h"
#include "progress.h"
#include "terminal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct {
    int32_t threads;
    bool requantize, verbose, quiet;
    const char *tensor_type;
} quantize_values;

#define AT(field) offsetof(quantize_values, field)
static const terse_option quantize_options[] = {
    { "--allow-requantize", TERSE_OPTION_ON, AT(requantize),
      .help = "also from weights that are quantized: they keep their errors and get new ones" },
    { "-t --threads", TERSE_OPTION_INT, AT(threads), 0, 1024, "N",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
    { "--tensor-type", TERSE_OPTION_STRING, AT(tensor_type), .value = "PART=TYPE,...", .preset = "none",
      .help = "matrices with PART in their name get TYPE: ffn_up=Q5_K,attn_v=Q8_0" },
    { "--verbose", TERSE_OPTION_ON, AT(verbose), .help = "a line for each tensor" },
    { "--no-progress", TERSE_OPTION_ON, AT(quiet), .help = "no progress bar" },
};
#undef AT

static double mib(size_t size)
{
    return (double)size / (1 << 20);
}

/* What is shown on the way. */
typedef struct {
    terse_progress bar;
    int32_t n_row; /* of the table */
} shown;

static void show_progress(void *ctx, size_t done, size_t total)
{
    shown *s = ctx;
    terse_progress_update(&s->bar, (int64_t)(done >> 20), (int64_t)(total >> 20));
}

/* Rows of a table; the bar steps aside for them. */
static void show_tensor(void *ctx, const terse_quantize_tensor *t)
{
    shown *s = ctx;
    terse_progress_clear(&s->bar);
    if (s->n_row++ == 0)
        printf("| tensor                       | from | to   |  MiB from |    MiB to | RMS error |\n"
               "| ---------------------------- | ---- | ---- | --------: | --------: | --------: |\n");
    fputs("| ", stdout);
    terse_terminal_write(stdout, t->name.p, t->name.n);
    printf("%*s | %-4s | %-4s | %9.2f | %9.2f |", t->name.n < 28 ? 28 - (int)t->name.n : 0, "",
           terse_type_of(t->from)->name, terse_type_of(t->to)->name, mib(t->size_in), mib(t->size_out));
    if (t->squares > 0.0)
        printf(" %9.6f |\n", sqrt(t->error / t->squares));
    else
        printf(" %9s |\n", "");
}

static void print_result(const terse_quantize_result *r)
{
    const double bits = r->n_weight ? 8.0 / (double)r->n_weight : 0.0;
    printf("%d of %d tensors converted: %.2f -> %.2f MiB, %.2f -> %.2f bits per weight\n", r->n_changed,
           r->n_tensor, mib(r->size_in), mib(r->size_out), bits * (double)r->size_in,
           bits * (double)r->size_out);
    if (r->squares > 0.0)
        printf("RMS error %.6f of the size of the weights that were converted\n", sqrt(r->error / r->squares));
}

/* Whether the type is one; complains. */
static bool known(const char *type)
{
    char list[256] = "";
    const char *name, *help;
    for (int32_t i = 0; terse_quantize_type_at(i, &name, &help); i++) {
        if (strcasecmp(name, type) == 0)
            return true;
        snprintf(list + strlen(list), sizeof list - strlen(list), " %s", name);
    }
    terse_complain("\"%.40s\" is no type; types are:%s", type, list);
    return false;
}

static int run(const quantize_values *o, char **argv)
{
    shown s = { .n_row = 0 };
    terse_quantize_result result;
    terse_error err;
    const terse_quantize_opts opts = { .type = argv[3],
                                       .tensor_type = o->tensor_type,
                                       .threads = o->threads,
                                       .requantize = o->requantize,
                                       .abort = terse_interrupt_flag(),
                                       .tensor = o->verbose ? show_tensor : NULL,
                                       .progress = show_progress,
                                       .ctx = &s };
    terse_progress_begin(&s.bar, "quantizing", "MiB", !o->quiet);
    const terse_status st = terse_quantize_file(argv[1], argv[2], &opts, &result, &err);
    terse_progress_end(&s.bar);
    if (st != TERSE_OK)
        return terse_complain_error(&err);
    if (s.n_row > 0)
        putchar('\n');
    print_result(&result);
    return 0;
}

int terse_cmd_quantize(int argc, char **argv)
{
    quantize_values o = { 0 };
    const terse_option_group group = { "quantize", quantize_options,
                                       sizeof quantize_options / sizeof *quantize_options, &o };
    const terse_options accepted = {
        "quantize IN OUT TYPE [OPTION]...",
        "Writes the model IN with its weights as TYPE to the file OUT. TYPE is one of Q4_K_M, Q4_K_S, Q5_K_M, "
        "Q5_K_S, Q6_K, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, F16, BF16, F32; M and S are mixes, as in llama.cpp, that "
        "give more bits to "
        "some matrices. Vectors and expert routers stay F32, predictors of SP-KV Q8_0.",
        &group, 1, 3
    };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    if (argc < 4) {
        terse_complain("quantize: it takes IN OUT TYPE, and there %s %d; terse quantize --help says more",
                       argc == 2 ? "is" : "are", argc - 1);
        return 2;
    }
    if (!known(argv[3]))
        return 2;
    terse_interrupt_catch();
    return run(&o, argv);
}
