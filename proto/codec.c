#include "proto/codec.h"

#include "common/ids.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are copied as they lie");

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
#define VARINT_MAX 10

static const uint8_t wire_types[] = {
    [CODEC_BOOL] = WIRE_VARINT, [CODEC_U32] = WIRE_VARINT,  [CODEC_U64] = WIRE_VARINT,
    [CODEC_S32] = WIRE_VARINT,  [CODEC_S64] = WIRE_VARINT,  [CODEC_TEXT] = WIRE_BYTES,
    [CODEC_PATH] = WIRE_BYTES,  [CODEC_CHARS] = WIRE_BYTES, [CODEC_BYTES] = WIRE_BYTES,
    [CODEC_ID] = WIRE_BYTES,    [CODEC_WORDS] = WIRE_BYTES, [CODEC_HALVES] = WIRE_BYTES,
    [CODEC_SUB] = WIRE_BYTES,   [CODEC_SUBS] = WIRE_BYTES,  [CODEC_TEXTS] = WIRE_BYTES,
};

/* ---- what a field of a struct holds ---- */

static inline const void *field_at(const struct codec_field *f, const void *data)
{
    return (const uint8_t *)data + f->offset;
}

static inline size_t field_count(const struct codec_field *f, const void *data)
{
    size_t count;
    memcpy(&count, (const uint8_t *)data + f->count_offset, sizeof count);
    ASSERT(count <= f->max);
    return count;
}

static inline const void *field_pointer(const struct codec_field *f, const void *data)
{
    const void *pointer;
    memcpy(&pointer, field_at(f, data), sizeof pointer);
    return pointer;
}

static inline size_t text_size(const char *text, size_t max)
{
    return text == NULL || text[0] == '\0' ? 0 : strnlen(text, max);
}

static inline uint64_t zigzag(int64_t n)
{
    return ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
}

static inline int64_t unzigzag(uint64_t n)
{
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

/* The number of a varint field. */
static inline uint64_t field_number(const struct codec_field *f, const void *data)
{
    const void *at = field_at(f, data);
    switch (f->kind) {
    case CODEC_BOOL:
        return *(const bool *)at;
    case CODEC_U32:
        return *(const uint32_t *)at;
    case CODEC_U64:
        return *(const uint64_t *)at;
    case CODEC_S32:
        return zigzag(*(const int32_t *)at);
    default:
        return zigzag(*(const int64_t *)at);
    }
}

/* The bytes of a field that lies in one piece. */
static inline struct bytes field_bytes(const struct codec_field *f, const void *data)
{
    const void *at = field_at(f, data);
    switch (f->kind) {
    case CODEC_TEXT:
    case CODEC_PATH: {
        const char *text = field_pointer(f, data);
        return bytes_of(text, text_size(text, f->max));
    }
    case CODEC_CHARS:
        return bytes_of(at, text_size(at, f->max));
    case CODEC_BYTES: {
        struct bytes bytes = *(const struct bytes *)at;
        ASSERT(bytes.size <= f->max);
        return bytes;
    }
    case CODEC_ID:
        return bytes_of(
            at, object_id_is_none(*(const struct object_id *)at) ? 0 : sizeof(struct object_id));
    default: /* words and halves */
        return bytes_of(field_pointer(f, data), field_count(f, data) * f->unit);
    }
}

/* ---- writing ---- */

static inline size_t varint_size(uint64_t n)
{
    /* 7 bits to a byte, without a division: 64 bits take 10 */
    unsigned bits = 64 - (unsigned)__builtin_clzll(n | 1);
    return (bits * 9 + 64) / 64;
}

static inline uint8_t *varint_write(uint8_t *at, uint64_t n)
{
    while (n >= 0x80) {
        *at++ = (uint8_t)(n | 0x80);
        n >>= 7;
    }
    *at++ = (uint8_t)n;
    return at;
}

static inline size_t tag_size(unsigned number)
{
    return number < 16 ? 1 : 2;
}

static inline uint8_t *tag_write(uint8_t *at, unsigned number, unsigned wire_type)
{
    return varint_write(at, number << 3 | wire_type);
}

static inline uint8_t *bytes_write(uint8_t *at, unsigned number, struct bytes bytes)
{
    at = varint_write(tag_write(at, number, WIRE_BYTES), bytes.size);
    memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static size_t texts_size(const struct codec_field *f, const void *data, unsigned number)
{
    const char *const *texts = field_pointer(f, data);
    size_t size = 0;
    for (size_t i = 0, n = field_count(f, data); i < n; i++) {
        size_t length = text_size(texts[i], f->unit);
        size += tag_size(number) + varint_size(length) + length;
    }
    return size;
}

static uint8_t *texts_write(const struct codec_field *f, const void *data, unsigned number,
                            uint8_t *at)
{
    const char *const *texts = field_pointer(f, data);
    for (size_t i = 0, n = field_count(f, data); i < n; i++) {
        size_t length = text_size(texts[i], f->unit);
        at = bytes_write(at, number, bytes_of(length != 0 ? texts[i] : "", length));
    }
    return at;
}

static size_t subs_size(const struct codec_field *f, const void *data, unsigned number)
{
    const uint8_t *element = field_pointer(f, data);
    size_t size = 0;
    for (size_t i = 0, n = field_count(f, data); i < n; i++) {
        size_t inner = codec_size(f->sub, element + i * f->sub->struct_size);
        size += tag_size(number) + varint_size(inner) + inner;
    }
    return size;
}

static uint8_t *sub_write(const struct codec *sub, const void *data, unsigned number, uint8_t *at)
{
    at = varint_write(tag_write(at, number, WIRE_BYTES), codec_size(sub, data));
    return codec_write(sub, data, at);
}

static uint8_t *subs_write(const struct codec_field *f, const void *data, unsigned number,
                           uint8_t *at)
{
    const uint8_t *element = field_pointer(f, data);
    for (size_t i = 0, n = field_count(f, data); i < n; i++) {
        at = sub_write(f->sub, element + i * f->sub->struct_size, number, at);
    }
    return at;
}

size_t codec_size(const struct codec *c, const void *data)
{
    size_t size = 0;
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct codec_field *f = &c->fields[i];
        size_t inner;
        if (f->kind <= CODEC_S64) {
            uint64_t number = field_number(f, data);
            size += number != 0 ? tag_size(i + 1) + varint_size(number) : 0;
        } else if (f->kind <= CODEC_HALVES) {
            inner = field_bytes(f, data).size;
            size += inner != 0 ? tag_size(i + 1) + varint_size(inner) + inner : 0;
        } else if (f->kind == CODEC_SUB) {
            inner = codec_size(f->sub, field_at(f, data));
            size += inner != 0 ? tag_size(i + 1) + varint_size(inner) + inner : 0;
        } else {
            size += f->kind == CODEC_SUBS ? subs_size(f, data, i + 1) : texts_size(f, data, i + 1);
        }
    }
    return size;
}

uint8_t *codec_write(const struct codec *c, const void *data, uint8_t *at)
{
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct codec_field *f = &c->fields[i];
        if (f->kind <= CODEC_S64) {
            uint64_t number = field_number(f, data);
            if (number != 0) {
                at = varint_write(tag_write(at, i + 1, WIRE_VARINT), number);
            }
        } else if (f->kind <= CODEC_HALVES) {
            struct bytes bytes = field_bytes(f, data);
            if (bytes.size != 0) {
                at = bytes_write(at, i + 1, bytes);
            }
        } else if (f->kind == CODEC_SUB) {
            if (codec_size(f->sub, field_at(f, data)) != 0) {
                at = sub_write(f->sub, field_at(f, data), i + 1, at);
            }
        } else {
            at = f->kind == CODEC_SUBS ? subs_write(f, data, i + 1, at)
                                       : texts_write(f, data, i + 1, at);
        }
    }
    return at;
}

/* ---- reading ---- */

struct reader {
    const uint8_t *at, *end;
    struct arena *arena;
    const char *why;
};

static int refuse(struct reader *r, const char *why)
{
    r->why = why;
    return -EPROTO;
}

static int varint_read_long(struct reader *r, uint64_t *ret)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < VARINT_MAX; i++) {
        if (r->at == r->end) {
            return refuse(r, "a number is cut off");
        }
        uint8_t byte = *r->at++;
        if (i == VARINT_MAX - 1 && byte > 1) {
            break;
        }
        n |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = n;
            return 0;
        }
    }
    return refuse(r, "a number is longer than 64 bits");
}

static inline int varint_read(struct reader *r, uint64_t *ret)
{
    if (LIKELY(r->at != r->end && *r->at < 0x80)) {
        *ret = *r->at++;
        return 0;
    }
    return varint_read_long(r, ret);
}

static inline int bytes_read(struct reader *r, struct bytes *ret)
{
    uint64_t size;
    int err = varint_read(r, &size);
    if (UNLIKELY(err != 0)) {
        return err;
    }
    if (UNLIKELY(size > (uint64_t)(r->end - r->at))) {
        return refuse(r, "a field reaches beyond the end");
    }
    *ret = bytes_of(r->at, size);
    r->at += size;
    return 0;
}

/* Bytes of the UTF-8 character at `s`, or 0 if it is none. */
static size_t utf8_length(const uint8_t *s, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80       ? 1
                    : s[0] >> 5 == 6  ? 2
                    : s[0] >> 4 == 14 ? 3
                    : s[0] >> 3 == 30 ? 4
                                      : 0;
    if (length < 2 || length > size) {
        return length == 1;
    }
    uint32_t c = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    bool good = c >= least[length] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
    return good ? length : 0;
}

static void text_mend(uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length = utf8_length(text + i, size - i);
        if (length == 0) {
            text[i] = '?';
            length = 1;
        }
        i += length;
    }
}

/* Into `dst`, terminated. */
static int text_take(struct reader *r, struct bytes in, bool utf8, char *dst)
{
    const uint8_t *from = in.data;
    uint8_t high = 0;
    for (size_t i = 0; i < in.size; i++) {
        if (UNLIKELY(from[i] == 0)) {
            return refuse(r, "a text has a NUL inside");
        }
        high |= from[i];
        dst[i] = (char)from[i];
    }
    dst[in.size] = '\0';
    if (utf8 && high >= 0x80) {
        text_mend((uint8_t *)dst, in.size);
    }
    return 0;
}

static int text_read(struct reader *r, const struct codec_field *f, struct bytes in,
                     const char **ret)
{
    if (in.size == 0) {
        *ret = "";
        return 0;
    }
    char *text = arena_alloc(r->arena, in.size + 1);
    *ret = text;
    return text_take(r, in, f->kind != CODEC_PATH, text);
}

static inline int number_read(struct reader *r, const struct codec_field *f, void *at)
{
    uint64_t n;
    int err = varint_read(r, &n);
    if (UNLIKELY(err != 0)) {
        return err;
    }
    switch (f->kind) {
    case CODEC_BOOL:
        *(bool *)at = n != 0;
        return n <= 1 ? 0 : refuse(r, "a bool is neither 0 nor 1");
    case CODEC_U32:
        *(uint32_t *)at = (uint32_t)n;
        return LIKELY(n <= UINT32_MAX) ? 0 : refuse(r, "a number has more than 32 bits");
    case CODEC_U64:
        *(uint64_t *)at = n;
        return 0;
    case CODEC_S32:
        *(int32_t *)at = (int32_t)unzigzag(n);
        return LIKELY(n <= UINT32_MAX) ? 0 : refuse(r, "a number has more than 32 bits");
    default:
        *(int64_t *)at = unzigzag(n);
        return 0;
    }
}

static inline void array_set(const struct codec_field *f, void *data, const void *elements,
                             size_t count)
{
    memcpy((uint8_t *)data + f->offset, &elements, sizeof elements);
    memcpy((uint8_t *)data + f->count_offset, &count, sizeof count);
}

static int words_read(struct reader *r, const struct codec_field *f, struct bytes in, void *data)
{
    size_t count = in.size / f->unit;
    if (UNLIKELY(count * f->unit != in.size)) {
        return refuse(r, "a packed field is not made of whole elements");
    }
    if (UNLIKELY(count > f->max)) {
        return refuse(r, "more elements than allowed");
    }
    array_set(f, data, count != 0 ? arena_copy(r->arena, in.data, in.size) : NULL, count);
    return 0;
}

static inline int piece_read(struct reader *r, const struct codec_field *f, void *data)
{
    struct bytes in;
    int err = bytes_read(r, &in);
    if (UNLIKELY(err != 0)) {
        return err;
    }
    void *at = (uint8_t *)data + f->offset;
    if (f->kind == CODEC_WORDS || f->kind == CODEC_HALVES) {
        return words_read(r, f, in, data);
    }
    if (f->kind == CODEC_ID) {
        if (in.size != sizeof(struct object_id)) {
            return refuse(r, "an id has the wrong size");
        }
        memcpy(at, in.data, sizeof(struct object_id));
        return 0;
    }
    if (UNLIKELY(in.size > f->max)) {
        return refuse(r, "a text is longer than allowed");
    }
    if (f->kind == CODEC_BYTES) {
        *(struct bytes *)at = in;
        return 0;
    }
    return f->kind == CODEC_CHARS ? text_take(r, in, true, at) : text_read(r, f, in, at);
}

/* How often the field `number`, of bytes, stands from here on: fields come in order, so its
 * elements are neighbours. */
static int repeats_count(const struct reader *r, unsigned number, size_t max, size_t *ret)
{
    struct reader ahead = *r;
    size_t count = 0;
    for (;;) {
        struct bytes in;
        if (bytes_read(&ahead, &in) != 0) {
            return -EPROTO;
        }
        if (++count > max) {
            return -E2BIG;
        }
        uint64_t tag;
        if (ahead.at == ahead.end || varint_read(&ahead, &tag) != 0 ||
            tag != (number << 3 | WIRE_BYTES)) {
            *ret = count;
            return 0;
        }
    }
}

static int message_read(struct reader *r, const struct codec *c, void *ret);
static void fields_default(const struct codec *c, void *data);

static int element_read(struct reader *r, const struct codec_field *f, struct bytes in, void *at)
{
    if (f->kind == CODEC_TEXTS) {
        return in.size > f->unit ? refuse(r, "a text is longer than allowed")
                                 : text_read(r, f, in, at);
    }
    struct reader inner = {in.data, (const uint8_t *)in.data + in.size, r->arena, NULL};
    int err = message_read(&inner, f->sub, at);
    r->why = inner.why;
    return err;
}

/* The elements of a repeated message or text; the first one's tag has been read. */
static int repeated_read(struct reader *r, const struct codec_field *f, unsigned number, void *data)
{
    size_t count;
    int err = repeats_count(r, number, f->max, &count);
    if (err != 0) {
        return refuse(r, err == -E2BIG ? "more elements than allowed"
                                       : "a field reaches beyond the end");
    }
    size_t unit = f->kind == CODEC_SUBS ? f->sub->struct_size : sizeof(char *);
    uint8_t *elements = arena_alloc(r->arena, count * unit);
    for (size_t i = 0; i < count; i++) {
        struct bytes in;
        uint64_t tag;
        if ((i != 0 && varint_read(r, &tag) != 0) || bytes_read(r, &in) != 0) {
            return -EPROTO;
        }
        err = element_read(r, f, in, elements + i * unit);
        if (err != 0) {
            return err;
        }
    }
    array_set(f, data, elements, count);
    return 0;
}

static int field_read(struct reader *r, const struct codec_field *f, unsigned number, void *data)
{
    if (f->kind <= CODEC_S64) {
        return number_read(r, f, (uint8_t *)data + f->offset);
    }
    if (f->kind <= CODEC_HALVES) {
        return piece_read(r, f, data);
    }
    if (f->kind != CODEC_SUB) {
        return repeated_read(r, f, number, data);
    }
    struct bytes in;
    int err = bytes_read(r, &in);
    return err != 0 ? err : element_read(r, f, in, (uint8_t *)data + f->offset);
}

/* A field that is not there, as most of them. Stores of known size: this is half of what decoding a
 * small message takes. */
static inline void field_default(const struct codec_field *f, void *data)
{
    static const struct bytes empty = {"", 0};
    uint8_t *at = (uint8_t *)data + f->offset;
    switch (f->kind) {
    case CODEC_BOOL:
    case CODEC_CHARS:
        *at = 0;
        return;
    case CODEC_U32:
    case CODEC_S32:
        *(uint32_t *)(void *)at = 0;
        return;
    case CODEC_U64:
    case CODEC_S64:
        *(uint64_t *)(void *)at = 0;
        return;
    case CODEC_TEXT:
    case CODEC_PATH:
        *(const char **)(void *)at = "";
        return;
    case CODEC_BYTES:
        *(struct bytes *)(void *)at = empty;
        return;
    case CODEC_ID:
        *(struct object_id *)(void *)at = (struct object_id){0};
        return;
    case CODEC_SUB:
        fields_default(f->sub, at);
        return;
    default:
        array_set(f, data, NULL, 0);
    }
}

static void fields_default(const struct codec *c, void *data)
{
    for (unsigned i = 0; i < c->field_count; i++) {
        field_default(&c->fields[i], data);
    }
}

/* The next field's tag; 0 at the end. */
static inline int tag_read(struct reader *r, uint64_t *ret)
{
    *ret = 0;
    if (r->at == r->end) {
        return 0;
    }
    int err = varint_read(r, ret);
    return err == 0 && UNLIKELY(*ret < 8) ? refuse(r, "a field without a number") : err;
}

/* One walk over the table and the bytes together, which is possible because fields come in order.
 */
static int message_read(struct reader *r, const struct codec *c, void *ret)
{
    uint64_t tag;
    int err = tag_read(r, &tag);
    for (unsigned i = 0; err == 0 && i < c->field_count; i++) {
        const struct codec_field *f = &c->fields[i];
        if (tag >> 3 != i + 1) {
            field_default(f, ret);
            continue;
        }
        if (UNLIKELY((tag & 7) != wire_types[f->kind])) {
            return refuse(r, "a field of the wrong type");
        }
        err = field_read(r, f, i + 1, ret);
        if (LIKELY(err == 0)) {
            err = tag_read(r, &tag);
        }
    }
    if (err == 0 && tag != 0) {
        return refuse(r, "a field that is unknown or out of order");
    }
    return err;
}

int codec_read(const struct codec *c, struct bytes in, struct arena *arena, void *ret,
               const char **ret_why)
{
    struct reader r = {in.data, (const uint8_t *)in.data + in.size, arena, NULL};
    int err = message_read(&r, c, ret);
    if (err != 0) {
        *ret_why = r.why != NULL ? r.why : "broken";
    }
    return err;
}
