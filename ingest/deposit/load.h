/* Generated load: many connections, a window on each, latencies, optionally the answers and seals too. */
#ifndef COFFRE_DEPOSIT_LOAD_H
#define COFFRE_DEPOSIT_LOAD_H

#include <signal.h>

#include "ingest/deposit/link.h"
#include "ingest/deposit/options.h"

/* Runs the load the options describe and prints what it measured. */
enum exit_code load_run(const struct options *o, SSL_CTX *tls, volatile sig_atomic_t *interrupted);

#endif
