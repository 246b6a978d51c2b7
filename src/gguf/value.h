/* gguf/value.h: the encoding of metadata values, shared by reader, look-ups and writer. */
#ifndef TERSE_GGUF_VALUE_H
#define TERSE_GGUF_VALUE_H

#include "terse/gguf.h"

/* Bytes of one value; 0 for strings, arrays and unknown types. */
size_t terse_meta_size(uint32_t type);
/* Sets m->type and m->v from the packed value at p: unsigned types and BOOL to u, signed to i, floats to f.
 * type has a size. */
void terse_meta_widen(terse_meta *m, terse_meta_type type, const uint8_t *p);
/* "u32" */
const char *terse_meta_type_name(uint32_t type);

#endif
