/* base/status.c: error texts, exit codes, the version. */
#include "terse/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

terse_status terse_fail(terse_error *err, terse_status status, const char *fmt, ...)
{
    if (!err)
        return status;
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    err->status = status;
    if (n < 0)
        err->text[0] = '\0';
    if (n >= (int)sizeof err->text)
        memcpy(err->text + sizeof err->text - 4, "...", 4);
    /* Texts quote names from files: a line break or an escape sequence in one must not reach a terminal. */
    for (char *p = err->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return status;
}

int terse_status_exit(terse_status status)
{
    switch (status) {
    case TERSE_OK:
        return 0;
    case TERSE_BAD_INPUT:
    case TERSE_UNSUPPORTED:
        return 2;
    case TERSE_NOMEM:
        return 71;
    case TERSE_IO:
        return 74;
    case TERSE_INTERRUPTED:
        return 130;
    case TERSE_INTERNAL:
        break;
    }
    return 70;
}

const char *terse_version(void)
{
    return TERSE_VERSION;
}
