/* One role of the sealer as a process, with keys in the token of vault.h: the test stands where its parent and work stand. Failures end the test. */
#ifndef COFFRE_TESTS_ONE_ROLE_H
#define COFFRE_TESTS_ONE_ROLE_H

#include "common/system/role.h"
#include "sealer/messages.h"

enum { ONE_ROLE_PATIENCE_MS = 60000, ONE_ROLE_MAX = 1 << 20 /* bytes of a message */ };

struct one_role {
    pid_t pid;
    struct channel *parent, *work;
};

/* Starts a kind's role 0, linked to work; it is killed in the end. */
struct one_role one_role_start(const struct daemon *daemon, const char *kind);
void one_role_end(struct one_role *r);

/* The next message that is of `wanted` type, or any but HEALTH when that is 0: its type; its body in `out`. */
uint16_t one_role_await(struct one_role *r, uint16_t wanted, struct buf *out);
/* Asks; the answer's type, its body in `out`. */
uint16_t one_role_ask(struct one_role *r, enum message type, const struct buf *question, struct buf *out);
/* This answer is a refusal by doubt, whose text holds `why`: the lot that it names. */
uint64_t one_role_refused(uint16_t type, const struct buf *answer, const char *why);

#endif
