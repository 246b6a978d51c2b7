/* gguf/parts.c: files that are split into parts, NAME-00001-of-0000N.gguf. The first part holds the metadata;
 * each says which one it is (split.no, from 0) and of how many (split.count). Opening any part opens all of
 * them, and from then on they are one file with the tensors of all. */
#include "base/path.h"
#include "gguf/reader.h"
#include "gguf/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* "-00001-of-00003.gguf" has five digits for each number. */
enum { SUFFIX_SIZE = 20, SUFFIX_ROOM = 40, MAX_PARTS = 99999 };

typedef struct {
    int32_t no, count; /* count 1 if the file is not split */
    int32_t n_tensor;  /* of all parts, -1 if not said */
} split_keys;

static terse_status read_keys(const terse_gguf *g, split_keys *k, terse_error *err)
{
    terse_status st;
    *k = (split_keys){ .count = 1, .n_tensor = -1 };
    if ((st = terse_gguf_get_i32(g, "split.count", false, &k->count, err)) != TERSE_OK)
        return st;
    if (k->count <= 1)
        return TERSE_OK;
    if ((st = terse_gguf_get_i32(g, "split.no", true, &k->no, err)) != TERSE_OK ||
        (st = terse_gguf_get_i32(g, "split.tensors.count", false, &k->n_tensor, err)) != TERSE_OK)
        return st;
    if (k->count > MAX_PARTS || k->no < 0 || k->no >= k->count)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: bad part number: split.no %d (from 0) of split.count %d",
                          terse_path_shown(g->path), k->no, k->count);
    return TERSE_OK;
}

static void write_suffix(char to[SUFFIX_ROOM], int32_t no, int32_t count)
{
    snprintf(to, SUFFIX_ROOM, "-%05d-of-%05d.gguf", no + 1, count);
}

/* The path of part no; path is that of another part and ends in that one's suffix. */
static char *path_of(const char *path, int32_t no, int32_t count)
{
    const size_t stem = strlen(path) - SUFFIX_SIZE;
    char *p = malloc(stem + SUFFIX_ROOM);
    if (p) {
        memcpy(p, path, stem);
        write_suffix(p + stem, no, count);
    }
    return p;
}

static terse_status check_name(const terse_gguf *g, const split_keys *k, terse_error *err)
{
    char suffix[SUFFIX_ROOM];
    const size_t n = strlen(g->path);
    write_suffix(suffix, k->no, k->count);
    if (n >= SUFFIX_SIZE && strcmp(g->path + n - SUFFIX_SIZE, suffix) == 0)
        return TERSE_OK;
    return terse_fail(
        err, TERSE_BAD_INPUT,
        "%s: part %d of %d of a split file at offset %llu (key 'split.count'), but its name does not "
        "end in %s, so the other parts cannot be found: give it its name back",
        terse_path_shown(g->path), k->no + 1, k->count,
        (unsigned long long)terse_gguf_find_meta(g, "split.count")->offset, suffix);
}

static bool same_arch(const terse_gguf *a, const terse_gguf *b)
{
    terse_str x = { 0 }, y = { 0 };
    const char *key = "general.architecture";
    if (!terse_gguf_find_meta(b, key)) /* only the first part needs to say it */
        return true;
    return terse_gguf_get_str(a, key, true, &x, NULL) == TERSE_OK &&
           terse_gguf_get_str(b, key, true, &y, NULL) == TERSE_OK && x.n == y.n && memcmp(x.p, y.p, x.n) == 0;
}

/* Opens part no of the file that *like is a part of, and sees that it is that part. like: the part that the
 * user named; first: NULL while the first is opened. */
static terse_status open_part(terse_gguf **out, const terse_gguf *like, const terse_gguf *first, int32_t no,
                              const split_keys *want, terse_error *err)
{
    terse_error why;
    split_keys k;
    *out = NULL;
    char *path = path_of(like->path, no, want->count);
    if (!path)
        return terse_fail(err, TERSE_NOMEM, "no memory for a path");
    terse_status st = terse_gguf_open_one(out, path, &why);
    if (st != TERSE_OK)
        terse_fail(err, st, "part %d of %d cannot be opened (all parts lie in one folder): %.400s", no + 1,
                   want->count, why.text);
    else if ((st = read_keys(*out, &k, err)) == TERSE_OK && (k.no != no || k.count != want->count))
        st = terse_fail(err, TERSE_BAD_INPUT, "%s: says that it is part %d of %d, its name says part %d of %d",
                        terse_path_shown(path), k.no + 1, k.count, no + 1, want->count);
    else if (st == TERSE_OK && first && !same_arch(first, *out))
        st = terse_fail(err, TERSE_BAD_INPUT,
                        "%s: another architecture than that of part 1: parts of two models",
                        terse_path_shown(path));
    free(path);
    return st;
}

/* Appends the tensors of part i to those of the first. */
static terse_status join(terse_gguf *g, int32_t i, terse_error *err)
{
    const terse_gguf *part = g->other[i];
    const size_t n = (size_t)g->n_tensor + (size_t)part->n_tensor;
    if (n > TERSE_GGUF_MAX_COUNT)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: more than %d tensors in all parts",
                          terse_path_shown(part->path), TERSE_GGUF_MAX_COUNT);
    terse_tensor *all = realloc(g->tensor, (n ? n : 1) * sizeof *all);
    if (!all)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for %zu tensors", terse_path_shown(part->path), n);
    g->tensor = all;
    for (int32_t k = 0; k < part->n_tensor; k++) {
        const terse_str name = part->tensor[k].name;
        const terse_names_result r = terse_names_add(&g->tensor_names, name, g->n_tensor);
        if (r == TERSE_NAMES_NOMEM)
            return terse_fail(err, TERSE_NOMEM, "no memory for the index of names");
        if (r == TERSE_NAMES_DUPLICATE)
            return terse_fail(err, TERSE_BAD_INPUT, "%s: tensor '%.*s' is in an earlier part too",
                              terse_path_shown(part->path), (int)name.n, name.p);
        all[g->n_tensor] = part->tensor[k];
        all[g->n_tensor++].part = i + 1;
    }
    return TERSE_OK;
}

/* The parts behind the first. */
static terse_status open_others(terse_gguf *g, const split_keys *k, terse_error *err)
{
    terse_status st = TERSE_OK;
    g->other = calloc((size_t)k->count - 1, sizeof(terse_gguf *));
    if (!g->other)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for %d parts", terse_path_shown(g->path), k->count);
    for (int32_t i = 0; i + 1 < k->count && st == TERSE_OK; i++) {
        st = open_part(&g->other[i], g, g, i + 1, k, err);
        g->n_other += g->other[i] != NULL;
        if (st == TERSE_OK)
            st = join(g, i, err);
    }
    if (st == TERSE_OK && k->n_tensor >= 0 && k->n_tensor != g->n_tensor)
        st = terse_fail(err, TERSE_BAD_INPUT, "%s: %d tensors in all parts, but split.tensors.count is %d",
                        terse_path_shown(g->path), g->n_tensor, k->n_tensor);
    return st;
}

terse_status terse_gguf_open(terse_gguf **out, const char *path, terse_error *err)
{
    split_keys k, named;
    terse_gguf *g, *first;
    *out = NULL;
    terse_status st = terse_gguf_open_one(&g, path, err);
    if (st != TERSE_OK)
        return st;
    if ((st = read_keys(g, &named, err)) == TERSE_OK && named.count > 1 &&
        (st = check_name(g, &named, err)) == TERSE_OK && named.no > 0) {
        st = open_part(&first, g, NULL, 0, &named, err);
        terse_gguf_close(&g);
        g = first;
    }
    if (st == TERSE_OK && named.count > 1 && (st = read_keys(g, &k, err)) == TERSE_OK)
        st = open_others(g, &k, err);
    if (st != TERSE_OK)
        terse_gguf_close(&g);
    *out = g;
    return st;
}

int32_t terse_gguf_n_part(const terse_gguf *g)
{
    return 1 + g->n_other;
}

const char *terse_gguf_part_path(const terse_gguf *g, int32_t i)
{
    return i == 0 ? g->path : i > 0 && i <= g->n_other ? g->other[i - 1]->path : NULL;
}

size_t terse_gguf_size(const terse_gguf *g)
{
    size_t size = g->map.size;
    for (int32_t i = 0; i < g->n_other; i++)
        size += g->other[i]->map.size;
    return size;
}

bool terse_gguf_broken(const terse_gguf *g)
{
    bool broken = terse_map_broken(&g->map);
    for (int32_t i = 0; i < g->n_other; i++)
        broken = broken || terse_map_broken(&g->other[i]->map);
    return broken;
}

/* The hash of the first part, continued with that of each further one. */
void terse_gguf_hash(const terse_gguf *g, uint8_t hash[16])
{
    XXH128_hash_t h = XXH3_128bits(g->map.data, g->table_end);
    for (int32_t i = 0; i < g->n_other; i++) {
        const XXH128_hash_t next = XXH3_128bits(g->other[i]->map.data, g->other[i]->table_end);
        const uint64_t both[4] = { h.low64, h.high64, next.low64, next.high64 };
        h = XXH3_128bits(both, sizeof both);
    }
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, h);
    memcpy(hash, canonical.digest, sizeof canonical.digest);
}
