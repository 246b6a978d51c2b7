/* cli/turn.h: one turn of a chat as tokens. A conversation only ever grows at its end: what comes after an
 * answer does not depend on what was said before, so the tokens of earlier turns stay as they are. */
#ifndef TERSE_CLI_TURN_H
#define TERSE_CLI_TURN_H

#include "terse/text.h"

/* Appends to *out what stands between the last answer (first: the start of the text) and the next answer. Only
 * the format's own markers become control tokens, never what system (first turns only; may be NULL) and user
 * spell. */
terse_status terse_turn_tokens(const terse_chat_format *f, const terse_vocab *v, bool first, const char *system,
                               terse_str user, terse_tokens *out, terse_error *err);

#endif
