/*
 * What coffre-verify says: each finding at once, in plain words or as JSON, and the summary
 * at the end. Codes are stable: programs of the regulator rely on them.
 */
#ifndef COFFRE_VERIFY_REPORT_H
#define COFFRE_VERIFY_REPORT_H

#include <stdio.h>

#include "common/values/err.h"
#include "common/values/slice.h"

enum report_code {
    /* the ZIP of a segment */
    REPORT_SEGMENT_TRUNCATED, REPORT_SEGMENT_HEADER, REPORT_SEGMENT_COMPRESSED, REPORT_SEGMENT_DESCRIPTOR,
    REPORT_SEGMENT_MISMATCH, REPORT_SEGMENT_NAME, REPORT_SEGMENT_DUPLICATE, REPORT_SEGMENT_CRC, REPORT_SEGMENT_TRAILING,
    REPORT_SEGMENT_ORDER, REPORT_FILE_EXTRA,
    /* a lot's container */
    REPORT_CONTAINER_MISSING, REPORT_CONTAINER_TRUNCATED, REPORT_CONTAINER_CRC, REPORT_CONTAINER_FORM, REPORT_LOT_FORM,
    REPORT_LOT_NUMBER, REPORT_LOT_INCONSISTENT, REPORT_LOT_VAULT,
    /* its signature, in the order of enum xades_fault from XADES_FAULT_FORM on */
    REPORT_SIGNATURE_FORM, REPORT_SIGNATURE_LOT, REPORT_SIGNATURE_SUMS, REPORT_SIGNATURE_PREVIOUS,
    REPORT_SIGNATURE_PROPERTIES, REPORT_SIGNATURE_VALUE, REPORT_TIMESTAMP_FORM, REPORT_TIMESTAMP_IMPRINT,
    REPORT_TIMESTAMP_SIGNATURE, REPORT_TIMESTAMP_CERTIFICATE, REPORT_SEAL_CERTIFICATE, REPORT_SIGNATURE_TIME,
    REPORT_SIGNATURE_XMLSEC, REPORT_SEAL_CHANGED,
    /* its list */
    REPORT_SUMS_FORM, REPORT_SUMS_ORDER, REPORT_SUMS_COUNT, REPORT_MERKLE_ROOT,
    /* the chain */
    REPORT_LOT_MISSING, REPORT_LOT_ORDER, REPORT_CHAIN_SERIAL, REPORT_CHAIN_PREVIOUS, REPORT_CHAIN_DIGEST,
    REPORT_CHAIN_VALUE, REPORT_CHAIN_TIME, REPORT_GENESIS_MISSING, REPORT_GENESIS_FORM, REPORT_GENESIS_DIGEST,
    REPORT_GENESIS_VAULT, REPORT_GENESIS_SEAL, REPORT_GENESIS_TSA,
    /* files */
    REPORT_EVENT_MISSING, REPORT_EVENT_ALTERED, REPORT_EVENT_EXTRA, REPORT_KEY_MISSING, REPORT_KEY_ALTERED, REPORT_KEY_EXTRA,
    REPORT_OVERLAP_DIFFERS, REPORT_CERTS_CA, REPORT_CERTS_SEAL, REPORT_CERTS_TSA,
    /* decryption */
    REPORT_REGULATOR_KEY, REPORT_EVENT_UNDECRYPTABLE,
    /* not everything is here, and nothing of what is here is wrong */
    REPORT_LOTS_MISSING_START, REPORT_LOTS_MISSING_BETWEEN, REPORT_LOTS_MISSING_END,
    /* worth knowing */
    REPORT_CERTIFICATE_RENEWED, REPORT_CA_DIFFERS, REPORT_TRUST_EMBEDDED, REPORT_FILE_BESIDE,
    /* nothing could be said */
    REPORT_UNREADABLE,
    REPORT_CODES
};

enum report_weight { REPORT_DAMAGE, REPORT_INCOMPLETE, REPORT_NOTE, REPORT_FAILURE };

enum { EXIT_HOLDS = 0, EXIT_DAMAGE = 1, EXIT_USAGE = 2, EXIT_UNREADABLE = 3, EXIT_INCOMPLETE = 4 };

struct report {
    bool json, quiet, partial;
    bool progress;          /* a progress line is on the terminal: cleared before anything is said */
    const char *input;      /* file or folder being read; borrowed */
    uint64_t found[REPORT_CODES];
    uint64_t inputs, lots, empty_lots, keys, events, bytes, decrypted;
    uint64_t first_lot, last_lot, first_event, last_event; /* 0: none */
    int64_t first_stamp_ms, last_stamp_ms;
    char vault[16];         /* "4512/1" */
    char seal[256];         /* subject of the last seal */
};

/* What a finding is about; zero members are left out. */
struct report_where {
    uint64_t lot, first_event, last_event;
    const char *file; /* name inside the input; printable or escaped here */
};

const char *report_code_text(enum report_code code);
enum report_weight report_code_weight(enum report_code code);

void report_begin(struct report *r);
/* Says it; at most 1,000 of each code are written out, all are counted. */
void report_add(struct report *r, enum report_code code, struct report_where where, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* The summary; returns the exit code. */
int report_end(struct report *r);

/* The table of codes, weights and meanings, for --codes and the tests. */
void report_print_codes(void);

#endif
