/* gguf/quantize.c: tensor by tensor, slice by slice: rows are decoded, encoded and decoded again for the error
 * by the team, then written in their order. A row's result does not depend on the others. */
#include "terse/quantize.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/team.h"
#include "gguf/mix.h"
#include "simd/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SLICE = 4 << 20 /* bytes of output, about */, ROWS = 8 /* per ticket */ };

typedef struct {
    const terse_quantize_opts *o;
    terse_gguf *in;
    terse_gguf_writer *w;
    terse_team *team;
    uint32_t *type; /* [n_tensor] of the output */
    size_t done, total;
    terse_quantize_result sum;
    terse_error *err;
} job;

/* Rows of one tensor that are encoded together. */
typedef struct {
    const terse_tensor *t;
    terse_dot_type from, to;
    int64_t n, first, n_row;      /* row length; rows of the slice */
    size_t row_size_in, row_size; /* bytes */
    uint8_t *out;                 /* [n_row][row_size] */
    double *error, *squares;      /* [n_row] */
    float *scratch;               /* [n_thread][2][n] */
    terse_ticket ticket;
} slice;

/* ---- one tensor ---- */

static void encode_row(slice *s, int64_t r, float *x, float *y)
{
    const char *row = (const char *)s->t->data + (size_t)(s->first + r) * s->row_size_in;
    uint8_t *out = s->out + (size_t)r * s->row_size;
    double error = 0.0, squares = 0.0;
    bool finite = true;
    terse_dequant_row(s->from, x, row, s->n);
    for (int64_t i = 0; i < s->n; i++) {
        squares += (double)x[i] * (double)x[i];
        finite &= isfinite(x[i]) != 0;
    }
    s->squares[r] = finite ? squares : NAN;
    if (!finite) /* encoders want numbers */
        return;
    terse_quantize_row(s->to, out, x, s->n, true);
    terse_dequant_row(s->to, y, out, s->n);
    for (int64_t i = 0; i < s->n; i++)
        error += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
    s->error[r] = error;
}

static void encode_rows(void *ctx, int32_t thread, int32_t n_thread)
{
    (void)n_thread;
    slice *s = ctx;
    float *x = s->scratch + (size_t)thread * 2 * (size_t)s->n;
    int64_t start;
    while ((start = (int64_t)terse_ticket_take(&s->ticket) * ROWS) < s->n_row)
        for (int64_t r = start; r < s->n_row && r < start + ROWS; r++)
            encode_row(s, r, x, x + s->n);
}

static terse_status go_on(const job *j)
{
    if (j->o->abort && atomic_load_explicit(j->o->abort, memory_order_relaxed))
        return terse_fail(j->err, TERSE_INTERRUPTED, "interrupted");
    if (terse_gguf_broken(j->in))
        return terse_fail(j->err, TERSE_IO, "%s: the file was cut short while it was in use",
                          terse_path_shown(terse_gguf_path(j->in)));
    return TERSE_OK;
}

static void advance(job *j, size_t size)
{
    j->done += size;
    if (j->o->progress)
        j->o->progress(j->o->ctx, j->done, j->total);
}

/* Sums up the slice's errors; a value that is no number, before or after, ends it. */
static terse_status add_up(const job *j, const slice *s, terse_quantize_tensor *report)
{
    for (int64_t r = 0; r < s->n_row; r++) {
        const bool was = isfinite(s->squares[r]), is = was && isfinite(s->error[r]);
        if (!is)
            return terse_fail(j->err, TERSE_BAD_INPUT, "%s: tensor '%.*s', row %lld: %s %s",
                              terse_path_shown(terse_gguf_path(j->in)), (int)s->t->name.n, s->t->name.p,
                              (long long)(s->first + r),
                              was ? "a weight is too large for" : "a weight is not a finite number;",
                              was ? terse_type_of(j->type[s->t - terse_gguf_tensor(j->in, 0)])->name
                                  : "the file is damaged");
        report->error += s->error[r];
        report->squares += s->squares[r];
    }
    return TERSE_OK;
}

static terse_status convert_slices(job *j, slice *s, int64_t most, terse_quantize_tensor *report)
{
    const int64_t rows = s->t->ne[1] * s->t->ne[2] * s->t->ne[3];
    terse_status st = TERSE_OK;
    for (s->first = 0; s->first < rows && st == TERSE_OK; s->first += s->n_row) {
        s->n_row = rows - s->first < most ? rows - s->first : most;
        terse_ticket_reset(&s->ticket);
        terse_team_run(j->team, encode_rows, s);
        if ((st = go_on(j)) == TERSE_OK && (st = add_up(j, s, report)) == TERSE_OK)
            st = terse_gguf_writer_put(j->w, s->out, (size_t)s->n_row * s->row_size, j->err);
        advance(j, (size_t)s->n_row * s->row_size_in);
    }
    return st;
}

static terse_status convert(job *j, const terse_tensor *t, uint32_t type, terse_quantize_tensor *report)
{
    slice s = { .t = t, .n = t->ne[0] };
    s.from = (terse_dot_type)terse_dot_type_of(t->type);
    s.to = (terse_dot_type)terse_dot_type_of(type);
    s.row_size_in = terse_type_row_size(t->type, s.n);
    s.row_size = terse_type_row_size(type, s.n);
    const size_t threads = (size_t)terse_team_size(j->team), most = SLICE / s.row_size + threads * ROWS;
    s.out = terse_calloc64(most, s.row_size);
    s.error = terse_calloc64(most, sizeof *s.error);
    s.squares = terse_calloc64(most, sizeof *s.squares);
    s.scratch = terse_calloc64(threads * 2, (size_t)s.n * sizeof *s.scratch);
    terse_status st =
        s.out && s.error && s.squares && s.scratch
            ? convert_slices(j, &s, (int64_t)most, report)
            : terse_fail(j->err, TERSE_NOMEM, "no memory for rows of %lld weights", (long long)s.n);
    free(s.out);
    free(s.error);
    free(s.squares);
    free(s.scratch);
    return st;
}

static terse_status copy(job *j, const terse_tensor *t)
{
    terse_status st = TERSE_OK;
    for (size_t at = 0; at < t->size && st == TERSE_OK;) {
        const size_t n = t->size - at < SLICE ? t->size - at : SLICE;
        if ((st = terse_gguf_writer_put(j->w, (const char *)t->data + at, n, j->err)) == TERSE_OK)
            st = go_on(j);
        at += n;
        advance(j, n);
    }
    return st;
}

static terse_status write_tensor(job *j, int32_t i)
{
    const terse_tensor *t = terse_gguf_tensor(j->in, i);
    terse_quantize_result *sum = &j->sum;
    terse_quantize_tensor report = { .name = t->name, .from = t->type, .to = j->type[i], .size_in = t->size };
    report.n_weight = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    report.size_out = terse_type_row_size(j->type[i], report.n_weight);
    const bool same = report.from == report.to;
    const terse_status st = same ? copy(j, t) : convert(j, t, j->type[i], &report);
    if (st != TERSE_OK)
        return st;
    sum->n_tensor++;
    sum->n_changed += !same;
    sum->n_weight += report.n_weight;
    sum->size_in += report.size_in;
    sum->size_out += report.size_out;
    sum->error += report.error;
    sum->squares += report.squares;
    if (j->o->tensor)
        j->o->tensor(j->o->ctx, &report);
    return TERSE_OK;
}

/* ---- the file ---- */

static bool begins(terse_str key, const char *prefix)
{
    const size_t n = strlen(prefix);
    return key.n >= n && memcmp(key.p, prefix, n) == 0;
}

/* All but what the new file has of its own, and what importances the old one was made with. */
static void copy_meta(job *j, const terse_mix *mix)
{
    for (int32_t i = 0; i < terse_gguf_n_meta(j->in); i++) {
        const terse_meta *m = terse_gguf_meta(j->in, i);
        if (!begins(m->key, "general.file_type") && !begins(m->key, "general.quantization_version") &&
            !begins(m->key, "quantize.imatrix.") && !begins(m->key, "split."))
            terse_gguf_writer_copy(j->w, m);
    }
    terse_gguf_writer_u32(j->w, "general.quantization_version", 2);
    terse_gguf_writer_u32(j->w, "general.file_type", mix->file_type);
}

/* Whether t can become `type`. */
static terse_status admit(const job *j, const terse_tensor *t, uint32_t type)
{
    const int from = terse_dot_type_of(t->type), to = terse_dot_type_of(type);
    const char *path = terse_path_shown(terse_gguf_path(j->in)), *name = terse_type_of(t->type)->name;
    if (t->type == type)
        return TERSE_OK;
    if (from < 0)
        return terse_fail(j->err, TERSE_UNSUPPORTED, "%s: tensor '%.*s' is %s, which this build cannot decode",
                          path, (int)t->name.n, t->name.p, name);
    if (to < 0 || !terse_quantize_can((terse_dot_type)to))
        return terse_fail(j->err, TERSE_UNSUPPORTED, "%s: tensor '%.*s' would be %s, which cannot be made",
                          path, (int)t->name.n, t->name.p, terse_type_of(type)->name);
    if (terse_type_of(t->type)->block_len > 1 && !j->o->requantize)
        return terse_fail(j->err, TERSE_BAD_INPUT,
                          "%s: tensor '%.*s' is %s: quantized again, weights keep the errors that they have; "
                          "start from F32, F16 or BF16, or allow it (--allow-requantize)",
                          path, (int)t->name.n, t->name.p, name);
    return TERSE_OK;
}

static terse_status plan(job *j, const terse_mix *mix)
{
    const int32_t n = terse_gguf_n_tensor(j->in);
    terse_mixer mixer;
    terse_status st = terse_mixer_begin(&mixer, mix, j->o->tensor_type, j->in, j->err);
    j->type = terse_calloc64((size_t)n + 1, sizeof *j->type);
    if (st == TERSE_OK && !j->type)
        st = terse_fail(j->err, TERSE_NOMEM, "no memory for %d tensors", n);
    for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
        const terse_tensor *t = terse_gguf_tensor(j->in, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        j->type[i] = terse_mixer_type(&mixer, t);
        j->total += t->size;
        st = admit(j, t, j->type[i]);
        terse_gguf_writer_tensor(j->w, name, j->type[i], t->n_dim, t->ne, NULL);
    }
    return st;
}

static terse_status run(job *j, const char *out, const terse_mix *mix)
{
    const int32_t threads = j->o->threads ? j->o->threads : terse_cpu_threads();
    terse_status st = terse_gguf_writer_open(&j->w, j->err);
    if (st == TERSE_OK)
        copy_meta(j, mix);
    if (st == TERSE_OK)
        st = plan(j, mix);
    if (st == TERSE_OK)
        st = terse_team_open(&j->team, threads, j->err);
    if (st == TERSE_OK)
        st = terse_gguf_writer_begin(j->w, out, j->err);
    for (int32_t i = 0; i < terse_gguf_n_tensor(j->in) && st == TERSE_OK; i++)
        st = write_tensor(j, i);
    if (st == TERSE_OK)
        st = terse_gguf_writer_commit(j->w, j->err);
    return st;
}

static bool same_file(const char *a, const char *b)
{
    struct stat s, t;
    return stat(a, &s) == 0 && stat(b, &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

bool terse_quantize_type_at(int32_t i, const char **name, const char **help)
{
    const terse_mix *mix = terse_mix_at(i);
    if (mix) {
        *name = mix->name;
        *help = mix->help;
    }
    return mix != NULL;
}

terse_status terse_quantize_file(const char *in, const char *out, const terse_quantize_opts *o,
                                 terse_quantize_result *result, terse_error *err)
{
    const terse_mix *mix = o->type ? terse_mix_named(o->type) : NULL;
    job j = { .o = o, .err = err };
    if (!mix)
        return terse_fail(err, TERSE_BAD_INPUT, "type \"%.40s\" is unknown; the names are Q4_K_M and the like",
                          o->type ? o->type : "");
    if (o->threads < 0 || o->threads > 1024)
        return terse_fail(err, TERSE_BAD_INPUT, "%d threads: 1 to 1024 are possible", o->threads);
    terse_status st = terse_gguf_open(&j.in, in, err);
    for (int32_t i = 0; st == TERSE_OK && i < terse_gguf_n_part(j.in); i++)
        if (same_file(terse_gguf_part_path(j.in, i), out))
            st = terse_fail(err, TERSE_BAD_INPUT,
                            "%s: input and output are one file; give the output a new name",
                            terse_path_shown(out));
    if (st == TERSE_OK)
        st = run(&j, out, mix);
    if (st == TERSE_OK && result)
        *result = j.sum;
    terse_gguf_writer_close(&j.w);
    terse_team_close(&j.team);
    terse_gguf_close(&j.in);
    free(j.type);
    return st;
}
