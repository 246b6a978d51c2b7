/* Small vocabularies put together by hand, for tests and fuzz targets of src/text. */
#ifndef TERSE_TESTS_TEXT_SPEC_H
#define TERSE_TESTS_TEXT_SPEC_H

#include "terse/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };
enum { SPEC_TOKENS = 400, SPEC_MERGES = 64, SPEC_ROOM = 8 };

typedef struct {
    terse_str tokens[SPEC_TOKENS];
    int32_t types[SPEC_TOKENS];
    float scores[SPEC_TOKENS];
    int32_t n;
    terse_str merges[SPEC_MERGES];
    int32_t n_merge;
    char room[256][SPEC_ROOM]; /* texts of the byte tokens */
} spec;

static inline terse_str str(const char *s)
{
    return (terse_str){ s, strlen(s) };
}

static inline int32_t spec_add(spec *s, const char *text, int32_t type, float score)
{
    s->tokens[s->n] = str(text);
    s->types[s->n] = type;
    s->scores[s->n] = score;
    return s->n++;
}

/* The 256 letters of the byte alphabet, token b for byte b: printable Latin-1 as it is, the others counted
 * through from U+0100. */
static inline void spec_add_letters(spec *s)
{
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        const bool itself = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
        const unsigned c = itself ? b : next++;
        if (c < 0x80)
            snprintf(s->room[b], SPEC_ROOM, "%c", (int)c);
        else
            snprintf(s->room[b], SPEC_ROOM, "%c%c", (int)(0xC0 | c >> 6), (int)(0x80 | (c & 0x3F)));
        spec_add(s, s->room[b], NORMAL, 0.0f);
    }
}

/* <0x00> .. <0xFF> */
static inline void spec_add_bytes(spec *s)
{
    for (unsigned b = 0; b < 256; b++) {
        snprintf(s->room[b], SPEC_ROOM, "<0x%02X>", b);
        spec_add(s, s->room[b], BYTE, 0.0f);
    }
}

/* A merge and the token that it makes. */
static inline int32_t spec_merge(spec *s, const char *merge, const char *token)
{
    s->merges[s->n_merge++] = str(merge);
    return spec_add(s, token, NORMAL, 0.0f);
}

/* A writer that holds the tokenizer; the test may add more keys. Strings of s are borrowed. */
static inline terse_gguf_writer *spec_writer(const spec *s, const char *model, const char *pre)
{
    terse_gguf_writer *w;
    if (terse_gguf_writer_open(&w, NULL) != TERSE_OK)
        abort();
    terse_gguf_writer_str(w, "general.architecture", str("llama"));
    terse_gguf_writer_str(w, "tokenizer.ggml.model", str(model));
    if (pre)
        terse_gguf_writer_str(w, "tokenizer.ggml.pre", str(pre));
    terse_gguf_writer_strs(w, "tokenizer.ggml.tokens", s->tokens, (uint64_t)s->n);
    terse_gguf_writer_array(w, "tokenizer.ggml.token_type", TERSE_META_I32, s->types, (uint64_t)s->n);
    if (strcmp(model, "llama") == 0 || strcmp(model, "t5") == 0)
        terse_gguf_writer_array(w, "tokenizer.ggml.scores", TERSE_META_F32, s->scores, (uint64_t)s->n);
    else
        terse_gguf_writer_strs(w, "tokenizer.ggml.merges", s->merges, (uint64_t)s->n_merge);
    return w;
}

#endif
