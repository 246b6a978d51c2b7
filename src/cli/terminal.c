/* cli/terminal.c: see the header. The saved settings are the process's, as the terminal is. */
#include "terminal.h"

#include <stdarg.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static bool have_saved, clear_line;

bool terse_terminal_is(int fd)
{
    return isatty(fd) == 1;
}

int32_t terse_terminal_width(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* Bytes of the UTF-8 sequence at p[n], 0 if it is none (RFC 3629). */
static size_t utf8_size(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    const size_t size = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
                        : (p[0] & 0xf0) == 0xe0       ? 3
                        : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                      : 0;
    if (size == 0 || size > n)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    const bool too_long = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    const bool surrogate = p[0] == 0xed && p[1] >= 0xa0, too_high = p[0] == 0xf4 && p[1] >= 0x90;
    return too_long || surrogate || too_high ? 0 : size;
}

void terse_terminal_write(FILE *out, const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + n;
    while (p < end) {
        const size_t size = utf8_size(p, (size_t)(end - p));
        const bool c0 = (p[0] < 0x20 && p[0] != '\n' && p[0] != '\t') || p[0] == 0x7f;
        const bool c1 = size == 2 && p[0] == 0xc2 && p[1] < 0xa0;
        const size_t step = size ? size : 1;
        if (size && !c0 && !c1)
            fwrite(p, 1, size, out);
        else
            for (size_t i = 0; i < step; i++)
                fprintf(out, "\\x%02x", p[i]);
        p += step;
    }
}

void terse_complain(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fputs("terse: ", stderr);
    if (n > 0)
        terse_terminal_write(stderr, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    fputc('\n', stderr);
}

int terse_complain_error(const terse_error *err)
{
    terse_complain("%s", err->text);
    return terse_status_exit(err->status);
}

void terse_terminal_save(void)
{
    have_saved = tcgetattr(STDIN_FILENO, &saved) == 0;
    clear_line = terse_terminal_is(STDERR_FILENO);
}

void terse_terminal_restore(void)
{
    static const char clear[] = "\r\033[K";
    if (have_saved)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    if (clear_line && write(STDERR_FILENO, clear, sizeof clear - 1) < 0)
        clear_line = false; /* nobody is looking any more */
}
