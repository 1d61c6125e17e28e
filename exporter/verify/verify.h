/*
 * The verification itself: one input after the other, lot by lot; what is kept from a lot to
 * the next is a few digests. Nothing found inside an input is trusted by itself.
 */
#ifndef COFFRE_VERIFY_VERIFY_H
#define COFFRE_VERIFY_VERIFY_H

#include "common/formats/container.h"
#include "common/formats/lot.h"
#include "common/formats/merkle.h"
#include "common/formats/sums.h"
#include "common/formats/xades.h"
#include "exporter/verify/decrypt.h"
#include "exporter/verify/input.h"
#include "exporter/verify/report.h"

enum {
    VERIFY_CONTAINER_MAX = 1 << 30,   /* bytes of a container held in memory */
    VERIFY_KEY_MAX = 1 << 20,         /* bytes of a key file */
    VERIFY_EVENT_MAX = 256 << 20,     /* bytes of an event that is decrypted */
    VERIFY_CERTS_MAX = 1 << 20,       /* bytes of a file in certs/ */
};

/* What the next lot is held against. */
struct verify_link {
    bool there;               /* a lot was there at all */
    bool known;               /* and its container could be read */
    struct lot_link lot;      /* number always; the rest when known */
    int64_t stamped_ms;       /* 0: its time-stamp does not hold */
};

/* A range of neighbouring findings, said once. */
struct verify_range {
    uint64_t first, last; /* 0: none */
};

struct verify_lot {
    uint64_t number;          /* 0: between lots */
    bool repeated;            /* read before in another input: not counted again */
    bool listed;              /* SHA256SUMS is readable and in order: files are held against it */
    bool sealed;              /* signature and time-stamp hold */
    struct buf container;
    struct container parts;   /* borrowed from container */
    struct lot header;
    struct sums_reader cursor;
    struct sums_line want;    /* next file expected */
    bool wanted;
    struct verify_range missing, altered;
};

struct verify_seen {
    uint64_t lot;
    uint8_t container[16]; /* first half of its SHA-256 */
};

struct verify {
    struct report *report;    /* borrowed, like the next three */
    struct trust *trust;
    X509_STORE *anchors;
    struct decrypt *decrypt;  /* NULL: nothing is decrypted */
    bool partial;             /* absent keys and events are no finding */
    bool several;             /* more than one input: remember containers */
    bool has_pin;
    uint8_t pin[32];          /* SHA-256 of genesis.xml, from the minutes of the ceremony */

    /* of all inputs */
    bool has_genesis;
    struct genesis genesis;
    uint8_t genesis_digest[32];
    char operator_id[5];      /* "" until known */
    uint32_t vault;
    uint8_t seal[32], tsa[32]; /* certificates last seen, SHA-256 of DER */
    bool has_seal, has_tsa;
    char seal_subject[256];
    struct verify_link highest;
    struct verify_seen *seen; /* sorted by lot; owned */
    size_t seen_count, seen_room;

    /* of this input */
    struct input *input;
    struct verify_link here;
    struct names_entry last;  /* file read last, for their order */
    bool any;
    bool pem_there[2], pem_matched[2]; /* certs/seal.pem, certs/tsa.pem: a lot was signed with it */
    uint8_t pem[2][32];

    struct verify_lot lot;
    EVP_MD_CTX *sha256;       /* owned */
    uint8_t *room;            /* owned */
    uint64_t unsaid;          /* bytes since the progress line */
    uint64_t total;           /* bytes of all ZIP inputs, for progress */
};

void verify_init(struct verify *v, struct report *r, struct trust *t);
void verify_free(struct verify *v);

/* One input from beginning to end. */
void verify_input(struct verify *v, struct input *in);
/* After the last one: what was expected, 0 for no expectation; and the genesis that was named. */
void verify_expect(struct verify *v, uint64_t first_lot, uint64_t last_lot);

/* verify_lot.c: a lot's container, and the end of a lot. `container` has been filled in v->lot; `crc_wrong` by the outer ZIP. */
void verify_lot_begin(struct verify *v, uint64_t number);
void verify_lot_container(struct verify *v);
/* True when this is the file that was sealed, under a seal that holds. */
bool verify_lot_file(struct verify *v, const struct names_entry *entry, const uint8_t digest[32]);
/* `complete`: what was not seen is missing; otherwise reading was broken off. */
void verify_lot_end(struct verify *v, bool complete);

/* verify_chain.c */
void verify_chain(struct verify *v, const uint8_t container_digest[32], const struct xades_verdict *verdict);
void verify_chain_unknown(struct verify *v);
void verify_certificate_file(struct verify *v, unsigned place, struct slice bytes);
void verify_certificates_end(struct verify *v);
void verify_genesis_end(struct verify *v);

#endif
