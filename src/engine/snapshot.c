/* engine/snapshot.c: a session in a file: which model it is of, its tokens, the pages of the store
 * (kv/snapshot.c), and the last queries, for policies that go by them. */
#include "kv/snapshot.h"
#include "base/path.h"
#include "engine/session_parts.h"
#include "gguf/fingerprint.h"

#include <stdlib.h>
#include <string.h>

enum { MAGIC = TERSE_KIND('T', 'S', 'N', 'P'), TOKENS = TERSE_KIND('T', 'O', 'K', 'N') };
enum { SEEN = TERSE_KIND('S', 'E', 'E', 'N'), VERSION = 1 };

typedef struct {
    uint32_t version;
    int32_t n_token, n_seen, reserved;
    uint8_t model[16]; /* terse_gguf_fingerprint */
} snapshot_head;

static size_t seen_size(const terse_session *s)
{
    return (size_t)s->model->info.n_layer * (size_t)s->model->info.n_head * TERSE_SEEN *
           (size_t)s->engine->forward.dim_k * sizeof(float);
}

terse_status terse_session_save(const terse_session *s, const int32_t *tokens, const char *path,
                                terse_error *err)
{
    const terse_sequence *q = &s->seq;
    snapshot_head h = { .version = VERSION,
                        .n_token = terse_kv_count(q->kv),
                        .n_seen = q->seen ? q->n_seen : 0 };
    terse_sections_out out;
    if (h.n_token == 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: there are no tokens to save", terse_path_shown(path));
    terse_gguf_fingerprint(s->model->gguf, h.model);
    terse_status st = terse_sections_create(&out, path, err);
    if (st != TERSE_OK)
        return st;
    st = terse_section_write(&out, MAGIC, &h, sizeof h, err);
    if (st == TERSE_OK)
        st = terse_section_write(&out, TOKENS, tokens, (size_t)h.n_token * sizeof *tokens, err);
    if (st == TERSE_OK)
        st = terse_section_write(&out, SEEN, q->seen, h.n_seen ? seen_size(s) : 0, err);
    if (st == TERSE_OK)
        st = terse_kv_save(q->kv, &out, err);
    if (st == TERSE_OK)
        return terse_sections_commit(&out, err);
    terse_sections_abort(&out);
    return st;
}

static terse_status check_head(const terse_session *s, const terse_sections_in *in, const snapshot_head *h,
                               terse_error *err)
{
    uint8_t model[16];
    terse_gguf_fingerprint(s->model->gguf, model);
    if (h->version != VERSION)
        return terse_fail(err, TERSE_UNSUPPORTED, "%s is a snapshot of version %u, this is made for %d",
                          in->path, h->version, VERSION);
    if (memcmp(model, h->model, sizeof model) != 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%s was saved with another model: give another file name",
                          in->path);
    if (h->n_token < 1 || h->n_token > s->engine->forward.ctx)
        return terse_fail(err, TERSE_BAD_INPUT, "%s holds %d tokens, the context %d: use a larger one (-c)",
                          in->path, h->n_token, s->engine->forward.ctx);
    if (h->n_seen < 0 || h->n_seen > TERSE_SEEN)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: %d queries: delete the file and make it again", in->path,
                          h->n_seen);
    return TERSE_OK;
}

static terse_status read_tokens(const terse_session *s, terse_sections_in *in, int32_t n, int32_t **tokens,
                                terse_error *err)
{
    const void *data;
    const size_t size = (size_t)n * sizeof **tokens;
    const terse_status st = terse_section_read(in, TOKENS, size, &data, err);
    if (st != TERSE_OK)
        return st;
    const int32_t *ids = data;
    for (int32_t t = 0; t < n; t++)
        if (ids[t] < 0 || ids[t] >= s->model->info.n_vocab)
            return terse_fail(err, TERSE_BAD_INPUT, "%s: token id %d is not in the vocabulary of %d", in->path,
                              ids[t], s->model->info.n_vocab);
    *tokens = malloc(size);
    if (!*tokens)
        return terse_fail(err, TERSE_NOMEM, "no memory for %d tokens", n);
    memcpy(*tokens, ids, size);
    return TERSE_OK;
}

static terse_status load(terse_session *s, terse_sections_in *in, int32_t **tokens, int32_t *n,
                         terse_error *err)
{
    const void *data, *seen;
    terse_sequence *q = &s->seq;
    terse_status st = terse_section_read(in, MAGIC, sizeof(snapshot_head), &data, err);
    if (st != TERSE_OK)
        return terse_fail(err, TERSE_BAD_INPUT, "%s is not a snapshot of a session", in->path);
    const snapshot_head *h = data;
    if ((st = check_head(s, in, h, err)) != TERSE_OK ||
        (st = read_tokens(s, in, h->n_token, tokens, err)) != TERSE_OK)
        return st;
    if ((st = terse_section_read(in, SEEN, h->n_seen ? seen_size(s) : 0, &seen, err)) != TERSE_OK ||
        (st = terse_kv_load(q->kv, in, err)) != TERSE_OK || (st = terse_sections_end(in, err)) != TERSE_OK)
        return st;
    if (terse_kv_count(q->kv) != h->n_token)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: its parts are of different lengths", in->path);
    if ((st = terse_policy_open(s->attend, q->kv, err)) != TERSE_OK ||
        (st = terse_session_rewalk(s, q->kv->cap, err)) != TERSE_OK)
        return st;
    if (q->seen && h->n_seen) {
        memcpy(q->seen, seen, seen_size(s));
        q->n_seen = h->n_seen;
    }
    *n = h->n_token;
    return TERSE_OK;
}

terse_status terse_session_load(terse_session *s, const char *path, int32_t **tokens, int32_t *n,
                                terse_error *err)
{
    terse_sections_in in;
    *tokens = NULL;
    *n = 0;
    terse_session_truncate(s, 0);
    terse_status st = terse_sections_open(&in, path, err);
    if (st == TERSE_OK) {
        in.path = terse_path_shown(path);
        st = load(s, &in, tokens, n, err);
        terse_sections_close(&in);
    }
    if (st != TERSE_OK) {
        free(*tokens);
        *tokens = NULL;
        terse_session_truncate(s, 0);
    }
    return st;
}

static terse_status about(terse_sections_in *in, terse_snapshot_info *info, terse_error *err)
{
    const void *data;
    uint64_t size;
    terse_kv_saved_info kv;
    terse_status st = terse_section_read(in, MAGIC, sizeof(snapshot_head), &data, err);
    if (st != TERSE_OK)
        return st;
    const snapshot_head *h = data;
    if (h->version != VERSION)
        return terse_fail(err, TERSE_UNSUPPORTED, "%s is a snapshot of version %u, this is made for %d",
                          in->path, h->version, VERSION);
    if ((st = terse_section_any(in, TOKENS, &data, &size, err)) != TERSE_OK ||
        (st = terse_section_any(in, SEEN, &data, &size, err)) != TERSE_OK ||
        (st = terse_kv_saved(in, &kv, err)) != TERSE_OK || (st = terse_sections_end(in, err)) != TERSE_OK)
        return st;
    *info = (terse_snapshot_info){ .n_token = h->n_token,
                                   .n_layer = kv.n_layer,
                                   .n_head = kv.n_head,
                                   .type_k = kv.type_k,
                                   .type_v = kv.type_v,
                                   .dim_k = kv.dim_k,
                                   .dim_v = kv.dim_v,
                                   .n_held = kv.n_held,
                                   .page_bytes = kv.page_bytes };
    memcpy(info->model, h->model, sizeof info->model);
    return TERSE_OK;
}

terse_status terse_snapshot_about(const char *path, terse_snapshot_info *info, terse_error *err)
{
    terse_sections_in in;
    terse_status st = terse_sections_open(&in, path, err);
    if (st != TERSE_OK)
        return st;
    in.path = terse_path_shown(path);
    st = about(&in, info, err);
    terse_sections_close(&in);
    return st;
}
