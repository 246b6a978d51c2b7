/* model/support.c: what of a file this build has: the steps of opening a model, each as far as it gets, so that
 * all that is missing is said at once. */
#include "model/model.h"
#include "terse/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *terse_support_name(int32_t what)
{
    static const char *const names[TERSE_SUPPORT_N] = { "architecture", "tokenizer", "weight types",
                                                        "tensors",      "rope",      "template" };
    return what >= 0 && what < TERSE_SUPPORT_N ? names[what] : NULL;
}

/* Takes over what a step gave: its error, without the path that every error of a file begins with. */
static bool take(terse_support *item, const terse_gguf *g, terse_status st, const terse_error *err)
{
    *item = (terse_support){ .checked = true, .ok = st == TERSE_OK };
    if (st == TERSE_OK)
        return true;
    const char *path = terse_gguf_path(g), *text = err->text;
    const size_t n = strlen(path);
    if (strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0)
        text += n + 2;
    snprintf(item->text, sizeof item->text, "%s", text);
    return false;
}

static terse_str string_of(const terse_gguf *g, const char *key)
{
    terse_str s = { "", 0 };
    (void)terse_gguf_get_str(g, key, false, &s, NULL);
    return s.n < 64 ? s : (terse_str){ s.p, 64 };
}

static void describe_tokenizer(terse_support *item, const terse_gguf *g, const terse_vocab *v)
{
    const terse_str model = string_of(g, "tokenizer.ggml.model"), pre = string_of(g, "tokenizer.ggml.pre");
    const bool has_pre = pre.n > 0 && terse_vocab_has_text(v);
    snprintf(item->text, sizeof item->text, "%.*s%s%.*s, %d tokens", (int)model.n, model.p,
             has_pre ? ", pre-tokenizer " : "", has_pre ? (int)pre.n : 0, pre.p, terse_vocab_size(v));
}

/* Lists the types that tensors of more than one dimension have: all, or those that cannot be multiplied. */
static bool list_types(terse_support *item, const terse_gguf *g, bool missing)
{
    int32_t n[TERSE_TYPE_COUNT] = { 0 };
    size_t at = 0;
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++)
        n[terse_gguf_tensor(g, i)->type] += terse_gguf_tensor(g, i)->n_dim > 1;
    for (int32_t type = 0; type < TERSE_TYPE_COUNT && at < sizeof item->text; type++)
        if (n[type] > 0 && (!missing || terse_dot_type_of((uint32_t)type) < 0))
            at +=
                (size_t)snprintf(item->text + at, sizeof item->text - at, "%s%s in %d tensor%s", at ? ", " : "",
                                 terse_type_of((uint32_t)type)->name, n[type], n[type] > 1 ? "s" : "");
    return at > 0;
}

static bool check_types(terse_support *item, const terse_gguf *g)
{
    *item = (terse_support){ .checked = true };
    item->ok = !list_types(item, g, true);
    const size_t n = strlen(item->text);
    if (item->ok)
        (void)list_types(item, g, false);
    else
        snprintf(item->text + n, sizeof item->text - n, ": cannot be multiplied");
    return item->ok;
}

static void describe_rope(terse_support *item, const terse_model *m)
{
    char key[TERSE_KEY];
    float factor = 1.0f;
    terse_model_key(m, "rope.scaling.factor", key);
    (void)terse_gguf_get_f32(m->gguf, key, false, &factor, NULL);
    terse_model_key(m, "rope.scaling.type", key);
    const terse_str type = string_of(m->gguf, key);
    if (type.n > 0)
        snprintf(item->text, sizeof item->text, "scaling %.*s, factor %g", (int)type.n, type.p, (double)factor);
    else
        snprintf(item->text, sizeof item->text, "no scaling");
}

/* What the architecture asks for. The number of tokens is that of the embedding if the vocabulary is not known.
 */
static bool check_model(terse_support *items, terse_model *m, terse_error *err)
{
    const terse_tensor *embd = terse_gguf_find_tensor(m->gguf, "token_embd.weight");
    if (m->vocab)
        m->info.n_vocab = terse_vocab_size(m->vocab);
    else
        m->info.n_vocab = embd && embd->ne[1] < INT32_MAX ? (int32_t)embd->ne[1] : 0;
    bool ok = take(&items[TERSE_SUPPORT_TENSORS], m->gguf, terse_model_bind(m, err), err);
    if (ok)
        snprintf(items[TERSE_SUPPORT_TENSORS].text, sizeof items->text, "%d, all of them used",
                 terse_gguf_n_tensor(m->gguf));
    if (take(&items[TERSE_SUPPORT_ROPE], m->gguf, terse_rope_open(m, err), err))
        describe_rope(&items[TERSE_SUPPORT_ROPE], m);
    return ok && items[TERSE_SUPPORT_ROPE].ok;
}

static void check_template(terse_support *item, const terse_gguf *g)
{
    terse_str text = { NULL, 0 };
    terse_template *t = NULL;
    terse_error err;
    terse_status st = terse_gguf_get_str(g, "tokenizer.chat_template", false, &text, &err);
    if (st == TERSE_OK && text.n > 0)
        st = terse_template_open(&t, text, &err);
    if (take(item, g, st, &err) && text.n > 0) {
        const terse_str missing = terse_template_missing(t);
        item->ok = !missing.p;
        snprintf(item->text, sizeof item->text, "%zu bytes, %s%.*s%s", text.n,
                 item->ok ? "can be read" : "uses ", (int)(missing.n < 64 ? missing.n : 64),
                 item->ok ? "" : missing.p, item->ok ? "" : ", which is not built in");
    } else if (item->ok) {
        snprintf(item->text, sizeof item->text, "none; a chat needs one of its own");
    }
    terse_template_close(&t);
}

bool terse_model_support(const terse_gguf *g, terse_support *items)
{
    static const terse_support unknown = { .text = "not checked: the architecture must be known first" };
    terse_error err;
    terse_model *m = calloc(1, sizeof *m);
    terse_status st = m ? TERSE_OK : terse_fail(&err, TERSE_NOMEM, "no memory for a model");
    items[TERSE_SUPPORT_TENSORS] = items[TERSE_SUPPORT_ROPE] = unknown;
    bool ok = check_types(&items[TERSE_SUPPORT_TYPES], g);
    check_template(&items[TERSE_SUPPORT_TEMPLATE], g);
    if (m) {
        m->gguf = g;
        st = terse_vocab_open(&m->vocab, g, &err);
    }
    if (take(&items[TERSE_SUPPORT_TOKENIZER], g, st, &err))
        describe_tokenizer(&items[TERSE_SUPPORT_TOKENIZER], g, m->vocab);
    ok = ok && st == TERSE_OK;
    if (m)
        st = terse_model_hparams(m, &err);
    if (take(&items[TERSE_SUPPORT_ARCH], g, st, &err)) {
        snprintf(items[TERSE_SUPPORT_ARCH].text, sizeof items->text, "%s", m->info.arch);
        ok = check_model(items, m, &err) && ok;
    }
    ok = ok && items[TERSE_SUPPORT_ARCH].ok;
    terse_model_close(&m);
    return ok;
}
