/* The command line of coffre-deposit. */
#ifndef COFFRE_DEPOSIT_OPTIONS_H
#define COFFRE_DEPOSIT_OPTIONS_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum options_follow { FOLLOW_NONE, FOLLOW_OK, FOLLOW_ARCHIVED };

/* What main() returns; documented in the manual. */
enum exit_code {
    EXIT_ALL = 0,         /* all deposited, and answered as far as followed */
    EXIT_SOME = 1,        /* some events are invalid, or inputs could not be read */
    EXIT_USAGE = 2,
    EXIT_CONNECTION = 3,  /* no session */
    EXIT_LATE = 4,        /* --timeout passed without progress */
    EXIT_REFUSED = 5,     /* the vault refuses our certificate */
    EXIT_INTERRUPTED = 130,
};

enum { TRANSACTION_NONE = 0, TRANSACTION_ALL = -1, OPTIONS_HEADERS_MAX = 8 };

struct options {
    const char *host, *port;
    const char *certificate, *key, *authorities; /* PEM files */
    const char *virtual_host;
    const char *operator_number;                 /* four digits, or NULL */
    const char *vault;                           /* decimal, as given */
    unsigned heart_beat;                         /* ms */

    char **inputs;                               /* files, directories, "-" */
    int input_count;
    bool placeholder, adapt;
    const char *digest;
    const char *client_id_prefix;
    size_t event_max;                            /* bytes */

    long transaction;                            /* events of one, or one of the above */
    size_t window;                               /* events sent and not yet acknowledged, per connection */
    enum options_follow follow;
    bool cumulative;                             /* acknowledges answers in groups */
    const char *state;                           /* file, or NULL */
    unsigned timeout, retry;                     /* seconds */
    bool json, quiet, verbose;

    bool load;                                   /* --generate, --duration or --idle was given */
    uint64_t generate;                           /* events; 0: until the duration ends */
    double duration, warm_up;                    /* seconds */
    double rate;                                 /* events a second over all connections; 0: no limit */
    size_t connections, idle, size;
    uint64_t unanswered;                         /* events deposited and not answered, at most; 0: any number */
    const char *destination;                     /* instead of the vault's queue */
    const char *headers[OPTIONS_HEADERS_MAX];    /* name:value, added to every SEND */
    int header_count;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/* Reads the words; --help and --version print and give DONE. ERR_INPUT says what is wrong. */
enum options_result options_read(struct options *o, int argc, char **argv, struct err *e);

#endif
