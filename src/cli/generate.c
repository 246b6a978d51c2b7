/* cli/generate.c: see the header. */
#include "generate.h"

#include "files.h"

/* models/ruler.txt (cmake/embed.cmake) */
extern const unsigned char terse_ruler_source[];
extern const size_t terse_ruler_source_size;

terse_status terse_generate(terse_text *out, const terse_vocab *v, const char *source,
                            const terse_ruler_opts *o, terse_error *err)
{
    terse_text text = { 0 };
    if (!source)
        return terse_ruler_make(out, v, (const char *)terse_ruler_source, terse_ruler_source_size, o, err);
    terse_status st = terse_file_read(source, &text, err);
    if (st == TERSE_OK)
        st = terse_ruler_make(out, v, text.p, text.n, o, err);
    terse_text_free(&text);
    return st;
}

terse_status terse_generate_file(const char *path, const terse_vocab *v, const char *source,
                                 const terse_ruler_opts *o, terse_error *err)
{
    terse_text lines = { 0 };
    terse_output out = { 0 };
    terse_error second;
    terse_status st = terse_generate(&lines, v, source, o, err);
    if (st == TERSE_OK)
        st = terse_output_open(&out, path, err);
    if (st == TERSE_OK)
        st = terse_output_write(&out, lines.p, lines.n, err);
    const terse_status closed = terse_output_close(&out, st == TERSE_OK, st == TERSE_OK ? err : &second);
    terse_text_free(&lines);
    return st == TERSE_OK ? closed : st;
}
