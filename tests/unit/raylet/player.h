/*
 * Processes for the tests of the raylet's shell: the test's own executable, started again as
 * launcher or as the program of a worker. What it does then is chosen by the variable PLAYER.
 */
#ifndef TESTS_UNIT_RAYLET_PLAYER_H
#define TESTS_UNIT_RAYLET_PLAYER_H

#include "common/bytes.h"
#include "proto/local.h"
#include "proto/ring.h"

#define PLAYER "PLAYER"

/* First in main: does not return where this process is a launcher or a player. */
void player_main(int argc, char **argv);

/* A player's environment: PLAYER=role and further "NAME=value" (may be NULL). Owned by the caller.
 */
struct buffer player_env(const char *role, const char *more);
int player_program(void); /* a descriptor of this executable */

/* A client by hand, for players and for children of a test. */
struct player {
    struct ring_channel channel;
    int socket;
    struct arena arena;
};
void player_say(struct player *p, const struct local_msg *m);
void player_open(struct player *p, uint32_t role, uint64_t worker);
bool player_hear(struct player *p, struct local_msg *ret); /* false: the other side is gone */

#endif
