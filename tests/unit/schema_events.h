/* What tests of schemas share: schemas in memory or from a folder, and an event judged by them with the right digest. */
#ifndef COFFRE_TESTS_SCHEMA_EVENTS_H
#define COFFRE_TESTS_SCHEMA_EVENTS_H

#include "ingest/ledger/schema_set.h"

struct named_text {
    const char *path, *text;
};

/* Files in memory; NULL-terminated, the first is the entry. */
struct schema *schema_of(const struct named_text *files, struct err *e);

/* Operator 4512, vault 1; the checker takes the schemas over. */
struct event_checker *checker_with(const struct event_schemas *schemas);

void judge_event(struct event_checker *c, struct slice body, struct event_verdict *v);

/* What a folder holds, as inspect would get it. Fails the test when it cannot be read. */
struct event_schemas schemas_of_folder(const char *folder, const char *policy, struct schema_set *set);

#endif
