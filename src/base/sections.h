/* base/sections.h: files of sections, each with its kind, its size and the XXH3-64 of its bytes, little endian:
 *
 *   u32 kind, u32 zero, u64 size, the bytes, zeros up to a multiple of 64, u64 hash, zeros up to 64
 *
 * Every section begins at a multiple of 64. They are read in the order in which they were written. */
#ifndef TERSE_BASE_SECTIONS_H
#define TERSE_BASE_SECTIONS_H

#include "base/map.h"
#include "base/save.h"

/* Four letters as a number, "KEYS" first letter lowest. */
#define TERSE_KIND(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Start from { 0 }. */
typedef struct {
    terse_save save;
    void *hash; /* XXH3_state_t */
    uint64_t left;
    size_t pad; /* zeros behind the section */
} terse_sections_out;

/* The file takes its name with terse_sections_commit. After a failure *s is closed. */
terse_status terse_sections_create(terse_sections_out *s, const char *path, terse_error *err);
/* A section of size bytes, which are put in any number of pieces: the last one ends it. */
terse_status terse_section_begin(terse_sections_out *s, uint32_t kind, uint64_t size, terse_error *err);
terse_status terse_section_put(terse_sections_out *s, const void *p, size_t n, terse_error *err);
/* All of it at once. */
terse_status terse_section_write(terse_sections_out *s, uint32_t kind, const void *p, size_t n,
                                 terse_error *err);
terse_status terse_sections_commit(terse_sections_out *s, terse_error *err);
void terse_sections_abort(terse_sections_out *s);

typedef struct {
    terse_map map;
    const char *path; /* borrowed */
    size_t at;
} terse_sections_in;

terse_status terse_sections_open(terse_sections_in *s, const char *path, terse_error *err);
void terse_sections_close(terse_sections_in *s);
/* The next section, which must be of that kind and of `size` bytes, and whole: *p is borrowed until close,
 * 64-byte aligned. TERSE_BAD_INPUT says where it is not so. */
terse_status terse_section_read(terse_sections_in *s, uint32_t kind, uint64_t size, const void **p,
                                terse_error *err);
/* The same for whatever size it has. */
terse_status terse_section_any(terse_sections_in *s, uint32_t kind, const void **p, uint64_t *size,
                               terse_error *err);
/* No section may be left, and the file must not have been cut short meanwhile. */
terse_status terse_sections_end(const terse_sections_in *s, terse_error *err);

#endif
