/* base/map.h: a file mapped read-only. If the file is truncated under us, reading past its new end gives zeros
 * and sets `broken` instead of killing the process with SIGBUS. */
#ifndef TERSE_BASE_MAP_H
#define TERSE_BASE_MAP_H

#include "terse/base.h"

typedef struct {
    const uint8_t *data; /* page-aligned; NULL for a closed map */
    size_t size;         /* bytes of the file */
    int32_t slot;        /* where the SIGBUS handler finds it; -1 if none */
} terse_map;

/* Only regular files of at least one byte. On failure *m is closed. */
terse_status terse_map_open(terse_map *m, const char *path, terse_error *err);
void terse_map_close(terse_map *m);
bool terse_map_broken(const terse_map *m);

#endif
