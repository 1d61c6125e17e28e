/*
 * What work, seal and stamp say to each other; format in common/PROTOCOL.md. Each side treats the
 * other's bytes as a stranger's. Pure.
 */
#ifndef COFFRE_MESSAGES_H
#define COFFRE_MESSAGES_H

#include "common/formats/lot.h"
#include "common/formats/xades.h"

enum message {
    MESSAGE_SEAL = 1,
    MESSAGE_SEALED,
    MESSAGE_STAMP,
    MESSAGE_STAMPED,
    MESSAGE_STAND,
    MESSAGE_STANDS,
    MESSAGE_REFUSED = 9,
    MESSAGE_HEALTH = 10, /* a struct health, unasked */
};

/* SEAL: the fields of `lot` that the store knows, and the two files that the lot's signature covers beside lot.xml. */
struct message_seal {
    struct lot lot;        /* without operator, vault, genesis, previous digests and root; owned types */
    struct slice previous; /* signatures0.xml of the lot before; empty for lot 1; borrowed */
    struct slice sums;     /* SHA256SUMS; borrowed */
};

MUST_CHECK bool message_put_seal(struct buf *out, const struct message_seal *m, struct err *e);
/* lot_free(&m->lot) after success. */
MUST_CHECK bool message_get_seal(struct slice body, struct message_seal *m, struct err *e);

/* SEALED: all that xades_begin() and xades_set_value() need to make the same document again. Slices are borrowed. */
struct message_sealed {
    uint64_t lot;
    int64_t signing_ms;
    enum xades_algorithm algorithm;
    struct slice lot_xml;
    size_t certificate_count;
    struct slice certificates[XADES_CERTIFICATES_MAX];
    struct slice signature;
};

MUST_CHECK bool message_put_sealed(struct buf *out, const struct message_sealed *m, struct err *e);
MUST_CHECK bool message_get_sealed(struct slice body, struct message_sealed *m, struct err *e);

struct message_stamp {
    uint64_t lot;
    uint8_t imprint[32];   /* SHA-256 */
    int64_t not_before_ms; /* genTime of the lot before, 0 for none */
};

MUST_CHECK bool message_put_stamp(struct buf *out, const struct message_stamp *m, struct err *e);
MUST_CHECK bool message_get_stamp(struct slice body, struct message_stamp *m, struct err *e);

struct message_stamped {
    uint64_t lot;
    int64_t time_ms;    /* genTime */
    struct slice token; /* DER TimeStampToken; borrowed */
};

MUST_CHECK bool message_put_stamped(struct buf *out, const struct message_stamped *m, struct err *e);
MUST_CHECK bool message_get_stamped(struct slice body, struct message_stamped *m, struct err *e);

enum { MESSAGE_MARK = 32 };

/*
 * STAND, before a lot is begun: with what would you do it? With a mark (struct credentials) other than zero: do it with that from now on. Only a
 * STAND changes what a role works with, so a lot that is begun is finished with what was agreed.
 */
struct message_stand {
    uint64_t lot;
    uint8_t take[MESSAGE_MARK]; /* zero: only asked */
};

MUST_CHECK bool message_put_stand(struct buf *out, const struct message_stand *m, struct err *e);
MUST_CHECK bool message_get_stand(struct slice body, struct message_stand *m, struct err *e);

struct message_stands {
    uint64_t lot;
    uint8_t now[MESSAGE_MARK], next[MESSAGE_MARK]; /* in force, and checked and ready to be; zero: none */
};

MUST_CHECK bool message_put_stands(struct buf *out, const struct message_stands *m, struct err *e);
MUST_CHECK bool message_get_stands(struct slice body, struct message_stands *m, struct err *e);

/* REFUSED carries a struct err. An unknown code is read as ERR_RETRY. */
MUST_CHECK bool message_put_refused(struct buf *out, uint64_t lot, const struct err *why, struct err *e);
MUST_CHECK bool message_get_refused(struct slice body, uint64_t *lot, struct err *why, struct err *e);

#endif
