/* cli/interrupt.c: a signal handler has no argument of ours, so the flag is the process's. */
#include "interrupt.h"

#include "terminal.h"

#include <signal.h>
#include <unistd.h>

static atomic_bool interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    if (atomic_exchange(&interrupted, true)) {
        terse_terminal_restore();
        _exit(130);
    }
}

void terse_interrupt_catch(void)
{
    struct sigaction action = { .sa_handler = on_interrupt };
    terse_terminal_save();
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

void terse_interrupt_clear(void)
{
    atomic_store(&interrupted, false);
}

bool terse_interrupt_seen(void)
{
    return atomic_load(&interrupted);
}

const atomic_bool *terse_interrupt_flag(void)
{
    return &interrupted;
}
