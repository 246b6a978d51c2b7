/* bench/logits_kl.c: how far two sets of logits are apart, as `terse logits --all` writes them. All in float64.
 *   logits_kl A.f32 B.f32 N_VOCAB [--json]
 * KL(A || B) of each row in nats, its mean and quantiles, and how often both have the same likeliest token. */
#include "samples.h"

#include "base/samples.h"
#include "lab/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    FILE *f[2];
    const char *path[2];
    size_t n_vocab, n_row;
    float *row[2];
    double *kl; /* [n_row] */
    size_t agree;
} comparison;

static terse_status open_files(comparison *c, terse_error *err)
{
    const size_t row = c->n_vocab * sizeof(float);
    for (int i = 0; i < 2; i++) {
        c->f[i] = fopen(c->path[i], "rb");
        if (!c->f[i] || fseek(c->f[i], 0, SEEK_END) != 0)
            return terse_fail(err, TERSE_BAD_INPUT, "%.200s: %s", c->path[i], strerror(errno));
        const long size = ftell(c->f[i]);
        if (size <= 0 || (size_t)size % row != 0)
            return terse_fail(err, TERSE_BAD_INPUT, "%.200s: %ld bytes are no whole rows of %zu numbers",
                              c->path[i], size, c->n_vocab);
        if (i == 1 && (size_t)size / row != c->n_row)
            return terse_fail(err, TERSE_BAD_INPUT, "%.200s has %zu rows, %.200s %zu", c->path[0], c->n_row,
                              c->path[1], (size_t)size / row);
        c->n_row = (size_t)size / row;
        rewind(c->f[i]);
        c->row[i] = malloc(row);
    }
    c->kl = malloc(c->n_row * sizeof *c->kl);
    return c->row[0] && c->row[1] && c->kl ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory");
}

static terse_status compare(comparison *c, terse_error *err)
{
    const int32_t n = (int32_t)c->n_vocab;
    for (size_t r = 0; r < c->n_row; r++) {
        int32_t best[2];
        double z[2];
        for (int i = 0; i < 2; i++) {
            if (fread(c->row[i], sizeof(float), c->n_vocab, c->f[i]) != c->n_vocab)
                return terse_fail(err, TERSE_IO, "%.200s: cannot read row %zu", c->path[i], r);
            if ((best[i] = terse_logits_best(c->row[i], n)) < 0)
                return terse_fail(err, TERSE_BAD_INPUT, "%.200s: row %zu is no row of logits (NaN or infinity)",
                                  c->path[i], r);
            z[i] = terse_logits_log_sum(c->row[i], n);
        }
        c->kl[r] = terse_logits_kl(c->row[0], z[0], c->row[1], z[1], n);
        c->agree += best[0] == best[1];
    }
    return TERSE_OK;
}

/* JSON has no infinity. */
static void print_number(const char *name, double x, bool json, const char *after)
{
    if (!json)
        printf("%-6s %.6g\n", name, x);
    else if (isfinite(x))
        printf("\"%s\": %.9g%s", name, x, after);
    else
        printf("\"%s\": null%s", name, after);
}

static void print(const comparison *c, bool json)
{
    const terse_spread kl = terse_spread_of(c->kl, c->n_row);
    printf(json ? "{ \"tokens\": %zu, \"kl\": { " : "tokens %zu\nKL(A || B), nats per token:\n", c->n_row);
    print_number("mean", kl.mean, json, ", ");
    print_number("p50", kl.median, json, ", ");
    print_number("p90", terse_quantile(c->kl, c->n_row, 0.9), json, ", ");
    print_number("p99", terse_quantile(c->kl, c->n_row, 0.99), json, ", ");
    print_number("max", c->kl[c->n_row - 1], json, " }, ");
    print_number("top1", (double)c->agree / (double)c->n_row, json, " }\n");
}

int main(int argc, char **argv)
{
    comparison c = { .n_row = 0 };
    int_list n_vocab;
    terse_error err;
    const bool json = argc == 5 && strcmp(argv[4], "--json") == 0;
    if ((argc != 4 && !json) || !samples_list(&n_vocab, argv[3], 1, 1 << 24) || n_vocab.n != 1) {
        fprintf(stderr, "usage: logits_kl A.f32 B.f32 N_VOCAB [--json]\n");
        return 2;
    }
    c.n_vocab = (size_t)n_vocab.v[0];
    c.path[0] = argv[1];
    c.path[1] = argv[2];
    terse_status st = open_files(&c, &err);
    if (st == TERSE_OK)
        st = compare(&c, &err);
    if (st == TERSE_OK)
        print(&c, json);
    else
        fprintf(stderr, "logits_kl: %s\n", err.text);
    for (int i = 0; i < 2; i++) {
        if (c.f[i])
            fclose(c.f[i]);
        free(c.row[i]);
    }
    free(c.kl);
    if (st == TERSE_OK && (fflush(stdout) != 0 || ferror(stdout)))
        return 74;
    return terse_status_exit(st);
}
