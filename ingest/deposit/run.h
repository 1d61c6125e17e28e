/* Depositing files: reading, sending, answers, reconnecting, until everything has gone as far as asked. */
#ifndef COFFRE_DEPOSIT_RUN_H
#define COFFRE_DEPOSIT_RUN_H

#include <signal.h>

#include "ingest/deposit/link.h"
#include "ingest/deposit/options.h"

/* Deposits what the options name. `*interrupted` becomes true when the user wants to stop: once tidily, twice at once. */
enum exit_code run_deposit(const struct options *o, SSL_CTX *tls, volatile sig_atomic_t *interrupted);

#endif
