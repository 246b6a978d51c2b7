/* cli/chat_loop.h: a conversation on a terminal. */
#ifndef TERSE_CLI_CHAT_LOOP_H
#define TERSE_CLI_CHAT_LOOP_H

#include "answer.h"
#include "conversation.h"

/* Says what the user says (first, in a new conversation, what -sys says) and sets *prompt to the tokens of it
 * all up to the beginning of the answer. The session holds the first *held of them; what it held otherwise,
 * because the template now writes it differently, is taken out. On failure nothing was said. */
terse_status terse_chat_turn(terse_runner *r, terse_conversation *c, terse_str user, terse_tokens *prompt,
                             size_t *held, terse_error *err);
/* Chats until /exit, Ctrl-D, or Ctrl-C at the prompt. opening: the first user's turn; empty: asked for. Returns
 * the exit code; errors have been told. */
int terse_chat_loop(terse_runner *r, terse_conversation *c, terse_str opening);

#endif
