#include "common/ids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

const char *object_id_format(struct object_id id, char text[ID_TEXT_SIZE])
{
    snprintf(text, ID_TEXT_SIZE, "%" PRIu32 "-%" PRIu32 ".%" PRIu64, id.node, id.client, id.number);
    return text;
}

/* Digits up to `end`; *text moves behind it. */
static bool take_number(const char **text, char end, uint64_t max, uint64_t *ret)
{
    const char *at = *text;
    uint64_t value = 0;
    if (*at < '0' || *at > '9' || (*at == '0' && at[1] != end)) {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (*at != end) {
        return false;
    }
    *text = end != '\0' ? at + 1 : at;
    *ret = value;
    return true;
}

int object_id_parse(const char *text, struct object_id *ret)
{
    uint64_t node, client, number;
    if (!take_number(&text, '-', UINT32_MAX, &node) ||
        !take_number(&text, '.', UINT32_MAX, &client) ||
        !take_number(&text, '\0', UINT64_MAX, &number)) {
        return -EINVAL;
    }
    *ret = (struct object_id){(uint32_t)node, (uint32_t)client, number};
    return 0;
}
