/* cli/chat_loop.c: turns of one session. The session keeps what was said; a turn adds the new tokens only. */
#include "chat_loop.h"

#include "interrupt.h"
#include "run_report.h"
#include "terminal.h"
#include "turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    terse_runner *r;
    const terse_chat_format *format;
    terse_answer last;
    terse_tokens pending; /* said, but not in the session: the end of an answer that was cut off */
    bool begun;
} chat;

static const char help[] = "/clear  forget the conversation\n"
                           "/stats  what the last answer cost\n"
                           "/help   this list\n"
                           "/exit   leave (also Ctrl-D)\n"
                           "Ctrl-C  stop the answer; at the prompt: leave\n";

/* One turn. False ends the chat, with *code. */
static bool turn(chat *c, terse_str text, int *code)
{
    const terse_run_values *o = &c->r->o->run;
    const size_t n_pending = c->pending.n;
    terse_error err;
    terse_interrupt_clear();
    terse_status st = terse_turn_tokens(c->format, terse_model_vocab(c->r->model), !c->begun, o->system, text,
                                        &c->pending, &err);
    if (st == TERSE_OK)
        st = terse_answer_get(&c->last, c->r, c->pending.ids, c->pending.n, true, &err);
    if (st != TERSE_OK) {
        *code = terse_complain_error(&err);
        c->pending.n = n_pending;
        if (st == TERSE_BAD_INPUT && c->begun)
            fputs("(/clear starts anew)\n", stderr);
        return st == TERSE_BAD_INPUT;
    }
    if (c->last.finish == TERSE_FINISH_LOST) {
        *code = 74;
        return false;
    }
    putchar('\n');
    fflush(stdout);
    if (c->last.finish == TERSE_FINISH_INTERRUPTED && c->last.ids.n == 0) { /* nothing was said */
        c->pending.n = n_pending;
        return true;
    }
    c->begun = true;
    c->pending.n = 0;
    for (size_t i = (size_t)c->last.n_decoded; i < c->last.ids.n && st == TERSE_OK; i++)
        st = terse_tokens_push(&c->pending, c->last.ids.ids[i], &err);
    if (st != TERSE_OK) {
        *code = terse_complain_error(&err);
        return false;
    }
    if (c->last.finish == TERSE_FINISH_FULL)
        terse_complain("note: the context of %d tokens is full; /clear starts anew",
                       terse_session_ctx(c->r->session));
    if (o->stats)
        terse_report_stats(c->r, &c->last);
    return true;
}

/* A line that starts with a slash. False ends the chat. */
static bool command(chat *c, const char *line)
{
    if (strcmp(line, "/exit") == 0)
        return false;
    if (strcmp(line, "/clear") == 0) {
        terse_session_truncate(c->r->session, 0);
        terse_sampler_reset(c->r->sampler);
        c->pending.n = 0;
        c->begun = false;
    } else if (strcmp(line, "/stats") == 0 && c->begun) {
        terse_report_stats(c->r, &c->last);
    } else if (strcmp(line, "/stats") == 0) {
        fputs("nothing has been answered yet\n", stderr);
    } else if (strcmp(line, "/help") == 0) {
        fputs(help, stderr);
    } else {
        terse_complain("unknown command \"%.40s\"; /help lists them", line);
    }
    return true;
}

int terse_chat_loop(terse_runner *r, const terse_chat_format *f, terse_str opening)
{
    chat c = { .r = r, .format = f };
    char *line = NULL;
    size_t cap = 0;
    int code = 0;
    fprintf(stderr, "chat in the format %s; /help lists the commands\n", terse_chat_name(f));
    bool go_on = opening.n == 0 || turn(&c, opening, &code);
    while (go_on) {
        terse_interrupt_clear();
        fputs("> ", stderr);
        fflush(stderr);
        errno = 0;
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) {
            fputc('\n', stderr);
            code = terse_interrupt_seen() ? 130 : errno && !feof(stdin) ? 74 : 0;
            break;
        }
        if (n > 0 && line[n - 1] == '\n')
            line[--n] = '\0';
        code = 0; /* what went wrong in an earlier turn has been told */
        if (line[0] == '/')
            go_on = command(&c, line);
        else if (n > 0)
            go_on = turn(&c, (terse_str){ line, (size_t)n }, &code) && !r->o->run.single_turn;
    }
    free(line);
    terse_tokens_free(&c.pending);
    terse_answer_free(&c.last);
    return code;
}
