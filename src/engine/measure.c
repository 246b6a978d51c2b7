/* engine/measure.c: how much memory a session will take, without taking any. */
#include "engine/session_parts.h"

#include <string.h>

enum { BACK = 256 }; /* as in kv/store.c */

/* Pages of one KV head that ctx tokens fill in a layer with this window. */
static size_t pages_in(int32_t ctx, int32_t window, const terse_session_opts *o, int32_t chunk)
{
    const int64_t kept = (int64_t)window + (o->back ? o->back : BACK) + chunk;
    return (size_t)terse_kv_pages_of(window && kept < ctx ? (int32_t)kept : ctx);
}

/* False for a policy that there is not: opening a session says so. */
static bool drops(const terse_model *m, const terse_session_opts *o)
{
    terse_attend *a = NULL;
    const bool gated = o->gate || terse_model_gate(m);
    const char *policy = o->policy ? o->policy : gated ? "spkv" : "dense";
    if (strcmp(policy, "auto") == 0)
        return true;
    const bool yes = terse_attend_open(&a, policy, NULL, 0, NULL) == TERSE_OK && terse_attend_drops(a);
    terse_attend_close(&a);
    return yes;
}

terse_session_need terse_session_measure(const terse_model *m, const terse_session_opts *opts)
{
    static const terse_session_opts defaults;
    const terse_session_opts *o = opts ? opts : &defaults;
    const terse_model_info *i = &m->info;
    terse_engine e = { 0 };
    terse_engine_shape(&e, m, o);
    const terse_forward *f = &e.forward;
    const size_t page = terse_page_block_size(terse_kv_page_type(o->type_k), f->dim_k) +
                        terse_page_block_size(terse_kv_page_type(o->type_v), f->dim_v);
    terse_session_need need = { .weights = terse_model_about(m)->weight_bytes,
                                .ctx = f->ctx,
                                .drops = drops(m, o) };
    for (int32_t l = 0; l < i->n_layer; l++)
        need.kv += pages_in(f->ctx, m->layer[l].window, o, f->chunk) * (size_t)i->n_head_kv * page;
    if (o->kv_limit && need.kv > o->kv_limit)
        need.kv = o->kv_limit;
    need.work = terse_forward_measure(&e.forward);
    return need;
}
