/*
 * How values lie in payloads. Pure; nothing here is shared. Little-endian, as the ring.
 *
 * One value (a put, a result, the value of a DRT_OF argument):
 *
 *   u8 kind   u8 flags   u16 offset of the data   u32 size of the data   ... data
 *
 *   i64, f64         8 bytes of data at 8: 16 in all
 *   str              the text with its terminator
 *   bytes            data at 8, or at 64 when it has 64 bytes or more (so it is 64-aligned where
 *                    the value is)
 *   records          u32 size of the type, u32 length of its name, the name with a terminator,
 *                    then the data, aligned as bytes are
 *   nothing          the 8 bytes alone
 *   ref              no data: it is the one reference that follows
 *
 * flags 1: references follow, 8-aligned behind the data: u64 count, then the 16 bytes of each
 * object's id, which end the value.
 *
 * The arguments of a call:
 *
 *   u32 size of all   u32 count, then for each argument 16 bytes:
 *   u32 kind   u32 size   u64 datum
 *
 *   i64, f64         datum is the number
 *   str, bytes, records   datum: where the value (as above, `size` bytes) begins; 8- or 64-aligned
 *   of               datum: the how-manyeth of the call's needs; its value follows the arguments,
 *                    64-aligned, one after another
 *   ref              datum: where the 16 bytes of the object's id stand
 *
 * A call without arguments has no payload at all.
 */
#ifndef SDK_VALUES_H
#define SDK_VALUES_H

#include "common/bytes.h"
#include "common/ids.h"
#include "drt/drt.h"
#include "proto/message.h"

#define VALUE_DATA_MAX   VALUE_MAX /* what users may put into one value; its head comes to it */
#define VALUE_SMALL      16u       /* a scalar, encoded */
#define TYPE_NAME_MAX    255u
#define ARGS_HEADER_SIZE 8u
#define ARGS_ENTRY_SIZE  16u

/* A value that was found well-formed; points into the bytes. */
struct value_view {
    int kind; /* enum drt_kind */
    int64_t i;
    double f;
    struct bytes data;
    const char *type; /* records */
    uint32_t type_size;
    uint32_t ref_count; /* references inside */
    const uint8_t *refs;
};

/* Checks a value that can stand in a payload: 0; DRT_E_TOO_LARGE, -EINVAL with a sentence about
 * `what` ("argument 2 of add"). OF and REF are not of these: -EINVAL (a REF can be a value that
 * holds one reference, which is its caller's matter). */
int value_check(const struct drt_value *v, const char *what) MUST_CHECK;
/* What its maker calls its size: the bytes of its data, which may be too many. Of a value whose
 * pointers were checked. */
uint64_t value_data_size(const struct drt_value *v);
/* Of a value that was checked. Strings are measured here: once more than in value_encode. */
size_t value_size(const struct drt_value *v);
/* Writes value_size(v) bytes to `dst` (8-aligned). */
void value_encode(const struct drt_value *v, void *dst);
/* The head of a bytes or records value whose data comes later: returns where the data begins.
 * type NULL: bytes. */
size_t value_head_size(const char *type, size_t size);
void value_encode_head(const char *type, size_t type_size, size_t size, void *dst);

/* The same for a value with references inside; a REF has one, and no data. */
size_t value_holding_size(const struct drt_value *v, size_t count);
void value_holding_encode(const struct drt_value *v, const struct object_id *ids, size_t count,
                          void *dst);
struct object_id value_inner(const struct value_view *v, size_t index);

/* 0, or -EPROTO: not a value. Never trusts. */
int value_decode(struct bytes data, struct value_view *ret) MUST_CHECK;

/* ---- arguments ---- */

/* Bytes for `count` values that were checked. */
size_t args_size(const struct drt_value *values, size_t count);
/* `ids` has the object of each OF and REF, in their order. */
void args_encode(const struct drt_value *values, size_t count, const struct object_id *ids,
                 void *dst, size_t size);

struct args_view {
    const uint8_t *base;
    uint32_t size, count;
};

struct arg {
    int kind;
    uint32_t need; /* OF: which */
    struct object_id id;
    struct value_view value; /* neither OF nor REF */
};

/* 0, or -EPROTO. `payload` may go on behind the arguments. */
int args_decode(struct bytes payload, struct args_view *ret) MUST_CHECK;
int args_get(const struct args_view *a, size_t index, struct arg *ret) MUST_CHECK;

/* Walking a task's kinds beside its arguments: whether a value of kind `have` may stand where `at`
 * points, and where the next one stands. */
static inline bool kind_takes(const unsigned char *at, int have)
{
    int want = *at & 15;
    return want != 0 && (have == DRT_OF || want == DRT_ANY || want == have);
}

static inline const unsigned char *kind_next(const unsigned char *at)
{
    return *at != 0 && (*at & 0x80) == 0 ? at + 1 : at;
}

/* The fewest arguments, and the most (SIZE_MAX: any number). */
void kinds_count(const unsigned char *kinds, size_t *ret_least, size_t *ret_most);
const char *kind_name(int kind); /* "an i64", "a string" */

#endif
