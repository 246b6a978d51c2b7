/* base/sections.c: see sections.h. Machines that terse runs on are little endian. */
#include "base/sections.h"

#include "base/memory.h"
#include "base/path.h"

#include <string.h>
#include <xxhash.h>

enum { ALIGN = 64 };

static const char zeros[ALIGN];

/* ---- writing ---- */

terse_status terse_sections_create(terse_sections_out *s, const char *path, terse_error *err)
{
    *s = (terse_sections_out){ 0 };
    s->hash = XXH3_createState();
    if (!s->hash)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory to save", terse_path_shown(path));
    const terse_status st = terse_save_open(&s->save, path, err);
    if (st != TERSE_OK)
        terse_sections_abort(s);
    return st;
}

void terse_sections_abort(terse_sections_out *s)
{
    terse_save_abort(&s->save);
    XXH3_freeState(s->hash);
    *s = (terse_sections_out){ 0 };
}

/* Behind the bytes of a section. */
static terse_status finish(terse_sections_out *s, terse_error *err)
{
    char tail[ALIGN] = { 0 };
    XXH64_hash_t hash = XXH3_64bits_digest(s->hash);
    memcpy(tail, &hash, sizeof hash);
    terse_status st = terse_save_write(&s->save, zeros, s->pad, err);
    return st == TERSE_OK ? terse_save_write(&s->save, tail, sizeof tail, err) : st;
}

terse_status terse_section_begin(terse_sections_out *s, uint32_t kind, uint64_t size, terse_error *err)
{
    char head[ALIGN] = { 0 };
    memcpy(head, &kind, sizeof kind);
    memcpy(head + 8, &size, sizeof size);
    XXH3_64bits_reset(s->hash);
    s->left = size;
    s->pad = (size_t)(terse_align_up((size_t)size, ALIGN) - size);
    const terse_status st = terse_save_write(&s->save, head, sizeof head, err);
    return st == TERSE_OK && size == 0 ? finish(s, err) : st;
}

terse_status terse_section_put(terse_sections_out *s, const void *p, size_t n, terse_error *err)
{
    if (n == 0)
        return TERSE_OK;
    XXH3_64bits_update(s->hash, p, n);
    s->left -= n;
    const terse_status st = terse_save_write(&s->save, p, n, err);
    return st == TERSE_OK && s->left == 0 ? finish(s, err) : st;
}

terse_status terse_section_write(terse_sections_out *s, uint32_t kind, const void *p, size_t n,
                                 terse_error *err)
{
    const terse_status st = terse_section_begin(s, kind, n, err);
    return st == TERSE_OK ? terse_section_put(s, p, n, err) : st;
}

terse_status terse_sections_commit(terse_sections_out *s, terse_error *err)
{
    const terse_status st = terse_save_commit(&s->save, err);
    terse_sections_abort(s);
    return st;
}

/* ---- reading ---- */

terse_status terse_sections_open(terse_sections_in *s, const char *path, terse_error *err)
{
    *s = (terse_sections_in){ .path = path };
    return terse_map_open(&s->map, path, err);
}

void terse_sections_close(terse_sections_in *s)
{
    terse_map_close(&s->map);
}

static terse_status damaged(const terse_sections_in *s, uint32_t kind, const char *how, terse_error *err)
{
    char name[5] = { 0 };
    memcpy(name, &kind, 4);
    return terse_fail(err, TERSE_BAD_INPUT, "%s: byte %zu: section %s %s: delete the file and make it again",
                      terse_path_shown(s->path), s->at, name, how);
}

terse_status terse_section_any(terse_sections_in *s, uint32_t kind, const void **p, uint64_t *size,
                               terse_error *err)
{
    const uint8_t *head = s->map.data + s->at;
    const uint64_t left = s->map.size - s->at;
    uint32_t its_kind;
    uint64_t its_hash;
    if (left < 2 * ALIGN)
        return damaged(s, kind, "is missing", err);
    memcpy(&its_kind, head, sizeof its_kind);
    memcpy(size, head + 8, sizeof *size);
    if (its_kind != kind)
        return damaged(s, kind, "is not there", err);
    if (*size > left - 2 * ALIGN || terse_align_up((size_t)*size, ALIGN) > left - 2 * ALIGN)
        return damaged(s, kind, "is cut short", err);
    const size_t padded = terse_align_up((size_t)*size, ALIGN);
    memcpy(&its_hash, head + ALIGN + padded, sizeof its_hash);
    if (XXH3_64bits(head + ALIGN, (size_t)*size) != its_hash)
        return damaged(s, kind, "is damaged", err);
    *p = head + ALIGN;
    s->at += 2 * ALIGN + padded;
    return TERSE_OK;
}

terse_status terse_section_read(terse_sections_in *s, uint32_t kind, uint64_t size, const void **p,
                                terse_error *err)
{
    uint64_t its_size = 0;
    const terse_status st = terse_section_any(s, kind, p, &its_size, err);
    return st == TERSE_OK && its_size != size ? damaged(s, kind, "has another size than it should", err) : st;
}

terse_status terse_sections_end(const terse_sections_in *s, terse_error *err)
{
    if (terse_map_broken(&s->map))
        return terse_fail(err, TERSE_IO, "%s: the file was cut short while it was read",
                          terse_path_shown(s->path));
    if (s->at != s->map.size)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: byte %zu: more than the file should hold",
                          terse_path_shown(s->path), s->at);
    return TERSE_OK;
}
