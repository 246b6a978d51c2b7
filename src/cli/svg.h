/* cli/svg.h: plots as SVG inside an HTML page. Colours come from the page: what belongs to the i-th look has
 * the class "k<i>", and currentColor is its colour. Nothing fails here; the stream remembers errors. */
#ifndef TERSE_CLI_SVG_H
#define TERSE_CLI_SVG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    double x, y, low, high; /* low and high: the interval of y; NAN: none */
    const char *tip;        /* shown where the pointer rests; borrowed */
    const char *label;      /* written beside the point; NULL: nothing */
} terse_svg_point;

typedef struct {
    const char *name, *class; /* class: one more for the style sheet */
    int32_t look;
    terse_svg_point *point; /* [n] by rising x */
    int32_t n;
} terse_svg_curve;

typedef struct {
    const char *title, *x_title, *y_title;
    double x_max;        /* from 0; a share, shown in per cent */
    double y_min, y_max; /* log: powers of ten; otherwise shares, shown in per cent */
    bool log;
} terse_svg_axes;

/* The powers of ten around the values of the curves (and their intervals' upper ends). */
void terse_svg_decades(const terse_svg_curve *c, int32_t n, double *low, double *high);
/* What has no place on the axes (0 on a logarithmic one, NAN) is left out. */
void terse_svg_plot(FILE *f, const terse_svg_axes *a, const terse_svg_curve *c, int32_t n);
/* Shares x[rows][cols], NAN: unknown, as a table of shades. */
void terse_svg_map(FILE *f, const char *title, const double *x, int32_t rows, int32_t cols);
/* Text with what HTML and XML keep for themselves written otherwise; control characters, and bytes that are no
 * UTF-8, become question marks. */
void terse_html_text(FILE *f, const char *text);

#endif
