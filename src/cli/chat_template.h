/* cli/chat_template.h: which chat template is used, and with which variables. */
#ifndef TERSE_CLI_CHAT_TEMPLATE_H
#define TERSE_CLI_CHAT_TEMPLATE_H

#include "options.h"
#include "terse/template.h"

/* The options. Strings are borrowed from argv or the environment; NULL: not given. */
typedef struct {
    const char *name;      /* of a built-in template */
    const char *file;      /* that holds a template */
    const char *variables; /* a JSON object */
} terse_chat_values;
terse_option_group terse_chat_template_group(terse_chat_values *values);

/* Start from { 0 }. */
typedef struct {
    terse_template *template;
    terse_text bos, eos; /* texts of these tokens; p NULL: the vocabulary has none */
    terse_str variables;
    char origin[160]; /* "the model's chat template", for messages */
} terse_chat;

/* The template that the options ask for, else the model's own (the one for tools, if the conversation has some
 * and the model has one). TERSE_UNSUPPORTED if there is none; *source (may be NULL; the caller frees it) gets
 * its text. o is borrowed until close. On failure *c is closed. */
terse_status terse_chat_open(terse_chat *c, const terse_gguf *g, const terse_vocab *v,
                             const terse_chat_values *o, bool tools, terse_text *source, terse_error *err);
void terse_chat_close(terse_chat *c);
/* messages, tools, documents: as terse_template_input. *folded: see there. */
terse_status terse_chat_render(const terse_chat *c, terse_str messages, terse_str tools, terse_str documents,
                               bool generate, terse_text *out, bool *folded, terse_error *err);

#endif
