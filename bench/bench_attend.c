/* bench/bench_attend.c: the walk alone, without a model: over generated keys and values in a store that is far
 * larger than the caches, or over a recording of a model (terse record). One sample is one token's attention in
 * all layers and KV heads, heads shared out among the threads as the engine does it; a round of the read probe
 * comes before each; rules take turns. Medians. usage() lists the options, docs/bench.md the fields. */
#include "report.h"
#include "walks.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SAMPLES = 1000, MAX_GROUP = 64, MAX_RULES = 32 };

typedef struct {
    const char *recording, *data, *types, *stops, *policies, *tier;
    int_list groups, dims, depths, threads, mib, samples; /* n = 0: not given */
    uint32_t cpu;
    report report;
} options;

typedef struct {
    options *o;
    walks_rule rule[MAX_RULES];
    int32_t n_rule;
    char *words; /* owned: policies and stop rules, each ended by NUL */
    terse_kv_type type_k, type_v;
    kvdata data;
    terse_kv *kv;
    double type_error_mean, type_error_max;
} bench;

static int usage(void)
{
    fprintf(stderr,
            "usage: bench_attend [OPTION]...\n"
            "  --recording FILE              replay what terse record made; without it:\n"
            "    --data structured|plain     what is generated (structured)\n"
            "    --ctx N,..                  tokens (4096,16384)\n"
            "    --dim N,..  --group N,..    channels per head (64,128), query heads per KV head (1,4,8)\n"
            "    --mib N                     least size of the store (256)\n"
            "  --type K/V,..                 storage of keys and values (f16,q8)\n"
            "  --stop \"RULE;..\"              stop rules (none)\n"
            "  --kv-policy \"NAME;..\"         policies (dense)\n"
            "  --threads N,..                (1 and the number of cores)\n"
            "  --samples N  --tier NAME  -o table|json\n");
    return 2;
}

/* ---- one setting ---- */

static const char *const data_names[] = { "plain", "structured", "recording" };

static json_t *json_setting(const bench *b, const walks *w, const walks_rule *r)
{
    const kvdata *d = &b->data;
    const int32_t depth = kvdata_depth(d, d->n_step - 1);
    json_t *j = report_record("attend", terse_cpu_tier_name(b->o->cpu), w->n_thread);
    report_add(j,
               json_pack("{s:s, s:s?, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:i}", "data",
                         data_names[d->kind], "model", d->record ? terse_record_about(d->record)->model : NULL,
                         "n_layer", d->n_layer, "n_head_kv", d->n_head, "n_group", w->n_row, "dim_k", d->dim_k,
                         "dim_v", d->dim_v, "n_depth", depth, "type_k", terse_kv_type_name(b->type_k), "type_v",
                         terse_kv_type_name(b->type_v), "kv_policy", r->policy, "stop",
                         terse_attend_stop_text(r->attend), "n_step", d->n_step));
    return j;
}

static double per_step(const bench *b, int64_t sum)
{
    return (double)sum / b->data.n_step;
}

static void print_json(bench *b, const walks *w, const walks_rule *r, const report_times *t)
{
    const terse_attend_stats *s = &r->stats;
    const double heads = (double)b->data.n_layer * b->data.n_head;
    const bool bounded = terse_attend_bounded(r->attend);
    json_t *j = json_setting(b, w, r);
    report_add(j, report_times_json(t));
    report_add(j, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "bytes_kv_per_token",
                            report_real(t->bytes), "bytes_kv_dense_per_token",
                            report_real(per_step(b, s->bytes_dense)), "bytes_k_per_token",
                            report_real(per_step(b, s->bytes_k)), "bytes_v_per_token",
                            report_real(per_step(b, s->bytes_v)), "bytes_summary_per_token",
                            report_real(per_step(b, s->bytes_summary)), "bytes_ratio",
                            report_real(t->bytes / per_step(b, s->bytes_dense)), "bytes_per_head",
                            report_real(t->bytes / heads), "ns_per_head", report_real(t->ns.median / heads)));
    report_add(j, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "pages_listed_per_token",
                            report_real(per_step(b, s->pages_listed)), "pages_scored_per_token",
                            report_real(per_step(b, s->pages_scored)), "pages_read_per_token",
                            report_real(per_step(b, s->pages_read)), "tokens_read_per_token",
                            report_real(per_step(b, s->tokens_read)), "stops_share",
                            report_real((double)s->stops / (double)s->walks), "error_mean",
                            report_real(r->error_mean), "error_max", report_real(r->error_max), "bound_max",
                            bounded ? report_real((double)s->bound_max) : json_null(), "type_error_mean",
                            report_real(b->type_error_mean), "type_error_max", report_real(b->type_error_max)));
    report_print(&b->o->report, j);
}

static void print_rule(bench *b, const walks *w, walks_rule *r)
{
    const terse_attend_stats *s = &r->stats;
    const double bytes = per_step(b, s->bytes_k + s->bytes_v + s->bytes_summary);
    const report_times t = report_times_of(bytes, r->samples, (size_t)w->n_sample, 1.0, w->room);
    const double heads = (double)b->data.n_layer * b->data.n_head;
    if (b->o->report.json) {
        print_json(b, w, r, &t);
        return;
    }
    printf("%4s/%-4s %5d %4d %7d %7d %8.1f %8.1f %8.1f %8.1f %6.3f %6.2f %8.2f %6.1f%% %6s %9.2g %8.2g %7.2g  "
           "%s\n",
           terse_kv_type_name(b->type_k), terse_kv_type_name(b->type_v), w->n_row, b->data.dim_k,
           kvdata_depth(&b->data, b->data.n_step - 1), w->n_thread, t.ns.median / heads / 1000,
           t.ns.q1 / heads / 1000, t.ns.q3 / heads / 1000, bytes / heads / 1024,
           bytes / per_step(b, s->bytes_dense), t.gbs, t.machine.read, 100 * t.fraction, report_own_of(&t).text,
           r->error_mean, r->error_max, b->type_error_mean, terse_attend_stop_text(r->attend));
    fflush(stdout);
}

static terse_status measure(bench *b, int32_t group, int32_t n_thread, terse_error *err)
{
    walks w = { .data = &b->data,
                .kv = b->kv,
                .n_row = group,
                .n_thread = n_thread,
                .cpu = b->o->cpu,
                .rule = b->rule,
                .n_rule = b->n_rule,
                .n_sample = b->o->samples.v[0] };
    terse_status st = walks_open(&w, err);
    if (st == TERSE_OK) {
        walks_time(&w);
        for (int32_t r = 0; r < b->n_rule; r++)
            print_rule(b, &w, &b->rule[r]);
    }
    walks_close(&w);
    return st;
}

/* ---- one store ---- */

static terse_kv_opts store_of(const bench *b)
{
    const kvdata *d = &b->data;
    return (terse_kv_opts){ .n_layer = d->n_layer,
                            .n_head = d->n_head,
                            .dim_k = d->dim_k,
                            .dim_v = d->dim_v,
                            .type_k = b->type_k,
                            .type_v = b->type_v,
                            .ctx = d->ctx };
}

/* As many layers as give the store its size. */
static terse_status choose_layers(bench *b, terse_error *err)
{
    const terse_kv_opts one = store_of(b);
    terse_kv *kv;
    const terse_status st = terse_kv_open(&kv, &one, err);
    if (st != TERSE_OK)
        return st;
    const size_t layer = terse_kv_token_bytes(kv) * (size_t)b->data.ctx;
    terse_kv_close(&kv);
    b->data.n_layer = (int32_t)((((size_t)b->o->mib.v[0] << 20) + layer - 1) / layer);
    return TERSE_OK;
}

/* All groups and thread counts over the data that b->data describes. */
static terse_status run_store(bench *b, const int_list *groups, terse_error *err)
{
    const options *o = b->o;
    terse_status st = b->data.record ? TERSE_OK : choose_layers(b, err);
    const terse_kv_opts ko = store_of(b);
    if (st == TERSE_OK)
        st = kvdata_open(&b->data, err);
    if (st == TERSE_OK)
        st = terse_kv_open(&b->kv, &ko, err);
    if (st == TERSE_OK)
        st = b->data.record ? TERSE_OK : walks_fill(b->kv, &b->data, err);
    for (int32_t g = 0; g < groups->n && st == TERSE_OK; g++) {
        st = walks_compare(&b->data, b->kv, groups->v[g], o->cpu, b->rule, b->n_rule, &b->type_error_mean,
                           &b->type_error_max, err);
        for (int32_t t = 0; t < o->threads.n && st == TERSE_OK; t++)
            st = measure(b, groups->v[g], o->threads.v[t], err);
    }
    terse_kv_close(&b->kv);
    kvdata_close(&b->data);
    return st;
}

static int32_t largest(const int_list *l)
{
    int32_t max = 0;
    for (int32_t i = 0; i < l->n; i++)
        max = l->v[i] > max ? l->v[i] : max;
    return max;
}

static terse_status run_generated(bench *b, terse_error *err)
{
    const options *o = b->o;
    const kvdata_kind kind = strcmp(o->data, "plain") == 0 ? KVDATA_PLAIN : KVDATA_STRUCTURED;
    terse_status st = TERSE_OK;
    for (int32_t d = 0; d < o->dims.n; d++)
        for (int32_t n = 0; n < o->depths.n && st == TERSE_OK; n++) {
            b->data = kvdata_generated(kind, largest(&o->groups), o->dims.v[d], o->depths.v[n]);
            st = run_store(b, &o->groups, err);
        }
    return st;
}

/* Takes "K/V" or one name for both off the list. */
static terse_status next_types(const char **list, bench *b, terse_error *err)
{
    char word[32], *slash;
    const size_t n = strcspn(*list, ",");
    snprintf(word, sizeof word, "%.*s", (int)n, *list);
    *list += n + ((*list)[n] == ',');
    if ((slash = strchr(word, '/')))
        *slash = '\0';
    const terse_status st = terse_kv_type_parse(word, &b->type_k, err);
    return st == TERSE_OK ? terse_kv_type_parse(slash ? slash + 1 : word, &b->type_v, err) : st;
}

/* Every type over the recording, or over all that is generated. */
static terse_status run_types(bench *b, terse_error *err)
{
    const options *o = b->o;
    terse_record *record = NULL;
    terse_status st = o->recording ? terse_record_open(&record, o->recording, err) : TERSE_OK;
    for (const char *list = o->types; *list && st == TERSE_OK;) {
        st = next_types(&list, b, err);
        if (st == TERSE_OK && record) {
            b->data = kvdata_recorded(record);
            st = run_store(b, &(int_list){ { b->data.n_row }, 1 }, err);
        } else if (st == TERSE_OK) {
            st = run_generated(b, err);
        }
    }
    terse_record_close(&record);
    return st;
}

/* ---- rules ---- */

/* Policies x stop rules. */
static terse_status open_rules(bench *b, terse_error *err)
{
    const size_t n_policy = strlen(b->o->policies) + 1;
    char *stop, *policy, *save_stop, *save_policy, *stops;
    terse_status st = TERSE_OK;
    b->words = malloc(n_policy + strlen(b->o->stops) + 1);
    if (!b->words)
        return terse_fail(err, TERSE_NOMEM, "no memory for the rules");
    memcpy(b->words, b->o->policies, n_policy);
    stops = b->words + n_policy;
    for (policy = strtok_r(b->words, ";", &save_policy); policy; policy = strtok_r(NULL, ";", &save_policy)) {
        strcpy(stops, b->o->stops); /* strtok_r has cut it */
        for (stop = strtok_r(stops, ";", &save_stop); stop && st == TERSE_OK;
             stop = strtok_r(NULL, ";", &save_stop)) {
            if (b->n_rule == MAX_RULES)
                return terse_fail(err, TERSE_BAD_INPUT, "more than %d rules", MAX_RULES);
            walks_rule *r = &b->rule[b->n_rule++];
            r->policy = policy;
            st = terse_attend_open(&r->attend, policy, stop, 0, err);
        }
    }
    return st == TERSE_OK && b->n_rule == 0 ? terse_fail(err, TERSE_BAD_INPUT, "no rule") : st;
}

static terse_status run(options *o, terse_error *err)
{
    bench b = { .o = o };
    terse_status st = open_rules(&b, err);
    if (st == TERSE_OK && !o->report.json)
        printf(
            "walk, tier %s; us and KiB per token, layer and KV head\n%9s %5s %4s %7s %7s %8s %8s %8s %8s %6s "
            "%6s %8s %7s %6s %9s %8s %7s  %s\n",
            terse_cpu_tier_name(o->cpu), "K/V", "group", "dim", "depth", "threads", "us", "q1", "q3", "KiB",
            "bytes", "GB/s", "roofline", "share", "own", "error", "max", "type", "stop rule");
    if (st == TERSE_OK)
        st = run_types(&b, err);
    for (int32_t r = 0; r < b.n_rule; r++)
        terse_attend_close(&b.rule[r].attend);
    free(b.words);
    return st;
}

/* ---- the command line ---- */

static bool is_one_of(const char *name, const char *a, const char *b)
{
    return strcmp(name, a) == 0 || strcmp(name, b) == 0;
}

static bool parse_text(options *o, const char *name, const char *value)
{
    const char **text = is_one_of(name, "--type", "--types")         ? &o->types
                        : is_one_of(name, "--kv-policy", "--policy") ? &o->policies
                        : strcmp(name, "--stop") == 0                ? &o->stops
                        : strcmp(name, "--tier") == 0                ? &o->tier
                        : strcmp(name, "--recording") == 0           ? &o->recording
                        : strcmp(name, "--data") == 0                ? &o->data
                                                                     : NULL;
    if (text)
        *text = value;
    return text != NULL;
}

static bool parse(options *o, int argc, char **argv)
{
    const struct {
        const char *name, *other;
        int_list *list;
        long min, max;
    } lists[] = {
        { "--group", "--groups", &o->groups, 1, MAX_GROUP },
        { "--dim", "--dims", &o->dims, 16, KVDATA_MAX_DIM },
        { "--ctx", "--depths", &o->depths, 1, 1 << 24 },
        { "--threads", "-t", &o->threads, 1, WALKS_MAX_THREADS },
        { "--mib", "", &o->mib, 1, 1 << 20 },
        { "--samples", "", &o->samples, 1, MAX_SAMPLES },
    };
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--json") == 0) {
            o->report.json = true;
            continue;
        }
        if (++i == argc)
            return false;
        bool known =
            parse_text(o, name, argv[i]) || (strcmp(name, "-o") == 0 && report_format(&o->report, argv[i]));
        for (size_t l = 0; l < sizeof lists / sizeof *lists && !known; l++)
            known = is_one_of(name, lists[l].name, lists[l].other) &&
                    samples_list(lists[l].list, argv[i], lists[l].min, lists[l].max);
        if (!known)
            return false;
    }
    return !o->data || is_one_of(o->data, "plain", "structured");
}

/* What was not given. False if something was that a recording brings with it. */
static bool complete(options *o)
{
    const int32_t cores = terse_cpu_threads() < WALKS_MAX_THREADS ? terse_cpu_threads() : WALKS_MAX_THREADS;
    if (o->recording && (o->data || o->groups.n || o->dims.n || o->depths.n || o->mib.n))
        return false;
    o->data = o->data ? o->data : "structured";
    o->types = o->types ? o->types : "f16,q8";
    o->stops = o->stops ? o->stops : "none";
    o->policies = o->policies ? o->policies : "dense";
    o->groups = o->groups.n ? o->groups : (int_list){ { 1, 4, 8 }, 3 };
    o->dims = o->dims.n ? o->dims : (int_list){ { 64, 128 }, 2 };
    o->depths = o->depths.n ? o->depths : (int_list){ { 4096, 16384 }, 2 };
    o->threads = o->threads.n ? o->threads : (int_list){ { 1, cores }, cores > 1 ? 2 : 1 };
    o->mib = o->mib.n ? o->mib : (int_list){ { 256 }, 1 };
    o->samples = o->samples.n ? o->samples : (int_list){ { 16 }, 1 };
    return true;
}

int main(int argc, char **argv)
{
    options o = { 0 };
    terse_error err;
    if (!parse(&o, argc, argv))
        return usage();
    if (!complete(&o)) {
        fprintf(stderr, "bench_attend: a recording has its own --data, --ctx, --dim, --group and --mib\n");
        return 2;
    }
    terse_status st = terse_cpu_tiers_upto(o.tier, &o.cpu, &err);
    if (st == TERSE_OK)
        st = run(&o, &err);
    if (st != TERSE_OK)
        fprintf(stderr, "bench_attend: %s\n", err.text);
    const bool written = report_end(&o.report);
    return st != TERSE_OK || written ? terse_status_exit(st) : terse_status_exit(TERSE_IO);
}
