#include "cli/screen.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

enum { CELL_MAX = 1200, BAR_CELLS = 8, COLUMNS_MAX = 20, GAP = 2 };

static const char *const TONES[] = {
    [TONE_PLAIN] = "",       [TONE_GOOD] = "\033[32m", [TONE_WARN] = "\033[33m",
    [TONE_BAD] = "\033[31m", [TONE_DIM] = "\033[2m",   [TONE_STRONG] = "\033[1m",
};

static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != '\0') {
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
        }
    }
    return false;
}

void screen_of(int fd, struct screen *ret)
{
    struct winsize window = {0};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool terminal = isatty(fd) == 1;
    bool dumb = term == NULL || strcmp(term, "dumb") == 0;

    *ret = (struct screen){
        .terminal = terminal,
        .colour = terminal && !dumb && (no_color == NULL || *no_color == '\0'),
        .utf8 = locale_is_utf8(),
        .now_unix_ms = clock_unix_ms(),
    };
    if (terminal) {
        ret->width = 80;
        if (ioctl(fd, TIOCGWINSZ, &window) == 0 && window.ws_col != 0) {
            ret->width = window.ws_col;
        }
    }
}

/* Columns that valid UTF-8 takes, each character as one. */
static size_t text_columns(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

/* At most `columns` characters of `text`, padded on the side that the alignment wants. */
static void put_cell(const struct screen *s, struct buffer *out, enum tone tone, const char *text,
                     size_t columns, bool right, bool pad_end)
{
    size_t have = text_columns(text);
    bool coloured = s->colour && tone != TONE_PLAIN;
    size_t pad = have < columns ? columns - have : 0;

    if (right) {
        buffer_printf(out, "%*s", (int)pad, "");
    }
    if (coloured) {
        buffer_append_text(out, TONES[tone]);
    }
    for (size_t shown = 0; *text != '\0'; text++) {
        bool begins = ((unsigned char)*text & 0xc0) != 0x80;
        if (begins && shown == columns) {
            break;
        }
        /* The last one that fits says that more was there. */
        if (begins && have > columns && shown + 1 == columns) {
            buffer_append_text(out, s->utf8 ? "\u2026" : "~");
            break;
        }
        if (s->utf8 || (unsigned char)*text < 0x80) {
            buffer_append(out, text, 1);
        } else if (begins) {
            buffer_append_text(out, "?");
        }
        shown += begins;
    }
    if (coloured) {
        buffer_append_text(out, "\033[0m");
    }
    if (!right && pad_end) {
        buffer_printf(out, "%*s", (int)pad, "");
    }
}

void screen_put(const struct screen *s, struct buffer *out, enum tone tone, const char *text)
{
    CLEANUP_FREE char *copy = xstrdup(text);
    text_clean(copy);
    put_cell(s, out, tone, copy, SIZE_MAX, false, false);
}

void screen_printf(const struct screen *s, struct buffer *out, enum tone tone, const char *format,
                   ...)
{
    char text[CELL_MAX];
    va_list args;
    va_start(args, format);
    text_vformat(text, sizeof text, format, args);
    va_end(args);
    screen_put(s, out, tone, text);
}

static void put_number(char *out, size_t size, double value)
{
    bool whole = value > -1e15 && value < 1e15 && value == (double)(int64_t)value;
    snprintf(out, size, whole ? "%.0f" : "%.1f", value);
}

void screen_amount(char out[96], double used, double total, const char *unit)
{
    char most[32];
    put_number(most, sizeof most, total);
    snprintf(out, 96, "%.1f/%s%s%s", used, most, *unit != '\0' ? " " : "", unit);
}

const char *screen_bar(const struct screen *s, double used, double total, char out[32])
{
    double share = total > 0 ? used / total : 0;
    int filled = share <= 0 ? 0 : share >= 1 ? BAR_CELLS : (int)(share * BAR_CELLS + 0.5);
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < BAR_CELLS && s->terminal && total > 0; i++) {
        const char *full = s->utf8 ? "\u2588" : "#";
        const char *empty = s->utf8 ? "\u2591" : "-";
        at += (size_t)snprintf(out + at, 32 - at, "%s", i < filled ? full : empty);
    }
    return out;
}

enum tone tone_of_state(const char *state)
{
    static const struct {
        const char *state;
        enum tone tone;
    } tones[] = {
        {"alive", TONE_GOOD},     {"running", TONE_GOOD}, {"suspect", TONE_WARN},
        {"unknown", TONE_WARN},   {"waiting", TONE_WARN}, {"blocked", TONE_WARN},
        {"cancelled", TONE_WARN}, {"lost", TONE_BAD},     {"failed", TONE_BAD},
        {"dead", TONE_BAD},       {"leaving", TONE_WARN}, {"left", TONE_DIM},
        {"done", TONE_DIM},       {"idle", TONE_DIM},
    };
    for (size_t i = 0; i < ARRAY_SIZE(tones); i++) {
        if (strcmp(state, tones[i].state) == 0) {
            return tones[i].tone;
        }
    }
    return TONE_PLAIN;
}

const char *screen_time(const struct screen *s, uint64_t unix_ms, char out[32])
{
    time_t then = (time_t)(unix_ms / 1000);
    time_t now = (time_t)(s->now_unix_ms / 1000);
    struct tm t, today;
    if (unix_ms == 0 || localtime_r(&then, &t) == NULL || localtime_r(&now, &today) == NULL) {
        snprintf(out, 32, "-");
        return out;
    }
    bool same_day = t.tm_year == today.tm_year && t.tm_yday == today.tm_yday;
    if (strftime(out, 32, same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &t) == 0) {
        snprintf(out, 32, "-");
    }
    return out;
}

const char *screen_span(uint64_t from_unix_ms, uint64_t to_unix_ms, char out[32])
{
    if (from_unix_ms == 0 || to_unix_ms < from_unix_ms) {
        snprintf(out, 32, "-");
        return out;
    }
    uint64_t ms = to_unix_ms - from_unix_ms;
    return text_format_duration(ms > NS_FOREVER / NS_PER_MS ? NS_FOREVER : ms * NS_PER_MS, out);
}

struct cell {
    char *text; /* owned; NULL: none */
    enum tone tone;
    bool rest;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct cell *cells; /* row by row */
    size_t row_count, row_room;
    size_t next; /* cell of the last row */
};

struct table *table_new(const struct table_column *columns, size_t count)
{
    ASSERT(count > 0 && count <= COLUMNS_MAX);
    struct table *t = xcalloc(1, sizeof *t);
    t->columns = columns;
    t->column_count = count;
    return t;
}

void table_free(struct table *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->row_count * t->column_count; i++) {
        free(t->cells[i].text);
    }
    free(t->cells);
    free(t);
}

void table_row(struct table *t)
{
    if (t->row_count == t->row_room) {
        t->row_room = t->row_room == 0 ? 16 : t->row_room * 2;
        t->cells = xrealloc(t->cells, t->row_room * t->column_count * sizeof *t->cells);
    }
    memset(t->cells + t->row_count * t->column_count, 0, t->column_count * sizeof *t->cells);
    t->row_count++;
    t->next = 0;
}

static void add_cell(struct table *t, enum tone tone, bool rest, const char *format, va_list args)
{
    char text[CELL_MAX];
    ASSERT(t->row_count > 0 && t->next < t->column_count);
    text_vformat(text, sizeof text, format, args);
    text_clean(text);
    struct cell *cell = &t->cells[(t->row_count - 1) * t->column_count + t->next++];
    *cell = (struct cell){xstrdup(text), tone, rest};
}

void table_cell(struct table *t, enum tone tone, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_cell(t, tone, false, format, args);
    va_end(args);
}

void table_rest(struct table *t, enum tone tone, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_cell(t, tone, true, format, args);
    va_end(args);
    t->next = t->column_count;
}

size_t table_row_count(const struct table *t)
{
    return t->row_count;
}

struct widths {
    size_t columns[COLUMNS_MAX];
    bool shown[COLUMNS_MAX];
};

static size_t total_width(const struct table *t, const struct widths *w, unsigned indent)
{
    size_t total = indent, gaps = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        if (w->shown[c]) {
            total += w->columns[c];
            gaps++;
        }
    }
    return total + (gaps > 1 ? (gaps - 1) * GAP : 0);
}

/* Leaves out the column that is missed least. False when all that remain must stay. */
static bool drop_one(const struct table *t, struct widths *w)
{
    size_t least = t->column_count;
    unsigned drop = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        if (w->shown[c] && t->columns[c].drop > drop) {
            drop = t->columns[c].drop;
            least = c;
        }
    }
    if (least == t->column_count) {
        return false;
    }
    w->shown[least] = false;
    return true;
}

static void find_widths(const struct table *t, const struct screen *s, unsigned indent, bool titles,
                        struct widths *w)
{
    for (size_t c = 0; c < t->column_count; c++) {
        w->columns[c] = titles ? text_columns(t->columns[c].title) : 0;
        for (size_t r = 0; r < t->row_count; r++) {
            const struct cell *cell = &t->cells[r * t->column_count + c];
            if (cell->text != NULL && !cell->rest) {
                w->columns[c] = MAX_OF(w->columns[c], text_columns(cell->text));
            }
        }
        w->shown[c] = w->columns[c] != 0;
    }
    if (s->width == 0) {
        return;
    }
    /* A flexible column gives up to ten characters' width before others are left out. */
    for (;;) {
        size_t total = total_width(t, w, indent), over = total > s->width ? total - s->width : 0;
        for (size_t c = 0; c < t->column_count && over > 0; c++) {
            if (w->shown[c] && t->columns[c].flexible && w->columns[c] > 10) {
                size_t cut = MIN_OF(over, w->columns[c] - 10);
                w->columns[c] -= cut;
                over -= cut;
            }
        }
        if (over == 0 || !drop_one(t, w)) {
            return;
        }
        /* What was cut may fit again. */
        for (size_t c = 0; c < t->column_count; c++) {
            for (size_t r = 0; t->columns[c].flexible && r < t->row_count; r++) {
                const struct cell *cell = &t->cells[r * t->column_count + c];
                if (cell->text != NULL && !cell->rest) {
                    w->columns[c] = MAX_OF(w->columns[c], text_columns(cell->text));
                }
            }
        }
    }
}

/* One row, or the titles (row SIZE_MAX). */
static void print_line(const struct table *t, const struct screen *s, unsigned indent,
                       const struct widths *w, size_t row, struct buffer *out)
{
    size_t start = out->size, spaces = 0;
    size_t used = indent;
    buffer_printf(out, "%*s", (int)indent, "");
    for (size_t c = 0; c < t->column_count; c++) {
        static const struct cell none = {.text = NULL};
        const struct cell *cell = row == SIZE_MAX ? &none : &t->cells[row * t->column_count + c];
        const char *text = row == SIZE_MAX ? t->columns[c].title : cell->text;
        if (!w->shown[c] && !cell->rest) {
            continue;
        }
        buffer_printf(out, "%*s", (int)spaces, "");
        used += spaces;
        if (text != NULL && cell->rest) {
            size_t room = s->width > used + 10 ? s->width - used : 10;
            put_cell(s, out, cell->tone, text, s->width == 0 ? SIZE_MAX : room, false, false);
            break;
        }
        put_cell(s, out, row == SIZE_MAX ? TONE_DIM : cell->tone, text == NULL ? "" : text,
                 w->columns[c], t->columns[c].right, true);
        used += w->columns[c];
        spaces = GAP;
    }
    while (out->size > start && out->data[out->size - 1] == ' ') {
        out->size--;
    }
    buffer_append_text(out, "\n");
}

void table_print(const struct table *t, const struct screen *s, unsigned indent, bool titles,
                 struct buffer *out)
{
    struct widths w;
    find_widths(t, s, indent, titles, &w);
    if (titles) {
        print_line(t, s, indent, &w, SIZE_MAX, out);
    }
    for (size_t r = 0; r < t->row_count; r++) {
        print_line(t, s, indent, &w, r, out);
    }
}
