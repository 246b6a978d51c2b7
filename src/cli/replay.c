/* cli/replay.c: terse replay FILE: stop rules, policies and storage types tried on a recording, without the
 * model. */
#include "commands.h"
#include "interrupt.h"
#include "json_real.h"
#include "progress.h"
#include "rules.h"
#include "stats_json.h"
#include "terminal.h"
#include "terse/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { NAME_SIZE = 256 };

typedef struct {
    int32_t threads, strands;
    bool json;
} replay_values;

#define AT(field) offsetof(replay_values, field)
static const terse_option replay_options[] = {
    { "-t --threads", TERSE_OPTION_INT, AT(threads), 0, TERSE_REPLAY_THREADS, "N",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
    { "--strands", TERSE_OPTION_INT, AT(strands), 1, TERSE_REPLAY_STRANDS, "N",
      .help = "parts of a KV head's pages, as threads of a session share them" },
    { "--json", TERSE_OPTION_ON, AT(json), .help = "print JSON" },
};
#undef AT

typedef struct {
    const char *path;
    terse_record *record;
    terse_replay *replay;
    terse_session_opts opts; /* types, threads, cpu */
} job;

static double share(int64_t bytes, const terse_attend_stats *s)
{
    return s->bytes_dense > 0 ? (double)bytes / (double)s->bytes_dense : NAN;
}

static int64_t all_bytes(const terse_attend_stats *s)
{
    return s->bytes_k + s->bytes_v + s->bytes_summary;
}

/* ---- JSON ---- */

static json_t *json_of_error(double mean, double max)
{
    return json_pack("{s:o, s:o}", "mean", terse_json_real(mean), "max", terse_json_real(max));
}

/* [layer][head] */
static json_t *json_of_heads(const job *j, int32_t rule)
{
    const terse_record_info *i = terse_record_about(j->record);
    json_t *layers = json_array();
    for (int32_t l = 0; l < i->n_layer && layers; l++) {
        json_t *heads = json_array();
        for (int32_t h = 0; h < i->n_head; h++) {
            const terse_replay_result k = terse_replay_result_of(j->replay, rule, l, h);
            json_array_append_new(heads, json_pack("{s:o, s:o}", "bytes_ratio",
                                                   terse_json_real(share(all_bytes(&k.read), &k.read)), "error",
                                                   json_of_error(k.error_mean, k.error_max)));
        }
        json_array_append_new(layers, heads);
    }
    return layers;
}

static json_t *json_of_rule(const job *j, int32_t rule)
{
    const terse_record_info *i = terse_record_about(j->record);
    const terse_replay_result k = terse_replay_result_of(j->replay, rule, -1, 0);
    double mean, max;
    terse_replay_type_error(j->replay, &mean, &max);
    json_t *name = json_string(j->path), *root = json_object();
    json_t *stats = terse_json_of_stats(&k.read, k.bounded, true);
    terse_json_put(&root, "recording", name ? name : json_null()); /* a path may be no UTF-8 */
    terse_json_put(&root, "model", json_string(i->model));
    terse_json_put(&root, "recorded_under", json_string(i->stop));
    terse_json_put(&root, "policy", json_string(k.policy));
    terse_json_put(&root, "steps", json_integer(i->n_step));
    terse_json_put(&root, "every", json_integer(i->every));
    terse_json_put(&root, "depth", json_integer(i->n_token));
    terse_json_put(&root, "bytes_ratio", terse_json_real(share(all_bytes(&k.read), &k.read)));
    if (root && (!stats || json_object_update(root, stats) != 0)) {
        json_decref(root);
        root = NULL;
    }
    json_decref(stats);
    terse_json_put(&root, "error", json_of_error(k.error_mean, k.error_max));
    terse_json_put(&root, "type_error", json_of_error(mean, max));
    terse_json_put(&root, "stop",
                   json_pack("{s:s, s:o}", "rule", k.stop, "bound_max",
                             k.bounded ? terse_json_real((double)k.read.bound_max) : json_null()));
    terse_json_put(&root, "heads", json_of_heads(j, rule));
    terse_json_put(&root, "type_k", json_string(terse_kv_type_name(j->opts.type_k)));
    terse_json_put(&root, "type_v", json_string(terse_kv_type_name(j->opts.type_v)));
    terse_json_put(&root, "isa", json_string(terse_cpu_tier_name(j->opts.cpu)));
    return root;
}

static terse_status print_json(const job *j, terse_error *err)
{
    const int32_t n = terse_replay_rules(j->replay);
    json_t *all = json_array();
    terse_status st = TERSE_OK;
    for (int32_t r = 0; r < n && st == TERSE_OK; r++)
        if (json_array_append_new(all, json_of_rule(j, r)) != 0)
            st = terse_fail(err, TERSE_NOMEM, "no memory for the JSON");
    if (st == TERSE_OK) {
        json_dumpf(n > 1 ? all : json_array_get(all, 0), stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(all);
    return st;
}

/* ---- table ---- */

static int name_setting(char name[NAME_SIZE], const terse_replay_result *k)
{
    const bool dense = strcmp(k->policy, "dense") == 0;
    return snprintf(name, NAME_SIZE, "%.64s%s%.160s", dense ? "" : k->policy, dense ? "" : ", ", k->stop);
}

static void print_row(const terse_replay_result *k, int width)
{
    const terse_attend_stats *s = &k->read;
    char name[NAME_SIZE];
    name_setting(name, k);
    printf("| %-*s | %5.1f %% | %5.1f %% | %5.1f %% | %5.1f %% | %8.2e | %8.2e ", width, name,
           100 * share(s->bytes_k, s), 100 * share(s->bytes_v, s), 100 * share(s->bytes_summary, s),
           100 * share(all_bytes(s), s), k->error_mean, k->error_max);
    if (k->bounded)
        printf("| %8.3g ", (double)s->bound_max);
    else
        printf("| %8s ", "none");
    printf("| %7.4f | %7.4f |\n", s->left_sum / (double)s->walks, (double)s->left_max);
}

static void print_table(const job *j)
{
    const terse_record_info *i = terse_record_about(j->record);
    const int32_t n = terse_replay_rules(j->replay);
    const terse_replay_result first = terse_replay_result_of(j->replay, 0, -1, 0);
    int width = (int)strlen("setting");
    char name[NAME_SIZE];
    double mean, max;
    for (int32_t r = 0; r < n; r++) {
        const terse_replay_result k = terse_replay_result_of(j->replay, r, -1, 0);
        width = name_setting(name, &k) > width ? name_setting(name, &k) : width;
    }
    terse_replay_type_error(j->replay, &mean, &max);
    printf("%s: %d steps of %d layers of %d KV heads, up to %d tokens, decoded under %s\n", i->model, i->n_step,
           i->n_layer, i->n_head, i->n_token, i->stop);
    printf("keys %s, values %s: dense attention reads %.2f MiB a step and is off by %.2g in the mean, %.2g at "
           "most\n\n",
           terse_kv_type_name(j->opts.type_k), terse_kv_type_name(j->opts.type_v),
           (double)first.read.bytes_dense / i->n_step / 1048576, mean, max);
    printf("| %-*s |    keys |  values | summary | KV read |    error |      max |    bound | left out |    "
           "max |\n",
           width, "setting");
    printf("| ");
    for (int c = 0; c < width; c++)
        putchar('-');
    printf(" | ------: | ------: | ------: | ------: | -------: | -------: | -------: | ------: | ------: |\n");
    for (int32_t r = 0; r < n; r++) {
        const terse_replay_result k = terse_replay_result_of(j->replay, r, -1, 0);
        print_row(&k, width);
    }
}

/* ---- the command ---- */

static void show_progress(void *ctx, int32_t done, int32_t total)
{
    terse_progress_update(ctx, done, total);
}

static terse_status work(job *j, const terse_rules *rules, bool json, terse_error *err)
{
    terse_progress bar;
    terse_status st = terse_record_open(&j->record, j->path, err);
    if (st == TERSE_OK) {
        const terse_record_info *i = terse_record_about(j->record);
        j->opts.type_k = j->opts.type_k ? j->opts.type_k : i->type_k;
        j->opts.type_v = j->opts.type_v ? j->opts.type_v : i->type_v;
        const terse_replay_opts o = { .type_k = j->opts.type_k,
                                      .type_v = j->opts.type_v,
                                      .threads = j->opts.threads,
                                      .strands = j->opts.strands,
                                      .audit = j->opts.audit,
                                      .kv_limit = j->opts.kv_limit,
                                      .cpu = j->opts.cpu,
                                      .abort = terse_interrupt_flag(),
                                      .progress = show_progress,
                                      .ctx = &bar };
        terse_progress_begin(&bar, "replay", "steps", true);
        st = terse_replay_open(&j->replay, j->record, &o, rules->rule, rules->n, err);
        terse_progress_end(&bar);
    }
    if (st == TERSE_OK && json)
        st = print_json(j, err);
    else if (st == TERSE_OK)
        print_table(j);
    terse_replay_close(&j->replay);
    terse_record_close(&j->record);
    return st;
}

/* The group "kv and attention" without what needs a model. */
static terse_option_group kv_group(terse_engine_options *o, terse_option rows[TERSE_KV_OPTIONS])
{
    terse_option_group g = terse_rules_group(o, rows);
    int32_t n = 0;
    for (int32_t i = 0; i < g.n_option; i++) {
        if (rows[i].at == offsetof(terse_args_kv, profile))
            continue;
        rows[n] = rows[i];
        if (rows[n].at == offsetof(terse_args_kv, type_k) || rows[n].at == offsetof(terse_args_kv, type_v))
            rows[n].preset = "as recorded";
        n++;
    }
    g.n_option = n;
    return g;
}

int terse_cmd_replay(int argc, char **argv)
{
    replay_values o = { .strands = 1 };
    terse_engine_options engine = terse_engine_defaults();
    terse_option kv_rows[TERSE_KV_OPTIONS];
    const terse_option_group groups[] = { { "replay", replay_options, COUNT(replay_options), &o },
                                          kv_group(&engine, kv_rows) };
    const terse_options accepted = { "replay FILE [OPTION]...",
                                     "Walks the steps of a recording (terse record) under policies, stop rules "
                                     "and storage types, without the "
                                     "model: bytes by kind as shares of what dense attention reads, and the "
                                     "error of the output of attention "
                                     "beside dense attention over the same store, in the mean and at most over "
                                     "query heads, layers and steps.",
                                     groups, COUNT(groups), 1 };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    if (argc < 2) {
        terse_complain("replay: which recording? terse record makes one");
        return 2;
    }
    job j = { .path = argv[1] };
    terse_error err;
    terse_rules rules;
    terse_interrupt_catch();
    terse_status st = terse_rules_open(&rules, &engine, &err);
    engine.kv.policy = engine.kv.quality = NULL;
    engine.kv.stop = "none";
    engine.model.threads = o.threads;
    engine.model.strands = o.strands;
    if (st == TERSE_OK)
        st = terse_engine_session(&engine, &j.opts, &err);
    if (st == TERSE_OK)
        st = work(&j, &rules, o.json, &err);
    terse_rules_close(&rules);
    return st == TERSE_OK ? 0 : terse_complain_error(&err);
}
