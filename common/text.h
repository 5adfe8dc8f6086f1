/*
 * Numbers as people write them: sizes ("512M", "4GiB"), durations ("30s", "5m"), and back. No
 * locale.
 */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdarg.h>

#include "common/base.h"

/* K, M, G, T are powers of 1,024, with or without "iB" or "B". -EINVAL, -ERANGE. */
int text_parse_size(const char *text, uint64_t *ret_bytes) MUST_CHECK;
/* "250ms", "30s", "5m", "2h", "1d"; a bare number is seconds. -EINVAL, -ERANGE. */
int text_parse_duration(const char *text, uint64_t *ret_ns) MUST_CHECK;
int text_parse_u64(const char *text, uint64_t max, uint64_t *ret) MUST_CHECK;
int text_parse_double(const char *text, double *ret) MUST_CHECK;

/* Each writes into `out` and returns it. */
const char *text_format_size(uint64_t bytes, char out[32]);  /* "31.2 GiB" */
const char *text_format_duration(uint64_t ns, char out[32]); /* "3 h 12 min", "41 s", "5 ms" */
const char *text_format_span(uint64_t ns, char out[32]); /* a limit, exactly: "1.5 s", "250 ms" */
const char *text_format_count(uint64_t n, char out[32]); /* "10,233" */
const char *text_format_rfc3339(uint64_t unix_ms, char out[40]); /* "2026-01-31T10:41:07.123Z" */

/* Copies at most size - 1 bytes and terminates; true if all fitted. */
bool text_copy(char *dst, size_t size, const char *src);
/* The same for what people read: where it does not fit it ends in "...", and no character is cut.
 */
void text_shorten(char *dst, size_t size, const char *src);
/* As vsnprintf, ending like text_shorten. */
void text_vformat(char *dst, size_t size, const char *format, va_list args) PRINTF(3, 0);
/* Printable ASCII and valid UTF-8 that is seen stay, all else becomes '?', byte by byte: for what
 * came from outside and goes to a terminal. Not seen are control characters, those that turn the
 * direction of others (U+202E), those without width (U+200B), fillers, tags. */
void text_clean(char *text);

#endif
