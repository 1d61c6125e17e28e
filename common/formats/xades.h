/*
 * signatures0.xml of a lot: XAdES-BASELINE-T (ETSI EN 319 132-1) written and read in one spelling.
 * Every part that is digested is spelt in exclusive canonical form (it declares its own namespaces), so what
 * is signed is literally a run of the file's bytes. No function here needs a private key.
 *
 * Making one, in this order (the role that signs calls xades_begin itself, from lot.xml and digests):
 *   xades_begin → sign xades_signed_info → xades_set_value → time-stamp xades_imprint → xades_finish
 */
#ifndef COFFRE_XADES_H
#define COFFRE_XADES_H

#include "common/formats/timestamp.h"
#include "common/values/buf.h"

enum { XADES_FILES_MAX = 3, XADES_CERTIFICATES_MAX = 4, XADES_SIGNATURE_MAX = 2048 };

enum xades_algorithm {
    XADES_RSA_SHA256,     /* http://www.w3.org/2001/04/xmldsig-more#rsa-sha256 */
    XADES_RSA_PSS_SHA256, /* http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1, salt 32; not known to xmlsec 1.2 */
};

struct xades_digests {
    uint8_t lot[32];      /* SHA-256 of lot.xml */
    uint8_t sums[32];     /* of SHA256SUMS */
    uint8_t previous[32]; /* of previous-signatures.xml, when there is one */
    bool has_previous;    /* false in lot 1 only */
};

struct xades_draft; /* owned */

/*
 * The document up to its signature. `certificates`: DER, the signer's first, then intermediates if any.
 * `signing_ms` is SigningTime (ms since 1970). Same inputs, same bytes.
 */
struct xades_draft *xades_begin(const struct xades_digests *files, const struct slice *certificates, size_t count,
                                int64_t signing_ms, enum xades_algorithm algorithm, struct err *e);
void xades_free(struct xades_draft *d);

/* Canonical SignedInfo: what is to be signed (hash it with SHA-256). Borrowed from the draft. */
struct slice xades_signed_info(const struct xades_draft *d);

/* Takes the raw signature. False when it does not verify with the signer's certificate: nothing wrong is ever time-stamped. */
MUST_CHECK bool xades_set_value(struct xades_draft *d, struct slice signature, struct err *e);

/* After xades_set_value: canonical ds:SignatureValue element (borrowed) and its SHA-256, to be time-stamped. */
struct slice xades_value_element(const struct xades_draft *d);
MUST_CHECK bool xades_imprint(const struct xades_draft *d, uint8_t imprint[32], struct err *e);

/* Puts in the token (DER TimeStampToken) and appends the finished signatures0.xml. Verify it before storing. */
MUST_CHECK bool xades_finish(const struct xades_draft *d, struct slice token, struct buf *out, struct err *e);

/* What a signatures0.xml says; every slice is borrowed from it, bufs are owned. */
struct xades {
    enum xades_algorithm algorithm;
    struct xades_digests files;      /* as its references say */
    uint8_t properties_digest[32];   /* as its reference says */
    uint8_t certificate_digest[32];  /* SigningCertificateV2 */
    int64_t signing_ms;
    struct slice signed_info, signed_properties, value_element; /* canonical */
    struct buf value;                /* decoded SignatureValue */
    struct buf token;                /* DER */
    size_t certificate_count;
    struct buf certificates[XADES_CERTIFICATES_MAX]; /* DER, the signer's first */
};

/* Reads exactly what xades_finish() writes, bounded; ERR_INPUT otherwise. Says nothing yet about validity. */
MUST_CHECK bool xades_read(struct slice xml, struct xades *x, struct err *e);
void xades_clear(struct xades *x);

enum xades_fault {
    XADES_FAULT_NONE,
    XADES_FAULT_FORM,        /* not a signatures0.xml as Coffre writes it */
    XADES_FAULT_LOT,         /* lot.xml is not what was signed */
    XADES_FAULT_SUMS,        /* SHA256SUMS is not what was signed */
    XADES_FAULT_PREVIOUS,    /* previous-signatures.xml is not what was signed, or is missing or there when it should not */
    XADES_FAULT_PROPERTIES,  /* SignedProperties changed, or name another certificate */
    XADES_FAULT_SIGNATURE,   /* the signature does not hold */
    XADES_FAULT_TIMESTAMP_FORM,
    XADES_FAULT_TIMESTAMP_IMPRINT,
    XADES_FAULT_TIMESTAMP_SIGNATURE,
    XADES_FAULT_TIMESTAMP_CERTIFICATE,
    XADES_FAULT_CERTIFICATE, /* seal certificate: chain, dates at the time-stamp's time, key usage */
    XADES_FAULT_TIME,        /* SigningTime far from the time-stamp (over XADES_TIME_SLACK_MS) */
    XADES_FAULT_XMLSEC,      /* the second implementation disagrees */
};

enum { XADES_TIME_SLACK_MS = 24 * 3600 * 1000 };

/* The signed files themselves; `previous.at` is NULL in lot 1. */
struct xades_files {
    struct slice lot, sums, previous;
};

struct xades_verdict {
    enum xades_fault fault;
    int64_t signing_ms, stamped_ms;
    uint8_t certificate[32], tsa_certificate[32]; /* SHA-256 of DER */
    uint8_t value_digest[32];                     /* SHA-256 of the decoded SignatureValue */
    char subject[256];                            /* of the seal certificate, RFC 2253 */
};

/*
 * Everything: form, references, signature (own check, then xmlsec over memory only: no file, no network), time-stamp,
 * certificates at the time-stamp's time. Reads nothing but its arguments. ERR_INPUT and verdict->fault say what fails first.
 */
MUST_CHECK bool xades_verify(struct slice xml, const struct xades_files *files, struct trust *t,
                             struct xades_verdict *verdict, struct err *e);

/* Once per process, before xades_verify(); ERR_FATAL when xmlsec cannot start. */
MUST_CHECK bool xades_init(struct err *e);
void xades_shutdown(void);

#endif
