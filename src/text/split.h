/* text/split.h: the pre-tokenizers of byte-level BPE: regular expressions that cut a text into words, which are
 * then encoded one by one. Run by PCRE2 with limits on steps, depth and memory; each step costs time in
 * proportion to the text, whatever the text is. */
#ifndef TERSE_TEXT_SPLIT_H
#define TERSE_TEXT_SPLIT_H

#include "terse/base.h"

enum { TERSE_PRE_STAGES = 6 };

/* What the name in tokenizer.ggml.pre stands for. Static. */
typedef struct {
    const char *names; /* separated by blanks */
    /* The first cuts the text into its matches and what lies between them, the next one each of these pieces,
     * and so on; pieces of the last are the words. NULL behind the last. */
    const char *stages[TERSE_PRE_STAGES];
    bool whole_words;  /* a word that is a token is taken as it is, without merges */
    bool whole_breaks; /* the same for words of line feeds only */
    bool adds_bos;     /* unless the file says otherwise */
    bool always_bos;   /* whatever the file says */
    bool clean_up;     /* detokenizing removes the blank before punctuation */
    bool raw;          /* tokens are plain UTF-8 with U+2581 for blanks; other bytes are <0xNN> */
} terse_pre;

/* NULL if the name is unknown. */
const terse_pre *terse_pre_find(terse_str name);
/* i-th row of the table, NULL past the last. */
const terse_pre *terse_pre_at(int32_t i);

/* Two stages that PCRE2 would match in quadratic time; split.c does them by hand. Digits in groups of three
 * counted from the last one: in any run of digits, and only in runs that end at the end of a word, as words of
 * their own. */
#define TERSE_DIGITS         "(?=(\\d{3})+(?!\\d))"
#define TERSE_DIGITS_OF_WORD "\\d{1,3}(?=(?:\\d{3})*\\b)"

/* The compiled stages: immutable, may be used from several threads. */
typedef struct terse_split terse_split;
terse_status terse_split_open(terse_split **out, const terse_pre *pre, terse_error *err);
void terse_split_close(terse_split **s);

/* Calls word for every word [from, to) of text, in order and without gaps. text is what terse_split_repair
 * gave. Ends with the first status that is not TERSE_OK. */
typedef terse_status terse_word_fn(void *ctx, terse_str word, terse_error *err);
terse_status terse_split_words(const terse_split *s, terse_str text, terse_word_fn *word, void *ctx,
                               terse_error *err);

/* Writes text to out[3 * text.n] as the tokenizers of the field see it: overlong forms become the character
 * they mean, encoded surrogates stay, every other byte that is not UTF-8 becomes U+FFFD. Returns the bytes
 * written. */
size_t terse_split_repair(char *out, terse_str text);

#endif
