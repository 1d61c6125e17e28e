/*
 * One family of event schemas (XSD), compiled, and an event's elements judged by it one after the other. The schema's files are the operator's, believed but
 * bounded, and come from memory only: nothing is opened or fetched here. The elements are a stranger's; faults never quote them.
 */
#ifndef COFFRE_INGEST_SCHEMA_H
#define COFFRE_INGEST_SCHEMA_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum {
    SCHEMA_FILES_MAX = 256,         /* of a family: its entry and what that includes or imports */
    SCHEMA_FILE_BYTES = 1 << 20,    /* of a file */
    SCHEMA_FAMILY_BYTES = 8 << 20,  /* of all files of a family */
    SCHEMA_VALUE_MAX = 8 << 10,     /* bytes of one element's or attribute's value: the library gives up a pattern after ten million steps, each of which may go through all of it */
    SCHEMA_ELEMENTS_MAX = 16 << 10, /* of an event, for the same reason: keys are compared each with each */
    SCHEMA_WORK_MAX = 512 << 10,    /* bytes of all values of an event */
};

/* Codes of faults that are ours; the others are the library's (xmlParserErrors). */
enum { SCHEMA_VALUE_TOO_LONG = -1, SCHEMA_TOO_MANY_ELEMENTS = -2, SCHEMA_TOO_SLOW = -3 };

/* Where files come from: the bytes, borrowed until schema_compile() returns, or false and ERR_INPUT. */
struct schema_source {
    bool (*open)(void *ctx, const char *path, struct slice *bytes, struct err *e);
    void *ctx;
};

struct schema;

/*
 * Compiles the family whose entry is the file `entry` of `source`; includes and imports are asked for by their path, made from that of the file that names them.
 * NULL and ERR_INPUT: file, line and the library's message. Files that say they are in other encodings than UTF-8 and ISO-8859-1 are refused: others need libraries that a
 * sandbox cannot load. Not to be called by two threads at once.
 */
struct schema *schema_compile(const char *entry, const struct schema_source *source, struct err *e);
void schema_free(struct schema *s);

/* Whether an event with this root (name space NULL: none) is the family's. */
bool schema_declares(const struct schema *s, const char *name, const char *name_space);
/* Whether a name occurs in the schema: one that does is not a stranger's. */
bool schema_knows(const struct schema *s, const char *name);
/* Root elements declared. */
unsigned schema_types(const struct schema *s);

/*
 * An event: begin, then its elements and texts as libxml2's SAX2 interface tells them, then finish. False at the first fault (then only schema_finish() may be
 * called), or, of begin, ERR_FATAL when the library fails.
 */
MUST_CHECK bool schema_begin(struct schema *s, struct err *e);
MUST_CHECK bool schema_start(struct schema *s, const unsigned char *name, const unsigned char *prefix, const unsigned char *uri, int name_spaces,
                             const unsigned char **declared, int attributes, int defaulted, const unsigned char **values);
MUST_CHECK bool schema_text(struct schema *s, struct slice text);
MUST_CHECK bool schema_end(struct schema *s, const unsigned char *name, const unsigned char *prefix, const unsigned char *uri);
/* A fault that the caller has found; false. */
bool schema_fail(struct schema *s, int code);
/* The code of the fault, 0: none. */
int schema_finish(struct schema *s);

/* A fault's code in words, without anything of the event. */
const char *schema_fault(int code);

#endif
