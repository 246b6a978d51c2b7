/* bench/versus/bench_llama.c: llama.cpp through its C interface, measured as terse bench measures: the same
 * tests, the same clock, the same probes around each sample, the same JSON fields. bench_llama MODEL [-p N,..]
 * [-n N,..] [-d N,..] [-t N] [-ct TYPE] [-r N] [--fill copy|prompt] Flash attention is on, everything else
 * llama.cpp's default. A depth is reached by computing FEW tokens and restoring a state in which their rows of
 * K and V stand again and again (copy), or by a prompt of random tokens (prompt). What a row holds does not
 * change how long attention takes. */
#include "../report.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FEW = 32, BATCH = 512, MAX_REPS = 1000 };

typedef struct {
    const char *path, *type, *fill;
    int_list prompts, gens, depths, threads, reps;
} options;

typedef struct {
    const options *o;
    struct llama_model *model;
    struct llama_context *context;
    struct ggml_threadpool *pool;
    terse_probe *probe;
    llama_token *tokens; /* [n_token] random */
    int32_t n_token;
    report report;
} bench;

static int32_t largest(const int_list *l)
{
    int32_t max = 0;
    for (int32_t i = 0; i < l->n; i++)
        max = l->v[i] > max ? l->v[i] : max;
    return max;
}

/* ---- the library ---- */

static void say_errors(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

/* What llama-bench does: one pool of threads for all steps; without it threads are made for every one. */
static bool open_pool(bench *b)
{
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!cpu)
        return false;
    void *address = ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), "ggml_threadpool_new");
    struct ggml_threadpool *(*make)(struct ggml_threadpool_params *) = NULL;
    if (!address)
        return false;
    memcpy(&make, &address, sizeof make); /* ISO C has no cast for it */
    struct ggml_threadpool_params params = ggml_threadpool_params_default(b->o->threads.v[0]);
    b->pool = make(&params);
    if (b->pool)
        llama_attach_threadpool(b->context, b->pool, b->pool);
    return b->pool != NULL;
}

/* GGML_TYPE_COUNT: not a type of the cache. */
static enum ggml_type type_of(const char *name)
{
    return strcmp(name, "f16") == 0    ? GGML_TYPE_F16
           : strcmp(name, "q8_0") == 0 ? GGML_TYPE_Q8_0
           : strcmp(name, "q4_0") == 0 ? GGML_TYPE_Q4_0
                                       : GGML_TYPE_COUNT;
}

static bool open_model(bench *b)
{
    const options *o = b->o;
    const int32_t p = largest(&o->prompts), n = largest(&o->gens);
    b->n_token = largest(&o->depths) + (p > n ? p : n) + FEW;
    llama_log_set(say_errors, NULL);
    ggml_backend_load_all_from_path(BACKENDS);
    b->model = llama_model_load_from_file(o->path, llama_model_default_params());
    if (!b->model)
        return false;
    struct llama_context_params c = llama_context_default_params();
    c.n_ctx = (uint32_t)b->n_token;
    c.n_batch = c.n_ubatch = BATCH;
    c.n_threads = c.n_threads_batch = o->threads.v[0];
    c.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    c.type_k = c.type_v = type_of(o->type);
    b->context = llama_init_from_model(b->model, c);
    b->tokens = calloc((size_t)b->n_token, sizeof *b->tokens);
    if (!b->context || !b->tokens)
        return false;
    const uint32_t n_vocab = (uint32_t)llama_vocab_n_tokens(llama_model_get_vocab(b->model));
    uint32_t u = 1;
    for (int32_t i = 0; i < b->n_token; i++)
        b->tokens[i] = (llama_token)((u = u * 1664525 + 1013904223) % n_vocab);
    return open_pool(b);
}

static bool decode(bench *b, const llama_token *tokens, int32_t n)
{
    for (int32_t t = 0; t < n; t += BATCH) {
        const int32_t m = n - t < BATCH ? n - t : BATCH;
        if (llama_decode(b->context, llama_batch_get_one((llama_token *)(uintptr_t)(tokens + t), m)) != 0)
            return false;
    }
    llama_synchronize(b->context);
    return true;
}

/* ---- depth ---- */

/* Copies n bytes, or counts them while out is NULL. */
static void put(char *out, size_t *at, const void *p, size_t n)
{
    if (out)
        memcpy(out + *at, p, n);
    *at += n;
}

/* From a state of FEW cells one of n: a magic number, sequence, streams (1), cells, then of each cell position,
 * number of sequences (1) and sequence, then the order of V (0: by rows) and the number of layers, then of the
 * keys of all layers and the values of all layers type, size of a row, and rows. Returns its size, 0 if it is
 * not laid out like that.
 */
static size_t stretch(char *out, const char *in, size_t size, int32_t n, int32_t n_layer)
{
    uint32_t head[4], word[2];
    const size_t cell = 12;
    size_t from = sizeof head + FEW * cell, at = 0;
    if (size < from + sizeof word)
        return 0;
    memcpy(head, in, sizeof head);
    if (head[2] != 1 || head[3] != FEW)
        return 0;
    head[3] = (uint32_t)n;
    put(out, &at, head, sizeof head);
    for (int32_t i = 0; i < n; i++) {
        const int32_t c[3] = { i, 1, 0 };
        put(out, &at, c, cell);
    }
    memcpy(word, in + from, sizeof word);
    if (word[0] != 0 || word[1] != (uint32_t)n_layer)
        return 0;
    put(out, &at, word, sizeof word);
    from += sizeof word;
    for (int32_t l = 0; l < 2 * n_layer; l++) {
        uint64_t row;
        if (size - from < 4 + sizeof row)
            return 0;
        memcpy(&row, in + from + 4, sizeof row);
        put(out, &at, in + from, 4 + sizeof row);
        from += 4 + sizeof row;
        if (row == 0 || row > (size - from) / FEW)
            return 0;
        for (int32_t i = 0; i < n; i++)
            put(out, &at, in + from + (size_t)(i % FEW) * row, row);
        from += FEW * row;
    }
    return from == size ? at : 0;
}

static bool copy_to_depth(bench *b, int32_t depth)
{
    const int32_t n_layer = llama_model_n_layer(b->model);
    if (!decode(b, b->tokens, FEW))
        return false;
    const size_t size = llama_state_seq_get_size(b->context, 0);
    char *few = malloc(size);
    const bool got = few && llama_state_seq_get_data(b->context, (uint8_t *)few, size, 0) == size;
    const size_t large = got ? stretch(NULL, few, size, depth, n_layer) : 0;
    char *all = large ? malloc(large) : NULL;
    bool ok = all && stretch(all, few, size, depth, n_layer) == large;
    llama_memory_clear(llama_get_memory(b->context), false);
    ok = ok && llama_state_seq_set_data(b->context, (const uint8_t *)all, large, 0) == large;
    free(all);
    free(few);
    return ok && llama_memory_seq_pos_max(llama_get_memory(b->context), 0) == depth - 1;
}

static bool deepen(bench *b, int32_t depth)
{
    llama_memory_clear(llama_get_memory(b->context), false);
    if (depth == 0)
        return true;
    return strcmp(b->o->fill, "prompt") == 0 ? decode(b, b->tokens, depth) : copy_to_depth(b, depth);
}

/* ---- samples ---- */

static int64_t cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The pool's threads go on spinning for a while after a step; they must not disturb the probes. */
static void let_pool_sleep(void)
{
    const struct timespec pause = { .tv_nsec = 20000000 };
    for (int64_t cpu = cpu_now(), now;; cpu = now) {
        nanosleep(&pause, NULL);
        now = cpu_now();
        if (now - cpu < 1000000)
            return;
    }
}

static bool work(bench *b, int32_t n_prompt, int32_t n_gen, int32_t depth)
{
    bool ok = n_prompt == 0 || decode(b, b->tokens + depth, n_prompt);
    for (int32_t t = 0; t < n_gen && ok; t++)
        ok = decode(b, b->tokens + depth + t, 1);
    return ok;
}

static bool sample(bench *b, terse_sample *s, int32_t n_prompt, int32_t n_gen, int32_t depth)
{
    let_pool_sleep();
    terse_probe_begin(b->probe, s);
    const int64_t cpu = cpu_now(), start = terse_now_ns();
    const bool ok = work(b, n_prompt, n_gen, depth);
    const int64_t ns = terse_now_ns() - start, used = cpu_now() - cpu;
    let_pool_sleep();
    terse_probe_end(b->probe, s);
    s->ns = ns;
    s->cpu_share = (double)used / ((double)ns * b->o->threads.v[0]);
    return ok && llama_memory_seq_rm(llama_get_memory(b->context), 0, depth, -1);
}

static void print(bench *b, const terse_sample *s, int32_t n_prompt, int32_t n_gen, int32_t depth)
{
    static double room[MAX_REPS];
    const int32_t n = b->o->reps.v[0];
    const terse_timing t = terse_timing_of(s, (size_t)n, n_prompt + n_gen, room);
    json_t *r = report_record("versus", llama_print_system_info(), b->o->threads.v[0]);
    json_t *own = json_array(), *ts = json_array(), *read = json_array();
    for (int32_t i = 0; i < n; i++) {
        json_array_append_new(own, json_boolean(s[i].own));
        json_array_append_new(ts, report_real((n_prompt + n_gen) * 1e9 / (double)s[i].ns));
        json_array_append_new(read, report_real(s[i].read));
    }
    report_add(r, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:s}", "model_filename", b->o->path, "type_k",
                            b->o->type, "type_v", b->o->type, "n_prompt", n_prompt, "n_gen", n_gen, "n_depth",
                            depth, "fill", b->o->fill));
    report_add(r, json_pack("{s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "n_samples", n, "n_own", (int)t.n_own,
                            "median_ts", report_real(t.rate.median), "roofline_gbs", report_real(t.read),
                            "cpu_share", report_real(t.cpu_share), "core_share", report_real(t.core_share),
                            "fma_ratio", report_real(t.fma_ratio), "int8_gops", report_real(t.int8)));
    report_add(
        r, json_pack("{s:o, s:o, s:o}", "samples_own", own, "samples_ts", ts, "samples_roofline_gbs", read));
    report_print(&b->report, r);
}

static bool run_test(bench *b, int32_t n_prompt, int32_t n_gen, int32_t depth)
{
    static terse_sample samples[MAX_REPS];
    bool ok =
        work(b, n_prompt, n_gen > 0, depth) && llama_memory_seq_rm(llama_get_memory(b->context), 0, depth, -1);
    for (int32_t i = 0; i < b->o->reps.v[0] && ok; i++)
        ok = sample(b, &samples[i], n_prompt, n_gen, depth);
    if (ok)
        print(b, samples, n_prompt, n_gen, depth);
    return ok;
}

static bool run(bench *b)
{
    const options *o = b->o;
    bool ok = true;
    for (int32_t d = 0; d < o->depths.n && ok; d++) {
        const int32_t depth = o->depths.v[d];
        ok = deepen(b, depth);
        for (int32_t i = 0; i < o->prompts.n && ok; i++)
            ok = o->prompts.v[i] == 0 || run_test(b, o->prompts.v[i], 0, depth);
        for (int32_t i = 0; i < o->gens.n && ok; i++)
            ok = o->gens.v[i] == 0 || run_test(b, 0, o->gens.v[i], depth);
    }
    return ok;
}

static bool parse(options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        int_list *list;
        long min, max;
    } lists[] = { { "-p", &o->prompts, 0, 1 << 20 },
                  { "-n", &o->gens, 0, 1 << 20 },
                  { "-d", &o->depths, 0, 1 << 20 },
                  { "-t", &o->threads, 1, 512 },
                  { "-r", &o->reps, 1, MAX_REPS } };
    if (argc < 2 || argc % 2)
        return false;
    o->path = argv[1];
    for (int i = 2; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        bool known = false;
        for (size_t l = 0; l < sizeof lists / sizeof *lists && !known; l++)
            known = strcmp(name, lists[l].name) == 0 &&
                    samples_list(lists[l].list, value, lists[l].min, lists[l].max);
        if (strcmp(name, "-ct") == 0 && type_of(value) != GGML_TYPE_COUNT)
            o->type = value;
        else if (strcmp(name, "--fill") == 0 && (strcmp(value, "copy") == 0 || strcmp(value, "prompt") == 0))
            o->fill = value;
        else if (!known)
            return false;
    }
    return o->threads.n == 1 && o->reps.n == 1;
}

int main(int argc, char **argv)
{
    options o = { .type = "f16",
                  .fill = "copy",
                  .prompts = { { 512 }, 1 },
                  .gens = { { 128 }, 1 },
                  .depths = { { 0 }, 1 },
                  .threads = { { terse_cpu_threads() }, 1 },
                  .reps = { { 5 }, 1 } };
    bench b = { .o = &o, .report = { .json = true } };
    terse_error err = { 0 };
    if (!parse(&o, argc, argv)) {
        fprintf(stderr,
                "usage: bench_llama MODEL [-p N,..] [-n N,..] [-d N,..] [-t N] [-ct f16|q8_0|q4_0] [-r N]\n"
                "                   [--fill copy|prompt]\n");
        return 2;
    }
    const terse_status st = terse_probe_open(&b.probe, o.threads.v[0], 0, 0, &err);
    bool ok = st == TERSE_OK && open_model(&b);
    if (!ok)
        fprintf(stderr, "bench_llama: %s: %s\n", o.path, st ? err.text : "llama.cpp does not open it");
    else if (!(ok = run(&b)))
        fprintf(stderr, "bench_llama: %s: llama.cpp failed, or lays out its state in a new way\n", o.path);
    if (b.context)
        llama_free(b.context);
    if (b.model)
        llama_model_free(b.model);
    terse_probe_close(&b.probe);
    free(b.tokens);
    return report_end(&b.report) && ok ? 0 : 1;
}
