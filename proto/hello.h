/*
 * The first half of CurveZMQ's handshake (ZeroMQ RFC 26), from the side of a client that does not
 * say who it is: enough to learn whether whoever listens at a port has the secret key that belongs
 * to a public one. No key of ours is needed, and none is shown. Bytes in, bytes out: no I/O.
 */
#ifndef PROTO_HELLO_H
#define PROTO_HELLO_H

#include "common/bytes.h"
#include "common/codes.h"

#define HELLO_SIZE   266u /* what the client says: a greeting, and HELLO */
#define HELLO_ANSWER 234u /* what the server answers: a greeting, and WELCOME */

struct hello {
    uint8_t server_public[32]; /* private from here */
    uint8_t secret[32];
    uint8_t said[HELLO_SIZE];
    uint8_t heard[HELLO_ANSWER];
    size_t heard_size;
};

/* `key` is the server's public one in Z85. `said` is then to be sent. -EINVAL: no key; -EIO */
int hello_init(struct hello *hello, const char *key) MUST_CHECK;
/* What the server answered, piece by piece. 0: it has the key; -EAGAIN: more must come; -EPROTO: it
 * is another one, or does not speak so */
int hello_take(struct hello *hello, struct bytes piece) MUST_CHECK;

#endif
