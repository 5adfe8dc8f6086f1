#include "proto/hello.h"

#include <sodium.h>
#include <zmq.h>

#define KEY_TEXT       40u
#define GREETING_SIZE  64u
#define HELLO_BODY     200u
#define WELCOME_BODY   168u
#define COMMAND_SHORT  4u /* a command whose size takes one byte */
#define MECHANISM_AT   12u
#define SIGNATURE_SIZE 10u

static const uint8_t greeting[GREETING_SIZE] = {
    0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E',
};

_Static_assert(HELLO_SIZE == GREETING_SIZE + 2 + HELLO_BODY, "the client's words");
_Static_assert(HELLO_ANSWER == GREETING_SIZE + 2 + WELCOME_BODY, "the server's words");

/* "\5HELLO", version 1.0, 72 zeros, our short-term public key, a nonce, 64 zeros in a box. */
static int say_hello(const struct hello *h, const uint8_t public_key[32], uint8_t out[HELLO_BODY])
{
    static const uint8_t zeros[64];
    uint8_t nonce[crypto_box_NONCEBYTES] = "CurveZMQHELLO---";
    memset(out, 0, HELLO_BODY);
    memcpy(out, "\5HELLO\1", 7);
    memcpy(out + 80, public_key, 32);
    out[119] = nonce[23] = 1;
    return crypto_box_easy(out + 120, zeros, sizeof zeros, nonce, h->server_public, h->secret) == 0
               ? 0
               : -EINVAL;
}

int hello_init(struct hello *hello, const char *key)
{
    struct hello h = {0};
    uint8_t public_key[32];
    if (sodium_init() < 0) {
        return -EIO;
    }
    if (strlen(key) != KEY_TEXT || zmq_z85_decode(h.server_public, key) == NULL) {
        return -EINVAL;
    }
    crypto_box_keypair(public_key, h.secret);
    memcpy(h.said, greeting, GREETING_SIZE);
    h.said[GREETING_SIZE] = COMMAND_SHORT;
    h.said[GREETING_SIZE + 1] = HELLO_BODY;
    int r = say_hello(&h, public_key, h.said + GREETING_SIZE + 2);
    if (r == 0) {
        *hello = h;
    }
    return r;
}

/* The length in a signature and the minor version may be any. */
static bool greets(const struct hello *h)
{
    const uint8_t *heard = h->heard;
    size_t size = h->heard_size;
    if (size < SIGNATURE_SIZE) {
        return heard[0] == 0xff;
    }
    return heard[0] == 0xff && heard[9] == 0x7f && (size <= SIGNATURE_SIZE || heard[10] >= 3) &&
           (size < GREETING_SIZE || memcmp(heard + MECHANISM_AT, greeting + MECHANISM_AT, 20) == 0);
}

/* "\7WELCOME", a nonce, a box that only who has the secret key can have made. */
static bool welcomes(const struct hello *h)
{
    const uint8_t *frame = h->heard + GREETING_SIZE, *body = frame + 2;
    uint8_t nonce[crypto_box_NONCEBYTES] = "WELCOME-";
    uint8_t plain[128];
    memcpy(nonce + 8, body + 8, 16);
    return frame[0] == COMMAND_SHORT && frame[1] == WELCOME_BODY &&
           memcmp(body, "\7WELCOME", 8) == 0 &&
           crypto_box_open_easy(plain, body + 24, sizeof plain + crypto_box_MACBYTES, nonce,
                                h->server_public, h->secret) == 0;
}

int hello_take(struct hello *hello, struct bytes piece)
{
    size_t size = MIN_OF(piece.size, HELLO_ANSWER - hello->heard_size);
    memcpy(hello->heard + hello->heard_size, piece.data, size);
    hello->heard_size += size;
    if (hello->heard_size == 0) {
        return -EAGAIN;
    }
    if (!greets(hello)) {
        return -EPROTO;
    }
    if (hello->heard_size < HELLO_ANSWER) {
        return -EAGAIN;
    }
    return welcomes(hello) ? 0 : -EPROTO;
}
