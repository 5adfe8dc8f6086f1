#include "proto/batch.h"

void *batch_add(struct buffer *batch, size_t size, size_t rest)
{
    uint32_t head[2] = {(uint32_t)size, (uint32_t)rest};
    size_t padded = align_up(size, 8);
    ASSERT(size != 0 && size <= BATCH_MAX && rest <= MESSAGE_MAX && batch->size % 8 == 0);
    uint8_t *at = buffer_extend(batch, BATCH_RECORD_HEAD + padded);
    memcpy(at, head, sizeof head);
    memset(at + BATCH_RECORD_HEAD + size, 0, padded - size);
    return at + BATCH_RECORD_HEAD;
}

int batch_next(struct bytes *left, struct batch_record *ret)
{
    const uint8_t *at = left->data;
    uint32_t head[2];
    if (left->size == 0) {
        return 0;
    }
    if (left->size < BATCH_RECORD_HEAD) {
        return -EPROTO;
    }
    memcpy(head, at, sizeof head);
    size_t size = head[0], cost = batch_cost(size);
    if (size == 0 || cost > left->size || (size_t)head[1] + size > MESSAGE_MAX) {
        return -EPROTO;
    }
    for (size_t i = BATCH_RECORD_HEAD + size; i < cost; i++) {
        if (at[i] != 0) {
            return -EPROTO;
        }
    }
    ret->data = bytes_of(at + BATCH_RECORD_HEAD, size);
    ret->rest = head[1];
    *left = bytes_of(at + cost, left->size - cost);
    return 1;
}

void batch_assembly_fini(struct batch_assembly *a)
{
    buffer_fini(&a->parts);
    a->rest = 0;
}

int batch_assemble(struct batch_assembly *a, const struct batch_record *record, struct bytes *ret)
{
    if (a->rest == 0) {
        batch_assembly_fini(a); /* what was whole before has been read */
        if (record->rest == 0) {
            *ret = record->data;
            return 1;
        }
        buffer_reserve(&a->parts, record->data.size + record->rest);
    } else if (record->data.size + record->rest != a->rest) {
        return -EPROTO;
    }
    buffer_append(&a->parts, record->data.data, record->data.size);
    a->rest = record->rest;
    if (a->rest != 0) {
        return 0;
    }
    *ret = bytes_of(a->parts.data, a->parts.size);
    return 1;
}
