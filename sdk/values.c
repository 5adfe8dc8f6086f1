#include "sdk/values.h"

#include "sdk/errors.h"

#define HEAD      8u
#define WIDE      64u /* data of this size and more is 64-aligned */
#define TYPE_HEAD 16u /* where the name of a records' type begins */

#define HAS_REFS 1u

struct head {
    uint8_t kind, flags;
    uint16_t offset;
    uint32_t size;
};

_Static_assert(sizeof(struct head) == HEAD, "a value's head");
_Static_assert(sizeof(struct drt_value) == 40, "the layout of drt_value is frozen");
struct entry {
    uint32_t kind, size;
    uint64_t datum;
};

const char *kind_name(int kind)
{
    switch (kind) {
    case DRT_I64:
        return "an i64";
    case DRT_F64:
        return "an f64";
    case DRT_STR:
        return "a string";
    case DRT_BYTES:
        return "bytes";
    case DRT_RECORDS:
        return "records";
    case DRT_OF:
        return "the value of a reference";
    case DRT_REF:
        return "a reference";
    case DRT_NOTHING:
        return "nothing";
    case DRT_ANY:
        return "any value";
    default:
        return "not a value";
    }
}

static int check_data(const void *data, uint64_t size, const char *what)
{
    if (size > VALUE_DATA_MAX) {
        return error_set(
            DRT_E_TOO_LARGE,
            "%s has %llu bytes, and a value has at most %u. Split it into several values, or pass "
            "the name of a file.",
            what, (unsigned long long)size, VALUE_DATA_MAX);
    }
    if (data == NULL && size != 0) {
        return error_set(-EINVAL, "%s is NULL: pass where the data is", what);
    }
    return 0;
}

int value_check(const struct drt_value *v, const char *what)
{
    switch (v->kind_) {
    case DRT_I64:
    case DRT_F64:
    case DRT_NOTHING:
        return 0;
    case DRT_STR:
        if (v->data_ == NULL) {
            return error_set(-EINVAL, "%s is a NULL string: pass \"\" for an empty one", what);
        }
        return check_data(v->data_, strlen(v->data_), what);
    case DRT_BYTES:
        return check_data(v->data_, v->size_, what);
    case DRT_RECORDS: {
        const char *type = (const char *)(uintptr_t)v->u_.h[0];
        if (type == NULL || v->u_.h[1] == 0 || v->size_ % v->u_.h[1] != 0 ||
            strnlen(type, TYPE_NAME_MAX + 1) > TYPE_NAME_MAX) {
            return error_set(-EINVAL,
                             "%s is not a value: build records with DRT_RECORD or DRT_ARRAY and a "
                             "type whose name has at most %u characters",
                             what, TYPE_NAME_MAX);
        }
        return check_data(v->data_, v->size_, what);
    }
    case DRT_OF:
    case DRT_REF:
        return error_set(-EINVAL, "%s is a reference, which cannot stand here: get its value first",
                         what);
    default:
        return error_set(-EINVAL, "%s is not a value: make it with drt_i64, drt_str and the like",
                         what);
    }
}

uint64_t value_data_size(const struct drt_value *v)
{
    switch (v->kind_) {
    case DRT_STR:
        return strlen(v->data_);
    case DRT_BYTES:
    case DRT_RECORDS:
        return v->size_;
    default:
        return 0;
    }
}

static size_t head_size(const char *type, size_t size)
{
    size_t end = type == NULL ? HEAD : TYPE_HEAD + strlen(type) + 1;
    return align_up(end, size >= WIDE ? WIDE : 8);
}

size_t value_head_size(const char *type, size_t size)
{
    return head_size(type, size);
}

void value_encode_head(const char *type, size_t type_size, size_t size, void *dst)
{
    uint8_t *at = dst;
    size_t offset = head_size(type, size);
    struct head head = {type == NULL ? DRT_BYTES : DRT_RECORDS, 0, (uint16_t)offset,
                        (uint32_t)size};
    memset(at, 0, offset);
    memcpy(at, &head, sizeof head);
    if (type != NULL) {
        uint32_t numbers[2] = {(uint32_t)type_size, (uint32_t)strlen(type)};
        memcpy(at + HEAD, numbers, sizeof numbers);
        memcpy(at + TYPE_HEAD, type, numbers[1] + 1);
    }
}

static const char *type_of(const struct drt_value *v)
{
    return v->kind_ == DRT_RECORDS ? (const char *)(uintptr_t)v->u_.h[0] : NULL;
}

size_t value_size(const struct drt_value *v)
{
    switch (v->kind_) {
    case DRT_I64:
    case DRT_F64:
        return VALUE_SMALL;
    case DRT_STR:
        return HEAD + strlen(v->data_) + 1;
    case DRT_BYTES:
    case DRT_RECORDS:
        return head_size(type_of(v), v->size_) + v->size_;
    default:
        return HEAD;
    }
}

void value_encode(const struct drt_value *v, void *dst)
{
    uint8_t *at = dst;
    struct head head = {(uint8_t)v->kind_, 0, HEAD, 0};
    switch (v->kind_) {
    case DRT_I64:
    case DRT_F64:
        head.size = 8;
        memcpy(at, &head, sizeof head);
        memcpy(at + HEAD, &v->u_, 8);
        return;
    case DRT_STR:
        head.size = (uint32_t)strlen(v->data_) + 1;
        memcpy(at, &head, sizeof head);
        memcpy(at + HEAD, v->data_, head.size);
        return;
    case DRT_BYTES:
    case DRT_RECORDS:
        value_encode_head(type_of(v), v->u_.h[1], v->size_, at);
        if (v->size_ != 0) {
            memcpy(at + head_size(type_of(v), v->size_), v->data_, v->size_);
        }
        return;
    default:
        memcpy(at, &head, sizeof head);
        return;
    }
}

size_t value_holding_size(const struct drt_value *v, size_t count)
{
    size_t size = value_size(v);
    return count == 0 ? size : align_up(size, 8) + 8 + count * sizeof(struct object_id);
}

void value_holding_encode(const struct drt_value *v, const struct object_id *ids, size_t count,
                          void *dst)
{
    uint8_t *at = dst;
    size_t size = value_size(v), begin = align_up(size, 8);
    uint64_t n = count;
    value_encode(v, dst);
    if (count != 0) {
        at[offsetof(struct head, flags)] = HAS_REFS;
        memset(at + size, 0, begin - size);
        memcpy(at + begin, &n, 8);
        memcpy(at + begin + 8, ids, count * sizeof *ids);
    }
}

struct object_id value_inner(const struct value_view *v, size_t index)
{
    struct object_id id;
    ASSERT(index < v->ref_count);
    memcpy(&id, v->refs + index * sizeof id, sizeof id);
    return id;
}

static int decode_refs(struct bytes data, const struct head *head, struct value_view *ret)
{
    const uint8_t *at = data.data;
    size_t begin = align_up(head->offset + (size_t)head->size, 8);
    uint64_t n;
    if (data.size < begin || data.size - begin < 8) {
        return -EPROTO;
    }
    memcpy(&n, at + begin, 8);
    if (n == 0 || n > (data.size - begin - 8) / sizeof(struct object_id)) {
        return -EPROTO;
    }
    ret->refs = at + begin + 8;
    ret->ref_count = (uint32_t)n;
    return 0;
}

static int decode_records(const uint8_t *at, const struct head *head, struct value_view *ret)
{
    uint32_t numbers[2];
    if (head->offset < TYPE_HEAD + 1) {
        return -EPROTO;
    }
    memcpy(numbers, at + HEAD, sizeof numbers);
    if (numbers[0] == 0 || head->size % numbers[0] != 0 || numbers[1] > TYPE_NAME_MAX ||
        TYPE_HEAD + numbers[1] + 1 > head->offset || at[TYPE_HEAD + numbers[1]] != 0) {
        return -EPROTO;
    }
    ret->type = (const char *)at + TYPE_HEAD;
    ret->type_size = numbers[0];
    return 0;
}

int value_decode(struct bytes data, struct value_view *ret)
{
    const uint8_t *at = data.data;
    struct head head;
    if (data.size < HEAD) {
        return -EPROTO;
    }
    memcpy(&head, at, sizeof head);
    if (head.offset < HEAD || head.offset > data.size || head.size > data.size - head.offset ||
        head.flags > HAS_REFS) {
        return -EPROTO;
    }
    struct value_view v = {.kind = head.kind, .data = bytes_of(at + head.offset, head.size)};
    if (head.flags != 0 && decode_refs(data, &head, &v) != 0) {
        return -EPROTO;
    }
    switch (head.kind) {
    case DRT_I64:
    case DRT_F64:
        if (head.size != 8) {
            return -EPROTO;
        }
        memcpy(&v.i, at + head.offset, 8);
        memcpy(&v.f, at + head.offset, 8);
        break;
    case DRT_STR:
        if (head.size == 0 || at[head.offset + head.size - 1] != 0) {
            return -EPROTO;
        }
        break;
    case DRT_RECORDS:
        if (decode_records(at, &head, &v) != 0) {
            return -EPROTO;
        }
        break;
    case DRT_REF:
        if (v.ref_count != 1) {
            return -EPROTO;
        }
        break;
    case DRT_BYTES:
    case DRT_NOTHING:
        break;
    default:
        return -EPROTO;
    }
    *ret = v;
    return 0;
}

/* ---- arguments ---- */

static bool is_long(uint32_t kind)
{
    return kind == DRT_STR || kind == DRT_BYTES || kind == DRT_RECORDS || kind == DRT_NOTHING;
}

static size_t place(size_t at, uint32_t kind, size_t size)
{
    return align_up(at, kind != DRT_STR && size >= WIDE ? WIDE : 8);
}

size_t args_size(const struct drt_value *values, size_t count)
{
    if (count == 0) {
        return 0;
    }
    size_t at = ARGS_HEADER_SIZE + count * ARGS_ENTRY_SIZE;
    for (size_t i = 0; i < count; i++) {
        if (is_long(values[i].kind_)) {
            size_t size = value_size(&values[i]);
            at = place(at, values[i].kind_, size) + size;
        } else if (values[i].kind_ == DRT_REF) {
            at = align_up(at, 8) + sizeof(struct object_id);
        }
    }
    return at;
}

void args_encode(const struct drt_value *values, size_t count, const struct object_id *ids,
                 void *dst, size_t size)
{
    if (count == 0) {
        return;
    }
    uint8_t *base = dst;
    size_t at = ARGS_HEADER_SIZE + count * ARGS_ENTRY_SIZE, id = 0;
    uint32_t needs = 0;
    uint32_t header[2] = {(uint32_t)size, (uint32_t)count};
    memcpy(base, header, sizeof header);
    for (size_t i = 0; i < count; i++) {
        const struct drt_value *v = &values[i];
        struct entry e = {v->kind_, 8, 0};
        size_t before = at;
        if (is_long(v->kind_)) {
            e.size = (uint32_t)value_size(v);
            at = place(at, v->kind_, e.size);
            memset(base + before, 0, at - before);
            e.datum = at;
            value_encode(v, base + at);
            at += e.size;
        } else if (v->kind_ == DRT_REF) {
            at = align_up(at, 8);
            memset(base + before, 0, at - before);
            e.size = sizeof ids[0];
            e.datum = at;
            memcpy(base + at, &ids[id++], sizeof ids[0]);
            at += e.size;
        } else if (v->kind_ == DRT_OF) {
            e.datum = needs++;
            id++;
        } else {
            memcpy(&e.datum, &v->u_, 8);
        }
        memcpy(base + ARGS_HEADER_SIZE + i * ARGS_ENTRY_SIZE, &e, sizeof e);
    }
    ASSERT(at == size);
}

int args_decode(struct bytes payload, struct args_view *ret)
{
    struct args_view a = {.base = payload.data};
    if (payload.size == 0) {
        *ret = a;
        return 0;
    }
    if (payload.size < ARGS_HEADER_SIZE) {
        return -EPROTO;
    }
    memcpy(&a.size, a.base, 4);
    memcpy(&a.count, a.base + 4, 4);
    if (a.size > payload.size || a.size < ARGS_HEADER_SIZE ||
        a.count > (a.size - ARGS_HEADER_SIZE) / ARGS_ENTRY_SIZE) {
        return -EPROTO;
    }
    *ret = a;
    return 0;
}

int args_get(const struct args_view *a, size_t index, struct arg *ret)
{
    struct entry e;
    if (index >= a->count) {
        return -EPROTO;
    }
    memcpy(&e, a->base + ARGS_HEADER_SIZE + index * ARGS_ENTRY_SIZE, sizeof e);
    struct arg arg = {.kind = (int)e.kind};
    switch (e.kind) {
    case DRT_I64:
    case DRT_F64:
        arg.value.kind = arg.kind;
        memcpy(&arg.value.i, &e.datum, 8);
        memcpy(&arg.value.f, &e.datum, 8);
        break;
    case DRT_OF:
        arg.need = (uint32_t)e.datum;
        break;
    case DRT_REF:
        if (e.size != sizeof arg.id || e.datum > a->size || e.size > a->size - e.datum) {
            return -EPROTO;
        }
        memcpy(&arg.id, a->base + e.datum, sizeof arg.id);
        break;
    default:
        if (!is_long(e.kind) || e.datum > a->size || e.size > a->size - e.datum ||
            value_decode(bytes_of(a->base + e.datum, e.size), &arg.value) != 0 ||
            arg.value.kind != arg.kind || arg.value.ref_count != 0) {
            return -EPROTO;
        }
    }
    *ret = arg;
    return 0;
}

/* ---- kinds ---- */

void kinds_count(const unsigned char *kinds, size_t *ret_least, size_t *ret_most)
{
    size_t n = 0;
    while (kinds[n] != 0 && (kinds[n] & 0x80) == 0) {
        n++;
    }
    *ret_least = n;
    *ret_most = kinds[n] != 0 ? SIZE_MAX : n;
}
