/* From lot to lot: numbers, digests, times, certificates, genesis, and what two inputs share. See verify.h. */
#include <inttypes.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "common/formats/digest.h"
#include "exporter/verify/verify.h"

enum { CLOCK_SLACK_MS = 1000 /* a time-stamp's accuracy */ };

static struct report_where chain_where(const struct verify *v)
{
    return (struct report_where){.lot = v->lot.number};
}

/* ---- the link a lot carries itself ---- */

/* lot.xml's Precedent against the previous-signatures.xml beside it. */
static void chain_check_carried(struct verify *v)
{
    const struct lot *h = &v->lot.header;
    struct slice previous = v->lot.parts.previous;
    struct xades x;
    uint8_t digest[32];

    if (h->number == 1 || previous.at == NULL)
        return; /* its absence is the signature's finding, or genesis' */
    if (!digest_sha256(previous, digest, NULL) || memcmp(digest, h->previous_signatures, 32) != 0)
        report_add(v->report, REPORT_CHAIN_DIGEST, chain_where(v),
                   "Precedent/Signatures is not the SHA-256 of previous-signatures.xml");
    if (!xades_read(previous, &x, NULL)) {
        report_add(v->report, REPORT_CHAIN_VALUE, chain_where(v), "previous-signatures.xml is not a signature file of the vault");
        return;
    }
    if (!digest_sha256(buf_slice(&x.value), digest, NULL) || memcmp(digest, h->previous_value, 32) != 0)
        report_add(v->report, REPORT_CHAIN_VALUE, chain_where(v),
                   "Precedent/SignatureValue is not the SHA-256 of the value in previous-signatures.xml");
    xades_clear(&x);
}

/* ---- one lot after another ---- */

static void chain_check_follows(struct verify *v, const struct verify_link *before, const struct verify_link *now)
{
    const struct lot *h = &v->lot.header;
    uint8_t digest[32];

    if (!before->known)
        return;
    if (h->first != before->lot.last + 1)
        report_add(v->report, REPORT_CHAIN_SERIAL, chain_where(v), "it starts at event %" PRIu64 ", lot %" PRIu64 " ends at %" PRIu64,
                   h->first, before->lot.number, before->lot.last);
    if (!digest_sha256(v->lot.parts.previous, digest, NULL) || memcmp(digest, before->lot.signatures, 32) != 0)
        report_add(v->report, REPORT_CHAIN_PREVIOUS, chain_where(v),
                   "its previous-signatures.xml is not the META-INF/signatures0.xml of lot %" PRIu64 " here", before->lot.number);
    if (h->closed_ms < before->lot.closed_ms)
        report_add(v->report, REPORT_CHAIN_TIME, chain_where(v), "it was closed before lot %" PRIu64, before->lot.number);
    else if (now->stamped_ms != 0 && now->stamped_ms < before->stamped_ms)
        report_add(v->report, REPORT_CHAIN_TIME, chain_where(v), "it was time-stamped before lot %" PRIu64, before->lot.number);
}

static void chain_say_gap(struct verify *v, enum report_code code, uint64_t from, uint64_t to)
{
    if (from == to)
        report_add(v->report, code, (struct report_where){.lot = from}, "this lot is not here");
    else
        report_add(v->report, code, (struct report_where){.lot = from}, "lots %" PRIu64 " to %" PRIu64 " are not here", from, to);
}

/* Where this number stands among those read: a gap, or the lot to be held against; NULL when there is none. */
static const struct verify_link *chain_place(struct verify *v)
{
    uint64_t n = v->lot.number;

    if (v->here.there) {
        if (n > v->here.lot.number + 1)
            chain_say_gap(v, REPORT_LOT_MISSING, v->here.lot.number + 1, n - 1);
        return n == v->here.lot.number + 1 ? &v->here : NULL;
    }
    if (v->highest.there && n > v->highest.lot.number + 1)
        chain_say_gap(v, REPORT_LOTS_MISSING_BETWEEN, v->highest.lot.number + 1, n - 1);
    return v->highest.there && n == v->highest.lot.number + 1 ? &v->highest : NULL;
}

static void chain_advance(struct verify *v, const struct verify_link *now)
{
    v->here = *now;
    if (!v->highest.there || now->lot.number > v->highest.lot.number)
        v->highest = *now;
}

void verify_chain_unknown(struct verify *v)
{
    struct verify_link now = {.there = true, .known = false, .lot = {.number = v->lot.number}};

    (void)chain_place(v);
    chain_advance(v, &now);
}

/* ---- the same lot in two inputs ---- */

static size_t chain_find_seen(const struct verify *v, uint64_t lot)
{
    size_t low = 0, high = v->seen_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (v->seen[middle].lot < lot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void chain_check_overlap(struct verify *v, const uint8_t digest[32])
{
    size_t at = chain_find_seen(v, v->lot.number);

    if (!v->several)
        return;
    if (at < v->seen_count && v->seen[at].lot == v->lot.number) {
        v->lot.repeated = true;
        if (memcmp(v->seen[at].container, digest, sizeof(v->seen[at].container)) != 0)
            report_add(v->report, REPORT_OVERLAP_DIFFERS, chain_where(v), "its container is not the one in an input read before");
        return;
    }
    if (v->seen_count == v->seen_room) {
        v->seen_room = v->seen_room == 0 ? 1024 : 2 * v->seen_room;
        v->seen = mem_realloc(v->seen, v->seen_room * sizeof(*v->seen));
    }
    memmove(v->seen + at + 1, v->seen + at, (v->seen_count - at) * sizeof(*v->seen));
    v->seen[at].lot = v->lot.number;
    memcpy(v->seen[at].container, digest, sizeof(v->seen[at].container));
    v->seen_count++;
}

/* ---- certificates ---- */

static void chain_check_seal(struct verify *v, const struct xades_verdict *verdict)
{
    if (verdict->fault != XADES_FAULT_NONE)
        return; /* said already */
    for (unsigned i = 0; i < 2; i++)
        if (v->pem_there[i] && memcmp(v->pem[i], i == 0 ? verdict->certificate : verdict->tsa_certificate, 32) == 0)
            v->pem_matched[i] = true;
    if (v->has_seal && memcmp(v->seal, verdict->certificate, 32) != 0) {
        if (v->seal_subject[0] != '\0' && strcmp(v->seal_subject, verdict->subject) != 0) {
            report_add(v->report, REPORT_SEAL_CHANGED, chain_where(v), "sealed by %s, the lots before by %s", verdict->subject,
                       v->seal_subject);
            return; /* the earlier one stays the reference */
        }
        report_add(v->report, REPORT_CERTIFICATE_RENEWED, chain_where(v), "from here on sealed with another certificate of %s",
                   verdict->subject);
    }
    if (v->has_tsa && memcmp(v->tsa, verdict->tsa_certificate, 32) != 0)
        report_add(v->report, REPORT_CERTIFICATE_RENEWED, chain_where(v), "from here on time-stamped with another certificate");
    memcpy(v->seal, verdict->certificate, 32);
    memcpy(v->tsa, verdict->tsa_certificate, 32);
    (void)snprintf(v->seal_subject, sizeof(v->seal_subject), "%s", verdict->subject);
    v->has_seal = v->has_tsa = true;
}

static void chain_check_genesis(struct verify *v, const struct xades_verdict *verdict)
{
    const struct lot *h = &v->lot.header;

    if (h->number != 1)
        return;
    if (h->first != 1)
        report_add(v->report, REPORT_CHAIN_SERIAL, chain_where(v), "it starts at event %" PRIu64, h->first);
    if (!v->has_genesis) {
        report_add(v->report, REPORT_GENESIS_MISSING, chain_where(v), "certs/genesis.xml is not here or cannot be used");
        return;
    }
    if (memcmp(h->genesis, v->genesis_digest, 32) != 0)
        report_add(v->report, REPORT_GENESIS_DIGEST, chain_where(v), "Genese is not the SHA-256 of certs/genesis.xml");
    if (verdict->fault != XADES_FAULT_NONE)
        return;
    if (memcmp(v->genesis.seal, verdict->certificate, 32) != 0)
        report_add(v->report, REPORT_GENESIS_SEAL, chain_where(v), "its seal's certificate is not the one in certs/genesis.xml");
    if (memcmp(v->genesis.tsa, verdict->tsa_certificate, 32) != 0)
        report_add(v->report, REPORT_GENESIS_TSA, chain_where(v), "its time-stamp's certificate is not the one in certs/genesis.xml");
}

void verify_chain(struct verify *v, const uint8_t container_digest[32], const struct xades_verdict *verdict)
{
    const struct lot *h = &v->lot.header;
    const struct verify_link *before;
    struct verify_link now = {.there = true, .known = verdict->fault != XADES_FAULT_FORM, .stamped_ms = verdict->stamped_ms,
                              .lot = {.number = v->lot.number, .last = h->last, .closed_ms = h->closed_ms}};

    chain_check_overlap(v, container_digest);
    chain_check_carried(v);
    memcpy(now.lot.value, verdict->value_digest, 32);
    if (!digest_sha256(v->lot.parts.signatures, now.lot.signatures, NULL))
        now.known = false;
    before = chain_place(v);
    if (before != NULL)
        chain_check_follows(v, before, &now);
    if (now.stamped_ms != 0 && now.stamped_ms + CLOCK_SLACK_MS < h->closed_ms)
        report_add(v->report, REPORT_CHAIN_TIME, chain_where(v), "it was time-stamped before it was closed");
    chain_check_genesis(v, verdict);
    chain_check_seal(v, verdict);
    chain_advance(v, &now);
}

/* ---- certs/ ---- */

static bool certs_is_anchor(const struct verify *v, X509 *cert)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(v->anchors);

    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *anchor = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (anchor != NULL && X509_cmp(anchor, cert) == 0)
            return true;
    }
    return false;
}

/* A root that was bent still parses, often: its own signature tells. */
static bool certs_self_consistent(X509 *cert)
{
    return X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) != 0 ||
           X509_verify(cert, X509_get0_pubkey(cert)) == 1;
}

/* Every certificate in the file; false when one cannot be read or there is none. The digest of the first goes to `first`. */
static bool certs_read(struct verify *v, struct slice bytes, bool ca, uint8_t first[32])
{
    BIO *in = BIO_new_mem_buf(bytes.at, (int)bytes.len);
    X509 *cert;
    int count = 0;
    bool ok = in != NULL;

    while (ok && (cert = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        unsigned len;

        ok = certs_self_consistent(cert) && (count > 0 || X509_digest(cert, EVP_sha256(), first, &len) == 1);
        if (ok && ca && !certs_is_anchor(v, cert))
            report_add(v->report, REPORT_CA_DIFFERS, (struct report_where){.file = "certs/ca.pem"},
                       "certs/ca.pem holds an authority that you did not name");
        count++;
        X509_free(cert);
    }
    BIO_free(in);
    return ok && count > 0;
}

static void certs_genesis(struct verify *v, struct slice bytes)
{
    struct report_where where = {.file = "certs/genesis.xml"};
    struct genesis g;
    uint8_t digest[32];
    struct err e = {0};

    if (!genesis_read(bytes, &g, &e) || !digest_sha256(bytes, digest, &e)) {
        report_add(v->report, REPORT_GENESIS_FORM, where, "%s", e.text);
        return;
    }
    if (v->has_pin && memcmp(v->pin, digest, 32) != 0)
        report_add(v->report, REPORT_GENESIS_DIGEST, where, "certs/genesis.xml is not the one you named");
    if (v->operator_id[0] != '\0' && (strcmp(v->operator_id, g.operator_id) != 0 || v->vault != g.vault))
        report_add(v->report, REPORT_GENESIS_VAULT, where, "certs/genesis.xml is that of operator %s, vault %" PRIu32, g.operator_id,
                   g.vault);
    if (v->has_genesis && memcmp(digest, v->genesis_digest, 32) != 0) {
        report_add(v->report, REPORT_OVERLAP_DIFFERS, where, "certs/genesis.xml is not the one in an input read before");
        return;
    }
    v->genesis = g;
    v->has_genesis = true;
    memcpy(v->genesis_digest, digest, 32);
    if (!v->has_seal) {
        memcpy(v->seal, g.seal, 32);
        v->has_seal = true;
    }
    if (!v->has_tsa) {
        memcpy(v->tsa, g.tsa, 32);
        v->has_tsa = true;
    }
}

void verify_certificate_file(struct verify *v, unsigned place, struct slice bytes)
{
    static const enum report_code faults[] = {REPORT_CERTS_CA, REPORT_CERTS_SEAL, REPORT_CERTS_TSA};
    uint8_t first[32] = {0};

    if (place == 3) {
        certs_genesis(v, bytes);
        return;
    }
    if (!certs_read(v, bytes, place == 0, first)) {
        report_add(v->report, faults[place], (struct report_where){.file = names_certificate(place)},
                   "%s cannot be read as certificates", names_certificate(place));
        return;
    }
    if (place > 0) {
        v->pem_there[place - 1] = true;
        memcpy(v->pem[place - 1], first, 32);
    }
}

void verify_certificates_end(struct verify *v)
{
    /* Those of the vault's birth, of which lots that were sealed after a renewal need not be. */
    for (unsigned i = 0; i < 2; i++)
        if (v->has_genesis && memcmp(v->pem[i], i == 0 ? v->genesis.seal : v->genesis.tsa, 32) == 0)
            v->pem_matched[i] = true;
    for (unsigned i = 0; i < 2; i++)
        if (v->pem_there[i] && !v->pem_matched[i] && v->here.known && v->here.stamped_ms != 0)
            report_add(v->report, i == 0 ? REPORT_CERTS_SEAL : REPORT_CERTS_TSA,
                       (struct report_where){.file = names_certificate(i + 1)}, "no lot here was made with the certificate in %s",
                       names_certificate(i + 1));
}

/* Who names the genesis wants it compared: an extraction without it must not pass for one that agrees. */
void verify_genesis_end(struct verify *v)
{
    if (v->has_pin && !v->has_genesis && v->report->lots > 0)
        report_add(v->report, REPORT_GENESIS_MISSING, (struct report_where){.file = "certs/genesis.xml"},
                   "no certs/genesis.xml here can be held against the one you named");
}
