/* model/model.c: open a file: map, read, check, bind. */
#include "model/gate.h"

#include <stdlib.h>

terse_status terse_model_open(terse_model **out, const char *path, terse_error *err)
{
    terse_status st;
    *out = NULL;
    terse_model *m = calloc(1, sizeof *m); /* all zero is closable */
    if (!m)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for a model", path);
    if ((st = terse_gguf_open(&m->owned, path, err)) != TERSE_OK)
        goto fail;
    m->gguf = m->owned;
    if ((st = terse_model_hparams(m, err)) != TERSE_OK)
        goto fail;
    if ((st = terse_vocab_open(&m->vocab, m->gguf, err)) != TERSE_OK)
        goto fail;
    m->info.n_vocab = terse_vocab_size(m->vocab);
    if ((st = terse_model_bind(m, err)) != TERSE_OK)
        goto fail;
    if ((st = terse_rope_open(m, err)) != TERSE_OK)
        goto fail;
    if ((st = terse_gate_bind(&m->utility, m, err)) != TERSE_OK)
        goto fail;
    m->info.token_bytes += m->utility ? m->utility->info.token_bytes : 0;
    *out = m;
    return TERSE_OK;
fail:
    terse_model_close(&m);
    return st;
}

void terse_model_close(terse_model **m)
{
    if (!m || !*m)
        return;
    terse_gate_close(&(*m)->utility);
    free((*m)->layer);
    for (int32_t i = 0; i < TERSE_ROPES; i++)
        free((*m)->rope[i].freq);
    terse_vocab_close(&(*m)->vocab);
    terse_gguf_close(&(*m)->owned);
    free(*m);
    *m = NULL;
}

const terse_model_info *terse_model_about(const terse_model *m)
{
    return &m->info;
}
const terse_gguf *terse_model_gguf(const terse_model *m)
{
    return m->gguf;
}
const terse_vocab *terse_model_vocab(const terse_model *m)
{
    return m->vocab;
}

const char *terse_spent_name(int32_t what)
{
    static const char *const names[TERSE_SPENT_N] = { "embed",   "prepare", "qkv",    "attend", "o",
                                                      "gate_up", "down",    "logits", "wait" };
    return what >= 0 && what < TERSE_SPENT_N ? names[what] : NULL;
}
