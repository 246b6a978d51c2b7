/* text/stream.c: shows tokens as they come without ever cutting a character in two. Bytes go one by one into a
 * buffer that holds the start of one UTF-8 sequence. */
#include "text/vocab.h"
#include <string.h>
#include <utf8proc.h>

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD */

typedef enum { COMPLETE, STARTED, INVALID } state;

/* What held[n], of which all but the last byte are known to start a sequence, is. (Unicode 15, table 3-7) */
static state judge(const uint8_t *held, int32_t n)
{
    utf8proc_int32_t c;
    if (utf8proc_iterate(held, n, &c) == n)
        return COMPLETE;
    const uint8_t lead = held[0];
    const int32_t len = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n >= len)
        return INVALID;
    if (n == 1)
        return STARTED;
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    const bool second = held[1] >= low && held[1] <= high;
    return second && (n == 2 || (held[2] & 0xC0) == 0x80) ? STARTED : INVALID;
}

static terse_status push_byte(terse_stream *s, char byte, terse_text *out, terse_error *err)
{
    terse_status st = TERSE_OK;
    s->held[s->n_held++] = byte;
    switch (judge((const uint8_t *)s->held, s->n_held)) {
    case COMPLETE:
        st = terse_text_append(out, s->held, (size_t)s->n_held, err);
        s->n_held = 0;
        return st;
    case STARTED:
        return TERSE_OK;
    case INVALID:
        break;
    }
    /* What was held can not be finished; the new byte may still start something. */
    const bool again = s->n_held > 1;
    s->n_held = 0;
    st = terse_text_append(out, REPLACEMENT, 3, err);
    return st == TERSE_OK && again ? push_byte(s, byte, out, err) : st;
}

terse_status terse_stream_push(terse_stream *s, const terse_vocab *v, int32_t id, terse_text *out,
                               terse_error *err)
{
    terse_text piece = { 0 };
    terse_status st = terse_vocab_piece(v, id, false, &piece, err);
    size_t i = 0;
    if (piece.n > 0 && !s->started) {
        i = v->space_prefix && piece.p[0] == ' ';
        s->started = true;
    }
    for (; i < piece.n && st == TERSE_OK; i++)
        st = push_byte(s, piece.p[i], out, err);
    terse_text_free(&piece);
    return st;
}

terse_status terse_stream_end(terse_stream *s, terse_text *out, terse_error *err)
{
    const terse_status st = s->n_held > 0 ? terse_text_append(out, REPLACEMENT, 3, err) : TERSE_OK;
    *s = (terse_stream){ 0 };
    return st;
}
