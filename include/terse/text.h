/* terse/text.h: text to tokens and back, built-in chat templates. */
#ifndef TERSE_TEXT_H
#define TERSE_TEXT_H

#include "terse/gguf.h"

/* A vocabulary with its tokenizer: immutable, may be used from several threads. Borrows its strings from the
 * GGUF reader, which must outlive it. */
typedef struct terse_vocab terse_vocab;

/* Reads tokenizer.ggml.*. TERSE_UNSUPPORTED names a tokenizer model or pre-tokenizer that is not built in.
 * A file with tokenizer.ggml.model = "none" gives a vocabulary that knows only its size. */
TERSE_API terse_status terse_vocab_open(terse_vocab **out, const terse_gguf *g, terse_error *err);
TERSE_API void terse_vocab_close(terse_vocab **v);

TERSE_API int32_t terse_vocab_size(const terse_vocab *v);
/* False for a vocabulary without text ("none"): tokenize and detokenize then fail with TERSE_UNSUPPORTED. */
TERSE_API bool terse_vocab_has_text(const terse_vocab *v);
/* Ids of the special tokens, or -1. */
TERSE_API int32_t terse_vocab_bos(const terse_vocab *v);
TERSE_API int32_t terse_vocab_eos(const terse_vocab *v);
/* Whether a prompt of this vocabulary starts with bos. */
TERSE_API bool terse_vocab_adds_bos(const terse_vocab *v);
/* End of generation: eos, eot and the end-of-turn tokens known by name. False for ids out of range. */
TERSE_API bool terse_vocab_is_end(const terse_vocab *v, int32_t id);
/* Id of the token with exactly this text (as stored in the file), or -1. */
TERSE_API int32_t terse_vocab_find(const terse_vocab *v, terse_str text);

/* A growing list of token ids: start from { 0 }, free with terse_tokens_free. */
typedef struct {
    int32_t *ids;
    size_t n, cap;
} terse_tokens;
TERSE_API terse_status terse_tokens_push(terse_tokens *t, int32_t id, terse_error *err);
TERSE_API void terse_tokens_free(terse_tokens *t);

/* Appends the tokens of text[n] to *out. special: put bos/eos around as the vocabulary asks. parse: the text of
 * special tokens becomes those tokens (otherwise it is plain text). Near-linear in n. */
TERSE_API terse_status terse_vocab_tokenize(const terse_vocab *v, const char *text, size_t n, bool special,
                                            bool parse, terse_tokens *out, terse_error *err);

/* A growing byte string: start from { 0 }, free with terse_text_free. p is NUL-terminated once non-NULL. */
typedef struct {
    char *p;
    size_t n, cap;
} terse_text;
TERSE_API terse_status terse_text_append(terse_text *t, const char *p, size_t n, terse_error *err);
TERSE_API void terse_text_free(terse_text *t);

/* Appends the bytes of one token. Control tokens give nothing unless show_special. Ids out of range are
 * TERSE_BAD_INPUT. Concatenating pieces is what streaming does. */
TERSE_API terse_status terse_vocab_piece(const terse_vocab *v, int32_t id, bool show_special, terse_text *out,
                                         terse_error *err);
/* Appends the text of a whole sequence: the pieces, less the leading blank that the tokenizer had added, less
 * bos and eos if hide_special, with the vocabulary's clean-up of blanks. */
TERSE_API terse_status terse_vocab_detokenize(const terse_vocab *v, const int32_t *ids, size_t n,
                                              bool show_special, terse_text *out, terse_error *err);

/* Streaming: holds back the bytes of an unfinished UTF-8 sequence. Start from { 0 }. */
typedef struct {
    char held[4];
    int32_t n_held;
    bool started; /* the first piece loses the blank that the tokenizer added */
} terse_stream;
/* Appends to *out what can be shown after token id. Bytes that can never become UTF-8 come out as U+FFFD. */
TERSE_API terse_status terse_stream_push(terse_stream *s, const terse_vocab *v, int32_t id, terse_text *out,
                                         terse_error *err);
/* Appends what is still held (as U+FFFD) and resets the stream. */
TERSE_API terse_status terse_stream_end(terse_stream *s, terse_text *out, terse_error *err);

/* Chat templates for models that carry none (terse/template.h renders them), by the name of the format:
 * "chatml", "llama3", "mistral", "gemma", "phi3", "zephyr". p NULL: unknown. */
TERSE_API terse_str terse_chat_template(const char *name);
/* i-th name, NULL past the last: for help texts. */
TERSE_API const char *terse_chat_name(int32_t i);

#endif
