/* engine/tap.h: a look into a session's attention, for the lab. */
#ifndef TERSE_ENGINE_TAP_H
#define TERSE_ENGINE_TAP_H

#include "model/forward.h"
#include "terse/session.h"

/* The tap of later decode steps; { 0 } ends it. */
void terse_session_tap(terse_session *s, terse_tap tap);
/* The keys and values of its tokens: borrowed until close. */
const terse_kv *terse_session_kv(const terse_session *s);

#endif
