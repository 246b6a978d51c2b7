/* cli/progress.c: "prefill [=====     ]  50%  512/1024 tokens  230.1 tokens/s  ETA 0:02". */
#include "progress.h"

#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 20, REDRAW_NS = 100 * 1000 * 1000 };

void terse_progress_line(char *line, size_t size, int32_t width, const terse_progress *p, int64_t now,
                         int64_t done, int64_t total)
{
    const double seconds = (double)(now - p->start) * 1e-9;
    const double rate = seconds > 0 ? (double)done / seconds : 0.0;
    char head[160] = "", count[96], tail[64] = "";
    if (total > 0) {
        done = done < 0 ? 0 : done > total ? total : done;
        const double share = (double)done / (double)total;
        char bar[BAR + 1];
        for (int i = 0; i < BAR; i++)
            bar[i] = i < (int)(share * BAR) ? '=' : ' ';
        bar[BAR] = '\0';
        snprintf(head, sizeof head, "[%s] %3d%%  ", bar, (int)(share * 100));
        snprintf(count, sizeof count, "%lld/%lld %s", (long long)done, (long long)total, p->unit);
        if (rate > 0) {
            const double left = (double)(total - done) / rate;
            const long long s = left < 1e9 ? (long long)(left + 0.5) : 0;
            if (s >= 3600)
                snprintf(tail, sizeof tail, "  ETA %lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
            else
                snprintf(tail, sizeof tail, "  ETA %lld:%02lld", s / 60, s % 60);
        }
    } else {
        snprintf(count, sizeof count, "%lld %s", (long long)done, p->unit);
    }
    const int n = snprintf(line, size, "%s %s%s  %.1f %s/s%s", p->label, head, count, rate, p->unit, tail);
    /* A line that wraps could not be cleared; and the last column of a terminal already may wrap. */
    if (n >= width && width > 0 && (size_t)width <= size)
        line[width - 1] = '\0';
}

void terse_progress_begin(terse_progress *p, const char *label, const char *unit, bool wanted)
{
    const char *term = getenv("TERM");
    const bool plain = term && strcmp(term, "dumb") == 0; /* cannot clear a line */
    *p = (terse_progress){ .label = label, .unit = unit, .start = terse_now_ns() };
    p->shown = wanted && !plain && terse_terminal_is(STDERR_FILENO);
}

void terse_progress_update(terse_progress *p, int64_t done, int64_t total)
{
    const int64_t now = terse_now_ns();
    if (!p->shown || (p->drawn && now - p->drawn < REDRAW_NS))
        return;
    char line[256];
    terse_progress_line(line, sizeof line, terse_terminal_width(STDERR_FILENO), p, now, done, total);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    p->drawn = now;
}

void terse_progress_show(void *progress, int64_t done, int64_t total)
{
    terse_progress_update(progress, done, total);
}

void terse_progress_clear(terse_progress *p)
{
    if (p->shown && p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->drawn = 0;
}

void terse_progress_end(terse_progress *p)
{
    terse_progress_clear(p);
    p->shown = false;
}
