/* cli/engine_options.c: see the header. */
#include "engine_options.h"

#include "terminal.h"

#include <string.h>

static const struct {
    const char *name, *stop;
} qualities[] = {
    { "exact", TERSE_QUALITY_EXACT },
    { "safe", TERSE_QUALITY_SAFE },
    { "fast", TERSE_QUALITY_FAST },
};

/* What --quality sets, unless more is said. */
static terse_status set_quality(const char *name, terse_session_opts *out, terse_error *err)
{
    for (size_t i = 0; i < sizeof qualities / sizeof *qualities; i++)
        if (strcmp(qualities[i].name, name) == 0) {
            out->stop = out->stop ? out->stop : qualities[i].stop;
            return TERSE_OK;
        }
    return terse_fail(err, TERSE_BAD_INPUT, "--quality: \"%.80s\" is none of: exact safe fast", name);
}

terse_engine_options terse_engine_defaults(void)
{
    return (terse_engine_options){ .model = terse_args_model_defaults() };
}

void terse_engine_groups(terse_engine_options *o, terse_option_group groups[TERSE_ENGINE_GROUPS])
{
    groups[0] = terse_args_model_group(&o->model);
    groups[1] = terse_args_kv_group(&o->kv);
    groups[2] = terse_cpu_group(&o->cpu);
}

const char *terse_engine_model(const terse_engine_options *o, int argc, char **argv)
{
    const char *named = o->model.model, *given = argc > 1 ? argv[1] : NULL;
    if (named && given)
        terse_complain("two models: \"%.80s\" by -m and the argument \"%.80s\"", named, given);
    else if (!named && !given)
        terse_complain("%s: which model? terse %s --help says more", argv[0], argv[0]);
    return named && given ? NULL : named ? named : given;
}

terse_status terse_engine_session(const terse_engine_options *o, terse_session_opts *out, terse_error *err)
{
    const terse_args_model *m = &o->model;
    const terse_args_kv *kv = &o->kv;
    *out = (terse_session_opts){ .ctx = m->ctx,
                                 .threads = m->threads,
                                 .strands = m->strands,
                                 .chunk = m->ubatch < m->batch ? m->ubatch : m->batch,
                                 .kv_limit = kv->limit,
                                 .audit = kv->audit,
                                 .policy = kv->policy,
                                 .gate = kv->gate,
                                 .budget = kv->budget,
                                 .stop = kv->stop };
    if (kv->budget && (!kv->policy || strncmp(kv->policy, "dense", 5) == 0))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "--kv-budget %.40s: name a --kv-policy that keeps a part of the tokens, as snapkv",
                          kv->budget);
    terse_status st = terse_cpu_use(&o->cpu, out, err);
    if (st != TERSE_OK)
        return st;
    const char *quality = kv->quality || kv->policy || kv->stop || kv->profile ? kv->quality : TERSE_QUALITY;
    st = quality ? set_quality(quality, out, err) : TERSE_OK;
    if (st == TERSE_OK && kv->type_k)
        st = terse_kv_type_parse(kv->type_k, &out->type_k, err);
    if (st == TERSE_OK && kv->type_v)
        st = terse_kv_type_parse(kv->type_v, &out->type_v, err);
    return st == TERSE_OK ? terse_args_isa(&out->cpu, err) : st;
}
