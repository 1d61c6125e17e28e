/* The keys role's own code, answering in a thread of the test's process instead of a process of its own. Failures end the test. */
#ifndef COFFRE_TESTS_KEEPER_H
#define COFFRE_TESTS_KEEPER_H

#include <pthread.h>

#include "common/system/remote_key.h"

enum keeper_manner { KEEPER_HONEST, KEEPER_SILENT /* and its front's deadline is short */, KEEPER_LYING /* signatures are wrong */ };

struct keeper {
    enum keeper_manner manner;
    unsigned answers; /* that were no refusals */
    struct remote_line *line; /* the front's side */
    struct channel *channel;
    struct keys_held held;
    pthread_mutex_t lock; /* of `held` */
    pthread_t thread;
};

/* Begins with one key, of which it takes a reference, as keeper_hold() does. */
void keeper_begin(struct keeper *k, EVP_PKEY *key, enum keeper_manner manner);
void keeper_hold(struct keeper *k, EVP_PKEY *key);
void keeper_end(struct keeper *k);

#endif
