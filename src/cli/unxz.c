/* cli/unxz.c: see the header. */
#include "unxz.h"

#include <lzma.h>
#include <string.h>

enum { MAX_SIZE = 512 << 20, MAX_MEMORY = 256 << 20, PIECE = 1 << 16 };

static terse_status fail(lzma_ret why, const char *name, terse_error *err)
{
    if (why == LZMA_MEM_ERROR)
        return terse_fail(err, TERSE_NOMEM, "no memory to unpack %.200s", name);
    if (why == LZMA_MEMLIMIT_ERROR)
        return terse_fail(err, TERSE_BAD_INPUT, "%.200s takes more than %d MiB of memory to unpack", name,
                          MAX_MEMORY >> 20);
    if (why == LZMA_BUF_ERROR)
        return terse_fail(err, TERSE_BAD_INPUT, "%.200s is cut short", name);
    return terse_fail(err, TERSE_BAD_INPUT, "%.200s is damaged: it begins as an .xz file and is none", name);
}

static terse_status unpack(lzma_stream *s, terse_text *out, const char *name, terse_error *err)
{
    static const char too_long[] = "%.200s has more than %d MiB in it";
    uint8_t piece[PIECE];
    terse_status st = TERSE_OK;
    for (lzma_ret ret = LZMA_OK; ret != LZMA_STREAM_END && st == TERSE_OK;) {
        s->next_out = piece;
        s->avail_out = sizeof piece;
        ret = lzma_code(s, LZMA_FINISH);
        const size_t n = sizeof piece - s->avail_out;
        if (ret != LZMA_OK && ret != LZMA_STREAM_END)
            st = fail(ret, name, err);
        else if (n > MAX_SIZE - out->n)
            st = terse_fail(err, TERSE_BAD_INPUT, too_long, name, MAX_SIZE >> 20);
        else
            st = terse_text_append(out, (const char *)piece, n, err);
    }
    return st;
}

terse_status terse_unxz(terse_text *text, const char *name, terse_error *err)
{
    static const char magic[6] = { (char)0xfd, '7', 'z', 'X', 'Z', 0 };
    if (text->n < sizeof magic || memcmp(text->p, magic, sizeof magic) != 0)
        return TERSE_OK;
    lzma_stream s = LZMA_STREAM_INIT;
    terse_text out = { 0 };
    const lzma_ret ret = lzma_stream_decoder(&s, MAX_MEMORY, LZMA_CONCATENATED);
    terse_status st = ret == LZMA_OK ? TERSE_OK : fail(ret, name, err);
    s.next_in = (const uint8_t *)text->p;
    s.avail_in = text->n;
    if (st == TERSE_OK)
        st = unpack(&s, &out, name, err);
    lzma_end(&s);
    if (st != TERSE_OK) {
        terse_text_free(&out);
        return st;
    }
    terse_text_free(text);
    *text = out;
    return TERSE_OK;
}
