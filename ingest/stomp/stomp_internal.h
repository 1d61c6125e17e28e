/* What the files of the STOMP parser and encoder share; nobody else includes it. */
#ifndef COFFRE_STOMP_INTERNAL_H
#define COFFRE_STOMP_INTERNAL_H

#include "ingest/stomp/stomp.h"

struct stomp_word {
    const char *text;
    size_t len;
};

extern const struct stomp_word stomp_commands[STOMP_COMMANDS];
extern const struct stomp_word stomp_names[STOMP_NAMES];

/* STOMP_NAMES, STOMP_COMMANDS: not one of them. */
enum stomp_name stomp_find_name(const uint8_t *at, size_t len);
enum stomp_command stomp_find_command(const uint8_t *at, size_t len);

#endif
