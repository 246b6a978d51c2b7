/* terse/template.h: the chat template that a model carries (tokenizer.chat_template), rendered as the model's
 * makers render it: a sandboxed subset of Jinja2 with the settings of transformers (trim_blocks, lstrip_blocks,
 * loop controls, lists and dicts that cannot be changed). No input or output, no imports, and limits on steps,
 * depth, memory and output. What is not built in is refused with line and column, never guessed. */
#ifndef TERSE_TEMPLATE_H
#define TERSE_TEMPLATE_H

#include "terse/text.h"

/* A parsed template: immutable, may be used from several threads. Owns a copy of its source. */
typedef struct terse_template terse_template;

/* What one rendering may take; 0 means the default. Beyond a limit rendering fails with TERSE_BAD_INPUT. A step
 * is an evaluation; 64 bytes that are written or 8 that are searched count as one more. */
typedef struct {
    size_t steps;  /* 4 million: a fraction of a second */
    size_t memory; /* bytes of values and texts, input included; 256 MiB */
    size_t output; /* bytes of one text; 16 MiB */
    int32_t depth; /* nested expressions, statements and macro calls; 500 */
} terse_template_limits;

/* What the template sees. Texts are JSON in UTF-8; empty ones are absent. All is borrowed for the call. */
typedef struct {
    terse_str messages;  /* an array of {"role":..., "content":..., ...} */
    terse_str tools;     /* an array, absent: none */
    terse_str documents; /* an array, absent: none */
    terse_str variables; /* an object: further variables such as {"enable_thinking": false} */
    terse_str bos, eos;  /* texts of these tokens, not JSON; p NULL: undefined */
    bool generate;       /* add_generation_prompt */
    bool fold_system;    /* if the template raises an exception on a system message, render once more with its
                          * text in front of the first user's, on a line of its own */
    int64_t now;         /* seconds since 1970 that strftime_now shows, as local time; 0: the clock */
    terse_template_limits limits;
} terse_template_input;

/* Parses source (UTF-8, at most 4 MiB). TERSE_BAD_INPUT names line, column and what stands there. On failure
 * *out is NULL. */
TERSE_API terse_status terse_template_open(terse_template **out, terse_str source, terse_error *err);
/* The first filter or test in the source that is not built in, p NULL if there is none: rendering fails only
 * where it is reached. Borrowed from the template. */
TERSE_API terse_str terse_template_missing(const terse_template *t);
/* Frees *t and sets it to NULL. NULL and pointer to NULL are fine. */
TERSE_API void terse_template_close(terse_template **t);

/* Appends the rendered text to *out, which on failure is as it was. *folded (may be NULL) says that fold_system
 * was made use of. TERSE_BAD_INPUT: the input is not what it must be, the template does something that is an
 * error in Jinja2 (with line and column), raises an exception itself, or meets a limit. TERSE_UNSUPPORTED: it
 * does something that is not built in. */
TERSE_API terse_status terse_template_render(const terse_template *t, const terse_template_input *input,
                                             terse_text *out, bool *folded, terse_error *err);

#endif
