/* cli/svg.c: see the header. A plot has its legend at the right, so that it can be copied out alone. */
#include "svg.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { LEFT = 64, TOP = 34, WIDTH = 440, HEIGHT = 380, LEGEND = 24, FULL_WIDTH = 730, FULL_HEIGHT = 465 };

void terse_html_text(FILE *f, const char *text)
{
    json_t *checked = json_string(text); /* NULL unless it is UTF-8 */
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (*p == '&')
            fputs("&amp;", f);
        else if (*p == '<')
            fputs("&lt;", f);
        else if (*p == '>')
            fputs("&gt;", f);
        else if (*p == '"')
            fputs("&quot;", f);
        else
            putc(c < ' ' || c == 0x7f || (c >= 0x80 && !checked) ? '?' : c, f);
    }
    json_decref(checked);
}

/* ---- axes ---- */

static double at_x(const terse_svg_axes *a, double x)
{
    return LEFT + WIDTH * x / a->x_max;
}

/* Values beyond the axis lie on its end. */
static double at_y(const terse_svg_axes *a, double y)
{
    const double t = a->log ? (y > 0.0 ? log(y / a->y_min) / log(a->y_max / a->y_min) : 0.0)
                            : (y - a->y_min) / (a->y_max - a->y_min);
    return TOP + HEIGHT * (1.0 - (t < 0.0 ? 0.0 : t > 1.0 ? 1.0 : t));
}

static bool has_place(const terse_svg_axes *a, const terse_svg_point *p)
{
    return isfinite(p->x) && isfinite(p->y) && (!a->log || p->y > 0.0);
}

void terse_svg_decades(const terse_svg_curve *c, int32_t n, double *low, double *high)
{
    double min = INFINITY, max = 0.0;
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < c[i].n; k++) {
            const terse_svg_point *p = &c[i].point[k];
            if (!(p->y > 0.0) || !isfinite(p->y))
                continue;
            min = fmin(min, p->y);
            max = fmax(max, isfinite(p->high) ? p->high : p->y);
        }
    *low = min < INFINITY ? pow(10.0, floor(log10(min))) : 1e-4;
    *high = max > 0.0 ? pow(10.0, ceil(log10(max))) : 1.0;
    if (*high <= *low)
        *high = *low * 10.0;
}

static void line(FILE *f, const char *class, double x1, double y1, double x2, double y2)
{
    fprintf(f, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2);
}

static void text_at(FILE *f, const char *class, double x, double y, const char *text)
{
    fprintf(f, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
    terse_html_text(f, text);
    fputs("</text>\n", f);
}

static void draw_x_axis(FILE *f, const terse_svg_axes *a)
{
    const double step = a->x_max > 0.55 ? 0.1 : a->x_max > 0.25 ? 0.05 : 0.02;
    char text[32];
    for (int32_t i = 0; i * step <= a->x_max + 1e-9; i++) {
        const double x = at_x(a, i * step);
        line(f, "grid", x, TOP, x, TOP + HEIGHT);
        snprintf(text, sizeof text, "%.0f", 100.0 * i * step);
        text_at(f, "mid", x, TOP + HEIGHT + 17, text);
    }
    text_at(f, "mid", LEFT + WIDTH / 2.0, TOP + HEIGHT + 38, a->x_title);
}

static void draw_y_axis(FILE *f, const terse_svg_axes *a)
{
    char text[32];
    for (double y = a->y_min; a->log && y <= a->y_max * 1.001; y *= 10.0) {
        line(f, "grid", LEFT, at_y(a, y), LEFT + WIDTH, at_y(a, y));
        snprintf(text, sizeof text, "%g", y);
        text_at(f, "end", LEFT - 7, at_y(a, y) + 4, text);
        for (int32_t i = 2; i < 10 && y * i < a->y_max; i++)
            line(f, "tick", LEFT, at_y(a, y * i), LEFT + 5, at_y(a, y * i));
    }
    for (int32_t i = 0; !a->log && i <= 10; i++) {
        const double y = a->y_min + (a->y_max - a->y_min) * i / 10.0;
        line(f, "grid", LEFT, at_y(a, y), LEFT + WIDTH, at_y(a, y));
        snprintf(text, sizeof text, "%.0f", 100.0 * y);
        text_at(f, "end", LEFT - 7, at_y(a, y) + 4, text);
    }
    fprintf(f, "<text class=\"mid\" transform=\"translate(14 %.1f) rotate(-90)\">", TOP + HEIGHT / 2.0);
    terse_html_text(f, a->y_title);
    fputs("</text>\n", f);
}

/* ---- curves ---- */

/* One of six shapes around (x, y). */
static void draw_mark(FILE *f, int32_t look, double x, double y)
{
    switch (look % 6) {
    case 0:
        fprintf(f, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.4\"/>", x, y);
        break;
    case 1:
        fprintf(f, "<path class=\"mark\" d=\"M%.1f %.1fh6.4v6.4h-6.4z\"/>", x - 3.2, y - 3.2);
        break;
    case 2:
        fprintf(f, "<path class=\"mark\" d=\"M%.1f %.1fl4 7h-8z\"/>", x, y - 4.4);
        break;
    case 3:
        fprintf(f, "<path class=\"mark\" d=\"M%.1f %.1fl4.4 4.4l-4.4 4.4l-4.4 -4.4z\"/>", x, y - 4.4);
        break;
    case 4:
        fprintf(f, "<path class=\"mark\" d=\"M%.1f %.1fl4 -7h-8z\"/>", x, y + 4.4);
        break;
    default:
        fprintf(f, "<path class=\"open\" d=\"M%.1f %.1fl6.4 6.4m0 -6.4l-6.4 6.4\"/>", x - 3.2, y - 3.2);
    }
}

static void draw_interval(FILE *f, const terse_svg_axes *a, const terse_svg_point *p)
{
    const double x = at_x(a, p->x), high = at_y(a, p->high), low = at_y(a, p->low);
    if (!isfinite(p->low) || !isfinite(p->high))
        return;
    line(f, "bar", x, low, x, high);
    line(f, "bar", x - 3, high, x + 3, high);
    if (!a->log || p->low > a->y_min)
        line(f, "bar", x - 3, low, x + 3, low);
}

static void draw_curve(FILE *f, const terse_svg_axes *a, const terse_svg_curve *c)
{
    int32_t n = 0;
    fprintf(f, "<g class=\"k%d %s\">\n<polyline class=\"curve\" points=\"", c->look, c->class);
    for (int32_t i = 0; i < c->n; i++)
        if (has_place(a, &c->point[i]))
            fprintf(f, "%s%.1f,%.1f", n++ ? " " : "", at_x(a, c->point[i].x), at_y(a, c->point[i].y));
    fputs("\"/>\n", f);
    for (int32_t i = 0; i < c->n; i++) {
        const terse_svg_point *p = &c->point[i];
        if (!has_place(a, p))
            continue;
        draw_interval(f, a, p);
        fputs("<g><title>", f);
        terse_html_text(f, p->tip ? p->tip : "");
        fputs("</title>", f);
        draw_mark(f, c->look, at_x(a, p->x), at_y(a, p->y));
        fputs("</g>\n", f);
    }
    fputs("</g>\n", f);
}

/* After all curves, so that none runs over them. */
static void draw_labels(FILE *f, const terse_svg_axes *a, const terse_svg_curve *c)
{
    fprintf(f, "<g class=\"k%d\">\n", c->look);
    for (int32_t i = 0; i < c->n; i++)
        if (c->point[i].label && has_place(a, &c->point[i]))
            text_at(f, "label", at_x(a, c->point[i].x) + 6, at_y(a, c->point[i].y) - 6, c->point[i].label);
    fputs("</g>\n", f);
}

static bool is_drawn(const terse_svg_axes *a, const terse_svg_curve *c)
{
    for (int32_t i = 0; i < c->n; i++)
        if (has_place(a, &c->point[i]))
            return true;
    return false;
}

void terse_svg_plot(FILE *f, const terse_svg_axes *a, const terse_svg_curve *c, int32_t n)
{
    int32_t drawn = 0;
    fprintf(f, "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n",
            FULL_WIDTH, FULL_HEIGHT);
    fputs("<title>", f);
    terse_html_text(f, a->title);
    fputs("</title>\n", f);
    text_at(f, "head", LEFT, 20, a->title);
    draw_x_axis(f, a);
    draw_y_axis(f, a);
    for (int32_t i = 0; i < n; i++)
        draw_curve(f, a, &c[i]);
    for (int32_t i = 0; i < n; i++)
        draw_labels(f, a, &c[i]);
    for (int32_t i = 0; i < n; i++) {
        const double x = LEFT + WIDTH + LEGEND, y = TOP + 10 + 20.0 * drawn;
        if (!is_drawn(a, &c[i]))
            continue;
        drawn++;
        fprintf(f, "<g class=\"k%d %s\">", c[i].look, c[i].class);
        line(f, "curve", x - 12, y, x + 12, y);
        draw_mark(f, c[i].look, x, y);
        fputs("</g>\n", f);
        text_at(f, "name", x + 20, y + 4, c[i].name);
    }
    if (drawn == 0)
        text_at(f, "mid", LEFT + WIDTH / 2.0, TOP + HEIGHT / 2.0, "nothing to draw: all values are 0");
    fputs("</svg>\n", f);
}

/* ---- maps ---- */

void terse_svg_map(FILE *f, const char *title, const double *x, int32_t rows, int32_t cols)
{
    enum { CELL_WIDTH = 34, CELL_HEIGHT = 19, SIDE = 34, HEAD = 42 };
    const int32_t width = SIDE + cols * CELL_WIDTH + 8, height = HEAD + rows * CELL_HEIGHT + 8;
    const int32_t full = width < 190 ? 190 : width;
    char text[32];
    fprintf(f,
            "<svg class=\"map\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\">\n<title>",
            full, height, full, height);
    terse_html_text(f, title);
    fputs("</title>\n", f);
    text_at(f, "head", 2, 14, title);
    for (int32_t c = 0; c < cols; c++) {
        snprintf(text, sizeof text, "%d", c);
        text_at(f, "mid", SIDE + (c + 0.5) * CELL_WIDTH, HEAD - 6, text);
    }
    for (int32_t r = 0; r < rows; r++) {
        snprintf(text, sizeof text, "%d", r);
        text_at(f, "end", SIDE - 6, HEAD + r * CELL_HEIGHT + 14, text);
        for (int32_t c = 0; c < cols; c++) {
            const double share = x[r * cols + c];
            if (!isfinite(share))
                continue;
            fprintf(f,
                    "<g><title>layer %d, KV head %d: %.1f %%</title><rect class=\"cell\" x=\"%d\" y=\"%d\" "
                    "width=\"%d\" height=\"%d\" fill-opacity=\"%.3f\"/></g>",
                    r, c, 100.0 * share, SIDE + c * CELL_WIDTH, HEAD + r * CELL_HEIGHT, CELL_WIDTH - 1,
                    CELL_HEIGHT - 1, share > 1.0 ? 1.0 : share);
            snprintf(text, sizeof text, "%.0f", 100.0 * share);
            text_at(f, share > 0.55 ? "mid onfill" : "mid", SIDE + (c + 0.5) * CELL_WIDTH,
                    HEAD + r * CELL_HEIGHT + 14, text);
        }
        fputs("\n", f);
    }
    fputs("</svg>\n", f);
}
