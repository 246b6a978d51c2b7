/* bench/plot.c: draws what the benchmarks and `terse eval --json` print, by gnuplot, as SVG.
 *   plot depth    -o OUT.svg FILE...     time and bytes against depth (bench_attend, terse bench)
 *   plot quality  -o OUT.svg FILE...     error against bytes (terse eval, bench_attend)
 * FILE: JSON, one record or an array of them; -: stdin. OUT.gp gets gnuplot's script instead. --title TEXT.
 * Records differ in settings; those that differ in this plot name its lines. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDS = 4096, MAX_SERIES = 64, LABEL = 512, PANELS = 2 };

/* ---- what is drawn ---- */

/* A number of a record, by "name" or "object.name"; NAN if it has none. */
static double number(const json_t *record, const char *path)
{
    char first[32];
    const char *dot = strchr(path, '.');
    if (dot) {
        snprintf(first, sizeof first, "%.*s", (int)(dot - path), path);
        record = json_object_get(record, first);
    }
    const json_t *x = json_object_get(record, dot ? dot + 1 : path);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* A value is number(of) * unit / number(by); by NULL: / 1. */
typedef struct {
    const char *title, *of, *by;
    double unit;
    const char *low, *high; /* its interval, or NULL */
    bool log;
} axis;

typedef struct {
    const char *kind;
    axis x, y[PANELS]; /* title NULL: no second panel */
    bool by_rule;      /* a line is a stop rule with all its parameters, which name the points */
} chart;

#define MIB 1048576.0
static const chart charts[] = {
    { "depth",
      { .title = "tokens in the context", .of = "n_depth", .unit = 1 },
      { { .title = "time, us per layer and KV head", .of = "ns_per_head", .unit = 1e-3 },
        { .title = "KV read, KiB per layer and KV head", .of = "bytes_per_head", .unit = 1 / 1024.0 } },
      false },
    { "depth",
      { .title = "tokens in the context", .of = "n_depth", .unit = 1 },
      { { .title = "time, ms per token", .of = "avg_ns", .by = "n_gen", .unit = 1e-6 },
        { .title = "KV read, MiB per token", .of = "bytes_kv_per_token", .unit = 1 / MIB } },
      false },
    { "quality",
      { .title = "KV read, % of dense", .of = "bytes_ratio", .unit = 100 },
      { { .title = "KL from dense, nats per token",
          .of = "kl.mean",
          .unit = 1,
          .low = "kl.low",
          .high = "kl.high",
          .log = true },
        { .title = "answers right, %", .of = "correct", .by = "n", .unit = 100 } },
      true },
    { "quality",
      { .title = "KV read, % of dense", .of = "bytes_ratio", .unit = 100 },
      { { .title = "KL from dense, nats per token",
          .of = "kl.mean",
          .unit = 1,
          .low = "kl.low",
          .high = "kl.high",
          .log = true } },
      true },
    { "quality",
      { .title = "KV read, % of dense", .of = "bytes_ratio", .unit = 100 },
      { { .title = "error of a head's output, mean", .of = "error_mean", .unit = 1, .log = true } },
      true },
};
enum { N_CHARTS = sizeof charts / sizeof *charts };

static double value(const axis *a, const json_t *record)
{
    const double x = number(record, a->of) * a->unit / (a->by ? number(record, a->by) : 1.0);
    return isfinite(x) && (!a->log || x > 0.0) ? x : NAN; /* 0 has no place on a logarithmic axis */
}

static bool is_in(const chart *c, const json_t *record)
{
    bool in = isfinite(value(&c->x, record));
    for (int p = 0; p < PANELS; p++)
        in &= !c->y[p].title || isfinite(value(&c->y[p], record));
    return in;
}

/* ---- lines and their names ---- */

/* Settings in the order in which they are named; the first name that a record has counts. */
static const struct {
    const char *name, *other, *format;
} settings[] = {
    { "model", "model_filename", "%s" },
    { "data", "", "%s" },
    { "isa", "", "%s" },
    { "n_threads", "threads", "%s threads" },
    { "type_k", "", "K %s" },
    { "type_v", "", "V %s" },
    { "n_group", "", "group %s" },
    { "dim_k", "", "dim %s" },
    { "n_depth", "ctx", "%s tokens" },
    { "kv_policy", "policy", "%s" },
    { "stop", "", "%s" },
};
enum { N_SETTINGS = sizeof settings / sizeof *settings, STOP = N_SETTINGS - 1 };

/* A setting as text without what could end a string of gnuplot's; "" if there is none. */
static void setting_text(char text[LABEL], const json_t *record, int i, bool by_rule)
{
    const json_t *x = json_object_get(record, settings[i].name);
    x = x ? x : json_object_get(record, settings[i].other);
    x = json_is_object(x) ? json_object_get(x, "rule") : x;
    if (json_is_integer(x))
        snprintf(text, LABEL, "%lld", (long long)json_integer_value(x));
    else
        snprintf(text, LABEL, "%.200s", json_is_string(x) ? json_string_value(x) : "");
    if (i == STOP && by_rule)
        text[strcspn(text, ":")] = '\0';
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '\'' || *p == '"' || *p == '\\' || *p == '`')
            *p = ' ';
}

typedef struct {
    const chart *chart;
    const json_t *record[MAX_RECORDS];
    int n;
    bool varies[N_SETTINGS];
    char label[MAX_SERIES][LABEL];
    int n_series, series[MAX_RECORDS];
} figure;

/* The depth is an axis of some charts, no setting. */
static void find_varying(figure *f)
{
    char first[LABEL], text[LABEL];
    for (int i = 0; i < N_SETTINGS; i++) {
        if (strcmp(settings[i].name, f->chart->x.of) == 0)
            continue;
        setting_text(first, f->record[0], i, f->chart->by_rule);
        for (int r = 1; r < f->n && !f->varies[i]; r++) {
            setting_text(text, f->record[r], i, f->chart->by_rule);
            f->varies[i] = strcmp(text, first) != 0;
        }
    }
    f->varies[STOP] = true;
}

static void label_of(char label[LABEL], const figure *f, const json_t *record)
{
    char text[LABEL];
    size_t n = 0;
    label[0] = '\0';
    for (int i = 0; i < N_SETTINGS; i++) {
        setting_text(text, record, i, f->chart->by_rule);
        if (!f->varies[i] || !*text || n >= LABEL)
            continue;
        n += (size_t)snprintf(label + n, LABEL - n, "%s", n ? ", " : "");
        if (n < LABEL)
            n += (size_t)snprintf(label + n, LABEL - n, settings[i].format, text);
    }
}

static bool find_series(figure *f)
{
    char label[LABEL];
    find_varying(f);
    for (int r = 0; r < f->n; r++) {
        int s = 0;
        label_of(label, f, f->record[r]);
        while (s < f->n_series && strcmp(f->label[s], label) != 0)
            s++;
        if (s == MAX_SERIES)
            return false;
        if (s == f->n_series)
            memcpy(f->label[f->n_series++], label, LABEL);
        f->series[r] = s;
    }
    return true;
}

/* ---- gnuplot ---- */

/* 'text' with what gnuplot asks for inside. */
static void print_quoted(FILE *out, const char *text)
{
    putc('\'', out);
    for (; *text; text++) {
        if (*text == '\'')
            putc('\'', out);
        putc((unsigned char)*text < ' ' ? ' ' : *text, out);
    }
    putc('\'', out);
}

/* An end of the interval around at; at itself where there is none or where the axis has no place for it. */
static double end_of(const axis *y, const char *name, const json_t *record, double at)
{
    const double x = name ? number(record, name) * y->unit : NAN;
    return isfinite(x) && (!y->log || x > 0.0) ? x : at;
}

/* The records of series s by rising x: few, so that looking for the next one each time is fast enough. */
static void print_series(FILE *out, const figure *f, int s, int panel)
{
    const axis *x = &f->chart->x, *y = &f->chart->y[panel];
    char stop[LABEL];
    double last = -INFINITY;
    fprintf(out, "$p%ds%d << EOD\n", panel, s);
    for (;;) {
        double next = INFINITY;
        for (int r = 0; r < f->n; r++)
            if (f->series[r] == s && value(x, f->record[r]) > last)
                next = fmin(next, value(x, f->record[r]));
        if (next == INFINITY)
            break;
        for (int r = 0; r < f->n; r++) {
            if (f->series[r] != s || value(x, f->record[r]) != next)
                continue;
            const double at = value(y, f->record[r]);
            setting_text(stop, f->record[r], STOP, false);
            const char *colon = strchr(stop, ':'), *label = f->chart->by_rule && colon ? colon + 1 : "";
            const bool right = next > 55.0; /* of the frame: its label stands to the left of it */
            fprintf(out, "%.9g %.9g %.9g %.9g \"%s\" \"%s\"\n", next, at, end_of(y, y->low, f->record[r], at),
                    end_of(y, y->high, f->record[r], at), right ? "" : label, right ? label : "");
        }
        last = next;
    }
    fprintf(out, "EOD\n");
}

static void print_panel(FILE *out, const figure *f, int panel)
{
    const axis *y = &f->chart->y[panel];
    for (int s = 0; s < f->n_series; s++)
        print_series(out, f, s, panel);
    fprintf(out, "%s logscale y\nset format y '%s'\nset ylabel ", y->log ? "set" : "unset",
            y->log ? "%.0e" : "%g");
    print_quoted(out, y->title);
    fprintf(out, "\nset yrange [%s:*]\nplot", y->log ? "*" : "0");
    for (int s = 0; s < f->n_series; s++) {
        fprintf(out, "%s $p%ds%d using 1:2 with linespoints lt %d pt 7 ps 0.6 title ", s ? ", \\\n" : "", panel,
                s, s + 1);
        print_quoted(out, f->label[s]);
        if (y->low)
            fprintf(out, ", \\\n $p%ds%d using 1:2:3:4 with yerrorbars lt %d pt 7 ps 0.6 notitle", panel, s,
                    s + 1);
        for (int right = 0; right < 2 && f->chart->by_rule; right++)
            fprintf(out, ", \\\n $p%ds%d using 1:2:%d with labels offset %s,0.7 %s font ',9' notitle", panel, s,
                    5 + right, right ? "-0.5" : "0.5", right ? "right" : "left");
    }
    fprintf(out, "\n");
}

static void print_script(FILE *out, const figure *f, const char *svg, const char *title)
{
    /* Colours that stay apart for the colour-blind (Okabe and Ito 2008). */
    static const char *const colours[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                           "#e69f00", "#56b4e9", "#000000", "#b8a800" };
    const int panels = f->chart->y[1].title ? 2 : 1;
    fprintf(out, "set terminal svg noenhanced size 900,%d font 'sans,12' background '#ffffff'\nset output ",
            panels * 420);
    print_quoted(out, svg);
    for (int s = 0; s < f->n_series; s++)
        fprintf(out, "\nset linetype %d lc rgb '%s' lw 1.5", s + 1, colours[s % 8]);
    /* Lines rise with depth, and no good rule is down there with little error from few bytes. */
    fprintf(out,
            "\nset grid lc rgb '#dddddd'\nset key %s left Left reverse opaque\nset xrange [0:%s]\nset xlabel ",
            f->chart->by_rule ? "bottom" : "top", f->chart->by_rule ? "110" : "*");
    print_quoted(out, f->chart->x.title);
    fprintf(out, "\nset multiplot layout %d,1 title ", panels);
    print_quoted(out, title);
    fprintf(out, "\n");
    for (int p = 0; p < panels; p++)
        print_panel(out, f, p);
    fprintf(out, "unset multiplot\nunset output\n");
}

/* ---- files ---- */

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "plot: %.200s: %.200s\n", what, why);
    return code;
}

static int run_gnuplot(const figure *f, const char *svg, const char *title)
{
    FILE *out = popen("gnuplot", "w");
    if (!out)
        return complain(74, "gnuplot", strerror(errno));
    print_script(out, f, svg, title);
    if (pclose(out) == 0)
        return 0;
    remove(svg);
    return complain(1, "gnuplot", "failed; if it is not there: Debian's package is gnuplot-nox");
}

static int write_script(const figure *f, const char *path, const char *title)
{
    char svg[4096];
    FILE *out = fopen(path, "we");
    if (!out)
        return complain(74, path, strerror(errno));
    snprintf(svg, sizeof svg, "%.*ssvg", (int)(strlen(path) - 2), path);
    print_script(out, f, svg, title);
    return fclose(out) == 0 ? 0 : complain(74, path, strerror(errno));
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

/* Adds the records of one file to all. */
static int read_file(json_t *all, const char *path)
{
    json_error_t error;
    json_t *root = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &error) : json_load_file(path, 0, &error);
    if (!root)
        return complain(2, path, error.text);
    const bool ok = json_is_array(root) ? json_array_extend(all, root) == 0 : json_array_append(all, root) == 0;
    json_decref(root);
    return ok ? 0 : complain(71, path, "no memory");
}

/* The records that the chart can show. */
static void choose_records(figure *f, const chart *c, const json_t *all)
{
    f->chart = c;
    for (size_t i = 0; i < json_array_size(all) && f->n < MAX_RECORDS; i++)
        if (is_in(c, json_array_get(all, i)))
            f->record[f->n++] = json_array_get(all, i);
}

/* By the first chart of the kind that shows any. */
static int draw(const json_t *all, const char *kind, const char *path, const char *title)
{
    static figure f;
    for (int c = 0; c < N_CHARTS && f.n == 0; c++)
        if (strcmp(charts[c].kind, kind) == 0)
            choose_records(&f, &charts[c], all);
    if (f.n == 0)
        return complain(2, kind, "no record has what this plot shows");
    if (f.n == MAX_RECORDS || !find_series(&f))
        return complain(2, kind, "too many records for one plot");
    return ends_with(path, ".gp") ? write_script(&f, path, title) : run_gnuplot(&f, path, title);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a gnuplot that is not there is an error, not the end */
    const char *kind = argc > 1 ? argv[1] : "", *path = NULL, *title = "";
    json_t *all = json_array();
    bool usage = strcmp(kind, "depth") != 0 && strcmp(kind, "quality") != 0;
    int code = 0, n_file = 0;
    for (int i = 2; i < argc && !usage && code == 0; i++) {
        const bool out = strcmp(argv[i], "-o") == 0, named = strcmp(argv[i], "--title") == 0;
        if ((out || named) && i + 1 == argc)
            usage = true;
        else if (out)
            path = argv[++i];
        else if (named)
            title = argv[++i];
        else if (argv[i][0] == '-' && argv[i][1])
            usage = true;
        else if (++n_file)
            code = read_file(all, argv[i]);
    }
    if (code == 0 && (usage || !path || !n_file || !(ends_with(path, ".svg") || ends_with(path, ".gp")))) {
        fprintf(stderr, "usage: plot depth|quality -o OUT.svg|OUT.gp [--title TEXT] FILE.json...\n");
        code = 2;
    }
    if (code == 0)
        code = draw(all, kind, path, title);
    json_decref(all);
    return code;
}
