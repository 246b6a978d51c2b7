/* gguf/names.h: from a name to its index: a hash table with open addressing, at most half full. */
#ifndef TERSE_GGUF_NAMES_H
#define TERSE_GGUF_NAMES_H

#include "terse/base.h"

typedef struct {
    terse_str name; /* borrowed; p is NULL in a free place */
    int32_t index;
} terse_name;

/* { 0 } is an empty table. */
typedef struct {
    terse_name *slots;
    size_t n_slot; /* power of two, or 0 */
    size_t n;
} terse_names;

typedef enum { TERSE_NAMES_ADDED, TERSE_NAMES_DUPLICATE, TERSE_NAMES_NOMEM } terse_names_result;

terse_names_result terse_names_add(terse_names *t, terse_str name, int32_t index);
/* The index, or -1. */
int32_t terse_names_find(const terse_names *t, terse_str name);
void terse_names_free(terse_names *t);
/* Whether the bytes may be a name: 1 to max of them, UTF-8, no NUL. */
bool terse_names_valid(terse_str name, size_t max);

/* Longest names, in bytes. The file format says 65535 and 64; readers in the field keep 64 with the NUL. */
enum { TERSE_KEY_MAX = 65535, TERSE_TENSOR_NAME_MAX = 63 };

#endif
