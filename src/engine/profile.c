/* engine/profile.c: profiles in memory and as JSON. Nothing in a file is trusted: types, shape, range and the
 * model's hash are checked. */
#include "terse/profile.h"
#include "base/path.h"
#include "base/save.h"
#include "gguf/fingerprint.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, MAX_FILE = 16 << 20, HASH_TEXT = 33 };

struct terse_profile {
    terse_profile_info info;          /* points into what follows */
    float *scale, *error, *streaming; /* [n_layer * n_head] or NULL */
    char *rule, *text, *model, *streaming_of;
    char hash[HASH_TEXT];
};

static void hash_of(const terse_gguf *g, char text[HASH_TEXT])
{
    uint8_t hash[16];
    terse_gguf_fingerprint(g, hash);
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

static terse_status no_memory(terse_error *err)
{
    return terse_fail(err, TERSE_NOMEM, "no memory for a profile");
}

static terse_status check(const terse_model *m, const terse_profile_info *i, const char *name, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    if (i->n_layer != about->n_layer || i->n_head != about->n_head_kv)
        return terse_fail(err, TERSE_BAD_INPUT, "%s is of %d layers with %d KV heads, the model has %d with %d",
                          name, i->n_layer, i->n_head, about->n_layer, about->n_head_kv);
    if (!i->scale && !i->streaming)
        return terse_fail(err, TERSE_BAD_INPUT, "%s has neither scales nor streaming errors", name);
    for (int32_t u = 0; u < i->n_layer * i->n_head && i->scale; u++)
        if (!(i->scale[u] >= 0.0f && isfinite(i->scale[u])))
            return terse_fail(err, TERSE_BAD_INPUT,
                              "%s: layer %d, head %d: a scale of %g is negative or not finite", name,
                              u / i->n_head, u % i->n_head, (double)i->scale[u]);
    return TERSE_OK;
}

/* A copy of x[n]; NULL of NULL. *failed if there was no memory. */
static float *copy_table(const float *x, size_t n, bool *failed)
{
    float *copy = x ? calloc(n, sizeof *copy) : NULL;
    if (copy)
        memcpy(copy, x, n * sizeof *copy);
    *failed |= x && !copy;
    return copy;
}

static char *copy_text(const char *x, bool *failed)
{
    char *copy = strdup(x ? x : "");
    *failed |= !copy;
    return copy;
}

/* name is what errors call it. */
static terse_status make(terse_profile **out, const terse_model *m, const terse_profile_info *info,
                         const char *name, terse_error *err)
{
    const terse_gguf *g = terse_model_gguf(m);
    const terse_status st = check(m, info, name, err);
    terse_str model = { "", 0 };
    *out = NULL;
    if (st != TERSE_OK)
        return st;
    terse_profile *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(err);
    const size_t n = (size_t)info->n_layer * (size_t)info->n_head;
    (void)terse_gguf_get_str(g, "general.name", false, &model, NULL);
    p->info = *info;
    bool failed = false;
    p->info.scale = p->scale = copy_table(info->scale, n, &failed);
    p->info.error = p->error = copy_table(info->error, n, &failed);
    p->info.streaming = p->streaming = copy_table(info->streaming, n, &failed);
    p->info.rule = p->rule = copy_text(info->rule, &failed);
    p->info.text = p->text = copy_text(info->text, &failed);
    p->info.streaming_of = p->streaming_of = copy_text(info->streaming_of, &failed);
    p->model = strndup(model.p, model.n);
    if (failed || !p->model) {
        terse_profile_close(&p);
        return no_memory(err);
    }
    hash_of(g, p->hash);
    *out = p;
    return TERSE_OK;
}

terse_status terse_profile_make(terse_profile **out, const terse_model *m, const terse_profile_info *info,
                                terse_error *err)
{
    return make(out, m, info, "the profile", err);
}

void terse_profile_close(terse_profile **p)
{
    if (!p || !*p)
        return;
    free((*p)->scale);
    free((*p)->error);
    free((*p)->streaming);
    free((*p)->streaming_of);
    free((*p)->rule);
    free((*p)->text);
    free((*p)->model);
    free(*p);
    *p = NULL;
}

const terse_profile_info *terse_profile_about(const terse_profile *p)
{
    return &p->info;
}

terse_status terse_profile_path(const terse_model *m, terse_text *out, terse_error *err)
{
    const char *path = terse_gguf_path(terse_model_gguf(m)), *slash = strrchr(path, '/');
    char hash[HASH_TEXT], name[64];
    hash_of(terse_model_gguf(m), hash);
    const int n = snprintf(name, sizeof name, "terse-profile-%s.json", hash);
    const terse_status st = slash ? terse_text_append(out, path, (size_t)(slash + 1 - path), err) : TERSE_OK;
    return st == TERSE_OK ? terse_text_append(out, name, (size_t)n, err) : st;
}

/* ---- writing ---- */

/* Takes value over. A NULL value or root makes it a failure that stays. */
static void put(json_t **root, const char *key, json_t *value)
{
    if (*root && json_object_set_new(*root, key, value) == 0)
        return;
    if (!*root)
        json_decref(value);
    json_decref(*root);
    *root = NULL;
}

/* x[n_layer][n_head]; what is no number becomes null, and so does no table. NULL without memory. */
static json_t *json_of_table(const float *x, int32_t n_layer, int32_t n_head)
{
    if (!x)
        return json_null();
    json_t *rows = json_array();
    for (int32_t l = 0; l < n_layer && rows; l++) {
        json_t *row = json_array();
        bool failed = !row;
        for (int32_t h = 0; h < n_head && !failed; h++, x++)
            failed = json_array_append_new(row, isfinite(*x) ? json_real((double)*x) : json_null()) != 0;
        if (failed)
            json_decref(row);
        if (failed || json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

/* Names from outside may be no UTF-8. */
static json_t *json_of_name(const char *name)
{
    json_t *text = json_string(name);
    return text ? text : json_null();
}

terse_status terse_profile_save(const terse_profile *p, const char *path, terse_error *err)
{
    const terse_profile_info *i = &p->info;
    json_t *root = json_object();
    terse_save file;
    put(&root, "version", json_integer(VERSION));
    put(&root, "model", json_of_name(p->model));
    put(&root, "hash", json_string(p->hash));
    put(&root, "rule", json_string(i->rule));
    put(&root, "target", isfinite(i->target) ? json_real(i->target) : json_null());
    put(&root, "text", json_of_name(i->text));
    put(&root, "tokens", json_integer(i->tokens));
    put(&root, "scale", json_of_table(i->scale, i->n_layer, i->n_head));
    put(&root, "error", json_of_table(i->error, i->n_layer, i->n_head));
    if (i->streaming) {
        put(&root, "streaming_of", json_of_name(i->streaming_of));
        put(&root, "streaming", json_of_table(i->streaming, i->n_layer, i->n_head));
    }
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return no_memory(err);
    terse_status st = terse_save_open(&file, path, err);
    if (st == TERSE_OK && (st = terse_save_write(&file, text, strlen(text), err)) == TERSE_OK &&
        (st = terse_save_write(&file, "\n", 1, err)) == TERSE_OK)
        st = terse_save_commit(&file, err);
    else if (st != TERSE_OK)
        terse_save_abort(&file);
    free(text);
    return st;
}

/* ---- reading ---- */

/* A file being read: what is there and where its numbers go. */
typedef struct {
    const char *name; /* as errors show it */
    json_t *root;
    float *scale, *error, *streaming;
    terse_profile_info info;
} reading;

static terse_status wrong(const reading *r, const char *what, terse_error *err)
{
    return terse_fail(err, TERSE_BAD_INPUT, "%s: %s", r->name, what);
}

/* Rows of numbers, n_head each; null is NAN. *x is owned by the caller and stays NULL on failure, or if there
 * is no table. */
static terse_status read_table(const reading *r, const char *key, float **x, terse_error *err)
{
    const int32_t n_layer = r->info.n_layer, n_head = r->info.n_head;
    const json_t *rows = json_object_get(r->root, key);
    if (!rows || json_is_null(rows))
        return TERSE_OK;
    float *to = calloc((size_t)n_layer * (size_t)n_head, sizeof *to);
    if (!to)
        return no_memory(err);
    bool good = json_array_size(rows) == (size_t)n_layer;
    for (int32_t l = 0; l < n_layer && good; l++) {
        const json_t *row = json_array_get(rows, (size_t)l);
        good = json_array_size(row) == (size_t)n_head;
        for (int32_t h = 0; h < n_head && good; h++) {
            const json_t *value = json_array_get(row, (size_t)h);
            good = json_is_number(value) || json_is_null(value);
            to[l * n_head + h] = json_is_number(value) ? (float)json_number_value(value) : NAN;
        }
    }
    if (good) {
        *x = to;
        return TERSE_OK;
    }
    free(to);
    return terse_fail(err, TERSE_BAD_INPUT, "%s: \"%s\" is not a table of %d layers with %d KV heads", r->name,
                      key, n_layer, n_head);
}

static terse_status read_fields(reading *r, const terse_model *m, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    const json_t *version = json_object_get(r->root, "version");
    const char *hash = json_string_value(json_object_get(r->root, "hash"));
    char own[HASH_TEXT];
    if (!json_is_integer(version) || !hash)
        return wrong(r, "this is no profile: it has no version or no hash", err);
    if (json_integer_value(version) != VERSION)
        return wrong(r, "a profile of another version; terse calibrate makes a new one", err);
    hash_of(terse_model_gguf(m), own);
    if (strcmp(hash, own))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "%s is the profile of another model: its hash is %.32s, this model's is %s", r->name,
                          hash, own);
    r->info.n_layer = about->n_layer;
    r->info.n_head = about->n_head_kv;
    r->info.rule = json_string_value(json_object_get(r->root, "rule"));
    r->info.text = json_string_value(json_object_get(r->root, "text"));
    r->info.tokens = json_integer_value(json_object_get(r->root, "tokens"));
    r->info.target = json_number_value(json_object_get(r->root, "target"));
    if (!r->info.rule)
        return wrong(r, "the profile names no rule", err);
    r->info.streaming_of = json_string_value(json_object_get(r->root, "streaming_of"));
    terse_status st = read_table(r, "scale", &r->scale, err);
    if (st == TERSE_OK)
        st = read_table(r, "error", &r->error, err);
    if (st == TERSE_OK)
        st = read_table(r, "streaming", &r->streaming, err);
    r->info.scale = r->scale;
    r->info.error = r->error;
    r->info.streaming = r->streaming;
    return st;
}

/* The file's JSON; NULL with the error filled. */
static json_t *load(const char *path, const char *name, terse_error *err)
{
    json_error_t why = { 0 };
    FILE *f = fopen(path, "rb");
    if (!f) {
        terse_fail(err, TERSE_BAD_INPUT, "%s: %s", name, strerror(errno));
        return NULL;
    }
    char *text = malloc(MAX_FILE);
    const size_t n = text ? fread(text, 1, MAX_FILE, f) : 0;
    json_t *root =
        text && n < MAX_FILE && !ferror(f) ? json_loadb(text, n, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (!text)
        no_memory(err);
    else if (n == MAX_FILE || ferror(f))
        terse_fail(err, TERSE_BAD_INPUT, "%s cannot be read as a profile", name);
    else if (!root)
        terse_fail(err, json_error_code(&why) == json_error_out_of_memory ? TERSE_NOMEM : TERSE_BAD_INPUT,
                   "%s, line %d: %s", name, why.line, why.text);
    free(text);
    fclose(f);
    return root;
}

terse_status terse_profile_open(terse_profile **out, const char *path, const terse_model *m, terse_error *err)
{
    terse_error why;
    reading r = { .name = terse_path_shown(path) };
    *out = NULL;
    r.root = load(path, r.name, &why);
    terse_status st = r.root ? read_fields(&r, m, &why) : why.status;
    if (st == TERSE_OK)
        st = make(out, m, &r.info, r.name, &why);
    if (st != TERSE_OK && err)
        *err = why;
    free(r.scale);
    free(r.error);
    free(r.streaming);
    json_decref(r.root);
    return st;
}
