/* base/path.h: a path as an error text shows it. */
#ifndef TERSE_BASE_PATH_H
#define TERSE_BASE_PATH_H

#include <string.h>

enum { TERSE_PATH_SHOWN = 200 };

/* The last TERSE_PATH_SHOWN bytes: a terse_error holds 512, and the reason must fit behind the path. */
static inline const char *terse_path_shown(const char *path)
{
    const size_t n = strlen(path);
    return n > TERSE_PATH_SHOWN ? path + n - TERSE_PATH_SHOWN : path;
}

#endif
