/*
 * Role bindings: which certificates (CN and OU, where wanted serial number or SAN too) hold which profile, and their identifiers (design:
 * second level of control). Travels as the ROSTER message (PROTOCOL.md) from the role that reads PostgreSQL to the fronts.
 * Decoding is pure and trusts no length.
 */
#ifndef COFFRE_ROSTER_H
#define COFFRE_ROSTER_H

#include "common/values/buf.h"

struct database;
struct tls_subject;

enum {
    ROSTER_MESSAGE = 1, /* channel type */
    ROSTER_ENTRIES_MAX = 100000,
    ROSTER_BYTES_MAX = 64 << 20,
    ROSTER_TEXT_MAX = 255,  /* bytes of a CN, OU or SAN */
    ROSTER_SERIAL_MAX = 40, /* digits of a serial number: 20 bytes (RFC 5280 4.1.2.2) */
    ROSTER_REASON_MAX = 1000, /* bytes: with it a record of the journal still holds all its fields */
};

enum roster_profile { ROSTER_DEPOSITOR = 1, ROSTER_READER, ROSTER_TECHNICAL, ROSTER_FUNCTIONAL };

struct roster_entry {
    enum roster_profile profile;
    uint32_t id;         /* role.id: of depositors, the number in their queues' names */
    struct slice cn, ou; /* borrowed from the roster */
    struct slice serial; /* upper-case hexadecimal without leading zeros; empty: any */
    struct slice san;    /* "DNS:…", "email:…", "URI:…", "IP:…"; empty: any */
};

struct roster;

/* The body of a ROSTER message; copied. ERR_INPUT when malformed. Owned: roster_free(). */
struct roster *roster_decode(struct slice body, struct err *e);
void roster_free(struct roster *r);

/* The message's body again: equal rosters have equal bytes. Borrowed. */
struct slice roster_body(const struct roster *r);

unsigned roster_count(const struct roster *r);
const struct roster_entry *roster_at(const struct roster *r, unsigned i);

/*
 * True and the identifier when this subject holds this profile. Of several bindings the most specific one decides: serial and SAN, then serial, then SAN, then
 * neither; among equals the lowest identifier. A NULL roster holds nobody.
 */
bool roster_find(const struct roster *r, enum roster_profile profile, const struct tls_subject *subject, uint32_t *id);

/*
 * What people write, in the one spelling of bindings. Serial: hexadecimal digits, of either case, leading zeros or not; never zero. SAN: one of the four prefixes and printable
 * ASCII without spaces, for no other name of a certificate is read (tls_subject_san()); a DNS name in lower case, an IP address as inet_ntop() writes it. An empty text stays empty: any. ERR_INPUT says what is wrong.
 */
MUST_CHECK bool roster_read_serial(struct slice text, char serial[ROSTER_SERIAL_MAX + 1], struct err *e);
MUST_CHECK bool roster_read_san(struct slice text, char san[ROSTER_TEXT_MAX + 1], struct err *e);
/* Why something is changed: at most ROSTER_REASON_MAX bytes of UTF-8 without control characters. */
MUST_CHECK bool roster_check_reason(struct slice text, struct err *e);
/* A CN or OU: at most ROSTER_TEXT_MAX bytes of UTF-8 without control characters. `what` is for the message. */
MUST_CHECK bool roster_read_name(struct slice text, const char *what, char name[ROSTER_TEXT_MAX + 1], struct err *e);

bool roster_profile_parse(struct slice text, enum roster_profile *profile); /* "depositor", "reader", "technical", "functional" */
const char *roster_profile_name(enum roster_profile profile);

/* The bindings in force, from table role, by id. */
struct roster *roster_load(struct database *d, struct err *e);

#endif
