/* gguf/value.h: the limits of a file and the encoding of metadata values, shared by reader, look-ups and
 * writer. */
#ifndef TERSE_GGUF_VALUE_H
#define TERSE_GGUF_VALUE_H

#include "terse/gguf.h"

enum {
    TERSE_GGUF_MAX_COUNT = 1 << 20,   /* keys, tensors: hundreds of times what the largest models have */
    TERSE_GGUF_MAX_STRINGS = 1 << 24, /* strings of one array: all of them are walked when the file is opened */
    TERSE_GGUF_DEFAULT_ALIGN = 32,
    /* Less than 8 would leave 64-bit elements unaligned. More than 1 MiB serves no kernel and no page size, and
     * only moves the data out of a small file. */
    TERSE_GGUF_MIN_ALIGN = 8,
    TERSE_GGUF_MAX_ALIGN = 1 << 20
};

/* Bytes of one value; 0 for strings, arrays and unknown types. */
size_t terse_meta_size(uint32_t type);
/* Sets m->type and m->v from the packed value at p: unsigned types and BOOL to u, signed to i, floats to f.
 * type has a size. */
void terse_meta_widen(terse_meta *m, terse_meta_type type, const uint8_t *p);
/* "u32" */
const char *terse_meta_type_name(uint32_t type);
/* Whether a is a power of two within the limits. */
bool terse_gguf_align_valid(uint64_t a);

#endif
