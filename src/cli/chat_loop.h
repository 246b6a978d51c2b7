/* cli/chat_loop.h: a conversation on a terminal. */
#ifndef TERSE_CLI_CHAT_LOOP_H
#define TERSE_CLI_CHAT_LOOP_H

#include "answer.h"

/* Chats until /exit, Ctrl-D, or Ctrl-C at the prompt. opening: the first user's turn; empty: asked for. Returns
 * the exit code; errors have been told. */
int terse_chat_loop(terse_runner *r, const terse_chat_format *f, terse_str opening);

#endif
