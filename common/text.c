#include "common/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/*
 * "12" or "1.5" and what follows, in fixed point: a whole part and a fraction with its scale, so
 * that no locale's decimal point and no rounding of doubles is met.
 */
struct decimal {
    uint64_t whole, fraction, scale; /* whole + fraction / scale */
    const char *rest;
};

static int take_decimal(const char *text, struct decimal *ret)
{
    struct decimal d = {.scale = 1};
    if (!is_digit(*text)) {
        return -EINVAL;
    }
    for (; is_digit(*text); text++) {
        if (__builtin_mul_overflow(d.whole, 10u, &d.whole) ||
            __builtin_add_overflow(d.whole, (uint64_t)(*text - '0'), &d.whole)) {
            return -ERANGE;
        }
    }
    if (*text == '.') {
        text++;
        if (!is_digit(*text)) {
            return -EINVAL;
        }
        for (; is_digit(*text); text++) {
            if (d.scale < 1000000000u) {
                d.fraction = d.fraction * 10 + (uint64_t)(*text - '0');
                d.scale *= 10;
            }
        }
    }
    d.rest = text;
    *ret = d;
    return 0;
}

static int scale_up(const struct decimal *d, uint64_t factor, uint64_t *ret)
{
    uint64_t whole;
    /* Fits: fraction < scale <= 10^9, and the part of factor above scale is taken first. */
    uint64_t part =
        d->fraction * (factor / d->scale) + d->fraction * (factor % d->scale) / d->scale;
    if (__builtin_mul_overflow(d->whole, factor, &whole) ||
        __builtin_add_overflow(whole, part, &whole)) {
        return -ERANGE;
    }
    *ret = whole;
    return 0;
}

int text_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char letters[] = "KMGT";
    struct decimal d;
    int r = take_decimal(text, &d);
    if (r != 0) {
        return r;
    }
    uint64_t factor = 1;
    const char *rest = d.rest;
    if (*rest != '\0') {
        char upper = *rest >= 'a' && *rest <= 'z' ? (char)(*rest - 'a' + 'A') : *rest;
        const char *at = strchr(letters, upper);
        if (at != NULL) {
            factor = 1ull << (10 * (at - letters + 1));
            rest++;
        }
    }
    bool whole_bytes = factor == 1;
    if (*rest != '\0' && strcmp(rest, "B") != 0 && (whole_bytes || strcmp(rest, "iB") != 0)) {
        return -EINVAL;
    }
    if (whole_bytes && d.scale != 1) {
        return -EINVAL;
    }
    return scale_up(&d, factor, ret_bytes);
}

int text_parse_duration(const char *text, uint64_t *ret_ns)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {
        {"", NS_PER_S},
        {"ns", 1},
        {"us", NS_PER_US},
        {"ms", NS_PER_MS},
        {"s", NS_PER_S},
        {"m", 60 * NS_PER_S},
        {"min", 60 * NS_PER_S},
        {"h", 3600 * NS_PER_S},
        {"d", 24 * 3600 * NS_PER_S},
    };
    struct decimal d;
    int r = take_decimal(text, &d);
    if (r != 0) {
        return r;
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(d.rest, units[i].unit) == 0) {
            return scale_up(&d, units[i].ns, ret_ns);
        }
    }
    return -EINVAL;
}

int text_parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
    struct decimal d;
    int r = take_decimal(text, &d);
    if (r != 0) {
        return r;
    }
    if (*d.rest != '\0' || d.scale != 1) {
        return -EINVAL;
    }
    if (d.whole > max) {
        return -ERANGE;
    }
    *ret = d.whole;
    return 0;
}

int text_parse_double(const char *text, double *ret)
{
    bool negative = *text == '-';
    struct decimal d;
    int r = take_decimal(text + negative, &d);
    if (r != 0) {
        return r;
    }
    if (*d.rest != '\0') {
        return -EINVAL;
    }
    double value = (double)d.whole + (double)d.fraction / (double)d.scale;
    *ret = negative ? -value : value;
    return 0;
}

const char *text_format_size(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    uint64_t tenths = bytes * 10;
    if (bytes < 1024) {
        snprintf(out, 32, "%" PRIu64 " B", bytes);
        return out;
    }
    while (unit + 1 < ARRAY_SIZE(units) && bytes >> (10 * (unit + 1)) != 0) {
        unit++;
    }
    unsigned shift = (unsigned)(10 * unit);
    uint64_t whole = bytes >> shift;
    uint64_t below = bytes & ((1ull << shift) - 1);
    /* To the nearest tenth; 1023.96 KiB is 1.0 MiB. */
    uint64_t below_10_bits = below >> (shift - 10);
    tenths = whole * 10 + (below_10_bits * 10 + 512) / 1024;
    if (tenths >= 10240 && unit + 1 < ARRAY_SIZE(units)) {
        unit++;
        tenths = 10;
    }
    snprintf(out, 32, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, units[unit]);
    return out;
}

const char *text_format_duration(uint64_t ns, char out[32])
{
    uint64_t s = ns / NS_PER_S;
    if (ns < NS_PER_MS) {
        snprintf(out, 32, "%" PRIu64 " us", ns / NS_PER_US);
    } else if (s == 0) {
        snprintf(out, 32, "%" PRIu64 " ms", ns / NS_PER_MS);
    } else if (s < 60) {
        snprintf(out, 32, "%" PRIu64 " s", s);
    } else if (s < 3600) {
        snprintf(out, 32, "%" PRIu64 " min", s / 60);
    } else if (s < 24 * 3600) {
        snprintf(out, 32, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    } else {
        snprintf(out, 32, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    }
    return out;
}

const char *text_format_span(uint64_t ns, char out[32])
{
    if (ns < NS_PER_US) {
        snprintf(out, 32, "%" PRIu64 " ns", ns);
    } else if (ns < NS_PER_MS) {
        snprintf(out, 32, "%.6g us", (double)ns / NS_PER_US);
    } else if (ns < NS_PER_S) {
        snprintf(out, 32, "%.9g ms", (double)ns / NS_PER_MS);
    } else {
        snprintf(out, 32, "%.12g s", (double)ns / NS_PER_S);
    }
    return out;
}

const char *text_format_count(uint64_t n, char out[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *to = out;
    for (int i = 0; i < length; i++) {
        if (i != 0 && (length - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *text_format_rfc3339(uint64_t unix_ms, char out[40])
{
    /* The last millisecond of the year 9999: beyond, no such text exists. */
    uint64_t shown_ms = MIN_OF(unix_ms, 253402300799999ull);
    time_t seconds = (time_t)(shown_ms / 1000);
    struct tm t;
    struct tm *ok = gmtime_r(&seconds, &t);
    ASSERT(ok != NULL);
    size_t length = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(out + length, 40 - length, ".%03uZ", (unsigned)(shown_ms % 1000));
    return out;
}

bool text_copy(char *dst, size_t size, const char *src)
{
    ASSERT(size > 0);
    size_t length = strnlen(src, size);
    bool all = length < size;
    size_t copied = all ? length : size - 1;
    memmove(dst, src, copied);
    dst[copied] = '\0';
    return all;
}

/* `dst` is full: its end becomes "...", behind whole characters. */
static void mark_cut(char *dst, size_t size)
{
    size_t at = size > 4 ? size - 4 : 0;
    while (at > 0 && ((unsigned char)dst[at] & 0xc0) == 0x80) {
        at--;
    }
    (void)text_copy(dst + at, size - at, "...");
}

void text_shorten(char *dst, size_t size, const char *src)
{
    if (!text_copy(dst, size, src)) {
        mark_cut(dst, size);
    }
}

void text_vformat(char *dst, size_t size, const char *format, va_list args)
{
    int length = vsnprintf(dst, size, format, args);
    if (length < 0) {
        dst[0] = '\0';
    } else if ((size_t)length >= size) {
        mark_cut(dst, size);
    }
}

/* Characters that are not seen and change how others are: directions, joiners, fillers, tags. The
 * selectors behind a character (U+FE00 to U+FE0F) belong to it and stay. */
static bool is_unseen(uint32_t character)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x80, 0x9f}, /* these steer some terminals */
        {0xad, 0xad},       {0x34f, 0x34f},     {0x600, 0x605},     {0x61c, 0x61c},
        {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},
        {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},
        {0x2028, 0x202e},   {0x2060, 0x206f},   {0x3164, 0x3164},   {0xfeff, 0xfeff},
        {0xffa0, 0xffa0},   {0xfff0, 0xfffb},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
        {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ranges) && character >= ranges[i].first; i++) {
        if (character <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Bytes of the valid UTF-8 character at `s`, beyond ASCII, that may be shown; 0 if it is none. */
static size_t utf8_length(const uint8_t *s)
{
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t character = s[0] & (0xffu >> (length + 1));
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        character = character << 6 | (s[i] & 0x3f);
    }
    bool too_long = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
    bool too_high = s[0] == 0xf4 && s[1] >= 0x90;
    return too_long || surrogate || too_high || is_unseen(character) ? 0 : length;
}

void text_clean(char *text)
{
    uint8_t *s = (uint8_t *)text;
    while (*s != '\0') {
        if (*s >= 0x20 && *s < 0x7f) {
            s++;
            continue;
        }
        size_t length = *s >= 0x80 ? utf8_length(s) : 0;
        if (length == 0) {
            *s++ = '?';
        }
        s += length;
    }
}
