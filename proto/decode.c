#include "proto/decode.h"

#include "proto/layout.h"

int decode_body(struct bytes data, const struct codec *(*codec_of)(unsigned type),
                struct arena *arena, struct message_view *ret_view, void *body,
                const char **ret_why)
{
    if (message_parse(data, ret_view) != 0) {
        return refuse(ret_why, "the message's frame is broken");
    }
    const struct codec *codec = codec_of(ret_view->type);
    if (codec == NULL) {
        return refuse(ret_why, "a message of unknown type");
    }
    return codec_read(codec, ret_view->meta, arena, body, ret_why);
}

bool ids_are_good(const struct object_id *ids, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        good &= ids[i].number != 0;
    }
    return good;
}

bool texts_are_good(struct bytes texts)
{
    return texts.size == 0 || ((const char *)texts.data)[texts.size - 1] == '\0';
}

bool split_payload(struct bytes payload, uint32_t env_size, uint32_t given_size,
                   struct bytes *ret_env, struct bytes *ret_given)
{
    if ((uint64_t)env_size + given_size != payload.size ||
        !texts_are_good(bytes_of(payload.data, env_size))) {
        return false;
    }
    *ret_env = bytes_of(payload.data, env_size);
    *ret_given =
        bytes_of(given_size == 0 ? NULL : (const uint8_t *)payload.data + env_size, given_size);
    return true;
}

bool amounts_are_good(const struct local_amount *amounts, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        good &= amounts[i].units >= 0 && amounts[i].name[0] != '\0';
    }
    return good;
}

int check_ids(const struct object_id *ids, size_t count, const char **ret_why)
{
    return count != 0 && ids_are_good(ids, count) ? 0
                                                  : refuse(ret_why, "no ids, or an invalid one");
}

int check_parts(uint32_t *args_size, const uint32_t *need_sizes, size_t need_count, size_t size,
                const char **ret_why)
{
    if (need_count == 0 && *args_size == 0) {
        *args_size = (uint32_t)size;
    }
    size_t end = *args_size;
    for (size_t i = 0; i < need_count; i++) {
        (void)layout_place_need(&end, need_sizes[i]);
    }
    return end == size ? 0 : refuse(ret_why, "RUN's sizes and payload differ");
}

int check_returns(const struct local_return *returns, size_t count, bool succeeded,
                  const struct object_id *refs, size_t ref_count, size_t size, const char **ret_why)
{
    size_t end = 0;
    uint64_t inside = 0;
    for (size_t i = 0; i < count; i++) {
        const struct local_return *r = &returns[i];
        bool is_alias = r->state == RETURN_ALIAS, is_set = r->alias.number != 0;
        bool value = r->state == RETURN_VALUE && succeeded;
        if (r->state > RETURN_TOO_LARGE || is_alias != is_set || r->zero != 0 ||
            (!value && r->ref_count != 0)) {
            return refuse(ret_why, "RESULT with an unknown state, or something in a wrong place");
        }
        if (value) {
            (void)layout_place_entry(&end, r->size);
        }
        inside += r->ref_count;
    }
    if (inside != ref_count || !ids_are_good(refs, ref_count)) {
        return refuse(ret_why, "RESULT's references are not those of its values");
    }
    return end == size ? 0 : refuse(ret_why, "RESULT's sizes and payload differ");
}
