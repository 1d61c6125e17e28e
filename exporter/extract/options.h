/* Command line of coffre-extract. Pure. */
#ifndef COFFRE_EXTRACT_OPTIONS_H
#define COFFRE_EXTRACT_OPTIONS_H

#include "common/values/err.h"

#include <stdint.h>

/* How coffre-extract ends; documented in coffre-extract(1). */
enum exit_code {
    EXIT_ALL = 0,       /* everything asked for is there and verified */
    EXIT_REFUSED = 1,   /* the vault refused, or cannot give it yet */
    EXIT_USAGE = 2,
    EXIT_NETWORK = 3,   /* not reached, or lost for too long; run again to go on */
    EXIT_INTEGRITY = 4, /* bytes are not what the vault's entity-tag says, or differ from a file already there */
    EXIT_FILE = 5,      /* a local file cannot be read or written */
};

enum command {
    COMMAND_CHECK,
    COMMAND_STATUS,
    COMMAND_LIST,      /* lots' metadata */
    COMMAND_HISTORY,   /* extractions asked for */
    COMMAND_CONTAINER, /* first … last */
    COMMAND_EVENT,     /* first … last */
    COMMAND_SERIALS,
    COMMAND_LOTS,
    COMMAND_DATES,
    COMMAND_EXTRACTION, /* an extraction already asked for: its id is `first` */
};

struct options {
    const char *url;         /* https://host[:port], no slash at the end; borrowed, or owned by url_made */
    char *url_made;          /* owned */
    const char *certificate, *key, *ca, *output;
    bool json, quiet, overlap;
    unsigned retries;        /* failures in a row, without a byte gained, before giving up */
    enum command command;
    uint64_t first, last;    /* last 0: up to what is sealed */
    const char *from, *to;   /* dates */
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/* OPTIONS_DONE: --help or --version were printed. OPTIONS_WRONG: `e` says why. */
enum options_result options_read(struct options *o, int argc, char **argv, struct err *e);
void options_free(struct options *o);

#endif
