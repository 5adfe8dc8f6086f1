/*
 * How text is laid out for people: aligned columns, colours and bars where a terminal shows them,
 * plain ASCII where the locale is. Renders into buffers; only screen_of reads the environment.
 * What came from outside is cleaned before it is shown. Single-threaded.
 */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include "common/bytes.h"

struct screen {
    unsigned width; /* columns; 0: no limit, as in a pipe */
    bool terminal;  /* bars, and the next step where nothing is shown */
    bool colour;
    bool utf8;
    uint64_t now_unix_ms;
};

/* What `fd` is, by isatty, its window, NO_COLOR, TERM and the locale's variables. */
void screen_of(int fd, struct screen *ret);

enum tone { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_DIM, TONE_STRONG };

/* Appends text in a tone; cleaned, and without what the locale cannot show. */
void screen_put(const struct screen *s, struct buffer *out, enum tone tone, const char *text);
void screen_printf(const struct screen *s, struct buffer *out, enum tone tone, const char *format,
                   ...) PRINTF(4, 5);
/* "6.0/8", "4.1/31.2 GiB". */
void screen_amount(char out[96], double used, double total, const char *unit);
/* "######--" on a terminal, else "". */
const char *screen_bar(const struct screen *s, double used, double total, char out[32]);

/* The tone of a state's name: of a node, job, task or worker. */
enum tone tone_of_state(const char *state);

/* "10:41:07" today, else "2026-01-31 10:41"; local time; "-" for 0. */
const char *screen_time(const struct screen *s, uint64_t unix_ms, char out[32]);
/* From `from` to `to`, as "3 h 12 min"; "-" where one is 0 or they are in the wrong order. */
const char *screen_span(uint64_t from_unix_ms, uint64_t to_unix_ms, char out[32]);

struct table_column {
    const char *title;
    bool right;    /* aligned to the right */
    bool flexible; /* cut when the screen is too narrow */
    unsigned drop; /* left out when it is too narrow, the highest first; 0: never */
};

struct table;
struct table *table_new(const struct table_column *columns, size_t count); /* columns: borrowed */
void table_free(struct table *t);
void table_row(struct table *t); /* begins the next row */
/* The next cell of the row; copied. */
void table_cell(struct table *t, enum tone tone, const char *format, ...) PRINTF(3, 4);
/* Text from the next cell to the end of the line, not counted for the widths. */
void table_rest(struct table *t, enum tone tone, const char *format, ...) PRINTF(3, 4);
size_t table_row_count(const struct table *t);
/* The titles and the rows, each line ended. `indent` spaces before each. */
void table_print(const struct table *t, const struct screen *s, unsigned indent, bool titles,
                 struct buffer *out);

#endif
