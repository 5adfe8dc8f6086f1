/*
 * Carries out what a step of the core wants, in the order in which it wants it: each effect goes to
 * the part that does it. Decides nothing; what a part answers at once becomes an event of the next
 * step.
 */
#ifndef RAYLET_CARRY_OUT_H
#define RAYLET_CARRY_OUT_H

#include "raylet/parts.h"

void carry_out(struct parts *p, const struct raylet_effects *effects);

#endif
