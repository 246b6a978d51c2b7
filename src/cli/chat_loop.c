/* cli/chat_loop.c: turns of one session. The session keeps what was said; a turn adds the new tokens only. */
#include "chat_loop.h"

#include "interrupt.h"
#include "run_report.h"
#include "terminal.h"
#include "turn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
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
    terse_status st = terse_turn_tokens(c->format, terse_model_vocab(c->r->model), !c->begun, o->system, text,
                                        &c->pending, &err);
    if (st == TERSE_OK)
        st = terse_answer_get(&c->last, c->r, c->pending.ids, c->pending.n, true, &err);
    terse_interrupt_clear(); /* a Ctrl-C up to here was meant for the answer */
    if (c->begun &&
        terse_session_count(c->r->session) == 0) { /* a model with sliding windows cannot go far back */
        c->begun = false;
        terse_complain("note: the conversation so far is lost; the next turn starts anew");
    }
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

/* Waits for a line. False if Ctrl-C came, also if it came before: the signal is let in only while waiting, so
 * that none is lost between looking and waiting. */
static bool wait_for_line(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    while (!terse_interrupt_seen() && ppoll(&input, 1, NULL, &before) < 0 && errno == EINTR)
        ; /* another signal: wait on */
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !terse_interrupt_seen();
}

/* Reads a line without its newline; its length, or -1 at the end or after Ctrl-C. */
static ssize_t read_line(char **line, size_t *cap)
{
    fputs("> ", stderr);
    fflush(stderr);
    ssize_t n = wait_for_line() ? getline(line, cap, stdin) : -1;
    if (n < 0)
        fputc('\n', stderr);
    else if (n > 0 && (*line)[n - 1] == '\n')
        (*line)[--n] = '\0';
    return n;
}

int terse_chat_loop(terse_runner *r, const terse_chat_format *f, terse_str opening)
{
    chat c = { .r = r, .format = f };
    char *line = NULL;
    size_t cap = 0;
    int code = 0;
    fprintf(stderr, "chat in the format %s; /help lists the commands\n", terse_chat_name(f));
    setvbuf(stdin, NULL, _IONBF, 0); /* a line that is there must show when waiting for it */
    bool go_on = opening.n == 0 || turn(&c, opening, &code);
    while (go_on) {
        const ssize_t n = read_line(&line, &cap);
        if (n < 0) {
            code = terse_interrupt_seen() ? 130 : ferror(stdin) ? 74 : 0;
            break;
        }
        code = 0; /* what went wrong in an earlier turn has been told */
        if (line[0] == '/')
            go_on = command(&c, line);
        else if (line[strspn(line, " \t")])
            go_on = turn(&c, (terse_str){ line, (size_t)n }, &code) && !r->o->run.single_turn;
    }
    free(line);
    terse_tokens_free(&c.pending);
    terse_answer_free(&c.last);
    return code;
}
