/* cli/conversation.h: what was said, and the tokens that the chat template makes of it. */
#ifndef TERSE_CLI_CONVERSATION_H
#define TERSE_CLI_CONVERSATION_H

#include "chat_template.h"

#include <jansson.h>

/* Start from { 0 }. */
typedef struct {
    const terse_vocab *v;
    terse_chat chat;
    json_t *messages;
    terse_text next; /* rendered for the answer that is to come */
    /* After an answer: the text so far, and its tokens as they were prefilled and decoded. */
    terse_text held;
    terse_tokens ids;
    int32_t end; /* the control token that the template writes after an answer; -1: none */
    bool folded, noted; /* the system's text stands in front of the first user's; that has been told */
} terse_conversation;

/* g, v and o are borrowed until close. On failure *c is closed. */
terse_status terse_conversation_open(terse_conversation *c, const terse_gguf *g, const terse_vocab *v,
                                     const terse_chat_values *o, terse_error *err);
void terse_conversation_close(terse_conversation *c);
/* A message of the role "system", "user" or "assistant". What system and user say never becomes a control
 * token. TERSE_BAD_INPUT if it is not UTF-8. */
terse_status terse_conversation_say(terse_conversation *c, const char *role, terse_str text, terse_error *err);
/* Forgets the messages from number n on. */
void terse_conversation_cut(terse_conversation *c, size_t n);
/* Sets *out to the tokens of all messages and the beginning of an answer. Where the text begins with what was
 * said before, so do the tokens; a template may also change earlier turns (leave out thoughts). */
terse_status terse_conversation_prompt(terse_conversation *c, terse_tokens *out, terse_error *err);
/* The prompt was answered: the assistant said this. exact: text is what ids stand for. */
terse_status terse_conversation_answered(terse_conversation *c, const terse_tokens *prompt,
                                         const terse_tokens *ids, terse_str text, bool exact, terse_error *err);

#endif
