/* bench/report.c: see the header. */
#include "report.h"

#include "terse/base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool report_format(report *r, const char *name)
{
    r->json = strcmp(name, "json") == 0;
    return r->json || strcmp(name, "table") == 0;
}

static void cpu_name(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(name, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(name, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (f)
        fclose(f);
}

json_t *report_record(const char *bench, const char *isa, int32_t n_threads)
{
    char cpu[128], when[32];
    struct tm tm;
    const time_t now = time(NULL);
    cpu_name(cpu, sizeof cpu);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "bench", bench, "build_version", terse_version(),
                     "cpu_info", cpu, "isa", isa, "n_threads", n_threads, "test_time", when);
}

void report_add(json_t *record, json_t *more)
{
    /* A record that is not whole must not be printed as if it were. */
    if (record && (!more || json_object_update(record, more) != 0))
        json_object_clear(record);
    json_decref(more);
}

json_t *report_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

report_times report_times_of(double bytes, double *ns, double *roofline, size_t n)
{
    report_times t = { .bytes = bytes, .n = n };
    double squares = 0.0;
    for (size_t i = 0; i < n; i++)
        t.avg_ns += ns[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (ns[i] - t.avg_ns) * (ns[i] - t.avg_ns);
    t.stddev_ns = n > 1 ? sqrt(squares / (double)(n - 1)) : 0.0;
    t.ns = samples_quartiles(ns, n);
    t.gbs = bytes / t.ns.median;
    t.roofline_gbs = samples_quartiles(roofline, n).median;
    t.fraction = t.gbs / t.roofline_gbs;
    return t;
}

json_t *report_times_json(const report_times *t)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n_samples", (json_int_t)t->n,
                     "bytes", report_real(t->bytes), "avg_ns", report_real(t->avg_ns), "stddev_ns",
                     report_real(t->stddev_ns), "median_ns", report_real(t->ns.median), "q1_ns",
                     report_real(t->ns.q1), "q3_ns", report_real(t->ns.q3), "gbs", report_real(t->gbs),
                     "roofline_gbs", report_real(t->roofline_gbs), "roofline_fraction",
                     report_real(t->fraction));
}

void report_print(report *r, json_t *record)
{
    if (json_object_size(record) == 0) {
        r->failed = true;
    } else {
        fputs(r->n++ ? ",\n" : "[\n", stdout);
        r->failed |= json_dumpf(record, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0;
        fflush(stdout); /* the next one may take minutes */
    }
    json_decref(record);
}

bool report_end(report *r)
{
    if (r->json)
        fputs(r->n ? "\n]\n" : "[\n]\n", stdout);
    r->failed |= fflush(stdout) != 0 || ferror(stdout) != 0;
    if (r->failed)
        fprintf(stderr, "the report could not be written: no memory, or stdout does not take it\n");
    return !r->failed;
}
