/* text/charsmap.h: the table by which a unigram vocabulary normalizes its text
 * (tokenizer.ggml.precompiled_charsmap, as SentencePiece writes it): sequences of bytes, kept in a double
 * array, and what each is replaced by. */
#ifndef TERSE_TEXT_CHARSMAP_H
#define TERSE_TEXT_CHARSMAP_H

#include "terse/base.h"

/* All zero is the table that replaces nothing. Borrows from the file. */
typedef struct {
    const uint8_t *units; /* [n] of 32 bits, not aligned */
    size_t n;
    const char *texts; /* the replacements, each ended by a NUL */
    size_t texts_size;
} terse_charsmap;

/* blob: the length of the double array in bytes (32 bits), the array, the replacements. False if it is not
 * that. */
bool terse_charsmap_open(terse_charsmap *c, const uint8_t *blob, size_t size);
/* The longest sequence that text begins with: its length, and in *to what replaces it; 0 if there is none. */
size_t terse_charsmap_find(const terse_charsmap *c, terse_str text, terse_str *to);

#endif
